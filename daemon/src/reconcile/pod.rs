//! The pod room, the only one with hands: makes each bound Pod's container, watches it end, keeps its log,
//! and takes it away.
//!
//! ```text
//!            bound             create, start              exits
//!  Pending ---------> Pending ---------------> Running ----------> Succeeded | Failed
//!                        |  image missing, engine refuses             | log kept, container removed,
//!                        +------------------------------------------->| finalizer dropped
//! ```
//! The container's name is made from the Pod's uid, so every step can be repeated after a crash: create finds
//! its own container again, a container that ended while nobody looked is seen to have ended. The status is
//! durable before the container is removed; a Pod that has been terminal and has no finalizer has no container.

mod logs;
mod want;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, PodSpec,
};
use kfbox_store::{
    Code, Error, Event, EventType, Kind, Object, Ref, Result, Store,
    kinds::core::{COMMIT_IMAGE, POD, POD_FINALIZER, Phase, PodStatus, READY_AT, STOP, reason},
    now,
};

pub use logs::logs;
pub use want::{BOX_NAMES, parse_quantity, requests};
pub(super) use want::{claim_dir, memory_dir};

use super::Ctx;
use crate::{
    controller::{Action, Reconciler},
    driver::{Exit, Observed, State},
};

/// Between the end of a container and its removal: the engine's time belongs to the next step's start first.
const LINGER: Duration = Duration::from_millis(300);
/// Seconds between asking a container to end and making it.
const GRACE: u32 = 10;

/// The room.
pub struct Pods(pub Ctx);

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
        if object.kind == POD.kind
            && !event.deleted()
            && !ended
            && !object.metadata.finalizers.is_empty()
        {
            wake(Ref::new(
                &POD,
                &object.metadata.namespace,
                &object.metadata.name,
            ));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(pod) = self.0.store.get(key).await? else {
            return Ok(Action::Wait);
        };
        if !pod.metadata.finalizers.iter().any(|f| f == POD_FINALIZER) {
            return Ok(Action::Wait);
        }
        let status: PodStatus = pod.status()?;
        let name = want::container_name(&self.0.box_id, &pod);
        if pod.deleting() {
            self.0.driver.stop(&name, GRACE).await?;
            return self.take_away(&pod, &name).await;
        }
        if status.phase.terminal() {
            return self.take_away(&pod, &name).await;
        }
        let spec: PodSpec = match pod.spec() {
            Ok(spec) => spec,
            Err(e) => return self.fail(&pod, reason::START, &e.message).await,
        };
        let stop = pod.metadata.annotations.get(STOP);
        let untouched = status.container_statuses.is_empty() && stop.is_none();
        if untouched && spec.node_name.is_some() {
            // The usual case, without asking the engine first: creating tells as well whether it is there.
            if let Some(action) = self.make(&pod, &spec, &name).await? {
                return Ok(action);
            }
        }
        match self.0.driver.observe(&name).await? {
            None if !status.container_statuses.is_empty() => {
                let message = "its container is gone from the engine: somebody removed it, or the engine lost it";
                self.fail(&pod, reason::INTERRUPTED, message).await
            }
            None if stop.is_some() => {
                let message = stop.cloned().unwrap_or_default();
                self.fail(&pod, reason::STOPPED, &message).await
            }
            None if spec.node_name.is_none() => Ok(Action::Wait),
            None => Ok(self
                .make(&pod, &spec, &name)
                .await?
                .unwrap_or(Action::After(Duration::ZERO))),
            Some(seen) if seen.pod.uid != pod.metadata.uid => {
                // Cannot happen while names carry the uid; never touch what is not ours.
                self.fail(&pod, reason::START, "another container has this Pod's name")
                    .await
            }
            Some(seen) => match seen.state.clone() {
                State::Created if stop.is_some() => {
                    self.0.driver.remove(&name).await?;
                    Ok(Action::After(Duration::ZERO))
                }
                State::Created => {
                    let failed = self.start(&pod, &name).await?;
                    Ok(failed.unwrap_or(Action::After(Duration::ZERO)))
                }
                State::Running(since) => self.running(&pod, &spec, &name, &seen, &since).await,
                State::Exited(exit) => self.ended(&pod, &spec, &name, &seen, exit).await,
            },
        }
    }
}

