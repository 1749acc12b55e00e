//! The network and the runtime, as far as the rest of the server sees them: in the
//! server the only place that knows `tokio-uring`.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio_uring::buf::BoundedBuf;

use super::other::{Duplex, Other};

/// Submission queue entries of a core's ring.
const RING_ENTRIES: u32 = 1024;
const BACKLOG: i32 = 1024;
/// Slices in one vectored write: the system's limit.
const SLICES_MAX: usize = 1024;

/// Runs a future on a new runtime on this thread, to its end.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut ring = tokio_uring::uring_builder();
    if tokio_uring::uring_builder().setup_coop_taskrun().build(2).is_ok() {
        // Completions wait for the thread's next system call instead of interrupting it (Linux 5.19).
        ring.setup_coop_taskrun();
    }
    tokio_uring::builder().entries(RING_ENTRIES).uring_builder(&ring).start(future)
}

/// Opens one listening socket per core on the same address. Fails if somebody else listens there.
pub fn listeners(addr: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    // SO_REUSEPORT would let a second server in silently: ask without it first.
    drop(socket(addr, false)?);
    let first = socket(addr, true)?;
    let chosen = first.local_addr()?.as_socket().unwrap_or(addr);
    let mut all = vec![first];
    for _ in 1..count {
        all.push(socket(chosen, true)?);
    }
    all.into_iter()
        .map(|s| {
            s.listen(BACKLOG)?;
            Ok(s.into())
        })
        .collect()
}

fn socket(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// The sleeping place of a core: ends when its eventfd is written to.
pub struct Bed(AsyncFd<Arc<OwnedFd>>);

impl Bed {
    /// Watches an eventfd that does not block.
    pub fn new(eventfd: Arc<OwnedFd>) -> io::Result<Self> {
        // SAFETY: the descriptor stays open, and the same, as long as the shared `OwnedFd` lives, which
        // the registration holds until it is dropped.
        let registered = unsafe { AsyncFd::register(eventfd) };
        Ok(Self(registered?))
    }

    /// Sleeps until somebody has written, possibly before.
    pub async fn sleep(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        let mut count = [0u8; 8];
        match rustix::io::read(guard.get_inner(), &mut count) {
            // Taken before: a spurious wake-up, which callers expect.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
        guard.clear_ready();
        Ok(())
    }
}

/// Accepts connections. (Through epoll: the new socket's addresses are wanted, and accepting is rare.)
pub struct Listener(tokio::net::TcpListener);

/// A connection that was just accepted.
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Our address, as the client dialled it.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
}

impl Listener {
    /// Takes a listening socket over.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(tokio::net::TcpListener::from_std(listener)?))
    }

    /// Waits for the next connection, which stays on epoll: for protocols whose crates bring their own reading and writing.
    pub async fn accept_on_epoll(&self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }

    /// Waits for the next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        let (stream, peer) = self.0.accept().await?;
        let stream = stream.into_std()?;
        // The ring waits by itself; a non-blocking socket would make it give up instead.
        stream.set_nonblocking(false)?;
        // Answers are written as a whole: waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let stream = Stream::Ring(Rc::new(tokio_uring::net::TcpStream::from_std(stream)));
        Ok(Accepted { stream, local, peer })
    }
}

/// Leaves what goes into one write of at most `bytes_max` bytes, and returns the rest.
fn cut(slices: &mut Vec<Bytes>, bytes_max: usize) -> Vec<Bytes> {
    let mut room = bytes_max;
    for n in 0..slices.len().min(SLICES_MAX) {
        if slices[n].len() > room {
            let mut later = slices.split_off(n);
            if room > 0 {
                slices.push(later[0].split_to(room));
            }
            return later;
        }
        room -= slices[n].len();
    }
    slices.split_off(slices.len().min(SLICES_MAX))
}

/// One connection, on whatever carries its bytes; clones are the same connection.
#[derive(Clone)]
pub enum Stream {
    /// TCP on io_uring.
    Ring(Rc<tokio_uring::net::TcpStream>),
    /// Anything else that reads and writes.
    Other(Rc<Other>),
}

impl Stream {
    /// A connection over anything that reads and writes.
    #[cfg_attr(not(test), expect(dead_code, reason = "TLS and sockets on epoll will come this way"))]
    pub fn over(io: impl Duplex + 'static) -> Self {
        Self::Other(Rc::new(Other::new(io)))
    }

    /// Reads into the free capacity behind what `buf` holds, which must not be zero. 0: the peer is
    /// done.
    pub async fn read(&self, mut buf: BytesMut) -> (io::Result<usize>, BytesMut) {
        match self {
            Self::Ring(stream) => {
                let len = buf.len();
                let (result, slice) = stream.read(buf.slice(len..)).await;
                (result, slice.into_inner())
            }
            Self::Other(other) => (other.read(&mut buf).await, buf),
        }
    }

    /// Writes all slices, in order, at most `at_once` bytes in one write.
    pub async fn write_all(&self, slices: Vec<Bytes>, at_once: usize) -> io::Result<()> {
        match self {
            Self::Ring(stream) => write_all(stream, slices, at_once).await,
            Self::Other(other) => other.write_all(&slices, at_once).await,
        }
    }

    /// Ends the connection in both directions: a pending read returns.
    pub fn shutdown(&self) {
        match self {
            // Fails if the peer was faster; then there is nothing left to do.
            Self::Ring(stream) => drop(stream.shutdown(Shutdown::Both)),
            Self::Other(other) => other.end(true),
        }
    }

    /// Ends the receiving direction: a pending read returns, answers can still be written.
    pub fn shutdown_read(&self) {
        match self {
            Self::Ring(stream) => drop(stream.shutdown(Shutdown::Read)),
            Self::Other(other) => other.end(false),
        }
    }
}

async fn write_all(
    stream: &tokio_uring::net::TcpStream,
    mut slices: Vec<Bytes>,
    at_once: usize,
) -> io::Result<()> {
    if slices.len() == 1
        && let Some(only) = slices.pop_if(|only| only.len() <= at_once)
    {
        return stream.write_all(only).await.0;
    }
    let mut rest = slices;
    while !rest.is_empty() {
        let later = cut(&mut rest, at_once);
        let (result, mut tried) = stream.writev(rest).await;
        let mut n = result?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut whole = 0;
        for slice in &mut tried {
            if n < slice.len() {
                slice.advance(n);
                break;
            }
            n -= slice.len();
            whole += 1;
        }
        tried.drain(..whole);
        tried.extend(later);
        rest = tried;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_bounded_in_bytes_and_slices_and_lose_nothing() {
        const WRITE_BYTES_MAX: usize = 1000;
        let lens =
            [1, WRITE_BYTES_MAX - 1, 1, 0, 3 * WRITE_BYTES_MAX + 5, 7].into_iter().chain([2; 3 * SLICES_MAX]);
        let all: Vec<Bytes> = lens.enumerate().map(|(n, len)| Bytes::from(vec![n as u8; len])).collect();
        let (mut rest, mut written) = (all.clone(), Vec::new());
        while !rest.is_empty() {
            let later = cut(&mut rest, WRITE_BYTES_MAX);
            assert!(
                rest.len() <= SLICES_MAX && rest.iter().map(Bytes::len).sum::<usize>() <= WRITE_BYTES_MAX
            );
            assert!(!rest.is_empty());
            written.append(&mut rest);
            rest = later;
        }
        assert_eq!(written.concat(), all.concat());
    }
}
