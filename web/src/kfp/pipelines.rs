//! Pipelines and their versions.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, Request, State},
};
use kfbox_store::{
    Code, Error, Object, Propagation, Ref, Result, Txn,
    kinds::pipeline::{PIPELINE, PIPELINE_VERSION, PipelineInfo, PipelineVersionSpec},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Answer, input, new_object,
    page::{self, page},
    wire,
};
use crate::App;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    name: String,
    display_name: String,
    description: String,
    namespace: String,
    tags: BTreeMap<String, String>,
}

/// Either name stands in for the other.
pub(super) fn names(name: &str, display_name: &str) -> Result<(String, String)> {
    let pick =
        |a: &str, b: &str| input::name("display_name", if a.trim().is_empty() { b } else { a });
    Ok((pick(name, display_name)?, pick(display_name, name)?))
}

/// Creates a pipeline whose names are free.
pub(super) fn put(txn: &mut Txn<'_>, namespace: &str, info: &PipelineInfo) -> Result<Object> {
    let same = |o: &Object| {
        o.spec::<PipelineInfo>()
            .is_ok_and(|s| s.name == info.name || s.display_name == info.display_name)
    };
    if txn.find(&PIPELINE, Some(namespace), same)?.is_some() {
        return Err(Error::new(
            Code::AlreadyExists,
            format!(
                "name: a pipeline named \"{}\" already exists; upload a new version of it, or choose another name",
                info.display_name
            ),
        ));
    }
    let id = uuid::Uuid::new_v4().to_string();
    txn.create(new_object(&PIPELINE, namespace, &id).with_spec(info)?)
}

/// Creates a version whose names are free within its pipeline.
pub(super) fn put_version(
    txn: &mut Txn<'_>,
    pipeline: &Object,
    spec: &PipelineVersionSpec,
) -> Result<Object> {
    let namespace = pipeline.metadata.namespace.clone();
    let same = |o: &Object| {
        o.spec::<PipelineVersionSpec>().is_ok_and(|s| {
            s.pipeline_id == spec.pipeline_id
                && (s.name == spec.name || s.display_name == spec.display_name)
        })
    };
    if txn
        .find(&PIPELINE_VERSION, Some(&namespace), same)?
        .is_some()
    {
        return Err(Error::new(
            Code::AlreadyExists,
            format!(
                "name: the pipeline already has a version named \"{}\"; choose another name",
                spec.display_name
            ),
        ));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let object = new_object(&PIPELINE_VERSION, &namespace, &id);
    txn.create(object.with_spec(spec)?.owned_by(pipeline))
}

pub(super) async fn create(State(app): crate::State, request: Request) -> Answer {
    let wanted: Wanted =
        input::body(&app, request, &["pipeline_id", "created_at", "error"]).await?;
    input::namespace(&app, &wanted.namespace)?;
    let (name, display_name) = names(&wanted.name, &wanted.display_name)?;
    let info = PipelineInfo {
        display_name,
        name,
        description: wanted.description,
        tags: wanted.tags,
    };
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| put(txn, &namespace, &info));
    Ok(Json(wire::pipeline(&write.await?)?))
}

/// Both ways of creating a version by URL would make the box fetch what a caller names.
pub(super) async fn by_url(State(_): crate::State, _request: Request) -> Answer {
    let message = "package_url: the box does not fetch pipelines from other servers; \
                   send the file to /apis/v2beta1/pipelines/upload or /upload_version";
    Err(Error::new(Code::Invalid, message).into())
}

pub(super) async fn list(State(app): crate::State, Query(query): Query<page::Query>) -> Answer {
    input::namespace(&app, &query.namespace)?;
    let page = page(&app, &PIPELINE, &query, |_| true).await?;
    let items: Result<_> = page.objects.iter().map(wire::pipeline).collect();
    Ok(Json(page::answer(
        "pipelines",
        items?,
        page.total,
        page.next,
    )))
}

async fn fetch(app: &App, id: &str) -> Result<Object> {
    app.store
        .fetch(&Ref::new(&PIPELINE, &app.config.namespace, id))
        .await
}

pub(super) async fn get(State(app): crate::State, Path(id): Path<String>) -> Answer {
    Ok(Json(wire::pipeline(&fetch(&app, &id).await?)?))
}