impl Pods {
    /// Creates and starts the container; `None` when there is one now to be looked at.
    async fn make(&self, pod: &Object, spec: &PodSpec, name: &str) -> Result<Option<Action>> {
        let image_name = spec.containers[0].image.clone().unwrap_or_default();
        let image = match self.0.images.resolve(&image_name).await {
            Ok(image) => image,
            Err(e) if e.code == Code::NotFound => {
                tracing::warn!(pod = pod.metadata.name, context = e.context, "{e}");
                return self.fail(pod, reason::IMAGE, &e.message).await.map(Some);
            }
            Err(e) => return Err(e),
        };
        let network = self.0.network(&pod.metadata.namespace).await?;
        let want = match want::want(&self.0, pod, spec, name, &image, &network).await {
            Ok(want) => want,
            // What it names is not there yet.
            Err(e) if e.retryable() || e.code == Code::Precondition => return Err(e),
            Err(e) => return self.fail(pod, reason::START, &e.message).await.map(Some),
        };
        let ready = pod.metadata.annotations.get(READY_AT);
        if let Some(since) = ready.and_then(|at| at.parse::<jiff::Timestamp>().ok()) {
            let waited = jiff::Timestamp::now().duration_since(since);
            self.0
                .metrics
                .pod_waited(Duration::try_from(waited).unwrap_or_default());
        }
        let began = Instant::now();
        match self.0.driver.create(&want).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) if e.code == Code::NotFound => {
                // The image was there a moment ago: look again before blaming the user.
                self.0.images.forget(&image_name);
                self.0.images.forget(&image.name);
                return Err(Error::new(Code::Conflict, e.message));
            }
            Err(e) if e.retryable() => return Err(e),
            Err(e) => return self.fail(pod, reason::START, &e.message).await.map(Some),
        }
        let action = self.start(pod, name).await;
        self.0.metrics.pod_started(began.elapsed());
        action
    }

    /// `None` when it has been started.
    async fn start(&self, pod: &Object, name: &str) -> Result<Option<Action>> {
        if let Err(e) = self.0.driver.start(name).await {
            // 400: the engine cannot run what the image or the command asks for. Anything else: look again.
            let cannot_run = e.code == Code::Invalid
                || (e.code == Code::NotFound && e.message.contains("executable"))
                || (e.code == Code::Internal && e.message.contains("OCI runtime"));
            if !cannot_run {
                return Err(e);
            }
            return self.fail(pod, reason::START, &e.message).await.map(Some);
        }
        Ok(None)
    }

    async fn running(
        &self,
        pod: &Object,
        spec: &PodSpec,
        name: &str,
        seen: &Observed,
        since: &str,
    ) -> Result<Action> {
        let mut status: PodStatus = pod.status()?;
        if status.phase != Phase::Running {
            status.phase = Phase::Running;
            status.start_time = Some(since.into());
            let started_at = since
                .parse()
                .ok()
                .map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
            status.container_statuses = vec![container_status(
                spec,
                seen,
                ContainerState {
                    running: Some(ContainerStateRunning { started_at }),
                    ..Default::default()
                },
            )];
            set_status(&self.0.store, pod, status).await?;
        }
        if pod.metadata.annotations.contains_key(STOP) {
            self.0.driver.stop(name, GRACE).await?;
            return Ok(Action::After(Duration::ZERO));
        }
        let Some(limit) = deadline(spec) else {
            return Ok(Action::Wait);
        };
        let age = age_of(since);
        if age >= limit {
            self.0.driver.stop(name, GRACE).await?;
            return Ok(Action::After(Duration::ZERO));
        }
        Ok(Action::After(limit - age))
    }

    async fn ended(
        &self,
        pod: &Object,
        spec: &PodSpec,
        name: &str,
        seen: &Observed,
        exit: Exit,
    ) -> Result<Action> {
        let verdict = verdict(pod, spec, &exit);
        if verdict.phase == Phase::Succeeded
            && let Some(image) = pod.metadata.annotations.get(COMMIT_IMAGE)
        {
            self.0.driver.commit(name, image).await?;
        }
        let time = |t: &str| {
            t.parse()
                .ok()
                .map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time)
        };
        let mut status: PodStatus = pod.status()?;
        status.start_time = Some(exit.started_at.clone());
        status.phase = verdict.phase;
        status.reason = verdict.reason.into();
        status.message.clone_from(&verdict.message);
        status.container_statuses = vec![container_status(
            spec,
            seen,
            ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: exit.code,
                    reason: Some(
                        if verdict.reason.is_empty() {
                            "Completed"
                        } else {
                            verdict.reason
                        }
                        .into(),
                    ),
                    message: (!verdict.message.is_empty()).then_some(verdict.message),
                    started_at: time(&exit.started_at),
                    finished_at: time(&exit.finished_at),
                    container_id: Some(format!("docker://{}", seen.id)),
                    signal: None,
                }),
                ..Default::default()
            },
        )];
        set_status(&self.0.store, pod, status).await?;
        Ok(Action::After(LINGER))
    }

    /// Keeps the log, removes the container, lets the Pod go.
    async fn take_away(&self, pod: &Object, name: &str) -> Result<Action> {
        if let Some(seen) = self.0.driver.observe(name).await?
            && seen.pod.uid == pod.metadata.uid
        {
            logs::keep(&self.0, pod, name).await?;
            self.0.driver.remove(name).await?;
        }
        drop_finalizer(&self.0.store, pod).await?;
        Ok(Action::Wait)
    }

    async fn fail(&self, pod: &Object, reason: &str, message: &str) -> Result<Action> {
        let mut status: PodStatus = pod.status()?;
        status.phase = Phase::Failed;
        status.reason = reason.into();
        status.message = message.into();
        let pod = set_status(&self.0.store, pod, status).await?;
        let name = want::container_name(&self.0.box_id, &pod);
        self.take_away(&pod, &name).await
    }
}

