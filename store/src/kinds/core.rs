//! Kubernetes' core kinds, as far as the box uses them: Namespace, Pod, Event.

use serde::{Deserialize, Serialize};

use super::pod_check;
use crate::{Cell, Column, Kind, Object, Result, Verbs};

pub use super::pod_check::{check_spec, check_user_pod, check_user_spec};

/// The namespace in which a box without profiles keeps everything, as a stand-alone Kubeflow does.
pub const DEFAULT_NAMESPACE: &str = "kubeflow";

/// On a Pod: the room that runs Pods must remove the containers before the object may go.
pub const POD_FINALIZER: &str = "kfbox.dev/container";
/// On a Pod: when its work became ready to run (RFC 3339 with microseconds); the box measures its own overhead from it.
pub const READY_AT: &str = "kfbox.dev/ready-at";
/// On a Pod: when a process in it was last killed for the memory limit (RFC 3339); its container may have gone on.
pub const OOM_AT: &str = "kfbox.dev/oom-at";
/// On a Pod: when it succeeds, its file system is kept as an image of this name.
pub const COMMIT_IMAGE: &str = "kfbox.dev/commit-image";
/// On a Pod: its containers must be stopped; the value says why in a sentence.
pub const STOP: &str = "kfbox.dev/stop";
/// On a Pod: [`POOLED`] when it may run in a sandbox that other Pods of its namespace used before. Only Pods of
/// one container that is never restarted do.
pub const SANDBOX: &str = "kfbox.dev/sandbox";
/// See [`SANDBOX`].
pub const POOLED: &str = "pooled";
/// On a Pod: `<owner uid>/<number of pods>`; all Pods of the same value are bound together, or none.
pub const GANG: &str = "kfbox.dev/gang";
/// On a Pod: the container whose log is meant when none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The CSI driver name of a volume that is a folder of the box's own store. Only the box itself may ask for one.
pub const STORE_VOLUME: &str = "store.kfbox.dev";

/// A namespace.
pub static NAMESPACE: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    short: &["ns"],
    namespaced: false,
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schemars::schema_for!(k8s_openapi::api::core::v1::Namespace)),
    prepare: prepare_namespace,
    validate: check_namespace,
    columns: &[Column::path("Status", ".status.phase")],
    ..Kind::BASE
};

/// A pod: the only thing that runs.
pub static POD: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    short: &["po"],
    categories: &["all"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schemars::schema_for!(k8s_openapi::api::core::v1::Pod)),
    prepare: prepare_pod,
    admit: super::pod_default::admit,
    validate: check_pod,
    columns: &[
        Column::of("Ready", ready),
        Column::of("Status", status_word),
        Column::of("Restarts", restarts),
        Column::path("IP", ".status.podIP").wide(),
        Column::path("Node", ".spec.nodeName").wide(),
    ],
    ..Kind::BASE
};

