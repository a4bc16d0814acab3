//! Server-side apply: what a manager applies is merged in; what it applied before and leaves out now is taken away;
//! what another manager applied with another value is a conflict, unless forced.
//!
//! Who applied what is kept where Kubernetes keeps it, in `metadata.managedFields`, one entry per manager. Fields that
//! were written in other ways have no manager here and never conflict.

use std::collections::BTreeSet;

use kfbox_store::{Code, Error, Kind, now};
use serde_json::{Map, Value, json};

use super::lists::merge_key;

/// A path into an object: field names, and keys of list items as `[key=value]`.
type Path = Vec<String>;

pub(super) fn apply(
    kind: &'static Kind,
    current: Option<Value>,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, Error> {
    let mut config = config.clone();
    if let Some(meta) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        if meta.contains_key("managedFields") {
            return Err(Error::invalid(
                "metadata.managedFields: must be left out of what is applied",
            ));
        }
        meta.retain(|_, v| !v.is_null());
    }
    let mut object = current.unwrap_or_else(|| json!({}));
    let mut entries = managed(&mut object);
    let mut mine = BTreeSet::new();
    leaves(kind, &config, "", &mut Vec::new(), &mut mine);
    for entry in &mut entries {
        if entry.manager == manager {
            continue;
        }
        let taken: Vec<Path> = entry
            .paths
            .iter()
            .filter(|p| mine.contains(*p) && at(&object, p) != at(&config, p))
            .cloned()
            .collect();
        if !taken.is_empty() && !force {
            let fields: Vec<_> = taken.iter().map(|p| format!(".{}", p.join("."))).collect();
            return Err(Error::new(
                Code::Conflict,
                format!(
                    "Apply failed with {} conflict: conflicts with \"{}\": {}: force the apply to take the fields over",
                    taken.len(),
                    entry.manager,
                    fields.join(", ")
                ),
            ));
        }
        entry.paths.retain(|p| !taken.contains(p));
    }
    let before = entries
        .iter()
        .position(|e| e.manager == manager)
        .map(|i| entries.remove(i).paths)
        .unwrap_or_default();
    for gone in before.difference(&mine) {
        if !entries.iter().any(|e| e.paths.contains(gone)) {
            remove(&mut object, gone);
        }
    }
    merge(kind, &mut object, &config, "");
    entries.push(Entry {
        manager: manager.into(),
        paths: mine,
    });
    entries.retain(|e| !e.paths.is_empty());
    let fields: Vec<Value> = entries
        .iter()
        .map(|e| {
            json!({"manager": e.manager, "operation": "Apply", "apiVersion": kind.api_version(), "time": now(),
                   "fieldsType": "FieldsV1", "fieldsV1": encode(&e.paths)})
        })
        .collect();
    object["metadata"]["managedFields"] = Value::Array(fields);
    Ok(object)
}

struct Entry {
    manager: String,
    paths: BTreeSet<Path>,
}

/// Takes the managers' entries out of an object.
fn managed(object: &mut Value) -> Vec<Entry> {
    let fields = object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|m| m.remove("managedFields"));
    let Some(Value::Array(fields)) = fields else {
        return Vec::new();
    };
    fields
        .iter()
        .filter(|f| f["operation"] == "Apply")
        .map(|f| {
            let mut paths = BTreeSet::new();
            decode(&f["fieldsV1"], &mut Vec::new(), &mut paths);
            Entry {
                manager: f["manager"].as_str().unwrap_or_default().into(),
                paths,
            }
        })
        .collect()
}

/// How the items of a list are told apart; only Kubernetes' own kinds say so.
fn key_of(kind: &'static Kind, parent: &str, field: &str) -> Option<&'static str> {
    kind.builtin.then(|| merge_key(parent, field)).flatten()
}

fn item(key: &str, value: &Value) -> Option<String> {
    value.get(key).map(|v| format!("[{key}={v}]"))
}

/// Every field that a configuration sets, but those that say which object it is.
fn leaves(
    kind: &'static Kind,
    value: &Value,
    parent: &str,
    path: &mut Path,
    out: &mut BTreeSet<Path>,
) {
    let identity = |path: &Path| {
        matches!(
            path.iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .as_slice(),
            ["apiVersion" | "kind"]
                | ["metadata", "name" | "namespace" | "resourceVersion" | "uid"]
        )
    };
    let name = path.last().cloned().unwrap_or_default();
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, inner) in map {
                path.push(key.clone());
                leaves(kind, inner, &name, path, out);
                path.pop();
            }
        }
        Value::Array(list) => match key_of(kind, parent, &name) {
            Some(key) if list.iter().all(|v| item(key, v).is_some()) => {
                for inner in list {
                    path.push(item(key, inner).unwrap_or_default());
                    leaves(kind, inner, &name, path, out);
                    path.pop();
                }
            }
            _ => {
                out.insert(path.clone());
            }
        },
        _ if identity(path) || path.is_empty() => {}
        _ => {
            out.insert(path.clone());
        }
    }
}

