//! TrainJobs through their lives, without a store.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use kfbox_store::{
    Object,
    kinds::trainer::{CLUSTER_TRAINING_RUNTIME, TRAIN_JOB},
};
use serde_json::{Value, json};

use super::plan::{World, plan};
use crate::reconcile::template::{GANG, Pass, find_condition, testing::*};

const TORCH: &str = include_str!("../../assets/runtimes/torch_distributed.yaml");
const MPI: &str = include_str!("../../assets/runtimes/deepspeed_distributed.yaml");
const JAX: &str = include_str!("../../assets/runtimes/jax_distributed.yaml");
const XGBOOST: &str = include_str!("../../assets/runtimes/xgboost_distributed.yaml");

struct Life {
    job: Object,
    runtime: Object,
    pods: Vec<Object>,
    extras: BTreeSet<(String, String)>,
    /// What was made besides Pods.
    made: Vec<Object>,
}

impl Life {
    fn new(runtime: &str, extra: Value) -> Self {
        let mut spec = json!({"runtimeRef": {"name": "r"}});
        kfbox_store::json_merge(&mut spec, &extra);
        let mut runtime: Object = serde_saphyr::from_str(runtime).unwrap();
        (CLUSTER_TRAINING_RUNTIME.prepare)(&mut runtime).unwrap();
        (CLUSTER_TRAINING_RUNTIME.validate)(&runtime).unwrap();
        Self {
            job: owner(&TRAIN_JOB, "t", spec),
            runtime,
            pods: vec![],
            extras: BTreeSet::new(),
            made: vec![],
        }
    }

    fn once(&self, now: &str) -> Pass {
        let world = World {
            job: &self.job,
            runtime: Some(self.runtime.spec().unwrap()),
            pods: &self.pods,
            extras: self.extras.clone(),
            keys: &|| Ok(("private".into(), "public".into())),
        };
        plan(&world, at(now)).unwrap()
    }

    /// Looks until nothing more happens.
    fn look(&mut self, now: &str) -> Value {
        for _ in 0..6 {
            let pass = self.once(now);
            let quiet = pass.create.is_empty() && pass.delete.is_empty();
            if quiet && self.job.body.get("status") == Some(&json!(pass.status)) {
                return json!(pass.status);
            }
            for extra in pass.create.iter().filter(|o| o.kind != "Pod") {
                self.extras
                    .insert((extra.kind.clone(), extra.metadata.name.clone()));
                self.made.push(extra.clone());
            }
            follow(&mut self.job, &mut self.pods, pass);
        }
        panic!("looks on and on");
    }

    fn all(&mut self, phase: &str, reason: &str) {
        for pod in &mut self.pods {
            set_phase(pod, phase, reason);
        }
    }

    fn env(&self, pod: usize, name: &str) -> Value {
        let env = self.pods[pod].body["spec"]["containers"][0]["env"]
            .as_array()
            .unwrap();
        env.iter()
            .find(|e| e["name"] == name)
            .cloned()
            .unwrap_or_default()
    }

    fn reason(&self, kind: &str) -> Option<String> {
        let condition = find_condition(&self.job.body["status"], kind)?;
        Some(format!(
            "{}: {}",
            condition["status"].as_str()?,
            condition["reason"].as_str()?
        ))
    }
}

