//! The run room: a Run is its root DAG. Each look lets the DAG advance by what is known, and writes the Run's
//! own state.
//!
//! ```text
//!  PENDING -> RUNNING -> SUCCEEDED | FAILED | SKIPPED
//!                |            ^   ^ retry: what did not succeed is planned again
//!                v terminate  |   |
//!            CANCELING -> CANCELED
//! ```

use std::collections::BTreeSet;

use async_trait::async_trait;
use kfbox_store::{
    Code, Event, Kind, Object, Propagation, Ref, Result,
    kinds::{
        ir::DagSpec,
        pipeline::{
            RUN, RunSpec, RunState, RunStatus, StateChange, TASK, TaskSpec, TaskState, TaskStatus,
            TaskType, Values,
        },
    },
    now,
};

use super::{Ctx, dag};
use crate::{
    controller::{Action, Reconciler},
    pipeline::{self, plan::Outcome},
};

/// The room.
pub struct Runs(pub Ctx);

#[async_trait]
impl Reconciler for Runs {
    fn name(&self) -> &'static str {
        "run"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&RUN]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let ns = &object.metadata.namespace;
        if object.kind == RUN.kind {
            wake(Ref::new(&RUN, ns, &object.metadata.name));
        } else if object.kind == TASK.kind
            && let Some(owner) = object.controller().filter(|o| o.kind == RUN.kind)
        {
            wake(Ref::new(&RUN, ns, &owner.name));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(run) = self.0.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        let spec: RunSpec = run.spec()?;
        let status: RunStatus = run.status()?;
        if run.deleting() {
            return Ok(Action::Wait);
        }
        if status.state.terminal() {
            if spec.retry > status.retry {
                return self.retry(&run, &spec, status).await;
            }
            return Ok(Action::Wait);
        }
        let pipeline = match self
            .0
            .specs
            .get(&run.metadata.namespace, &spec.pipeline_spec.digest)
            .await
        {
            Ok(pipeline) => pipeline,
            Err(e) if e.retryable() => return Err(e),
            Err(e) => return self.enter(key, status, RunState::Failed, &e.message).await,
        };
        let job = pipeline::job(&run, &spec, &pipeline);
        let inputs = Values {
            parameters: spec.runtime_config.parameters.clone(),
            ..Values::default()
        };
        let progress = dag::advance(
            &self.0,
            &dag::Instance {
                pipeline: &pipeline,
                job: &job,
                component: pipeline.spec.root.as_ref(),
                owner: &run,
                run_id: &run.metadata.name,
                path: "root",
                inputs: &inputs,
                retry_policy: None,
                terminate: spec.terminate,
            },
        )
        .await?;
        let (state, message) = match progress.outcome {
            None if spec.terminate => (RunState::Canceling, String::new()),
            None => (RunState::Running, String::new()),
            Some(_) if spec.terminate => (RunState::Canceled, "terminated by its user".into()),
            Some(Outcome::Succeeded) => (RunState::Succeeded, String::new()),
            Some(Outcome::Canceled) => (RunState::Canceled, "terminated by its user".into()),
            Some(Outcome::Failed { message }) => (RunState::Failed, message),
        };
        if state == status.state {
            return Ok(Action::Wait);
        }
        self.enter(key, status, state, &message).await
    }
}

impl Runs {
    async fn enter(
        &self,
        key: &Ref,
        mut status: RunStatus,
        state: RunState,
        message: &str,
    ) -> Result<Action> {
        let time = now();
        status.state = state;
        status.message = message.into();
        status.start_time.get_or_insert_with(|| time.clone());
        status.finish_time = state.terminal().then(|| time.clone());
        status.state_history.push(StateChange {
            update_time: time,
            state,
            error: message.into(),
        });
        tracing::info!(run = key.name, ?state, message, "run");
        self.0
            .store
            .modify(key, move |o| o.set("status", &status))
            .await?;
        Ok(Action::Wait)
    }

    /// Forgets, in one transaction, every task that did not succeed and all that came after one that did not;
    /// what succeeded is kept, so nothing that had finished runs again.
    async fn retry(&self, run: &Object, spec: &RunSpec, mut status: RunStatus) -> Result<Action> {
        let pipeline = self
            .0
            .specs
            .get(&run.metadata.namespace, &spec.pipeline_spec.digest)
            .await?;
        let mut doomed = Vec::new();
        let mut reopened = Vec::new();
        let mut levels = vec![(run.metadata.uid.clone(), "root".to_string())];
        while let Some((uid, path)) = levels.pop() {
            let children = self.0.store.owned(&uid, &TASK).await?;
            let Some(dag) =
                pipeline::locate(&pipeline, &path).and_then(|l| l.component.dag.as_ref())
            else {
                continue;
            };
            let mut again = BTreeSet::new();
            for child in &children {
                if !child.status::<TaskStatus>()?.state.is_good() {
                    again.insert(child.spec::<TaskSpec>()?.name);
                }
            }
            spread(dag, &mut again);
            for child in children {
                let task: TaskSpec = child.spec()?;
                if !again.contains(&task.name) {
                    continue;
                }
                let failed_inside =
                    task.task_type == TaskType::Dag && child.status::<TaskStatus>()?.state.is_bad();
                if failed_inside {
                    levels.push((child.metadata.uid.clone(), task.path));
                    reopened.push(child);
                } else {
                    doomed.push(child);
                }
            }
        }
        let key = Ref::new(&RUN, &run.metadata.namespace, &run.metadata.name);
        status.retry = spec.retry;
        status.state = RunState::Running;
        status.message.clear();
        status.finish_time = None;
        status.state_history.push(StateChange {
            update_time: now(),
            state: RunState::Running,
            error: String::new(),
        });
        let at = |o: &Object| Ref::new(&TASK, &o.metadata.namespace, &o.metadata.name);
        let (doomed, reopened): (Vec<_>, Vec<_>) = (
            doomed.iter().map(at).collect(),
            reopened.iter().map(at).collect(),
        );
        self.0
            .store
            .write(move |txn| {
                for task in &doomed {
                    txn.delete(task, Propagation::Cascade)?;
                }
                for task in &reopened {
                    txn.modify(task, |o| {
                        let mut status: TaskStatus = o.status()?;
                        status.state = TaskState::Running;
                        status.message.clear();
                        status.finish_time = None;
                        o.set("status", &status)?;
                        let mut spec: TaskSpec = o.spec()?;
                        spec.terminate = false;
                        o.set("spec", &spec)
                    })?;
                }
                txn.modify(&key, |o| {
                    let mut spec: RunSpec = o.spec()?;
                    if spec.retry != status.retry {
                        return Err(kfbox_store::Error::new(Code::Conflict, "asked again"));
                    }
                    spec.terminate = false;
                    o.set("spec", &spec)?;
                    o.set("status", &status)
                })
                .map(|_| ())
            })
            .await?;
        Ok(Action::Wait)
    }
}

/// Adds everything downstream of what is in the set.
fn spread(dag: &DagSpec, set: &mut BTreeSet<String>) {
    loop {
        let more: Vec<_> = dag
            .tasks
            .iter()
            .filter(|(name, task)| {
                !set.contains(*name) && task.upstream().iter().any(|u| set.contains(*u))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return;
        }
        set.extend(more);
    }
}
