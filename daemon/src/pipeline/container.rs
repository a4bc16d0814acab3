//! From a component and its inputs to the container to run: every placeholder resolved, every path known.

use std::collections::BTreeMap;

use kfbox_store::kinds::ir::{ComponentSpec, ContainerSpec, ParameterType};
use serde_json::Value;

use super::fill::Filler;
use super::paths::{OUTPUT_DIR, local_path, task_root};
use super::pip::{self, PipSetup};
use super::resolve::ResolveError;
use super::scope::{Artifact, Inputs, Job};

/// Where one attempt at a task puts things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// URI of the attempt's folder: `<root>/<pipeline>/<run id>/<task>/<salt>`.
    pub task_root_uri: String,
    /// Folder in the container for output parameters: `/tmp/kfp/outputs`.
    pub output_file_dir: String,
}

impl Places {
    /// The usual places. `salt` keeps attempts (and equal names in nested DAGs) apart.
    pub fn new(job: &Job, task: &str, salt: &str) -> Self {
        Self {
            task_root_uri: task_root(job, task, salt),
            output_file_dir: OUTPUT_DIR.to_owned(),
        }
    }
}

/// Requests and limits as Kubernetes quantities; `None` where nothing is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourcePlan {
    /// Like `500m`.
    pub cpu_request: Option<String>,
    /// Like `2`.
    pub cpu_limit: Option<String>,
    /// Like `1Gi`.
    pub memory_request: Option<String>,
    /// Like `1Gi`.
    pub memory_limit: Option<String>,
}

/// An output parameter to read when the container has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// How to read it.
    pub kind: ParameterType,
    /// Its path in the container.
    pub path: String,
}

/// A container, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPlan {
    /// Image reference.
    pub image: String,
    /// Replaces the entrypoint unless empty.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// What it asks of the machine.
    pub resources: ResourcePlan,
    /// What the executor inside is told.
    pub executor_input: Value,
    /// Output parameters by name.
    pub output_parameters: BTreeMap<String, OutputFile>,
    /// Output artifacts as planned, by name. Create the parent folder of each path before the start.
    pub output_artifacts: BTreeMap<String, Artifact>,
    /// Path in the container of the file in which an executor reports its outputs; its folder is the task root.
    pub metadata_file: String,
    /// Input artifacts: URI, and path in the container.
    pub input_artifact_paths: Vec<(String, String)>,
    /// The pip preamble, where there is one. Then `command` may be replaced by `setup.command` in an image that
    /// has the setup's effect.
    pub setup: Option<PipSetup>,
}

/// The task that a container is planned for.
#[derive(Debug, Clone, Copy)]
pub struct TaskId<'a> {
    /// Its name in its DAG.
    pub name: &'a str,
    /// See [`task_uuid`](super::resolve::task_uuid).
    pub uuid: &'a str,
}

/// Plans the container of a task.
pub fn plan_container(
    component: &ComponentSpec,
    container: &ContainerSpec,
    inputs: &Inputs,
    places: &Places,
    task: TaskId<'_>,
    job: &Job,
) -> Result<ContainerPlan, ResolveError> {
    let root = local_path(&places.task_root_uri).ok_or_else(|| {
        ResolveError::new(
            "pipeline root",
            format!(
                "{:?} has no path in a container; use minio://, s3:// or gs://",
                job.pipeline_root
            ),
        )
    })?;
    let output_parameters: BTreeMap<String, OutputFile> = component
        .output_definitions
        .parameters
        .iter()
        .map(|(name, spec)| {
            let path = format!("{}/{name}", places.output_file_dir);
            (
                name.clone(),
                OutputFile {
                    kind: spec.kind(),
                    path,
                },
            )
        })
        .collect();
    let output_artifacts: BTreeMap<String, Artifact> = component
        .output_definitions
        .artifacts
        .iter()
        .map(|(name, spec)| {
            let artifact = Artifact {
                name: name.clone(),
                uri: format!("{}/{name}", places.task_root_uri),
                type_: spec.artifact_type.title().to_owned(),
                metadata: spec.metadata.clone(),
                custom_path: None,
            };
            (name.clone(), artifact)
        })
        .collect();
    let mut fill = Filler {
        inputs,
        output_parameters: &output_parameters,
        output_artifacts: &output_artifacts,
        metadata_file: format!("{root}/output_metadata.json"),
        executor_input: Value::Null,
        task,
        job,
    };
    fill.executor_input = fill.executor_input(component);

    let image = fill.text("image", &container.image)?;
    if image.trim().is_empty() {
        return Err(ResolveError::new(
            "image",
            "is empty after its placeholders were filled in",
        ));
    }
    let command = fill.words("command", &container.command)?;
    let args = fill.words("args", &container.args)?;
    let env = container
        .env
        .iter()
        .map(|v| {
            Ok((
                v.name.clone(),
                fill.text(&format!("env {}", v.name), &v.value)?,
            ))
        })
        .collect::<Result<Vec<_>, ResolveError>>()?;
    let resources = match &container.resources {
        Some(resources) => fill.resources(resources)?,
        None => ResourcePlan::default(),
    };
    let setup = pip::recognise(&command, &env);
    let input_artifact_paths = inputs
        .artifacts
        .values()
        .flatten()
        .filter_map(|a| {
            Some((
                a.uri.clone(),
                a.custom_path.clone().or_else(|| local_path(&a.uri))?,
            ))
        })
        .collect();
    let (executor_input, metadata_file) = (fill.executor_input, fill.metadata_file);
    Ok(ContainerPlan {
        image,
        command,
        args,
        env,
        resources,
        executor_input,
        output_parameters,
        output_artifacts,
        metadata_file,
        input_artifact_paths,
        setup,
    })
}
