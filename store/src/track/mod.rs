//! Tracking: experiments, their runs with parameters, metrics and tags, and the models that runs log. The words and
//! the rules are MLflow's, whose clients are served from here.
//!
//! These are records of the byte store's database, not objects: a training loop writes thousands of points, and
//! nobody watches them one by one. Every write is durable when it is answered; those that wait share a commit.

mod experiment;
mod filter;
mod metric;
mod model;
mod rows;
mod run;

pub use filter::{Entity, Fields, Filter, Order, Schema};
pub use metric::{History, Point};
pub use rows::{
    Dataset, DatasetInput, Experiment, Lifecycle, LoggedModel, LoggedModelStatus, Metric,
    ModelMetric, ModelRef, Run, RunStatus, Tag, Tags, float,
};
pub use run::{Batch, NewRun};

use crate::{blob::Blobs, db::bytes::BytesDb};

/// Records of experiments and runs.
const EXPERIMENT: &str = "experiment";
const RUN: &str = "run";
/// (namespace, experiment, start, run id) -> (): an experiment's runs by their start.
const RUN_OF: &str = "run-of";
/// (namespace, run id, metric, step, time, value) -> the rest of a point.
const METRIC: &str = "metric";
const MODEL: &str = "logged-model";

/// The bucket that holds a namespace's tracked artifacts.
pub fn bucket(namespace: &str) -> String {
    format!("mlflow-{namespace}")
}

/// MLflow's word for a file behind its server.
const SCHEME: &str = "mlflow-artifacts:/";

/// Where an artifact's bytes are: one behind the server in the namespace's bucket, any other as it says.
pub fn stored(namespace: &str, uri: &str) -> String {
    match uri.strip_prefix(SCHEME) {
        // With a host, as some clients write it, the path comes after two more slashes.
        Some(path) => format!(
            "s3://{}/{}",
            bucket(namespace),
            path.trim_start_matches('/')
        ),
        None => uri.to_owned(),
    }
}

/// The tracking records of a box. Cheap to clone.
#[derive(Clone)]
pub struct Tracking {
    db: BytesDb,
}

impl Blobs {
    /// The tracking records, which lie beside the bytes.
    pub fn tracking(&self) -> Tracking {
        Tracking {
            db: self.inner.db.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
