//! What a client sends: JSON, YAML or protobuf, as one JSON value; and the parameters of a write.

use std::collections::HashMap;

use axum::{extract::Request, http::header};
use bytes::Bytes;
use kfbox_store::{Code, Error, Kind, Object};
use serde_json::Value;

use super::{Shared, flag, protobuf, query, strict};

/// How a write is to be carried out, from the query string.
#[derive(Debug, Default)]
pub(super) struct WriteOptions {
    /// Answer as if, change nothing.
    pub dry_run: bool,
    /// What to do about fields that the kind does not know.
    pub validation: Validation,
    /// Who writes, for server-side apply.
    pub manager: String,
    /// Server-side apply: take fields over from other managers.
    pub force: bool,
}

/// What to do about unknown fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Validation {
    /// Keep them, say nothing.
    Ignore,
    /// Keep them, warn.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

impl WriteOptions {
    pub(super) fn parse(query: &HashMap<String, String>) -> Result<Self, Error> {
        let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let validation = match text("fieldValidation") {
            "" | "Warn" => Validation::Warn,
            "Ignore" => Validation::Ignore,
            "Strict" => Validation::Strict,
            other => {
                return Err(Error::invalid(format!(
                    "fieldValidation: \"{other}\" must be Strict, Warn or Ignore"
                )));
            }
        };
        let dry_run = match text("dryRun") {
            "" => false,
            "All" => true,
            other => {
                return Err(Error::invalid(format!(
                    "dryRun: \"{other}\" must be All, or be left out"
                )));
            }
        };
        Ok(Self {
            dry_run,
            validation,
            manager: text("fieldManager").to_string(),
            force: flag(query, "force")?,
        })
    }
}

/// A request's body with its media type (without parameters).
pub(super) struct Body {
    pub media: String,
    pub bytes: Bytes,
    pub options: WriteOptions,
    pub query: HashMap<String, String>,
}

/// Reads a request whole, within the box's limit.
pub(super) async fn read(app: &Shared, request: Request) -> Result<Body, Error> {
    let query = query(&request)?;
    let media = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .map(|v| v.trim().to_ascii_lowercase())
        .unwrap_or_default();
    let limit = app.config.json_limit;
    let bytes = axum::body::to_bytes(request.into_body(), limit)
        .await
        .map_err(|_| {
            Error::new(
                Code::TooLarge,
                format!("the body did not arrive whole, or is larger than {limit} bytes"),
            )
        })?;
    Ok(Body {
        options: WriteOptions::parse(&query)?,
        media,
        bytes,
        query,
    })
}

impl Body {
    /// The body as JSON, whatever it came as.
    pub(super) fn value(&self) -> Result<Value, Error> {
        if self.bytes.starts_with(protobuf::MAGIC) || self.media == protobuf::MEDIA {
            return protobuf::decode(&self.bytes);
        }
        if self.media.ends_with("yaml") {
            let text = std::str::from_utf8(&self.bytes)
                .map_err(|_| Error::invalid("the body is not UTF-8"))?;
            return serde_saphyr::from_str(text)
                .map_err(|e| Error::invalid(format!("the body is not YAML: {e}")));
        }
        serde_json::from_slice(&self.bytes)
            .map_err(|e| Error::invalid(format!("the body is not JSON: {e}")))
    }
}

/// An object of a kind from its JSON: apiVersion and kind may be left out, but not be others.
pub(super) fn object(kind: &'static Kind, mut value: Value) -> Result<Object, Error> {
    let Some(map) = value.as_object_mut() else {
        return Err(Error::invalid("the body must be an object"));
    };
    let stored = kind.home().api_version();
    for (field, wanted, stored) in [
        ("apiVersion", kind.api_version(), stored.as_str()),
        ("kind", kind.kind.into(), kind.kind),
    ] {
        let given = map.get(field).and_then(Value::as_str).unwrap_or_default();
        // A patch was made to an object as it is stored.
        if !given.is_empty() && given != wanted && given != stored {
            return Err(Error::invalid(format!(
                "the {field} in the data ({given}) does not match the expected {field} ({wanted})"
            )));
        }
        map.insert(field.into(), stored.into());
    }
    // Clients send these as null or empty; neither is theirs to say.
    if let Some(meta) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.retain(|key, v| !v.is_null() && key != "managedFields" && key != "selfLink");
        if meta.get("generation").is_some_and(|g| !g.is_u64()) {
            meta.remove("generation");
        }
    }
    serde_json::from_value(value).map_err(|e| {
        Error::invalid(format!(
            "{} in version \"{}\" cannot be handled as a {}: {e}",
            kind.kind, kind.version, kind.kind
        ))
    })
}

/// What strict validation says of a value: an error, or warnings.
pub(super) fn validate(
    kind: &'static Kind,
    value: &Value,
    validation: Validation,
) -> Result<Vec<String>, Error> {
    if validation == Validation::Ignore {
        return Ok(Vec::new());
    }
    let unknown = strict::unknown_fields(kind, value);
    if validation == Validation::Strict && !unknown.is_empty() {
        let list: Vec<_> = unknown
            .iter()
            .map(|f| format!("unknown field \"{f}\""))
            .collect();
        return Err(Error::invalid(format!(
            "strict decoding error: {}",
            list.join(", ")
        )));
    }
    Ok(unknown
        .into_iter()
        .map(|field| format!("unknown field \"{field}\""))
        .collect())
}
