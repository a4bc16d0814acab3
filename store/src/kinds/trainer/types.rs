//! The fields of TrainJob and its runtimes, as upstream names them.

use k8s_openapi::{
    api::{
        batch::v1::JobTemplateSpec,
        core::v1::{
            EnvVar, LocalObjectReference, PersistentVolumeClaim, PodTemplateSpec,
            ResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One training.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainJob {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Who it is.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: TrainJobSpec,
    /// What became of it.
    pub status: TrainJobStatus,
}

/// A recipe.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainingRuntime {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Who it is.
    pub metadata: ObjectMeta,
    /// The recipe.
    pub spec: TrainingRuntimeSpec,
}

/// What a TrainJob wants.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainJobSpec {
    /// The recipe it follows.
    pub runtime_ref: RuntimeRef,
    /// What is fetched before the training starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializer: Option<Initializer>,
    /// What is trained, on how many nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainer: Option<Trainer>,
    /// Changes to the recipe, applied in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtime_patches: Vec<RuntimePatch>,
    /// The older form of `runtimePatches`: changes to Pod templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_template_overrides: Vec<PodTemplateOverride>,
    /// Whether it waits without Pods.
    pub suspend: Option<bool>,
    /// Seconds after which it fails; 0 = never. Counted anew when it is resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Who runs it; anybody but the trainer's own controller makes the box stand aside.
    pub managed_by: Option<String>,
}

/// Names a recipe.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeRef {
    /// Its name.
    pub name: String,
    /// Its group.
    pub api_group: Option<String>,
    /// `ClusterTrainingRuntime` or `TrainingRuntime`.
    pub kind: Option<String>,
}

/// What is fetched before the training starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Initializer {
    /// The data.
    pub dataset: Option<InitializerSource>,
    /// The model.
    pub model: Option<InitializerSource>,
}

/// Where to fetch from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InitializerSource {
    /// The source; its scheme names the provider.
    pub storage_uri: Option<String>,
    /// For the initializer's container.
    pub env: Vec<EnvVar>,
    /// A Secret whose keys become environment variables.
    pub secret_ref: Option<LocalObjectReference>,
}

/// What is trained, on how many nodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Trainer {
    /// Instead of the recipe's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Instead of the recipe's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Instead of the recipe's arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// For the trainer's containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Pods that train together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_nodes: Option<i32>,
    /// What each of them gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources_per_node: Option<ResourceRequirements>,
    /// Processes in each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_proc_per_node: Option<i32>,
}

/// A change to the recipe by one manager.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimePatch {
    /// Who made it, such as `example.com/controller`.
    pub manager: String,
    /// When.
    pub time: Option<Time>,
    /// What.
    pub training_runtime_spec: Option<TrainingRuntimeSpecPatch>,
}

/// A partial recipe.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainingRuntimeSpecPatch {
    /// Of the Pods.
    pub template: Option<JobSetTemplate>,
}

/// The older form of a change: to the Pod templates of some replicated jobs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateOverride {
    /// The replicated jobs it concerns.
    pub target_jobs: Vec<TargetJob>,
    /// Merged into the template's metadata.
    pub metadata: Option<ObjectMeta>,
    /// Merged into the template's spec; lists by their keys.
    #[schemars(with = "PodTemplateSpec")]
    pub spec: Option<serde_json::Value>,
}

/// Names a replicated job.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TargetJob {
    /// Its name.
    pub name: String,
}

/// A recipe.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainingRuntimeSpec {
    /// How the nodes find each other.
    pub ml_policy: Option<MlPolicy>,
    /// All Pods of a group start together or none does: the box does so always, so this is only kept.
    pub pod_group_policy: Option<serde_json::Map<String, serde_json::Value>>,
    /// The Pods.
    pub template: JobSetTemplate,
}

/// How the nodes find each other: at most one framework.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MlPolicy {
    /// Pods that train together, unless the TrainJob says another number.
    pub num_nodes: Option<i32>,
    /// PyTorch: `PET_*`, for torchrun.
    pub torch: Option<TorchPolicy>,
    /// MPI: ssh and a hostfile.
    pub mpi: Option<MpiPolicy>,
    /// JAX: `JAX_*`.
    pub jax: Option<Empty>,
    /// XGBoost: `DMLC_*`.
    pub xgboost: Option<Empty>,
    /// Flux: not done by this box.
    pub flux: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A policy without settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// PyTorch's settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TorchPolicy {
    /// The older way to say how many processes a node has.
    pub num_proc_per_node: Option<k8s_openapi::apimachinery::pkg::util::intstr::IntOrString>,
    /// Other containers that get `PET_*` too.
    pub env_injection: Option<EnvInjection>,
}

