//! port-forward: many connections to ports of a Pod over one. kubectl opens two SPDY streams for each, one for data
//! and one for errors; the Python client has two WebSocket channels for each port.

use std::{collections::HashMap, sync::Arc};

use axum::{
    body::Body,
    extract::{
        Request,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use kfbox_store::{Error, Object, Ref};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    Shared, V4, message,
    spdy::{self, Broken, Frame, Reader, Writer},
    upgrade,
};
use crate::{Closing, Runtime};

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Read from a Pod at a time.
const PIECE: usize = 32 << 10;
/// Pieces that wait for a slow reader, per direction.
const WAITING: usize = 32;
/// Connections of one client at a time.
const STREAMS: usize = 512;

pub(super) async fn serve(app: &Shared, at: Ref, mut request: Request) -> Result<Response, Error> {
    let pod = app.store.fetch(&at).await?;
    let closing = Closing::of(request.extensions());
    let runtime = app.runtime.clone();
    if word(request.headers(), header::UPGRADE).eq_ignore_ascii_case("spdy/3.1") {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            match upgraded.await {
                Ok(upgraded) => tokio::select! {
                    () = spdy(TokioIo::new(upgraded), runtime, pod) => {}
                    () = closing.0.cancelled() => {}
                },
                Err(e) => tracing::debug!("no port-forward: {e}"),
            }
        });
        return Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "SPDY/3.1")
            .header("X-Stream-Protocol-Version", PROTOCOL)
            .body(Body::empty())
            .map_err(Error::internal);
    }
    let ports = ports(request.uri().query().unwrap_or_default())?;
    let (mut parts, _) = request.into_parts();
    let upgrade = upgrade(&mut parts).await?.protocols([TUNNEL, V4]);
    let chosen = upgrade.selected_protocol().cloned();
    match chosen.as_ref().map(|p| p.as_bytes()) {
        Some(p) if p == TUNNEL.as_bytes() => Ok(upgrade.on_upgrade(async move |socket| {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::select! {
                () = spdy(ours, runtime, pod) => {}
                () = tunnel(socket, theirs) => {}
                () = closing.0.cancelled() => {}
            }
        })),
        Some(_) if ports.is_empty() => Err(Error::invalid("ports: at least one is required")),
        Some(_) => Ok(upgrade.on_upgrade(async move |socket| {
            tokio::select! {
                () = channels(socket, runtime, pod, ports) => {}
                () = closing.0.cancelled() => {}
            }
        })),
        None => Err(Error::invalid(format!(
            "Sec-WebSocket-Protocol: must be {TUNNEL} or {V4}"
        ))),
    }
}

fn word(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
}

fn ports(query: &str) -> Result<Vec<u16>, Error> {
    let values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("ports="));
    let numbers = values.flat_map(|v| v.split([',', '%']).filter(|p| !p.is_empty() && *p != "2C"));
    numbers
        .map(|p| {
            let p = p.trim_start_matches("2C");
            p.parse()
                .map_err(|_| Error::invalid(format!("ports: \"{p}\" must be a port number")))
        })
        .collect()
}

