//! The IR against what is wrong: each fault named with its place, bombs bounded, values brought to type.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

/// A small pipeline that is right: a producer and a consumer.
pub(super) fn sample() -> Value {
    json!({
        "pipelineInfo": {"name": "p"},
        "schemaVersion": "2.1.0",
        "components": {
            "comp-make": {
                "executorLabel": "exec-a",
                "outputDefinitions": {"parameters": {"out": {"parameterType": "NUMBER_INTEGER"}}}
            },
            "comp-take": {
                "executorLabel": "exec-a",
                "inputDefinitions": {"parameters": {"x": {"parameterType": "NUMBER_INTEGER"}}}
            }
        },
        "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "i"}}}},
        "root": {
            "dag": {"tasks": {
                "make": {"componentRef": {"name": "comp-make"}},
                "take": {
                    "componentRef": {"name": "comp-take"},
                    "dependentTasks": ["make"],
                    "inputs": {"parameters": {"x": {
                        "taskOutputParameter": {"producerTask": "make", "outputParameterKey": "out"}
                    }}}
                }
            }},
            "inputDefinitions": {"parameters": {
                "n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3.0},
                "rate": {"parameterType": "NUMBER_DOUBLE"},
                "mode": {"parameterType": "STRING", "isOptional": true, "literals": ["a", "b"]}
            }}
        }
    })
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[key] = new;
}

fn check_value(value: &Value) -> Result<(), IrError> {
    check(&Pipeline::from_value(value)?)
}

#[test]
fn each_fault_is_named_with_its_place() {
    check_value(&sample()).unwrap();
    for (pointer, new, place, says) in [
        ("/schemaVersion", json!("2.0.0"), "schemaVersion", "2.1.0"),
        (
            "/pipelineInfo",
            json!({"name": null}),
            "pipelineInfo.name",
            "is empty",
        ),
        ("/root", json!(null), "root", "is missing"),
        ("/root/dag", json!(null), "root.dag", "is missing"),
        (
            "/root/dag/tasks",
            json!({}),
            "root.dag.tasks",
            "at least one",
        ),
        ("/rooot", json!({}), "rooot", "did you mean \"root\"?"),
        (
            "/root/dag/tasks/make/componentRef/name",
            json!("comp-mak"),
            "root.dag.tasks.make.componentRef.name",
            "did you mean \"comp-make\"?",
        ),
        (
            "/components/comp-make/executorLabel",
            json!("exec-b"),
            "components.comp-make.executorLabel",
            "did you mean \"exec-a\"?",
        ),
        (
            "/root/dag/tasks/take/dependentTasks",
            json!(["mak"]),
            "root.dag.tasks.take.dependentTasks[0]",
            "no task \"mak\"",
        ),
        (
            "/root/dag/tasks/take/dependentTasks",
            json!("make"),
            "root.dag.tasks.take.dependentTasks",
            "sequence",
        ),
        (
            "/root/dag/tasks/take/inputs/parameters/x/taskOutputParameter/outputParameterKey",
            json!("uot"),
            "root.dag.tasks.take.inputs.parameters.x.taskOutputParameter",
            "no output parameter \"uot\"",
        ),
        (
            "/root/dag/tasks/take/inputs/parameters/x",
            json!({"componentInputParameter": "nn"}),
            "root.dag.tasks.take.inputs.parameters.x.componentInputParameter",
            "did you mean \"n\"?",
        ),
        (
            "/root/dag/tasks/take/inputs",
            json!({}),
            "root.dag.tasks.take.inputs.parameters.x",
            "comp-take requires it",
        ),
        (
            "/root/dag/tasks/take/triggerPolicy",
            json!({"condition": "1 +"}),
            "root.dag.tasks.take.triggerPolicy.condition",
            "not a CEL expression",
        ),
        (
            "/root/dag/tasks/take/retryPolicy",
            json!({"backoffDuration": "1h"}),
            "root.dag.tasks.take.retryPolicy.backoffDuration",
            "seconds",
        ),
        (
            "/root/dag/tasks/make/dependentTasks",
            json!(["take"]),
            "root.dag.tasks",
            "make -> take -> make",
        ),
        (
            "/root/dag/tasks/..",
            json!({"componentRef": {"name": "comp-make"}}),
            "root.dag.tasks...",
            "part of paths",
        ),
        (
            "/components/comp-make/outputDefinitions/parameters/a~1b",
            json!({"parameterType": "STRING"}),
            "components.comp-make.outputDefinitions.parameters.a/b",
            "part of paths",
        ),
        (
            "/components/comp-make/outputDefinitions/parameters/out/parameterType",
            json!("NUMBER"),
            "components.comp-make.outputDefinitions.parameters.out.parameterType",
            "NUMBER_INTEGER",
        ),
        (
            "/root/dag/outputs",
            json!({"parameters": {"o": {"valueFromParameter": {"producerSubtask": "mk", "outputParameterKey": "out"}}}}),
            "root.dag.outputs.parameters.o.producerSubtask",
            "no task \"mk\"",
        ),
    ] {
        let mut value = sample();
        let pointer = if pointer.ends_with("a~1b") {
            value
                .pointer_mut("/components/comp-make/outputDefinitions/parameters")
                .unwrap()["a/b"] = new;
            ""
        } else {
            set(&mut value, pointer, new);
            pointer
        };
        let error = check_value(&value).unwrap_err();
        assert_eq!(error.path, place, "{pointer}: {error}");
        assert!(error.message.contains(says), "{pointer}: {error}");
    }
}

