//! A small HTTP client: any status is an answer, the body is JSON where it is JSON.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use ureq::{Agent, Body, RequestBuilder, http::Response};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub json: Value,
}

impl Answer {
    fn of(mut response: Response<Body>) -> Result<Self> {
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { status, text, json })
    }

    /// The JSON of a good answer.
    ///
    /// # Errors
    /// When the status is not 2xx, with the body.
    pub fn ok(self) -> Result<Value> {
        anyhow::ensure!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.text
        );
        Ok(self.json)
    }
}

/// A client of one box.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    /// Such as `http://127.0.0.1:40123`.
    pub base: String,
    /// Sent as bearer; empty = none.
    pub token: String,
}

impl Client {
    /// A client that calls `base` with this token.
    pub fn new(base: &str, token: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Self {
            agent,
            base: base.into(),
            token: token.into(),
        }
    }

    fn dress<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        if self.token.is_empty() {
            return request;
        }
        request.header("Authorization", format!("Bearer {}", self.token))
    }

    /// GET.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<Answer> {
        let request = self.dress(self.agent.get(format!("{}{path}", self.base)));
        Answer::of(request.call().with_context(|| path.to_string())?)
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.dress(self.agent.post(format!("{}{path}", self.base)));
        Answer::of(request.send_json(body).with_context(|| path.to_string())?)
    }
}
