//! The pod room, the only one with hands: makes each bound Pod's containers in its sandbox, watches them, keeps
//! their output, and takes them away.
//!
//! ```text
//!            bound            init containers, containers             all have ended for good
//!  Pending ---------> Pending --------------------------> Running ----------------------------> Succeeded | Failed
//!                        |  image missing, engine refuses    ^ | restart by policy             | logs kept, containers
//!                        |                                   +-+                               | removed, sandbox freed,
//!                        +-------------------------------------------------------------------->| finalizer dropped
//! ```
//! One look = see (`containers`), decide (`plan`, pure), write the status, act (`containers`). A container's name
//! is made from the Pod's uid and its number of restarts, so every step can be repeated after a crash: create
//! finds its own container again, a container that ended while nobody looked is seen to have ended. The status is
//! durable before a container is removed or replaced; a Pod that has been terminal and has no finalizer has no
//! container.

mod containers;
mod logs;
mod plan;
mod probe;
mod sandbox;
mod status;
mod want;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodSpec;
use kfbox_store::{
    Code, Error, Event, EventType, Kind, Object, Ref, Result, Store,
    kinds::core::{
        COMMIT_IMAGE, OOM_AT, POD, POD_FINALIZER, POOLED, PodStatus, READY_AT, SANDBOX, STOP,
        reason,
    },
    now,
};
use tokio::sync::OwnedMutexGuard;

pub use containers::base_name as sandbox_name;
pub use logs::{dir as log_dir, file as log_file, logs};
pub use sandbox::{Pool, pool_member, pooled};
pub use want::{BOX_NAMES, parse_quantity, requests};
pub(super) use want::{claim_dir, memory_dir};

use self::{
    containers::{Live, Made, all, container_name, restarts},
    plan::{Hand, Plan, View, grace, plan},
};
use super::Ctx;
use crate::{
    controller::{Action, Reconciler, Waker},
    driver::PodId,
    events::{self, Level},
};

/// Between the end of a Pod and the removal of its containers: the engine's time belongs to the next Pod's start.
const LINGER: Duration = Duration::from_millis(300);

type Lives = HashMap<Ref, (String, Arc<tokio::sync::Mutex<Live>>)>;

/// The room.
pub struct Pods {
    ctx: Ctx,
    waker: Waker,
    backoff: Duration,
    lives: Mutex<Lives>,
}

#[async_trait]
impl Reconciler for Pods {
    fn name(&self) -> &'static str {
        "pod"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&POD]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        // That a Pod ended is this room's own news: its container is taken away when the pause is over.
        let ended = event.event_type == EventType::Modified
            && !object.deleting()
            && object
                .status::<PodStatus>()
                .is_ok_and(|s| s.phase.terminal());
        let gone = event.deleted() || object.metadata.finalizers.is_empty();
        if object.kind == POD.kind && !ended {
            let key = Ref::new(&POD, &object.metadata.namespace, &object.metadata.name);
            if !gone || self.knows(&key) {
                wake(key);
            }
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let pod = self.ctx.store.get(key).await?;
        let Some(pod) = pod.filter(|p| p.metadata.finalizers.iter().any(|f| f == POD_FINALIZER))
        else {
            self.forget(key);
            return Ok(Action::Wait);
        };
        let mut live = self.live(key, &pod.metadata.uid).await;
        let status: PodStatus = pod.status()?;
        let parsed: Result<PodSpec> = pod.spec();
        if pod.deleting() || status.phase.terminal() {
            // What no longer parses can still be taken away.
            let spec = parsed.unwrap_or_default();
            if pod.deleting() {
                self.stop_all(&pod, &spec, &status).await?;
            }
            self.clear(&pod, &spec, &status).await?;
            self.drop_finalizer(&pod).await?;
            drop(live);
            self.forget(key);
            return Ok(Action::Wait);
        }
        let spec = parsed.unwrap_or_else(|e| {
            live.doomed = Some((kfbox_store::kinds::core::reason::START.into(), e.message));
            PodSpec::default()
        });
        let stopped = pod.metadata.annotations.contains_key(STOP) || live.doomed.is_some();
        if spec.node_name.is_none() && !stopped {
            return Ok(Action::Wait);
        }
        self.advance(key, &pod, &spec, status, &mut live).await
    }
}

