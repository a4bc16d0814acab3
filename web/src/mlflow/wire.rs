//! The records of tracking in MLflow's JSON.

use kfbox_store::track::{Experiment, Lifecycle, LoggedModel, Metric, Run, Tags};
use serde_json::{Map, Value, json};

fn lifecycle(l: Lifecycle) -> &'static str {
    match l {
        Lifecycle::Active => "active",
        Lifecycle::Deleted => "deleted",
    }
}

/// `[{"key": ..., "value": ...}]`.
pub(super) fn tags(tags: &Tags) -> Value {
    tags.iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

/// One point of a metric.
pub(super) fn metric(key: &str, m: &Metric) -> Value {
    let mut out = serde_json::to_value(m).unwrap_or_default();
    out["key"] = key.into();
    out
}

pub(super) fn experiment(e: &Experiment) -> Value {
    json!({
        "experiment_id": e.id,
        "name": e.name,
        "artifact_location": e.artifact_location,
        "lifecycle_stage": lifecycle(e.lifecycle),
        "creation_time": e.created,
        "last_update_time": e.updated,
        "tags": tags(&e.tags),
    })
}

pub(super) fn run_info(r: &Run) -> Value {
    let mut info = json!({
        "run_id": r.id,
        "run_uuid": r.id,
        "run_name": r.name,
        "experiment_id": r.experiment_id,
        "user_id": r.user,
        "status": r.status.name(),
        "start_time": r.start,
        "artifact_uri": r.artifact_uri,
        "lifecycle_stage": lifecycle(r.lifecycle),
    });
    if let Some(end) = r.end {
        info["end_time"] = end.into();
    }
    info
}

pub(super) fn run(r: &Run) -> Value {
    let metrics: Vec<_> = r.metrics.iter().map(|(key, m)| metric(key, m)).collect();
    json!({
        "info": run_info(r),
        "data": {"metrics": metrics, "params": tags(&r.params), "tags": tags(&r.tags)},
        "inputs": {"dataset_inputs": r.datasets, "model_inputs": r.model_inputs.iter()
            .map(|m| json!({"model_id": m.model_id})).collect::<Vec<_>>()},
        "outputs": {"model_outputs": r.model_outputs},
    })
}

pub(super) fn model(m: &LoggedModel) -> Value {
    let metrics = m.metrics.iter().map(|found| {
        let mut one = metric(&found.key, &found.at);
        one["run_id"] = found.run_id.clone().into();
        one
    });
    json!({
        "info": {
            "model_id": m.id,
            "experiment_id": m.experiment_id,
            "name": m.name,
            "creation_timestamp_ms": m.created,
            "last_updated_timestamp_ms": m.updated,
            "artifact_uri": m.artifact_uri,
            "status": m.status,
            "status_message": m.status_message,
            "model_type": m.model_type,
            "source_run_id": m.source_run_id,
            "tags": tags(&m.tags),
        },
        "data": {"params": tags(&m.params), "metrics": metrics.collect::<Vec<_>>()},
    })
}

/// A list under its name, with the token of the next page when there is one.
pub(super) fn list(name: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut out = Map::new();
    out.insert(name.into(), items.into());
    if let Some(next) = next {
        out.insert("next_page_token".into(), next.into());
    }
    out.into()
}
