//! What is known of who made and used what, in one namespace.

use kfbox_store::{
    Result, Selector,
    kinds::{
        dataset::{CommitPhase, DATASET_COMMIT, DatasetCommitSpec, DatasetCommitStatus},
        pipeline::{RUN, RunSpec, TASK, TaskSpec, TaskStatus, TaskType},
        registry::{ModelVersionSpec, RegisteredModelSpec},
    },
    track::{self, LoggedModel, Run},
};
use serde_json::{Map, Value, json};

use crate::{App, registry};

/// Something that ran.
#[derive(Clone, Debug, Default)]
pub(super) struct Execution {
    /// `run/<id>/<task>` or `tracked-run/<id>`.
    pub id: String,
    pub name: String,
    pub run_id: String,
    pub state: String,
    pub start: Option<String>,
    pub end: Option<String>,
    pub inputs: Vec<Thing>,
    pub outputs: Vec<Thing>,
    /// Image, code, parameters and the like, for people.
    pub facts: Map<String, Value>,
}

/// An artifact that was made or used.
#[derive(Clone, Debug, Default)]
pub(super) struct Thing {
    pub uri: String,
    pub kind: String,
    pub name: String,
}

/// A commit of a data set.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    pub dataset: String,
    pub branch: String,
    pub id: String,
    pub parent: String,
    pub uri: String,
    pub at: String,
    pub message: String,
    pub run_id: String,
}

/// A version of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub model: String,
    pub number: u64,
    pub name: String,
    pub uri: String,
    pub tracked_run: String,
    pub pipeline_run: String,
    pub stage: String,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    pub executions: Vec<Execution>,
    pub commits: Vec<Commit>,
    pub versions: Vec<Version>,
}

/// One way to write what has several: `minio://`, `s3://` and `gs://` lead to the same bucket here.
pub(super) fn plain(uri: &str) -> String {
    let uri = uri.trim_end_matches('/');
    match uri.split_once("://") {
        Some(("minio" | "gs", rest)) => format!("s3://{rest}"),
        _ => uri.to_owned(),
    }
}

pub(super) async fn read(app: &App, namespace: &str) -> Result<Facts> {
    let mut facts = Facts::default();
    let of = || Selector::namespace(namespace);
    let runs = app.store.list(&RUN, of()).await?.items;
    let mut names = std::collections::HashMap::new();
    for run in runs {
        let spec: RunSpec = run.spec()?;
        names.insert(
            run.metadata.name,
            (spec.display_name, spec.pipeline_spec.digest),
        );
    }
    for task in app.store.list(&TASK, of()).await?.items {
        let (spec, status): (TaskSpec, TaskStatus) = (task.spec()?, task.status()?);
        if spec.task_type == TaskType::Dag {
            continue;
        }
        let things = |values: &kfbox_store::kinds::pipeline::Values| -> Vec<Thing> {
            let all = values.artifacts.iter();
            all.flat_map(|(name, list)| list.iter().map(move |a| (name, a)))
                .map(|(name, a)| Thing {
                    uri: plain(&a.uri),
                    kind: a.type_.clone(),
                    name: name.clone(),
                })
                .collect()
        };
        let mut told = Map::new();
        if let Some((run, code)) = names.get(&spec.run_id) {
            told.insert("run".into(), run.clone().into());
            told.insert("code".into(), code.clone().into());
        }
        if let Some(attempt) = status.attempts.last() {
            told.insert("image".into(), attempt.image.clone().into());
            told.insert("imageId".into(), attempt.image_id.clone().into());
        }
        told.insert(
            "parameters".into(),
            Value::Object(spec.inputs.parameters.clone()),
        );
        let first = status.attempts.iter().find_map(|a| a.start_time.clone());
        facts.executions.push(Execution {
            id: format!(
                "run/{}/{}",
                spec.run_id,
                spec.path.trim_start_matches("root/")
            ),
            name: match spec.display_name.as_str() {
                "" => spec.name.clone(),
                name => name.to_owned(),
            },
            state: serde_json::to_value(status.state)
                .ok()
                .and_then(|s| s.as_str().map(str::to_owned))
                .unwrap_or_default(),
            start: first.or(status.start_time.clone()),
            end: status.finish_time.clone(),
            inputs: things(&spec.inputs),
            outputs: things(&status.outputs),
            facts: told,
            run_id: spec.run_id,
        });
    }
    for commit in app.store.list(&DATASET_COMMIT, of()).await?.items {
        let (spec, status): (DatasetCommitSpec, DatasetCommitStatus) =
            (commit.spec()?, commit.status()?);
        if status.phase == CommitPhase::Ready {
            facts.commits.push(Commit {
                branch: spec.on().to_owned(),
                dataset: spec.dataset,
                uri: plain(&status.uri),
                id: status.id,
                parent: status.parent,
                at: commit.metadata.creation_timestamp.unwrap_or_default(),
                message: spec.message,
                run_id: spec.run_id,
            });
        }
    }
    tracked(app, namespace, &mut facts).await?;
    models(app, namespace, &mut facts).await?;
    Ok(facts)
}

