//! The `proxy` parts of Pods and Services: HTTP through the box to a port of a Pod, with bodies as they flow and
//! upgrades (WebSocket). And the KFP API where upstream's clients look for it: behind the proxy of `ml-pipeline`.
//!
//! A Pod's answer is foreign code under the box's own address: it is shown in a sandbox of an opaque origin, sets no
//! cookies, and its Pod never sees the credentials of who asks.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery},
    response::Response,
};
use k8s_openapi::api::core::v1::{PodSpec, ServiceSpec};
use kfbox_store::{
    Caller, Code, Error, Kind, Object, Ref, Selector,
    kinds::{
        core::{POD, PodStatus},
        service::{SERVICE, named_port, pod_port, serves},
    },
};
use rand::seq::SliceRandom;
use tower::ServiceExt;

use super::{Ask, Shared, check_access};
use crate::{
    Duplex,
    error::kube_failed,
    forward::{SANDBOX, forward},
    kube_router,
};

/// An address below `proxy`.
#[derive(Debug, PartialEq)]
pub(super) struct Place<'a> {
    /// Of Pods or of Services.
    pub plural: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// `name`, `name:port` or `http:name:port`.
    pub id: &'a str,
    /// What the Pod is asked for, without the slash before it.
    pub rest: &'a str,
}

/// Reads an address; `None` when it is none of a proxy.
pub(super) fn parse(path: &str) -> Option<Place<'_>> {
    let path = path.strip_prefix("/api/v1/namespaces/")?;
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    let (namespace, plural, id, rest) = match parts.as_slice() {
        [namespace, plural, id, "proxy"] => (namespace, plural, id, ""),
        [namespace, plural, id, "proxy", rest] => (namespace, plural, id, *rest),
        _ => return None,
    };
    kind(plural).map(|_| Place {
        plural,
        namespace,
        id,
        rest,
    })
}

fn kind(plural: &str) -> Option<&'static Kind> {
    [&POD, &SERVICE].into_iter().find(|k| k.plural == plural)
}

/// Answers what was asked of the `ml-pipeline` service. The namespace of the address does not matter: there is one.
pub(super) async fn pipelines(app: &Shared, rest: &str, mut request: Request) -> Response {
    // The SDK joins with a slash too many, and does not follow redirects.
    let target = target(rest.trim_start_matches('/'), request.uri().query());
    match target {
        Ok(uri) => *request.uri_mut() = uri,
        Err(e) => return kube_failed(&e, None),
    }
    match kube_router(app.clone()).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn target(rest: &str, query: Option<&str>) -> Result<Uri, Error> {
    let text = match query {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    let wrong = |_| Error::invalid(format!("{text}: not an address"));
    text.parse::<PathAndQuery>().map(Uri::from).map_err(wrong)
}

/// `[scheme:]name[:port]`
fn name_and_port(id: &str) -> Result<(String, String), Error> {
    // The Python client quotes the colons.
    let id = id.replace("%3A", ":").replace("%3a", ":");
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => ("", "", ""),
    };
    match scheme {
        _ if name.is_empty() => Err(Error::invalid(format!(
            "\"{id}\": must be a name, name:port or http:name:port"
        ))),
        "" | "http" => Ok((name.into(), port.into())),
        other => Err(Error::invalid(format!(
            "\"{id}\": the box asks Pods by http, not by {other}: use `kubectl port-forward`"
        ))),
    }
}

/// Passes a request on to a Pod, or to one of a Service's, and its answer back.
pub(super) async fn serve(
    app: &Shared,
    caller: &Caller,
    place: Place<'_>,
    request: Request,
) -> Response {
    let name = name_and_port(place.id).map(|(name, _)| name);
    let about = kind(place.plural).zip(name.as_deref().ok());
    let answer = pass(app, caller, &place, request).await;
    answer.unwrap_or_else(|e| kube_failed(&e, about))
}

async fn pass(
    app: &Shared,
    caller: &Caller,
    place: &Place<'_>,
    mut request: Request,
) -> Result<Response, Error> {
    let Some(kind) = kind(place.plural) else {
        return Err(Error::not_found("only Pods and Services have a proxy"));
    };
    let verb = match *request.method() {
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "create",
    };
    let (name, port) = name_and_port(place.id)?;
    let ask = Ask {
        verb,
        group: "",
        resource: &format!("{}/proxy", kind.plural),
        namespace: place.namespace,
        name: &name,
    };
    check_access(caller, &ask)?;
    let at = Ref::new(kind, place.namespace, &name);
    let object = app.store.fetch(&at).await?;
    let (stream, host) = if kind.plural == POD.plural {
        let number = port_of_pod(&object, &port)?;
        (
            app.runtime.connect(&object, number).await?,
            host(&object, number),
        )
    } else {
        connect_service(app, &object, &port).await?
    };
    let path = request.uri().path();
    let prefix = path[..path.len() - place.rest.len()]
        .trim_end_matches('/')
        .to_string();
    *request.uri_mut() = target(place.rest, request.uri().query())?;
    onward_headers(request.headers_mut(), &host)?;
    let who = format!("{} at {host}", place.id);
    let mut response = forward(stream, request, &who).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().remove(header::SET_COOKIE);
    } else {
        backward_headers(response.headers_mut(), &host, &prefix);
    }
    Ok(response)
}

