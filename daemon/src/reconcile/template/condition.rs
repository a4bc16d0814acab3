//! Conditions, times and counts of a status, as Kubernetes writes them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A time, as Kubernetes writes it.
pub fn text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time in a field.
pub fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// The condition of this type.
pub fn find_condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status.get("conditions")?.as_array()?;
    conditions.iter().find(|c| c["type"] == kind)
}

/// Whether the condition of this type is true.
pub fn holds(status: &Map<String, Value>, kind: &str) -> bool {
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == kind && c["status"] == "True")
}

/// A condition of an owner.
pub struct Condition<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Whether it is so.
    pub is: bool,
    /// One word.
    pub reason: &'a str,
    /// A sentence.
    pub message: &'a str,
    /// The second time that some kinds keep: `lastProbeTime`, `lastUpdateTime`.
    pub touched: Option<&'a str>,
}

/// Sets a condition; its time moves when its status does.
pub fn set_condition(status: &mut Map<String, Value>, condition: &Condition<'_>, now: Timestamp) {
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else {
        return;
    };
    let is = if condition.is { "True" } else { "False" };
    let mut new = json!({
        "type": condition.kind, "status": is, "reason": condition.reason,
        "message": condition.message, "lastTransitionTime": text(now),
    });
    if let Some(field) = condition.touched {
        new[field] = json!(text(now));
    }
    match list.iter_mut().find(|c| c["type"] == condition.kind) {
        None => list.push(new),
        Some(old) => {
            if old["status"] == is {
                new["lastTransitionTime"] = old["lastTransitionTime"].clone();
                let same = old["reason"] == condition.reason && old["message"] == condition.message;
                if let (true, Some(field)) = (same, condition.touched) {
                    new[field] = old[field].clone();
                }
            }
            *old = new;
        }
    }
}

/// Sets a number that is left out when it is 0, as Kubernetes does.
pub fn set_count(status: &mut Map<String, Value>, field: &str, count: usize) {
    if count == 0 {
        status.remove(field);
    } else {
        status.insert(field.into(), json!(count));
    }
}