/// Bytes of a stream in WebSocket messages.
async fn tunnel(socket: WebSocket, pipe: tokio::io::DuplexStream) {
    let (mut sink, mut stream) = socket.split();
    let (mut from, mut to) = tokio::io::split(pipe);
    let inward = async {
        while let Some(Ok(got)) = stream.next().await {
            match got {
                Message::Binary(bytes) if to.write_all(&bytes).await.is_err() => return,
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outward = async {
        let mut buffer = vec![0_u8; PIECE];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let piece = Bytes::copy_from_slice(&buffer[..length]);
            if sink.send(Message::Binary(piece)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}

/// A client's data stream: what it sends goes here, to the task that holds the Pod's end.
type Feed = mpsc::Sender<Bytes>;

async fn spdy(
    io: impl AsyncRead + AsyncWrite + Send + 'static,
    runtime: Arc<dyn Runtime>,
    pod: Object,
) {
    let (input, mut output) = tokio::io::split(io);
    let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let writing = async move {
        while let Some(frame) = waiting.recv().await {
            if output.write_all(&frame).await.is_err() || output.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        ended = talk(Box::pin(input), &frames, &runtime, &pod) => {
            if let Err(Broken(why)) = ended {
                tracing::debug!("a port-forward ended: {why}");
            }
        }
    }
}

async fn talk(
    input: impl AsyncRead + Unpin,
    frames: &mpsc::Sender<Vec<u8>>,
    runtime: &Arc<dyn Runtime>,
    pod: &Object,
) -> Result<(), Broken> {
    const GONE: Broken = Broken("the connection ended");
    let (mut reader, mut writer) = (Reader::new(input), Writer::new());
    // Request id -> its error stream, until its data stream comes; stream -> where its data goes.
    let mut errors: HashMap<String, u32> = HashMap::new();
    let mut feeds: HashMap<u32, Feed> = HashMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match reader.next().await? {
            Frame::Open(stream, headers) => {
                frames.send(writer.reply(stream)).await.map_err(|_| GONE)?;
                let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
                let request = header("requestid");
                if header("streamtype") == "error" {
                    if errors.len() >= STREAMS {
                        return Err(Broken("too many streams"));
                    }
                    errors.insert(request, stream);
                    continue;
                }
                let error = errors.remove(&request);
                let Ok(port) = header("port").parse::<u16>() else {
                    return Err(Broken("a stream names no port"));
                };
                feeds.retain(|_, feed| !feed.is_closed());
                if feeds.len() >= STREAMS {
                    return Err(Broken("too many streams"));
                }
                let (feed, fed) = mpsc::channel(WAITING);
                feeds.insert(stream, feed);
                let (frames, runtime, pod) = (frames.clone(), runtime.clone(), pod.clone());
                tasks.spawn(async move {
                    let said = carry(&frames, stream, &*runtime, &pod, port, fed).await;
                    let _ = frames.send(spdy::data(stream, b"", true)).await;
                    if let Some(error) = error {
                        let said = said.err().unwrap_or_default();
                        let _ = frames.send(spdy::data(error, said.as_bytes(), true)).await;
                    }
                });
            }
            Frame::Data(stream, bytes, last) => {
                if let Some(feed) = feeds.get(&stream)
                    && !bytes.is_empty()
                {
                    // One that is gone takes nothing more.
                    let _ = feed.send(bytes).await;
                }
                if last {
                    feeds.remove(&stream);
                }
            }
            Frame::Reset(stream) => {
                feeds.remove(&stream);
            }
            Frame::Ping(id) => frames.send(spdy::ping(id)).await.map_err(|_| GONE)?,
            Frame::Away => return Ok(()),
            Frame::Other => {}
        }
    }
}

/// One connection to the Pod; the error is for the client to read.
async fn carry(
    frames: &mpsc::Sender<Vec<u8>>,
    stream: u32,
    runtime: &dyn Runtime,
    pod: &Object,
    port: u16,
    mut fed: mpsc::Receiver<Bytes>,
) -> Result<(), String> {
    let connection = runtime.connect(pod, port).await.map_err(|e| e.message)?;
    let (mut from, mut to) = tokio::io::split(connection);
    let inward = async {
        while let Some(bytes) = fed.recv().await {
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    let outward = async {
        let mut buffer = vec![0_u8; PIECE];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if frames
                .send(spdy::data(stream, &buffer[..length], false))
                .await
                .is_err()
            {
                return;
            }
        }
    };
    // The Pod's end decides: a client that has sent all still waits for the answer.
    tokio::pin!(outward);
    tokio::select! {
        () = async { inward.await; std::future::pending::<()>().await } => {}
        () = &mut outward => {}
    }
    Ok(())
}

/// The form with two channels per port: data, then errors. Each opens with the port's number.
async fn channels(socket: WebSocket, runtime: Arc<dyn Runtime>, pod: Object, ports: Vec<u16>) {
    let (mut sink, mut stream) = socket.split();
    let (messages, mut waiting) = mpsc::channel::<Message>(WAITING);
    let mut feeds = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (i, port) in ports.into_iter().enumerate() {
        let (Ok(channel), Ok(error)) = (u8::try_from(i * 2), u8::try_from(i * 2 + 1)) else {
            return;
        };
        for opened in [channel, error] {
            if sink
                .send(message(opened, &port.to_le_bytes()))
                .await
                .is_err()
            {
                return;
            }
        }
        let (feed, mut fed) = mpsc::channel::<Bytes>(WAITING);
        feeds.push(feed);
        let (messages, runtime, pod) = (messages.clone(), runtime.clone(), pod.clone());
        tasks.spawn(async move {
            let connection = match runtime.connect(&pod, port).await {
                Ok(connection) => connection,
                Err(e) => {
                    let _ = messages.send(message(error, e.message.as_bytes())).await;
                    return;
                }
            };
            let (mut from, mut to) = tokio::io::split(connection);
            let inward = async {
                while let Some(bytes) = fed.recv().await {
                    if to.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            };
            let outward = async {
                let mut buffer = vec![0_u8; PIECE];
                while let Ok(length @ 1..) = from.read(&mut buffer).await {
                    if messages
                        .send(message(channel, &buffer[..length]))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            };
            tokio::select! {
                () = inward => {}
                () = outward => {}
            }
        });
    }
    drop(messages);
    let inward = async {
        while let Some(Ok(got)) = stream.next().await {
            match got {
                Message::Binary(bytes) => {
                    let channel = bytes.first().copied().unwrap_or(u8::MAX);
                    if let Some(feed) = feeds
                        .get(usize::from(channel / 2))
                        .filter(|_| channel % 2 == 0)
                    {
                        let _ = feed.send(bytes.slice(1..)).await;
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outward = async {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_query() {
        assert_eq!(ports("ports=80").unwrap(), [80]);
        assert_eq!(ports("x=1&ports=80%2C443&ports=9").unwrap(), [80, 443, 9]);
        assert!(ports("").unwrap().is_empty());
        assert!(ports("ports=x").is_err() && ports("ports=70000").is_err());
    }
}
