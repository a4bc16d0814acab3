//! Tables: what `kubectl get` prints, with the columns that a kind's registry entry names.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use axum::{extract::Request, http::header};
use kfbox_store::{Cell, Error, Kind, Object};
use serde_json::{Value, json};
use serde_json_path::JsonPath;

/// How objects are wanted: whole, or as a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The objects themselves.
    Objects,
    /// A table; each row carries this much of its object.
    Table(Include),
}

/// What a row carries of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    None,
    Metadata,
    Object,
}

impl Form {
    /// What the request accepts.
    pub(super) fn of(request: &Request, query: &HashMap<String, String>) -> Result<Self, Error> {
        let accept = request
            .headers()
            .get(header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let table = accept.split(',').any(|part| {
            let mut words = part.split(';').map(str::trim);
            words.next() == Some("application/json")
                && words.clone().any(|w| w == "as=Table")
                && words.clone().any(|w| w == "g=meta.k8s.io")
                && words.any(|w| w == "v=v1")
        });
        // A client that reads plain JSON first gets it.
        if !table {
            return Ok(Self::Objects);
        }
        Ok(Self::Table(
            match query.get("includeObject").map(String::as_str) {
                None | Some("Metadata") => Include::Metadata,
                Some("None") => Include::None,
                Some("Object") => Include::Object,
                Some(other) => {
                    return Err(Error::invalid(format!(
                        "includeObject: \"{other}\" must be None, Metadata or Object"
                    )));
                }
            },
        ))
    }
}

/// A table of these objects; `head` = with its column definitions, which only the first of a watch carries.
pub(super) fn table(
    kind: &'static Kind,
    objects: &[Object],
    include: Include,
    head: bool,
    metadata: Value,
) -> Value {
    let rows: Vec<Value> = objects.iter().map(|o| row(kind, o, include)).collect();
    let columns = if head { columns(kind) } else { Vec::new() };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn column(name: &str, format: &str, description: &str, wide: bool) -> Value {
    json!({"name": name, "type": "string", "format": format, "description": description, "priority": u8::from(wide)})
}

fn columns(kind: &'static Kind) -> Vec<Value> {
    let mut out = vec![column("Name", "name", "The object's name.", false)];
    let (narrow, wide): (Vec<_>, Vec<_>) = kind.columns.iter().partition(|c| !c.wide);
    out.extend(narrow.iter().map(|c| column(c.name, "", "", false)));
    out.push(column("Age", "", "Time since it was created.", false));
    out.extend(wide.iter().map(|c| column(c.name, "", "", true)));
    out
}

fn row(kind: &'static Kind, object: &Object, include: Include) -> Value {
    let value = serde_json::to_value(object).unwrap_or_default();
    let (narrow, wide): (Vec<_>, Vec<_>) = kind.columns.iter().partition(|c| !c.wide);
    let cell = |cell: &Cell| match cell {
        Cell::Path(path) => text(&value, path),
        Cell::Age(path) => age(&text(&value, path)),
        Cell::Of(f) => f(object),
    };
    let mut cells = vec![object.metadata.name.clone()];
    cells.extend(narrow.iter().map(|c| cell(&c.cell)));
    cells.push(age(object
        .metadata
        .creation_timestamp
        .as_deref()
        .unwrap_or_default()));
    cells.extend(wide.iter().map(|c| cell(&c.cell)));
    let object = match include {
        Include::None => Value::Null,
        Include::Object => value,
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"],
        }),
    };
    json!({"cells": cells, "object": object})
}

/// The first value at kubectl's JSONPath, as text; "" when there is none.
fn text(value: &Value, path: &'static str) -> String {
    type Paths = Mutex<HashMap<&'static str, Option<JsonPath>>>;
    static PARSED: OnceLock<Paths> = OnceLock::new();
    let mut parsed = PARSED
        .get_or_init(Paths::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let path = parsed
        .entry(path)
        .or_insert_with(|| JsonPath::parse(&format!("${path}")).ok());
    let found = path.as_ref().and_then(|p| p.query(value).first());
    match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(s)) => s.clone(),
        Some(Value::Array(list)) => {
            let texts = list
                .iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into));
            texts.collect::<Vec<String>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

/// How long ago, as kubectl writes it: `5s`, `3m20s`, `14m`, `5h20m`, `2d3h`, `40d`.
fn age(time: &str) -> String {
    let Ok(at) = time.parse::<jiff::Timestamp>() else {
        return if time.is_empty() {
            "<unknown>".into()
        } else {
            "<invalid>".into()
        };
    };
    let s = (jiff::Timestamp::now().as_second() - at.as_second()).max(0);
    let (m, h, d) = (s / 60, s / 3600, s / 86400);
    let two = |a: i64, x: &str, b: i64, y: &str| {
        if b == 0 {
            format!("{a}{x}")
        } else {
            format!("{a}{x}{b}{y}")
        }
    };
    match () {
        () if s < 120 => format!("{s}s"),
        () if m < 10 => two(m, "m", s % 60, "s"),
        () if m < 180 => format!("{m}m"),
        () if h < 8 => two(h, "h", m % 60, "m"),
        () if h < 48 => format!("{h}h"),
        () if d < 8 => two(d, "d", h % 24, "h"),
        () if d < 730 => format!("{d}d"),
        () => two(d / 365, "y", d % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_kubectl_writes_them() {
        let job = json!({"status": {"conditions": [{"type": "Created"}, {"type": "Ready", "status": "True"}]}});
        assert_eq!(text(&job, ".status.conditions[-1:].type"), "Ready");
        assert_eq!(
            text(&job, ".status.conditions[?(@.type=='Ready')].status"),
            "True"
        );
        assert_eq!(text(&job, ".status.nothing"), "");
    }

    #[test]
    fn ages() {
        let ago = |s: i64| {
            let at = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - s);
            age(&at.unwrap_or_default().to_string())
        };
        for (seconds, wanted) in [
            (5, "5s"),
            (119, "119s"),
            (200, "3m20s"),
            (840, "14m"),
            (19_200, "5h20m"),
            (183_600, "2d3h"),
            (3_456_000, "40d"),
        ] {
            assert_eq!(ago(seconds), wanted);
        }
        assert_eq!(age(""), "<unknown>");
    }
}
