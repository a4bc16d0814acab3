//! DAGs and their tasks: what runs, when, and where its inputs come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::spec::{number, present};

/// Tasks and what they amount to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DagSpec {
    /// By name.
    pub tasks: BTreeMap<String, TaskSpec>,
    /// Where the DAG's outputs come from.
    pub outputs: DagOutputs,
}

/// Where the outputs of a DAG come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DagOutputs {
    /// By output name.
    pub parameters: BTreeMap<String, DagOutputParameter>,
    /// By output name.
    pub artifacts: BTreeMap<String, DagOutputArtifact>,
}

/// Where an output parameter of a DAG comes from. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DagOutputParameter {
    /// One task's output.
    pub value_from_parameter: Option<ParameterSelector>,
    /// The first of several that exists (`dsl.OneOf`).
    pub value_from_oneof: Option<OneOf>,
}

/// Several candidates for one output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OneOf {
    /// In order of preference.
    pub parameter_selectors: Vec<ParameterSelector>,
}

/// An output parameter of a task of this DAG.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterSelector {
    /// The task.
    pub producer_subtask: String,
    /// Its output.
    pub output_parameter_key: String,
}

/// Where an output artifact of a DAG comes from: the first that exists, or all of them for a list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DagOutputArtifact {
    /// In order.
    pub artifact_selectors: Vec<ArtifactSelector>,
}

/// An output artifact of a task of this DAG.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactSelector {
    /// The task.
    pub producer_subtask: String,
    /// Its output.
    pub output_artifact_key: String,
}

/// One node of a DAG.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskSpec {
    /// Its name for people.
    pub task_info: TaskInfo,
    /// Where its inputs come from.
    pub inputs: TaskInputs,
    /// Tasks that come first, beside the producers of its inputs.
    pub dependent_tasks: Vec<String>,
    /// Whether an earlier result may stand in.
    pub caching_options: CachingOptions,
    /// What it runs.
    pub component_ref: ComponentRef,
    /// When it runs.
    pub trigger_policy: TriggerPolicy,
    /// Set for a loop over a list parameter.
    pub parameter_iterator: Option<ParameterIterator>,
    /// Set for a loop over a list of artifacts.
    pub artifact_iterator: Option<ArtifactIterator>,
    /// How many iterations at once.
    pub iterator_policy: Option<IteratorPolicy>,
    /// What happens after a failure.
    pub retry_policy: Option<RetryPolicy>,
}

/// What a task is called.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskInfo {
    /// For people; may be empty.
    pub name: String,
}

/// The component of a task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ComponentRef {
    /// A key of `components`.
    pub name: String,
}

/// Caching of one task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CachingOptions {
    /// Off unless said.
    pub enable_cache: bool,
    /// Replaces the computed key when not empty.
    pub cache_key: String,
}

/// When a task runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TriggerPolicy {
    /// A CEL expression over the task's inputs; empty means always.
    pub condition: String,
    /// Which end of the upstream tasks counts.
    pub strategy: TriggerStrategy,
}

/// Which end of the upstream tasks lets a task run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TriggerStrategy {
    /// All have succeeded (the default).
    #[default]
    #[serde(
        rename = "ALL_UPSTREAM_TASKS_SUCCEEDED",
        alias = "TRIGGER_STRATEGY_UNSPECIFIED"
    )]
    AllSucceeded,
    /// All have ended, however: exit handlers and `ignore_upstream_failure`.
    #[serde(rename = "ALL_UPSTREAM_TASKS_COMPLETED")]
    AllCompleted,
}

/// Where the inputs of a task come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskInputs {
    /// By input name.
    pub parameters: BTreeMap<String, ParameterSource>,
    /// By input name.
    pub artifacts: BTreeMap<String, ArtifactSource>,
}

/// Where one input parameter comes from. Exactly one of the first four is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterSource {
    /// Another task's output.
    pub task_output_parameter: Option<TaskOutputParameter>,
    /// A constant.
    pub runtime_value: Option<RuntimeValue>,
    /// An input of the DAG around.
    pub component_input_parameter: Option<String>,
    /// How another task has ended.
    pub task_final_status: Option<TaskFinalStatus>,
    /// A CEL expression that picks a part of the value.
    pub parameter_expression_selector: Option<String>,
}

/// An output parameter of a task beside this one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskOutputParameter {
    /// The task.
    pub producer_task: String,
    /// Its output.
    pub output_parameter_key: String,
}

/// A constant. `constant` is `Some(Null)` for a written null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeValue {
    /// The value.
    #[serde(deserialize_with = "present")]
    pub constant: Option<Value>,
    /// Deprecated: `{"intValue"|"doubleValue"|"stringValue": ..}`.
    pub constant_value: Option<Map<String, Value>>,
    /// The name of an input; only importers use it.
    pub runtime_parameter: Option<String>,
}

impl RuntimeValue {
    /// The constant, whichever way it was written. int64 texts become numbers.
    pub fn value(&self) -> Option<Value> {
        if let Some(value) = &self.constant {
            return Some(value.clone());
        }
        let (key, value) = self.constant_value.as_ref()?.iter().next()?;
        match (key.as_str(), value) {
            ("intValue", Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
            _ => Some(value.clone()),
        }
    }
}

/// The end of another task, as an input.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskFinalStatus {
    /// The task.
    pub producer_task: String,
}

/// Where one input artifact comes from. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactSource {
    /// Another task's output.
    pub task_output_artifact: Option<TaskOutputArtifact>,
    /// An input of the DAG around.
    pub component_input_artifact: Option<String>,
}

/// An output artifact of a task beside this one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskOutputArtifact {
    /// The task.
    pub producer_task: String,
    /// Its output.
    pub output_artifact_key: String,
}

/// A loop over a list parameter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterIterator {
    /// The list.
    pub items: ParameterItems,
    /// The component's input that gets one item.
    pub item_input: String,
}

/// The list of a loop. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterItems {
    /// JSON text.
    pub raw: Option<String>,
    /// The name of an input of the task.
    pub input_parameter: Option<String>,
}

/// A loop over a list of artifacts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactIterator {
    /// The list.
    pub items: ArtifactItems,
    /// The component's input that gets one item.
    pub item_input: String,
}

/// The list of a loop over artifacts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactItems {
    /// The name of an input of the task.
    pub input_artifact: String,
}

/// How a loop runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IteratorPolicy {
    /// Iterations at once; 0 means no limit.
    pub parallelism_limit: i32,
}

/// What happens after a failure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// Attempts after the first; 0 means none.
    #[serde(deserialize_with = "number")]
    pub max_retry_count: Option<f64>,
    /// Pause before the first retry: protobuf duration text, `"3.5s"`.
    pub backoff_duration: Option<String>,
    /// Each pause is this many times the one before.
    #[serde(deserialize_with = "number")]
    pub backoff_factor: Option<f64>,
    /// No pause is longer.
    pub backoff_max_duration: Option<String>,
}
