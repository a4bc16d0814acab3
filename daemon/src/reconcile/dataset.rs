//! The data-set room: keeps a bucket with its branches for each Dataset, makes commits one after the other, starts the
//! pipelines that wait for them, and takes away what is deleted.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use kfbox_store::{
    Code, Error, Event, Kind, Object, Ref, Result, Selector,
    blob::commit::{About, Frozen, folder},
    kinds::dataset::{
        COMMIT_FINALIZER, CommitPhase, DATASET, DATASET_COMMIT, DATASET_FINALIZER,
        DatasetCommitSpec, DatasetCommitStatus, DatasetSpec, DatasetStatus, Head, MAIN, Trigger,
    },
};
use kfbox_web::{App, StartRun};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Ctx;
use crate::controller::{Action, Reconciler};

/// Names the commit that a run was started by: `<data set>@<id>`.
const COMMIT: &str = "kfbox.dev/commit";

/// The room.
pub struct Datasets(pub Ctx, pub Arc<App>);

/// A commit of a data set, read.
struct Commit {
    at: Ref,
    object: Object,
    spec: DatasetCommitSpec,
    status: DatasetCommitStatus,
}

#[async_trait]
impl Reconciler for Datasets {
    fn name(&self) -> &'static str {
        "dataset"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&DATASET]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let meta = &object.metadata;
        if object.kind == DATASET.kind {
            wake(Ref::new(&DATASET, &meta.namespace, &meta.name));
        } else if object.kind == DATASET_COMMIT.kind
            && !event.deleted()
            && let Ok(spec) = object.spec::<DatasetCommitSpec>()
        {
            wake(Ref::new(&DATASET, &meta.namespace, &spec.dataset));
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        let commits = self.commits(key).await?;
        let Some(dataset) = self.0.store.get(key).await? else {
            for commit in commits {
                self.orphan(key, commit).await?;
            }
            return Ok(Action::Wait);
        };
        let held = dataset
            .metadata
            .finalizers
            .iter()
            .any(|f| f == DATASET_FINALIZER);
        if dataset.deleting() {
            if held {
                self.take_away(key, commits).await?;
            }
            return Ok(Action::Wait);
        }
        let spec: DatasetSpec = dataset.spec()?;
        let branches = self.branches(key, &spec, &dataset, &commits).await;
        let message = match branches {
            Ok(()) => String::new(),
            Err(e) if matches!(e.code, Code::Conflict | Code::NotFound | Code::Invalid) => {
                e.message
            }
            Err(e) => return Err(e),
        };
        let blocked = message.clone();
        let told = self.0.store.modify(key, move |o| {
            let mut status: DatasetStatus = o.status()?;
            status.message = message;
            o.set("status", &status)
        });
        told.await?;
        if !blocked.is_empty() {
            return Ok(Action::Wait);
        }
        for commit in commits {
            if commit.object.deleting() {
                self.remove(key, &spec, &commit).await?;
            } else if commit.status.phase == CommitPhase::Pending {
                self.commit(key, &spec, &commit).await?;
            }
        }
        Ok(Action::Wait)
    }
}

impl Datasets {
    /// The commits of a data set, the oldest first.
    async fn commits(&self, key: &Ref) -> Result<Vec<Commit>> {
        let all = self
            .0
            .store
            .list(&DATASET_COMMIT, Selector::namespace(&key.namespace))
            .await?;
        let mut found = Vec::new();
        for object in all.items {
            let spec: DatasetCommitSpec = object.spec()?;
            if spec.dataset == key.name
                && let Some(at) = object.reference()
            {
                let status = object.status()?;
                found.push(Commit {
                    at,
                    object,
                    spec,
                    status,
                });
            }
        }
        let age = |c: &Commit| {
            let meta = &c.object.metadata;
            (meta.creation_timestamp.clone(), meta.name.clone())
        };
        found.sort_by_key(age);
        Ok(found)
    }

    /// Sees to it that the bucket and all branches are there.
    async fn branches(
        &self,
        key: &Ref,
        spec: &DatasetSpec,
        dataset: &Object,
        commits: &[Commit],
    ) -> Result<()> {
        let names = std::iter::once(MAIN).chain(spec.branches.iter().map(|b| b.name.as_str()));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let blobs = &self.0.blobs;
        blobs
            .set_branches(&key.name, &key.namespace, Some(names.clone()))
            .await?;
        let there: DatasetStatus = dataset.status()?;
        for name in &names {
            if there.branches.contains_key(name) {
                continue;
            }
            let branch = spec.branches.iter().find(|b| b.name == *name);
            let from = branch.map_or("", |b| b.from.as_str());
            let mut head = Head::default();
            if !from.is_empty() {
                let commit = spec.tags.get(from).map_or(from, String::as_str);
                match blobs.branch_off(&key.name, commit, name).await {
                    // Done before a crash, or by hand.
                    Err(e) if e.code == Code::Conflict => {}
                    other => other?,
                }
                let id = there
                    .branches
                    .get(from)
                    .map_or(commit, |h| h.commit.as_str());
                let found = commits
                    .iter()
                    .find(|c| c.status.id.starts_with(id) && !id.is_empty());
                if let Some(c) = found {
                    head = Head {
                        commit: c.status.id.clone(),
                        objects: c.status.objects,
                        bytes: c.status.bytes,
                    };
                }
            }
            self.set_head(key, name, head).await?;
        }
        let gone = there.branches.into_keys().filter(|b| !names.contains(b));
        let gone: Vec<String> = gone.collect();
        if gone.is_empty() {
            return Ok(());
        }
        let forget = self.0.store.modify(key, move |o| {
            let mut status: DatasetStatus = o.status()?;
            status.branches.retain(|b, _| !gone.contains(b));
            o.set("status", &status)
        });
        forget.await.map(|_| ())
    }

