//! Where the fields of a record batch lie.

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
/// Bytes of base offset and length, which the length field does not count.
pub const LENGTH_END: usize = 12;
/// Where the bytes begin that the CRC covers.
pub(crate) const CRC_START: usize = 21;