struct Verdict {
    phase: Phase,
    reason: &'static str,
    message: String,
}

fn verdict(pod: &Object, spec: &PodSpec, exit: &Exit) -> Verdict {
    let failed = |reason, message: String| Verdict {
        phase: Phase::Failed,
        reason,
        message,
    };
    if let Some(why) = pod.metadata.annotations.get(STOP) {
        return failed(reason::STOPPED, why.clone());
    }
    let ran = age_between(&exit.started_at, &exit.finished_at);
    if exit.code != 0 && deadline(spec).is_some_and(|limit| ran >= limit) {
        let limit = spec.active_deadline_seconds.unwrap_or_default();
        return failed(
            reason::DEADLINE,
            format!("ran longer than its limit of {limit} s and was stopped"),
        );
    }
    if exit.oom {
        let limit = want::memory_limit(spec).map_or_else(
            || "the box's limit for containers without one".to_string(),
            |bytes| format!("its memory limit of {}", want::human(bytes)),
        );
        return failed(
            reason::OOM,
            format!(
                "went past {limit} and was killed: raise the limit (resources.limits.memory), or use less"
            ),
        );
    }
    if exit.interrupted {
        return failed(
            reason::INTERRUPTED,
            format!(
                "was stopped from outside (exit code {}): the engine or the machine went down, or somebody killed it",
                exit.code
            ),
        );
    }
    if exit.code == 0 {
        return Verdict {
            phase: Phase::Succeeded,
            reason: "",
            message: String::new(),
        };
    }
    let detail = match exit.code {
        _ if !exit.error.is_empty() => format!(": {}", exit.error),
        127 => ": the image has no such command (its log names it)".into(),
        126 => ": the command cannot be executed (its log says why)".into(),
        _ => String::new(),
    };
    failed(
        reason::ERROR,
        format!("exited with code {}{detail}", exit.code),
    )
}

fn deadline(spec: &PodSpec) -> Option<Duration> {
    let seconds = u64::try_from(spec.active_deadline_seconds?).ok()?;
    Some(Duration::from_secs(seconds))
}

fn age_of(since: &str) -> Duration {
    age_between(since, &jiff::Timestamp::now().to_string())
}

fn age_between(from: &str, to: &str) -> Duration {
    let (Ok(from), Ok(to)) = (
        from.parse::<jiff::Timestamp>(),
        to.parse::<jiff::Timestamp>(),
    ) else {
        return Duration::ZERO;
    };
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn container_status(spec: &PodSpec, seen: &Observed, state: ContainerState) -> ContainerStatus {
    let container = &spec.containers[0];
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: seen.image_id.clone(),
        container_id: Some(format!("docker://{}", seen.id)),
        ready: state.running.is_some(),
        started: Some(true),
        state: Some(state),
        ..Default::default()
    }
}

async fn set_status(store: &Store, pod: &Object, status: PodStatus) -> Result<Object> {
    let r = Ref::new(&POD, &pod.metadata.namespace, &pod.metadata.name);
    let uid = pod.metadata.uid.clone();
    store
        .modify(&r, move |p| {
            if p.metadata.uid != uid {
                return Err(Error::new(Code::Conflict, "the Pod was replaced"));
            }
            p.set("status", &status)
        })
        .await
}

async fn drop_finalizer(store: &Store, pod: &Object) -> Result<()> {
    let r = Ref::new(&POD, &pod.metadata.namespace, &pod.metadata.name);
    let uid = pod.metadata.uid.clone();
    let dropped = store
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

/// A Pod that another room wants run: with finalizer and the time since when it could have run.
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
    pod.metadata.annotations.insert(READY_AT.into(), ready_at);
    Ok(pod)
}
