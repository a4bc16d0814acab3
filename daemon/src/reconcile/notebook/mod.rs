//! The notebook room: a Notebook is a StatefulSet of one Pod and a Service of the same name, as in Kubeflow. It is stopped
//! by an annotation, by its user or, when nobody works in it, by the box ([`cull`]).

mod cull;
mod template;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ContainerStatus;
use kfbox_store::{
    Code, Error, Event, Kind, Object, Ref, Result, Selector,
    kinds::{
        core::{OOM_AT, POD, Phase, PodStatus, reason},
        notebook::{CULLED, NOTEBOOK, NOTEBOOK_LABEL, NotebookSpec, NotebookStatus, wanted},
        pod_default::{self, POD_DEFAULT},
        service::SERVICE,
        workload::STATEFUL_SET,
    },
};
use serde_json::{Value, json};

use super::{
    Ctx,
    template::{pod_of, wake_owner},
};
use crate::{
    controller::{Action, Reconciler},
    events::{self, Level},
};

/// On its StatefulSet: what of the Notebook it was made from.
const INPUTS: &str = "kfbox.dev/notebook-inputs";
/// Between two looks while something that no change tells of stands in the way.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// The room.
pub struct Notebooks {
    ctx: Ctx,
    /// The box's address in a browser.
    ui: String,
    /// When the activity of a notebook was last asked for.
    asked: Arc<Mutex<HashMap<Ref, Instant>>>,
}

impl Notebooks {
    /// The room; `ui` is the box's address in a browser.
    pub fn new(ctx: Ctx, ui: &str) -> Self {
        Self {
            ctx,
            ui: ui.into(),
            asked: Arc::default(),
        }
    }
}

#[async_trait]
impl Reconciler for Notebooks {
    fn name(&self) -> &'static str {
        "notebook"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&NOTEBOOK]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        if object.kind == POD.kind {
            let name = object.label(NOTEBOOK_LABEL);
            if !name.is_empty() {
                wake(Ref::new(&NOTEBOOK, &object.metadata.namespace, name));
            }
            return;
        }
        wake_owner(object, &NOTEBOOK, wake);
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let store = &self.ctx.store;
        let Some(notebook) = store.get(key).await?.filter(|n| !n.deleting()) else {
            return Ok(Action::Wait);
        };
        if wanted(&notebook) && notebook.metadata.annotations.contains_key(CULLED) {
            // Somebody has started it again.
            let started = store.modify(key, |n| {
                n.metadata.annotations.remove(CULLED);
                Ok(())
            });
            return started.await.map(|_| Action::Wait);
        }
        let (set, conflict) = match self.children(key, &notebook).await {
            Ok(set) => (Some(set), None),
            Err(e) if e.retryable() => return Err(e),
            Err(e) => (None, Some(e.message)),
        };
        let pod = match &set {
            Some(set) => store.owned(&set.metadata.uid, &POD).await?.pop(),
            None => None,
        };
        let conflict = match (&pod, conflict) {
            (None, None) => self.refused(&notebook).await?,
            (_, conflict) => conflict,
        };
        let blocked = conflict.is_some();
        let status = status(&notebook, set.as_ref(), pod.as_ref(), conflict)?;
        self.write(key, &notebook, &status).await?;
        let culling = match &pod {
            Some(pod) if status.phase == "Running" => self.cull(key, &notebook, pod).await?,
            _ => None,
        };
        Ok(match culling {
            Some(pause) => Action::After(pause),
            None if blocked => Action::After(AGAIN),
            None => Action::Wait,
        })
    }
}

