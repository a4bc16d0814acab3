//! The plan, as tables: spec and what the engine says -> what is done and what the status says.

use std::collections::{BTreeMap, HashMap};

use kfbox_store::{
    Object,
    kinds::core::{POD, Phase, PodStatus, STOP},
};
use serde_json::{Value, json};

use super::super::{
    plan::{Hand, Plan, View, plan},
    probe::Health,
};
use crate::driver::{Exit, Observed, State};

const START: &str = "2026-01-01T00:00:00Z";

/// A Pod in time: what the plan says becomes its status.
struct World {
    pod: Object,
    status: PodStatus,
    seen: BTreeMap<String, Observed>,
    health: HashMap<String, Health>,
    killed: HashMap<String, String>,
    calm: HashMap<String, i32>,
    seconds: i64,
}

fn at(seconds: i64) -> jiff::Timestamp {
    let start: jiff::Timestamp = START.parse().unwrap();
    start
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap()
}

impl World {
    fn new(spec: Value) -> Self {
        let mut spec = spec;
        spec["nodeName"] = json!("kfbox");
        let pod = Object::new(&POD, "kubeflow", "p").with_spec(&spec).unwrap();
        Self {
            pod,
            status: PodStatus::default(),
            seen: BTreeMap::new(),
            health: HashMap::new(),
            killed: HashMap::new(),
            calm: HashMap::new(),
            seconds: 0,
        }
    }

    fn look(&mut self) -> Plan {
        let spec = self.pod.spec().unwrap();
        let plan = plan(&View {
            pod: &self.pod,
            spec: &spec,
            status: &self.status,
            seen: &self.seen,
            health: &self.health,
            held: &HashMap::new(),
            killed: &self.killed,
            calm: &self.calm,
            doomed: None,
            ip: "10.0.0.2".parse().ok(),
            host: None,
            now: at(self.seconds),
            backoff: std::time::Duration::from_secs(10),
        });
        // As it is read back from the store.
        let written = serde_json::to_value(&plan.status).unwrap();
        self.status = serde_json::from_value(written).unwrap();
        self.calm.extend(plan.calmed.iter().cloned());
        for hand in &plan.hands {
            if let Hand::Keep(name) = hand {
                self.seen.remove(name);
            }
        }
        plan
    }

    fn set(&mut self, name: &str, state: State) {
        let id = format!("{name}-{}", super::super::restarts(&self.status, name));
        let seen = Observed {
            name: id.clone(),
            id,
            container: name.into(),
            sandbox: false,
            pod: Default::default(),
            joins: "s".into(),
            ip: None,
            image_id: "sha256:x".into(),
            state,
        };
        self.seen.insert(name.into(), seen);
    }

    fn runs(&mut self, name: &str) {
        let since = at(self.seconds).to_string();
        self.set(name, State::Running(since));
    }

    /// Ends, after it ran `ran` seconds.
    fn ends(&mut self, name: &str, code: i32, ran: i64) {
        let exit = Exit {
            code,
            started_at: at(self.seconds - ran).to_string(),
            finished_at: at(self.seconds).to_string(),
            ..Exit::default()
        };
        self.set(name, State::Exited(exit));
    }

    fn interrupted(&mut self, name: &str) {
        let exit = Exit {
            code: 137,
            interrupted: true,
            started_at: at(self.seconds).to_string(),
            finished_at: at(self.seconds).to_string(),
            ..Exit::default()
        };
        self.set(name, State::Exited(exit));
    }

    fn state(&self, name: &str) -> Value {
        serde_json::to_value(self.status.container(name)).unwrap()
    }
}

fn run(name: &str) -> Hand {
    Hand::Run(name.into())
}

fn stop(name: &str) -> Hand {
    Hand::Stop(name.into(), None)
}

fn c(name: &str) -> Value {
    json!({"name": name, "image": "i"})
}

