//! Work in the browser: Notebook, in the three versions that Kubeflow has served; all have one schema.

use std::time::Duration;

use k8s_openapi::api::core::v1::PodSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    pod_check::{check_spec, label},
    schema_of,
};
use crate::{Column, Error, Kind, Object, Result, Verbs};

/// On a notebook: it is stopped. The value is the time at which it was.
pub const STOPPED: &str = "kubeflow-resource-stopped";
/// On a notebook that is stopped: the box did it because nobody worked in it. It wakes when it is visited.
pub const CULLED: &str = "kfbox.dev/culled";
/// On a notebook: how long nobody may work in it until it is stopped, such as `2h` or `1h30m`; absent or `0` = for ever.
pub const IDLE_TIMEOUT: &str = "kfbox.dev/idle-timeout";
/// On a notebook: when somebody last worked in it, RFC 3339.
pub const LAST_ACTIVITY: &str = "notebooks.kubeflow.org/last-activity";
/// On a notebook: what its server takes for the path before a request's, such as `/`; absent = the whole path.
pub const REWRITE: &str = "notebooks.kubeflow.org/http-rewrite-uri";
/// On a notebook: a JSON object of headers that its server gets with each request.
pub const HEADERS: &str = "notebooks.kubeflow.org/http-headers-request-set";
/// On a notebook's Pod: the notebook's name.
pub const NOTEBOOK_LABEL: &str = "notebook-name";
/// The port of a server whose container names none.
pub const NOTEBOOK_PORT: i32 = 8888;

const NOTEBOOK_V1: Kind = Kind {
    group: "kubeflow.org",
    version: "v1",
    kind: "Notebook",
    plural: "notebooks",
    short: &["nb"],
    verbs: Verbs::All,
    schema: Some(schema_of::<NotebookSpec, NotebookStatus>),
    validate: check,
    columns: &[
        Column::of("Status", |o| state(o).0.into()),
        Column::path("Image", ".spec.template.spec.containers[0].image"),
        Column::of("Message", |o| state(o).1).wide(),
    ],
    ..Kind::BASE
};

/// A server that a person works in: JupyterLab, VS Code, RStudio or any other that speaks HTTP.
pub static NOTEBOOK: Kind = NOTEBOOK_V1;
static NOTEBOOK_V1BETA1: Kind = Kind {
    version: "v1beta1",
    stored: Some(&NOTEBOOK),
    ..NOTEBOOK_V1
};
static NOTEBOOK_V1ALPHA1: Kind = Kind {
    version: "v1alpha1",
    stored: Some(&NOTEBOOK),
    ..NOTEBOOK_V1
};

pub(crate) const KINDS: &[&Kind] = &[&NOTEBOOK, &NOTEBOOK_V1BETA1, &NOTEBOOK_V1ALPHA1];

/// What a Notebook is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct NotebookSpec {
    /// Its Pod.
    pub template: NotebookTemplate,
}

/// A Pod's template, without metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct NotebookTemplate {
    /// The Pod; its first container is the server.
    pub spec: PodSpec,
}

/// How it is. Field for field Kubeflow's, and a sentence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NotebookStatus {
    /// The conditions of its Pod.
    pub conditions: Vec<Value>,
    /// Pods that answer: 0 or 1.
    pub ready_replicas: i32,
    /// The state of the server's container.
    pub container_state: Value,
    /// `Waiting`, `Starting`, `Running`, `Stopping`, `Stopped` or `Failed`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// What it waits for, or what went wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Its phase, and what there is to say of it.
pub fn state(notebook: &Object) -> (&'static str, String) {
    let status: NotebookStatus = notebook.status().unwrap_or_default();
    let phase = match status.phase.as_str() {
        "Starting" => "Starting",
        "Running" => "Running",
        "Stopping" => "Stopping",
        "Stopped" => "Stopped",
        "Failed" => "Failed",
        _ => "Waiting",
    };
    (phase, status.message)
}

/// Whether it is meant to run.
pub fn wanted(notebook: &Object) -> bool {
    !notebook.metadata.annotations.contains_key(STOPPED)
}

