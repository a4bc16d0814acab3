//! The S3 endpoint's socket: the service of the store, with what browsers ask before (CORS) and what monitors ask.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use kfbox_store::blob::{
    Blobs,
    s3::{Cors, Keyring, service},
};
use tower::{ServiceExt, service_fn};

/// Answers S3 requests for these bytes; every one of them must be signed by one of these keys.
pub fn s3_router(blobs: Blobs, keys: Arc<Keyring>) -> Router {
    let s3 = service(blobs.clone(), keys);
    let answer = service_fn(move |request: Request| {
        let s3 = s3.clone();
        async move {
            match s3.oneshot(request).await {
                Ok(response) => Ok(response.map(Body::new)),
                // The client went away, or sent what is no HTTP: it hears nothing of use either way.
                Err(e) => {
                    tracing::debug!("an S3 request ended: {:?}", e);
                    Ok(StatusCode::BAD_REQUEST.into_response())
                }
            }
        }
    });
    Router::new()
        .route("/minio/health/live", get(|| async { StatusCode::OK }))
        .fallback_service(answer)
        .layer(middleware::from_fn_with_state(blobs, cors))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Lets the pages in that a bucket's rules name. A preflight carries no signature, so it is answered here.
async fn cors(State(blobs): State<Blobs>, request: Request, next: Next) -> Response {
    let Some(origin) = text(request.headers(), "origin").map(str::to_owned) else {
        return if request.method() == Method::OPTIONS {
            (
                StatusCode::BAD_REQUEST,
                "Insufficient information. Origin request header needed.",
            )
                .into_response()
        } else {
            next.run(request).await
        };
    };
    let bucket = request
        .uri()
        .path()
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let preflight = request.method() == Method::OPTIONS;
    let method = if preflight {
        match text(request.headers(), "access-control-request-method") {
            Some(method) => method.to_owned(),
            None => {
                return (
                    StatusCode::BAD_REQUEST,
                    "Access-Control-Request-Method is missing",
                )
                    .into_response();
            }
        }
    } else {
        request.method().to_string()
    };
    let asked = text(request.headers(), "access-control-request-headers")
        .unwrap_or_default()
        .to_owned();
    let allowed = match blobs.cors(&bucket, &origin, &method, &asked).await {
        Ok(allowed) => allowed,
        Err(e) => {
            tracing::warn!(context = e.context, "CORS rules: {e}");
            None
        }
    };
    if preflight {
        let Some(allowed) = allowed else {
            return (
                StatusCode::FORBIDDEN,
                "CORSResponse: This CORS request is not allowed.",
            )
                .into_response();
        };
        let mut response = StatusCode::OK.into_response();
        mark(response.headers_mut(), &allowed, Some(&asked));
        return response;
    }
    let mut response = next.run(request).await;
    if let Some(allowed) = allowed {
        mark(response.headers_mut(), &allowed, None);
    }
    response
}

fn mark(headers: &mut HeaderMap, allowed: &Cors, asked: Option<&str>) {
    let methods = allowed.methods.join(", ");
    let expose = allowed.expose.join(", ");
    let age = allowed.max_age.map(|s| s.to_string());
    let lines = [
        (
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            Some(allowed.origin.as_str()),
        ),
        (header::ACCESS_CONTROL_ALLOW_METHODS, Some(methods.as_str())),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, asked),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, Some(expose.as_str())),
        (header::ACCESS_CONTROL_MAX_AGE, age.as_deref()),
        (
            header::VARY,
            Some("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
        ),
    ];
    for (name, value) in lines {
        let value = value
            .filter(|v| !v.is_empty())
            .and_then(|v| HeaderValue::from_str(v).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}
