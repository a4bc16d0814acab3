//! Which groups, versions and resources there are: the plain form, from the kind registry.

use std::collections::BTreeSet;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use kfbox_store::{Error, Kind};
use serde_json::{Value, json};

use super::is_token;

/// `/api`
pub(super) fn core_versions() -> Response {
    Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
        .into_response()
}

fn group_value(group: &str) -> Option<Value> {
    let versions: BTreeSet<&str> = Kind::all()
        .filter(|k| k.group == group && !group.is_empty())
        .map(|k| k.version)
        .collect();
    let versions: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v}))
        .collect();
    let preferred = versions.last()?.clone();
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

/// `/apis`
pub(super) fn groups() -> Response {
    let names: BTreeSet<&str> = Kind::all().map(|k| k.group).collect();
    let groups: Vec<Value> = names.into_iter().filter_map(group_value).collect();
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})).into_response()
}

/// `/apis/{group}`
pub(super) fn group(name: &str) -> Result<Response, Error> {
    let mut value = group_value(name)
        .ok_or_else(|| Error::not_found(format!("the box has no API group \"{name}\"")))?;
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Ok(Json(value).into_response())
}

/// `/api/v1`, `/apis/{group}/{version}`
pub(super) fn resources(group: &str, version: &str) -> Result<Response, Error> {
    let mut resources = Vec::new();
    for kind in Kind::all().filter(|k| k.group == group && k.version == version) {
        let mut verbs = vec!["get", "list", "watch"];
        if is_token(kind) {
            verbs.extend(["create", "delete"]);
        }
        resources.push(json!({
            "name": kind.plural, "singularName": kind.kind.to_lowercase(), "kind": kind.kind,
            "namespaced": kind.namespaced, "shortNames": kind.short, "verbs": verbs,
        }));
        if kind.plural == "pods" && group.is_empty() {
            resources.push(json!({
                "name": "pods/log", "singularName": "", "kind": "Pod", "namespaced": true, "verbs": ["get"],
            }));
        }
    }
    let name = if group.is_empty() {
        version.to_string()
    } else {
        format!("{group}/{version}")
    };
    if resources.is_empty() {
        return Err(Error::not_found(format!("the box has no API \"{name}\"")));
    }
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources,
    });
    Ok(Json(list).into_response())
}
