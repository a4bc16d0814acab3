//! Sandboxes: containers that hold a Pod's network. Making a network is most of what a small step costs, so
//! Pods that agree to it ([`SANDBOX`]) run in one of their namespace's pool, which is kept started and used again
//! as soon as the container in it has ended.
//!
//! The pool is no record: who uses which sandbox is read from the containers when the daemon starts and after
//! every outage of the engine. What a sandbox keeps between two Pods is its address, /etc/hosts and
//! /etc/resolv.conf; the Pods of a namespace trust each other.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::PodSpec;
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::core::{POOLED, SANDBOX},
};

use tokio::sync::{Notify, Semaphore};

use crate::driver::{Driver, Observed, SandboxWant, State};

/// The sandbox's image.
pub const IMAGE: &str = "kfbox/busybox:1";
/// Sandboxes of a namespace that are kept ready.
const WARM: usize = 2;
/// Sandboxes of a namespace that are kept at most when nobody uses them.
const PARKED: usize = 4;
/// Sandboxes that are made at once.
const MAKERS: usize = 2;
/// Before another one is made ready: the engine's time belongs to the Pod that starts.
const LATER: Duration = Duration::from_millis(500);

/// A sandbox that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Option<IpAddr>,
    namespace: String,
}

impl Sandbox {
    fn of(seen: &Observed) -> Self {
        Self {
            id: seen.id.clone(),
            name: seen.name.clone(),
            ip: seen.ip,
            namespace: seen.pod.namespace.clone(),
        }
    }
}

/// Whether a Pod may use the pool.
pub fn pooled(pod: &Object, spec: &PodSpec) -> bool {
    let asks = pod.metadata.annotations.get(SANDBOX);
    asks.is_some_and(|mode| mode == POOLED)
        && spec.restart_policy.as_deref() == Some("Never")
        && spec.containers.len() == 1
        && spec.init_containers.iter().flatten().next().is_none()
        && spec.hostname.is_none()
}

/// Makes a sandbox, or finds the one that a crash left, and starts it.
///
/// # Errors
/// When the engine cannot.
pub async fn make(driver: &dyn Driver, want: &SandboxWant) -> Result<Sandbox> {
    let lost = |e: Error| match e.code {
        // Its network was there a moment ago: look again.
        Code::NotFound => Error::new(Code::Conflict, e.message),
        _ => e,
    };
    driver.create_sandbox(want).await.map_err(lost)?;
    driver.start(&want.name).await.map_err(lost)?;
    match driver.observe(&want.name).await? {
        Some(seen) if matches!(seen.state, State::Running(_)) => Ok(Sandbox::of(&seen)),
        Some(seen) => {
            driver.remove(&want.name).await?;
            let why = format!("sandbox {} ended at once: {:?}", want.name, seen.state);
            Err(Error::new(Code::Unavailable, why))
        }
        None => Err(Error::new(Code::Conflict, "its sandbox is gone")),
    }
}

#[derive(Default)]
struct Inside {
    loaded: bool,
    parked: HashMap<String, Vec<Sandbox>>,
    /// By Pod uid.
    busy: HashMap<String, Sandbox>,
    warming: HashSet<String>,
    /// Names of those that are being made: their maker knows whose they will be.
    making: HashSet<String>,
}

/// The sandboxes that Pods of a namespace share in turn.
pub struct Pool {
    driver: Arc<dyn Driver>,
    box_id: String,
    inside: Mutex<Inside>,
    loading: tokio::sync::Mutex<()>,
    makers: Semaphore,
    freed: Notify,
}

