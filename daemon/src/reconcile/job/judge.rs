//! How a job's Pods decide what becomes of it: which are made anew, when it is over, and how it ended.

use std::time::Duration;

use kfbox_store::kinds::core::Phase;

use super::{
    env::Place,
    plan::Planner,
    pods::{EXIT_CODE, Seen},
    status::{self, FAILED, RESTARTING, RUNNING, SUCCEEDED, stamp},
};
use crate::reconcile::backoff;

/// Pods that are to be made anew.
#[derive(Default)]
pub(super) struct Again {
    /// At once.
    pub now: Vec<String>,
    /// When they have paused; they stay as they are until then, with their logs.
    pub later: Vec<String>,
}

impl Again {
    /// Whether this Pod is one of them: it has no say in what becomes of the job.
    pub fn has(&self, name: &String) -> bool {
        self.now.contains(name) || self.later.contains(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty() && self.later.is_empty()
    }
}

impl Planner<'_> {
    /// Pods to be made anew: those that were interrupted, and by exit code. Counts and tells of the latter.
    pub(super) fn retry(&mut self, surplus: &[bool]) -> Again {
        let mut again = Again::default();
        let failed: Vec<Seen> = self
            .pods
            .iter()
            .zip(surplus)
            .filter(|(p, surplus)| !p.deleting && !**surplus && p.phase == Phase::Failed)
            .map(|(p, _)| p.clone())
            .collect();
        for pod in failed {
            let policy = self.view.role(pod.place.role);
            let policy = policy.and_then(|r| r.restart_policy.as_deref());
            let by_code = policy == Some(EXIT_CODE) && pod.exit.is_some_and(|c| c >= 128);
            if pod.interrupted() {
                again.now.push(pod.name);
            } else if by_code {
                self.by_exit_code(pod, &mut again);
            }
        }
        again
    }

    /// One that ended with a code that means "again": now, or when its pause is over. All that the pause is worked out
    /// from is in the store, so it is the same after a restart of the box.
    fn by_exit_code(&mut self, pod: Seen, again: &mut Again) {
        let (role, index) = (pod.place.role, pod.place.index.to_string());
        let counts = &mut self.plan.status.replica_statuses;
        let all: i32 = counts.values().map(|r| r.restarts).sum();
        if self.policy.backoff_limit.is_some_and(|l| all >= l) {
            return;
        }
        let counted = counts.entry(role.into()).or_default();
        let calm = pod.ran >= backoff::CALM;
        let before = counted.restarts_by_index.get(&index).copied();
        let before = before.filter(|_| !calm).unwrap_or(0);
        let pause = backoff::pause(self.world.backoff, before);
        let since = pod
            .ended
            .and_then(|end| self.now.duration_since(end).try_into().ok())
            .unwrap_or(if pod.ended.is_some() {
                Duration::ZERO
            } else {
                pause
            });
        let left = pause.saturating_sub(since);
        let code = pod.exit.unwrap_or_default();
        if left.is_zero() {
            counted.restarts += 1;
            counted.restarts_by_index.insert(index, before + 1);
            let why = format!(
                "is restarting because {} ended with exit code {code}.",
                pod.name
            );
            self.tell(RESTARTING, true, "Restarting", &why);
            again.now.push(pod.name);
        } else {
            let why = format!(
                "waits {} s before {} starts again: it ended with exit code {code}, {} times so far.",
                pause.as_secs(),
                pod.name,
                before + 1
            );
            self.tell(RESTARTING, true, "BackOff", &why);
            self.wake(left);
            again.later.push(pod.name);
        }
    }

    pub(super) fn over_deadline(&mut self, started: &str) -> bool {
        let Some(limit) = self.policy.active_deadline_seconds else {
            return false;
        };
        let left = self.left(started, limit);
        if left.is_zero() {
            self.give_up(&format!(
                "has failed because it was active longer than spec.runPolicy.activeDeadlineSeconds ({limit} s)."
            ));
            return true;
        }
        self.wake(left);
        false
    }

    /// Restarts in place, summed over the Pods that the engine restarts.
    pub(super) fn over_limit(&mut self, live: &[Seen]) -> bool {
        let Some(limit) = self.policy.backoff_limit.map(i64::from) else {
            return false;
        };
        let counted = live.iter().filter(|p| {
            let policy = self.view.role(p.place.role);
            let policy = policy.and_then(|r| r.restart_policy.as_deref());
            p.phase != Phase::Succeeded && matches!(policy, Some("Always" | "OnFailure"))
        });
        let restarts: i64 = counted.map(|p| p.restarts).sum();
        if restarts < limit.max(1) {
            return false;
        }
        self.give_up(&format!(
            "has failed because its containers restarted {restarts} times; spec.runPolicy.backoffLimit is {limit}."
        ));
        true
    }

