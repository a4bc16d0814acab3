//! Environment: an image plus a set-up script that was run in it once. What a lightweight component's
//! `pip install` asks for is paid once per (image, script) and shared by all later steps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Column, Error, Kind, Object, Result};

/// An image with a script's effects kept as one more layer. Its name is a digest of both. It goes, image and all, when
/// it is deleted, or when no step has asked for it for a month.
pub static ENVIRONMENT: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "Environment",
    plural: "environments",
    short: &["env"],
    validate: check,
    columns: &[
        Column::path("Base", ".spec.image"),
        Column::path("Status", ".status.phase"),
        Column::path("Last used", ".status.lastUsed"),
    ],
    ..Kind::BASE
};

pub(crate) const KINDS: &[&Kind] = &[&ENVIRONMENT];

/// What is wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// The image to start from, by engine id.
    pub image: String,
    /// Its name, for people.
    pub image_name: String,
    /// Run by `sh -c` as the image's own user.
    pub script: String,
    /// Environment of the script: what changes what pip installs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvironmentPhase {
    /// The script waits or runs.
    #[default]
    Building,
    /// The image is there.
    Ready,
    /// The script failed; a later use tries again.
    Failed,
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentStatus {
    /// How far it is.
    pub phase: EnvironmentPhase,
    /// The name of the finished image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The Pod that runs, or ran, the script: its log is the build's log.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_name: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<String>,
    /// When a step last asked for it, to the hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Builds tried.
    pub attempt: u32,
}

fn check(object: &Object) -> Result<()> {
    let spec: EnvironmentSpec = object.spec()?;
    if spec.image.is_empty() {
        return Err(Error::invalid("spec.image: required"));
    }
    Ok(())
}