impl Pool {
    /// Of this box; looks at the engine when it is first used.
    pub fn new(driver: Arc<dyn Driver>, box_id: &str) -> Self {
        Self {
            driver,
            box_id: box_id.into(),
            inside: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            makers: Semaphore::new(MAKERS),
            freed: Notify::new(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sandbox for a Pod: the one it has, a parked one, or a new one made as `want` says.
    ///
    /// # Errors
    /// When the engine cannot make one.
    pub async fn take(self: &Arc<Self>, uid: &str, want: SandboxWant) -> Result<Sandbox> {
        self.load().await?;
        let namespace = want.pod.namespace.clone();
        let sandbox = loop {
            // Registered before looking: one that is freed after the look is not missed.
            let freed = self.freed.notified();
            if let Some(sandbox) = self.parked(uid, &namespace) {
                break sandbox;
            }
            // Small steps end sooner than the engine makes a network for each of them.
            let permit = tokio::select! {
                permit = self.makers.acquire() => permit.map_err(Error::internal)?,
                () = freed => continue,
            };
            if let Some(sandbox) = self.parked(uid, &namespace) {
                break sandbox;
            }
            let for_pod = |inside: &mut Inside, sandbox: &Sandbox| {
                inside.busy.insert(uid.into(), sandbox.clone());
            };
            let made = self.make(&want, for_pod).await?;
            drop(permit);
            break made;
        };
        self.warm(want);
        Ok(sandbox)
    }

    /// The sandbox that a Pod has, or a parked one, now its own.
    fn parked(&self, uid: &str, namespace: &str) -> Option<Sandbox> {
        let mut inside = self.inside();
        let found = match inside.busy.get(uid) {
            Some(sandbox) => sandbox.clone(),
            None => inside.parked.get_mut(namespace)?.pop()?,
        };
        inside.busy.insert(uid.into(), found.clone());
        Some(found)
    }

    /// Makes one and hands it on in the same moment.
    async fn make(
        &self,
        want: &SandboxWant,
        hand_on: impl FnOnce(&mut Inside, &Sandbox),
    ) -> Result<Sandbox> {
        let want = self.generic(want);
        self.inside().making.insert(want.name.clone());
        let made = make(&*self.driver, &want).await;
        let mut inside = self.inside();
        inside.making.remove(&want.name);
        if let Ok(sandbox) = &made {
            hand_on(&mut inside, sandbox);
        }
        made
    }

    fn generic(&self, want: &SandboxWant) -> SandboxWant {
        let mut want = want.clone();
        want.pod.name.clear();
        want.pod.uid.clear();
        let number: u64 = rand::random();
        want.name = format!(
            "kfbox-{}-{}-pool-{number:016x}",
            self.box_id, want.pod.namespace
        );
        want.hostname = "kfbox-step".into();
        want
    }

    /// Makes sandboxes ready behind the scenes.
    fn warm(self: &Arc<Self>, want: SandboxWant) {
        let namespace = want.pod.namespace.clone();
        let enough = |inside: &Inside| inside.parked.get(&namespace).map_or(0, Vec::len) >= WARM;
        {
            let mut inside = self.inside();
            if enough(&inside) || !inside.warming.insert(namespace.clone()) {
                return;
            }
        }
        let pool = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LATER).await;
                if pool.inside().parked.get(&namespace).map_or(0, Vec::len) >= WARM {
                    break;
                }
                let park = |inside: &mut Inside, sandbox: &Sandbox| {
                    let parked = inside.parked.entry(namespace.clone()).or_default();
                    parked.push(sandbox.clone());
                };
                if let Err(e) = pool.make(&want, park).await {
                    tracing::debug!(context = e.context, "no sandbox in advance: {e}");
                    break;
                }
            }
            pool.inside().warming.remove(&namespace);
        });
    }

    fn park(self: &Arc<Self>, sandbox: Sandbox) {
        let mut inside = self.inside();
        let parked = inside.parked.entry(sandbox.namespace.clone()).or_default();
        if parked.len() < PARKED {
            parked.push(sandbox);
            self.freed.notify_one();
            return;
        }
        drop(inside);
        let pool = self.clone();
        tokio::spawn(async move {
            // What stays is found by the next look at the engine.
            let _ = pool.driver.remove(&sandbox.name).await;
        });
    }

    /// The Pod's container has ended.
    pub fn release(self: &Arc<Self>, uid: &str) {
        let released = self.inside().busy.remove(uid);
        if let Some(sandbox) = released {
            self.park(sandbox);
        }
    }

    /// The Pod's sandbox does not work: it is not used again.
    pub async fn broken(&self, uid: &str) {
        let broken = self.inside().busy.remove(uid);
        if let Some(sandbox) = broken {
            let _ = self.driver.remove(&sandbox.name).await;
        }
    }

    /// The engine was away: what is parked may be gone.
    pub fn forget(&self) {
        let mut inside = self.inside();
        inside.loaded = false;
        inside.parked.clear();
    }

    /// Reads from the engine which sandboxes there are and who uses them.
    async fn load(&self) -> Result<()> {
        if self.inside().loaded {
            return Ok(());
        }
        let _one = self.loading.lock().await;
        if self.inside().loaded {
            return Ok(());
        }
        let all = self.driver.list().await?;
        let mut running = HashMap::new();
        let making = self.inside().making.clone();
        let finished = |s: &&Observed| pool_member(s) && !making.contains(&s.name);
        for seen in all.iter().filter(finished) {
            if matches!(seen.state, State::Running(_)) {
                running.insert(seen.id.clone(), Sandbox::of(seen));
            } else {
                self.driver.remove(&seen.name).await?;
            }
        }
        let mut inside = self.inside();
        // A Pod may have taken one whose container is not made yet.
        inside
            .busy
            .retain(|_, sandbox| running.contains_key(&sandbox.id));
        for seen in all.iter().filter(|s| !s.sandbox) {
            if !matches!(seen.state, State::Exited(_))
                && let Some(sandbox) = running.get(&seen.joins)
            {
                inside.busy.insert(seen.pod.uid.clone(), sandbox.clone());
            }
        }
        let used: HashSet<String> = inside.busy.values().map(|s| s.id.clone()).collect();
        inside.parked.clear();
        for (id, sandbox) in running {
            if !used.contains(&id) {
                let parked = inside.parked.entry(sandbox.namespace.clone());
                parked.or_default().push(sandbox);
            }
        }
        inside.loaded = true;
        Ok(())
    }

    /// Removes those of a namespace that goes.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn clear_namespace(&self, namespace: &str) -> Result<()> {
        self.inside().parked.remove(namespace);
        let all = self.driver.list().await?;
        let theirs = all
            .iter()
            .filter(|s| pool_member(s) && s.pod.namespace == namespace);
        futures::future::try_join_all(theirs.map(|s| self.driver.remove(&s.name))).await?;
        Ok(())
    }

    /// Removes all of them, for a box that leaves; whether there were any.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn clear(&self) -> Result<bool> {
        self.forget();
        let all = self.driver.list().await?;
        let ours = all.iter().filter(|s| pool_member(s));
        let gone = futures::future::try_join_all(ours.map(|s| self.driver.remove(&s.name))).await?;
        Ok(!gone.is_empty())
    }
}

/// Whether a container is a sandbox of the pool: one that belongs to no Pod.
pub fn pool_member(seen: &Observed) -> bool {
    seen.sandbox && seen.pod.name.is_empty()
}
