//! Whether one DAG makes sense: its tasks, where their inputs come from, and the DAG's own outputs.

use std::collections::BTreeMap;

use super::check_trigger::{check_condition, check_retry};
use super::error::{IrError, hint};
use super::graph::find_cycle;
use super::spec::{ComponentSpec, InputParameter, ParameterType, PipelineSpec};
use super::task::{ArtifactSource, DagSpec, ParameterSource, TaskSpec};

/// Where in the file a DAG is.
pub(super) struct Place<'a> {
    /// Everything around it.
    pub spec: &'a PipelineSpec,
    /// `root` or `components.x`.
    pub at: &'a str,
    /// The component that the DAG is.
    pub component: &'a ComponentSpec,
}

/// What a task refers to: another task's output.
enum Output<'a> {
    Parameter(&'a str),
    Artifact(&'a str),
}

pub(super) fn check_dag(place: &Place<'_>, dag: &DagSpec, errors: &mut Vec<IrError>) {
    let at = format!("{}.dag", place.at);
    if dag.tasks.is_empty() {
        errors.push(IrError::new(
            format!("{at}.tasks"),
            "is empty; a DAG needs at least one task",
        ));
    }
    for (name, task) in &dag.tasks {
        check_task(
            place,
            dag,
            &format!("{at}.tasks.{name}"),
            name,
            task,
            errors,
        );
    }
    check_outputs(place, dag, &at, errors);
    let graph: BTreeMap<&str, Vec<&str>> = dag
        .tasks
        .iter()
        .map(|(name, task)| (name.as_str(), task.upstream()))
        .collect();
    if let Some(cycle) = find_cycle(&graph) {
        errors.push(IrError::new(
            format!("{at}.tasks"),
            format!(
                "tasks wait for each other in a circle: {}; remove one of these dependencies",
                cycle.join(" -> ")
            ),
        ));
    }
}

fn check_task(
    place: &Place<'_>,
    dag: &DagSpec,
    at: &str,
    name: &str,
    task: &TaskSpec,
    errors: &mut Vec<IrError>,
) {
    if !is_path_safe(name) {
        errors.push(IrError::new(
            at,
            "a task name becomes part of paths: use letters, digits, '-', '_' and '.'",
        ));
    }
    let components = &place.spec.components;
    let wanted = task.component_ref.name.as_str();
    let component = components.get(wanted);
    if component.is_none() {
        errors.push(IrError::new(
            format!("{at}.componentRef.name"),
            match wanted {
                "" => "is missing; name the component to run".to_owned(),
                _ => format!(
                    "components has no {wanted:?}{}",
                    hint(wanted, components.keys().map(String::as_str))
                ),
            },
        ));
    }
    for (index, other) in task.dependent_tasks.iter().enumerate() {
        if !dag.tasks.contains_key(other) {
            errors.push(no_task(format!("{at}.dependentTasks[{index}]"), other, dag));
        }
    }
    for (input, source) in &task.inputs.parameters {
        let at = format!("{at}.inputs.parameters.{input}");
        check_parameter(place, dag, &at, source, errors);
    }
    for (input, source) in &task.inputs.artifacts {
        let at = format!("{at}.inputs.artifacts.{input}");
        check_artifact(place, dag, &at, source, errors);
    }
    if let Some(component) = component {
        check_required(at, task, component, errors);
    }
    check_condition(at, &task.trigger_policy.condition, errors);
    check_retry(at, task, errors);
}

/// Required inputs that the task does not give.
fn check_required(at: &str, task: &TaskSpec, component: &ComponentSpec, errors: &mut Vec<IrError>) {
    let items = [
        task.parameter_iterator.as_ref().map(|i| &i.item_input),
        task.artifact_iterator.as_ref().map(|i| &i.item_input),
    ];
    let by_loop = |name: &String| items.into_iter().flatten().any(|item| item == name);
    let must = |spec: &InputParameter| {
        !spec.is_optional
            && spec.default_value.is_none()
            && spec.kind() != ParameterType::TaskConfig
    };
    for (name, spec) in &component.input_definitions.parameters {
        if must(spec) && !task.inputs.parameters.contains_key(name) && !by_loop(name) {
            errors.push(IrError::new(
                format!("{at}.inputs.parameters.{name}"),
                format!("is missing; {} requires it", task.component_ref.name),
            ));
        }
    }
    for (name, spec) in &component.input_definitions.artifacts {
        if !spec.is_optional && !task.inputs.artifacts.contains_key(name) && !by_loop(name) {
            errors.push(IrError::new(
                format!("{at}.inputs.artifacts.{name}"),
                format!("is missing; {} requires it", task.component_ref.name),
            ));
        }
    }
}

fn check_parameter(
    place: &Place<'_>,
    dag: &DagSpec,
    at: &str,
    source: &ParameterSource,
    errors: &mut Vec<IrError>,
) {
    let kinds = [
        source.task_output_parameter.is_some(),
        source.runtime_value.is_some(),
        source.component_input_parameter.is_some(),
        source.task_final_status.is_some(),
    ];
    if kinds.into_iter().filter(|set| *set).count() != 1 {
        errors.push(IrError::new(
            at,
            "must have exactly one of taskOutputParameter, runtimeValue, componentInputParameter, taskFinalStatus",
        ));
        return;
    }
    if let Some(from) = &source.task_output_parameter {
        let output = Output::Parameter(&from.output_parameter_key);
        let at = format!("{at}.taskOutputParameter");
        check_output(
            place,
            dag,
            &at,
            "producerTask",
            &from.producer_task,
            &output,
            errors,
        );
    }
    if let Some(value) = &source.runtime_value
        && value.value().is_none()
    {
        errors.push(IrError::new(
            format!("{at}.runtimeValue"),
            "has no constant; give one",
        ));
    }
    if let Some(input) = &source.component_input_parameter {
        let known = &place.component.input_definitions.parameters;
        if !known.contains_key(input) {
            errors.push(IrError::new(
                format!("{at}.componentInputParameter"),
                format!(
                    "{} has no input parameter {input:?}{}",
                    place.at,
                    hint(input, known.keys().map(String::as_str))
                ),
            ));
        }
    }
    if let Some(status) = &source.task_final_status
        && !dag.tasks.contains_key(&status.producer_task)
    {
        let at = format!("{at}.taskFinalStatus.producerTask");
        errors.push(no_task(at, &status.producer_task, dag));
    }
}

fn check_artifact(
    place: &Place<'_>,
    dag: &DagSpec,
    at: &str,
    source: &ArtifactSource,
    errors: &mut Vec<IrError>,
) {
    match (
        &source.task_output_artifact,
        &source.component_input_artifact,
    ) {
        (Some(from), None) => {
            let output = Output::Artifact(&from.output_artifact_key);
            let at = format!("{at}.taskOutputArtifact");
            check_output(
                place,
                dag,
                &at,
                "producerTask",
                &from.producer_task,
                &output,
                errors,
            );
        }
        (None, Some(input)) => {
            let known = &place.component.input_definitions.artifacts;
            if !known.contains_key(input) {
                errors.push(IrError::new(
                    format!("{at}.componentInputArtifact"),
                    format!(
                        "{} has no input artifact {input:?}{}",
                        place.at,
                        hint(input, known.keys().map(String::as_str))
                    ),
                ));
            }
        }
        _ => errors.push(IrError::new(
            at,
            "must have exactly one of taskOutputArtifact, componentInputArtifact",
        )),
    }
}

/// Whether a producer exists and has the output.
fn check_output(
    place: &Place<'_>,
    dag: &DagSpec,
    at: &str,
    field: &str,
    producer: &str,
    output: &Output<'_>,
    errors: &mut Vec<IrError>,
) {
    let Some(task) = dag.tasks.get(producer) else {
        errors.push(no_task(format!("{at}.{field}"), producer, dag));
        return;
    };
    // A component that does not exist is reported once, at its task.
    let Some(component) = place.spec.components.get(&task.component_ref.name) else {
        return;
    };
    let outputs = &component.output_definitions;
    let (found, key, what, names): (bool, &str, &str, Vec<&str>) = match output {
        Output::Parameter(key) => (
            outputs.parameters.contains_key(*key),
            key,
            "parameter",
            outputs.parameters.keys().map(String::as_str).collect(),
        ),
        Output::Artifact(key) => (
            outputs.artifacts.contains_key(*key),
            key,
            "artifact",
            outputs.artifacts.keys().map(String::as_str).collect(),
        ),
    };
    if !found {
        errors.push(IrError::new(
            at,
            format!(
                "task {producer:?} has no output {what} {key:?}{}",
                hint(key, names.into_iter())
            ),
        ));
    }
}

fn check_outputs(place: &Place<'_>, dag: &DagSpec, at: &str, errors: &mut Vec<IrError>) {
    let field = "producerSubtask";
    for (name, output) in &dag.outputs.parameters {
        let at = format!("{at}.outputs.parameters.{name}");
        let selectors = match (&output.value_from_parameter, &output.value_from_oneof) {
            (Some(one), None) => std::slice::from_ref(one),
            (None, Some(many)) if !many.parameter_selectors.is_empty() => {
                many.parameter_selectors.as_slice()
            }
            _ => {
                errors.push(IrError::new(
                    at,
                    "must have exactly one of valueFromParameter, valueFromOneof with a task's output",
                ));
                continue;
            }
        };
        for selector in selectors {
            let key = Output::Parameter(&selector.output_parameter_key);
            check_output(
                place,
                dag,
                &at,
                field,
                &selector.producer_subtask,
                &key,
                errors,
            );
        }
    }
    for (name, output) in &dag.outputs.artifacts {
        let at = format!("{at}.outputs.artifacts.{name}");
        if output.artifact_selectors.is_empty() {
            errors.push(IrError::new(
                &at,
                "has no artifactSelectors; name a task's output",
            ));
        }
        for selector in &output.artifact_selectors {
            let key = Output::Artifact(&selector.output_artifact_key);
            check_output(
                place,
                dag,
                &at,
                field,
                &selector.producer_subtask,
                &key,
                errors,
            );
        }
    }
}

fn no_task(at: String, name: &str, dag: &DagSpec) -> IrError {
    IrError::new(
        at,
        format!(
            "there is no task {name:?} in this DAG{}",
            hint(name, dag.tasks.keys().map(String::as_str))
        ),
    )
}

/// Whether a name can be one part of a path. Names of tasks and outputs become parts of artifact URIs and paths.
pub(super) fn is_path_safe(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name != "."
        && name != ".."
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
