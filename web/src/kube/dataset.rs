//! What differs between two commits or branches of a data set: a subresource of Dataset, page by page.

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use kfbox_store::{
    Caller, Error, Ref, Result,
    blob::commit::folder,
    kinds::dataset::{
        DATASET, DATASET_COMMIT, DatasetCommitSpec, DatasetCommitStatus, DatasetSpec,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, check_access};
use crate::{App, error::Kube};

/// `?from=&to=[&after=][&limit=]`; without `from`, what `to` has beside its parent, or all of a first commit.
pub(super) const PATH: &str =
    "/apis/kfbox.dev/v1alpha1/namespaces/{namespace}/datasets/{name}/diff";
/// Lines of a page.
const LIMIT: usize = 1000;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn diff(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> std::result::Result<Json<Value>, Kube> {
    let ask = Ask {
        verb: "get",
        group: DATASET.group,
        resource: "datasets/diff",
        namespace: &namespace,
        name: &name,
    };
    check_access(&caller, &ask)?;
    let dataset = app
        .store
        .fetch(&Ref::new(&DATASET, &namespace, &name))
        .await?;
    let spec: DatasetSpec = dataset.spec()?;
    if asked.to.is_empty() {
        return Err(Error::invalid("to: required, the id of a commit, a tag or a branch").into());
    }
    let to = resolved(&spec, &asked.to);
    let from = match asked.from.as_str() {
        "" => parent(&app, &namespace, &name, to).await?,
        from => Some(resolved(&spec, from).to_owned()),
    };
    let limit = asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT);
    let found = app
        .blobs
        .diff(&name, from.as_deref(), to, asked.after, limit);
    let (changes, more) = found.await?;
    let next = changes.last().filter(|_| more).map(|c| c.path.clone());
    Ok(Json(json!({
        "from": from.as_deref().map(folder), "to": folder(to), "changes": changes, "next": next,
    })))
}

/// The folder that a tag names, or the name itself.
fn resolved<'a>(spec: &'a DatasetSpec, name: &'a str) -> &'a str {
    spec.tags.get(name).map_or(name, String::as_str)
}

/// The commit before this one; of a branch or a first commit none.
async fn parent(app: &App, namespace: &str, dataset: &str, id: &str) -> Result<Option<String>> {
    let selector = kfbox_store::Selector::namespace(namespace);
    for commit in app.store.list(&DATASET_COMMIT, selector).await?.items {
        let spec: DatasetCommitSpec = commit.spec()?;
        let status: DatasetCommitStatus = commit.status()?;
        if spec.dataset == dataset && status.id.starts_with(id) && !status.parent.is_empty() {
            return Ok(Some(status.parent));
        }
    }
    Ok(None)
}
