//! S3 behind the login: whoever is logged in uses a namespace's buckets without a key, as far as the token opens it.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Answer, TOKEN, TestBox};
use kfbox_store::{
    kinds::access::{Role, TokenScope, TokenUse},
    mint_token,
};

async fn ask(b: &TestBox, token: &str, method: &str, path: &str, body: &'static str) -> Answer {
    let auth = format!("Bearer {token}");
    let length = body.len().to_string();
    let headers = [("authorization", &*auth), ("content-length", &*length)];
    b.ask(method, path, &headers, body).await
}

/// A token that opens one namespace.
async fn scoped(b: &TestBox, secret: &str, namespace: &str, role: Role) {
    let scope = TokenScope {
        namespaces: vec![namespace.into()],
        role,
    };
    let minted = mint_token(secret.into(), "ada", TokenUse::Api, None, Some(scope), "").unwrap();
    b.app.store.create(minted.object).await.unwrap();
}

#[tokio::test]
async fn buckets_open_with_a_login() {
    let b = TestBox::new().await;
    let status = |a: Answer| a.status.as_u16();
    assert_eq!(status(ask(&b, TOKEN, "PUT", "/s3/ada/data", "").await), 200);
    let name = "/s3/ada/data/a%20b/%C3%BC%2B.html";
    let page = "<script>alert(1)</script>";
    assert_eq!(status(ask(&b, TOKEN, "PUT", name, page).await), 200);
    let shown = ask(&b, TOKEN, "GET", name, "").await;
    assert_eq!(shown.text(), page);
    let policy = shown.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("sandbox; default-src 'none'"),
        "{policy}"
    );
    assert_eq!(shown.headers["x-content-type-options"], "nosniff");
    let list = ask(
        &b,
        TOKEN,
        "GET",
        "/s3/ada/data?list-type=2&delimiter=%2F",
        "",
    )
    .await;
    assert!(
        list.text().contains("<Prefix>a b/</Prefix>"),
        "{}",
        list.text()
    );
    let all = ask(&b, TOKEN, "GET", "/s3/ada", "").await.text();
    assert!(all.contains("<Name>data</Name>"), "{all}");
    // Of another namespace nothing is seen, of the whole box everything.
    assert!(
        !ask(&b, TOKEN, "GET", "/s3/bob/", "")
            .await
            .text()
            .contains("data")
    );
    assert_eq!(
        status(ask(&b, TOKEN, "GET", "/s3/bob/data/a", "").await),
        403
    );
    let system = ask(&b, TOKEN, "GET", "/s3/kubeflow-system/", "")
        .await
        .text();
    assert!(system.contains("<Name>data</Name>"), "{system}");
}

#[tokio::test]
async fn a_login_opens_what_its_token_says() {
    let b = TestBox::new().await;
    let status = |a: Answer| a.status.as_u16();
    ask(&b, TOKEN, "PUT", "/s3/ada/data", "").await;
    ask(&b, TOKEN, "PUT", "/s3/ada/data/k", "x").await;
    scoped(&b, "kfbox_view", "ada", Role::View).await;
    scoped(&b, "kfbox_edit", "ada", Role::Edit).await;
    scoped(&b, "kfbox_bob", "bob", Role::Edit).await;
    for (token, method, path, expected) in [
        ("kfbox_view", "GET", "/s3/ada/data/k", 200),
        ("kfbox_view", "GET", "/s3/ada/data?list-type=2", 200),
        ("kfbox_view", "GET", "/s3/ada/data?versioning", 200),
        ("kfbox_view", "GET", "/s3/ada/data?tagging", 404),
        ("kfbox_view", "PUT", "/s3/ada/data/k", 403),
        ("kfbox_view", "DELETE", "/s3/ada/data/k", 403),
        ("kfbox_view", "PUT", "/s3/ada/mine", 403),
        ("kfbox_view", "POST", "/s3/ada/data?delete", 403),
        ("kfbox_edit", "PUT", "/s3/ada/mine", 200),
        ("kfbox_edit", "GET", "/s3/kubeflow-system/data/k", 403),
        ("kfbox_bob", "GET", "/s3/ada/data/k", 403),
        ("kfbox_bob", "GET", "/s3/bob/data/k", 403),
        ("nobody", "GET", "/s3/ada/data/k", 401),
    ] {
        let answer = ask(&b, token, method, path, "").await;
        assert_eq!(status(answer), expected, "{token} {method} {path}");
    }
    // A signature, or whatever else looks like a way in, does not count here.
    let open = b
        .ask(
            "GET",
            "/s3/ada/data/k?AWSAccessKeyId=x&Signature=y&Expires=9",
            &[],
            "",
        )
        .await;
    assert_eq!(open.status, 401);
    // A cookie counts from the box's own pages only.
    let foreign = [
        ("cookie", "kfbox_session=x"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(
        b.ask("PUT", "/s3/ada/data/k", &foreign, "y").await.status,
        403
    );
    assert_eq!(
        ask(&b, TOKEN, "GET", "/s3/ada/data/k", "").await.text(),
        "x"
    );
}
