//! Pods in any state, for the planners' tests.
use super::*;
use serde_json::json;

pub fn at(text: &str) -> Timestamp {
    format!("2026-01-01T{text}Z").parse().unwrap()
}

pub fn owner(kind: &'static Kind, name: &str, spec: Value) -> Object {
    let mut owner = Object::new(kind, "kubeflow", name)
        .with_spec(&spec)
        .unwrap();
    (kind.prepare)(&mut owner).unwrap();
    owner.metadata.uid = "11111111-2222".into();
    owner.metadata.resource_version = 7;
    owner.metadata.generation = 1;
    owner.metadata.creation_timestamp = Some("2026-01-01T00:00:00Z".into());
    (kind.validate)(&owner).unwrap();
    owner
}

/// Gives a Pod a phase; `Ready` is Running and ready.
pub fn set_phase(pod: &mut Object, phase: &str, reason: &str) {
    let (phase, ready) = match phase {
        "Ready" => ("Running", "True"),
        other => (other, "False"),
    };
    let status = json!({
        "phase": phase, "reason": reason,
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    pod.set("status", &status).unwrap();
}

/// What the store would do with a pass, without a store: Pods that are deleted go at once.
pub fn follow(owner: &mut Object, pods: &mut Vec<Object>, pass: Pass) {
    for key in &pass.counted {
        for pod in pods.iter_mut().filter(|p| p.metadata.name == key.name) {
            pod.metadata
                .annotations
                .insert(COUNTED.into(), "true".into());
        }
    }
    pods.retain(|p| !pass.delete.iter().any(|d| d.name == p.metadata.name));
    let new = pass.create.into_iter().filter(|o| o.kind == POD.kind);
    pods.extend(new.map(|mut p| {
        set_phase(&mut p, "Pending", "");
        p
    }));
    owner.set("status", &pass.status).unwrap();
    owner.metadata.resource_version += 1;
}

pub fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|o| o.metadata.name.as_str()).collect()
}
