//! Experiments: groups of runs.

use axum::{
    Json,
    extract::{Path, Query, Request, State},
};
use kfbox_store::{
    Code, Error, Propagation, Ref,
    kinds::pipeline::{EXPERIMENT, ExperimentSpec, RUN, RunSpec, StorageState},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, DEFAULT_EXPERIMENT, input, new_object,
    page::{self, page},
    wire,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Wanted {
    display_name: String,
    description: String,
    namespace: String,
}

pub(super) async fn create(State(app): crate::State, request: Request) -> Answer {
    let output_only = &[
        "experiment_id",
        "created_at",
        "storage_state",
        "last_run_created_at",
    ];
    let wanted: Wanted = input::body(&app, request, output_only).await?;
    input::namespace(&app, &wanted.namespace)?;
    let spec = ExperimentSpec {
        display_name: input::name("display_name", &wanted.display_name)?,
        description: wanted.description,
        ..ExperimentSpec::default()
    };
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| {
        let same = |o: &kfbox_store::Object| {
            o.spec::<ExperimentSpec>()
                .is_ok_and(|s| s.display_name == spec.display_name)
        };
        if txn.find(&EXPERIMENT, Some(&namespace), same)?.is_some() {
            return Err(Error::new(
                Code::AlreadyExists,
                format!(
                    "display_name: an experiment named \"{}\" already exists; use it or choose another name",
                    spec.display_name
                ),
            ));
        }
        let id = uuid::Uuid::new_v4().to_string();
        txn.create(new_object(&EXPERIMENT, &namespace, &id).with_spec(&spec)?)
    });
    Ok(Json(wire::experiment(&write.await?)?))
}

pub(super) async fn list(State(app): crate::State, Query(query): Query<page::Query>) -> Answer {
    input::namespace(&app, &query.namespace)?;
    let page = page(&app, &EXPERIMENT, &query, |_| true).await?;
    let items: Result<_, _> = page.objects.iter().map(wire::experiment).collect();
    Ok(Json(page::answer(
        "experiments",
        items?,
        page.total,
        page.next,
    )))
}

pub(super) async fn get(State(app): crate::State, Path(id): Path<String>) -> Answer {
    let r = Ref::new(&EXPERIMENT, &app.config.namespace, &id);
    Ok(Json(wire::experiment(&app.store.fetch(&r).await?)?))
}

/// Runs stay: upstream deletes only the group.
pub(super) async fn delete(State(app): crate::State, Path(id): Path<String>) -> Answer {
    let r = Ref::new(&EXPERIMENT, &app.config.namespace, &id);
    let write = app.store.write(move |txn| {
        let spec: ExperimentSpec = txn.fetch(&r)?.spec()?;
        if spec.display_name == DEFAULT_EXPERIMENT {
            return Err(Error::new(
                Code::Conflict,
                "the Default experiment cannot be deleted: runs without an experiment go there",
            ));
        }
        txn.delete(&r, Propagation::Cascade).map(|_| ())
    });
    write.await?;
    Ok(Json(json!({})))
}

/// `POST /experiments/{id}:archive` and `:unarchive`.
pub(super) async fn act(State(app): crate::State, Path(last): Path<String>) -> Answer {
    let (id, verb) = super::verb(&last)?;
    let state = match verb {
        "archive" => StorageState::Archived,
        "unarchive" => StorageState::Available,
        _ => return Err(super::no_verb("experiments", verb, "archive, unarchive").into()),
    };
    let namespace = app.config.namespace.clone();
    let r = Ref::new(&EXPERIMENT, &namespace, id);
    let id = id.to_string();
    let write = app.store.write(move |txn| {
        txn.modify(&r, |o| {
            super::change(o, |s: &mut ExperimentSpec| s.storage_state = state)
        })?;
        if state == StorageState::Archived {
            let mine = |o: &kfbox_store::Object| {
                o.spec::<RunSpec>()
                    .is_ok_and(|s| s.experiment_id == id && s.storage_state != state)
            };
            for run in txn.list(&RUN, Some(&namespace), mine)? {
                let r = Ref::new(&RUN, &namespace, &run.metadata.name);
                txn.modify(&r, |o| {
                    super::change(o, |s: &mut RunSpec| s.storage_state = state)
                })?;
            }
        }
        Ok(())
    });
    write.await?;
    Ok(Json(Value::Object(serde_json::Map::new())))
}
