//! Which groups, versions and resources there are, from the kind registry: the plain form, and the aggregated one
//! (v2, v2beta1) that kubectl asks for first.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::Request,
    http::header,
    response::{IntoResponse, Response},
};
use kfbox_store::{Error, Kind, Verbs};
use serde_json::{Value, json};

use super::{openapi, reviews};

/// The Kubernetes whose API this is modelled on.
pub(super) const MINOR: &str = "33";

/// `/version`
pub(crate) fn version(app_version: &str) -> Response {
    Json(json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0+kfbox-{app_version}"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    }))
    .into_response()
}

fn verbs(kind: &Kind) -> Vec<&'static str> {
    let mut verbs = vec!["get", "list", "watch"];
    if kind.verbs != Verbs::Read {
        verbs.extend(["create", "delete"]);
    }
    if kind.verbs == Verbs::All {
        verbs.extend(["deletecollection", "patch", "update"]);
    }
    verbs
}

/// A part of an object with an address of its own.
struct Sub {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
}

fn subresources(kind: &Kind) -> Vec<Sub> {
    let sub = |name, group, version, kind, verbs| Sub {
        name,
        group,
        version,
        kind,
        verbs,
    };
    let write: &[&str] = match kind.kind {
        "Pod" => &["get"],
        _ => &["get", "patch", "update"],
    };
    let mut subs = Vec::new();
    if kind.verbs == Verbs::All
        && !matches!(
            kind.kind,
            "Event" | "Secret" | "ConfigMap" | "ServiceAccount"
        )
    {
        subs.push(sub("status", kind.group, kind.version, kind.kind, write));
    }
    if kind.scale.is_some() {
        subs.push(sub("scale", "autoscaling", "v1", "Scale", write));
    }
    if kind.group.is_empty() && kind.kind == "Pod" {
        let stream: &[&str] = &["create", "get"];
        subs.push(sub("log", "", "v1", "Pod", &["get"]));
        for (name, options) in [
            ("exec", "PodExecOptions"),
            ("attach", "PodAttachOptions"),
            ("portforward", "PodPortForwardOptions"),
        ] {
            subs.push(sub(name, "", "v1", options, stream));
        }
    }
    let proxied = match kind.kind {
        "Pod" => "PodProxyOptions",
        _ => "ServiceProxyOptions",
    };
    if kind.group.is_empty() && matches!(kind.kind, "Pod" | "Service") {
        let any: &[&str] = &["create", "delete", "get", "patch", "update"];
        subs.push(sub("proxy", "", "v1", proxied, any));
    }
    if kind.group.is_empty() && kind.kind == "ServiceAccount" {
        subs.push(sub(
            "token",
            "authentication.k8s.io",
            "v1",
            "TokenRequest",
            &["create"],
        ));
    }
    subs
}

/// Group -> version -> its kinds, in the registry's order.
fn groups_of() -> BTreeMap<&'static str, BTreeMap<&'static str, Vec<&'static Kind>>> {
    let mut groups: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
    for kind in Kind::all() {
        groups
            .entry(kind.group)
            .or_default()
            .entry(kind.version)
            .or_default()
            .push(kind);
    }
    for review in reviews::ALL {
        groups
            .entry(review.group)
            .or_default()
            .entry("v1")
            .or_default();
    }
    groups
        .entry(openapi::CRD_GROUP)
        .or_default()
        .entry("v1")
        .or_default();
    groups
}

/// Newest first, as clients prefer them: v1 before v1beta1 before v1alpha1.
fn by_preference(versions: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut versions: Vec<_> = versions.collect();
    versions.sort_by_key(|v| {
        (
            v.contains("alpha"),
            v.contains("beta"),
            std::cmp::Reverse(*v),
        )
    });
    versions
}

/// Resources that are no kinds of the store: reviews, and the definitions of the box's own kinds. Plural, kind, short
/// names, verbs; none has a namespace.
fn extra(
    group: &str,
) -> Vec<(
    &'static str,
    &'static str,
    Vec<&'static str>,
    Vec<&'static str>,
)> {
    if group == openapi::CRD_GROUP {
        return vec![(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            vec!["crd", "crds"],
            vec!["get", "list"],
        )];
    }
    reviews::ALL
        .iter()
        .filter(|r| r.group == group)
        .map(|r| (r.plural, r.kind, vec![], vec!["create"]))
        .collect()
}

/// `/api`
pub(super) fn core_versions(request: &Request) -> Response {
    if let Some(answer) = aggregated(request, true) {
        return answer;
    }
    Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
        .into_response()
}

