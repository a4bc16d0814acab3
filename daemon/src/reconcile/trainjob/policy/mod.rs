//! How the nodes of a training find each other: one file per framework.

mod jax;
mod mpi;
mod torch;
mod xgboost;

pub use mpi::{HOSTFILE_SUFFIX, SSH_SUFFIX};

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector,
};
use kfbox_store::Result;

use super::jobset::{JobSet, NODE, PORT, Training};
use crate::reconcile::batch::INDEX;

/// Applies the runtime's policy, if it has one.
pub fn apply(training: &Training<'_>, jobset: &mut JobSet) -> Result<()> {
    let Some(policy) = &training.runtime.ml_policy else {
        return Ok(());
    };
    if let Some(torch) = &policy.torch {
        torch::apply(training, torch, jobset)?;
    }
    if let Some(mpi) = &policy.mpi {
        mpi::apply(training, mpi, jobset);
    }
    if policy.jax.is_some() {
        jax::apply(training, jobset);
    }
    if policy.xgboost.is_some() {
        xgboost::apply(training, jobset);
    }
    Ok(())
}

/// A variable that holds the Pod's number in its set.
fn rank(name: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: format!("metadata.annotations['{INDEX}']"),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// The containers that train.
fn trainers(jobset: &mut JobSet) -> impl Iterator<Item = &mut Container> {
    let sets = jobset.sets.iter_mut().filter(|s| s.ancestor == "trainer");
    sets.filter_map(|s| s.container(NODE))
}

/// Says that rank 0 listens there.
fn listen(container: &mut Container) {
    let ports = container.ports.get_or_insert_default();
    if ports.iter().all(|p| p.container_port != PORT) {
        ports.push(ContainerPort {
            container_port: PORT,
            ..ContainerPort::default()
        });
    }
}
