//! Which objects a list or a watch wants: namespace, labels, fields. Kubernetes' own grammar, the part that
//! clients use: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (x, y)`, `a notin (x, y)`; fields by JSON path.

use std::collections::BTreeMap;

use crate::{Error, Object, Result};

/// A conjunction of requirements. The default selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Only this namespace.
    pub namespace: Option<String>,
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Selector {
    /// Everything in one namespace.
    pub fn namespace(ns: &str) -> Self {
        Self {
            namespace: Some(ns.into()),
            ..Self::default()
        }
    }

    /// Adds `key = value`.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels
            .push(Requirement::In(key.into(), vec![value.into()]));
        self
    }

    /// Parses the query parameters `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// `Invalid` naming the part that does not parse.
    pub fn parse(namespace: Option<&str>, labels: &str, fields: &str) -> Result<Self> {
        let mut selector = Self {
            namespace: namespace.map(Into::into),
            ..Self::default()
        };
        for term in split_terms(labels) {
            selector.labels.push(requirement(term)?);
        }
        for term in fields.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let (path, equal, value) = if let Some((p, v)) = term.split_once("!=") {
                (p, false, v)
            } else if let Some((p, v)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (p, true, v)
            } else {
                return Err(Error::invalid(format!(
                    "fieldSelector: \"{term}\" must be path=value or path!=value"
                )));
            };
            selector
                .fields
                .push((path.trim().into(), equal, value.trim().into()));
        }
        Ok(selector)
    }

    /// Whether the object is wanted.
    pub fn matches(&self, object: &Object) -> bool {
        self.matches_with(object, &object.metadata.labels)
    }

    /// Whether the object would be wanted if it had these labels: a watch asks this of an object's labels
    /// before a change, to tell "came into view" from "changed".
    pub fn matches_with(&self, object: &Object, labels: &BTreeMap<String, String>) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|ns| *ns == object.metadata.namespace)
            && self.labels.iter().all(|r| r.matches(labels))
            && self
                .fields
                .iter()
                .all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(k, values) => labels.get(k).is_some_and(|v| values.contains(v)),
            Self::NotIn(k, values) => labels.get(k).is_none_or(|v| !values.contains(v)),
            Self::Exists(k) => labels.contains_key(k),
            Self::Missing(k) => !labels.contains_key(k),
        }
    }
}

/// Splits at commas outside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
        .into_iter()
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .collect()
}

fn requirement(term: &str) -> Result<Requirement> {
    let bad = || {
        Error::invalid(format!(
            "labelSelector: \"{term}\" is none of key=value, key!=value, key, !key, key in (a,b), key notin (a,b)"
        ))
    };
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(Requirement::NotIn(
            key.trim().into(),
            vec![value.trim().into()],
        ));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(Requirement::In(
            key.trim().into(),
            vec![value.trim().into()],
        ));
    }
    if let Some(key) = term.strip_prefix('!') {
        return Ok(Requirement::Missing(key.trim().into()));
    }
    let mut words = term.splitn(2, char::is_whitespace);
    let key = words.next().unwrap_or_default().to_string();
    let Some(rest) = words.next().map(str::trim) else {
        return Ok(Requirement::Exists(key));
    };
    let (negated, list) = match rest.strip_prefix("notin") {
        Some(list) => (true, list),
        None => (false, rest.strip_prefix("in").ok_or_else(bad)?),
    };
    let values = list
        .trim()
        .strip_prefix('(')
        .and_then(|l| l.strip_suffix(')'))
        .ok_or_else(bad)?
        .split(',')
        .map(|v| v.trim().to_string())
        .collect();
    Ok(if negated {
        Requirement::NotIn(key, values)
    } else {
        Requirement::In(key, values)
    })
}

/// The text of a field such as `metadata.name` or `status.phase`; "" when absent.
fn field(object: &Object, path: &str) -> String {
    match path {
        "metadata.name" => return object.metadata.name.clone(),
        "metadata.namespace" => return object.metadata.namespace.clone(),
        _ => {}
    }
    let mut parts = path.split('.');
    let mut value = parts.next().and_then(|p| object.body.get(p));
    for part in parts {
        value = value.and_then(|v| v.get(part));
    }
    match value {
        Some(serde_json::Value::String(s)) => s.clone(),
        Some(v) if !v.is_null() => v.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kinds::core::POD;

    #[test]
    fn the_grammar_that_clients_send() {
        let pod = Object::new(&POD, "kubeflow", "p")
            .with_label("a", "1")
            .with_label("b", "2");
        for (selector, wanted) in [
            ("", true),
            ("a=1", true),
            ("a==1,b=2", true),
            ("a!=1", false),
            ("c!=1", true),
            ("a", true),
            ("!a", false),
            ("!c", true),
            ("a in (1, 3)", true),
            ("a in (3)", false),
            ("b notin (1, 3), a in (0,1)", true),
            ("c in (1)", false),
        ] {
            let parsed = Selector::parse(None, selector, "").unwrap();
            assert_eq!(parsed.matches(&pod), wanted, "{selector}");
        }
        assert!(Selector::parse(None, "a within (1)", "").is_err());
        let by_name = Selector::parse(Some("kubeflow"), "", "metadata.name=p").unwrap();
        assert!(by_name.matches(&pod));
        assert!(
            !Selector::parse(None, "", "metadata.name!=p")
                .unwrap()
                .matches(&pod)
        );
        assert!(Selector::parse(None, "", "nonsense").is_err());
    }
}
