//! What the rooms that own Pods share: how an owner sees its Pods, how a Pod is made from a template, and one
//! look's outcome, written in one transaction.

mod condition;
#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
pub mod testing;

pub use condition::{Condition, find_condition, holds, set_condition, set_count, text, time};

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kfbox_store::{
    Code, Kind, Object, Propagation, Ref, Result, Store,
    kinds::core::{POD, Phase, PodStatus, reason},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::pod::new_pod;
use crate::{
    controller::Action,
    events::{self, Level},
};

/// On a Pod that ended: its owner has counted it. So a count stays right when the Pod is deleted.
pub const COUNTED: &str = "kfbox.dev/counted";
/// On Pods that must start together or not at all: `<owner's uid>/<number of Pods>`.
pub const GANG: &str = "kfbox.dev/gang";

/// How long a Pod that should go on and ended by itself stays, before another takes its place.
const REPLACE_PAUSE: Duration = Duration::from_secs(10);

/// Letters of the random part of names: Kubernetes' own, which spell no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A Pod as its owner sees it.
pub struct Member<'a> {
    /// The Pod.
    pub pod: &'a Object,
    /// What it says of itself.
    pub status: PodStatus,
    /// Whether it is ready to serve.
    pub ready: bool,
    /// Since when.
    pub ready_since: Option<Timestamp>,
}

impl<'a> Member<'a> {
    /// Reads Pods.
    ///
    /// # Errors
    /// When a status does not parse.
    pub fn all(pods: &'a [Object]) -> Result<Vec<Self>> {
        pods.iter().map(Self::new).collect()
    }

    fn new(pod: &'a Object) -> Result<Self> {
        let status: PodStatus = pod.status()?;
        let condition = pod
            .body
            .get("status")
            .and_then(|s| find_condition(s, "Ready"));
        let ready = condition.is_some_and(|c| c["status"] == "True")
            && status.phase == Phase::Running
            && !pod.deleting();
        let ready_since = condition.and_then(|c| time(c.get("lastTransitionTime")));
        Ok(Self {
            pod,
            status,
            ready,
            ready_since,
        })
    }

    /// Whether it runs, or will run.
    pub fn active(&self) -> bool {
        !self.pod.deleting() && !self.status.phase.terminal()
    }

    /// Whether it ended and its owner has not counted it.
    pub fn uncounted(&self) -> bool {
        self.status.phase.terminal() && !self.pod.metadata.annotations.contains_key(COUNTED)
    }

    /// Whether the engine or the machine ended it, not its own work.
    pub fn interrupted(&self) -> bool {
        self.status.phase == Phase::Failed && self.status.reason == reason::INTERRUPTED
    }

    /// Its address.
    pub fn key(&self) -> Ref {
        Ref::new(&POD, &self.pod.metadata.namespace, &self.pod.metadata.name)
    }

    /// When its last container ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        let ended = |c: &k8s_openapi::api::core::v1::ContainerStatus| {
            Some(
                c.state
                    .as_ref()?
                    .terminated
                    .as_ref()?
                    .finished_at
                    .as_ref()?
                    .0,
            )
        };
        self.status
            .container_statuses
            .iter()
            .filter_map(ended)
            .max()
    }

    /// When another Pod may take its place: at once when it was interrupted, else after a pause, so that a Pod
    /// that cannot run is not made over and over.
    pub fn replaceable_at(&self) -> Option<Timestamp> {
        let created = self.pod.metadata.creation_timestamp.as_ref();
        let ended = self
            .finished_at()
            .or_else(|| created.and_then(|t| t.parse().ok()))
            .filter(|_| !self.interrupted())?;
        ended.checked_add(REPLACE_PAUSE).ok()
    }

    /// Restarts of its containers in place.
    pub fn restarts(&self) -> i32 {
        let statuses = &self.status.container_statuses;
        statuses.iter().map(|c| c.restart_count).sum()
    }
}

/// What one look wants. Nothing of it happens when the owner changed meanwhile: another look follows.
#[derive(Debug, Default)]
pub struct Pass {
    /// The owner's status.
    pub status: Map<String, Value>,
    /// New objects.
    pub create: Vec<Object>,
    /// Objects to delete.
    pub delete: Vec<Ref>,
    /// Pods that are counted now.
    pub counted: Vec<Ref>,
    /// News.
    pub events: Vec<(Level, &'static str, String)>,
    /// Whether the owner itself goes.
    pub remove: bool,
    /// When to look again, if nothing changes before.
    pub again: Option<Duration>,
}

impl Pass {
    /// A look that starts from the owner's present status.
    ///
    /// # Errors
    /// When the status is no map.
    pub fn of(owner: &Object) -> Result<Self> {
        Ok(Self {
            status: owner.status()?,
            ..Self::default()
        })
    }

    /// Looks again after this long at the latest.
    pub fn look_after(&mut self, pause: Duration) {
        self.again = Some(self.again.map_or(pause, |a| a.min(pause)));
    }

    /// Looks again at this time at the latest; tells whether it has come.
    pub fn due(&mut self, at: Timestamp, now: Timestamp) -> bool {
        let left = at.duration_since(now);
        if left.as_millis() <= 0 {
            return true;
        }
        self.look_after(left.unsigned_abs());
        false
    }

