//! The pipeline IR as types: what `kfp` compiles to (schema 2.1.0), in the JSON form of its protobuf messages.
//!
//! Fields that nothing reads are not listed; the stored document stays the JSON it came as, so nothing is lost.
//! Maps are sorted, so that everything derived from a spec is the same each time.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::task::DagSpec;

/// A whole pipeline: the spec and, where the file had one, its platform document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pipeline {
    /// The pipeline itself.
    pub spec: PipelineSpec,
    /// Settings that only Kubernetes has a word for.
    pub platform: Option<PlatformSpec>,
}

/// The top of the IR document.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineSpec {
    /// Name, display name, description.
    pub pipeline_info: PipelineInfo,
    /// `2.1.0`.
    pub schema_version: String,
    /// The compiler, like `kfp-2.17.0`.
    pub sdk_version: String,
    /// Everything that tasks can refer to, by name.
    pub components: BTreeMap<String, ComponentSpec>,
    /// How components that are not DAGs are carried out.
    pub deployment_spec: DeploymentSpec,
    /// The DAG that is the pipeline, and its inputs and outputs.
    pub root: Option<ComponentSpec>,
    /// Where artifacts go unless the run says otherwise, like `minio://bucket/path`.
    pub default_pipeline_root: Option<String>,
}

/// What the pipeline is called.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineInfo {
    /// Never empty in a valid pipeline.
    pub name: String,
    /// For people; may be empty.
    pub display_name: String,
    /// For people; may be empty.
    pub description: String,
}

/// The executors, by label.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// By the label that components name.
    pub executors: BTreeMap<String, ExecutorSpec>,
}

/// One way of carrying out a component. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecutorSpec {
    /// A container to run.
    pub container: Option<ContainerSpec>,
    /// Brings an existing artifact in; kept as it came.
    pub importer: Option<Value>,
    /// Looks an artifact up; no open source backend runs it.
    pub resolver: Option<Value>,
    /// A Vertex custom job; no open source backend runs it.
    pub custom_job: Option<Value>,
}

/// A container as the user wrote it, placeholders unresolved.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSpec {
    /// Image reference; may be a placeholder.
    pub image: String,
    /// Replaces the image's entrypoint; empty keeps it.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<EnvVar>,
    /// What it asks of the machine.
    pub resources: Option<Resources>,
    /// Hooks that only Vertex runs; kept as they came.
    pub lifecycle: Option<Value>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value; may contain placeholders.
    pub value: String,
}

/// Resource requests and limits. The `resource_*` texts are Kubernetes quantities or placeholders and win over
/// the deprecated numbers (cores; gigabytes of 10^9 bytes).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Like `500m`.
    pub resource_cpu_limit: Option<String>,
    /// Like `1Gi`.
    pub resource_memory_limit: Option<String>,
    /// Like `500m`.
    pub resource_cpu_request: Option<String>,
    /// Like `1Gi`.
    pub resource_memory_request: Option<String>,
    /// Deprecated: cores.
    #[serde(deserialize_with = "number")]
    pub cpu_limit: Option<f64>,
    /// Deprecated: 10^9 bytes.
    #[serde(deserialize_with = "number")]
    pub memory_limit: Option<f64>,
    /// Deprecated: cores.
    #[serde(deserialize_with = "number")]
    pub cpu_request: Option<f64>,
    /// Deprecated: 10^9 bytes.
    #[serde(deserialize_with = "number")]
    pub memory_request: Option<f64>,
    /// A GPU or its like.
    pub accelerator: Option<Accelerator>,
}

/// An accelerator request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Accelerator {
    /// Like `nvidia.com/gpu`; may be a placeholder.
    pub resource_type: Option<String>,
    /// A number as text; may be a placeholder.
    pub resource_count: Option<String>,
    /// Deprecated twin of the type.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Deprecated twin of the count: a number or, as int64 in JSON, text.
    pub count: Option<Value>,
}

/// A thing tasks can run: a DAG or, through its label, an executor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentSpec {
    /// What it takes.
    pub input_definitions: InputDefinitions,
    /// What it gives.
    pub output_definitions: OutputDefinitions,
    /// Set when it is a DAG.
    pub dag: Option<DagSpec>,
    /// Set when it is carried out by an executor.
    pub executor_label: Option<String>,
    /// Which of the task's settings a nested task configuration passes on; kept as it came.
    pub task_config_passthroughs: Vec<Value>,
}

/// Declared inputs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InputDefinitions {
    /// By name.
    pub parameters: BTreeMap<String, InputParameter>,
    /// By name.
    pub artifacts: BTreeMap<String, InputArtifact>,
}

