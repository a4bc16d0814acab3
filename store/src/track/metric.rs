//! Points of metrics: each a record of its own, in order of step, time and value.

use super::{METRIC, Metric, Tracking, run};
use crate::{Result, db::key::Key};

/// One point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// The metric.
    pub key: String,
    /// Value, time and step.
    pub at: Metric,
}

/// A page of a metric's points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In order of step, time, value.
    pub points: Vec<Metric>,
    /// What the next page starts after; `None` = this is the last.
    pub next: Option<Vec<u8>>,
}

pub(super) fn of_run(namespace: &str, run: &str) -> Key {
    Key::new().text(namespace).text(run)
}

fn of_metric(namespace: &str, run: &str, metric: &str) -> Key {
    of_run(namespace, run).text(metric)
}

/// All that tells a point apart: the same one logged twice is one.
pub(super) fn key(namespace: &str, run: &str, point: &Point) -> Key {
    of_metric(namespace, run, &point.key)
        .int(point.at.step)
        .int(point.at.timestamp)
        .float(point.at.value)
}

impl Tracking {
    /// A page of a metric's points, from after `after` (a page's `next`) on.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Invalid` for an `after` of another list.
    pub async fn history(
        &self,
        namespace: &str,
        id: &str,
        metric: &str,
        after: Option<Vec<u8>>,
        max: usize,
    ) -> Result<History> {
        let prefix = of_metric(namespace, id, metric);
        if after
            .as_ref()
            .is_some_and(|a| !a.starts_with(prefix.bytes()))
        {
            return Err(crate::Error::invalid(
                "page_token: not a token of this metric; start at the first page",
            ));
        }
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.db
            .read(move |t| {
                run::fetch(t, &namespace, &id)?;
                let mut page = History::default();
                let mut last = Vec::new();
                t.records(METRIC, prefix.bytes(), after.as_deref(), |at, point| {
                    if page.points.len() == max {
                        page.next = Some(std::mem::take(&mut last));
                        return false;
                    }
                    page.points.push(point);
                    last = at.to_vec();
                    true
                })?;
                Ok(page)
            })
            .await
    }
}
