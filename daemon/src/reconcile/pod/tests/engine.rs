//! The pod room and the scheduler on the machine's Docker, with a store of their own: what Pods of several
//! containers do there, and what is removed. Needs the images of `images/build.sh`.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt};
use kfbox_store::{
    Object, Ref, Store,
    blob::{Blobs, s3::Keyring},
    kinds::{
        core::{GANG, NAMESPACE, POD, POOLED, PodStatus, SANDBOX},
        environment::{ENVIRONMENT, EnvironmentPhase, EnvironmentSpec, EnvironmentStatus},
    },
};
use kfbox_web::LogOptions;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::super::{Pods, Pool, logs};
use crate::{
    controller::{self, Room, Waker},
    driver::{Change, Driver, docker::DockerDriver},
    images::Images,
    metrics::Metrics,
    pipeline::Specs,
    reconcile::{Ctx, environment, gc, schedule},
};

const NS: &str = "kubeflow";

/// The rooms that run Pods; they can be ended at any moment and started again on the same store.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    box_id: String,
    ctx: Ctx,
    /// What the rooms run in: ended, it leaves nothing of them.
    runtime: Option<Runtime>,
}

fn context(store: &Store, blobs: Blobs, data: &std::path::Path, box_id: &str) -> Ctx {
    let driver: Arc<dyn Driver> =
        Arc::new(DockerDriver::connect("unix:///var/run/docker.sock", box_id).unwrap());
    let capacity = schedule::Lease {
        cpu: 2.0,
        memory: 8 << 30,
    };
    Ctx {
        leases: Arc::new(schedule::Leases::new(capacity)),
        images: Arc::new(Images::new(driver.clone(), Vec::new())),
        keys: Arc::new(Keyring::new(store.clone(), [0; 32])),
        blobs,
        specs: Arc::new(Specs::new(store.clone())),
        store: store.clone(),
        data: data.into(),
        metrics: Arc::new(Metrics::new(1 << 30)),
        box_id: box_id.into(),
        pool: Arc::new(Pool::new(driver.clone(), box_id)),
        resolvers: Arc::new([]),
        gateways: Arc::default(),
        driver,
    }
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("meta.redb")).unwrap();
        // Every Pod finds the box's certificate beside its token.
        std::fs::write(folder.path().join("ca.crt"), "a certificate").unwrap();
        store.create(Object::new(&NAMESPACE, "", NS)).await.unwrap();
        let box_id = format!("t{:07x}", rand::random::<u32>() >> 4);
        let blobs = Blobs::open(&folder.path().join("artifacts")).unwrap();
        let ctx = context(&store, blobs, folder.path(), &box_id);
        let mut bench = Self {
            folder,
            store,
            box_id,
            ctx,
            runtime: None,
        };
        bench.up();
        bench
    }

    /// Starts the rooms with nothing remembered, as a daemon does.
    fn up(&mut self) {
        let blobs = self.ctx.blobs.clone();
        self.ctx = context(&self.store, blobs, self.folder.path(), &self.box_id);
        let ctx = self.ctx.clone();
        let waker = Waker::new();
        let pods = Arc::new(Pods {
            backoff: Duration::from_millis(500),
            ..Pods::new(ctx.clone(), waker.clone())
        });
        let room = |reconciler: Arc<dyn controller::Reconciler>, waker, workers| Room {
            reconciler,
            waker,
            workers,
        };
        let rooms = vec![
            room(
                Arc::new(schedule::Schedule::new(
                    ctx.store.clone(),
                    ctx.leases.clone(),
                )),
                Waker::new(),
                1,
            ),
            room(pods, waker.clone(), 8),
            room(Arc::new(gc::Gc(ctx.clone())), Waker::new(), 1),
        ];
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let mut changes = ctx.driver.changes();
        let store = ctx.store.clone();
        runtime.spawn(async move {
            while let Some(change) = changes.next().await {
                match change {
                    Change::Pod(id) => waker.wake(Ref::new(&POD, &id.namespace, &id.name)),
                    Change::Up => {
                        let all = store.list(&POD, Default::default()).await.unwrap().items;
                        for pod in all {
                            waker.wake(pod.reference().unwrap());
                        }
                    }
                    Change::Down | Change::Oom(_) => {}
                }
            }
        });
        runtime.spawn(controller::run(ctx.store.clone(), rooms));
        self.runtime = Some(runtime);
    }

    /// Ends the rooms in the middle of what they do.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn create(&self, name: &str, spec: Value, annotations: &[(&str, &str)]) {
        let mut pod = Object::new(&POD, NS, name).with_spec(&spec).unwrap();
        for (key, value) in annotations {
            let value = value.to_string();
            pod.metadata.annotations.insert(key.to_string(), value);
        }
        self.store.create(pod).await.unwrap();
    }

    async fn status(&self, name: &str) -> Value {
        let pod = self.store.get(&Ref::new(&POD, NS, name)).await.unwrap();
        let status: PodStatus = pod.map(|p| p.status().unwrap()).unwrap_or_default();
        serde_json::to_value(status).unwrap()
    }

    async fn until(&self, name: &str, what: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status(name).await;
            if what(&status) {
                return status;
            }
            assert!(began.elapsed().as_secs() < 60, "{name}: {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn log(&self, name: &str, container: &str, previous: bool) -> String {
        let pod = self.store.fetch(&Ref::new(&POD, NS, name)).await.unwrap();
        let options = LogOptions {
            container: Some(container.into()),
            previous,
            ..LogOptions::default()
        };
        let chunks: Vec<_> = logs(&self.ctx, &pod, options)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    async fn delete(&self, name: &str) {
        let key = Ref::new(&POD, NS, name);
        self.store.delete(&key).await.unwrap();
        let began = Instant::now();
        while self.store.get(&key).await.unwrap().is_some() {
            assert!(began.elapsed().as_secs() < 60, "{name} stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Runs a test and takes away all it made, whatever its outcome.
async fn with<F: Future<Output = ()>>(test: impl FnOnce(Arc<tokio::sync::Mutex<Bench>>) -> F) {
    let bench = Arc::new(tokio::sync::Mutex::new(Bench::new().await));
    let driver = bench.lock().await.ctx.driver.clone();
    let outcome =
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(bench.clone()))).await;
    bench.lock().await.kill();
    // What the engine was asked for in the last moment comes after its asker has gone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for seen in driver.list().await.unwrap() {
        driver.remove(&seen.name).await.unwrap();
    }
    driver.remove_network(NS).await.unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn sh(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "kfbox/base:1", "command": ["sh", "-c", script]})
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_sidecar_and_two_containers_in_one_network() {
    with(|bench| async move {
        let b = bench.lock().await;
        let mut side = sh("side", "trap 'exit 0' TERM; echo up >/dev/null; while :; do sleep 0.1; done");
        side["restartPolicy"] = json!("Always");
        let serve = "import http.server as h; h.HTTPServer(('127.0.0.1', 8000), h.SimpleHTTPRequestHandler).handle_request()";
        let ask = "until curl -s -o /dev/null http://127.0.0.1:8000/; do sleep 0.1; done; hostname; cat /etc/hostname";
        let spec = json!({"restartPolicy": "Never", "initContainers": [sh("first", "date +%s%N"), side],
            "containers": [
                {"name": "server", "image": "kfbox/python:3", "command": ["python3", "-c", serve]},
                sh("client", ask)]});
        b.create("both", spec, &[]).await;
        let status = b.until("both", |s| s["phase"] == "Succeeded").await;
        assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
        assert!(status["podIP"].is_string(), "{status:#}");
        assert_eq!(b.log("both", "client", false).await, "both\nboth\n");
        b.delete("both").await;
        assert!(b.ctx.driver.list().await.unwrap().is_empty(), "its sandbox goes with it");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_restarted_in_place_and_its_last_output_is_kept() {
    with(|bench| async move {
        let b = bench.lock().await;
        // What an emptyDir would tell apart: a restart is a new container.
        let spec = json!({"restartPolicy": "OnFailure", "containers": [
            sh("flaky", "hostname -i; test -e /tmp/x && echo old; touch /tmp/x; exit 4")]});
        b.create("again", spec, &[]).await;
        let status = b
            .until("again", |s| {
                s["containerStatuses"][0]["restartCount"].as_i64() >= Some(2)
                    && s["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            })
            .await;
        let last = &status["containerStatuses"][0]["lastState"]["terminated"];
        assert_eq!(
            (last["exitCode"].as_i64(), last["reason"].as_str()),
            (Some(4), Some("Error"))
        );
        let (now, before) = (
            b.log("again", "flaky", false).await,
            b.log("again", "flaky", true).await,
        );
        assert_eq!(
            now, before,
            "the same address, and nothing of the container before"
        );
        assert!(
            !now.contains("old") && now.contains(status["podIP"].as_str().unwrap()),
            "{now}"
        );
        b.delete("again").await;
        assert!(b.ctx.driver.list().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_all_kinds() {
    with(|bench| async move {
        let b = bench.lock().await;
        let mut server = json!({"name": "web", "image": "kfbox/python:3",
            "command": ["sh", "-c", "touch /tmp/alive; sleep 1; exec python3 -m http.server 8000"],
            "ports": [{"name": "http", "containerPort": 8000}]});
        server["startupProbe"] = json!({"tcpSocket": {"port": 8000}, "periodSeconds": 1, "failureThreshold": 30});
        server["readinessProbe"] = json!({"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1});
        server["livenessProbe"] = json!({"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 2});
        let spec = json!({"terminationGracePeriodSeconds": 1, "restartPolicy": "Always", "containers": [server]});
        b.create("web", spec, &[]).await;
        let running = b.until("web", |s| s["phase"] == "Running").await;
        assert_eq!(running["containerStatuses"][0]["ready"], false);
        b.until("web", |s| s["containerStatuses"][0]["ready"] == true).await;
        let pod = b.store.fetch(&Ref::new(&POD, NS, "web")).await.unwrap();
        let name = super::super::container_name(&b.box_id, &pod, "web", 0);
        let remove = ["rm".to_string(), "/tmp/alive".to_string()];
        let limit = Duration::from_secs(10);
        assert_eq!(b.ctx.driver.exec_status(&name, &remove, limit).await.unwrap(), Some(0));
        let status = b.until("web", |s| s["containerStatuses"][0]["restartCount"] == 1).await;
        let last = &status["containerStatuses"][0]["lastState"]["terminated"];
        assert!(last["message"].as_str().unwrap().contains("liveness"), "{last}");
        b.until("web", |s| s["containerStatuses"][0]["ready"] == true).await;
        b.delete("web").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gang_waits_until_all_fit() {
    with(|bench| async move {
        let b = bench.lock().await;
        let spec = |script: &str| {
            let mut container = sh("a", script);
            container["resources"] = json!({"requests": {"cpu": "1"}});
            json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]})
        };
        b.create("holder", spec("sleep 600"), &[]).await;
        b.until("holder", |s| s["phase"] == "Running").await;
        let gang = [(GANG, "uid/2")];
        b.create("one", spec("true"), &gang).await;
        b.create("two", spec("true"), &gang).await;
        let waits = |s: &Value| s["message"].as_str().is_some_and(|m| m.contains("gang of 2"));
        b.until("one", waits).await;
        b.until("two", waits).await;
        b.delete("holder").await;
        b.until("one", |s| s["phase"] == "Succeeded").await;
        b.until("two", |s| s["phase"] == "Succeeded").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_finds_its_pods_again() {
    with(|bench| async move {
        let mut b = bench.lock().await;
        let spec = json!({"restartPolicy": "Never", "initContainers": [sh("init", "sleep 0.3")],
            "containers": [sh("a", "sleep 1; echo a"), sh("b", "sleep 0.5; echo b")]});
        for moment in [50_u64, 250, 500, 900, 1300, 1800] {
            let name = format!("p{moment}");
            b.create(&name, spec.clone(), &[]).await;
            tokio::time::sleep(Duration::from_millis(moment)).await;
            b.kill();
            b.up();
            let status = b
                .until(&name, |s| {
                    s["phase"] == "Succeeded" || s["phase"] == "Failed"
                })
                .await;
            assert_eq!(status["phase"], "Succeeded", "{moment} ms: {status:#}");
            assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
            assert_eq!(b.log(&name, "a", false).await, "a\n");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_share_sandboxes() {
    with(|bench| async move {
        let mut b = bench.lock().await;
        let spec = json!({"restartPolicy": "Never", "containers": [sh("a", "hostname -i")]});
        for i in 0..20 {
            let name = format!("s{i}");
            b.create(&name, spec.clone(), &[(SANDBOX, POOLED)]).await;
            b.until(&name, |s| s["phase"] == "Succeeded").await;
            if i == 10 {
                b.kill();
                b.up();
            }
        }
        let all = b.ctx.driver.list().await.unwrap();
        let sandboxes = all.iter().filter(|s| s.sandbox).count();
        assert!((1..=4).contains(&sandboxes), "{sandboxes}");
        b.ctx.pool.clear().await.unwrap();
        let all = b.ctx.driver.list().await.unwrap();
        assert!(all.iter().all(|s| !s.sandbox));
        // Those that are parked are gone: the next step gets over it.
        b.create("last", spec, &[(SANDBOX, POOLED)]).await;
        b.until("last", |s| s["phase"] == "Succeeded").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_that_nobody_uses_go_with_their_images() {
    with(|bench| async move {
        let bench = bench.lock().await;
        let repository = format!("kfbox/env-{}", bench.box_id);
        let days_ago = |days: i64| {
            let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
            Some(at.to_string())
        };
        for (name, last_used, finish_time) in [
            ("old", days_ago(31), days_ago(90)),
            ("never-used", None, days_ago(31)),
            ("used", days_ago(29), days_ago(90)),
            ("new", None, days_ago(0)),
        ] {
            let spec = EnvironmentSpec {
                image: "kfbox/busybox:1".into(),
                ..EnvironmentSpec::default()
            };
            let status = EnvironmentStatus {
                phase: EnvironmentPhase::Ready,
                last_used,
                finish_time,
                ..EnvironmentStatus::default()
            };
            let object = Object::new(&ENVIRONMENT, NS, &format!("env-{name}"));
            let mut object = object.with_spec(&spec).unwrap();
            object.set("status", &status).unwrap();
            bench.store.create(object).await.unwrap();
        }
        for tag in ["old", "never-used", "used", "new", "of-nobody"] {
            let image = format!("{repository}:{tag}");
            let done = std::process::Command::new("docker")
                .args(["tag", "kfbox/busybox:1", &image])
                .status();
            assert!(done.unwrap().success());
        }
        environment::collect(&bench.ctx).await.unwrap();
        let mut left = bench.ctx.driver.images(&repository).await.unwrap();
        left.sort();
        assert_eq!(
            left,
            ["new", "used"].map(|tag| format!("{repository}:{tag}"))
        );
        let kept = bench
            .store
            .list(&ENVIRONMENT, Default::default())
            .await
            .unwrap();
        assert_eq!(kept.items.len(), 2);
        for image in left {
            bench.ctx.driver.remove_image(&image).await.unwrap();
        }
    })
    .await;
}
