//! A small client of the box's own API. Blocking: it runs in the CLI's process, never in the daemon.

use std::io::{BufRead, BufReader};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use ureq::{Agent, Body, http::Response};

use super::Connection;

/// The namespace the CLI works in.
pub const NAMESPACE: &str = kfbox_store::kinds::core::DEFAULT_NAMESPACE;

/// Nothing answers at the box's address.
#[derive(Debug)]
pub struct Unreachable {
    base: String,
    cause: String,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, cause } = self;
        write!(
            f,
            "the box at {base} does not answer ({cause}): is `kfbox serve` running?"
        )
    }
}

impl std::error::Error for Unreachable {}

/// A connection to a box.
pub struct Client {
    agent: Agent,
    /// Such as `http://127.0.0.1:8080`.
    pub base: String,
    token: String,
}

impl Client {
    /// Finds the box that the options name.
    ///
    /// # Errors
    /// When no daemon is there, with what to do.
    pub fn new(connection: &Connection) -> Result<Self> {
        let (base, token) = match (&connection.host, &connection.token) {
            (Some(host), Some(token)) => (host.clone(), token.clone()),
            (Some(_), None) => bail!("--host needs a token: give --token, or set KFBOX_TOKEN"),
            _ => from_folder(connection)?,
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            base: base.trim_end_matches('/').into(),
            token,
        })
    }

    fn answer(
        &self,
        what: &str,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>> {
        let mut response = sent.map_err(|cause| Unreachable {
            base: self.base.clone(),
            cause: cause.to_string(),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let message = ["message", "error_message"]
            .iter()
            .find_map(|k| body.get(k).and_then(Value::as_str))
            .unwrap_or(&text);
        bail!("{what}: {message} ({status})")
    }

    /// GET, as JSON.
    ///
    /// # Errors
    /// The box's own message.
    pub fn get(&self, path: &str) -> Result<Value> {
        let sent = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("Authorization", self.bearer())
            .call();
        Ok(self.answer(path, sent)?.body_mut().read_json()?)
    }

    /// GET, line by line, for as long as the box sends.
    ///
    /// # Errors
    /// The box's own message.
    pub fn lines(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let sent = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("Authorization", self.bearer())
            .call();
        let body = self.answer(path, sent)?.into_body();
        Ok(BufReader::new(body.into_reader()).lines())
    }

    /// POST, JSON both ways.
    ///
    /// # Errors
    /// The box's own message.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let sent = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Authorization", self.bearer())
            .send_json(body);
        Ok(self.answer(path, sent)?.body_mut().read_json()?)
    }

    /// PUT, JSON both ways.
    ///
    /// # Errors
    /// The box's own message.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let sent = self
            .agent
            .put(format!("{}{path}", self.base))
            .header("Authorization", self.bearer())
            .send_json(body);
        Ok(self.answer(path, sent)?.body_mut().read_json()?)
    }

    /// PATCH: a JSON merge patch.
    ///
    /// # Errors
    /// The box's own message.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        let sent = self
            .agent
            .patch(format!("{}{path}", self.base))
            .header("Authorization", self.bearer())
            .header("Content-Type", "application/merge-patch+json")
            .send(serde_json::to_string(body)?);
        Ok(self.answer(path, sent)?.body_mut().read_json()?)
    }

    /// DELETE.
    ///
    /// # Errors
    /// The box's own message.
    pub fn delete(&self, path: &str) -> Result<()> {
        let sent = self
            .agent
            .delete(format!("{}{path}", self.base))
            .header("Authorization", self.bearer())
            .call();
        self.answer(path, sent).map(|_| ())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

fn from_folder(connection: &Connection) -> Result<(String, String)> {
    let file = crate::serve::endpoints_file(&connection.data_dir);
    let text = std::fs::read_to_string(&file).map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => anyhow!(
            "may not read {}: run this as the box's administrator, or use --host and --token",
            file.display()
        ),
        _ => anyhow!(
            "no box runs in {} ({} is not there): start it with `kfbox serve --data-dir {0}`, or name another with --data-dir",
            connection.data_dir.display(),
            file.display()
        ),
    })?;
    let endpoints: Value =
        serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?;
    let field = |name: &str| {
        endpoints
            .get(name)
            .and_then(Value::as_str)
            .map(ToString::to_string)
            .ok_or_else(|| anyhow!("{} has no \"{name}\"", file.display()))
    };
    let token_file = field("admin_token_file")?;
    let token = std::fs::read_to_string(&token_file)
        .with_context(|| format!("cannot read the admin token {token_file}"))?;
    Ok((field("ui")?, token.trim().to_string()))
}
