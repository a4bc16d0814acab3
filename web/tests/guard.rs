//! Who may come in, for every route there is: nothing is answered before its caller is known.

#![allow(clippy::unwrap_used)]

mod common;

use axum::http::StatusCode;
use common::{TOKEN, TestBox};
use kfbox_store::{Kind, kinds::access::TokenUse, mint_token};
use serde_json::json;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Every route of the router, every kind of the registry, and addresses that do not exist.
fn addresses() -> Vec<String> {
    let mut all: Vec<String> = kfbox_web::route_patterns()
        .into_iter()
        .map(|p| {
            let parts: Vec<&str> = p.split('/').collect();
            let filled = parts
                .iter()
                .map(|s| if s.starts_with('{') { "x" } else { s });
            filled.collect::<Vec<_>>().join("/")
        })
        .collect();
    for kind in Kind::all() {
        let base = if kind.group.is_empty() {
            format!("/api/{}", kind.version)
        } else {
            format!("/apis/{}/{}", kind.group, kind.version)
        };
        all.push(format!("{base}/{}", kind.plural));
        all.push(format!("{base}/namespaces/kubeflow/{}/x", kind.plural));
        all.push(format!("{base}/{}?watch=true", kind.plural));
    }
    all.extend(
        [
            "/apis/none",
            "/api/v1/none",
            "/pipeline/none",
            "/artifacts",
            "/auth/none",
            "/metrics/none",
            "/apis/v2beta1/runs/x:archive",
        ]
        .map(String::from),
    );
    all
}

