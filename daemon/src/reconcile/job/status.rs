//! The conditions of a job and the counts of its Pods, as upstream writes them.

use jiff::Timestamp;
use kfbox_store::kinds::train::{Framework, JobCondition, JobStatus, ReplicaStatus};

use super::pods::{self, Seen};

/// A job was taken note of.
pub const CREATED: &str = "Created";
/// The Pods that decide run.
pub const RUNNING: &str = "Running";
/// A Pod is made anew.
pub const RESTARTING: &str = "Restarting";
/// Its Pods are deleted until it is resumed.
pub const SUSPENDED: &str = "Suspended";
/// It ended well.
pub const SUCCEEDED: &str = "Succeeded";
/// It ended badly.
pub const FAILED: &str = "Failed";

/// A time as Kubernetes writes it.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether a condition holds.
pub fn is(status: &JobStatus, kind: &str) -> bool {
    let found = status.conditions.iter().find(|c| c.kind == kind);
    found.is_some_and(|c| c.status == "True")
}

/// Whether the job has ended.
pub fn finished(status: &JobStatus) -> bool {
    is(status, SUCCEEDED) || is(status, FAILED)
}

/// Writes a condition: it moves to the end, and ends those that it rules out. Nothing changes after Failed.
/// Answers whether anything changed.
pub fn set(
    status: &mut JobStatus,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let value = if holds { "True" } else { "False" };
    let old = status.conditions.iter().find(|c| c.kind == kind);
    if is(status, FAILED) || old.is_some_and(|c| c.status == value && c.reason == reason) {
        return false;
    }
    let now = stamp(now);
    let since = match old {
        Some(c) if c.status == value => c.last_transition_time.clone(),
        _ => now.clone(),
    };
    let ended = kind == SUCCEEDED || kind == FAILED;
    status.conditions.retain(|c| {
        let replaced = c.kind == kind;
        let ruled_out =
            (kind == RESTARTING && c.kind == RUNNING) || (kind == RUNNING && c.kind == RESTARTING);
        !replaced && !ruled_out
    });
    for other in &mut status.conditions {
        if ended && other.kind == RUNNING && other.status == "True" {
            other.status = "False".into();
            other.last_update_time.clone_from(&now);
            other.last_transition_time.clone_from(&now);
        }
    }
    status.conditions.push(JobCondition {
        kind: kind.into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        last_update_time: now,
        last_transition_time: since,
    });
    true
}

/// Counts Pods by type; restarts are kept, for no Pod tells of them.
pub fn count<'a>(
    status: &mut JobStatus,
    framework: &Framework,
    job: &str,
    roles: impl Iterator<Item = &'static str>,
    pods: impl Iterator<Item = &'a Seen> + Clone,
) {
    use kfbox_store::kinds::core::Phase;
    let mut old = std::mem::take(&mut status.replica_statuses);
    for role in roles {
        let of = |phase: Phase| {
            let found = pods
                .clone()
                .filter(|p| p.place.role == role && p.phase == phase);
            i32::try_from(found.count()).unwrap_or(i32::MAX)
        };
        let kept = old.remove(role).unwrap_or_default();
        let counted = ReplicaStatus {
            active: of(Phase::Running),
            succeeded: of(Phase::Succeeded),
            failed: of(Phase::Failed),
            restarts: kept.restarts,
            restarts_by_index: kept.restarts_by_index,
            selector: pods::selector(framework, job, role),
        };
        status.replica_statuses.insert(role.into(), counted);
    }
}
