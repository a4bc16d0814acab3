//! Request bodies: bounded, JSON, field names checked. As protobuf's JSON mapping: camelCase is accepted,
//! null means unset, fields that only answers carry are accepted and dropped, unknown ones are refused.

use axum::extract::Request;
use kfbox_store::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{App, body};

/// What is below these keys is the user's own: its keys stay as they are.
const USER_DATA: &[&str] = &["pipeline_spec", "parameters", "tags", "plugins_input"];

/// The body as `T`; `output_only` names the fields that a client may send back and that mean nothing here.
pub(super) async fn body<T: DeserializeOwned>(
    app: &App,
    request: Request,
    output_only: &[&str],
) -> Result<T> {
    let Value::Object(mut fields) = plain(body::object(app, request).await?.into()) else {
        return Err(Error::invalid("the body must be a JSON object"));
    };
    fields.retain(|key, _| !output_only.contains(&key.as_str()));
    serde_json::from_value(fields.into()).map_err(|e| Error::invalid(format!("the body: {e}")))
}

/// Snake-case keys, nulls dropped.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(key, value)| {
                let key = snake(&key);
                let value = if USER_DATA.contains(&key.as_str()) {
                    value
                } else {
                    plain(value)
                };
                (key, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A name that people chose: present, not too long.
pub(super) fn name(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::invalid(format!("{field}: required")));
    }
    if text.chars().count() > 255 {
        return Err(Error::invalid(format!("{field}: at most 255 characters")));
    }
    Ok(text.into())
}

/// The namespace that a request names must be the one there is.
pub(super) fn namespace(app: &App, given: &str) -> Result<()> {
    let ours = &app.config.namespace;
    if given.is_empty() || given == ours {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "namespace: this box has no namespace \"{given}\"; use \"{ours}\" or leave it out"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_become_snake_case_but_not_the_users_own() {
        let body = json!({"displayName": "x", "description": null, "runtimeConfig": {
            "pipelineRoot": "r", "parameters": {"myParam": null}}, "pipelineSpec": {"pipelineInfo": 1}});
        let wanted = json!({"display_name": "x", "runtime_config": {
            "pipeline_root": "r", "parameters": {"myParam": null}}, "pipeline_spec": {"pipelineInfo": 1}});
        assert_eq!(plain(body), wanted);
    }
}
