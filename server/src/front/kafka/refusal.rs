//! Why records were refused, as the protocol says it: a code, a text, and which records (KIP-467).
//!
//! CORRUPT_MESSAGE, which clients answer by sending the batch again, is only for a checksum that does not match; what
//! is wrong for good gets a code that tells the producer so.

use keylane_engine::AppendError;
use keylane_engine::producer_state::SequenceError;
use keylane_engine::record_batch::BatchError;
use keylane_engine::records::{DecodeError, RecordsError};
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::produce::RecordError;

/// Records that are told of one by one in one answer, over all its partitions.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// Why the records for a partition were refused. Nothing of them was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The protocol's name for it.
    pub code: ErrorCode,
    /// What a person can do with, if there is something to say beyond the code.
    pub message: Option<String>,
    /// Which records are to blame, if it is not the batch as a whole.
    pub records: Vec<RecordError<'static>>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Batch(batch) => batch.into(),
            AppendError::TooLarge { .. } => Self::new(ErrorCode::MessageTooLarge, error.to_string()),
            other => code_of(&other).into(),
        }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let records = match &error {
            BatchError::Refused(refused) => {
                let told = refused.records.iter().map(|r| (r.index, r.reason.to_string()));
                told.map(|(index, message)| RecordError::new(index, message)).collect()
            }
            BatchError::Records(RecordsError::Record { index, what }) => {
                vec![RecordError::new(*index, (*what).to_owned())]
            }
            _ => Vec::new(),
        };
        Self { code: code_of_batch(&error), message: Some(error.to_string()), records }
    }
}

impl Refusal {
    /// A refusal with a text.
    pub fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message: Some(message), records: Vec::new() }
    }
}

/// The protocol's name for a batch that may not be stored.
fn code_of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Crc { .. } => ErrorCode::CorruptMessage,
        BatchError::Recompress(_) => ErrorCode::KafkaStorageError,
        BatchError::Transactional => ErrorCode::InvalidTxnState,
        BatchError::Claim(_) => ErrorCode::InvalidTimestamp,
        BatchError::Refused(refused) if refused.timestamps => ErrorCode::InvalidTimestamp,
        BatchError::Records(RecordsError::Decode(decode)) => match decode {
            DecodeError::Codec(_) => ErrorCode::UnsupportedCompressionType,
            DecodeError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            DecodeError::Memory(_) => ErrorCode::KafkaStorageError,
            _ => ErrorCode::InvalidRecord,
        },
        _ => ErrorCode::InvalidRecord,
    }
}

/// The protocol's name for a refused append.
pub fn code_of(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Batch(batch) => code_of_batch(batch),
        AppendError::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::Sequence(_) => ErrorCode::InvalidProducerEpoch,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        // Busy gets this far only when the server stops: the client tries again elsewhere, or later.
        AppendError::Busy => ErrorCode::NotLeaderOrFollower,
        _ => ErrorCode::KafkaStorageError,
    }
}
