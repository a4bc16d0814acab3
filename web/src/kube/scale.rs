//! The `scale` subresource (autoscaling/v1), on the fields that a kind names.

use axum::{
    Json,
    extract::Request,
    http::Method,
    response::{IntoResponse, Response},
};
use kfbox_store::{Error, Kind, Object, Ref, Scale, json_merge};
use serde_json::{Value, json};

use super::{Shared, body, write::transact};

fn view(kind: &'static Kind, scale: &Scale, object: &Object) -> Result<Value, Error> {
    let value = serde_json::to_value(object).map_err(Error::internal)?;
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
    let selector = match scale.selector {
        "" => selector_text(&value["spec"]["selector"]["matchLabels"]),
        pointer => value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string(),
    };
    let meta = &object.metadata;
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
                     "resourceVersion": meta.resource_version.to_string(), "creationTimestamp": meta.creation_timestamp},
        "spec": {"replicas": number(scale.spec).unwrap_or(u64::from(kind.builtin))},
        "status": {"replicas": number(scale.status).unwrap_or(0), "selector": selector},
    }))
}

fn selector_text(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    pairs
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

/// GET, PUT and PATCH of an object's scale.
pub(super) async fn serve(
    app: &Shared,
    at: Ref,
    scale: &'static Scale,
    request: Request,
) -> Result<Response, Error> {
    if request.method() == Method::GET {
        let object = app.store.fetch(&at).await?;
        return Ok(Json(view(at.kind, scale, &object)?).into_response());
    }
    let patches = request.method() == Method::PATCH;
    let body = body::read(app, request).await?;
    let sent = body.value()?;
    let kind = at.kind;
    let written = transact(app, body.options.dry_run, move |txn| {
        let before = txn.fetch(&at)?;
        let mut wanted = if patches {
            view(at.kind, scale, &before)?
        } else {
            json!({})
        };
        json_merge(&mut wanted, &sent);
        let replicas = wanted["spec"]["replicas"]
            .as_u64()
            .ok_or_else(|| Error::invalid("spec.replicas: must be a whole number, 0 or more"))?;
        txn.modify(&at, |object| {
            let mut value = Value::Object(std::mem::take(&mut object.body));
            let known = value
                .pointer_mut(scale.spec)
                .map(|slot| *slot = replicas.into());
            if known.is_none() {
                let (parent, field) = scale.spec.rsplit_once('/').unwrap_or(("", scale.spec));
                match value.pointer_mut(parent) {
                    Some(parent) if parent.is_object() => parent[field] = replicas.into(),
                    _ => {
                        return Err(Error::invalid(format!(
                            "spec.replicas: this object has no {parent} to scale"
                        )));
                    }
                }
            }
            if let Value::Object(map) = value {
                object.body = map;
            }
            Ok(())
        })
    })
    .await?;
    Ok(Json(view(kind, scale, &written)?).into_response())
}
