//! From bytes to types: YAML or JSON, one document for the spec and at most one for the platform.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::{IrError, hint};
use super::room::with_room;
use super::spec::{Pipeline, PipelineSpec, PlatformSpec};

/// A pipeline file: the documents as they came, and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineFile {
    /// The spec document as JSON: what is stored and given back.
    pub spec: Value,
    /// The platform document as JSON, where there was one.
    pub platform: Option<Value>,
    /// Both, typed.
    pub pipeline: Pipeline,
}

impl PipelineFile {
    /// The form that the API carries: the bare spec, or `{"pipeline_spec", "platform_spec"}` with a platform.
    pub fn to_value(&self) -> Value {
        match &self.platform {
            None => self.spec.clone(),
            Some(platform) => serde_json::json!({
                "pipeline_spec": self.spec,
                "platform_spec": platform,
            }),
        }
    }

    /// From the form that the API carries; see [`PipelineFile::to_value`].
    pub fn from_value(value: Value) -> Result<Self, IrError> {
        match value {
            Value::Object(mut map) if map.contains_key("pipeline_spec") => {
                let spec = map.remove("pipeline_spec").unwrap_or_default();
                let platform = map.remove("platform_spec").filter(|p| !p.is_null());
                Self::from_documents(spec, platform)
            }
            spec => Self::from_documents(spec, None),
        }
    }

    fn from_documents(spec: Value, platform: Option<Value>) -> Result<Self, IrError> {
        let pipeline = Pipeline {
            spec: typed_spec(&spec)?,
            platform: platform
                .as_ref()
                .map(|p| typed::<PlatformSpec>(p, "platform"))
                .transpose()?,
        };
        Ok(Self {
            spec,
            platform,
            pipeline,
        })
    }
}

impl Pipeline {
    /// From the form that the API carries: the bare spec, or `{"pipeline_spec", "platform_spec"}`.
    pub fn from_value(value: &Value) -> Result<Self, IrError> {
        let (spec, platform) = match value.get("pipeline_spec") {
            Some(spec) => (spec, value.get("platform_spec").filter(|p| !p.is_null())),
            None => (value, None),
        };
        Ok(Self {
            spec: typed_spec(spec)?,
            platform: platform
                .map(|p| typed::<PlatformSpec>(p, "platform"))
                .transpose()?,
        })
    }
}

/// Reads a pipeline file, YAML or JSON, as `kfp` writes it. The caller bounds the size.
///
/// Only the form is looked at; [`check`](super::check) says whether the pipeline makes sense.
pub fn parse_file(bytes: &[u8]) -> Result<PipelineFile, IrError> {
    with_room(|| parse(bytes)).unwrap_or_else(|| {
        Err(IrError::new(
            "",
            "there is not enough memory to read the file",
        ))
    })
}

fn parse(bytes: &[u8]) -> Result<PipelineFile, IrError> {
    let whole = |message: String| IrError::new("", message);
    let text = std::str::from_utf8(bytes).map_err(|_| {
        whole("the file is not text: give the YAML or JSON that the kfp compiler writes".to_owned())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(whole(
            "the file is empty: give the YAML or JSON that the kfp compiler writes".to_owned(),
        ));
    }
    // JSON first: exact numbers, and much faster for what is JSON.
    let documents = if text.trim_start().starts_with('{') {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => vec![value],
            // What starts like JSON may still be YAML in flow style; the error that names JSON is the better one.
            Err(json) => yaml(text).map_err(|_| whole(format!("the file is not JSON: {json}")))?,
        }
    } else {
        yaml(text).map_err(|e| whole(format!("the file is not YAML: {e}")))?
    };

    let mut spec = None;
    let mut platform = None;
    for (index, document) in documents.into_iter().enumerate() {
        let place = format!("document {}", index + 1);
        let slot = match &document {
            Value::Null => continue,
            Value::Object(map) if is_platform(map) => &mut platform,
            Value::Object(map) if map.contains_key("pipeline_spec") => {
                let inner = PipelineFile::from_value(document)?;
                platform = platform.or(inner.platform);
                put(&mut spec, inner.spec, &place)?;
                continue;
            }
            Value::Object(_) => &mut spec,
            _ => {
                return Err(IrError::new(
                    place,
                    "a pipeline is a mapping with pipelineInfo, root and components: \
                     give the YAML or JSON that the kfp compiler writes",
                ));
            }
        };
        put(slot, document, &place)?;
    }
    let Some(spec) = spec else {
        return Err(whole(
            "the file has no pipeline spec, only empty or platform documents".to_owned(),
        ));
    };
    PipelineFile::from_documents(spec, platform)
}