/// After how long without work it is stopped; `None` = never.
///
/// # Errors
/// `Invalid` when the annotation is no duration.
pub fn idle_timeout(notebook: &Object) -> Result<Option<Duration>> {
    let Some(text) = notebook.metadata.annotations.get(IDLE_TIMEOUT) else {
        return Ok(None);
    };
    let wrong = || {
        Error::invalid(format!(
            "metadata.annotations[{IDLE_TIMEOUT}]: \"{text}\" is no duration: write it like 30m or 2h"
        ))
    };
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(parsed).map_err(|_| wrong())?;
    Ok(Some(duration).filter(|d| !d.is_zero()))
}

/// Headers that its server gets with each request.
///
/// # Errors
/// `Invalid` when the annotation is no JSON object of texts.
pub fn request_headers(notebook: &Object) -> Result<Vec<(String, String)>> {
    let Some(text) = notebook.metadata.annotations.get(HEADERS) else {
        return Ok(Vec::new());
    };
    let parsed: std::collections::BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|e| {
            Error::invalid(format!(
                "metadata.annotations[{HEADERS}]: must be a JSON object of texts: {e}"
            ))
        })?;
    Ok(parsed.into_iter().collect())
}

fn check(notebook: &Object) -> Result<()> {
    let name = &notebook.metadata.name;
    label("metadata.name", name)?;
    if name.len() > 52 {
        return Err(Error::invalid(format!(
            "metadata.name: \"{name}\" must have at most 52 characters: its Pod's name begins with it"
        )));
    }
    let spec = notebook.body.get("spec");
    let pod = spec.and_then(|s| s.pointer("/template/spec"));
    check_spec(pod.unwrap_or(&Value::Null), "spec.template.spec")?;
    let spec: NotebookSpec = notebook.spec()?;
    match spec.template.spec.restart_policy.as_deref() {
        None | Some("" | "Always") => {}
        Some(other) => {
            return Err(Error::invalid(format!(
                "spec.template.spec.restartPolicy: \"{other}\" must be Always: a notebook goes on until it is stopped"
            )));
        }
    }
    idle_timeout(notebook)?;
    request_headers(notebook)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn notebook(change: Value) -> Object {
        let mut value = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "Notebook",
            "metadata": {"name": "a", "namespace": "kubeflow"},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}},
        });
        crate::json_merge(&mut value, &change);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_wrong_is_named() {
        NOTEBOOK.check(&notebook(json!({}))).unwrap();
        let with = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
        NOTEBOOK
            .check(&notebook(with(IDLE_TIMEOUT, "1h30m")))
            .unwrap();
        NOTEBOOK
            .check(&notebook(with(HEADERS, "{\"X-A\": \"b\"}")))
            .unwrap();
        for (change, field) in [
            (json!({"metadata": {"name": "a.b"}}), "metadata.name"),
            (json!({"metadata": {"name": "a".repeat(53)}}), "52"),
            (
                json!({"spec": {"template": {"spec": {"containers": []}}}}),
                "containers",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}),
                "image",
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                "restartPolicy",
            ),
            (
                json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}),
                "hostNetwork",
            ),
            (json!({"spec": null}), "spec.template.spec"),
            (with(IDLE_TIMEOUT, "soon"), "idle-timeout"),
            (with(IDLE_TIMEOUT, "-1h"), "idle-timeout"),
            (with(HEADERS, "[]"), "http-headers"),
        ] {
            let error = NOTEBOOK.check(&notebook(change.clone())).unwrap_err();
            assert!(error.message.contains(field), "{change}: {error}");
        }
    }

    #[test]
    fn never_idle_unless_told() {
        let with =
            |value: &str| notebook(json!({"metadata": {"annotations": {IDLE_TIMEOUT: value}}}));
        assert_eq!(idle_timeout(&notebook(json!({}))).unwrap(), None);
        assert_eq!(idle_timeout(&with("0")).unwrap(), None);
        assert_eq!(idle_timeout(&with("0s")).unwrap(), None);
        assert_eq!(
            idle_timeout(&with("90m")).unwrap(),
            Some(Duration::from_secs(5400))
        );
    }
}