    /// Fails the job while Pods run. They are ended, also where cleanPodPolicy keeps them: a limit that frees
    /// nothing would be none.
    fn give_up(&mut self, why: &str) {
        self.tell(FAILED, true, "Failed", why);
        self.end();
        let running = self
            .pods
            .iter()
            .filter(|p| !p.deleting && !p.phase.terminal());
        let stop: Vec<_> = running
            .map(|p| {
                let message = format!("{} {} {why}", self.view.framework.kind.kind, self.view.name);
                (self.pod_ref(&p.name), message)
            })
            .collect();
        self.finished();
        let deleted = &self.plan.delete;
        self.plan.stop = stop
            .into_iter()
            .filter(|(pod, _)| !deleted.contains(pod))
            .collect();
    }

    /// Whether the job has ended, by its Pods. Else says what it does.
    pub(super) fn judge(&mut self, live: &[Seen], restarted: bool) -> bool {
        let deciders = self.deciders();
        let decisive: Vec<&Seen> = live
            .iter()
            .filter(|p| deciders.contains(&p.place.role))
            .collect();
        if self.succeeded(&deciders, &decisive) {
            self.tell(SUCCEEDED, true, "Succeeded", "is successfully completed.");
            return true;
        }
        let ignored =
            |p: &Seen| self.view.special.enable_dynamic_worker && p.place.role == "Worker";
        let failed: Vec<&Seen> = live
            .iter()
            .filter(|p| p.phase == Phase::Failed && !ignored(p))
            .collect();
        if let Some(first) = failed.first() {
            let role = first.place.role;
            let count = failed.iter().filter(|p| p.place.role == role).count();
            let detail = match (first.exit, first.message.is_empty()) {
                (_, false) => format!(": {}", first.message.trim_end_matches('.')),
                (Some(code), true) => format!(": exit code {code}"),
                (None, true) => String::new(),
            };
            let why = format!(
                "is failed because {count} {role} replica(s) failed: {}{detail}.",
                first.name
            );
            self.tell(FAILED, true, "Failed", &why);
            return true;
        }
        let runs = decisive.iter().any(|p| p.phase == Phase::Running);
        let whole = live.iter().all(|p| p.phase != Phase::Pending)
            && i32::try_from(live.len()).is_ok_and(|n| n >= self.view.total());
        let restarting = restarted || status::is(&self.plan.status, RESTARTING) && !whole;
        if runs && !restarting {
            self.tell(RUNNING, true, "Running", "is running.");
        }
        false
    }

    /// The types whose Pods decide: the leaders, or else the workers, or else all.
    fn deciders(&self) -> Vec<&'static str> {
        let framework = self.view.framework;
        let roles = || self.view.replicas.iter().map(|(role, _)| *role);
        let leaders: Vec<_> = roles().filter(|role| framework.leads(role)).collect();
        if !leaders.is_empty() {
            return leaders;
        }
        if self.view.role("Worker").is_some() {
            return vec!["Worker"];
        }
        roles().collect()
    }

    fn succeeded(&self, deciders: &[&'static str], decisive: &[&Seen]) -> bool {
        let done: Vec<Place> = decisive
            .iter()
            .filter(|p| p.phase == Phase::Succeeded)
            .map(|p| p.place)
            .collect();
        let wanted: i32 = deciders.iter().map(|role| self.view.count(role)).sum();
        let all = wanted > 0 && i32::try_from(done.len()).is_ok_and(|n| n >= wanted);
        let special = self.view.special;
        let workers = deciders == ["Worker"] && self.view.framework.leaders != ["Worker"];
        match self.view.framework.kind.kind {
            "TFJob" if workers && special.success_policy.as_deref() != Some("AllWorkers") => {
                all || done.iter().any(|place| place.index == 0)
            }
            "PyTorchJob" if workers && special.elastic_policy.is_some() => {
                wanted > 0 && !done.is_empty()
            }
            _ => all,
        }
    }

    /// The counts at the end: what still runs of a job that succeeded counts as done, as upstream.
    pub(super) fn end(&mut self) {
        let succeeded = status::is(&self.plan.status, SUCCEEDED);
        for counted in self.plan.status.replica_statuses.values_mut() {
            if succeeded {
                counted.succeeded += counted.active;
            }
            counted.active = 0;
        }
        let now = stamp(self.now);
        self.plan.status.completion_time.get_or_insert(now);
    }
}
