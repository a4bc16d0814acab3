//! Request bodies of the dialects that speak JSON: bounded in size and time.

use std::time::Duration;

use axum::{body::Bytes, extract::Request, http::header};
use kfbox_store::{Code, Error, Result};
use serde_json::{Map, Value};

use crate::App;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(60);
async fn bytes(app: &App, request: Request) -> Result<Bytes> {
    let limit = app.config.json_limit;
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    let too_large = || {
        let limit = limit >> 20;
        Error::new(
            Code::TooLarge,
            format!("the body is larger than {limit} MiB; upload large pipelines as a file"),
        )
    };
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let body = axum::body::to_bytes(request.into_body(), limit);
    match tokio::time::timeout(BODY_TIME, body).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Error::invalid("the body did not arrive in time")),
    }
}

/// The body as a JSON object; no body is an empty one.
pub(crate) async fn object(app: &App, request: Request) -> Result<Map<String, Value>> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|v| v.to_str().unwrap_or("?").to_ascii_lowercase());
    let bytes = bytes(app, request).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if kind.is_some_and(|k| !k.starts_with("application/json")) {
        return Err(Error::invalid(
            "Content-Type: must be application/json; send the body as JSON",
        ));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::invalid("the body must be a JSON object")),
        Err(e) => Err(Error::invalid(format!("the body is not JSON: {e}"))),
    }
}
