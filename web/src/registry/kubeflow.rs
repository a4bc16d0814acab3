//! The REST API of Kubeflow's Model Registry, `/api/model_registry/v1` (and `v1alpha3`, the same calls), as its
//! unmodified client `model-registry` speaks it. Below `/model-registry/{namespace}` it is that namespace's registry,
//! without it the box's own.
//!
//! An entity is shown as its spec with an id and its times. Artifacts are parts of their version. Upstream's serving
//! environments and inference services answer 501: the endpoints of a box are its InferenceServices.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use kfbox_store::{
    Code, Error, Ref, Result,
    kinds::{
        core::NAMESPACE,
        registry::{
            MODEL_VERSION, ModelVersionSpec, REGISTERED_MODEL, RegisteredModelSpec, property_text,
        },
    },
    track::{Entity, Fields, Filter, Schema},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Entry, Version, created, updated};
use crate::{App, Routes, body, error::Registry};

const ROOT: &str = "/api/model_registry/";
const PREFIX: &str = "/model-registry/";
/// How many of a list are shown unless asked, and at most.
const PAGE: usize = 100;
const MOST: usize = 1000;

/// Of the box, not of this dialect.
const OWN: &[&str] = &[
    "aliases",
    "lastVersion",
    "number",
    "stage",
    "runId",
    "runLink",
    "loggedModelId",
    "artifacts",
];
/// Clients send back what they were shown.
const SHOWN_ONLY: &[&str] = &["id", "createTimeSinceEpoch", "lastUpdateTimeSinceEpoch"];
const ARTIFACT_TYPES: &[&str] = &[
    "model-artifact",
    "doc-artifact",
    "dataset-artifact",
    "metric",
    "parameter",
];
const ARTIFACT_STATES: &[&str] = &[
    "UNKNOWN",
    "PENDING",
    "LIVE",
    "MARKED_FOR_DELETION",
    "DELETED",
    "ABANDONED",
    "REFERENCE",
];
/// Types of a mark, and the field with its value.
const PROPERTY_TYPES: &[(&str, &str)] = &[
    ("MetadataStringValue", "string_value"),
    ("MetadataIntValue", "int_value"),
    ("MetadataDoubleValue", "double_value"),
    ("MetadataBoolValue", "bool_value"),
    ("MetadataStructValue", "struct_value"),
    ("MetadataProtoValue", "proto_value"),
];
const FIELDS: Schema = Schema {
    entities: &[Entity::Tag],
    attributes: &[
        ("id", false),
        ("name", false),
        ("description", false),
        ("externalId", false),
        ("owner", false),
        ("author", false),
        ("state", false),
        ("registeredModelId", false),
        ("artifactType", false),
        ("uri", false),
        ("modelFormatName", false),
        ("modelFormatVersion", false),
        ("storageKey", false),
        ("storagePath", false),
        ("serviceAccountName", false),
        ("license", false),
        ("provider", false),
        ("maturity", false),
        ("libraryName", false),
        ("createTimeSinceEpoch", true),
        ("lastUpdateTimeSinceEpoch", true),
    ],
    registry: true,
};

pub(crate) fn routes() -> Routes {
    let both = ["", "/model-registry/{namespace}"];
    both.map(|prefix| (format!("{prefix}{ROOT}{{*call}}"), any(call)))
        .into()
}

/// Whether a path is of this dialect.
pub(crate) fn speaks(path: &str) -> bool {
    path.starts_with(ROOT) || path.starts_with(PREFIX)
}

/// The namespace that a path of this dialect names.
pub(crate) fn namespace(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)?.split('/').next()
}

struct Ask {
    app: Arc<App>,
    namespace: String,
    query: BTreeMap<String, String>,
    body: Map<String, Value>,
}

