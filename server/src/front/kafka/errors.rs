//! What the service and the coordinator refuse, in the protocol's words: an error code, often a text, and for records which
//! of them are to blame (KIP-467). All translation is here.
//!
//! CORRUPT_MESSAGE, which clients answer by sending the batch again, is only for a checksum that does not match; what
//! is wrong for good gets a code that tells the producer so.

use keylane_engine::catalog::CatalogError;
use keylane_engine::producer_state::SequenceError;
use keylane_engine::record_batch::BatchError;
use keylane_engine::records::{DecodeError, RecordsError};
use keylane_kafka::messages::produce::RecordError;
use keylane_kafka::{ErrorCode, TopicRef};

use crate::coordinator::groups::GroupError;
use crate::coordinator::groups::classic::Refused;
use crate::coordinator::groups::consumer;
use crate::coordinator::log::WriteError;
use crate::runtime::mesh::AppendFailed;
use crate::service::error::{AppendRefused, NoPartition, ReadRefused, TopicError, TrimRefused};
use crate::service::settings::SettingsError;
use crate::service::topics::TopicKey;

/// Records that are told of one by one in one answer, over all its partitions.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// A topic as the service knows it.
#[inline]
pub fn key_of(topic: TopicRef<'_>) -> TopicKey<'_> {
    match topic {
        TopicRef::Name(name) => TopicKey::Name(name),
        TopicRef::Id(id) => TopicKey::Id(id),
    }
}

/// Why something is not done: the code, and a text for people.
pub type Refusal = (ErrorCode, String);

/// Why a topic is not made, changed or deleted.
pub fn refusal_of_topic(error: &TopicError) -> Refusal {
    (code_of_topic(error), error.to_string())
}

/// The code of the same.
pub fn code_of_topic(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::Name | TopicError::Internal(_) | TopicError::Collides { .. } => {
            ErrorCode::InvalidTopicException
        }
        TopicError::Exists(_) | TopicError::Catalog(CatalogError::Exists(_)) => ErrorCode::TopicAlreadyExists,
        TopicError::Unknown | TopicError::Catalog(CatalogError::Unknown(_)) => {
            ErrorCode::UnknownTopicOrPartition
        }
        TopicError::Stream(_) => ErrorCode::PolicyViolation,
        TopicError::Partitions(_)
        | TopicError::Shrinks { .. }
        | TopicError::Catalog(CatalogError::Exhausted) => ErrorCode::InvalidPartitions,
        TopicError::Settings(SettingsError::Request(_)) => ErrorCode::InvalidRequest,
        TopicError::Settings(SettingsError::Value(_)) => ErrorCode::InvalidConfig,
        TopicError::Catalog(_) => ErrorCode::KafkaStorageError,
        TopicError::Stopping => ErrorCode::NotController,
    }
}

/// Why a partition cannot be reached.
pub fn code_of_partition(error: NoPartition) -> ErrorCode {
    match error {
        NoPartition::Topic | NoPartition::Number => ErrorCode::UnknownTopicOrPartition,
        NoPartition::Id => ErrorCode::UnknownTopicId,
    }
}

/// Why a partition is not read.
pub fn code_of_read(error: ReadRefused) -> ErrorCode {
    match error {
        ReadRefused::Partition(partition) => code_of_partition(partition),
        ReadRefused::LaterLeader => ErrorCode::UnknownLeaderEpoch,
        ReadRefused::EarlierLeader => ErrorCode::FencedLeaderEpoch,
        ReadRefused::OutOfRange => ErrorCode::OffsetOutOfRange,
        ReadRefused::Corrupt => ErrorCode::CorruptMessage,
        ReadRefused::Storage => ErrorCode::KafkaStorageError,
        ReadRefused::Stopping => ErrorCode::NotLeaderOrFollower,
    }
}

/// Why records are not deleted.
pub fn code_of_trim(error: TrimRefused) -> ErrorCode {
    match error {
        TrimRefused::Partition(partition) => code_of_partition(partition),
        TrimRefused::Internal => ErrorCode::InvalidTopicException,
        TrimRefused::Compacted => ErrorCode::PolicyViolation,
        TrimRefused::OutOfRange => ErrorCode::OffsetOutOfRange,
        TrimRefused::TimedOut => ErrorCode::RequestTimedOut,
        TrimRefused::Storage => ErrorCode::KafkaStorageError,
        TrimRefused::Stopping => ErrorCode::NotLeaderOrFollower,
    }
}

/// First version of OffsetCommit that knows of groups that do not exist.
const NO_GROUP_SINCE: i16 = 9;

/// Why offsets are not committed in this version of OffsetCommit.
pub fn code_of_commit(error: &GroupError, version: i16) -> ErrorCode {
    match error {
        GroupError::NoMembersNorGroup if version < NO_GROUP_SINCE => ErrorCode::IllegalGeneration,
        GroupError::NotWritten(WriteError::Full { .. } | WriteError::TooLarge) => {
            ErrorCode::InvalidCommitOffsetSize
        }
        error => code_of_group(error),
    }
}

