//! The environment room: runs a set-up script in an image once, and keeps the outcome as one more image layer.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use kfbox_store::{
    Code, Event, Kind, Object, Ref, Result, Selector,
    kinds::{
        core::{COMMIT_IMAGE, POD, Phase, PodStatus, reason},
        environment::{ENVIRONMENT, EnvironmentPhase, EnvironmentSpec, EnvironmentStatus},
    },
    now, now_micros,
};
use sha2::{Digest, Sha256};

use super::{
    Ctx,
    pod::{log_file, new_pod},
};
use crate::{
    controller::{Action, Reconciler},
    driver::Image,
    pipeline::pip::PipSetup,
};

/// Builds that an outage of the engine may interrupt before the environment counts as failed.
const MAX_ATTEMPTS: u32 = 5;
/// Lines of the build's log that go into its message.
const TAIL: usize = 6;
/// How exactly the last use is known.
const HOUR: Duration = Duration::from_secs(3600);
/// An environment that no step has asked for this long goes.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// The container's name.
const SETUP: &str = "setup";

/// The room.
pub struct Environments(pub Ctx);

/// The Environment object that a script in an image asks for: the same for all who ask the same.
///
/// # Errors
/// When it has no JSON form.
pub fn environment(namespace: &str, image: &Image, setup: &PipSetup) -> Result<Object> {
    let mut digest = Sha256::new();
    digest.update(image.id.as_bytes());
    digest.update([0]);
    digest.update(setup.fingerprint.as_bytes());
    let name = format!("env-{}", &hex::encode(digest.finalize())[..16]);
    Object::new(&ENVIRONMENT, namespace, &name).with_spec(&EnvironmentSpec {
        image: image.id.clone(),
        image_name: image.name.clone(),
        script: setup.script.clone(),
        env: setup.env.iter().cloned().collect(),
    })
}

#[async_trait]
impl Reconciler for Environments {
    fn name(&self) -> &'static str {
        "environment"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&ENVIRONMENT]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let ns = &object.metadata.namespace;
        if object.kind == ENVIRONMENT.kind {
            wake(Ref::new(&ENVIRONMENT, ns, &object.metadata.name));
        } else if object.kind == POD.kind
            && let Some(owner) = object.controller().filter(|o| o.kind == ENVIRONMENT.kind)
        {
            wake(Ref::new(&ENVIRONMENT, ns, &owner.name));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let Some(object) = self.0.store.get(key).await? else {
            remove_images(&self.0).await?;
            return Ok(Action::Wait);
        };
        let spec: EnvironmentSpec = object.spec()?;
        let mut status: EnvironmentStatus = object.status()?;
        if object.deleting() || status.phase != EnvironmentPhase::Building {
            return Ok(Action::Wait);
        }
        let name = &object.metadata.name;
        let image = format!("{}:{}", repository(&self.0), tag(name));
        if status.pod_name.is_empty() {
            status.pod_name = format!("{name}-{}", status.attempt);
            return self.start(&object, &spec, status, &image).await;
        }
        let pod = Ref::new(&POD, &object.metadata.namespace, &status.pod_name);
        let (phase, why, message, kept) = match self.0.store.get(&pod).await? {
            Some(pod) => {
                let kept = pod.metadata.finalizers.is_empty();
                let pod: PodStatus = pod.status()?;
                (pod.phase, pod.reason, pod.message, kept)
            }
            None => (
                Phase::Failed,
                reason::INTERRUPTED.into(),
                "its Pod was deleted".into(),
                true,
            ),
        };
        match phase {
            Phase::Pending | Phase::Running => return Ok(Action::Wait),
            Phase::Succeeded => {
                status.phase = EnvironmentPhase::Ready;
                status.image = image;
                status.message.clear();
            }
            Phase::Failed if why == reason::INTERRUPTED && status.attempt + 1 < MAX_ATTEMPTS => {
                status.attempt += 1;
                status.pod_name = format!("{name}-{}", status.attempt);
                return self.start(&object, &spec, status, &image).await;
            }
            // Its log, which says what pip could not find, is kept before the Pod is let go.
            Phase::Failed if !kept => return Ok(Action::Wait),
            Phase::Failed => {
                status.phase = EnvironmentPhase::Failed;
                let tail = self.tail(&pod).await?;
                status.message = format!("{message}{tail}");
            }
        }
        status.finish_time = Some(now());
        self.0
            .store
            .modify(key, move |o| o.set("status", &status))
            .await?;
        Ok(Action::Wait)
    }
}