impl Notebooks {
    /// Its StatefulSet and its Service, as they should be.
    async fn children(&self, key: &Ref, notebook: &Object) -> Result<Object> {
        let store = &self.ctx.store;
        let at = Ref::new(&SERVICE, &key.namespace, &key.name);
        let service = service(notebook)?;
        match store.get(&at).await? {
            None => _ = store.create(service).await?,
            Some(there) => belongs(&there, notebook)?,
        }
        let at = Ref::new(&STATEFUL_SET, &key.namespace, &key.name);
        let replicas = i32::from(wanted(notebook));
        let inputs = template::inputs(notebook)?;
        let Some(there) = store.get(&at).await? else {
            return store
                .create(stateful_set(notebook, &self.ui, replicas, &inputs)?)
                .await;
        };
        belongs(&there, notebook)?;
        let has = there.metadata.annotations.get(INPUTS) == Some(&inputs);
        let runs = there.body.get("spec").and_then(|s| s.get("replicas")) == Some(&json!(replicas));
        if has && runs {
            return Ok(there);
        }
        // What the box itself puts in may change with its version. A running notebook keeps what it has: its kernels hold
        // somebody's work.
        let keeps = has && replicas == 0;
        let new = stateful_set(notebook, &self.ui, replicas, &inputs)?;
        store
            .modify(&at, move |set| {
                if keeps {
                    let spec = set.body.get_mut("spec");
                    if let Some(spec) = spec.and_then(Value::as_object_mut) {
                        spec.insert("replicas".into(), json!(replicas));
                    }
                    return Ok(());
                }
                set.metadata.annotations.extend(new.metadata.annotations);
                if let Some(spec) = new.body.get("spec") {
                    set.body.insert("spec".into(), spec.clone());
                }
                Ok(())
            })
            .await
    }

    /// Why its Pod cannot be made: what PodDefaults say differently.
    async fn refused(&self, notebook: &Object) -> Result<Option<String>> {
        if !wanted(notebook) {
            return Ok(None);
        }
        let namespace = Selector::namespace(&notebook.metadata.namespace);
        let presets = self.ctx.store.list(&POD_DEFAULT, namespace).await?.items;
        let mut pod = pod_of(
            notebook,
            &notebook.metadata.name,
            &template::pod(notebook, &self.ui)?,
        )?;
        Ok(pod_default::apply(&presets, &mut pod)
            .err()
            .map(|e| e.message))
    }

    async fn write(&self, key: &Ref, notebook: &Object, status: &NotebookStatus) -> Result<()> {
        let before: NotebookStatus = notebook.status().unwrap_or_default();
        if before == *status {
            return Ok(());
        }
        let new = status.clone();
        self.ctx
            .store
            .modify(key, move |n| n.set("status", &new))
            .await?;
        if before.message != status.message && !status.message.is_empty() {
            let level = match status.phase.as_str() {
                "Stopped" => Level::Normal,
                _ => Level::Warning,
            };
            let store = &self.ctx.store;
            events::record(store, notebook, level, &status.phase, &status.message).await;
        }
        Ok(())
    }
}

/// Refuses to touch somebody else's object of the same name.
fn belongs(there: &Object, notebook: &Object) -> Result<()> {
    if there
        .controller()
        .is_some_and(|o| o.uid == notebook.metadata.uid)
    {
        return Ok(());
    }
    let (kind, name) = (&there.kind, &there.metadata.name);
    Err(Error::new(
        Code::Conflict,
        format!(
            "there is a {kind} {name} that is not this notebook's: delete it, or give the notebook another name"
        ),
    ))
}

fn service(notebook: &Object) -> Result<Object> {
    let (name, ns) = (&notebook.metadata.name, &notebook.metadata.namespace);
    let spec: NotebookSpec = notebook.spec()?;
    let port = template::port(&spec.template.spec);
    let object = Object::new(&SERVICE, ns, name).with_spec(&json!({
        "type": "ClusterIP",
        "selector": {"statefulset": name},
        "ports": [{"name": format!("http-{name}").chars().take(63).collect::<String>(), "port": 80, "targetPort": port, "protocol": "TCP"}],
        // The gateway asks a server that comes up, and shows that it does.
        "publishNotReadyAddresses": true,
    }))?;
    Ok(object.owned_by(notebook))
}

fn stateful_set(notebook: &Object, ui: &str, replicas: i32, inputs: &str) -> Result<Object> {
    let (name, ns) = (&notebook.metadata.name, &notebook.metadata.namespace);
    let mut set = Object::new(&STATEFUL_SET, ns, name)
        .with_spec(&json!({
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"statefulset": name}},
            "template": template::pod(notebook, ui)?,
        }))?
        .owned_by(notebook);
    set.metadata
        .annotations
        .insert(INPUTS.into(), inputs.into());
    Ok(set)
}

