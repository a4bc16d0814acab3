//! create, update, patch: one transaction each, also as a dry run.

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kfbox_store::{
    Code, Error, Kind, Object, Ref, Txn,
    kinds::{
        core::{NAMESPACE, POD, POD_FINALIZER},
        trainer::set_trainer_status,
    },
};
use serde_json::Value;

use super::{
    Shared,
    body::{self, Validation},
    guard,
    patch::Patch,
    shown,
};
use crate::error::kube_failed;

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything but its status.
    Main,
    /// Only its status.
    Status,
}

pub(super) fn answer(
    status: StatusCode,
    kind: &'static Kind,
    object: Object,
    warnings: &[String],
) -> Response {
    let mut response = (status, Json(shown(kind, object))).into_response();
    for warning in warnings {
        // RFC 7234's Warning header, the form that clients print: code, agent, quoted text.
        let text: String = warning
            .chars()
            .filter(|c| (' '..='~').contains(c))
            .collect();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// One transaction; nothing stays of a dry one.
pub(super) async fn transact<T: Send + 'static>(
    app: &Shared,
    dry: bool,
    work: impl FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let write = move |txn: &mut Txn<'_>| {
        if dry {
            txn.discard();
        }
        work(txn)
    };
    app.store.write(write).await
}

/// A namespace must be there before something is put into it.
fn namespace_exists(txn: &Txn<'_>, kind: &'static Kind, ns: &str) -> Result<(), Error> {
    if !kind.namespaced {
        return Ok(());
    }
    match txn.get(&Ref::new(&NAMESPACE, "", ns))? {
        Some(found) if found.deleting() => Err(Error::new(
            Code::Forbidden,
            format!("namespace \"{ns}\" is being deleted: nothing can be made in it"),
        )),
        Some(_) => Ok(()),
        None => Err(Error::not_found(format!("namespaces \"{ns}\" not found"))),
    }
}

/// POST to a kind's address.
pub(super) async fn create(
    app: &Shared,
    kind: &'static Kind,
    ns: Option<&str>,
    request: Request,
) -> Result<Response, Error> {
    let body = body::read(app, request).await?;
    let value = body.value()?;
    let warnings = body::validate(kind, &value, body.options.validation)?;
    let object = body::object(kind, value)?;
    let name = match object.metadata.name.as_str() {
        "" => object.metadata.generate_name.clone().unwrap_or_default(),
        name => name.into(),
    };
    let made = create_object(app, kind, ns, object, warnings, body.options.dry_run).await;
    // The address does not name the object: only here is known whose error it is.
    Ok(made.unwrap_or_else(|e| kube_failed(&e, Some((kind, &name)))))
}

async fn create_object(
    app: &Shared,
    kind: &'static Kind,
    ns: Option<&str>,
    mut object: Object,
    mut warnings: Vec<String>,
    dry: bool,
) -> Result<Response, Error> {
    place(kind, &mut object, ns)?;
    if object.metadata.resource_version != 0 {
        return Err(Error::invalid(
            "metadata.resourceVersion: must not be set on objects to be created",
        ));
    }
    object.body.remove("status");
    warnings.extend(guard::new(kind, &object)?);
    let made = transact(app, dry, move |txn| {
        namespace_exists(txn, kind, &object.metadata.namespace)?;
        txn.create(object)
    })
    .await?;
    Ok(answer(StatusCode::CREATED, kind, made, &warnings))
}

/// Puts an object into the namespace of its address.
fn place(kind: &'static Kind, object: &mut Object, ns: Option<&str>) -> Result<(), Error> {
    let meta = &mut object.metadata;
    if !kind.namespaced {
        meta.namespace.clear();
        return Ok(());
    }
    match ns {
        Some(ns) if meta.namespace.is_empty() => meta.namespace = ns.into(),
        Some(ns) if meta.namespace != ns => {
            return Err(Error::invalid(format!(
                "the namespace of the provided object ({}) does not match the namespace sent on the request ({ns})",
                meta.namespace
            )));
        }
        None if meta.namespace.is_empty() => {
            return Err(Error::invalid(
                "metadata.namespace: required; send the object to its namespace's address",
            ));
        }
        _ => {}
    }
    Ok(())
}

/// PUT to an object's address.
pub(super) async fn update(
    app: &Shared,
    at: Ref,
    part: Part,
    request: Request,
) -> Result<Response, Error> {
    let body = body::read(app, request).await?;
    let (object, warnings) = named(&at, body.value()?, part, body.options.validation)?;
    let kind = at.kind;
    let write = move |txn: &mut Txn<'_>| replace(txn, &at, object, part);
    let written = transact(app, body.options.dry_run, write).await?;
    Ok(answer(StatusCode::OK, kind, written, &warnings))
}

