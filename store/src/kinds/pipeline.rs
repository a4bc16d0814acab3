//! The pipelines room: Pipeline, PipelineVersion, PipelineSpec, Experiment (KFP's grouping of runs), Run, Task.
//!
//! A Run says what is wanted (which spec, which parameters, whether to stop or to retry); its Tasks say what
//! has become of each node of the DAG; a Task that runs a container owns one Pod per attempt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Column, Error, Kind, Object, Result};

const GROUP: &str = "pipelines.kubeflow.org";
const VERSION: &str = "v2beta1";

/// On Tasks and Pods: the run they belong to. Upstream's name.
pub const RUN_ID: &str = "pipeline/runid";

const STATE: Column = Column::path("State", ".status.state");
const DISPLAY: Column = Column::path("Display name", ".spec.displayName");

const fn kind(
    kind: &'static str,
    plural: &'static str,
    validate: fn(&Object) -> Result<()>,
    columns: &'static [Column],
) -> Kind {
    Kind {
        group: GROUP,
        version: VERSION,
        kind,
        plural,
        validate,
        columns,
        ..Kind::BASE
    }
}

/// A named pipeline; its name is its pipeline_id.
pub static PIPELINE: Kind = kind("Pipeline", "pipelines", display_name, &[DISPLAY]);
/// A version of a pipeline, owned by it.
pub static PIPELINE_VERSION: Kind = kind(
    "PipelineVersion",
    "pipelineversions",
    display_name,
    &[DISPLAY],
);
/// A pipeline's IR, stored once however many versions and runs use it. Named `sha256-<hex>` of its JSON.
pub static PIPELINE_SPEC: Kind = kind("PipelineSpec", "pipelinespecs", |_| Ok(()), &[]);
/// A group of runs; its name is its experiment_id.
pub static EXPERIMENT: Kind = kind("Experiment", "experiments", display_name, &[DISPLAY]);
/// One execution of a pipeline; its name is its run_id.
pub static RUN: Kind = kind(
    "Run",
    "runs",
    |o| o.spec::<RunSpec>().map(|_| ()),
    &[DISPLAY, STATE],
);
/// One node of a run's DAG.
pub static TASK: Kind = kind(
    "Task",
    "tasks",
    |o| o.spec::<TaskSpec>().map(|_| ()),
    &[Column::path("Task", ".spec.path"), STATE],
);

/// What a task with this fingerprint gave: its name is the fingerprint. Owned by the Task, and gone with it, so
/// that a hit never leads to outputs that were deleted.
pub static CACHE_ENTRY: Kind = kind("CacheEntry", "cacheentries", |_| Ok(()), &[]);

pub(crate) const KINDS: &[&Kind] = &[
    &CACHE_ENTRY,
    &PIPELINE,
    &PIPELINE_VERSION,
    &PIPELINE_SPEC,
    &EXPERIMENT,
    &RUN,
    &TASK,
];

fn display_name(object: &Object) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        #[serde(default)]
        display_name: String,
    }
    match object.spec::<Named>()?.display_name.trim() {
        "" => Err(Error::invalid("display_name: required")),
        _ => Ok(()),
    }
}

/// A pipeline.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineInfo {
    /// Shown to people; unique in the namespace.
    pub display_name: String,
    /// Upstream's `name`: unique, kept when the display name changes.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Free key/value tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A version of a pipeline.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineVersionSpec {
    /// Shown to people; unique in the pipeline.
    pub display_name: String,
    /// Upstream's `name`.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The pipeline it is a version of.
    pub pipeline_id: String,
    /// The IR.
    pub pipeline_spec: SpecRef,
    /// Free key/value tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where the code is kept, as the uploader says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code_source_url: String,
}

/// Names a [`PIPELINE_SPEC`] object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpecRef {
    /// The object's name: `sha256-<hex>`.
    pub digest: String,
}

/// The body of a [`PIPELINE_SPEC`]: the IR as clients sent it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineSpecBody {
    /// The IR document.
    pub pipeline: Value,
    /// The platform document, when there is one.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub platform: Value,
}

/// A group of runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentSpec {
    /// Shown to people; unique in the namespace.
    pub display_name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is put away.
    pub storage_state: StorageState,
    /// When its last run was created (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_created_at: Option<String>,
}

/// Whether a run or an experiment is put away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StorageState {
    /// In the lists.
    #[default]
    Available,
    /// Out of sight, kept.
    Archived,
}

