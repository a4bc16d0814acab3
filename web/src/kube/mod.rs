//! The Kubernetes-shaped API, generic over the kind registry: discovery, the verbs, watch, logs, reviews. Kinds bring
//! no code of their own.

mod authz;
mod body;
mod dataset;
mod delete;
mod discovery;
mod guard;
mod log;
mod objects;
mod openapi;
mod patch;
mod protobuf;
mod proxy;
mod read;
mod reviews;
mod scale;
mod storage;
mod stream;
mod strict;
mod table;
mod tokens;
mod watch;
mod write;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Request, State},
    http::Method,
    response::Response,
    routing::{any, get, put},
};
use kfbox_store::{
    Caller, Code, Error, Kind, Object, Ref, Verbs,
    kinds::{access::TOKEN, core::POD, trainer::TRAIN_JOB},
};

pub(crate) use authz::{Ask, check as check_access};
pub(crate) use log::stream as log_stream;

use crate::{
    App, Routes,
    error::{Dialect, kube_failed, method_not_allowed},
};

pub(crate) fn routes() -> Routes {
    let mut routes: Routes = ["/api", "/api/{*rest}", "/apis", "/apis/{*rest}"]
        .map(|path| (path.to_string(), any(dispatch)))
        .into();
    routes.extend([
        (dataset::PATH.into(), get(dataset::diff)),
        (crate::lineage::PATH.into(), get(crate::lineage::graph)),
        (crate::lineage::EVENTS.into(), get(crate::lineage::events)),
        (storage::ROOM.into(), get(storage::room)),
        (storage::IMAGES.into(), get(storage::images)),
        (storage::PATH.into(), get(storage::report)),
        (storage::QUOTA.into(), put(storage::set_quota)),
        ("/version".into(), get(version)),
        ("/version/".into(), get(version)),
        ("/openapi/v3".into(), get(openapi_index)),
        ("/openapi/v3/{*path}".into(), get(openapi_document)),
    ]);
    routes
}

async fn version(State(app): crate::State) -> Response {
    discovery::version(&app.config.version)
}

async fn openapi_index(State(app): crate::State) -> Response {
    openapi::index(&format!("{}-{}", app.config.version, app.config.commit))
}

async fn openapi_document(Path(path): Path<String>) -> Response {
    openapi::document(&path).unwrap_or_else(|e| kube_failed(&e, None))
}

