//! Accepting connections: header and idle time-outs, a bound on connections, and an end that does not hang.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::Tls;

/// How long a client may take to send a request's head.
const HEADER_TIME: Duration = Duration::from_secs(20);
/// How long open requests may take to end after the box was asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 4096;

/// In a request's extensions: cancelled when the box stops, so that endless answers end.
#[derive(Clone, Debug, Default)]
pub struct Closing(pub CancellationToken);

impl Closing {
    /// The one of this request; a request outside of [`serve`] has one that never fires.
    pub(crate) fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

/// Serves until `shutdown` completes; then ends watches and followed logs, waits a little for the rest. With `tls`,
/// a connection that does not begin with its handshake is dropped.
///
/// # Errors
/// Only when the listener is of no use any more.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let closing = Closing::default();
    let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    tokio::pin!(shutdown);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of file descriptors, or a client that gave up: neither ends the service.
                tracing::warn!("cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (router, closing, tls) = (router.clone(), closing.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, router, closing).await,
                Some(tls) => {
                    match tokio::time::timeout(HEADER_TIME, tls.acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, router, closing).await,
                        Ok(Err(e)) => tracing::debug!("no TLS connection: {e}"),
                        Err(_) => tracing::debug!("no TLS connection: too slow"),
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    closing.0.cancel();
    connections.close();
    let _ = tokio::time::timeout(GRACE, connections.wait()).await;
    Ok(())
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    closing: Closing,
) {
    let mark = closing.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(mark.clone());
        let router = router.clone();
        let waits = request.headers().contains_key(header::EXPECT);
        async move {
            let mut response = router.oneshot(request).await.unwrap_or_else(|e| match e {});
            // The client has held its body back and now never sends it; hyper would take the beginning of the next
            // request for it.
            if waits && !response.status().is_success() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closing.0.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(e) = ended {
        tracing::debug!("connection ended: {e}");
    }
}
