//! What is known of the stored bytes: Scrub.

use serde::{Deserialize, Serialize};

use super::schema_of;
use crate::{Column, Kind, Verbs};

/// One reading of all stored bytes, to find those that have changed on the disk. The box makes one each week.
pub static SCRUB: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "Scrub",
    plural: "scrubs",
    verbs: Verbs::CreateDelete,
    namespaced: false,
    schema: Some(schema_of::<NoSpec, ScrubStatus>),
    columns: &[
        Column::path("Checked", ".status.checked"),
        Column::path("Of", ".status.total"),
        Column::of("Damaged", |scrub| match scrub.status::<ScrubStatus>() {
            Ok(status) => status.damaged.len().to_string(),
            Err(_) => "?".into(),
        }),
        Column::path("Finished", ".status.finishTime"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[&SCRUB];

/// A Scrub is asked for by being there.
#[derive(schemars::JsonSchema)]
struct NoSpec {}

/// How far it is, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScrubStatus {
    /// Blobs read so far.
    pub checked: u64,
    /// Blobs there are.
    pub total: u64,
    /// Objects whose bytes are not what was stored. They are not served any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damage>,
    /// When it was through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<String>,
    /// Why it could not be finished.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A version of an object whose bytes are not what was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// Its bucket.
    pub bucket: String,
    /// Its key; "" = no object uses the bytes, such as a part of an upload that is under way.
    pub key: String,
    /// Which version; "null" in a bucket without versions.
    pub version: String,
    /// What is wrong.
    pub reason: String,
}
