//! The records of tracking, as they are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether an experiment or a run is in the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// In the lists.
    #[default]
    Active,
    /// Put away; it can be restored.
    Deleted,
}

/// Free key/value marks.
pub type Tags = BTreeMap<String, String>;

/// One mark, as clients send it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// A group of runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Experiment {
    /// A number, as text.
    pub id: String,
    /// Unique in its namespace.
    pub name: String,
    /// Where its runs' artifacts go.
    pub artifact_location: String,
    /// Whether it is put away.
    pub lifecycle: Lifecycle,
    /// Milliseconds since 1970.
    pub created: i64,
    /// Milliseconds since 1970.
    pub updated: i64,
    /// Free marks.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    /// Under way.
    #[default]
    Running,
    /// To start later.
    Scheduled,
    /// Ended well.
    Finished,
    /// Failed.
    Failed,
    /// Stopped.
    Killed,
}

impl RunStatus {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Scheduled => "SCHEDULED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

/// The newest point of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// The value; JSON has no word for NaN and infinities, so those are texts.
    #[serde(with = "float")]
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The step of training.
    pub step: i64,
    /// The logged model it was measured on, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// The data it was measured on, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dataset_name: String,
    /// That data's digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dataset_digest: String,
}

impl Metric {
    /// Whether this point replaces that one as the newest: by step, then time, then value.
    pub(crate) fn newer_than(&self, other: &Self) -> bool {
        (self.step, self.timestamp)
            .cmp(&(other.step, other.timestamp))
            .then(self.value.total_cmp(&other.value))
            .is_gt()
    }
}

/// Data that a run used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// What tells its contents apart.
    pub digest: String,
    /// Such as `local`, `http`, `s3`.
    pub source_type: String,
    /// Where it is from, in the source's own form.
    pub source: String,
    /// JSON.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// JSON.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub profile: String,
}

/// Data that a run used, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetInput {
    /// Such as `mlflow.data.context: training`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The data.
    pub dataset: Dataset,
}

/// A logged model that a run used or made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRef {
    /// Which.
    pub model_id: String,
    /// At which step it was made.
    pub step: i64,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// 32 hex digits.
    pub id: String,
    /// Shown to people.
    pub name: String,
    /// Its experiment.
    pub experiment_id: String,
    /// Who made it.
    pub user: String,
    /// Where it is.
    pub status: RunStatus,
    /// Milliseconds since 1970.
    pub start: i64,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// Where its artifacts go.
    pub artifact_uri: String,
    /// Whether it is put away.
    pub lifecycle: Lifecycle,
    /// When it was put away (milliseconds since 1970).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<i64>,
    /// What it was told. Written once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The newest point of each metric.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Metric>,
    /// Free marks.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// The data it used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetInput>,
    /// The models it used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_inputs: Vec<ModelRef>,
    /// The models it made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_outputs: Vec<ModelRef>,
}

/// A model that a run logged (MLflow 3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggedModel {
    /// `m-` and 32 hex digits.
    pub id: String,
    /// Shown to people.
    pub name: String,
    /// Its experiment.
    pub experiment_id: String,
    /// The run that made it, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_run_id: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model_type: String,
    /// Whether it is whole.
    pub status: LoggedModelStatus,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_message: String,
    /// Where its files are.
    pub artifact_uri: String,
    /// Milliseconds since 1970.
    pub created: i64,
    /// Milliseconds since 1970.
    pub updated: i64,
    /// What it was made with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Free marks.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// What was measured on it, per run: the newest point of each metric.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<ModelMetric>,
}

/// What a run measured on a logged model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelMetric {
    /// The metric.
    pub key: String,
    /// The run that measured.
    pub run_id: String,
    /// The newest point.
    #[serde(flatten)]
    pub at: Metric,
}

/// Whether a logged model is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoggedModelStatus {
    /// Its files are on their way.
    #[default]
    #[serde(rename = "LOGGED_MODEL_PENDING")]
    Pending,
    /// Whole.
    #[serde(rename = "LOGGED_MODEL_READY")]
    Ready,
    /// Not whole, and it will not be.
    #[serde(rename = "LOGGED_MODEL_UPLOAD_FAILED")]
    Failed,
}

/// Numbers as JSON and protobuf's JSON have them: NaN and the infinities are texts.
pub mod float {
    use super::{Deserialize, Deserializer, Serializer};

    /// Writes a number.
    ///
    /// # Errors
    /// The serializer's.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_nan() {
            to.serialize_str("NaN")
        } else if value.is_infinite() {
            to.serialize_str(if *value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        } else {
            to.serialize_f64(*value)
        }
    }

    /// Reads a number.
    ///
    /// # Errors
    /// When it is neither a number nor a text that means one.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Number(n) => Ok(n),
            Either::Text(text) => text
                .parse()
                .map_err(|_| serde::de::Error::custom(format!("\"{text}\" is not a number"))),
        }
    }
}
