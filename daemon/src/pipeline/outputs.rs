//! What a container left behind: output parameters and what it says about its artifacts.
//!
//! The step has had full control over these files. So reads are bounded, only regular files are read, and none
//! that lie outside the given folders, whatever links point there.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kfbox_store::kinds::ir::{ParameterType, conform};
use serde_json::{Map, Value};

use super::container::ContainerPlan;
use super::scope::{Artifact, Outputs};

/// No output file may be larger.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Opening a pipe must not wait for a writer. The same number on all Linux machines that the box runs on.
const O_NONBLOCK: i32 = 0o4000;

/// Where on the host a container's output files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPaths {
    /// The folder mounted as the plan's `output_file_dir`.
    pub outputs_dir: PathBuf,
    /// A folder above `metadata_file` that steps cannot replace (what is mounted as `/minio` and so on).
    pub metadata_root: PathBuf,
    /// The plan's `metadata_file`.
    pub metadata_file: PathBuf,
}

/// Outputs that are missing, malformed or not what was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputError {
    /// The output, or `output metadata`.
    pub what: String,
    /// Why, for people.
    pub message: String,
}

impl OutputError {
    fn new(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.message)
    }
}

impl std::error::Error for OutputError {}

/// Collects the outputs of a container that has ended well.
///
/// What the metadata file says wins; a parameter that is not in it is read from its own file. A declared parameter
/// without either is an error; an artifact without a file is not.
pub fn collect(plan: &ContainerPlan, host: &HostPaths) -> Result<Outputs, OutputError> {
    let report = metadata(host)?;
    let mut outputs = Outputs {
        artifacts: plan
            .output_artifacts
            .iter()
            .map(|(name, artifact)| (name.clone(), vec![artifact.clone()]))
            .collect(),
        ..Outputs::default()
    };
    let parameters = object(&report, "parameterValues")?;
    for (name, file) in &plan.output_parameters {
        let what = format!("output parameter {name:?}");
        let error = |message: String| OutputError::new(&what, message);
        let value = match parameters.get(name) {
            // null is what Python's None becomes: the component gave no value, and says so.
            Some(Value::Null) => Value::Null,
            Some(value) => conform(file.kind, value.clone(), true).map_err(&error)?,
            None => {
                let path = host.outputs_dir.join(name);
                match read(&host.outputs_dir, &path).map_err(&error)? {
                    Some(bytes) => parse(file.kind, &bytes).map_err(&error)?,
                    None => {
                        return Err(error(format!(
                            "the component has not written it (to {})",
                            file.path
                        )));
                    }
                }
            }
        };
        outputs.parameters.insert(name.clone(), value);
    }
    for (name, list) in object(&report, "artifacts")? {
        // What was not declared is not taken over.
        if let Some(own) = outputs.artifacts.get_mut(name).and_then(|l| l.first_mut()) {
            merge(own, list.pointer("/artifacts/0").unwrap_or(&Value::Null));
        }
    }
    Ok(outputs)
}

fn metadata(host: &HostPaths) -> Result<Map<String, Value>, OutputError> {
    let error = |message: String| OutputError::new("output metadata", message);
    let Some(bytes) = read(&host.metadata_root, &host.metadata_file).map_err(&error)? else {
        return Ok(Map::new());
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(error("the file is not a JSON object".to_owned())),
        Err(e) => Err(error(format!("the file is not JSON: {e}"))),
    }
}

fn object<'a>(
    report: &'a Map<String, Value>,
    key: &str,
) -> Result<&'a Map<String, Value>, OutputError> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match report.get(key) {
        None | Some(Value::Null) => Ok(&EMPTY),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(OutputError::new(
            "output metadata",
            format!("{key} is not a JSON object"),
        )),
    }
}

/// Takes over what a component says about an artifact: URI, metadata, custom path. Its type stays as declared.
fn merge(own: &mut Artifact, said: &Value) {
    let text = |key: &str| {
        said.get(key)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    if let Some(uri) = text("uri") {
        own.uri = uri.to_owned();
    }
    if let Some(path) = text("customPath").or_else(|| text("custom_path")) {
        own.custom_path = Some(path.to_owned());
    }
    if let Some(Value::Object(metadata)) = said.get("metadata") {
        own.metadata
            .extend(metadata.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
}

/// The text of an output file as a value of a declared type.
fn parse(kind: ParameterType, bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())?;
    if kind == ParameterType::String {
        return Ok(Value::String(text.to_owned()));
    }
    let trimmed = text.trim();
    let wrong = || {
        let shown: String = trimmed.chars().take(60).collect();
        format!("{shown:?} is not a {} value", kind.as_str())
    };
    let value = match kind {
        ParameterType::NumberInteger => match trimmed.parse::<i64>() {
            Ok(int) => Value::from(int),
            Err(_) => number(trimmed).ok_or_else(wrong)?,
        },
        ParameterType::NumberDouble => number(trimmed).ok_or_else(wrong)?,
        ParameterType::Boolean => match trimmed {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Value::Bool(false),
            _ => return Err(wrong()),
        },
        _ => serde_json::from_str(trimmed).map_err(|e| format!("{} ({e})", wrong()))?,
    };
    conform(kind, value, false)
}

fn number(text: &str) -> Option<Value> {
    let float: f64 = text.parse().ok()?;
    serde_json::Number::from_f64(float).map(Value::Number)
}

/// Reads a file that lies under `root`. `None` if there is none.
fn read(root: &Path, path: &Path) -> Result<Option<Vec<u8>>, String> {
    let fail = |e: std::io::Error| format!("cannot be read: {e}");
    let Some(file) = open(root, path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    // Not the size the file claims: it may still grow.
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "the file is larger than {} MiB; write large data to an artifact",
            MAX_BYTES / 1024 / 1024
        ));
    }
    Ok(Some(bytes))
}

fn open(root: &Path, path: &Path) -> Result<Option<File>, String> {
    let fail = |e: std::io::Error| format!("cannot be read: {e}");
    let root = fs::canonicalize(root).map_err(fail)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("is not the path of a file".to_owned());
    };
    let folder = match fs::canonicalize(folder) {
        Ok(folder) => folder,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let path = folder.join(name);
    if !path.starts_with(&root) {
        return Err("lies outside the step's own folder; the step has put a link there".to_owned());
    }
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err("is not a regular file".to_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(&path)
        .map_err(fail)?;
    // Another step may have swapped a folder for a link since the look above: ask what was really opened.
    let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(fail)?;
    let regular = file.metadata().map_err(fail)?.is_file();
    if opened != path || !regular {
        return Err("was replaced while it was read".to_owned());
    }
    Ok(Some(file))
}
