//! One spec per kind, for its schema: the name of the field that holds the replicas, and what only this kind has.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::types::{Common, ElasticPolicy, ReplicaSpec};

type Replicas = BTreeMap<String, ReplicaSpec>;

/// A TensorFlow job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct TfJobSpec {
    #[serde(flatten)]
    common: Common,
    /// When it has succeeded: "" when the chief, or else the first worker, has; AllWorkers when all workers have.
    success_policy: Option<String>,
    /// Workers may come and go: each is told of itself and of the parameter servers only.
    enable_dynamic_worker: Option<bool>,
    /// Chief or Master, PS, Worker, Evaluator.
    tf_replica_specs: Replicas,
}

/// A PyTorch job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct PyTorchJobSpec {
    #[serde(flatten)]
    common: Common,
    /// Makes the number of workers elastic.
    elastic_policy: Option<ElasticPolicy>,
    /// Processes per node: auto, cpu, gpu or a number. Defaults to auto.
    nproc_per_node: Option<String>,
    /// Master, Worker.
    pytorch_replica_specs: Replicas,
}

/// An MPI job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct MpiJobSpec {
    #[serde(flatten)]
    common: Common,
    /// Slots per worker in the hostfile. Defaults to 1.
    slots_per_worker: Option<i32>,
    /// The container that runs the MPI code. Defaults to mpi.
    main_container: Option<String>,
    /// Launcher, Worker.
    mpi_replica_specs: Replicas,
}

/// An XGBoost job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct XgBoostJobSpec {
    #[serde(flatten)]
    common: Common,
    /// Master, Worker.
    xgb_replica_specs: Replicas,
}

/// A PaddlePaddle job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct PaddleJobSpec {
    #[serde(flatten)]
    common: Common,
    /// Makes the number of workers elastic.
    elastic_policy: Option<ElasticPolicy>,
    /// Master (parameter servers), Worker.
    paddle_replica_specs: Replicas,
}

/// A JAX job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct JaxJobSpec {
    #[serde(flatten)]
    common: Common,
    /// Worker.
    jax_replica_specs: Replicas,
}

/// An Apache MXNet job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct MxJobSpec {
    #[serde(flatten)]
    common: Common,
    /// MXTrain (the default) or MXTune.
    job_mode: Option<String>,
    /// Scheduler, Server, Worker; TunerTracker, TunerServer, Tuner.
    mx_replica_specs: Replicas,
}

/// A ChainerMN job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct ChainerJobSpec {
    #[serde(flatten)]
    common: Common,
    /// Slots per worker in the hostfile. Defaults to 1.
    slots_per_worker: Option<i32>,
    /// Master, Worker.
    chainer_replica_specs: Replicas,
}

/// A Caffe2 job.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct Caffe2JobSpec {
    #[serde(flatten)]
    common: Common,
    /// Master, Worker.
    caffe2_replica_specs: Replicas,
}
