//! Small pipelines of shell steps in `kfbox/base:1`, as the SDK would compile them: a step must cost nothing but its
//! container. And the quick-start, which the real SDK compiles.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// A step that runs a shell script.
#[derive(Clone, Debug)]
pub struct Step {
    name: String,
    image: String,
    script: String,
    after: Vec<String>,
    memory: Option<String>,
    retries: u32,
    security: Option<Value>,
}

impl Step {
    /// Runs `script` by `sh -euc`.
    pub fn sh(name: &str, script: &str) -> Self {
        Self {
            name: name.into(),
            image: "kfbox/base:1".into(),
            script: script.into(),
            after: Vec::new(),
            memory: None,
            retries: 0,
            security: None,
        }
    }

    /// Starts when that step has succeeded.
    #[must_use]
    pub fn after(mut self, step: &str) -> Self {
        self.after.push(step.into());
        self
    }

    /// Runs in another image.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = image.into();
        self
    }

    /// May use this much memory, such as `64Mi`.
    #[must_use]
    pub fn memory(mut self, limit: &str) -> Self {
        self.memory = Some(limit.into());
        self
    }

    /// Is tried again this often when it fails.
    #[must_use]
    pub fn retries(mut self, n: u32) -> Self {
        self.retries = n;
        self
    }

    /// Runs as this user and group, not root.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        // The SDK writes the numbers as text.
        let (uid, gid) = (uid.to_string(), gid.to_string());
        self.security = Some(json!({"runAsUser": uid, "runAsGroup": gid, "runAsNonRoot": true}));
        self
    }
}

/// The pipeline of these steps: the IR, with a platform document where a step needs one.
pub fn pipeline(name: &str, steps: &[Step]) -> Value {
    let (mut components, mut executors) = (Map::new(), Map::new());
    let (mut tasks, mut platform) = (Map::new(), Map::new());
    for step in steps {
        let (component, executor) = (format!("comp-{}", step.name), format!("exec-{}", step.name));
        let mut container = json!({
            "image": step.image,
            "command": ["sh", "-euc"],
            "args": [step.script],
        });
        if let Some(memory) = &step.memory {
            container["resources"] = json!({"resourceMemoryLimit": memory});
        }
        executors.insert(executor.clone(), json!({"container": container}));
        let mut task = json!({
            "cachingOptions": {},
            "componentRef": {"name": component},
            "taskInfo": {"name": step.name},
        });
        if !step.after.is_empty() {
            task["dependentTasks"] = json!(step.after);
        }
        if step.retries > 0 {
            task["retryPolicy"] = json!({"maxRetryCount": step.retries, "backoffDuration": "0s", "backoffFactor": 2.0});
        }
        tasks.insert(step.name.clone(), task);
        if let Some(security) = &step.security {
            platform.insert(executor.clone(), json!({"securityContext": security}));
        }
        components.insert(component, json!({"executorLabel": executor}));
    }
    let spec = json!({
        "components": components,
        "deploymentSpec": {"executors": executors},
        "pipelineInfo": {"name": name},
        "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
    });
    if platform.is_empty() {
        return spec;
    }
    json!({
        "pipeline_spec": spec,
        "platform_spec": {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}}},
    })
}

/// The quick-start, compiled by the SDK of the tests' own environment.
///
/// # Errors
/// When that environment is not there (`tests/run.sh integration` makes it).
pub fn quick_start() -> Result<Value> {
    const COMPILE: &str = "
import json, sys, tempfile, yaml
from digits import digits
from kfp import compiler
with tempfile.NamedTemporaryFile(suffix='.yaml') as file:
    compiler.Compiler().compile(digits, file.name)
    json.dump(next(yaml.safe_load_all(open(file.name))), sys.stdout)
";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the repository")?;
    let python = match std::env::var_os("KFBOX_TEST_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root.join("target/tests/venv/bin/python"),
    };
    let done = Command::new(&python)
        .args(["-W", "ignore", "-c", COMPILE])
        .env("PYTHONPATH", root.join("images/quickstart"))
        .output()
        .with_context(|| format!("{}: tests/run.sh integration makes it", python.display()))?;
    let why = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(
        done.status.success(),
        "the quick-start does not compile: {why}"
    );
    Ok(serde_json::from_slice(&done.stdout)?)
}
