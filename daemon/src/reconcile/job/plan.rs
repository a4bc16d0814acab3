//! What to do about a job, worked out from the job, its Pods and the time. Pure: the same answer for the same world.
//!
//! ```text
//!  new -> Created -> Running <-> Restarting -> Succeeded | Failed -> Pods cleaned -> (ttl) gone
//!            ^----------- Suspended (no Pods)
//! ```

use std::time::Duration;

use jiff::Timestamp;
use kfbox_store::{
    Object, Ref, Result,
    kinds::{
        cluster::SERVICE,
        core::{POD, Phase},
        train::{Framework, JobStatus, ReplicaSpec, RunPolicy, Special, run_policy, special},
    },
};

use super::{
    env::{self, Place, View},
    pods::{self, EXIT_CODE, Seen},
    status::{self, CREATED, FAILED, RESTARTING, RUNNING, SUCCEEDED, SUSPENDED, stamp},
};
use crate::events::Level;

/// What the store holds of a job's children.
#[derive(Default)]
pub struct World {
    /// Its Pods.
    pub pods: Vec<Object>,
    /// Its Services.
    pub services: Vec<Object>,
    /// The launcher's files.
    pub config: Option<Object>,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods and Services to make: all of them or, when a name is taken, none.
    pub create: Vec<Object>,
    /// The launcher's files as they must be, when they are not.
    pub config: Option<Object>,
    /// What to delete.
    pub delete: Vec<Ref>,
    /// Pods to end without deleting them, and why.
    pub stop: Vec<(Ref, String)>,
    /// The job's status.
    pub status: JobStatus,
    /// What to tell: level, reason, message.
    pub events: Vec<(Level, String, String)>,
    /// When to look again.
    pub after: Option<Duration>,
    /// Whether the job itself goes.
    pub gone: bool,
}

struct Planner<'a> {
    job: &'a Object,
    view: View<'a>,
    policy: RunPolicy,
    world: &'a World,
    pods: Vec<Seen>,
    now: Timestamp,
    plan: Plan,
}

/// Works out what to do about a job.
///
/// # Errors
/// When an object does not fit its kind.
pub fn plan(
    framework: &'static Framework,
    job: &Object,
    world: &World,
    now: Timestamp,
) -> Result<Plan> {
    let replicas = framework.replicas(job)?;
    let special = special(job)?;
    let mut seen = Vec::new();
    for pod in &world.pods {
        seen.extend(pods::seen(framework, &special, pod)?);
    }
    seen.sort_by_key(|p| (p.place.role, p.place.index));
    let planner = Planner {
        job,
        view: view(framework, job, &replicas, &special),
        policy: run_policy(job)?,
        world,
        pods: seen,
        now,
        plan: Plan {
            status: job.status()?,
            ..Plan::default()
        },
    };
    planner.run()
}

/// A job as its Pods see it.
fn view<'a>(
    framework: &'static Framework,
    job: &'a Object,
    replicas: &'a [(&'static str, ReplicaSpec)],
    special: &'a Special,
) -> View<'a> {
    View {
        framework,
        name: &job.metadata.name,
        namespace: &job.metadata.namespace,
        replicas,
        special,
    }
}

