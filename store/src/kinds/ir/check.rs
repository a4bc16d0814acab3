//! Whether a pipeline makes sense as a whole: what it names exists, and nothing waits for itself.

use std::collections::BTreeMap;

use super::check_dag::{Place, check_dag, is_path_safe};
use super::error::{IrError, hint};
use super::graph::find_cycle;
use super::spec::{ComponentSpec, ExecutorSpec, Pipeline, PipelineSpec};

/// The only schema there is.
const SCHEMA: &str = "2.1.0";
/// Tasks in one run, all sub-DAGs counted each time they are used. Guards against a few lines that unfold into
/// billions of tasks.
const MAX_TASKS: u64 = 100_000;

/// Checks that the pipeline makes sense: versions, names, references, producers, no cycles.
///
/// The error is the first of what was found, with the next few appended; each says where and what to mend.
pub fn check(pipeline: &Pipeline) -> Result<(), IrError> {
    let spec = &pipeline.spec;
    let mut errors = Vec::new();
    if spec.schema_version != SCHEMA {
        errors.push(IrError::new(
            "schemaVersion",
            match spec.schema_version.as_str() {
                "" => format!("is missing; it must be {SCHEMA}: compile the pipeline with kfp 2"),
                other => format!(
                    "{other:?} is not supported; it must be {SCHEMA}: compile the pipeline with kfp 2"
                ),
            },
        ));
    }
    if spec.pipeline_info.name.trim().is_empty() {
        errors.push(IrError::new(
            "pipelineInfo.name",
            "is empty; give the pipeline a name",
        ));
    }
    match &spec.root {
        None => errors.push(IrError::new(
            "root",
            "is missing; a pipeline needs a root with a dag",
        )),
        Some(root) if root.dag.is_none() => errors.push(IrError::new(
            "root.dag",
            "is missing; the root must be a DAG of tasks",
        )),
        Some(root) => check_component(spec, "root", root, &mut errors),
    }
    for (label, executor) in &spec.deployment_spec.executors {
        check_executor(label, executor, &mut errors);
    }
    for (name, component) in &spec.components {
        check_component(spec, &format!("components.{name}"), component, &mut errors);
    }
    check_platform(pipeline, &mut errors);
    // Counting needs a finite unfolding.
    if !check_nesting(spec, &mut errors) {
        check_size(spec, &mut errors);
    }
    match IrError::first_few(errors) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

fn check_component(
    spec: &PipelineSpec,
    at: &str,
    component: &ComponentSpec,
    errors: &mut Vec<IrError>,
) {
    let outputs = &component.output_definitions;
    let parameters = outputs.parameters.keys().map(|name| ("parameters", name));
    let artifacts = outputs.artifacts.keys().map(|name| ("artifacts", name));
    for (sort, name) in parameters.chain(artifacts) {
        if !is_path_safe(name) {
            errors.push(IrError::new(
                format!("{at}.outputDefinitions.{sort}.{name}"),
                "the name of an output becomes part of paths: use letters, digits, '-', '_' and '.'",
            ));
        }
    }
    match (&component.dag, &component.executor_label) {
        (Some(_), Some(_)) => errors.push(IrError::new(
            at,
            "has both dag and executorLabel; a component is one or the other",
        )),
        (None, None) => errors.push(IrError::new(
            at,
            "has neither dag nor executorLabel; a component is one or the other",
        )),
        (Some(dag), None) => check_dag(
            &Place {
                spec,
                at,
                component,
            },
            dag,
            errors,
        ),
        (None, Some(label)) => {
            let executors = &spec.deployment_spec.executors;
            if !executors.contains_key(label) {
                errors.push(IrError::new(
                    format!("{at}.executorLabel"),
                    format!(
                        "deploymentSpec.executors has no {label:?}{}",
                        hint(label, executors.keys().map(String::as_str))
                    ),
                ));
            }
        }
    }
}

fn check_executor(label: &str, executor: &ExecutorSpec, errors: &mut Vec<IrError>) {
    let at = format!("deploymentSpec.executors.{label}");
    let kinds = [
        executor.container.is_some(),
        executor.importer.is_some(),
        executor.resolver.is_some(),
        executor.custom_job.is_some(),
    ];
    if kinds.into_iter().filter(|set| *set).count() != 1 {
        errors.push(IrError::new(
            &at,
            "must have exactly one of container, importer, resolver, customJob",
        ));
    }
    let Some(container) = &executor.container else {
        return;
    };
    if container.image.trim().is_empty() {
        errors.push(IrError::new(
            format!("{at}.container.image"),
            "is empty; name the image to run",
        ));
    }
    for (index, variable) in container.env.iter().enumerate() {
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
            errors.push(IrError::new(
                format!("{at}.container.env[{index}].name"),
                format!(
                    "{:?} cannot be the name of an environment variable",
                    variable.name
                ),
            ));
        }
    }
}

