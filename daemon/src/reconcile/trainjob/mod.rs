//! The room of TrainJobs: reads a runtime as JobSet would and makes the Pods itself. No JobSet and no Job is
//! kept; the Pods' names, host names and labels are theirs.
//!
//! ```text
//!  (Suspended) <-> running: no conditions --success policy--> Complete
//!                    |  ^ maxRestarts: all Pods start over
//!                    +--failed set, deadline, unfit runtime--> Failed
//! ```

mod child;
mod extras;
mod jobset;
mod patch;
mod plan;
mod policy;
pub mod runtimes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use kfbox_store::{
    Event, Kind, Ref, Result,
    kinds::{
        cluster::{CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, SECRET},
        core::POD,
        service::SERVICE,
        trainer::{
            CLUSTER_TRAINING_RUNTIME, TRAIN_JOB, TRAINING_RUNTIME, TrainJobSpec,
            TrainingRuntimeSpec,
        },
    },
};

use super::{Ctx, template::wake_owner};
use crate::controller::{Action, Reconciler};

/// The room.
pub struct TrainJobs(pub Ctx);

#[async_trait]
impl Reconciler for TrainJobs {
    fn name(&self) -> &'static str {
        "trainjob"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&TRAIN_JOB]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        wake_owner(&event.object, &TRAIN_JOB, wake);
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.0.store;
        let Some(job) = store.get(key).await?.filter(|j| !j.deleting()) else {
            return Ok(Action::Wait);
        };
        let spec: TrainJobSpec = job.spec()?;
        let kind = match spec.runtime_ref.kind.as_deref() {
            Some("TrainingRuntime") => &TRAINING_RUNTIME,
            _ => &CLUSTER_TRAINING_RUNTIME,
        };
        let at = Ref::new(kind, &key.namespace, &spec.runtime_ref.name);
        let runtime = store.get(&at).await?;
        let runtime: Option<TrainingRuntimeSpec> = runtime.map(|r| r.spec()).transpose()?;
        let uid = &job.metadata.uid;
        let pods = store.owned(uid, &POD).await?;
        let mut extras = BTreeSet::new();
        for kind in [&SERVICE, &SECRET, &CONFIG_MAP, &PERSISTENT_VOLUME_CLAIM] {
            let children = store.owned(uid, kind).await?;
            extras.extend(children.into_iter().map(|c| (c.kind, c.metadata.name)));
        }
        let world = plan::World {
            job: &job,
            runtime,
            pods: &pods,
            extras,
            keys: &extras::new_keys,
        };
        plan::plan(&world, Timestamp::now())?
            .write(store, &job)
            .await
    }
}
