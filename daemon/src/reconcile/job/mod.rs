//! The room of training jobs: makes a job's Pods, follows them, and says how it goes. One room for all kinds of
//! kubeflow.org/v1; how they differ is in their table and in `env`.

mod env;
mod judge;
mod plan;
mod pods;
mod status;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_env;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kfbox_store::{
    Code, Error, Event, Kind, Object, Propagation, Ref, Result, Txn,
    kinds::{
        cluster::CONFIG_MAP,
        core::{POD, STOP},
        service::SERVICE,
        train::{FRAMEWORKS, Framework, JobStatus, MANAGER, run_policy},
    },
};

use self::plan::{Plan, World};
use super::Ctx;
use crate::{
    controller::{Action, Reconciler},
    events::{Level, record_in},
};

/// How long to wait for a name that another owner holds, should its going not be heard of.
const TAKEN: Duration = Duration::from_secs(5);

/// The room, and the pause before a replica's second restart.
pub struct Jobs(pub Ctx, pub Duration);

#[async_trait]
impl Reconciler for Jobs {
    fn name(&self) -> &'static str {
        "job"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        FRAMEWORKS.iter().map(|f| f.kind).collect()
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let ns = &object.metadata.namespace;
        if let Some(framework) = Framework::of(&object.api_version, &object.kind) {
            wake(Ref::new(framework.kind, ns, &object.metadata.name));
        } else if (object.kind == POD.kind || event.deleted() && object.kind == SERVICE.kind)
            && let Some(owner) = object.controller()
            && let Some(framework) = Framework::of(&owner.api_version, &owner.kind)
        {
            wake(Ref::new(framework.kind, ns, &owner.name));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.0.store;
        let Some(job) = store.get(key).await? else {
            return Ok(Action::Wait);
        };
        let Some(framework) = Framework::of(&job.api_version, &job.kind) else {
            return Ok(Action::Wait);
        };
        let manager = run_policy(&job)?.managed_by.unwrap_or_default();
        if job.deleting() || !["", MANAGER].contains(&manager.as_str()) {
            return Ok(Action::Wait);
        }
        let uid = &job.metadata.uid;
        let mut world = World {
            pods: store.owned(uid, &POD).await?,
            services: store.owned(uid, &SERVICE).await?,
            config: None,
            backoff: self.1,
        };
        if framework.launcher {
            world.config = store.owned(uid, &CONFIG_MAP).await?.into_iter().next();
        }
        let plan = plan::plan(framework, &job, &world, Timestamp::now())?;
        let after = plan.after.map_or(Action::Wait, Action::After);
        if idle(&plan, &job)? {
            return Ok(after);
        }
        let (target, planned_for) = (key.clone(), job.clone());
        let done = store
            .write(move |txn| carry_out(txn, &target, &planned_for, plan))
            .await;
        match done {
            Ok(true) => Ok(after),
            Ok(false) => Ok(Action::After(TAKEN)),
            Err(e)
                if matches!(
                    e.code,
                    Code::Invalid | Code::Unprocessable | Code::Unsupported
                ) =>
            {
                self.fail(key, &job, framework, &e).await
            }
            Err(e) => Err(e),
        }
    }
}

impl Jobs {
    /// A job whose Pods the box refuses to make: trying again would not help.
    async fn fail(
        &self,
        key: &Ref,
        job: &Object,
        framework: &'static Framework,
        why: &Error,
    ) -> Result<Action> {
        let now = Timestamp::now();
        let mut status: JobStatus = job.status()?;
        let kind = framework.kind.kind;
        let message = format!(
            "{kind} {} has failed because its Pods cannot be made: {}",
            job.metadata.name, why.message
        );
        let reason = format!("{kind}Failed");
        status::set(&mut status, status::FAILED, true, &reason, &message, now);
        status.completion_time.get_or_insert(status::stamp(now));
        let plan = Plan {
            status,
            events: vec![(Level::Warning, reason, message)],
            ..Plan::default()
        };
        let (key, job) = (key.clone(), job.clone());
        self.0
            .store
            .write(move |txn| carry_out(txn, &key, &job, plan))
            .await?;
        Ok(Action::Wait)
    }
}

/// Whether there is nothing to do.
fn idle(plan: &Plan, job: &Object) -> Result<bool> {
    Ok(!plan.gone
        && plan.create.is_empty()
        && plan.delete.is_empty()
        && plan.stop.is_empty()
        && plan.config.is_none()
        && plan.status == job.status()?)
}

/// Does what was planned, all of it or nothing; false when a name is still taken by something of another owner.
fn carry_out(txn: &mut Txn<'_>, key: &Ref, job: &Object, plan: Plan) -> Result<bool> {
    let current = txn.fetch(key)?;
    if current.metadata.resource_version != job.metadata.resource_version {
        return Err(Error::new(Code::Conflict, "the job changed meanwhile"));
    }
    if plan.gone {
        txn.delete(key, Propagation::Cascade)?;
        return Ok(true);
    }
    for gone in &plan.delete {
        txn.delete(gone, Propagation::Cascade)?;
    }
    for (pod, why) in plan.stop {
        if txn.get(&pod)?.is_some() {
            txn.modify(&pod, |p| {
                p.metadata.annotations.entry(STOP.into()).or_insert(why);
                Ok(())
            })?;
        }
    }
    let uid = &job.metadata.uid;
    let mut taken = None;
    for object in plan.config.iter().chain(&plan.create) {
        if let Some(at) = object.reference()
            && let Some(there) = txn.get(&at)?
            && there.controller().is_none_or(|o| o.uid != *uid)
        {
            taken = Some((at, there));
            break;
        }
    }
    let mut events = plan.events;
    match &taken {
        Some((at, there)) if !there.deleting() => {
            let message = format!(
                "{} \"{}\" is there already and belongs to another: delete it or name this job otherwise",
                there.kind, at.name
            );
            events.push((Level::Warning, "FailedCreate".into(), message));
        }
        Some(_) => {}
        None => make(txn, plan.config, plan.create)?,
    }
    let status = plan.status;
    if status != job.status()? {
        txn.modify(key, |j| j.set("status", &status))?;
    }
    for (level, reason, message) in events {
        record_in(txn, job, level, &reason, &message)?;
    }
    Ok(taken.is_none())
}

fn make(txn: &mut Txn<'_>, config: Option<Object>, create: Vec<Object>) -> Result<()> {
    if let Some(config) = config
        && let Some(at) = config.reference()
    {
        match txn.get(&at)? {
            None => txn.create(config)?,
            Some(_) => txn.modify(&at, |c| {
                c.body.clone_from(&config.body);
                Ok(())
            })?,
        };
    }
    for object in create {
        match txn.create(object) {
            // Made by a pass whose answer was lost.
            Err(e) if e.code == Code::AlreadyExists => {}
            made => {
                made?;
            }
        }
    }
    Ok(())
}