async fn call(
    State(app): crate::State,
    request: Request,
) -> std::result::Result<Response, Registry> {
    let uri = request.uri().clone();
    let namespace = namespace(uri.path())
        .unwrap_or(&app.config.namespace)
        .to_owned();
    if app
        .store
        .get(&Ref::new(&NAMESPACE, "", &namespace))
        .await?
        .is_none()
    {
        let why = format!("there is no namespace \"{namespace}\" on this box");
        return Err(Error::not_found(why).into());
    }
    let method = request.method().as_str().to_owned();
    let query = uri.query().unwrap_or_default().as_bytes();
    let ask = Ask {
        namespace,
        query: url::form_urlencoded::parse(query).into_owned().collect(),
        body: match method.as_str() {
            "GET" => Map::new(),
            _ => body::object(&app, request).await?,
        },
        app,
    };
    let nothing = || {
        Error::not_found(format!(
            "no call {method} {} in the model registry's API",
            uri.path()
        ))
    };
    let path = uri.path().split_once(ROOT).and_then(|(_, rest)| {
        rest.strip_prefix("v1/")
            .or_else(|| rest.strip_prefix("v1alpha3/"))
    });
    let path: Vec<&str> = path
        .ok_or_else(nothing)?
        .trim_end_matches('/')
        .split('/')
        .collect();
    let answer = match (method.as_str(), path.as_slice()) {
        ("GET", ["registered_model"]) => ask.find(ask.shown_models().await?, None)?,
        ("GET", ["registered_models"]) => ask.list(ask.shown_models().await?)?,
        ("POST", ["registered_models"]) => return Ok(new(ask.create_model().await?)),
        ("GET", ["registered_models", id]) => show(&ask.model(id).await?)?,
        ("PATCH", ["registered_models", id]) => ask.change_model(id).await?,
        ("GET", ["registered_models", id, "versions"]) => {
            ask.list(ask.shown_versions(Some(id)).await?)?
        }
        ("POST", ["registered_models", id, "versions"]) => {
            return Ok(new(ask.create_version(Some(id)).await?));
        }
        ("GET", ["model_version"]) => {
            ask.find(ask.shown_versions(None).await?, Some("registeredModelId"))?
        }
        ("GET", ["model_versions"]) => ask.list(ask.shown_versions(None).await?)?,
        ("POST", ["model_versions"]) => return Ok(new(ask.create_version(None).await?)),
        ("GET", ["model_versions", id]) => show(&ask.version(id).await?)?,
        ("PATCH", ["model_versions", id]) => ask.change_version(id).await?,
        ("GET", ["model_versions", id, "artifacts"]) => {
            ask.list(artifacts(&ask.version(id).await?, ask.wanted_type()?))?
        }
        ("POST", ["model_versions", id, "artifacts"]) => ask.put_artifact(id).await?,
        ("GET", ["artifact" | "model_artifact"]) => ask.find_artifact(path[0]).await?,
        ("GET", ["artifacts"]) => ask.list(ask.all_artifacts(ask.wanted_type()?).await?)?,
        ("GET", ["model_artifacts"]) => {
            ask.list(ask.all_artifacts(Some("model-artifact")).await?)?
        }
        ("GET", ["artifacts" | "model_artifacts", id]) => ask.artifact(id).await?.1.into(),
        ("PATCH", ["artifacts" | "model_artifacts", id]) => {
            let version = ask.artifact(id).await?.0;
            ask.change_artifact(&version, Some(id)).await?
        }
        ("POST", ["artifacts" | "model_artifacts"]) => {
            return Err(unsupported(
                "an artifact belongs to a version: POST /model_versions/{id}/artifacts",
            )
            .into());
        }
        (_, [first, ..])
            if first.starts_with("serving_environment")
                || first.starts_with("inference_service") =>
        {
            return Err(unsupported(
                "serving is described by InferenceServices of the Kubernetes API, not here",
            )
            .into());
        }
        _ => return Err(nothing().into()),
    };
    Ok(Json(answer).into_response())
}