/// Of the images that environments become.
fn repository(ctx: &Ctx) -> String {
    format!("kfbox/env-{}", ctx.box_id)
}

fn tag(name: &str) -> &str {
    name.trim_start_matches("env-")
}

/// Notes that a step asks for it, once an hour.
///
/// # Errors
/// When its status cannot be read.
pub fn note_use(object: &mut Object) -> Result<()> {
    let mut status: EnvironmentStatus = object.status()?;
    if age(status.last_used.as_deref()).is_none_or(|age| age > HOUR) {
        status.last_used = Some(now());
        object.set("status", &status)?;
    }
    Ok(())
}

fn age(since: Option<&str>) -> Option<Duration> {
    let since: jiff::Timestamp = since?.parse().ok()?;
    Duration::try_from(jiff::Timestamp::now().duration_since(since)).ok()
}

/// Deletes environments that no step has asked for in a long time, and images that belong to none.
///
/// # Errors
/// When the store or the engine does not answer.
pub async fn collect(ctx: &Ctx) -> Result<()> {
    let all = ctx.store.list(&ENVIRONMENT, Selector::default()).await?;
    for object in all.items {
        let status: EnvironmentStatus = object.status()?;
        let since = status.last_used.or(status.finish_time);
        if let Some(key) = object.reference()
            && age(since.as_deref()).is_some_and(|age| age > UNUSED)
        {
            tracing::info!(environment = key.name, "removing it: not used for long");
            ctx.store.delete(&key).await?;
        }
    }
    remove_images(ctx).await
}

/// Removes images of the box that no environment, of any namespace, stands for.
async fn remove_images(ctx: &Ctx) -> Result<()> {
    // Images first: what is built meanwhile has its environment by the time we ask for those.
    let images = ctx.driver.images(&repository(ctx)).await?;
    let kept = ctx.store.list(&ENVIRONMENT, Selector::default()).await?;
    for image in images {
        let named = |o: &Object| image.rsplit(':').next() == Some(tag(&o.metadata.name));
        if !kept.items.iter().any(named) {
            ctx.driver.remove_image(&image).await?;
        }
    }
    Ok(())
}

impl Environments {
    async fn start(
        &self,
        object: &Object,
        spec: &EnvironmentSpec,
        status: EnvironmentStatus,
        image: &str,
    ) -> Result<Action> {
        let env = spec.env.iter().map(|(name, value)| EnvVar {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        });
        let pod_spec = PodSpec {
            containers: vec![Container {
                name: SETUP.into(),
                image: Some(spec.image.clone()),
                command: Some(vec!["sh".into(), "-c".into(), spec.script.clone()]),
                env: Some(env.collect()),
                ..Default::default()
            }],
            restart_policy: Some("Never".into()),
            termination_grace_period_seconds: Some(10),
            ..Default::default()
        };
        let ns = &object.metadata.namespace;
        let mut pod = new_pod(ns, &status.pod_name, &pod_spec, object, &now_micros())?;
        pod.metadata
            .annotations
            .insert(COMMIT_IMAGE.into(), image.into());
        let key = Ref::new(&ENVIRONMENT, ns, &object.metadata.name);
        self.0
            .store
            .write(move |txn| {
                match txn.create(pod) {
                    Err(e) if e.code != Code::AlreadyExists => return Err(e),
                    _ => {}
                }
                txn.modify(&key, |o| o.set("status", &status)).map(|_| ())
            })
            .await?;
        Ok(Action::Wait)
    }

    /// The last lines of the build's log: pip says there what it could not find.
    async fn tail(&self, pod: &Ref) -> Result<String> {
        let Some(pod) = self.0.store.get(pod).await? else {
            return Ok(String::new());
        };
        let file = log_file(&self.0, &pod, SETUP, false);
        let text = tokio::fs::read(&file).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8192)..]).into_owned();
        let lines: Vec<_> = text
            .lines()
            .map(|l| l.split_once(' ').map_or(l, |(_, rest)| rest))
            .filter(|l| !l.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(TAIL);
        Ok(lines[from..].iter().map(|l| format!("\n{l}")).collect())
    }
}