/// What a run should do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunSpec {
    /// Shown to people; need not be unique.
    pub display_name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its group.
    pub experiment_id: String,
    /// The IR it runs.
    pub pipeline_spec: SpecRef,
    /// The stored version it came from, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_version_reference: Option<VersionRef>,
    /// Parameters and root.
    pub runtime_config: RuntimeConfig,
    /// Kept for the caller; the box has no service accounts yet.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
    /// Whether it is put away.
    pub storage_state: StorageState,
    /// Set once: stop what runs, start nothing more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminate: bool,
    /// How often a retry was asked for.
    pub retry: u32,
}

/// Names a stored pipeline version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VersionRef {
    /// The pipeline.
    pub pipeline_id: String,
    /// Its version.
    pub pipeline_version_id: String,
}

/// What the caller of a run may set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeConfig {
    /// Values of root input parameters, checked and with defaults filled in.
    pub parameters: Map<String, Value>,
    /// Where artifacts go; empty = the pipeline's or the box's default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pipeline_root: String,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Something runs or will run.
    Running,
    /// All that had to run did.
    Succeeded,
    /// Nothing had to run.
    Skipped,
    /// Something failed.
    Failed,
    /// Asked to stop; something still runs.
    Canceling,
    /// Stopped as asked.
    Canceled,
}

impl RunState {
    /// Whether nothing more will happen unless a retry is asked for.
    pub fn terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Skipped | Self::Failed | Self::Canceled
        )
    }
}

/// What has become of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// Where it is.
    pub state: RunState,
    /// Every state it went through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state_history: Vec<StateChange>,
    /// When the first task was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When it reached a terminal state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<String>,
    /// Why it failed, in a sentence that names the task.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The last `spec.retry` that was acted on.
    pub retry: u32,
}

/// One entry of a run's history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateChange {
    /// When (RFC 3339).
    pub update_time: String,
    /// The state entered.
    pub state: RunState,
    /// Why, for failures.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What kind of node a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskType {
    /// Runs a container.
    #[default]
    Container,
    /// Holds other tasks.
    #[serde(rename = "DAG")]
    Dag,
}

/// One node of a run's DAG, as planned.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskSpec {
    /// Its run.
    pub run_id: String,
    /// Its place, such as `root/exit-handler-1/train`.
    pub path: String,
    /// Its key in its DAG, such as `train`.
    pub name: String,
    /// Shown to people.
    pub display_name: String,
    /// The component it instantiates.
    pub component_name: String,
    /// What kind of node it is.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// When all it waits for had ended (RFC 3339 with microseconds).
    pub ready_at: String,
    /// Set when the run is terminated: stop what runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminate: bool,
    /// For a task that will never run: why. Its state is then `SKIPPED`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skip: String,
    /// Retries asked for by the nearest enclosing task with a retry policy, when its own has none.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub retry_policy: Value,
    /// Inputs, resolved when it became ready.
    pub inputs: Values,
}

/// The state of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Known, not running yet.
    #[default]
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Not run: an earlier execution's outputs were reused.
    Cached,
    /// Not run: its condition is false, or what it waits for was skipped.
    Skipped,
    /// Failed.
    Failed,
    /// Stopped because the run was terminated.
    Canceled,
}

impl TaskState {
    /// Whether nothing more will happen to it (unless the run is retried).
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

/// Named values: the inputs of a task or DAG, or its outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// Parameters by name. A null is an optional parameter that nobody gave.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Artifacts by name; one each, more for a list.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
}

/// A thing that a task made or uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// The name it was made under.
    pub name: String,
    /// Where the bytes are, like `minio://bucket/key`. It is also the artifact's identity.
    pub uri: String,
    /// Schema title, such as `system.Metrics`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What the task noted about it; for metrics, the values themselves.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// A path inside the container where it lies instead of at its URI's place.
    #[serde(rename = "customPath", skip_serializing_if = "Option::is_none")]
    pub custom_path: Option<String>,
}

/// One try of a task that runs a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempt {
    /// Its Pod.
    pub pod_name: String,
    /// The image as the component names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The content id of the image that ran, with its packages.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// When its container started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<String>,
    /// The container's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// One word, such as `OOMKilled`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What has become of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStatus {
    /// Where it is.
    pub state: TaskState,
    /// Why, when it failed, waits or was skipped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it became known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When it reached a terminal state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<String>,
    /// The Pod of the last attempt.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_name: String,
    /// Every attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The earliest moment of the next attempt, while backing off (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// What it was given.
    pub inputs: Values,
    /// What it made.
    pub outputs: Values,
    /// The digest of what decides its outputs, when caching is on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// Whose outputs it reuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<CachedFrom>,
}

/// Where reused outputs come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CachedFrom {
    /// The run.
    pub run_id: String,
    /// The task's path in it.
    pub task_path: String,
}

/// The body of a [`CACHE_ENTRY`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheEntrySpec {
    /// Who made it.
    pub from: CachedFrom,
    /// What it made.
    pub outputs: Values,
}