/// The object that a client means for this address, and what to warn it of.
fn named(
    at: &Ref,
    value: Value,
    part: Part,
    validation: Validation,
) -> Result<(Object, Vec<String>), Error> {
    let mut warnings = body::validate(at.kind, &value, validation)?;
    let mut object = body::object(at.kind, value)?;
    place(at.kind, &mut object, Some(&at.namespace))?;
    if object.metadata.name != at.name {
        return Err(Error::invalid(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object.metadata.name, at.name
        )));
    }
    if part == Part::Main {
        warnings.extend(guard::changed(at.kind, &object)?);
    }
    Ok((object, warnings))
}

/// Writes a whole object over the stored one, as far as a client may.
fn replace(txn: &mut Txn<'_>, at: &Ref, object: Object, part: Part) -> Result<Object, Error> {
    let before = txn.fetch(at)?;
    let sent = object.metadata.resource_version;
    let other = !object.metadata.uid.is_empty() && object.metadata.uid != before.metadata.uid;
    if (sent != 0 && sent != before.metadata.resource_version) || other {
        return Err(Error::new(
            Code::Conflict,
            format!(
                "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
                at.kind.resource(),
                at.name
            ),
        ));
    }
    if part == Part::Main {
        guard::same(at.kind, &before, &object)?;
    }
    txn.modify(at, |stored| {
        if part == Part::Status {
            match object.body.get("status") {
                Some(status) => stored.body.insert("status".into(), status.clone()),
                None => stored.body.remove("status"),
            };
            return Ok(());
        }
        let status = stored.body.remove("status");
        let fields = stored.metadata.rest.remove("managedFields");
        let mut new = object;
        let had = stored
            .metadata
            .finalizers
            .iter()
            .any(|f| f == POD_FINALIZER);
        if at.kind.kind == POD.kind
            && had
            && !new.metadata.finalizers.iter().any(|f| f == POD_FINALIZER)
        {
            // The room that runs Pods drops it, when the container is gone.
            new.metadata.finalizers.push(POD_FINALIZER.into());
        }
        stored.body = new.body;
        stored.body.remove("status");
        if let Some(status) = status {
            stored.body.insert("status".into(), status);
        }
        let generate_name = stored.metadata.generate_name.take();
        stored.metadata.labels = new.metadata.labels;
        stored.metadata.annotations = new.metadata.annotations;
        stored.metadata.finalizers = new.metadata.finalizers;
        stored.metadata.owner_references = new.metadata.owner_references;
        stored.metadata.rest = new.metadata.rest;
        stored.metadata.generate_name = generate_name;
        if let Some(fields) = fields {
            stored
                .metadata
                .rest
                .entry("managedFields")
                .or_insert(fields);
        }
        Ok(())
    })
}

/// POST to a TrainJob's status: what a training tells of its progress from inside its Pod.
pub(super) async fn trainer_status(
    app: &Shared,
    at: Ref,
    request: Request,
) -> Result<Response, Error> {
    let said = body::read(app, request).await?.value()?;
    let job = app
        .store
        .modify(&at, move |job| set_trainer_status(job, &said))
        .await?;
    Ok(answer(StatusCode::OK, at.kind, job, &[]))
}

/// PATCH to an object's address.
pub(super) async fn patch(
    app: &Shared,
    at: Ref,
    part: Part,
    request: Request,
) -> Result<Response, Error> {
    let body = body::read(app, request).await?;
    let kind = at.kind;
    let patch = Patch::parse(kind, &body)?;
    let applies = matches!(patch, Patch::Apply(..));
    let validation = body.options.validation;
    let (made, object, warnings) = transact(app, body.options.dry_run, move |txn| {
        let current = txn.get(&at)?;
        if current.is_none() && !applies {
            txn.fetch(&at)?;
        }
        let new = current.is_none();
        let value = match &current {
            Some(object) => Some(serde_json::to_value(object).map_err(Error::internal)?),
            None => None,
        };
        let patched = patch.to(at.kind, value)?;
        let (object, warnings) = patched_object(&at, patched, part, validation)?;
        if new {
            guard::new(at.kind, &object)?;
            namespace_exists(txn, at.kind, &at.namespace)?;
            return Ok((true, txn.create(object)?, warnings));
        }
        Ok((false, replace(txn, &at, object, part)?, warnings))
    })
    .await?;
    let status = if made {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(answer(status, kind, object, &warnings))
}

fn patched_object(
    at: &Ref,
    mut value: Value,
    part: Part,
    validation: Validation,
) -> Result<(Object, Vec<String>), Error> {
    let fields = value.pointer("/metadata/managedFields").cloned();
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
        meta.entry("name").or_insert_with(|| at.name.clone().into());
    }
    let (mut object, warnings) = named(at, value, part, validation)?;
    if let Some(fields) = fields {
        object.metadata.rest.insert("managedFields".into(), fields);
    }
    Ok((object, warnings))
}
