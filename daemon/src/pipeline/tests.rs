//! The engine's judgement on small DAGs: what may run, what its inputs are, how the DAG ends.
#![allow(clippy::unwrap_used)]

use kfbox_store::kinds::ir::{ComponentSpec, Pipeline, TaskSpec};
use serde_json::{Value, json};

use super::plan::{Decision, Outcome, dag_outcome, decide_all};
use super::resolve::{dag_outputs, resolve_inputs, task_uuid};
use super::scope::{Inputs, Job, Outputs, Scope, TaskState, TaskView};

pub(super) fn job() -> Job {
    Job {
        name: "my run".into(),
        resource_name: "p-abc".into(),
        uuid: "u-1".into(),
        pipeline_name: "p".into(),
        create_time: "2026-01-01T00:00:00Z".into(),
        schedule_time: "2026-01-01T00:00:00Z".into(),
        pipeline_root: "minio://mlpipeline/v2/artifacts".into(),
    }
}

/// What the plan says of one task.
fn decide(
    pipeline: &Pipeline,
    component: &ComponentSpec,
    name: &str,
    scope: &Scope,
    job: &Job,
) -> Decision {
    decide_all(pipeline, component, scope, job)
        .into_iter()
        .find_map(|(task, decision)| (task == name).then_some(decision))
        .unwrap_or(Decision::Wait)
}

/// A pipeline whose components all have one output and take anything.
fn pipeline(tasks: Value) -> Pipeline {
    Pipeline::from_value(&json!({
        "pipelineInfo": {"name": "p"},
        "schemaVersion": "2.1.0",
        "components": {"c": {
            "executorLabel": "e",
            "outputDefinitions": {"parameters": {"o": {"parameterType": "STRING"}}}
        }},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "root": {"dag": {"tasks": tasks}}
    }))
    .unwrap()
}

fn task(extra: Value) -> Value {
    let mut task = json!({"componentRef": {"name": "c"}});
    for (key, value) in extra.as_object().unwrap() {
        task[key] = value.clone();
    }
    task
}

fn scope(states: &[(&str, TaskState)]) -> Scope {
    let view = |state: TaskState| TaskView {
        state,
        outputs: match state.is_good() {
            true => serde_json::from_value(json!({"parameters": {"o": "yes"}})).unwrap(),
            false => Outputs::default(),
        },
        error: (state == TaskState::Failed).then(|| "exit code 1".to_owned()),
    };
    Scope {
        path: "root".into(),
        inputs: serde_json::from_value(json!({"parameters": {"n": 7}})).unwrap(),
        tasks: states
            .iter()
            .map(|(name, state)| ((*name).to_owned(), view(*state)))
            .collect(),
    }
}

/// One letter per task, in the order of names: Wait, Ready, Skip, Never, Fail.
fn letters(pipeline: &Pipeline, scope: &Scope) -> String {
    let root = pipeline.spec.root.as_ref().unwrap();
    decide_all(pipeline, root, scope, &job())
        .into_iter()
        .map(|(name, decision)| {
            assert_eq!(decision, decide(pipeline, root, name, scope, &job()));
            match decision {
                Decision::Wait => 'W',
                Decision::Ready(_) => 'R',
                Decision::Skip { .. } => 'S',
                Decision::Never { .. } => 'N',
                Decision::Fail { .. } => 'F',
            }
        })
        .collect()
}

fn outcome(pipeline: &Pipeline, scope: &Scope) -> Option<Outcome> {
    dag_outcome(
        pipeline.spec.root.as_ref().unwrap().dag.as_ref().unwrap(),
        scope,
    )
}

use TaskState::{Cached, Canceled, Failed, Running, Skipped, Succeeded};

#[test]
fn tasks_run_in_order_and_failures_stop_the_dag() {
    let p = pipeline(json!({
        "a": task(json!({})),
        "b": task(json!({"dependentTasks": ["a"]})),
        "c": task(json!({"inputs": {"parameters": {"x": {
            "taskOutputParameter": {"producerTask": "b", "outputParameterKey": "o"}}}}})),
        "d": task(json!({})),
    }));
    for (states, expected, end) in [
        (vec![], "RWWR", None),
        (vec![("a", Running)], "WWWR", None),
        (vec![("a", Succeeded), ("d", Cached)], "WRWW", None),
        (
            vec![("a", Cached), ("b", Succeeded), ("d", Running)],
            "WWRW",
            None,
        ),
        // a skipped task takes its dependents along, one after the other
        (vec![("a", Skipped), ("d", Succeeded)], "WSWW", None),
        (
            vec![("a", Skipped), ("b", Skipped), ("d", Succeeded)],
            "WWSW",
            None,
        ),
        (
            vec![
                ("a", Skipped),
                ("b", Skipped),
                ("c", Skipped),
                ("d", Succeeded),
            ],
            "WWWW",
            Some(Outcome::Succeeded),
        ),
        // a failed task: dependents never run, and nothing else starts; what runs may end
        (vec![("a", Failed)], "WNNN", Some("a")).fix(),
        (vec![("a", Running), ("d", Failed)], "WNNW", None),
        (vec![("a", Canceled)], "WNNN", Some(Outcome::Canceled)),
    ] {
        let scope = scope(&states);
        assert_eq!(letters(&p, &scope), expected, "{states:?}");
        assert_eq!(outcome(&p, &scope), end, "{states:?}");
    }
}

