//! A box's sockets over a store in a temporary folder, asked without a network.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use futures::StreamExt;
use kfbox_store::{
    Code, Error, Object, Result, Store,
    blob::{Blobs, s3::Keyring},
    kinds::access::TokenUse,
    mint_token,
};
use kfbox_web::{
    App, Config, DiskUse, Duplex, ExecOptions, LogOptions, LogStream, Runtime, Session, kfp, router,
};
use serde_json::Value;
use tower::ServiceExt;

/// The API token of the box under test.
pub const TOKEN: &str = "an-api-token";

struct Echo;

#[async_trait]
impl Runtime for Echo {
    async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream> {
        if options.container.as_deref() == Some("none") {
            return Err(Error::invalid("container: there is no \"none\""));
        }
        let first = format!("{} tail {:?}\n", pod.metadata.name, options.tail_lines);
        let lines = futures::stream::iter([Ok(first.into())]);
        Ok(if options.follow {
            lines.chain(futures::stream::pending()).boxed()
        } else {
            lines.boxed()
        })
    }

    async fn exec(&self, _: &Object, _: ExecOptions) -> Result<Session> {
        Err(Error::invalid("nothing runs here"))
    }

    async fn room(&self) -> Result<kfbox_web::Room> {
        Ok(kfbox_web::Room::default())
    }

    async fn ready_images(&self) -> Result<Vec<kfbox_web::ReadyImage>> {
        Ok(Vec::new())
    }

    async fn disk_use(&self) -> Result<DiskUse> {
        Ok(DiskUse::default())
    }

    async fn connect(&self, pod: &Object, port: u16) -> Result<Box<dyn Duplex>> {
        let ip = pod.body["status"]["podIP"].as_str().unwrap_or_default();
        match tokio::net::TcpStream::connect(format!("{ip}:{port}")).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) => Err(Error::new(Code::Unavailable, e.to_string())),
        }
    }
}

/// The sockets and what is behind them.
pub struct TestBox {
    pub app: Arc<App>,
    pub router: Router,
    pub dir: tempfile::TempDir,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl TestBox {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("meta.redb")).unwrap();
        let blobs = Blobs::open(&dir.path().join("artifacts")).unwrap();
        kfp::ensure_defaults(&store, "kubeflow").await.unwrap();
        let token = mint_token(TOKEN.into(), "admin", TokenUse::Api, None, None, "").unwrap();
        store.create(token.object).await.unwrap();
        let config = Config {
            bookmark_every: std::time::Duration::from_millis(50),
            upload_limit: 1 << 20,
            ..Config::default()
        };
        let keys = Arc::new(Keyring::new(store.clone(), [7; 32]));
        let app = App::new(store, blobs, keys, Arc::new(Echo), config);
        let router = router(app.clone());
        Self { app, router, dir }
    }

    /// Any request; `headers` are added to a Host of ours.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> axum::response::Response {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:8080");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Any request, its answer read.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let response = self.send(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: axum::body::to_bytes(body, 64 << 20).await.unwrap(),
        }
    }

    /// JSON with the API token; `Null` sends no body.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> Answer {
        let auth = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", auth.as_str()),
            ("content-type", "application/json"),
        ];
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask(method, path, &headers, text).await
    }

    /// An upload with the API token.
    pub async fn upload(&self, query: &str, file: &str, content: &[u8]) -> Answer {
        let mut body = format!(
            "--B\r\nContent-Disposition: form-data; name=\"uploadfile\"; filename=\"{file}\"\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--B--\r\n");
        let auth = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", auth.as_str()),
            ("content-type", "multipart/form-data; boundary=B"),
        ];
        self.ask(
            "POST",
            &format!("/apis/v2beta1/pipelines/{query}"),
            &headers,
            body,
        )
        .await
    }
}

/// A small pipeline with one required and one defaulted parameter.
pub const PIPELINE: &str = r#"{
  "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.17.0",
  "pipelineInfo": {"name": "adder"},
  "components": {"comp-add": {"executorLabel": "exec-add",
    "inputDefinitions": {"parameters": {"a": {"parameterType": "NUMBER_INTEGER"}}}}},
  "deploymentSpec": {"executors": {"exec-add": {"container": {"image": "python:3.11", "command": ["true"]}}}},
  "root": {
    "inputDefinitions": {"parameters": {
      "a": {"parameterType": "NUMBER_INTEGER"},
      "b": {"parameterType": "STRING", "defaultValue": "two", "isOptional": true}}},
    "dag": {"tasks": {"add": {"taskInfo": {"name": "add"}, "componentRef": {"name": "comp-add"},
      "cachingOptions": {},
      "inputs": {"parameters": {"a": {"componentInputParameter": "a"}}}}}}}
}"#;
