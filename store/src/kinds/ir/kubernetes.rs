//! The kubernetes executor settings that this box honours, typed. What is not here is refused or noted by name
//! in `support`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::IrError;
use super::spec::{Pipeline, number};

/// The honoured part of one executor's kubernetes settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesConfig {
    /// Labels and annotations for the pod.
    pub pod_metadata: PodMetadata,
    /// Environment variables that carry fields of the pod.
    pub field_path_as_env: Vec<FieldPathAsEnv>,
    /// Set: `/dev/shm` of the given size.
    pub enabled_shared_memory: Option<SharedMemory>,
    /// Who the process runs as.
    pub security_context: Option<SecurityContext>,
    /// Scratch folders.
    pub empty_dir_mounts: Vec<EmptyDir>,
    /// The step is ended after so many seconds.
    #[serde(deserialize_with = "number")]
    pub active_deadline_seconds: Option<f64>,
}

/// Labels and annotations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An environment variable that carries a field of the pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldPathAsEnv {
    /// The variable.
    pub name: String,
    /// Like `metadata.labels['x']` or `status.podIP`.
    pub field_path: String,
}

/// A size for `/dev/shm`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SharedMemory {
    /// Kubernetes needs a volume name; the box does not.
    pub volume_name: String,
    /// A Kubernetes quantity, like `1Gi`; empty means no limit but the step's memory.
    pub size: String,
}

/// Who the process runs as.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// User id. Protobuf's JSON writes it as text.
    #[serde(deserialize_with = "number")]
    pub run_as_user: Option<f64>,
    /// Group id.
    #[serde(deserialize_with = "number")]
    pub run_as_group: Option<f64>,
    /// Refuse to start as user 0.
    pub run_as_non_root: Option<bool>,
}

impl SecurityContext {
    /// The user id, if it is one.
    pub fn user(&self) -> Option<u32> {
        id(self.run_as_user)
    }

    /// The group id, if it is one.
    pub fn group(&self) -> Option<u32> {
        id(self.run_as_group)
    }
}

fn id(number: Option<f64>) -> Option<u32> {
    let number = number?;
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number))
        .then_some(number as u32)
}

/// A scratch folder.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDir {
    /// Two mounts of one name share the folder.
    pub volume_name: String,
    /// Where, inside the container.
    pub mount_path: String,
    /// `Memory` keeps it in memory.
    pub medium: Option<String>,
    /// A Kubernetes quantity.
    pub size_limit: Option<String>,
}

impl Pipeline {
    /// The kubernetes settings of an executor as they came; empty where there are none.
    pub fn kubernetes_raw(&self, executor_label: &str) -> Option<&Map<String, Value>> {
        self.platform
            .as_ref()?
            .platforms
            .get("kubernetes")?
            .deployment_spec
            .executors
            .get(executor_label)
    }

    /// The kubernetes settings of an executor that the box honours; defaults where there are none.
    /// The error names the field that has the wrong form.
    pub fn kubernetes(&self, executor_label: &str) -> Result<KubernetesConfig, IrError> {
        let Some(raw) = self.kubernetes_raw(executor_label) else {
            return Ok(KubernetesConfig::default());
        };
        let at = format!("platforms.kubernetes.deploymentSpec.executors.{executor_label}");
        // Unset fields may come as null.
        let set: Map<String, Value> = raw
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        serde_path_to_error::deserialize(Value::Object(set)).map_err(|e| {
            let path = format!("{at}.{}", e.path());
            IrError::new(path, e.into_inner().to_string())
        })
    }
}
