//! Where values come from: the inputs of a task, and the outputs of a DAG.

use std::collections::BTreeMap;
use std::fmt;

use kfbox_store::kinds::ir::{
    ArtifactSource, ComponentSpec, InputParameter, ParameterSource, ParameterType, TaskSpec,
    TriggerStrategy, conform,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::expr;
use super::scope::{Inputs, Job, Outputs, Scope, TaskState};

/// A value that cannot be had, or does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// The input (or, for an argument, its place) that it is about.
    pub what: String,
    /// Why, for people.
    pub message: String,
}

impl ResolveError {
    /// About `what`.
    pub fn new(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.message)
    }
}

impl std::error::Error for ResolveError {}

/// A stable id for a task of a run: the same however often it is asked for, also after a restart.
pub fn task_uuid(job: &Job, dag_path: &str, task: &str) -> String {
    let digest = Sha256::digest(format!("{}\0{dag_path}\0{task}", job.uuid));
    let hex = hex::encode(digest);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}

/// One task at its place in a DAG instance.
pub(super) struct Site<'a> {
    pub(super) name: &'a str,
    pub(super) task: &'a TaskSpec,
    pub(super) component: &'a ComponentSpec,
    pub(super) scope: &'a Scope,
    pub(super) job: &'a Job,
}

/// The inputs of a task: every source followed, defaults filled in, types brought into line.
///
/// For a container an optional parameter without a value is left out; for a sub-DAG it is null, so that its tasks
/// can refer to it. Parameters beyond the component's declaration are kept: constants and conditions refer to them.
pub fn resolve_inputs(
    name: &str,
    task: &TaskSpec,
    component: &ComponentSpec,
    scope: &Scope,
    job: &Job,
) -> Result<Inputs, ResolveError> {
    let site = Site {
        name,
        task,
        component,
        scope,
        job,
    };
    let mut raw: BTreeMap<&str, Value> = BTreeMap::new();
    let mut constants: BTreeMap<&str, Value> = BTreeMap::new();
    for (input, source) in &task.inputs.parameters {
        match source.runtime_value.as_ref().and_then(|v| v.value()) {
            Some(constant) => {
                constants.insert(input, constant);
            }
            None => {
                if let Some(value) = site.parameter(input, source)? {
                    raw.insert(input, value);
                }
            }
        }
    }
    site.constants(constants, &mut raw)?;

    let mut inputs = Inputs::default();
    for (input, value) in raw {
        let value = match task
            .inputs
            .parameters
            .get(input)
            .and_then(|s| s.parameter_expression_selector.as_deref())
        {
            Some(selector) if !selector.is_empty() => expr::select(selector, &value)
                .map_err(|e| ResolveError::new(parameter(input), e))?,
            _ => value,
        };
        let spec = component.input_definitions.parameters.get(input);
        match spec {
            Some(spec) => site.declared(input, spec, value, &mut inputs.parameters)?,
            None => {
                inputs.parameters.insert(input.to_owned(), value);
            }
        }
    }
    for (input, spec) in &component.input_definitions.parameters {
        if !inputs.parameters.contains_key(input) {
            site.declared(input, spec, Value::Null, &mut inputs.parameters)?;
        }
    }
    for (input, source) in &task.inputs.artifacts {
        site.artifact(input, source, &mut inputs)?;
    }
    Ok(inputs)
}

/// How an input parameter is called in errors.
pub(super) fn parameter(name: &str) -> String {
    format!("input parameter {name:?}")
}

