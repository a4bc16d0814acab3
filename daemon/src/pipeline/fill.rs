//! Filling in a container: placeholders, Concat and IfPresent, resources, and what the executor inside is told.

use std::collections::BTreeMap;

use kfbox_store::kinds::ir::{ComponentSpec, Resources};
use serde_json::{Map, Value, json};

use super::container::{OutputFile, ResourcePlan, TaskId};
use super::placeholder::{self, Placeholder, artifact_text, job_text, value_text};
use super::resolve::ResolveError;
use super::scope::{Artifact, Inputs, Job};

/// IfPresent and Concat inside each other.
const MAX_NESTING: usize = 50;

/// Fills placeholders for one container.
pub(super) struct Filler<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) output_parameters: &'a BTreeMap<String, OutputFile>,
    pub(super) output_artifacts: &'a BTreeMap<String, Artifact>,
    pub(super) metadata_file: String,
    pub(super) executor_input: Value,
    pub(super) task: TaskId<'a>,
    pub(super) job: &'a Job,
}

impl Filler<'_> {
    /// What `{{$}}` stands for.
    pub(super) fn executor_input(&self, component: &ComponentSpec) -> Value {
        let parameters: Map<String, Value> = self
            .inputs
            .parameters
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let inputs: Map<String, Value> = self
            .inputs
            .artifacts
            .iter()
            .map(|(name, list)| {
                let list: Vec<Value> = list.iter().map(|a| runtime_artifact(a, None)).collect();
                (name.clone(), json!({"artifacts": list}))
            })
            .collect();
        let files: Map<String, Value> = self
            .output_parameters
            .iter()
            .map(|(name, file)| (name.clone(), json!({"outputFile": file.path})))
            .collect();
        let outputs: Map<String, Value> = self
            .output_artifacts
            .iter()
            .map(|(name, artifact)| {
                let declared = component.output_definitions.artifacts.get(name);
                let schema = declared.and_then(|d| serde_json::to_value(&d.artifact_type).ok());
                let one = runtime_artifact(artifact, schema);
                (name.clone(), json!({"artifacts": [one]}))
            })
            .collect();
        json!({
            "inputs": {"parameterValues": parameters, "artifacts": inputs},
            "outputs": {"parameters": files, "artifacts": outputs, "outputFile": self.metadata_file},
        })
    }

    /// A text with all placeholders filled in. What refers to an input that was not given becomes nothing.
    pub(super) fn text(&self, what: &str, text: &str) -> Result<String, ResolveError> {
        placeholder::replace(text, |p| {
            self.value(p).map_err(|e| ResolveError::new(what, e))
        })
    }

    fn value(&self, placeholder: &Placeholder<'_>) -> Result<Option<String>, String> {
        let artifact = |list: Option<&Artifact>| {
            Ok(Some(
                list.and_then(|a| artifact_text(a, placeholder))
                    .unwrap_or_default(),
            ))
        };
        let output = |name: &str| {
            let found = self.output_artifacts.get(name);
            match found {
                Some(found) => artifact(Some(found)),
                None => Err(format!("the component has no output artifact {name:?}")),
            }
        };
        let input = |name: &str| artifact(self.inputs.artifacts.get(name).and_then(|l| l.first()));
        match placeholder {
            Placeholder::ExecutorInput => Ok(Some(self.executor_input.to_string())),
            Placeholder::MetadataFile => Ok(Some(self.metadata_file.clone())),
            Placeholder::InputParameter(name) => Ok(Some(
                self.inputs
                    .parameters
                    .get(*name)
                    .map(value_text)
                    .unwrap_or_default(),
            )),
            Placeholder::OutputFile(name) => match self.output_parameters.get(*name) {
                Some(file) => Ok(Some(file.path.clone())),
                None => Err(format!("the component has no output parameter {name:?}")),
            },
            Placeholder::InputUri(name) | Placeholder::InputPath(name) => input(name),
            Placeholder::OutputUri(name) | Placeholder::OutputPath(name) => output(name),
            Placeholder::Metadata {
                output: false,
                artifact,
                ..
            } => input(artifact),
            Placeholder::Metadata {
                output: true,
                artifact,
                ..
            } => output(artifact),
            Placeholder::Job(name) => {
                job_text(name, self.job, self.task.name, self.task.uuid).map(Some)
            }
        }
    }

    /// Command or arguments: Concat and IfPresent evaluated (they may give none or many), then placeholders.
    pub(super) fn words(&self, what: &str, words: &[String]) -> Result<Vec<String>, ResolveError> {
        let mut out = Vec::with_capacity(words.len());
        for (index, word) in words.iter().enumerate() {
            let what = format!("{what}[{index}]");
            match structure(word) {
                Some(structure) => self.expand(&what, &structure, 0, &mut out)?,
                None => out.push(self.text(&what, word)?),
            }
        }
        Ok(out)
    }

    fn expand(
        &self,
        what: &str,
        value: &Value,
        depth: usize,
        out: &mut Vec<String>,
    ) -> Result<(), ResolveError> {
        let error = |message: String| Err(ResolveError::new(what, message));
        if depth > MAX_NESTING {
            return error("IfPresent and Concat are nested too deeply".to_owned());
        }
        match value {
            Value::Null => Ok(()),
            Value::String(text) => {
                out.push(self.text(what, text)?);
                Ok(())
            }
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.expand(what, item, depth + 1, out)),
            Value::Object(map) => {
                if let Some(parts) = map.get("Concat").and_then(Value::as_array) {
                    let mut pieces = Vec::new();
                    for part in parts {
                        self.expand(what, part, depth + 1, &mut pieces)?;
                    }
                    out.push(pieces.concat());
                    return Ok(());
                }
                let Some(choice) = map.get("IfPresent") else {
                    return error(format!("{value} is neither Concat nor IfPresent"));
                };
                let Some(name) = choice.get("InputName").and_then(Value::as_str) else {
                    return error("IfPresent has no InputName".to_owned());
                };
                let branch = if self.is_present(name) {
                    "Then"
                } else {
                    "Else"
                };
                match choice.get(branch) {
                    Some(value) => self.expand(what, value, depth + 1, out),
                    None => Ok(()),
                }
            }
            other => {
                out.push(value_text(other));
                Ok(())
            }
        }
    }

    fn is_present(&self, name: &str) -> bool {
        self.inputs
            .parameters
            .get(name)
            .is_some_and(|v| !v.is_null())
            || self
                .inputs
                .artifacts
                .get(name)
                .is_some_and(|list| !list.is_empty())
    }

    pub(super) fn resources(&self, resources: &Resources) -> Result<ResourcePlan, ResolveError> {
        let quantity = |what: &str, text: &Option<String>, old: Option<String>| {
            let text = match text {
                Some(text) => Some(self.text(what, text)?.trim().to_owned()),
                None => None,
            };
            Ok::<_, ResolveError>(text.filter(|t| !t.is_empty()).or(old))
        };
        let r = resources;
        Ok(ResourcePlan {
            cpu_request: quantity("cpu request", &r.resource_cpu_request, cores(r.cpu_request))?,
            cpu_limit: quantity("cpu limit", &r.resource_cpu_limit, cores(r.cpu_limit))?,
            memory_request: quantity(
                "memory request",
                &r.resource_memory_request,
                gigabytes(r.memory_request),
            )?,
            memory_limit: quantity(
                "memory limit",
                &r.resource_memory_limit,
                gigabytes(r.memory_limit),
            )?,
        })
    }
}

