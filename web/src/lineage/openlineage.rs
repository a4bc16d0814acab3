//! A pipeline run as OpenLineage events (spec 2-0-2): for each of its tasks START and COMPLETE, FAIL or ABORT, with
//! the data sets that went in and came out.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::facts::{Execution, Facts, Thing};

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const PRODUCER: &str = concat!("https://kfbox.dev/", env!("CARGO_PKG_VERSION"));

/// A UUID that follows from a text: OpenLineage wants one for each task's run.
fn uuid_of(text: &str) -> String {
    let digest = Sha256::digest(text);
    let bytes: [u8; 16] = std::array::from_fn(|i| digest[i]);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// Its namespace is the bucket, as OpenLineage's naming rules say of object stores.
fn dataset(thing: &Thing) -> Value {
    let (place, name) = match thing.uri.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((bucket, key)) => (format!("{scheme}://{bucket}"), key),
            None => (format!("{scheme}://{rest}"), "/"),
        },
        None => ("kfbox".to_owned(), thing.uri.as_str()),
    };
    json!({"namespace": place, "name": name})
}

fn event(kind: &str, at: &str, namespace: &str, e: &Execution, outputs: bool) -> Value {
    let pipeline = e
        .facts
        .get("code")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let task =
        e.id.rsplit_once('/')
            .map_or(e.id.as_str(), |(_, task)| task);
    json!({
        "eventType": kind,
        "eventTime": at,
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {
            "runId": uuid_of(&e.id),
            "facets": {"parent": {
                "_producer": PRODUCER,
                "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/ParentRunFacet.json#/$defs/ParentRunFacet",
                "run": {"runId": e.run_id},
                "job": {"namespace": namespace, "name": pipeline},
            }},
        },
        "job": {"namespace": namespace, "name": task},
        "inputs": e.inputs.iter().map(dataset).collect::<Vec<_>>(),
        "outputs": if outputs { e.outputs.iter().map(dataset).collect() } else { Vec::new() },
    })
}

/// The events of a pipeline run, in order of time.
pub(super) fn events(facts: &Facts, namespace: &str, run: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let tasks = facts
        .executions
        .iter()
        .filter(|e| e.run_id == run && e.id.starts_with("run/"));
    for e in tasks {
        if let Some(start) = &e.start {
            all.push(event("START", start, namespace, e, false));
        }
        let kind = match e.state.as_str() {
            "SUCCEEDED" | "CACHED" => "COMPLETE",
            "FAILED" => "FAIL",
            "CANCELED" => "ABORT",
            _ => continue,
        };
        if let Some(end) = &e.end {
            all.push(event(kind, end, namespace, e, true));
        }
    }
    all.sort_by_key(|e| e["eventTime"].as_str().map(str::to_owned));
    all
}
