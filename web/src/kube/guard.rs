//! What a client may not ask for in a Pod or a template of one, though the box's own rooms may; and what it is
//! warned about.

use k8s_openapi::api::core::v1::PodSpec;
use kfbox_store::{
    Code, Error, Kind, Object,
    kinds::{
        core::{POD, check_user_pod, check_user_spec},
        pod_fields::check_fields,
        service::{self, SERVICE},
    },
};
use serde::Deserialize;
use serde_json::Value;

/// Refuses what is not a client's to ask for in a new object; returns warnings.
pub(super) fn new(kind: &'static Kind, object: &Object) -> Result<Vec<String>, Error> {
    if is_pod(kind) {
        check_user_pod(object)?;
    }
    changed(kind, object)
}

/// As [`new`], for a change of an object: a Pod's spec is the box's own by then, and does not change.
pub(super) fn changed(kind: &'static Kind, object: &Object) -> Result<Vec<String>, Error> {
    let mut warnings = match kind.resource() == SERVICE.resource() {
        true => service::warnings(object),
        false => Vec::new(),
    };
    for (field, value) in &object.body {
        pod_specs(value, &mut field.clone(), is_pod(kind), &mut warnings)?;
    }
    Ok(warnings)
}

/// What does not change once it is there: a Pod's spec, for what runs cannot be changed under way, and the fields that
/// a kind names.
pub(super) fn same(kind: &'static Kind, before: &Object, after: &Object) -> Result<(), Error> {
    let unprocessable = |message: String| Err(Error::new(Code::Unprocessable, message));
    if is_pod(kind) && before.body.get("spec") != after.body.get("spec") {
        return unprocessable(
            "spec: a Pod's spec cannot be changed: delete the Pod and make another".into(),
        );
    }
    if kind.fixed.is_empty() {
        return Ok(());
    }
    // A default that was filled in and is not sent again is no change.
    let mut after = after.clone();
    (kind.prepare)(&mut after)?;
    for (pointer, why) in kind.fixed {
        let (old, new) = (field(before, pointer), field(&after, pointer));
        if old != new {
            let new = new.unwrap_or(&Value::Null);
            let path = pointer.trim_start_matches('/').replace('/', ".");
            return unprocessable(format!("{path}: Invalid value: {new}: {why}"));
        }
    }
    Ok(())
}

/// A field by its JSON pointer; an empty one counts as none.
fn field<'a>(object: &'a Object, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = pointer.trim_start_matches('/').split_once('/')?;
    let value = object.body.get(first)?.pointer(&format!("/{rest}"))?;
    (!value.is_null() && value != "").then_some(value)
}

fn is_pod(kind: &'static Kind) -> bool {
    kind.resource() == POD.resource()
}

/// Whatever has containers is a PodSpec, wherever a kind keeps it.
fn pod_specs(
    value: &Value,
    path: &mut String,
    pod: bool,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let length = path.len();
    match value {
        Value::Object(map) => {
            if map.get("containers").is_some_and(Value::is_array) {
                // What does not fit the type at all is refused by the kind's own rules.
                if let (false, Ok(spec)) = (pod, PodSpec::deserialize(value)) {
                    check_user_spec(&spec, path)?;
                }
                warnings.extend(check_fields(value, path).unwrap_or_default());
                return Ok(());
            }
            for (field, inner) in map {
                path.push('.');
                path.push_str(field);
                pod_specs(inner, path, pod, warnings)?;
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            for (i, inner) in list.iter().enumerate() {
                path.push_str(&format!("[{i}]"));
                pod_specs(inner, path, pod, warnings)?;
                path.truncate(length);
            }
        }
        _ => {}
    }
    Ok(())
}
