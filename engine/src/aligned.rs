//! Block-aligned memory: what O_DIRECT asks of a buffer, without a copy between network, disk and
//! reader.
//!
//! An [`AlignedBuf`] owns a range of an aligned allocation and is written through `&mut`. Its front
//! can be frozen ([`AlignedBuf::split_to_bytes`]): the frozen part becomes an immutable, reference
//! counted [`Bytes`] that may travel to other threads, while the rest stays writable. The ranges never
//! overlap, so no reader ever sees a byte that can still change. A [`Pool`] hands out allocations of
//! one size, keeps a bounded number for reuse, and counts what is alive.
//!
//! This module holds `unsafe` because Rust has no safe way to allocate with an alignment and to split
//! one allocation into an immutable and a mutable half.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Alignment and unit of every disk transfer, in bytes.
pub const BLOCK: usize = 4096;

/// Size of a huge page on the machines that have them; allocations of a multiple are aligned to it.
const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a line of the processor's caches.
const CACHE_LINE: usize = 64;
/// Shorter copies always go through the processor's caches.
const PAST_CACHE_BYTES_MIN: usize = 2 << 10;

/// Rounds `n` up to a whole number of blocks.
pub const fn round_up(n: usize) -> usize {
    n.next_multiple_of(BLOCK)
}

/// Rounds `n` down to a whole number of blocks.
pub const fn round_down(n: u64) -> u64 {
    n - n % BLOCK as u64
}

/// The kind of pages that an allocation is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    /// Huge pages, if the size allows: the least work in the long run, but the first access to each takes long.
    Huge,
    /// Small pages, each of which is made ready at its first access.
    Small,
}

/// A raw aligned allocation; freed (or never, while pooled) by its owner.
struct Memory {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: `Memory` is a plain allocation without thread affinity; access is governed by its owners.
unsafe impl Send for Memory {}
// SAFETY: as above: a shared `Memory` by itself gives no access to the bytes.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(bytes: usize, pages: Pages) -> Self {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK), "size must be a whole number of blocks");
        let huge = pages == Pages::Huge && bytes.is_multiple_of(HUGE_PAGE);
        let align = if huge { HUGE_PAGE } else { BLOCK };
        let layout = Layout::from_size_align(bytes, align).expect("alignments are powers of two");
        // SAFETY: the layout has a non-zero size (asserted above).
        let raw = unsafe { alloc(layout) };
        let Some(ptr) = NonNull::new(raw) else { handle_alloc_error(layout) };
        if huge {
            // Fewer page faults, and far less work for the kernel to pin the pages of each write. A kernel
            // without huge pages refuses, and small ones serve as well.
            // SAFETY: the range is the allocation just made, and the advice does not change its content.
            let _refused =
                unsafe { rustix::mm::madvise(ptr.as_ptr().cast(), bytes, rustix::mm::Advice::LinuxHugepage) };
        }
        Self { ptr, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from `alloc` with this very layout and is freed only here.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
    }
}

/// An allocation shared by the frozen parts and the writable rest of one buffer.
struct Region {
    memory: Option<Memory>,
    home: Option<Arc<PoolShared>>,
}

impl Region {
    fn base(&self) -> *mut u8 {
        self.memory.as_ref().expect("memory is present until drop").ptr.as_ptr()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let (Some(home), Some(memory)) = (&self.home, self.memory.take()) {
            home.alive.fetch_sub(1, Ordering::AcqRel);
            let mut free = home.free();
            // When the free list is full, the memory is dropped: that bounds the pool.
            if free.len() < home.keep {
                free.push(memory);
            }
        }
    }
}

/// A writable, block-aligned range of memory.
pub struct AlignedBuf {
    region: Arc<Region>,
    start: usize,
    end: usize,
    init: usize,
}

// SAFETY: the range start..end belongs to this value alone, so it may move between threads.
unsafe impl Send for AlignedBuf {}

