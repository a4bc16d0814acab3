//! Kubernetes' core kinds, as far as the box uses them: Namespace, Pod, Event.

use k8s_openapi::api::core::v1::PodSpec;
use serde::{Deserialize, Serialize};

use crate::{Column, Error, Kind, Object, Result, Verbs};

/// The namespace in which a box without profiles keeps everything, as a stand-alone Kubeflow does.
pub const DEFAULT_NAMESPACE: &str = "kubeflow";

/// On a Pod: the room that runs Pods must remove the containers before the object may go.
pub const POD_FINALIZER: &str = "kfbox.dev/container";
/// On a Pod: when its work became ready to run (RFC 3339 with microseconds); the box measures its own overhead from it.
pub const READY_AT: &str = "kfbox.dev/ready-at";
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
    validate: check_pod,
    columns: &[Column::path("Status", ".status.phase")],
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
        Column::path("Type", ".type"),
        Column::path("Reason", ".reason"),
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
    Ok(())
}

fn check_pod(pod: &Object) -> Result<()> {
    let spec: PodSpec = pod.spec()?;
    let Some(container) = spec.containers.first() else {
        return Err(Error::invalid("spec.containers: at least one is required"));
    };
    if container.image.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::invalid("spec.containers[0].image: required"));
    }
    Ok(())
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
