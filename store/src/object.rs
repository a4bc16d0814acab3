//! The envelope: apiVersion, kind, metadata, and a body whose unknown fields survive a round trip.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, Kind, Result};

/// Everything the box knows is one of these. The shape on the wire and on disk is Kubernetes' own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// `group/version`, or `v1` for the core group.
    #[serde(rename = "apiVersion", default)]
    pub api_version: String,
    /// The kind's name, such as `Pod`.
    #[serde(default)]
    pub kind: String,
    /// Who it is.
    #[serde(default)]
    pub metadata: Meta,
    /// `spec`, `status`, `data` and whatever else the client sent, kept as it was.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

/// Kubernetes' ObjectMeta: the part the store acts on is typed, the rest is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Unique within kind and namespace.
    #[serde(default)]
    pub name: String,
    /// Empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// A prefix from which the server makes a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// Unique for ever: tells apart two objects that had the same name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The change that wrote this version; a decimal string on the wire. 0 = not stored yet.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        serialize_with = "version_out",
        deserialize_with = "version_in"
    )]
    pub resource_version: u64,
    /// Counts changes of the desired state (everything but metadata and status).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set when a delete waits for finalizers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// For selection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The object is deleted with its owners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerRef>,
    /// Rooms that must act before the object may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Whatever else a client put into metadata.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Kubernetes' OwnerReference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRef {
    /// The owner's apiVersion.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name, in the same namespace.
    pub name: String,
    /// The owner's uid: a new object of the same name owns nothing.
    pub uid: String,
    /// Whether the owner manages this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether the owner may go only after this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

fn is_zero(v: &u64) -> bool {
    *v == 0
}

fn version_out<S: Serializer>(v: &u64, s: S) -> std::result::Result<S::Ok, S::Error> {
    s.collect_str(v)
}

fn version_in<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "metadata.resourceVersion: \"{text}\" is not a version of this box"
        ))
    })
}

/// The address of an object.
#[derive(Clone)]
pub struct Ref {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Ref {
    /// An address. `namespace` is ignored for cluster-scoped kinds.
    pub fn new(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced { namespace } else { "" };
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn parts(&self) -> (&str, &str, &str, &str) {
        (
            self.kind.group,
            self.kind.plural,
            &self.namespace,
            &self.name,
        )
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}
impl Eq for Ref {}
impl Hash for Ref {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}
impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind.plural, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind.plural, self.namespace, self.name)
        }
    }
}
impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Object {
    /// A new object of a kind, not stored yet.
    pub fn new(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        Self {
            api_version: kind.api_version(),
            kind: kind.kind.into(),
            metadata: Meta {
                name: name.into(),
                namespace: if kind.namespaced {
                    namespace.into()
                } else {
                    String::new()
                },
                ..Meta::default()
            },
            body: Map::new(),
        }
    }

    /// Sets `spec` from a typed value.
    ///
    /// # Errors
    /// When the value has no JSON form (a map with keys that are not text).
    pub fn with_spec(mut self, spec: &impl Serialize) -> Result<Self> {
        self.set("spec", spec)?;
        Ok(self)
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        self.metadata.labels.insert(key.into(), value.into());
        self
    }

    /// Makes `owner` this object's controller: it will be deleted with it.
    #[must_use]
    pub fn owned_by(mut self, owner: &Object) -> Self {
        self.metadata.owner_references.push(OwnerRef {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.metadata.name.clone(),
            uid: owner.metadata.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        });
        self
    }

    /// Sets a field of the body from a typed value; a value that serialises to null removes it.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn set(&mut self, field: &str, value: &impl Serialize) -> Result<()> {
        match serde_json::to_value(value).map_err(Error::internal)? {
            Value::Null => {
                self.body.remove(field);
            }
            value => {
                self.body.insert(field.into(), value);
            }
        }
        Ok(())
    }

    /// The typed form of a field of the body; an absent field reads as an empty object.
    ///
    /// # Errors
    /// `Invalid`, naming kind, name and field, when the stored JSON does not fit the type.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        static EMPTY: Value = Value::Null;
        let value = self.body.get(field).unwrap_or(&EMPTY);
        let parsed = if value.is_null() {
            T::deserialize(Value::Object(Map::new()))
        } else {
            T::deserialize(value)
        };
        parsed.map_err(|e| {
            Error::invalid(format!(
                "{} \"{}\": {field}: {e}",
                self.kind, self.metadata.name
            ))
        })
    }

    /// The typed spec.
    ///
    /// # Errors
    /// As [`Object::get`].
    pub fn spec<T: DeserializeOwned>(&self) -> Result<T> {
        self.get("spec")
    }

    /// The typed status.
    ///
    /// # Errors
    /// As [`Object::get`].
    pub fn status<T: DeserializeOwned>(&self) -> Result<T> {
        self.get("status")
    }

    /// Its address, when its kind is known here.
    pub fn reference(&self) -> Option<Ref> {
        let kind = Kind::of(&self.api_version, &self.kind)?;
        Some(Ref::new(
            kind,
            &self.metadata.namespace,
            &self.metadata.name,
        ))
    }

    /// A label's value, or "".
    pub fn label(&self, key: &str) -> &str {
        self.metadata.labels.get(key).map_or("", String::as_str)
    }

    /// Whether a delete was asked for and waits for finalizers.
    pub fn deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The owner that manages this object, if any.
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.metadata
            .owner_references
            .iter()
            .find(|o| o.controller == Some(true))
    }
}
