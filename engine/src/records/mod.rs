//! The records inside a record batch: checking, reading, compressing and uncompressing them.
//!
//! - [`Decoder`] uncompresses the bytes behind a batch's header as a stream, whatever the codec; [`decompress`] does it at
//!   once, up to a limit.
//! - [`check`](fn@check) decides whether a batch that a client sent may be stored, by the [`BatchRules`] of its topic; it goes
//!   through the records with [`Walk`].
//! - [`Records`] hands out the records of a stored batch, without allocating, and checks every length and
//!   offset against the bytes and the header.
//! - [`compress`] compresses records; [`recompress`](fn@recompress) takes a whole batch from one codec to another.
//!
//! The bytes may be hostile: producers send them, and directories hold batches from versions that checked less at append. Nothing
//! here panics on such bytes, and no length is believed before it is compared with them.
//!
//! A record (source: <https://kafka.apache.org/documentation/#record>); all integers but the attributes are
//! zigzag varints:
//!
//! ```text
//! length | attributes i8 | timestamp delta | offset delta | key length | key | value length | value | headers
//! ```

mod attributes;
mod check;
mod codec;
mod decode;
mod encode;
mod error;
mod gzip;
mod lz4;
mod own_time;
mod read;
mod recompress;
mod refused;
mod rules;
mod snappy;
mod walk;
mod zstd;

pub use attributes::{APPEND_TIME, CODEC_BITS, DELETE_HORIZON};
pub use check::{CheckedBatch, Held, Restated, check};
pub use codec::{MAX_HELD, panic_is_caught};
pub use decode::{Decoder, MAX_UNCOMPRESSED, decompress, decompresses_to};
pub use encode::{compress, compress_with};
pub use error::{DecodeError, EncodeError, RecompressError, RecordsError};
pub(crate) use own_time::{largest_timestamp, with_largest_timestamp};
pub use read::{Opened, RecordView, Records};
pub use recompress::{RECOMPRESSED_MAX, recompress};
pub use refused::{REFUSED_MAX, Reason, Refused, RefusedRecord};
pub use rules::{BatchRules, CheckCompressed, Compression, TimestampType};
pub use walk::{Head, Plain, Source, Walk};

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod tests;