impl Site<'_> {
    /// The value of a source that is no constant; `None` when there is none and that may be.
    fn parameter(
        &self,
        input: &str,
        source: &ParameterSource,
    ) -> Result<Option<Value>, ResolveError> {
        let error = |message: String| ResolveError::new(parameter(input), message);
        if let Some(from) = &source.component_input_parameter {
            return match self.scope.inputs.parameters.get(from) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(error(format!("the DAG around has no input {from:?}"))),
            };
        }
        if let Some(from) = &source.task_final_status {
            return Ok(Some(self.final_status(&from.producer_task)));
        }
        let Some(from) = &source.task_output_parameter else {
            return Err(error("has no source".to_owned()));
        };
        let producer = self.scope.tasks.get(&from.producer_task);
        match producer.and_then(|view| view.outputs.parameters.get(&from.output_parameter_key)) {
            Some(value) => Ok(Some(value.clone())),
            // ignore_upstream_failure: the compiler has seen to a default for what a failed task does not give.
            None if self.task.trigger_policy.strategy == TriggerStrategy::AllCompleted => Ok(None),
            None => Err(error(format!(
                "task {:?} has given no output {:?}",
                from.producer_task, from.output_parameter_key
            ))),
        }
    }

    /// How a task has ended, in the words that components expect.
    fn final_status(&self, producer: &str) -> Value {
        let view = self.scope.tasks.get(producer);
        let (state, code) = match view.map(|v| v.state) {
            Some(TaskState::Succeeded) => ("COMPLETE", 0),
            Some(TaskState::Cached) => ("CACHED", 0),
            Some(TaskState::Skipped) => ("CANCELED", 0),
            Some(TaskState::Canceled) => ("CANCELED", 1),
            // Never reached, because something before it failed.
            _ => ("FAILED", 2),
        };
        let error = match code {
            0 => json!({}),
            code => json!({
                "code": code,
                "message": view
                    .and_then(|v| v.error.clone())
                    .unwrap_or_else(|| format!("task {producer:?} did not succeed")),
            }),
        };
        json!({
            "state": state,
            "error": error,
            "pipelineJobResourceName": self.job.resource_name,
            "pipelineTaskName": producer,
        })
    }

    /// Puts a declared parameter in: its value, else its default, else what "not given" is for the component.
    fn declared(
        &self,
        input: &str,
        spec: &InputParameter,
        value: Value,
        into: &mut Map<String, Value>,
    ) -> Result<(), ResolveError> {
        let error = |message: String| ResolveError::new(parameter(input), message);
        let given = !value.is_null();
        let value = match (given, &spec.default_value) {
            (false, Some(default)) => default.clone(),
            _ => value,
        };
        if value.is_null() {
            if self.component.dag.is_some() && spec.is_optional {
                into.insert(input.to_owned(), Value::Null);
            } else if !spec.is_optional && spec.kind() != ParameterType::TaskConfig {
                return Err(error("is required and got no value".to_owned()));
            }
            return Ok(());
        }
        let value = conform(spec.kind(), value, true).map_err(&error)?;
        let allowed = |literal: &Value| {
            conform(spec.kind(), literal.clone(), true).is_ok_and(|literal| literal == value)
        };
        if given && !spec.literals.is_empty() && !spec.literals.iter().any(allowed) {
            let literals = Value::Array(spec.literals.clone());
            return Err(error(format!(
                "{value} is not one of the allowed values {literals}"
            )));
        }
        into.insert(input.to_owned(), value);
        Ok(())
    }

    fn artifact(
        &self,
        input: &str,
        source: &ArtifactSource,
        inputs: &mut Inputs,
    ) -> Result<(), ResolveError> {
        let (found, from) = match (
            &source.component_input_artifact,
            &source.task_output_artifact,
        ) {
            (Some(from), _) => (
                self.scope.inputs.artifacts.get(from),
                format!("the DAG around has no artifact {from:?}"),
            ),
            (None, Some(from)) => (
                self.scope
                    .tasks
                    .get(&from.producer_task)
                    .and_then(|view| view.outputs.artifacts.get(&from.output_artifact_key)),
                format!(
                    "task {:?} has given no artifact {:?}",
                    from.producer_task, from.output_artifact_key
                ),
            ),
            (None, None) => (None, "has no source".to_owned()),
        };
        let spec = self.component.input_definitions.artifacts.get(input);
        match found {
            Some(artifacts) => {
                inputs.artifacts.insert(input.to_owned(), artifacts.clone());
                Ok(())
            }
            None if spec.is_some_and(|s| s.is_optional) => Ok(()),
            None => Err(ResolveError::new(format!("input artifact {input:?}"), from)),
        }
    }
}

/// The outputs of a DAG whose tasks have all ended.
///
/// Of several candidates (`dsl.OneOf`) the first that exists is taken. An output that no task gave (its branch was
/// skipped) is left out: whoever needs it fails by name, and nobody else is disturbed.
pub fn dag_outputs(component: &ComponentSpec, scope: &Scope) -> Outputs {
    let mut outputs = Outputs::default();
    let Some(dag) = &component.dag else {
        return outputs;
    };
    let good = |task: &str| scope.tasks.get(task).filter(|view| view.state.is_good());
    for (name, source) in &dag.outputs.parameters {
        let one = source.value_from_parameter.iter();
        let many = source
            .value_from_oneof
            .iter()
            .flat_map(|o| &o.parameter_selectors);
        let value = one.chain(many).find_map(|s| {
            good(&s.producer_subtask)?
                .outputs
                .parameters
                .get(&s.output_parameter_key)
        });
        if let Some(value) = value {
            outputs.parameters.insert(name.clone(), value.clone());
        }
    }
    for (name, source) in &dag.outputs.artifacts {
        let artifacts = source.artifact_selectors.iter().find_map(|s| {
            good(&s.producer_subtask)?
                .outputs
                .artifacts
                .get(&s.output_artifact_key)
        });
        if let Some(artifacts) = artifacts {
            outputs.artifacts.insert(name.clone(), artifacts.clone());
        }
    }
    outputs
}
