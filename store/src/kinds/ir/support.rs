//! What this engine does not run yet, by name and place: a run of such a pipeline is refused, never half-run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::IrError;
use super::spec::{ComponentSpec, ExecutorSpec, ParameterType, Pipeline};
use super::task::TaskSpec;

/// Kubernetes settings that the box honours; `KubernetesConfig` types them.
const HONOURED: [&str; 6] = [
    "podMetadata",
    "fieldPathAsEnv",
    "enabledSharedMemory",
    "securityContext",
    "emptyDirMounts",
    "activeDeadlineSeconds",
];

/// Kubernetes settings that say which node to use or when to pull: one box has one node and its own images.
const WITHOUT_EFFECT: [&str; 5] = [
    "imagePullPolicy",
    "nodeSelector",
    "tolerations",
    "nodeAffinity",
    "podAffinity",
];

/// Everything in the pipeline that the engine does not run yet. Empty means: it can run.
///
/// Looks at what the root reaches; a component that nothing uses does no harm.
pub fn unsupported(pipeline: &Pipeline) -> Vec<IrError> {
    let mut found = Vec::new();
    let Some(root) = &pipeline.spec.root else {
        return found;
    };
    for (name, input) in &root.input_definitions.artifacts {
        if !input.is_optional {
            found.push(IrError::new(
                format!("root.inputDefinitions.artifacts.{name}"),
                "an artifact as an input of the whole pipeline cannot be given through the API; \
                 make it optional or import it in the pipeline",
            ));
        }
    }
    for_each_component(pipeline, &mut |place, component| {
        look_at_component(pipeline, place, component, &mut found);
    });
    let configs = pipeline.platform.iter().flat_map(|p| p.platforms.iter());
    for (platform, settings) in configs {
        if platform != "kubernetes" {
            found.push(IrError::new(
                format!("platforms.{platform}"),
                "an unknown platform; only kubernetes settings are understood",
            ));
        }
        for (key, value) in &settings.pipeline_config {
            if is_set(value) {
                found.push(not_yet(
                    format!("platforms.{platform}.pipelineConfig.{key}"),
                    match key.as_str() {
                        "workspace" => {
                            "a workspace shared by the tasks of a run (PipelineConfig.workspace)"
                        }
                        _ => "this setting of the whole pipeline (PipelineConfig)",
                    },
                ));
            }
        }
    }
    found
}

/// Settings of the pipeline that are accepted and have no effect on this box, for people to read.
pub fn notes(pipeline: &Pipeline) -> Vec<IrError> {
    let mut found = Vec::new();
    for_each_component(pipeline, &mut |_, component| {
        let Some(label) = &component.executor_label else {
            return;
        };
        for (key, value) in pipeline.kubernetes_raw(label).into_iter().flatten() {
            if is_set(value) && WITHOUT_EFFECT.contains(&key.as_str()) {
                found.push(IrError::new(
                    format!("platforms.kubernetes.deploymentSpec.executors.{label}.{key}"),
                    "has no effect: the box is one node and keeps its own images",
                ));
            }
        }
    });
    found
}

/// Calls `f` once for the root and for each component that it reaches, with its place in the file.
fn for_each_component<'a>(pipeline: &'a Pipeline, f: &mut impl FnMut(&str, &'a ComponentSpec)) {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<(String, &ComponentSpec)> = Vec::new();
    if let Some(root) = &pipeline.spec.root {
        todo.push(("root".to_owned(), root));
    }
    while let Some((place, component)) = todo.pop() {
        f(&place, component);
        for task in component.dag.iter().flat_map(|dag| dag.tasks.values()) {
            let name = task.component_ref.name.as_str();
            if let Some(next) = pipeline.spec.components.get(name)
                && seen.insert(name)
            {
                todo.push((format!("components.{name}"), next));
            }
        }
    }
}

