//! The hands of the pod room: makes, starts, stops and removes containers as a plan says.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::core::{PodStatus, READY_AT, reason},
};

use super::{
    Pods, logs,
    plan::{Hold, grace},
    probe::Probers,
    sandbox::{self, Sandbox, pooled},
    want,
};
use crate::{
    driver::{Observed, State},
    reconcile::backoff,
};

/// The pause before a container that could not be made is tried again; it doubles.
const HOLD: Duration = Duration::from_secs(10);

/// What this daemon knows of a Pod beside its status; lost without harm.
#[derive(Default)]
pub struct Live {
    /// Whether this daemon has tried to make its container.
    pub looked: bool,
    /// Its sandbox.
    pub sandbox: Option<Sandbox>,
    /// See [`super::plan::View::held`].
    pub held: HashMap<String, Hold>,
    /// See [`super::plan::View::killed`].
    pub killed: HashMap<String, String>,
    /// See [`super::plan::View::calm`].
    pub calm: HashMap<String, i32>,
    /// See [`super::plan::View::doomed`].
    pub doomed: Option<(String, String)>,
    /// Who asks its containers.
    pub probers: Probers,
}

/// What became of making a container.
pub enum Made {
    /// It runs, or has run.
    Started,
    /// There is one already: look at it.
    Exists,
    /// Not now; [`Live::held`] says why.
    Held,
    /// Never; [`Live::doomed`] says why.
    Doomed,
}

/// All containers of a Pod, init containers first.
pub fn all(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
}

/// What all names of a Pod's containers begin with; the sandbox's own name.
pub fn base_name(box_id: &str, pod: &Object) -> String {
    let uid = pod.metadata.uid.get(..8).unwrap_or(&pod.metadata.uid);
    format!(
        "kfbox-{box_id}-{}-{}-{uid}",
        pod.metadata.namespace, pod.metadata.name
    )
}

/// A container's name: unique in the engine, the same after every crash.
pub fn container_name(box_id: &str, pod: &Object, container: &str, restart: i32) -> String {
    format!("{}-{container}-{restart}", base_name(box_id, pod))
}

/// How often a container was restarted, as the status says.
pub fn restarts(status: &PodStatus, container: &str) -> i32 {
    status.container(container).map_or(0, |c| c.restart_count)
}

