//! A container's end and state in Kubernetes' words, and for people.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kfbox_store::kinds::core::reason;

use super::want;
use crate::driver::{Exit, Observed};

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// One word.
    pub reason: String,
    /// A sentence without a subject.
    pub message: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: String,
}

impl Ended {
    /// Whether it did what it was made for: one that was stopped from outside did not, whatever it returned.
    pub fn ok(&self) -> bool {
        self.code == 0 && self.reason != reason::INTERRUPTED
    }
}

impl From<&ContainerStateTerminated> for Ended {
    fn from(t: &ContainerStateTerminated) -> Self {
        let time = |t: &Option<Time>| t.as_ref().map(|t| t.0.to_string()).unwrap_or_default();
        Self {
            code: t.exit_code,
            reason: t.reason.clone().unwrap_or_default(),
            message: t.message.clone().unwrap_or_default(),
            started_at: time(&t.started_at),
            finished_at: time(&t.finished_at),
        }
    }
}

/// What an exit means; `killed` says why this daemon stopped the container, if it did.
pub fn ended(container: &Container, exit: &Exit, killed: Option<&String>) -> Ended {
    let (reason, message) = explain(container, exit, killed);
    Ended {
        code: exit.code,
        reason: reason.into(),
        message,
        started_at: exit.started_at.clone(),
        finished_at: exit.finished_at.clone(),
    }
}

fn explain(container: &Container, exit: &Exit, killed: Option<&String>) -> (&'static str, String) {
    if let Some(why) = killed {
        return (reason::ERROR, format!("was stopped: {why}"));
    }
    if exit.oom {
        let limit = want::memory_limit(container).map_or_else(
            || "the box's limit for containers without one".to_string(),
            |bytes| format!("its memory limit of {}", want::human(bytes)),
        );
        let message = format!(
            "went past {limit} and was killed: raise the limit (resources.limits.memory), or use less"
        );
        return (reason::OOM, message);
    }
    if exit.interrupted {
        let message = format!(
            "was stopped from outside (exit code {}): the engine or the machine went down, or somebody killed it",
            exit.code
        );
        return (reason::INTERRUPTED, message);
    }
    if exit.code == 0 {
        return ("Completed", String::new());
    }
    let detail = match exit.code {
        _ if !exit.error.is_empty() => format!(": {}", exit.error),
        127 => ": the image has no such command (its log names it)".into(),
        126 => ": the command cannot be executed (its log says why)".into(),
        _ => String::new(),
    };
    (
        reason::ERROR,
        format!("exited with code {}{detail}", exit.code),
    )
}

fn time(text: &str) -> Option<Time> {
    text.parse().ok().map(Time)
}

/// `state.running`.
pub fn running(since: &str) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning {
            started_at: time(since),
        }),
        ..Default::default()
    }
}

/// `state.waiting`.
pub fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.into()),
            message: (!message.is_empty()).then(|| message.into()),
        }),
        ..Default::default()
    }
}

/// `state.terminated`.
pub fn terminated(e: &Ended, id: Option<String>) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: e.code,
            reason: Some(e.reason.clone()),
            message: (!e.message.is_empty()).then(|| e.message.clone()),
            started_at: time(&e.started_at),
            finished_at: time(&e.finished_at),
            container_id: id,
            signal: None,
        }),
        ..Default::default()
    }
}

/// What the engine says of which container it is.
pub fn record(status: &mut ContainerStatus, seen: &Observed) {
    status.image_id.clone_from(&seen.image_id);
    status.container_id = Some(format!("docker://{}", seen.id));
}

/// The time from one RFC 3339 time to another; none when it is negative or one is not a time.
pub fn between(from: &str, to: &str) -> Duration {
    let (Ok(from), Ok(to)) = (
        from.parse::<jiff::Timestamp>(),
        to.parse::<jiff::Timestamp>(),
    ) else {
        return Duration::ZERO;
    };
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