fn look_at_component(
    pipeline: &Pipeline,
    place: &str,
    component: &ComponentSpec,
    found: &mut Vec<IrError>,
) {
    for (name, parameter) in &component.input_definitions.parameters {
        if parameter.kind() == ParameterType::TaskConfig {
            found.push(not_yet(
                format!("{place}.inputDefinitions.parameters.{name}"),
                "the task's own configuration as an input (dsl.TaskConfig)",
            ));
        }
    }
    for (name, artifact) in &component.input_definitions.artifacts {
        if artifact.is_artifact_list {
            found.push(not_yet(
                format!("{place}.inputDefinitions.artifacts.{name}"),
                "a list of artifacts as an input (List[Artifact], dsl.Collected)",
            ));
        }
    }
    for (name, artifact) in &component.output_definitions.artifacts {
        if artifact.is_artifact_list {
            found.push(not_yet(
                format!("{place}.outputDefinitions.artifacts.{name}"),
                "a list of artifacts as an output (List[Artifact], dsl.Collected)",
            ));
        }
    }
    for (name, task) in component.dag.iter().flat_map(|dag| &dag.tasks) {
        look_at_task(&format!("{place}.dag.tasks.{name}"), task, found);
    }
    let Some(label) = &component.executor_label else {
        return;
    };
    let at = format!("deploymentSpec.executors.{label}");
    if let Some(executor) = pipeline.spec.deployment_spec.executors.get(label) {
        look_at_executor(&at, executor, found);
    }
    for (key, value) in pipeline.kubernetes_raw(label).into_iter().flatten() {
        let known = HONOURED.contains(&key.as_str()) || WITHOUT_EFFECT.contains(&key.as_str());
        if is_set(value) && !known {
            found.push(not_yet(
                format!("platforms.kubernetes.{at}.{key}"),
                &format!("the kubernetes setting {key}"),
            ));
        }
    }
    if let Err(wrong) = pipeline.kubernetes(label) {
        found.push(wrong);
    }
}

fn look_at_task(at: &str, task: &TaskSpec, found: &mut Vec<IrError>) {
    if task.parameter_iterator.is_some() {
        found.push(not_yet(
            format!("{at}.parameterIterator"),
            "a loop (dsl.ParallelFor)",
        ));
    }
    if task.artifact_iterator.is_some() {
        found.push(not_yet(
            format!("{at}.artifactIterator"),
            "a loop over artifacts (dsl.ParallelFor)",
        ));
    }
}

fn look_at_executor(at: &str, executor: &ExecutorSpec, found: &mut Vec<IrError>) {
    let workspace = |i: &serde_json::Value| i.get("downloadToWorkspace") == Some(&true.into());
    if executor.importer.as_ref().is_some_and(workspace) {
        found.push(not_yet(
            format!("{at}.importer.downloadToWorkspace"),
            "importing into a workspace",
        ));
    }
    for (set, key) in [
        (executor.resolver.is_some(), "resolver"),
        (executor.custom_job.is_some(), "customJob"),
    ] {
        if set {
            found.push(IrError::new(
                format!("{at}.{key}"),
                "this executor exists only in Google's Vertex AI; use a container or a Python component",
            ));
        }
    }
    let Some(container) = &executor.container else {
        return;
    };
    if let Some(cluster) = container.image.strip_prefix("argostub/") {
        found.push(not_yet(
            format!("{at}.container.image"),
            &format!("{cluster} of kfp-kubernetes (volumes)"),
        ));
    }
    let accelerator = container
        .resources
        .as_ref()
        .and_then(|r| r.accelerator.as_ref());
    if accelerator.is_some_and(|a| {
        // `count` 0 asks for nothing.
        let count = a
            .resource_count
            .clone()
            .or_else(|| a.count.as_ref().map(text));
        count.is_none_or(|c| c.trim() != "0" && !c.trim().is_empty())
    }) {
        found.push(not_yet(
            format!("{at}.container.resources.accelerator"),
            "an accelerator (a GPU) for a task",
        ));
    }
    if container.lifecycle.as_ref().is_some_and(is_set) {
        found.push(IrError::new(
            format!("{at}.container.lifecycle"),
            "lifecycle hooks exist only in Google's Vertex AI; remove them",
        ));
    }
}

fn not_yet(path: String, what: &str) -> IrError {
    IrError::new(
        path,
        format!("{what} is not supported by this version of kfbox"),
    )
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a setting says anything: protobuf's JSON may spell out empty ones.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty() && s != "0",
        Value::Array(a) => !a.is_empty(),
        Value::Object(m) => m.values().any(is_set),
    }
}