fn check_platform(pipeline: &Pipeline, errors: &mut Vec<IrError>) {
    let executors = &pipeline.spec.deployment_spec.executors;
    for (platform, settings) in pipeline.platform.iter().flat_map(|p| &p.platforms) {
        for label in settings.deployment_spec.executors.keys() {
            if !executors.contains_key(label) {
                errors.push(IrError::new(
                    format!("platforms.{platform}.deploymentSpec.executors.{label}"),
                    format!(
                        "the pipeline has no such executor{}",
                        hint(label, executors.keys().map(String::as_str))
                    ),
                ));
            }
        }
    }
}

/// Finds components that contain themselves; `true` if there are some.
fn check_nesting(spec: &PipelineSpec, errors: &mut Vec<IrError>) -> bool {
    let graph: BTreeMap<&str, Vec<&str>> = spec
        .components
        .iter()
        .map(|(name, component)| (name.as_str(), children(component)))
        .collect();
    let Some(cycle) = find_cycle(&graph) else {
        return false;
    };
    errors.push(IrError::new(
        format!("components.{}", cycle.first().copied().unwrap_or_default()),
        format!("contains itself: {}", cycle.join(" -> ")),
    ));
    true
}

fn children(component: &ComponentSpec) -> Vec<&str> {
    component
        .dag
        .iter()
        .flat_map(|dag| dag.tasks.values())
        .map(|task| task.component_ref.name.as_str())
        .collect()
}

/// Refuses a pipeline that unfolds into too many tasks. The nesting is known to be finite.
fn check_size(spec: &PipelineSpec, errors: &mut Vec<IrError>) {
    let Some(root) = &spec.root else { return };
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut todo: Vec<&str> = children(root);
    // Depth first without recursion: a component is sized once all that it contains is.
    while let Some(name) = todo.last().copied() {
        let Some(component) = spec
            .components
            .get(name)
            .filter(|_| !sizes.contains_key(name))
        else {
            sizes.entry(name).or_insert(0);
            todo.pop();
            continue;
        };
        let inner = children(component);
        let open: Vec<&str> = inner
            .iter()
            .copied()
            .filter(|child| !sizes.contains_key(child))
            .collect();
        if open.is_empty() {
            sizes.insert(name, total(&inner, &sizes));
            todo.pop();
        } else {
            todo.extend(open);
        }
    }
    let tasks = total(&children(root), &sizes);
    if tasks > MAX_TASKS {
        errors.push(IrError::new(
            "root",
            format!("unfolds into {tasks} tasks; at most {MAX_TASKS} fit into one run"),
        ));
    }
}

fn total(children: &[&str], sizes: &BTreeMap<&str, u64>) -> u64 {
    children.iter().fold(0u64, |sum, child| {
        sum.saturating_add(1)
            .saturating_add(sizes.get(child).copied().unwrap_or(0))
    })
}
