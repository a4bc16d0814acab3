//! OpenAPI v3 from the kinds' own schemas: what `kubectl apply` and `kubectl explain` read. Made when asked for, and
//! not kept: the daemon stays small.

use std::collections::BTreeSet;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use kfbox_store::{Error, Kind};
use serde_json::{Map, Value, json};

/// The group of CustomResourceDefinitions.
pub(super) const CRD_GROUP: &str = "apiextensions.k8s.io";

fn path_of(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        _ => format!("apis/{group}/{version}"),
    }
}

/// `/openapi/v3`
pub(crate) fn index(build: &str) -> Response {
    let mut paths = Map::new();
    for kind in Kind::all() {
        let path = path_of(kind.group, kind.version);
        // The hash names this build: clients keep a document as long as it is the same.
        let url = format!("/openapi/v3/{path}?hash={build}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    Json(json!({"paths": paths})).into_response()
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/{group}/{version}`
pub(crate) fn document(path: &str) -> Result<Response, Error> {
    let kinds: Vec<_> = Kind::all()
        .filter(|k| path_of(k.group, k.version) == path)
        .collect();
    if kinds.is_empty() {
        return Err(Error::not_found(format!("the box has no API at {path}")));
    }
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in &kinds {
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let operation = |verb: &str| {
            json!({
                "operationId": format!("{verb}{}", kind.kind), "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": gvk, "x-kubernetes-action": verb,
                "parameters": [
                    {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}},
                    {"name": "dryRun", "in": "query", "schema": {"type": "string"}},
                ],
            })
        };
        let scope = if kind.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let at = format!("/{path}{scope}/{}", kind.plural);
        paths.insert(
            at.clone(),
            json!({"get": operation("list"), "post": operation("post")}),
        );
        paths.insert(
            format!("{at}/{{name}}"),
            json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch"),
                   "delete": operation("delete")}),
        );
        let mut schema = match kind.schema {
            Some(make) => make().to_value(),
            None => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        };
        definitions(&mut schema, &mut schemas);
        schema["x-kubernetes-group-version-kind"] = json!([gvk]);
        if let Some(map) = schema.as_object_mut() {
            map.remove("$schema");
        }
        schemas.insert(name_of(kind), schema);
    }
    // What the kinds refer to may be a kind of its own: named once.
    let known: BTreeSet<String> = schemas.keys().cloned().collect();
    for schema in schemas.values_mut() {
        rewrite(schema, &known);
    }
    Ok(Json(json!({
        "openapi": "3.0.0", "info": {"title": "kfbox", "version": "v1"},
        "paths": paths, "components": {"schemas": schemas},
    }))
    .into_response())
}

fn name_of(kind: &Kind) -> String {
    let group = if kind.group.is_empty() {
        "core"
    } else {
        kind.group
    };
    format!("{group}.{}.{}", kind.version, kind.kind)
}

/// Moves a schema's definitions to the components.
fn definitions(schema: &mut Value, all: &mut Map<String, Value>) {
    let found = schema
        .as_object_mut()
        .and_then(|map| map.remove("$defs").or_else(|| map.remove("definitions")));
    if let Some(Value::Object(found)) = found {
        for (name, inner) in found {
            all.entry(name).or_insert(inner);
        }
    }
}

/// References become OpenAPI's; what OpenAPI 3.0 cannot say (`null` types, booleans as schemas) is said its way.
fn rewrite(value: &mut Value, known: &BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.rsplit('/').next()
                && known.contains(name)
            {
                *target = format!("#/components/schemas/{name}");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = map.get("anyOf") {
                let real: Vec<_> = options
                    .iter()
                    .filter(|o| o["type"] != "null")
                    .cloned()
                    .collect();
                if let [only] = real.as_slice() {
                    map.remove("anyOf");
                    map.insert("allOf".into(), json!([only]));
                }
            }
            for inner in map.values_mut() {
                rewrite(inner, known);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| rewrite(v, known)),
        _ => {}
    }
}

fn crd(kind: &Kind) -> Value {
    let name = kind.resource();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "creationTimestamp": "1970-01-01T00:00:00Z", "uid": name},
        "spec": {
            "group": kind.group, "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "names": {"kind": kind.kind, "listKind": format!("{}List", kind.kind), "plural": kind.plural,
                      "singular": kind.kind.to_lowercase(), "shortNames": kind.short, "categories": kind.categories},
            "versions": [{"name": kind.version, "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
        "status": {
            "acceptedNames": {"kind": kind.kind, "plural": kind.plural}, "storedVersions": [kind.version],
            "conditions": [{"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
                           {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"}],
        },
    })
}

/// `/apis/apiextensions.k8s.io/v1/customresourcedefinitions[/name]`: the kinds that Kubernetes itself does not have.
pub(super) fn definitions_of(name: Option<&str>) -> Result<Response, Error> {
    let mut kinds = Kind::all().filter(|k| !k.builtin);
    match name {
        Some(name) => {
            let kind = kinds.find(|k| k.resource() == name).ok_or_else(|| {
                Error::not_found(format!(
                    "customresourcedefinitions.{CRD_GROUP} \"{name}\" not found"
                ))
            })?;
            Ok(Json(crd(kind)).into_response())
        }
        None => {
            let items: Vec<Value> = kinds.map(crd).collect();
            Ok(Json(json!({
                "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
                "metadata": {"resourceVersion": "1"}, "items": items,
            }))
            .into_response())
        }
    }
}
