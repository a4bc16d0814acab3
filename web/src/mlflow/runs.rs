//! Calls below `runs/`, `metrics/` and `artifacts/`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kfbox_store::{
    Error, Result,
    track::{
        Batch, Dataset, DatasetInput, Entity, Fields, Filter, Lifecycle, Metric, ModelRef, NewRun,
        Order, Point, Run, RunStatus, Schema, Tag, Tracking,
    },
};
use serde_json::{Value, json};

use super::{
    Ask,
    args::{self, Args},
    artifacts, wire,
};

const SCHEMA: Schema = Schema {
    entities: &[Entity::Metric, Entity::Param, Entity::Tag, Entity::Dataset],
    attributes: &[
        ("run_id", false),
        ("run_name", false),
        ("status", false),
        ("artifact_uri", false),
        ("user_id", false),
        ("experiment_id", false),
        ("start_time", true),
        ("end_time", true),
    ],
    registry: false,
};
/// Points in one page of a history, unless asked otherwise: upstream's limit.
const POINTS: usize = 25_000;

struct Seen<'a>(&'a Run);

impl Fields for Seen<'_> {
    fn texts(&self, entity: Entity, key: &str) -> Vec<String> {
        let r = self.0;
        let found = match (entity, key) {
            (Entity::Param, key) => r.params.get(key),
            (Entity::Tag, key) => r.tags.get(key),
            (Entity::Dataset, key) => return dataset_texts(r, key),
            (_, "run_id") => Some(&r.id),
            (_, "run_name") => Some(&r.name),
            (_, "artifact_uri") => Some(&r.artifact_uri),
            (_, "user_id") => Some(&r.user),
            (_, "experiment_id") => Some(&r.experiment_id),
            (_, "status") => return vec![r.status.name().into()],
            _ => None,
        };
        found.cloned().into_iter().collect()
    }

    #[allow(clippy::cast_precision_loss)] // Milliseconds.
    fn number(&self, entity: Entity, key: &str) -> Option<f64> {
        match (entity, key) {
            (Entity::Metric, key) => self.0.metrics.get(key).map(|m| m.value),
            (_, "start_time") => Some(self.0.start as f64),
            (_, "end_time") => self.0.end.map(|t| t as f64),
            _ => None,
        }
    }
}

fn dataset_texts(run: &Run, key: &str) -> Vec<String> {
    let context = |d: &DatasetInput| {
        let mut tags = d.tags.iter();
        tags.find(|t| t.key == "mlflow.data.context")
            .map(|t| t.value.clone())
    };
    let each = run.datasets.iter();
    match key {
        "name" => each.map(|d| d.dataset.name.clone()).collect(),
        "digest" => each.map(|d| d.dataset.digest.clone()).collect(),
        "context" => each.filter_map(context).collect(),
        _ => Vec::new(),
    }
}

/// A run's id, under its name of today or of long ago.
fn id(args: &Args) -> Result<&str> {
    args.either("run_id", "run_uuid")
}

