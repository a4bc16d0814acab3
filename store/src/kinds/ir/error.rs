//! The one error of the pipeline IR: where in the file, and what to do about it.

use std::fmt;

/// Something wrong with a pipeline, at a place a person can find.
///
/// Displays as `path: message`, or the message alone where there is no place (a file that is not YAML).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IrError {
    /// Where, as in the file: `root.dag.tasks.train.inputs.parameters.x`. Empty for the whole file.
    pub path: String,
    /// What is wrong, and the mend.
    pub message: String,
}

/// How many errors [`IrError::first_few`] spells out.
const SHOWN: usize = 5;

impl IrError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// Folds what a check found into one error: the first, then a few more, then a count.
    /// `None` when nothing was found.
    pub fn first_few(errors: Vec<IrError>) -> Option<IrError> {
        let more = errors.len().saturating_sub(SHOWN);
        let mut shown = errors.into_iter().take(SHOWN);
        let mut first = shown.next()?;
        for next in shown {
            first.message.push_str("; ");
            first.message.push_str(&next.to_string());
        }
        if more > 0 {
            first
                .message
                .push_str(&format!("; and {more} more such errors"));
        }
        Some(first)
    }
}

impl fmt::Display for IrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for IrError {}

/// The known name nearest to a misspelt one, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .map(|candidate| (distance(name, candidate, limit), candidate))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "x"?`, or the known names where they are few, or nothing.
pub(super) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("; did you mean {near:?}?");
    }
    let names: Vec<&str> = known.take(9).collect();
    match names.len() {
        0 => "; there are none here".to_owned(),
        1..=8 => format!("; known here: {}", names.join(", ")),
        _ => String::new(),
    }
}

/// Edit distance, ignoring case; anything beyond `limit` may be reported as `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    // Names come from users: a length bound keeps the quadratic work small.
    if a.len().abs_diff(b.len()) > limit || a.len() > 256 {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = i;
        if let Some(start) = row.first_mut() {
            *start = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            let cost = (diagonal + usize::from(ca != cb))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
            row[j + 1] = cost;
        }
    }
    row.last().copied().unwrap_or(limit + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn finds_the_nearest_name() {
        let known = ["learning_rate", "epochs", "x"];
        assert_eq!(
            nearest("lerning_rate", known.into_iter()),
            Some("learning_rate")
        );
        assert_eq!(nearest("Epoch", known.into_iter()), Some("epochs"));
        assert_eq!(nearest("something", known.into_iter()), None);
    }

    #[test]
    fn folds_many_errors_into_a_few() {
        let many = (0..9)
            .map(|i| IrError::new(format!("a{i}"), "bad"))
            .collect();
        let folded = IrError::first_few(many).unwrap();
        assert_eq!(folded.path, "a0");
        assert!(
            folded
                .to_string()
                .ends_with("; a4: bad; and 4 more such errors")
        );
        assert_eq!(IrError::first_few(Vec::new()), None);
    }
}
