//! A job's Pods and Services: how they are made and how they are read back.

use std::time::Duration;

use jiff::Timestamp;
use kfbox_store::{
    Object, Result,
    kinds::{
        core::{GANG, POD, Phase, PodStatus, READY_AT, reason},
        service::SERVICE,
        train::{
            Framework, JOB_NAME, JOB_ROLE, OPERATOR, REPLICA_INDEX, REPLICA_TYPE, ReplicaSpec,
            Special,
        },
    },
};
use serde_json::{Value, json};

use super::env::{self, Place, View};

/// The restart policy that the box itself follows: the engine does not know it.
pub const EXIT_CODE: &str = "ExitCode";

/// What a Pod tells about itself.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Which of the job's Pods it is.
    pub place: Place,
    /// Its phase.
    pub phase: Phase,
    /// Why, in a word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// How the container that does the work ended.
    pub exit: Option<i32>,
    /// When that was.
    pub ended: Option<Timestamp>,
    /// How long it had run by then.
    pub ran: Duration,
    /// Restarts of its containers in place.
    pub restarts: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Seen {
    /// Whether the engine or the machine ended it, not the work.
    pub fn interrupted(&self) -> bool {
        self.phase == Phase::Failed && self.reason == reason::INTERRUPTED
    }
}

/// The labels of a Pod and its Service.
fn labels(framework: &Framework, job: &str, place: Place) -> [(&'static str, String); 4] {
    [
        (OPERATOR, operator(framework)),
        (JOB_NAME, job.into()),
        (REPLICA_TYPE, place.role.to_lowercase()),
        (REPLICA_INDEX, place.index.to_string()),
    ]
}

fn operator(framework: &Framework) -> String {
    format!("{}-controller", framework.kind.kind.to_lowercase())
}

/// The labels of a type's Pods, as text.
pub fn selector(framework: &Framework, job: &str, role: &str) -> String {
    format!(
        "{JOB_NAME}={job},{OPERATOR}={},{REPLICA_TYPE}={}",
        operator(framework),
        role.to_lowercase()
    )
}

/// Whether this Pod stands for the job: its log is the job's log.
fn is_master(view: &View<'_>, place: Place) -> bool {
    let led = view.replicas.iter().any(|(r, _)| view.framework.leads(r));
    if led {
        view.framework.leads(place.role)
    } else {
        place.role == "Worker" && place.index == 0
    }
}

/// A Pod of a job.
///
/// # Errors
/// When it has no JSON form.
pub fn pod(
    view: &View<'_>,
    job: &Object,
    place: Place,
    replica: &ReplicaSpec,
    gang: Option<&str>,
    now: Timestamp,
) -> Result<Object> {
    let mut spec = serde_json::to_value(replica.template.spec.clone().unwrap_or_default())
        .map_err(kfbox_store::Error::internal)?;
    let policy = replica.restart_policy.as_deref();
    spec["restartPolicy"] = match policy.unwrap_or(view.framework.restart) {
        EXIT_CODE => json!("Never"),
        policy => json!(policy),
    };
    env::complete(view, place, &mut spec);
    let mut pod = Object::new(&POD, view.namespace, &view.host(place.role, place.index))
        .with_spec(&spec)?
        .owned_by(job);
    let meta = replica.template.metadata.clone().unwrap_or_default();
    pod.metadata.labels.extend(meta.labels.unwrap_or_default());
    pod.metadata
        .annotations
        .extend(meta.annotations.unwrap_or_default());
    for (key, value) in labels(view.framework, view.name, place) {
        pod.metadata.labels.insert(key.into(), value);
    }
    if is_master(view, place) {
        pod.metadata.labels.insert(JOB_ROLE.into(), "master".into());
    }
    let ready = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    pod.metadata.annotations.insert(READY_AT.into(), ready);
    if let Some(gang) = gang {
        pod.metadata.annotations.insert(GANG.into(), gang.into());
    }
    Ok(pod)
}

/// The Service by whose name the others find a Pod.
///
/// # Errors
/// When it has no JSON form.
pub fn service(view: &View<'_>, job: &Object, place: Place) -> Result<Object> {
    let labels = labels(view.framework, view.name, place);
    let selector: Value = labels
        .iter()
        .map(|(k, v)| ((*k).to_string(), json!(v)))
        .collect();
    let mut spec = json!({"clusterIP": "None", "selector": selector});
    if let Some((name, _)) = view.framework.port {
        spec["ports"] = json!([{"name": name, "port": view.port(place.role)}]);
    }
    let mut service = Object::new(
        &SERVICE,
        view.namespace,
        &view.host(place.role, place.index),
    )
    .with_spec(&spec)?
    .owned_by(job);
    for (key, value) in labels {
        service.metadata.labels.insert(key.into(), value);
    }
    Ok(service)
}

/// Which of the job's Pods an object belongs to, by its labels.
pub fn place(framework: &'static Framework, object: &Object) -> Option<Place> {
    let role = object.label(REPLICA_TYPE);
    let types = framework.types.iter();
    Some(Place {
        role: types.copied().find(|t| t.to_lowercase() == role)?,
        index: object.label(REPLICA_INDEX).parse().ok()?,
    })
}

/// Reads a Pod.
///
/// # Errors
/// When its status does not fit.
pub fn seen(
    framework: &'static Framework,
    special: &Special,
    pod: &Object,
) -> Result<Option<Seen>> {
    let Some(place) = place(framework, pod) else {
        return Ok(None);
    };
    let status: PodStatus = pod.status()?;
    let main = framework.main(special);
    let state = status.container_statuses.iter().find(|c| c.name == main);
    let ended = state.and_then(|c| c.state.as_ref()?.terminated.as_ref());
    let finished = ended.and_then(|t| t.finished_at.as_ref()).map(|t| t.0);
    let started = ended.and_then(|t| t.started_at.as_ref()).map(|t| t.0);
    let ran = started.zip(finished).map(|(s, f)| f.duration_since(s));
    let ran = ran.and_then(|d| d.try_into().ok()).unwrap_or_default();
    let lists = ["containerStatuses", "initContainerStatuses"];
    let restarts = lists
        .iter()
        .filter_map(|list| pod.body.get("status")?.get(list)?.as_array())
        .flatten()
        .filter_map(|c| c.get("restartCount")?.as_i64());
    Ok(Some(Seen {
        name: pod.metadata.name.clone(),
        place,
        phase: status.phase,
        exit: ended.map(|t| t.exit_code),
        ended: finished,
        ran,
        restarts: restarts.sum(),
        deleting: pod.deleting(),
        reason: status.reason,
        message: status.message,
    }))
}
