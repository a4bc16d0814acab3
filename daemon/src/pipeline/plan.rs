//! What may happen next inside one DAG instance.

use std::collections::{BTreeMap, BTreeSet};

use kfbox_store::kinds::ir::{ComponentSpec, DagSpec, Pipeline, TriggerStrategy};

use super::expr;
use super::resolve::resolve_inputs;
use super::scope::{Inputs, Job, Scope, TaskState};

/// What to do about one task now.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing yet: something before it has not ended, or it runs or has ended itself.
    Wait,
    /// Start it, with these inputs.
    Ready(Inputs),
    /// It ends as SKIPPED: its condition is false, or a task before it was skipped.
    Skip {
        /// Why, for people.
        reason: String,
    },
    /// It will not be started in this DAG instance: something failed. It stays as it is (not reached).
    Never {
        /// Why, for people.
        reason: String,
    },
    /// It ends as FAILED without being started: its inputs or its condition make no sense.
    Fail {
        /// Why, for people.
        message: String,
    },
}

/// How a DAG instance has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every task succeeded or was skipped.
    Succeeded,
    /// A task failed, the exit handler or the body alike.
    Failed {
        /// Which and why, for people.
        message: String,
    },
    /// No task failed, but some were canceled.
    Canceled,
}

/// What can be said of a task without looking at its inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate<'a> {
    /// It has ended.
    Ended(TaskState),
    /// It runs.
    Running,
    /// It waits for a task before it.
    Waits,
    /// Everything before it has ended as it should.
    Due,
    /// A task before it was skipped (named here).
    Skipped(&'a str),
    /// It will not be started, because of the task named here.
    Never(&'a str),
}

/// What to do about every task of the DAG that `component` is, in the order of their names.
///
/// After a failure nothing new starts in the DAG, except tasks with ALL_UPSTREAM_TASKS_COMPLETED (exit handlers,
/// `ignore_upstream_failure`), once what they wait for has ended or will never start. A cancellation of the run is
/// the caller's business: it stops asking.
pub fn decide_all<'a>(
    pipeline: &Pipeline,
    component: &'a ComponentSpec,
    scope: &Scope,
    job: &Job,
) -> Vec<(&'a str, Decision)> {
    let Some(dag) = &component.dag else {
        return Vec::new();
    };
    fates(dag, scope)
        .into_iter()
        .map(|(name, fate)| (name, judge(fate, pipeline, dag, name, scope, job)))
        .collect()
}

fn judge(
    fate: Fate<'_>,
    pipeline: &Pipeline,
    dag: &DagSpec,
    name: &str,
    scope: &Scope,
    job: &Job,
) -> Decision {
    match fate {
        Fate::Ended(_) | Fate::Running | Fate::Waits => Decision::Wait,
        Fate::Skipped(by) => Decision::Skip {
            reason: format!("task {by:?} before it was skipped"),
        },
        Fate::Never(by) => Decision::Never {
            reason: format!("task {by:?} did not succeed"),
        },
        Fate::Due => due(pipeline, dag, name, scope, job),
    }
}

fn due(pipeline: &Pipeline, dag: &DagSpec, name: &str, scope: &Scope, job: &Job) -> Decision {
    let Some(task) = dag.tasks.get(name) else {
        return Decision::Wait;
    };
    let Some(component) = pipeline.spec.components.get(&task.component_ref.name) else {
        return Decision::Fail {
            message: format!(
                "the pipeline has no component {:?}",
                task.component_ref.name
            ),
        };
    };
    let inputs = match resolve_inputs(name, task, component, scope, job) {
        Ok(inputs) => inputs,
        Err(error) => {
            return Decision::Fail {
                message: error.to_string(),
            };
        }
    };
    let condition = &task.trigger_policy.condition;
    if condition.is_empty() {
        return Decision::Ready(inputs);
    }
    match expr::condition(condition, &inputs.parameters) {
        Ok(true) => Decision::Ready(inputs),
        Ok(false) => Decision::Skip {
            reason: format!("its condition is false: {condition}"),
        },
        Err(message) => Decision::Fail { message },
    }
}

