//! The room of Deployments: Pods that are all alike, replaced a few at a time when the template changes.
//!
//! No ReplicaSets: the label `pod-template-hash` tells Pods of the newest template from older ones, so `rollout
//! status`, `restart`, `pause` and `scale` work, and `rollout undo` (which needs old templates) does not.

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DeploymentSpec;
use kfbox_store::{
    Event, Kind, Object, Ref, Result,
    kinds::{
        core::POD,
        workload::{DEPLOYMENT, share},
    },
};
use serde_json::{Value, json};

use super::{
    Ctx,
    template::{
        Condition, Member, Pass, find_condition, fresh_name, pod_of, set_condition, set_count,
        template_hash, time, wake_owner,
    },
};
use crate::controller::{Action, Reconciler};

/// On a Pod: which template it was made from.
const HASH: &str = "pod-template-hash";

/// The room.
pub struct Deployments(pub Ctx);

#[async_trait]
impl Reconciler for Deployments {
    fn name(&self) -> &'static str {
        "deployment"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&DEPLOYMENT]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        wake_owner(&event.object, &DEPLOYMENT, wake);
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.0.store;
        let Some(deployment) = store.get(key).await?.filter(|d| !d.deleting()) else {
            return Ok(Action::Wait);
        };
        let pods = store.owned(&deployment.metadata.uid, &POD).await?;
        plan(&deployment, &pods, Timestamp::now())?
            .write(store, &deployment)
            .await
    }
}

/// What this Deployment wants next. Pure.
fn plan(deployment: &Object, pods: &[Object], now: Timestamp) -> Result<Pass> {
    let spec: DeploymentSpec = deployment.spec()?;
    let mut pass = Pass::of(deployment)?;
    let hash = template_hash(&spec.template)?;
    let members = Member::all(pods)?;
    // A Pod that ended is replaced, whatever ended it.
    let mut held = 0;
    for member in members.iter().filter(|m| !m.active() && !m.pod.deleting()) {
        match member.replaceable_at() {
            Some(at) if !pass.due(at, now) => held += 1,
            _ => pass.delete.push(member.key()),
        }
    }
    let (new, old): (Vec<_>, Vec<_>) = members
        .iter()
        .filter(|m| m.active())
        .partition(|m| m.pod.label(HASH) == hash);
    let size = |n: i32| usize::try_from(n).unwrap_or(0);
    let replicas = spec.replicas.unwrap_or(1);
    let wanted = size(replicas);
    let paused = spec.paused == Some(true);
    let min_ready = SignedDuration::from_secs(spec.min_ready_seconds.unwrap_or(0).into());

    let mut available = Vec::new();
    for member in new.iter().chain(&old).filter(|m| m.ready) {
        let since = member.ready_since.unwrap_or(now);
        if min_ready.is_zero()
            || since
                .checked_add(min_ready)
                .is_ok_and(|at| pass.due(at, now))
        {
            available.push(member.key());
        }
    }
    let is_available = |m: &Member<'_>| available.contains(&m.key());
    let total = new.len() + old.len();
    let strategy = spec.strategy.unwrap_or_default();
    let recreate = strategy.type_.as_deref() == Some("Recreate");

    let mut create = 0;
    if paused {
        // Neither template gives way: only the number is kept.
        create = wanted.saturating_sub(total);
        drop_spare(&mut pass, &old, total.saturating_sub(wanted));
        let rest = total.saturating_sub(wanted).saturating_sub(old.len());
        drop_spare(&mut pass, &new, rest);
    } else if recreate {
        drop_spare(&mut pass, &old, old.len());
        let leaving = members
            .iter()
            .any(|m| m.pod.deleting() && m.pod.label(HASH) != hash);
        if old.is_empty() && !leaving {
            create = wanted.saturating_sub(new.len());
        }
        drop_spare(&mut pass, &new, new.len().saturating_sub(wanted));
    } else {
        let rolling = strategy.rolling_update.unwrap_or_default();
        let surge = size(share(rolling.max_surge.as_ref(), replicas, true).unwrap_or(1));
        let mut away = size(share(rolling.max_unavailable.as_ref(), replicas, false).unwrap_or(0));
        if surge == 0 && away == 0 {
            away = 1;
        }
        create = wanted
            .saturating_sub(new.len())
            .min((wanted + surge).saturating_sub(total));
        drop_spare(&mut pass, &new, new.len().saturating_sub(wanted));
        let least = wanted.saturating_sub(away);
        let new_unavailable = new.iter().filter(|m| !is_available(m)).count();
        let may_go = total.saturating_sub(least + new_unavailable);
        let (serving, idle): (Vec<_>, Vec<_>) = old.iter().copied().partition(|m| is_available(m));
        let idle_gone = idle.len().min(may_go);
        drop_spare(&mut pass, &idle, idle_gone);
        let spare = available
            .len()
            .saturating_sub(least)
            .min(may_go - idle_gone);
        drop_spare(&mut pass, &serving, spare);
    }
    create = create.saturating_sub(held);
    for _ in 0..create {
        let stem = format!("{}-{hash}", deployment.metadata.name);
        let name = fresh_name(&stem, deployment, pods, &pass.create);
        let pod = pod_of(deployment, &name, &spec.template)?.with_label(HASH, &hash);
        pass.create.push(pod);
    }

    let remaining = |list: &[&Member<'_>]| {
        let left = list.iter().filter(|m| !pass.delete.contains(&m.key()));
        left.count()
    };
    let counts = Counts {
        wanted,
        replicas: remaining(&new) + remaining(&old) + create,
        updated: remaining(&new) + create,
        ready: members.iter().filter(|m| m.ready).count(),
        available: available.len(),
    };
    let least = match recreate {
        true => wanted,
        false => {
            let rolling = deployment.body["spec"].pointer("/strategy/rollingUpdate/maxUnavailable");
            let rolling = rolling.and_then(|v| serde_json::from_value(v.clone()).ok());
            wanted - size(share(rolling.as_ref(), replicas, false).unwrap_or(0)).min(wanted)
        }
    };
    report(deployment, &mut pass, &counts, least, paused, now);
    if let Some(deadline) = spec.progress_deadline_seconds.filter(|_| !paused) {
        watch_progress(deployment, &mut pass, deadline, now);
    }
    Ok(pass)
}