/// Lets a table row name a failed task instead of spelling out the outcome.
trait Fix<'a> {
    fn fix(self) -> (Vec<(&'a str, TaskState)>, &'a str, Option<Outcome>);
}

impl<'a> Fix<'a> for (Vec<(&'a str, TaskState)>, &'a str, Option<&'a str>) {
    fn fix(self) -> (Vec<(&'a str, TaskState)>, &'a str, Option<Outcome>) {
        let failed = |name: &str| Outcome::Failed {
            message: format!("task {name:?} failed: exit code 1"),
        };
        (self.0, self.1, self.2.map(failed))
    }
}

#[test]
fn exit_handlers_run_after_any_end_and_failures_still_count() {
    let p = pipeline(json!({
        "body": task(json!({})),
        "exit": task(json!({
            "dependentTasks": ["body"],
            "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
            "inputs": {"parameters": {
                "status": {"taskFinalStatus": {"producerTask": "body"}},
                "x": {"taskOutputParameter": {"producerTask": "body", "outputParameterKey": "o"}}
            }}
        })),
        "later": task(json!({"dependentTasks": ["body"]})),
    }));
    assert_eq!(letters(&p, &scope(&[])), "RWW");
    assert_eq!(letters(&p, &scope(&[("body", Succeeded)])), "WRR");
    let failed = scope(&[("body", Failed)]);
    assert_eq!(letters(&p, &failed), "WRN");
    assert_eq!(outcome(&p, &failed), None);
    let root = p.spec.root.as_ref().unwrap();
    let Decision::Ready(inputs) = decide(&p, root, "exit", &failed, &job()) else {
        panic!()
    };
    assert_eq!(
        inputs.parameters["status"],
        json!({"state": "FAILED", "error": {"code": 2, "message": "exit code 1"},
               "pipelineJobResourceName": "p-abc", "pipelineTaskName": "body"})
    );
    assert!(!inputs.parameters.contains_key("x"));
    let after = scope(&[("body", Failed), ("exit", Succeeded)]);
    assert!(matches!(outcome(&p, &after), Some(Outcome::Failed { .. })));
    let exit_failed = scope(&[("body", Succeeded), ("exit", Failed), ("later", Succeeded)]);
    assert!(matches!(
        outcome(&p, &exit_failed),
        Some(Outcome::Failed { .. })
    ));
    let Decision::Ready(inputs) = decide(&p, root, "exit", &scope(&[("body", Cached)]), &job())
    else {
        panic!()
    };
    assert_eq!(inputs.parameters["status"]["state"], "CACHED");
    assert_eq!(inputs.parameters["status"]["error"], json!({}));
}

#[test]
fn conditions_skip_or_fail_by_name() {
    let condition = |text: &str| {
        task(json!({
            "triggerPolicy": {"condition": text},
            "inputs": {"parameters": {"k": {"componentInputParameter": "n"}}}
        }))
    };
    let p = pipeline(json!({
        "a": condition("int(inputs.parameter_values['k']) > 5"),
        "b": condition("int(inputs.parameter_values['k']) > 9"),
        "c": condition("inputs.parameter_values['zz'] == 'x'"),
        "d": task(json!({"inputs": {"parameters": {"k": {"componentInputParameter": "zz"}}}})),
    }));
    let s = scope(&[]);
    assert_eq!(letters(&p, &s), "RSFF");
    let root = p.spec.root.as_ref().unwrap();
    let Decision::Fail { message } = decide(&p, root, "d", &s, &job()) else {
        panic!()
    };
    assert_eq!(
        message,
        "input parameter \"k\": the DAG around has no input \"zz\""
    );
}

fn resolve(inputs: Value, definitions: Value, scope: &Scope) -> Result<Inputs, String> {
    let task: TaskSpec = serde_json::from_value(json!({"inputs": inputs})).unwrap();
    let component: ComponentSpec =
        serde_json::from_value(json!({"inputDefinitions": definitions, "executorLabel": "e"}))
            .unwrap();
    resolve_inputs("t", &task, &component, scope, &job()).map_err(|e| e.to_string())
}

#[test]
fn constants_may_refer_to_other_inputs() {
    let mut s = scope(&[]);
    s.inputs
        .parameters
        .insert("q".into(), json!("say \"hi\" {{$.inputs.parameters['n']}}"));
    s.inputs
        .parameters
        .insert("l".into(), json!({"a": [1.0, 2]}));
    let constant = |value: Value| json!({"runtimeValue": {"constant": value}});
    let inputs = resolve(
        json!({"parameters": {
            "n": {"componentInputParameter": "n"},
            "q": {"componentInputParameter": "q"},
            "l": {"componentInputParameter": "l"},
            "text": constant(json!("n={{$.inputs.parameters['n']}} q={{$.inputs.parameters['q']}}")),
            "number": constant(json!("{{$.inputs.parameters['n']}}")),
            "chain": constant(json!("<{{$.inputs.parameters['text']}}>")),
            "nested": constant(json!({"x": ["{{$.inputs.parameters['q']}}", 2.0, null]})),
            "job": constant(json!("{{$.pipeline_job_name}}/{{$.pipeline_job_uuid}}/{{$.pipeline_task_name}}")),
            "part": {"componentInputParameter": "l", "parameterExpressionSelector": "parseJson(string_value)[\"a\"]"},
            "float": constant(json!(3.0)),
        }}),
        json!({"parameters": {
            "number": {"parameterType": "NUMBER_INTEGER"},
            "text": {"parameterType": "STRING"},
            "l": {"parameterType": "STRING"},
            "nested": {"parameterType": "STRUCT"},
            "part": {"parameterType": "LIST"},
            "float": {"parameterType": "NUMBER_INTEGER"},
            "default": {"parameterType": "STRING", "defaultValue": "d"},
            "absent": {"parameterType": "STRING", "isOptional": true},
        }}),
        &s,
    )
    .unwrap();
    let p = &inputs.parameters;
    // A value that looks like a placeholder stays what it is; quotes do no harm.
    assert_eq!(
        p["text"],
        json!("n=7 q=say \"hi\" {{$.inputs.parameters['n']}}")
    );
    assert_eq!(p["number"], json!(7));
    assert_eq!(
        p["chain"],
        json!("<n=7 q=say \"hi\" {{$.inputs.parameters['n']}}>")
    );
    assert_eq!(
        p["nested"],
        json!({"x": ["say \"hi\" {{$.inputs.parameters['n']}}", 2, null]})
    );
    assert_eq!(p["job"], json!("my run/u-1/t"));
    assert_eq!(p["l"], json!("{\"a\":[1,2]}"));
    assert_eq!(p["part"], json!([1, 2]));
    assert_eq!(p["float"].to_string(), "3");
    assert_eq!(p["default"], json!("d"));
    assert!(!p.contains_key("absent"));
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let constant =
        |value: &str| json!({"parameters": {"x": {"runtimeValue": {"constant": value}}}});
    for (inputs, definitions, says) in [
        (
            constant("a"),
            json!({"parameters": {"x": {"parameterType": "NUMBER_INTEGER"}}}),
            "expects NUMBER_INTEGER",
        ),
        (
            constant("{{$.inputs.parameters['zz']}}!"),
            json!({}),
            "refers to \"zz\"",
        ),
        (constant("{{$.workspace_path}}/x"), json!({}), "workspace"),
        (
            json!({}),
            json!({"parameters": {"y": {"parameterType": "STRING"}}}),
            "\"y\": is required",
        ),
        (
            json!({"artifacts": {"d": {"taskOutputArtifact": {"producerTask": "m", "outputArtifactKey": "o"}}}}),
            json!({"artifacts": {"d": {}}}),
            "task \"m\" has given no artifact \"o\"",
        ),
        (
            json!({"parameters": {
                "a": {"runtimeValue": {"constant": "{{$.inputs.parameters['b']}}"}},
                "b": {"runtimeValue": {"constant": "{{$.inputs.parameters['a']}}"}}}}),
            json!({}),
            "circle",
        ),
    ] {
        let error = resolve(inputs, definitions, &scope(&[])).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(
        task_uuid(&job(), "root", "t"),
        task_uuid(&job(), "root", "t")
    );
    assert_ne!(
        task_uuid(&job(), "root", "t"),
        task_uuid(&job(), "root/x", "t")
    );
}

#[test]
fn dag_outputs_take_what_exists() {
    let component: ComponentSpec = serde_json::from_value(json!({"dag": {
        "tasks": {},
        "outputs": {"parameters": {
            "one": {"valueFromOneof": {"parameterSelectors": [
                {"producerSubtask": "a", "outputParameterKey": "o"},
                {"producerSubtask": "b", "outputParameterKey": "o"}]}},
            "gone": {"valueFromParameter": {"producerSubtask": "a", "outputParameterKey": "o"}}
        }}
    }}))
    .unwrap();
    let outputs = dag_outputs(&component, &scope(&[("a", Skipped), ("b", Succeeded)]));
    assert_eq!(Value::Object(outputs.parameters), json!({"one": "yes"}));
}