pub(super) async fn answer(ask: &Ask, method: &str, path: &str) -> Result<Option<Value>> {
    let (track, ns, args) = (&ask.app.tracking, ask.namespace.as_str(), &ask.args);
    let one = |run: &Run| json!({"run": wire::run(run)});
    let logged = |batch: Batch| async move {
        track.log(ns, id(args)?, batch).await?;
        Ok::<_, Error>(json!({}))
    };
    Ok(Some(match (method, path) {
        ("POST", "runs/create") => one(&create(ask).await?),
        ("GET", "runs/get") => one(&track.run(ns, id(args)?).await?),
        ("POST", "runs/update") => update(ask).await?,
        ("POST", "runs/search") => search(ask).await?,
        ("POST", "runs/delete") => {
            track.put_away(ns, args.need("run_id")?, true).await?;
            json!({})
        }
        ("POST", "runs/restore") => {
            track.put_away(ns, args.need("run_id")?, false).await?;
            json!({})
        }
        ("POST", "runs/log-metric") => {
            let metrics = vec![point(args)?];
            logged(Batch {
                metrics,
                ..Batch::default()
            })
            .await?
        }
        ("POST", "runs/log-parameter") => {
            let params = vec![tag(args)?];
            logged(Batch {
                params,
                ..Batch::default()
            })
            .await?
        }
        ("POST", "runs/set-tag") => {
            let tags = vec![tag(args)?];
            logged(Batch {
                tags,
                ..Batch::default()
            })
            .await?
        }
        ("POST", "runs/log-batch") => {
            let metrics = args.each("metrics")?;
            let batch = Batch {
                metrics: metrics.iter().map(point).collect::<Result<_>>()?,
                params: args.tags("params")?,
                tags: args.tags("tags")?,
            };
            logged(batch).await?
        }
        ("POST", "runs/delete-tag") => {
            let key = args.need("key")?.to_owned();
            let unset = move |r: &mut Run| match r.tags.remove(&key) {
                Some(_) => Ok(()),
                None => Err(Error::not_found(format!(
                    "No tag with name: {key} in run with id {}",
                    r.id
                ))),
            };
            track.change_run(ns, id(args)?, unset).await?;
            json!({})
        }
        ("POST", "runs/log-inputs") => {
            let datasets = args.each("datasets")?;
            let datasets = datasets.iter().map(dataset).collect::<Result<_>>()?;
            track
                .note(ns, id(args)?, datasets, models(args)?, Vec::new())
                .await?;
            json!({})
        }
        ("POST", "runs/outputs") => {
            track
                .note(ns, id(args)?, Vec::new(), Vec::new(), models(args)?)
                .await?;
            json!({})
        }
        ("POST", "runs/log-model") => log_model(ask).await?,
        ("GET", "metrics/get-history") => history(ask).await?,
        ("GET", "metrics/get-history-bulk-interval") => bulk(ask).await?,
        ("GET", "artifacts/list") => {
            let run = track.run(ns, id(args)?).await?;
            artifacts::below(ask, &run.artifact_uri, args.text("path")?).await?
        }
        _ => return Ok(None),
    }))
}

async fn create(ask: &Ask) -> Result<Run> {
    let args = &ask.args;
    let user = match args.text("user_id")? {
        "" => ask.user.clone(),
        given => given.to_owned(),
    };
    let wanted = NewRun {
        experiment_id: args.text("experiment_id")?.to_owned(),
        user,
        name: args.text("run_name")?.to_owned(),
        start: args.int("start_time")?.unwrap_or(0),
        tags: args.tag_map("tags")?,
    };
    ask.app.tracking.create_run(&ask.namespace, wanted).await
}

fn status(args: &Args) -> Result<Option<RunStatus>> {
    Ok(Some(match args.text("status")? {
        "" => return Ok(None),
        "RUNNING" => RunStatus::Running,
        "SCHEDULED" => RunStatus::Scheduled,
        "FINISHED" => RunStatus::Finished,
        "FAILED" => RunStatus::Failed,
        "KILLED" => RunStatus::Killed,
        other => {
            return Err(Error::invalid(format!(
                "status: \"{other}\" must be RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"
            )));
        }
    }))
}

async fn update(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let (status, end) = (status(args)?, args.int("end_time")?);
    let name = args.text("run_name")?.to_owned();
    let change = move |run: &mut Run| {
        if let Some(status) = status {
            run.status = status;
        }
        run.end = end.filter(|t| *t > 0).or(run.end);
        if !name.is_empty() {
            Tracking::rename(run, &name);
        }
        Ok(())
    };
    let run = ask
        .app
        .tracking
        .change_run(&ask.namespace, id(args)?, change)
        .await?;
    Ok(json!({"run_info": wire::run_info(&run)}))
}

fn tag(args: &Args) -> Result<Tag> {
    Ok(Tag {
        key: args.need("key")?.to_owned(),
        value: args.text("value")?.to_owned(),
    })
}

fn point(args: &Args) -> Result<Point> {
    let Some(timestamp) = args.int("timestamp")? else {
        return Err(Error::invalid(
            "Missing value for required parameter 'timestamp'.",
        ));
    };
    Ok(Point {
        key: args.need("key")?.to_owned(),
        at: Metric {
            value: args.float("value")?,
            timestamp,
            step: args.int("step")?.unwrap_or(0),
            model_id: args.text("model_id")?.to_owned(),
            dataset_name: args.text("dataset_name")?.to_owned(),
            dataset_digest: args.text("dataset_digest")?.to_owned(),
        },
    })
}

fn dataset(args: &Args) -> Result<DatasetInput> {
    let dataset = args.inner("dataset")?;
    let text = |name: &str| dataset.text(name).map(str::to_owned);
    Ok(DatasetInput {
        tags: args.tags("tags")?,
        dataset: Dataset {
            name: text("name")?,
            digest: text("digest")?,
            source_type: text("source_type")?,
            source: text("source")?,
            schema: text("schema")?,
            profile: text("profile")?,
        },
    })
}

