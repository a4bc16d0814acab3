//! pods/log, through the [`Runtime`](crate::Runtime).

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use kfbox_store::{Error, Ref, kinds::core::POD};

use super::{Shared, flag, number, query};
use crate::{AsIs, Closing, LogOptions};

pub(super) async fn read(
    app: &Shared,
    ns: &str,
    name: &str,
    request: Request,
) -> Result<Response, Error> {
    let query = query(&request)?;
    let since = match (number(&query, "sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => Some(
            jiff::Timestamp::now()
                .checked_sub(Duration::from_secs(seconds))
                .map_err(|_| Error::invalid("sinceSeconds: too long ago"))?,
        ),
        (None, Some(time)) => Some(time.parse().map_err(|_| {
            Error::invalid(format!("sinceTime: \"{time}\" must be an RFC 3339 time"))
        })?),
        (None, None) => None,
    };
    let options = LogOptions {
        container: query.get("container").cloned(),
        previous: flag(&query, "previous")?,
        follow: flag(&query, "follow")?,
        timestamps: flag(&query, "timestamps")?,
        tail_lines: number(&query, "tailLines")?,
        since,
    };
    let limit = number(&query, "limitBytes")?;
    stream(
        app,
        ns,
        name,
        options,
        limit,
        Closing::of(request.extensions()),
    )
    .await
}

/// A pod's log as an answer, in any dialect.
pub(crate) async fn stream(
    app: &Shared,
    ns: &str,
    name: &str,
    options: LogOptions,
    limit: Option<u64>,
    closing: Closing,
) -> Result<Response, Error> {
    let pod = app.store.fetch(&Ref::new(&POD, ns, name)).await?;
    let log = app.runtime.logs(&pod, options).await?;
    let log = log.take_until(closing.0.cancelled_owned());
    let log = limited(log, limit.unwrap_or(u64::MAX));
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let mut response = (kind, Body::from_stream(log)).into_response();
    response.extensions_mut().insert(AsIs);
    Ok(response)
}

/// The first bytes of a stream, and no more.
fn limited(
    log: impl Stream<Item = Result<Bytes, Error>>,
    limit: u64,
) -> impl Stream<Item = Result<Bytes, Error>> {
    log.scan(limit, |left, piece| {
        let piece = match piece {
            Ok(_) if *left == 0 => None,
            Ok(bytes) => {
                let length = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= length as u64;
                Some(Ok(bytes.slice(..length)))
            }
            failed => Some(failed),
        };
        futures::future::ready(piece)
    })
}
