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
        core::{POD, Phase},
        service::SERVICE,
        train::{Framework, JobStatus, ReplicaSpec, RunPolicy, Special, run_policy, special},
    },
};

use super::{
    env::{self, Place, View},
    pods::{self, Seen},
    status::{self, CREATED, FAILED, RESTARTING, RUNNING, SUSPENDED, stamp},
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
    /// The pause before a second restart.
    pub backoff: Duration,
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

/// A plan being made.
pub(super) struct Planner<'a> {
    pub(super) job: &'a Object,
    pub(super) view: View<'a>,
    pub(super) policy: RunPolicy,
    pub(super) world: &'a World,
    pub(super) pods: Vec<Seen>,
    pub(super) now: Timestamp,
    pub(super) plan: Plan,
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
    pub(super) fn tell(&mut self, kind: &str, holds: bool, why: &str, what: &str) {
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

    pub(super) fn pod_ref(&self, name: &str) -> Ref {
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
            .filter(|(p, surplus)| !p.deleting && !**surplus && !again.has(&p.name))
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
            |p| !wanted(p.place) || again.now.contains(&p.name),
            |place| !wanted(place),
        );
        self.make(&live)
    }

    /// Cleans up behind a job that ended.
    pub(super) fn finished(&mut self) {
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
    pub(super) fn left(&self, since: &str, seconds: i64) -> Duration {
        let since: Timestamp = since.parse().unwrap_or(self.now);
        let due = since.as_millisecond() + seconds.saturating_mul(1000);
        let left = due.saturating_sub(self.now.as_millisecond());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    pub(super) fn wake(&mut self, after: Duration) {
        let sooner = self.plan.after.map_or(after, |a| a.min(after));
        self.plan.after = Some(sooner);
    }
}
