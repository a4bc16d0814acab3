//! Which fields of an object its kind does not know, by the kind's own schema.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use kfbox_store::Kind;
use serde_json::Value;

/// A kind's JSON Schema, made once; `None` = any field.
pub(super) fn schema(kind: &'static Kind) -> Option<Arc<Value>> {
    type Cache = Mutex<HashMap<String, Arc<Value>>>;
    static MADE: OnceLock<Cache> = OnceLock::new();
    let make = kind.schema?;
    let key = format!("{}.{}", kind.version, kind.resource());
    let mut made = MADE
        .get_or_init(Cache::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Some(
        made.entry(key)
            .or_insert_with(|| Arc::new(slim(make().to_value())))
            .clone(),
    )
}

/// Without the descriptions, which are most of a schema and of no use to a check.
fn slim(mut schema: Value) -> Value {
    fn walk(value: &mut Value, properties: bool) {
        match value {
            Value::Object(map) => {
                if !properties {
                    map.retain(|k, _| k != "description" && k != "title" && k != "examples");
                }
                for (key, inner) in map.iter_mut() {
                    walk(
                        inner,
                        !properties && (key == "properties" || key == "$defs"),
                    );
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|v| walk(v, false)),
            _ => {}
        }
    }
    walk(&mut schema, false);
    schema
}

/// The paths of fields that the kind does not know, such as `spec.template.spec.containers[0].imagee`.
pub(super) fn unknown_fields(kind: &'static Kind, value: &Value) -> Vec<String> {
    let Some(schema) = schema(kind) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    walk(&schema, &schema, value, &mut String::new(), &mut found);
    found
}

fn walk(root: &Value, schema: &Value, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let Some(schema) = resolve(root, schema) else {
        return;
    };
    let length = path.len();
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties");
            for (key, inner) in map {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                match (properties.and_then(|p| p.get(key)), others) {
                    (Some(known), _) => walk(root, known, inner, path, found),
                    (None, Some(Value::Object(any))) => {
                        walk(root, &Value::Object(any.clone()), inner, path, found);
                    }
                    (None, Some(Value::Bool(true))) => {}
                    // No properties at all: a schema that says nothing of fields.
                    (None, _) if properties.is_none() => {}
                    (None, _) => found.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (i, inner) in list.iter().enumerate() {
                    path.push_str(&format!("[{i}]"));
                    walk(root, items, inner, path, found);
                    path.truncate(length);
                }
            }
        }
        _ => {}
    }
}

/// Follows `$ref` and the one alternative that is not null.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let mut at = schema;
    for _ in 0..16 {
        if let Some(target) = at.get("$ref").and_then(Value::as_str) {
            at = root.pointer(target.strip_prefix('#')?)?;
        } else if let Some(one) = ["allOf", "anyOf", "oneOf"].iter().find_map(|k| at.get(*k)) {
            let options: Vec<_> = one
                .as_array()?
                .iter()
                .filter(|o| o.get("type").and_then(Value::as_str) != Some("null"))
                .collect();
            match options.as_slice() {
                [only] => at = only,
                _ => return None,
            }
        } else {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use kfbox_store::kinds::core::POD;
    use serde_json::json;

    #[test]
    fn a_typo_is_found_where_it_is() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"any": "x"}},
            "spec": {"containers": [{"name": "c", "image": "i", "imagee": "x", "resources": {"limits": {"cpu": "1"}}}],
                     "nodeSelector": {"a": "b"}, "restartPolice": "Never"},
        });
        assert_eq!(
            unknown_fields(&POD, &pod),
            ["spec.containers[0].imagee", "spec.restartPolice"]
        );
    }
}
