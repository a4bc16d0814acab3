//! What a Job wants next. Pure: the Job, its Pods and the time in; a [`Pass`] out.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::{JobSpec, PodFailurePolicyRule},
    core::v1::{EnvVar, PodTemplateSpec},
};
use kfbox_store::{
    Object, Result,
    kinds::core::{Phase, PodStatus},
};
use serde_json::{Value, json};

use crate::{
    events::Level,
    reconcile::template::{
        Condition, Member, Pass, fresh_name, holds, pod_of, set_condition, set_count, text, time,
    },
};

/// On Pods of an Indexed Job, as label and annotation: which of them it is.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Who runs Jobs, unless `spec.managedBy` names another.
const MANAGER: &str = "kubernetes.io/job-controller";
/// The pause before the first retry; it doubles up to the longest.
pub const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(360);

/// A Job under one look.
struct Look<'a> {
    job: &'a Object,
    spec: JobSpec,
    pods: &'a [Object],
    members: Vec<Member<'a>>,
    now: Timestamp,
    pass: Pass,
    /// Pods that succeeded and failed so far, also those that are no more.
    succeeded: usize,
    failed: usize,
    /// Indexes that succeeded.
    indexes: BTreeSet<i32>,
}

/// What this Job wants next.
pub fn plan(job: &Object, pods: &[Object], now: Timestamp) -> Result<Pass> {
    let spec: JobSpec = job.spec()?;
    let pass = Pass::of(job)?;
    if spec.managed_by.as_deref().is_some_and(|m| m != MANAGER) {
        return Ok(pass);
    }
    let count = |field: &str| {
        let number = pass.status.get(field).and_then(Value::as_u64).unwrap_or(0);
        usize::try_from(number).unwrap_or(usize::MAX)
    };
    let indexes = pass.status.get("completedIndexes").and_then(Value::as_str);
    let look = Look {
        succeeded: count("succeeded"),
        failed: count("failed"),
        indexes: parse_indexes(indexes.unwrap_or_default()),
        members: Member::all(pods)?,
        job,
        spec,
        pods,
        now,
        pass,
    };
    look.run()
}