/// Declared outputs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputDefinitions {
    /// By name.
    pub parameters: BTreeMap<String, OutputParameter>,
    /// By name.
    pub artifacts: BTreeMap<String, OutputArtifact>,
}

/// The types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ParameterType {
    /// A number.
    NumberDouble,
    /// A whole number.
    NumberInteger,
    /// Text; as an input it takes any value, as text.
    #[default]
    String,
    /// true or false.
    Boolean,
    /// A JSON list.
    List,
    /// A JSON object.
    Struct,
    /// How the task that an exit handler watches has ended.
    TaskFinalStatus,
    /// The settings of the task itself.
    TaskConfig,
}

impl ParameterType {
    /// The name that the IR uses, like `NUMBER_INTEGER`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NumberDouble => "NUMBER_DOUBLE",
            Self::NumberInteger => "NUMBER_INTEGER",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::List => "LIST",
            Self::Struct => "STRUCT",
            Self::TaskFinalStatus => "TASK_FINAL_STATUS",
            Self::TaskConfig => "TASK_CONFIG",
        }
    }
}

/// The deprecated way of giving a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PrimitiveType {
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// Text.
    String,
}

fn either(new: Option<ParameterType>, old: Option<PrimitiveType>) -> ParameterType {
    new.unwrap_or(match old {
        Some(PrimitiveType::Int) => ParameterType::NumberInteger,
        Some(PrimitiveType::Double) => ParameterType::NumberDouble,
        Some(PrimitiveType::String) | None => ParameterType::String,
    })
}

/// A declared input parameter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputParameter {
    /// Its type; read it through [`InputParameter::kind`].
    pub parameter_type: Option<ParameterType>,
    /// The deprecated type.
    #[serde(rename = "type")]
    pub primitive_type: Option<PrimitiveType>,
    /// Used when nothing is given.
    pub default_value: Option<Value>,
    /// May be left out without a default.
    pub is_optional: bool,
    /// For people.
    pub description: String,
    /// When not empty: the only values allowed.
    pub literals: Vec<Value>,
}

impl InputParameter {
    /// The type, whichever way it was written.
    pub fn kind(&self) -> ParameterType {
        either(self.parameter_type, self.primitive_type)
    }
}

/// A declared output parameter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputParameter {
    /// Its type; read it through [`OutputParameter::kind`].
    pub parameter_type: Option<ParameterType>,
    /// The deprecated type.
    #[serde(rename = "type")]
    pub primitive_type: Option<PrimitiveType>,
}

impl OutputParameter {
    /// The type, whichever way it was written.
    pub fn kind(&self) -> ParameterType {
        either(self.parameter_type, self.primitive_type)
    }
}

/// What an artifact is. One of the first three is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactType {
    /// Like `system.Dataset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_title: Option<String>,
    /// Deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_uri: Option<String>,
    /// A schema of its own, as YAML text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_schema: Option<String>,
    /// Like `0.0.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
}

impl ArtifactType {
    /// The name to show and to store: the title, else `system.Artifact`.
    pub fn title(&self) -> &str {
        self.schema_title.as_deref().unwrap_or("system.Artifact")
    }
}

/// A declared input artifact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputArtifact {
    /// Its type.
    pub artifact_type: ArtifactType,
    /// Takes many.
    pub is_artifact_list: bool,
    /// May be left out.
    pub is_optional: bool,
}

/// A declared output artifact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputArtifact {
    /// Its type.
    pub artifact_type: ArtifactType,
    /// Gives many.
    pub is_artifact_list: bool,
    /// Metadata it starts with.
    pub metadata: Map<String, Value>,
}

/// Platform documents, by platform name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformSpec {
    /// Only `kubernetes` exists.
    pub platforms: BTreeMap<String, SinglePlatform>,
}

/// The settings of one platform.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SinglePlatform {
    /// By executor label.
    pub deployment_spec: PlatformDeployment,
    /// Of the whole pipeline: workspace, time to live, deadline; kept as it came.
    pub pipeline_config: Map<String, Value>,
}

/// Executor settings of one platform.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformDeployment {
    /// By executor label; each kept as it came.
    pub executors: BTreeMap<String, Map<String, Value>>,
}

/// A number, also where protobuf's JSON form wrote it as text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(f64),
        Text(String),
    }
    match Option::<Form>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Form::Number(number)) => Ok(Some(number)),
        Some(Form::Text(text)) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| D::Error::custom(format!("{text:?} is not a number"))),
    }
}

/// Keeps a written null apart from an absent field.
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
