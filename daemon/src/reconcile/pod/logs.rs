//! A container's output: from the engine while its container is there, from a file of the box afterwards. Kept
//! with times, so that every way of asking works on both.
//!
//! Files lie under `logs/<namespace>/<pod>/<uid>/<container>.log`; the output before the last restart beside it as
//! `<container>.previous.log`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::core::v1::PodSpec;
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::core::{DEFAULT_CONTAINER, PodStatus},
};
use kfbox_web::{LogOptions, LogStream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{
    Ctx,
    containers::{all, container_name, restarts},
};
use crate::driver::LogQuery;

/// The folder of all logs of Pods of this name.
pub fn dir(ctx: &Ctx, namespace: &str, pod: &str) -> PathBuf {
    ctx.data.join("logs").join(namespace).join(pod)
}

/// The file of a container's saved output, or of its output before the last restart.
pub fn file(ctx: &Ctx, pod: &Object, container: &str, previous: bool) -> PathBuf {
    let uid = pod.metadata.uid.get(..8).unwrap_or(&pod.metadata.uid);
    let suffix = if previous { "previous.log" } else { "log" };
    dir(ctx, &pod.metadata.namespace, &pod.metadata.name)
        .join(uid)
        .join(format!("{container}.{suffix}"))
}

/// Copies a container's output to the box's own file, whole or not at all.
pub(super) async fn keep(ctx: &Ctx, container: &str, file: &Path) -> Result<()> {
    let part = file.with_extension("part");
    let io = |e: std::io::Error| {
        let code = if e.kind() == std::io::ErrorKind::StorageFull {
            Code::StorageFull
        } else {
            Code::Unavailable
        };
        Error::new(code, "the log cannot be kept").because(e)
    };
    if let Some(folder) = file.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(io)?;
    }
    let mut out = tokio::io::BufWriter::new(tokio::fs::File::create(&part).await.map_err(io)?);
    let mut lines = ctx.driver.logs(container, LogQuery::default()).await?;
    while let Some(chunk) = lines.next().await {
        match chunk {
            Ok(chunk) => out.write_all(&chunk).await.map_err(io)?,
            // The container was never started, or its log is damaged: keep what there is.
            Err(e) if e.code != Code::Unavailable => break,
            Err(e) => return Err(e),
        }
    }
    out.flush().await.map_err(io)?;
    tokio::fs::rename(&part, file).await.map_err(io)
}

/// The container that is meant.
fn chosen(pod: &Object, spec: &PodSpec, asked: Option<&str>) -> Result<String> {
    let names: Vec<&str> = all(spec).map(|c| c.name.as_str()).collect();
    let name = &pod.metadata.name;
    match asked.filter(|c| !c.is_empty()) {
        Some(asked) if names.contains(&asked) => Ok(asked.into()),
        Some(asked) => Err(Error::invalid(format!(
            "container {asked} is not valid for pod {name}"
        ))),
        None => {
            let default = pod.metadata.annotations.get(DEFAULT_CONTAINER);
            if let Some(default) = default.filter(|d| names.contains(&d.as_str())) {
                return Ok(default.clone());
            }
            match spec.containers.as_slice() {
                [only] if names.len() == 1 => Ok(only.name.clone()),
                _ => Err(Error::invalid(format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    names.join(" ")
                ))),
            }
        }
    }
}

/// A container's output, with what `web` was asked for.
///
/// # Errors
/// `Invalid` for a container that the Pod does not have, `Precondition` while it waits to start, `Unavailable` when
/// the engine does not answer.
pub async fn logs(ctx: &Ctx, pod: &Object, options: LogOptions) -> Result<LogStream> {
    let spec: PodSpec = pod.spec()?;
    let status: PodStatus = pod.status()?;
    let container = chosen(pod, &spec, options.container.as_deref())?;
    let saved_at = file(ctx, pod, &container, options.previous);
    let since = options.since.map(|at| at.as_second());
    let stamped = if tokio::fs::try_exists(&saved_at).await.unwrap_or(false) {
        saved(saved_at, options.tail_lines, since).await?
    } else {
        let now = status.container(&container);
        let state = now.and_then(|c| c.state.as_ref());
        let waiting = state.and_then(|s| s.waiting.as_ref());
        let runs = state.is_some_and(|s| s.running.is_some() || s.terminated.is_some());
        let name = &pod.metadata.name;
        // A container that waits for its next start has the output of its last one.
        let before = now.is_some_and(|c| c.last_state.is_some())
            && waiting.is_some_and(|w| w.reason.as_deref() == Some("CrashLoopBackOff"));
        if options.previous && !before {
            return Err(Error::invalid(format!(
                "previous terminated container \"{container}\" in pod \"{name}\" not found"
            )));
        }
        if !runs && !before {
            let why = waiting.and_then(|w| w.reason.clone());
            let why = why.unwrap_or_else(|| "ContainerCreating".into());
            return Err(Error::new(
                Code::Precondition,
                format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}"),
            ));
        }
        let query = LogQuery {
            follow: options.follow,
            tail: options.tail_lines,
            since,
        };
        let in_engine = container_name(&ctx.box_id, pod, &container, restarts(&status, &container));
        ctx.driver.logs(&in_engine, query).await?
    };
    Ok(if options.timestamps {
        stamped
    } else {
        without_times(stamped)
    })
}

async fn saved(
    file: PathBuf,
    tail: Option<u64>,
    since: Option<i64>,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let io = |e: std::io::Error| Error::new(Code::Unavailable, "the log cannot be read").because(e);
    let mut skip = 0_u64;
    if let Some(tail) = tail {
        let mut lines =
            BufReader::new(tokio::fs::File::open(&file).await.map_err(io)?).split(b'\n');
        let mut total = 0_u64;
        while lines.next_segment().await.map_err(io)?.is_some() {
            total += 1;
        }
        skip = total.saturating_sub(tail);
    }
    let lines = BufReader::new(tokio::fs::File::open(&file).await.map_err(io)?).split(b'\n');
    let stream = stream::try_unfold((lines, skip), move |(mut lines, mut skip)| async move {
        while let Some(mut line) = lines.next_segment().await.map_err(io)? {
            let late_enough = since.is_none_or(|since| {
                let stamp = line.split(|b| *b == b' ').next().unwrap_or_default();
                std::str::from_utf8(stamp)
                    .ok()
                    .and_then(|s| s.parse::<jiff::Timestamp>().ok())
                    .is_none_or(|at| at.as_second() >= since)
            });
            if skip > 0 {
                skip -= 1;
            } else if late_enough {
                line.push(b'\n');
                return Ok(Some((Bytes::from(line), (lines, skip))));
            }
        }
        Ok(None)
    });
    Ok(stream.boxed())
}

/// Drops the time that opens each line. A chunk of the engine is one line, or a part of a long one; only
/// parts that open a line carry a time.
fn without_times(lines: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    lines
        .map_ok(|line| match line.iter().position(|b| *b == b' ') {
            Some(at)
                if std::str::from_utf8(&line[..at])
                    .is_ok_and(|stamp| stamp.parse::<jiff::Timestamp>().is_ok()) =>
            {
                line.slice(at + 1..)
            }
            _ => line,
        })
        .boxed()
}
