//! TrainJob and its runtimes (trainer.kubeflow.org/v1alpha1): what to train, and the recipe it follows. There is
//! no JobSet kind: the box reads a runtime's template as JobSet would and makes the Pods itself.

mod check;
mod types;

pub use check::RESERVED_ENV;
pub use types::*;

use schemars::schema_for;

use crate::{Column, Kind, Object, Result, Verbs};

/// Group and version of all three kinds.
const BASE: Kind = Kind {
    group: "trainer.kubeflow.org",
    version: "v1alpha1",
    verbs: Verbs::All,
    ..Kind::BASE
};

/// One training.
pub static TRAIN_JOB: Kind = Kind {
    kind: "TrainJob",
    plural: "trainjobs",
    short: &["tj"],
    schema: Some(|| schema_for!(TrainJob)),
    prepare: check::prepare_job,
    fixed: &[("/spec/managedBy", "ManagedBy value is immutable")],
    validate: check::check_job,
    columns: &[Column::path("State", ".status.conditions[-1:].type")],
    ..BASE
};

/// A recipe for the TrainJobs of its namespace.
pub static TRAINING_RUNTIME: Kind = Kind {
    kind: "TrainingRuntime",
    plural: "trainingruntimes",
    schema: Some(|| schema_for!(TrainingRuntime)),
    prepare: check::prepare_runtime,
    validate: check::check_runtime,
    ..BASE
};

/// A recipe for all TrainJobs.
pub static CLUSTER_TRAINING_RUNTIME: Kind = Kind {
    kind: "ClusterTrainingRuntime",
    plural: "clustertrainingruntimes",
    namespaced: false,
    schema: Some(|| schema_for!(TrainingRuntime)),
    prepare: check::prepare_runtime,
    validate: check::check_runtime,
    ..BASE
};

pub(crate) const KINDS: &[&Kind] = &[&TRAIN_JOB, &TRAINING_RUNTIME, &CLUSTER_TRAINING_RUNTIME];

/// Puts what a training says of its progress into its status: the one field that its own Pods write.
///
/// # Errors
/// `Invalid` naming the field that does not fit.
pub fn set_trainer_status(job: &mut Object, request: &serde_json::Value) -> Result<()> {
    let given = request
        .get("trainerStatus")
        .unwrap_or(&serde_json::Value::Null);
    let trainer: TrainerStatus = serde_json::from_value(given.clone())
        .map_err(|e| crate::Error::invalid(format!("trainerStatus: {e}")))?;
    if trainer
        .progress_percentage
        .is_some_and(|p| !(0..=100).contains(&p))
    {
        return Err(crate::Error::invalid(
            "trainerStatus.progressPercentage: must be 0 to 100",
        ));
    }
    let mut status: serde_json::Map<String, serde_json::Value> = job.status()?;
    status.insert("trainerStatus".into(), given.clone());
    job.set("status", &status)
}
