//! Training jobs: the replica-typed kinds of kubeflow.org/v1. One table says how they differ; the rest they share.

mod check;
mod prepare;
mod spec;
#[cfg(test)]
mod tests;
mod types;

use schemars::schema_for;
use serde_json::Value;

pub use types::{
    ElasticPolicy, JobCondition, JobStatus, RdzvConf, ReplicaSpec, ReplicaStatus, RunPolicy,
    SchedulingPolicy, Special,
};

use self::types::TrainingJob;
use crate::{Column, Kind, Object, Result, Scale, Verbs};

/// On Pods and Services: which job room made them.
pub const OPERATOR: &str = "training.kubeflow.org/operator-name";
/// On Pods and Services: the job.
pub const JOB_NAME: &str = "training.kubeflow.org/job-name";
/// On Pods and Services: the replica type, in lower case.
pub const REPLICA_TYPE: &str = "training.kubeflow.org/replica-type";
/// On Pods and Services: which of its type.
pub const REPLICA_INDEX: &str = "training.kubeflow.org/replica-index";
/// On the Pod that stands for the job: `master`.
pub const JOB_ROLE: &str = "training.kubeflow.org/job-role";
/// Who runs jobs here, unless `runPolicy.managedBy` names another.
pub const MANAGER: &str = "kubeflow.org/training-operator";

/// How a kind of job differs from the others.
#[derive(Debug)]
pub struct Framework {
    /// The kind.
    pub kind: &'static Kind,
    /// The field of the spec that holds the replicas.
    pub field: &'static str,
    /// Its replica types, in the order in which their Pods are made.
    pub types: &'static [&'static str],
    /// The types whose Pods decide how the job ends; without any of them, the workers do.
    pub leaders: &'static [&'static str],
    /// Whether there may be only one leader.
    pub one_leader: bool,
    /// A type that must be there.
    pub required: &'static str,
    /// Whether the leader starts programs in the workers: it is made when they run.
    pub launcher: bool,
    /// The container that does the work.
    pub container: &'static str,
    /// The port that it gets when it names none.
    pub port: Option<(&'static str, i32)>,
    /// The restart policy of replicas that name none.
    pub restart: &'static str,
}

const NONE: &str = "";

/// TFJob.
pub static TENSORFLOW: Framework = Framework {
    kind: &TF_JOB,
    field: "tfReplicaSpecs",
    types: &["Chief", "Master", "PS", "Worker", "Evaluator"],
    leaders: &["Chief", "Master"],
    one_leader: true,
    required: NONE,
    launcher: false,
    container: "tensorflow",
    port: Some(("tfjob-port", 2222)),
    restart: "Never",
};
/// PyTorchJob.
pub static PYTORCH: Framework = Framework {
    kind: &PYTORCH_JOB,
    field: "pytorchReplicaSpecs",
    types: &["Master", "Worker"],
    leaders: &["Master"],
    one_leader: true,
    required: NONE,
    launcher: false,
    container: "pytorch",
    port: Some(("pytorchjob-port", 23456)),
    restart: "OnFailure",
};
/// MPIJob.
pub static MPI: Framework = Framework {
    kind: &MPI_JOB,
    field: "mpiReplicaSpecs",
    types: &["Worker", "Launcher"],
    leaders: &["Launcher"],
    one_leader: true,
    required: "Launcher",
    launcher: true,
    container: "mpi",
    port: None,
    restart: "Never",
};
/// XGBoostJob.
pub static XGBOOST: Framework = Framework {
    kind: &XGBOOST_JOB,
    field: "xgbReplicaSpecs",
    types: &["Master", "Worker"],
    leaders: &["Master"],
    one_leader: true,
    required: "Master",
    launcher: false,
    container: "xgboost",
    port: Some(("xgboostjob-port", 9999)),
    restart: "Never",
};
/// PaddleJob.
pub static PADDLE: Framework = Framework {
    kind: &PADDLE_JOB,
    field: "paddleReplicaSpecs",
    types: &["Master", "Worker"],
    leaders: &["Master"],
    one_leader: false,
    required: NONE,
    launcher: false,
    container: "paddle",
    port: Some(("master", 36543)),
    restart: "OnFailure",
};
/// JAXJob.
pub static JAX: Framework = Framework {
    kind: &JAX_JOB,
    field: "jaxReplicaSpecs",
    types: &["Worker"],
    leaders: &[],
    one_leader: false,
    required: "Worker",
    launcher: false,
    container: "jax",
    port: Some(("jaxjob-port", 6666)),
    restart: "Never",
};
/// MXJob.
pub static MXNET: Framework = Framework {
    kind: &MX_JOB,
    field: "mxReplicaSpecs",
    types: &[
        "Scheduler",
        "Server",
        "Worker",
        "TunerTracker",
        "TunerServer",
        "Tuner",
    ],
    leaders: &["Scheduler", "Tuner"],
    one_leader: true,
    required: NONE,
    launcher: false,
    container: "mxnet",
    port: Some(("mxjob-port", 9091)),
    restart: "Never",
};
/// ChainerJob.
pub static CHAINER: Framework = Framework {
    kind: &CHAINER_JOB,
    field: "chainerReplicaSpecs",
    types: &["Worker", "Master"],
    leaders: &["Master"],
    one_leader: true,
    required: "Master",
    launcher: true,
    container: "chainer",
    port: None,
    restart: "Never",
};
/// Caffe2Job.
pub static CAFFE2: Framework = Framework {
    kind: &CAFFE2_JOB,
    field: "caffe2ReplicaSpecs",
    types: &["Master", "Worker"],
    leaders: &["Master"],
    one_leader: true,
    required: NONE,
    launcher: false,
    container: "caffe2",
    port: Some(("caffe2job-port", 2222)),
    restart: "Never",
};

