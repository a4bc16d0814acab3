//! Deployments through roll-outs, without a store.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::reconcile::template::testing::*;

struct Life {
    deployment: Object,
    pods: Vec<Object>,
}

impl Life {
    fn new(extra: Value) -> Self {
        let mut spec = json!({
            "replicas": 3, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}},
        });
        kfbox_store::json_merge(&mut spec, &extra);
        let deployment = owner(&DEPLOYMENT, "d", spec);
        Self {
            deployment,
            pods: vec![],
        }
    }

    fn look(&mut self, now: &str) -> Pass {
        let pass = plan(&self.deployment, &self.pods, at(now)).unwrap();
        let copy = plan(&self.deployment, &self.pods, at(now)).unwrap();
        follow(&mut self.deployment, &mut self.pods, pass);
        copy
    }

    fn ready(&mut self) {
        for pod in &mut self.pods {
            set_phase(pod, "Ready", "");
        }
    }

    fn serving(&self) -> usize {
        let ready = |p: &&Object| p.body["status"]["conditions"][0]["status"] == "True";
        self.pods.iter().filter(ready).count()
    }

    fn change(&mut self, image: &str) {
        self.deployment.body["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        self.deployment.metadata.generation += 1;
    }

    /// As `kubectl rollout status` decides.
    fn rolled_out(&self) -> bool {
        let status = &self.deployment.body["status"];
        let n = |f: &str| status[f].as_u64().unwrap_or(0);
        let wanted = self.deployment.body["spec"]["replicas"].as_u64().unwrap();
        n("observedGeneration") >= self.deployment.metadata.generation
            && n("updatedReplicas") >= wanted
            && n("replicas") <= n("updatedReplicas")
            && n("availableReplicas") >= n("updatedReplicas")
    }
}

#[test]
fn pods_are_made_and_reported() {
    let mut life = Life::new(json!({}));
    life.look("00:00:00");
    assert_eq!(life.pods.len(), 3);
    assert!(life.pods[0].metadata.name.starts_with("d-") && life.pods[0].metadata.name.len() == 18);
    assert!(!life.rolled_out());
    life.ready();
    life.look("00:00:01");
    assert!(life.rolled_out());
    let status = &life.deployment.body["status"];
    assert_eq!(
        find_condition(status, "Available").unwrap()["status"],
        "True"
    );
    assert_eq!(
        find_condition(status, "Progressing").unwrap()["reason"],
        "NewReplicaSetAvailable"
    );
    let before = life.deployment.body.clone();
    let pass = life.look("00:00:02");
    assert!(pass.create.is_empty() && pass.delete.is_empty());
    assert_eq!(before, life.deployment.body);
}

#[test]
fn a_rolling_update_never_serves_too_little_or_holds_too_much() {
    for (surge, away) in [("25%", "25%"), ("0", "1"), ("100%", "0"), ("1", "1")] {
        let number = |t: &str| t.parse::<i32>().map_or_else(|_| json!(t), |n| json!(n));
        let rolling = json!({"strategy": {"rollingUpdate": {"maxSurge": number(surge), "maxUnavailable": number(away)}}});
        let mut life = Life::new(rolling);
        life.look("00:00:00");
        life.ready();
        life.look("00:00:00");
        life.change("y");
        let mut looks = 0;
        while !life.rolled_out() {
            life.look("00:00:01");
            assert!(
                life.serving() >= if away == "1" { 2 } else { 3 },
                "{surge} {away}"
            );
            assert!(
                life.pods.len() <= if surge == "100%" { 6 } else { 4 },
                "{surge} {away}"
            );
            // One Pod becomes ready at a time.
            if let Some(p) = life
                .pods
                .iter_mut()
                .find(|p| p.body["status"]["phase"] == "Pending")
            {
                set_phase(p, "Ready", "");
            }
            looks += 1;
            assert!(looks < 30, "{surge} {away}: does not end");
        }
        assert!(
            life.pods
                .iter()
                .all(|p| p.body["spec"]["containers"][0]["image"] == "y")
        );
    }
}

#[test]
fn recreate_waits_for_the_old_to_go_and_failed_pods_are_replaced() {
    let mut life = Life::new(json!({"strategy": {"type": "Recreate"}}));
    life.look("00:00:00");
    life.change("y");
    let pass = life.look("00:00:01");
    assert_eq!((pass.delete.len(), pass.create.len()), (3, 0));
    assert_eq!(life.look("00:00:02").create.len(), 3);
    set_phase(&mut life.pods[0], "Failed", "Interrupted");
    let pass = life.look("00:00:03");
    assert_eq!((pass.delete.len(), pass.create.len()), (1, 1));
    // What ends by itself is not replaced in a hurry.
    set_phase(&mut life.pods[0], "Failed", "Error");
    life.pods[0].metadata.creation_timestamp = Some("2026-01-01T00:00:00Z".into());
    let pass = life.look("00:00:04");
    assert_eq!((pass.delete.len(), pass.create.len()), (0, 0));
    let pass = life.look("00:00:10");
    assert_eq!((pass.delete.len(), pass.create.len()), (1, 1));
}

#[test]
fn scale_pause_and_a_deadline() {
    let mut life = Life::new(json!({"paused": true, "progressDeadlineSeconds": 10}));
    life.look("00:00:00");
    life.change("y");
    let pass = life.look("00:00:00");
    assert!(pass.create.is_empty() && pass.delete.is_empty(), "paused");
    life.deployment.body["spec"]["replicas"] = json!(1);
    assert_eq!(life.look("00:00:00").delete.len(), 2);
    life.deployment.body["spec"]["paused"] = json!(false);
    life.look("00:00:00");
    assert_eq!(life.look("00:00:01").again.unwrap().as_secs(), 9);
    life.look("00:00:30");
    let status = &life.deployment.body["status"];
    assert_eq!(
        find_condition(status, "Progressing").unwrap()["reason"],
        "ProgressDeadlineExceeded"
    );
    life.deployment.body["spec"]["replicas"] = json!(0);
    life.look("00:00:31");
    assert!(life.pods.is_empty());
}

#[test]
fn a_pod_must_be_ready_for_a_while() {
    let mut life = Life::new(json!({"replicas": 1, "minReadySeconds": 5}));
    life.look("00:00:00");
    life.ready();
    let pass = life.look("00:00:01");
    assert_eq!(pass.again.unwrap().as_secs(), 4);
    assert!(!life.rolled_out());
    life.look("00:00:05");
    assert!(life.rolled_out());
}
