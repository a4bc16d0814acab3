//! A Pod's output: from the engine while its container is there, from a file of the box afterwards. Kept with
//! times, so that every way of asking works on both.

use std::path::PathBuf;

use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::core::{Phase, PodStatus},
};
use kfbox_web::{LogOptions, LogStream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{Ctx, want};
use crate::driver::LogQuery;

/// Copies a container's output to the box's own file, whole or not at all.
pub(super) async fn keep(ctx: &Ctx, pod: &Object, container: &str) -> Result<()> {
    let file = ctx.log_file(&pod.metadata.namespace, &pod.metadata.name);
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
    tokio::fs::rename(&part, &file).await.map_err(io)
}

/// A Pod's output, with what `web` was asked for.
///
/// # Errors
/// `Precondition` while its container waits to start, `Unavailable` when the engine does not answer.
pub async fn logs(ctx: &Ctx, pod: &Object, options: LogOptions) -> Result<LogStream> {
    let name = want::container_name(&ctx.box_id, pod);
    let file = ctx.log_file(&pod.metadata.namespace, &pod.metadata.name);
    let since = options.since.map(|at| at.as_second());
    let stamped = if tokio::fs::try_exists(&file).await.unwrap_or(false) {
        saved(file, options.tail_lines, since).await?
    } else {
        let status: PodStatus = pod.status()?;
        if status.phase == Phase::Pending && status.container_statuses.is_empty() {
            return Err(Error::new(
                Code::Precondition,
                format!(
                    "container of pod \"{}\" is waiting to start",
                    pod.metadata.name
                ),
            ));
        }
        let query = LogQuery {
            follow: options.follow,
            tail: options.tail_lines,
            since,
        };
        ctx.driver.logs(&name, query).await?
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
