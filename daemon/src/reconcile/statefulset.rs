//! The room of StatefulSets: Pods with names and volumes of their own, one after the other.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSetSpec,
    core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
};
use kfbox_store::{
    Event, Kind, Object, Ref, Result,
    kinds::{cluster::PERSISTENT_VOLUME_CLAIM, core::POD, workload::STATEFUL_SET},
};
use serde_json::{Value, json};

use super::{
    Ctx,
    template::{Member, Pass, pod_of, set_count, template_hash, wake_owner},
};
use crate::controller::{Action, Reconciler};

/// On a Pod: which template it was made from.
const REVISION: &str = "controller-revision-hash";

/// The room.
pub struct StatefulSets(pub Ctx);

#[async_trait]
impl Reconciler for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&STATEFUL_SET]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        wake_owner(&event.object, &STATEFUL_SET, wake);
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.0.store;
        let Some(set) = store.get(key).await?.filter(|s| !s.deleting()) else {
            return Ok(Action::Wait);
        };
        let pods = store.owned(&set.metadata.uid, &POD).await?;
        plan(&set, &pods, Timestamp::now())?
            .write(store, &set)
            .await
    }
}

/// What this StatefulSet wants next. Pure.
fn plan(set: &Object, pods: &[Object], now: Timestamp) -> Result<Pass> {
    let spec: StatefulSetSpec = set.spec()?;
    let mut pass = Pass::of(set)?;
    let name = &set.metadata.name;
    let revision = format!("{name}-{}", template_hash(&spec.template)?);
    let members = Member::all(pods)?;
    let by_ordinal: BTreeMap<i32, &Member<'_>> = members
        .iter()
        .filter_map(|m| Some((ordinal(name, m.pod)?, m)))
        .collect();
    let start = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    let end = start + spec.replicas.unwrap_or(1);
    let parallel = spec.pod_management_policy.as_deref() == Some("Parallel");

    // The Pods that should be, from the first on; in order, each waits for the one before it.
    let mut settled = true;
    for i in start..end {
        match by_ordinal.get(&i) {
            None => {
                for object in pod(set, &spec, &revision, i)? {
                    pass.create.push(object);
                }
                settled = false;
            }
            Some(m) if m.ready => {}
            Some(m) => {
                settled = false;
                // It ended, or runs an old template that does not get ready: its name is needed again.
                let stuck = m.pod.label(REVISION) != revision && rolls(&spec, i, start);
                let ended = m.status.phase.terminal()
                    && m.replaceable_at().is_none_or(|at| pass.due(at, now));
                if !m.pod.deleting() && (ended || stuck) {
                    pass.delete.push(m.key());
                }
            }
        }
        if !settled && !parallel {
            break;
        }
    }
    // Those that should not be go from the last on.
    let extra: Vec<_> = by_ordinal
        .range(end..)
        .rev()
        .chain(by_ordinal.range(..start).rev())
        .map(|(_, m)| *m)
        .collect();
    if parallel {
        pass.delete
            .extend(extra.iter().filter(|m| !m.pod.deleting()).map(|m| m.key()));
    } else if let Some(last) = extra.first().filter(|m| settled && !m.pod.deleting()) {
        pass.delete.push(last.key());
    }
    // When all are there and ready, those of older templates give way, from the last on, one at a time.
    if settled && extra.is_empty() {
        let stale = by_ordinal
            .iter()
            .rev()
            .find(|(i, m)| rolls(&spec, **i, start) && m.pod.label(REVISION) != revision);
        if let Some((_, m)) = stale {
            pass.delete.push(m.key());
        }
    }
    report(set, &mut pass, &members, &revision, end - start);
    Ok(pass)
}

/// Whether this Pod follows the newest template by itself.
fn rolls(spec: &StatefulSetSpec, ordinal: i32, start: i32) -> bool {
    let strategy = spec.update_strategy.clone().unwrap_or_default();
    let partition = strategy
        .rolling_update
        .and_then(|r| r.partition)
        .unwrap_or(0);
    strategy.type_.as_deref() != Some("OnDelete") && ordinal >= start.max(partition)
}

