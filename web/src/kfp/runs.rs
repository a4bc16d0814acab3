//! Runs: created, listed, put away, stopped, retried, deleted. All by writing what is wanted; what becomes of
//! it is the engine's to write.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, Request, State},
};
use kfbox_store::{
    Code, Error, Object, Propagation, Ref, Result,
    kinds::pipeline::{
        EXPERIMENT, ExperimentSpec, PIPELINE, PIPELINE_VERSION, PipelineSpecBody,
        PipelineVersionSpec, RUN, RunSpec, RunState, RunStatus, RuntimeConfig, StorageState,
        VersionRef,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Answer, defaults, input, new_object,
    page::{self, page},
    spec::Checked,
    tasks, wire,
};
use crate::App;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    experiment_id: String,
    display_name: String,
    description: String,
    pipeline_spec: Option<Value>,
    pipeline_version_reference: Option<WantedVersion>,
    pipeline_version_id: String,
    runtime_config: WantedConfig,
    service_account: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WantedVersion {
    pipeline_id: String,
    pipeline_version_id: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WantedConfig {
    parameters: Map<String, Value>,
    pipeline_root: String,
}

const OUTPUT_ONLY: &[&str] = &[
    "run_id",
    "storage_state",
    "created_at",
    "scheduled_at",
    "finished_at",
    "state",
    "error",
    "run_details",
    "recurring_run_id",
    "state_history",
    "plugins_input",
    "plugins_output",
];

pub(super) async fn create(State(app): crate::State, request: Request) -> Answer {
    let wanted: Wanted = input::body(&app, request, OUTPUT_ONLY).await?;
    let id = uuid::Uuid::new_v4().to_string();
    let (object, body) = start(&app, wanted, id, BTreeMap::new()).await?;
    Ok(Json(wire::run(&object, Some(&body), Vec::new())?))
}

/// A run that the box starts by itself.
#[derive(Clone, Debug, Default)]
pub struct StartRun {
    /// The run's id: who starts it twice by the same id gets one.
    pub id: String,
    /// Shown to people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// Which pipeline.
    pub pipeline_id: String,
    /// Its version; "" = the newest.
    pub pipeline_version_id: String,
    /// Its experiment; "" = the default one.
    pub experiment_id: String,
    /// Its parameters; the pipeline's defaults stand for those that are missing.
    pub parameters: Map<String, Value>,
    /// Annotations: why it was started.
    pub annotations: BTreeMap<String, String>,
}

impl App {
    /// Starts a run of a stored pipeline.
    ///
    /// # Errors
    /// As the API's own call: no such pipeline, wrong parameters, an archived experiment.
    pub async fn start_run(&self, run: StartRun) -> Result<()> {
        let wanted = Wanted {
            experiment_id: run.experiment_id,
            display_name: run.display_name,
            description: run.description,
            pipeline_version_reference: Some(WantedVersion {
                pipeline_id: run.pipeline_id,
                pipeline_version_id: run.pipeline_version_id,
            }),
            runtime_config: WantedConfig {
                parameters: run.parameters,
                ..WantedConfig::default()
            },
            ..Wanted::default()
        };
        match start(self, wanted, run.id, run.annotations).await {
            Err(e) if e.code != Code::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    }
}

async fn start(
    app: &App,
    wanted: Wanted,
    id: String,
    annotations: BTreeMap<String, String>,
) -> Result<(Object, PipelineSpecBody)> {
    let display_name = input::name("display_name", &wanted.display_name)?;
    let (source, reference) = source(app, &wanted).await?;
    let given = wanted.runtime_config.parameters;
    // Checking a large spec takes a while.
    let (spec, parameters) = tokio::task::spawn_blocking(move || {
        let spec = match source {
            Source::Sent(value) => Checked::from_value(value)?,
            Source::Stored(body) => Checked::from_stored(&body)?,
        };
        let parameters = spec.runnable(&given)?;
        Ok::<_, Error>((spec, parameters))
    })
    .await
    .map_err(Error::internal)??;
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| {
        let experiment = if wanted.experiment_id.is_empty() {
            defaults::default_experiment(txn, &namespace)?
        } else {
            txn.fetch(&Ref::new(&EXPERIMENT, &namespace, &wanted.experiment_id))?
        };
        let experiment_spec: ExperimentSpec = experiment.spec()?;
        if experiment_spec.storage_state == StorageState::Archived {
            return Err(Error::new(
                Code::Precondition,
                format!(
                    "experiment_id: \"{}\" is archived; unarchive it or choose another",
                    experiment_spec.display_name
                ),
            ));
        }
        let experiment_id = experiment.metadata.name.clone();
        let run = RunSpec {
            display_name,
            description: wanted.description,
            experiment_id: experiment_id.clone(),
            pipeline_spec: spec.put(txn, &namespace)?,
            pipeline_version_reference: reference,
            runtime_config: RuntimeConfig {
                parameters,
                pipeline_root: wanted.runtime_config.pipeline_root,
            },
            service_account: wanted.service_account,
            ..RunSpec::default()
        };
        let mut object = new_object(&RUN, &namespace, &id).with_spec(&run)?;
        object.metadata.annotations.extend(annotations);
        let object = txn.create(object)?;
        txn.modify(&Ref::new(&EXPERIMENT, &namespace, &experiment_id), |o| {
            super::change(o, |s: &mut ExperimentSpec| {
                s.last_run_created_at = Some(kfbox_store::now());
            })
        })?;
        Ok((object, spec.body))
    });
    write.await
}

enum Source {
    Sent(Value),
    Stored(std::sync::Arc<kfbox_store::kinds::pipeline::PipelineSpecBody>),
}

/// Where the run's spec comes from: inline, a stored version, or a pipeline's newest version.
async fn source(app: &App, wanted: &Wanted) -> Result<(Source, Option<VersionRef>)> {
    let (pipeline, version) = match &wanted.pipeline_version_reference {
        Some(r) => (r.pipeline_id.as_str(), r.pipeline_version_id.as_str()),
        None => ("", wanted.pipeline_version_id.as_str()),
    };
    match (
        &wanted.pipeline_spec,
        pipeline.is_empty() && version.is_empty(),
    ) {
        (Some(_), false) => {
            return Err(Error::invalid(
                "pipeline_spec and pipeline_version_reference: give one of the two",
            ));
        }
        (Some(spec), true) => return Ok((Source::Sent(spec.clone()), None)),
        (None, true) => {
            return Err(Error::invalid(
                "pipeline_spec or pipeline_version_reference: one of the two is required",
            ));
        }
        (None, false) => {}
    }
    let namespace = &app.config.namespace;
    let version = if version.is_empty() {
        app.store
            .fetch(&Ref::new(&PIPELINE, namespace, pipeline))
            .await?;
        newest(app, pipeline).await?
    } else {
        version.to_string()
    };
    let r = Ref::new(&PIPELINE_VERSION, namespace, &version);
    let spec: PipelineVersionSpec = app.store.fetch(&r).await?.spec()?;
    if !pipeline.is_empty() && spec.pipeline_id != pipeline {
        return Err(Error::not_found(format!(
            "pipeline_version_reference: pipeline \"{pipeline}\" has no version \"{version}\""
        )));
    }
    let body = app.specs.fetch(&app.store, namespace, &spec.pipeline_spec);
    let reference = VersionRef {
        pipeline_id: spec.pipeline_id.clone(),
        pipeline_version_id: version,
    };
    Ok((Source::Stored(body.await?), Some(reference)))
}

async fn newest(app: &App, pipeline: &str) -> Result<String> {
    let find = |rows: &std::collections::HashMap<String, super::index::Row>| {
        rows.values()
            .filter(|row| row.parent == pipeline)
            .max_by_key(|row| (row.created, &row.id))
            .map(|row| row.id.clone())
    };
    let found = app.index.look(&app.store, &PIPELINE_VERSION, find).await?;
    found.ok_or_else(|| {
        Error::invalid(format!(
            "pipeline_version_reference: pipeline \"{pipeline}\" has no version yet; upload one"
        ))
    })
}

async fn show(app: &App, object: &Object, details: bool) -> Result<Value> {
    let namespace = &app.config.namespace;
    let spec: RunSpec = object.spec()?;
    let ir = app.specs.get(&app.store, namespace, &spec.pipeline_spec);
    let ir = ir.await?;
    let tasks = if details {
        tasks::details(&tasks::of_run(app, &object.metadata.name).await?)
    } else {
        Vec::new()
    };
    wire::run(object, ir.as_deref(), tasks)
}

/// Lists leave out `run_details`: they would cost a look at every task of every run on the page.
pub(super) async fn list(State(app): crate::State, Query(query): Query<page::Query>) -> Answer {
    input::namespace(&app, &query.namespace)?;
    let group = query.experiment_id.clone();
    let page = page(&app, &RUN, &query, |row| {
        group.is_empty() || row.parent == group
    })
    .await?;
    let mut items = Vec::with_capacity(page.objects.len());
    for object in &page.objects {
        items.push(show(&app, object, false).await?);
    }
    Ok(Json(page::answer("runs", items, page.total, page.next)))
}

pub(super) async fn get(State(app): crate::State, Path(id): Path<String>) -> Answer {
    let r = Ref::new(&RUN, &app.config.namespace, &id);
    let object = app.store.fetch(&r).await?;
    Ok(Json(show(&app, &object, true).await?))
}

pub(super) async fn delete(State(app): crate::State, Path(id): Path<String>) -> Answer {
    let r = Ref::new(&RUN, &app.config.namespace, &id);
    let write = app.store.write(move |txn| {
        txn.fetch(&r)?;
        txn.delete(&r, Propagation::Cascade).map(|_| ())
    });
    write.await?;
    Ok(Json(json!({})))
}

/// `POST /runs/{id}:archive`, `:unarchive`, `:terminate`, `:retry`.
pub(super) async fn act(State(app): crate::State, Path(last): Path<String>) -> Answer {
    let (id, verb) = super::verb(&last)?;
    let verb = match verb {
        "archive" => Verb::Archive,
        "unarchive" => Verb::Unarchive,
        "terminate" => Verb::Terminate,
        "retry" => Verb::Retry,
        _ => {
            let known = "archive, unarchive, terminate, retry";
            return Err(super::no_verb("runs", verb, known).into());
        }
    };
    let namespace = app.config.namespace.clone();
    let r = Ref::new(&RUN, &namespace, id);
    let write = app.store.write(move |txn| {
        let run = txn.fetch(&r)?;
        let (spec, status): (RunSpec, RunStatus) = (run.spec()?, run.status()?);
        if let Verb::Unarchive = verb {
            let group = txn.get(&Ref::new(&EXPERIMENT, &namespace, &spec.experiment_id))?;
            let group = group.map(|o| o.spec::<ExperimentSpec>()).transpose()?;
            if group.is_some_and(|g| g.storage_state == StorageState::Archived) {
                return Err(Error::new(
                    Code::Precondition,
                    "the run's experiment is archived: unarchive the experiment first",
                ));
            }
        }
        verb.allowed(&spec, &status)?;
        txn.modify(&r, |o| super::change(o, |s: &mut RunSpec| verb.apply(s)))
    });
    write.await?;
    Ok(Json(json!({})))
}

#[derive(Clone, Copy)]
enum Verb {
    Archive,
    Unarchive,
    Terminate,
    Retry,
}

impl Verb {
    fn allowed(self, spec: &RunSpec, status: &RunStatus) -> Result<()> {
        let state = wire::shown_state(spec, status);
        let why = match self {
            Self::Terminate if state.terminal() => {
                "only a run that has not ended can be terminated"
            }
            Self::Retry if !matches!(state, RunState::Failed | RunState::Canceled) => {
                "only a failed or canceled run can be retried"
            }
            _ => return Ok(()),
        };
        let state = wire::run_state(state);
        Err(Error::new(
            Code::Precondition,
            format!("the run is {state}: {why}"),
        ))
    }

    fn apply(self, spec: &mut RunSpec) {
        match self {
            Self::Archive => spec.storage_state = StorageState::Archived,
            Self::Unarchive => spec.storage_state = StorageState::Available,
            Self::Terminate => spec.terminate = true,
            Self::Retry => {
                spec.terminate = false;
                spec.retry += 1;
            }
        }
    }
}

/// Recurring runs come with a later version: there are none, and none can be made.
pub(super) async fn no_recurring() -> Answer {
    Ok(Json(json!({})))
}

/// What answers a request to make one.
pub(super) async fn refuse_recurring() -> Answer {
    let message = "this version of the box has no recurring runs";
    Err(Error::new(Code::Unsupported, message).into())
}