impl Look<'_> {
    fn run(mut self) -> Result<Pass> {
        if holds(&self.pass.status, "Complete") || holds(&self.pass.status, "Failed") {
            return Ok(self.finished());
        }
        let verdict = self.count();
        if self.spec.suspend == Some(true) {
            self.suspend();
            return Ok(self.report(0));
        }
        self.resume();
        if let Some((reason, message)) = verdict.or_else(|| self.failure()) {
            self.end("FailureTarget", "Failed", reason, &message);
            return Ok(self.report(0));
        }
        if self.complete() {
            let message = "Reached expected number of succeeded pods";
            let end = text(self.now);
            self.pass.status.insert("completionTime".into(), json!(end));
            self.end(
                "SuccessCriteriaMet",
                "Complete",
                "CompletionsReached",
                message,
            );
            return Ok(self.report(0));
        }
        let active = self.fill()?;
        Ok(self.report(active))
    }

    fn indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn active(&self) -> impl Iterator<Item = &Member<'_>> {
        self.members.iter().filter(|m| m.active())
    }

    /// A Job that is done only waits for its time to go.
    fn finished(mut self) -> Pass {
        let Some(ttl) = self.spec.ttl_seconds_after_finished else {
            return self.pass;
        };
        let failed = self.pass.status.get("conditions").and_then(Value::as_array);
        let failed = failed.into_iter().flatten().find(|c| c["type"] == "Failed");
        let end = time(self.pass.status.get("completionTime"))
            .or_else(|| time(failed.and_then(|c| c.get("lastTransitionTime"))))
            .unwrap_or(self.now);
        let end = end.saturating_add(SignedDuration::from_secs(ttl.into()));
        self.pass.remove = end.is_ok_and(|at| self.pass.due(at, self.now));
        self.pass
    }

    /// Counts Pods that ended since the last look; a rule may end the Job for one of them.
    fn count(&mut self) -> Option<(&'static str, String)> {
        let mut verdict = None;
        let wanted = self.spec.completions.unwrap_or(i32::MAX);
        for member in self.members.iter().filter(|m| m.uncounted()) {
            self.pass.counted.push(member.key());
            let index = index_of(member.pod);
            if member.status.phase == Phase::Succeeded {
                match index {
                    Some(i) if self.spec.completion_mode.as_deref() == Some("Indexed") => {
                        if i < wanted && self.indexes.insert(i) {
                            self.succeeded += 1;
                        }
                    }
                    _ => self.succeeded += 1,
                }
                continue;
            }
            if member.interrupted() {
                continue;
            }
            let rules = self.spec.pod_failure_policy.iter().flat_map(|p| &p.rules);
            let rule = rules.enumerate().find_map(|(i, r)| {
                let code = matches(r, &member.status)?;
                Some((i, r, code))
            });
            match rule {
                Some((_, r, _)) if r.action == "Ignore" => {}
                Some((i, r, (container, code))) if r.action == "FailJob" => {
                    self.failed += 1;
                    let pod = &member.pod.metadata;
                    verdict = verdict.or(Some((
                        "PodFailurePolicy",
                        format!(
                            "Container {container} for pod {}/{} failed with exit code {code} matching FailJob rule at index {i}",
                            pod.namespace, pod.name
                        ),
                    )));
                }
                _ => self.failed += 1,
            }
        }
        verdict
    }

    fn suspend(&mut self) {
        if !holds(&self.pass.status, "Suspended") {
            self.pass.status.remove("startTime");
            self.say("Suspended", true, "JobSuspended", "Job suspended");
            self.news(Level::Normal, "Suspended", "Job suspended");
        }
        let active: Vec<_> = self.active().map(Member::key).collect();
        self.pass.delete.extend(active);
    }

    fn resume(&mut self) {
        if holds(&self.pass.status, "Suspended") {
            self.say("Suspended", false, "JobResumed", "Job resumed");
            self.news(Level::Normal, "Resumed", "Job resumed");
        }
        let now = text(self.now);
        self.pass.status.entry("startTime").or_insert(json!(now));
    }

    /// Why the Job has failed, if it has.
    fn failure(&mut self) -> Option<(&'static str, String)> {
        let limit = usize::try_from(self.spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
        let in_place = self.spec.template.spec.as_ref();
        let in_place = in_place.is_some_and(|s| s.restart_policy.as_deref() == Some("OnFailure"));
        let restarts: i32 = self.active().map(Member::restarts).sum();
        let restarts = usize::try_from(restarts).unwrap_or(0);
        if self.failed > limit || (in_place && restarts > 0 && restarts >= limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(("BackoffLimitExceeded", message.into()));
        }
        let start = time(self.pass.status.get("startTime"))?;
        let seconds = self.spec.active_deadline_seconds?;
        let end = start.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        self.pass.due(end, self.now).then(|| {
            let message = "Job was active longer than specified deadline";
            ("DeadlineExceeded", message.into())
        })
    }

    fn complete(&self) -> bool {
        match self.spec.completions {
            Some(wanted) => self.succeeded >= usize::try_from(wanted).unwrap_or(0),
            // A work queue: when one has succeeded and all have ended.
            None => self.succeeded > 0 && self.active().next().is_none(),
        }
    }

    fn end(&mut self, first: &str, last: &str, reason: &'static str, message: &str) {
        self.say(first, true, reason, message);
        self.say(last, true, reason, message);
        let active: Vec<_> = self.active().map(Member::key).collect();
        self.pass.delete.extend(active);
        match last {
            "Complete" => self.news(Level::Normal, "Completed", "Job completed"),
            _ => self.news(Level::Warning, reason, message),
        }
    }

    /// Makes the Pods that are missing and deletes those that are too many; gives how many are active then.
    fn fill(&mut self) -> Result<usize> {
        let size = |n: i32| usize::try_from(n).unwrap_or(0);
        let active = self.active().count();
        let parallel = size(self.spec.parallelism.unwrap_or(1));
        let wanted = match self.spec.completions {
            Some(all) => parallel.min(size(all) - self.succeeded.min(size(all))),
            None if self.succeeded > 0 => active.min(parallel),
            None => parallel,
        };
        if active > wanted {
            let mut spare: Vec<_> = self.active().collect();
            spare.sort_by_key(|m| (m.ready, m.status.phase == Phase::Running));
            let spare: Vec<_> = spare[..active - wanted].iter().map(|m| m.key()).collect();
            self.pass.delete.extend(spare);
            return Ok(wanted);
        }
        if active == wanted {
            return Ok(active);
        }
        if let Some(at) = self.retry_at()
            && !self.pass.due(at, self.now)
        {
            return Ok(active);
        }
        let busy: BTreeSet<i32> = self.active().filter_map(|m| index_of(m.pod)).collect();
        let free: Vec<Option<i32>> = if self.indexed() {
            let all = 0..self.spec.completions.unwrap_or(0);
            all.filter(|i| !busy.contains(i) && !self.indexes.contains(i))
                .map(Some)
                .take(wanted - active)
                .collect()
        } else {
            vec![None; wanted - active]
        };
        let made = free.len();
        for index in free {
            let pod = self.pod(index)?;
            self.pass.create.push(pod);
        }
        Ok(active + made)
    }

    /// When Pods may be made again after failures.
    fn retry_at(&self) -> Option<Timestamp> {
        let failed = |m: &&Member<'_>| m.status.phase == Phase::Failed && !m.interrupted();
        let last = self
            .members
            .iter()
            .filter(failed)
            .filter_map(Member::finished_at);
        let doubled =
            2_u32.saturating_pow(u32::try_from(self.failed).ok()?.checked_sub(1)?.min(16));
        let pause = BACKOFF.saturating_mul(doubled).min(MAX_BACKOFF);
        last.max()?.checked_add(pause).ok()
    }

    fn pod(&self, index: Option<i32>) -> Result<Object> {
        let name = &self.job.metadata.name;
        let stem = index.map_or_else(|| name.clone(), |i| format!("{name}-{i}"));
        let pod_name = fresh_name(&stem, self.job, self.pods, &self.pass.create);
        let mut template: PodTemplateSpec = self.spec.template.clone();
        if let (Some(i), Some(spec)) = (index, template.spec.as_mut()) {
            spec.hostname.get_or_insert(stem);
            let inits = spec.init_containers.iter_mut().flatten();
            for container in spec.containers.iter_mut().chain(inits) {
                let env = container.env.get_or_insert_default();
                if env.iter().all(|e| e.name != "JOB_COMPLETION_INDEX") {
                    env.push(EnvVar {
                        name: "JOB_COMPLETION_INDEX".into(),
                        value: Some(i.to_string()),
                        ..EnvVar::default()
                    });
                }
            }
        }
        let mut pod = pod_of(self.job, &pod_name, &template)?;
        for prefix in ["batch.kubernetes.io/", ""] {
            pod = pod
                .with_label(&format!("{prefix}job-name"), name)
                .with_label(&format!("{prefix}controller-uid"), &self.job.metadata.uid);
        }
        if let Some(i) = index {
            pod = pod.with_label(INDEX, &i.to_string());
            pod.metadata.annotations.insert(INDEX.into(), i.to_string());
        }
        Ok(pod)
    }

    fn report(mut self, active: usize) -> Pass {
        let ready = self.active().filter(|m| m.ready).count().min(active);
        let terminating = self.members.iter().filter(|m| m.pod.deleting()).count();
        let indexes = format_indexes(&self.indexes);
        let indexed = self.indexed();
        let status = &mut self.pass.status;
        set_count(status, "active", active);
        set_count(status, "succeeded", self.succeeded);
        set_count(status, "failed", self.failed);
        status.insert("ready".into(), json!(ready));
        status.insert("terminating".into(), json!(terminating));
        if indexed {
            status.insert("completedIndexes".into(), json!(indexes));
        }
        self.pass
    }

    fn say(&mut self, kind: &str, is: bool, reason: &str, message: &str) {
        let condition = Condition {
            kind,
            is,
            reason,
            message,
            touched: Some("lastProbeTime"),
        };
        set_condition(&mut self.pass.status, &condition, self.now);
    }

    fn news(&mut self, level: Level, reason: &'static str, message: &str) {
        self.pass.events.push((level, reason, message.into()));
    }
}

