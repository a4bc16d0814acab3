//! KFP's filter language: a JSON object with predicates, ANDed. Operations by number or name, value names in
//! snake_case or camelCase, as protobuf's JSON mapping allows.

use kfbox_store::{Error, Kind, Result};
use serde_json::{Map, Value};

use super::index::Row;

/// What can be sorted and filtered by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Column {
    Id,
    Name,
    DisplayName,
    Description,
    Namespace,
    Parent,
    State,
    StorageState,
    CodeSource,
    Created,
    Finished,
    LastRun,
    /// A field that the API knows and that the box never fills.
    Empty,
    Tag(String),
}

/// A value in a column.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(super) enum Field<'a> {
    Time(i64),
    Text(&'a str),
}

impl Column {
    /// The column that a key names for a kind.
    pub(super) fn of(kind: &Kind, key: &str) -> Option<Self> {
        let run = kind.plural == "runs";
        let own_id = match kind.plural {
            "pipelines" => "pipeline_id",
            "pipelineversions" => "pipeline_version_id",
            "experiments" => "experiment_id",
            _ => "run_id",
        };
        Some(match (key, kind.plural) {
            ("id", _) => Self::Id,
            (key, _) if key == own_id => Self::Id,
            ("name", _) => Self::Name,
            ("display_name", _) => Self::DisplayName,
            ("description", _) => Self::Description,
            ("created_at", _) => Self::Created,
            ("namespace", plural) if plural != "pipelineversions" => Self::Namespace,
            ("pipeline_id", "pipelineversions") | ("experiment_id", "runs") => Self::Parent,
            ("code_source_url", "pipelineversions") => Self::CodeSource,
            ("status", "pipelines" | "pipelineversions") => Self::Empty,
            ("storage_state", "experiments" | "runs") => Self::StorageState,
            ("last_run_created_at", "experiments") => Self::LastRun,
            ("scheduled_at", _) if run => Self::Created,
            ("finished_at", _) if run => Self::Finished,
            ("state" | "status", _) if run => Self::State,
            ("recurring_run_id", _) if run => Self::Empty,
            _ => return None,
        })
    }