    fn idle(&self, owner: &Object) -> bool {
        let same = match owner.body.get("status") {
            Some(Value::Object(before)) => *before == self.status,
            _ => self.status.is_empty(),
        };
        same && !self.remove
            && self.create.is_empty()
            && self.delete.is_empty()
            && self.counted.is_empty()
    }

    /// Writes it all, or nothing.
    ///
    /// # Errors
    /// A storage error, or a child that may not be; the latter is told as an event.
    pub async fn write(self, store: &Store, owner: &Object) -> Result<Action> {
        let action = self.again.map_or(Action::Wait, Action::After);
        let Some(key) = owner.reference().filter(|_| !self.idle(owner)) else {
            return Ok(action);
        };
        let about = owner.clone();
        let outcome = store.write(move |txn| self.apply(txn, &about, &key)).await;
        if let Err(e) = &outcome
            && !e.retryable()
        {
            events::record(store, owner, Level::Warning, "FailedCreate", &e.message).await;
        }
        outcome.map(|()| action)
    }

    fn apply(self, txn: &mut kfbox_store::Txn<'_>, owner: &Object, key: &Ref) -> Result<()> {
        let same = txn.get(key)?.is_some_and(|there| {
            there.metadata.uid == owner.metadata.uid
                && there.metadata.resource_version == owner.metadata.resource_version
        });
        if !same {
            return Ok(());
        }
        for pod in &self.counted {
            if txn.get(pod)?.is_some() {
                txn.modify(pod, |p| {
                    p.metadata.annotations.insert(COUNTED.into(), "true".into());
                    Ok(())
                })?;
            }
        }
        for child in &self.delete {
            txn.delete(child, Propagation::Cascade)?;
        }
        if self.remove {
            txn.delete(key, Propagation::Cascade)?;
            return Ok(());
        }
        for child in self.create {
            let (kind, name) = (child.kind.clone(), child.metadata.name.clone());
            let event = match txn.create(child) {
                Ok(_) if kind == POD.kind => (
                    Level::Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {name}"),
                ),
                Ok(_) => continue,
                // A claim or a Secret of that name that is there already is used; a Pod is somebody else's.
                Err(e) if e.code == Code::AlreadyExists && kind == POD.kind => {
                    (Level::Warning, "FailedCreate", e.message)
                }
                Err(e) if e.code == Code::AlreadyExists => continue,
                Err(e) => return Err(e),
            };
            events::record_in(txn, owner, event.0, event.1, &event.2)?;
        }
        for (level, reason, message) in &self.events {
            events::record_in(txn, owner, *level, reason, message)?;
        }
        txn.modify(key, |o| o.set("status", &self.status))?;
        Ok(())
    }
}

/// Wakes an owner of this kind for a change of its own or of one of its children.
pub fn wake_owner(object: &Object, kind: &'static Kind, wake: &mut dyn FnMut(Ref)) {
    let ns = &object.metadata.namespace;
    let mine =
        |name: &str, api_version: &str| name == kind.kind && api_version == kind.api_version();
    if mine(&object.kind, &object.api_version) {
        wake(Ref::new(kind, ns, &object.metadata.name));
    } else if let Some(owner) = object
        .controller()
        .filter(|o| mine(&o.kind, &o.api_version))
    {
        wake(Ref::new(kind, ns, &owner.name));
    }
}

/// A Pod made from a template, owned, with the template's labels and annotations.
///
/// # Errors
/// When the template has no JSON form.
pub fn pod_of(owner: &Object, name: &str, template: &PodTemplateSpec) -> Result<Object> {
    let spec = template.spec.clone().unwrap_or_default();
    let mut pod = new_pod(&owner.metadata.namespace, name, &spec, owner, "")?;
    if let Some(meta) = &template.metadata {
        let labels = meta.labels.iter().flatten();
        pod.metadata
            .labels
            .extend(labels.map(|(k, v)| (k.clone(), v.clone())));
        let notes = meta.annotations.iter().flatten();
        pod.metadata
            .annotations
            .extend(notes.map(|(k, v)| (k.clone(), v.clone())));
    }
    Ok(pod)
}

/// `{stem}-xxxxx`, the same for the same state of the world, and not the name of any of these Pods.
pub fn fresh_name(stem: &str, owner: &Object, taken: &[Object], planned: &[Object]) -> String {
    let meta = &owner.metadata;
    // The name is also a host name: 63 letters at most.
    let short: String = stem.chars().take(57).collect();
    let mut n = 0_u32;
    loop {
        let seed = format!("{stem}/{}/{}/{n}", meta.uid, meta.resource_version);
        let name = format!("{short}-{}", letters(seed.as_bytes(), 5));
        let used = |o: &Object| o.kind == POD.kind && o.metadata.name == name;
        if !taken.iter().any(used) && !planned.iter().any(used) {
            return name;
        }
        n += 1;
    }
}

/// Names a template: another template has another name.
///
/// # Errors
/// When it has no JSON form.
pub fn template_hash(template: &PodTemplateSpec) -> Result<String> {
    // By way of a map, whose keys are sorted.
    let value = serde_json::to_value(template).map_err(kfbox_store::Error::internal)?;
    Ok(letters(value.to_string().as_bytes(), 10))
}

fn letters(seed: &[u8], count: usize) -> String {
    let digest = Sha256::digest(seed);
    let pick = |b: &u8| char::from(LETTERS[usize::from(*b) % LETTERS.len()]);
    digest.iter().take(count).map(pick).collect()
}
