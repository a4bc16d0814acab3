//! Builds the box in the order things depend on each other, and runs it until it is told to stop. Stopping
//! leaves containers alone: the next start finds them by their labels.

mod identity;
mod network;
mod ports;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use futures::StreamExt;
use kfbox_store::{
    Code, Object, Ref, Selector, Store,
    blob::{Blobs, s3::Keyring},
    kinds::core::{DEFAULT_NAMESPACE, NAMESPACE, POD},
};
use tokio::net::TcpListener;

use crate::{
    config::Config,
    controller::{self, Room, Waker},
    dns,
    driver::{Change, Driver, docker::DockerDriver},
    images::Images,
    metrics::{Metrics, machine_memory},
    node::{self, Machine},
    pipeline::Specs,
    reconcile::{
        Ctx, access_key, backoff, batch, dataset, deployment, environment, gc, job, namespace,
        notebook, pod, remote_bucket, run, schedule, scrub, service, statefulset, task, trainjob,
        volume,
    },
    runtime::Live,
};

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When the box cannot start: the message says what is wrong and what to do.
pub async fn serve(config: Config) -> Result<()> {
    let data = identity::prepare(&config.data_dir)?;
    let store =
        Store::open(&data.join("meta.redb")).map_err(|e| anyhow::anyhow!("{e}{}", context(&e)))?;
    let box_id = identity::box_id(&data)?;
    let admin_token_file = identity::admin_token(&store, &data).await?;
    ensure_namespaces(&store).await?;
    kfbox_web::kfp::ensure_defaults(&store, DEFAULT_NAMESPACE).await?;
    trainjob::runtimes::ensure(&store).await?;

    let blobs = Blobs::open(&data.join("artifacts"))?;
    blobs
        .ensure_bucket(DEFAULT_BUCKET, DEFAULT_NAMESPACE)
        .await?;

    let default_memory = match config.default_memory {
        0 => machine_memory() / 10 * 9,
        bytes => bytes,
    };
    let metrics = Arc::new(Metrics::new(default_memory));
    let driver: Arc<dyn Driver> = Arc::new(DockerDriver::connect(&config.docker_host, &box_id)?);
    let keys = Arc::new(Keyring::new(store.clone(), identity::master_key(&data)?));
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    let capacity = schedule::Lease {
        cpu: cpus as f64,
        memory: default_memory,
    };
    let ctx = Ctx {
        leases: Arc::new(schedule::Leases::new(capacity)),
        keys: keys.clone(),
        images: Arc::new(Images::new(driver.clone(), config.rules())),
        blobs,
        specs: Arc::new(Specs::new(store.clone())),
        store: store.clone(),
        driver: driver.clone(),
        data: data.clone(),
        metrics: metrics.clone(),
        box_id: box_id.clone(),
        pool: Arc::new(pod::Pool::new(driver.clone(), &box_id)),
        resolvers: dns::host_resolvers(),
        gateways: Arc::default(),
    };

    let listener = listen(config.port, "--port").await?;
    let kube_listener = listen(config.kube_port, "--kube-port").await?;
    let (port, kube_port) = (
        listener.local_addr()?.port(),
        kube_listener.local_addr()?.port(),
    );
    let s3_listener = listen(config.s3_port, "--s3-port").await?;
    let s3_port = s3_listener.local_addr()?.port();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let tls = kfbox_web::Tls::open(&data, host.trim())
        .map_err(|e| anyhow::anyhow!("{e}{}", context(&e)))?;
    let app = kfbox_web::App::new(
        store.clone(),
        ctx.blobs.clone(),
        keys,
        Arc::new(Live(ctx.clone())),
        kfbox_web::Config::default(),
    );
    app.metrics.register(|registry| metrics.register(registry));
    let router = kfbox_web::router(app.clone());
    let kube_router = kfbox_web::kube_router(app.clone());
    let s3_router = kfbox_web::s3_router(&app);
    for name in kfbox_web::KUBE_NAMES.iter().chain([&host.trim()]) {
        app.config.hosts.add(*name);
    }

    gc::sweep(&ctx).await?;
    let pods = Waker::new();
    let machine = tokio::task::spawn_blocking(move || Machine::look(capacity)).await?;
    node::report(&store, machine, false).await?;
    let ui = format!("http://127.0.0.1:{port}");
    let rooms = rooms(&ctx, &app, &pods, &ui);
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(follow_engine(ctx.clone(), machine, pods, stop.clone()));
    let doors = network::Doors {
        app,
        router: router.clone(),
        kube_router: kube_router.clone(),
        s3_router: s3_router.clone(),
        tls: tls.clone(),
        names: Arc::default(),
        resolvers: ctx.resolvers.clone(),
    };
    tokio::spawn(doors.names.clone().follow(store.clone()));
    tokio::spawn(doors.open(ctx.gateways.subscribe(), stop.clone()));
    let kube_stop = stop.clone();
    tokio::spawn(kfbox_web::serve(
        kube_listener,
        Some(tls),
        kube_router,
        async move {
            kube_stop.cancelled().await;
        },
    ));
    let s3_stop = stop.clone();
    tokio::spawn(kfbox_web::serve(s3_listener, None, s3_router, async move {
        s3_stop.cancelled().await;
    }));
    tokio::spawn(housekeeping(ctx.clone(), stop.clone()));
    let mut loops = tokio::spawn(controller::run(store.clone(), rooms));

    let endpoints = endpoints_file(&data);
    identity::write_whole(
        &endpoints,
        &serde_json::to_vec_pretty(&serde_json::json!({
            "ui": ui,
            "kube": format!("https://127.0.0.1:{kube_port}"),
            "s3": format!("http://127.0.0.1:{s3_port}"),
            "ca": data.join("ca.crt"),
            "admin_token_file": admin_token_file,
        }))?,
    )?;
    tracing::info!(%ui, box_id, data = %data.display(), "kfbox is ready");
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);

    let shutdown = stop.clone();
    let web = tokio::spawn(kfbox_web::serve(listener, None, router, async move {
        shutdown.cancelled().await;
    }));
    let outcome = tokio::select! {
        () = signalled() => Ok(()),
        ended = &mut loops => match ended {
            Ok(Err(e)) => Err(anyhow::anyhow!("the control loop ended: {e}{}", context(&e))),
            Ok(Ok(())) => Err(anyhow::anyhow!("the control loop ended")),
            Err(e) => Err(anyhow::anyhow!("the control loop failed: {e}")),
        },
    };
    tracing::info!("stopping; workloads go on");
    let _ = std::fs::remove_file(&endpoints);
    stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(5), web).await;
    if let Err(e) = leave(&ctx).await {
        tracing::debug!("the network stays: {e}");
    }
    outcome
}

