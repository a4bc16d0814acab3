//! get and list.

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kfbox_store::{Error, Kind, Ref, Selector};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Shared, flag, number, query, shown,
    table::{Form, table},
    watch,
};

/// One object.
pub(super) async fn get(
    app: &Shared,
    kind: &'static Kind,
    ns: &str,
    name: &str,
    request: Request,
) -> Result<Response, Error> {
    let form = Form::of(&request, &query(&request)?)?;
    let object = shown(kind, app.store.fetch(&Ref::new(kind, ns, name)).await?);
    Ok(match form {
        Form::Objects => Json(object).into_response(),
        Form::Table(include) => {
            let version = object.metadata.resource_version.to_string();
            let metadata = json!({"resourceVersion": version});
            Json(table(kind, &[object], include, true, metadata)).into_response()
        }
    })
}

/// Where a list in several parts goes on.
#[derive(Serialize, Deserialize)]
struct Continue {
    namespace: String,
    name: String,
    /// The version the first part was taken at: what a watch after the last part must start from.
    version: u64,
}

/// A list, or a watch when the query says so.
pub(super) async fn list(
    app: &Shared,
    kind: &'static Kind,
    ns: Option<&str>,
    request: Request,
) -> Result<Response, Error> {
    let query = query(&request)?;
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let selector = Selector::parse(ns, text("labelSelector"), text("fieldSelector"))?;
    let form = Form::of(&request, &query)?;
    if flag(&query, "watch")? {
        let options = watch::Options::parse(&query, form)?;
        return watch::start(app, vec![kind], selector, options, request.extensions()).await;
    }
    let limit = match number(&query, "limit")? {
        None | Some(0) => usize::MAX,
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let from = match text("continue") {
        "" => None,
        token => Some(
            URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Continue>(&bytes).ok())
                .ok_or_else(|| {
                    Error::invalid("continue: not a token of this box; list from the start")
                })?,
        ),
    };
    let after = from.as_ref().map(|c| (c.namespace.clone(), c.name.clone()));
    let (list, next) = app.store.list_page(kind, selector, after, limit).await?;
    let version = from.map_or(list.version, |c| c.version);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some((namespace, name)) = next {
        let next = Continue {
            namespace,
            name,
            version,
        };
        let bytes = serde_json::to_vec(&next).map_err(Error::internal)?;
        metadata["continue"] = json!(URL_SAFE_NO_PAD.encode(bytes));
    }
    let items = list.items.into_iter();
    let items: Vec<_> = items.map(|o| shown(kind, o)).collect();
    if let Form::Table(include) = form {
        return Ok(Json(table(kind, &items, include, true, metadata)).into_response());
    }
    Ok(Json(json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
        "metadata": metadata, "items": items,
    }))
    .into_response())
}