impl Pods {
    /// The room; `waker` is its own queue.
    pub fn new(ctx: Ctx, waker: Waker) -> Self {
        Self {
            ctx,
            waker,
            backoff: super::backoff::base(),
            lives: Mutex::default(),
        }
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, key: &Ref) -> bool {
        self.lives().contains_key(key)
    }

    fn forget(&self, key: &Ref) {
        self.lives().remove(key);
    }

    async fn live(&self, key: &Ref, uid: &str) -> OwnedMutexGuard<Live> {
        let live = {
            let mut lives = self.lives();
            let entry = lives.entry(key.clone()).or_default();
            if entry.0 != uid {
                *entry = (uid.into(), Arc::default());
            }
            entry.1.clone()
        };
        live.lock_owned().await
    }

    /// One look at a Pod that is to run.
    async fn advance(
        &self,
        key: &Ref,
        pod: &Object,
        spec: &PodSpec,
        old: PodStatus,
        live: &mut Live,
    ) -> Result<Action> {
        let pooled = sandbox::pooled(pod, spec);
        // The usual case, without asking the engine first: creating tells as well whether it is there.
        let first = pooled && old.container_statuses.is_empty() && !live.looked;
        let seen = if first {
            BTreeMap::new()
        } else {
            self.observe(pod, spec, &old).await?
        };
        let known = old.pod_ip.as_ref().and_then(|ip| ip.parse().ok());
        let ip = live.sandbox.as_ref().and_then(|s| s.ip).or(known);
        let health = live
            .probers
            .follow(&self.ctx.driver, &self.waker, key, ip, all(spec), &seen);
        let plan = plan(&View {
            pod,
            spec,
            status: &old,
            seen: &seen,
            health: &health,
            held: &live.held,
            killed: &live.killed,
            calm: &live.calm,
            doomed: live.doomed.as_ref(),
            ip,
            host: self
                .ctx
                .gateways
                .borrow()
                .get(&pod.metadata.namespace)
                .copied(),
            now: jiff::Timestamp::now(),
            backoff: self.backoff,
        });
        live.calm.extend(plan.calmed.iter().cloned());
        for hand in &plan.hands {
            if let Hand::Keep(name) = hand {
                let ended = container_name(&self.ctx.box_id, pod, name, restarts(&old, name));
                let file = log_file(&self.ctx, pod, name, true);
                logs::keep(&self.ctx, &ended, &file).await?;
            }
        }
        if plan.status.phase == kfbox_store::kinds::core::Phase::Succeeded
            && let Some(image) = pod.metadata.annotations.get(COMMIT_IMAGE)
            && let Some(done) = spec.containers.first().and_then(|c| seen.get(&c.name))
        {
            self.ctx.driver.commit(&done.name, image).await?;
        }
        // Of a Pod of the pool nobody needs to hear that its container is about to be made.
        let quiet = first && !plan.status.phase.terminal();
        if !quiet {
            self.write(pod, &old, &plan, pooled).await?;
        }
        if plan.status.phase.terminal() {
            self.ctx.pool.release(&pod.metadata.uid);
            return Ok(Action::After(LINGER));
        }
        self.act(pod, spec, &old, plan, live).await
    }

