//! Uploads: a multipart body with the part `uploadfile`. Errors have a shape of their own here.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{FromRequest, Multipart, Query, Request, State},
};
use kfbox_store::{
    Code, Error, Ref, Result,
    kinds::pipeline::{PIPELINE, PipelineInfo, PipelineVersionSpec},
};
use serde::Deserialize;
use serde_json::Value;

use super::{input, pipelines, spec::Checked, unpack, wire};
use crate::{App, error::Upload};

/// How long a file may take to arrive.
const UPLOAD_TIME: Duration = Duration::from_secs(300);
/// What is read and thrown away of a file that is too large, so that the client gets to read the answer
/// instead of a connection reset in the middle of its sending.
const DISCARDED: usize = 256 << 20;

/// Query parameters of both calls.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    name: String,
    display_name: String,
    description: String,
    namespace: String,
    tags: String,
    pipelineid: String,
}

type UploadAnswer = std::result::Result<Json<Value>, Upload>;

fn tags(text: &str) -> Result<BTreeMap<String, String>> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(text)
        .map_err(|e| Error::invalid(format!("tags: must be a JSON map of texts: {e}")))
}

/// The file's name and the spec inside it.
async fn receive(app: &App, request: Request) -> Result<(String, Checked)> {
    let reading = async {
        // Files are held in memory while they are read: so many at a time.
        let place = app.uploads.acquire().await.map_err(Error::internal)?;
        let (name, bytes) = read(app, request).await?;
        Ok((place, name, bytes))
    };
    let (_place, name, bytes) = tokio::time::timeout(UPLOAD_TIME, reading)
        .await
        .map_err(|_| Error::invalid("the file did not arrive in time: try again"))??;
    let limit = app.config.upload_limit;
    tokio::task::spawn_blocking(move || {
        let inner = unpack::pipeline_file(&name, &bytes, limit)?;
        drop(bytes);
        Checked::from_file(&inner).map(|spec| (name, spec))
    })
    .await
    .map_err(Error::internal)?
}

async fn read(app: &App, request: Request) -> Result<(String, Vec<u8>)> {
    let limit = app.config.upload_limit;
    let bad = |e: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "the body must be multipart/form-data with a part \"uploadfile\": {e}"
        ))
    };
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|e| bad(&e.body_text()))?;
    while let Some(mut part) = parts.next_field().await.map_err(|e| bad(&e.body_text()))? {
        if part.name() != Some("uploadfile") {
            continue;
        }
        let name = part.file_name().unwrap_or_default();
        let name = name
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .to_string();
        let (mut bytes, mut seen) = (Vec::new(), 0_usize);
        while let Some(chunk) = part.chunk().await.map_err(|e| bad(&e.body_text()))? {
            seen += chunk.len();
            if seen <= limit {
                bytes.extend_from_slice(&chunk);
            } else if seen > limit + DISCARDED {
                break;
            } else {
                bytes = Vec::new();
            }
        }
        if seen > limit {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "the file is larger than {} MiB, the limit of this box",
                    limit >> 20
                ),
            ));
        }
        return Ok((name, bytes));
    }
    Err(bad(&"there is no such part"))
}

/// `POST /pipelines/upload`: a pipeline and its first version, of the same name.
pub(super) async fn pipeline(
    State(app): crate::State,
    Query(query): Query<Parameters>,
    request: Request,
) -> UploadAnswer {
    let (file, spec) = receive(&app, request).await?;
    input::namespace(&app, &query.namespace)?;
    let given = if query.name.trim().is_empty() && query.display_name.trim().is_empty() {
        &file
    } else {
        &query.name
    };
    let (name, display_name) = pipelines::names(given, &query.display_name)?;
    let info = PipelineInfo {
        display_name,
        name,
        description: query.description,
        tags: tags(&query.tags)?,
    };
    let namespace = app.config.namespace.clone();
    let write = app.store.write(move |txn| {
        let object = pipelines::put(txn, &namespace, &info)?;
        let version = PipelineVersionSpec {
            display_name: info.display_name,
            name: info.name,
            description: info.description,
            pipeline_id: object.metadata.name.clone(),
            pipeline_spec: spec.put(txn, &namespace)?,
            ..PipelineVersionSpec::default()
        };
        pipelines::put_version(txn, &object, &version)?;
        Ok(object)
    });
    Ok(Json(wire::pipeline(&write.await?)?))
}

/// `POST /pipelines/upload_version`: a version of the pipeline `pipelineid`.
pub(super) async fn version(
    State(app): crate::State,
    Query(query): Query<Parameters>,
    request: Request,
) -> UploadAnswer {
    let (file, spec) = receive(&app, request).await?;
    if query.pipelineid.is_empty() {
        return Err(Error::invalid("pipelineid: required, the id of the pipeline").into());
    }
    let given = if query.name.trim().is_empty() && query.display_name.trim().is_empty() {
        &file
    } else {
        &query.name
    };
    let (name, display_name) = pipelines::names(given, &query.display_name)?;
    let tags = tags(&query.tags)?;
    let r = Ref::new(&PIPELINE, &app.config.namespace, &query.pipelineid);
    let write = app.store.write(move |txn| {
        let pipeline = txn.fetch(&r)?;
        let version = PipelineVersionSpec {
            display_name,
            name,
            description: query.description,
            pipeline_id: query.pipelineid,
            pipeline_spec: spec.put(txn, &r.namespace)?,
            tags,
            ..PipelineVersionSpec::default()
        };
        let object = pipelines::put_version(txn, &pipeline, &version)?;
        Ok((object, spec.body))
    });
    let (object, body) = write.await?;
    Ok(Json(wire::version(&object, Some(&body))?))
}
