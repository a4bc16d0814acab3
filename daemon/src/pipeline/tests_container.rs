//! From a spec to a container, and from what a container left behind to outputs; also what a hostile one left.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use kfbox_store::kinds::ir::{ComponentSpec, ContainerSpec, parse_file};
use serde_json::{Value, json};

use super::container::{ContainerPlan, Places, TaskId, plan_container};
use super::outputs::{HostPaths, collect};
use super::pip::recognise;
use super::scope::{Inputs, Outputs};
use super::tests::job;

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

/// Real pipelines: each lightweight component's preamble is recognised, and nothing else is.
#[test]
fn the_preambles_of_the_corpus_are_recognised() {
    let root = match std::env::var_os("KFBOX_CONFORMANCE") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
    };
    let mut folders = vec![root.join("kfp")];
    let (mut files, mut recognised) = (0, 0);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
        {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(file) = parse_file(&fs::read(&path).unwrap()) else {
                continue;
            };
            files += 1;
            for (label, executor) in &file.pipeline.spec.deployment_spec.executors {
                let Some(container) = &executor.container else {
                    continue;
                };
                let script = container
                    .command
                    .get(2)
                    .map(String::as_str)
                    .unwrap_or_default();
                let expected = script.contains("-m ensurepip") && !script.contains("-m venv");
                let setup = recognise(&container.command, &[]);
                assert_eq!(
                    setup.is_some(),
                    expected,
                    "{label} of {}: {script}",
                    path.display()
                );
                recognised += usize::from(expected);
            }
        }
    }
    match files {
        0 => println!(
            "skipped: no conformance cases at {}; set KFBOX_CONFORMANCE",
            root.display()
        ),
        _ => assert!(recognised > 0),
    }
    println!("{recognised} preambles in {files} files");
}