/// All of them.
pub static FRAMEWORKS: &[&Framework] = &[
    &TENSORFLOW,
    &PYTORCH,
    &MPI,
    &XGBOOST,
    &PADDLE,
    &JAX,
    &MXNET,
    &CHAINER,
    &CAFFE2,
];

impl Framework {
    /// The framework of a kind of job.
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Framework> {
        FRAMEWORKS
            .iter()
            .copied()
            .find(|f| f.kind.kind == kind && f.kind.api_version() == api_version)
    }

    /// Whether a type's Pods decide how the job ends, when it is there.
    pub fn leads(&self, role: &str) -> bool {
        self.leaders.contains(&role)
    }

    /// The name of a Pod and of its Service. A launcher is alone and bears no number, as upstream.
    pub fn pod_name(&self, job: &str, role: &str, index: i32) -> String {
        match role {
            "Launcher" => format!("{job}-launcher"),
            _ => format!("{job}-{}-{index}", role.to_lowercase()),
        }
    }

    /// The container of a job's Pods that does the work.
    pub fn main<'a>(&'a self, special: &'a Special) -> &'a str {
        match &special.main_container {
            Some(name) if self.launcher && !name.is_empty() => name,
            _ => self.container,
        }
    }

    /// The replicas of a job, in the order of [`Framework::types`].
    ///
    /// # Errors
    /// `Invalid` naming the field that does not fit.
    pub fn replicas(&self, job: &Object) -> Result<Vec<(&'static str, ReplicaSpec)>> {
        let mut found = Vec::new();
        let map = job.body.get("spec").and_then(|s| s.get(self.field));
        for role in self.types {
            if let Some(value) = map.and_then(|m| m.get(role)) {
                let path = format!("spec.{}.{role}", self.field);
                found.push((*role, check::parse(value, &path)?));
            }
        }
        Ok(found)
    }
}

/// The run policy of a job.
///
/// # Errors
/// `Invalid` naming the field that does not fit.
pub fn run_policy(job: &Object) -> Result<RunPolicy> {
    match job.body.get("spec").and_then(|s| s.get("runPolicy")) {
        None | Some(Value::Null) => Ok(RunPolicy::default()),
        Some(policy) => check::parse(policy, "spec.runPolicy"),
    }
}

/// What only some kinds have.
///
/// # Errors
/// `Invalid` naming the field that does not fit.
pub fn special(job: &Object) -> Result<Special> {
    check::parse(job.body.get("spec").unwrap_or(&Value::Null), "spec")
}

const COLUMNS: &[Column] = &[Column::path("State", ".status.conditions[-1:].type")];

const BASE: Kind = Kind {
    group: "kubeflow.org",
    categories: &["all"],
    verbs: Verbs::All,
    columns: COLUMNS,
    prepare: prepare::prepare,
    fixed: &[("/spec/runPolicy/managedBy", "field is immutable")],
    validate: check::check,
    ..Kind::BASE
};

const fn scale(spec: &'static str) -> Option<Scale> {
    Some(Scale {
        spec,
        status: "/status/replicaStatuses/Worker/active",
        selector: "/status/replicaStatuses/Worker/selector",
    })
}

/// TensorFlow.
pub static TF_JOB: Kind = Kind {
    kind: "TFJob",
    plural: "tfjobs",
    scale: scale("/spec/tfReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::TfJobSpec>)),
    ..BASE
};
/// PyTorch.
pub static PYTORCH_JOB: Kind = Kind {
    kind: "PyTorchJob",
    plural: "pytorchjobs",
    scale: scale("/spec/pytorchReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::PyTorchJobSpec>)),
    ..BASE
};
/// MPI.
pub static MPI_JOB: Kind = Kind {
    kind: "MPIJob",
    plural: "mpijobs",
    scale: scale("/spec/mpiReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::MpiJobSpec>)),
    ..BASE
};
/// XGBoost.
pub static XGBOOST_JOB: Kind = Kind {
    kind: "XGBoostJob",
    plural: "xgboostjobs",
    scale: scale("/spec/xgbReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::XgBoostJobSpec>)),
    ..BASE
};
/// PaddlePaddle.
pub static PADDLE_JOB: Kind = Kind {
    kind: "PaddleJob",
    plural: "paddlejobs",
    scale: scale("/spec/paddleReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::PaddleJobSpec>)),
    ..BASE
};
/// JAX.
pub static JAX_JOB: Kind = Kind {
    kind: "JAXJob",
    plural: "jaxjobs",
    scale: scale("/spec/jaxReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::JaxJobSpec>)),
    ..BASE
};
/// Apache MXNet.
pub static MX_JOB: Kind = Kind {
    kind: "MXJob",
    plural: "mxjobs",
    scale: scale("/spec/mxReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::MxJobSpec>)),
    ..BASE
};
/// ChainerMN.
pub static CHAINER_JOB: Kind = Kind {
    kind: "ChainerJob",
    plural: "chainerjobs",
    scale: scale("/spec/chainerReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::ChainerJobSpec>)),
    ..BASE
};
/// Caffe2.
pub static CAFFE2_JOB: Kind = Kind {
    kind: "Caffe2Job",
    plural: "caffe2jobs",
    scale: scale("/spec/caffe2ReplicaSpecs/Worker/replicas"),
    schema: Some(|| schema_for!(TrainingJob<spec::Caffe2JobSpec>)),
    ..BASE
};

pub(crate) const KINDS: &[&Kind] = &[
    &TF_JOB,
    &PYTORCH_JOB,
    &MPI_JOB,
    &XGBOOST_JOB,
    &PADDLE_JOB,
    &JAX_JOB,
    &MX_JOB,
    &CHAINER_JOB,
    &CAFFE2_JOB,
];
