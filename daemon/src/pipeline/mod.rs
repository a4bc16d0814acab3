//! The pipeline engine's judgement, pure: what may run, with what, in which container, and what came out.
//!
//! Nothing here keeps state or waits. The rooms ask, per DAG instance: [`plan::decide_all`] about its tasks,
//! [`container::plan_container`] for a task that is ready, [`cache::fingerprint`] whether it ran before,
//! [`outputs::collect`] when its container has ended, [`resolve::dag_outputs`] and [`plan::dag_outcome`] when all
//! tasks have. [`Specs`] alone reads the store, to keep parsed specs at hand.

pub mod cache;
mod constant;
pub mod container;
pub mod expr;
mod fill;
pub mod outputs;
pub mod paths;
pub mod pip;
pub mod placeholder;
pub mod plan;
pub mod resolve;
pub mod scope;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_container;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use scope::Job;

use kfbox_store::{
    Error, Object, Ref, Result, Store,
    kinds::{
        ir::{ComponentSpec, Pipeline, TaskSpec},
        pipeline::{PIPELINE_SPEC, PipelineSpecBody, RunSpec},
    },
};

/// Where artifacts go when neither the run nor the pipeline says: upstream's own default.
const DEFAULT_ROOT: &str = "minio://mlpipeline/v2/artifacts";
/// Parsed specs kept in memory.
const KEPT: usize = 64;

/// A task and its component.
#[derive(Clone, Copy)]
pub struct Located<'a> {
    /// The task, as its DAG names it.
    pub task: &'a TaskSpec,
    /// What it instantiates.
    pub component: &'a ComponentSpec,
}

/// The task at a path such as `root/exit-handler-1/train`. For `root` itself there is only a component, given
/// by an empty task.
pub fn locate<'a>(pipeline: &'a Pipeline, path: &str) -> Option<Located<'a>> {
    static ROOT: std::sync::LazyLock<TaskSpec> = std::sync::LazyLock::new(TaskSpec::default);
    let mut names = path.split('/');
    let mut found = Located {
        task: &ROOT,
        component: pipeline.spec.root.as_ref()?,
    };
    if names.next() != Some("root") {
        return None;
    }
    for name in names {
        let task = found.component.dag.as_ref()?.tasks.get(name)?;
        let component = pipeline.spec.components.get(&task.component_ref.name)?;
        found = Located { task, component };
    }
    Some(found)
}

/// What job placeholders stand for.
pub fn job(run: &Object, spec: &RunSpec, pipeline: &Pipeline) -> Job {
    let created = run.metadata.creation_timestamp.clone().unwrap_or_default();
    let name = pipeline.spec.pipeline_info.name.clone();
    let root = [spec.runtime_config.pipeline_root.as_str()]
        .into_iter()
        .chain(pipeline.spec.default_pipeline_root.as_deref())
        .find(|r| !r.is_empty())
        .unwrap_or(DEFAULT_ROOT);
    Job {
        name: spec.display_name.clone(),
        resource_name: format!("{name}-{}", run.metadata.name.get(..5).unwrap_or_default()),
        uuid: run.metadata.name.clone(),
        pipeline_name: name,
        schedule_time: created.clone(),
        create_time: created,
        pipeline_root: root.trim_end_matches('/').into(),
    }
}

/// Parsed specs by digest.
pub struct Specs {
    store: Store,
    known: Mutex<HashMap<String, Arc<Pipeline>>>,
}

impl Specs {
    /// Reads from this store.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// The spec with this digest.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` when the run can never go on; a storage error otherwise.
    pub async fn get(&self, namespace: &str, digest: &str) -> Result<Arc<Pipeline>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = known().get(digest) {
            return Ok(pipeline.clone());
        }
        let object = self
            .store
            .fetch(&Ref::new(&PIPELINE_SPEC, namespace, digest))
            .await?;
        let body: PipelineSpecBody = object.spec()?;
        let whole =
            serde_json::json!({"pipeline_spec": body.pipeline, "platform_spec": body.platform});
        let pipeline = Pipeline::from_value(&whole).map_err(|e| Error::invalid(e.to_string()))?;
        let pipeline = Arc::new(pipeline);
        let mut cache = known();
        if cache.len() >= KEPT {
            cache.clear();
        }
        cache.insert(digest.into(), pipeline.clone());
        Ok(pipeline)
    }
}
