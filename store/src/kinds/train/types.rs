//! The fields of kubeflow.org/v1 jobs, as upstream names them; their doc comments are what `explain` shows.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A whole job, for its schema.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct TrainingJob<S> {
    /// The versioned schema of this object: kubeflow.org/v1.
    api_version: Option<String>,
    /// The kind of this object.
    kind: Option<String>,
    /// Standard object's metadata.
    metadata: Option<ObjectMeta>,
    /// What is wanted.
    spec: Option<S>,
    /// What was last seen. Written by the box.
    status: Option<JobStatus>,
}

/// The fields that all kinds share, also those that moved into runPolicy long ago.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Common {
    /// How the job runs and ends.
    pub run_policy: RunPolicy,
    /// Deprecated: use runPolicy.cleanPodPolicy.
    pub clean_pod_policy: Option<String>,
    /// Deprecated: use runPolicy.ttlSecondsAfterFinished.
    pub ttl_seconds_after_finished: Option<i32>,
    /// Deprecated: use runPolicy.activeDeadlineSeconds.
    pub active_deadline_seconds: Option<i64>,
    /// Deprecated: use runPolicy.backoffLimit.
    pub backoff_limit: Option<i32>,
}

/// How a job runs and ends.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunPolicy {
    /// Which Pods are deleted when the job ends: None, Running or All. Defaults to None.
    pub clean_pod_policy: Option<String>,
    /// Seconds after its end until the job itself is deleted. Defaults to never.
    pub ttl_seconds_after_finished: Option<i32>,
    /// Seconds, counted from startTime, after which a job that has not ended fails.
    pub active_deadline_seconds: Option<i64>,
    /// Restarts after which the job fails. Defaults to no limit.
    pub backoff_limit: Option<i32>,
    /// How Pods are placed: all of them or none.
    pub scheduling_policy: Option<SchedulingPolicy>,
    /// True: the job's Pods are deleted, and made again when it is false. Resets startTime.
    pub suspend: Option<bool>,
    /// Who runs this job: kubeflow.org/training-operator (the default) or kueue.x-k8s.io/multikueue. Immutable.
    pub managed_by: Option<String>,
}

/// How Pods are placed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulingPolicy {
    /// Pods that must fit before any of them starts. Defaults to all.
    pub min_available: Option<i32>,
    /// The queue of a batch scheduler.
    pub queue: Option<String>,
    /// Resources that must be free before any Pod starts.
    pub min_resources: Option<BTreeMap<String, Value>>,
    /// The priority of the group.
    pub priority_class: Option<String>,
    /// Seconds after which waiting counts as refused.
    pub schedule_timeout_seconds: Option<i32>,
}

/// Pods of one type.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSpec {
    /// How many. Defaults to 1.
    pub replicas: Option<i32>,
    /// The Pod that is made of each.
    pub template: PodTemplateSpec,
    /// Always, OnFailure, Never, or ExitCode: 128 and above is tried again in a new Pod, 1 to 127 fails the job.
    pub restart_policy: Option<String>,
}

/// How many workers an elastic job may have, and how they find each other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticPolicy {
    /// The least number of workers.
    pub min_replicas: Option<i32>,
    /// The greatest number of workers.
    pub max_replicas: Option<i32>,
    /// How workers meet: c10d (the default), etcd or etcd-v2.
    pub rdzv_backend: Option<String>,
    /// The port at which they meet.
    pub rdzv_port: Option<i32>,
    /// The host at which they meet. Defaults to the first worker.
    pub rdzv_host: Option<String>,
    /// The name under which they meet.
    pub rdzv_id: Option<String>,
    /// Further settings of the meeting.
    pub rdzv_conf: Vec<RdzvConf>,
    /// Start a meeting point of its own on each node.
    pub standalone: Option<bool>,
    /// Deprecated: use nprocPerNode.
    pub n_proc_per_node: Option<i32>,
    /// Restarts of the group of workers.
    pub max_restarts: Option<i32>,
    /// For an autoscaler; the box has none.
    pub metrics: Vec<Value>,
}

/// A setting of the meeting.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RdzvConf {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The fields that only some kinds have, read from any of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Special {
    /// TFJob: "" or AllWorkers.
    pub success_policy: Option<String>,
    /// TFJob: workers may come and go.
    pub enable_dynamic_worker: bool,
    /// PyTorchJob: processes per node: auto, cpu, gpu or a number.
    pub nproc_per_node: Option<String>,
    /// PyTorchJob and PaddleJob.
    pub elastic_policy: Option<ElasticPolicy>,
    /// MPIJob: slots per worker.
    pub slots_per_worker: Option<i32>,
    /// MPIJob: the container that runs the MPI code.
    pub main_container: Option<String>,
    /// MXJob: MXTrain or MXTune.
    pub job_mode: Option<String>,
}

/// What is known of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// The conditions, in order of their last change: the last is the state.
    pub conditions: Vec<JobCondition>,
    /// Pods by replica type.
    pub replica_statuses: BTreeMap<String, ReplicaStatus>,
    /// When the job was first seen, or resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When the job ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<String>,
    /// When this status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reconcile_time: Option<String>,
}

/// One thing that holds of a job, or no longer holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobCondition {
    /// Created, Running, Restarting, Suspended, Succeeded or Failed.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// One word: the kind and the type.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// When it was last written.
    pub last_update_time: String,
    /// When its status last changed.
    pub last_transition_time: String,
}

/// Pods of one replica type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaStatus {
    /// Pods that run.
    #[serde(skip_serializing_if = "is_zero")]
    pub active: i32,
    /// Pods that succeeded.
    #[serde(skip_serializing_if = "is_zero")]
    pub succeeded: i32,
    /// Pods that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: i32,
    /// Pods that were made anew after an exit code of 128 or above.
    #[serde(skip_serializing_if = "is_zero")]
    pub restarts: i32,
    /// How often each of them was, by its number, since it last ran for long: this decides how long it waits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts_by_index: BTreeMap<String, i32>,
    /// The labels of the Pods.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &i32) -> bool {
    *n == 0
}
