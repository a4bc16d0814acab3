//! The Kubernetes-shaped API, generic over the kind registry: discovery, get, list, watch, pod logs.
//! It reads; the only things made and removed here are tokens. Kinds bring no code of their own.

mod discovery;
mod log;
mod objects;
mod read;
mod tokens;
mod watch;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
    routing::any,
};
use kfbox_store::{Error, Kind, Object, kinds::access::TOKEN};

pub(crate) use log::stream as log_stream;

use crate::{
    App, Routes,
    error::{Dialect, Kube, method_not_allowed},
};

pub(crate) fn routes() -> Routes {
    ["/api", "/api/{*rest}", "/apis", "/apis/{*rest}"]
        .map(|path| (path.to_string(), any(dispatch)))
        .into()
}

/// What an address names.
#[derive(Debug, PartialEq)]
enum Target<'a> {
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/{group}`
    Group(&'a str),
    /// `/api/v1`, `/apis/{group}/{version}`
    Resources(&'a str, &'a str),
    /// A kind's objects, in one namespace or all.
    Objects(&'static str, &'static str, &'static str, Option<&'a str>),
    /// One object, perhaps a part of it such as its log.
    One(Place<'a>, Option<&'a str>),
}

/// Group, version, plural, namespace ("" = none), name.
type Place<'a> = (&'static str, &'static str, &'static str, &'a str, &'a str);

fn parse(path: &str) -> Option<Target<'_>> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (group, rest) = match parts.as_slice() {
        ["api"] | ["api", ""] => return Some(Target::CoreVersions),
        ["apis"] | ["apis", ""] => return Some(Target::Groups),
        ["apis", group] => return Some(Target::Group(group)),
        ["api", rest @ ..] => ("", rest),
        ["apis", group, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (version, rest) = rest.split_first()?;
    let kind = |plural: &str| Kind::at(group, version, plural);
    let all = |k: &'static Kind, ns| Target::Objects(k.group, k.version, k.plural, ns);
    let one = |k: &'static Kind, ns, name, part| {
        Target::One((k.group, k.version, k.plural, ns, name), part)
    };
    match rest {
        [] | [""] => Some(Target::Resources(group, version)),
        // A namespace's own address comes before "a kind within a namespace".
        ["namespaces", name] if group.is_empty() => Some(one(kind("namespaces")?, "", name, None)),
        ["namespaces", ns, plural] => Some(all(kind(plural).filter(|k| k.namespaced)?, Some(*ns))),
        ["namespaces", ns, plural, name] => {
            Some(one(kind(plural).filter(|k| k.namespaced)?, ns, name, None))
        }
        ["namespaces", ns, plural, name, part] => Some(one(
            kind(plural).filter(|k| k.namespaced)?,
            ns,
            name,
            Some(*part),
        )),
        [plural] => Some(all(kind(plural)?, None)),
        [plural, name] => Some(one(kind(plural).filter(|k| !k.namespaced)?, "", name, None)),
        _ => None,
    }
}

async fn dispatch(State(app): crate::State, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    if path == objects::PATH && method == Method::GET {
        let answer = objects::list(&app, request).await;
        return answer.unwrap_or_else(|error| Kube(error).into_response());
    }
    let Some(target) = parse(&path) else {
        let error = Error::not_found(format!("the box has no resource at {path}"));
        return Dialect::of(&path).respond(error);
    };
    let get = method == Method::GET || method == Method::HEAD;
    let answer = match target {
        Target::CoreVersions if get => Ok(discovery::core_versions()),
        Target::Groups if get => Ok(discovery::groups()),
        Target::Group(group) if get => discovery::group(group),
        Target::Resources(group, version) if get => discovery::resources(group, version),
        Target::Objects(group, version, plural, ns) => match Kind::at(group, version, plural) {
            Some(kind) if get => read::list(&app, kind, ns, request).await,
            Some(kind) if is_token(kind) && method == Method::POST => {
                tokens::create(&app, request).await
            }
            _ => return read_only(&method, &path),
        },
        Target::One((group, version, plural, ns, name), part) => {
            let Some(kind) = Kind::at(group, version, plural) else {
                return read_only(&method, &path);
            };
            match part {
                None if get => read::get(&app, kind, ns, name).await,
                None if is_token(kind) && method == Method::DELETE => {
                    tokens::delete(&app, name).await
                }
                Some("log") if get && kind.plural == "pods" => {
                    log::read(&app, ns, name, request).await
                }
                Some("status") if get => read::get(&app, kind, ns, name).await,
                Some(part) if get => Err(Error::not_found(format!(
                    "{plural} have no \"{part}\" on this box"
                ))),
                _ => return read_only(&method, &path),
            }
        }
        _ => return read_only(&method, &path),
    };
    answer.unwrap_or_else(|error| Kube(error).into_response())
}

fn is_token(kind: &Kind) -> bool {
    kind.resource() == TOKEN.resource()
}

fn read_only(method: &Method, path: &str) -> Response {
    let hint = ": this version of the box only reads here; make and change pipelines, runs and \
                experiments through /apis/v2beta1";
    method_not_allowed(method, path, hint)
}

/// What a client may see of an object: a token's digest stays inside.
fn shown(mut object: Object) -> Object {
    if object.kind == TOKEN.kind
        && object.api_version == TOKEN.api_version()
        && let Some(spec) = object.body.get_mut("spec").and_then(|s| s.as_object_mut())
    {
        spec.remove("sha256");
    }
    object
}

/// The parameters of a query string, empty ones left out.
fn query(request: &Request) -> Result<std::collections::HashMap<String, String>, Error> {
    let query = request.uri().query().unwrap_or_default();
    let uri: axum::http::Uri = format!("/?{query}").parse().map_err(Error::internal)?;
    let parsed =
        axum::extract::Query::<std::collections::HashMap<String, String>>::try_from_uri(&uri)
            .map_err(|e| Error::invalid(format!("query: {e}")))?;
    Ok(parsed
        .0
        .into_iter()
        .filter(|(_, v)| !v.is_empty())
        .collect())
}

/// A boolean as Go reads it; clients send `true`, `True` and `1`.
fn flag(query: &std::collections::HashMap<String, String>, name: &str) -> Result<bool, Error> {
    match query.get(name).map(|v| v.to_ascii_lowercase()).as_deref() {
        None | Some("false" | "f" | "0") => Ok(false),
        Some("true" | "t" | "1") => Ok(true),
        Some(other) => Err(Error::invalid(format!(
            "{name}: \"{other}\" must be true or false"
        ))),
    }
}

/// A whole number.
fn number(
    query: &std::collections::HashMap<String, String>,
    name: &str,
) -> Result<Option<u64>, Error> {
    query
        .get(name)
        .map(|text| {
            text.parse().map_err(|_| {
                Error::invalid(format!(
                    "{name}: \"{text}\" must be a whole number, 0 or more"
                ))
            })
        })
        .transpose()
}

type Shared = Arc<App>;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let runs = ("pipelines.kubeflow.org", "v2beta1", "runs");
        for (path, wanted) in [
            ("/api", Some(Target::CoreVersions)),
            ("/apis/", Some(Target::Groups)),
            ("/apis/kfbox.dev", Some(Target::Group("kfbox.dev"))),
            ("/api/v1", Some(Target::Resources("", "v1"))),
            (
                "/api/v1/pods",
                Some(Target::Objects("", "v1", "pods", None)),
            ),
            (
                "/api/v1/namespaces",
                Some(Target::Objects("", "v1", "namespaces", None)),
            ),
            (
                "/api/v1/namespaces/kubeflow",
                Some(Target::One(("", "v1", "namespaces", "", "kubeflow"), None)),
            ),
            (
                "/api/v1/namespaces/kubeflow/pods/p/log",
                Some(Target::One(
                    ("", "v1", "pods", "kubeflow", "p"),
                    Some("log"),
                )),
            ),
            (
                "/apis/pipelines.kubeflow.org/v2beta1/namespaces/kubeflow/runs",
                Some(Target::Objects(runs.0, runs.1, runs.2, Some("kubeflow"))),
            ),
            (
                "/apis/kfbox.dev/v1alpha1/tokens/t",
                Some(Target::One(
                    ("kfbox.dev", "v1alpha1", "tokens", "", "t"),
                    None,
                )),
            ),
            ("/apis/kfbox.dev/v1alpha1/namespaces/x/tokens", None),
            ("/api/v1/pods/p", None),
            ("/api/v1/nothing", None),
            ("/api/v1/namespaces/a/pods/p/log/x", None),
        ] {
            assert_eq!(parse(path), wanted, "{path}");
        }
    }
}