    async fn set_head(&self, key: &Ref, branch: &str, head: Head) -> Result<()> {
        let branch = branch.to_owned();
        let write = self.0.store.modify(key, move |o| {
            let mut status: DatasetStatus = o.status()?;
            status.branches.insert(branch, head);
            o.set("status", &status)
        });
        write.await.map(|_| ())
    }

    /// Makes a commit and writes what became of it.
    async fn commit(&self, key: &Ref, spec: &DatasetSpec, commit: &Commit) -> Result<()> {
        let branch = commit.spec.on();
        let status: DatasetStatus = self.0.store.fetch(key).await?.status()?;
        let Some(head) = status.branches.get(branch) else {
            let why = format!("the data set {} has no branch {branch}", key.name);
            return self.fail(commit, why).await;
        };
        let meta = &commit.object.metadata;
        let about = About {
            parent: head.commit.clone(),
            author: commit.spec.author.clone(),
            message: commit.spec.message.clone(),
            at: meta.creation_timestamp.clone().unwrap_or_default(),
        };
        let parent = about.parent.clone();
        tracing::info!(dataset = key.name, branch, commit = meta.name, "committing");
        let frozen = match self
            .0
            .blobs
            .commit(&key.name, branch, &meta.uid, about)
            .await
        {
            Ok(frozen) => frozen,
            Err(e) if matches!(e.code, Code::Invalid | Code::Conflict) => {
                return self.fail(commit, e.message).await;
            }
            Err(e) => return Err(e),
        };
        let mut told = DatasetCommitStatus {
            phase: if frozen.unchanged {
                CommitPhase::Unchanged
            } else {
                CommitPhase::Ready
            },
            uri: format!("s3://{}/{}/", key.name, folder(&frozen.id)),
            tree: frozen.tree.clone(),
            objects: frozen.objects,
            bytes: frozen.bytes,
            changes: frozen.changes,
            parent,
            id: frozen.id.clone(),
            ..DatasetCommitStatus::default()
        };
        if !frozen.unchanged {
            self.start(key, spec, commit, &frozen, &mut told).await?;
        }
        let (key, at, branch) = (key.clone(), commit.at.clone(), branch.to_owned());
        let head = Head {
            commit: frozen.id,
            objects: frozen.objects,
            bytes: frozen.bytes,
        };
        let write = self.0.store.write(move |txn| {
            txn.modify(&at, |o| o.set("status", &told))?;
            txn.modify(&key, |o| {
                let mut status: DatasetStatus = o.status()?;
                status.branches.insert(branch, head);
                o.set("status", &status)
            })
        });
        write.await.map(|_| ())
    }

    async fn fail(&self, commit: &Commit, message: String) -> Result<()> {
        let told = DatasetCommitStatus {
            phase: CommitPhase::Failed,
            message,
            ..commit.status.clone()
        };
        let write = self
            .0
            .store
            .modify(&commit.at, move |o| o.set("status", &told));
        write.await.map(|_| ())
    }