    async fn act(
        &self,
        pod: &Object,
        spec: &PodSpec,
        old: &PodStatus,
        plan: Plan,
        live: &mut Live,
    ) -> Result<Action> {
        let mut stops = Vec::new();
        let mut again = plan.again;
        for hand in plan.hands {
            match hand {
                Hand::Stop(name, why) => {
                    let why = why.unwrap_or_else(|| "the pod ends".into());
                    live.killed.insert(name.clone(), why);
                    stops.push(name);
                }
                // The one before it; its output is kept and its end is in the status.
                Hand::Keep(name) => {
                    let ended = container_name(&self.ctx.box_id, pod, &name, restarts(old, &name));
                    self.ctx.driver.remove(&ended).await?;
                }
                Hand::Run(name) => match self.run(pod, spec, &plan.status, live, &name).await? {
                    Made::Started => {}
                    Made::Exists | Made::Held | Made::Doomed => again = Some(Duration::ZERO),
                },
            }
        }
        if !stops.is_empty() {
            self.stop(pod, &plan.status, &stops, grace(spec)).await?;
            again = Some(Duration::ZERO);
        }
        Ok(again.map_or(Action::Wait, Action::After))
    }

    /// Writes the status, when it is another one, with what is worth telling.
    async fn write(&self, pod: &Object, old: &PodStatus, plan: &Plan, quiet: bool) -> Result<()> {
        let json = |s: &PodStatus| serde_json::to_value(s).map_err(Error::internal);
        if json(old)? == json(&plan.status)? {
            return Ok(());
        }
        let r = Ref::new(&POD, &pod.metadata.namespace, &pod.metadata.name);
        let uid = pod.metadata.uid.clone();
        let (status, about) = (plan.status.clone(), pod.clone());
        let news = if quiet { Vec::new() } else { plan.news.clone() };
        self.ctx
            .store
            .write(move |txn| {
                txn.modify(&r, move |p| {
                    if p.metadata.uid != uid {
                        return Err(Error::new(Code::Conflict, "the Pod was replaced"));
                    }
                    p.set("status", &status)
                })?;
                for (level, reason, message) in &news {
                    events::record_in(txn, &about, *level, reason, message)?;
                }
                Ok(())
            })
            .await
    }

    async fn drop_finalizer(&self, pod: &Object) -> Result<()> {
        let r = Ref::new(&POD, &pod.metadata.namespace, &pod.metadata.name);
        let uid = pod.metadata.uid.clone();
        let dropped = self
            .ctx
            .store
            .modify(&r, move |p| {
                if p.metadata.uid == uid {
                    p.metadata.finalizers.retain(|f| f != POD_FINALIZER);
                }
                Ok(())
            })
            .await;
        match dropped {
            Err(e) if e.code != Code::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// A Pod that another room wants run once, as a step of something: with the time since when it could have run,
/// in a sandbox of the pool.
///
/// # Errors
/// When the spec has no JSON form.
pub fn new_pod(
    namespace: &str,
    name: &str,
    spec: &PodSpec,
    owner: &Object,
    ready_at: &str,
) -> Result<Object> {
    let mut pod = Object::new(&POD, namespace, name)
        .with_spec(spec)?
        .owned_by(owner);
    let ready_at = if ready_at.is_empty() {
        now()
    } else {
        ready_at.into()
    };
    let annotations = &mut pod.metadata.annotations;
    annotations.insert(READY_AT.into(), ready_at);
    annotations.insert(SANDBOX.into(), POOLED.into());
    Ok(pod)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// Notes on a Pod that a process in it was killed for its memory limit: whoever works in it should know why a kernel is
/// gone. Lost without harm when it cannot be written.
pub async fn out_of_memory(store: &Store, id: &PodId) {
    let at = Ref::new(&POD, &id.namespace, &id.name);
    let uid = id.uid.clone();
    let noted = store.modify(&at, move |pod| {
        if pod.metadata.uid == uid {
            let annotations = &mut pod.metadata.annotations;
            annotations.insert(OOM_AT.into(), now());
        }
        Ok(())
    });
    match noted.await {
        Ok(pod) if pod.metadata.uid == id.uid => {
            let text = "a process in it went past the memory limit and was killed";
            events::record(store, &pod, Level::Warning, reason::OOM, text).await;
        }
        Err(e) if e.code != Code::NotFound => {
            tracing::warn!(context = e.context, pod = %at, "an end for lack of memory was not noted: {e}");
        }
        _ => {}
    }
}
