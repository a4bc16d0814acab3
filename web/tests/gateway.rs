//! The way to notebooks: an origin for each, whose cookie opens nothing else; programs with tokens; what servers see.

#![allow(clippy::unwrap_used)]

mod common;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, StatusCode},
};
use common::{Answer, TOKEN, TestBox};
use kfbox_store::{
    Object, Ref,
    kinds::{
        access::{Role, TokenScope, TokenUse},
        core::{NAMESPACE, POD},
        notebook::{CULLED, HEADERS, NOTEBOOK, REWRITE, STOPPED},
        service::SERVICE,
    },
    mint_token,
};
use serde_json::{Value, json};

const HOME: &str = "127.0.0.1:8080";
/// What a browser sends when it opens a page.
const OPENS: [(&str, &str); 2] = [("accept", "text/html,*/*"), ("sec-fetch-mode", "navigate")];

/// A server that tells what it was asked.
async fn server() -> u16 {
    let told = async |request: Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let header = |name: &str| {
            let value = parts.headers.get(name);
            value.map(|v| v.to_str().unwrap().to_string())
        };
        let told = json!({
            "method": parts.method.as_str(), "uri": parts.uri.to_string(), "body": String::from_utf8_lossy(&body),
            "host": header("host"), "cookie": header("cookie"), "authorization": header("authorization"),
            "x-own": header("x-own"),
        });
        (
            [("set-cookie", "_xsrf=2; Path=/"), ("x-server", "yes")],
            told.to_string(),
        )
    };
    let router = Router::new().fallback(told);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn add(b: &TestBox, name: &str, annotations: Value) {
    let pod = json!({"containers": [{"name": name, "image": "x"}]});
    let mut notebook = Object::new(&NOTEBOOK, "kubeflow", name)
        .with_spec(&json!({"template": {"spec": pod}}))
        .unwrap();
    notebook.metadata.annotations = serde_json::from_value(annotations).unwrap();
    b.app.store.create(notebook).await.unwrap();
    let spec = json!({"selector": {"statefulset": name}, "ports": [{"port": 80, "targetPort": server().await}]});
    let service = Object::new(&SERVICE, "kubeflow", name)
        .with_spec(&spec)
        .unwrap();
    b.app.store.create(service).await.unwrap();
    let pod = Object::new(&POD, "kubeflow", &format!("{name}-0"))
        .with_label("statefulset", name)
        .with_spec(&pod)
        .unwrap();
    b.app.store.create(pod).await.unwrap();
    let status = json!({"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
    let at = Ref::new(&POD, "kubeflow", &format!("{name}-0"));
    let running = b.app.store.modify(&at, move |p| p.set("status", &status));
    running.await.unwrap();
}

async fn session(b: &TestBox, scope: Option<TokenScope>) -> String {
    let secret = kfbox_web::new_secret();
    let token = mint_token(secret.clone(), "ada", TokenUse::Session, None, scope, "").unwrap();
    b.app.store.create(token.object).await.unwrap();
    format!("kfbox_session={secret}")
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.headers["location"].to_str().unwrap().to_string()
}

/// `host` and path of an address.
fn split(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    (host.into(), format!("/{path}"))
}

/// The cookies that an answer sets, as a browser sends them back.
fn cookies(headers: &HeaderMap) -> String {
    let pair = |v: &axum::http::HeaderValue| {
        let text = v.to_str().unwrap();
        text.split(';').next().unwrap().to_string()
    };
    let all: Vec<_> = headers.get_all("set-cookie").iter().map(pair).collect();
    all.join("; ")
}

async fn get(b: &TestBox, host: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("host", host)];
    all.extend(headers);
    b.ask("GET", path, &all, "").await
}

async fn open(b: &TestBox, host: &str, path: &str, cookie: &str) -> Answer {
    let mut headers = vec![("cookie", cookie)];
    headers.extend(OPENS);
    get(b, host, path, &headers).await
}

/// Opens a notebook as a browser does; its origin and the cookies there.
async fn enter(b: &TestBox, name: &str, session: &str) -> (String, String) {
    let path = format!("/notebook/kubeflow/{name}/lab");
    let led = open(b, HOME, &path, session).await;
    let (own, ticket) = split(&location(&led));
    let entered = open(b, &own, &ticket, "").await;
    assert_eq!(location(&entered), path);
    (own, cookies(&entered.headers))
}

#[tokio::test]
async fn a_browser_comes_to_an_origin_of_the_notebooks_own() {
    let b = TestBox::new().await;
    add(&b, "a", json!({})).await;
    let session = session(&b, None).await;
    let (own, cookie) = enter(&b, "a", &session).await;
    assert!(
        own.starts_with("nb-") && own.ends_with(".localhost:8080"),
        "{own}"
    );

    let page = open(
        &b,
        &own,
        "/notebook/kubeflow/a/lab?x=1",
        &format!("{cookie}; _xsrf=1"),
    )
    .await;
    let told = page.json();
    assert_eq!(
        told["uri"],
        "/notebook/kubeflow/a/lab?x=1",
        "{}",
        page.text()
    );
    // It sees its own cookies and the browser's name for it, and nothing of the box's.
    assert_eq!(told["cookie"], "_xsrf=1");
    assert_eq!(told["host"], own);
    assert_eq!(told["authorization"], Value::Null);
    assert_eq!(page.headers["set-cookie"], "_xsrf=2; Path=/");
    assert_eq!(
        page.headers["content-security-policy"],
        "frame-ancestors 'self'"
    );

    // Its scripts may ask it, pages elsewhere may not.
    let own_script = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "cors"),
    ];
    let posted = b
        .ask(
            "POST",
            "/notebook/kubeflow/a/api/kernels",
            &[&[("host", own.as_str())], &own_script[..]].concat(),
            "{}",
        )
        .await;
    assert_eq!(posted.json()["body"], "{}", "{}", posted.text());
    for site in ["same-site", "cross-site"] {
        let foreign = [
            ("cookie", cookie.as_str()),
            ("sec-fetch-site", site),
            ("sec-fetch-mode", "cors"),
        ];
        let refused = get(&b, &own, "/notebook/kubeflow/a/api/kernels", &foreign).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let foreign = [
        ("cookie", cookie.as_str()),
        ("origin", "http://127.0.0.1:8080"),
    ];
    let refused = get(&b, &own, "/notebook/kubeflow/a/api/kernels", &foreign).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn its_cookie_opens_nothing_else() {
    let b = TestBox::new().await;
    add(&b, "a", json!({})).await;
    add(&b, "b", json!({})).await;
    let session = session(&b, None).await;
    let (own_a, cookie_a) = enter(&b, "a", &session).await;
    let (own_b, _) = enter(&b, "b", &session).await;
    assert_ne!(own_a, own_b);

    // At the box: no session. At another notebook's origin: led back to the box for a ticket.
    let whoami = get(
        &b,
        HOME,
        "/apis/v2beta1/pipelines",
        &[("cookie", &cookie_a)],
    )
    .await;
    assert_eq!(whoami.status, StatusCode::UNAUTHORIZED);
    let other = open(&b, &own_b, "/notebook/kubeflow/b/lab", &cookie_a).await;
    assert_eq!(
        location(&other),
        format!("http://{HOME}/notebook/kubeflow/b/lab")
    );
    let script = get(
        &b,
        &own_b,
        "/notebook/kubeflow/b/lab",
        &[("cookie", &cookie_a)],
    )
    .await;
    assert_eq!(script.status, StatusCode::UNAUTHORIZED);
    // Its own origin serves nothing but it: no other notebook, no API, no page of the box.
    for path in [
        "/notebook/kubeflow/b/lab",
        "/api/v1/pods",
        "/",
        "/auth/login",
        "/healthz",
    ] {
        let answer = open(&b, &own_a, path, &format!("{cookie_a}; {session}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    // The session itself is no cookie of a notebook's origin.
    let answer = get(
        &b,
        &own_a,
        "/notebook/kubeflow/a/lab",
        &[("cookie", &session)],
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    // Changed by a letter it is none.
    let value = cookie_a.split(';').next().unwrap();
    for forged in [
        format!("{value}x"),
        value.replacen("t-", "t-0", 1),
        value[..value.len() - 1].to_string(),
    ] {
        let answer = get(
            &b,
            &own_a,
            "/notebook/kubeflow/a/lab",
            &[("cookie", &forged)],
        )
        .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{forged}");
    }
}

#[tokio::test]
async fn a_ticket_works_once_and_the_cookie_ends_with_the_session() {
    let b = TestBox::new().await;
    add(&b, "a", json!({})).await;
    let session = session(&b, None).await;
    let led = open(&b, HOME, "/notebook/kubeflow/a/lab?x=1", &session).await;
    let (own, ticket) = split(&location(&led));
    let first = open(&b, &own, &ticket, "").await;
    assert_eq!(location(&first), "/notebook/kubeflow/a/lab?x=1");
    let again = open(&b, &own, &ticket, "").await;
    assert!(!again.headers.contains_key("set-cookie"));
    assert_eq!(
        location(&again),
        "http://localhost:8080/notebook/kubeflow/a/lab?x=1"
    );

    let cookie = cookies(&first.headers);
    let get_it = async || open(&b, &own, "/notebook/kubeflow/a/lab", &cookie).await;
    assert_eq!(get_it().await.status, StatusCode::OK);
    let logout = [
        ("cookie", session.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let out = b.ask("POST", "/auth/logout", &logout, "").await;
    assert_eq!(out.status, StatusCode::OK, "{}", out.text());
    assert_eq!(
        location(&get_it().await),
        format!("http://{HOME}/notebook/kubeflow/a/lab")
    );
    // There, who is not logged in does so first.
    let login = open(&b, HOME, "/notebook/kubeflow/a/lab", "").await;
    assert_eq!(
        location(&login),
        "/login?next=%2Fnotebook%2Fkubeflow%2Fa%2Flab"
    );
}

#[tokio::test]
async fn programs_send_a_token() {
    let b = TestBox::new().await;
    add(&b, "a", json!({})).await;
    let bearer = format!("Bearer {TOKEN}");
    let token = format!("token {TOKEN}");
    let query = format!("/notebook/kubeflow/a/api/kernels?a=1&token={TOKEN}&b=2");
    for (path, auth) in [
        (
            "/notebook/kubeflow/a/api/kernels?a=1&b=2",
            Some(bearer.as_str()),
        ),
        (
            "/notebook/kubeflow/a/api/kernels?a=1&b=2",
            Some(token.as_str()),
        ),
        (query.as_str(), None),
    ] {
        let mut headers = vec![("cookie", "kfbox_session=x")];
        headers.extend(auth.map(|a| ("authorization", a)));
        let answer = b.ask("POST", path, &headers, "body").await;
        let told = answer.json();
        assert_eq!(
            told["uri"],
            "/notebook/kubeflow/a/api/kernels?a=1&b=2",
            "{}",
            answer.text()
        );
        assert_eq!(
            (&told["authorization"], &told["body"]),
            (&Value::Null, &json!("body"))
        );
        assert!(!answer.text().contains(TOKEN) && !answer.headers.contains_key("set-cookie"));
        // In a browser that is sent there, it has no origin.
        let policies = answer.headers.get_all("content-security-policy").iter();
        let mut policies = policies.map(|v| v.to_str().unwrap());
        let sandbox = |p: &str| p.starts_with("sandbox") && !p.contains("allow-same-origin");
        assert!(policies.any(sandbox), "{path}");
    }
    let wrong = [("authorization", "token nobodys")];
    let refused = get(&b, HOME, "/notebook/kubeflow/a/api", &wrong).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    // Elsewhere the two forms are none.
    for (path, auth) in [
        ("/api/v1/pods", token.as_str()),
        (&format!("/api/v1/pods?token={TOKEN}"), ""),
    ] {
        let refused = get(&b, HOME, path, &[("authorization", auth)]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn only_who_may_work_in_the_namespace() {
    let b = TestBox::new().await;
    add(&b, "a", json!({})).await;
    let scope = |namespace: &str, role| TokenScope {
        namespaces: vec![namespace.into()],
        role,
    };
    for (scope, wanted) in [
        (scope("kubeflow", Role::Edit), StatusCode::SEE_OTHER),
        (scope("kubeflow", Role::View), StatusCode::FORBIDDEN),
        (scope("other", Role::Edit), StatusCode::FORBIDDEN),
    ] {
        let session = session(&b, Some(scope.clone())).await;
        let answer = open(&b, HOME, "/notebook/kubeflow/a/", &session).await;
        assert_eq!(answer.status, wanted, "{scope:?}");
        let secret = kfbox_web::new_secret();
        let token =
            mint_token(secret.clone(), "ada", TokenUse::Api, None, Some(scope), "").unwrap();
        b.app.store.create(token.object).await.unwrap();
        let auth = format!("Bearer {secret}");
        let answer = get(
            &b,
            HOME,
            "/notebook/kubeflow/a/",
            &[("authorization", &auth)],
        )
        .await;
        assert_eq!(
            answer.status == StatusCode::OK,
            wanted == StatusCode::SEE_OTHER
        );
    }
}

#[tokio::test]
async fn what_is_stopped_says_so_and_what_was_culled_wakes() {
    let b = TestBox::new().await;
    add(&b, "by-hand", json!({STOPPED: "2026-01-01T00:00:00Z"})).await;
    add(
        &b,
        "culled",
        json!({STOPPED: "2026-01-01T00:00:00Z", CULLED: "2h"}),
    )
    .await;
    let session = session(&b, None).await;
    let stopped = async |name: &str| {
        let at = Ref::new(&NOTEBOOK, "kubeflow", name);
        let notebook = b.app.store.fetch(&at).await.unwrap();
        notebook.metadata.annotations.contains_key(STOPPED)
    };
    let (own, cookie) = enter(&b, "by-hand", &session).await;
    let page = open(&b, &own, "/notebook/kubeflow/by-hand/lab", &cookie).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text().contains("is stopped"), "{}", page.text());
    assert!(stopped("by-hand").await);

    let (own, cookie) = enter(&b, "culled", &session).await;
    let path = "/notebook/kubeflow/culled/lab";
    // A page that is still open and asks by itself wakes nothing.
    let asks = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let asked = get(&b, &own, path, &asks).await;
    assert_eq!(asked.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        asked.json()["message"]
            .as_str()
            .unwrap()
            .contains("stopped"),
        "{}",
        asked.text()
    );
    assert!(stopped("culled").await);
    let page = open(&b, &own, path, &cookie).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(!stopped("culled").await);

    let at = Ref::new(&POD, "kubeflow", "culled-0");
    b.app.store.delete(&at).await.unwrap();
    let page = open(&b, &own, path, &cookie).await;
    assert!(
        page.text().contains("is starting") && page.text().contains("refresh"),
        "{}",
        page.text()
    );
    let gone = open(&b, HOME, "/notebook/kubeflow/none/", &session).await;
    let (own, ticket) = split(&location(&gone));
    let entered = open(&b, &own, &ticket, "").await;
    let page = open(
        &b,
        &own,
        "/notebook/kubeflow/none/",
        &cookies(&entered.headers),
    )
    .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text().contains("no notebook none"), "{}", page.text());
}

#[tokio::test]
async fn servers_that_do_not_know_their_prefix() {
    let b = TestBox::new().await;
    add(
        &b,
        "code",
        json!({REWRITE: "/", HEADERS: "{\"X-Own\": \"path\"}"}),
    )
    .await;
    let auth = format!("Bearer {TOKEN}");
    let answer = get(
        &b,
        HOME,
        "/notebook/kubeflow/code/a/b?c",
        &[("authorization", &auth)],
    )
    .await;
    assert_eq!(answer.json()["uri"], "/a/b?c");
    assert_eq!(answer.json()["x-own"], "path");
}

#[tokio::test]
async fn the_versions_of_its_kind_are_of_one_object() {
    let b = TestBox::new().await;
    let namespace = Object::new(&NAMESPACE, "", "kubeflow");
    b.app.store.create(namespace).await.unwrap();
    let at = |version: &str| format!("/apis/kubeflow.org/{version}/namespaces/kubeflow/notebooks");
    let body = json!({
        "apiVersion": "kubeflow.org/v1beta1", "kind": "Notebook", "metadata": {"name": "n"},
        "spec": {"template": {"spec": {"containers": [{"name": "n", "image": "x"}]}}},
    });
    let made = b.api("POST", &at("v1beta1"), body).await;
    assert_eq!(
        made.json()["apiVersion"],
        "kubeflow.org/v1beta1",
        "{}",
        made.text()
    );
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let one = b
            .api("GET", &format!("{}/n", at(version)), json!(null))
            .await;
        assert_eq!(one.json()["apiVersion"], format!("kubeflow.org/{version}"));
        let list = b.api("GET", &at(version), json!(null)).await.json();
        assert_eq!(
            list["items"][0]["apiVersion"],
            format!("kubeflow.org/{version}")
        );
        let auth = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", auth.as_str()),
            ("content-type", "application/merge-patch+json"),
        ];
        let patch = json!({"metadata": {"annotations": {"from": version}}}).to_string();
        let patched = b
            .ask("PATCH", &format!("{}/n", at(version)), &headers, patch)
            .await;
        assert_eq!(patched.status, StatusCode::OK, "{}", patched.text());
        assert_eq!(
            patched.json()["apiVersion"],
            format!("kubeflow.org/{version}")
        );
    }
    let stored = b
        .app
        .store
        .fetch(&Ref::new(&NOTEBOOK, "kubeflow", "n"))
        .await
        .unwrap();
    assert_eq!(stored.api_version, "kubeflow.org/v1");
    let gone = b
        .api("DELETE", &format!("{}/n", at("v1alpha1")), json!(null))
        .await;
    assert_eq!(gone.status, StatusCode::OK);
}
