//! A task that brings an artifact in (`dsl.importer`): nothing runs, it gives what lies at a URI of the box's store.

use kfbox_store::{
    Code, Error, Result,
    kinds::{
        ir::ArtifactType,
        pipeline::{Artifact, TaskState, Values},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Step, Tasks};
use crate::{
    controller::Action,
    pipeline::placeholder::{self, Placeholder, value_text},
};

/// The output's name unless the component says otherwise, as the SDK writes it.
const OUTPUT: &str = "artifact";

/// The executor as the SDK writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Importer {
    artifact_uri: From,
    type_schema: ArtifactType,
    metadata: Map<String, Value>,
}

/// A value, or the input parameter that holds it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct From {
    constant: Value,
    runtime_parameter: String,
}

/// The importer that a task is, if it is one.
pub(super) fn importer(step: &Step<'_>) -> Option<Result<Importer>> {
    let label = step.at.component.executor_label.as_deref()?;
    let executor = step.pipeline.spec.deployment_spec.executors.get(label)?;
    let importer = executor.importer.as_ref()?;
    let read = Importer::deserialize(importer);
    Some(read.map_err(|e| Error::invalid(format!("executors.{label}.importer: {e}"))))
}

/// A text with the task's inputs in it.
fn filled(text: &str, inputs: &Values) -> Result<String> {
    placeholder::replace(text, |p| match p {
        Placeholder::InputParameter(name) => match inputs.parameters.get(*name) {
            Some(value) => Ok(Some(value_text(value))),
            None => Err(Error::invalid(format!("the input {name} is not there"))),
        },
        _ => Ok(None),
    })
}

fn filled_value(value: &Value, inputs: &Values) -> Result<Value> {
    Ok(match value {
        Value::String(text) => match placeholder::whole(text) {
            // The parameter itself, with its type.
            Some(Placeholder::InputParameter(name)) => {
                inputs.parameters.get(name).cloned().unwrap_or_default()
            }
            _ => filled(text, inputs)?.into(),
        },
        Value::Array(list) => Value::Array(
            list.iter()
                .map(|v| filled_value(v, inputs))
                .collect::<Result<_>>()?,
        ),
        Value::Object(fields) => {
            let filled = fields
                .iter()
                .map(|(k, v)| Ok((filled(k, inputs)?, filled_value(v, inputs)?)));
            Value::Object(filled.collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

impl Importer {
    /// What the task gives.
    fn artifact(self, inputs: &Values) -> Result<Artifact> {
        let uri = match self.artifact_uri.runtime_parameter.as_str() {
            "" => self.artifact_uri.constant,
            name => inputs.parameters.get(name).cloned().unwrap_or_default(),
        };
        let uri = match uri {
            Value::String(uri) if !uri.is_empty() => filled(&uri, inputs)?,
            other => {
                return Err(Error::invalid(format!(
                    "the artifact's URI must be a text, not {other}"
                )));
            }
        };
        let Value::Object(metadata) = filled_value(&Value::Object(self.metadata), inputs)? else {
            return Err(Error::internal("metadata that is no object"));
        };
        Ok(Artifact {
            name: OUTPUT.into(),
            uri,
            type_: self.type_schema.title().to_owned(),
            metadata,
            custom_path: None,
        })
    }
}

impl Tasks {
    /// Carries it out.
    pub(super) async fn import(
        &self,
        step: &Step<'_>,
        importer: Result<Importer>,
    ) -> Result<Action> {
        let mut status = step.status.clone();
        let artifact = match importer.and_then(|i| i.artifact(&step.spec.inputs)) {
            Ok(artifact) => artifact,
            Err(e) => {
                return self
                    .end(step.key, status, TaskState::Failed, &e.message)
                    .await;
            }
        };
        // What is there now may be looked at; a step that uses it mounts it as it does all others.
        match self.ctx.blobs.read(&artifact.uri).await {
            Ok(_) => {}
            Err(e) if matches!(e.code, Code::NotFound | Code::Invalid) => {
                let why = format!("cannot import {}: {}", artifact.uri, e.message);
                return self.end(step.key, status, TaskState::Failed, &why).await;
            }
            Err(e) => return Err(e),
        }
        let declared = &step.at.component.output_definitions.artifacts;
        let name = declared.keys().next().map_or(OUTPUT, String::as_str);
        status.outputs.artifacts.insert(
            name.to_owned(),
            vec![Artifact {
                name: name.to_owned(),
                ..artifact
            }],
        );
        self.end(step.key, status, TaskState::Succeeded, "").await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_brings_in() {
        let inputs = Values {
            parameters: json!({"uri": "s3://ds/0123456789ab/", "rows": 3.0, "who": "ada"})
                .as_object()
                .cloned()
                .unwrap(),
            ..Values::default()
        };
        let importer: Importer = serde_json::from_value(json!({
            "artifactUri": {"runtimeParameter": "uri"},
            "typeSchema": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"},
            "metadata": {"rows": "{{$.inputs.parameters['rows']}}", "by": "made by {{$.inputs.parameters['who']}}"},
            "reimport": true,
        }))
        .unwrap();
        let artifact = importer.artifact(&inputs).unwrap();
        assert_eq!(
            (artifact.uri.as_str(), artifact.type_.as_str()),
            ("s3://ds/0123456789ab/", "system.Dataset")
        );
        assert_eq!(
            Value::Object(artifact.metadata),
            json!({"rows": 3.0, "by": "made by ada"})
        );
        let constant: Importer =
            serde_json::from_value(json!({"artifactUri": {"constant": "gs://a/b"}})).unwrap();
        let artifact = constant.artifact(&inputs).unwrap();
        assert_eq!(
            (artifact.uri.as_str(), artifact.type_.as_str()),
            ("gs://a/b", "system.Artifact")
        );
        let wrong: Importer =
            serde_json::from_value(json!({"artifactUri": {"constant": 5}})).unwrap();
        assert!(wrong.artifact(&inputs).is_err());
    }
}