/// What an address names.
#[derive(Debug, PartialEq)]
enum Target<'a> {
    /// A question about oneself.
    Review(&'static reviews::Review),
    /// The definitions of the box's own kinds, or one of them.
    Definitions(Option<&'a str>),
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
    /// The KFP API through the service proxy, as `kfp.Client()` with a kubeconfig calls it.
    Pipelines(&'a str),
    /// What a Pod answers, through the proxy.
    Proxy(proxy::Place<'a>),
    /// One object, perhaps a part of it such as its log.
    One(Place<'a>, Option<&'a str>),
}

/// Group, version, plural, namespace ("" = none), name.
type Place<'a> = (&'static str, &'static str, &'static str, &'a str, &'a str);

fn parse(path: &str) -> Option<Target<'_>> {
    if let Some(place) = proxy::parse(path) {
        let pipelines = place.id.split(':').any(|part| part == "ml-pipeline");
        return Some(match pipelines && place.plural == "services" {
            true => Target::Pipelines(place.rest),
            false => Target::Proxy(place),
        });
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (group, rest) = match parts.as_slice() {
        ["api"] | ["api", ""] => return Some(Target::CoreVersions),
        ["apis"] | ["apis", ""] => return Some(Target::Groups),
        ["apis", group] => return Some(Target::Group(group)),
        [
            "apis",
            openapi::CRD_GROUP,
            "v1",
            "customresourcedefinitions",
            name @ ..,
        ] => {
            return (name.len() < 2).then(|| Target::Definitions(name.first().copied()));
        }
        ["apis", group, "v1", plural]
            if let Some(review) = reviews::ALL
                .iter()
                .find(|r| r.group == *group && r.plural == *plural) =>
        {
            return Some(Target::Review(review));
        }
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

async fn dispatch(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let method = &request.method().clone();
    let path = &request.uri().path().to_string();
    if path == objects::PATH && method == Method::GET {
        let answer = objects::list(&app, &caller, request).await;
        return answer.unwrap_or_else(|e| kube_failed(&e, None));
    }
    let Some(target) = parse(path) else {
        let error = Error::not_found(format!("the box has no resource at {path}"));
        return Dialect::of(path).respond(error);
    };
    let get = method == Method::GET || method == Method::HEAD;
    match target {
        Target::Pipelines(rest) => proxy::pipelines(&app, rest, request).await,
        Target::Proxy(place) => proxy::serve(&app, &caller, place, request).await,
        Target::CoreVersions if get => discovery::core_versions(&request),
        Target::Groups if get => discovery::groups(&request),
        Target::Group(group) if get => {
            discovery::group(group).unwrap_or_else(|e| kube_failed(&e, None))
        }
        Target::Resources(group, version) if get => {
            discovery::resources(group, version).unwrap_or_else(|e| kube_failed(&e, None))
        }
        Target::Review(review) if method == Method::POST => {
            let answer = reviews::create(&app, &caller, review, request).await;
            answer.unwrap_or_else(|e| kube_failed(&e, None))
        }
        Target::Definitions(name) if get => {
            openapi::definitions_of(name).unwrap_or_else(|e| kube_failed(&e, None))
        }
        Target::Objects(group, version, plural, ns) => {
            let Some(kind) = Kind::at(group, version, plural) else {
                return method_not_allowed(method, path, "");
            };
            let answer = objects(&app, &caller, method, kind, ns, request).await;
            finish(answer, method, path, kind, "")
        }
        Target::One((group, version, plural, ns, name), part) => {
            let Some(kind) = Kind::at(group, version, plural) else {
                return method_not_allowed(method, path, "");
            };
            let at = Ref::new(kind, ns, name);
            let answer = one(&app, &caller, method, at, part, request).await;
            finish(answer, method, path, kind, name)
        }
        _ => method_not_allowed(method, path, ""),
    }
}

/// The answer, or why there is none; `Ok(None)` = this method is not offered here.
fn finish(
    answer: Result<Option<Response>, Error>,
    method: &Method,
    path: &str,
    kind: &'static Kind,
    name: &str,
) -> Response {
    match answer {
        Ok(Some(response)) => response,
        Ok(None) if kind.verbs == Verbs::Read => {
            let hint = match kind.group {
                "pipelines.kubeflow.org" => {
                    ": make and change pipelines, runs and experiments through /apis/v2beta1"
                }
                _ => ": the box itself writes these",
            };
            method_not_allowed(method, path, hint)
        }
        Ok(None) => method_not_allowed(method, path, ""),
        Err(error) => kube_failed(&error, Some((kind, name))),
    }
}

/// A kind's address.
async fn objects(
    app: &Shared,
    caller: &Caller,
    method: &Method,
    kind: &'static Kind,
    ns: Option<&str>,
    request: Request,
) -> Result<Option<Response>, Error> {
    let watching = request.uri().query().is_some_and(|q| q.contains("watch="));
    let verb = match *method {
        Method::GET | Method::HEAD if watching => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::DELETE => "deletecollection",
        _ => return Ok(None),
    };
    let ask = Ask {
        verb,
        group: kind.group,
        resource: kind.plural,
        namespace: ns.unwrap_or_default(),
        name: "",
    };
    check_access(caller, &ask)?;
    Ok(match verb {
        "list" | "watch" => Some(read::list(app, kind, ns, request).await?),
        "create" if is_token(kind) => Some(tokens::create(app, request).await?),
        "create" if kind.verbs != Verbs::Read => Some(write::create(app, kind, ns, request).await?),
        "deletecollection" if kind.verbs == Verbs::All => {
            Some(delete::all(app, kind, ns, request).await?)
        }
        _ => None,
    })
}

/// An object's address, or that of a part of it.
async fn one(
    app: &Shared,
    caller: &Caller,
    method: &Method,
    at: Ref,
    part: Option<&str>,
    request: Request,
) -> Result<Option<Response>, Error> {
    let kind = at.kind;
    let verb = match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => return Ok(None),
    };
    let resource = match part {
        Some(part) => format!("{}/{part}", kind.plural),
        None => kind.plural.to_string(),
    };
    let ask = Ask {
        verb,
        group: kind.group,
        resource: &resource,
        namespace: &at.namespace,
        name: &at.name,
    };
    check_access(caller, &ask)?;
    let all = kind.verbs == Verbs::All;
    let (ns, name) = (at.namespace.clone(), at.name.clone());
    Ok(match (part, verb) {
        (None | Some("status"), "get") => Some(read::get(app, kind, &ns, &name, request).await?),
        (None, "delete") if is_token(kind) => Some(tokens::delete(app, &name).await?),
        (None, "delete") if kind.verbs != Verbs::Read => Some(delete::one(app, at, request).await?),
        (None, "update") if all => Some(write::update(app, at, write::Part::Main, request).await?),
        (None, "patch") if all => Some(write::patch(app, at, write::Part::Main, request).await?),
        // It says where the Pod is: who wrote it could reach through the box to any address.
        (Some("status"), "update" | "patch") if kind.resource() == POD.resource() => {
            return Err(Error::new(
                Code::Forbidden,
                "status: only the box writes a Pod's status",
            ));
        }
        (Some("status"), "update") if all => {
            Some(write::update(app, at, write::Part::Status, request).await?)
        }
        (Some("status"), "patch") if all => {
            Some(write::patch(app, at, write::Part::Status, request).await?)
        }
        (Some("status"), "create") if kind.resource() == TRAIN_JOB.resource() => {
            Some(write::trainer_status(app, at, request).await?)
        }
        (Some("scale"), "get" | "update" | "patch") => match &kind.scale {
            Some(scale) => Some(scale::serve(app, at, scale, request).await?),
            None => return Err(no_part(kind, "scale")),
        },
        (Some("log"), "get") if kind.plural == "pods" => {
            Some(log::read(app, &ns, &name, request).await?)
        }
        (Some("exec" | "attach"), "get" | "create") if kind.plural == "pods" => {
            let attach = part == Some("attach");
            Some(stream::session(app, at, attach, request).await?)
        }
        (Some("portforward"), "get" | "create") if kind.plural == "pods" => {
            Some(stream::forward(app, at, request).await?)
        }
        (Some("token"), "create") if kind.plural == "serviceaccounts" => {
            Some(reviews::token(app, &ns, &name, request).await?)
        }
        (None, _) => None,
        (Some(part), _) => return Err(no_part(kind, part)),
    })
}

fn no_part(kind: &'static Kind, part: &str) -> Error {
    Error::new(
        Code::NotFound,
        format!("{} have no \"{part}\" on this box", kind.plural),
    )
}

fn is_token(kind: &Kind) -> bool {
    kind.resource() == TOKEN.resource()
}

/// What a client may see of an object, in the version that it asked for: a token's digest stays inside.
fn shown(kind: &'static Kind, mut object: Object) -> Object {
    if kind.stored.is_some() {
        object.api_version = kind.api_version();
    }
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
