//! The task room. A Task of type DAG advances its own tasks; a Task that runs a container has one Pod per
//! attempt and reads its outputs when it ends.
//!
//! ```text
//!           cache hit
//!  PENDING ----------------------------------------> CACHED
//!     |  environment ready, Pod made   exit 0, outputs read
//!     +-------> RUNNING --------------------------> SUCCEEDED
//!                  |  exit != 0: next attempt after the policy's pause, else FAILED
//!                  |  interrupted from outside: the same attempt again, a few times
//!                  +  terminate: CANCELED
//! ```

mod attempt;
mod import;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use kfbox_store::{
    Code, Error, Event, Kind, Object, Ref, Result,
    kinds::{
        core::{POD, Phase, PodStatus, STOP, reason},
        environment::ENVIRONMENT,
        ir::{Pipeline, RetryPolicy},
        pipeline::{
            Attempt, CACHE_ENTRY, CacheEntrySpec, CachedFrom, RUN, RunSpec, TASK, TaskSpec,
            TaskState, TaskStatus, TaskType, Values,
        },
    },
    now,
};

use super::{Ctx, dag};
use crate::{
    controller::{Action, Reconciler},
    pipeline::{self, Located, plan::Outcome, scope::Job},
};

/// Times a step is run again because it was stopped from outside, beyond what its policy allows for failures.
const MAX_INTERRUPTIONS: usize = 10;

/// The room.
pub struct Tasks {
    ctx: Ctx,
    /// Who waits for which Environment; rebuilt by the first look at each Task.
    waiting: Mutex<HashMap<Ref, HashSet<Ref>>>,
}

impl Tasks {
    /// The room of a box.
    pub fn new(ctx: Ctx) -> Self {
        Self {
            ctx,
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Ref, HashSet<Ref>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A container task under one look.
struct Step<'a> {
    key: &'a Ref,
    task: &'a Object,
    spec: TaskSpec,
    status: TaskStatus,
    pipeline: &'a Pipeline,
    at: Located<'a>,
    job: Job,
}

#[async_trait]
impl Reconciler for Tasks {
    fn name(&self) -> &'static str {
        "task"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&TASK]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let ns = &object.metadata.namespace;
        if object.kind == TASK.kind {
            wake(Ref::new(&TASK, ns, &object.metadata.name));
        }
        if (object.kind == TASK.kind || object.kind == POD.kind)
            && let Some(owner) = object.controller().filter(|o| o.kind == TASK.kind)
        {
            wake(Ref::new(&TASK, ns, &owner.name));
        }
        if object.kind == ENVIRONMENT.kind {
            let environment = Ref::new(&ENVIRONMENT, ns, &object.metadata.name);
            for task in self.waiting().remove(&environment).into_iter().flatten() {
                wake(task);
            }
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(task) = self.ctx.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        let status: TaskStatus = task.status()?;
        if status.state.is_final() || task.deleting() {
            return Ok(Action::Wait);
        }
        let spec: TaskSpec = task.spec()?;
        let run_key = Ref::new(&RUN, &key.namespace, &spec.run_id);
        let Some(run) = self.ctx.store.get(&run_key).await? else {
            return Ok(Action::Wait);
        };
        let run_spec: RunSpec = run.spec()?;
        let pipeline = self
            .ctx
            .specs
            .get(&key.namespace, &run_spec.pipeline_spec.digest)
            .await?;
        let job = pipeline::job(&run, &run_spec, &pipeline);
        let Some(at) = pipeline::locate(&pipeline, &spec.path) else {
            let message = format!("{} is not in the pipeline", spec.path);
            return self.end(key, status, TaskState::Failed, &message).await;
        };
        if spec.task_type == TaskType::Dag {
            return self
                .dag(key, &task, &spec, status, &pipeline, &at, &job)
                .await;
        }
        let mut step = Step {
            key,
            task: &task,
            spec,
            status,
            pipeline: &pipeline,
            at,
            job,
        };
        self.step(&mut step).await
    }
}

impl Tasks {
    #[allow(clippy::too_many_arguments)]
    async fn dag(
        &self,
        key: &Ref,
        task: &Object,
        spec: &TaskSpec,
        mut status: TaskStatus,
        pipeline: &Pipeline,
        at: &Located<'_>,
        job: &Job,
    ) -> Result<Action> {
        let instance = dag::Instance {
            pipeline,
            job,
            component: Some(at.component),
            owner: task,
            run_id: &spec.run_id,
            path: &spec.path,
            inputs: &spec.inputs,
            retry_policy: Some(&spec.retry_policy).filter(|p| !p.is_null()),
            terminate: spec.terminate,
        };
        let progress = dag::advance(&self.ctx, &instance).await?;
        match progress.outcome {
            None if status.state == TaskState::Running => Ok(Action::Wait),
            None => {
                status.state = TaskState::Running;
                self.write(key, status).await
            }
            Some(_) if spec.terminate => self.canceled(key, status).await,
            Some(Outcome::Succeeded) => {
                status.outputs = progress.outputs;
                self.end(key, status, TaskState::Succeeded, "").await
            }
            Some(Outcome::Canceled) => self.canceled(key, status).await,
            Some(Outcome::Failed { message }) => {
                self.end(key, status, TaskState::Failed, &message).await
            }
        }
    }

