//! The files of runs and models: MLflow's artifact proxy over the namespace's own bucket. `mlflow-artifacts:/{path}` of a
//! namespace is `s3://mlflow-{namespace}/{path}`, so every other client reads the same bytes.

use axum::{
    Extension, Json,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use kfbox_store::{Caller, Code, Error, Result, blob::Found, kinds::access::Role, track};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Ask, args::Args, place};
use crate::{App, error::Mlflow};

const SCHEME: &str = "mlflow-artifacts:/";

fn joined(folder: &str, path: &str) -> String {
    match path.trim_matches('/') {
        "" => folder.trim_end_matches('/').to_owned(),
        path => format!("{}/{path}", folder.trim_end_matches('/')),
    }
}

/// Whether a path can be one of a file, too.
fn is_plain(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    !path.contains(['\0', '\\']) && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// What is in a folder of the namespace, as MLflow's `FileInfo`s with paths below `path`. A bucket of another
/// namespace, or of another server, is not looked into.
async fn entries(app: &App, namespace: &str, uri: &str, path: &str) -> Result<Vec<Value>> {
    let folder = joined(&track::stored(namespace, uri), path);
    let bucket = folder
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next());
    let owner = app.blobs.owner(bucket.unwrap_or_default()).await?;
    if owner.as_deref() != Some(namespace) {
        return Ok(Vec::new());
    }
    let found = match app.blobs.read(&folder).await {
        Ok(Found::Folder(entries)) => entries,
        // MLflow lists a file as nothing.
        Ok(Found::File(..)) => Vec::new(),
        Err(e) if e.code == Code::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let shown = found.iter().map(|entry| {
        let mut info =
            json!({"path": joined(path, &entry.name).trim_start_matches('/'), "is_dir": entry.dir});
        if !entry.dir {
            info["file_size"] = entry.size.into();
        }
        info
    });
    Ok(shown.collect())
}

/// The answer to the calls that list a run's or a model's files.
pub(super) async fn below(ask: &Ask, root: &str, path: &str) -> Result<Value> {
    let files = entries(&ask.app, &ask.namespace, root, path).await?;
    Ok(json!({"root_uri": root, "files": files}))
}

/// `GET .../mlflow-artifacts/artifacts?path=`: a folder's entries, by their names.
pub(super) async fn list(
    State(app): crate::State,
    request: Request,
) -> std::result::Result<Json<Value>, Mlflow> {
    let uri = request.uri().clone();
    let namespace = place(&app, &uri, request.headers()).await?;
    let args = Args::of(&app, request).await?;
    let folder = joined(SCHEME, args.text("path")?);
    Ok(Json(
        json!({"files": entries(&app, &namespace, &folder, "").await?}),
    ))
}

/// `GET`, `PUT`, `DELETE .../mlflow-artifacts/artifacts/{path}`: over to the S3 service, which streams, checks and stores.
pub(super) async fn file(
    State(app): crate::State,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> std::result::Result<Response, Mlflow> {
    let uri = request.uri().clone();
    let namespace = place(&app, &uri, request.headers()).await?;
    let bucket = track::bucket(&namespace);
    let path = uri
        .path()
        .split_once("/mlflow-artifacts/artifacts/")
        .map_or("", |(_, path)| path);
    let method = request.method().clone();
    let key = percent_decode_str(path).decode_utf8();
    let key = key.map_err(|_| Error::invalid("the path of an artifact must be UTF-8"))?;
    if !is_plain(&key) {
        return Err(Error::invalid(
            "the path of an artifact: must be names joined by '/', none of them '.', '..' or empty",
        )
        .into());
    }
    match method {
        Method::PUT => app.blobs.ensure_bucket(&bucket, &namespace).await?,
        Method::GET | Method::HEAD | Method::DELETE => {}
        _ => {
            return Err(Error::invalid(
                "artifacts are read by GET, written by PUT, removed by DELETE",
            )
            .into());
        }
    }
    if method == Method::DELETE {
        // A folder goes with all that is in it.
        app.blobs.remove(&bucket, key.trim_end_matches('/')).await?;
        return Ok(Json(json!({})).into_response());
    }
    let stored: Uri = format!("/{bucket}/{path}")
        .parse()
        .map_err(|e| Error::invalid(format!("the path of an artifact: {e}")))?;
    *request.uri_mut() = stored;
    let role = caller.scope.map_or(Role::Edit, |scope| scope.role);
    let response = app.pass_to_s3(&namespace, role, request).await;
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(if method == Method::PUT {
            Json(json!({})).into_response()
        } else {
            response
        });
    }
    Err(refusal(status, response.into_body()).await.into())
}

/// An S3 error in our words.
async fn refusal(status: StatusCode, body: Body) -> Error {
    let text = axum::body::to_bytes(body, 64 << 10)
        .await
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let told = text
        .split_once("<Message>")
        .and_then(|(_, rest)| rest.split_once("</Message>"));
    let told = told.map_or_else(
        || format!("the store answered {status}"),
        |(message, _)| message.to_owned(),
    );
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::INSUFFICIENT_STORAGE => Code::StorageFull,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        s if s.is_server_error() => Code::Internal,
        _ => Code::Invalid,
    };
    Error::new(code, told)
}
