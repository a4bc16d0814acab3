//! Who may come in: Token, for the API and the browser; AccessKey, for the S3 endpoint. Secrets are never stored:
//! of a token only its SHA-256, of a key nothing, as it is derived.

use serde::{Deserialize, Serialize};

use super::{NoStatus, schema_of};
use crate::{Column, Error, Kind, Verbs};

/// A bearer token, a browser session, or a one-time login link. Its name is derived from the secret's digest,
/// so that a request is checked by one lookup.
pub static TOKEN: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "Token",
    plural: "tokens",
    namespaced: false,
    validate: |object| object.spec::<TokenSpec>().map(|_| ()),
    columns: &[
        Column::path("User", ".spec.user"),
        Column::path("Use", ".spec.use"),
        Column::path("Expires", ".spec.expires"),
    ],
    ..Kind::BASE
};

/// A key to the S3 endpoint. It opens the buckets of its namespace, or, in `kubeflow-system`, of all. The box keeps
/// a Secret of the same name beside it, with the key's id and secret under the names that clients look for.
pub static ACCESS_KEY: Kind = Kind {
    group: "kfbox.dev",
    version: "v1alpha1",
    kind: "AccessKey",
    plural: "accesskeys",
    short: &["ak"],
    verbs: Verbs::All,
    namespaced: true,
    schema: Some(schema_of::<AccessKeySpec, NoStatus>),
    validate: |object| {
        let spec: AccessKeySpec = object.spec()?;
        if let Some(at) = &spec.expires
            && at.parse::<jiff::Timestamp>().is_err()
        {
            return Err(Error::invalid(format!(
                "spec.expires: \"{at}\" is no time: write it like 2027-01-31T12:00:00Z"
            )));
        }
        match spec.rules.iter().position(|r| r.bucket.is_empty()) {
            Some(i) => Err(Error::invalid(format!(
                "spec.rules[{i}].bucket: required; leave out the rules to open all buckets of the namespace"
            ))),
            None => Ok(()),
        }
    },
    columns: &[
        Column::path("Buckets", ".spec.rules[*].bucket"),
        Column::path("Expires", ".spec.expires"),
        Column::path("Note", ".spec.note"),
    ],
    ..Kind::BASE
};

/// What an AccessKey opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKeySpec {
    /// The only buckets and prefixes it opens; absent = all buckets of the namespace, and making new ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<BucketRule>,
    /// RFC 3339; absent = does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// A word on what it is for, shown in lists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A bucket, or a part of one, that an AccessKey opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketRule {
    /// The bucket's name.
    pub bucket: String,
    /// Only keys that start with this; absent = all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// `view` reads, `edit` reads and writes.
    #[serde(default)]
    pub role: Role,
}

pub(crate) const KINDS: &[&Kind] = &[&TOKEN, &ACCESS_KEY];

/// What a token is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenUse {
    /// Sent as `Authorization: Bearer`.
    #[default]
    Api,
    /// Exchanged once for a session.
    Login,
    /// Held in a browser's cookie.
    Session,
}

/// A token's record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenSpec {
    /// Whose it is.
    pub user: String,
    /// What it is for.
    #[serde(rename = "use", default)]
    pub token_use: TokenUse,
    /// SHA-256 of the secret, in hex.
    #[serde(default)]
    pub sha256: String,
    /// RFC 3339; absent = does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What it opens; absent = everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<TokenScope>,
    /// A word on what it is for, shown in lists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What a token opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenScope {
    /// The only namespaces it may look into.
    pub namespaces: Vec<String>,
    /// What it may do there.
    #[serde(default)]
    pub role: Role,
}

/// What a scoped token may do in its namespaces.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything but Secrets.
    #[default]
    View,
    /// Read and write everything, and reach into Pods.
    Edit,
}
