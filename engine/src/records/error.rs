//! Why records could not be read or written.

use std::io;

/// Why the records of a batch could not be read. The batch should be left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// Header fields that no stored batch has.
    #[error("record batch header is malformed: {0}")]
    Header(&'static str),
    /// The compressed records could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A record is malformed.
    #[error("record {index} of the batch is malformed: {what}")]
    Record {
        /// Place of the record in its batch, from 0.
        index: u32,
        /// What is wrong with the record.
        what: &'static str,
    },
}

/// Why the records of a batch could not be uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// An unknown codec in the attributes.
    #[error("unknown compression codec {0}")]
    Codec(i16),
    /// The compressed records could not be decoded.
    #[error("the {codec} compressed records of the batch are malformed: {what}")]
    Compressed {
        /// The codec the attributes name.
        codec: &'static str,
        /// The decoder's message.
        what: String,
    },
    /// More uncompressed bytes than the caller allows.
    #[error("the records of the batch take more than {limit} bytes uncompressed")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// There is no memory for the uncompressed bytes.
    #[error(
        "no memory for {0} bytes of uncompressed records: give the process more memory and send the batch again"
    )]
    Memory(usize),
}

/// Why records could not be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An unknown codec.
    #[error("unknown compression codec {0}")]
    Codec(i16),
    /// The encoder failed.
    #[error("compressing records with codec {codec} failed; they can be stored uncompressed")]
    Failed {
        /// The codec, as in the attributes.
        codec: i16,
        /// The encoder's error.
        source: io::Error,
    },
}

/// Why a batch could not be compressed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecompressError {
    /// The records cannot be uncompressed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The encoder failed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The bytes are shorter than a batch's header, or the new batch is larger than a length field can say.
    #[error("a record batch cannot have {0} bytes")]
    Length(usize),
}
