//! What `/metrics` shows, in the OpenMetrics text form.

use std::sync::{Mutex, PoisonError, atomic::AtomicU64};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use kfbox_store::Error;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::error::Plain;

/// The registry of all metrics, shared with the daemon.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Request, Counter<u64, AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    dialect: &'static str,
    code: u16,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kfbox");
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Requests answered, by dialect and status code",
            requests.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
        }
    }
}

impl Metrics {
    /// Registers metrics, or a collector, under the prefix `kfbox`.
    pub fn register<T>(&self, f: impl FnOnce(&mut Registry) -> T) -> T {
        f(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn request(&self, dialect: &'static str, code: u16) {
        self.requests
            .get_or_create(&Request { dialect, code })
            .inc();
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut text, &registry).map(|()| text)
    }
}

pub(crate) async fn render(State(app): crate::State) -> Result<Response, Plain> {
    let text = app.metrics.text().map_err(Error::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
