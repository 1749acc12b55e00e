//! What is kept of groups as records of `__consumer_offsets`, in Kafka's own format, so that the log can be read by Kafka's
//! tools and carried over to a Kafka cluster. The first number of a key says what the record is: `offset` has committed
//! offsets, `members` has members of classic groups and their assignments, `consumer` what is kept of consumer groups. A record without a value removes what its key names.

mod compact;
mod consumer;
mod members;
mod offset;
mod parts;

use bytes::Buf;
use keylane_engine::Record;

pub use parts::RecordError;

use super::change::Change;

/// A change as a record, of this time.
pub fn encode(change: &Change, now_ms: i64) -> Record {
    match change {
        Change::Offset(change) => offset::encode(change, now_ms),
        Change::Members { group, value } => members::encode(group, value.as_deref(), now_ms),
        Change::Consumer { group, entry } => consumer::encode(group, entry, now_ms),
    }
}

/// A record as it is written again after it was read; `None` if it is refused. For the fuzz targets.
#[doc(hidden)]
pub fn rewrites_group_record(record: &Record) -> Option<Record> {
    decode(record).ok().map(|change| encode(&change, record.timestamp_ms))
}

/// The change that a record stands for.
///
/// # Errors
/// [`RecordError`] if the record is not one that [`encode`] makes.
pub fn decode(record: &Record) -> Result<Change, RecordError> {
    let mut key = record.key.as_deref().unwrap_or_default();
    match key.try_get_i16()? {
        offset::KEY_VERSION => offset::decode(key, record).map(Change::Offset),
        members::KEY_VERSION => {
            let (group, value) = members::decode(key, record)?;
            Ok(Change::Members { group, value: value.map(Into::into) })
        }
        kind if consumer::is_key(kind) => {
            let (group, entry) = consumer::decode(kind, key, record)?;
            Ok(Change::Consumer { group, entry })
        }
        other => Err(RecordError::Version(other)),
    }
}
