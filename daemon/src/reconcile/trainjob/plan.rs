//! What a TrainJob wants next. Pure: the TrainJob, its runtime, its Pods and the time in; a [`Pass`] out.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kfbox_store::{
    Object, Result,
    kinds::{
        cluster::PERSISTENT_VOLUME_CLAIM,
        core::Phase,
        trainer::{TrainJobSpec, TrainingRuntimeSpec},
    },
};
use serde_json::{Map, Value, json};

use super::{
    child::{ATTEMPT, Child, SET},
    extras,
    jobset::{self, JobSet, Set},
};
use crate::{
    events::Level,
    reconcile::{
        backoff,
        batch::{BACKOFF, INDEX},
        template::{Condition, GANG, Member, Pass, find_condition, holds, set_condition, time},
    },
};

/// Who runs TrainJobs, unless `spec.managedBy` names another.
const MANAGER: &str = "trainer.kubeflow.org/trainjob-controller";
/// The status field that counts how often all Pods have started over.
const RESTARTS: &str = "restarts";

/// What is there, as the room read it.
pub struct World<'a> {
    /// The TrainJob.
    pub job: &'a Object,
    /// Its runtime's spec; `None` = there is none of that name.
    pub runtime: Option<TrainingRuntimeSpec>,
    /// Its Pods.
    pub pods: &'a [Object],
    /// Names and kinds of its other children.
    pub extras: BTreeSet<(String, String)>,
    /// Makes the keys of an MPI training: private and public.
    pub keys: &'a (dyn Fn() -> Result<(String, String)> + Sync),
}

/// A set of Pods and how far it is.
struct Progress<'a> {
    set: Set,
    members: Vec<&'a Member<'a>>,
    /// Numbers of the Pods that succeeded.
    done: BTreeSet<i32>,
    ready: usize,
    active: usize,
    failed: bool,
}

/// What this TrainJob wants next.
pub fn plan(world: &World<'_>, now: Timestamp) -> Result<Pass> {
    let job = world.job;
    let spec: TrainJobSpec = job.spec()?;
    let mut pass = Pass::of(job)?;
    if spec.managed_by.as_deref().is_some_and(|m| m != MANAGER) {
        return Ok(pass);
    }
    let members = Member::all(world.pods)?;
    let finished = holds(&pass.status, "Complete") || holds(&pass.status, "Failed");
    let Some(runtime) = &world.runtime else {
        if !finished {
            let message = format!(
                "spec.runtimeRef: specified {} \"{}\" must be created before the TrainJob is created",
                spec.runtime_ref
                    .kind
                    .as_deref()
                    .unwrap_or("ClusterTrainingRuntime"),
                spec.runtime_ref.name
            );
            fail(
                &mut pass,
                &members,
                "TrainingRuntimeNotSupported",
                &message,
                now,
            );
        }
        return Ok(pass);
    };
    let jobset = match jobset::read(job, &spec, runtime) {
        Ok(jobset) => jobset,
        Err(e) if finished || e.retryable() => return Ok(pass),
        Err(e) => {
            fail(
                &mut pass,
                &members,
                "TrainingRuntimeNotSupported",
                &e.message,
                now,
            );
            return Ok(pass);
        }
    };
    if finished {
        return Ok(after_the_end(pass, &jobset, &members, now));
    }
    let suspended = spec.suspend == Some(true);
    suspension(&mut pass, suspended, now);
    let look = Look {
        job,
        world,
        members: &members,
        restarts: restarts(&pass.status),
        spec: &spec,
        now,
        pass,
    };
    look.run(jobset, suspended)
}

fn restarts(status: &Map<String, Value>) -> i64 {
    status.get(RESTARTS).and_then(Value::as_i64).unwrap_or(0)
}

