//! The way to what people work in: `/notebook/<namespace>/<name>/`, HTTP and WebSocket.
//!
//! What runs there is foreign code, and its pages must not act as their visitor elsewhere on the box. So in a browser each
//! notebook has an origin of its own, below `*.localhost` ([`own`]); the box's own address only leads there. Programs send
//! a bearer token and are served at the box's address itself. The server never sees either credential.

mod own;
mod page;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use k8s_openapi::api::core::v1::{PodSpec, ServiceSpec};
use kfbox_store::{
    Caller, Code, Error, Ref, Selector,
    kinds::{
        access::TokenUse,
        core::POD,
        notebook::{CULLED, NOTEBOOK, REWRITE, STOPPED, request_headers, wanted},
        service::{SERVICE, pod_port, serves},
    },
};

pub(crate) use own::{Tickets, label, serve as serve_own};

use crate::{
    App, Duplex, Routes,
    error::Plain,
    forward::{SANDBOX, forward},
    kube::{Ask, check_access},
};

/// Pages of the gateway that set no policy may be framed by nobody else.
const CSP: &str = "frame-ancestors 'self'";
/// A pair of cookie and header for servers that want proof against forged requests. A request with a bearer token cannot
/// be forged, so the box vouches for it.
const XSRF: &str = "6b66626f78";
const XSRF_COOKIE: &str = "_xsrf=6b66626f78";

/// An address of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// What is worked in.
    at: Ref,
    /// `/notebook/<namespace>/<name>`
    prefix: String,
}

/// Reads an address; `None` when it is none of the gateway.
fn parse(path: &str) -> Option<Place> {
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        ["", "notebook", namespace, name, ..] => (&NOTEBOOK, *namespace, *name),
        _ => return None,
    };
    (!namespace.is_empty() && !name.is_empty()).then(|| Place {
        at: Ref::new(kind, namespace, name),
        prefix: parts[..4].join("/"),
    })
}

/// The namespace of an address of the gateway.
pub(crate) fn namespace(path: &str) -> Option<&str> {
    parse(path)?;
    path.split('/').nth(2)
}

/// Whether a browser opens a page with this request.
pub(crate) fn opens_page(request: &Request) -> bool {
    let text = |name: HeaderName| {
        let value = request.headers().get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    };
    let mode = text(HeaderName::from_static("sec-fetch-mode"));
    request.method() == Method::GET
        && text(header::ACCEPT).contains("text/html")
        && (mode.is_empty() || mode == "navigate")
}

/// Where who is not logged in does so first, when this opens a page of the gateway.
pub(crate) fn to_login(request: &Request) -> Option<Response> {
    parse(request.uri().path()).filter(|_| opens_page(request))?;
    let next = request.uri().path_and_query()?.as_str();
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    Some(own::redirect(&format!("/login?next={next}")))
}

/// The token of a program that speaks to a Jupyter server as to any other: `Authorization: token ...`, or `?token=...`.
pub(crate) fn token(request: &Request) -> Option<&str> {
    parse(request.uri().path())?;
    let header = request.headers().get(header::AUTHORIZATION);
    let sent = header.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
    match sent.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("token") => Some(token.trim()),
        _ => pairs.find(|(name, _)| *name == "token").map(|(_, v)| v),
    }
}

