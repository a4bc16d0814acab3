//! A store error becomes an answer, once per dialect: its status code and its body.

use axum::{
    Json,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use kfbox_store::{Code, Error, Kind};
use serde_json::{Value, json};

use crate::{mlflow, registry};

/// Who speaks: decides the shape of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// KFP's REST API: gRPC codes.
    Kfp,
    /// KFP's upload API.
    Upload,
    /// Kubernetes: Status objects.
    Kube,
    /// MLflow's REST API: its own error codes.
    Mlflow,
    /// Kubeflow's model registry.
    Registry,
    /// Our own few doors.
    Plain,
}

impl Dialect {
    pub(crate) fn of(path: &str) -> Self {
        let inner = path.strip_prefix("/pipeline").unwrap_or(path);
        let under = |prefix: &str| {
            inner
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if mlflow::speaks(path) {
            Self::Mlflow
        } else if registry::speaks(path) {
            Self::Registry
        } else if under("/apis/v2beta1/pipelines/upload")
            || under("/apis/v2beta1/pipelines/upload_version")
        {
            Self::Upload
        } else if under("/apis/v2beta1") || under("/apis/v1alpha1") || inner.len() != path.len() {
            Self::Kfp
        } else if under("/api") || under("/apis") || under("/openapi") || under("/version") {
            Self::Kube
        } else {
            Self::Plain
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kfp | Self::Upload => "kfp",
            Self::Kube => "kube",
            Self::Mlflow => "mlflow",
            Self::Registry => "registry",
            Self::Plain => "box",
        }
    }

    pub(crate) fn respond(self, error: Error) -> Response {
        match self {
            Self::Kfp => Kfp(error).into_response(),
            Self::Upload => Upload(error).into_response(),
            Self::Kube => Kube(error).into_response(),
            Self::Mlflow => Mlflow(error).into_response(),
            Self::Registry => Registry(error).into_response(),
            Self::Plain => Plain(error).into_response(),
        }
    }
}

/// An error of the KFP API.
pub(crate) struct Kfp(pub Error);
/// An error of the KFP upload API.
pub(crate) struct Upload(pub Error);
/// An error of the Kubernetes API.
pub(crate) struct Kube(pub Error);
/// An error of MLflow's API.
pub(crate) struct Mlflow(pub Error);
/// An error of Kubeflow's model registry.
pub(crate) struct Registry(pub Error);
/// An error of our own doors.
pub(crate) struct Plain(pub Error);

macro_rules! from_store {
    ($($name:ident),*) => {$(
        impl From<Error> for $name {
            fn from(error: Error) -> Self {
                Self(error)
            }
        }
    )*};
}
from_store!(Kfp, Upload, Kube, Mlflow, Registry, Plain);

fn status(code: Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Conflict | Code::Precondition => StatusCode::CONFLICT,
        Code::Gone => StatusCode::GONE,
        Code::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The gRPC code that KFP clients look for, and the HTTP status that goes with it.
fn grpc(code: Code) -> (u32, StatusCode) {
    let number = match code {
        Code::Invalid | Code::UnsupportedMedia => 3,
        // KFP knows one kind of bad input.
        Code::Unprocessable => return (3, StatusCode::BAD_REQUEST),
        Code::Unauthenticated => 16,
        Code::Forbidden => 7,
        Code::NotFound => 5,
        Code::AlreadyExists => 6,
        Code::Conflict => 10,
        // KFP answers a wrong state with 400, unlike Kubernetes.
        Code::Precondition => return (9, StatusCode::BAD_REQUEST),
        Code::Gone => 11,
        Code::TooLarge | Code::StorageFull => 8,
        Code::Unavailable => 14,
        Code::Unsupported => 12,
        Code::Internal => 13,
    };
    (number, status(code))
}

/// MLflow's error codes, and the HTTP status that goes with each.
fn mlflow_code(code: Code) -> (&'static str, StatusCode) {
    let name = match code {
        Code::Invalid | Code::Unprocessable | Code::UnsupportedMedia => {
            return ("INVALID_PARAMETER_VALUE", StatusCode::BAD_REQUEST);
        }
        Code::AlreadyExists => return ("RESOURCE_ALREADY_EXISTS", StatusCode::BAD_REQUEST),
        Code::Precondition => return ("INVALID_STATE", StatusCode::BAD_REQUEST),
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::Forbidden => "PERMISSION_DENIED",
        Code::NotFound | Code::Gone => "RESOURCE_DOES_NOT_EXIST",
        Code::Conflict => "RESOURCE_CONFLICT",
        Code::TooLarge => "REQUEST_LIMIT_EXCEEDED",
        Code::StorageFull => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "TEMPORARILY_UNAVAILABLE",
        Code::Unsupported => "NOT_IMPLEMENTED",
        Code::Internal => "INTERNAL_ERROR",
    };
    (name, status(code))
}

/// Kubernetes' one-word reasons.
fn reason(code: Code) -> &'static str {
    match code {
        Code::Invalid => "BadRequest",
        Code::Unprocessable => "Invalid",
        Code::Unauthenticated => "Unauthorized",
        Code::Forbidden => "Forbidden",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::Conflict | Code::Precondition => "Conflict",
        Code::Gone => "Expired",
        Code::UnsupportedMedia => "UnsupportedMediaType",
        Code::TooLarge => "RequestEntityTooLarge",
        Code::StorageFull | Code::Internal => "InternalError",
        Code::Unavailable => "ServiceUnavailable",
        Code::Unsupported => "NotImplemented",
    }
}

/// An error of the Kubernetes dialect about an object: with Kubernetes' details, and its words for a broken rule.
pub(crate) fn kube_failed(error: &Error, about: Option<(&'static Kind, &str)>) -> Response {
    log(error);
    let mut body = kube_status(error);
    if let Some((kind, name)) = about {
        let mut details = json!({"name": name, "group": kind.group, "kind": kind.plural});
        if error.code == Code::Unprocessable {
            let full = match kind.group {
                "" => kind.kind.to_string(),
                group => format!("{}.{group}", kind.kind),
            };
            body["message"] = format!("{full} \"{name}\" is invalid: {}", error.message).into();
            details["kind"] = kind.kind.into();
            let (field, why) = error
                .message
                .split_once(": ")
                .unwrap_or(("", &error.message));
            details["causes"] =
                json!([{"reason": "FieldValueInvalid", "field": field, "message": why}]);
        }
        body["details"] = details;
    }
    (status(error.code), Json(body)).into_response()
}

/// Tells the operator what the client is not told.
fn log(error: &Error) {
    if let Some(context) = &error.context {
        tracing::error!(context, "request failed: {error}");
    }
}

/// A Status object, also used inside watch streams.
pub(crate) fn kube_status(error: &Error) -> Value {
    kube_failure(status(error.code), reason(error.code), &error.message)
}

fn kube_failure(code: StatusCode, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    })
}

