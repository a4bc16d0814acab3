//! Printing: tables and JSON; and `status`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Connection, Format,
    client::{Client, NAMESPACE},
};

/// Prints a line. A reader that has gone away (`kfbox runs | head`) ends the program quietly.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints JSON.
///
/// # Errors
/// As [`line`].
pub fn json(value: &Value) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints rows in columns.
///
/// # Errors
/// As [`line`].
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut widths: Vec<usize> = head.iter().map(|h| h.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let render = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    line(&render(head.to_vec()))?;
    for row in rows {
        line(&render(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
}

/// Text of a field, or "".
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Time since an RFC 3339 moment, in its largest unit.
pub fn age(since: &str) -> String {
    let Ok(since) = since.parse::<jiff::Timestamp>() else {
        return "-".into();
    };
    let seconds = jiff::Timestamp::now()
        .duration_since(since)
        .as_secs()
        .max(0);
    duration(seconds)
}

/// Seconds for people.
pub fn duration(seconds: i64) -> String {
    match seconds {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        s if s < 86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        s => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// `kfbox status`.
pub fn status(connection: &Connection) -> Result<ExitCode> {
    let client = Client::new(connection)?;
    let health = client.get("/apis/v2beta1/healthz")?;
    let pods = client.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods"))?;
    let runs = client.get(&format!(
        "/apis/pipelines.kubeflow.org/v2beta1/namespaces/{NAMESPACE}/runs"
    ))?;
    let items = |list: &Value| {
        list.get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (pods, runs) = (items(&pods), items(&runs));
    let count = |list: &[Value], pointer: &str, state: &str| {
        list.iter().filter(|o| text(o, pointer) == state).count()
    };
    let waiting: Vec<Value> = pods
        .iter()
        .filter(|p| text(p, "/status/phase") == "Pending")
        .map(|p| json!({"pod": text(p, "/metadata/name"), "message": text(p, "/status/message")}))
        .collect();
    let report = json!({
        "url": client.base,
        "version": text(&health, "/tag_name"),
        "runs": {
            "running": count(&runs, "/status/state", "RUNNING") + count(&runs, "/status/state", "CANCELING"),
            "succeeded": count(&runs, "/status/state", "SUCCEEDED"),
            "failed": count(&runs, "/status/state", "FAILED"),
        },
        "pods": {"running": count(&pods, "/status/phase", "Running"), "pending": waiting.len()},
        "waiting": waiting,
    });
    if connection.output == Format::Json {
        json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    line(&format!(
        "kfbox {} at {}",
        text(&report, "/version"),
        client.base
    ))?;
    line(&format!(
        "runs: {} running, {} succeeded, {} failed",
        report["runs"]["running"], report["runs"]["succeeded"], report["runs"]["failed"]
    ))?;
    line(&format!(
        "pods: {} running, {} pending",
        report["pods"]["running"], report["pods"]["pending"]
    ))?;
    for pod in report["waiting"].as_array().into_iter().flatten() {
        let why = Some(text(pod, "/message"))
            .filter(|m| !m.is_empty())
            .unwrap_or("starting");
        line(&format!("  {}: {why}", text(pod, "/pod")))?;
    }
    Ok(ExitCode::SUCCESS)
}