/// The Pods of a TrainJob that is done are removed when its runtime says after how long.
fn after_the_end(mut pass: Pass, jobset: &JobSet, members: &[Member<'_>], now: Timestamp) -> Pass {
    let status = Value::Object(pass.status.clone());
    let end = ["Complete", "Failed"]
        .iter()
        .filter_map(|kind| time(find_condition(&status, kind)?.get("lastTransitionTime")))
        .max();
    if let (Some(ttl), Some(end)) = (jobset.ttl, end) {
        let at = end.saturating_add(SignedDuration::from_secs(ttl.into()));
        if at.is_ok_and(|at| pass.due(at, now)) {
            let there = members.iter().filter(|m| !m.pod.deleting());
            pass.delete.extend(there.map(Member::key));
        }
    }
    pass
}

fn suspension(pass: &mut Pass, suspended: bool, now: Timestamp) {
    let (is, reason, message) = match (suspended, holds(&pass.status, "Suspended")) {
        (true, _) => (true, "Suspended", "TrainJob is suspended"),
        (false, true) => (false, "Resumed", "TrainJob is resumed"),
        (false, false) => return,
    };
    say(pass, "Suspended", is, reason, message, now);
}

fn say(pass: &mut Pass, kind: &str, is: bool, reason: &str, message: &str, now: Timestamp) {
    let condition = Condition {
        kind,
        is,
        reason,
        message,
        touched: None,
    };
    set_condition(&mut pass.status, &condition, now);
}

fn fail(
    pass: &mut Pass,
    members: &[Member<'_>],
    reason: &'static str,
    message: &str,
    now: Timestamp,
) {
    say(pass, "Failed", true, reason, message, now);
    pass.events.push((Level::Warning, reason, message.into()));
    stop(pass, members);
}

/// Takes away all Pods that run or wait to run.
fn stop(pass: &mut Pass, members: &[Member<'_>]) {
    let active = members.iter().filter(|m| m.active());
    pass.delete.extend(active.map(Member::key));
}

struct Look<'a> {
    job: &'a Object,
    world: &'a World<'a>,
    spec: &'a TrainJobSpec,
    members: &'a [Member<'a>],
    restarts: i64,
    now: Timestamp,
    pass: Pass,
}

impl<'a> Look<'a> {
    fn run(mut self, jobset: JobSet, suspended: bool) -> Result<Pass> {
        let JobSet { sets, .. } = jobset;
        let jobset = JobSet {
            sets: vec![],
            ..jobset
        };
        let mut all: Vec<Progress<'a>> = sets.into_iter().map(|s| self.progress(s)).collect();
        if suspended {
            stop(&mut self.pass, self.members);
            return Ok(self.report(&all, true));
        }
        if self.overdue() {
            let message = "TrainJob exceeded its active deadline";
            fail(
                &mut self.pass,
                self.members,
                "DeadlineExceeded",
                message,
                self.now,
            );
            return Ok(self.report(&all, false));
        }
        if succeeded(&jobset, &all) {
            let message = "jobset completed successfully";
            say(
                &mut self.pass,
                "Complete",
                true,
                "AllJobsCompleted",
                message,
                self.now,
            );
            self.pass
                .events
                .push((Level::Normal, "AllJobsCompleted", message.into()));
            stop(&mut self.pass, self.members);
            return Ok(self.report(&all, false));
        }
        if all.iter().any(|p| p.failed) {
            return Ok(self.failed(&jobset, &all));
        }
        // Pods of an earlier attempt go before those of this one come: they share their names.
        let older: Vec<_> = self
            .members
            .iter()
            .filter(|m| attempt(m) != self.restarts)
            .collect();
        let there = older.iter().filter(|m| !m.pod.deleting());
        self.pass.delete.extend(there.map(|m| m.key()));
        if older.is_empty() {
            self.furnish(&jobset)?;
            for i in 0..all.len() {
                if allowed(&all[i], &all) {
                    self.fill(&jobset, &mut all[i])?;
                }
            }
        }
        Ok(self.report(&all, false))
    }

    fn progress(&self, set: Set) -> Progress<'a> {
        let members: Vec<&Member<'a>> = self
            .members
            .iter()
            .filter(|m| m.pod.label(SET) == set.name && attempt(m) == self.restarts)
            .collect();
        let ended = |phase: Phase| members.iter().filter(move |m| m.status.phase == phase);
        let done = ended(Phase::Succeeded).filter_map(|m| index(m)).collect();
        let failures = ended(Phase::Failed).filter(|m| !m.interrupted()).count();
        let limit = usize::try_from(set.backoff_limit).unwrap_or(0);
        let restarts: i32 = members
            .iter()
            .filter(|m| m.active())
            .map(|m| m.restarts())
            .sum();
        let in_place = usize::try_from(restarts).unwrap_or(0);
        Progress {
            done,
            ready: members.iter().filter(|m| m.ready).count(),
            active: members.iter().filter(|m| m.active()).count(),
            failed: failures > limit || (in_place > 0 && in_place >= limit),
            members,
            set,
        }
    }

    fn overdue(&mut self) -> bool {
        let Some(seconds) = self.spec.active_deadline_seconds.filter(|s| *s > 0) else {
            return false;
        };
        let status = Value::Object(self.pass.status.clone());
        let resumed =
            find_condition(&status, "Suspended").and_then(|c| time(c.get("lastTransitionTime")));
        let created = self.job.metadata.creation_timestamp.as_ref();
        let start = resumed.or_else(|| created.and_then(|t| t.parse().ok()));
        let end =
            start.and_then(|s: Timestamp| s.checked_add(SignedDuration::from_secs(seconds)).ok());
        end.is_some_and(|at| self.pass.due(at, self.now))
    }

    fn failed(mut self, jobset: &JobSet, all: &[Progress<'_>]) -> Pass {
        if self.restarts < i64::from(jobset.max_restarts) {
            self.pass
                .status
                .insert(RESTARTS.into(), json!(self.restarts + 1));
            let message = format!(
                "a job failed: all Pods start over ({} of {} times)",
                self.restarts + 1,
                jobset.max_restarts
            );
            self.pass
                .events
                .push((Level::Warning, "Restarting", message));
            let there = self.members.iter().filter(|m| !m.pod.deleting());
            self.pass.delete.extend(there.map(Member::key));
            return self.report(all, false);
        }
        let name = all
            .iter()
            .find(|p| p.failed)
            .map_or("", |p| p.set.name.as_str());
        let (reason, message) = match jobset.max_restarts {
            0 => (
                "FailedJobs",
                format!(
                    "jobset failed due to one or more job failures (first failed job: {}-{name}-0)",
                    self.job.metadata.name
                ),
            ),
            _ => (
                "ReachedMaxRestarts",
                "jobset failed due to reaching max number of restarts".into(),
            ),
        };
        fail(&mut self.pass, self.members, reason, &message, self.now);
        self.report(all, false)
    }

    /// What the Pods lean on: the Service that gives them names, claims, and MPI's keys and hostfile.
    fn furnish(&mut self, jobset: &JobSet) -> Result<()> {
        let missing = |o: &Object| {
            let key = (o.kind.clone(), o.metadata.name.clone());
            !self.world.extras.contains(&key)
        };
        let mut made = vec![extras::service(self.job, &jobset.subdomain)?];
        for (claim, owned) in &jobset.claims {
            let name = claim.metadata.name.clone().unwrap_or_default();
            let name = format!("{name}-{}", self.job.metadata.name);
            let kind = &PERSISTENT_VOLUME_CLAIM;
            let claim = Object::new(kind, &self.job.metadata.namespace, &name)
                .with_spec(&claim.spec.clone().unwrap_or_default())?;
            // One that stays is looked for by name when it is made.
            made.push(if *owned {
                claim.owned_by(self.job)
            } else {
                claim
            });
        }
        if let Some(hostfile) = &jobset.hostfile {
            made.push(extras::hostfile(self.job, hostfile)?);
            let secret = extras::secret(self.job, self.world.keys);
            let name = extras::secret_name(self.job);
            if !self.world.extras.contains(&("Secret".into(), name)) {
                made.push(secret?);
            }
        }
        made.retain(missing);
        let first = self.members.is_empty();
        made.retain(|o| first || !o.metadata.owner_references.is_empty());
        self.pass.create.extend(made);
        Ok(())
    }

    /// Makes the Pods of a set that are missing.
    fn fill(&mut self, jobset: &JobSet, progress: &mut Progress<'_>) -> Result<()> {
        let busy: BTreeSet<i32> = progress
            .members
            .iter()
            .filter(|m| m.active() || m.pod.deleting())
            .filter_map(|m| index(m))
            .collect();
        let mut free: Vec<i32> = (0..progress.set.count)
            .filter(|i| !busy.contains(i) && !progress.done.contains(i))
            .collect();
        free.retain(|i| {
            let at = progress.retry_at(*i);
            at.is_none_or(|at| self.pass.due(at, self.now))
        });
        for &i in &free {
            // An interrupted Pod makes room for the one that takes its place.
            let stale = progress
                .members
                .iter()
                .filter(|m| index(m) == Some(i) && m.interrupted());
            self.pass
                .delete
                .extend(stale.filter(|m| !m.pod.deleting()).map(|m| m.key()));
            let child = Child {
                job: self.job,
                set: &progress.set,
                subdomain: &jobset.subdomain,
                index: i,
                attempt: self.restarts,
            };
            let mut pod = child.pod(self.world.pods, &self.pass.create)?;
            if free.len() > 1 {
                let gang = format!(
                    "{}-{}/{}",
                    self.job.metadata.uid,
                    progress.set.name,
                    free.len()
                );
                pod.metadata.annotations.insert(GANG.into(), gang);
            }
            self.pass.create.push(pod);
        }
        progress.active += free.len();
        Ok(())
    }

    fn report(mut self, all: &[Progress<'_>], suspended: bool) -> Pass {
        let ended = holds(&self.pass.status, "Complete") || holds(&self.pass.status, "Failed");
        let jobs: Vec<Value> = all
            .iter()
            .map(|p| {
                let one = |is: bool| i32::from(is);
                let done = p.complete();
                json!({
                    "name": p.set.name,
                    "ready": one(!done && !p.failed && !suspended && p.all_ready()),
                    "succeeded": one(done),
                    "failed": one(p.failed),
                    "active": one(!done && !p.failed && !suspended && !ended && p.active > 0),
                    "suspended": one(suspended),
                })
            })
            .collect();
        self.pass
            .status
            .insert("jobsStatus".into(), Value::Array(jobs));
        self.pass
    }
}

impl Progress<'_> {
    fn size(&self) -> usize {
        usize::try_from(self.set.count).unwrap_or(0)
    }

    fn complete(&self) -> bool {
        self.done.len() >= self.size()
    }

    /// When a Pod of this number may be made again after those that failed.
    fn retry_at(&self, number: i32) -> Option<Timestamp> {
        let failed = self.members.iter().filter(|m| {
            m.status.phase == Phase::Failed && !m.interrupted() && index(m) == Some(number)
        });
        let times = i32::try_from(failed.clone().count()).unwrap_or(i32::MAX);
        let last = failed.filter_map(|m| m.finished_at()).max()?;
        last.checked_add(backoff::pause(BACKOFF, times)).ok()
    }

    fn all_ready(&self) -> bool {
        self.ready + self.done.len() >= self.size()
    }
}

/// Whether what this set depends on has happened.
fn allowed(set: &Progress<'_>, all: &[Progress<'_>]) -> bool {
    set.set.depends_on.iter().all(|before| {
        let other = all.iter().find(|p| p.set.name == before.name);
        other.is_some_and(|o| match before.status.as_str() {
            "Complete" => o.complete(),
            _ => o.all_ready(),
        })
    })
}

fn succeeded(jobset: &JobSet, all: &[Progress<'_>]) -> bool {
    let targets = &jobset.success.target_replicated_jobs;
    let mut counted = all
        .iter()
        .filter(|p| targets.is_empty() || targets.contains(&p.set.name));
    match jobset.success.operator.as_str() {
        "Any" => counted.any(Progress::complete),
        _ => counted.all(Progress::complete),
    }
}

fn index(member: &Member<'_>) -> Option<i32> {
    member.pod.label(INDEX).parse().ok()
}

fn attempt(member: &Member<'_>) -> i64 {
    member.pod.label(ATTEMPT).parse().unwrap_or(0)
}
