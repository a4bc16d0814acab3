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
    // A browser folds segments of dots; with its slashes escaped such a key is itself, and reaches no other bucket.
    ask(&b, TOKEN, "PUT", "/s3/ada/other", "").await;
    for key in ["..", "../other/k", "../../ada/other/k"] {
        let path = format!("/s3/ada/data%2F{}", key.replace('/', "%2F"));
        assert_eq!(status(ask(&b, TOKEN, "PUT", &path, "dots").await), 200);
        assert_eq!(ask(&b, TOKEN, "GET", &path, "").await.text(), "dots");
        let list = ask(&b, TOKEN, "GET", "/s3/ada/data?list-type=2", "").await;
        assert!(
            list.text().contains(&format!("<Key>{key}</Key>")),
            "{}",
            list.text()
        );
    }
    let other = ask(&b, TOKEN, "GET", "/s3/ada/other?list-type=2", "").await;
    assert!(!other.text().contains("<Key>"), "{}", other.text());
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

/// Thousands of requests, each put together at random from what the protocol knows and from what it does not: every
/// one is answered, none with an internal error, and nothing appears outside of the buckets.
#[tokio::test]
async fn whatever_is_sent_is_answered() {
    const METHODS: &[&str] = &["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];
    const PLACES: &[&str] = &[
        "",
        "/",
        "/data",
        "/data/",
        "/data/k",
        "/data/..",
        "/data/%2e%2e/%2e%2e/x",
        "/data/a%00b",
        "/data//x",
        "/%ff/%fe",
        "/data/%F0%9F%92%A9",
        "/nowhere/k",
        "/..%2f..",
        "/DATA",
        "/data/k%",
        "/data/%c3%28",
    ];
    const QUERIES: &[&str] = &[
        "acl",
        "attributes",
        "cors",
        "delete",
        "delimiter=%2F",
        "encoding-type=url",
        "encryption",
        "lifecycle",
        "list-type=2",
        "location",
        "marker=a",
        "max-keys=-1",
        "max-keys=99999999999999999999",
        "max-keys=x",
        "partNumber=0",
        "partNumber=1",
        "partNumber=99999",
        "policy",
        "prefix=%00",
        "prefix=../",
        "response-content-type=a%0d%0ab:c",
        "restore",
        "tagging",
        "torrent",
        "uploadId=../../x",
        "uploadId=0",
        "uploads",
        "versionId=null",
        "versionId=x",
        "versioning",
        "versions",
        "continuation-token=%ff",
        "X-Amz-Expires=-1",
        "X-Amz-Signature=0",
        "website",
        "select&select-type=2",
    ];
    const HEADERS: &[(&str, &str)] = &[
        ("range", "bytes=9-1"),
        ("range", "bytes=-0"),
        ("range", "bytes=0-0,2-3"),
        ("range", "lines=1"),
        ("if-match", "\""),
        ("if-none-match", "*"),
        ("if-modified-since", "yesterday"),
        ("content-md5", "AAAA"),
        ("content-md5", "\u{7f}"),
        ("x-amz-copy-source", "/"),
        ("x-amz-copy-source", "data/k?versionId=x"),
        ("x-amz-copy-source", "%2e%2e/%2e%2e/etc"),
        ("x-amz-copy-source-range", "bytes=5-1"),
        ("x-amz-checksum-crc32", "!"),
        ("x-amz-checksum-algorithm", "MD2"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-decoded-content-length", "-1"),
        ("x-amz-tagging", "a=%zz&=&a=b"),
        ("x-amz-acl", "mine"),
        ("x-amz-meta-", "x"),
        ("x-amz-meta-a", "ü"),
        ("x-amz-metadata-directive", "EAT"),
        ("x-amz-object-attributes", ",,"),
        ("x-amz-trailer", "x"),
        ("content-encoding", "aws-chunked"),
        ("expires", "never"),
        ("content-type", "multipart/form-data; boundary="),
        ("content-type", "multipart/form-data; boundary=B"),
        ("x-amz-mfa", "0"),
        ("x-amz-expected-bucket-owner", "\u{80}"),
    ];
    const BODIES: &[&str] = &[
        "",
        "x",
        "<",
        "<a/>",
        "<Delete/>",
        "<Delete><Object><Key>..</Key></Object></Delete>",
        "<Delete><Object><Key></Key><VersionId>x</VersionId></Object></Delete>",
        "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        "<CompleteMultipartUpload/>",
        "<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
        "<VersioningConfiguration><Status>Maybe</Status></VersioningConfiguration>",
        "<LifecycleConfiguration><Rule><Status>Enabled</Status><Expiration><Days>-1</Days></Expiration></Rule></LifecycleConfiguration>",
        "<CORSConfiguration><CORSRule><AllowedMethod>X</AllowedMethod><AllowedOrigin>**</AllowedOrigin></CORSRule></CORSConfiguration>",
        "<AccessControlPolicy><Owner/></AccessControlPolicy>",
        "5;chunk-signature=0\r\nhello\r\n0\r\n\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n../x\r\n--B--",
        "\0\u{feff}<?xml?>",
    ];
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    let b = TestBox::new().await;
    ask(&b, TOKEN, "PUT", "/s3/ada/data", "").await;
    ask(&b, TOKEN, "PUT", "/s3/ada/data/k", "bytes").await;
    let auth = format!("Bearer {TOKEN}");
    for _ in 0..4_000 {
        let pick =
            |dice: &mut rand::rngs::StdRng, from: usize| rand::Rng::random_range(dice, 0..from);
        let method = METHODS[pick(&mut dice, METHODS.len())];
        let queries: Vec<_> = (0..pick(&mut dice, 3))
            .map(|_| QUERIES[pick(&mut dice, QUERIES.len())])
            .collect();
        let path = format!(
            "/s3/ada{}?{}",
            PLACES[pick(&mut dice, PLACES.len())],
            queries.join("&")
        );
        if path.parse::<axum::http::Uri>().is_err() {
            continue;
        }
        let mut headers = vec![("authorization", auth.as_str())];
        for _ in 0..pick(&mut dice, 3) {
            let (name, value) = HEADERS[pick(&mut dice, HEADERS.len())];
            if axum::http::HeaderValue::from_str(value).is_ok() {
                headers.push((name, value));
            }
        }
        let mut body = BODIES[pick(&mut dice, BODIES.len())].as_bytes().to_vec();
        if !body.is_empty() && pick(&mut dice, 3) == 0 {
            let at = pick(&mut dice, body.len());
            body[at] = rand::random();
        }
        let length = body.len().to_string();
        headers.push(("content-length", &length));
        let said = format!(
            "{method} {path} {headers:?} {:?}",
            String::from_utf8_lossy(&body)
        );
        let asked = b.ask(method, &path, &headers, body);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), asked).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {said}"));
        assert_ne!(answer.status, 500, "{said}: {}", answer.text());
    }
    let mut there: Vec<_> = std::fs::read_dir(b.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, ["artifacts", "meta.redb"]);
}