fn unsupported(why: &str) -> Error {
    Error::new(Code::Unsupported, why)
}

fn new(entity: Value) -> Response {
    (StatusCode::CREATED, Json(entity)).into_response()
}

/// The spec as the dialect shows it.
fn show<S: Serialize>(entry: &Entry<S>) -> Result<Value> {
    let mut shown = fields(&entry.spec)?;
    shown.retain(|key, _| !OWN.contains(&key.as_str()));
    shown.insert("id".into(), entry.object.metadata.name.clone().into());
    for (key, ms) in [
        ("createTimeSinceEpoch", created(&entry.object)),
        ("lastUpdateTimeSinceEpoch", updated(&entry.object)),
    ] {
        shown.insert(key.into(), ms.to_string().into());
    }
    Ok(shown.into())
}

fn fields<S: Serialize>(spec: &S) -> Result<Map<String, Value>> {
    match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Error::internal(
            "a spec of the registry that is no JSON object",
        )),
    }
}

/// A spec with the fields of a body in it; `null` takes one away.
fn merged<S: Serialize + DeserializeOwned>(spec: &S, body: Map<String, Value>) -> Result<S> {
    check_properties(&body)?;
    let mut all = fields(spec)?;
    for (key, value) in body {
        if OWN.contains(&key.as_str()) {
            return Err(Error::invalid(format!(
                "{key}: not a field that can be set here"
            )));
        }
        match value {
            _ if SHOWN_ONLY.contains(&key.as_str()) => {}
            Value::Null => _ = all.remove(&key),
            value => _ = all.insert(key, value),
        }
    }
    // By the field, so that an error names it.
    serde_path_to_error::deserialize(Value::Object(all))
        .map_err(|e| Error::invalid(format!("{}: {}", e.path(), e.inner())))
}

fn check_properties(body: &Map<String, Value>) -> Result<()> {
    let given = match body.get("customProperties") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(Error::invalid("customProperties: must be an object")),
    };
    for (key, property) in given {
        let kind = property.get("metadataType").and_then(Value::as_str);
        let Some((_, field)) = PROPERTY_TYPES.iter().find(|(name, _)| Some(*name) == kind) else {
            let known: Vec<_> = PROPERTY_TYPES.iter().map(|(name, _)| *name).collect();
            return Err(Error::invalid(format!(
                "customProperties.{key}.metadataType: must be one of {}",
                known.join(", ")
            )));
        };
        if property.get(*field).is_none() {
            return Err(Error::invalid(format!(
                "customProperties.{key}.{field}: required"
            )));
        }
    }
    Ok(())
}

fn required<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str> {
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Error::invalid(format!(
            "{name}: required, a text that is not empty"
        ))),
    }
}

fn text<'a>(entity: &'a Value, key: &str) -> &'a str {
    entity[key].as_str().unwrap_or_default()
}

/// An entity as the search language asks about it.
struct Seen<'a>(&'a Value);

impl Fields for Seen<'_> {
    fn texts(&self, entity: Entity, key: &str) -> Vec<String> {
        let found = match entity {
            Entity::Tag => self.0["customProperties"].get(key).map(property_text),
            _ => self
                .0
                .get(key)
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)),
        };
        found.into_iter().collect()
    }
    fn number(&self, entity: Entity, key: &str) -> Option<f64> {
        self.texts(entity, key).first()?.parse().ok()
    }
}

/// The artifacts of a version, all or of one type.
fn artifacts(version: &Version, wanted: Option<&str>) -> Vec<Value> {
    let all = version.spec.artifacts.iter();
    all.filter(|a| wanted.is_none_or(|w| a.get("artifactType").and_then(Value::as_str) == Some(w)))
        .cloned()
        .map(Value::Object)
        .collect()
}

