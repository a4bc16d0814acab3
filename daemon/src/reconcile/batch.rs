//! The room of batch/v1 Jobs: Pods that run to their end, in some number, with some failures allowed.
//!
//! ```text
//!  (Suspended) <-> running --completions reached--> SuccessCriteriaMet, Complete --ttl--> gone
//!                     +-----backoffLimit, deadline, failure policy--> FailureTarget, Failed --ttl--> gone
//! ```

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{BACKOFF, INDEX};

use async_trait::async_trait;
use jiff::Timestamp;
use kfbox_store::{
    Event, Kind, Ref, Result,
    kinds::{core::POD, workload::JOB},
};

use super::Ctx;
use crate::controller::{Action, Reconciler};

/// The room.
pub struct Jobs(pub Ctx);

#[async_trait]
impl Reconciler for Jobs {
    fn name(&self) -> &'static str {
        "job"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&JOB]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        super::template::wake_owner(&event.object, &JOB, wake);
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.0.store;
        let Some(job) = store.get(key).await?.filter(|j| !j.deleting()) else {
            return Ok(Action::Wait);
        };
        let pods = store.owned(&job.metadata.uid, &POD).await?;
        plan::plan(&job, &pods, Timestamp::now())?
            .write(store, &job)
            .await
    }
}
