//! Where data and models come from and where they went: artifacts, what made and used them, up and down. Nothing is
//! recorded twice: the graph is read off the objects that are there, the tasks of pipeline runs, tracked runs, commits
//! of data sets and versions of models ([`facts`]), and is as true as they are.

mod facts;
mod graph;
mod openlineage;

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use kfbox_store::{Caller, Error, Ref, kinds::core::NAMESPACE};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::Kube,
    kube::{Ask, check_access},
};
use graph::{Direction, Graph};

/// `?of=<node>[&direction=up|down|both][&depth=]`
pub(crate) const PATH: &str = "/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/lineage";
/// `?runId=`: the OpenLineage events of a pipeline run.
pub(crate) const EVENTS: &str = "/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/lineage/events";
/// Steps from the node that is asked about, at most.
const DEPTH: usize = 50;

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    of: String,
    #[serde(default)]
    direction: String,
    depth: Option<usize>,
}

fn check(caller: &Caller, namespace: &str) -> Result<(), Error> {
    let ask = Ask {
        verb: "get",
        group: "kfbox.dev",
        resource: "lineage",
        namespace,
        name: "",
    };
    check_access(caller, &ask)
}

pub(crate) async fn graph(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    Path(namespace): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Kube> {
    check(&caller, &namespace)?;
    app.store
        .fetch(&Ref::new(&NAMESPACE, "", &namespace))
        .await?;
    if asked.of.is_empty() {
        return Err(Error::invalid(
            "of: required: an artifact's URI, run/<id>, run/<id>/<task>, tracked-run/<id>, dataset/<name>@<commit> or model/<name>/<version>",
        )
        .into());
    }
    let direction = Direction::parse(&asked.direction)?;
    let facts = facts::read(&app, &namespace).await?;
    let of = asked.of;
    let depth = asked.depth.unwrap_or(DEPTH).min(DEPTH);
    // Thousands of tasks take a moment.
    let found = tokio::task::spawn_blocking(move || {
        let graph = Graph::of(&facts);
        graph.around(&of, direction, depth)
    });
    let (nodes, edges) = found.await.map_err(Error::internal)??;
    Ok(Json(json!({"nodes": nodes, "edges": edges})))
}

#[derive(Deserialize)]
pub(crate) struct OfRun {
    #[serde(default, rename = "runId")]
    run_id: String,
}

pub(crate) async fn events(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    Path(namespace): Path<String>,
    Query(asked): Query<OfRun>,
) -> Result<Json<Value>, Kube> {
    check(&caller, &namespace)?;
    if asked.run_id.is_empty() {
        return Err(Error::invalid("runId: required, the id of a pipeline run").into());
    }
    let facts = facts::read(&app, &namespace).await?;
    let events = openlineage::events(&facts, &namespace, &asked.run_id);
    if events.is_empty() {
        return Err(Error::not_found(format!("the run {} has no tasks here", asked.run_id)).into());
    }
    Ok(Json(events.into()))
}
