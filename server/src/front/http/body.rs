//! Bodies of requests and answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::core::{Core, MEMORY_UNIT};

/// Bytes of a body that are not paid for: most requests are small.
const FREE_BYTES: usize = 8 << 10;
/// Memory for a body whose length was told, at most so many times what has come of it.
const AHEAD: usize = 16;
/// A body is paid for with what is made of it: its fields, their bytes decoded, and batches of these.
const COPIES: usize = 4;
/// How long a body may make no progress.
const STALL: Duration = Duration::from_secs(20);
/// How long a body may take in all.
const WHOLE: Duration = Duration::from_secs(120);

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is too large.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// It came too slowly, or there was no memory for it in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The connection ended, or what came is no HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// The body of a request, and what was paid for its memory.
pub struct Collected {
    /// The bytes.
    pub bytes: BytesMut,
    /// Given back when the bytes are not needed any more.
    pub _paid: Option<OwnedSemaphorePermit>,
}

/// What a body of so many bytes is paid with.
fn units(bytes: usize) -> usize {
    (bytes * COPIES).div_ceil(MEMORY_UNIT)
}

/// Reads a body to its end.
///
/// # Errors
/// [`BodyError`].
pub async fn collect(core: &Core, mut body: Incoming, bytes_max: usize) -> Result<Collected, BodyError> {
    let told = usize::try_from(hyper::body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if told > bytes_max {
        return Err(BodyError::TooLarge(bytes_max));
    }
    let whole = Instant::now() + WHOLE;
    let mut bytes = BytesMut::new();
    let mut paid: Option<OwnedSemaphorePermit> = None;
    loop {
        let deadline = whole.min(Instant::now() + STALL);
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| BodyError::Slow)?;
        let Some(frame) = frame else { return Ok(Collected { bytes, _paid: paid }) };
        let Ok(data) = frame?.into_data() else { continue };
        let len = bytes.len() + data.len();
        if len > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        let have = paid.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if len > FREE_BYTES && units(len) > have {
            // Not all that was told at once: it has not been sent yet.
            let room = told.min(len * AHEAD).max(len);
            let more = u32::try_from(units(room) - have).unwrap_or(u32::MAX);
            let paying = Arc::clone(&core.memory).acquire_many_owned(more);
            let permit = timeout_at(deadline, paying).await.map_err(|_| BodyError::Slow)?;
            match (&mut paid, permit) {
                (Some(paid), Ok(permit)) => paid.merge(permit),
                (paid, Ok(permit)) => *paid = Some(permit),
                (_, Err(_)) => return Err(BodyError::Slow),
            }
            bytes.reserve(room - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
}

/// The body of an answer.
pub enum Body {
    /// Bytes that are there.
    Whole(Full<Bytes>),
    /// Bytes that come one after another.
    Coming(mpsc::Receiver<Bytes>),
}

impl Body {
    /// A body of these bytes.
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// A body that ends when the sender is dropped. The next bytes are taken when the ones before are on their way; the sender
    /// is closed when the client is gone.
    pub fn coming() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self::Coming(receiver))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Pin::new(bytes).poll_frame(cx),
            Self::Coming(bytes) => bytes.poll_recv(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_end_stream(),
            Self::Coming(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => bytes.size_hint(),
            Self::Coming(_) => SizeHint::default(),
        }
    }
}
