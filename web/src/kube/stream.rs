//! What reaches into a Pod over one upgraded connection: exec, attach, port-forward.
//!
//! exec and attach speak Kubernetes' channel protocols over WebSocket: each message opens with the number of its
//! channel. port-forward tunnels SPDY frames (kubectl), or is such channels itself (the Python client).

mod forward;
mod spdy;

use std::time::Duration;

use axum::{
    extract::{
        FromRequestParts, Request, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::SplitSink};
use kfbox_store::{Error, Ref};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{Shared, flag};
use crate::{Closing, ExecOptions, Output, Session};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5 only: the channel that the next byte names is closed.
const CLOSE: u8 = 255;
const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
/// Bytes of one message: clients cut their input smaller.
const MESSAGE: usize = 1 << 20;
/// Pieces of input that wait for a slow process.
const WAITING: usize = 16;
/// Between two signs of life on a silent connection.
const PING: Duration = Duration::from_secs(20);

/// exec and attach.
pub(super) async fn session(
    app: &Shared,
    at: Ref,
    attach: bool,
    request: Request,
) -> Result<Response, Error> {
    let options = options(request.uri().query().unwrap_or_default(), attach)?;
    let pod = app.store.fetch(&at).await?;
    let closing = Closing::of(request.extensions());
    let (mut parts, _) = request.into_parts();
    let upgrade = upgrade(&mut parts).await?.protocols([V5, V4]);
    let v5 = upgrade.selected_protocol().is_some_and(|p| p == V5);
    if upgrade.selected_protocol().is_none() {
        return Err(Error::invalid(format!(
            "Sec-WebSocket-Protocol: must be {V5} or {V4}"
        )));
    }
    let session = app.runtime.exec(&pod, options.clone()).await?;
    Ok(upgrade.on_upgrade(async move |socket| {
        tokio::select! {
            () = relay(socket, session, &options, v5) => {}
            () = closing.0.cancelled() => {}
        }
    }))
}

async fn upgrade(parts: &mut axum::http::request::Parts) -> Result<WebSocketUpgrade, Error> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let upgrade = upgrade.map_err(|e| {
        Error::invalid(format!(
            "this address needs a WebSocket (kubectl 1.30 or newer): {}",
            e.body_text()
        ))
    })?;
    Ok(upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE))
}

