//! Reads, writes, syncs and changes of length of a simulated file.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use super::content::{Block, block_of};
use super::names::Ino;
use super::{Fault, Op, Rng, SimDisk, State, Ticket, eio, no_space};
use keylane_engine::aligned::{AlignedBuf, BLOCK, round_down};
use keylane_engine::disk::DiskFile;

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    ino: Ino,
    /// It is read through the page cache.
    cached: bool,
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, ino: Ino) -> Self {
        Self { disk, ino, cached: false }
    }

    pub(super) fn through_page_cache(self) -> Self {
        Self { cached: true, ..self }
    }

    fn path(&self) -> Rc<str> {
        Rc::clone(&self.disk.state.borrow_mut().inode(self.ino).path)
    }

    /// Length of a seeded short transfer, if this one is to be short.
    fn short(state: &mut State, one_in: u32, len: usize) -> Option<usize> {
        let blocks = len / BLOCK;
        let short = blocks > 1 && state.rng.one_in(one_in);
        short.then(|| state.rng.between(1, blocks as u64 - 1) as usize * BLOCK)
    }

    /// Where a write goes and with what content; `None` if nowhere.
    fn target(&self, state: &mut State, ticket: &Ticket, bytes: &[u8], pos: u64) -> Option<(Ino, u64)> {
        let (ino, pos) = match &ticket.fault {
            Some(Fault::Lost) => return None,
            Some(Fault::Misdirected(path, pos)) => (state.names.file(path).ok()?, *pos),
            _ => (self.ino, pos),
        };
        let mut data: Vec<Block> = match ticket.fault {
            Some(Fault::Zeroed) => vec![None; bytes.len() / BLOCK],
            _ => bytes.chunks(BLOCK).map(block_of).collect(),
        };
        if ticket.fault == Some(Fault::FlipBit) {
            let bit = state.rng.below(bytes.len() as u64 * 8) as usize;
            let block = data[bit / 8 / BLOCK].get_or_insert_with(|| Rc::new([0; BLOCK]));
            Rc::make_mut(block)[bit / 8 % BLOCK] ^= 1 << (bit % 8);
        }
        state.inode(ino).begin_write(ticket.number, pos, data);
        Some((ino, pos))
    }
}

