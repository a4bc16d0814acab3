//! The rows of the byte store: buckets, versions of objects, uploads and their parts, blobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A bucket.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bucket {
    /// Milliseconds since 1970.
    pub created: i64,
    /// The namespace whose keys open it; "" = keys of the whole box only.
    pub namespace: String,
    #[serde(default)]
    pub versioning: Versioning,
    #[serde(default, skip_serializing_if = "Acl::is_private")]
    pub acl: Acl,
    /// Greatest sum of bytes of all versions; 0 = no limit.
    #[serde(default)]
    pub quota: u64,
    /// Whether it lies on another server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remote: bool,
    /// Of a data set: the top folders that can be written to; all others are commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// CORS rules, in order; the first that fits counts.
    #[serde(default)]
    pub cors: Vec<CorsRule>,
    #[serde(default)]
    pub lifecycle: Vec<LifecycleRule>,
}

/// Who may use a bucket or an object without a key that opens it: the canned ACLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Acl {
    /// Nobody.
    #[default]
    Private,
    /// Whoever holds any key of the box may read.
    AuthenticatedRead,
    /// Everybody may read.
    PublicRead,
    /// Everybody may read and write.
    PublicReadWrite,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
impl Acl {
    fn is_private(&self) -> bool {
        *self == Self::Private
    }

    /// Whether it lets in who asks, with any key or with none.
    pub(crate) fn allows(self, write: bool, with_key: bool) -> bool {
        match self {
            Self::Private => false,
            Self::AuthenticatedRead => with_key && !write,
            Self::PublicRead => !write,
            Self::PublicReadWrite => true,
        }
    }
}

/// Whether overwritten and deleted objects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Versioning {
    /// Never asked for.
    #[default]
    Off,
    Enabled,
    Suspended,
}

/// Which web pages may read or write a bucket.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CorsRule {
    pub id: Option<String>,
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    /// Seconds.
    pub max_age: Option<i32>,
}

/// What is to be deleted by itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LifecycleRule {
    pub id: String,
    pub enabled: bool,
    pub prefix: String,
    /// All of these must be on the object.
    pub tags: Vec<(String, String)>,
    /// Days after which the current version expires.
    pub days: Option<i32>,
    /// Or a day (milliseconds since 1970) from which all expire.
    pub date: Option<i64>,
    /// Days after which a version that is no longer current goes.
    pub noncurrent_days: Option<i32>,
    /// Whether a delete marker goes once it is the last version.
    pub expired_marker: bool,
    /// Days after which an upload that was not completed goes.
    pub abort_days: Option<i32>,
}

/// The version id of objects in a bucket without versioning.
pub(crate) const NULL: &str = "null";

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    /// [`NULL`], or an id of which the first 16 digits tell the place among the key's versions.
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marker: bool,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// The blobs that hold the bytes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
    /// What the client sent in parts; empty for an object sent in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ObjectPart>,
    #[serde(default)]
    pub about: About,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    #[serde(default, skip_serializing_if = "Acl::is_private")]
    pub acl: Acl,
    /// What it is on the other server, for an object that is kept of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// SHA-256 of the bytes in hex, once a commit has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Where a kept object comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Its ETag there, by which it is told whether it is still current.
    pub etag: String,
    /// Since when it is kept (milliseconds since 1970).
    pub kept: i64,
}

/// What a client says of an object, and gets back with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Seconds since 1970.
    pub expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// `x-amz-meta-*`, without the prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
}

/// A checksum that the client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    pub algorithm: String,
    /// In Base64; of a composite one with `-` and the number of parts.
    pub value: String,
    /// Over the parts' checksums instead of over the bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub composite: bool,
}

/// A stretch of an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// Which blob.
    pub blob: String,
    /// Where in the blob it starts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A part of a completed upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ObjectPart {
    pub number: i32,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

/// An upload that is under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Upload {
    /// Milliseconds since 1970.
    pub at: i64,
    pub about: About,
    #[serde(default, skip_serializing_if = "Acl::is_private")]
    pub acl: Acl,
    /// The algorithm that was asked for, and whether it is over the parts' checksums.
    #[serde(default)]
    pub checksum: Option<(String, bool)>,
}

/// A part of an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Milliseconds since 1970.
    pub at: i64,
    pub size: u64,
    /// MD5 in hex.
    pub etag: String,
    pub segments: Vec<Segment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

/// Bytes that do not change, under an id. Who uses them is counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub place: Place,
    pub size: u64,
    /// Segments that point here.
    pub refs: u64,
    /// In hex; absent for a file that a step left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// What a scrub found wrong with the bytes: they are not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// Where a blob's bytes lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Place {
    /// In the database.
    Inline,
    /// A file of the store, named by the id.
    File,
    /// Where a step left it: a file in the bucket's folder, as it was when it was taken in.
    Tree {
        /// Relative to the folder of buckets.
        path: String,
        /// Modification time in nanoseconds since 1970.
        mtime: i128,
    },
}
