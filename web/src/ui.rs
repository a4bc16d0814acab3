//! The browser UI: static files in the binary. They hold no data, so they need no caller.

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "ui/dist/"]
#[allow_missing = true]
struct Files;

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>kfbox</title>\
<h1>The box runs; its UI is not built in</h1>\
<p>Build it with <code>npm ci &amp;&amp; npm run build</code> in <code>web/ui</code>, then build kfbox again. \
The API and the command line work without it.</p>";

/// The first segments of paths that belong to the API; everything else that is read is the UI's.
const API: &[&str] = &[
    "api",
    "apis",
    "auth",
    "artifacts",
    "healthz",
    "metrics",
    "mlflow",
    "model-registry",
    "notebook",
    "openapi",
    "pipeline",
    "s3",
    "version",
];

/// Whether this request is for the UI's static files.
pub(crate) fn wants(method: &Method, uri: &Uri) -> bool {
    let first = uri.path().split('/').nth(1).unwrap_or_default();
    (method == Method::GET || method == Method::HEAD) && !API.contains(&first)
}

/// A file, or the single page for every other address.
pub(crate) fn file(uri: &Uri, headers: &HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if let Some(found) = Files::get(path).filter(|_| !path.is_empty()) {
        let hashed = path.starts_with("assets/");
        return send(path, found, hashed, headers);
    }
    if path.starts_with("assets/") {
        return (
            StatusCode::NOT_FOUND,
            "no such file in this build of the UI",
        )
            .into_response();
    }
    match Files::get("index.html") {
        Some(page) => send("index.html", page, false, headers),
        None => Html(NOT_BUILT).into_response(),
    }
}

fn send(path: &str, file: rust_embed::EmbeddedFile, hashed: bool, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..12]));
    // Asset names carry a digest of their content (the bundler's doing): they never change.
    let cache = if hashed {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, cache)];
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|v| v.to_str().is_ok_and(|v| v.contains(&tag)));
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let mut kind = mime_guess::from_path(path)
        .first_or_octet_stream()
        .to_string();
    if kind.starts_with("text/") {
        kind.push_str("; charset=utf-8");
    }
    let kind = [(header::CONTENT_TYPE, kind)];
    (common, kind, Body::from(file.data.into_owned())).into_response()
}