/// The container and exit code that the rule means, if it does.
fn matches(rule: &PodFailurePolicyRule, pod: &PodStatus) -> Option<(String, i32)> {
    let wanted = rule.on_exit_codes.as_ref()?;
    let named = |name: &str| wanted.container_name.as_deref().is_none_or(|n| n == name);
    pod.container_statuses
        .iter()
        .filter(|c| named(&c.name))
        .find_map(|c| {
            let code = c.state.as_ref()?.terminated.as_ref()?.exit_code;
            let listed = wanted.values.contains(&code);
            (code != 0 && listed == (wanted.operator == "In")).then(|| (c.name.clone(), code))
        })
}

fn index_of(pod: &Object) -> Option<i32> {
    pod.label(INDEX).parse().ok()
}

/// `0-2,5`, as the status holds it.
fn format_indexes(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &i in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == i => *last = i,
            _ => runs.push((i, i)),
        }
    }
    let text = |(a, b): &(i32, i32)| match b - a {
        0 => a.to_string(),
        1 => format!("{a},{b}"),
        _ => format!("{a}-{b}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

fn parse_indexes(text: &str) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (a, b) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(a), Ok(b)) = (a.parse::<i32>(), b.parse()) {
            indexes.extend(a..=b);
        }
    }
    indexes
}