/// The query of an exec or attach: `command` comes once for each word.
fn options(query: &str, attach: bool) -> Result<ExecOptions, Error> {
    let pairs: Vec<(String, String)> =
        axum::extract::Query::try_from_uri(&format!("/?{query}").parse().map_err(Error::internal)?)
            .map_err(|e| Error::invalid(format!("query: {e}")))?
            .0;
    let single = pairs.iter().cloned().collect();
    let options = ExecOptions {
        container: pairs
            .iter()
            .find(|(k, v)| k == "container" && !v.is_empty())
            .map(|(_, v)| v.clone()),
        command: pairs
            .iter()
            .filter(|(k, _)| k == "command")
            .map(|(_, v)| v.clone())
            .collect(),
        stdin: flag(&single, "stdin")?,
        stdout: flag(&single, "stdout")?,
        stderr: flag(&single, "stderr")?,
        tty: flag(&single, "tty")?,
    };
    if !attach && options.command.is_empty() {
        return Err(Error::invalid("command: at least one word is required"));
    }
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(Error::invalid(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    Ok(ExecOptions {
        command: if attach { Vec::new() } else { options.command },
        ..options
    })
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut framed = Vec::with_capacity(bytes.len() + 1);
    framed.push(channel);
    framed.extend_from_slice(bytes);
    Message::Binary(framed.into())
}

type Sink = SplitSink<WebSocket, Message>;

/// Carries both directions until the process ends or the client leaves.
async fn relay(socket: WebSocket, session: Session, options: &ExecOptions, v5: bool) {
    let (mut sink, mut stream) = socket.split();
    let Session {
        mut input,
        mut output,
        control,
    } = session;
    // A process that does not read its input must not stop its output.
    let (pieces, mut waiting) = mpsc::channel::<Option<Bytes>>(WAITING);
    let feeder = tokio::spawn(async move {
        while let Some(Some(piece)) = waiting.recv().await {
            if input.write_all(&piece).await.is_err() {
                return;
            }
            let _ = input.flush().await;
        }
        let _ = input.shutdown().await;
        // The engine takes a closed connection for the client's end: kept until the process has ended.
        while waiting.recv().await.is_some() {}
    });
    let resizer = control.clone();
    let (wants_input, tty) = (options.stdin, options.tty);
    let read = async move {
        while let Some(Ok(got)) = stream.next().await {
            let Message::Binary(bytes) = got else {
                if matches!(got, Message::Close(_)) {
                    return;
                }
                continue;
            };
            match bytes.first().copied() {
                Some(STDIN) if wants_input && bytes.len() > 1 => {
                    // A process that reads no more: its output goes on.
                    let _ = pieces.send(Some(bytes.slice(1..))).await;
                }
                Some(RESIZE) if tty => {
                    let size: Value = serde_json::from_slice(&bytes[1..]).unwrap_or_default();
                    let side = |name: &str| {
                        let side = size[name].as_u64().and_then(|v| u16::try_from(v).ok());
                        side.unwrap_or_default()
                    };
                    let _ = resizer.resize(side("Width"), side("Height")).await;
                }
                Some(CLOSE) if v5 && bytes.get(1) == Some(&STDIN) => {
                    let _ = pieces.send(None).await;
                }
                _ => {}
            }
        }
    };
    let write = async {
        let mut pings = tokio::time::interval(PING);
        pings.reset();
        loop {
            let piece = tokio::select! {
                piece = output.next() => piece,
                _ = pings.tick() => {
                    sink.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            match piece {
                Some(Ok(Output::Stdout(bytes))) => sink.send(message(STDOUT, &bytes)).await?,
                Some(Ok(Output::Stderr(bytes))) => sink.send(message(STDERR, &bytes)).await?,
                Some(Err(e)) => {
                    let said = failure("InternalError", &e.message, json!({}));
                    return finish(&mut sink, &said).await;
                }
                None => break,
            }
        }
        let said = match control.exit_code().await {
            Ok(Some(0) | None) => json!({"metadata": {}, "status": "Success"}),
            Ok(Some(code)) => failure(
                "NonZeroExitCode",
                &format!("command terminated with non-zero exit code: exit status {code}"),
                json!({"causes": [{"reason": "ExitCode", "message": code.to_string()}]}),
            ),
            Err(e) => failure("InternalError", &e.message, json!({})),
        };
        finish(&mut sink, &said).await
    };
    tokio::select! {
        () = read => {}
        sent = write => {
            if let Err(e) = sent {
                tracing::debug!("a session ended: {e}");
            }
        }
    }
    feeder.abort();
}

fn failure(reason: &str, message: &str, details: Value) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": reason, "message": message, "details": details})
}

/// Tells how it ended, and closes.
async fn finish(sink: &mut Sink, status: &Value) -> Result<(), axum::Error> {
    sink.send(message(ERROR, status.to_string().as_bytes()))
        .await?;
    // kubectl takes a close without a code for a broken connection.
    let close = CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    };
    sink.send(Message::Close(Some(close))).await?;
    sink.close().await
}

/// port-forward.
pub(super) async fn forward(app: &Shared, at: Ref, request: Request) -> Result<Response, Error> {
    forward::serve(app, at, request).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_an_exec() {
        let parsed = options(
            "command=sh&command=-c&command=echo+a%20b&stdout=True&stdin=1",
            false,
        )
        .unwrap();
        assert_eq!(parsed.command, ["sh", "-c", "echo a b"]);
        assert!(parsed.stdin && parsed.stdout && !parsed.tty && parsed.container.is_none());
        assert!(options("stdout=true", false).is_err());
        assert!(options("command=x", false).is_err());
        assert!(options("stdout=true", true).unwrap().command.is_empty());
    }
}
