//! One step of one DAG instance: plans the tasks whose time has come, and says whether the DAG has ended. A
//! Run is its root DAG, a Task of type DAG is an inner one: both rooms call this with what they know.

use std::collections::BTreeMap;

use kfbox_store::{
    Code, Object, Ref, Result,
    kinds::{
        ir::{ComponentSpec, Pipeline},
        pipeline::{RUN_ID, TASK, TaskSpec, TaskState, TaskStatus, TaskType, Values},
    },
    now, now_micros,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Ctx;
use crate::pipeline::{
    self,
    plan::{self, Decision, Outcome},
    resolve,
    scope::{Job, Scope, TaskView},
};

/// A DAG that is under way.
pub struct Instance<'a> {
    /// The whole pipeline.
    pub pipeline: &'a Pipeline,
    /// The run.
    pub job: &'a Job,
    /// The component that holds the DAG.
    pub component: Option<&'a ComponentSpec>,
    /// The Run or Task whose DAG it is; it owns the tasks.
    pub owner: &'a Object,
    /// The run's id.
    pub run_id: &'a str,
    /// Where the DAG is, such as `root/exit-handler-1`.
    pub path: &'a str,
    /// What the DAG was given.
    pub inputs: &'a Values,
    /// For tasks without a retry policy of their own.
    pub retry_policy: Option<&'a Value>,
    /// Whether to stop.
    pub terminate: bool,
}

/// How far it is now.
pub struct Progress {
    /// Set when nothing more will happen.
    pub outcome: Option<Outcome>,
    /// What it gives, once it has succeeded.
    pub outputs: Values,
}

/// Plans what can be planned.
///
/// # Errors
/// When the store cannot be used; a task that cannot be planned is a failed task, not an error.
pub async fn advance(ctx: &Ctx, dag: &Instance<'_>) -> Result<Progress> {
    let failed = |message: String| Progress {
        outcome: Some(Outcome::Failed { message }),
        outputs: Values::default(),
    };
    let Some((component, spec)) = dag.component.and_then(|c| Some((c, c.dag.as_ref()?))) else {
        return Ok(failed(format!("{}: not a DAG", dag.path)));
    };
    let children = ctx.store.owned(&dag.owner.metadata.uid, &TASK).await?;
    let mut scope = Scope {
        path: dag.path.into(),
        inputs: dag.inputs.clone(),
        tasks: BTreeMap::new(),
    };
    for child in &children {
        let (task, status): (TaskSpec, TaskStatus) = (child.spec()?, child.status()?);
        let error = (!status.message.is_empty()).then_some(status.message);
        let view = TaskView {
            state: status.state,
            outputs: status.outputs,
            error,
        };
        scope.tasks.insert(task.name, view);
    }
    if dag.terminate {
        return stop(ctx, &children).await;
    }
    let ready_at = now_micros();
    let mut planned = Vec::new();
    // A skipped task may decide others in the same step: go on until nothing new is decided.
    loop {
        let mut found = Vec::new();
        for (name, decision) in plan::decide_all(dag.pipeline, component, &scope, dag.job) {
            // A task that has its object is its own room's business, whatever the plan would say of it.
            if scope.tasks.contains_key(name) {
                continue;
            }
            let (inputs, end) = match decision {
                Decision::Wait | Decision::Never { .. } => continue,
                Decision::Ready(inputs) => (Some(inputs), None),
                Decision::Skip { reason } => (None, Some((TaskState::Skipped, reason))),
                Decision::Fail { message } => (None, Some((TaskState::Failed, message))),
            };
            let view = match &end {
                None => TaskView::default(),
                Some((state, message)) => TaskView {
                    state: *state,
                    error: (*state == TaskState::Failed).then(|| message.clone()),
                    ..TaskView::default()
                },
            };
            found.push((name, view, task_object(dag, name, &ready_at, inputs, end)?));
        }
        if found.is_empty() {
            break;
        }
        for (name, view, task) in found {
            scope.tasks.insert(name.into(), view);
            planned.push(task);
        }
    }
    if !planned.is_empty() {
        create(ctx, dag.owner, planned).await?;
    }
    let Some(outcome) = plan::dag_outcome(spec, &scope) else {
        return Ok(Progress {
            outcome: None,
            outputs: Values::default(),
        });
    };
    if !matches!(outcome, Outcome::Succeeded) {
        return Ok(Progress {
            outcome: Some(outcome),
            outputs: Values::default(),
        });
    }
    Ok(Progress {
        outcome: Some(outcome),
        outputs: resolve::dag_outputs(component, &scope),
    })
}

