//! Accepts connections and serves HTTP on them. See the room's header for what is promised.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::core::Core;
use crate::runtime::net::Listener;

use super::body::Body;
use super::io::Guarded;

/// How long a connection may be idle between requests, and how long the headers of a request may take.
const IDLE: Duration = Duration::from_secs(60);
/// How long answers that are on their way may take when the server stops.
const DRAIN: Duration = Duration::from_secs(4);
/// Most headers of a request, and bytes of them.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Receive buffer of an HTTP/1 connection, at most.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Requests of an HTTP/2 connection at once, and bytes of them that may come unasked.
const STREAMS_MAX: u32 = 128;
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Streams that the peer has opened and reset, which nobody has looked at: rapid resets beyond it end the connection.
const RESETS_MAX: usize = 64;
/// Bytes of answers that wait in an HTTP/2 stream.
const SEND_BYTES_MAX: usize = 256 << 10;
/// HTTP/2: a connection that does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Answers requests.
pub trait Service: 'static {
    /// The answer to a request.
    fn answer(self: Rc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + 'static;
}

/// Futures of HTTP/2 run on the core that accepted the connection.
#[derive(Clone, Copy)]
struct OnThisCore;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisCore {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(async move { drop(future.await) }));
    }
}

/// Accepts connections until the server stops.
pub async fn serve<S: Service>(core: Rc<Core>, listener: Listener, service: Rc<S>) {
    let most = core.config.max_connections.div_ceil(core.cluster.cores);
    loop {
        let (stream, peer) = match listener.accept_on_epoll().await {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of files, or the peer was gone already: others may still succeed.
                tracing::warn!(%e, "accepting an HTTP connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if core.http_connections.get() >= most {
            tracing::warn!(%peer, most, "too many HTTP connections on this core; closing (see --max-connections)");
            continue;
        }
        core.http_connections.set(core.http_connections.get() + 1);
        let (core, service) = (Rc::clone(&core), Rc::clone(&service));
        tokio::task::spawn_local(async move {
            if let Err(error) = connection(&core, stream, service).await {
                tracing::debug!(%peer, %error, "an HTTP connection ended");
            }
            core.http_connections.set(core.http_connections.get() - 1);
            core.drained.notify_waiters();
        });
    }
}

/// Serves one connection to its end.
async fn connection<S: Service>(
    core: &Core,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: Rc<S>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut http = auto::Builder::new(OnThisCore);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    let answer = service_fn(move |request| {
        let answering = Rc::clone(&service).answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut served = pin!(http.serve_connection(TokioIo::new(Guarded::new(stream, IDLE)), answer));
    let stopping = core.stop.notified();
    if !core.stopping.get() {
        tokio::select! {
            ended = &mut served => return ended,
            () = stopping => {}
        }
    }
    served.as_mut().graceful_shutdown();
    tokio::time::timeout(DRAIN, served).await?
}