/// What there is to say of it. Pure.
fn status(
    notebook: &Object,
    set: Option<&Object>,
    pod: Option<&Object>,
    conflict: Option<String>,
) -> Result<NotebookStatus> {
    let spec: NotebookSpec = notebook.spec()?;
    let seen: PodStatus = match pod {
        Some(pod) => pod.status()?,
        None => PodStatus::default(),
    };
    // The container that is named like the notebook, as upstream looks for it; else the first, which is the server.
    let name = &notebook.metadata.name;
    let first = spec.template.spec.containers.first().map(|c| &c.name);
    let named = seen.container_statuses.iter().find(|c| c.name == *name);
    let server = named.or_else(|| {
        let mut all = seen.container_statuses.iter();
        all.find(|c| Some(&c.name) == first)
    });
    let ready = set.map_or(0, |s| {
        let count = s.body.get("status").and_then(|s| s.get("readyReplicas"));
        count.and_then(Value::as_i64).unwrap_or(0)
    });
    let (phase, message) = match (wanted(notebook), pod) {
        (false, Some(_)) => ("Stopping", String::new()),
        (false, None) => ("Stopped", why_stopped(notebook)),
        (true, None) => ("Waiting", conflict.unwrap_or_default()),
        (true, Some(pod)) => phase(pod, &seen, server),
    };
    Ok(NotebookStatus {
        conditions: seen.conditions.iter().map(|c| json!(c)).collect(),
        ready_replicas: i32::try_from(ready).unwrap_or(0),
        container_state: server
            .and_then(|s| s.state.as_ref())
            .map_or_else(|| json!({}), |s| json!(s)),
        phase: phase.into(),
        message,
    })
}

fn why_stopped(notebook: &Object) -> String {
    match notebook.metadata.annotations.get(CULLED) {
        Some(idle) => format!(
            "stopped because nobody had worked in it for {idle}: it starts again when it is opened"
        ),
        None => String::new(),
    }
}

fn phase(
    pod: &Object,
    seen: &PodStatus,
    server: Option<&ContainerStatus>,
) -> (&'static str, String) {
    let state = server.and_then(|s| s.state.as_ref());
    let waiting = state.and_then(|s| s.waiting.as_ref());
    let last = server
        .and_then(|s| s.last_state.as_ref())
        .and_then(|s| s.terminated.as_ref());
    let died = last.map(|t| {
        let what = t.message.clone().filter(|m| !m.is_empty());
        what.unwrap_or_else(|| format!("exited with code {}", t.exit_code))
    });
    if pod.deleting() {
        return ("Stopping", String::new());
    }
    if seen.phase.terminal() {
        return ("Failed", seen.message.clone());
    }
    if seen.holds("Ready") {
        // Worth knowing even when it is up again: kernels and what they held are gone.
        let oom = last.is_some_and(|t| t.reason.as_deref() == Some(reason::OOM));
        let restarted = died
            .filter(|_| oom)
            .map(|why| format!("was started again: before, it {why}"));
        let message = restarted.or_else(|| {
            let at = pod.metadata.annotations.get(OOM_AT)?;
            Some(format!(
                "a process in it, such as a kernel, went past the memory limit at {at} and was killed: raise the limit (resources.limits.memory), or use less"
            ))
        });
        return ("Running", message.unwrap_or_default());
    }
    if let Some(waiting) = waiting {
        let word = waiting.reason.clone().unwrap_or_default();
        let said = waiting.message.clone().unwrap_or_default();
        if word == "CrashLoopBackOff" {
            let why = died.map_or(said, |why| format!("the server {why}; its log says more"));
            return ("Failed", why);
        }
        if word.contains("Image") || word.contains("Error") {
            return ("Failed", said);
        }
    }
    if seen.phase == Phase::Running {
        let message = died.map(|why| format!("starts again: before, the server {why}"));
        return ("Starting", message.unwrap_or_default());
    }
    let unscheduled = seen
        .conditions
        .iter()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let message = unscheduled
        .and_then(|c| c.message.clone())
        .or_else(|| waiting.and_then(|w| w.message.clone()));
    let message = message.unwrap_or_else(|| seen.message.clone());
    ("Waiting", message)
}