impl DiskFile for SimFile {
    async fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state.borrow_mut().inode(self.ino).visible.len())
    }

    async fn read_at(&self, mut buf: AlignedBuf, pos: u64) -> (io::Result<usize>, AlignedBuf) {
        assert!(pos.is_multiple_of(BLOCK as u64), "unaligned read");
        let result = self
            .disk
            .perform(
                Op::Read,
                self.path(),
                |_, _| (),
                |state, ticket, ()| {
                    let len = state.inode(self.ino).visible.len().saturating_sub(pos);
                    let mut n = len.min(buf.capacity() as u64) as usize;
                    let one_in = state.options.short_read_1_in;
                    match ticket.fault {
                        Some(Fault::Error | Fault::ErrorLost | Fault::NoSpace) => return Err(eio()),
                        Some(Fault::Short(short)) => n = n.min(short),
                        Some(_) => {}
                        None => n = Self::short(state, one_in, n).unwrap_or(n),
                    }
                    let mut done = 0;
                    for piece in state.inode(self.ino).visible.pieces(pos, n) {
                        buf.put(done, piece);
                        done += piece.len();
                    }
                    match ticket.fault {
                        Some(Fault::Zeroed) => buf.as_mut_slice()[..n].fill(0),
                        Some(Fault::FlipBit) if n > 0 => {
                            let bit = state.rng.below(n as u64 * 8) as usize;
                            buf.as_mut_slice()[bit / 8] ^= 1 << (bit % 8);
                        }
                        _ => {}
                    }
                    Ok(n)
                },
            )
            .await;
        if let (true, Ok(n)) = (self.cached, &result) {
            self.disk.state.borrow_mut().inode(self.ino).cache(pos..pos + round_down(*n as u64));
        }
        (result, buf)
    }

    fn read_cached(&self, mut buf: AlignedBuf, pos: u64) -> (usize, AlignedBuf) {
        let mut state = self.disk.state.borrow_mut();
        let inode = state.inode(self.ino);
        let n = if self.cached { inode.cached(pos, buf.capacity() as u64) } else { 0 };
        let mut done = 0;
        for piece in inode.visible.pieces(pos, n as usize) {
            buf.put(done, piece);
            done += piece.len();
        }
        (done, buf)
    }

    /// Takes its time, but is no step: nothing depends on it, and a fault in it is met by nobody.
    async fn will_need(&self, ranges: Vec<Range<u64>>) {
        super::turns(4).await;
        let mut state = self.disk.state.borrow_mut();
        let inode = state.inode(self.ino);
        let end = round_down(inode.visible.len());
        for range in ranges.into_iter().filter(|range| range.start < end) {
            inode.cache(range.start..range.end.min(end));
        }
    }

    async fn drop_cached(&self) {
        self.disk.state.borrow_mut().inode(self.ino).drop_cached();
    }

    async fn write_at(&self, bytes: Bytes, pos: u64) -> io::Result<usize> {
        assert!(
            pos.is_multiple_of(BLOCK as u64) && bytes.len().is_multiple_of(BLOCK) && !bytes.is_empty(),
            "unaligned write"
        );
        let end = pos + bytes.len() as u64;
        self.disk
            .perform(
                Op::Write,
                self.path(),
                |state, ticket| {
                    let old = state.inode(self.ino).visible.len();
                    match ticket.fault {
                        Some(Fault::NoSpace) => return Err(no_space()),
                        Some(Fault::ErrorLost) => return Err(eio()),
                        _ => state.check_room(old, old.max(end))?,
                    }
                    Ok(self.target(state, ticket, &bytes, pos))
                },
                |state, ticket, begun| {
                    let target = begun?;
                    let len = bytes.len();
                    let one_in = state.options.short_write_1_in;
                    let written = match ticket.fault {
                        Some(Fault::Short(short)) => short.min(len),
                        Some(_) => len,
                        None => Self::short(state, one_in, len).unwrap_or(len),
                    };
                    let now = state.tick();
                    if let Some((ino, _)) = target {
                        let mut rng = Rng::new(state.rng.next_u64());
                        let inode = state.inode(ino);
                        if ticket.fault == Some(Fault::Error) {
                            inode.spoil(ticket.number, &mut rng);
                        }
                        inode.complete(ticket.number, now, (written < len).then_some(written));
                    }
                    if ticket.fault == Some(Fault::Error) { Err(eio()) } else { Ok(written) }
                },
            )
            .await
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk
            .perform(
                Op::Sync,
                self.path(),
                |state, _| state.tick(),
                |state, ticket, begun| {
                    let mut rng = Rng::new(state.rng.next_u64());
                    let ignored = state.options.ignore_syncs;
                    let inode = state.inode(self.ino);
                    match ticket.fault {
                        Some(Fault::Error) => inode.lose(begun, true, &mut rng),
                        Some(Fault::ErrorLost) => inode.lose(begun, false, &mut rng),
                        Some(Fault::NoSpace) => return Err(no_space()),
                        Some(Fault::Lost) => return Ok(()),
                        _ if ignored => return Ok(()),
                        _ => {
                            inode.sync(begun);
                            return Ok(());
                        }
                    }
                    Err(eio())
                },
            )
            .await
    }

    async fn punch(&self, pos: u64, len: u64) -> io::Result<()> {
        // A write of zeros, but that it needs no space.
        let blocks = (len as usize) / BLOCK;
        assert!(pos.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK as u64), "unaligned hole");
        self.disk
            .perform(
                Op::Punch,
                self.path(),
                |state, ticket| {
                    match ticket.fault {
                        Some(Fault::NoSpace) => return Err(no_space()),
                        Some(Fault::ErrorLost) => return Err(eio()),
                        _ => state.inode(self.ino).begin_write(ticket.number, pos, vec![None; blocks]),
                    }
                    Ok(())
                },
                |state, ticket, begun| {
                    begun?;
                    let now = state.tick();
                    state.inode(self.ino).complete(ticket.number, now, None);
                    if ticket.fault == Some(Fault::Error) { Err(eio()) } else { Ok(()) }
                },
            )
            .await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk
            .perform(
                Op::SetLen,
                self.path(),
                |state, ticket| {
                    let old = state.inode(self.ino).visible.len();
                    match ticket.fault {
                        Some(Fault::NoSpace) => return Err(no_space()),
                        Some(Fault::ErrorLost) => return Err(eio()),
                        _ => state.check_room(old, len)?,
                    }
                    state.inode(self.ino).begin_set_len(ticket.number, len);
                    Ok(())
                },
                |state, ticket, begun| {
                    begun?;
                    let now = state.tick();
                    let happened = ticket.fault != Some(Fault::Error) || state.rng.one_in(2);
                    let inode = state.inode(self.ino);
                    match happened {
                        true => inode.complete(ticket.number, now, None),
                        false => inode.cancel(ticket.number),
                    }
                    if ticket.fault == Some(Fault::Error) { Err(eio()) } else { Ok(()) }
                },
            )
            .await
    }
}