fn models(args: &Args) -> Result<Vec<ModelRef>> {
    let one = |a: &Args| {
        Ok(ModelRef {
            model_id: a.need("model_id")?.to_owned(),
            step: a.int("step")?.unwrap_or(0),
        })
    };
    args.each("models")?.iter().map(one).collect()
}

/// MLflow 2's note of a model in a run: a tag that holds the list of them.
async fn log_model(ask: &Ask) -> Result<Value> {
    const TAG: &str = "mlflow.log-model.history";
    let given = ask.args.need("model_json")?;
    let model: Value = serde_json::from_str(given)
        .map_err(|e| Error::invalid(format!("model_json: not JSON: {e}")))?;
    let change = move |run: &mut Run| {
        let known = run.tags.get(TAG).and_then(|t| serde_json::from_str(t).ok());
        let mut list: Vec<Value> = known.unwrap_or_default();
        list.push(model);
        run.tags.insert(TAG.into(), Value::from(list).to_string());
        Ok(())
    };
    let run = id(&ask.args)?;
    ask.app
        .tracking
        .change_run(&ask.namespace, run, change)
        .await?;
    Ok(json!({}))
}

async fn search(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let filter = Filter::parse(args.text("filter")?, &SCHEMA)?;
    let keys = args.texts("order_by")?;
    let keys = keys.iter().map(String::as_str);
    let order = Order::parse(keys.chain(["start_time DESC", "run_id"]), &SCHEMA)?;
    let (active, deleted) = args::view(args, "run_view_type")?;
    let max = args.max_results(1000, 50_000)?;
    let (send, seen) = std::sync::mpsc::channel();
    for id in args.texts("experiment_ids")? {
        let (send, filter) = (send.clone(), filter.clone());
        let visit = move |run: Run| {
            let shown = if run.lifecycle == Lifecycle::Active {
                active
            } else {
                deleted
            };
            !shown || !filter.lets(&Seen(&run)) || send.send(run).is_ok()
        };
        ask.app.tracking.runs(&ask.namespace, &id, visit).await?;
    }
    drop(send);
    let mut found: Vec<Run> = seen.iter().collect();
    found.sort_by(|a, b| order.compare(&Seen(a), &Seen(b)));
    let (page, next) = args::page(args, found, max)?;
    Ok(wire::list(
        "runs",
        page.iter().map(wire::run).collect(),
        next,
    ))
}

async fn history(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let key = args.need("metric_key")?;
    let after = match args.text("page_token")? {
        "" => None,
        token => Some(URL_SAFE_NO_PAD.decode(token).map_err(|_| {
            Error::invalid("page_token: not a token of this list; start at the first page")
        })?),
    };
    let max = args.max_results(POINTS, POINTS)?;
    let page = ask
        .app
        .tracking
        .history(&ask.namespace, id(args)?, key, after, max);
    let page = page.await?;
    let points = page.points.iter().map(|m| wire::metric(key, m)).collect();
    Ok(wire::list(
        "metrics",
        points,
        page.next.map(|n| URL_SAFE_NO_PAD.encode(n)),
    ))
}

/// Points of one metric of several runs, thinned out evenly so that a plot can take them.
async fn bulk(ask: &Ask) -> Result<Value> {
    let args = &ask.args;
    let key = args.need("metric_key")?;
    let (from, to) = (args.int("start_step")?, args.int("end_step")?);
    let max = args.max_results(2500, 2500)?;
    let mut out = Vec::new();
    for run in args.texts("run_ids")?.iter().take(100) {
        let mut points = Vec::new();
        let mut after = None;
        loop {
            let page = ask
                .app
                .tracking
                .history(&ask.namespace, run, key, after, POINTS)
                .await?;
            let within =
                |m: &Metric| from.is_none_or(|f| m.step >= f) && to.is_none_or(|t| m.step <= t);
            points.extend(page.points.into_iter().filter(within));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        // Every n-th point and the last: steps stand in order.
        let each = points.len().div_ceil(max.max(1)).max(1);
        let last = points.len().saturating_sub(1);
        let kept = points
            .iter()
            .enumerate()
            .filter(|(i, _)| i % each == 0 || *i == last);
        out.extend(kept.map(|(_, m)| {
            let mut one = wire::metric(key, m);
            one["run_id"] = run.as_str().into();
            one
        }));
    }
    Ok(json!({"metrics": out}))
}