/// Why something is not done with a group.
pub fn code_of_group(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::Unknown | GroupError::NoMembersNorGroup => ErrorCode::GroupIdNotFound,
        GroupError::Name { .. } => ErrorCode::InvalidGroupId,
        GroupError::Member(refused) => code_of_member(refused),
        GroupError::Consumer(refused) => code_of_consumer(refused),
        GroupError::NotEmpty => ErrorCode::NonEmptyGroup,
        GroupError::Unreadable => ErrorCode::CoordinatorNotAvailable,
        GroupError::NotHere | GroupError::NotWritten(WriteError::Gone) => ErrorCode::NotCoordinator,
        GroupError::NotWritten(_) | GroupError::NoTopic => ErrorCode::KafkaStorageError,
    }
}

/// Why a member of a group is refused.
pub fn code_of_member(refused: &Refused) -> ErrorCode {
    match refused {
        Refused::UnknownMember => ErrorCode::UnknownMemberId,
        Refused::Fenced => ErrorCode::FencedInstanceId,
        Refused::IllegalGeneration => ErrorCode::IllegalGeneration,
        Refused::Rebalancing => ErrorCode::RebalanceInProgress,
        Refused::Protocol => ErrorCode::InconsistentGroupProtocol,
        Refused::SessionTimeout => ErrorCode::InvalidSessionTimeout,
        Refused::Full => ErrorCode::GroupMaxSizeReached,
        Refused::MemberIdRequired(_) => ErrorCode::MemberIdRequired,
        Refused::TooLarge => ErrorCode::UnknownServerError,
        Refused::NotStored => ErrorCode::CoordinatorNotAvailable,
    }
}

/// Why a member of a consumer group is refused.
fn code_of_consumer(refused: &consumer::Refused) -> ErrorCode {
    use consumer::Refused;
    match refused {
        Refused::Request(_) => ErrorCode::InvalidRequest,
        Refused::NoGroup | Refused::NotConvertible(_) => ErrorCode::GroupIdNotFound,
        Refused::UnknownMember => ErrorCode::UnknownMemberId,
        Refused::FencedEpoch { .. } => ErrorCode::FencedMemberEpoch,
        Refused::StaleEpoch { .. } => ErrorCode::StaleMemberEpoch,
        Refused::IllegalGeneration => ErrorCode::IllegalGeneration,
        Refused::FencedInstance(_) => ErrorCode::FencedInstanceId,
        Refused::UnreleasedInstance(_) => ErrorCode::UnreleasedInstanceId,
        Refused::Full(_) => ErrorCode::GroupMaxSizeReached,
        Refused::Assignor(_) => ErrorCode::UnsupportedAssignor,
        Refused::Regex { .. } => ErrorCode::InvalidRegularExpression,
        Refused::Version => ErrorCode::UnsupportedVersion,
    }
}

/// Why the records for a partition were refused. Nothing of them was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsRefused {
    /// The protocol's name for it.
    pub code: ErrorCode,
    /// What a person can do with, if there is something to say beyond the code.
    pub message: Option<String>,
    /// Which records are to blame, if it is not the batch as a whole.
    pub records: Vec<RecordError<'static>>,
}

impl From<ErrorCode> for RecordsRefused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

impl From<AppendRefused> for RecordsRefused {
    fn from(error: AppendRefused) -> Self {
        match error {
            AppendRefused::Partition(partition) => code_of_partition(partition).into(),
            AppendRefused::Internal => ErrorCode::InvalidTopicException.into(),
            AppendRefused::TooLarge { .. } => Self::new(ErrorCode::MessageTooLarge, error.to_string()),
            AppendRefused::Empty => Self::new(ErrorCode::InvalidRecord, error.to_string()),
            AppendRefused::Batch(batch) => batch.into(),
            AppendRefused::Failed(failed) => failed.into(),
        }
    }
}

impl From<AppendFailed> for RecordsRefused {
    fn from(error: AppendFailed) -> Self {
        let code = match error {
            AppendFailed::Batch(batch) => return (*batch).into(),
            AppendFailed::TooLarge { .. } => return Self::new(ErrorCode::MessageTooLarge, error.to_string()),
            AppendFailed::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
            AppendFailed::Sequence(_) => ErrorCode::InvalidProducerEpoch,
            AppendFailed::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            AppendFailed::Ended => return Self::new(ErrorCode::PolicyViolation, error.to_string()),
            AppendFailed::Stopping => ErrorCode::NotLeaderOrFollower,
            AppendFailed::Storage => ErrorCode::KafkaStorageError,
        };
        code.into()
    }
}

impl From<BatchError> for RecordsRefused {
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

impl RecordsRefused {
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
