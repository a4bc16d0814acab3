//! Who asks, and from where: the guard before all routes.
//!
//! 1. The `Host` must be one of the box's names, or a rebinding web page could talk to it: 403.
//! 2. Open doors are answered here: health, login, static files. They never reach the router.
//! 3. Everything else needs a bearer token or the session cookie, before it is known whether the address
//!    exists: 401. Browsers attach cookies by themselves, and cookies ignore ports, so a cookie is believed
//!    only when the browser says that the request comes from the box's own pages.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::Engine;
use kfbox_store::{
    Caller, Code, Error, Propagation, Ref,
    kinds::access::{Role, TOKEN, TokenSpec, TokenUse},
    mint_token,
};
use rand::RngCore;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    App,
    error::{Dialect, Plain},
    gateway, kfp, mlflow, registry, s3, ui,
};

const COOKIE: &str = "kfbox_session";
const SESSION: Duration = Duration::from_secs(30 * 24 * 3600);
const APP_CSP: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
frame-src 'self'; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; \
object-src 'none'; form-action 'self'";

/// A new secret: 256 random bits, with a prefix by which secret scanners can know it.
pub fn new_secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    format!("kfbox_{text}")
}

/// Slows down those who guess: each failure waits, longer the more there were of late, and only so many wait.
pub(crate) struct Brake {
    places: Semaphore,
    failures: Mutex<(u32, Option<Instant>)>,
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            places: Semaphore::new(32),
            failures: Mutex::new((0, None)),
        }
    }
}

impl Brake {
    /// After a wrong secret: waits; false when too many wait already.
    async fn failed(&self) -> bool {
        let Ok(_place) = self.places.try_acquire() else {
            return false;
        };
        let count = {
            let mut state = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let calm = state
                .1
                .is_none_or(|last| last.elapsed() > Duration::from_secs(60));
            *state = (if calm { 0 } else { state.0 + 1 }, Some(Instant::now()));
            state.0
        };
        tokio::time::sleep(Duration::from_millis(50 << count.min(5))).await;
        true
    }
}

/// Marks requests of a door where cookies do not count and no pages are served.
#[derive(Clone, Copy)]
pub(crate) struct BearerOnly;

/// Stands before all routes.
pub(crate) async fn guard(State(app): crate::State, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let mut response = admit(&app, request, next, dialect).await;
    app.metrics
        .request(dialect.name(), response.status().as_u16());
    secure(response.headers_mut());
    response
}

/// Headers for every answer; an answer that set its own keeps it.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, APP_CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

async fn admit(app: &Arc<App>, mut request: Request, next: Next, dialect: Dialect) -> Response {
    let refuse = |code, text: &str| dialect.respond(Error::new(code, text));
    let authority = authority(&request).to_string();
    if !app.config.hosts.allow(&authority) {
        return refuse(
            Code::Forbidden,
            "this box does not answer to that Host: use http://127.0.0.1 or http://localhost, or add the name to the box's hosts",
        );
    }
    let pages = request.extensions().get::<BearerOnly>().is_none();
    if pages && let Some(label) = gateway::label(&authority) {
        return gateway::serve_own(app, request, &authority, label).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path());
    if method == Method::GET && kfp::is_health(path) {
        return kfp::health(app);
    }
    if pages && ui::wants(&method, request.uri()) {
        return ui::file(request.uri(), request.headers());
    }
    if pages
        && method == Method::GET
        && let Some(page) = mlflow::page(path)
    {
        return page;
    }
    if pages && method == Method::POST && path == "/auth/login" {
        if origin(request.headers()).is_some_and(|o| o != authority) {
            return refuse(Code::Forbidden, "log in from the box's own page");
        }
        return login(app, request).await;
    }
    let caller = if let Some(token) = bearer(request.headers()).or_else(|| gateway::token(&request))
    {
        app.store.authenticate(token, TokenUse::Api).await
    } else if let Some(session) = cookie(request.headers(), COOKIE).filter(|_| pages) {
        if !from_own_page(&method, request.headers(), &authority) {
            return refuse(
                Code::Forbidden,
                "a session cookie counts only from the box's own pages; programs send \"Authorization: Bearer <token>\"",
            );
        }
        app.store.authenticate(session, TokenUse::Session).await
    } else if let Some(login) = gateway::to_login(&request).filter(|_| pages) {
        return login;
    } else {
        let mut response = refuse(
            Code::Unauthenticated,
            "log in first: send \"Authorization: Bearer <token>\" (make one with `kfbox token create`)",
        );
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"kfbox\""),
        );
        return response;
    };
    match caller {
        Ok(caller) => {
            if let Some(scope) = &caller.scope
                && dialect != Dialect::Kube
            {
                // All but the Kubernetes dialect, which looks closer, is of one namespace.
                let reads = method == Method::GET || method == Method::HEAD;
                let namespace = s3::namespace(path)
                    .or_else(|| mlflow::namespace(path, request.headers()))
                    .or_else(|| registry::namespace(path))
                    .or_else(|| gateway::namespace(path))
                    .unwrap_or(&app.config.namespace);
                if !scope.namespaces.iter().any(|n| n == namespace)
                    || (scope.role == Role::View && !reads)
                {
                    let text = format!("the token of \"{}\" does not open this", caller.user);
                    return refuse(Code::Forbidden, &text);
                }
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) if error.code == Code::Unauthenticated => {
            if app.brake.failed().await {
                dialect.respond(error)
            } else {
                too_many()
            }
        }
        Err(error) => dialect.respond(error),
    }
}