    pub(super) fn field<'a>(&self, row: &'a Row) -> Field<'a> {
        Field::Text(match self {
            Self::Created => return Field::Time(row.created),
            Self::Finished => return Field::Time(row.finished),
            Self::LastRun => return Field::Time(row.last_run),
            Self::Id => &row.id,
            Self::Name => &row.name,
            Self::DisplayName => &row.display_name,
            Self::Description => &row.description,
            Self::Namespace => &row.namespace,
            Self::Parent => &row.parent,
            Self::State => row.state,
            Self::StorageState => row.storage_state,
            Self::CodeSource => &row.code_source_url,
            Self::Empty => "",
            Self::Tag(key) => row.tags.get(key).map(String::as_str).unwrap_or_default(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Equals,
    NotEquals,
    Greater,
    GreaterEquals,
    Less,
    LessEquals,
    In,
    Substring,
}

impl Operation {
    fn of(value: &Value) -> Option<Self> {
        let number = value
            .as_u64()
            .or_else(|| value.as_str().and_then(|s| s.parse().ok()));
        Some(match (number, value.as_str().unwrap_or_default()) {
            (Some(1), _) | (_, "EQUALS") => Self::Equals,
            (Some(2), _) | (_, "NOT_EQUALS") => Self::NotEquals,
            (Some(3), _) | (_, "GREATER_THAN") => Self::Greater,
            (Some(5), _) | (_, "GREATER_THAN_EQUALS") => Self::GreaterEquals,
            (Some(6), _) | (_, "LESS_THAN") => Self::Less,
            (Some(7), _) | (_, "LESS_THAN_EQUALS") => Self::LessEquals,
            (Some(8), _) | (_, "IN") => Self::In,
            (Some(9), _) | (_, "IS_SUBSTRING") => Self::Substring,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Text(String),
    /// Microseconds; the API's times have whole seconds.
    Time(i64),
    Texts(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
struct Predicate {
    column: Column,
    operation: Operation,
    operand: Operand,
}

/// A parsed filter. The default lets everything through.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter(Vec<Predicate>);

fn bad(message: impl std::fmt::Display) -> Error {
    Error::invalid(format!("filter: {message}"))
}

impl Filter {
    /// Parses the `filter` query parameter; "" is no filter.
    pub(super) fn parse(kind: &Kind, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|e| bad(format_args!("must be JSON with \"predicates\": {e}")))?;
        let Value::Object(mut filter) = value else {
            return Err(bad("must be a JSON object with \"predicates\""));
        };
        let predicates = match filter.remove("predicates") {
            None => Vec::new(),
            Some(Value::Array(predicates)) => predicates,
            Some(_) => return Err(bad("predicates: must be a list")),
        };
        if let Some(key) = filter.keys().next() {
            return Err(bad(format_args!("unknown field \"{key}\"")));
        }
        let parsed = predicates.into_iter().map(|p| predicate(kind, p));
        parsed.collect::<Result<_>>().map(Self)
    }

    pub(super) fn matches(&self, row: &Row) -> bool {
        self.0.iter().all(|p| p.matches(row))
    }
}

fn predicate(kind: &Kind, value: Value) -> Result<Predicate> {
    let Value::Object(mut fields) = value else {
        return Err(bad("each predicate must be an object"));
    };
    let key = match fields.remove("key") {
        Some(Value::String(key)) => key,
        _ => return Err(bad("a predicate needs a \"key\"")),
    };
    let name = fields.remove("operation").unwrap_or_default();
    let operation = Operation::of(&name).ok_or_else(|| {
        bad(format_args!(
            "operation {name} of key \"{key}\": must be EQUALS, NOT_EQUALS, GREATER_THAN, GREATER_THAN_EQUALS, LESS_THAN, LESS_THAN_EQUALS, IN or IS_SUBSTRING"
        ))
    })?;
    let column = match key.strip_prefix("tags.") {
        Some(tag) if matches!(kind.plural, "pipelines" | "pipelineversions") => {
            if operation != Operation::Equals {
                return Err(bad(format_args!(
                    "{key}: tags can only be compared with EQUALS"
                )));
            }
            Column::Tag(tag.into())
        }
        _ => Column::of(kind, &key)
            .ok_or_else(|| bad(format_args!("{} have no key \"{key}\"", kind.plural)))?,
    };
    let operand = operand(&key, fields)?;
    let is_time = matches!(column, Column::Created | Column::Finished | Column::LastRun);
    let fits = match (&operand, operation) {
        (Operand::Texts(_), operation) => operation == Operation::In && !is_time,
        (_, Operation::In) => false,
        (Operand::Time(_), Operation::Substring) => false,
        (Operand::Time(_), _) => is_time,
        (Operand::Text(_), _) => !is_time,
    };
    if !fits {
        let wanted = match (operation, is_time) {
            (Operation::In, _) => "string_values for IN",
            (_, true) => "a timestamp_value (RFC 3339)",
            _ => "a string_value",
        };
        return Err(bad(format_args!(
            "key \"{key}\" needs {wanted} with this operation"
        )));
    }
    Ok(Predicate {
        column,
        operation,
        operand,
    })
}

fn operand(key: &str, fields: Map<String, Value>) -> Result<Operand> {
    let mut fields = fields.into_iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else {
        return Err(bad(format_args!(
            "key \"{key}\": exactly one value is needed"
        )));
    };
    let text = |v: &Value| match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    let parsed = match name.as_str() {
        "string_value" | "stringValue" | "int_value" | "intValue" | "long_value" | "longValue" => {
            text(&value).map(Operand::Text)
        }
        "timestamp_value" | "timestampValue" => value
            .as_str()
            .and_then(|t| t.parse::<jiff::Timestamp>().ok())
            .map(|t| Operand::Time(t.as_microsecond())),
        "string_values" | "stringValues" | "int_values" | "intValues" | "long_values"
        | "longValues" => value
            .get("values")
            .and_then(Value::as_array)
            .and_then(|values| values.iter().map(text).collect())
            .map(Operand::Texts),
        _ => return Err(bad(format_args!("key \"{key}\": unknown field \"{name}\""))),
    };
    parsed.ok_or_else(|| {
        bad(format_args!(
            "key \"{key}\": {name} has the wrong form: {value}"
        ))
    })
}

impl Predicate {
    fn matches(&self, row: &Row) -> bool {
        use std::cmp::Ordering::{Greater, Less};
        let field = self.column.field(row);
        let order = match (&field, &self.operand) {
            (Field::Time(a), Operand::Time(b)) => {
                (a.div_euclid(1_000_000)).cmp(&b.div_euclid(1_000_000))
            }
            (Field::Text(a), Operand::Text(b)) if self.operation == Operation::Substring => {
                return a.to_lowercase().contains(&b.to_lowercase());
            }
            (Field::Text(a), Operand::Text(b)) => (*a).cmp(b.as_str()),
            (Field::Text(a), Operand::Texts(all)) => return all.iter().any(|b| a == b),
            _ => return false,
        };
        match self.operation {
            Operation::Equals => order.is_eq(),
            Operation::NotEquals => order.is_ne(),
            Operation::Greater => order == Greater,
            Operation::GreaterEquals => order != Less,
            Operation::Less => order == Less,
            Operation::LessEquals => order != Greater,
            Operation::In | Operation::Substring => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kfbox_store::kinds::pipeline::{PIPELINE, RUN};

    #[test]
    fn every_operation_and_spelling() {
        let row = Row {
            id: "r1".into(),
            name: "Train".into(),
            display_name: "Train".into(),
            state: "RUNNING",
            storage_state: "AVAILABLE",
            created: 1_700_000_000_500_000,
            ..Row::default()
        };
        for (predicate, wanted) in [
            (
                r#"{"operation":1,"key":"name","stringValue":"Train"}"#,
                true,
            ),
            (
                r#"{"operation":"EQUALS","key":"display_name","string_value":"x"}"#,
                false,
            ),
            (
                r#"{"operation":"NOT_EQUALS","key":"storage_state","string_value":"ARCHIVED"}"#,
                true,
            ),
            (
                r#"{"operation":2,"key":"state","string_value":"RUNNING"}"#,
                false,
            ),
            (r#"{"operation":9,"key":"name","string_value":"rai"}"#, true),
            (
                r#"{"operation":"IN","key":"run_id","string_values":{"values":["r0","r1"]}}"#,
                true,
            ),
            (
                r#"{"operation":8,"key":"id","stringValues":{"values":["r0"]}}"#,
                false,
            ),
            (
                r#"{"operation":"EQUALS","key":"created_at","timestamp_value":"2023-11-14T22:13:20Z"}"#,
                true,
            ),
            (
                r#"{"operation":3,"key":"created_at","timestampValue":"2023-11-14T22:13:20Z"}"#,
                false,
            ),
            (
                r#"{"operation":5,"key":"created_at","timestampValue":"2023-11-14T22:13:20Z"}"#,
                true,
            ),
            (
                r#"{"operation":6,"key":"created_at","timestampValue":"2023-11-14T22:13:21Z"}"#,
                true,
            ),
            (
                r#"{"operation":7,"key":"finished_at","timestampValue":"1970-01-01T00:00:00Z"}"#,
                true,
            ),
            (r#"{"operation":3,"key":"name","string_value":"Ta"}"#, true),
        ] {
            let text = format!(r#"{{"predicates":[{predicate}]}}"#);
            let filter = Filter::parse(&RUN, &text).unwrap();
            assert_eq!(filter.matches(&row), wanted, "{predicate}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("x", "JSON"),
            ("[]", "object"),
            (r#"{"predicate":[]}"#, "predicate"),
            (
                r#"{"predicates":[{"operation":1,"key":"colour","string_value":"x"}]}"#,
                "colour",
            ),
            (
                r#"{"predicates":[{"operation":4,"key":"name","string_value":"x"}]}"#,
                "operation 4",
            ),
            (
                r#"{"predicates":[{"key":"name","string_value":"x"}]}"#,
                "operation",
            ),
            (
                r#"{"predicates":[{"operation":1,"key":"name"}]}"#,
                "exactly one value",
            ),
            (
                r#"{"predicates":[{"operation":1,"key":"name","value":"x"}]}"#,
                "value",
            ),
            (
                r#"{"predicates":[{"operation":1,"key":"created_at","string_value":"x"}]}"#,
                "timestamp_value",
            ),
            (
                r#"{"predicates":[{"operation":8,"key":"name","string_value":"x"}]}"#,
                "string_values",
            ),
            (
                r#"{"predicates":[{"operation":9,"key":"tags.team","string_value":"x"}]}"#,
                "EQUALS",
            ),
        ] {
            let error = Filter::parse(&PIPELINE, text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }
}
