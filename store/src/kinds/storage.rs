//! What is known of the stored bytes: Scrub; and where bytes lie that are not here: RemoteBucket.

use serde::{Deserialize, Serialize};

use super::schema_of;
use crate::{Column, Error, Kind, Verbs};

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

pub(crate) const KINDS: &[&Kind] = &[&SCRUB, &REMOTE_BUCKET];

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

/// A bucket on another server, shown as one of a namespace and read only. For who administers the box: its server is
/// asked from the box.
pub static REMOTE_BUCKET: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "RemoteBucket",
    plural: "remotebuckets",
    verbs: Verbs::All,
    namespaced: false,
    schema: Some(schema_of::<RemoteBucketSpec, RemoteBucketStatus>),
    prepare: |o| {
        if o.metadata.uid.is_empty() {
            o.metadata.finalizers.retain(|f| f != REMOTE_FINALIZER);
            o.metadata.finalizers.push(REMOTE_FINALIZER.into());
        }
        Ok(())
    },
    // What is kept of one place is not what another has.
    fixed: &[
        ("/spec/namespace", "field is immutable"),
        ("/spec/url", "field is immutable: make another RemoteBucket"),
    ],
    validate: |o| {
        let spec: RemoteBucketSpec = o.spec()?;
        match (spec.namespace.as_str(), spec.url.as_str()) {
            ("", _) => Err(Error::invalid(
                "spec.namespace: required, whose bucket it is",
            )),
            (_, "") => Err(Error::invalid(
                "spec.url: required, such as s3://bucket/prefix, gs://bucket, az://container or https://host/folder",
            )),
            _ => Ok(()),
        }
    },
    columns: &[
        Column::path("Namespace", ".spec.namespace"),
        Column::path("URL", ".spec.url"),
        Column::path("Phase", ".status.phase"),
        Column::path("Message", ".status.message"),
    ],
    ..Kind::BASE
};

/// Held by a RemoteBucket until its bucket is gone.
pub const REMOTE_FINALIZER: &str = "kfbox.dev/remote-bucket";

/// Where the bucket lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RemoteBucketSpec {
    /// Whose bucket it is here; the bucket's name is the object's.
    pub namespace: String,
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `https://host/folder` (WebDAV).
    pub url: String,
    /// A server other than the cloud's own, such as `http://10.0.0.5:9000`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// Of S3; absent = `us-east-1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// A Secret in the namespace with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; `GOOGLE_SERVICE_ACCOUNT` (the JSON);
    /// `AZURE_STORAGE_ACCOUNT` and `AZURE_STORAGE_KEY`; or `username` and `password`. Absent = open to everybody.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
}

/// Whether it can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteBucketStatus {
    /// `Ready` or `Failed`.
    pub phase: String,
    /// What stands in the way.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}
