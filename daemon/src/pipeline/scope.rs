//! What is known inside one running DAG: its inputs, and how far each of its tasks has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Named values: the inputs of a task or DAG, or its outputs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// By name. A null is an optional parameter that nobody gave.
    pub parameters: Map<String, Value>,
    /// By name; one artifact each, more for a list.
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
}

/// What a task or DAG is given.
pub type Inputs = Values;
/// What a task or DAG gives.
pub type Outputs = Values;

/// An artifact as tasks hand it on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Artifact {
    /// The name it was made under.
    pub name: String,
    /// Like `minio://bucket/key`. It is also the artifact's identity.
    pub uri: String,
    /// Like `system.Dataset`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What its maker says about it.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// A path inside the container where it lies instead of at its URI's place.
    #[serde(
        default,
        rename = "customPath",
        skip_serializing_if = "Option::is_none"
    )]
    pub custom_path: Option<String>,
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Known, not started.
    #[default]
    Pending,
    /// Started (also while it waits for a retry).
    Running,
    /// Ended well.
    Succeeded,
    /// Ended well, with the result of an earlier run.
    Cached,
    /// Its condition was false, or a task before it was skipped.
    Skipped,
    /// Ended badly, after all retries.
    Failed,
    /// Stopped by the user.
    Canceled,
}

impl TaskState {
    /// Whether nothing more will happen to the task.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether its outputs exist.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached)
    }

    /// Whether it ended without its work done, by fault or by order.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled)
    }
}

/// One task as its neighbours see it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskView {
    /// How far it has come.
    pub state: TaskState,
    /// What it gave; empty until it ended well.
    pub outputs: Outputs,
    /// Why it failed, for people and for exit handlers.
    pub error: Option<String>,
}

/// What is known inside one instance of a DAG.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scope {
    /// Which instance: `root`, `root/exit-handler-1`. Gives its tasks their ids.
    pub path: String,
    /// The inputs of the DAG itself.
    pub inputs: Inputs,
    /// By task name. A task that is not here has not been reached.
    pub tasks: BTreeMap<String, TaskView>,
}

/// The run that a task belongs to: what job placeholders stand for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Job {
    /// Display name of the run (`{{$.pipeline_job_name}}`).
    pub name: String,
    /// A name that contains the pipeline's (`{{$.pipeline_job_resource_name}}`).
    pub resource_name: String,
    /// The run's id (`{{$.pipeline_job_uuid}}`).
    pub uuid: String,
    /// The pipeline's name, from its spec.
    pub pipeline_name: String,
    /// RFC 3339, UTC.
    pub create_time: String,
    /// RFC 3339, UTC; the same as `create_time` for a run that no schedule made.
    pub schedule_time: String,
    /// Where artifacts go, without a slash at the end: `minio://mlpipeline/v2/artifacts`.
    pub pipeline_root: String,
}