/// Deletes so many of these, those that serve least first.
fn drop_spare(pass: &mut Pass, members: &[&Member<'_>], count: usize) {
    let mut members: Vec<_> = members.to_vec();
    members.sort_by_key(|m| (m.ready, m.ready_since.map(std::cmp::Reverse)));
    pass.delete
        .extend(members.iter().take(count).map(|m| m.key()));
}

struct Counts {
    wanted: usize,
    replicas: usize,
    updated: usize,
    ready: usize,
    available: usize,
}

fn report(
    deployment: &Object,
    pass: &mut Pass,
    counts: &Counts,
    least: usize,
    paused: bool,
    now: Timestamp,
) {
    let before = Value::Object(pass.status.clone());
    let name = &deployment.metadata.name;
    let status = &mut pass.status;
    set_count(status, "replicas", counts.replicas);
    set_count(status, "updatedReplicas", counts.updated);
    set_count(status, "readyReplicas", counts.ready);
    set_count(status, "availableReplicas", counts.available);
    let missing = counts.replicas.saturating_sub(counts.available);
    set_count(status, "unavailableReplicas", missing);
    let seen = status.insert(
        "observedGeneration".into(),
        json!(deployment.metadata.generation),
    );
    let enough = counts.available >= least;
    let (reason, message) = match enough {
        true => (
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        ),
        false => (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        ),
    };
    let mut say = |kind, is, reason, message: &str| {
        let touched = Some("lastUpdateTime");
        let condition = Condition {
            kind,
            is,
            reason,
            message,
            touched,
        };
        set_condition(status, &condition, now);
    };
    say("Available", enough, reason, message);
    let moved = seen != Some(json!(deployment.metadata.generation))
        || [
            "updatedReplicas",
            "replicas",
            "readyReplicas",
            "availableReplicas",
        ]
        .iter()
        .any(|f| before.get(f).and_then(Value::as_u64) != status_count(counts, f));
    let done = counts.updated == counts.wanted
        && counts.replicas == counts.wanted
        && counts.available >= counts.wanted;
    let old = find_condition(&before, "Progressing").map(|c| c["reason"].clone());
    let failed = old == Some(json!("ProgressDeadlineExceeded"));
    if paused {
        say(
            "Progressing",
            true,
            "DeploymentPaused",
            "Deployment is paused",
        );
    } else if done {
        let message = format!("Deployment \"{name}\" has successfully progressed.");
        say("Progressing", true, "NewReplicaSetAvailable", &message);
    } else if moved || !failed {
        // Says how far it is, so that the time of the last step is kept with it.
        let message = format!(
            "Deployment \"{name}\" is progressing: {} of {} updated, {} available",
            counts.updated, counts.wanted, counts.available
        );
        say("Progressing", true, "ReplicaSetUpdated", &message);
    }
}

fn status_count(counts: &Counts, field: &str) -> Option<u64> {
    let count = match field {
        "replicas" => counts.replicas,
        "updatedReplicas" => counts.updated,
        "readyReplicas" => counts.ready,
        _ => counts.available,
    };
    u64::try_from(count).ok().filter(|c| *c > 0)
}

/// A roll-out that does not move for too long has failed, which `rollout status` tells.
fn watch_progress(deployment: &Object, pass: &mut Pass, deadline: i32, now: Timestamp) {
    let status = Value::Object(pass.status.clone());
    let progressing = find_condition(&status, "Progressing");
    let Some(progressing) = progressing.filter(|c| c["reason"] == "ReplicaSetUpdated") else {
        return;
    };
    let end = time(progressing.get("lastUpdateTime")).and_then(|t| {
        t.checked_add(SignedDuration::from_secs(deadline.into()))
            .ok()
    });
    if end.is_some_and(|at| pass.due(at, now)) {
        let message = format!(
            "Deployment \"{}\" has timed out progressing.",
            deployment.metadata.name
        );
        let condition = Condition {
            kind: "Progressing",
            is: false,
            reason: "ProgressDeadlineExceeded",
            message: &message,
            touched: Some("lastUpdateTime"),
        };
        set_condition(&mut pass.status, &condition, now);
    }
}