#[test]
fn what_unfolds_without_end_is_refused() {
    let dag = |name: &str| {
        json!({"dag": {"tasks": {
            "a": {"componentRef": {"name": name}}, "b": {"componentRef": {"name": name}}
        }}})
    };
    let mut circle = sample();
    circle["components"]["comp-x"] = dag("comp-y");
    circle["components"]["comp-y"] = dag("comp-x");
    let error = check_value(&circle).unwrap_err();
    assert!(
        error.message.contains("comp-x -> comp-y -> comp-x"),
        "{error}"
    );

    let mut bomb = sample();
    for level in 0..60 {
        bomb["components"][format!("comp-{level}")] = dag(&format!("comp-{}", level + 1));
    }
    bomb["components"]["comp-60"] = json!({"executorLabel": "exec-a"});
    bomb["root"]["dag"]["tasks"]["boom"] = json!({"componentRef": {"name": "comp-0"}});
    let error = check_value(&bomb).unwrap_err();
    assert!(error.message.contains("at most 100000"), "{error}");
}

#[test]
fn files_are_read_as_yaml_and_json_alike() {
    let yaml = "\
# a comment
pipelineInfo: {name: p}
schemaVersion: 2.1.0
base: &b {x: 1}
root:
  inputDefinitions:
    parameters:
      a: {defaultValue: '007'}
      b: {defaultValue: 9007199254740993}
      c: {defaultValue: 1.5e300}
      d: {defaultValue: null}
      e: {defaultValue: [yes, 'true', true, ~, 0x10, 1_000]}
      f:
        defaultValue: |
          two
          lines
      g: {defaultValue: -0.0}
      h: {defaultValue: 2020-01-01}
      i: {defaultValue: 12:30}
      j: {defaultValue: 123456789012345678901234567890}
      k: {defaultValue: 'a{{$.inputs}}'}
---
platforms:
  kubernetes: {}
";
    let file = parse_file(yaml.replace("base: &b {x: 1}\n", "").as_bytes()).unwrap();
    let at = |name: &str| {
        file.spec
            .pointer(&format!(
                "/root/inputDefinitions/parameters/{name}/defaultValue"
            ))
            .unwrap()
    };
    assert_eq!(file.spec["schemaVersion"], json!("2.1.0"));
    assert_eq!(at("a"), &json!("007"));
    assert_eq!(at("b"), &json!(9_007_199_254_740_993_i64));
    assert_eq!(at("c"), &json!(1.5e300));
    assert_eq!(at("d"), &json!(null));
    assert_eq!(at("f"), &json!("two\nlines\n"));
    assert_eq!(at("h"), &json!("2020-01-01"));
    assert_eq!(at("k"), &json!("a{{$.inputs}}"));
    assert_eq!(at("e"), &json!([true, "true", true, null, 16, 1000]));
    assert_eq!(at("i"), &json!("12:30"));
    assert_eq!(at("j"), &json!(1.2345678901234568e29));
    assert!(file.platform.is_some());
    let again = PipelineFile::from_value(file.to_value()).unwrap();
    assert_eq!(again, file);

    let text = serde_json::to_string(&sample()).unwrap();
    assert_eq!(parse_file(text.as_bytes()).unwrap().spec, sample());
    assert!(
        parse_file(yaml.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("base: unknown field")
    );
}

#[test]
fn broken_files_say_where() {
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b" \n---\n", "no pipeline spec"),
        (b"\xff\xfe\x00", "not text"),
        (b"{\"a\": ", "not JSON"),
        (b"a: b: c", "line 1"),
        (b"- a\n- b", "document 1"),
        (b"just words", "document 1"),
        (
            b"pipelineInfo: {name: a}\n---\npipelineInfo: {name: b}\n",
            "document 2",
        ),
        (
            b"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n",
            "Argo",
        ),
        (b"root: 5", "root"),
    ] {
        let error = parse_file(bytes).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn bombs_are_bounded() {
    let mut aliases = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(",");
        aliases.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    for (name, text) in [
        ("aliases", aliases),
        ("depth", "[".repeat(100_000)),
        ("json depth", "{\"a\":".repeat(100_000)),
        (
            "block depth",
            (0..2000)
                .map(|i| format!("{}a:\n", " ".repeat(i)))
                .collect(),
        ),
    ] {
        let started = std::time::Instant::now();
        assert!(parse_file(text.as_bytes()).is_err(), "{name}");
        assert!(
            started.elapsed().as_secs() < 10,
            "{name} took {:?}",
            started.elapsed()
        );
    }
    // Each of these nests as deep as its length: the expression parser must be kept from using up the stack.
    for unit in [
        "(", "!", "-", "[", "a.", "1+", "1?", "a||", "a[", "f(", "{1:", "!(a)&&", "1==", "a<",
    ] {
        for length in [MAX_EXPRESSION, 128] {
            let mut value = sample();
            let condition = unit.repeat(length / unit.len() - 1) + "a";
            value["root"]["dag"]["tasks"]["take"]["triggerPolicy"] =
                json!({"condition": condition});
            let _ = check_value(&value);
        }
    }

    // As deep as JSON may come in, on an ordinary stack.
    let deep: Value = serde_json::from_str(&("[".repeat(120) + &"]".repeat(120))).unwrap();
    let mut value = sample();
    value["root"]["inputDefinitions"]["parameters"]["n"]["defaultValue"] = deep.clone();
    value["root"]["dag"]["tasks"]["take"]["inputs"]["parameters"]["x"] =
        json!({"runtimeValue": {"constant": deep}});
    check_value(&value).unwrap();
}

#[test]
fn what_is_not_supported_yet_is_named() {
    let mut value = sample();
    value["deploymentSpec"]["executors"]["exec-i"] =
        json!({"importer": {"artifactUri": {"constant": "gs://a"}, "downloadToWorkspace": true}});
    value["components"]["comp-i"] = json!({"executorLabel": "exec-i"});
    value["root"]["dag"]["tasks"]["bring"] = json!({"componentRef": {"name": "comp-i"}});
    value["root"]["dag"]["tasks"]["make"]["parameterIterator"] =
        json!({"items": {"raw": "[1]"}, "itemInput": "i"});
    value["deploymentSpec"]["executors"]["exec-a"]["container"]["resources"] =
        json!({"accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "1"}});
    let platform = json!({"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-a": {
        "secretAsEnv": [{"secretName": "s"}], "pvcMount": [], "imagePullPolicy": "Always",
        "securityContext": {"runAsUser": "65534", "runAsGroup": 0},
        "podMetadata": {"labels": {"a": "b"}},
        "enabledSharedMemory": {"size": "1Gi"}
    }}}, "pipelineConfig": {"workspace": {"size": "1Gi"}}}}});
    let pipeline =
        Pipeline::from_value(&json!({"pipeline_spec": value, "platform_spec": platform})).unwrap();
    let mut places: Vec<String> = unsupported(&pipeline).into_iter().map(|e| e.path).collect();
    places.sort();
    places.dedup();
    assert_eq!(
        places,
        [
            "deploymentSpec.executors.exec-a.container.resources.accelerator",
            "deploymentSpec.executors.exec-i.importer.downloadToWorkspace",
            "platforms.kubernetes.deploymentSpec.executors.exec-a.secretAsEnv",
            "platforms.kubernetes.pipelineConfig.workspace",
            "root.dag.tasks.make.parameterIterator",
        ]
    );
    assert_eq!(
        notes(&pipeline).first().unwrap().path,
        "platforms.kubernetes.deploymentSpec.executors.exec-a.imagePullPolicy"
    );
    let config = pipeline.kubernetes("exec-a").unwrap();
    let security = config.security_context.unwrap();
    assert_eq!((security.user(), security.group()), (Some(65534), Some(0)));
    assert_eq!(config.pod_metadata.labels["a"], "b");
    assert_eq!(
        pipeline.kubernetes("other").unwrap(),
        KubernetesConfig::default()
    );
}