impl IntoResponse for Kfp {
    fn into_response(self) -> Response {
        log(&self.0);
        let (code, status) = grpc(self.0.code);
        let message = &self.0.message;
        let body = json!({
            "code": code, "message": message,
            "details": [{"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}],
        });
        (status, Json(body)).into_response()
    }
}

impl IntoResponse for Upload {
    fn into_response(self) -> Response {
        log(&self.0);
        let message = &self.0.message;
        let body = json!({"error_message": message, "error_details": message});
        (grpc(self.0.code).1, Json(body)).into_response()
    }
}

impl IntoResponse for Kube {
    fn into_response(self) -> Response {
        log(&self.0);
        (status(self.0.code), Json(kube_status(&self.0))).into_response()
    }
}

impl IntoResponse for Mlflow {
    fn into_response(self) -> Response {
        log(&self.0);
        let (name, status) = mlflow_code(self.0.code);
        let body = json!({"error_code": name, "message": self.0.message});
        (status, Json(body)).into_response()
    }
}

impl IntoResponse for Registry {
    fn into_response(self) -> Response {
        log(&self.0);
        // Upstream answers 422 only for its own schema's errors.
        let status = match self.0.code {
            Code::Unprocessable => StatusCode::BAD_REQUEST,
            code => status(code),
        };
        let body = json!({"code": status.as_u16().to_string(), "message": self.0.message});
        (status, Json(body)).into_response()
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        log(&self.0);
        let body = json!({"message": self.0.message});
        (status(self.0.code), Json(body)).into_response()
    }
}

/// Nothing answers at this address.
pub(crate) async fn no_route(request: Request) -> Response {
    let path = request.uri().path();
    Dialect::of(path).respond(Error::not_found(format!("nothing at {path} on this box")))
}

/// The address is right, the method is not.
pub(crate) async fn no_method(request: Request) -> Response {
    method_not_allowed(request.method(), request.uri().path(), "")
}

/// 405 in the dialect of the path, with a hint when there is one.
pub(crate) fn method_not_allowed(method: &Method, path: &str, hint: &str) -> Response {
    let message = format!("{method} is not offered at {path}{hint}");
    let code = StatusCode::METHOD_NOT_ALLOWED;
    let body = match Dialect::of(path) {
        Dialect::Kube => kube_failure(code, "MethodNotAllowed", &message),
        Dialect::Kfp => json!({"code": 12, "message": message}),
        Dialect::Upload => json!({"error_message": message, "error_details": message}),
        Dialect::Mlflow => json!({"error_code": "ENDPOINT_NOT_FOUND", "message": message}),
        Dialect::Registry | Dialect::Plain => json!({"message": message}),
    };
    (code, Json(body)).into_response()
}
