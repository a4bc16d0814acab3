//! What a Notebook's Pod is, and what is said of it, without a store.
#![allow(clippy::unwrap_used)]

use kfbox_store::kinds::notebook::{LAST_ACTIVITY, STOPPED};

use super::*;

fn notebook(change: Value) -> Object {
    let mut value = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "Notebook",
        "metadata": {"name": "work", "namespace": "ada", "uid": "u"},
        "spec": {"template": {"spec": {"containers": [{"name": "work", "image": "x"}]}}},
    });
    kfbox_store::json_merge(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

fn pod(status: Value) -> Object {
    Object::new(&POD, "ada", "work-0")
        .with_spec(&json!({}))
        .map(|mut p| {
            p.set("status", &status).unwrap();
            p
        })
        .unwrap()
}

#[test]
fn the_pod_is_as_upstreams_controller_makes_it() {
    let made = template::pod(&notebook(json!({"metadata": {
        "labels": {"team": "a"},
        "annotations": {"note": "kept", "kubectl.kubernetes.io/x": "no", "notebooks.kubeflow.org/y": "no", STOPPED: "no"},
    }})), "http://ui").unwrap();
    let meta = made.metadata.unwrap();
    let labels = meta.labels.unwrap();
    assert_eq!(
        (
            labels["team"].as_str(),
            labels["statefulset"].as_str(),
            labels[NOTEBOOK_LABEL].as_str()
        ),
        ("a", "work", "work")
    );
    assert_eq!(
        meta.annotations.unwrap().into_keys().collect::<Vec<_>>(),
        ["note"]
    );
    let spec = made.spec.unwrap();
    assert_eq!(spec.security_context.unwrap().fs_group, Some(100));
    let server = &spec.containers[0];
    assert_eq!(server.working_dir.as_deref(), Some("/home/jovyan"));
    assert_eq!(server.ports.as_ref().unwrap()[0].container_port, 8888);
    let env = |name: &str| {
        let mut all = server.env.iter().flatten();
        all.find(|e| e.name == name).and_then(|e| e.value.clone())
    };
    assert_eq!(env("NB_PREFIX").unwrap(), "/notebook/ada/work");
    assert!(env("KF_PIPELINES_UI_ENDPOINT").is_some());
}

#[test]
fn what_its_user_says_stays() {
    let made = template::pod(&notebook(json!({"spec": {"template": {"spec": {
        "securityContext": {"fsGroup": 7},
        "containers": [{
            "name": "work", "image": "x", "workingDir": "/w", "ports": [{"containerPort": 80}],
            "env": [{"name": "NB_PREFIX", "value": "/mine"}, {"name": "AWS_ENDPOINT_URL", "value": "http://s3"}],
        }],
    }}}})), "http://ui").unwrap();
    let spec = made.spec.unwrap();
    assert_eq!(template::port(&spec), 80);
    assert_eq!(spec.security_context.unwrap().fs_group, Some(7));
    let server = &spec.containers[0];
    assert_eq!(server.working_dir.as_deref(), Some("/w"));
    let values: Vec<_> = server
        .env
        .iter()
        .flatten()
        .filter(|e| e.name == "NB_PREFIX" || e.name == "AWS_ENDPOINT_URL")
        .map(|e| e.value.clone().unwrap())
        .collect();
    assert_eq!(values, ["http://s3", "/notebook/ada/work"]);
}

#[test]
fn only_what_the_pod_depends_on_makes_another() {
    let inputs = |change: Value| template::inputs(&notebook(change)).unwrap();
    let annotated = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    let plain = inputs(json!({}));
    assert_eq!(inputs(annotated(STOPPED)), plain);
    assert_eq!(inputs(annotated(LAST_ACTIVITY)), plain);
    assert_eq!(inputs(annotated(CULLED)), plain);
    assert_ne!(inputs(annotated("note")), plain);
    assert_ne!(inputs(json!({"metadata": {"labels": {"a": "b"}}})), plain);
    assert_ne!(
        inputs(
            json!({"spec": {"template": {"spec": {"containers": [{"name": "work", "image": "y"}]}}}})
        ),
        plain
    );
}

#[test]
fn its_state_in_words() {
    let stopped = json!({"metadata": {"annotations": {STOPPED: "now", CULLED: "2h"}}});
    let of = |notebook: &Object, pod: Option<&Object>| {
        let status = status(notebook, None, pod, Some("a conflict".into())).unwrap();
        (status.phase, status.message)
    };
    let nb = notebook(json!({}));
    assert_eq!(of(&nb, None), ("Waiting".into(), "a conflict".into()));
    let (phase, message) = of(&notebook(stopped.clone()), None);
    assert!(phase == "Stopped" && message.contains("2h"), "{message}");
    assert_eq!(of(&notebook(stopped), Some(&pod(json!({})))).0, "Stopping");

    let ready = json!([{"type": "Ready", "status": "True"}]);
    let oom = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137, "message": "went past its memory limit of 512 MiB"}});
    for (status, phase, says) in [
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "needs 9 CPUs"}]}),
            "Waiting",
            "needs 9 CPUs",
        ),
        (
            json!({"phase": "Pending", "containerStatuses": [{"name": "work", "state": {"waiting": {"reason": "ErrImagePull", "message": "no image x"}}}]}),
            "Failed",
            "no image x",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [{"name": "work", "state": {"running": {}}}]}),
            "Starting",
            "",
        ),
        (
            json!({"phase": "Running", "conditions": ready}),
            "Running",
            "",
        ),
        (
            json!({"phase": "Running", "conditions": ready, "containerStatuses": [{"name": "work", "state": {"running": {}}, "lastState": oom}]}),
            "Running",
            "memory limit of 512 MiB",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [{"name": "work", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": oom}]}),
            "Failed",
            "memory limit of 512 MiB",
        ),
    ] {
        let said = of(&nb, Some(&pod(status.clone())));
        assert_eq!(said.0, phase, "{status}");
        assert!(said.1.contains(says), "{status}: {}", said.1);
        assert_eq!(says.is_empty(), said.1.is_empty(), "{}", said.1);
    }
}

#[test]
fn the_container_of_its_name_is_mirrored() {
    let seen = pod(json!({"phase": "Running", "containerStatuses": [
        {"name": "sidecar", "state": {"waiting": {"reason": "x"}}},
        {"name": "work", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
    ]}));
    let mirrored = status(&notebook(json!({})), None, Some(&seen), None).unwrap();
    assert_eq!(
        mirrored.container_state["running"]["startedAt"],
        "2026-01-01T00:00:00Z"
    );
}