/// Puts the fields of a body into an artifact of a version: of this id, or a new one. Returns where it is.
fn place_artifact(
    spec: &mut ModelVersionSpec,
    id: Option<&str>,
    mut body: Map<String, Value>,
) -> Result<usize> {
    check_properties(&body)?;
    for key in SHOWN_ONLY {
        body.remove(*key);
    }
    let is = |a: &Map<String, Value>, key: &str, value: &str| {
        a.get(key).and_then(Value::as_str) == Some(value)
    };
    let at = spec
        .artifacts
        .iter()
        .position(|a| id.is_some_and(|id| is(a, "id", id)));
    let at = if let Some(at) = at {
        at
    } else {
        let kind = required(&body, "artifactType")?;
        if !ARTIFACT_TYPES.contains(&kind) {
            return Err(Error::invalid(format!(
                "artifactType: must be one of {}",
                ARTIFACT_TYPES.join(", ")
            )));
        }
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
        // A second one of a name replaces the first, as upstream's upsert does.
        let same = |a: &Map<String, Value>| is(a, "name", name) && is(a, "artifactType", kind);
        match spec
            .artifacts
            .iter()
            .position(same)
            .filter(|_| !name.is_empty())
        {
            Some(at) => at,
            None => {
                spec.artifacts.push(Map::new());
                spec.artifacts.len() - 1
            }
        }
    };
    let artifact = &mut spec.artifacts[at];
    let before = artifact.clone();
    for (key, value) in body {
        match (key.as_str(), &value) {
            ("artifactType", v) if before.get("artifactType").is_some_and(|b| b != v) => {
                return Err(Error::invalid(
                    "artifactType: cannot be changed; make another artifact",
                ));
            }
            ("state", Value::String(s)) if !ARTIFACT_STATES.contains(&s.as_str()) => {
                return Err(Error::invalid(format!(
                    "state: \"{s}\" must be one of {}",
                    ARTIFACT_STATES.join(", ")
                )));
            }
            ("name" | "uri" | "description" | "externalId", v)
                if !v.is_string() && !v.is_null() =>
            {
                return Err(Error::invalid(format!("{key}: must be a text")));
            }
            (_, Value::Null) => _ = artifact.remove(&key),
            _ => _ = artifact.insert(key, value),
        }
    }
    artifact.entry("state").or_insert_with(|| "LIVE".into());
    if *artifact != before && !before.is_empty() {
        artifact.insert("lastUpdateTimeSinceEpoch".into(), super::now().into());
    }
    Ok(at)
}