impl Pods {
    /// The Pod's containers that are in the engine, each at its current number of restarts.
    pub(super) async fn observe(
        &self,
        pod: &Object,
        spec: &PodSpec,
        status: &PodStatus,
    ) -> Result<BTreeMap<String, Observed>> {
        let looks = all(spec).map(|c| async move {
            let restart = restarts(status, &c.name);
            let name = container_name(&self.ctx.box_id, pod, &c.name, restart);
            let seen = self.ctx.driver.observe(&name).await?;
            // Names carry the uid: another's container cannot be meant.
            Ok::<_, Error>(
                seen.filter(|s| s.pod.uid == pod.metadata.uid)
                    .map(|s| (c.name.clone(), s)),
            )
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    /// The Pod's sandbox, made when it has none that is known to run.
    async fn sandbox(&self, pod: &Object, spec: &PodSpec, live: &mut Live) -> Result<Sandbox> {
        if let Some(sandbox) = &live.sandbox {
            return Ok(sandbox.clone());
        }
        let ctx = &self.ctx;
        let network = ctx.network(&pod.metadata.namespace).await?;
        let mut wanted = want::sandbox(ctx, pod, spec, &network)?;
        wanted.image = ctx.images.resolve(sandbox::IMAGE).await?.name;
        let found = if pooled(pod, spec) {
            ctx.pool.take(&pod.metadata.uid, wanted).await?
        } else {
            wanted.name = base_name(&ctx.box_id, pod);
            sandbox::make(&*ctx.driver, &wanted).await?
        };
        Ok(live.sandbox.insert(found).clone())
    }

    /// The sandbox does not run any more: the next try gets another one.
    async fn lost_sandbox(&self, pod: &Object, live: &mut Live, container: &str) -> Error {
        live.sandbox = None;
        self.ctx.pool.broken(&pod.metadata.uid).await;
        let _ = self.ctx.driver.remove(container).await;
        Error::new(Code::Conflict, "its sandbox has ended")
    }

    /// Makes and starts one container.
    pub(super) async fn run(
        &self,
        pod: &Object,
        spec: &PodSpec,
        status: &PodStatus,
        live: &mut Live,
        name: &str,
    ) -> Result<Made> {
        let Some(container) = all(spec).find(|c| c.name == name) else {
            return Err(Error::internal(format!("no container \"{name}\"")));
        };
        let began = Instant::now();
        if !live.looked {
            self.measure(pod);
        }
        let ctx = &self.ctx;
        let image_name = container.image.clone().unwrap_or_default();
        let image = match ctx.images.resolve(&image_name).await {
            Ok(image) => image,
            Err(e) if e.code == Code::NotFound => {
                tracing::warn!(pod = pod.metadata.name, context = e.context, "{e}");
                return Ok(self.cannot(spec, live, name, reason::IMAGE, e.message));
            }
            Err(e) => return Err(e),
        };
        let sandbox = match self.sandbox(pod, spec, live).await {
            Ok(sandbox) => sandbox,
            Err(e) if e.code == Code::NotFound => {
                return Ok(self.cannot(spec, live, name, reason::IMAGE, e.message));
            }
            Err(e) => return Err(e),
        };
        live.looked = true;
        let in_engine = container_name(&ctx.box_id, pod, name, restarts(status, name));
        let wanted = want::container(ctx, pod, spec, container, &image, &in_engine, &sandbox).await;
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(e) if e.retryable() => return Err(e),
            Err(e) if e.code == Code::Precondition => {
                self.hold(live, name, "CreateContainerConfigError", e.message);
                return Ok(Made::Held);
            }
            Err(e) => return Ok(self.cannot(spec, live, name, reason::START, e.message)),
        };
        match ctx.driver.create(&wanted).await {
            Ok(true) => {}
            Ok(false) => match ctx.driver.observe(&in_engine).await? {
                Some(seen) if seen.state == State::Created && seen.joins != sandbox.id => {
                    ctx.driver.remove(&in_engine).await?;
                    return Ok(Made::Exists);
                }
                Some(seen) if seen.state == State::Created => {}
                _ => return Ok(Made::Exists),
            },
            Err(e) if e.code == Code::NotFound => {
                // Image and sandbox were there a moment ago: look again before blaming the user.
                ctx.images.forget(&image_name);
                ctx.images.forget(&image.name);
                self.lost_sandbox(pod, live, &in_engine).await;
                return Err(Error::new(Code::Conflict, e.message));
            }
            Err(e) if e.retryable() => return Err(e),
            Err(e) => return Ok(self.cannot(spec, live, name, reason::START, e.message)),
        }
        let started = ctx.driver.start(&in_engine).await;
        ctx.metrics.pod_started(began.elapsed());
        match started {
            Ok(()) => {
                live.held.remove(name);
                live.killed.remove(name);
                Ok(Made::Started)
            }
            Err(e) if is_sandbox_gone(&e.message, &sandbox.id) => {
                Err(self.lost_sandbox(pod, live, &in_engine).await)
            }
            // The engine cannot run what the image or the command asks for. Anything else: look again.
            Err(e)
                if e.code == Code::Invalid
                    || (e.code == Code::NotFound && e.message.contains("executable"))
                    || (e.code == Code::Internal && e.message.contains("OCI runtime")) =>
            {
                Ok(self.cannot(spec, live, name, reason::START, e.message))
            }
            Err(e) => Err(e),
        }
    }

    fn measure(&self, pod: &Object) {
        let ready = pod.metadata.annotations.get(READY_AT);
        if let Some(since) = ready.and_then(|at| at.parse::<jiff::Timestamp>().ok()) {
            let waited = jiff::Timestamp::now().duration_since(since);
            let waited = Duration::try_from(waited).unwrap_or_default();
            self.ctx.metrics.pod_waited(waited);
        }
    }

    /// A container that cannot be made ends a Pod that is never restarted; others try again.
    fn cannot(
        &self,
        spec: &PodSpec,
        live: &mut Live,
        name: &str,
        why: &str,
        message: String,
    ) -> Made {
        if spec.restart_policy.as_deref() == Some("Never") {
            live.doomed = Some((why.into(), message));
            return Made::Doomed;
        }
        let again = live.held.contains_key(name);
        let why = match why {
            reason::IMAGE if again => "ImagePullBackOff",
            reason::START => "CreateContainerError",
            other => other,
        };
        self.hold(live, name, why, message);
        Made::Held
    }

    fn hold(&self, live: &mut Live, name: &str, reason: &str, message: String) {
        let times = live.held.get(name).map_or(0, |h| h.times + 1);
        let pause = backoff::pause(HOLD, i32::try_from(times + 1).unwrap_or(i32::MAX));
        let now = jiff::Timestamp::now();
        let hold = Hold {
            until: now.checked_add(pause).unwrap_or(now),
            times,
            reason: reason.into(),
            message,
        };
        live.held.insert(name.into(), hold);
    }

    /// Stops containers, all at once.
    pub(super) async fn stop(
        &self,
        pod: &Object,
        status: &PodStatus,
        names: &[String],
        grace: u32,
    ) -> Result<()> {
        let stops = names.iter().map(|name| async move {
            let name = container_name(&self.ctx.box_id, pod, name, restarts(status, name));
            self.ctx.driver.stop(&name, grace).await
        });
        try_join_all(stops).await.map(|_| ())
    }

    /// Ends a Pod that is being deleted: its containers together, then its sidecars.
    pub(super) async fn stop_all(
        &self,
        pod: &Object,
        spec: &PodSpec,
        status: &PodStatus,
    ) -> Result<()> {
        let asked = pod.metadata.rest.get("deletionGracePeriodSeconds");
        let asked = asked.and_then(serde_json::Value::as_u64);
        let grace = asked
            .and_then(|s| u32::try_from(s).ok())
            .unwrap_or_else(|| grace(spec));
        let names = |c: &Container| c.name.clone();
        let mains: Vec<_> = spec.containers.iter().map(names).collect();
        self.stop(pod, status, &mains, grace).await?;
        let rest: Vec<_> = spec.init_containers.iter().flatten().map(names).collect();
        self.stop(pod, status, &rest, grace).await
    }

    /// Keeps the output and removes all the Pod has in the engine.
    pub(super) async fn clear(
        &self,
        pod: &Object,
        spec: &PodSpec,
        status: &PodStatus,
    ) -> Result<()> {
        let ctx = &self.ctx;
        let there = ctx.driver.of_pod(&pod.metadata.uid).await?;
        for container in all(spec) {
            let name = container_name(
                &ctx.box_id,
                pod,
                &container.name,
                restarts(status, &container.name),
            );
            if there.contains(&name) {
                let file = logs::file(ctx, pod, &container.name, false);
                logs::keep(ctx, &name, &file).await?;
            }
        }
        // The sandbox last: a container that is still being removed holds its network.
        let sandbox = base_name(&ctx.box_id, pod);
        let (last, first): (Vec<_>, Vec<_>) = there.into_iter().partition(|n| *n == sandbox);
        for names in [first, last] {
            try_join_all(names.iter().map(|n| ctx.driver.remove(n))).await?;
        }
        ctx.pool.release(&pod.metadata.uid);
        Ok(())
    }
}

/// What the engine and its runtime say when a container's network is gone.
fn is_sandbox_gone(message: &str, sandbox: &str) -> bool {
    message.contains("non running container")
        || message.contains("No such container") && message.contains(sandbox)
        || message.contains("cannot join network")
        // The sandbox's process ended between the engine's look at it and the runtime's.
        || message.contains("namespace path: lstat /proc/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_that_is_gone_is_known_by_the_engines_words() {
        let said = [
            "cannot join network of a non running container: 1f",
            "No such container: kfbox-1-sandbox",
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to create new \
             parent process: namespace path: lstat /proc/28794/ns/net: no such file or directory: unknown",
        ];
        for message in said {
            assert!(is_sandbox_gone(message, "kfbox-1-sandbox"), "{message}");
        }
        for other in [
            "No such container: kfbox-1-two",
            "OCI runtime create failed: runc create failed: exec: \"nope\": no such file or directory: unknown",
        ] {
            assert!(!is_sandbox_gone(other, "kfbox-1-sandbox"), "{other}");
        }
    }
}
