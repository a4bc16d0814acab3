//! Data sets with versions: Dataset, DatasetCommit. A data set is a bucket of its own name; its branches are folders in
//! which everybody writes, its commits are folders that never change (see [`crate::blob::commit`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema_of;
use crate::{
    Column, Error, Kind, Object, Result, Verbs,
    blob::commit::{Changes, looks_like_commit},
};

/// A data set: a bucket of this name with branches, tags and commits.
pub static DATASET: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "Dataset",
    plural: "datasets",
    verbs: Verbs::All,
    namespaced: true,
    schema: Some(schema_of::<DatasetSpec, DatasetStatus>),
    prepare: |o| hold(o, DATASET_FINALIZER),
    validate: check_dataset,
    columns: &[
        Column::path("Head", ".status.branches.main.commit"),
        Column::path("Objects", ".status.branches.main.objects"),
        Column::path("Bytes", ".status.branches.main.bytes"),
        Column::path("Message", ".status.message"),
    ],
    ..Kind::BASE
};

/// What a branch held at one instant. Made by whoever wants one; the box fills in the status.
pub static DATASET_COMMIT: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "DatasetCommit",
    plural: "datasetcommits",
    short: &["dsc"],
    verbs: Verbs::CreateDelete,
    namespaced: true,
    schema: Some(schema_of::<DatasetCommitSpec, DatasetCommitStatus>),
    prepare: |o| hold(o, COMMIT_FINALIZER),
    validate: |o| {
        let spec: DatasetCommitSpec = o.spec()?;
        match spec.dataset.as_str() {
            "" => Err(Error::invalid(
                "spec.dataset: required, the name of a Dataset",
            )),
            _ => Ok(()),
        }
    },
    columns: &[
        Column::path("Dataset", ".spec.dataset"),
        Column::path("Branch", ".spec.branch"),
        Column::path("Phase", ".status.phase"),
        Column::path("URI", ".status.uri"),
        Column::path("Objects", ".status.objects"),
        Column::path("Message", ".spec.message"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[&DATASET, &DATASET_COMMIT];

/// Held by a Dataset until its commits are taken away.
pub const DATASET_FINALIZER: &str = "kfbox.dev/dataset";
/// Held by a commit until its folder is taken away.
pub const COMMIT_FINALIZER: &str = "kfbox.dev/commit";
/// The branch that every data set has.
pub const MAIN: &str = "main";

fn hold(object: &mut Object, finalizer: &str) -> Result<()> {
    if object.metadata.uid.is_empty() {
        object.metadata.finalizers.retain(|f| f != finalizer);
        object.metadata.finalizers.push(finalizer.into());
    }
    Ok(())
}

/// What a data set should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DatasetSpec {
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Branches beside `main`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    /// Names for commits, and the commit's id (its first 12 letters do).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Pipelines that run at each commit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
}

/// A branch: a folder in which everybody writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Branch {
    /// Its folder in the bucket.
    pub name: String,
    /// What it begins with: a commit's id, a tag or a branch; absent = nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
}

/// A pipeline that runs at each commit of a branch that changes something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Trigger {
    /// Which branch; absent = `main`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Its version; absent = the newest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pipeline_version_id: String,
    /// The experiment of the runs; absent = the default one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub experiment_id: String,
    /// The runs' parameters. In texts `$(commit.uri)`, `$(commit.id)`, `$(commit.branch)` and `$(dataset)` are replaced.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
}

impl Trigger {
    /// Its branch.
    pub fn on(&self) -> &str {
        match self.branch.as_str() {
            "" => MAIN,
            branch => branch,
        }
    }
}

/// What a data set has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatasetStatus {
    /// The branches there are, and the newest commit of each.
    pub branches: BTreeMap<String, Head>,
    /// What stands in the way.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The newest commit of a branch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Head {
    /// Its whole id; "" = nothing was committed yet.
    pub commit: String,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is to be committed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DatasetCommitSpec {
    /// The data set.
    pub dataset: String,
    /// The branch; absent = `main`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Who.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The pipeline run that made the data, by its id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run_id: String,
}

impl DatasetCommitSpec {
    /// Its branch.
    pub fn on(&self) -> &str {
        match self.branch.as_str() {
            "" => MAIN,
            branch => branch,
        }
    }
}

/// How far a commit is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum CommitPhase {
    /// Its turn has not come, or its bytes are being read.
    #[default]
    Pending,
    /// It is there.
    Ready,
    /// The branch holds what its parent holds: the parent stands for it.
    Unchanged,
    /// It could not be made.
    Failed,
}

/// What was committed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatasetCommitStatus {
    /// How far it is.
    pub phase: CommitPhase,
    /// SHA-256 over what it holds, its parent, author, time and message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Where its objects are, for ever: `s3://<data set>/<first 12 letters of the id>/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// SHA-256 over its objects alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tree: String,
    /// The commit before it on its branch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Beside its parent.
    pub changes: Changes,
    /// Runs that were started because of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Names of branches and tags stand in paths.
fn check_name(field: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(plain)
        || name.starts_with(['.', '-'])
    {
        return Err(Error::invalid(format!(
            "{field}: \"{name}\" must be at most 63 letters, digits, '.', '_' or '-', and begin with a letter or a digit"
        )));
    }
    if looks_like_commit(name) {
        return Err(Error::invalid(format!(
            "{field}: \"{name}\" could be the id of a commit: choose another name"
        )));
    }
    Ok(())
}

fn check_dataset(object: &Object) -> Result<()> {
    let name = &object.metadata.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(3..=63).contains(&name.len()) || !name.chars().all(plain) {
        return Err(Error::invalid(format!(
            "metadata.name: \"{name}\" becomes a bucket: it must be 3 to 63 small letters, digits and '-'"
        )));
    }
    let spec: DatasetSpec = object.spec()?;
    let mut seen = vec![MAIN];
    for (i, branch) in spec.branches.iter().enumerate() {
        check_name(&format!("spec.branches[{i}].name"), &branch.name)?;
        if seen.contains(&branch.name.as_str()) {
            return Err(Error::invalid(format!(
                "spec.branches[{i}].name: \"{}\" is there already{}",
                branch.name,
                if branch.name == MAIN {
                    ": every data set has it"
                } else {
                    ""
                }
            )));
        }
        seen.push(&branch.name);
    }
    for (tag, commit) in &spec.tags {
        check_name(&format!("spec.tags[{tag}]"), tag)?;
        if seen.contains(&tag.as_str()) {
            return Err(Error::invalid(format!(
                "spec.tags[{tag}]: a branch has this name"
            )));
        }
        if commit.len() < 12 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid(format!(
                "spec.tags[{tag}]: \"{commit}\" must be a commit's id, or its first 12 letters"
            )));
        }
    }
    for (i, trigger) in spec.triggers.iter().enumerate() {
        if trigger.pipeline_id.is_empty() {
            return Err(Error::invalid(format!(
                "spec.triggers[{i}].pipelineId: required"
            )));
        }
        if !seen.contains(&trigger.on()) {
            return Err(Error::invalid(format!(
                "spec.triggers[{i}].branch: there is no branch \"{}\" in spec.branches",
                trigger.branch
            )));
        }
    }
    Ok(())
}
