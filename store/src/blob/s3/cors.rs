//! Which web pages may use a bucket: its CORS rules, matched as S3 does.

use crate::{
    Result,
    blob::{Blobs, rows::CorsRule},
};

/// What a page is allowed.
#[derive(Debug, PartialEq)]
pub struct Cors {
    /// The page's origin, or `*`.
    pub origin: String,
    /// Methods it may use.
    pub methods: Vec<String>,
    /// Headers of answers that it may read.
    pub expose: Vec<String>,
    /// Seconds for which this may be remembered.
    pub max_age: Option<i32>,
}

impl Blobs {
    /// What the bucket's rules allow a page of this origin that wants to send this method and these headers
    /// (names with commas between).
    ///
    /// # Errors
    /// When the index cannot be read.
    pub async fn cors(
        &self,
        bucket: &str,
        origin: &str,
        method: &str,
        headers: &str,
    ) -> Result<Option<Cors>> {
        let bucket = bucket.to_owned();
        let row = self.inner.db.read(move |t| t.bucket(&bucket)).await?;
        let rules = row.map(|r| r.cors).unwrap_or_default();
        Ok(rules
            .iter()
            .find_map(|rule| allowed(rule, origin, method, headers)))
    }
}

/// With at most one `*` in the pattern.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

fn allowed(rule: &CorsRule, origin: &str, method: &str, headers: &str) -> Option<Cors> {
    let by = rule
        .origins
        .iter()
        .find(|pattern| matches(pattern, origin))?;
    if !rule.methods.iter().any(|m| m == method) {
        return None;
    }
    let mut wanted = headers
        .split(',')
        .map(|h| h.trim().to_ascii_lowercase())
        .filter(|h| !h.is_empty());
    let known = |h: &str| {
        rule.headers
            .iter()
            .any(|pattern| matches(&pattern.to_ascii_lowercase(), h))
    };
    wanted.all(|h| known(&h)).then(|| Cors {
        origin: if by == "*" { "*".into() } else { origin.into() },
        methods: rule.methods.clone(),
        expose: rule.expose.clone(),
        max_age: rule.max_age,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("*", "http://a", true),
            ("http://*.a", "http://b.a", true),
            ("http://*.a", "http://a", false),
            ("*suffix", "foo.suffix", true),
            ("start*end", "startend", true),
            ("start*end", "startenx", false),
            ("aba*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
