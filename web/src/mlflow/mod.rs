//! MLflow's REST API, as its unmodified client speaks it: tracking, logged models, the model registry, and the
//! artifacts behind them. At `/mlflow/{namespace}`, which is the tracking URI of a namespace, and at the root, where
//! MLflow's own header names the namespace ("workspace"); without it, it is the box's own.
//!
//! Every call is a function from its arguments ([`args::Args`]: a query or a JSON body, alike) to a JSON answer, found by
//! method and path in [`answer`]. What MLflow has beside that (traces, prompts' review, gateways) answers 501.

mod args;
mod artifacts;
mod experiments;
mod models;
mod registry;
mod runs;
mod wire;

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use kfbox_store::{Caller, Code, Error, Ref, Result, Selector, kinds::core::NAMESPACE};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{App, Routes, error::Mlflow};
use args::Args;

/// The version of MLflow whose API this is.
const VERSION: &str = "3.17.2";
const PREFIX: &str = "/mlflow/";
const WORKSPACE: &str = "x-mlflow-workspace";

pub(crate) fn routes() -> Routes {
    let mut routes: Routes = vec![
        ("/mlflow/{namespace}/health".into(), get(|| async { "OK" })),
        (
            "/mlflow/{namespace}/version".into(),
            get(|| async { VERSION }),
        ),
    ];
    for prefix in ["", "/mlflow/{namespace}"] {
        for version in ["2.0", "3.0"] {
            routes.push((
                format!("{prefix}/api/{version}/mlflow/{{*call}}"),
                any(call),
            ));
        }
        let files = format!("{prefix}/api/2.0/mlflow-artifacts/artifacts");
        routes.push((files.clone(), get(artifacts::list)));
        routes.push((format!("{files}/{{*path}}"), any(artifacts::file)));
    }
    routes
}

/// Whether a path is of this dialect.
pub(crate) fn speaks(path: &str) -> bool {
    path.starts_with(PREFIX)
        || ["/api/2.0/mlflow", "/api/3.0/mlflow"]
            .iter()
            .any(|p| path.starts_with(p))
}

/// The namespace that a request of this dialect means, unless it is the box's own.
pub(crate) fn namespace<'a>(path: &'a str, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(rest) = path.strip_prefix(PREFIX) {
        return rest.split('/').next();
    }
    if !speaks(path) {
        return None;
    }
    headers.get(WORKSPACE)?.to_str().ok().map(str::trim)
}

/// What a browser gets that follows a link which MLflow's client printed: the way to the box's own page. Browsers keep
/// what is behind the `#`, and that page reads it. It tells nothing, so it needs no caller.
pub(crate) fn page(path: &str) -> Option<Response> {
    let namespace = path.strip_prefix(PREFIX)?.trim_end_matches('/');
    if namespace.is_empty() || namespace.contains('/') {
        return None;
    }
    let name: String = form_urlencoded::byte_serialize(namespace.as_bytes()).collect();
    let to = format!("/tracking?ns={name}");
    Some((StatusCode::FOUND, [(header::LOCATION, to)]).into_response())
}

/// One request, with all that the calls need to know.
struct Ask {
    app: Arc<App>,
    namespace: String,
    user: String,
    args: Args,
}

/// The namespace of a request, which must be there.
async fn place(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<String> {
    let named = namespace(uri.path(), headers);
    let namespace = named.unwrap_or(&app.config.namespace).to_owned();
    let there = app.store.get(&Ref::new(&NAMESPACE, "", &namespace)).await?;
    match there {
        Some(_) => Ok(namespace),
        None => Err(Error::not_found(format!(
            "Workspace '{namespace}' not found: there is no such namespace on this box"
        ))),
    }
}

async fn call(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> std::result::Result<Json<Value>, Mlflow> {
    let uri = request.uri().clone();
    let namespace = place(&app, &uri, request.headers()).await?;
    let method = request.method().clone();
    let path = uri
        .path()
        .split_once(".0/mlflow/")
        .map_or("", |(_, path)| path);
    let args = Args::of(&app, request).await?;
    let ask = Ask {
        app,
        namespace,
        user: caller.user,
        args,
    };
    Ok(Json(answer(ask, &method, path).await?))
}

async fn answer(ask: Ask, method: &Method, path: &str) -> Result<Value> {
    match (method.as_str(), path.trim_end_matches('/')) {
        ("GET", "server-info" | "server-features") => Ok(json!({
            "store_type": "RestStore",
            "workspaces_enabled": true,
            "trace_archival_enabled": false,
            "multipart_uploads_enabled": false,
            "multipart_downloads_enabled": false,
        })),
        ("GET", "workspaces") => workspaces(&ask).await,
        ("GET", path) if path.starts_with("workspaces/") => workspace(&ask, &path[11..]).await,
        (method, path) => {
            let unknown = || {
                let known = [
                    "traces",
                    "scorers",
                    "gateway",
                    "issues",
                    "datasets",
                    "webhooks",
                    "label-schemas",
                    "review-queues",
                    "jobs",
                    "prompt-optimization",
                    "mcp-servers",
                    "workspaces",
                ];
                if known.iter().any(|k| path.starts_with(k)) {
                    Error::new(
                        Code::Unsupported,
                        format!(
                            "{method} {path}: this box serves MLflow's tracking, logged models and registry, not this"
                        ),
                    )
                } else {
                    Error::not_found(format!("no call {method} {path} in MLflow's API"))
                }
            };
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            let found = match first {
                "experiments" => experiments::answer(&ask, method, rest).await?,
                "runs" | "metrics" | "artifacts" => runs::answer(&ask, method, path).await?,
                "logged-models" => models::answer(&ask, method, rest).await?,
                "registered-models" | "model-versions" => {
                    registry::answer(&ask, method, path).await?
                }
                _ => None,
            };
            found.ok_or_else(unknown)
        }
    }
}

/// The namespaces, as MLflow's workspaces.
async fn workspaces(ask: &Ask) -> Result<Value> {
    let all = ask.app.store.list(&NAMESPACE, Selector::default()).await?;
    let shown = all.items.iter().filter(|n| !n.deleting());
    let shown: Vec<_> = shown.map(|n| json!({"name": n.metadata.name})).collect();
    Ok(json!({"workspaces": shown}))
}

async fn workspace(ask: &Ask, name: &str) -> Result<Value> {
    ask.app.store.fetch(&Ref::new(&NAMESPACE, "", name)).await?;
    Ok(json!({"workspace": {"name": name}}))
}