async fn listen(port: u16, flag: &str) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(|e| ports::explain(port, flag, e))
}

fn context(e: &kfbox_store::Error) -> String {
    e.context
        .as_ref()
        .map(|c| format!(" ({c})"))
        .unwrap_or_default()
}

fn rooms(ctx: &Ctx, app: &Arc<kfbox_web::App>, pods: &Waker, ui: &str) -> Vec<Room> {
    let room = |reconciler: Arc<dyn controller::Reconciler>, waker: Waker, workers| Room {
        reconciler,
        waker,
        workers,
    };
    vec![
        room(Arc::new(run::Runs(ctx.clone())), Waker::new(), 4),
        room(Arc::new(task::Tasks::new(ctx.clone())), Waker::new(), 8),
        room(
            Arc::new(environment::Environments(ctx.clone())),
            Waker::new(),
            2,
        ),
        room(
            Arc::new(schedule::Schedule::new(
                ctx.store.clone(),
                ctx.leases.clone(),
            )),
            Waker::new(),
            1,
        ),
        room(
            Arc::new(pod::Pods::new(ctx.clone(), pods.clone())),
            pods.clone(),
            32,
        ),
        room(
            Arc::new(namespace::Namespaces(ctx.clone())),
            Waker::new(),
            2,
        ),
        room(Arc::new(volume::Volumes(ctx.clone())), Waker::new(), 2),
        room(
            Arc::new(job::Jobs(ctx.clone(), backoff::base())),
            Waker::new(),
            4,
        ),
        room(
            Arc::new(access_key::AccessKeys(ctx.clone())),
            Waker::new(),
            2,
        ),
        room(Arc::new(scrub::Scrubs(ctx.clone())), Waker::new(), 1),
        room(
            Arc::new(notebook::Notebooks::new(ctx.clone(), ui)),
            Waker::new(),
            8,
        ),
        room(
            Arc::new(remote_bucket::RemoteBuckets(ctx.clone())),
            Waker::new(),
            2,
        ),
        room(
            Arc::new(dataset::Datasets(ctx.clone(), app.clone())),
            Waker::new(),
            4,
        ),
        room(Arc::new(gc::Gc(ctx.clone())), Waker::new(), 1),
        room(Arc::new(batch::Jobs(ctx.clone())), Waker::new(), 2),
        room(
            Arc::new(deployment::Deployments(ctx.clone())),
            Waker::new(),
            2,
        ),
        room(
            Arc::new(statefulset::StatefulSets(ctx.clone())),
            Waker::new(),
            2,
        ),
        room(Arc::new(trainjob::TrainJobs(ctx.clone())), Waker::new(), 2),
        room(
            Arc::new(service::Services::new(ctx.clone())),
            Waker::new(),
            1,
        ),
    ]
}