impl Ask {
    fn asked(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    async fn entry<S: DeserializeOwned>(
        &self,
        kind: &'static kfbox_store::Kind,
        what: &str,
        id: &str,
    ) -> Result<Entry<S>> {
        let object = self
            .app
            .store
            .get(&Ref::new(kind, &self.namespace, id))
            .await?;
        Entry::of(object.ok_or_else(|| Error::not_found(format!("no {what} found for id {id}")))?)
    }

    async fn model(&self, id: &str) -> Result<Entry<RegisteredModelSpec>> {
        self.entry(&REGISTERED_MODEL, "registered model", id).await
    }

    async fn version(&self, id: &str) -> Result<Version> {
        self.entry(&MODEL_VERSION, "model version", id).await
    }

    async fn shown_models(&self) -> Result<Vec<Value>> {
        let all = super::models(&self.app.store, &self.namespace).await?;
        all.iter().map(show).collect()
    }

    async fn shown_versions(&self, model: Option<&str>) -> Result<Vec<Value>> {
        let owner = match model {
            Some(id) => Some(self.model(id).await?),
            None => None,
        };
        let all = super::versions(&self.app.store, &self.namespace, owner.as_ref()).await?;
        all.iter().map(show).collect()
    }

    async fn all_artifacts(&self, wanted: Option<&str>) -> Result<Vec<Value>> {
        let all = super::versions(&self.app.store, &self.namespace, None).await?;
        Ok(all.iter().flat_map(|v| artifacts(v, wanted)).collect())
    }

    fn wanted_type(&self) -> Result<Option<&str>> {
        match self.asked("artifactType") {
            Some(kind) if !ARTIFACT_TYPES.contains(&kind) => Err(Error::invalid(format!(
                "artifactType: \"{kind}\" must be one of {}",
                ARTIFACT_TYPES.join(", ")
            ))),
            asked => Ok(asked),
        }
    }

    /// The one entity of an external id, or of a name below its parent.
    fn find(&self, all: Vec<Value>, parent: Option<&str>) -> Result<Value> {
        let (name, external) = (self.asked("name"), self.asked("externalId"));
        if name.is_none() && external.is_none() {
            return Err(Error::invalid(
                "name or externalId: one of them is required",
            ));
        }
        let above = parent.and_then(|_| self.asked("parentResourceId"));
        if let Some(parent) = parent
            && external.is_none()
            && above.is_none()
        {
            return Err(Error::invalid(format!(
                "parentResourceId: required with name, the {parent} that it is below"
            )));
        }
        let is = |e: &Value| {
            external.is_none_or(|x| text(e, "externalId") == x)
                && name.is_none_or(|n| text(e, "name") == n)
                && parent.zip(above).is_none_or(|(key, id)| text(e, key) == id)
        };
        let found = all.into_iter().find(is);
        found.ok_or_else(|| Error::not_found("nothing found for this name or externalId"))
    }

    /// A page of a list, filtered and sorted.
    fn list(&self, mut all: Vec<Value>) -> Result<Value> {
        let filter = Filter::parse(self.asked("filterQuery").unwrap_or_default(), &FIELDS)?;
        all.retain(|e| filter.lets(&Seen(e)));
        let number = |e: &Value, key: &str| text(e, key).parse::<u64>().unwrap_or(0);
        // An artifact's id is that of its version, a dash, and a number.
        let id = |e: &Value| -> Vec<u64> {
            text(e, "id")
                .split('-')
                .map(|n| n.parse().unwrap_or(0))
                .collect()
        };
        let time = match self.asked("orderBy") {
            None | Some("ID") => None,
            Some("CREATE_TIME") => Some("createTimeSinceEpoch"),
            Some("LAST_UPDATE_TIME") => Some("lastUpdateTimeSinceEpoch"),
            Some(other) => {
                return Err(Error::invalid(format!(
                    "orderBy: \"{other}\" must be ID, CREATE_TIME or LAST_UPDATE_TIME"
                )));
            }
        };
        let key = |e: &Value| (time.map(|t| number(e, t)), id(e));
        match self.asked("sortOrder") {
            None | Some("ASC") => all.sort_by_key(key),
            Some("DESC") => all.sort_by_key(|e| Reverse(key(e))),
            Some(other) => {
                return Err(Error::invalid(format!(
                    "sortOrder: \"{other}\" must be ASC or DESC"
                )));
            }
        }
        let size = match self.asked("pageSize").map(str::parse::<usize>) {
            None => PAGE,
            Some(Ok(n)) if n > 0 => n.min(MOST),
            Some(_) => return Err(Error::invalid("pageSize: must be a number above 0")),
        };
        let from = match self
            .asked("nextPageToken")
            .map(|t| t.strip_prefix("at-").map(str::parse))
        {
            None => 0,
            Some(Some(Ok(n))) => n,
            Some(_) => {
                return Err(Error::invalid(
                    "nextPageToken: not a token of this list; start without one",
                ));
            }
        };
        let total = all.len();
        let items: Vec<Value> = all.into_iter().skip(from).take(size).collect();
        let end = from.saturating_add(items.len());
        let next = if end < total {
            format!("at-{end}")
        } else {
            String::new()
        };
        Ok(json!({"size": items.len(), "pageSize": size, "nextPageToken": next, "items": items}))
    }

    async fn create_model(self) -> Result<Value> {
        required(&self.body, "name")?;
        let spec = merged(&RegisteredModelSpec::default(), self.body)?;
        show(&super::create_model(&self.app.store, &self.namespace, spec).await?)
    }

    async fn change_model(self, id: &str) -> Result<Value> {
        let model = self.model(id).await?;
        let body = self.body;
        let change = move |spec: &mut RegisteredModelSpec| {
            *spec = merged(spec, body)?;
            Ok(())
        };
        show(&super::change_model(&self.app.store, &model.object, change).await?)
    }

    async fn create_version(mut self, model: Option<&str>) -> Result<Value> {
        let named = self.body.remove("registeredModelId");
        let named = named.as_ref().and_then(Value::as_str);
        let id = model.or(named).ok_or_else(|| {
            Error::invalid("registeredModelId: required, the id of a registered model")
        })?;
        let owner = self.model(id).await?;
        required(&self.body, "name")?;
        let spec = merged(&ModelVersionSpec::default(), self.body)?;
        show(&super::create_version(&self.app.store, &owner, spec).await?)
    }

    async fn change_version(mut self, id: &str) -> Result<Value> {
        let version = self.version(id).await?;
        let model = self.body.remove("registeredModelId");
        if model.is_some_and(|m| m.as_str() != Some(&version.spec.registered_model_id)) {
            return Err(Error::invalid(
                "registeredModelId: a version cannot move to another model",
            ));
        }
        let body = self.body;
        let change = move |spec: &mut ModelVersionSpec| {
            *spec = ModelVersionSpec {
                artifacts: std::mem::take(&mut spec.artifacts),
                ..merged(spec, body)?
            };
            Ok(())
        };
        show(
            &super::change_version(&self.app.store, &version.object, change)
                .await?
                .0,
        )
    }

    /// An artifact and its version.
    async fn artifact(&self, id: &str) -> Result<(Version, Map<String, Value>)> {
        let missing = || Error::not_found(format!("no artifact found for id {id}"));
        let (version, _) = id.split_once('-').ok_or_else(missing)?;
        let version = self.version(version).await.map_err(|_| missing())?;
        let is = |a: &&Map<String, Value>| a.get("id").and_then(Value::as_str) == Some(id);
        let found = version.spec.artifacts.iter().find(is).cloned();
        Ok((version, found.ok_or_else(missing)?))
    }

    async fn find_artifact(&self, what: &str) -> Result<Value> {
        let wanted = if what == "model_artifact" {
            Some("model-artifact")
        } else {
            self.wanted_type()?
        };
        let all = match self.asked("parentResourceId") {
            Some(version) => artifacts(&self.version(version).await?, wanted),
            None if self.asked("externalId").is_some() => self.all_artifacts(wanted).await?,
            None => {
                return Err(Error::invalid(
                    "parentResourceId: required with name, the id of the artifact's model version",
                ));
            }
        };
        self.find(all, None)
    }

    /// Upstream's upsert: an artifact with an id is changed, one without is made.
    async fn put_artifact(self, version: &str) -> Result<Value> {
        let version = self.version(version).await?;
        let id = match self.body.get("id").and_then(Value::as_str) {
            None | Some("") => None,
            Some(id) => {
                if self.artifact(id).await?.0.id() != version.id() {
                    return Err(Error::invalid(format!(
                        "id: artifact {id} is of another version"
                    )));
                }
                Some(id.to_owned())
            }
        };
        self.change_artifact(&version, id.as_deref()).await
    }

    async fn change_artifact(self, version: &Version, id: Option<&str>) -> Result<Value> {
        let (id, body) = (id.map(str::to_owned), self.body);
        let change = move |spec: &mut ModelVersionSpec| place_artifact(spec, id.as_deref(), body);
        let (mut after, at) =
            super::change_version(&self.app.store, &version.object, change).await?;
        Ok(Value::Object(after.spec.artifacts.swap_remove(at)))
    }
}