/// Other containers that get `PET_*` too.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvInjection {
    /// Which.
    pub targets: Vec<EnvInjectionTarget>,
}

/// Containers of a replicated job.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvInjectionTarget {
    /// The replicated job.
    pub job_name: String,
    /// Its containers.
    pub container_names: Vec<String>,
}

/// MPI's settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MpiPolicy {
    /// Slots of a node.
    pub num_proc_per_node: Option<i32>,
    /// `OpenMPI`.
    pub mpi_implementation: Option<String>,
    /// Where the ssh keys are mounted.
    pub ssh_auth_mount_path: Option<String>,
    /// Whether the launcher computes too.
    pub run_launcher_as_node: Option<bool>,
}

/// A JobSet, as runtimes hold one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSetTemplate {
    /// Labels and annotations.
    pub metadata: Option<ObjectMeta>,
    /// The JobSet.
    pub spec: JobSetSpec,
}

/// Sets of Pods that belong together.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSetSpec {
    /// The sets.
    pub replicated_jobs: Vec<ReplicatedJob>,
    /// Volumes that all sets share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_claim_policies: Vec<VolumeClaimPolicy>,
    /// Names of the Pods.
    pub network: Option<Network>,
    /// When it has succeeded.
    pub success_policy: Option<SuccessPolicy>,
    /// What a failure means.
    pub failure_policy: Option<FailurePolicy>,
    /// Start order of the older form.
    pub startup_policy: Option<StartupPolicy>,
    /// Seconds after its end until it is removed.
    pub ttl_seconds_after_finished: Option<i32>,
    /// Whether it waits without Pods; the TrainJob's own field decides.
    pub suspend: Option<bool>,
}

/// Volumes that all sets share.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeClaimPolicy {
    /// The claims; their names are the names that containers mount.
    pub templates: Vec<PersistentVolumeClaim>,
    /// What becomes of them.
    pub retention_policy: Option<RetentionPolicy>,
}

/// What becomes of claims.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionPolicy {
    /// `Delete` (with the TrainJob) or `Retain`.
    pub when_deleted: Option<String>,
}

/// A set of Pods.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicatedJob {
    /// Its name.
    pub name: String,
    /// Copies of it; 1 unless said.
    pub replicas: Option<i32>,
    /// Its Pods.
    pub template: JobTemplateSpec,
    /// What must have happened before it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependsOn>,
}

/// What must have happened to another set.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DependsOn {
    /// The other set.
    pub name: String,
    /// `Ready` or `Complete`.
    pub status: String,
}

/// Names of the Pods.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// Whether Pods have names: they always do.
    #[serde(rename = "enableDNSHostnames")]
    pub enable_dns_hostnames: Option<bool>,
    /// The name under which the Pods are found; the TrainJob's name unless said.
    pub subdomain: Option<String>,
    /// Whether Pods are found before they are ready: they always are.
    pub publish_not_ready_addresses: Option<bool>,
}

/// When a JobSet has succeeded.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessPolicy {
    /// `All` or `Any` of the targets.
    pub operator: String,
    /// The sets that count; all when empty.
    pub target_replicated_jobs: Vec<String>,
}

/// What a failure means.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailurePolicy {
    /// Times that all Pods start over after a failure.
    pub max_restarts: i32,
    /// How they start over: all at once, whatever is said.
    pub restart_strategy: Option<String>,
    /// Finer rules: not done by this box.
    pub rules: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// Start order of the older form.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupPolicy {
    /// `AnyOrder` or `InOrder`.
    pub startup_policy_order: String,
}

/// What became of a TrainJob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainJobStatus {
    /// Suspended, Complete, Failed; none while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Its sets of Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs_status: Vec<JobStatus>,
    /// What the training says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainer_status: Option<TrainerStatus>,
    /// Times that all Pods have started over. The box's own field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<i32>,
}

/// A set of Pods, counted in copies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// Copies whose Pods are all ready or have succeeded.
    pub ready: i32,
    /// Copies that have succeeded.
    pub succeeded: i32,
    /// Copies that have failed.
    pub failed: i32,
    /// Copies with Pods that run or wait to run.
    pub active: i32,
    /// Copies that are suspended.
    pub suspended: i32,
}

/// What a training says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainerStatus {
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_percentage: Option<i32>,
    /// Seconds that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_remaining_seconds: Option<i32>,
    /// The newest metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// When it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_time: Option<Time>,
}

/// One metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value, as text.
    pub value: String,
}
