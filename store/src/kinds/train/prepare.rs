//! Defaults of jobs, written into the object: clients read them back, and upstream's SDK cannot do without some.

use serde_json::{Map, Value, json};

use super::Framework;
use crate::{Object, Result};

/// The fields that moved into runPolicy; older manifests have them beside it.
const MOVED: &[&str] = &[
    "cleanPodPolicy",
    "ttlSecondsAfterFinished",
    "activeDeadlineSeconds",
    "backoffLimit",
];

/// Fills in defaults. What has a wrong shape is left for the check to name.
pub(super) fn prepare(job: &mut Object) -> Result<()> {
    let Some(framework) = Framework::of(&job.api_version, &job.kind) else {
        return Ok(());
    };
    let spec = job.body.entry("spec").or_insert_with(|| json!({}));
    let Some(spec) = spec.as_object_mut() else {
        return Ok(());
    };
    run_policy(spec);
    if let Some(Value::Object(replicas)) = spec.get_mut(framework.field) {
        *replicas = std::mem::take(replicas)
            .into_iter()
            .map(|(name, value)| (canonical(framework, name), value))
            .collect();
    }
    let main = spec.get("mainContainer").and_then(Value::as_str);
    let main = main
        .filter(|m| framework.launcher && !m.is_empty())
        .unwrap_or(framework.container)
        .to_string();
    let replicas = spec.get_mut(framework.field).and_then(Value::as_object_mut);
    for (role, replica) in replicas.into_iter().flatten() {
        let none = if framework.launcher && role == "Worker" {
            0
        } else {
            1
        };
        fill(replica, "replicas", json!(none));
        fill(replica, "restartPolicy", json!(framework.restart));
        add_port(framework, &main, replica);
    }
    match framework.kind.kind {
        "PyTorchJob" => {
            let old = spec
                .get("elasticPolicy")
                .and_then(|e| e.get("nProcPerNode"))
                .and_then(Value::as_i64);
            let auto = old.map_or_else(|| "auto".into(), |n| n.to_string());
            default(spec, "nprocPerNode", json!(auto));
            elastic(spec, framework.field);
        }
        "PaddleJob" => elastic(spec, framework.field),
        "MPIJob" | "ChainerJob" => default(spec, "slotsPerWorker", json!(1)),
        "MXJob" => default(spec, "jobMode", json!("MXTrain")),
        _ => {}
    }
    Ok(())
}

fn default(map: &mut Map<String, Value>, field: &str, value: Value) {
    let slot = map.entry(field).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value;
    }
}

fn fill(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        default(map, field, value);
    }
}

fn run_policy(spec: &mut Map<String, Value>) {
    default(spec, "runPolicy", json!({}));
    for field in MOVED {
        if let Some(value) = spec.get(*field).filter(|v| !v.is_null()).cloned() {
            fill(&mut spec["runPolicy"], field, value);
        }
    }
    fill(&mut spec["runPolicy"], "cleanPodPolicy", json!("None"));
}

/// Replica types are meant whatever their letters' case.
fn canonical(framework: &Framework, name: String) -> String {
    let known = framework
        .types
        .iter()
        .find(|t| t.eq_ignore_ascii_case(&name));
    known.map_or(name, |t| (*t).to_string())
}

fn add_port(framework: &Framework, main: &str, replica: &mut Value) {
    let Some((name, number)) = framework.port else {
        return;
    };
    let containers = replica.pointer_mut("/template/spec/containers");
    let containers = containers.and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if container.get("name").and_then(Value::as_str) != Some(main) {
            continue;
        }
        fill(container, "ports", json!([]));
        if let Some(ports) = container.get_mut("ports").and_then(Value::as_array_mut)
            && !ports.iter().any(|p| p["name"] == name)
        {
            ports.push(json!({"name": name, "containerPort": number}));
        }
    }
}

/// A bound that is missing is the other one; without any, the number of workers is both.
fn elastic(spec: &mut Map<String, Value>, field: &str) {
    let workers = spec
        .get(field)
        .and_then(|r| r.pointer("/Worker/replicas"))
        .cloned();
    let Some(policy) = spec.get_mut("elasticPolicy").and_then(Value::as_object_mut) else {
        return;
    };
    let bound = |name: &str, policy: &Map<String, Value>| {
        let value = policy.get(name).filter(|v| !v.is_null());
        value.cloned()
    };
    let (min, max) = (bound("minReplicas", policy), bound("maxReplicas", policy));
    if let Some(value) = min.clone().or_else(|| max.clone()).or(workers) {
        default(policy, "minReplicas", value.clone());
        default(policy, "maxReplicas", value);
    }
}