impl Planner<'_> {
    fn run(mut self) -> Result<Plan> {
        if self.plan.status.conditions.is_empty() {
            self.tell(CREATED, true, "Created", "is created.");
        }
        if status::finished(&self.plan.status) {
            self.finished();
        } else if self.policy.suspend == Some(true) {
            self.suspend();
        } else {
            self.go_on()?;
        }
        if self.plan.status != self.job.status()? {
            self.plan.status.last_reconcile_time = Some(stamp(self.now));
        }
        Ok(self.plan)
    }

    /// Writes a condition and, when it is news, an event.
    fn tell(&mut self, kind: &str, holds: bool, why: &str, what: &str) {
        let name = self.view.framework.kind.kind;
        let (reason, message) = (
            format!("{name}{why}"),
            format!("{name} {} {what}", self.view.name),
        );
        let status = &mut self.plan.status;
        if status::set(status, kind, holds, &reason, &message, self.now) {
            let trouble = kind == FAILED || kind == RESTARTING;
            let level = if trouble {
                Level::Warning
            } else {
                Level::Normal
            };
            self.plan.events.push((level, reason, message));
        }
    }

    fn pod_ref(&self, name: &str) -> Ref {
        Ref::new(&POD, self.view.namespace, name)
    }

    /// Deletes Pods, and the Services that have no Pod left that is wanted.
    fn delete(&mut self, which: impl Fn(&Seen) -> bool, services: impl Fn(Place) -> bool) {
        for pod in self.pods.iter().filter(|p| !p.deleting && which(p)) {
            let gone = self.pod_ref(&pod.name);
            self.plan.delete.push(gone);
        }
        for service in &self.world.services {
            let place = pods::place(self.view.framework, service);
            if !service.deleting() && place.is_some_and(&services) {
                let gone = Ref::new(&SERVICE, self.view.namespace, &service.metadata.name);
                self.plan.delete.push(gone);
            }
        }
    }

    fn suspend(&mut self) {
        self.delete(|_| true, |_| true);
        let status = &mut self.plan.status;
        status.start_time = None;
        for counted in status.replica_statuses.values_mut() {
            counted.active = 0;
        }
        if status::is(status, RUNNING) {
            self.tell(RUNNING, false, "Suspended", "is suspended.");
        }
        self.tell(SUSPENDED, true, "Suspended", "is suspended.");
    }

    fn go_on(&mut self) -> Result<()> {
        if status::is(&self.plan.status, SUSPENDED) {
            self.tell(SUSPENDED, false, "Resumed", "is resumed.");
            self.plan.status.start_time = None;
        }
        let now = stamp(self.now);
        let started = self.plan.status.start_time.get_or_insert(now).clone();
        let view = &self.view;
        let count = |place: Place| view.count(place.role);
        let surplus: Vec<bool> = self
            .pods
            .iter()
            .map(|p| p.place.index >= count(p.place))
            .collect();
        let again = self.retry(&surplus);
        // A Pod that is going or no longer wanted has no say.
        let live: Vec<Seen> = self
            .pods
            .iter()
            .zip(&surplus)
            .filter(|(p, surplus)| !p.deleting && !**surplus && !again.contains(&p.name))
            .map(|(p, _)| p.clone())
            .collect();
        status::count(
            &mut self.plan.status,
            self.view.framework,
            self.view.name,
            self.view.replicas.iter().map(|(role, _)| *role),
            live.iter(),
        );
        if self.over_deadline(&started) || self.over_limit(&live) {
            return Ok(());
        }
        if self.judge(&live, !again.is_empty()) {
            self.end();
            self.finished();
            return Ok(());
        }
        let counts: Vec<_> = self
            .view
            .replicas
            .iter()
            .map(|(role, _)| (*role, self.view.count(role)))
            .collect();
        let wanted = |place: Place| {
            let found = counts.iter().find(|(role, _)| *role == place.role);
            found.is_some_and(|(_, n)| place.index < *n)
        };
        self.delete(
            |p| !wanted(p.place) || again.contains(&p.name),
            |place| !wanted(place),
        );
        self.make(&live)
    }

    /// Pods to be made anew: those that were interrupted, and by exit code. Counts and tells of the latter.
    fn retry(&mut self, surplus: &[bool]) -> Vec<String> {
        let mut again = Vec::new();
        let failed: Vec<Seen> = self
            .pods
            .iter()
            .zip(surplus)
            .filter(|(p, surplus)| !p.deleting && !**surplus && p.phase == Phase::Failed)
            .map(|(p, _)| p.clone())
            .collect();
        for pod in failed {
            let role = pod.place.role;
            let policy = self.view.role(role).and_then(|r| r.restart_policy.clone());
            if pod.interrupted() {
                again.push(pod.name);
            } else if policy.as_deref() == Some(EXIT_CODE) && pod.exit.is_some_and(|c| c >= 128) {
                let counts = &mut self.plan.status.replica_statuses;
                let before: i32 = counts.values().map(|r| r.restarts).sum();
                if self.policy.backoff_limit.is_some_and(|l| before >= l) {
                    continue;
                }
                counts.entry(role.into()).or_default().restarts += 1;
                let why = format!(
                    "is restarting because {} ended with exit code {}.",
                    pod.name,
                    pod.exit.unwrap_or_default()
                );
                self.tell(RESTARTING, true, "Restarting", &why);
                again.push(pod.name);
            }
        }
        again
    }

    fn over_deadline(&mut self, started: &str) -> bool {
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
    fn over_limit(&mut self, live: &[Seen]) -> bool {
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
    fn judge(&mut self, live: &[Seen], restarted: bool) -> bool {
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
    fn end(&mut self) {
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

    /// Cleans up behind a job that ended.
    fn finished(&mut self) {
        match self.policy.clean_pod_policy.as_deref() {
            Some("All") => self.delete(|_| true, |_| true),
            Some("Running") => {
                let going: Vec<Place> = self
                    .pods
                    .iter()
                    .filter(|p| !p.phase.terminal())
                    .map(|p| p.place)
                    .collect();
                self.delete(|p| going.contains(&p.place), |place| going.contains(&place));
            }
            _ => {}
        }
        let ended = self.plan.status.completion_time.clone();
        if let (Some(ttl), Some(ended)) = (self.policy.ttl_seconds_after_finished, ended) {
            let left = self.left(&ended, ttl.into());
            self.plan.gone = left.is_zero();
            self.wake(left);
        }
    }

    /// Makes what is missing, once nothing of its name is there.
    fn make(&mut self, live: &[Seen]) -> Result<()> {
        let view = &self.view;
        let launcher = |role: &str| view.framework.launcher && view.framework.leads(role);
        let workers: Vec<&Seen> = live.iter().filter(|p| p.place.role == "Worker").collect();
        let running: Vec<String> = workers
            .iter()
            .filter(|p| p.phase == Phase::Running)
            .map(|p| p.name.clone())
            .collect();
        let ready = i32::try_from(running.len()).is_ok_and(|n| n >= view.count("Worker"));
        if view.framework.launcher {
            let config = env::config_map(view, self.job, &running)?;
            let same = self.world.config.as_ref();
            if same.is_none_or(|c| c.body.get("data") != config.body.get("data")) {
                self.plan.config = Some(config);
            }
        }
        let gang = self.gang();
        for (role, replica) in view.replicas {
            for index in 0..view.count(role) {
                let place = Place { role, index };
                let name = view.host(role, index);
                let served = |s: &Object| s.metadata.name == name;
                if !self.world.services.iter().any(served) {
                    self.plan.create.push(pods::service(view, self.job, place)?);
                }
                let there = self.pods.iter().any(|p| p.name == name);
                if there || (launcher(role) && !ready) {
                    continue;
                }
                let gang = gang.as_deref().filter(|_| !launcher(role));
                let pod = pods::pod(view, self.job, place, replica, gang, self.now)?;
                self.plan.create.push(pod);
            }
        }
        Ok(())
    }

    /// The mark of Pods that are placed together. A Pod that comes later is placed alone: the others run already.
    fn gang(&self) -> Option<String> {
        if !self.pods.is_empty() {
            return None;
        }
        let view = &self.view;
        let roles = view.replicas.iter().map(|(role, _)| *role);
        let together = roles.filter(|r| !(view.framework.launcher && view.framework.leads(r)));
        let all: i32 = together.map(|role| view.count(role)).sum();
        let least = view.special.elastic_policy.as_ref();
        let spared = least.and_then(|e| e.min_replicas).map_or(0, |min| {
            view.count("Worker") - min.clamp(0, view.count("Worker"))
        });
        let policy = self.policy.scheduling_policy.as_ref();
        let size = policy
            .and_then(|p| p.min_available)
            .unwrap_or(all - spared)
            .clamp(0, all);
        (size > 1).then(|| format!("{}/{size}", self.job.metadata.uid))
    }

    /// The time until some seconds after a time are over; zero when they are.
    fn left(&self, since: &str, seconds: i64) -> Duration {
        let since: Timestamp = since.parse().unwrap_or(self.now);
        let due = since.as_millisecond() + seconds.saturating_mul(1000);
        let left = due.saturating_sub(self.now.as_millisecond());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    fn wake(&mut self, after: Duration) {
        let sooner = self.plan.after.map_or(after, |a| a.min(after));
        self.plan.after = Some(sooner);
    }
}
