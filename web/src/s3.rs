//! S3 over HTTP: the endpoint's own socket, with what browsers ask before (CORS) and what monitors ask; and the same
//! service behind the box's login, which is how the UI browses buckets.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use kfbox_store::{
    Caller, Error,
    blob::{
        Blobs,
        s3::{Cors, Pass},
    },
    kinds::access::Role,
};
use tower::{ServiceExt, service_fn};

use crate::{App, AsIs, error::Plain};

/// Where the service lies behind the login: `/s3/{namespace}/{bucket}/{key}`.
const BEHIND_LOGIN: &str = "/s3/";
/// Objects come from steps and strangers: shown, they run nothing and know no origin.
const CSP: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// Answers S3 requests on a socket of its own; every one of them must be signed by a key of the box.
pub fn s3_router(app: &Arc<App>) -> Router {
    let of = app.clone();
    let answer = service_fn(move |request: Request| {
        let app = of.clone();
        async move { Ok(app.s3(request).await) }
    });
    Router::new()
        .route("/minio/health/live", get(|| async { StatusCode::OK }))
        .fallback_service(answer)
        .layer(middleware::from_fn_with_state(app.blobs.clone(), cors))
}

impl App {
    /// An S3 request of somebody who is logged in, with a plain S3 address. What comes back is safe to be shown.
    pub(crate) async fn pass_to_s3(
        &self,
        namespace: &str,
        role: Role,
        mut request: Request,
    ) -> Response {
        request.extensions_mut().insert(Pass::new(namespace, role));
        for name in [header::AUTHORIZATION, header::COOKIE] {
            request.headers_mut().remove(name);
        }
        let mut response = self.s3(request).await;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(CSP),
        );
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("private, no-cache"));
        response.extensions_mut().insert(AsIs);
        response
    }

    async fn s3(&self, request: Request) -> Response {
        match self.s3.clone().oneshot(request).await {
            Ok(response) => response.map(Body::new),
            // The client went away, or sent what is no HTTP: it hears nothing of use either way.
            Err(e) => {
                tracing::debug!("an S3 request ended: {:?}", e);
                StatusCode::BAD_REQUEST.into_response()
            }
        }
    }
}

/// The namespace whose buckets a path behind the login means.
pub(crate) fn namespace(path: &str) -> Option<&str> {
    path.strip_prefix(BEHIND_LOGIN)?.split('/').next()
}

/// Answers S3 requests of whoever is logged in: `/s3/{namespace}/...` opens that namespace's buckets, and
/// `/s3/kubeflow-system/...` all of them. What the caller may there is what its token or session says.
pub(crate) async fn behind_login(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Result<Response, Plain> {
    let role = caller.scope.map_or(Role::Edit, |scope| scope.role);
    let whole = request.uri().clone();
    let namespace = namespace(whole.path()).unwrap_or_default();
    let below = &whole.path()[BEHIND_LOGIN.len() + namespace.len()..];
    let below = if below.is_empty() { "/" } else { below };
    let query = whole.query().map(|q| format!("?{q}")).unwrap_or_default();
    let uri: Uri = format!("{below}{query}")
        .parse()
        .map_err(|e| Error::invalid(format!("the address: {e}")))?;
    *request.uri_mut() = uri;
    Ok(app.pass_to_s3(namespace, role, request).await)
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
