//! The Kubernetes-shaped API, artifacts, and the end of the service.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use axum::body::BodyDataStream;
use common::{TOKEN, TestBox};
use futures::StreamExt;
use kfbox_store::{
    Object, Ref,
    kinds::core::{NAMESPACE, POD},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PODS: &str = "/api/v1/namespaces/kubeflow/pods";

async fn pod(b: &TestBox, name: &str, app: &str) -> Object {
    let spec = json!({"containers": [{"name": "main", "image": "i"}]});
    let pod = Object::new(&POD, "kubeflow", name)
        .with_label("app", app)
        .with_spec(&spec)
        .unwrap();
    b.app.store.create(pod).await.unwrap()
}

#[tokio::test]
async fn lists_and_errors_have_kubernetes_shape() {
    let b = TestBox::new().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        pod(&b, name, app).await;
    }
    let list = async |query: &str| {
        b.api("GET", &format!("{PODS}?{query}"), json!(null))
            .await
            .json()
    };
    let names = |v: &Value| -> Vec<String> {
        v["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["metadata"]["name"].as_str().unwrap().into())
            .collect()
    };
    let all = list("").await;
    assert_eq!(
        (&all["kind"], &all["apiVersion"]),
        (&json!("PodList"), &json!("v1"))
    );
    assert!(all["metadata"]["resourceVersion"].is_string());
    assert_eq!(names(&list("labelSelector=app%3Dx").await), ["a", "c"]);
    assert_eq!(names(&list("fieldSelector=metadata.name%3Db").await), ["b"]);
    let first = list("limit=2").await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        names(&list(&format!("limit=2&continue={token}")).await),
        ["c"]
    );
    for (method, path, status, reason) in [
        (
            "GET",
            "/api/v1/namespaces/kubeflow/pods/none",
            404,
            "NotFound",
        ),
        ("GET", "/api/v1/namespaces/kubeflow/none", 404, "NotFound"),
        ("GET", "/apis/none/v1", 404, "NotFound"),
        (
            "GET",
            "/api/v1/pods?labelSelector=a%20b%20c",
            400,
            "BadRequest",
        ),
        ("GET", "/api/v1/pods?continue=x", 400, "BadRequest"),
        ("GET", "/api/v1/pods?limit=x", 400, "BadRequest"),
        ("GET", "/api/v1/pods?watch=maybe", 400, "BadRequest"),
        (
            "GET",
            "/api/v1/pods?watch=true&resourceVersion=999999",
            410,
            "Expired",
        ),
        (
            "GET",
            "/api/v1/namespaces/kubeflow/pods/a/exec",
            400,
            "BadRequest",
        ),
        (
            "POST",
            "/api/v1/namespaces/kubeflow/pods",
            400,
            "BadRequest",
        ),
        (
            "DELETE",
            "/apis/pipelines.kubeflow.org/v2beta1/namespaces/kubeflow/tasks/a",
            405,
            "MethodNotAllowed",
        ),
        (
            "PATCH",
            "/apis/pipelines.kubeflow.org/v2beta1/namespaces/kubeflow/runs/x",
            405,
            "MethodNotAllowed",
        ),
    ] {
        let answer = b.api(method, path, json!(null)).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let status = answer.json();
        assert_eq!(
            (&status["kind"], &status["reason"]),
            (&json!("Status"), &json!(reason)),
            "{path}"
        );
    }
    for path in [
        "/api",
        "/apis",
        "/api/v1",
        "/apis/kfbox.dev",
        "/apis/pipelines.kubeflow.org/v2beta1",
    ] {
        assert_eq!(b.api("GET", path, json!(null)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_object() {
    let b = TestBox::new().await;
    let namespace = Object::new(&NAMESPACE, "", "kubeflow");
    b.app.store.create(namespace).await.unwrap();
    let made = json!({"metadata": {"name": "lame"}, "spec": {"containers": []}});
    let status = b.api("POST", PODS, made).await.json();
    assert_eq!(status["code"], 422);
    let said = status["message"].as_str().unwrap();
    assert!(
        said.starts_with("Pod \"lame\" is invalid: spec.containers"),
        "{said}"
    );
    assert_eq!(status["details"]["name"], "lame");
    let made = json!({"metadata": {"generateName": "lame-"}, "spec": {"containers": []}});
    let status = b.api("POST", PODS, made).await.json();
    assert_eq!(status["details"]["name"], "lame-");
}

#[tokio::test]
async fn who_manages_a_job_does_not_change() {
    let b = TestBox::new().await;
    let namespace = Object::new(&NAMESPACE, "", "kubeflow");
    b.app.store.create(namespace).await.unwrap();
    let template = json!({"spec": {"containers": [{"name": "tensorflow", "image": "i"}]}});
    let (tf, train) = (
        json!({"tfReplicaSpecs": {"Worker": {"template": template}}}),
        json!({"runtimeRef": {"name": "torch-distributed"}}),
    );
    for (kinds, spec, path, words) in [
        (
            "apis/kubeflow.org/v1",
            tf,
            "spec.runPolicy.managedBy",
            "field is immutable",
        ),
        (
            "apis/trainer.kubeflow.org/v1alpha1",
            train,
            "spec.managedBy",
            "ManagedBy value is immutable",
        ),
    ] {
        let plural = if path.contains("runPolicy") {
            "tfjobs"
        } else {
            "trainjobs"
        };
        let all = format!("/{kinds}/namespaces/kubeflow/{plural}");
        let made = json!({"metadata": {"name": "j"}, "spec": spec});
        let made = b.api("POST", &all, made).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let one = format!("{all}/j");
        let patch = |spec: Value| {
            let body = json!({"spec": spec}).to_string();
            let auth = format!("Bearer {TOKEN}");
            let one = one.clone();
            let b = &b;
            async move {
                let headers = [
                    ("authorization", auth.as_str()),
                    ("content-type", "application/merge-patch+json"),
                ];
                b.ask("PATCH", &one, &headers, body).await
            }
        };
        let manager = json!("kueue.x-k8s.io/multikueue");
        let other = match plural {
            "tfjobs" => json!({"runPolicy": {"managedBy": manager}}),
            _ => json!({"managedBy": manager}),
        };
        let refused = patch(other).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        let said = refused.json()["message"].as_str().unwrap().to_string();
        let wanted = format!("{path}: Invalid value: {manager}: {words}");
        assert!(said.ends_with(&wanted), "{said}");
        // Its default may be left out again.
        let put = b.api("GET", &one, json!(null)).await.json();
        let mut put = put;
        put["spec"].as_object_mut().unwrap().remove("managedBy");
        let again = b.api("PUT", &one, put).await;
        assert_eq!(again.status, 200, "{}", again.text());
    }
}

#[tokio::test]
async fn definitions_have_their_short_name() {
    let b = TestBox::new().await;
    let plain = b
        .api("GET", "/apis/apiextensions.k8s.io/v1", json!(null))
        .await;
    assert_eq!(
        plain.json()["resources"][0]["shortNames"],
        json!(["crd", "crds"])
    );
}

/// The next event of a watch.
async fn event(stream: &mut BodyDataStream, rest: &mut String) -> Value {
    loop {
        if let Some((line, after)) = rest.split_once('\n') {
            let value = serde_json::from_str(line).unwrap();
            *rest = after.to_string();
            return value;
        }
        let piece = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        rest.push_str(std::str::from_utf8(&piece.unwrap().unwrap().unwrap()).unwrap());
    }
}

#[tokio::test]
async fn a_watch_keeps_its_view() {
    let b = TestBox::new().await;
    pod(&b, "old", "x").await;
    let auth = format!("Bearer {TOKEN}");
    let path = format!("{PODS}?watch=true&labelSelector=app%3Dx&allowWatchBookmarks=true");
    let headers = [
        ("authorization", auth.as_str()),
        ("accept-encoding", "gzip"),
    ];
    let response = b.send("GET", &path, &headers, "").await;
    assert!(!response.headers().contains_key("content-encoding"));
    let mut stream = response.into_body().into_data_stream();
    let mut rest = String::new();
    let mut next = async || loop {
        let event = event(&mut stream, &mut rest).await;
        if event["type"] != "BOOKMARK" {
            return (
                event["type"].clone(),
                event["object"]["metadata"]["name"].clone(),
            );
        }
        assert!(event["object"]["metadata"]["resourceVersion"].is_string());
    };
    assert_eq!(next().await, (json!("ADDED"), json!("old")));
    pod(&b, "other", "y").await;
    pod(&b, "new", "x").await;
    assert_eq!(next().await, (json!("ADDED"), json!("new")));
    let label = async |value: &'static str| {
        let r = Ref::new(&POD, "kubeflow", "new");
        let set = |o: &mut Object| {
            o.metadata.labels.insert("app".into(), value.into());
            Ok(())
        };
        b.app.store.modify(&r, set).await.unwrap();
    };
    label("y").await;
    assert_eq!(next().await, (json!("DELETED"), json!("new")));
    label("x").await;
    assert_eq!(next().await, (json!("ADDED"), json!("new")));
    tokio::time::sleep(Duration::from_millis(120)).await;
    let old = Ref::new(&POD, "kubeflow", "old");
    b.app.store.delete(&old).await.unwrap();
    // Its container goes first: the room that runs Pods drops the finalizer then.
    assert_eq!(next().await, (json!("MODIFIED"), json!("old")));
    let drop_finalizers = |o: &mut Object| {
        o.metadata.finalizers.clear();
        Ok(())
    };
    b.app.store.modify(&old, drop_finalizers).await.unwrap();
    assert_eq!(next().await, (json!("DELETED"), json!("old")));
}

#[tokio::test]
async fn logs_stream_as_text() {
    let b = TestBox::new().await;
    pod(&b, "p", "x").await;
    let log = b
        .api("GET", &format!("{PODS}/p/log?tailLines=3"), json!(null))
        .await;
    assert_eq!(log.text(), "p tail Some(3)\n");
    assert!(
        log.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    for (path, status) in [
        ("none/log", 404),
        ("p/log?container=none", 400),
        ("p/log?tailLines=x", 400),
        ("p/log?sinceTime=x", 400),
    ] {
        assert_eq!(
            b.api("GET", &format!("{PODS}/{path}"), json!(null))
                .await
                .status,
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn artifacts_come_in_a_sandbox() {
    let b = TestBox::new().await;
    let folder = b.app.blobs.path("minio://mlpipeline/out").unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("report"), "<h1>0123456789</h1>").unwrap();
    let auth = format!("Bearer {TOKEN}");
    let get = async |path: &str, range: &str| {
        let mut headers = vec![("authorization", auth.as_str())];
        if !range.is_empty() {
            headers.push(("range", range));
        }
        b.ask("GET", &format!("/artifacts/{path}"), &headers, "")
            .await
    };
    let whole = get("minio/mlpipeline/out/report", "").await;
    assert_eq!(whole.text(), "<h1>0123456789</h1>");
    assert_eq!(whole.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(whole.headers["x-content-type-options"], "nosniff");
    let csp = whole.headers["content-security-policy"].to_str().unwrap();
    assert!(
        csp.starts_with("sandbox allow-scripts;") && !csp.contains("allow-same-origin"),
        "{csp}"
    );
    let part = get("minio/mlpipeline/out/report", "bytes=4-6").await;
    assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "012"));
    assert_eq!(part.headers["content-range"], "bytes 4-6/19");
    assert_eq!(
        get("minio/mlpipeline/out/report", "bytes=99-").await.status,
        416
    );
    let folder = get("minio/mlpipeline/out", "").await;
    assert_eq!(folder.json()["entries"][0]["name"], "report");
    for (path, status) in [
        ("minio/mlpipeline/none", 404),
        ("file/etc/passwd", 400),
        ("minio/../../etc/passwd", 400),
        ("minio/%2e%2e/%2e%2e/etc/passwd", 400),
        ("minio", 400),
    ] {
        assert_eq!(get(path, "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn the_service_ends_though_a_watch_is_open() {
    let b = TestBox::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = tokio::spawn(kfbox_web::serve(listener, None, b.router.clone(), async {
        let _ = stopped.await;
    }));
    pod(&b, "p", "x").await;
    let mut clients = Vec::new();
    for path in [
        format!("{PODS}?watch=true"),
        format!("{PODS}/p/log?follow=true"),
    ] {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0_u8; 12];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        clients.push(client);
    }
    // One that never says what it wants.
    clients.push(tokio::net::TcpStream::connect(address).await.unwrap());
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(3), service)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