#[tokio::test]
async fn no_address_answers_without_credentials() {
    let b = TestBox::new().await;
    for path in addresses() {
        for method in METHODS {
            let status = b.ask(method, &path, &[], "").await.status;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn no_address_answers_to_a_foreign_host() {
    let b = TestBox::new().await;
    let auth = format!("Bearer {TOKEN}");
    let mut paths = addresses();
    paths.extend(
        [
            "/",
            "/login",
            "/healthz",
            "/apis/v2beta1/healthz",
            "/assets/x.js",
        ]
        .map(String::from),
    );
    for path in paths {
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "",
        ] {
            let headers = [("host", host), ("authorization", auth.as_str())];
            let status = b.ask("GET", &path, &headers, "").await.status;
            assert_eq!(status, StatusCode::FORBIDDEN, "{host} {path}");
        }
    }
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(
        b.ask("GET", "/", &twice, "").await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn open_doors_are_open() {
    let b = TestBox::new().await;
    for path in [
        "/",
        "/login",
        "/runs/some/page",
        "/healthz",
        "/apis/v2beta1/healthz",
    ] {
        let answer = b.ask("GET", path, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        for header in [
            "content-security-policy",
            "x-content-type-options",
            "referrer-policy",
        ] {
            assert!(answer.headers.contains_key(header), "{path} {header}");
        }
    }
    let health = b.ask("GET", "/apis/v2beta1/healthz", &[], "").await.json();
    assert_eq!(health["multi_user"], false);
    let missing = b.ask("GET", "/assets/none.js", &[], "").await.status;
    assert_eq!(missing, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_counts_only_from_the_boxs_own_pages() {
    let b = TestBox::new().await;
    let login = b
        .ask(
            "POST",
            "/auth/login",
            &[],
            json!({"token": TOKEN}).to_string(),
        )
        .await;
    assert_eq!(login.status, StatusCode::OK);
    let set = login.headers["set-cookie"].to_str().unwrap().to_string();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = set.split(';').next().unwrap();
    let post = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let list = "/apis/v2beta1/runs";
    for (method, path, headers, wanted) in [
        ("POST", post, vec![("origin", "http://127.0.0.1:8080")], 201),
        ("POST", post, vec![("sec-fetch-site", "same-origin")], 201),
        ("POST", post, vec![], 403),
        ("POST", post, vec![("origin", "http://evil.example")], 403),
        ("POST", post, vec![("origin", "http://127.0.0.1:9999")], 403),
        (
            "POST",
            post,
            vec![("origin", "http://nb.localhost:8080")],
            403,
        ),
        ("POST", post, vec![("origin", "null")], 403),
        (
            "POST",
            post,
            vec![
                ("origin", "http://127.0.0.1:8080"),
                ("sec-fetch-site", "cross-site"),
            ],
            403,
        ),
        ("POST", post, vec![("sec-fetch-site", "same-site")], 403),
        (
            "POST",
            post,
            vec![
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            403,
        ),
        ("GET", list, vec![], 200),
        ("GET", list, vec![("sec-fetch-site", "same-origin")], 200),
        ("GET", list, vec![("sec-fetch-site", "cross-site")], 403),
        (
            "GET",
            list,
            vec![
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            403,
        ),
        (
            "GET",
            list,
            vec![
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            200,
        ),
    ] {
        let mut all = vec![("cookie", cookie)];
        all.extend(headers.iter().copied());
        let answer = b.ask(method, path, &all, "").await;
        assert_eq!(answer.status.as_u16(), wanted, "{method} {headers:?}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let who = b
        .ask("POST", post, &[("authorization", &bearer)], "{}")
        .await;
    assert_eq!(who.json()["status"]["userInfo"]["username"], "admin");
    // The session's secret is no API token, and the API token is no session.
    let secret = format!("Bearer {}", cookie.split_once('=').unwrap().1);
    assert_eq!(
        b.ask("GET", list, &[("authorization", &secret)], "")
            .await
            .status,
        401
    );
    let swapped = format!("kfbox_session={TOKEN}");
    assert_eq!(
        b.ask("GET", list, &[("cookie", &swapped)], "").await.status,
        401
    );
    let own = [("cookie", cookie), ("origin", "http://127.0.0.1:8080")];
    assert_eq!(b.ask("POST", "/auth/logout", &own, "").await.status, 200);
    assert_eq!(
        b.ask("GET", list, &[("cookie", cookie)], "").await.status,
        401
    );
}

#[tokio::test]
async fn a_login_link_works_once() {
    let b = TestBox::new().await;
    let login = mint_token("once".into(), "ann", TokenUse::Login, None, None, "").unwrap();
    b.app.store.create(login.object).await.unwrap();
    let body = json!({"token": "once"}).to_string();
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(
        b.ask("POST", "/auth/login", &foreign, body.clone())
            .await
            .status,
        403
    );
    assert_eq!(
        b.ask("POST", "/auth/login", &[], body.clone()).await.json()["user"],
        "ann"
    );
    assert_eq!(b.ask("POST", "/auth/login", &[], body).await.status, 401);
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        ("{\"token\":1}", 400),
        ("{\"token\":\"x\"}", 401),
    ] {
        assert_eq!(
            b.ask("POST", "/auth/login", &[], body).await.status,
            status,
            "{body}"
        );
    }
}

#[tokio::test]
async fn guessing_is_slowed_and_bounded() {
    let b = TestBox::new().await;
    let start = std::time::Instant::now();
    let guess = [("authorization", "Bearer guess")];
    let guesses = (0..60).map(|_| b.ask("GET", "/apis/v2beta1/runs", &guess, ""));
    let answers = futures::future::join_all(guesses).await;
    let busy = answers.iter().filter(|a| a.status == 429).count();
    assert!(
        busy > 0 && answers.iter().all(|a| a.status == 429 || a.status == 401),
        "{busy}"
    );
    assert!(start.elapsed().as_millis() >= 50);
    assert_eq!(
        b.api("GET", "/apis/v2beta1/runs", json!(null)).await.status,
        200
    );
}

#[tokio::test]
async fn tokens_show_their_secret_once() {
    let b = TestBox::new().await;
    let tokens = "/apis/kfbox.dev/v1alpha1/tokens";
    for (spec, field) in [
        (json!({}), "user"),
        (json!({"user": ""}), "spec.user"),
        (json!({"user": "x", "use": "session"}), "spec.use"),
        (json!({"user": "x", "ttl": "soon"}), "spec.ttl"),
        (json!({"user": "x", "colour": 1}), "colour"),
    ] {
        let answer = b.api("POST", tokens, json!({"spec": spec})).await;
        assert_eq!(answer.status, 400, "{spec}");
        assert!(answer.text().contains(field), "{spec}: {}", answer.text());
    }
    let made = b
        .api(
            "POST",
            tokens,
            json!({"spec": {"user": "bob", "ttl": "12h"}}),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let secret = made["status"]["token"].as_str().unwrap().to_string();
    let one = format!("{tokens}/{}", made["metadata"]["name"].as_str().unwrap());
    let auth = format!("Bearer {secret}");
    assert_eq!(
        b.ask("GET", tokens, &[("authorization", &auth)], "")
            .await
            .status,
        200
    );
    for path in [tokens, one.as_str()] {
        let shown = b.api("GET", path, json!(null)).await.text();
        assert!(
            !shown.contains("sha256") && !shown.contains(&secret),
            "{shown}"
        );
    }
    assert_eq!(b.api("DELETE", &one, json!(null)).await.status, 200);
    assert_eq!(
        b.ask("GET", tokens, &[("authorization", &auth)], "")
            .await
            .status,
        401
    );
}