/// Something worth telling about an object.
pub static EVENT: Kind = Kind {
    kind: "Event",
    plural: "events",
    short: &["ev"],
    verbs: Verbs::All,
    builtin: true,
    schema: Some(|| schemars::schema_for!(k8s_openapi::api::core::v1::Event)),
    columns: &[
        Column {
            name: "Last Seen",
            cell: Cell::Age(".lastTimestamp"),
            wide: false,
        },
        Column::path("Type", ".type"),
        Column::path("Reason", ".reason"),
        Column::of("Object", involved),
        Column::path("Message", ".message"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[&NAMESPACE, &POD, &EVENT];

/// A Pod has a container from the moment it is written: the room that runs Pods must see it before it may go.
fn prepare_pod(pod: &mut Object) -> Result<()> {
    if pod.metadata.uid.is_empty() {
        pod.metadata.finalizers.retain(|f| f != POD_FINALIZER);
        pod.metadata.finalizers.push(POD_FINALIZER.into());
        pod.set("status", &PodStatus::default())?;
    }
    if let Some(serde_json::Value::Object(spec)) = pod.body.get_mut("spec") {
        pod_check::defaults(spec);
    }
    Ok(())
}

fn check_pod(pod: &Object) -> Result<()> {
    let empty = serde_json::Value::Null;
    pod_check::check_spec(pod.body.get("spec").unwrap_or(&empty), "spec")
}

fn check_namespace(namespace: &Object) -> Result<()> {
    pod_check::label("metadata.name", &namespace.metadata.name)
}

/// On a Namespace: everything in it must be gone before it may go.
pub const NAMESPACE_FINALIZER: &str = "kubernetes";

fn prepare_namespace(namespace: &mut Object) -> Result<()> {
    if namespace.metadata.uid.is_empty() {
        let finalizers = &mut namespace.metadata.finalizers;
        finalizers.retain(|f| f != NAMESPACE_FINALIZER);
        finalizers.push(NAMESPACE_FINALIZER.into());
        namespace.set("status", &serde_json::json!({"phase": "Active"}))?;
    }
    let name = namespace.metadata.name.clone();
    if !name.is_empty() {
        namespace
            .metadata
            .labels
            .insert("kubernetes.io/metadata.name".into(), name);
    }
    Ok(())
}

/// `ready/all` of a Pod's containers.
fn ready(pod: &Object) -> String {
    let of = |field: &str, list: &str| {
        let list = pod.body.get(field).and_then(|s| s.get(list));
        list.and_then(|l| l.as_array()).cloned().unwrap_or_default()
    };
    let ready = of("status", "containerStatuses");
    let ready = ready.iter().filter(|c| c["ready"] == true).count();
    format!("{ready}/{}", of("spec", "containers").len())
}

/// What kubectl shows as a Pod's status: the most telling reason.
fn status_word(pod: &Object) -> String {
    let Ok(status) = pod.status::<PodStatus>() else {
        return String::new();
    };
    let mut word = if status.reason.is_empty() {
        format!("{:?}", status.phase)
    } else {
        status.reason
    };
    for container in &status.container_statuses {
        let Some(state) = &container.state else {
            continue;
        };
        if let Some(reason) = state.waiting.as_ref().and_then(|w| w.reason.clone()) {
            word = reason;
        } else if let Some(ended) = &state.terminated
            && status.phase != Phase::Running
        {
            word = match &ended.reason {
                Some(reason) if !reason.is_empty() => reason.clone(),
                _ if ended.exit_code == 0 => "Completed".into(),
                _ => "Error".into(),
            };
        }
    }
    if pod.deleting() {
        return "Terminating".into();
    }
    word
}

fn restarts(pod: &Object) -> String {
    let status = pod.status::<PodStatus>().unwrap_or_default();
    let total: i32 = status
        .container_statuses
        .iter()
        .map(|c| c.restart_count)
        .sum();
    total.to_string()
}

fn involved(event: &Object) -> String {
    let of = |field: &str| {
        let object = event.body.get("involvedObject");
        let value = object.and_then(|o| o.get(field)).and_then(|v| v.as_str());
        value.unwrap_or_default().to_string()
    };
    format!("{}/{}", of("kind").to_lowercase(), of("name"))
}

/// Phase of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not started.
    #[default]
    Pending,
    /// Its container runs.
    Running,
    /// Its container exited with 0.
    Succeeded,
    /// Its container failed, or could not be started.
    Failed,
}

impl Phase {
    /// Whether nothing more will run in this Pod.
    pub fn terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The part of PodStatus that the box writes. Unknown fields are not kept: only the pod room writes status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Where it is.
    pub phase: Phase,
    /// One word, when the phase needs one: `OOMKilled`, `ImagePullBackOff`, `Interrupted`, `Error`, ...
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for the user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// `PodScheduled`, `Initialized`, `ContainersReady`, `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<k8s_openapi::api::core::v1::PodCondition>,
    /// The host's address in the Pod's network.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// The Pod's address.
    #[serde(rename = "podIP", skip_serializing_if = "Option::is_none")]
    pub pod_ip: Option<String>,
    /// The Pod's address, as a list of one.
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<k8s_openapi::api::core::v1::PodIP>,
    /// When the first container was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// Kubernetes' own record per init container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<k8s_openapi::api::core::v1::ContainerStatus>,
    /// Kubernetes' own record per container: state.running / state.terminated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<k8s_openapi::api::core::v1::ContainerStatus>,
}

impl PodStatus {
    /// The record of a container, init or not.
    pub fn container(&self, name: &str) -> Option<&k8s_openapi::api::core::v1::ContainerStatus> {
        let mut all = self
            .init_container_statuses
            .iter()
            .chain(&self.container_statuses);
        all.find(|c| c.name == name)
    }

    /// Sets a condition; its time changes only when its status does.
    pub fn condition(&mut self, kind: &str, holds: bool, reason: &str, message: &str) {
        let text = |s: &str| (!s.is_empty()).then(|| s.to_string());
        let status = if holds { "True" } else { "False" };
        let old = self.conditions.iter_mut().find(|c| c.type_ == kind);
        let mut new = k8s_openapi::api::core::v1::PodCondition {
            type_: kind.into(),
            status: status.into(),
            reason: text(reason),
            message: text(message),
            ..Default::default()
        };
        let now = || crate::now().parse().ok();
        match old {
            Some(old) => {
                new.last_transition_time = if old.status == status {
                    old.last_transition_time.clone()
                } else {
                    now().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time)
                };
                *old = new;
            }
            None => {
                new.last_transition_time =
                    now().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
                self.conditions.push(new);
            }
        }
    }

    /// Whether a condition holds.
    pub fn holds(&self, kind: &str) -> bool {
        let mut all = self.conditions.iter();
        all.any(|c| c.type_ == kind && c.status == "True")
    }
}

/// Reasons the pod room writes and other rooms act on.
pub mod reason {
    /// The container went past its memory limit.
    pub const OOM: &str = "OOMKilled";
    /// Someone else than the workload or the box ended it: the engine stopped, or the machine.
    pub const INTERRUPTED: &str = "Interrupted";
    /// The image is not on the box and cannot be had.
    pub const IMAGE: &str = "ErrImagePull";
    /// The engine refuses to create or start it.
    pub const START: &str = "StartError";
    /// The workload exited with a code other than 0.
    pub const ERROR: &str = "Error";
    /// It ran longer than spec.activeDeadlineSeconds.
    pub const DEADLINE: &str = "DeadlineExceeded";
    /// The box was asked to stop it.
    pub const STOPPED: &str = "Terminated";
}
