//! The tasks of a run as `run_details.task_details`, and the bytes behind them: artifacts and logs.

use std::collections::{BTreeMap, HashMap};

use axum::{
    Json,
    extract::{Path, Query, Request, State},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use kfbox_store::{
    Error, Object, Ref, Result,
    blob::Found,
    kinds::pipeline::{Artifact, RUN, TASK, TaskSpec, TaskState, TaskStatus, TaskType},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer,
    wire::{Fields, failure, seconds},
};
use crate::{App, Closing, LogOptions, error::Kfp, kube};

/// Largest artifact that the API carries inside JSON.
const READ_LIMIT: u64 = 32 << 20;

/// A task that could be read.
pub(super) struct Task {
    object: Object,
    spec: TaskSpec,
    status: TaskStatus,
}

/// The tasks of a run, in the order in which they became known.
pub(super) async fn of_run(app: &App, run: &str) -> Result<Vec<Task>> {
    let names = app.index.tasks_of(&app.store, run).await?;
    let mut tasks = Vec::with_capacity(names.len());
    for name in names {
        let r = Ref::new(&TASK, &app.config.namespace, &name);
        let Some(object) = app.store.get(&r).await? else {
            continue;
        };
        let (spec, status) = (object.spec()?, object.status()?);
        tasks.push(Task {
            object,
            spec,
            status,
        });
    }
    tasks.sort_by(|a, b| {
        let key = |t: &Task| {
            let created = t.object.metadata.creation_timestamp.clone();
            (created, t.spec.ready_at.clone(), t.spec.path.clone())
        };
        key(a).cmp(&key(b))
    });
    Ok(tasks)
}

/// KFP's RuntimeState. It has no word for "outputs reused"; its documentation of SKIPPED says "entity has been
/// skipped, for example, due to caching", so that is what a cached task is there. The difference is kept in
/// the Task object.
fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "PENDING",
        TaskState::Running => "RUNNING",
        TaskState::Succeeded => "SUCCEEDED",
        TaskState::Cached | TaskState::Skipped => "SKIPPED",
        TaskState::Failed => "FAILED",
        TaskState::Canceled => "CANCELED",
    }
}

fn artifacts(bound: &BTreeMap<String, Vec<Artifact>>) -> Value {
    let mut fields = Fields::default();
    for (name, list) in bound {
        let ids: Vec<&str> = list.iter().map(|a| a.name.as_str()).collect();
        fields = fields.put(name, json!({"artifact_ids": ids}));
    }
    fields.done()
}

/// One entry per node of the DAG that is known so far.
pub(super) fn details(tasks: &[Task]) -> Vec<Value> {
    let by_path: HashMap<&str, &str> = tasks
        .iter()
        .map(|t| (t.spec.path.as_str(), t.object.metadata.name.as_str()))
        .collect();
    let parent_path = |task: &Task| {
        task.spec
            .path
            .rsplit_once('/')
            .map(|(parent, _)| parent.to_string())
    };
    let mut children: HashMap<String, Vec<Value>> = HashMap::new();
    for task in tasks {
        if let Some(parent) = parent_path(task) {
            let id = &task.object.metadata.name;
            children
                .entry(parent)
                .or_default()
                .push(json!({"task_id": id}));
        }
    }
    tasks
        .iter()
        .map(|task| {
            let (spec, status) = (&task.spec, &task.status);
            let created = task.object.metadata.creation_timestamp.as_deref();
            let pods = status
                .attempts
                .iter()
                .map(|a| json!({"pod_name": a.pod_name}));
            let mut below = children.remove(&spec.path).unwrap_or_default();
            below.extend(pods.filter(|p| p["pod_name"] != ""));
            let failed: Vec<&str> = status
                .attempts
                .iter()
                .map(|a| a.pod_name.as_str())
                .filter(|pod| *pod != status.pod_name && !pod.is_empty())
                .collect();
            let executor = Fields::default()
                .put("main_job", &status.pod_name)
                .put("failed_main_jobs", failed)
                .done();
            let display = if spec.display_name.is_empty() {
                &spec.name
            } else {
                &spec.display_name
            };
            let parent = parent_path(task);
            let parent = parent.and_then(|p| by_path.get(p.as_str()).copied());
            let failed = status.state == TaskState::Failed;
            Fields::default()
                .put("run_id", &spec.run_id)
                .put("task_id", &task.object.metadata.name)
                .put("display_name", display)
                .put("create_time", created)
                .put("start_time", status.start_time.as_deref().map(seconds))
                .put("end_time", status.finish_time.as_deref().map(seconds))
                .put(
                    "executor_detail",
                    (spec.task_type == TaskType::Container).then_some(executor),
                )
                .put("state", state(status.state))
                .put("error", failure(&status.message).filter(|_| failed))
                .put("inputs", artifacts(&status.inputs.artifacts))
                .put("outputs", artifacts(&status.outputs.artifacts))
                .put("parent_task_id", parent)
                .put("pod_name", &status.pod_name)
                .put("child_tasks", below)
                .done()
        })
        .collect()
}