    /// Starts the pipelines that wait for this commit. Their runs' ids follow from the commit, so that none is started
    /// twice.
    async fn start(
        &self,
        key: &Ref,
        spec: &DatasetSpec,
        commit: &Commit,
        frozen: &Frozen,
        told: &mut DatasetCommitStatus,
    ) -> Result<()> {
        let branch = commit.spec.on();
        for (i, trigger) in spec
            .triggers
            .iter()
            .enumerate()
            .filter(|(_, t)| t.on() == branch)
        {
            if key.namespace != self.1.config.namespace {
                told.message = format!(
                    "no pipeline was started: pipelines run in the namespace {} only",
                    self.1.config.namespace
                );
                return Ok(());
            }
            let seed = Sha256::digest(format!("{}/{i}", commit.object.metadata.uid));
            let id = uuid::Uuid::from_slice(&seed[..16])
                .map_err(Error::internal)?
                .to_string();
            let short = folder(&frozen.id);
            let words = [
                ("$(commit.uri)", told.uri.as_str()),
                ("$(commit.id)", short),
                ("$(commit.branch)", branch),
                ("$(dataset)", &key.name),
            ];
            let run = StartRun {
                display_name: format!("{} {short}", key.name),
                description: format!("Started by a commit of the data set {}", key.name),
                annotations: BTreeMap::from([(
                    COMMIT.into(),
                    format!("{}@{}", key.name, frozen.id),
                )]),
                parameters: filled(trigger, &words),
                pipeline_id: trigger.pipeline_id.clone(),
                pipeline_version_id: trigger.pipeline_version_id.clone(),
                experiment_id: trigger.experiment_id.clone(),
                id: id.clone(),
            };
            match self.1.start_run(run).await {
                Ok(()) => told.runs.push(id),
                // The commit stands; why there is no run is said beside it.
                Err(e) if e.code != Code::Internal && e.code != Code::Unavailable => {
                    told.message = format!("triggers[{i}]: no run was started: {}", e.message);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Takes a deleted commit away, unless a tag still names it.
    async fn remove(&self, key: &Ref, spec: &DatasetSpec, commit: &Commit) -> Result<()> {
        let id = &commit.status.id;
        let own = commit.status.phase == CommitPhase::Ready;
        let tagged = spec
            .tags
            .iter()
            .find(|(_, of)| own && id.starts_with(of.as_str()));
        if let Some((tag, _)) = tagged {
            let told = DatasetCommitStatus {
                message: format!("the tag {tag} names this commit: remove the tag, and it goes"),
                ..commit.status.clone()
            };
            if told == commit.status {
                return Ok(());
            }
            let write = self
                .0
                .store
                .modify(&commit.at, move |o| o.set("status", &told));
            return write.await.map(|_| ());
        }
        self.free(key, commit).await?;
        // Its children stand on its parent, for the next commit of a branch to be compared with.
        let (id, parent) = (id.clone(), commit.status.parent.clone());
        let heads = self.0.store.modify(key, move |o| {
            let mut status: DatasetStatus = o.status()?;
            for head in status
                .branches
                .values_mut()
                .filter(|h| own && h.commit == id)
            {
                *head = Head {
                    commit: parent.clone(),
                    ..Head::default()
                };
            }
            o.set("status", &status)
        });
        heads.await.map(|_| ())
    }

    /// Takes a commit's folder away and lets its object go.
    async fn free(&self, key: &Ref, commit: &Commit) -> Result<()> {
        let own = commit.status.phase == CommitPhase::Ready;
        let id = own.then_some(commit.status.id.as_str());
        self.0
            .blobs
            .uncommit(&key.name, &commit.object.metadata.uid, id)
            .await?;
        let let_go = self.0.store.modify(&commit.at, |o| {
            o.metadata.finalizers.retain(|f| f != COMMIT_FINALIZER);
            Ok(())
        });
        match let_go.await {
            Err(e) if e.code != Code::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// A commit without a data set.
    async fn orphan(&self, key: &Ref, commit: Commit) -> Result<()> {
        if commit.object.deleting() {
            self.free(key, &commit).await
        } else if commit.status.phase == CommitPhase::Pending {
            self.fail(
                &commit,
                format!("there is no Dataset {} in {}", key.name, key.namespace),
            )
            .await
        } else {
            Ok(())
        }
    }

    /// A deleted data set: its commits go; its bucket stays, with what is in the branches.
    async fn take_away(&self, key: &Ref, commits: Vec<Commit>) -> Result<()> {
        for commit in commits {
            if !commit.object.deleting() {
                self.0.store.delete(&commit.at).await?;
            }
            self.free(key, &commit).await?;
        }
        match self
            .0
            .blobs
            .set_branches(&key.name, &key.namespace, None)
            .await
        {
            // It never was ours.
            Err(e) if e.code == Code::Conflict => {}
            other => other?,
        }
        let let_go = self.0.store.modify(key, |o| {
            o.metadata.finalizers.retain(|f| f != DATASET_FINALIZER);
            Ok(())
        });
        let_go.await.map(|_| ())
    }
}

/// A trigger's parameters with the commit's words in them.
fn filled(trigger: &Trigger, words: &[(&str, &str)]) -> Map<String, Value> {
    fn fill(value: &Value, words: &[(&str, &str)]) -> Value {
        match value {
            Value::String(text) => {
                let filled = words
                    .iter()
                    .fold(text.clone(), |text, (word, to)| text.replace(word, to));
                Value::String(filled)
            }
            Value::Array(list) => list.iter().map(|v| fill(v, words)).collect(),
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(k, v)| (k.clone(), fill(v, words)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }
    trigger
        .parameters
        .iter()
        .map(|(k, v)| (k.clone(), fill(v, words)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_name_the_commit() {
        let trigger: Trigger = serde_json::from_value(json!({
            "pipelineId": "p",
            "parameters": {"data": "$(commit.uri)train.csv", "all": ["$(dataset)", 3], "n": 5},
        }))
        .unwrap_or_default();
        let words = [
            ("$(commit.uri)", "s3://digits/0123456789ab/"),
            ("$(dataset)", "digits"),
        ];
        assert_eq!(
            Value::Object(filled(&trigger, &words)),
            json!({"data": "s3://digits/0123456789ab/train.csv", "all": ["digits", 3], "n": 5})
        );
    }
}