#[test]
fn init_containers_one_by_one_then_all_together() {
    let mut w = World::new(json!({"restartPolicy": "Never",
        "initContainers": [c("i1"), c("i2")], "containers": [c("a"), c("b")]}));
    assert_eq!(w.look().hands, [run("i1")]);
    assert_eq!(w.status.phase, Phase::Pending);
    assert_eq!(
        w.state("a")["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    w.runs("i1");
    assert_eq!(w.look().hands, []);
    w.ends("i1", 0, 1);
    assert_eq!(w.look().hands, [run("i2")]);
    assert!(!w.status.holds("Initialized"));
    w.ends("i2", 0, 1);
    assert_eq!(w.look().hands, [run("a"), run("b")]);
    assert!(w.status.holds("Initialized"));
    w.runs("a");
    w.look();
    assert_eq!(w.status.phase, Phase::Pending, "b is still being made");
    w.runs("b");
    assert_eq!(w.look().hands, []);
    assert_eq!(w.status.phase, Phase::Running);
    assert!(w.status.holds("Ready") && w.status.holds("ContainersReady"));
    assert_eq!(w.status.pod_ip.as_deref(), Some("10.0.0.2"));
    let before = w.status.clone();
    assert_eq!(w.look().hands, [], "run twice, the second does nothing");
    assert_eq!(w.status, before);
    w.ends("a", 0, 1);
    w.look();
    assert_eq!(w.status.phase, Phase::Running);
    assert!(!w.status.holds("Ready"));
    w.ends("b", 0, 1);
    w.look();
    assert_eq!(w.status.phase, Phase::Succeeded);
}

#[test]
fn an_init_container_that_fails_ends_a_pod_that_is_never_restarted() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [c("i")], "containers": [c("a")]});
    let mut w = World::new(spec("Never"));
    w.ends("i", 3, 1);
    assert_eq!(w.look().hands, []);
    assert_eq!(w.status.phase, Phase::Failed);
    assert!(
        w.status
            .message
            .contains("init container \"i\" exited with code 3")
    );
    let mut w = World::new(spec("Always"));
    w.ends("i", 3, 1);
    assert_eq!(w.look().hands, [Hand::Keep("i".into()), run("i")]);
    assert_eq!(w.state("i")["restartCount"], 1);
    w.ends("i", 0, 1);
    assert_eq!(w.look().hands, [run("a")]);
}

#[test]
fn a_sidecar_starts_before_and_ends_after_those_it_serves() {
    let mut side = c("side");
    side["restartPolicy"] = json!("Always");
    side["startupProbe"] = json!({"exec": {"command": ["true"]}});
    let mut w = World::new(json!({"restartPolicy": "Never",
        "initContainers": [side], "containers": [c("a")]}));
    assert_eq!(w.look().hands, [run("side")]);
    w.runs("side");
    w.health.insert("side".into(), Health::default());
    assert_eq!(w.look().hands, [], "not before its startup probe");
    let up = Health {
        started: true,
        ready: true,
        unhealthy: None,
    };
    w.health.insert("side".into(), up);
    assert_eq!(w.look().hands, [run("a")]);
    w.runs("a");
    w.look();
    w.ends("side", 1, 1);
    assert_eq!(w.look().hands, [Hand::Keep("side".into()), run("side")]);
    w.runs("side");
    w.ends("a", 0, 1);
    assert_eq!(w.look().hands, [stop("side")]);
    assert_eq!(w.status.phase, Phase::Running);
    w.ends("side", 143, 1);
    assert_eq!(w.look().hands, []);
    assert_eq!(w.status.phase, Phase::Succeeded, "its end decides nothing");
    assert_eq!(w.state("side")["restartCount"], 1);
}

#[test]
fn restarts_follow_the_policy() {
    for (policy, code, phase, restarted) in [
        ("Never", 0, Phase::Succeeded, false),
        ("Never", 1, Phase::Failed, false),
        ("OnFailure", 0, Phase::Succeeded, false),
        ("OnFailure", 1, Phase::Running, true),
        ("Always", 0, Phase::Running, true),
        ("Always", 1, Phase::Running, true),
    ] {
        let mut w = World::new(json!({"restartPolicy": policy, "containers": [c("a")]}));
        w.runs("a");
        w.look();
        w.ends("a", code, 1);
        let hands = w.look().hands;
        assert_eq!(hands.contains(&run("a")), restarted, "{policy} {code}");
        assert_eq!(w.status.phase, phase, "{policy} {code}");
    }
}