/// A node of a run, by any of the names it has: id, path, key, pod.
async fn node(app: &App, run: &str, node: &str) -> Result<Task> {
    let r = Ref::new(&RUN, &app.config.namespace, run);
    app.store.fetch(&r).await?;
    let tasks = of_run(app, run).await?;
    let named = |t: &Task| {
        t.object.metadata.name == node
            || t.spec.path == node
            || t.status.pod_name == node
            || t.status.attempts.iter().any(|a| a.pod_name == node)
    };
    let at = tasks
        .iter()
        .position(named)
        .or_else(|| tasks.iter().position(|t| t.spec.name == node));
    at.and_then(|at| tasks.into_iter().nth(at))
        .ok_or_else(|| Error::not_found(format!("run \"{run}\" has no node \"{node}\"")))
}

/// `GET /runs/{run}/nodes/{node}/artifacts/{name}:read`
pub(super) async fn read_artifact(
    State(app): crate::State,
    Path((run, id, last)): Path<(String, String, String)>,
) -> Answer {
    let (name, verb) = super::verb(&last)?;
    if verb != "read" {
        return Err(super::no_verb("artifacts", verb, "read").into());
    }
    let task = node(&app, &run, &id).await?;
    let artifact = task
        .status
        .outputs
        .artifacts
        .get(name)
        .and_then(|list| list.first())
        .ok_or_else(|| Error::not_found(format!("node \"{id}\" has no artifact \"{name}\"")))?;
    let uri = artifact.uri.clone();
    let found = app.blobs.read(&uri).await?;
    let data = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let Found::File(file, size) = found else {
            return Err(Error::invalid(format!("{uri} is a folder: read its files")));
        };
        if size > READ_LIMIT {
            let limit = READ_LIMIT >> 20;
            return Err(Error::invalid(format!(
                "the artifact is larger than {limit} MiB: read it from /artifacts"
            )));
        }
        let mut bytes = Vec::new();
        file.take(READ_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(Error::internal)?;
        Ok(STANDARD.encode(bytes))
    });
    let data = data.await.map_err(Error::internal)??;
    Ok(Json(json!({"data": data})))
}

#[derive(Deserialize)]
pub(super) struct LogQuery {
    #[serde(default)]
    follow: String,
}

/// `GET /apis/v1alpha1/runs/{run}/nodes/{node}/log`
pub(super) async fn log(
    State(app): crate::State,
    Path((run, id)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
    request: Request,
) -> std::result::Result<Response, Kfp> {
    let task = node(&app, &run, &id).await?;
    let attempts = &task.status.attempts;
    let pod = match attempts.iter().find(|a| a.pod_name == id) {
        Some(attempt) => attempt.pod_name.as_str(),
        None => task.status.pod_name.as_str(),
    };
    if pod.is_empty() {
        return Err(Error::not_found(format!("node \"{id}\" has not run anything yet")).into());
    }
    let options = LogOptions {
        follow: query.follow.eq_ignore_ascii_case("true"),
        ..LogOptions::default()
    };
    let closing = Closing::of(request.extensions());
    let namespace = app.config.namespace.clone();
    Ok(kube::log_stream(&app, &namespace, pod, options, None, closing).await?)
}