fn ordinal(set: &str, pod: &Object) -> Option<i32> {
    let rest = pod.metadata.name.strip_prefix(set)?.strip_prefix('-')?;
    rest.parse().ok()
}

/// A Pod with its claims.
fn pod(set: &Object, spec: &StatefulSetSpec, revision: &str, i: i32) -> Result<Vec<Object>> {
    let name = format!("{}-{i}", set.metadata.name);
    let mut template: PodTemplateSpec = spec.template.clone();
    let retention = spec.persistent_volume_claim_retention_policy.as_ref();
    let owned = retention.and_then(|r| r.when_deleted.as_deref()) == Some("Delete");
    let mut made = Vec::new();
    if let Some(pod) = template.spec.as_mut() {
        pod.hostname.get_or_insert(name.clone());
        if let Some(service) = spec.service_name.clone().filter(|s| !s.is_empty()) {
            pod.subdomain.get_or_insert(service);
        }
        for claim in spec.volume_claim_templates.iter().flatten() {
            let stem = claim.metadata.name.clone().unwrap_or_default();
            let claim_name = format!("{stem}-{name}");
            let kind = &PERSISTENT_VOLUME_CLAIM;
            let mut object = Object::new(kind, &set.metadata.namespace, &claim_name)
                .with_spec(&claim.spec.clone().unwrap_or_default())?;
            let given = claim.metadata.labels.clone().unwrap_or_default();
            let selected = spec.selector.match_labels.clone().unwrap_or_default();
            object.metadata.labels = given.into_iter().chain(selected).collect();
            object.metadata.annotations = claim.metadata.annotations.clone().unwrap_or_default();
            made.push(if owned { object.owned_by(set) } else { object });
            let volumes = pod.volumes.get_or_insert_default();
            volumes.retain(|v| v.name != stem);
            volumes.push(Volume {
                name: stem,
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name,
                    ..Default::default()
                }),
                ..Volume::default()
            });
        }
    }
    let pod = pod_of(set, &name, &template)?
        .with_label(REVISION, revision)
        .with_label("statefulset.kubernetes.io/pod-name", &name)
        .with_label("apps.kubernetes.io/pod-index", &i.to_string());
    made.push(pod);
    Ok(made)
}

fn report(set: &Object, pass: &mut Pass, members: &[Member<'_>], revision: &str, wanted: i32) {
    let made = pass.create.iter().filter(|o| o.kind == POD.kind).count();
    let live: Vec<_> = members.iter().filter(|m| m.active()).collect();
    let ready = live.iter().filter(|m| m.ready).count();
    let updated = live
        .iter()
        .filter(|m| m.pod.label(REVISION) == revision)
        .count()
        + made;
    let all = live.len() + made;
    let status = &mut pass.status;
    status.insert("replicas".into(), json!(all));
    status.insert("availableReplicas".into(), json!(ready));
    set_count(status, "readyReplicas", ready);
    set_count(status, "updatedReplicas", updated);
    status.insert("observedGeneration".into(), json!(set.metadata.generation));
    status.insert("updateRevision".into(), json!(revision));
    // The older revision counts until every Pod has the new one.
    let old = status
        .get("currentRevision")
        .and_then(Value::as_str)
        .map(String::from);
    let done = updated == all && usize::try_from(wanted).is_ok_and(|w| w == all) && ready == all;
    let current = if done {
        revision.into()
    } else {
        old.unwrap_or_else(|| revision.into())
    };
    let on_current = live
        .iter()
        .filter(|m| m.pod.label(REVISION) == current)
        .count();
    let fresh = if current == revision { made } else { 0 };
    set_count(status, "currentReplicas", on_current + fresh);
    status.insert("currentRevision".into(), json!(current));
    status.insert("collisionCount".into(), json!(0));
}