impl AlignedBuf {
    /// Allocates at least `bytes` bytes, zeroed, rounded up to whole blocks.
    pub fn zeroed(bytes: usize) -> Self {
        let mut buf = Self::uninit(bytes);
        buf.fill_zero(0, buf.capacity());
        buf
    }

    /// Allocates at least `bytes` bytes whose content counts as not yet written.
    pub fn uninit(bytes: usize) -> Self {
        let memory = Memory::new(round_up(bytes.max(1)), Pages::Huge);
        let end = memory.layout.size();
        Self { region: Arc::new(Region { memory: Some(memory), home: None }), start: 0, end, init: 0 }
    }

    /// A handle that keeps the memory alive when the buffer is dropped.
    pub(crate) fn memory(&self) -> impl Sized + use<> {
        Arc::clone(&self.region)
    }

    /// Bytes that the buffer can hold.
    pub fn capacity(&self) -> usize {
        self.end - self.start
    }

    /// Bytes at the front that have been written at least once and may be read.
    pub fn init_len(&self) -> usize {
        self.init
    }

    /// Start of the range, for the kernel to read or write.
    pub fn as_ptr(&self) -> *const u8 {
        // SAFETY: start is within the allocation by construction.
        unsafe { self.region.base().add(self.start) }
    }

    /// Start of the range, for the kernel to fill.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: start is within the allocation by construction.
        unsafe { self.region.base().add(self.start) }
    }

    /// Declares the first `len` bytes as written (by the kernel).
    ///
    /// # Safety
    /// They must have been written.
    pub unsafe fn set_init(&mut self, len: usize) {
        assert!(len <= self.capacity(), "initialised length exceeds the buffer");
        self.init = self.init.max(len);
    }

    /// Writes `src` at `at`, which must not lie beyond what is written so far.
    pub fn put(&mut self, at: usize, src: &[u8]) {
        assert!(at <= self.init, "a gap would leave unwritten memory readable");
        let end = at.checked_add(src.len()).expect("length overflows");
        assert!(end <= self.capacity(), "write beyond the buffer");
        // SAFETY: the destination lies in our exclusive range (asserted); `src` is a live slice and
        // cannot overlap a range that only `self` may touch.
        unsafe { std::ptr::copy_nonoverlapping(src.as_ptr(), self.as_mut_ptr().add(at), src.len()) }
        self.init = self.init.max(end);
    }

    /// As [`AlignedBuf::put`], but past the processor's caches where possible: for bytes that only the disk will read. The
    /// old content of the memory is not fetched, and the caches keep what they hold.
    pub fn put_past_cache(&mut self, at: usize, src: &[u8]) {
        let whole = if src.len() < PAST_CACHE_BYTES_MIN { 0 } else { src.len() / CACHE_LINE * CACHE_LINE };
        // Bytes up to the beginning of a cache line.
        let head = (at.next_multiple_of(CACHE_LINE) - at).min(whole);
        let lines = (whole - head) / CACHE_LINE * CACHE_LINE;
        let (first, rest) = src.split_at(head);
        let (middle, last) = rest.split_at(lines);
        self.put(at, first);
        self.put_lines(at + head, middle);
        self.put(at + head + lines, last);
    }

    /// Writes whole cache lines at the beginning of one.
    #[cfg(target_arch = "x86_64")]
    fn put_lines(&mut self, at: usize, src: &[u8]) {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
        assert!(at <= self.init, "a gap would leave unwritten memory readable");
        let end = at.checked_add(src.len()).expect("length overflows");
        assert!(end <= self.capacity(), "write beyond the buffer");
        let to = self.as_mut_ptr().wrapping_add(at);
        assert!(
            src.is_empty() || to.addr().is_multiple_of(CACHE_LINE),
            "not at the beginning of a cache line"
        );
        for (n, quarter) in src.chunks_exact(size_of::<__m128i>()).enumerate() {
            // SAFETY: both places hold 16 bytes: one is a live slice, the other lies in our exclusive range and
            // is aligned to 16 (asserted). Every x86-64 processor has these instructions.
            unsafe {
                let bytes = _mm_loadu_si128(quarter.as_ptr().cast());
                _mm_stream_si128(to.add(n * size_of::<__m128i>()).cast(), bytes);
            }
        }
        // SAFETY: the instruction has no operands. Other threads may see these stores later than ordinary ones; the fence
        // orders them before the ordinary store by which other threads learn of the bytes.
        unsafe { _mm_sfence() };
        self.init = self.init.max(end);
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn put_lines(&mut self, at: usize, src: &[u8]) {
        self.put(at, src);
    }

    /// Writes zeros over `at..to`.
    pub fn fill_zero(&mut self, at: usize, to: usize) {
        assert!(at <= self.init && at <= to && to <= self.capacity(), "range outside the buffer");
        // SAFETY: the range lies in our exclusive range (asserted).
        unsafe { std::ptr::write_bytes(self.as_mut_ptr().add(at), 0, to - at) }
        self.init = self.init.max(to);
    }

    /// The written front, for reading.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `init` bytes are initialised and belong to this value alone.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.init) }
    }

    /// The written front, for changing in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let init = self.init;
        // SAFETY: as in `as_slice`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), init) }
    }

    /// Freezes the first `len` written bytes (a whole number of blocks, so that the rest stays
    /// aligned) and keeps the rest for writing.
    pub fn split_to_bytes(&mut self, len: usize) -> Bytes {
        assert!(len <= self.init, "only written bytes can be frozen");
        assert!(len.is_multiple_of(BLOCK), "split off the block grid");
        let frozen = Frozen { region: Arc::clone(&self.region), start: self.start, len };
        self.start += len;
        self.init -= len;
        Bytes::from_owner(frozen)
    }

    /// Cuts the buffer in two: the first `at` bytes (whole blocks) are returned, `self` keeps the rest.
    pub fn split_front(&mut self, at: usize) -> Self {
        assert!(at <= self.capacity() && at.is_multiple_of(BLOCK), "split off the block grid");
        let front = Self {
            region: Arc::clone(&self.region),
            start: self.start,
            end: self.start + at,
            init: self.init.min(at),
        };
        self.start += at;
        self.init = self.init.saturating_sub(at);
        front
    }

    /// Joins two parts that [`AlignedBuf::split_front`] cut: `next` follows this part, all of which is written.
    pub fn unsplit(&mut self, next: Self) {
        assert!(Arc::ptr_eq(&self.region, &next.region) && self.end == next.start, "parts of other buffers");
        assert!(self.init == self.capacity(), "a gap would leave unwritten memory readable");
        self.init += next.init;
        self.end = next.end;
    }

    /// Freezes the written front; gives the rest back with it.
    pub fn into_bytes(self) -> Bytes {
        let len = self.init;
        Bytes::from_owner(Frozen { region: self.region, start: self.start, len })
    }
}

