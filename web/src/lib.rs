//! Every socket of the box: the KFP and Kubernetes dialects, login, artifacts, metrics, the browser UI.
//!
//! A request meets, in this order: the Host check, the caller check ([`caller`]), the router, one dialect
//! ([`kfp`], [`kube`], [`mlflow`], [`registry`], artifacts), the store. Nothing is routed before its caller is known; the few open
//! doors (health, login, the UI's static files) are answered by the guard itself and never reach the router.
//!
//! This crate never changes the world: it writes desired state to the store, and live bytes (logs) come
//! through the [`Runtime`] trait that the daemon implements.

mod artifacts;
mod body;
mod caller;
mod config;
mod error;
mod forward;
mod gateway;
pub mod kfp;
mod kube;
mod lineage;
mod metrics;
mod mlflow;
mod registry;
mod runtime;
mod s3;
mod serve;
mod tls;
mod ui;

use std::sync::{Arc, OnceLock};

use axum::{
    http::{Extensions, HeaderMap, StatusCode, Version},
    middleware,
    routing::{MethodRouter, any, get, post},
};
use kfbox_store::{
    Store,
    blob::{
        Blobs,
        s3::{Keyring, service},
    },
    track::Tracking,
};
use s3s::service::S3Service;
use tower_http::compression::{CompressionLayer, predicate::Predicate};

pub use axum::Router;
pub use caller::new_secret;
pub use config::{Config, Hosts};
pub use kfp::StartRun;
pub use metrics::Metrics;
pub use runtime::{
    Control, DiskPart, DiskUse, Duplex, ExecOptions, LogOptions, LogStream, Output, ReadyImage,
    Room, Runtime, Session, Share,
};
pub use s3::s3_router;
pub use serve::{Closing, serve};
pub use tls::{NAMES as KUBE_NAMES, Tls};

/// Pipeline files that are read at the same time; more wait.
const UPLOADS: usize = 3;

/// What the sockets need to know of the box.
pub struct App {
    /// Objects.
    pub store: Store,
    /// Bytes of artifacts.
    pub blobs: Blobs,
    /// Experiments, runs and metrics.
    pub tracking: Tracking,
    /// Live bytes of containers.
    pub runtime: Arc<dyn Runtime>,
    /// Settings.
    pub config: Config,
    /// What `/metrics` shows; the daemon registers its own here too.
    pub metrics: Metrics,
    s3: S3Service,
    keys: Arc<Keyring>,
    tickets: gateway::Tickets,
    brake: caller::Brake,
    kube: OnceLock<Router>,
    index: kfp::Index,
    specs: kfp::Specs,
    uploads: tokio::sync::Semaphore,
}

impl App {
    /// The sockets of a box.
    pub fn new(
        store: Store,
        blobs: Blobs,
        keys: Arc<Keyring>,
        runtime: Arc<dyn Runtime>,
        config: Config,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            s3: service(blobs.clone(), keys.clone()),
            keys,
            tickets: gateway::Tickets::default(),
            tracking: blobs.tracking(),
            blobs,
            runtime,
            config,
            metrics: Metrics::default(),
            brake: caller::Brake::default(),
            kube: OnceLock::new(),
            index: kfp::Index::default(),
            specs: kfp::Specs::default(),
            uploads: tokio::sync::Semaphore::new(UPLOADS),
        })
    }
}

type State = axum::extract::State<Arc<App>>;
type Routes = Vec<(String, MethodRouter<Arc<App>>)>;

fn routes() -> Routes {
    let mut routes: Routes = vec![
        ("/auth/logout".into(), post(caller::logout)),
        ("/metrics".into(), get(metrics::render)),
        ("/artifacts/{*uri}".into(), get(artifacts::read)),
        ("/s3/{namespace}".into(), any(s3::behind_login)),
        ("/s3/{namespace}/".into(), any(s3::behind_login)),
        ("/s3/{namespace}/{*object}".into(), any(s3::behind_login)),
    ];
    routes.extend(gateway::routes());
    routes.extend(kfp::routes());
    routes.extend(mlflow::routes());
    routes.extend(registry::routes());
    routes.extend(kube::routes());
    routes
}

/// The patterns of all routes behind the caller check, for tests that must see every one of them.
pub fn route_patterns() -> Vec<String> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// All routes, with the guard around them.
pub fn router(app: Arc<App>) -> Router {
    guarded(app, routes())
}

/// The TLS door's routes: the Kubernetes-shaped API, and the KFP API beside it, as `kfp.Client()` with a kubeconfig
/// expects. Only bearer tokens count there.
pub fn kube_router(app: Arc<App>) -> Router {
    let made = app.kube.get_or_init(|| {
        let mut all = kube::routes();
        all.extend(kfp::routes());
        guarded(app.clone(), all).layer(axum::Extension(caller::BearerOnly))
    });
    made.clone()
}

fn guarded(app: Arc<App>, routes: Routes) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes {
        router = router.route(&path, methods);
    }
    router
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        .layer(middleware::from_fn_with_state(app.clone(), caller::guard))
        .layer(CompressionLayer::new().compress_when(Compressible))
        .with_state(app)
}

/// Marks a response that must pass as it is: a stream, or a file of which parts can be asked for.
#[derive(Clone, Copy)]
struct AsIs;

#[derive(Clone, Copy)]
struct Compressible;

impl Predicate for Compressible {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        compressible(
            response.status(),
            response.version(),
            response.headers(),
            response.extensions(),
        ) && response.body().size_hint().lower() > 512
    }
}

fn compressible(_: StatusCode, _: Version, headers: &HeaderMap, marks: &Extensions) -> bool {
    let kind = headers
        .get(axum::http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    marks.get::<AsIs>().is_none()
        && (kind.starts_with("text/") || kind.contains("json") || kind.contains("javascript"))
}
