//! Answers to Produce and Fetch as a client of high load reads them: in place, one partition at a time.
//!
//! Promises: nothing is copied, and nothing is allocated but for a list of aborted transactions; an answer that is cut
//! off anywhere before its last partition is an error.
use crate::api::ApiKey;
use crate::error::ErrorCode;
use crate::field::{Field, TopicRef};
use crate::header::ResponseHeader;
use crate::messages::fetch::{FetchedPartition, FetchedTopic};
use crate::messages::produce::{ProducedPartition, ProducedTopic};
use crate::wire::{Reader, WireError, WireErrorKind};

/// What became of the records of a request for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The request's number.
    pub correlation_id: i32,
    /// Which partition.
    pub partition: i32,
    /// What is wrong, if something is.
    pub error: ErrorCode,
    /// Offset of the first record; -1 in an error.
    pub base_offset: i64,
}

/// Reads the answer to a Produce request of one partition, as far as its offset.
///
/// # Errors
/// It is cut off before; it is about no partition.
#[inline]
pub fn read_produced(version: i16, frame: &[u8]) -> Result<Produced, WireError> {
    let at = ApiKey::Produce.at(version);
    let mut r = Reader::new(frame);
    let correlation_id = ResponseHeader::decode(ApiKey::Produce, version, &mut r)?.correlation_id;
    let nothing = |r: &Reader<'_>| r.error("partitions", WireErrorKind::Null);
    if r.array(at.flexible, ProducedTopic::bytes_min(at), "topics")? == 0 {
        return Err(nothing(&r));
    }
    TopicRef::read(&mut r, at, "topic")?;
    if r.array(at.flexible, ProducedPartition::bytes_min(at), "partitions")? == 0 {
        return Err(nothing(&r));
    }
    let (partition, error) = (r.i32("index")?, ErrorCode::from_code(r.i16("error")?));
    Ok(Produced { correlation_id, partition, error, base_offset: r.i64("base_offset")? })
}

/// Hands each partition of an answer to Fetch, a frame without its length, to `each`. The request's number, the
/// outcome of the request as a whole, and its session (0 for none).
///
/// # Errors
/// It is cut off; partitions before that were handed out.
pub fn read_fetched<'a>(
    version: i16,
    frame: &'a [u8],
    each: impl FnMut(TopicRef<'a>, FetchedPartition<'a>),
) -> Result<(i32, ErrorCode, i32), WireError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(ApiKey::Fetch, version, &mut r)?;
    let (error, session_id) = read_partitions(version, r.rest(), each)?;
    Ok((header.correlation_id, error, session_id))
}

/// The same for the body of an answer, which has no number.
///
/// # Errors
/// As [`read_fetched`].
pub fn read_partitions<'a>(
    version: i16,
    body: &'a [u8],
    mut each: impl FnMut(TopicRef<'a>, FetchedPartition<'a>),
) -> Result<(ErrorCode, i32), WireError> {
    let at = ApiKey::Fetch.at(version);
    let mut r = Reader::new(body);
    r.i32("throttle_time_ms")?;
    let (mut error, mut session_id) = (ErrorCode::None, 0);
    if version >= 7 {
        error = ErrorCode::from_code(r.i16("error")?);
        session_id = r.i32("session_id")?;
    }
    for _ in 0..r.array(at.flexible, FetchedTopic::bytes_min(at), "topics")? {
        let topic = TopicRef::read(&mut r, at, "topic")?;
        for _ in 0..r.array(at.flexible, FetchedPartition::bytes_min(at), "partitions")? {
            each(topic, FetchedPartition::read(&mut r, at, "partition")?);
        }
        r.skip_tags(at.flexible)?;
    }
    r.skip_tags(at.flexible)?;
    Ok((error, session_id))
}