#[test]
fn a_container_that_keeps_failing_waits_longer_and_longer() {
    let mut w = World::new(json!({"restartPolicy": "OnFailure", "containers": [c("a")]}));
    w.runs("a");
    w.look();
    w.ends("a", 1, 1);
    w.look();
    assert_eq!(w.state("a")["restartCount"], 1, "the first time at once");
    w.ends("a", 7, 1);
    let plan = w.look();
    assert_eq!(plan.hands, []);
    assert_eq!(plan.again.unwrap().as_secs(), 10);
    assert_eq!(plan.news.len(), 1);
    let a = w.state("a");
    assert_eq!(a["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(a["lastState"]["terminated"]["exitCode"], 7);
    w.seconds += 5;
    let plan = w.look();
    assert_eq!((plan.again.unwrap().as_secs(), plan.news.len()), (5, 0));
    w.seconds += 5;
    assert_eq!(w.look().hands, [Hand::Keep("a".into()), run("a")]);
    assert_eq!(w.state("a")["restartCount"], 2);
    // It runs well for long: the next failure counts as the first.
    w.seconds += 700;
    w.ends("a", 1, 700);
    assert!(w.look().hands.contains(&run("a")));
    w.ends("a", 1, 1);
    assert_eq!(w.look().again.unwrap().as_secs(), 10);
}

#[test]
fn probes_gate_readiness_and_restart_what_does_not_live() {
    let mut w = World::new(json!({"restartPolicy": "Always", "containers": [c("a")]}));
    w.runs("a");
    let health = |started, ready, unhealthy: Option<&str>| Health {
        started,
        ready,
        unhealthy: unhealthy.map(Into::into),
    };
    w.health.insert("a".into(), health(true, false, None));
    w.look();
    assert_eq!(w.status.phase, Phase::Running);
    assert!(!w.status.holds("Ready"));
    w.health.insert("a".into(), health(true, true, None));
    w.look();
    assert!(w.status.holds("Ready"));
    w.health
        .insert("a".into(), health(true, true, Some("dead")));
    let plan = w.look();
    assert_eq!(plan.hands, [Hand::Stop("a".into(), Some("dead".into()))]);
    w.killed.insert("a".into(), "dead".into());
    w.interrupted("a");
    assert!(w.look().hands.contains(&run("a")));
    let last = &w.state("a")["lastState"]["terminated"];
    assert_eq!(last["reason"], "Error", "the box did it itself");
}

#[test]
fn what_ends_a_pod() {
    let two = |policy: &str| {
        World::new(json!({"restartPolicy": policy, "activeDeadlineSeconds": 60,
            "containers": [c("a"), c("b")]}))
    };
    let mut w = two("Always");
    w.runs("a");
    w.runs("b");
    assert_eq!(w.look().again.unwrap().as_secs(), 60);
    w.seconds = 60;
    assert_eq!(w.look().hands, [stop("a"), stop("b")]);
    w.interrupted("a");
    w.interrupted("b");
    w.look();
    assert_eq!(
        (w.status.phase, w.status.reason.as_str()),
        (Phase::Failed, "DeadlineExceeded")
    );

    let mut w = two("Never");
    w.runs("a");
    w.runs("b");
    w.look();
    w.interrupted("b");
    assert_eq!(w.look().hands, [stop("a")], "half a pod is no pod");
    w.ends("a", 143, 1);
    w.look();
    assert_eq!(
        (w.status.phase, w.status.reason.as_str()),
        (Phase::Failed, "Interrupted")
    );

    let mut w = two("Never");
    w.runs("a");
    w.runs("b");
    w.look();
    w.seen.remove("a");
    w.seen.remove("b");
    w.look();
    assert_eq!(w.status.reason, "Interrupted", "{}", w.status.message);

    let mut w = two("Always");
    w.runs("a");
    w.pod.metadata.annotations.insert(STOP.into(), "why".into());
    assert_eq!(w.look().hands, [stop("a")]);
    w.ends("a", 0, 1);
    w.look();
    assert_eq!(
        (w.status.reason.as_str(), w.status.message.as_str()),
        ("Terminated", "why")
    );

    let mut w = two("Never");
    w.ends("a", 0, 1);
    w.ends("b", 2, 1);
    w.look();
    assert_eq!(w.status.message, "container \"b\" exited with code 2");
}
