//! The KFP v2beta1 REST API, as the unmodified SDK speaks it.

mod defaults;
mod index;
mod spec;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use kfbox_store::{Kind, Object};
use serde_json::json;

use crate::{App, Config, Routes};

pub use defaults::{DEFAULT_EXPERIMENT, ensure_defaults};
pub(crate) use index::Index;
pub(crate) use spec::Specs;

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
    Json(json!({
        "tag_name": version, "commit_sha": commit, "multi_user": false, "pipeline_store": "database",
    }))
    .into_response()
}

pub(crate) fn routes() -> Routes {
    Vec::new()
}

/// When the object was created, with microseconds: rows of one second keep their order in lists.
pub(crate) const CREATED: &str = "kfbox.dev/created-at";

/// A new object of this API.
fn new_object(kind: &'static Kind, namespace: &str, id: &str) -> Object {
    let mut object = Object::new(kind, namespace, id);
    let at = kfbox_store::now_micros();
    object.metadata.annotations.insert(CREATED.into(), at);
    object
}