/// A connection to one of the Pods behind a Service, and what is asked there.
async fn connect_service(
    app: &Shared,
    service: &Object,
    port: &str,
) -> Result<(Box<dyn Duplex>, String), Error> {
    let (name, namespace) = (&service.metadata.name, &service.metadata.namespace);
    let spec: ServiceSpec = service.spec()?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let known = |p: &&k8s_openapi::api::core::v1::ServicePort| match port {
        "" => ports.len() == 1 || p.name.as_deref().unwrap_or_default().is_empty(),
        port => p.name.as_deref() == Some(port) || p.port.to_string() == port,
    };
    let Some(wanted) = ports.iter().find(known) else {
        let has = ports.iter().map(|p| p.port.to_string()).collect::<Vec<_>>();
        let asked = match port {
            "" => "no port is named".to_string(),
            port => format!("no service port \"{port}\" found"),
        };
        return Err(Error::invalid(format!(
            "{asked} for service \"{name}\": it has {}",
            if has.is_empty() {
                "none".into()
            } else {
                has.join(", ")
            }
        )));
    };
    let mut pods = app
        .store
        .list(&POD, Selector::namespace(namespace))
        .await?
        .items;
    pods.retain(|pod| serves(&spec, pod));
    pods.shuffle(&mut rand::rng());
    let message = format!("no endpoints available for service \"{name}\"");
    let mut failed = Error::new(Code::Unavailable, message);
    for pod in &pods {
        let Some(number) = pod_port(wanted, &pod.spec::<PodSpec>()?) else {
            continue;
        };
        match app.runtime.connect(pod, number).await {
            Ok(stream) => return Ok((stream, host(pod, number))),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

/// The port of a Pod that is meant: a number, a name, or the first that a container declares, or 80.
fn port_of_pod(pod: &Object, port: &str) -> Result<u16, Error> {
    let spec: PodSpec = pod.spec()?;
    let mut declared = spec
        .containers
        .iter()
        .flat_map(|c| c.ports.iter().flatten());
    let number = match port {
        "" => declared
            .next()
            .map_or(Some(80), |p| u16::try_from(p.container_port).ok()),
        port => port.parse().ok().filter(|n| *n > 0).or_else(|| {
            let named = named_port(&spec, port)?;
            u16::try_from(named).ok()
        }),
    };
    number.ok_or_else(|| {
        Error::invalid(format!(
            "no port \"{port}\" for pod \"{}\": give a number, or the name of a container's port",
            pod.metadata.name
        ))
    })
}

fn host(pod: &Object, port: u16) -> String {
    let status = pod.status::<PodStatus>().unwrap_or_default();
    format!("{}:{port}", status.pod_ip.unwrap_or_default())
}

fn onward_headers(headers: &mut HeaderMap, host: &str) -> Result<(), Error> {
    // Who asks is the box's to know.
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::COOKIE);
    let host = HeaderValue::from_str(host).map_err(Error::internal)?;
    headers.insert(header::HOST, host);
    Ok(())
}

fn backward_headers(headers: &mut HeaderMap, host: &str, prefix: &str) {
    headers.remove(header::SET_COOKIE);
    headers.append(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(SANDBOX),
    );
    // A redirect within the Pod stays behind the proxy.
    let location = headers.get(header::LOCATION).and_then(|v| v.to_str().ok());
    let within = location.and_then(|to| match to.strip_prefix(&format!("http://{host}")) {
        Some(path) => Some(path.to_string()),
        None => (to.starts_with('/') && !to.starts_with("//")).then(|| to.to_string()),
    });
    if let Some(Ok(location)) = within.map(|path| HeaderValue::from_str(&format!("{prefix}{path}")))
    {
        headers.insert(header::LOCATION, location);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_below_a_proxy() {
        let place = parse("/api/v1/namespaces/a/services/x:80/proxy/b/proxy/c").unwrap();
        assert_eq!(
            (place.plural, place.namespace, place.id, place.rest),
            ("services", "a", "x:80", "b/proxy/c")
        );
        assert_eq!(parse("/api/v1/namespaces/a/pods/x/proxy").unwrap().rest, "");
        for none in [
            "/api/v1/namespaces/a/pods/x/proxyx",
            "/api/v1/namespaces/a/services/proxy/x",
            "/api/v1/namespaces/a/nodes/x/proxy",
            "/api/v1/namespaces/a/pods/x",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
        for (id, wanted) in [
            ("x", ("x", "")),
            ("x:80", ("x", "80")),
            ("http:x:web", ("x", "web")),
            ("http%3Ax%3A80", ("x", "80")),
        ] {
            let (name, port) = name_and_port(id).unwrap();
            assert_eq!((name.as_str(), port.as_str()), wanted);
        }
        assert!(name_and_port("https:x:1").is_err() && name_and_port(":80").is_err());
    }

    #[test]
    fn what_stays_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer t"),
            ("cookie", "kfbox_session=s"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        onward_headers(&mut headers, "10.0.0.2:80").unwrap();
        let mut names: Vec<_> = headers.keys().map(|k| k.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "host"]);
        for (to, wanted) in [
            ("/login", "/p/proxy/login"),
            ("http://10.0.0.2:80/login", "/p/proxy/login"),
            ("https://pypi.org/x", "https://pypi.org/x"),
            ("//pypi.org/x", "//pypi.org/x"),
            ("next", "next"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(to));
            headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=b"));
            backward_headers(&mut headers, "10.0.0.2:80", "/p/proxy");
            assert_eq!(headers[header::LOCATION], wanted);
            assert!(!headers.contains_key(header::SET_COOKIE));
        }
    }
}