#[test]
fn torch_on_two_nodes() {
    let trainer = json!({"trainer": {"numNodes": 2, "image": "mine", "command": ["torchrun"],
        "env": [{"name": "A", "value": "b"}], "resourcesPerNode": {"limits": {"cpu": "2"}}}});
    let mut life = Life::new(TORCH, trainer);
    let status = life.look("00:00:00");
    assert!(status.get("conditions").is_none(), "none while it runs");
    assert_eq!(status["jobsStatus"][0]["active"], 1);
    assert_eq!(life.pods.len(), 2);
    let pod = &life.pods[1];
    assert!(pod.metadata.name.starts_with("t-node-0-1-") && pod.metadata.name.len() == 16);
    for (key, value) in [
        ("jobset.sigs.k8s.io/jobset-name", "t"),
        ("jobset.sigs.k8s.io/replicatedjob-name", "node"),
        ("batch.kubernetes.io/job-completion-index", "1"),
        ("batch.kubernetes.io/job-name", "t-node-0"),
        ("trainer.kubeflow.org/trainjob-ancestor-step", "trainer"),
    ] {
        assert_eq!(pod.label(key), value, "{key}");
    }
    assert!(pod.metadata.annotations[GANG].ends_with("/2"));
    let spec = &pod.body["spec"];
    assert_eq!(
        (&spec["hostname"], &spec["subdomain"]),
        (&json!("t-node-0-1"), &json!("t"))
    );
    assert_eq!(
        (&spec["restartPolicy"], &spec["containers"][0]["image"]),
        (&json!("OnFailure"), &json!("mine"))
    );
    assert_eq!(life.env(1, "PET_NNODES")["value"], "2");
    assert_eq!(
        life.env(1, "PET_NPROC_PER_NODE")["value"],
        "2",
        "one for each CPU"
    );
    assert_eq!(life.env(1, "PET_MASTER_ADDR")["value"], "t-node-0-0.t");
    assert_eq!(
        life.env(1, "PET_NODE_RANK")["valueFrom"]["fieldRef"]["fieldPath"],
        "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    );
    assert_eq!(life.env(1, "A")["value"], "b");
    assert_eq!(names(&life.made), ["t"], "its headless Service");
    life.all("Ready", "");
    assert_eq!(life.look("00:00:01")["jobsStatus"][0]["ready"], 1);
    // The engine went down under one of them.
    set_phase(&mut life.pods[0], "Failed", "Interrupted");
    life.look("00:00:02");
    assert_eq!(life.pods.len(), 2);
    life.all("Succeeded", "");
    life.look("00:00:03");
    assert_eq!(life.reason("Complete").unwrap(), "True: AllJobsCompleted");
    assert_eq!(life.job.body["status"]["jobsStatus"][0]["succeeded"], 1);
}

#[test]
fn failures_are_borne_then_all_start_over_then_it_fails() {
    let mut life = Life::new(TORCH, json!({"trainer": {"numNodes": 2}}));
    life.runtime.body["spec"]["template"]["spec"]["failurePolicy"] = json!({"maxRestarts": 1});
    let job =
        &mut life.runtime.body["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"];
    job["backoffLimit"] = json!(0);
    life.look("00:00:00");
    life.all("Ready", "");
    set_phase(&mut life.pods[1], "Failed", "Error");
    life.look("00:00:01");
    assert_eq!(life.pods.len(), 2);
    assert!(
        life.pods
            .iter()
            .all(|p| p.label("jobset.sigs.k8s.io/restart-attempt") == "1")
    );
    assert_eq!(life.reason("Failed"), None);
    set_phase(&mut life.pods[1], "Failed", "Error");
    life.look("00:00:02");
    assert_eq!(life.reason("Failed").unwrap(), "True: ReachedMaxRestarts");
    assert_eq!(life.pods.len(), 1, "the failed one is kept for its log");
}

#[test]
fn a_failed_node_is_made_again_after_a_pause() {
    let mut life = Life::new(TORCH, json!({"trainer": {"numNodes": 2}}));
    life.look("00:00:00");
    for (end, early, due) in [
        ("00:00:10", "00:00:10", "00:00:11"),
        ("00:00:20", "00:00:21", "00:00:22"),
    ] {
        let there = life.pods.len();
        let failed = life.pods.len() - 1;
        set_phase(&mut life.pods[failed], "Failed", "Error");
        life.pods[failed].body["status"]["containerStatuses"] = json!([{
            "name": "node", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "finishedAt": format!("2026-01-01T{end}Z")}}}]);
        life.look(early);
        assert_eq!(life.pods.len(), there, "{early}");
        assert!(life.once(early).again.is_some());
        life.look(due);
        assert_eq!(life.pods.len(), there + 1, "{due}");
    }
}

