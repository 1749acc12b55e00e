//! A view of one Kafka record batch, version 2 (magic 2): the unit that is appended, stored, and served
//! byte for byte.
//!
//! [`RecordBatch::check_stored`] checks a batch that was read back: the length field matches the bytes, the CRC-32C is right,
//! and record count and offsets do not contradict each other. A batch that was compacted spans the offsets of its removed records,
//! too. [`crate::records::check`] decides whether a batch may be stored in the first place, and goes through its records.
//!
//! Layout (big endian; source: <https://kafka.apache.org/documentation/#recordbatch>):
//!
//! ```text
//!  0 base offset         i64   patched at append: outside the CRC
//!  8 batch length        i32   bytes that follow this field
//! 12 leader epoch        i32   patched at append: outside the CRC
//! 16 magic               i8    2
//! 17 CRC-32C             u32   over all bytes from 21
//! 21 attributes          i16   bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control
//! 23 last offset delta   i32   record count - 1, or more once records were taken by compaction
//! 27 base timestamp      i64   milliseconds
//! 35 maximum timestamp   i64   milliseconds
//! 43 producer id         i64   -1: none
//! 51 producer epoch      i16
//! 53 base sequence       i32   -1: none
//! 57 record count        i32
//! 61 records
//! ```

mod encode;
mod layout;
mod view;

pub use encode::{BatchFields, HeaderFields, build, build_from, put_record, seal};
pub(crate) use layout::CRC_START;
pub use layout::{HEADER_BYTES, LENGTH_END};
pub use view::{BatchError, RecordBatch, base_offset, end_offset, leader_epoch, patch, total_len};
