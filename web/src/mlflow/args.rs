//! The arguments of a call: the query of a GET, the JSON body of everything else. Protobuf's JSON lets numbers be
//! texts and fields be absent, and so does this.

use axum::{extract::Request, http::Method};
use kfbox_store::{
    Error, Result,
    track::{Tag, Tags},
};
use serde_json::{Map, Value};

use crate::{App, body};

/// Named arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct Args(Map<String, Value>);

fn wrong(name: &str, wanted: &str, found: &Value) -> Error {
    let mut found = found.to_string();
    if let Some((at, _)) = found.char_indices().nth(100) {
        found.truncate(at);
        found.push_str("...");
    }
    Error::invalid(format!(
        "Invalid value {found} for parameter '{name}' supplied: it must be {wanted}"
    ))
}

impl Args {
    /// Those of a request. A GET's are in its query; clients send a DELETE's in the body, some in the query.
    pub(super) async fn of(app: &App, request: Request) -> Result<Self> {
        let mut args = Map::new();
        let query = request.uri().query().unwrap_or_default().as_bytes();
        for (name, value) in url::form_urlencoded::parse(query) {
            let value = Value::String(value.into_owned());
            match args.get_mut(name.as_ref()) {
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
                None => _ = args.insert(name.into_owned(), value),
            }
        }
        if request.method() != Method::GET {
            args.extend(body::object(app, request).await?);
        }
        Ok(Self(args))
    }

    /// A text that may be absent.
    pub(super) fn text(&self, name: &str) -> Result<&str> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong(name, "a text", other)),
        }
    }

    /// A text that must be there.
    pub(super) fn need(&self, name: &str) -> Result<&str> {
        match self.text(name)? {
            "" => Err(Error::invalid(format!(
                "Missing value for required parameter '{name}'."
            ))),
            text => Ok(text),
        }
    }

    /// A text under the first of these names that has one, which must be there: old clients say `run_uuid`.
    pub(super) fn either(&self, name: &str, old: &str) -> Result<&str> {
        match self.text(name)? {
            "" => match self.text(old)? {
                "" => self.need(name),
                text => Ok(text),
            },
            text => Ok(text),
        }
    }

    /// Whether this was sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|v| !v.is_null())
    }

    /// A whole number that may be absent.
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>> {
        let found = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(found) => found,
        };
        let n = match found {
            Value::Number(n) => n.as_i64().or_else(|| {
                let whole = n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15);
                #[allow(clippy::cast_possible_truncation)] // Whole, and small enough.
                whole.map(|f| f as i64)
            }),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        n.map(Some)
            .ok_or_else(|| wrong(name, "a whole number", found))
    }

    /// A number, which must be there; NaN and infinities are texts.
    pub(super) fn float(&self, name: &str) -> Result<f64> {
        let n = match self.0.get(name) {
            Some(Value::Number(n)) => n.as_f64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        n.ok_or_else(|| wrong(name, "a number", self.0.get(name).unwrap_or(&Value::Null)))
    }

    /// A yes or no that may be absent.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(b)) => Ok(*b),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// Texts; one that is sent alone is a list of one.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let one = |v: &Value| match v {
            Value::String(text) => Ok(text.clone()),
            other => Err(wrong(name, "a list of texts", other)),
        };
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(one).collect(),
            Some(other) => Ok(vec![one(other)?]),
        }
    }

    /// Nested arguments, one for each element of a list.
    pub(super) fn each(&self, name: &str) -> Result<Vec<Self>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => list
                .iter()
                .map(|v| match v {
                    Value::Object(fields) => Ok(Self(fields.clone())),
                    other => Err(wrong(name, "a list of objects", other)),
                })
                .collect(),
            Some(other) => Err(wrong(name, "a list", other)),
        }
    }

    /// A nested object; empty when absent.
    pub(super) fn inner(&self, name: &str) -> Result<Self> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            Some(other) => Err(wrong(name, "an object", other)),
        }
    }

    /// `[{"key": ..., "value": ...}]`.
    pub(super) fn tags(&self, name: &str) -> Result<Vec<Tag>> {
        let one = |a: Self| {
            Ok(Tag {
                key: a.need("key")?.to_owned(),
                value: a.text("value")?.to_owned(),
            })
        };
        self.each(name)?.into_iter().map(one).collect()
    }

    /// The same, by key.
    pub(super) fn tag_map(&self, name: &str) -> Result<Tags> {
        let all = self.tags(name)?;
        Ok(all.into_iter().map(|t| (t.key, t.value)).collect())
    }

    /// How many results are wanted: at least 1, at most `most`.
    pub(super) fn max_results(&self, usual: usize, most: usize) -> Result<usize> {
        match self.int("max_results")? {
            None | Some(0) => Ok(usual),
            Some(n) => match usize::try_from(n) {
                Ok(n) if n <= most => Ok(n),
                _ => Err(Error::invalid(format!(
                    "Invalid value {n} for parameter 'max_results' supplied: It must be a positive integer, at most {most}."
                ))),
            },
        }
    }
}

/// Cuts the page that starts at a token out of sorted results. The token is the number of results before it.
pub(super) fn page<T>(args: &Args, all: Vec<T>, max: usize) -> Result<(Vec<T>, Option<String>)> {
    let start = match args.text("page_token")? {
        "" => 0,
        token => token
            .strip_prefix("at-")
            .and_then(|n| n.parse::<usize>().ok())
            .ok_or_else(|| {
                Error::invalid("page_token: not a token of this list; start at the first page")
            })?,
    };
    let total = all.len();
    let shown: Vec<T> = all.into_iter().skip(start).take(max).collect();
    let end = start.saturating_add(shown.len());
    let next = (end < total).then(|| format!("at-{end}"));
    Ok((shown, next))
}

/// Which lifecycles a `view_type` lets through: (active, deleted).
pub(super) fn view(args: &Args, name: &str) -> Result<(bool, bool)> {
    match args
        .0
        .get(name)
        .and_then(|v| {
            v.as_str()
                .map(str::to_owned)
                .or_else(|| v.as_i64().map(|n| n.to_string()))
        })
        .as_deref()
    {
        None | Some("" | "ACTIVE_ONLY" | "1") => Ok((true, false)),
        Some("DELETED_ONLY" | "2") => Ok((false, true)),
        Some("ALL" | "3") => Ok((true, true)),
        Some(other) => Err(Error::invalid(format!(
            "{name}: \"{other}\" must be ACTIVE_ONLY, DELETED_ONLY or ALL"
        ))),
    }
}
