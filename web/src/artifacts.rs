//! The bytes of artifacts: `GET /artifacts/{scheme}/{bucket}/{key}`, in whole or a range, or a folder's
//! entries. Steps run foreign code, so what they made is shown in a sandbox of its own: no origin, no network.

use std::io::SeekFrom;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kfbox_store::{Error, blob::Found};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::{AsIs, error::Plain};

const CSP: &str = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'";
/// How much of a file is looked at to guess its type.
const SNIFF: usize = 1024;

#[derive(Deserialize)]
pub(crate) struct Options {
    #[serde(default)]
    download: String,
}

pub(crate) async fn read(
    State(app): crate::State,
    Path(uri): Path<String>,
    Query(options): Query<Options>,
    headers: HeaderMap,
) -> Result<Response, Plain> {
    let (scheme, rest) = uri.split_once('/').ok_or_else(|| {
        Error::invalid("an artifact's address is /artifacts/{scheme}/{bucket}/{key}")
    })?;
    let uri = format!("{scheme}://{}", rest.trim_end_matches('/'));
    let found = app.blobs.read(&uri).await?;
    let mut response = match found {
        Found::Folder(entries) => Json(json!({"entries": entries})).into_response(),
        Found::File(file, size) => send(file, size, &uri, &headers).await?,
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CSP),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if !options.download.is_empty() {
        headers.insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        );
    }
    Ok(response)
}

async fn send(
    file: std::fs::File,
    size: u64,
    uri: &str,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let mut file = tokio::fs::File::from_std(file);
    let kind = content_type(uri, &mut file).await?;
    let asked = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let (status, start, length) = match asked.map(|r| range(r, size)) {
        None | Some(Asked::Whole) => (StatusCode::OK, 0, size),
        Some(Asked::Part(start, length)) => (StatusCode::PARTIAL_CONTENT, start, length),
        Some(Asked::Outside) => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, all).into_response());
        }
    };
    file.seek(SeekFrom::Start(start))
        .await
        .map_err(Error::internal)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10));
    let mut response = (status, body).into_response();
    response.extensions_mut().insert(AsIs);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {start}-{}/{size}", start + length - 1);
        if let Ok(part) = HeaderValue::from_str(&part) {
            headers.insert(header::CONTENT_RANGE, part);
        }
    }
    Ok(response)
}

#[derive(Debug, PartialEq)]
enum Asked {
    Whole,
    Part(u64, u64),
    Outside,
}

/// One range of bytes; what we do not read as one is answered with the whole, as the standard allows.
fn range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .filter(|r| !r.contains(','))
        .and_then(|r| r.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(end)) if start <= end => (start, end.saturating_add(1).min(size)),
        (Ok(start), Err(_)) if last.is_empty() => (start, size),
        (Err(_), Ok(suffix)) if first.is_empty() => (
            size.saturating_sub(suffix),
            if suffix == 0 { 0 } else { size },
        ),
        _ => return Asked::Whole,
    };
    if start >= end {
        return Asked::Outside;
    }
    Asked::Part(start, end - start)
}

/// By extension; many artifacts have none, so then by the first bytes. A wrong guess harms nothing: the
/// sandbox is the same for all.
async fn content_type(uri: &str, file: &mut tokio::fs::File) -> Result<String, Error> {
    let guess = match mime_guess::from_path(uri).first() {
        Some(kind) => kind.to_string(),
        None => {
            let mut head = Vec::with_capacity(SNIFF);
            (&mut *file)
                .take(SNIFF as u64)
                .read_to_end(&mut head)
                .await
                .map_err(Error::internal)?;
            sniff(&head).into()
        }
    };
    Ok(if guess.starts_with("text/") {
        guess + "; charset=utf-8"
    } else {
        guess
    })
}

fn sniff(head: &[u8]) -> &'static str {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF", "application/pdf"),
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return kind;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut in two.
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return "application/octet-stream",
    };
    if text.contains('\0') {
        return "application/octet-stream";
    }
    let start = text.trim_start().as_bytes();
    match start {
        [b'<', b'!' | b'a'..=b'z' | b'A'..=b'Z', ..] if !start.starts_with(b"<?xml") => "text/html",
        [b'{' | b'[', ..] => "application/json",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, wanted) in [
            ("bytes=0-3", Asked::Part(0, 4)),
            ("bytes=5-", Asked::Part(5, 5)),
            ("bytes=-3", Asked::Part(7, 3)),
            ("bytes=-30", Asked::Part(0, 10)),
            ("bytes=8-99", Asked::Part(8, 2)),
            ("bytes=10-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=3-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=0-18446744073709551615", Asked::Part(0, 10)),
        ] {
            assert_eq!(range(header, 10), wanted, "{header}");
        }
        assert_eq!(range("bytes=0-", 0), Asked::Outside);
    }

    #[test]
    fn guesses() {
        for (head, wanted) in [
            (&b"<h1>hi</h1>"[..], "text/html"),
            (b"  <!DOCTYPE html>", "text/html"),
            (b"{\"a\":1}", "application/json"),
            (b"plain", "text/plain"),
            (b"a\0b", "application/octet-stream"),
            (b"\xff\xfe", "application/octet-stream"),
            (b"caf\xc3", "text/plain"),
            (b"", "text/plain"),
        ] {
            assert_eq!(sniff(head), wanted);
        }
    }
}