fn put(slot: &mut Option<Value>, document: Value, place: &str) -> Result<(), IrError> {
    if slot.replace(document).is_some() {
        return Err(IrError::new(
            place,
            "a second document of the same sort: a file holds one pipeline spec and at most one platform spec",
        ));
    }
    Ok(())
}

fn is_platform(map: &Map<String, Value>) -> bool {
    map.contains_key("platforms") && !map.contains_key("pipelineInfo") && !map.contains_key("root")
}

/// All documents of a YAML stream. Depth, nodes and alias expansion are bounded.
fn yaml(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 100,
            max_events: 4_000_000,
            max_nodes: 2_000_000,
            max_documents: 16,
        },
        // What aliases unfold to is ours to build and walk: a few lines must not become millions of nodes.
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 200_000,
        },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options)
}

/// Top-level keys of a spec. An unknown one is refused as upstream does: it is a misspelling or another format.
const TOP: [&str; 8] = [
    "pipelineInfo",
    "schemaVersion",
    "sdkVersion",
    "components",
    "deploymentSpec",
    "root",
    "defaultPipelineRoot",
    "runtimeParameters",
];

fn typed_spec(value: &Value) -> Result<PipelineSpec, IrError> {
    let Value::Object(map) = value else {
        return Err(IrError::new(
            "",
            "the pipeline spec is not a mapping: give what the kfp compiler writes",
        ));
    };
    if map.get("apiVersion").is_some() && map.get("kind").is_some() {
        return Err(IrError::new(
            "",
            "this is a Kubernetes object (an Argo workflow of KFP v1?), not a KFP v2 pipeline: \
             compile the pipeline with kfp 2",
        ));
    }
    if let Some(unknown) = map.keys().find(|key| !TOP.contains(&key.as_str())) {
        return Err(IrError::new(
            unknown.clone(),
            format!("unknown field{}", hint(unknown, TOP.into_iter())),
        ));
    }
    typed(value, "")
}

fn typed<T: DeserializeOwned + Send>(value: &Value, at: &str) -> Result<T, IrError> {
    let clean = without_nulls(value, Level::Fields);
    if let Ok(typed) = T::deserialize(&clean) {
        return Ok(typed);
    }
    // Once more for the place of the fault: slower, and deeper on the stack.
    let located = with_room(|| serde_path_to_error::deserialize(&clean));
    let Some(located) = located else {
        return Err(IrError::new(at, "cannot be read"));
    };
    located.map_err(|e: serde_path_to_error::Error<serde_json::Error>| {
        let inner = e.path().to_string();
        let path = match (at, inner.as_str()) {
            (at, ".") => at.to_owned(),
            ("", inner) => inner.to_owned(),
            (at, inner) => format!("{at}.{inner}"),
        };
        IrError::new(path, e.into_inner().to_string())
    })
}

/// What the keys of a mapping are.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    /// Field names of the IR.
    Fields,
    /// Names given by the user.
    Names,
    /// User data: a null is a value.
    Data,
}

/// Drops null fields, which in protobuf's JSON form mean "not set", but not nulls in user data.
fn without_nulls(value: &Value, level: Level) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter_map(|(key, inner)| {
                    let next = match level {
                        Level::Data => Level::Data,
                        Level::Names => Level::Fields,
                        Level::Fields => below(key),
                    };
                    if inner.is_null() && next != Level::Data {
                        return None;
                    }
                    Some((key.clone(), without_nulls(inner, next)))
                })
                .collect(),
        ),
        Value::Array(items) if level == Level::Data => Value::Array(items.clone()),
        Value::Array(items) => {
            Value::Array(items.iter().map(|i| without_nulls(i, level)).collect())
        }
        scalar => scalar.clone(),
    }
}

fn below(key: &str) -> Level {
    match key {
        "components" | "executors" | "tasks" | "parameters" | "artifacts" | "platforms" => {
            Level::Names
        }
        "constant" | "literals" | "metadata" | "importer" | "customJob" | "config" => Level::Data,
        _ => Level::Fields,
    }
}
