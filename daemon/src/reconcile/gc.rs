//! What nobody needs any more: logs and folders of Pods that are gone, artifacts of runs that are gone,
//! pipeline specs that nothing refers to. Everything here is found again after a crash by the sweep at start.

use std::{collections::HashSet, path::Path, time::Duration};

use async_trait::async_trait;
use kfbox_store::{
    Error, Event, Kind, Object, Ref, Result, Selector,
    kinds::{
        core::POD,
        pipeline::{
            PIPELINE_SPEC, PIPELINE_VERSION, PipelineVersionSpec, RUN, RunSpec, TASK, TaskSpec,
            TaskStatus,
        },
    },
};

use super::{
    Ctx,
    pod::{log_dir, memory_dir},
};
use crate::controller::{Action, Reconciler};

/// A spec may be stored a moment before the run or version that needs it is seen.
const YOUNG: Duration = Duration::from_secs(60);

/// The room.
pub struct Gc(pub Ctx);

#[async_trait]
impl Reconciler for Gc {
    fn name(&self) -> &'static str {
        "gc"
    }

    fn kinds(&self) -> Vec<&'static Kind> {
        vec![&PIPELINE_SPEC]
    }

    fn concerns(&self, event: &Event, wake: &mut dyn FnMut(Ref)) {
        let object = &event.object;
        let key = |kind| Ref::new(kind, &object.metadata.namespace, &object.metadata.name);
        match object.kind.as_str() {
            "Pod" if event.deleted() => {
                wake(key(&POD));
                wake(Ref::new(&POD, "", &object.metadata.uid));
            }
            "Run" | "PipelineVersion" if event.deleted() => {
                if object.kind == RUN.kind {
                    wake(key(&RUN));
                }
                wake(Ref::new(&PIPELINE_SPEC, &object.metadata.namespace, ""));
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Ref) -> Result<Action> {
        if key.kind.kind == POD.kind && key.namespace.is_empty() {
            // A uid: a later Pod of the same name has folders of its own.
            remove(&self.0.pod_dir(&key.name)).await?;
            remove(&memory_dir(&self.0.box_id, &key.name)).await?;
        } else if key.kind.kind == POD.kind {
            self.logs(key).await?;
        } else if key.kind.kind == RUN.kind {
            if self.0.store.get(key).await?.is_none() {
                self.artifacts(key).await?;
            }
        } else {
            self.specs(&key.namespace).await?;
        }
        Ok(Action::Wait)
    }
}

impl Gc {
    /// Removes what Pods of this name left, but not what belongs to one that is there.
    async fn logs(&self, key: &Ref) -> Result<()> {
        let dir = log_dir(&self.0, &key.namespace, &key.name);
        match self.0.store.get(key).await? {
            None => {
                remove(&dir).await?;
                remove(&self.0.step_dir(&key.name)).await
            }
            Some(pod) => {
                for uid in names(&dir).await {
                    if !pod.metadata.uid.starts_with(&uid) {
                        remove(&dir.join(uid)).await?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Removes a deleted run's artifacts, but not those that another run reuses from the cache.
    async fn artifacts(&self, run: &Ref) -> Result<()> {
        let tasks = self
            .0
            .store
            .list(&TASK, Selector::namespace(&run.namespace))
            .await?
            .items;
        let mark = format!("/{}/", run.name);
        for task in &tasks {
            let status: TaskStatus = task.status()?;
            let mut used = status
                .outputs
                .artifacts
                .values()
                .flatten()
                .chain(status.inputs.artifacts.values().flatten());
            if used.any(|a| a.uri.contains(&mark)) {
                tracing::debug!(run = run.name, "its artifacts stay: another run uses them");
                return Ok(());
            }
        }
        self.0.blobs.remove_run(&run.name).await
    }

    async fn specs(&self, namespace: &str) -> Result<()> {
        let mut used = HashSet::new();
        for run in self
            .0
            .store
            .list(&RUN, Selector::namespace(namespace))
            .await?
            .items
        {
            used.insert(run.spec::<RunSpec>()?.pipeline_spec.digest);
        }
        for version in self
            .0
            .store
            .list(&PIPELINE_VERSION, Selector::namespace(namespace))
            .await?
            .items
        {
            used.insert(version.spec::<PipelineVersionSpec>()?.pipeline_spec.digest);
        }
        for spec in self
            .0
            .store
            .list(&PIPELINE_SPEC, Selector::namespace(namespace))
            .await?
            .items
        {
            if !used.contains(&spec.metadata.name)
                && !young(&spec)
                && let Some(key) = spec.reference()
            {
                self.0.store.delete(&key).await?;
            }
        }
        Ok(())
    }
}

fn young(object: &Object) -> bool {
    let created = object
        .metadata
        .creation_timestamp
        .as_deref()
        .unwrap_or_default();
    created.parse::<jiff::Timestamp>().is_ok_and(|at| {
        Duration::try_from(jiff::Timestamp::now().duration_since(at)).is_ok_and(|age| age < YOUNG)
    })
}

async fn remove(path: &Path) -> Result<()> {
    let gone = match tokio::fs::symlink_metadata(path).await {
        Ok(meta) if meta.is_dir() => tokio::fs::remove_dir_all(path).await,
        Ok(_) => tokio::fs::remove_file(path).await,
        Err(e) => Err(e),
    };
    match gone {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("{}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// At start: removes logs and step folders whose Pod is gone, and folders of steps that have ended.
///
/// # Errors
/// When the store or the folders cannot be read.
pub async fn sweep(ctx: &Ctx) -> Result<()> {
    let (mut pods, mut uids) = (HashSet::new(), HashSet::new());
    for pod in ctx.store.list(&POD, Selector::default()).await?.items {
        pods.insert((pod.metadata.namespace, pod.metadata.name));
        uids.insert(pod.metadata.uid);
    }
    let memory = memory_dir(&ctx.box_id, "");
    for folder in [ctx.data.join("pods"), memory] {
        for uid in names(&folder).await {
            if !uids.contains(&uid) {
                remove(&folder.join(&uid)).await?;
            }
        }
    }
    let mut open = HashSet::new();
    for task in ctx.store.list(&TASK, Selector::default()).await?.items {
        let status: TaskStatus = task.status()?;
        if !status.state.is_final() {
            open.extend(status.attempts.into_iter().map(|a| a.pod_name));
            tracing::debug!(task = task.spec::<TaskSpec>()?.path, "goes on");
        }
    }
    for name in names(&ctx.data.join("steps")).await {
        if !open.contains(&name) {
            remove(&ctx.step_dir(&name)).await?;
        }
    }
    for namespace in names(&ctx.data.join("logs")).await {
        for pod in names(&ctx.data.join("logs").join(&namespace)).await {
            let key = (namespace.clone(), pod);
            if !pods.contains(&key) {
                remove(&log_dir(ctx, &namespace, &key.1)).await?;
            }
        }
    }
    Ok(())
}

async fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(mut entries) = tokio::fs::read_dir(folder).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names
}