/// An immutable part of a region; keeps the region alive.
struct Frozen {
    region: Arc<Region>,
    start: usize,
    len: usize,
}

// SAFETY: no `AlignedBuf` covers this range any more, so nobody writes it.
unsafe impl Send for Frozen {}
// SAFETY: as above, and shared reads of initialised bytes are sound.
unsafe impl Sync for Frozen {}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range was initialised when it was frozen and is never written again while the
        // region lives, which `self.region` ensures.
        unsafe { std::slice::from_raw_parts(self.region.base().add(self.start), self.len) }
    }
}

struct PoolShared {
    free: Mutex<Vec<Memory>>,
    keep: usize,
    alive: AtomicUsize,
}

impl PoolShared {
    fn free(&self) -> MutexGuard<'_, Vec<Memory>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Allocations of one size for reuse; cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<PoolShared>,
    bytes: usize,
    pages: Pages,
}

impl Pool {
    /// A pool of buffers of `bytes` bytes (whole blocks) that keeps at most `keep` free ones.
    pub fn new(bytes: usize, keep: usize) -> Self {
        let shared = PoolShared { free: Mutex::default(), keep, alive: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared), bytes: round_up(bytes), pages: Pages::Huge }
    }

    /// The same pool with buffers of small pages. Making a huge page ready can take milliseconds on a virtual machine,
    /// whichever thread does it; small pages spread that work over the first accesses.
    pub fn touched_bit_by_bit(self) -> Self {
        Self { pages: Pages::Small, ..self }
    }

    /// The free buffer that was given back last, because the processor's caches may still hold it, or else a new one. The
    /// content counts as not yet written.
    pub fn take(&self) -> AlignedBuf {
        let free = self.shared.free().pop();
        self.lend(free.unwrap_or_else(|| Memory::new(self.bytes, self.pages)))
    }

    fn lend(&self, memory: Memory) -> AlignedBuf {
        self.shared.alive.fetch_add(1, Ordering::AcqRel);
        let region = Region { memory: Some(memory), home: Some(Arc::clone(&self.shared)) };
        AlignedBuf { region: Arc::new(region), start: 0, end: self.bytes, init: 0 }
    }

    /// Buffers that were handed out and not given back yet; readers that hold a slice of a buffer keep it out.
    pub fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::Acquire)
    }

    /// Size of one buffer in bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_past_the_cache_arrives_wherever_it_begins_and_ends() {
        let src: Vec<u8> = (0..10_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        for at in [0, 1, 63, 64, 65, 100] {
            for len in [0, 1, PAST_CACHE_BYTES_MIN - 1, PAST_CACHE_BYTES_MIN, 2_111, 4_096, 9_973] {
                let mut buf = AlignedBuf::uninit(4 * BLOCK);
                buf.fill_zero(0, at);
                buf.put_past_cache(at, &src[1..1 + len]);
                assert_eq!(buf.init_len(), at + len);
                assert!(buf.as_slice()[..at].iter().all(|b| *b == 0));
                assert_eq!(&buf.as_slice()[at..], &src[1..1 + len], "{len} bytes at {at}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "write beyond the buffer")]
    fn nothing_goes_past_the_cache_and_beyond_the_buffer() {
        let mut buf = AlignedBuf::uninit(BLOCK);
        buf.put_past_cache(0, &[0; 2 * BLOCK]);
    }

    #[test]
    fn frozen_front_and_writable_rest_do_not_touch() {
        let mut buf = AlignedBuf::uninit(3 * BLOCK);
        buf.put(0, &[1; BLOCK]);
        let front = buf.split_to_bytes(BLOCK);
        buf.put(0, &[2; BLOCK]);
        assert!(front.iter().all(|&b| b == 1));
        assert!(buf.as_slice().iter().all(|&b| b == 2));
        assert_eq!(buf.as_ptr() as usize % BLOCK, 0);
        assert_eq!(buf.capacity(), 2 * BLOCK);
    }

    #[test]
    fn pool_reuses_memory_only_when_the_last_reader_is_gone() {
        let pool = Pool::new(BLOCK, 4);
        let mut buf = pool.take();
        buf.put(0, &[7; BLOCK]);
        let address = buf.as_ptr() as usize;
        let reader = buf.split_to_bytes(BLOCK);
        drop(buf);
        assert_eq!(pool.alive(), 1);
        assert_ne!(pool.take().as_ptr() as usize, address);
        drop(reader);
        assert_eq!(pool.alive(), 0);
        assert_eq!(pool.take().as_ptr() as usize, address, "the one that was given back last comes first");
    }

    #[test]
    #[should_panic(expected = "a gap would leave unwritten memory readable")]
    fn a_gap_is_refused() {
        AlignedBuf::uninit(BLOCK).put(1, &[1]);
    }
}
