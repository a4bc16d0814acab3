//! Jobs planned from tables: what becomes of a job when its Pods do this or that.
#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, Timestamp};
use kfbox_store::{Object, kinds::train::*};
use serde_json::{Value, json};

use super::plan::{Plan, World, plan};

/// A job, its children and a clock, without a store.
pub struct Life {
    framework: &'static Framework,
    pub job: Object,
    pub world: World,
    now: Timestamp,
}

/// One replica type.
pub fn replica(framework: &Framework, count: i32, restart: &str) -> Value {
    json!({"replicas": count, "restartPolicy": restart, "template": {"spec": {"containers": [
        {"name": framework.container, "image": "x", "command": ["true"]}]}}})
}

impl Life {
    /// A job named `j` as the store would keep it.
    pub fn new(framework: &'static Framework, spec: Value) -> Self {
        let job = Object::new(framework.kind, "kubeflow", "j");
        Self::of(framework, job.with_spec(&spec).unwrap())
    }

    pub fn of(framework: &'static Framework, mut job: Object) -> Self {
        (framework.kind.prepare)(&mut job).unwrap();
        framework.kind.check(&job).unwrap();
        job.metadata.uid = "uid".into();
        let (world, now) = (World::default(), "2026-01-01T00:00:00Z".parse().unwrap());
        Self {
            framework,
            job,
            world,
            now,
        }
    }

    /// One pass, carried out; Pods that are deleted are gone at once.
    pub fn look(&mut self) -> Plan {
        let plan = plan(self.framework, &self.job, &self.world, self.now).unwrap();
        for gone in &plan.delete {
            let keep = |o: &Object| o.kind != gone.kind.kind || o.metadata.name != gone.name;
            self.world.pods.retain(keep);
            self.world.services.retain(keep);
        }
        for made in &plan.create {
            let list = match made.kind.as_str() {
                "Pod" => &mut self.world.pods,
                _ => &mut self.world.services,
            };
            list.push(made.clone());
        }
        if let Some(config) = &plan.config {
            self.world.config = Some(config.clone());
        }
        self.job.set("status", &plan.status).unwrap();
        plan
    }

