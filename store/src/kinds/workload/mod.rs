//! Kubernetes' kinds that make Pods: Job, Deployment, StatefulSet. ReplicaSets and ControllerRevisions are not
//! kept: a Pod's label says which template it came from, and only the newest template is known.

mod job;
mod serving;

pub use job::JOB;
pub use serving::{DEPLOYMENT, STATEFUL_SET, share};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value, json};

use crate::{Code, Error, Kind, Object, Result};

pub(crate) const KINDS: &[&Kind] = &[&JOB, &DEPLOYMENT, &STATEFUL_SET];

/// The spec as a map to fill defaults into; made when absent, left alone when it is no map (the envelope says so).
fn spec_mut(object: &mut Object) -> Option<&mut Map<String, Value>> {
    object
        .body
        .entry("spec")
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

/// Sets a field that is absent or null.
fn default(map: &mut Map<String, Value>, field: &str, value: Value) {
    let slot = map.entry(field).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value;
    }
}

/// The rules that the pod template of every kind obeys; what a Pod itself must obey is said when it is made.
fn check_template(template: &PodTemplateSpec, restart: &[&str]) -> Result<()> {
    let spec = template
        .spec
        .as_ref()
        .ok_or_else(|| Error::invalid("spec.template.spec: required"))?;
    if spec.containers.is_empty() {
        return Err(Error::invalid(
            "spec.template.spec.containers: at least one is required",
        ));
    }
    for (i, container) in spec.containers.iter().enumerate() {
        let at = format!("spec.template.spec.containers[{i}]");
        if container.name.is_empty() {
            return Err(Error::invalid(format!("{at}.name: required")));
        }
        if container.image.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::invalid(format!("{at}.image: required")));
        }
    }
    let policy = spec.restart_policy.as_deref().unwrap_or_default();
    if !restart.contains(&policy) {
        return Err(Error::invalid(format!(
            "spec.template.spec.restartPolicy: \"{policy}\" must be {}",
            restart.join(" or ")
        )));
    }
    Ok(())
}

/// The name of one becomes part of its Pods' names and labels.
fn check_length(object: &Object, most: usize) -> Result<()> {
    let name = &object.metadata.name;
    if name.len() <= most {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "metadata.name: \"{name}\" must have at most {most} characters: its Pods' names and labels begin with it"
    )))
}

/// A field that the box knows and does not do.
fn refuse(field: &str, instead: &str) -> Error {
    Error::new(
        Code::Unsupported,
        format!("{field}: not done by this box; {instead}"),
    )
}

/// Names of the containers of the template, for `kubectl get -o wide`.
fn containers(object: &Object) -> String {
    each_container(object, "name")
}

/// Images of the containers of the template.
fn images(object: &Object) -> String {
    each_container(object, "image")
}

fn each_container(object: &Object, field: &str) -> String {
    let list = object
        .body
        .get("spec")
        .and_then(|s| s.pointer("/template/spec/containers"))
        .and_then(Value::as_array);
    let texts = list
        .into_iter()
        .flatten()
        .filter_map(|c| c.get(field)?.as_str());
    texts.collect::<Vec<_>>().join(",")
}

/// The selector as kubectl writes it.
fn selector(object: &Object) -> String {
    let labels = object
        .body
        .get("spec")
        .and_then(|s| s.pointer("/selector/matchLabels"))
        .and_then(Value::as_object);
    let pairs = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

/// A number in the status, or in the spec; 0 when absent.
fn number(object: &Object, field: &str, pointer: &str) -> i64 {
    object
        .body
        .get(field)
        .and_then(|s| s.pointer(pointer))
        .and_then(Value::as_i64)
        .unwrap_or(0)
}
