//! StatefulSets through their lives, without a store.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::reconcile::template::testing::*;

fn set(extra: Value) -> Object {
    let mut spec = json!({
        "replicas": 2, "serviceName": "s", "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
    });
    kfbox_store::json_merge(&mut spec, &extra);
    owner(&STATEFUL_SET, "db", spec)
}

fn look(set: &mut Object, pods: &mut Vec<Object>) -> (Vec<String>, Vec<String>) {
    let pass = plan(set, pods, at("00:00:00")).unwrap();
    let made = names(&pass.create).into_iter().map(String::from).collect();
    let gone = pass.delete.iter().map(|d| d.name.clone()).collect();
    follow(set, pods, pass);
    (made, gone)
}

fn ready(pods: &mut [Object]) {
    for pod in pods {
        set_phase(pod, "Ready", "");
    }
}

const NONE: Vec<String> = Vec::new();

#[test]
fn pods_come_in_order_with_their_claims_and_go_in_reverse() {
    let (mut set, mut pods) = (set(json!({})), vec![]);
    assert_eq!(look(&mut set, &mut pods).0, ["data-db-0", "db-0"]);
    assert_eq!(look(&mut set, &mut pods), (NONE, NONE), "waits for db-0");
    ready(&mut pods);
    assert_eq!(look(&mut set, &mut pods).0, ["data-db-1", "db-1"]);
    let spec = &pods[1].body["spec"];
    assert_eq!(
        (&spec["hostname"], &spec["subdomain"]),
        (&json!("db-1"), &json!("s"))
    );
    assert_eq!(
        spec["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "data-db-1"
    );
    ready(&mut pods);
    look(&mut set, &mut pods);
    let status = set.body["status"].clone();
    assert_eq!(
        (&status["readyReplicas"], &status["updateRevision"]),
        (&json!(2), &status["currentRevision"])
    );
    assert_eq!(look(&mut set, &mut pods), (NONE, NONE));
    assert_eq!(set.body["status"], status);
    set_phase(&mut pods[0], "Failed", "Interrupted");
    assert_eq!(look(&mut set, &mut pods).1, ["db-0"]);
    assert_eq!(look(&mut set, &mut pods).0, ["data-db-0", "db-0"]);
    ready(&mut pods);
    set.body["spec"]["replicas"] = json!(0);
    assert_eq!(look(&mut set, &mut pods).1, ["db-1"]);
    assert_eq!(look(&mut set, &mut pods).1, ["db-0"]);
}

#[test]
fn an_update_replaces_from_the_last_on() {
    let parallel = json!({"podManagementPolicy": "Parallel", "volumeClaimTemplates": []});
    let (mut set, mut pods) = (set(parallel), vec![]);
    assert_eq!(look(&mut set, &mut pods).0, ["db-0", "db-1"]);
    ready(&mut pods);
    look(&mut set, &mut pods);
    let old = set.body["status"]["currentRevision"].clone();
    set.body["spec"]["template"]["spec"]["containers"][0]["image"] = json!("y");
    assert_eq!(look(&mut set, &mut pods).1, ["db-1"]);
    assert_eq!(look(&mut set, &mut pods).0, ["db-1"]);
    assert_eq!(look(&mut set, &mut pods), (NONE, NONE), "waits for db-1");
    assert_eq!(set.body["status"]["currentRevision"], old);
    ready(&mut pods);
    assert_eq!(look(&mut set, &mut pods).1, ["db-0"]);
    look(&mut set, &mut pods);
    ready(&mut pods);
    look(&mut set, &mut pods);
    let status = &set.body["status"];
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_ne!(status["currentRevision"], old);
    // On demand only.
    set.body["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    set.body["spec"]["template"]["spec"]["containers"][0]["image"] = json!("z");
    assert_eq!(look(&mut set, &mut pods), (NONE, NONE));
}
