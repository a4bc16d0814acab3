//! What is known inside one running DAG: its inputs, and how far each of its tasks has come.

use std::collections::BTreeMap;

pub use kfbox_store::kinds::pipeline::{Artifact, TaskState, Values};

/// What a task or DAG is given.
pub type Inputs = Values;
/// What a task or DAG gives.
pub type Outputs = Values;

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