fn merge(kind: &'static Kind, target: &mut Value, config: &Value, parent: &str) {
    let Value::Object(config) = config else {
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else {
        return;
    };
    for (field, value) in config {
        let slot = target.entry(field.clone()).or_insert(Value::Null);
        match value {
            Value::Null => {
                target.remove(field);
            }
            Value::Object(_) => merge(kind, slot, value, field),
            Value::Array(items) => match key_of(kind, parent, field) {
                Some(key) if items.iter().all(|v| v.get(key).is_some()) => {
                    let mut list = slot.as_array().cloned().unwrap_or_default();
                    for new in items {
                        match list.iter_mut().find(|old| old.get(key) == new.get(key)) {
                            Some(old) => merge(kind, old, new, field),
                            None => list.push(new.clone()),
                        }
                    }
                    *slot = Value::Array(list);
                }
                _ => *slot = value.clone(),
            },
            plain => *slot = plain.clone(),
        }
    }
}

fn step<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(step),
        Value::Array(list) => list.iter().find(|v| is_item(v, step)),
        _ => None,
    }
}

fn is_item(value: &Value, step: &str) -> bool {
    step.strip_prefix('[')
        .and_then(|s| s.split_once('='))
        .is_some_and(|(key, _)| item(key, value).as_deref() == Some(step))
}

fn at<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(value, |v, s| step(v, s))
}

/// Takes a field away, and what it leaves empty above it: a list item of which only the key is left goes as well.
fn remove(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match value {
        Value::Object(map) => {
            if rest.is_empty() {
                map.remove(first);
            } else if let Some(inner) = map.get_mut(first) {
                remove(inner, rest);
                let empty = inner.as_object().is_some_and(Map::is_empty)
                    || inner.as_array().is_some_and(Vec::is_empty);
                if empty {
                    map.remove(first);
                }
            }
        }
        Value::Array(list) => {
            if let Some(at) = list.iter().position(|v| is_item(v, first)) {
                remove(&mut list[at], rest);
                let bare = list[at].as_object().is_some_and(|m| m.len() <= 1);
                if bare {
                    list.remove(at);
                }
            }
        }
        _ => {}
    }
}

/// Kubernetes' FieldsV1: `f:name` for fields, `k:{"key":value}` for list items.
fn encode(paths: &BTreeSet<Path>) -> Value {
    let mut root = json!({});
    for path in paths {
        let mut node = &mut root;
        for part in path {
            let name = match part.strip_prefix('[').and_then(|p| p.strip_suffix(']')) {
                Some(inner) => {
                    let (key, value) = inner.split_once('=').unwrap_or((inner, "null"));
                    format!("k:{{\"{key}\":{value}}}")
                }
                None => format!("f:{part}"),
            };
            node = &mut node[name];
        }
        if node.is_null() {
            *node = json!({});
        }
    }
    root
}

fn decode(fields: &Value, path: &mut Path, out: &mut BTreeSet<Path>) {
    let Some(map) = fields.as_object().filter(|m| !m.is_empty()) else {
        if !path.is_empty() {
            out.insert(path.clone());
        }
        return;
    };
    for (name, inner) in map {
        let part = if let Some(field) = name.strip_prefix("f:") {
            field.to_string()
        } else if let Some(key) = name.strip_prefix("k:") {
            let parsed: Value = serde_json::from_str(key).unwrap_or_default();
            match parsed.as_object().and_then(|m| m.iter().next()) {
                Some((key, value)) => format!("[{key}={value}]"),
                None => continue,
            }
        } else {
            continue;
        };
        path.push(part);
        decode(inner, path, out);
        path.pop();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kfbox_store::kinds::core::POD;

    fn config(env: &[(&str, &str)], label: Option<&str>) -> Value {
        let env: Vec<_> = env
            .iter()
            .map(|(n, v)| json!({"name": n, "value": v}))
            .collect();
        let mut out = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}});
        if let Some(label) = label {
            out["metadata"]["labels"] = json!({"a": label});
        }
        out
    }

    #[test]
    fn what_is_left_out_goes_and_what_others_own_stays() {
        let one = apply(
            &POD,
            None,
            &config(&[("X", "1"), ("Y", "1")], Some("l")),
            "ann",
            false,
        )
        .unwrap();
        let two = apply(
            &POD,
            Some(one),
            &json!({"metadata": {"labels": {"b": "bob"}}}),
            "bob",
            false,
        )
        .unwrap();
        let three = apply(&POD, Some(two), &config(&[("X", "2")], None), "ann", false).unwrap();
        assert_eq!(three["metadata"]["labels"], json!({"b": "bob"}));
        assert_eq!(
            three["spec"]["containers"],
            json!([{"name": "c", "image": "i", "env": [{"name": "X", "value": "2"}]}])
        );
        let taken = json!({"metadata": {"labels": {"b": "ann"}}});
        let refused = apply(&POD, Some(three.clone()), &taken, "ann", false).unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
        assert!(refused.message.contains("bob"), "{refused}");
        let forced = apply(&POD, Some(three), &taken, "ann", true).unwrap();
        assert_eq!(forced["metadata"]["labels"]["b"], "ann");
        assert_eq!(
            forced["metadata"]["managedFields"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}