/// How the DAG has ended; `None` while anything runs or may still start.
pub fn dag_outcome(dag: &DagSpec, scope: &Scope) -> Option<Outcome> {
    let fates = fates(dag, scope);
    let open = |fate: &Fate<'_>| {
        matches!(
            fate,
            Fate::Running | Fate::Waits | Fate::Due | Fate::Skipped(_)
        )
    };
    if fates.values().any(open) {
        return None;
    }
    let failed: Vec<&str> = ended(&fates, TaskState::Failed).collect();
    if let Some(first) = failed.first() {
        let cause = scope
            .tasks
            .get(*first)
            .and_then(|view| view.error.as_deref())
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        let others = match failed.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        return Some(Outcome::Failed {
            message: format!("task {first:?} failed{cause}{others}"),
        });
    }
    if ended(&fates, TaskState::Canceled).next().is_some() {
        return Some(Outcome::Canceled);
    }
    Some(Outcome::Succeeded)
}

fn ended<'a>(
    fates: &'a BTreeMap<&'a str, Fate<'a>>,
    state: TaskState,
) -> impl Iterator<Item = &'a str> {
    fates
        .iter()
        .filter(move |(_, fate)| **fate == Fate::Ended(state))
        .map(|(name, _)| *name)
}

/// The fate of every task of a DAG. Linear in tasks and dependencies.
fn fates<'a>(dag: &'a DagSpec, scope: &Scope) -> BTreeMap<&'a str, Fate<'a>> {
    let state = |name: &str| {
        scope
            .tasks
            .get(name)
            .map(|view| view.state)
            .unwrap_or_default()
    };
    let bad = dag
        .tasks
        .keys()
        .find(|name| state(name).is_bad())
        .map(String::as_str);
    let mut fates: BTreeMap<&str, Fate<'_>> = BTreeMap::new();
    // A checked DAG has no cycles; an unchecked one must not hang us.
    let mut entered = BTreeSet::new();
    for start in dag.tasks.keys() {
        // Depth first without recursion: the depth of a DAG comes from users.
        let mut todo = vec![start.as_str()];
        while let Some(name) = todo.last().copied() {
            if fates.contains_key(name) {
                todo.pop();
                continue;
            }
            let Some(task) = dag.tasks.get(name) else {
                fates.insert(name, Fate::Never(name));
                continue;
            };
            let own = state(name);
            if own != TaskState::Pending {
                fates.insert(
                    name,
                    if own.is_final() {
                        Fate::Ended(own)
                    } else {
                        Fate::Running
                    },
                );
                continue;
            }
            let upstream = task.upstream();
            if entered.insert(name) {
                let open = upstream.iter().filter(|u| !fates.contains_key(*u));
                todo.extend(open.filter(|u| !entered.contains(*u)));
                continue;
            }
            let fate = match task.trigger_policy.strategy {
                TriggerStrategy::AllSucceeded => after_success(&upstream, &fates, bad),
                TriggerStrategy::AllCompleted => after_completion(&upstream, &fates),
            };
            fates.insert(name, fate);
        }
    }
    // What helped along the way but is no task of the DAG.
    fates.retain(|name, _| dag.tasks.contains_key(*name));
    fates
}

fn after_success<'a>(
    upstream: &[&'a str],
    fates: &BTreeMap<&'a str, Fate<'a>>,
    bad: Option<&'a str>,
) -> Fate<'a> {
    let mut waits = false;
    let mut skipped = None;
    for name in upstream {
        match fates.get(name) {
            Some(Fate::Ended(state)) if state.is_bad() => return Fate::Never(name),
            Some(Fate::Never(by)) => return Fate::Never(by),
            Some(Fate::Ended(TaskState::Skipped)) => skipped = Some(*name),
            Some(Fate::Ended(_)) => {}
            _ => waits = true,
        }
    }
    match (skipped, bad) {
        (Some(name), _) => Fate::Skipped(name),
        // Fail fast, but let what is skipped anyway be shown as skipped.
        (None, Some(name)) => Fate::Never(name),
        (None, None) if waits => Fate::Waits,
        (None, None) => Fate::Due,
    }
}

fn after_completion<'a>(upstream: &[&'a str], fates: &BTreeMap<&'a str, Fate<'a>>) -> Fate<'a> {
    let settled = |name: &&str| matches!(fates.get(*name), Some(Fate::Ended(_) | Fate::Never(_)));
    if upstream.iter().all(settled) {
        Fate::Due
    } else {
        Fate::Waits
    }
}