async fn ensure_namespaces(store: &Store) -> Result<()> {
    for name in ["default", DEFAULT_NAMESPACE, "kubeflow-system"] {
        match store.create(Object::new(&NAMESPACE, "", name)).await {
            Err(e) if e.code != Code::AlreadyExists => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The bucket that pipelines write to by default, as upstream's.
const DEFAULT_BUCKET: &str = "mlpipeline";
/// Between two rounds of housekeeping.
const ROUND: Duration = Duration::from_secs(3600);
/// How long an object of another server is kept after it came.
const KEEP_REMOTE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a deleted tracked run can be restored.
const KEEP_RUNS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Applies life-cycle rules and removes what nobody needs, at the start and every hour.
async fn housekeeping(ctx: Ctx, stop: tokio_util::sync::CancellationToken) {
    loop {
        if let Err(e) = environment::collect(&ctx).await {
            tracing::warn!(
                context = e.context,
                "unused environments were not removed: {e}"
            );
        }
        if let Err(e) = ctx.blobs.expire().await {
            tracing::warn!(
                context = e.context,
                "life-cycle rules were not applied: {e}"
            );
        }
        if let Err(e) = ctx.blobs.sweep().await {
            tracing::warn!(context = e.context, "the byte store was not swept: {e}");
        }
        let old = (jiff::Timestamp::now() - KEEP_REMOTE).as_millisecond();
        if let Err(e) = ctx.blobs.forget_kept(old).await {
            tracing::warn!(
                context = e.context,
                "what is kept of other servers was not looked through: {e}"
            );
        }
        let old = (jiff::Timestamp::now() - KEEP_RUNS).as_millisecond();
        if let Err(e) = ctx.blobs.purge_runs(old).await {
            tracing::warn!(
                context = e.context,
                "deleted tracked runs were not removed: {e}"
            );
        }
        if let Err(e) = scrub::weekly(&ctx).await {
            tracing::warn!(context = e.context, "there is no scrub this week: {e}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

/// Wakes Pods when the engine tells of their containers; after an outage, all that may have one. Containers
/// that lead to no Pod are removed: they are left from a crash between a Pod's deletion and its container's.
async fn follow_engine(
    ctx: Ctx,
    machine: Machine,
    pods: Waker,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut changes = ctx.driver.changes();
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.next() => change,
        };
        if let Some(Change::Up | Change::Down) = change {
            let told = node::report(&ctx.store, machine, change == Some(Change::Up)).await;
            if let Err(e) = told {
                tracing::warn!(context = e.context, "the Node is not up to date: {e}");
            }
        }
        match change {
            None => return,
            Some(Change::Pod(id)) => pods.wake(Ref::new(&POD, &id.namespace, &id.name)),
            Some(Change::Oom(id)) => pod::out_of_memory(&ctx.store, &id).await,
            Some(Change::Down) => {}
            Some(Change::Up) => {
                ctx.pool.forget();
                if let Err(e) = look_at_everything(&ctx, &pods).await {
                    tracing::warn!(context = e.context, "after the engine came back: {e}");
                }
            }
        }
    }
}

async fn look_at_everything(ctx: &Ctx, pods: &Waker) -> kfbox_store::Result<()> {
    let (mut uids, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
    for pod in ctx.store.list(&POD, Selector::default()).await?.items {
        if !pod.metadata.finalizers.is_empty() {
            pods.wake(Ref::new(&POD, &pod.metadata.namespace, &pod.metadata.name));
            uids.insert(pod.metadata.uid);
            namespaces.insert(pod.metadata.namespace);
        }
    }
    for namespace in namespaces {
        ctx.network(&namespace).await?;
    }
    for seen in ctx.driver.list().await? {
        // The pool looks after its own.
        if pod::pool_member(&seen) {
            continue;
        }
        let name = &seen.name;
        let current = Ref::new(&POD, &seen.pod.namespace, &seen.pod.name);
        let known = uids.contains(&seen.pod.uid)
            || ctx
                .store
                .get(&current)
                .await?
                .is_some_and(|p| p.metadata.uid == seen.pod.uid);
        if !known {
            tracing::warn!(container = name, "removing a container whose Pod is gone");
            ctx.driver.remove(name).await?;
        }
    }
    Ok(())
}

/// A box that leaves nothing running leaves no sandbox and no network either: the engine has few addresses to give.
async fn leave(ctx: &Ctx) -> kfbox_store::Result<()> {
    let pods = ctx.store.list(&POD, Selector::default()).await?.items;
    if pods.iter().all(|p| p.metadata.finalizers.is_empty()) {
        let parked = ctx.pool.clear().await?;
        let mut namespaces: BTreeSet<String> = ctx.gateways.borrow().keys().cloned().collect();
        if parked {
            namespaces.insert(DEFAULT_NAMESPACE.into());
        }
        for namespace in namespaces {
            ctx.driver.remove_network(&namespace).await?;
        }
    }
    Ok(())
}

async fn signalled() {
    let term = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = term => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// What a box left on disk about itself, for the CLI.
pub fn endpoints_file(data: &Path) -> std::path::PathBuf {
    data.join("endpoints.json")
}
