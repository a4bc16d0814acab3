//! The inputs of a run: what was given, held against what the pipeline declares.

use serde_json::{Map, Number, Value};

use super::error::{IrError, hint};
use super::spec::{ParameterType, Pipeline};

/// Checks the parameters given for a run and fills in defaults.
///
/// What comes back has one entry per declared parameter: the given value, else the default, else null (an optional
/// parameter without a default). Whole numbers lose a trailing `.0`. The error names the parameter
/// (`parameters.x`): missing, unknown (with the nearest known name), of the wrong type, or not among its literals.
pub fn runtime_parameters(
    pipeline: &Pipeline,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, IrError> {
    let mut errors = Vec::new();
    let mut ready = Map::new();
    let none = Default::default();
    let declared = match &pipeline.spec.root {
        Some(root) => &root.input_definitions.parameters,
        None => &none,
    };
    for name in given.keys() {
        if !declared.contains_key(name) {
            errors.push(IrError::new(
                format!("parameters.{name}"),
                format!(
                    "the pipeline has no such parameter{}",
                    hint(name, declared.keys().map(String::as_str))
                ),
            ));
        }
    }
    for (name, spec) in declared {
        let at = format!("parameters.{name}");
        let kind = spec.kind();
        if matches!(
            kind,
            ParameterType::TaskFinalStatus | ParameterType::TaskConfig
        ) {
            errors.push(IrError::new(
                at,
                format!(
                    "{} cannot be an input of the whole pipeline, only of a task in it",
                    kind.as_str()
                ),
            ));
            continue;
        }
        // A null is "not given": the JSON form of an argument left at None.
        let value = match given.get(name).filter(|v| !v.is_null()) {
            Some(value) => value.clone(),
            None => match &spec.default_value {
                Some(default) => default.clone(),
                None if spec.is_optional => {
                    ready.insert(name.clone(), Value::Null);
                    continue;
                }
                None => {
                    errors.push(IrError::new(
                        at,
                        format!("is required: give a {} value", kind.as_str()),
                    ));
                    continue;
                }
            },
        };
        match conform(kind, value, false) {
            Ok(value) if allowed(&value, &spec.literals) => {
                ready.insert(name.clone(), value);
            }
            Ok(value) => errors.push(IrError::new(
                at,
                format!(
                    "{} is not one of the allowed values: {}",
                    brief(&value),
                    spec.literals
                        .iter()
                        .map(brief)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            )),
            Err(wrong) => errors.push(IrError::new(at, wrong)),
        }
    }
    match IrError::first_few(errors) {
        None => Ok(ready),
        Some(error) => Err(error),
    }
}

/// Brings a value to a declared type, or says why it does not fit.
///
/// Whole numbers become integers at any depth (protobuf knows only doubles, Python's `int` does not take `3.0`).
/// With `as_text`, STRING takes any value, as text: that is how a task's input takes another task's output;
/// without it, a value given by a person must be text.
pub fn conform(kind: ParameterType, value: Value, as_text: bool) -> Result<Value, String> {
    let value = whole(value);
    let fits = match kind {
        ParameterType::NumberDouble => value.is_number(),
        ParameterType::NumberInteger => {
            if value.is_f64() {
                return Err(format!("{} is not a whole number", brief(&value)));
            }
            value.is_number()
        }
        ParameterType::String => {
            if as_text && !value.is_string() {
                return Ok(Value::String(as_text_value(&value)));
            }
            value.is_string()
        }
        ParameterType::Boolean => value.is_boolean(),
        ParameterType::List => value.is_array(),
        ParameterType::Struct | ParameterType::TaskFinalStatus | ParameterType::TaskConfig => {
            value.is_object()
        }
    };
    if fits {
        return Ok(value);
    }
    Err(format!(
        "expects {}, got {} {}",
        kind.as_str(),
        match value {
            Value::Null => "null",
            Value::Bool(_) => "BOOLEAN",
            Value::Number(_) => "NUMBER",
            Value::String(_) => "STRING",
            Value::Array(_) => "LIST",
            Value::Object(_) => "STRUCT",
        },
        brief(&value)
    ))
}

/// Whether a value is among the literals; no literals means that any is.
fn allowed(value: &Value, literals: &[Value]) -> bool {
    literals.is_empty() || literals.iter().any(|l| whole(l.clone()) == *value)
}

/// Whole doubles to integers, at any depth.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            // Beyond 2^53 a double no longer says which integer it was.
            Some(f)
                if number.is_f64() && f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_992.0 =>
            {
                Value::Number(Number::from(f as i64))
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(whole).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, whole(v))).collect()),
        other => other,
    }
}

/// A value as text: numbers in full, the rest as JSON.
fn as_text_value(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        other => other.to_string(),
    }
}

/// A value as it fits into a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(57).chain("...".chars()).collect()
}
