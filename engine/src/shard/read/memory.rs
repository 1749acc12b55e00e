//! Memory for reads from the disk.

use std::cell::RefCell;

use crate::aligned::{AlignedBuf, Pool};

/// Largest single read, unless one batch is larger. Memory of this size is used again and again.
pub const READ_BUFFER_BYTES: usize = 2 << 20;
/// Free buffers that are kept.
const FREE_BUFFERS: usize = 24;

/// See the module's header.
pub struct ReadMemory {
    pool: Pool,
    /// The rest of the buffer that the last small read used.
    open: RefCell<Option<AlignedBuf>>,
}

impl Default for ReadMemory {
    fn default() -> Self {
        // No huge pages: to prepare one can take a virtual machine milliseconds, and holds up every thread.
        let pool = Pool::new(READ_BUFFER_BYTES, FREE_BUFFERS).touched_bit_by_bit();
        Self { pool, open: RefCell::default() }
    }
}

impl ReadMemory {
    /// Memory for a read. Small reads, which readers begin and end in about the same order, share one buffer.
    pub fn take(&self, len: usize) -> AlignedBuf {
        if len > READ_BUFFER_BYTES {
            return AlignedBuf::uninit(len);
        }
        let mut open = self.open.borrow_mut();
        match &mut *open {
            Some(buf) if buf.capacity() >= len => {
                let front = buf.split_front(len);
                if buf.capacity() == 0 {
                    *open = None;
                }
                front
            }
            _ => {
                let mut buf = self.pool.take();
                let front = buf.split_front(len);
                *open = (buf.capacity() > 0).then_some(buf);
                front
            }
        }
    }

    /// Bytes of the buffers that are being read into, or held by readers.
    pub fn bytes(&self) -> usize {
        self.pool.alive() * self.pool.buffer_bytes()
    }
}
