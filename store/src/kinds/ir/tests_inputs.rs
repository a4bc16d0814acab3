//! What is given to a run, held against the declaration.
#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};

use super::tests::sample;
use super::*;

#[test]
fn run_parameters_are_held_against_the_declaration() {
    let pipeline = Pipeline::from_value(&sample()).unwrap();
    let run = |given: Value| {
        let Value::Object(map) = given else {
            unreachable!()
        };
        runtime_parameters(&pipeline, &map).map_err(|e| e.to_string())
    };
    let expected: Map<String, Value> =
        serde_json::from_str(r#"{"n": 3, "rate": 0.5, "mode": null}"#).unwrap();
    assert_eq!(run(json!({"rate": 0.5})), Ok(expected));
    assert_eq!(
        run(json!({"rate": 1, "n": 7.0, "mode": "a"})).unwrap()["n"].to_string(),
        "7"
    );
    for (given, says) in [
        (json!({}), "parameters.rate: is required"),
        (json!({"rate": null}), "parameters.rate: is required"),
        (json!({"rate": 1, "rat": 2}), "did you mean \"rate\"?"),
        (json!({"rate": "fast"}), "expects NUMBER_DOUBLE, got STRING"),
        (json!({"rate": 1, "n": 1.5}), "not a whole number"),
        (
            json!({"rate": 1, "n": true}),
            "expects NUMBER_INTEGER, got BOOLEAN",
        ),
        (
            json!({"rate": 1, "mode": "c"}),
            "not one of the allowed values: \"a\", \"b\"",
        ),
        (json!({"rate": 1, "mode": 5}), "expects STRING"),
    ] {
        let error = run(given).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let mut status = sample();
    status["root"]["inputDefinitions"]["parameters"] =
        json!({"s": {"parameterType": "TASK_FINAL_STATUS", "isOptional": true}});
    let error =
        runtime_parameters(&Pipeline::from_value(&status).unwrap(), &Map::new()).unwrap_err();
    assert!(error.message.contains("TASK_FINAL_STATUS"));
}

#[test]
fn values_are_brought_to_type() {
    let ok = |kind, value, expected| assert_eq!(conform(kind, value, true), Ok(expected));
    ok(ParameterType::NumberInteger, json!(3.0), json!(3));
    ok(ParameterType::NumberDouble, json!(3.5), json!(3.5));
    ok(ParameterType::String, json!(3.0), json!("3"));
    ok(
        ParameterType::String,
        json!(1e21),
        json!("1000000000000000000000"),
    );
    ok(
        ParameterType::String,
        json!({"a": [1.0]}),
        json!("{\"a\":[1]}"),
    );
    ok(
        ParameterType::List,
        json!([1.0, {"b": 2.0}]),
        json!([1, {"b": 2}]),
    );
    assert!(conform(ParameterType::Boolean, json!("true"), true).is_err());
    assert!(conform(ParameterType::Struct, json!([]), true).is_err());
}
