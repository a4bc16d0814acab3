//! A request passed on to a port of a Pod, and its answer back: bodies as they flow, upgrades (WebSocket), and nothing of
//! what belongs to one connection only.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::Response,
};
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use kfbox_store::{Code, Error};

use crate::{AsIs, Closing, Duplex};

/// For answers of Pods at the box's own address: their pages may run their own scripts, without the box's origin.
pub(crate) const SANDBOX: &str = "sandbox allow-scripts allow-forms allow-popups allow-downloads";
/// What belongs to one connection, and not to what is carried over it.
const HOP: &[header::HeaderName] = &[
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Sends a request over a connection; `who` names the other side in errors. Its address and its own headers are the
/// caller's to set, and those of the answer to look at.
///
/// # Errors
/// `Unavailable` when there is no answer.
pub(crate) async fn forward(
    stream: Box<dyn Duplex>,
    mut request: Request,
    who: &str,
) -> Result<Response, Error> {
    let closing = Closing::of(request.extensions());
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let headers = request.headers_mut();
    strip(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    let (parts, body) = request.into_parts();
    let mut onward = Request::new(body);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = parts.uri;
    *onward.headers_mut() = parts.headers;

    let broken = |e: hyper::Error| {
        let message = format!("no answer from {who}: {e}");
        Error::new(Code::Unavailable, message)
    };
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(broken)?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(onward).await.map_err(broken)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(client), Ok(server)) = tokio::join!(client, server) else {
                return;
            };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                () = closing.0.cancelled() => {}
            }
        });
        return Ok(response.map(|_| Body::empty()));
    }
    let (mut parts, body) = response.into_parts();
    strip(&mut parts.headers);
    parts.version = Version::HTTP_11;
    parts.extensions.insert(AsIs);
    let pieces = Body::new(body).into_data_stream();
    let body = Body::from_stream(pieces.take_until(closing.0.cancelled_owned()));
    Ok(Response::from_parts(parts, body))
}

/// Takes out what belongs to the connection.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named {
        headers.remove(name.as_str());
    }
    for name in HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_connection_stays_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let names: Vec<_> = headers.keys().map(|k| k.as_str()).collect();
        assert_eq!(names, ["accept"]);
    }
}