/// A word that is a Concat or IfPresent, as the compiler writes them: JSON text.
fn structure(word: &str) -> Option<Value> {
    let trimmed = word.trim_start();
    if !trimmed.starts_with('{') || trimmed.starts_with("{{") {
        return None;
    }
    let value: Value = serde_json::from_str(trimmed).ok()?;
    let map = value.as_object()?;
    let known = map.len() == 1 && (map.contains_key("Concat") || map.contains_key("IfPresent"));
    known.then_some(value)
}

/// An artifact as the executor inside is told of it.
fn runtime_artifact(artifact: &Artifact, schema: Option<Value>) -> Value {
    let schema = schema
        .filter(|s| s.as_object().is_some_and(|s| !s.is_empty()))
        .unwrap_or_else(|| json!({"schemaTitle": artifact.type_, "schemaVersion": "0.0.1"}));
    let mut value = json!({
        "name": artifact.name,
        "uri": artifact.uri,
        "type": schema,
        "metadata": artifact.metadata,
    });
    if let (Some(path), Some(map)) = (&artifact.custom_path, value.as_object_mut()) {
        map.insert("customPath".to_owned(), path.clone().into());
    }
    value
}

/// Deprecated cores as a quantity.
fn cores(number: Option<f64>) -> Option<String> {
    let number = number.filter(|n| *n > 0.0 && n.is_finite())?;
    Some(format!("{}m", (number * 1e3).ceil()))
}

/// Deprecated gigabytes (10^9) as a quantity.
fn gigabytes(number: Option<f64>) -> Option<String> {
    let number = number.filter(|n| *n > 0.0 && n.is_finite())?;
    Some(format!("{}", (number * 1e9).ceil()))
}
