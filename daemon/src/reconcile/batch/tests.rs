//! Jobs through their lives, without a store.
#![allow(clippy::unwrap_used)]

use kfbox_store::{
    Object, Store,
    kinds::{core::POD, workload::JOB},
};
use serde_json::json;

use super::plan::{INDEX, plan};
use crate::reconcile::template::{COUNTED, testing::*};

struct Life {
    job: Object,
    pods: Vec<Object>,
}

impl Life {
    fn new(extra: serde_json::Value) -> Self {
        let mut spec = json!({"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}],
        }}});
        kfbox_store::json_merge(&mut spec, &extra);
        Self {
            job: owner(&JOB, "j", spec),
            pods: vec![],
        }
    }

    /// Looks until nothing more happens; the second look at the same world must do nothing.
    fn look(&mut self, now: &str) -> serde_json::Value {
        for _ in 0..5 {
            let pass = plan(&self.job, &self.pods, at(now)).unwrap();
            let quiet = pass.create.is_empty() && pass.delete.is_empty() && pass.counted.is_empty();
            let same = self.job.body.get("status") == Some(&json!(pass.status));
            if quiet && same {
                return json!(pass.status);
            }
            follow(&mut self.job, &mut self.pods, pass);
        }
        panic!("looks on and on");
    }

    fn end(&mut self, index: usize, phase: &str, reason: &str, code: i32) {
        let pod = &mut self.pods[index];
        set_phase(pod, phase, reason);
        pod.body["status"]["containerStatuses"] = json!([{"name": "main", "state": {"terminated": {
            "exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}}}]);
    }

    fn last_condition(&self) -> (String, String) {
        let last = self.job.body["status"]["conditions"]
            .as_array()
            .unwrap()
            .last()
            .unwrap();
        (
            last["type"].as_str().unwrap().into(),
            last["reason"].as_str().unwrap().into(),
        )
    }
}

#[test]
fn completions_are_reached_and_ttl_removes() {
    let mut life =
        Life::new(json!({"completions": 3, "parallelism": 2, "ttlSecondsAfterFinished": 10}));
    let status = life.look("00:00:00");
    assert_eq!(
        (&status["active"], &status["startTime"]),
        (&json!(2), &json!("2026-01-01T00:00:00Z"))
    );
    assert_eq!(life.pods.len(), 2);
    assert_eq!(life.pods[0].label("batch.kubernetes.io/job-name"), "j");
    assert_eq!(life.pods[0].label("controller-uid"), "11111111-2222");
    life.end(0, "Succeeded", "", 0);
    assert_eq!(life.look("00:00:01")["active"], 2);
    // Counted once: the Pod may go.
    life.pods.remove(0);
    assert_eq!(life.look("00:00:02")["succeeded"], 1);
    life.end(0, "Succeeded", "", 0);
    life.end(1, "Succeeded", "", 0);
    let status = life.look("00:00:03");
    assert_eq!(
        (&status["succeeded"], status.get("active")),
        (&json!(3), None)
    );
    assert_eq!(
        life.last_condition(),
        ("Complete".into(), "CompletionsReached".into())
    );
    assert!(!plan(&life.job, &life.pods, at("00:00:12")).unwrap().remove);
    assert!(plan(&life.job, &life.pods, at("00:00:13")).unwrap().remove);
}

#[test]
fn indexes_have_names_and_each_succeeds_once() {
    let mut life =
        Life::new(json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"}));
    life.look("00:00:00");
    let pod = &life.pods[1];
    assert!(pod.metadata.name.starts_with("j-1-") && pod.metadata.name.len() == 9);
    assert_eq!(pod.body["spec"]["hostname"], "j-1");
    assert_eq!(
        pod.body["spec"]["containers"][0]["env"][0],
        json!({"name": "JOB_COMPLETION_INDEX", "value": "1"})
    );
    assert_eq!(
        (pod.label(INDEX), pod.metadata.annotations[INDEX].as_str()),
        ("1", "1")
    );
    life.end(0, "Succeeded", "", 0);
    life.end(2, "Failed", "Interrupted", 137);
    let status = life.look("00:00:00");
    assert_eq!(
        (&status["completedIndexes"], &status["active"]),
        (&json!("0"), &json!(2))
    );
    assert_eq!(
        status.get("failed"),
        None,
        "an interruption is nobody's failure"
    );
    assert_eq!(life.pods.last().unwrap().label(INDEX), "2");
}

#[test]
fn failures_pause_and_end_it() {
    let mut life = Life::new(json!({"backoffLimit": 1}));
    life.look("00:00:00");
    life.end(0, "Failed", "Error", 1);
    assert_eq!(life.look("00:00:00")["failed"], 1);
    assert_eq!(life.pods.len(), 1, "waits a second");
    life.look("00:00:01");
    assert_eq!(life.pods.len(), 2);
    life.end(1, "Failed", "Error", 1);
    let status = life.look("00:00:02");
    assert_eq!(
        life.last_condition(),
        ("Failed".into(), "BackoffLimitExceeded".into())
    );
    assert_eq!((&status["failed"], life.pods.len()), (&json!(2), 2));
}

#[test]
fn a_deadline_and_a_suspension_take_pods_away() {
    let mut life = Life::new(json!({"activeDeadlineSeconds": 60, "suspend": true}));
    life.look("00:00:00");
    assert_eq!(
        (life.pods.len(), life.last_condition().0),
        (0, "Suspended".into())
    );
    life.job.body["spec"]["suspend"] = json!(false);
    let status = life.look("00:10:00");
    assert_eq!(life.last_condition().1, "JobResumed");
    assert_eq!(
        (life.pods.len(), &status["startTime"]),
        (1, &json!("2026-01-01T00:10:00Z"))
    );
    let again = plan(&life.job, &life.pods, at("00:10:59")).unwrap().again;
    assert_eq!(again.unwrap().as_secs(), 1);
    life.look("00:11:00");
    assert_eq!(
        (life.pods.len(), life.last_condition().1),
        (0, "DeadlineExceeded".into())
    );
}

#[test]
fn a_failure_policy_ends_or_ignores() {
    let mut life = Life::new(json!({"podFailurePolicy": {"rules": [
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
    ]}}));
    life.look("00:00:00");
    life.end(0, "Failed", "Error", 42);
    assert_eq!(life.look("00:01:00").get("failed"), None);
    life.end(1, "Failed", "Error", 1);
    assert_eq!(life.look("00:02:00")["failed"], 1);
    life.end(2, "Failed", "Error", 7);
    life.look("00:03:00");
    assert_eq!(
        life.last_condition(),
        ("Failed".into(), "PodFailurePolicy".into())
    );
}

#[test]
fn a_work_queue_ends_with_its_last_pod() {
    let mut life = Life::new(json!({"parallelism": 2}));
    life.look("00:00:00");
    life.end(0, "Succeeded", "", 0);
    assert_eq!(life.look("00:00:01")["active"], 1);
    life.end(1, "Succeeded", "", 0);
    life.look("00:00:02");
    assert_eq!(life.last_condition().0, "Complete");
}

#[tokio::test]
async fn a_look_is_written_whole_once_and_only_on_what_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("meta.redb")).unwrap();
    let spec = json!({"completions": 2, "parallelism": 2, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}});
    let job = Object::new(&JOB, "kubeflow", "j").with_spec(&spec).unwrap();
    let job = store.create(job).await.unwrap();
    let key = job.reference().unwrap();
    let look = || async {
        let job = store.fetch(&key).await.unwrap();
        let pods = store.owned(&job.metadata.uid, &POD).await.unwrap();
        (plan(&job, &pods, at("00:00:00")).unwrap(), job, pods)
    };
    let (pass, seen, _) = look().await;
    pass.write(&store, &seen).await.unwrap();
    let (pass, job, pods) = look().await;
    assert_eq!((pods.len(), &job.body["status"]["active"]), (2, &json!(2)));
    let version = store.version();
    pass.write(&store, &job).await.unwrap();
    assert_eq!(store.version(), version, "nothing to do, nothing written");
    // A look at an older world does nothing.
    let stale = plan(&seen, &[], at("00:00:00")).unwrap();
    stale.write(&store, &seen).await.unwrap();
    assert_eq!(store.version(), version);
    // A Pod that ended is counted with the status that says so, and goes with its Job.
    let pod = pods[0].reference().unwrap();
    store
        .modify(&pod, |p| p.set("status", &json!({"phase": "Succeeded"})))
        .await
        .unwrap();
    let (pass, job, _) = look().await;
    pass.write(&store, &job).await.unwrap();
    assert!(
        store
            .fetch(&pod)
            .await
            .unwrap()
            .metadata
            .annotations
            .contains_key(COUNTED)
    );
    assert_eq!(
        store.fetch(&key).await.unwrap().body["status"]["succeeded"],
        1
    );
    store.delete(&key).await.unwrap();
    assert!(store.fetch(&pod).await.unwrap().deleting());
}