#[test]
fn mpi_starts_its_launcher_when_the_nodes_are_ready() {
    let mut life = Life::new(
        MPI,
        json!({"trainer": {"numNodes": 3, "numProcPerNode": 2}}),
    );
    life.look("00:00:00");
    assert_eq!(life.pods.len(), 2, "the launcher is the third node");
    life.all("Ready", "");
    life.look("00:00:01");
    let launcher = &life.pods[2];
    assert_eq!(
        launcher.label("jobset.sigs.k8s.io/replicatedjob-name"),
        "launcher"
    );
    assert_eq!(names(&life.made), ["t", "t-mpi-hostfile", "t-mpi-ssh-auth"]);
    assert_eq!(
        life.made[1].body["data"]["hostfile"],
        "t-node-0-0.t slots=2\nt-node-0-1.t slots=2\nt-launcher-0-0.t slots=2\n"
    );
    assert_eq!(
        life.env(2, "OMPI_MCA_orte_default_hostfile")["value"],
        "/etc/mpi/hostfile"
    );
    let mounts = &launcher.body["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(mounts[0]["mountPath"], "/home/mpiuser/.ssh");
    set_phase(&mut life.pods[2], "Succeeded", "");
    life.look("00:00:02");
    assert_eq!(life.reason("Complete").unwrap(), "True: AllJobsCompleted");
    assert_eq!(life.pods.len(), 1, "the nodes are stopped");
}

#[test]
fn jax_and_xgboost_find_each_other() {
    let mut jax = Life::new(JAX, json!({"trainer": {"numNodes": 2}}));
    jax.look("00:00:00");
    assert_eq!(jax.env(0, "JAX_NUM_PROCESSES")["value"], "2");
    assert_eq!(
        jax.env(0, "JAX_COORDINATOR_ADDRESS")["value"],
        "t-node-0-0.t:29500"
    );
    let gpus = json!({"trainer": {"numNodes": 2, "resourcesPerNode": {"limits": {"nvidia.com/gpu": "2"}}}});
    let mut xgboost = Life::new(XGBOOST, gpus);
    xgboost.look("00:00:00");
    assert_eq!(xgboost.env(0, "DMLC_NUM_WORKER")["value"], "4");
    assert_eq!(xgboost.env(0, "DMLC_TRACKER_URI")["value"], "t-node-0-0.t");
}

#[test]
fn suspend_resume_and_a_deadline_that_starts_anew() {
    let mut life = Life::new(TORCH, json!({"suspend": true, "activeDeadlineSeconds": 60}));
    let status = life.look("00:00:00");
    assert_eq!(
        (life.pods.len(), &status["jobsStatus"][0]["suspended"]),
        (0, &json!(1))
    );
    assert_eq!(life.reason("Suspended").unwrap(), "True: Suspended");
    life.job.body["spec"]["suspend"] = json!(false);
    life.look("00:10:00");
    assert_eq!(life.reason("Suspended").unwrap(), "False: Resumed");
    assert_eq!(life.pods.len(), 1);
    life.look("00:11:00");
    assert_eq!(life.reason("Failed").unwrap(), "True: DeadlineExceeded");
    assert!(life.pods.is_empty());
}

#[test]
fn initializers_come_first_and_share_a_volume() {
    let mut life = Life::new(
        TORCH,
        json!({"initializer": {"dataset": {"storageUri": "pvc://data/x"}}}),
    );
    let template = &mut life.runtime.body["spec"]["template"]["spec"];
    template["volumeClaimPolicies"] =
        json!([{"templates": [{"metadata": {"name": "initializer"}, "spec": {}}]}]);
    let mut node = template["replicatedJobs"][0].clone();
    node["dependsOn"] = json!([{"name": "dataset-initializer", "status": "Complete"}]);
    let pod = json!({"containers": [{"name": "dataset-initializer", "image": "i",
        "volumeMounts": [{"name": "initializer", "mountPath": "/workspace"}]}]});
    template["replicatedJobs"] = json!([
        {"name": "dataset-initializer", "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "dataset-initializer"}},
            "spec": {"template": {"spec": pod}}}},
        node,
    ]);
    life.look("00:00:00");
    assert_eq!(life.pods.len(), 1);
    assert_eq!(life.env(0, "STORAGE_URI")["value"], "pvc://data/x");
    let volume = &life.pods[0].body["spec"]["volumes"][0];
    assert_eq!(
        volume["persistentVolumeClaim"]["claimName"],
        "initializer-t"
    );
    life.all("Succeeded", "");
    life.look("00:00:01");
    assert_eq!(
        life.pods[1].label("jobset.sigs.k8s.io/replicatedjob-name"),
        "node"
    );
}

#[test]
fn what_does_not_fit_fails_with_its_field() {
    let patch = |container: Value| {
        json!({"runtimePatches": [{"manager": "a.b/c", "trainingRuntimeSpec": {"template": {"spec": {
        "replicatedJobs": [{"name": "node", "template": {"spec": {"template": {"spec": {"containers": [container]}}}}}]}}}}]})
    };
    for (extra, part) in [
        (
            json!({"initializer": {"model": {"storageUri": "x"}}}),
            "model-initializer",
        ),
        (patch(json!({"name": "other"})), "runtimePatches[0]"),
        (
            patch(json!({"name": "node", "env": [{"name": "A"}]})),
            "must not have envs",
        ),
    ] {
        let mut life = Life::new(TORCH, extra);
        life.look("00:00:00");
        let condition = find_condition(&life.job.body["status"], "Failed")
            .unwrap()
            .clone();
        assert!(
            condition["message"].as_str().unwrap().contains(part),
            "{condition}"
        );
    }
    let mount = patch(json!({"name": "node", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
    let mut life = Life::new(TORCH, mount);
    life.look("00:00:00");
    let container = &life.pods[0].body["spec"]["containers"][0];
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/v");
    assert!(container["image"].as_str().unwrap().starts_with("pytorch/"));
    // Somebody else runs it.
    let mut life = Life::new(TORCH, json!({"managedBy": "kueue.x-k8s.io/multikueue"}));
    life.look("00:00:00");
    assert!(life.pods.is_empty());
    // No such runtime.
    let life = Life::new(TORCH, json!({}));
    let pods = &[];
    let extras = BTreeSet::new();
    let keys = &super::extras::new_keys;
    let world = World {
        job: &life.job,
        runtime: None,
        pods,
        extras,
        keys,
    };
    let status = json!(plan(&world, at("00:00:00")).unwrap().status);
    let failed = find_condition(&status, "Failed").unwrap();
    assert_eq!(failed["reason"], "TrainingRuntimeNotSupported");
}

#[test]
fn keys_are_openssh_s() {
    let (private, public) = super::extras::new_keys().unwrap();
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert!(public.starts_with("ecdsa-sha2-nistp521 "));
}
