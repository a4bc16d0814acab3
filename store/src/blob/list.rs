//! Listing: keys in order, folded at a delimiter, page by page. One walk over the rows; a fold skips what is
//! below it by seeking, so a page costs what it shows, however much the bucket holds.

use super::{rows::Version, tree::after_key};
use crate::{
    Result,
    db::bytes::{Next, Tables},
};

/// What is asked for.
pub(crate) struct Wanted<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    /// "" = none.
    pub delimiter: &'a str,
    /// Only what sorts after this key or folded prefix.
    pub after: Option<&'a str>,
    pub max: usize,
}

/// A line of a list.
pub(crate) enum Item {
    Key(String, Box<Version>),
    Prefix(String),
}

impl Item {
    /// What the next page starts after.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Key(key, _) => key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// A page of a list.
pub(crate) struct Page {
    pub items: Vec<Item>,
    /// Whether there is more.
    pub truncated: bool,
}

/// The folded prefix of a key, when the delimiter follows the prefix in it.
pub(crate) fn fold<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.get(prefix.len()..)?;
    let at = rest.find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// The first key that sorts after all that start with this prefix.
pub(crate) fn after_prefix(prefix: &str) -> Vec<u8> {
    let mut next = prefix.as_bytes().to_vec();
    while let Some(last) = next.pop() {
        if last < u8::MAX {
            next.push(last + 1);
            break;
        }
    }
    next
}

/// Where a walk starts: at the prefix, or after what the last page ended with.
pub(crate) fn start(wanted: &Wanted<'_>) -> Vec<u8> {
    let after = match wanted.after {
        // The last page ended with a fold: all below it is told.
        Some(after) if fold(after, wanted.prefix, wanted.delimiter) == Some(after) => {
            after_prefix(after)
        }
        Some(after) => after_key(after.as_bytes()),
        None => Vec::new(),
    };
    after.max(wanted.prefix.as_bytes().to_vec())
}

/// The current objects of a bucket.
pub(crate) fn current(t: &Tables, wanted: &Wanted<'_>) -> Result<Page> {
    let mut page = Page {
        items: Vec::new(),
        truncated: false,
    };
    let mut last: Option<Vec<u8>> = None;
    if wanted.max == 0 {
        return Ok(page);
    }
    t.scan_from(wanted.bucket, &start(wanted), 0, |key, _, version| {
        if !key.starts_with(wanted.prefix.as_bytes()) {
            return Ok(Next::Stop);
        }
        if last.as_deref() == Some(key) {
            // Older versions; there may be very many.
            return Ok(Next::Seek(after_key(key)));
        }
        last = Some(key.to_vec());
        let Ok(text) = std::str::from_utf8(key) else {
            return Ok(Next::On);
        };
        if version.marker {
            return Ok(Next::On);
        }
        if page.items.len() == wanted.max {
            page.truncated = true;
            return Ok(Next::Stop);
        }
        if let Some(prefix) = fold(text, wanted.prefix, wanted.delimiter) {
            page.items.push(Item::Prefix(prefix.to_owned()));
            return Ok(Next::Seek(after_prefix(prefix)));
        }
        page.items
            .push(Item::Key(text.to_owned(), Box::new(version)));
        Ok(Next::On)
    })?;
    Ok(page)
}
