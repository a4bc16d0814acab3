//! What fills the disk, and how much a bucket may hold.

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use kfbox_store::{Caller, Code, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Kube;

/// What fills the disk: the whole of it for who administers the box, its buckets for who has a namespace.
pub(super) const PATH: &str = "/apis/kfbox.dev/v1alpha1/storage";
/// `PUT {"bytes": 1000000}`; 0 = no limit.
pub(super) const QUOTA: &str =
    "/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/buckets/{name}/quota";

pub(super) async fn report(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Kube> {
    let mut buckets = app.blobs.buckets().await?;
    if let Some(scope) = &caller.scope {
        buckets.retain(|b| scope.namespaces.contains(&b.namespace));
        return Ok(Json(json!({"buckets": buckets})));
    }
    let disk = app.runtime.disk_use().await?;
    Ok(Json(json!({"disk": disk, "buckets": buckets})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quota {
    bytes: u64,
}

pub(super) async fn set_quota(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
    body: Result<Json<Quota>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<Value>, Kube> {
    if caller.scope.is_some() {
        let why =
            "a bucket's quota is set by who administers the box: use a token of the role admin";
        return Err(Error::new(Code::Forbidden, why).into());
    }
    let Json(quota) = body.map_err(|e| {
        let why = "the body must be {\"bytes\": N}, a whole number; 0 is no limit";
        Error::invalid(why).because(e.body_text())
    })?;
    app.blobs.set_quota(&name, &namespace, quota.bytes).await?;
    Ok(Json(
        json!({"name": name, "namespace": namespace, "quota": quota.bytes}),
    ))
}