    /// Passes until there is nothing to do.
    pub fn settle(&mut self) {
        for _ in 0..9 {
            let before = self.job.clone();
            let plan = self.look();
            if plan.create.is_empty() && plan.delete.is_empty() && self.job == before {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.conditions());
    }

    pub fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn pod(&mut self, name: &str) -> &mut Object {
        let mut pods = self.world.pods.iter_mut();
        pods.find(|p| p.metadata.name == name).unwrap()
    }

    pub fn phase(&mut self, pod: &str, phase: &str) {
        self.pod(pod)
            .set("status", &json!({"phase": phase}))
            .unwrap();
    }

    pub fn all(&mut self, phase: &str) {
        for name in self.pods() {
            self.phase(&name, phase);
        }
    }

    fn exits(&mut self, pod: &str, code: i32) {
        let name = self.framework.container;
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let status = json!({"phase": phase, "containerStatuses": [{
            "name": name, "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code}}}]});
        self.pod(pod).set("status", &status).unwrap();
    }

    /// It ends now, after some seconds.
    fn ends(&mut self, pod: &str, code: i32, ran: i64) {
        self.exits(pod, code);
        let (now, then) = (self.now, self.now - SignedDuration::from_secs(ran));
        let ended =
            &mut self.pod(pod).body["status"]["containerStatuses"][0]["state"]["terminated"];
        ended["startedAt"] = json!(then.to_string());
        ended["finishedAt"] = json!(now.to_string());
    }

    fn restarts(&mut self, pod: &str, count: i32) {
        let status = json!({"phase": "Running", "containerStatuses": [{"name": self.framework.container,
            "image": "x", "imageID": "x", "ready": true, "restartCount": count}]});
        self.pod(pod).set("status", &status).unwrap();
    }

    pub fn pods(&self) -> Vec<String> {
        let names = self.world.pods.iter().map(|p| p.metadata.name.clone());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn status(&self) -> JobStatus {
        self.job.status().unwrap()
    }

    /// `Created=True Running=True`, in order.
    fn conditions(&self) -> String {
        let all = self.status().conditions.into_iter();
        let all: Vec<_> = all.map(|c| format!("{}={}", c.kind, c.status)).collect();
        all.join(" ")
    }

    fn policy(&mut self, policy: Value) {
        let mut spec: Value = self.job.spec().unwrap();
        kfbox_store::json_merge(&mut spec["runPolicy"], &policy);
        self.job.set("spec", &spec).unwrap();
    }

    fn running(&mut self) {
        self.settle();
        self.all("Running");
        self.settle();
        self.all("Running");
        self.settle();
        assert_eq!(self.conditions(), "Created=True Running=True");
    }
}

/// A job of each kind: two workers, and a leader where the kind has one.
fn usual(framework: &'static Framework, restart: &str) -> Life {
    let mut roles = json!({"Worker": replica(framework, 2, restart)});
    if let Some(leader) = framework.leaders.first() {
        roles[leader] = replica(framework, 1, restart);
    }
    Life::new(framework, json!({framework.field: roles}))
}

#[test]
fn every_kind_runs_to_its_end() {
    for framework in FRAMEWORKS {
        let mut life = usual(framework, "Never");
        let first = life.look();
        assert_eq!(life.conditions(), "Created=True");
        let reason = &life.status().conditions[0].reason;
        assert_eq!(*reason, format!("{}Created", framework.kind.kind));
        assert_eq!(first.events.len(), 1);
        life.running();
        assert!(
            life.look().events.is_empty(),
            "the second pass does nothing"
        );
        assert_eq!(life.world.services.len(), life.pods().len());
        let master = |p: &&Object| p.label(JOB_ROLE) == "master";
        let masters: Vec<_> = life.world.pods.iter().filter(master).collect();
        assert_eq!(masters.len(), 1, "{}", framework.kind.kind);
        let master = masters[0].metadata.name.clone();
        match framework.leaders.first() {
            Some(leader) => {
                assert_eq!(master, framework.pod_name("j", leader, 0));
                life.exits(&master, 0);
            }
            None => life.all("Succeeded"),
        }
        life.wait(5);
        life.settle();
        assert_eq!(
            life.conditions(),
            "Created=True Running=False Succeeded=True"
        );
        let status = life.status();
        assert_eq!(status.start_time.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(
            status.completion_time.as_deref(),
            Some("2026-01-01T00:00:05Z")
        );
        assert_eq!(status.replica_statuses["Worker"].succeeded, 2);
        assert_eq!(status.replica_statuses["Worker"].active, 0);
        assert_eq!(
            life.pods().len(),
            if framework.leaders.is_empty() { 2 } else { 3 },
            "None keeps"
        );
    }
}

#[test]
fn every_kind_fails_with_a_pod_and_stays_failed() {
    for framework in FRAMEWORKS {
        let mut life = usual(framework, "Never");
        life.running();
        life.exits("j-worker-1", 2);
        life.settle();
        assert_eq!(life.conditions(), "Created=True Running=False Failed=True");
        let failed = life.status().conditions.pop().unwrap();
        assert!(
            failed.message.contains("j-worker-1: exit code 2"),
            "{}",
            failed.message
        );
        life.all("Succeeded");
        life.settle();
        assert_eq!(life.conditions(), "Created=True Running=False Failed=True");
    }
}

#[test]
fn the_kinds_rules_of_success() {
    let workers = |framework: &'static Framework, more: Value| {
        let mut spec = json!({framework.field: {"Worker": replica(framework, 2, "Never")}});
        kfbox_store::json_merge(&mut spec, &more);
        let mut life = Life::new(framework, spec);
        life.running();
        life
    };
    let table: [(&'static Framework, Value, &str, bool); 7] = [
        (&TENSORFLOW, json!({}), "j-worker-0", true),
        (&TENSORFLOW, json!({}), "j-worker-1", false),
        (
            &TENSORFLOW,
            json!({"successPolicy": "AllWorkers"}),
            "j-worker-0",
            false,
        ),
        (&PYTORCH, json!({}), "j-worker-0", false),
        (
            &PYTORCH,
            json!({"elasticPolicy": {"minReplicas": 1}}),
            "j-worker-1",
            true,
        ),
        (&JAX, json!({}), "j-worker-0", false),
        (&PADDLE, json!({}), "j-worker-0", false),
    ];
    for (framework, more, first, enough) in table {
        let mut life = workers(framework, more.clone());
        life.exits(first, 0);
        life.settle();
        let done = life.conditions().ends_with("Succeeded=True");
        assert_eq!(done, enough, "{} {more} {first}", framework.kind.kind);
        life.all("Succeeded");
        life.settle();
        assert!(life.conditions().ends_with("Succeeded=True"));
    }
    let mut dynamic = workers(&TENSORFLOW, json!({"enableDynamicWorker": true}));
    dynamic.exits("j-worker-1", 1);
    dynamic.settle();
    assert_eq!(
        dynamic.conditions(),
        "Created=True Running=True",
        "a worker may go"
    );
}

#[test]
fn an_exit_code_decides_between_again_and_failed() {
    for (code, wanted) in [
        (137, "Created=True Restarting=True"),
        (3, "Created=True Running=False Failed=True"),
    ] {
        let mut life = usual(&TENSORFLOW, "ExitCode");
        life.running();
        life.exits("j-worker-1", code);
        life.look();
        assert_eq!(life.conditions(), wanted);
        if code >= 128 {
            assert_eq!(life.pods(), ["j-chief-0", "j-worker-0"], "deleted first");
            life.settle();
            assert_eq!(life.pods().len(), 3, "then made anew");
            assert_eq!(life.status().replica_statuses["Worker"].restarts, 1);
            life.all("Running");
            life.settle();
            assert_eq!(life.conditions(), "Created=True Running=True");
        }
    }
    let mut limited = usual(&TENSORFLOW, "ExitCode");
    limited.policy(json!({"backoffLimit": 1}));
    limited.running();
    for wanted in ["Restarting=True", "Failed=True"] {
        limited.exits("j-worker-1", 137);
        limited.look();
        assert!(
            limited.conditions().ends_with(wanted),
            "{}",
            limited.conditions()
        );
        limited.settle();
    }
}

#[test]
fn what_is_tried_again_and_again_pauses() {
    let mut life = usual(&TENSORFLOW, "ExitCode");
    life.world.backoff = std::time::Duration::from_secs(10);
    life.running();
    let mut counted = 0;
    // The pauses before each new try; the fourth time it had run for long.
    for (ran, pause) in [(1, 0), (1, 10), (1, 20), (700, 0), (1, 10)] {
        life.wait(ran);
        life.ends("j-worker-1", 137, ran);
        let job = life.job.clone();
        if pause > 0 {
            life.wait(pause - 1);
            let plan = life.look();
            assert_eq!(plan.after.unwrap().as_secs(), 1);
            assert!(plan.delete.is_empty() && plan.create.is_empty());
            assert_eq!(life.pods().len(), 3, "it stays, with its log");
            assert!(life.conditions().ends_with("Restarting=True"));
            // A second look, as after a restart of the box, says the same.
            let plan = life.look();
            assert!(plan.events.is_empty() && plan.after.unwrap().as_secs() == 1);
            life.wait(1);
        }
        life.look();
        assert_eq!(life.pods(), ["j-chief-0", "j-worker-0"], "{:?}", job.body);
        counted += 1;
        assert_eq!(life.status().replica_statuses["Worker"].restarts, counted);
        life.settle();
        life.all("Running");
        life.settle();
        assert!(life.conditions().ends_with("Running=True"));
    }
    // Another Pod of the job has pauses of its own.
    life.ends("j-worker-0", 137, 1);
    life.look();
    assert_eq!(life.pods(), ["j-chief-0", "j-worker-1"]);
}

#[test]
fn an_interruption_is_not_a_failure() {
    let mut life = usual(&XGBOOST, "Never");
    life.policy(json!({"backoffLimit": 0}));
    life.running();
    let status = json!({"phase": "Failed", "reason": "Interrupted"});
    life.pod("j-worker-0").set("status", &status).unwrap();
    life.pod("j-worker-0").metadata.uid = "old".into();
    life.settle();
    assert_eq!(life.pod("j-worker-0").metadata.uid, "", "a new one");
    assert_eq!(life.conditions(), "Created=True Running=True");
}

#[test]
fn a_name_is_not_used_again_before_its_pod_is_gone() {
    let mut life = usual(&XGBOOST, "Never");
    life.running();
    life.pod("j-worker-0").metadata.deletion_timestamp = Some("2026-01-01T00:00:01Z".into());
    let plan = life.look();
    assert!(plan.create.is_empty() && plan.delete.is_empty());
    life.world.pods.retain(|p| !p.deleting());
    assert_eq!(life.look().create.len(), 1, "its Service is there");
}

#[test]
fn limits_end_a_job_and_what_runs_in_it() {
    let mut slow = usual(&PYTORCH, "OnFailure");
    slow.policy(json!({"activeDeadlineSeconds": 10}));
    slow.running();
    slow.wait(4);
    assert_eq!(slow.look().after.unwrap().as_secs(), 6);
    slow.wait(6);
    let plan = slow.look();
    assert_eq!(slow.conditions(), "Created=True Running=False Failed=True");
    assert_eq!(
        (plan.stop.len(), plan.delete.len()),
        (3, 0),
        "ended, and kept to be read"
    );

    for (limit, restarts, fails) in [(0, 0, false), (0, 1, true), (3, 2, false), (3, 3, true)] {
        let mut life = usual(&PYTORCH, "OnFailure");
        life.policy(json!({"backoffLimit": limit}));
        life.running();
        life.restarts("j-worker-0", restarts);
        life.look();
        assert_eq!(
            life.conditions().contains("Failed"),
            fails,
            "{limit} {restarts}"
        );
    }
}

#[test]
fn cleaning_and_the_jobs_own_end() {
    for (policy, left) in [("None", 3), ("Running", 1), ("All", 0)] {
        let mut life = usual(&PYTORCH, "Never");
        life.policy(json!({"cleanPodPolicy": policy, "ttlSecondsAfterFinished": 7}));
        life.running();
        life.exits("j-master-0", 0);
        life.settle();
        assert_eq!(life.pods().len(), left, "{policy}");
        assert_eq!(life.world.services.len(), left, "{policy}");
        let plan = life.look();
        assert!(!plan.gone && plan.after.unwrap().as_secs() == 7);
        life.wait(7);
        assert!(life.look().gone);
    }
}

#[test]
fn suspended_and_resumed() {
    let mut life = usual(&PYTORCH, "Never");
    life.policy(json!({"activeDeadlineSeconds": 10}));
    life.running();
    life.policy(json!({"suspend": true}));
    life.settle();
    assert_eq!(
        life.conditions(),
        "Created=True Running=False Suspended=True"
    );
    assert!(life.pods().is_empty() && life.world.services.is_empty());
    assert_eq!(life.status().start_time, None);
    life.wait(60);
    life.settle();
    life.policy(json!({"suspend": false}));
    life.settle();
    assert_eq!(
        life.status().start_time.as_deref(),
        Some("2026-01-01T00:01:00Z")
    );
    life.all("Running");
    life.settle();
    assert_eq!(
        life.conditions(),
        "Created=True Suspended=False Running=True"
    );
}

#[test]
fn workers_come_and_go() {
    let mut spec = json!({"pytorchReplicaSpecs": {"Worker": replica(&PYTORCH, 2, "OnFailure")},
        "elasticPolicy": {"minReplicas": 1, "maxReplicas": 4}});
    let mut life = Life::new(&PYTORCH, spec.clone());
    life.running();
    for (count, wanted) in [(4, 4), (1, 1)] {
        spec["pytorchReplicaSpecs"]["Worker"]["replicas"] = json!(count);
        life.job.set("spec", &spec).unwrap();
        life.settle();
        assert_eq!(
            (life.pods().len(), life.world.services.len()),
            (wanted, wanted)
        );
        assert_eq!(life.conditions(), "Created=True Running=True");
    }
}

#[test]
fn gangs_and_the_launcher_that_waits() {
    let gang = |life: &Life, pod: &str| {
        let mut pods = life.world.pods.iter();
        let pod = pods.find(|p| p.metadata.name == pod).unwrap();
        pod.metadata.annotations.get("kfbox.dev/gang").cloned()
    };
    let mut mpi = usual(&MPI, "Never");
    mpi.settle();
    assert_eq!(mpi.pods(), ["j-worker-0", "j-worker-1"], "workers first");
    assert_eq!(gang(&mpi, "j-worker-0").as_deref(), Some("uid/2"));
    let data = |life: &Life, key: &str| {
        let config = life.world.config.as_ref().unwrap();
        config.body["data"][key].as_str().unwrap().to_string()
    };
    assert_eq!(
        data(&mpi, "hostfile"),
        "j-worker-0 slots=1\nj-worker-1 slots=1\n"
    );
    mpi.all("Running");
    mpi.settle();
    assert_eq!(gang(&mpi, "j-launcher"), None);
    assert!(data(&mpi, "discover_hosts.sh").contains("echo j-worker-1:1"));
    let mut elastic = Life::new(
        &PYTORCH,
        json!({"pytorchReplicaSpecs": {"Worker": replica(&PYTORCH, 4, "OnFailure")}, "elasticPolicy": {"minReplicas": 2}}),
    );
    elastic.settle();
    assert_eq!(gang(&elastic, "j-worker-3").as_deref(), Some("uid/2"));
    let mut one = Life::new(
        &JAX,
        json!({"jaxReplicaSpecs": {"Worker": replica(&JAX, 1, "Never")}}),
    );
    one.settle();
    assert_eq!(gang(&one, "j-worker-0"), None);
}
