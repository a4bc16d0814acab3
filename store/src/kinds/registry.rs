//! The registry of models: RegisteredModel, ModelVersion. Kubeflow's Model Registry and MLflow's are two views of the
//! same objects: MLflow's tags are the custom properties, its source is the uri of the first model artifact.
//!
//! Their names are numbers, as upstream's ids; people know them by `spec.name`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Column, Error, Kind, Object, Result};

const fn kind(
    kind: &'static str,
    plural: &'static str,
    validate: fn(&Object) -> Result<()>,
    columns: &'static [Column],
) -> Kind {
    Kind {
        group: "kfbox.dev",
        version: "v1alpha1",
        kind,
        plural,
        validate,
        columns,
        ..Kind::BASE
    }
}

/// A model that has versions.
pub static REGISTERED_MODEL: Kind = kind(
    "RegisteredModel",
    "registeredmodels",
    |o| o.spec::<RegisteredModelSpec>().and_then(|s| named(&s.name)),
    &[
        Column::path("Model", ".spec.name"),
        Column::path("State", ".spec.state"),
        Column::path("Versions", ".spec.lastVersion"),
        Column::of("Aliases", |o| {
            let spec: RegisteredModelSpec = o.spec().unwrap_or_default();
            let all = spec.aliases.iter().map(|(a, v)| format!("{a}={v}"));
            all.collect::<Vec<_>>().join(",")
        }),
    ],
);

/// A version of a model, owned by it.
pub static MODEL_VERSION: Kind = kind(
    "ModelVersion",
    "modelversions",
    |o| o.spec::<ModelVersionSpec>().and_then(|s| named(&s.name)),
    &[
        Column::path("Model", ".spec.registeredModelId"),
        Column::path("Version", ".spec.name"),
        Column::path("Stage", ".spec.stage"),
        Column::path("State", ".spec.state"),
        Column::path("URI", ".spec.artifacts[0].uri").wide(),
    ],
);

pub(crate) const KINDS: &[&Kind] = &[&REGISTERED_MODEL, &MODEL_VERSION];

fn named(name: &str) -> Result<()> {
    match name.trim() {
        "" => Err(Error::invalid(
            "name: required; send a text that is not empty",
        )),
        _ => Ok(()),
    }
}

/// Whether a model or a version is put away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelState {
    /// In the lists.
    #[default]
    Live,
    /// Out of sight, kept.
    Archived,
}

/// Typed marks, as Kubeflow writes them: `{"metadataType": "MetadataStringValue", "string_value": "x"}`.
pub type Properties = BTreeMap<String, Value>;

/// A mark that is a text.
pub fn text_property(text: &str) -> Value {
    json!({"metadataType": "MetadataStringValue", "string_value": text})
}

/// A mark's value, whatever its type.
pub fn property_value(property: &Value) -> Option<&Value> {
    let fields = property.as_object()?;
    let mut values = fields.iter().filter(|(key, _)| key.ends_with("_value"));
    values.next().map(|(_, value)| value)
}

/// A mark as text.
pub fn property_text(property: &Value) -> String {
    match property_value(property) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// A registered model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisteredModelSpec {
    /// Unique in the namespace.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Whether it is put away.
    pub state: ModelState,
    /// Free marks.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub custom_properties: Properties,
    /// Names for versions, such as `champion`, and the version's number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, u64>,
    /// The greatest number that was given to a version.
    pub last_version: u64,
    /// Fields of Kubeflow's that mean nothing to the box, such as `externalId`, `readme`, `license`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A version of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelVersionSpec {
    /// The model, by the name of its object.
    pub registered_model_id: String,
    /// MLflow's version: 1 for the first.
    pub number: u64,
    /// Kubeflow's version, unique in the model; the number unless it was given.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Whether it is put away.
    pub state: ModelState,
    /// MLflow's stage: `None`, `Staging`, `Production` or `Archived`.
    pub stage: Stage,
    /// The tracked run that made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run_id: String,
    /// Where that run can be seen, when it is elsewhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run_link: String,
    /// The logged model it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub logged_model_id: String,
    /// Free marks.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub custom_properties: Properties,
    /// What belongs to it, in Kubeflow's form; the first `model-artifact` is the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Map<String, Value>>,
    /// Fields of Kubeflow's that mean nothing to the box, such as `externalId`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ModelVersionSpec {
    /// Where the model is; "" = nobody has said.
    pub fn source(&self) -> &str {
        let is_model = |a: &&Map<String, Value>| {
            a.get("artifactType").and_then(Value::as_str) == Some("model-artifact")
        };
        let model = self.artifacts.iter().find(is_model);
        model
            .and_then(|a| a.get("uri")?.as_str())
            .unwrap_or_default()
    }
}

/// MLflow's stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// None was given.
    #[default]
    None,
    /// Being tried.
    Staging,
    /// In use.
    Production,
    /// No longer in use.
    Archived,
}

impl Stage {
    /// The stage of this name, in any case.
    ///
    /// # Errors
    /// `Invalid`, naming the stages there are.
    pub fn parse(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            "archived" => Ok(Self::Archived),
            _ => Err(Error::invalid(format!(
                "stage: Invalid Model Version stage: {name}. Value must be one of None, Staging, Production, Archived."
            ))),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Staging => "Staging",
            Self::Production => "Production",
            Self::Archived => "Archived",
        }
    }
}
