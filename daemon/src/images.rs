//! Which image a name means on this box: the image of that very name when it is here, else the local image
//! that a rule maps it to, else what its registry has. So public pipelines run offline.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kfbox_store::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use crate::driver::{Driver, Image};

/// `pattern` (with `*`) names images that `image` stands in for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRule {
    /// The upstream name, with `*` for any text; matched with and without a `docker.io/` or `library/` prefix.
    pub pattern: String,
    /// The local image.
    pub image: String,
}

/// The rules of a fresh box.
pub fn default_rules() -> Vec<ImageRule> {
    let python = ["python", "python:*", "*/python:*", "*/python-3*"];
    let busybox = [
        "alpine",
        "alpine:*",
        "busybox",
        "busybox:*",
        "*/busybox",
        "*/busybox:*",
        "bash",
        "bash:*",
    ];
    let base = ["debian", "debian:*", "ubuntu", "ubuntu:*"];
    let tensorflow = ["tensorflow/tensorflow", "tensorflow/tensorflow:*"];
    let torch = ["pytorch/pytorch", "pytorch/pytorch:*"];
    let science = [
        "nvcr.io/nvidia/jax:*",
        "*/xgboost-runtime",
        "*/xgboost-runtime:*",
    ];
    let notebook = [
        "*/notebook-servers/jupyter",
        "*/notebook-servers/jupyter:*",
        "*/notebook-servers/jupyter-scipy*",
        "*/jupyter/*-notebook",
        "*/jupyter/*-notebook:*",
        "jupyter/*-notebook",
        "jupyter/*-notebook:*",
    ];
    let notebook_tensorflow = ["*/notebook-servers/jupyter-tensorflow*"];
    let rule = |image: &'static str| {
        move |p: &&str| ImageRule {
            pattern: (*p).into(),
            image: image.into(),
        }
    };
    python
        .iter()
        .map(rule("kfbox/python:3"))
        .chain(busybox.iter().map(rule("kfbox/busybox:1")))
        .chain(base.iter().map(rule("kfbox/base:1")))
        .chain(tensorflow.iter().map(rule("kfbox/tensorflow:2")))
        .chain(torch.iter().map(rule("kfbox/torch:1")))
        .chain(science.iter().map(rule("kfbox/science:1")))
        .chain(notebook.iter().map(rule("kfbox/notebook:1")))
        .chain(
            notebook_tensorflow
                .iter()
                .map(rule("kfbox/notebook-tensorflow:1")),
        )
        .collect()
}

/// Finds images, remembering where each name led.
pub struct Images {
    driver: Arc<dyn Driver>,
    rules: Vec<ImageRule>,
    known: Mutex<HashMap<String, Image>>,
    /// One pull at a time: the second asker of the same image finds it there.
    pulling: AsyncMutex<()>,
}

impl Images {
    /// With these rules, first match wins.
    pub fn new(driver: Arc<dyn Driver>, rules: Vec<ImageRule>) -> Self {
        Self {
            driver,
            rules,
            known: Mutex::default(),
            pulling: AsyncMutex::default(),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Image>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets where a name led: its image is gone.
    pub fn forget(&self, name: &str) {
        self.known()
            .retain(|key, image| key != name && image.name != name);
    }

    /// The image that a name means, fetched when it must be.
    ///
    /// # Errors
    /// `NotFound` with a sentence on what is missing and how to mend it; `Unavailable` when the engine is away.
    pub async fn resolve(&self, name: &str) -> Result<Image> {
        if let Some(image) = self.known().get(name) {
            return Ok(image.clone());
        }
        let image = self.look_up(name).await?;
        self.known().insert(name.into(), image.clone());
        Ok(image)
    }

    async fn look_up(&self, name: &str) -> Result<Image> {
        if let Some(image) = self.driver.image(name).await? {
            return Ok(image);
        }
        if let Some(local) = self.mapped(name) {
            return self.driver.image(local).await?.ok_or_else(|| {
                Error::not_found(format!(
                    "image \"{name}\" stands for \"{local}\" on this box, which is not built: run images/build.sh (with \"trainers\" for the training images)"
                ))
            });
        }
        let _one = self.pulling.lock().await;
        if let Some(image) = self.driver.image(name).await? {
            return Ok(image);
        }
        tracing::info!(image = name, "pulling");
        self.driver.pull(name).await.map_err(|e| match e.code {
            Code::Unavailable if e.context.as_deref().is_some_and(|c| !c.starts_with("docker pull")) => e,
            _ => Error::not_found(format!(
                "image \"{name}\" is not on this box and cannot be pulled: load it (docker load, docker build -t {name}), or add an image rule for it"
            ))
            .because(format!("{e}: {}", e.context.clone().unwrap_or_default())),
        })?;
        self.driver.image(name).await?.ok_or_else(|| {
            Error::not_found(format!("image \"{name}\" was pulled but is not there"))
        })
    }

    /// The local image that the first matching rule names.
    pub fn mapped(&self, name: &str) -> Option<&str> {
        let short = name.strip_prefix("docker.io/").unwrap_or(name);
        let short = short.strip_prefix("library/").unwrap_or(short);
        self.rules
            .iter()
            .find(|r| glob(&r.pattern, name) || glob(&r.pattern, short))
            .map(|r| r.image.as_str())
    }
}

/// Whether `text` matches `pattern`, where `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = true;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    let last = pattern.rsplit('*').next().unwrap_or_default();
    if open {
        text.ends_with(last)
    } else {
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("python:3*", "python:3.11-slim", true),
            ("python:3*", "python:2.7", false),
            ("*/python:3*", "quay.io/x/python:3.9", true),
            ("alpine", "alpine", true),
            ("alpine", "alpine:3", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1b2cd", false),
            ("*", "anything", true),
        ] {
            assert_eq!(glob(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
