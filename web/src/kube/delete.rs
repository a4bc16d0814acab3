//! delete, of one object or of all that selectors want: one transaction each, also as a dry run.

use axum::{
    Json,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kfbox_store::{Code, Error, Kind, Object, Propagation, Ref, Selector, Txn, kinds::core::POD};
use serde_json::{Value, json};

use super::{
    Shared,
    body::{self, Body},
    write::{answer, transact},
};

/// What a client says with a delete.
#[derive(Clone, Default)]
struct DeleteOptions {
    propagation: Propagation,
    uid: Option<String>,
    version: Option<String>,
    grace: Option<i64>,
    dry_run: bool,
}

impl DeleteOptions {
    fn parse(body: &Body) -> Result<Self, Error> {
        let value = if body.bytes.iter().all(u8::is_ascii_whitespace) {
            json!({})
        } else {
            body.value()?
        };
        let query = |name: &str| body.query.get(name).cloned();
        let policy = value["propagationPolicy"]
            .as_str()
            .map(Into::into)
            .or_else(|| query("propagationPolicy"));
        let orphan = value["orphanDependents"].as_bool() == Some(true);
        let propagation = match policy.as_deref() {
            Some("Orphan") => Propagation::Orphan,
            None if orphan => Propagation::Orphan,
            // What is owned goes in the same transaction: background and foreground are the same here.
            None | Some("Background" | "Foreground") => Propagation::Cascade,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "propagationPolicy: \"{other}\" must be Background, Foreground or Orphan"
                )));
            }
        };
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(Into::into)
        };
        Ok(Self {
            propagation,
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            grace: value["gracePeriodSeconds"]
                .as_i64()
                .or_else(|| query("gracePeriodSeconds")?.parse().ok()),
            dry_run: body.options.dry_run
                || value["dryRun"].as_array().is_some_and(|d| !d.is_empty()),
        })
    }

    fn run(&self, txn: &mut Txn<'_>, at: &Ref) -> Result<Object, Error> {
        let before = txn.fetch(at)?;
        let version = before.metadata.resource_version.to_string();
        let wrong = |wanted: &Option<String>, is: &str| wanted.as_deref().is_some_and(|w| w != is);
        if wrong(&self.uid, &before.metadata.uid) || wrong(&self.version, &version) {
            return Err(Error::new(
                Code::Conflict,
                format!(
                    "Precondition failed on {} \"{}\": it is another one, or has changed",
                    at.kind.resource(),
                    at.name
                ),
            ));
        }
        if let Some(grace) = self
            .grace
            .filter(|_| at.kind.kind == POD.kind && !before.deleting())
        {
            txn.modify(at, |pod| {
                let rest = &mut pod.metadata.rest;
                rest.insert("deletionGracePeriodSeconds".into(), grace.max(0).into());
                Ok(())
            })?;
        }
        let gone = txn.delete(at, self.propagation)?;
        gone.ok_or_else(|| Error::internal("an object vanished inside a transaction"))
    }
}

/// DELETE to an object's address.
pub(super) async fn one(app: &Shared, at: Ref, request: Request) -> Result<Response, Error> {
    let body = body::read(app, request).await?;
    let options = DeleteOptions::parse(&body)?;
    let r = at.clone();
    let gone = transact(app, options.dry_run, move |txn| options.run(txn, &r)).await?;
    if gone.deleting() {
        // It goes when its finalizers have been dealt with; clients poll.
        return Ok(answer(StatusCode::OK, at.kind, gone, &[]));
    }
    Ok(Json(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": at.name, "group": at.kind.group, "kind": at.kind.plural, "uid": gone.metadata.uid},
    }))
    .into_response())
}

/// DELETE to a kind's address: all that the selectors want.
pub(super) async fn all(
    app: &Shared,
    kind: &'static Kind,
    ns: Option<&str>,
    request: Request,
) -> Result<Response, Error> {
    let body = body::read(app, request).await?;
    let options = DeleteOptions::parse(&body)?;
    let text = |name: &str| body.query.get(name).map(String::as_str).unwrap_or_default();
    let selector = Selector::parse(ns, text("labelSelector"), text("fieldSelector"))?;
    let found = app.store.list(kind, selector).await?.items;
    transact(app, options.dry_run, move |txn| {
        for object in &found {
            let at = Ref::new(kind, &object.metadata.namespace, &object.metadata.name);
            match options.run(txn, &at) {
                // Gone since the list, perhaps with its owner a moment ago.
                Err(e) if e.code == Code::NotFound => {}
                Err(e) => return Err(e),
                Ok(_) => {}
            }
        }
        Ok(())
    })
    .await?;
    Ok(
        Json(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
            .into_response(),
    )
}
