//! Placeholders: `{{$.inputs.parameters['k']}}` and its relatives, in arguments and constants.
//!
//! Every text is gone over once: what a value contains is never expanded again.

use serde_json::{Map, Value};

use super::paths::local_path;
use super::scope::{Artifact, Job};

/// A placeholder, taken apart. Names are borrowed from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// `{{$}}`
    ExecutorInput,
    /// `{{$.inputs.parameters['k']}}`
    InputParameter(&'a str),
    /// `{{$.inputs.artifacts['k'].uri}}`
    InputUri(&'a str),
    /// `{{$.inputs.artifacts['k'].path}}`
    InputPath(&'a str),
    /// `{{$.outputs.parameters['k'].output_file}}`
    OutputFile(&'a str),
    /// `{{$.outputs.artifacts['k'].uri}}`
    OutputUri(&'a str),
    /// `{{$.outputs.artifacts['k'].path}}`
    OutputPath(&'a str),
    /// `{{$.inputs.artifacts['k'].metadata['m']}}`, and the same of outputs.
    Metadata {
        /// Of an output rather than an input.
        output: bool,
        /// The artifact.
        artifact: &'a str,
        /// The key in its metadata.
        key: &'a str,
    },
    /// `{{$.outputs.output_file}}`, `{{$.outputMetadataUri}}`
    MetadataFile,
    /// `{{$.pipeline_job_name}}` and others that name the run or the task; without `{{$.` and `}}`.
    Job(&'a str),
}

/// The names of [`Placeholder::Job`].
const JOB: [&str; 9] = [
    "pipeline_job_name",
    "pipeline_job_resource_name",
    "pipeline_job_uuid",
    "pipeline_task_name",
    "pipeline_task_uuid",
    "pipeline_job_create_time_utc",
    "pipeline_job_schedule_time_utc",
    "pipeline_root",
    "workspace_path",
];

/// Replaces every placeholder in a text. `value` gives the text for one, or `None` to leave it as written.
pub fn replace<'a, E>(
    text: &'a str,
    mut value: impl FnMut(&Placeholder<'a>) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{$") {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let (written, placeholder) = first(from);
        match placeholder.as_ref().map(&mut value).transpose()?.flatten() {
            Some(replacement) => out.push_str(&replacement),
            None => out.push_str(written),
        }
        rest = &from[written.len()..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The placeholder that a text is as a whole, if it is one.
pub fn whole(text: &str) -> Option<Placeholder<'_>> {
    match first(text) {
        (written, Some(placeholder)) if written.len() == text.len() => Some(placeholder),
        _ => None,
    }
}

/// A text starts with `{{$`: what is written of the placeholder, and what it means if it is one we know.
fn first(text: &str) -> (&str, Option<Placeholder<'_>>) {
    let Some(body) = text.strip_prefix("{{$") else {
        return ("", None);
    };
    let Some(end) = body.find("}}") else {
        return (text.get(..3).unwrap_or(text), None);
    };
    let written = text.get(..end + 5).unwrap_or(text);
    match meaning(&body[..end]) {
        Some(placeholder) => (written, Some(placeholder)),
        // Not ours: step over the braces only, a placeholder may start further on.
        None => (text.get(..3).unwrap_or(text), None),
    }
}

fn meaning(body: &str) -> Option<Placeholder<'_>> {
    if body.is_empty() {
        return Some(Placeholder::ExecutorInput);
    }
    let path = body.strip_prefix('.')?;
    if matches!(path, "outputs.output_file" | "outputMetadataUri") {
        return Some(Placeholder::MetadataFile);
    }
    if JOB.contains(&path) {
        return Some(Placeholder::Job(path));
    }
    if let Some(rest) = path.strip_prefix("inputs.parameters") {
        let (name, rest) = key(rest)?;
        return rest.is_empty().then_some(Placeholder::InputParameter(name));
    }
    if let Some(rest) = path.strip_prefix("outputs.parameters") {
        let (name, rest) = key(rest)?;
        return (rest == ".output_file").then_some(Placeholder::OutputFile(name));
    }
    let (output, rest) = match path.strip_prefix("inputs.artifacts") {
        Some(rest) => (false, rest),
        None => (true, path.strip_prefix("outputs.artifacts")?),
    };
    let (artifact, rest) = key(rest)?;
    match (output, rest) {
        (false, ".uri") => Some(Placeholder::InputUri(artifact)),
        (false, ".path") => Some(Placeholder::InputPath(artifact)),
        (true, ".uri") => Some(Placeholder::OutputUri(artifact)),
        (true, ".path") => Some(Placeholder::OutputPath(artifact)),
        _ => {
            let (key, rest) = key(rest.strip_prefix(".metadata")?)?;
            rest.is_empty().then_some(Placeholder::Metadata {
                output,
                artifact,
                key,
            })
        }
    }
}

/// `['k']` or `["k"]` at the start of a text, and what follows.
fn key(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (name, rest) = inner.get(1..)?.split_once(quote)?;
    Some((name, rest.strip_prefix(']')?))
}

/// A value as text, the way upstream's launcher writes it into arguments: text as it is, numbers in full, lists and
/// objects as JSON, null as nothing.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// What a job placeholder stands for. `Err` for the one that needs something the box does not have yet.
pub fn job_text(name: &str, job: &Job, task: &str, task_uuid: &str) -> Result<String, String> {
    Ok(match name {
        "pipeline_job_name" => job.name.clone(),
        "pipeline_job_resource_name" => job.resource_name.clone(),
        "pipeline_job_uuid" => job.uuid.clone(),
        "pipeline_task_name" => task.to_owned(),
        "pipeline_task_uuid" => task_uuid.to_owned(),
        "pipeline_job_create_time_utc" => job.create_time.clone(),
        "pipeline_job_schedule_time_utc" => job.schedule_time.clone(),
        "pipeline_root" => super::paths::run_root(job),
        _ => {
            return Err(format!(
                "{{{{$.{name}}}}} needs a workspace, which this version of kfbox does not have"
            ));
        }
    })
}

/// The URI, the path in the container, or a metadata entry of an artifact.
pub fn artifact_text(artifact: &Artifact, placeholder: &Placeholder<'_>) -> Option<String> {
    match placeholder {
        Placeholder::InputUri(_) | Placeholder::OutputUri(_) => Some(artifact.uri.clone()),
        Placeholder::InputPath(_) | Placeholder::OutputPath(_) => artifact
            .custom_path
            .clone()
            .or_else(|| local_path(&artifact.uri)),
        Placeholder::Metadata { key, .. } => entry(&artifact.metadata, key),
        _ => None,
    }
}

fn entry(metadata: &Map<String, Value>, key: &str) -> Option<String> {
    metadata.get(key).map(value_text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn knows_the_forms() {
        for (text, expected) in [
            ("{{$}}", Placeholder::ExecutorInput),
            (
                "{{$.inputs.parameters['a b']}}",
                Placeholder::InputParameter("a b"),
            ),
            (
                "{{$.inputs.parameters[\"k\"]}}",
                Placeholder::InputParameter("k"),
            ),
            (
                "{{$.inputs.artifacts['k'].path}}",
                Placeholder::InputPath("k"),
            ),
            (
                "{{$.outputs.artifacts['k'].uri}}",
                Placeholder::OutputUri("k"),
            ),
            (
                "{{$.outputs.parameters['k'].output_file}}",
                Placeholder::OutputFile("k"),
            ),
            ("{{$.outputs.output_file}}", Placeholder::MetadataFile),
            (
                "{{$.pipeline_job_uuid}}",
                Placeholder::Job("pipeline_job_uuid"),
            ),
        ] {
            assert_eq!(whole(text), Some(expected), "{text}");
        }
        for text in [
            "x{{$}}",
            "{{$}}x",
            "{{$.what}}",
            "{{$.inputs.parameters['k'}}",
            "{{$",
            "{{$.inputs.parameters[k]}}",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn replaces_each_once_and_leaves_the_unknown() {
        let run = |text: &str| {
            replace(text, |p| match p {
                Placeholder::InputParameter("a") => {
                    Ok::<_, ()>(Some("{{$.inputs.parameters['b']}}".into()))
                }
                Placeholder::InputParameter("b") => Ok(Some("B".into())),
                _ => Ok(None),
            })
            .unwrap()
        };
        assert_eq!(
            run("<{{$.inputs.parameters['b']}}-{{$.inputs.parameters['b']}}>"),
            "<B-B>"
        );
        assert_eq!(
            run("{{$.inputs.parameters['a']}}"),
            "{{$.inputs.parameters['b']}}"
        );
        assert_eq!(
            run("{{$.x}} {{$ {{$.inputs.parameters['b']}}"),
            "{{$.x}} {{$ B"
        );
        assert_eq!(run("é{{$é{{$.inputs.parameters['b']}}é"), "é{{$éBé");
        assert_eq!(
            run("{{$.inputs.parameters['z']}}"),
            "{{$.inputs.parameters['z']}}"
        );
    }

    #[test]
    fn values_read_as_upstream_writes_them() {
        for (value, text) in [
            (json!(3), "3"),
            (json!(0.1), "0.1"),
            (json!(1e21), "1000000000000000000000"),
            (json!(true), "true"),
            (json!("x y"), "x y"),
            (json!(null), ""),
            (json!([1, "a"]), "[1,\"a\"]"),
            (json!({"a": null}), "{\"a\":null}"),
        ] {
            assert_eq!(value_text(&value), text);
        }
    }
}
