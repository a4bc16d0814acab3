//! The KFP v2beta1 REST API, as the unmodified SDK speaks it: snake_case fields, unset ones left out, gRPC
//! error codes, verbs such as `:archive` at the end of the last path segment. Served at the root and under
//! `/pipeline`.

mod defaults;
mod experiments;
mod filter;
mod index;
mod input;
mod page;
mod pipelines;
mod runs;
mod spec;
mod tasks;
mod unpack;
mod upload;
mod wire;

use axum::{
    Json,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use kfbox_store::{Error, Kind, Object, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    App, Config, Routes,
    error::{Kfp, no_route},
};

pub use defaults::{DEFAULT_EXPERIMENT, ensure_defaults};
pub(crate) use index::Index;
pub use runs::StartRun;
pub(crate) use spec::Specs;

/// When the object was created, with microseconds: rows of one second keep their order in lists.
const CREATED: &str = "kfbox.dev/created-at";

type Answer = std::result::Result<Json<Value>, Kfp>;

/// Whether this is one of the addresses of the open health check.
pub(crate) fn is_health(path: &str) -> bool {
    matches!(
        path,
        "/healthz" | "/apis/v2beta1/healthz" | "/pipeline/apis/v2beta1/healthz"
    )
}

/// `multi_user` must be false, or the SDK looks for a service account's files.
pub(crate) fn health(app: &App) -> Response {
    let Config {
        version, commit, ..
    } = &app.config;
    let mut body = json!({"tag_name": version, "multi_user": false, "pipeline_store": "database"});
    if !commit.is_empty() {
        body["commit_sha"] = json!(commit);
    }
    Json(body).into_response()
}

pub(crate) fn routes() -> Routes {
    let mut routes = Routes::new();
    for prefix in ["", "/pipeline"] {
        let mut route =
            |path: &str, methods| routes.push((format!("{prefix}/apis{path}"), methods));
        route(
            "/v2beta1/pipelines",
            get(pipelines::list).post(pipelines::create),
        );
        route("/v2beta1/pipelines/create", post(pipelines::by_url));
        route(
            "/v2beta1/pipelines/upload",
            post(upload::pipeline).layer(DefaultBodyLimit::disable()),
        );
        route(
            "/v2beta1/pipelines/upload_version",
            post(upload::version).layer(DefaultBodyLimit::disable()),
        );
        route("/v2beta1/pipelines/names/{name}", get(pipelines::by_name));
        route(
            "/v2beta1/pipelines/{id}",
            get(pipelines::get)
                .patch(pipelines::patch)
                .delete(pipelines::delete),
        );
        route(
            "/v2beta1/pipelines/{id}/versions",
            get(pipelines::list_versions).post(pipelines::by_url),
        );
        route(
            "/v2beta1/pipelines/{id}/versions/{version}",
            get(pipelines::get_version)
                .patch(pipelines::patch_version)
                .delete(pipelines::delete_version),
        );
        route("/v2beta1/runs", get(runs::list).post(runs::create));
        route(
            "/v2beta1/runs/{id}",
            get(runs::get).delete(runs::delete).post(runs::act),
        );
        route(
            "/v2beta1/runs/{id}/nodes/{node}/artifacts/{name}",
            get(tasks::read_artifact),
        );
        route("/v1alpha1/runs/{id}/nodes/{node}/log", get(tasks::log));
        route(
            "/v2beta1/recurringruns",
            get(runs::no_recurring).post(runs::refuse_recurring),
        );
        route(
            "/v2beta1/experiments",
            get(experiments::list).post(experiments::create),
        );
        route(
            "/v2beta1/experiments/{id}",
            get(experiments::get)
                .delete(experiments::delete)
                .post(experiments::act),
        );
        // Or the Kubernetes routes would take what is left for a group named v2beta1.
        route("/v2beta1/{*rest}", any(no_route));
        route("/v1alpha1/{*rest}", any(no_route));
    }
    routes
}

/// A new object of this API.
fn new_object(kind: &'static Kind, namespace: &str, id: &str) -> Object {
    let mut object = Object::new(kind, namespace, id);
    let at = kfbox_store::now_micros();
    object.metadata.annotations.insert(CREATED.into(), at);
    object
}

/// Changes an object's spec in its typed form.
fn change<S: Serialize + DeserializeOwned>(
    object: &mut Object,
    f: impl FnOnce(&mut S),
) -> Result<()> {
    let mut spec: S = object.spec()?;
    f(&mut spec);
    object.set("spec", &spec)
}

/// Splits `id:verb`.
fn verb(last: &str) -> Result<(&str, &str)> {
    last.rsplit_once(':').ok_or_else(|| {
        Error::not_found(format!(
            "POST needs a verb after \"{last}\", such as {last}:archive"
        ))
    })
}

fn no_verb(kind: &str, verb: &str, known: &str) -> Error {
    Error::not_found(format!("{kind} have no \":{verb}\"; there are: {known}"))
}
