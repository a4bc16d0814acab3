//! From a component and its inputs to the container to run: every placeholder resolved, every path known.

use std::collections::BTreeMap;

use kfbox_store::kinds::ir::{ComponentSpec, ContainerSpec, ParameterType, Resources};
use serde_json::{Map, Value, json};

use super::paths::{OUTPUT_DIR, local_path, task_root};
use super::pip::{self, PipSetup};
use super::placeholder::{self, Placeholder, artifact_text, job_text, value_text};
use super::resolve::ResolveError;
use super::scope::{Artifact, Inputs, Job};

/// IfPresent and Concat inside each other.
const MAX_NESTING: usize = 50;

/// Where one attempt at a task puts things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// URI of the attempt's folder: `<root>/<pipeline>/<run id>/<task>/<salt>`.
    pub task_root_uri: String,
    /// Folder in the container for output parameters: `/tmp/kfp/outputs`.
    pub output_file_dir: String,
}

impl Places {
    /// The usual places. `salt` keeps attempts (and equal names in nested DAGs) apart.
    pub fn new(job: &Job, task: &str, salt: &str) -> Self {
        Self {
            task_root_uri: task_root(job, task, salt),
            output_file_dir: OUTPUT_DIR.to_owned(),
        }
    }
}

/// Requests and limits as Kubernetes quantities; `None` where nothing is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourcePlan {
    /// Like `500m`.
    pub cpu_request: Option<String>,
    /// Like `2`.
    pub cpu_limit: Option<String>,
    /// Like `1Gi`.
    pub memory_request: Option<String>,
    /// Like `1Gi`.
    pub memory_limit: Option<String>,
}

/// An output parameter to read when the container has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// How to read it.
    pub kind: ParameterType,
    /// Its path in the container.
    pub path: String,
}

/// A container, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPlan {
    /// Image reference.
    pub image: String,
    /// Replaces the entrypoint unless empty.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// What it asks of the machine.
    pub resources: ResourcePlan,
    /// What the executor inside is told.
    pub executor_input: Value,
    /// Output parameters by name.
    pub output_parameters: BTreeMap<String, OutputFile>,
    /// Output artifacts as planned, by name. Create the parent folder of each path before the start.
    pub output_artifacts: BTreeMap<String, Artifact>,
    /// Path in the container of the file in which an executor reports its outputs; its folder is the task root.
    pub metadata_file: String,
    /// Input artifacts: URI, and path in the container.
    pub input_artifact_paths: Vec<(String, String)>,
    /// The pip preamble, where there is one. Then `command` may be replaced by `setup.command` in an image that
    /// has the setup's effect.
    pub setup: Option<PipSetup>,
}

/// The task that a container is planned for.
#[derive(Debug, Clone, Copy)]
pub struct TaskId<'a> {
    /// Its name in its DAG.
    pub name: &'a str,
    /// See [`task_uuid`](super::resolve::task_uuid).
    pub uuid: &'a str,
}

/// Plans the container of a task.
pub fn plan_container(
    component: &ComponentSpec,
    container: &ContainerSpec,
    inputs: &Inputs,
    places: &Places,
    task: TaskId<'_>,
    job: &Job,
) -> Result<ContainerPlan, ResolveError> {
    let root = local_path(&places.task_root_uri).ok_or_else(|| {
        ResolveError::new(
            "pipeline root",
            format!(
                "{:?} has no path in a container; use minio://, s3:// or gs://",
                job.pipeline_root
            ),
        )
    })?;
    let output_parameters: BTreeMap<String, OutputFile> = component
        .output_definitions
        .parameters
        .iter()
        .map(|(name, spec)| {
            let path = format!("{}/{name}", places.output_file_dir);
            (
                name.clone(),
                OutputFile {
                    kind: spec.kind(),
                    path,
                },
            )
        })
        .collect();
    let output_artifacts: BTreeMap<String, Artifact> = component
        .output_definitions
        .artifacts
        .iter()
        .map(|(name, spec)| {
            let artifact = Artifact {
                name: name.clone(),
                uri: format!("{}/{name}", places.task_root_uri),
                type_: spec.artifact_type.title().to_owned(),
                metadata: spec.metadata.clone(),
                custom_path: None,
            };
            (name.clone(), artifact)
        })
        .collect();
    let mut fill = Filler {
        inputs,
        output_parameters: &output_parameters,
        output_artifacts: &output_artifacts,
        metadata_file: format!("{root}/output_metadata.json"),
        executor_input: Value::Null,
        task,
        job,
    };
    fill.executor_input = fill.executor_input(component);

    let image = fill.text("image", &container.image)?;
    if image.trim().is_empty() {
        return Err(ResolveError::new(
            "image",
            "is empty after its placeholders were filled in",
        ));
    }
    let command = fill.words("command", &container.command)?;
    let args = fill.words("args", &container.args)?;
    let env = container
        .env
        .iter()
        .map(|v| {
            Ok((
                v.name.clone(),
                fill.text(&format!("env {}", v.name), &v.value)?,
            ))
        })
        .collect::<Result<Vec<_>, ResolveError>>()?;
    let resources = match &container.resources {
        Some(resources) => fill.resources(resources)?,
        None => ResourcePlan::default(),
    };
    let setup = pip::recognise(&command, &env);
    let input_artifact_paths = inputs
        .artifacts
        .values()
        .flatten()
        .filter_map(|a| {
            Some((
                a.uri.clone(),
                a.custom_path.clone().or_else(|| local_path(&a.uri))?,
            ))
        })
        .collect();
    let (executor_input, metadata_file) = (fill.executor_input, fill.metadata_file);
    Ok(ContainerPlan {
        image,
        command,
        args,
        env,
        resources,
        executor_input,
        output_parameters,
        output_artifacts,
        metadata_file,
        input_artifact_paths,
        setup,
    })
}

/// Fills placeholders for one container.
struct Filler<'a> {
    inputs: &'a Inputs,
    output_parameters: &'a BTreeMap<String, OutputFile>,
    output_artifacts: &'a BTreeMap<String, Artifact>,
    metadata_file: String,
    executor_input: Value,
    task: TaskId<'a>,
    job: &'a Job,
}

impl Filler<'_> {
    /// What `{{$}}` stands for.
    fn executor_input(&self, component: &ComponentSpec) -> Value {
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
    fn text(&self, what: &str, text: &str) -> Result<String, ResolveError> {
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
    fn words(&self, what: &str, words: &[String]) -> Result<Vec<String>, ResolveError> {
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

    fn resources(&self, resources: &Resources) -> Result<ResourcePlan, ResolveError> {
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
