//! Objects as the KFP API shows them: snake_case, unset fields left out, times in whole seconds.

use kfbox_store::{
    Object, Result,
    kinds::pipeline::{
        ExperimentSpec, PipelineInfo, PipelineSpecBody, PipelineVersionSpec, RunSpec, RunState,
        RunStatus,
    },
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::index::storage_state;

/// What upstream shows for a time that has not come.
pub(super) const NEVER: &str = "1970-01-01T00:00:00Z";

/// Builds an object without its empty fields.
#[derive(Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Sets a field, unless the value is null, "", [] or {}.
    pub(super) fn put(mut self, key: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_default();
        let empty = match &value {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.is_empty(),
            _ => false,
        };
        if !empty {
            self.0.insert(key.into(), value);
        }
        self
    }

    pub(super) fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// RFC 3339 in whole seconds.
pub(super) fn seconds(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(t) => t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => time.to_string(),
    }
}

fn created(object: &Object) -> &str {
    object
        .metadata
        .creation_timestamp
        .as_deref()
        .unwrap_or_default()
}

pub(super) fn pipeline(object: &Object) -> Result<Value> {
    let spec: PipelineInfo = object.spec()?;
    Ok(Fields::default()
        .put("pipeline_id", &object.metadata.name)
        .put("name", spec.name)
        .put("display_name", spec.display_name)
        .put("description", spec.description)
        .put("created_at", created(object))
        .put("namespace", &object.metadata.namespace)
        .put("tags", spec.tags)
        .done())
}

pub(super) fn version(object: &Object, ir: Option<&PipelineSpecBody>) -> Result<Value> {
    let spec: PipelineVersionSpec = object.spec()?;
    Ok(Fields::default()
        .put("pipeline_id", spec.pipeline_id)
        .put("pipeline_version_id", &object.metadata.name)
        .put("name", spec.name)
        .put("display_name", spec.display_name)
        .put("description", spec.description)
        .put("created_at", created(object))
        .put("code_source_url", spec.code_source_url)
        .put("pipeline_spec", ir.map(pipeline_spec))
        .put("tags", spec.tags)
        .done())
}

/// The bare IR, or both documents when there is a platform document: as upstream does.
pub(super) fn pipeline_spec(body: &PipelineSpecBody) -> Value {
    if body.platform.is_null() {
        body.pipeline.clone()
    } else {
        json!({"pipeline_spec": body.pipeline, "platform_spec": body.platform})
    }
}

pub(super) fn experiment(object: &Object) -> Result<Value> {
    let spec: ExperimentSpec = object.spec()?;
    let last_run = spec.last_run_created_at.as_deref().unwrap_or(NEVER);
    Ok(Fields::default()
        .put("experiment_id", &object.metadata.name)
        .put("display_name", spec.display_name)
        .put("description", spec.description)
        .put("created_at", created(object))
        .put("namespace", &object.metadata.namespace)
        .put("storage_state", storage_state(spec.storage_state))
        .put("last_run_created_at", seconds(last_run))
        .done())
}

/// The state a client must see: what was asked for and not acted on yet counts already, so that a client that
/// asks right after `:terminate` or `:retry` does not read the state from before.
pub(super) fn shown_state(spec: &RunSpec, status: &RunStatus) -> RunState {
    if spec.retry > status.retry {
        RunState::Pending
    } else if spec.terminate && !status.state.terminal() {
        RunState::Canceling
    } else {
        status.state
    }
}

/// When the run ended, if it has.
pub(super) fn finish_time(spec: &RunSpec, status: &RunStatus) -> Option<String> {
    let ended = shown_state(spec, status).terminal();
    status.finish_time.clone().filter(|_| ended)
}

pub(super) fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Pending => "PENDING",
        RunState::Running => "RUNNING",
        RunState::Succeeded => "SUCCEEDED",
        RunState::Skipped => "SKIPPED",
        RunState::Failed => "FAILED",
        RunState::Canceling => "CANCELING",
        RunState::Canceled => "CANCELED",
    }
}

/// google.rpc.Status with code UNKNOWN: a workload's failure is none of gRPC's own classes.
pub(super) fn failure(message: &str) -> Option<Value> {
    (!message.is_empty()).then(|| json!({"code": 2, "message": message}))
}

/// A run. Unlike upstream's answer, one with a version reference holds its spec too: clients of a run need not
/// find a version that may be deleted by now.
pub(super) fn run(
    object: &Object,
    ir: Option<&PipelineSpecBody>,
    tasks: Vec<Value>,
) -> Result<Value> {
    let spec: RunSpec = object.spec()?;
    let status: RunStatus = object.status()?;
    let state = shown_state(&spec, &status);
    let finished = finish_time(&spec, &status).unwrap_or_else(|| NEVER.into());
    let mut history: Vec<Value> = status
        .state_history
        .iter()
        .map(|change| {
            Fields::default()
                .put("update_time", seconds(&change.update_time))
                .put("state", run_state(change.state))
                .put("error", failure(&change.error))
                .done()
        })
        .collect();
    if history.is_empty() {
        history.push(json!({"update_time": created(object), "state": "PENDING"}));
    }
    let reference = spec.pipeline_version_reference.as_ref().map(|r| {
        Fields::default()
            .put("pipeline_id", &r.pipeline_id)
            .put("pipeline_version_id", &r.pipeline_version_id)
            .done()
    });
    let config = Fields::default()
        .put("parameters", &spec.runtime_config.parameters)
        .put("pipeline_root", &spec.runtime_config.pipeline_root)
        .done();
    let details = Fields::default().put("task_details", tasks).done();
    let failed = state == RunState::Failed;
    Ok(Fields::default()
        .put("experiment_id", &spec.experiment_id)
        .put("run_id", &object.metadata.name)
        .put("display_name", &spec.display_name)
        .put("description", &spec.description)
        .put("storage_state", storage_state(spec.storage_state))
        .put("pipeline_spec", ir.map(pipeline_spec))
        .put("pipeline_version_reference", reference)
        .put("runtime_config", config)
        .put("service_account", &spec.service_account)
        .put("created_at", created(object))
        .put("scheduled_at", created(object))
        .put("finished_at", seconds(&finished))
        .put("state", run_state(state))
        .put("error", failure(&status.message).filter(|_| failed))
        .put("run_details", details)
        .put("state_history", history)
        .done())
}