fn moment(ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms)
        .ok()
        .map(|t| t.to_string())
}

/// Tracked runs, with the models that they logged and the data that they named.
async fn tracked(app: &App, namespace: &str, facts: &mut Facts) -> Result<()> {
    for experiment in app.tracking.experiments(namespace).await? {
        let (send, seen) = std::sync::mpsc::channel::<Run>();
        app.tracking
            .runs(namespace, &experiment.id, move |run| send.send(run).is_ok())
            .await?;
        let ids = vec![experiment.id.clone()];
        let logged: Vec<LoggedModel> = app.tracking.models(namespace, ids).await?;
        for run in seen.iter() {
            let made = logged.iter().filter(|m| {
                m.source_run_id == run.id || run.model_outputs.iter().any(|o| o.model_id == m.id)
            });
            let outputs = made.map(|m| Thing {
                uri: plain(&track::stored(namespace, &m.artifact_uri)),
                kind: "mlflow.LoggedModel".into(),
                name: m.name.clone(),
            });
            let used = logged
                .iter()
                .filter(|m| run.model_inputs.iter().any(|i| i.model_id == m.id));
            let used = used.map(|m| Thing {
                uri: plain(&track::stored(namespace, &m.artifact_uri)),
                kind: "mlflow.LoggedModel".into(),
                name: m.name.clone(),
            });
            let data = run.datasets.iter().map(|d| Thing {
                uri: source(&d.dataset.source)
                    .unwrap_or_else(|| format!("data:{}@{}", d.dataset.name, d.dataset.digest)),
                kind: "mlflow.Dataset".into(),
                name: d.dataset.name.clone(),
            });
            let mut told = Map::new();
            for (tag, name) in [
                ("mlflow.source.git.commit", "code"),
                ("mlflow.source.name", "source"),
            ] {
                if let Some(value) = run.tags.get(tag) {
                    told.insert(name.into(), value.clone().into());
                }
            }
            told.insert("experiment".into(), experiment.name.clone().into());
            told.insert("parameters".into(), json!(run.params));
            facts.executions.push(Execution {
                id: format!("tracked-run/{}", run.id),
                name: run.name.clone(),
                run_id: run.id.clone(),
                state: run.status.name().to_owned(),
                start: moment(run.start),
                end: run.end.and_then(moment),
                inputs: data.chain(used).collect(),
                outputs: outputs.collect(),
                facts: told,
            });
        }
    }
    Ok(())
}

/// The URI in what MLflow writes of a data set's source: `{"uri": "s3://..."}`, `{"url": ...}`.
fn source(text: &str) -> Option<String> {
    let parsed: Value = serde_json::from_str(text).ok()?;
    let found = ["uri", "url", "path"]
        .iter()
        .find_map(|k| parsed.get(k)?.as_str())?;
    found.contains("://").then(|| plain(found))
}

async fn models(app: &App, namespace: &str, facts: &mut Facts) -> Result<()> {
    let all = registry::models(&app.store, namespace).await?;
    for version in registry::versions(&app.store, namespace, None).await? {
        let spec: &ModelVersionSpec = &version.spec;
        let Some(model) = all.iter().find(|m| m.id() == spec.registered_model_id) else {
            continue;
        };
        let named: &RegisteredModelSpec = &model.spec;
        // A logged model is named by its id: its files have a place.
        let uri = match spec.source().strip_prefix("models:/") {
            Some(id) if id.starts_with("m-") => match app.tracking.model(namespace, id).await {
                Ok(logged) => track::stored(namespace, &logged.artifact_uri),
                Err(_) => spec.source().to_owned(),
            },
            _ => track::stored(namespace, spec.source()),
        };
        let artifact = spec.artifacts.first();
        let text = |key: &str| {
            artifact
                .and_then(|a| a.get(key)?.as_str())
                .unwrap_or_default()
        };
        facts.versions.push(Version {
            model: named.name.clone(),
            number: spec.number,
            name: spec.name.clone(),
            uri: plain(&uri),
            tracked_run: spec.run_id.clone(),
            pipeline_run: if text("modelSourceKind") == "kfp" {
                text("modelSourceId").to_owned()
            } else {
                String::new()
            },
            stage: spec.stage.name().to_owned(),
        });
    }
    Ok(())
}