/// An address without the box's token; `None` when it has none.
fn without_token(uri: &Uri) -> Option<Uri> {
    let query = uri.query().filter(|q| q.contains("token="))?;
    let kept: Vec<&str> = query
        .split('&')
        .filter(|p| !p.starts_with("token="))
        .collect();
    let text = match kept.is_empty() {
        true => uri.path().to_string(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    };
    text.parse().ok()
}

pub(crate) fn routes() -> Routes {
    ["", "/", "/{*rest}"]
        .map(|rest| {
            let path = format!("/notebook/{{namespace}}/{{name}}{rest}");
            (path, any(at_the_box))
        })
        .into()
}

/// At the box's own address: programs are served, browsers are led to the notebook's own.
async fn at_the_box(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Response {
    let Some(place) = parse(request.uri().path()) else {
        return Plain(Error::not_found("no notebook is named")).into_response();
    };
    if let Err(e) = allowed(&caller, &place) {
        return Plain(e).into_response();
    }
    if caller.via == TokenUse::Session {
        return own::lead(&app, &caller, &place, &request);
    }
    if let Some(uri) = without_token(request.uri()) {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    headers.insert(header::COOKIE, HeaderValue::from_static(XSRF_COOKIE));
    headers.insert("x-xsrftoken", HeaderValue::from_static(XSRF));
    match pass(&app, &place, request).await {
        Ok(mut response) => {
            let headers = response.headers_mut();
            headers.remove(header::SET_COOKIE);
            // A browser can be sent here too, with a token in the address.
            let sandbox = HeaderValue::from_static(SANDBOX);
            headers.append(header::CONTENT_SECURITY_POLICY, sandbox);
            response
        }
        Err(e) => Plain(e).into_response(),
    }
}

fn allowed(caller: &Caller, place: &Place) -> Result<(), Error> {
    let Ref {
        kind,
        namespace,
        name,
    } = &place.at;
    let resource = format!("{}/proxy", kind.plural);
    check_access(
        caller,
        &Ask {
            verb: "get",
            group: kind.group,
            resource: &resource,
            namespace,
            name,
        },
    )
}

/// Passes a request on whose credentials have been taken out.
async fn pass(app: &App, place: &Place, mut request: Request) -> Result<Response, Error> {
    let notebook = app.store.fetch(&place.at).await?;
    if !wanted(&notebook) {
        return Err(Error::new(
            Code::Unavailable,
            format!("the notebook {} is stopped: start it first", place.at.name),
        ));
    }
    let stream = connect(app, place).await?;
    let rewrite = notebook.metadata.annotations.get(REWRITE);
    if let Some(base) = rewrite {
        *request.uri_mut() = rewritten(request.uri(), &place.prefix, base)?;
    }
    for (name, value) in request_headers(&notebook)? {
        let name = HeaderName::try_from(name).map_err(Error::internal)?;
        let value = HeaderValue::try_from(value).map_err(Error::internal)?;
        request.headers_mut().insert(name, value);
    }
    let who = format!("the notebook {}", place.at.name);
    let mut response = forward(stream, request, &who).await?;
    let headers = response.headers_mut();
    if rewrite.is_some() {
        keep_within(headers, &place.prefix);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        let value = HeaderValue::from_static(value);
        headers.entry(name).or_insert(value);
    }
    Ok(response)
}

/// A connection to the Pod behind it.
async fn connect(app: &App, place: &Place) -> Result<Box<dyn Duplex>, Error> {
    let waits = || {
        let message = format!("the notebook {} does not answer yet", place.at.name);
        Error::new(Code::Unavailable, message)
    };
    let at = Ref::new(&SERVICE, &place.at.namespace, &place.at.name);
    let Some(service) = app.store.get(&at).await? else {
        return Err(waits());
    };
    let spec: ServiceSpec = service.spec()?;
    let Some(port) = spec.ports.iter().flatten().next() else {
        return Err(waits());
    };
    let pods = Selector::namespace(&place.at.namespace);
    let pods = app.store.list(&POD, pods).await?.items;
    for pod in pods.iter().filter(|pod| serves(&spec, pod)) {
        let Some(number) = pod_port(port, &pod.spec::<PodSpec>()?) else {
            continue;
        };
        if let Ok(stream) = app.runtime.connect(pod, number).await {
            return Ok(stream);
        }
    }
    Err(waits())
}

/// Starts what the box stopped because nobody worked in it.
async fn wake(app: &App, at: &Ref) -> Result<(), Error> {
    let start = app.store.modify(at, |notebook| {
        let annotations = &mut notebook.metadata.annotations;
        if annotations.remove(CULLED).is_some() {
            annotations.remove(STOPPED);
        }
        Ok(())
    });
    start.await.map(|_| ())
}

/// The address as a server sees it that takes `base` for the prefix.
fn rewritten(uri: &Uri, prefix: &str, base: &str) -> Result<Uri, Error> {
    let all = uri.path_and_query().map_or("/", |p| p.as_str());
    let rest = all.strip_prefix(prefix).unwrap_or(all);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let text = format!("{}{slash}{rest}", base.trim_end_matches('/'));
    text.parse()
        .map_err(|_| Error::invalid(format!("{text}: not an address")))
}

/// A redirect of a server that does not know its prefix.
fn keep_within(headers: &mut HeaderMap, prefix: &str) {
    let location = headers.get(header::LOCATION).and_then(|v| v.to_str().ok());
    let outside = location
        .filter(|to| to.starts_with('/') && !to.starts_with("//") && !to.starts_with(prefix));
    if let Some(Ok(value)) = outside.map(|to| HeaderValue::from_str(&format!("{prefix}{to}"))) {
        headers.insert(header::LOCATION, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let place = parse("/notebook/ada/work/lab/tree/a b").unwrap();
        assert_eq!(
            (
                place.at.namespace.as_str(),
                place.at.name.as_str(),
                place.prefix.as_str()
            ),
            ("ada", "work", "/notebook/ada/work")
        );
        assert_eq!(parse("/notebook/ada/work").unwrap(), place);
        assert_eq!(namespace("/notebook/ada/work/x"), Some("ada"));
        for none in [
            "/notebook",
            "/notebook/ada",
            "/notebook/ada/",
            "/notebooks/ada/work",
            "/notebook//x/",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn servers_that_do_not_know_their_prefix() {
        let to = |uri: &str, base: &str| {
            let uri: Uri = uri.parse().unwrap();
            rewritten(&uri, "/notebook/a/b", base).unwrap().to_string()
        };
        assert_eq!(to("/notebook/a/b/x?y=1", "/"), "/x?y=1");
        assert_eq!(to("/notebook/a/b", "/"), "/");
        assert_eq!(to("/notebook/a/b?y", "/"), "/?y");
        assert_eq!(to("/notebook/a/b/x", "/base/"), "/base/x");
        for (given, wanted) in [
            ("/login", "/notebook/a/b/login"),
            ("/notebook/a/b/login", "/notebook/a/b/login"),
            ("//pypi.org/", "//pypi.org/"),
            ("login", "login"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(given));
            keep_within(&mut headers, "/notebook/a/b");
            assert_eq!(headers[header::LOCATION], wanted);
        }
    }
}
