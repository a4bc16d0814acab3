//! The KFP API: conventions that clients break without, rules, uploads, hostile input.

#![allow(clippy::unwrap_used)]

mod common;

use common::{PIPELINE, TestBox};
use kfbox_store::{
    Object, Ref,
    kinds::pipeline::{RUN, RUN_ID, RunState, TASK, TaskSpec},
};
use serde_json::{Value, json};

const V: &str = "/apis/v2beta1";

async fn run(b: &TestBox, name: &str) -> Value {
    let spec: Value = serde_json::from_str(PIPELINE).unwrap();
    let body = json!({"display_name": name, "pipeline_spec": spec, "runtime_config": {"parameters": {"a": 1}}});
    let answer = b.api("POST", &format!("{V}/runs"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn set_state(b: &TestBox, run: &Value, state: RunState) {
    let r = Ref::new(&RUN, "kubeflow", run["run_id"].as_str().unwrap());
    b.app
        .store
        .modify(&r, move |o| {
            o.set(
                "status",
                &json!({"state": state, "finishTime": "2026-01-01T00:00:00.5Z"}),
            )
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_runs_life() {
    let b = TestBox::new().await;
    let made = run(&b, "first").await;
    let id = made["run_id"].as_str().unwrap();
    let path = format!("{V}/runs/{id}");
    let get = async || b.api("GET", &path, json!(null)).await.json();
    let act = async |verb: &str| {
        b.api("POST", &format!("{path}:{verb}"), json!(null))
            .await
            .status
            .as_u16()
    };
    let shown = get().await;
    assert_eq!(shown["state"], "PENDING");
    assert_eq!(shown["finished_at"], "1970-01-01T00:00:00Z");
    assert_eq!(
        shown["runtime_config"]["parameters"],
        json!({"a": 1, "b": "two"})
    );
    assert_eq!(shown["pipeline_spec"]["pipelineInfo"]["name"], "adder");
    for absent in [
        "description",
        "service_account",
        "error",
        "run_details",
        "recurring_run_id",
    ] {
        assert!(shown.get(absent).is_none(), "{absent}");
    }
    assert_eq!(act("retry").await, 400);
    assert_eq!(act("explode").await, 404);
    assert_eq!(act("terminate").await, 200);
    assert_eq!(get().await["state"], "CANCELING");
    set_state(&b, &made, RunState::Canceled).await;
    assert_eq!(get().await["state"], "CANCELED");
    assert_eq!(get().await["finished_at"], "2026-01-01T00:00:00Z");
    assert_eq!(act("terminate").await, 400);
    assert_eq!(act("retry").await, 200);
    assert_eq!(get().await["state"], "PENDING");
    assert_eq!(act("retry").await, 400);
    assert_eq!(act("archive").await, 200);
    assert_eq!(get().await["storage_state"], "ARCHIVED");
    assert_eq!(act("unarchive").await, 200);
    assert_eq!(b.api("DELETE", &path, json!(null)).await.status, 200);
    let gone = b.api("GET", &path, json!(null)).await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()["code"].as_u64()),
        (404, Some(5))
    );
}

#[tokio::test]
async fn tasks_are_told_as_details() {
    let b = TestBox::new().await;
    let made = run(&b, "tasks").await;
    let id = made["run_id"].as_str().unwrap();
    for (name, path, state) in [
        ("t1", "root/loop", "RUNNING"),
        ("t2", "root/loop/train", "CACHED"),
    ] {
        let spec = TaskSpec {
            run_id: id.into(),
            path: path.into(),
            name: name.into(),
            ..TaskSpec::default()
        };
        let mut task = Object::new(&TASK, "kubeflow", name)
            .with_label(RUN_ID, id)
            .with_spec(&spec)
            .unwrap();
        task.set("status", &json!({"state": state, "podName": "p", "outputs": {"artifacts": {"m": [{"name": "7", "uri": "minio://b/k"}]}}})).unwrap();
        b.app.store.create(task).await.unwrap();
    }
    let blob = b.app.blobs.path("minio://b/k").unwrap();
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(blob, "bytes").unwrap();
    let shown = b
        .api("GET", &format!("{V}/runs/{id}"), json!(null))
        .await
        .json();
    let details = shown["run_details"]["task_details"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(details.len(), 2);
    assert_eq!(details[0]["child_tasks"], json!([{"task_id": "t2"}]));
    assert_eq!(details[1]["parent_task_id"], "t1");
    assert_eq!(details[1]["state"], "SKIPPED");
    assert_eq!(details[1]["outputs"]["m"]["artifact_ids"], json!(["7"]));
    let read = b
        .api(
            "GET",
            &format!("{V}/runs/{id}/nodes/t2/artifacts/m:read"),
            json!(null),
        )
        .await;
    assert_eq!(read.json()["data"], "Ynl0ZXM=");
}

#[tokio::test]
async fn lists_sort_filter_and_page() {
    let b = TestBox::new().await;
    for name in ["c", "a", "b"] {
        run(&b, name).await;
    }
    let list = async |query: &str| {
        b.api("GET", &format!("{V}/runs?{query}"), json!(null))
            .await
    };
    let names = |v: &Value| -> Vec<String> {
        let runs = v["runs"].as_array().cloned().unwrap_or_default();
        runs.iter()
            .map(|r| r["display_name"].as_str().unwrap().into())
            .collect()
    };
    // The SDK sends empty parameters for unset ones.
    let all = list("namespace=&page_token=&page_size=10&sort_by=&filter=&experiment_id=")
        .await
        .json();
    assert_eq!(names(&all), ["c", "a", "b"]);
    assert_eq!(all["total_size"], 3);
    assert!(all.get("next_page_token").is_none());
    assert_eq!(
        names(&list("sort_by=name%20desc").await.json()),
        ["c", "b", "a"]
    );
    let first = list("sort_by=name&page_size=2").await.json();
    assert_eq!(names(&first), ["a", "b"]);
    let token = first["next_page_token"].as_str().unwrap();
    let last = list(&format!("page_size=2&page_token={token}"))
        .await
        .json();
    assert_eq!(
        (names(&last), last.get("next_page_token")),
        (vec!["c".to_string()], None)
    );
    let filter = "filter=%7B%22predicates%22:%5B%7B%22operation%22:1,%22key%22:%22name%22,%22stringValue%22:%22a%22%7D%5D%7D";
    assert_eq!(names(&list(filter).await.json()), ["a"]);
    for (query, part) in [
        ("page_size=-1", "page_size"),
        ("page_size=x", "page_size"),
        ("sort_by=colour", "colour"),
        ("sort_by=name%20up", "sort_by"),
        ("filter=x", "filter"),
        ("page_token=x", "page_token"),
        (
            &format!("page_token={token}&sort_by=name%20desc"),
            "page_token",
        ),
        (&format!("page_token={token}&{filter}"), "page_token"),
        ("namespace=other", "namespace"),
    ] {
        let answer = list(query).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(part), "{query}: {}", answer.text());
    }
    let empty = b.api("GET", &format!("{V}/pipelines"), json!(null)).await;
    assert_eq!(empty.text(), "{}");
}

#[tokio::test]
async fn bad_requests_name_the_field() {
    let b = TestBox::new().await;
    let spec: Value = serde_json::from_str(PIPELINE).unwrap();
    for (path, body, status, part) in [
        ("runs", json!({}), 400, "display_name"),
        ("runs", json!({"display_name": "x"}), 400, "pipeline_spec"),
        (
            "runs",
            json!({"display_name": "x", "colour": 1}),
            400,
            "colour",
        ),
        (
            "runs",
            json!({"display_name": "x", "pipeline_spec": spec}),
            400,
            "parameters.a",
        ),
        (
            "runs",
            json!({"displayName": "x", "pipelineSpec": spec, "runtimeConfig": {"parameters": {"a": 1, "z": 1}}}),
            400,
            "parameters.z",
        ),
        (
            "runs",
            json!({"display_name": "x", "pipeline_spec": spec, "runtime_config": {"parameters": {"a": "t"}}}),
            400,
            "parameters.a",
        ),
        (
            "runs",
            json!({"display_name": "x", "pipeline_spec": {"root": 1}}),
            400,
            "root",
        ),
        (
            "runs",
            json!({"display_name": "x", "pipeline_version_reference": {"pipeline_id": "none"}}),
            404,
            "none",
        ),
        (
            "runs",
            json!({"display_name": "x", "experiment_id": "none", "pipeline_spec": spec, "runtime_config": {"parameters": {"a": 1}}}),
            404,
            "none",
        ),
        (
            "experiments",
            json!({"display_name": "Default"}),
            409,
            "Default",
        ),
        (
            "experiments",
            json!({"display_name": "x", "namespace": "y"}),
            400,
            "namespace",
        ),
        (
            "pipelines",
            json!({"display_name": " "}),
            400,
            "display_name",
        ),
        ("pipelines/create", json!({}), 400, "package_url"),
        ("recurringruns", json!({}), 501, "recurring"),
    ] {
        let answer = b.api("POST", &format!("{V}/{path}"), body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert!(
            answer.text().contains(part),
            "{path} {body}: {}",
            answer.text()
        );
        assert!(answer.json()["details"][0]["@type"].is_string());
    }
    let auth = format!("Bearer {}", common::TOKEN);
    for (kind, body) in [
        ("text/plain", "{}"),
        ("application/json", "{"),
        ("application/json", "[]"),
    ] {
        let headers = [("authorization", auth.as_str()), ("content-type", kind)];
        assert_eq!(
            b.ask("POST", &format!("{V}/runs"), &headers, body)
                .await
                .status,
            400
        );
    }
}

#[tokio::test]
async fn experiments_group_runs() {
    let b = TestBox::new().await;
    let made = b
        .api(
            "POST",
            &format!("{V}/experiments"),
            json!({"display_name": "e"}),
        )
        .await
        .json();
    let path = format!(
        "{V}/experiments/{}",
        made["experiment_id"].as_str().unwrap()
    );
    let spec: Value = serde_json::from_str(PIPELINE).unwrap();
    let body = json!({"display_name": "r", "experiment_id": made["experiment_id"], "pipeline_spec": spec,
        "runtime_config": {"parameters": {"a": 1}}});
    let run = b
        .api("POST", &format!("{V}/runs"), body.clone())
        .await
        .json();
    let run = format!("{V}/runs/{}", run["run_id"].as_str().unwrap());
    assert_eq!(
        b.api("POST", &format!("{path}:archive"), json!(null))
            .await
            .text(),
        "{}"
    );
    assert_eq!(
        b.api("GET", &run, json!(null)).await.json()["storage_state"],
        "ARCHIVED"
    );
    assert_eq!(
        b.api("POST", &format!("{run}:unarchive"), json!(null))
            .await
            .status,
        400
    );
    assert_eq!(b.api("POST", &format!("{V}/runs"), body).await.status, 400);
    assert_eq!(b.api("DELETE", &path, json!(null)).await.status, 200);
    assert_eq!(b.api("GET", &run, json!(null)).await.status, 200);
    let all = b
        .api("GET", &format!("{V}/experiments"), json!(null))
        .await
        .json();
    let default = all["experiments"][0]["experiment_id"]
        .as_str()
        .unwrap()
        .to_string();
    assert_eq!(
        b.api("DELETE", &format!("{V}/experiments/{default}"), json!(null))
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn uploads_make_pipelines_and_versions() {
    let b = TestBox::new().await;
    let made = b
        .upload(
            "upload?name=p&tags=%7B%22team%22:%22x%22%7D",
            "p.json",
            PIPELINE.as_bytes(),
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["name"], &made["tags"]),
        (&json!("p"), &json!({"team": "x"}))
    );
    let id = made["pipeline_id"].as_str().unwrap();
    let again = b
        .upload("upload?name=p", "p.json", PIPELINE.as_bytes())
        .await;
    assert_eq!(again.status, 409);
    assert!(again.json()["error_message"].is_string() && again.json()["error_details"].is_string());
    let version = b
        .upload(
            &format!("upload_version?pipelineid={id}&name=v2"),
            "p.json",
            PIPELINE.as_bytes(),
        )
        .await;
    assert_eq!(version.status, 200, "{}", version.text());
    let version = version.json();
    let path = format!("{V}/pipelines/{id}");
    let versions = b
        .api(
            "GET",
            &format!("{path}/versions?sort_by=created_at%20desc"),
            json!(null),
        )
        .await
        .json();
    assert_eq!(versions["total_size"], 2);
    assert_eq!(versions["pipeline_versions"][0]["name"], "v2");
    assert_eq!(
        b.api("GET", &format!("{V}/pipelines/names/p"), json!(null))
            .await
            .json()["pipeline_id"],
        id
    );
    // Without a version, a run takes the newest.
    let body = json!({"display_name": "r", "pipeline_version_reference": {"pipeline_id": id}, "runtime_config": {"parameters": {"a": 2}}});
    let run = b.api("POST", &format!("{V}/runs"), body).await.json();
    assert_eq!(
        run["pipeline_version_reference"]["pipeline_version_id"],
        version["pipeline_version_id"]
    );
    let renamed = b
        .api("PATCH", &path, json!({"display_name": "q"}))
        .await
        .json();
    assert_eq!(
        (&renamed["name"], &renamed["display_name"]),
        (&json!("p"), &json!("q"))
    );
    assert_eq!(b.api("DELETE", &path, json!(null)).await.status, 400);
    assert_eq!(
        b.api("DELETE", &format!("{path}?cascade=true"), json!(null))
            .await
            .status,
        200
    );
    let vid = version["pipeline_version_id"].as_str().unwrap();
    assert_eq!(
        b.api("GET", &format!("{path}/versions/{vid}"), json!(null))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn bad_uploads_are_refused_in_words() {
    let b = TestBox::new().await;
    let large = vec![b'a'; 3 << 20];
    for (file, content, status, part) in [
        ("p.yaml", &b""[..], 400, "empty"),
        ("p.yaml", b"a: [", 400, "YAML"),
        ("p.yaml", b"a: 1", 400, "a"),
        ("p.png", b"\x89PNG", 400, "neither"),
        ("p.zip", b"PK\x03\x04", 400, "zip"),
        ("p.tar.gz", b"\x1f\x8b\x08", 400, "tar.gz"),
        ("p.yaml", &large, 413, "1 MiB"),
    ] {
        let answer = b.upload("upload?name=bad", file, content).await;
        assert_eq!(answer.status, status, "{file}: {}", answer.text());
        let message = answer.json()["error_message"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        assert!(message.contains(part), "{file}: {message}");
    }
    let auth = format!("Bearer {}", common::TOKEN);
    let path = format!("{V}/pipelines/upload");
    for kind in [
        "text/plain",
        "multipart/form-data; boundary=B",
        "multipart/form-data",
    ] {
        let headers = [("authorization", auth.as_str()), ("content-type", kind)];
        let answer = b.ask("POST", &path, &headers, "--B--").await;
        assert!(
            answer.status == 400 && answer.text().contains("uploadfile"),
            "{kind}: {}",
            answer.text()
        );
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/conformance/kfp/invalid");
    match std::fs::read_dir(&folder) {
        Err(_) => eprintln!("skipped: no corpus of invalid files beside the repository"),
        Ok(files) => {
            for file in files.map(|f| f.unwrap()) {
                let name = file.file_name().into_string().unwrap();
                let content = std::fs::read(file.path()).unwrap();
                let answer = b.upload("upload?name=bad", &name, &content).await;
                assert_eq!(answer.status, 400, "{name}: {}", answer.text());
            }
        }
    }
    let none = b.api("GET", &format!("{V}/pipelines"), json!(null)).await;
    assert_eq!(none.text(), "{}", "nothing of a refused upload stays");
}

#[tokio::test]
async fn broken_bytes_never_break_the_service() {
    let b = TestBox::new().await;
    let mut state = 7_u64;
    let mut next = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % n
    };
    for round in 0..300 {
        let mut bytes = PIPELINE.as_bytes().to_vec();
        for _ in 0..=next(6) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"{}[]\",:&*"[next(9)]),
            }
        }
        let answer = b
            .upload(&format!("upload?name=f{round}"), "f.yaml", &bytes)
            .await;
        let status = answer.status.as_u16();
        assert!(
            matches!(status, 200 | 400),
            "{status} {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}
