//! Lists: sorting, filtering, and pages whose tokens are bound to both.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kfbox_store::{Error, Kind, Object, Ref, Result};
use serde::{Deserialize, Serialize};

use super::{
    filter::{Column, Field, Filter},
    index::Row,
};
use crate::App;

const DEFAULT_SIZE: usize = 20;
const MAX_SIZE: usize = 200;

/// The query parameters of a list. The SDK sends all of them, empty when unset.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    pub page_token: String,
    pub page_size: String,
    pub sort_by: String,
    pub filter: String,
    pub namespace: String,
    pub experiment_id: String,
}

/// One page.
pub(super) struct Page {
    pub objects: Vec<Object>,
    /// On all pages together.
    pub total: usize,
    /// For the next page; `None` on the last, where the API must not send one at all.
    pub next: Option<String>,
}

/// What a page token says. It stands on the last row shown, so rows that come or go do not shift the pages.
#[derive(Serialize, Deserialize)]
struct Token {
    /// The kind listed.
    k: String,
    sort: String,
    desc: bool,
    filter: String,
    text: String,
    time: i64,
    id: String,
}

fn sort(kind: &Kind, text: &str) -> Result<(Column, String, bool)> {
    let mut words = text.split_whitespace();
    let key = words.next().unwrap_or("created_at");
    let desc = match words.next().map(str::to_ascii_lowercase).as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            return Err(Error::invalid(format!(
                "sort_by: \"{other}\" must be asc or desc"
            )));
        }
    };
    if words.next().is_some() {
        return Err(Error::invalid(
            "sort_by: must be one field name, then asc or desc",
        ));
    }
    let column = Column::of(kind, key).ok_or_else(|| {
        Error::invalid(format!(
            "sort_by: {} cannot be sorted by \"{key}\"; try created_at or display_name",
            kind.plural
        ))
    })?;
    Ok((column, key.to_string(), desc))
}

fn size(text: &str) -> Result<usize> {
    match text.parse::<i64>() {
        _ if text.is_empty() => Ok(DEFAULT_SIZE),
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(n) if n > 0 => Ok(usize::try_from(n).unwrap_or(MAX_SIZE).min(MAX_SIZE)),
        _ => Err(Error::invalid(format!(
            "page_size: \"{text}\" must be a whole number, 0 or more"
        ))),
    }
}

fn token(kind: &Kind, query: &Query) -> Result<Option<Token>> {
    if query.page_token.is_empty() {
        return Ok(None);
    }
    let foreign =
        || Error::invalid("page_token: not a token of this list; start at the first page");
    let bytes = URL_SAFE_NO_PAD
        .decode(&query.page_token)
        .map_err(|_| foreign())?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| foreign())?;
    if token.k != kind.plural {
        return Err(foreign());
    }
    let sort_fits = query.sort_by.is_empty() || {
        let (_, key, desc) = sort(kind, &query.sort_by)?;
        key == token.sort && desc == token.desc
    };
    let filter_fits = query.filter.is_empty()
        || Filter::parse(kind, &query.filter)? == Filter::parse(kind, &token.filter)?;
    if !sort_fits || !filter_fits {
        return Err(Error::invalid(
            "page_token: it was made for another sort_by or filter; send the same ones, or start at the first page",
        ));
    }
    Ok(Some(token))
}

/// A page of the rows that are in `scope`.
pub(super) async fn page(
    app: &App,
    kind: &'static Kind,
    query: &Query,
    scope: impl Fn(&Row) -> bool,
) -> Result<Page> {
    let size = size(&query.page_size)?;
    let token = token(kind, query)?;
    let (sort_by, filter_text) = match &token {
        Some(t) => {
            let order = if t.desc { "desc" } else { "asc" };
            (format!("{} {order}", t.sort), t.filter.clone())
        }
        None => (query.sort_by.clone(), query.filter.clone()),
    };
    let (column, key, desc) = sort(kind, &sort_by)?;
    let filter = Filter::parse(kind, &filter_text)?;
    let namespace = &app.config.namespace;
    let look = |rows: &std::collections::HashMap<String, Row>| {
        let mut rows: Vec<(Field<'_>, &str)> = rows
            .values()
            .filter(|row| row.namespace == *namespace && scope(row) && filter.matches(row))
            .map(|row| (column.field(row), row.id.as_str()))
            .collect();
        let order = |a: &(Field<'_>, &str), b: &(Field<'_>, &str)| {
            // Both values are of one column, hence comparable.
            let order = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
            if desc { order.reverse() } else { order }
        };
        rows.sort_unstable_by(order);
        let start = token.as_ref().map_or(0, |t| {
            let last = match column {
                Column::Created | Column::Finished | Column::LastRun => Field::Time(t.time),
                _ => Field::Text(&t.text),
            };
            let last = (last, t.id.as_str());
            rows.partition_point(|row| order(row, &last).is_le())
        });
        let shown = &rows[start..rows.len().min(start + size)];
        let more = rows.len() > start + size;
        let next = shown.last().filter(|_| more).map(|(field, id)| Token {
            k: kind.plural.into(),
            sort: key,
            desc,
            filter: filter_text,
            text: match field {
                Field::Text(text) => (*text).to_string(),
                Field::Time(_) => String::new(),
            },
            time: match field {
                Field::Time(time) => *time,
                Field::Text(_) => 0,
            },
            id: (*id).to_string(),
        });
        let ids: Vec<String> = shown.iter().map(|(_, id)| (*id).to_string()).collect();
        (ids, rows.len(), next)
    };
    let (ids, total, next) = app.index.look(&app.store, kind, look).await?;
    let mut objects = Vec::with_capacity(ids.len());
    for id in ids {
        // Deleted a moment ago: not on the page.
        objects.extend(app.store.get(&Ref::new(kind, namespace, &id)).await?);
    }
    let next = match next {
        Some(token) => {
            let json = serde_json::to_vec(&token).map_err(Error::internal)?;
            Some(URL_SAFE_NO_PAD.encode(json))
        }
        None => None,
    };
    Ok(Page {
        objects,
        total,
        next,
    })
}

/// The JSON of a page, under the key that the API uses for this kind.
pub(super) fn answer(
    key: &str,
    items: Vec<serde_json::Value>,
    total: usize,
    next: Option<String>,
) -> serde_json::Value {
    let mut body = serde_json::Map::new();
    if !items.is_empty() {
        body.insert(key.into(), items.into());
    }
    if total > 0 {
        body.insert("total_size".into(), total.into());
    }
    if let Some(next) = next {
        body.insert("next_page_token".into(), next.into());
    }
    body.into()
}
