//! The engine's judgement on small DAGs, and the whole way from a spec to a container and back.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use kfbox_store::kinds::ir::{ComponentSpec, ContainerSpec, Pipeline, TaskSpec};
use serde_json::{Value, json};

use super::container::{ContainerPlan, Places, TaskId, plan_container};
use super::outputs::{HostPaths, collect};
use super::plan::{Decision, Outcome, dag_outcome, decide, decide_all};
use super::resolve::{dag_outputs, resolve_inputs, task_uuid};
use super::scope::{Inputs, Job, Outputs, Scope, TaskState, TaskView};

fn job() -> Job {
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

fn plan(container: Value, inputs: Value) -> Result<ContainerPlan, String> {
    let component: ComponentSpec = serde_json::from_value(json!({
        "executorLabel": "e",
        "outputDefinitions": {
            "parameters": {"n": {"parameterType": "NUMBER_INTEGER"}, "s": {"parameterType": "STRING"}},
            "artifacts": {"m": {"artifactType": {"schemaTitle": "system.Metrics", "schemaVersion": "0.0.1"}, "metadata": {"k": 1}}}
        }
    }))
    .unwrap();
    let container: ContainerSpec = serde_json::from_value(container).unwrap();
    let inputs: Inputs = serde_json::from_value(inputs).unwrap();
    let places = Places::new(&job(), "t", "7");
    let task = TaskId {
        name: "t",
        uuid: "tu",
    };
    plan_container(&component, &container, &inputs, &places, task, &job())
        .map_err(|e| e.to_string())
}

#[test]
fn a_container_gets_everything_filled_in() {
    let here = "minio://mlpipeline/v2/artifacts/p/u-1/t/7";
    let plan = plan(
        json!({
            "image": "{{$.inputs.parameters['image']}}:1",
            "command": ["run", "{{$.outputs.parameters['n'].output_file}}", "{{$.inputs.artifacts['d'].path}}"],
            "args": [
                "{\"Concat\": [\"a-\", \"{{$.inputs.parameters['list']}}\", {\"IfPresent\": {\"InputName\": \"no\", \"Then\": \"x\"}}]}",
                "{\"IfPresent\": {\"InputName\": \"no\", \"Then\": [\"--no\"]}}",
                "{\"IfPresent\": {\"InputName\": \"d\", \"Then\": [\"--d\", \"{{$.inputs.artifacts['d'].uri}}\"], \"Else\": \"none\"}}",
                "{\"not\": \"ours\"}",
                "{{$.inputs.parameters['no']}}",
                "{{$.outputs.artifacts['m'].path}}",
                "{{$.pipeline_job_uuid}}+{{$.pipeline_task_uuid}}",
                "{{$.outputs.output_file}}",
                "{{$}}"
            ],
            "env": [{"name": "A", "value": "v={{$.inputs.parameters['f']}}"}],
            "resources": {"cpuLimit": 0.5, "resourceMemoryLimit": "{{$.inputs.parameters['memory']}}", "memoryRequest": 1.0,
                          "resourceCpuRequest": "{{$.inputs.parameters['no']}}"}
        }),
        json!({
            "parameters": {"image": "img", "list": [1, "b"], "f": 2.5, "memory": "1Gi", "no": null, "tricky": "\"{{$}}"},
            "artifacts": {"d": [{"name": "d", "uri": "minio://b/d", "type": "system.Dataset"}]}
        }),
    )
    .unwrap();
    assert_eq!(plan.image, "img:1");
    assert_eq!(plan.command, ["run", "/tmp/kfp/outputs/n", "/minio/b/d"]);
    let metrics = "/minio/mlpipeline/v2/artifacts/p/u-1/t/7/m";
    let (input, rest) = plan.args.split_last().unwrap();
    assert_eq!(
        rest,
        [
            "a-[1,\"b\"]",
            "--d",
            "minio://b/d",
            "{\"not\": \"ours\"}",
            "",
            metrics,
            "u-1+tu",
            "/minio/mlpipeline/v2/artifacts/p/u-1/t/7/output_metadata.json",
        ]
    );
    let input: Value = serde_json::from_str(input).unwrap();
    assert_eq!(input, plan.executor_input);
    assert_eq!(input["inputs"]["parameterValues"]["tricky"], "\"{{$}}");
    assert!(input["inputs"]["parameterValues"].get("no").is_none());
    assert_eq!(
        input["outputs"]["artifacts"]["m"]["artifacts"][0],
        json!({
            "name": "m", "uri": format!("{here}/m"), "metadata": {"k": 1},
            "type": {"schemaTitle": "system.Metrics", "schemaVersion": "0.0.1"}
        })
    );
    assert_eq!(plan.env, [("A".to_owned(), "v=2.5".to_owned())]);
    assert_eq!(plan.resources.cpu_limit.as_deref(), Some("500m"));
    assert_eq!(plan.resources.cpu_request, None);
    assert_eq!(plan.resources.memory_limit.as_deref(), Some("1Gi"));
    assert_eq!(plan.resources.memory_request.as_deref(), Some("1000000000"));
    assert_eq!(
        plan.input_artifact_paths,
        [("minio://b/d".to_owned(), "/minio/b/d".to_owned())]
    );
    assert_eq!(plan.setup, None);
}

#[test]
fn a_container_that_asks_for_the_impossible_is_refused() {
    let refused = |args: Value| plan(json!({"image": "i", "args": args}), json!({})).unwrap_err();
    assert!(refused(json!(["{{$.outputs.parameters['zz'].output_file}}"])).contains("args[0]"));
    assert!(refused(json!(["{\"IfPresent\": {\"Then\": \"x\"}}"])).contains("InputName"));
    let deep = "{\"Concat\":[".repeat(60) + &"]}".repeat(60);
    assert!(refused(json!([deep])).contains("too deeply"));
    assert!(
        plan(json!({"image": ""}), json!({}))
            .unwrap_err()
            .contains("image")
    );
}

/// A folder as a container has left it.
struct Left {
    dir: tempfile::TempDir,
    plan: ContainerPlan,
}

impl Left {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["out", "minio/task"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let plan = plan(json!({"image": "i"}), json!({})).unwrap();
        let left = Self { dir, plan };
        left.file("n", b" 3.0\n").file("s", "hä\n".as_bytes());
        left
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> &Self {
        fs::write(self.path("out").join(name), bytes).unwrap();
        self
    }

    fn report(&self, text: &str) -> &Self {
        fs::write(self.path("minio/task/output_metadata.json"), text).unwrap();
        self
    }

    fn collect(&self) -> Result<Outputs, String> {
        let host = HostPaths {
            outputs_dir: self.path("out"),
            metadata_root: self.path("minio"),
            metadata_file: self.path("minio/task/output_metadata.json"),
        };
        collect(&self.plan, &host).map_err(|e| e.to_string())
    }
}

#[test]
fn outputs_are_read_and_the_report_wins() {
    let left = Left::new();
    let outputs = left.collect().unwrap();
    assert_eq!(
        Value::Object(outputs.parameters),
        json!({"n": 3, "s": "hä\n"})
    );
    assert_eq!(outputs.artifacts["m"][0].metadata["k"], json!(1));
    left.report(r#"{"parameterValues": {"n": 5.0, "zz": 1}, "artifacts": {
        "m": {"artifacts": [{"name": "x", "uri": "gs://b/other", "metadata": {"acc": 0.9}, "type": {"schemaTitle": "evil"}}]},
        "undeclared": {"artifacts": [{}]}}}"#);
    let outputs = left.collect().unwrap();
    assert_eq!(
        Value::Object(outputs.parameters),
        json!({"n": 5, "s": "hä\n"})
    );
    let metrics = &outputs.artifacts["m"][0];
    assert_eq!(metrics.uri, "gs://b/other");
    assert_eq!(metrics.type_, "system.Metrics");
    assert_eq!(
        Value::Object(metrics.metadata.clone()),
        json!({"k": 1, "acc": 0.9})
    );
    assert_eq!(outputs.artifacts.len(), 1);
}

#[test]
fn bad_outputs_name_the_output() {
    for (name, bytes, says) in [
        (
            "n",
            &b"three"[..],
            "output parameter \"n\": \"three\" is not a NUMBER_INTEGER value",
        ),
        ("n", b"3.5", "not a whole number"),
        ("n", b"", "is not a NUMBER_INTEGER"),
        ("s", b"\xff\xfe", "not UTF-8"),
    ] {
        let error = Left::new().file(name, bytes).collect().unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    for (report, says) in [
        ("[1]", "not a JSON object"),
        ("{", "not JSON"),
        ("{\"artifacts\": 5}", "artifacts"),
        (
            "{\"parameterValues\": {\"n\": \"x\"}}",
            "expects NUMBER_INTEGER",
        ),
    ] {
        let error = Left::new().report(report).collect().unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let deep = "[".repeat(100_000);
    assert!(Left::new().report(&deep).collect().is_err());
    let left = Left::new();
    fs::remove_file(left.path("out/s")).unwrap();
    assert!(
        left.collect()
            .unwrap_err()
            .contains("\"s\": the component has not written it")
    );
    let big = vec![b'x'; 8 * 1024 * 1024 + 1];
    assert!(
        left.file("s", &big)
            .collect()
            .unwrap_err()
            .contains("larger than 8 MiB")
    );
}

#[test]
fn hostile_files_leak_nothing() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "secret").unwrap();
    let link = |target: &std::path::Path, at: PathBuf| {
        let _ = fs::remove_file(&at);
        std::os::unix::fs::symlink(target, at).unwrap();
    };
    let left = Left::new();
    link(secret.path(), left.path("out/s"));
    assert!(left.collect().unwrap_err().contains("not a regular file"));

    let left = Left::new();
    fs::remove_file(left.path("out/s")).unwrap();
    fs::create_dir(left.path("out/s")).unwrap();
    assert!(left.collect().unwrap_err().contains("not a regular file"));

    // The task's folder replaced by a link to somewhere else.
    let left = Left::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(
        elsewhere.path().join("output_metadata.json"),
        "{\"parameterValues\": {\"s\": \"stolen\"}}",
    )
    .unwrap();
    fs::remove_dir(left.path("minio/task")).unwrap();
    link(elsewhere.path(), left.path("minio/task"));
    assert!(left.collect().unwrap_err().contains("outside"));

    // A pipe must not make us wait.
    let left = Left::new();
    fs::remove_file(left.path("out/s")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(left.path("out/s"))
        .status()
        .unwrap();
    assert!(made.success());
    assert!(left.collect().unwrap_err().contains("not a regular file"));
}