    async fn step(&self, step: &mut Step<'_>) -> Result<Action> {
        if step.status.pod_name.is_empty() {
            if step.spec.terminate {
                return self.canceled(step.key, step.status.clone()).await;
            }
            if let Some(wait) = backing_off(&step.status) {
                return Ok(Action::After(wait));
            }
            if let Some(importer) = import::importer(step) {
                return self.import(step, importer).await;
            }
            return self.begin(step).await;
        }
        let pod_key = Ref::new(&POD, &step.key.namespace, &step.status.pod_name);
        let pod = self.ctx.store.get(&pod_key).await?;
        let pod_status = match &pod {
            Some(pod) => pod.status()?,
            None => PodStatus {
                phase: Phase::Failed,
                reason: reason::INTERRUPTED.into(),
                message: "its Pod was deleted".into(),
                ..PodStatus::default()
            },
        };
        if step.spec.terminate && !pod_status.phase.terminal() {
            self.stop(&pod_key).await?;
            return Ok(Action::Wait);
        }
        match pod_status.phase {
            Phase::Pending => {
                self.note(step, TaskState::Pending, &pod_status.message)
                    .await
            }
            Phase::Running => self.running(step, &pod_status).await,
            Phase::Succeeded => self.succeeded(step, &pod_status).await,
            Phase::Failed => self.failed(step, &pod_status).await,
        }
    }

