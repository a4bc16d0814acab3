//! Who may come in: Token. Secrets are never stored, only their SHA-256.

use serde::{Deserialize, Serialize};

use crate::{Column, Kind};

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

pub(crate) const KINDS: &[&Kind] = &[&TOKEN];

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything but Secrets.
    #[default]
    View,
    /// Read and write everything, and reach into Pods.
    Edit,
}
