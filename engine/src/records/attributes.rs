//! Bits of the attributes of a batch.

/// Attribute bits that name the codec.
pub const CODEC_BITS: i16 = 7;
/// Attribute bit: all records have the maximum timestamp of the header, the time of their append.
pub const APPEND_TIME: i16 = 8;
/// Attribute bit: the base timestamp is the delete horizon of the batch's tombstones (KIP-534).
pub const DELETE_HORIZON: i16 = 0x40;