fn too_many() -> Response {
    let body = json!({"message": "too many wrong tokens at once: wait a few seconds"});
    let retry = [(header::RETRY_AFTER, "5")];
    (StatusCode::TOO_MANY_REQUESTS, retry, Json(body)).into_response()
}

/// The one name the client called us by: the Host header, or the authority of an absolute request target.
/// Two different ones, or two Host headers, are no name at all.
fn authority(request: &Request) -> &str {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => return "",
    };
    match request.uri().authority() {
        Some(target) if target.as_str() != host => "",
        _ => host,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|v| v.to_str().unwrap_or("?"))
}

/// Host and port of the page that sent the request, as the browser tells it.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let origin = text(headers, "origin")?;
    Some(origin.split_once("://").map_or("?", |(_, host)| host))
}

/// Whether the browser says that this comes from the box's own pages.
pub(crate) fn from_own_page(method: &Method, headers: &HeaderMap, authority: &str) -> bool {
    let site = text(headers, "sec-fetch-site");
    let same_site = site.map(|s| s == "same-origin" || s == "none");
    let same_origin = origin(headers).map(|o| o == authority);
    if same_origin == Some(false) {
        return false;
    }
    if method == Method::GET || method == Method::HEAD {
        // A link from elsewhere may open a page of ours; a script or frame elsewhere may not read one.
        let opened = text(headers, "sec-fetch-mode") == Some("navigate")
            && text(headers, "sec-fetch-dest") == Some("document");
        return same_site != Some(false) || opened;
    }
    // Browsers always send one of the two with an unsafe method.
    same_site != Some(false) && (same_site.is_some() || same_origin.is_some())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, "authorization")?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

pub(crate) fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

async fn login(app: &Arc<App>, request: Request) -> Response {
    let answer = async {
        let body = axum::body::to_bytes(request.into_body(), 4096);
        let body = tokio::time::timeout(Duration::from_secs(10), body)
            .await
            .map_err(|_| Error::invalid("the body did not arrive in time"))?
            .map_err(|_| Error::new(Code::TooLarge, "the body is larger than a token"))?;
        let Login { token } = serde_json::from_slice(&body)
            .map_err(|e| Error::invalid(format!("the body must be {{\"token\": \"...\"}}: {e}")))?;
        let known = app.store.authenticate(&token, TokenUse::Api).await.ok();
        let secret = new_secret();
        app.store
            .write(move |txn| {
                let caller = match known {
                    Some(caller) => caller,
                    None => txn.redeem_login(&token)?,
                };
                for old in txn.list(&TOKEN, None, expired)? {
                    txn.delete(
                        &Ref::new(&TOKEN, "", &old.metadata.name),
                        Propagation::Cascade,
                    )?;
                }
                let minted = mint_token(
                    secret,
                    &caller.user,
                    TokenUse::Session,
                    Some(SESSION),
                    // A session opens no more than the token that it was made with.
                    caller.scope.clone(),
                    "browser",
                )?;
                txn.create(minted.object)?;
                Ok((minted.secret, caller.user))
            })
            .await
    };
    match answer.await {
        Ok((secret, user)) => {
            let cookie = format!(
                "{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}",
                SESSION.as_secs()
            );
            ([(header::SET_COOKIE, cookie)], Json(json!({"user": user}))).into_response()
        }
        Err(error) if error.code == Code::Unauthenticated => {
            if app.brake.failed().await {
                Plain(error).into_response()
            } else {
                too_many()
            }
        }
        Err(error) => Plain(error).into_response(),
    }
}

fn expired(token: &kfbox_store::Object) -> bool {
    token.spec::<TokenSpec>().is_ok_and(|spec| {
        spec.expires
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .is_some_and(|at| at < jiff::Timestamp::now())
    })
}

/// Ends the session that asks.
pub(crate) async fn logout(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Plain> {
    if caller.via == TokenUse::Session {
        app.store
            .delete(&Ref::new(&TOKEN, "", &caller.token))
            .await?;
    }
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({}))).into_response())
}
