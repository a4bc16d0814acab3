//! Jobs: defaults and admission.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn job(framework: &Framework, spec: Value) -> Object {
    Object::new(framework.kind, "kubeflow", "j")
        .with_spec(&spec)
        .unwrap()
}

fn replica(framework: &Framework) -> Value {
    json!({"template": {"spec": {"containers": [{"name": framework.container, "image": "x"}]}}})
}

fn refusal(framework: &Framework, spec: Value) -> String {
    let mut job = job(framework, spec);
    (framework.kind.prepare)(&mut job).unwrap();
    framework.kind.check(&job).unwrap_err().message
}

#[test]
fn every_kind_gets_its_defaults_once() {
    for framework in FRAMEWORKS {
        let role = match framework.leaders.first() {
            Some(leader) => leader.to_uppercase(),
            None => "wOrKeR".into(),
        };
        let mut job = job(
            framework,
            json!({framework.field: {role.clone(): replica(framework)}}),
        );
        (framework.kind.prepare)(&mut job).unwrap();
        framework.kind.check(&job).unwrap();
        let once = job.clone();
        (framework.kind.prepare)(&mut job).unwrap();
        assert_eq!(job, once, "{}", framework.kind.kind);
        let spec = &job.body["spec"];
        assert_eq!(spec["runPolicy"], json!({"cleanPodPolicy": "None"}));
        let (name, filled) = spec[framework.field]
            .as_object()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        assert!(framework.types.contains(&name.as_str()));
        assert_eq!(
            (&filled["replicas"], &filled["restartPolicy"]),
            (&json!(1), &json!(framework.restart))
        );
        let ports = filled.pointer("/template/spec/containers/0/ports");
        match framework.port {
            Some((name, number)) => assert_eq!(
                ports,
                Some(&json!([{"name": name, "containerPort": number}]))
            ),
            None => assert_eq!(ports, None),
        }
        let schema = (framework.kind.schema.unwrap())();
        assert!(schema.to_value().to_string().contains(framework.field));
    }
}

#[test]
fn fields_that_moved_are_still_understood() {
    let mut old = job(
        &TENSORFLOW,
        json!({"cleanPodPolicy": "All", "backoffLimit": 2, "runPolicy": {"backoffLimit": 3},
            "tfReplicaSpecs": {"worker": replica(&TENSORFLOW)}}),
    );
    (TF_JOB.prepare)(&mut old).unwrap();
    assert_eq!(
        old.body["spec"]["runPolicy"],
        json!({"cleanPodPolicy": "All", "backoffLimit": 3})
    );
}

#[test]
fn refusals_name_the_field() {
    let one = || json!({"Worker": replica(&TENSORFLOW)});
    let two = |n: i32| {
        let mut r = replica(&PYTORCH);
        r["replicas"] = json!(n);
        r
    };
    let unnamed = json!({"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}});
    let bare = json!({"template": {"spec": {"containers": [{"name": "tensorflow"}]}}});
    for (framework, spec, says) in [
        (&TENSORFLOW, json!({}), "spec.tfReplicaSpecs: required"),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {}}),
            "at least one replica type",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {"Boss": replica(&TENSORFLOW)}}),
            "tfReplicaSpecs.Boss: no such",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {"Worker": unnamed}}),
            "must be named \"tensorflow\"",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {"Worker": bare}}),
            "containers[0].image: required",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {"Worker": {"replicas": "x"}}}),
            "spec.tfReplicaSpecs.Worker.replicas",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {"Chief": replica(&TENSORFLOW), "Master": replica(&TENSORFLOW)}}),
            "only one of Chief, Master",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": one(), "successPolicy": "Some"}),
            "spec.successPolicy",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": one(), "runPolicy": {"cleanPodPolicy": "Some"}}),
            "spec.runPolicy.cleanPodPolicy",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": one(), "runPolicy": {"managedBy": "me"}}),
            "spec.runPolicy.managedBy",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": one(), "runPolicy": {"backoffLimit": -1}}),
            "spec.runPolicy.backoffLimit",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": one(), "runPolicy": {"activeDeadlineSeconds": 0}}),
            "activeDeadlineSeconds",
        ),
        (
            &TENSORFLOW,
            json!({"tfReplicaSpecs": {"Worker": {"restartPolicy": "Maybe"}}}),
            "Worker.restartPolicy",
        ),
        (
            &PYTORCH,
            json!({"pytorchReplicaSpecs": {"Master": two(2)}}),
            "Master.replicas: must be 1",
        ),
        (
            &PYTORCH,
            json!({"pytorchReplicaSpecs": {"Master": two(1)}, "elasticPolicy": {}}),
            "Worker: required by spec.elasticPolicy",
        ),
        (
            &PYTORCH,
            json!({"pytorchReplicaSpecs": {"Master": two(1)}, "nprocPerNode": "many"}),
            "spec.nprocPerNode",
        ),
        (
            &MPI,
            json!({"mpiReplicaSpecs": {"Worker": replica(&MPI)}}),
            "mpiReplicaSpecs.Launcher: required",
        ),
        (
            &XGBOOST,
            json!({"xgbReplicaSpecs": {"Worker": replica(&XGBOOST)}}),
            "xgbReplicaSpecs.Master: required",
        ),
    ] {
        let message = refusal(framework, spec);
        assert!(message.contains(says), "{message} has no {says}");
    }
    let mut named = job(&TENSORFLOW, json!({"tfReplicaSpecs": one()}));
    named.metadata.name = "1j".into();
    (TF_JOB.prepare)(&mut named).unwrap();
    let message = TF_JOB.check(&named).unwrap_err().message;
    assert!(message.contains("DNS-1035"), "{message}");
}

#[test]
fn elastic_bounds_come_from_each_other() {
    for (policy, min, max) in [
        (json!({}), 2, 2),
        (json!({"minReplicas": 1}), 1, 1),
        (json!({"maxReplicas": 3}), 3, 3),
        (json!({"minReplicas": 1, "maxReplicas": 3}), 1, 3),
    ] {
        let mut worker = replica(&PYTORCH);
        worker["replicas"] = json!(2);
        let mut job = job(
            &PYTORCH,
            json!({"pytorchReplicaSpecs": {"Worker": worker}, "elasticPolicy": policy}),
        );
        (PYTORCH_JOB.prepare)(&mut job).unwrap();
        PYTORCH_JOB.check(&job).unwrap();
        let filled = &job.body["spec"]["elasticPolicy"];
        assert_eq!(
            (&filled["minReplicas"], &filled["maxReplicas"]),
            (&json!(min), &json!(max))
        );
    }
}
