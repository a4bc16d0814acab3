//! HTTP through the box to Pods and Services: what reaches a Pod, what comes back, and what is refused.

#![allow(clippy::unwrap_used)]

mod common;

use axum::{Router, body::Body, extract::Request, response::IntoResponse, routing::any};
use common::{TOKEN, TestBox};
use futures::StreamExt;
use kfbox_store::{
    Object, Ref,
    kinds::{core::POD, service::SERVICE},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NS: &str = "/api/v1/namespaces/kubeflow";

/// What a Pod would serve; its port.
async fn server() -> u16 {
    let told = async |request: Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let secret =
            parts.headers.contains_key("authorization") || parts.headers.contains_key("cookie");
        let text = format!(
            "{} {} {} secret={secret}",
            parts.method,
            parts.uri,
            String::from_utf8_lossy(&body)
        );
        ([("set-cookie", "kfbox_session=x"), ("x-pod", "yes")], text)
    };
    let endless = async || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("first")]);
        Body::from_stream(first.chain(futures::stream::pending())).into_response()
    };
    let away = async || (axum::http::StatusCode::FOUND, [("location", "/login?a=b")]);
    let router = Router::new()
        .route("/endless", any(endless))
        .route("/away", any(away))
        .fallback(told);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn a_box() -> TestBox {
    let b = TestBox::new().await;
    let port = server().await;
    let pod = json!({"containers": [{"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": port}]}]});
    let pod = Object::new(&POD, "kubeflow", "p")
        .with_label("app", "p")
        .with_spec(&pod)
        .unwrap();
    let status = json!({"phase": "Running", "podIP": "127.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}]});
    let pod = b.app.store.create(pod).await.unwrap();
    let at = Ref::new(&POD, "kubeflow", &pod.metadata.name);
    let running = b.app.store.modify(&at, move |p| p.set("status", &status));
    running.await.unwrap();
    for (name, app, ports) in [
        (
            "s",
            "p",
            json!([{"name": "http", "port": 80, "targetPort": "web"}]),
        ),
        (
            "two",
            "p",
            json!([{"name": "a", "port": 80, "targetPort": 1}, {"name": "b", "port": 81, "targetPort": port}]),
        ),
        ("idle", "nobody", json!([{"port": 80}])),
    ] {
        let spec = json!({"selector": {"app": app}, "ports": ports});
        let service = Object::new(&SERVICE, "kubeflow", name)
            .with_spec(&spec)
            .unwrap();
        b.app.store.create(service).await.unwrap();
    }
    b
}

#[tokio::test]
async fn requests_reach_a_pod_without_credentials() {
    let b = a_box().await;
    for at in [
        "services/s:80",
        "services/s",
        "services/http:s:http",
        "services/s%3Ahttp",
        "services/two:b",
        "pods/p",
        "pods/p:web",
    ] {
        let auth = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", auth.as_str()),
            ("cookie", "kfbox_session=mine"),
        ];
        let answer = b
            .ask(
                "PUT",
                &format!("{NS}/{at}/proxy/a%20b?c=d"),
                &headers,
                "body",
            )
            .await;
        assert_eq!(answer.status, 200, "{at}: {}", answer.text());
        assert_eq!(answer.text(), "PUT /a%20b?c=d body secret=false", "{at}");
        assert_eq!(answer.headers["x-pod"], "yes");
        assert!(!answer.headers.contains_key("set-cookie"));
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("sandbox") && !policy.contains("allow-same-origin"));
    }
    let bare = b
        .api("GET", &format!("{NS}/services/s/proxy"), json!(null))
        .await;
    assert_eq!(bare.text(), "GET /  secret=false");
    let away = b
        .api(
            "GET",
            &format!("{NS}/services/s:80/proxy/away"),
            json!(null),
        )
        .await;
    assert_eq!(
        away.headers["location"],
        format!("{NS}/services/s:80/proxy/login?a=b")
    );
}

#[tokio::test]
async fn an_answer_comes_while_it_is_made() {
    let b = a_box().await;
    let auth = format!("Bearer {TOKEN}");
    let path = format!("{NS}/services/s/proxy/endless");
    let answer = b.send("GET", &path, &[("authorization", &auth)], "").await;
    let mut pieces = answer.into_body().into_data_stream();
    let first = tokio::time::timeout(std::time::Duration::from_secs(5), pieces.next()).await;
    assert_eq!(first.unwrap().unwrap().unwrap(), "first");
}

#[tokio::test]
async fn refusals_have_kubernetes_shape() {
    let b = a_box().await;
    for (at, code, said) in [
        (
            "services/idle:80",
            503,
            "no endpoints available for service \"idle\"",
        ),
        ("services/two:a", 503, ""),
        ("services/two", 400, "it has 80, 81"),
        ("services/s:81", 400, "no service port \"81\" found"),
        ("services/https:s:80", 400, "not by https"),
        ("services/none", 404, "not found"),
        ("pods/p:nope", 400, "no port \"nope\""),
        ("pods/none:1", 404, "not found"),
    ] {
        let answer = b
            .api("GET", &format!("{NS}/{at}/proxy/"), json!(null))
            .await;
        let status = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &status["kind"]),
            (code, &json!("Status")),
            "{at}"
        );
        let name = status["details"]["name"].as_str().unwrap_or_default();
        assert!(!name.contains(':'), "{at}: {name}");
        assert!(
            status["message"].as_str().unwrap().contains(said),
            "{at}: {status}"
        );
    }
}

#[tokio::test]
async fn nobody_tells_the_box_where_a_pod_is() {
    let b = a_box().await;
    let auth = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", auth.as_str()),
        ("content-type", "application/merge-patch+json"),
    ];
    let body = json!({"status": {"podIP": "127.0.0.2"}}).to_string();
    let answer = b
        .ask(
            "PATCH",
            &format!("{NS}/pods/p/status"),
            &headers,
            body.clone(),
        )
        .await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    b.ask("PATCH", &format!("{NS}/pods/p"), &headers, body)
        .await;
    let pod = b
        .api("GET", &format!("{NS}/pods/p"), json!(null))
        .await
        .json();
    assert_eq!(pod["status"]["podIP"], "127.0.0.1");
}

#[tokio::test]
async fn a_web_socket_passes() {
    let b = a_box().await;
    // A server that changes the protocol and sends back what it gets.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = door.local_addr().unwrap();
    tokio::spawn(kfbox_web::serve(
        door,
        None,
        b.router.clone(),
        std::future::pending(),
    ));
    let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
    let ask = format!(
        "GET {NS}/pods/p:{port}/proxy/ HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nauthorization: Bearer {TOKEN}\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n"
    );
    client.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101") && head.contains("upgrade: echo"),
        "{head}"
    );
    client.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}