fn group_value(group: &str, versions: Vec<&'static str>) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// `/apis`
pub(super) fn groups(request: &Request) -> Response {
    if let Some(answer) = aggregated(request, false) {
        return answer;
    }
    let groups: Vec<Value> = groups_of()
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| group_value(name, by_preference(versions.keys().copied())))
        .collect();
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})).into_response()
}

/// `/apis/{group}`
pub(super) fn group(name: &str) -> Result<Response, Error> {
    let groups = groups_of();
    let versions = groups
        .get(name)
        .filter(|_| !name.is_empty())
        .ok_or_else(|| Error::not_found(format!("the box has no API group \"{name}\"")))?;
    let mut value = group_value(name, by_preference(versions.keys().copied()));
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Ok(Json(value).into_response())
}

/// `/api/v1`, `/apis/{group}/{version}`
pub(super) fn resources(group: &str, version: &str) -> Result<Response, Error> {
    let groups = groups_of();
    let name = match group {
        "" => version.to_string(),
        _ => format!("{group}/{version}"),
    };
    let kinds = groups
        .get(group)
        .and_then(|versions| versions.get(version))
        .ok_or_else(|| Error::not_found(format!("the box has no API \"{name}\"")))?;
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(json!({
            "name": kind.plural, "singularName": kind.kind.to_lowercase(), "kind": kind.kind,
            "namespaced": kind.namespaced, "shortNames": kind.short, "categories": kind.categories,
            "verbs": verbs(kind),
        }));
        for sub in subresources(kind) {
            resources.push(json!({
                "name": format!("{}/{}", kind.plural, sub.name), "singularName": "", "kind": sub.kind,
                "group": sub.group, "version": sub.version, "namespaced": kind.namespaced, "verbs": sub.verbs,
            }));
        }
    }
    for (plural, kind, short, verbs) in extra(group) {
        resources.push(json!({
            "name": plural, "singularName": kind.to_lowercase(), "kind": kind, "namespaced": false,
            "shortNames": short, "verbs": verbs,
        }));
    }
    Ok(Json(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources,
    }))
    .into_response())
}

/// The aggregated form, in the first version of it that the client accepts.
fn aggregated(request: &Request, core: bool) -> Option<Response> {
    let accept = request.headers().get(header::ACCEPT)?.to_str().ok()?;
    let version = accept.split(',').find_map(|part| {
        let words: Vec<_> = part.split(';').map(str::trim).collect();
        let wanted =
            words.contains(&"g=apidiscovery.k8s.io") && words.contains(&"as=APIGroupDiscoveryList");
        ["v2", "v2beta1"]
            .into_iter()
            .find(|v| wanted && words.contains(&format!("v={v}").as_str()))
    })?;
    let items: Vec<Value> = groups_of()
        .iter()
        .filter(|(name, _)| name.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = by_preference(versions.keys().copied())
                .into_iter()
                .map(|v| {
                    let kinds = versions.get(v).map(Vec::as_slice).unwrap_or_default();
                    json!({"version": v, "freshness": "Current", "resources": aggregated_resources(group, kinds)})
                })
                .collect();
            json!({"metadata": {"name": group}, "versions": versions})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    });
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    Some(
        (
            [
                (header::CONTENT_TYPE, media),
                (header::VARY, "Accept".into()),
            ],
            body.to_string(),
        )
            .into_response(),
    )
}

fn aggregated_resources(group: &str, kinds: &[&'static Kind]) -> Vec<Value> {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut out: Vec<Value> = kinds
        .iter()
        .map(|k| {
            let subs: Vec<Value> = subresources(k)
                .iter()
                .map(|s| {
                    json!({"subresource": s.name, "verbs": s.verbs,
                           "responseKind": {"group": s.group, "version": s.version, "kind": s.kind}})
                })
                .collect();
            json!({
                "resource": k.plural, "singularResource": k.kind.to_lowercase(), "scope": scope(k.namespaced),
                "responseKind": {"group": k.group, "version": k.version, "kind": k.kind},
                "shortNames": k.short, "categories": k.categories, "verbs": verbs(k), "subresources": subs,
            })
        })
        .collect();
    out.extend(extra(group).into_iter().map(|(plural, kind, short, verbs)| {
        json!({
            "resource": plural, "singularResource": kind.to_lowercase(), "scope": scope(false), "shortNames": short, "verbs": verbs,
            "responseKind": {"group": group, "version": "v1", "kind": kind},
        })
    }));
    out
}