/// All or none, and only while the owner is the one we looked at: a retry may have replaced it.
async fn create(ctx: &Ctx, owner: &Object, planned: Vec<Object>) -> Result<()> {
    let (owner, uid) = (owner.reference(), owner.metadata.uid.clone());
    ctx.store
        .write(move |txn| {
            let alive = match &owner {
                Some(owner) => txn.get(owner)?.is_some_and(|o| o.metadata.uid == uid),
                None => false,
            };
            if !alive {
                return Ok(());
            }
            for task in planned {
                match txn.create(task) {
                    // Planned by an earlier look whose change has not come round yet.
                    Err(e) if e.code == Code::AlreadyExists => {}
                    Err(e) => return Err(e),
                    Ok(_) => {}
                }
            }
            Ok(())
        })
        .await
}

fn task_object(
    dag: &Instance<'_>,
    name: &str,
    ready_at: &str,
    inputs: Option<Values>,
    end: Option<(TaskState, String)>,
) -> Result<Object> {
    let path = format!("{}/{name}", dag.path);
    let here = pipeline::locate(dag.pipeline, &path);
    let own_policy = here.as_ref().and_then(|l| l.task.retry_policy.as_ref());
    let policy = own_policy.and_then(|p| serde_json::to_value(p).ok());
    let display = here
        .as_ref()
        .map(|l| l.task.task_info.name.clone())
        .unwrap_or_default();
    let spec = TaskSpec {
        run_id: dag.run_id.into(),
        name: name.into(),
        display_name: if display.is_empty() {
            name.into()
        } else {
            display
        },
        component_name: here
            .as_ref()
            .map(|l| l.task.component_ref.name.clone())
            .unwrap_or_default(),
        task_type: match here {
            Some(l) if l.component.dag.is_some() => TaskType::Dag,
            _ => TaskType::Container,
        },
        ready_at: ready_at.into(),
        retry_policy: policy
            .or_else(|| dag.retry_policy.cloned())
            .unwrap_or_default(),
        inputs: inputs.unwrap_or_default(),
        path: path.clone(),
        ..TaskSpec::default()
    };
    let digest = hex::encode(Sha256::digest(path.as_bytes()));
    let mut task = Object::new(
        &TASK,
        &dag.owner.metadata.namespace,
        &format!("{}-{}", dag.run_id, &digest[..10]),
    )
    .with_spec(&spec)?
    .with_label(RUN_ID, dag.run_id)
    .owned_by(dag.owner);
    let mut status = TaskStatus {
        start_time: Some(now()),
        inputs: spec.inputs,
        ..TaskStatus::default()
    };
    if let Some((state, message)) = end {
        status.state = state;
        status.message = message;
        status.finish_time.clone_from(&status.start_time);
    }
    task.set("status", &status)?;
    Ok(task)
}

/// Tells everything below to stop; the DAG has ended when everything has.
async fn stop(ctx: &Ctx, children: &[Object]) -> Result<Progress> {
    let mut open = Vec::new();
    let mut untold = Vec::new();
    for child in children {
        if !child.status::<TaskStatus>()?.state.is_final() {
            let key = Ref::new(&TASK, &child.metadata.namespace, &child.metadata.name);
            if !child.spec::<TaskSpec>()?.terminate {
                untold.push(key.clone());
            }
            open.push(key);
        }
    }
    if !untold.is_empty() {
        ctx.store
            .write(move |txn| {
                for key in &untold {
                    txn.modify(key, |o| {
                        let mut spec: TaskSpec = o.spec()?;
                        spec.terminate = true;
                        o.set("spec", &spec)
                    })?;
                }
                Ok(())
            })
            .await?;
    }
    let outcome = open.is_empty().then_some(Outcome::Canceled);
    Ok(Progress {
        outcome,
        outputs: Values::default(),
    })
}