    async fn stop(&self, pod: &Ref) -> Result<()> {
        let stopped = self
            .ctx
            .store
            .modify(pod, |p| {
                p.metadata
                    .annotations
                    .entry(STOP.into())
                    .or_insert_with(|| "the run was terminated by its user".into());
                Ok(())
            })
            .await;
        match stopped {
            Err(e) if e.code != Code::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    async fn note(&self, step: &Step<'_>, state: TaskState, message: &str) -> Result<Action> {
        let mut status = step.status.clone();
        status.state = state;
        status.message = message.into();
        self.write(step.key, status).await
    }

    async fn running(&self, step: &Step<'_>, pod: &PodStatus) -> Result<Action> {
        let mut status = step.status.clone();
        if status.state == TaskState::Running {
            return Ok(Action::Wait);
        }
        status.state = TaskState::Running;
        status.message.clear();
        if let Some(attempt) = status.attempts.last_mut() {
            attempt.start_time.clone_from(&pod.start_time);
        }
        self.write(step.key, status).await
    }

    async fn succeeded(&self, step: &mut Step<'_>, pod: &PodStatus) -> Result<Action> {
        record(&mut step.status, pod);
        match self.collect(step).await {
            Ok(outputs) => {
                let mut status = step.status.clone();
                status.outputs = outputs;
                self.end_and_remember(step, status).await
            }
            Err(e) if e.retryable() => Err(e),
            Err(e) => self.attempt_failed(step, &e.message).await,
        }
    }

    async fn failed(&self, step: &mut Step<'_>, pod: &PodStatus) -> Result<Action> {
        record(&mut step.status, pod);
        if step.spec.terminate {
            return self.canceled(step.key, step.status.clone()).await;
        }
        if pod.reason == reason::INTERRUPTED {
            let interruptions = step
                .status
                .attempts
                .iter()
                .filter(|a| a.reason == reason::INTERRUPTED)
                .count();
            if interruptions <= MAX_INTERRUPTIONS {
                self.ctx.metrics.pod_interrupted();
                tracing::warn!(
                    task = step.spec.path,
                    run = step.spec.run_id,
                    "interrupted, runs again: {}",
                    pod.message
                );
                step.status.pod_name.clear();
                step.status.state = TaskState::Pending;
                step.status.message = format!("runs again: {}", pod.message);
                return self.write(step.key, step.status.clone()).await;
            }
        }
        self.attempt_failed(step, &pod.message).await
    }

    /// A failure that counts: the next attempt after its pause when the policy has one left, else the end.
    async fn attempt_failed(&self, step: &mut Step<'_>, why: &str) -> Result<Action> {
        let policy: RetryPolicy =
            serde_json::from_value(step.spec.retry_policy.clone()).unwrap_or_default();
        let most = policy.max_retries() as usize;
        let failures = step
            .status
            .attempts
            .iter()
            .filter(|a| a.reason != reason::INTERRUPTED)
            .count();
        let mut status = step.status.clone();
        if failures > most {
            return self.end(step.key, status, TaskState::Failed, why).await;
        }
        let pause = policy.pause(u32::try_from(failures).unwrap_or(u32::MAX));
        let at = jiff::Timestamp::now()
            .checked_add(pause)
            .map_err(Error::internal)?;
        status.retry_at = Some(at.to_string());
        status.pod_name.clear();
        status.state = TaskState::Running;
        status.message = format!(
            "attempt {failures} of {} failed ({why}); tries again in {} s",
            most + 1,
            pause.as_secs()
        );
        self.write(step.key, status).await?;
        Ok(Action::After(pause))
    }

    async fn write(&self, key: &Ref, status: TaskStatus) -> Result<Action> {
        self.ctx
            .store
            .modify(key, move |o| o.set("status", &status))
            .await?;
        Ok(Action::Wait)
    }

    async fn end(
        &self,
        key: &Ref,
        mut status: TaskStatus,
        state: TaskState,
        message: &str,
    ) -> Result<Action> {
        status.state = state;
        status.message = message.into();
        status.retry_at = None;
        status.finish_time = Some(now());
        self.write(key, status).await
    }

    async fn canceled(&self, key: &Ref, status: TaskStatus) -> Result<Action> {
        self.end(key, status, TaskState::Canceled, "terminated by its user")
            .await
    }

    /// Success, and what it gave under its fingerprint, in one transaction.
    async fn end_and_remember(&self, step: &Step<'_>, mut status: TaskStatus) -> Result<Action> {
        status.state = TaskState::Succeeded;
        status.message.clear();
        status.retry_at = None;
        status.finish_time = Some(now());
        let (key, uid) = (step.key.clone(), step.task.metadata.uid.clone());
        let entry = match status.fingerprint.as_str() {
            "" => None,
            fingerprint => Some(cache_entry(step, fingerprint, &status.outputs)?),
        };
        self.ctx
            .store
            .write(move |txn| {
                if txn.fetch(&key)?.metadata.uid != uid {
                    return Err(Error::new(
                        Code::Conflict,
                        "the Task was replaced by a retry",
                    ));
                }
                if let Some(entry) = entry {
                    let at = Ref::new(&CACHE_ENTRY, &key.namespace, &entry.metadata.name);
                    // The newest result wins.
                    if txn.get(&at)?.is_some() {
                        txn.modify(&at, |old| {
                            old.body = entry.body;
                            old.metadata.owner_references = entry.metadata.owner_references;
                            Ok(())
                        })?;
                    } else {
                        txn.create(entry)?;
                    }
                }
                txn.modify(&key, |o| o.set("status", &status)).map(|_| ())
            })
            .await?;
        let dir = self.ctx.step_dir(&step.status.pod_name);
        // A crash before this line leaves the folder to the sweep at the next start.
        let _ = tokio::fs::remove_dir_all(dir).await;
        Ok(Action::Wait)
    }
}

fn cache_entry(step: &Step<'_>, fingerprint: &str, outputs: &Values) -> Result<Object> {
    Ok(Object::new(&CACHE_ENTRY, &step.key.namespace, fingerprint)
        .with_spec(&CacheEntrySpec {
            from: CachedFrom {
                run_id: step.spec.run_id.clone(),
                task_path: step.spec.path.clone(),
            },
            outputs: outputs.clone(),
        })?
        .owned_by(step.task))
}

/// Copies what the Pod says into the record of its attempt.
fn record(status: &mut TaskStatus, pod: &PodStatus) {
    let ended = pod
        .container_statuses
        .first()
        .and_then(|c| c.state.as_ref()?.terminated.as_ref());
    let pod_name = status.pod_name.clone();
    if let Some(attempt) = status.attempts.iter_mut().find(|a| a.pod_name == pod_name) {
        *attempt = Attempt {
            pod_name,
            start_time: pod.start_time.clone(),
            finish_time: ended
                .and_then(|t| t.finished_at.as_ref())
                .map(|t| t.0.to_string()),
            exit_code: ended.map(|t| t.exit_code),
            reason: pod.reason.clone(),
            message: pod.message.clone(),
            ..std::mem::take(attempt)
        };
    }
}

fn backing_off(status: &TaskStatus) -> Option<Duration> {
    let at: jiff::Timestamp = status.retry_at.as_ref()?.parse().ok()?;
    let left = at.duration_since(jiff::Timestamp::now());
    Duration::try_from(left).ok().filter(|d| !d.is_zero())
}
