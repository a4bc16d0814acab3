//! What the box has: what is free for Pods, images that are ready, what fills the disk, how much a bucket may hold.

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use kfbox_store::{Caller, Code, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Room, error::Kube};

/// What fills the disk: the whole of it for who administers the box, its buckets for who has a namespace.
pub(super) const PATH: &str = "/apis/kfbox.dev/v1alpha1/storage";
/// `PUT {"bytes": 1000000}`; 0 = no limit.
pub(super) const QUOTA: &str =
    "/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/buckets/{name}/quota";

/// What Pods can have of the box, and what of it is free.
pub(super) const ROOM: &str = "/apis/kfbox.dev/v1alpha1/room";
/// Images on the box that say what they are for.
pub(super) const IMAGES: &str = "/apis/kfbox.dev/v1alpha1/images";

pub(super) async fn room(State(app): crate::State) -> Result<Json<Room>, Kube> {
    Ok(Json(app.runtime.room().await?))
}

pub(super) async fn images(State(app): crate::State) -> Result<Json<Value>, Kube> {
    let mut items = app.runtime.ready_images().await?;
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(json!({"items": items})))
}

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