pub(super) async fn by_name(State(app): crate::State, Path(name): Path<String>) -> Answer {
    let find = |rows: &std::collections::HashMap<String, super::index::Row>| {
        let exact = rows.values().find(|row| row.name == name);
        exact
            .or_else(|| rows.values().find(|row| row.display_name == name))
            .map(|row| row.id.clone())
    };
    let id = app.index.look(&app.store, &PIPELINE, find).await?;
    let id = id.ok_or_else(|| Error::not_found(format!("no pipeline is named \"{name}\"")))?;
    Ok(Json(wire::pipeline(&fetch(&app, &id).await?)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    display_name: Option<String>,
    description: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

const PATCH_OUTPUT: &[&str] = &[
    "pipeline_id",
    "pipeline_version_id",
    "created_at",
    "error",
    "name",
    "namespace",
    "package_url",
    "code_source_url",
    "pipeline_spec",
];

pub(super) async fn patch(
    State(app): crate::State,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let patch: Patch = input::body(&app, request, PATCH_OUTPUT).await?;
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| {
        let r = Ref::new(&PIPELINE, &namespace, &id);
        if let Some(wanted) = &patch.display_name {
            let taken = |o: &Object| {
                o.metadata.name != id
                    && o.spec::<PipelineInfo>()
                        .is_ok_and(|s| s.display_name == *wanted)
            };
            if txn.find(&PIPELINE, Some(&namespace), taken)?.is_some() {
                return Err(Error::new(
                    Code::AlreadyExists,
                    format!("display_name: another pipeline is named \"{wanted}\""),
                ));
            }
        }
        txn.modify(&r, |o| {
            super::change(o, |s: &mut PipelineInfo| {
                s.display_name = patch
                    .display_name
                    .unwrap_or(std::mem::take(&mut s.display_name));
                s.description = patch
                    .description
                    .unwrap_or(std::mem::take(&mut s.description));
                s.tags = patch.tags.unwrap_or(std::mem::take(&mut s.tags));
            })
        })
    });
    Ok(Json(wire::pipeline(&write.await?)?))
}

#[derive(Deserialize)]
pub(super) struct Cascade {
    #[serde(default)]
    cascade: String,
}

pub(super) async fn delete(
    State(app): crate::State,
    Path(id): Path<String>,
    Query(query): Query<Cascade>,
) -> Answer {
    let cascade = query.cascade.eq_ignore_ascii_case("true");
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| {
        let r = Ref::new(&PIPELINE, &namespace, &id);
        txn.fetch(&r)?;
        let mine = |o: &Object| {
            o.spec::<PipelineVersionSpec>()
                .is_ok_and(|s| s.pipeline_id == id)
        };
        if !cascade
            && txn
                .find(&PIPELINE_VERSION, Some(&namespace), mine)?
                .is_some()
        {
            return Err(Error::new(
                Code::Precondition,
                "the pipeline still has versions: delete them first, or send cascade=true",
            ));
        }
        txn.delete(&r, Propagation::Cascade).map(|_| ())
    });
    write.await?;
    Ok(Json(json!({})))
}

async fn show_version(app: &App, object: &Object) -> Answer {
    let spec: PipelineVersionSpec = object.spec()?;
    let namespace = &app.config.namespace;
    let ir = app.specs.get(&app.store, namespace, &spec.pipeline_spec);
    Ok(Json(wire::version(object, ir.await?.as_deref())?))
}

pub(super) async fn list_versions(
    State(app): crate::State,
    Path(id): Path<String>,
    Query(query): Query<page::Query>,
) -> Answer {
    fetch(&app, &id).await?;
    let page = page(&app, &PIPELINE_VERSION, &query, |row| row.parent == id).await?;
    let mut items = Vec::with_capacity(page.objects.len());
    for object in &page.objects {
        items.push(show_version(&app, object).await?.0);
    }
    Ok(Json(page::answer(
        "pipeline_versions",
        items,
        page.total,
        page.next,
    )))
}

/// A version under its own pipeline's address only.
fn belongs(object: &Object, pipeline: &str) -> Result<()> {
    let spec: PipelineVersionSpec = object.spec()?;
    if spec.pipeline_id == pipeline {
        return Ok(());
    }
    let id = &object.metadata.name;
    Err(Error::not_found(format!(
        "pipeline \"{pipeline}\" has no version \"{id}\""
    )))
}

pub(super) async fn get_version(
    State(app): crate::State,
    Path((pipeline, id)): Path<(String, String)>,
) -> Answer {
    let r = Ref::new(&PIPELINE_VERSION, &app.config.namespace, &id);
    let object = app.store.fetch(&r).await?;
    belongs(&object, &pipeline)?;
    show_version(&app, &object).await
}

pub(super) async fn patch_version(
    State(app): crate::State,
    Path((pipeline, id)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let patch: Patch = input::body(&app, request, PATCH_OUTPUT).await?;
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| {
        let r = Ref::new(&PIPELINE_VERSION, &namespace, &id);
        belongs(&txn.fetch(&r)?, &pipeline)?;
        if let Some(wanted) = &patch.display_name {
            let taken = |o: &Object| {
                o.metadata.name != id
                    && o.spec::<PipelineVersionSpec>()
                        .is_ok_and(|s| s.pipeline_id == pipeline && s.display_name == *wanted)
            };
            if txn
                .find(&PIPELINE_VERSION, Some(&namespace), taken)?
                .is_some()
            {
                return Err(Error::new(
                    Code::AlreadyExists,
                    format!("display_name: another version is named \"{wanted}\""),
                ));
            }
        }
        txn.modify(&r, |o| {
            super::change(o, |s: &mut PipelineVersionSpec| {
                s.display_name = patch
                    .display_name
                    .unwrap_or(std::mem::take(&mut s.display_name));
                s.description = patch
                    .description
                    .unwrap_or(std::mem::take(&mut s.description));
                s.tags = patch.tags.unwrap_or(std::mem::take(&mut s.tags));
            })
        })
    });
    let object = write.await?;
    show_version(&app, &object).await
}

pub(super) async fn delete_version(
    State(app): crate::State,
    Path((pipeline, id)): Path<(String, String)>,
) -> Answer {
    let r = Ref::new(&PIPELINE_VERSION, &app.config.namespace, &id);
    let write = app.store.write(move |txn| {
        belongs(&txn.fetch(&r)?, &pipeline)?;
        txn.delete(&r, Propagation::Cascade).map(|_| ())
    });
    write.await?;
    Ok(Json(json!({})))
}
