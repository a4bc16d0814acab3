//! Strategic merge patch: a merge patch that knows which lists merge by key, with Kubernetes' directives `$patch`,
//! `$setElementOrder/...`, `$deleteFromPrimitiveList/...` and `$retainKeys`.

use kfbox_store::Error;
use serde_json::{Map, Value};

use super::lists::{is_set, merge_key};

const PATCH: &str = "$patch";
const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const RETAIN: &str = "$retainKeys";

/// Merges a patch into an object.
///
/// # Errors
/// `Invalid` naming a directive that makes no sense.
pub(super) fn merge(target: &mut Value, patch: &Value) -> Result<(), Error> {
    let Value::Object(patch) = patch else {
        return Err(Error::invalid("a strategic merge patch must be an object"));
    };
    merge_object(as_object(target), patch, "")
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

fn directive(map: &Map<String, Value>) -> Result<Option<&str>, Error> {
    match map.get(PATCH) {
        None => Ok(None),
        Some(Value::String(word)) if matches!(word.as_str(), "merge" | "replace" | "delete") => {
            Ok(Some(word))
        }
        Some(other) => Err(Error::invalid(format!(
            "$patch: {other} must be \"merge\", \"replace\" or \"delete\""
        ))),
    }
}

fn merge_object(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    name: &str,
) -> Result<(), Error> {
    match directive(patch)? {
        Some("replace") => {
            *target = patch.clone();
            target.remove(PATCH);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        _ => {}
    }
    if let Some(Value::Array(retain)) = patch.get(RETAIN) {
        target.retain(|key, _| retain.iter().any(|r| r.as_str() == Some(key)));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM) {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (target.get_mut(field), value) {
                list.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            continue;
        } else if value.is_null() {
            target.remove(key);
        } else {
            let order = patch.get(&format!("{ORDER}{key}"));
            let slot = target.entry(key.clone()).or_insert(Value::Null);
            match value {
                Value::Object(inner) => {
                    if directive(inner)? == Some("delete") {
                        target.remove(key);
                    } else {
                        merge_object(as_object(slot), inner, key)?;
                    }
                }
                Value::Array(items) => merge_list(slot, items, order, name, key)?,
                plain => *slot = plain.clone(),
            }
        }
    }
    for (key, order) in patch {
        // An order without items of its own: the list is only sorted.
        if let Some(field) = key.strip_prefix(ORDER)
            && !patch.contains_key(field)
            && let Some(Value::Array(list)) = target.get_mut(field)
        {
            sort(list, order, merge_key(name, field));
        }
    }
    Ok(())
}

fn merge_list(
    slot: &mut Value,
    items: &[Value],
    order: Option<&Value>,
    parent: &str,
    field: &str,
) -> Result<(), Error> {
    let replace = items
        .iter()
        .any(|i| i.get(PATCH).and_then(Value::as_str) == Some("replace"));
    let plain: Vec<Value> = items
        .iter()
        .filter(|i| i.get(PATCH).is_none())
        .cloned()
        .collect();
    if replace {
        *slot = Value::Array(plain);
        return Ok(());
    }
    if is_set(field) {
        let mut list = slot.as_array().cloned().unwrap_or_default();
        for item in plain {
            if !list.contains(&item) {
                list.push(item);
            }
        }
        *slot = Value::Array(list);
        return Ok(());
    }
    let Some(key) = merge_key(parent, field) else {
        *slot = Value::Array(items.to_vec());
        return Ok(());
    };
    let mut list = slot.as_array().cloned().unwrap_or_default();
    for item in items {
        let Value::Object(item) = item else {
            return Err(Error::invalid(format!(
                "{field}: each item must be an object"
            )));
        };
        let id = item.get(key).ok_or_else(|| {
            Error::invalid(format!(
                "{field}: each item of the patch needs its merge key \"{key}\""
            ))
        })?;
        let at = list.iter().position(|old| old.get(key) == Some(id));
        match (at, directive(item)?) {
            (Some(at), Some("delete")) => {
                list.remove(at);
            }
            (None, Some("delete")) => {}
            (Some(at), _) => merge_object(as_object(&mut list[at]), item, field)?,
            (None, _) => {
                let mut new = Map::new();
                merge_object(&mut new, item, field)?;
                list.push(Value::Object(new));
            }
        }
    }
    if let Some(order) = order {
        sort(&mut list, order, Some(key));
    }
    *slot = Value::Array(list);
    Ok(())
}

/// Items that the order names come in its order; the others keep their places among themselves, at the end.
fn sort(list: &mut [Value], order: &Value, key: Option<&str>) {
    let Value::Array(order) = order else { return };
    list.sort_by_key(|item| {
        order
            .iter()
            .position(|o| match key {
                Some(key) => o.get(key).is_some() && o.get(key) == item.get(key),
                None => o == item,
            })
            .unwrap_or(usize::MAX)
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(target: Value, patch: Value) -> Value {
        let mut out = target;
        merge(&mut out, &patch).unwrap();
        out
    }

    #[test]
    fn lists_merge_by_their_keys() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "args": ["x"]},
            {"name": "b", "image": "2"},
        ]}});
        assert_eq!(
            merged(
                pod.clone(),
                json!({"spec": {
                    "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "a", "image": "9", "env": [{"name": "Y", "value": "2"}], "args": ["y"]}],
                }})
            ),
            json!({"spec": {"containers": [
                {"name": "b", "image": "2"},
                {"name": "a", "image": "9", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}], "args": ["y"]},
            ]}})
        );
        assert_eq!(
            merged(
                pod.clone(),
                json!({"spec": {"containers": [{"name": "b", "$patch": "delete"}]}})
            )["spec"]["containers"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            merged(
                pod,
                json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}})
            ),
            json!({"spec": {"containers": [{"name": "c"}]}})
        );
    }

    #[test]
    fn directives() {
        assert_eq!(
            merged(
                json!({"metadata": {"finalizers": ["a", "b"]}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"x": 1}}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
                       "strategy": {"$retainKeys": ["type"], "type": "Recreate"}})
            ),
            json!({"metadata": {"finalizers": ["b", "c"]}, "strategy": {"type": "Recreate"}})
        );
        assert_eq!(
            merged(
                json!({"a": {"b": 1, "c": 2}, "d": 3}),
                json!({"a": {"$patch": "replace", "e": 5}, "d": null})
            ),
            json!({"a": {"e": 5}})
        );
        let mut pod = json!({});
        assert!(merge(&mut pod, &json!({"a": {"$patch": "nonsense"}})).is_err());
        assert!(merge(&mut pod, &json!({"containers": [{"image": "x"}]})).is_err());
    }
}
