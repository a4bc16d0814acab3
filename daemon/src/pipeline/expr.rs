//! The two places where a pipeline carries CEL: conditions of tasks, and selectors that pick a part of a value.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map as CelMap, Value as Cel};
use cel::{Context, ExecutionError, Program};
use kfbox_store::kinds::ir::with_room_for_expression;
use serde_json::{Map, Number, Value};

/// Whether a task's condition holds for its inputs. The error says which expression, and why not.
pub fn condition(expression: &str, parameters: &Map<String, Value>) -> Result<bool, String> {
    let values = Value::Object(parameters.clone());
    let inputs = Map::from_iter([("parameter_values".to_owned(), values)]);
    match evaluate(expression, &[("inputs", Value::Object(inputs))])? {
        Some(Value::Bool(holds)) => Ok(holds),
        other => Err(format!(
            "the condition {expression:?} gives {}, not true or false",
            other.unwrap_or_default()
        )),
    }
}

/// Picks a part of a value, as in `parseJson(string_value)["key"]`. The variables are the fields of a protobuf
/// Value: `string_value` always (JSON text of what is not text), and the one of the value's own type.
pub fn select(expression: &str, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let own = match value {
        Value::Null => "null_value",
        Value::Bool(_) => "bool_value",
        Value::Number(_) => "number_value",
        Value::String(_) => "string_value",
        Value::Array(_) => "list_value",
        Value::Object(_) => "struct_value",
    };
    let mut variables = vec![("string_value", Value::String(text))];
    if own != "string_value" {
        variables.push((own, value.clone()));
    }
    evaluate(expression, &variables)?
        .ok_or_else(|| format!("the selector {expression:?} gives something that JSON cannot say"))
}

/// Evaluates with stack enough for the expression, and brings the result back as JSON: `None` for what JSON
/// cannot say.
fn evaluate(expression: &str, variables: &[(&str, Value)]) -> Result<Option<Value>, String> {
    let all = || evaluate_here(expression, variables).map(|result| from_cel(&result));
    with_room_for_expression(expression.len(), all)
        .unwrap_or_else(|| Err("the expression is too long".to_owned()))
}

fn evaluate_here(expression: &str, variables: &[(&str, Value)]) -> Result<Cel, String> {
    let program = Program::compile(expression)
        .map_err(|e| format!("{expression:?} is not a CEL expression: {e}"))?;
    let mut context = Context::default();
    for (name, value) in variables {
        context.add_variable_from_value(*name, to_cel(value));
    }
    context
        .add_function("parseJson", parse_json)
        .map_err(|e| e.to_string())?;
    program
        .execute(&context)
        .map_err(|e| format!("{expression:?} cannot be evaluated: {e}"))
}

fn parse_json(text: Arc<String>) -> Result<Cel, ExecutionError> {
    serde_json::from_str(&text)
        .map(|value: Value| to_cel(&value))
        .map_err(|e| ExecutionError::function_error("parseJson", e))
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Cel::Int(int),
            (None, float) => Cel::Float(float.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => Cel::Map(CelMap {
            map: Arc::new(
                map.iter()
                    .map(|(key, value)| (Key::from(key.clone()), to_cel(value)))
                    .collect::<HashMap<_, _>>(),
            ),
        }),
    }
}

fn from_cel(value: &Cel) -> Option<Value> {
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(b) => Value::Bool(*b),
        Cel::Int(int) => Value::from(*int),
        Cel::UInt(int) => Value::from(*int),
        Cel::Float(float) => Value::Number(Number::from_f64(*float)?),
        Cel::String(text) => Value::String(text.to_string()),
        Cel::List(items) => Value::Array(items.iter().map(from_cel).collect::<Option<_>>()?),
        Cel::Map(map) => Value::Object(
            map.map
                .iter()
                .map(|(key, value)| match key {
                    Key::String(key) => Some((key.to_string(), from_cel(value)?)),
                    _ => None,
                })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn holds(expression: &str, parameters: Value) -> Result<bool, String> {
        let Value::Object(map) = parameters else {
            unreachable!()
        };
        condition(expression, &map)
    }

    #[test]
    fn conditions_as_the_compiler_writes_them() {
        let p =
            json!({"n": 7, "f": 7.0, "h": 7.5, "s": "heads", "b": true, "t": "7", "none": null});
        for (expression, expected) in [
            ("int(inputs.parameter_values['n']) > 5", true),
            ("int(inputs.parameter_values['n']) <= 5", false),
            ("int(inputs.parameter_values['t']) == 7", true),
            ("inputs.parameter_values['n'] == 7", true),
            ("inputs.parameter_values['n'] == 7.0", true),
            ("inputs.parameter_values['f'] == 7", true),
            ("double(inputs.parameter_values['n']) < 7.5", true),
            ("inputs.parameter_values['h'] > 7", true),
            ("double(inputs.parameter_values['n']) >= 7", true),
            (
                "int(inputs.parameter_values['n']) >= int(inputs.parameter_values['f'])",
                true,
            ),
            ("inputs.parameter_values['s'] == 'heads'", true),
            ("inputs.parameter_values['s'] != 'heads'", false),
            ("inputs.parameter_values['b'] == true", true),
            ("!(inputs.parameter_values['b'] == true)", false),
            (
                "!(int(inputs.parameter_values['n']) < 5) && !(int(inputs.parameter_values['n']) > 9)",
                true,
            ),
            (
                "!(inputs.parameter_values['s'] == 'heads') && inputs.parameter_values['s'] == 'tails'",
                false,
            ),
            ("inputs.parameter_values['none'] == 'x'", false),
            ("inputs.parameter_values['s'] == 7", false),
        ] {
            assert_eq!(holds(expression, p.clone()), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn a_bad_condition_says_so() {
        let wrong = holds("inputs.parameter_values['missing'] == 1", json!({})).unwrap_err();
        assert!(wrong.contains("missing"), "{wrong}");
        let wrong = holds("int(inputs.parameter_values['s']) > 1", json!({"s": "x"})).unwrap_err();
        assert!(wrong.contains("int(inputs"), "{wrong}");
        let wrong = holds("1 + 1", json!({})).unwrap_err();
        assert!(wrong.contains("not true or false"), "{wrong}");
        assert!(holds("((", json!({})).is_err());
    }

    #[test]
    fn selectors_pick_parts() {
        let item = json!({"a": 1, "b": [1, 2.5], "c": {"d": "x"}});
        let pick = |expression: &str| select(expression, &item);
        assert_eq!(pick("parseJson(string_value)[\"a\"]"), Ok(json!(1)));
        assert_eq!(pick("parseJson(string_value)[\"b\"]"), Ok(json!([1, 2.5])));
        assert_eq!(pick("parseJson(string_value)['c']['d']"), Ok(json!("x")));
        assert_eq!(pick("struct_value.c"), Ok(json!({"d": "x"})));
        assert_eq!(
            select("parseJson(string_value)[\"a\"]", &json!("{\"a\": \"q\"}")),
            Ok(json!("q"))
        );
        assert!(pick("parseJson(string_value)[\"zz\"]").is_err());
        assert!(select("parseJson(string_value)", &json!("not json")).is_err());
    }
}
