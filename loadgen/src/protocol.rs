//! The few Kafka messages a load generator needs, as bytes.
//!
//! Promises: only the versions in [`SUPPORTED`] are written, and an answer that is cut off anywhere is
//! an error. The field types are in [`crate::wire`].

use crate::fetch_shape::FetchPlan;
use crate::wire::{DecodeError, Decoded, Put, Reader};

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const API_VERSIONS: i16 = 18;
pub const CREATE_TOPICS: i16 = 19;

/// API key, lowest and highest version spoken here.
pub const SUPPORTED: [(i16, i16, i16); 5] =
    [(PRODUCE, 3, 11), (FETCH, 4, 12), (LIST_OFFSETS, 1, 5), (METADATA, 1, 8), (CREATE_TOPICS, 2, 4)];

/// The client id sent with every request.
pub const CLIENT_ID: &str = "keylane-loadgen";

/// Whether a version has compact lengths and tagged fields (of the APIs and versions spoken here).
pub fn is_flexible(api: i16, version: i16) -> bool {
    match api {
        PRODUCE => version >= 9,
        FETCH => version >= 12,
        _ => false,
    }
}

/// Starts a request frame; [`end_frame`] fills in its length.
pub fn begin_frame(out: &mut Vec<u8>, api: i16, version: i16, correlation: i32) -> usize {
    let start = out.len();
    out.i32(0);
    out.i16(api);
    out.i16(version);
    out.i32(correlation);
    out.string(CLIENT_ID, false);
    if is_flexible(api, version) {
        out.uvarint(0);
    }
    start
}

pub fn end_frame(out: &mut [u8], start: usize) {
    let len = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Where the broker's versions and ours meet: the highest of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub produce: i16,
    pub fetch: i16,
    pub list_offsets: i16,
    pub metadata: i16,
    pub create_topics: i16,
}

impl Default for Versions {
    fn default() -> Self {
        Self { produce: 9, fetch: 12, list_offsets: 5, metadata: 8, create_topics: 4 }
    }
}

/// Reads an ApiVersions v0 answer (after the correlation id) and picks versions.
pub fn decode_api_versions(body: &[u8]) -> Decoded<Result<Versions, String>> {
    let mut r = Reader::new(body);
    let error = r.i16()?;
    if error != 0 {
        return Ok(Err(format!("ApiVersions: {}", error_name(error))));
    }
    let mut best = [None; SUPPORTED.len()];
    for _ in 0..r.count(false)? {
        let (key, min, max) = (r.i16()?, r.i16()?, r.i16()?);
        for (slot, (api, low, high)) in best.iter_mut().zip(SUPPORTED) {
            if api == key && max >= low && min <= high {
                *slot = Some(max.min(high));
            }
        }
    }
    let [produce, fetch, list_offsets, metadata, create_topics] = best;
    let pick = || {
        Some(Versions {
            produce: produce?,
            fetch: fetch?,
            list_offsets: list_offsets?,
            metadata: metadata?,
            create_topics: create_topics?,
        })
    };
    Ok(pick().ok_or_else(|| "the broker and this client have no version in common".to_owned()))
}

pub fn encode_metadata(out: &mut Vec<u8>, version: i16, topic: &str) {
    out.i32(1);
    out.string(topic, false);
    if version >= 4 {
        out.i8(0); // never create topics by asking
    }
    if version >= 8 {
        out.i8(0);
        out.i8(0);
    }
}

/// What Metadata says of the brokers and the one topic that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicMetadata {
    pub brokers: usize,
    pub error: i16,
    /// Error and leader by partition, in order of the partitions.
    pub partitions: Vec<(i16, i32)>,
}

pub fn decode_metadata(body: &[u8], version: i16) -> Decoded<TopicMetadata> {
    let mut r = Reader::new(body);
    if version >= 3 {
        r.i32()?;
    }
    let brokers = r.count(false)?;
    for _ in 0..brokers {
        r.i32()?;
        r.string(false)?;
        r.i32()?;
        r.string(false)?;
    }
    if version >= 2 {
        r.string(false)?;
    }
    r.i32()?;
    let mut topic = TopicMetadata { brokers, error: 3, partitions: Vec::new() };
    for _ in 0..r.count(false)? {
        topic.error = r.i16()?;
        r.string(false)?;
        r.u8()?;
        let mut partitions = Vec::new();
        for _ in 0..r.count(false)? {
            let (error, index, leader) = (r.i16()?, r.i32()?, r.i32()?);
            if version >= 7 {
                r.i32()?;
            }
            for _ in 0..if version >= 5 { 3 } else { 2 } {
                let nodes = r.count(false)?;
                r.take(nodes * 4)?;
            }
            partitions.push((index, error, leader));
        }
        if version >= 8 {
            r.i32()?;
        }
        partitions.sort_unstable();
        topic.partitions = partitions.into_iter().map(|(_, error, leader)| (error, leader)).collect();
    }
    Ok(topic)
}

pub fn encode_create_topic(out: &mut Vec<u8>, topic: &str, partitions: i32, configs: &[(&str, String)]) {
    out.i32(1);
    out.string(topic, false);
    out.i32(partitions);
    out.i16(1);
    out.i32(0);
    out.i32(configs.len() as i32);
    for (name, value) in configs {
        out.string(name, false);
        out.string(value, false);
    }
    out.i32(30_000);
    out.i8(0);
}

/// The error code of the one topic that was asked for.
pub fn decode_create_topic(body: &[u8]) -> Decoded<(i16, String)> {
    let mut r = Reader::new(body);
    r.i32()?;
    if r.count(false)? == 0 {
        return Err(DecodeError::Truncated);
    }
    r.string(false)?;
    Ok((r.i16()?, r.text(false)?))
}

pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

pub fn encode_list_offsets(out: &mut Vec<u8>, version: i16, topic: &str, partitions: i32, timestamp: i64) {
    out.i32(-1);
    if version >= 2 {
        out.i8(0);
    }
    out.i32(1);
    out.string(topic, false);
    out.i32(partitions);
    for partition in 0..partitions {
        out.i32(partition);
        if version >= 4 {
            out.i32(-1);
        }
        out.i64(timestamp);
    }
}

/// Error and offset of each partition, by partition.
pub fn decode_list_offsets(body: &[u8], version: i16, partitions: i32) -> Decoded<Vec<(i16, i64)>> {
    let mut r = Reader::new(body);
    if version >= 2 {
        r.i32()?;
    }
    let mut found = vec![(3i16, -1i64); usize::try_from(partitions).map_err(|_| DecodeError::BadLength)?];
    for _ in 0..r.count(false)? {
        r.string(false)?;
        for _ in 0..r.count(false)? {
            let (index, error) = (r.i32()?, r.i16()?);
            r.i64()?;
            let offset = r.i64()?;
            if version >= 4 {
                r.i32()?;
            }
            if let Some(slot) = usize::try_from(index).ok().and_then(|index| found.get_mut(index)) {
                *slot = (error, offset);
            }
        }
    }
    Ok(found)
}

/// What a Fetch asks for besides its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    pub max_wait_ms: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
}

/// Writes a Fetch of partitions of one topic. Sessions begin with version 7; before, everything must be planned each
/// time.
pub fn encode_fetch(out: &mut Vec<u8>, version: i16, topic: &str, limits: FetchLimits, plan: &FetchPlan) {
    let compact = is_flexible(FETCH, version);
    out.i32(-1);
    out.i32(limits.max_wait_ms);
    out.i32(1);
    out.i32(limits.max_bytes);
    out.i8(0);
    if version >= 7 {
        out.i32(plan.session_id);
        out.i32(plan.session_epoch);
    }
    // An incremental request may have nothing new to say.
    out.count(usize::from(!plan.partitions.is_empty()), compact);
    if !plan.partitions.is_empty() {
        encode_fetch_topic(out, version, topic, limits, &plan.partitions);
    }
    if version >= 7 {
        out.count(usize::from(!plan.forgotten.is_empty()), compact);
        if !plan.forgotten.is_empty() {
            out.string(topic, compact);
            out.count(plan.forgotten.len(), compact);
            plan.forgotten.iter().for_each(|partition| out.i32(*partition));
            if compact {
                out.uvarint(0);
            }
        }
    }
    if version >= 11 {
        out.string("", compact);
    }
    if compact {
        out.uvarint(0);
    }
}

fn encode_fetch_topic(
    out: &mut Vec<u8>,
    version: i16,
    topic: &str,
    limits: FetchLimits,
    partitions: &[(i32, i64)],
) {
    let compact = is_flexible(FETCH, version);
    out.string(topic, compact);
    out.count(partitions.len(), compact);
    for &(partition, offset) in partitions {
        out.i32(partition);
        if version >= 9 {
            out.i32(-1);
        }
        out.i64(offset);
        if version >= 12 {
            out.i32(-1);
        }
        if version >= 5 {
            out.i64(-1);
        }
        out.i32(limits.partition_max_bytes);
        if compact {
            out.uvarint(0);
        }
    }
    if compact {
        out.uvarint(0);
    }
}

/// What a Fetch answer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchAnswer {
    pub error: i16,
    /// 0: no session.
    pub session_id: i32,
}

/// One partition of a Fetch answer; the records are not copied.
#[derive(Debug, Clone, Copy)]
pub struct FetchedPartition<'a> {
    pub partition: i32,
    pub error: i16,
    pub high_watermark: i64,
    pub records: &'a [u8],
}

/// Hands each partition of a Fetch answer (after the correlation id) to `each`.
pub fn decode_fetch<'a>(
    body: &'a [u8],
    version: i16,
    mut each: impl FnMut(FetchedPartition<'a>),
) -> Decoded<FetchAnswer> {
    let compact = is_flexible(FETCH, version);
    let mut r = Reader::new(body);
    if compact {
        r.skip_tags()?;
    }
    r.i32()?;
    let mut answer = FetchAnswer { error: 0, session_id: 0 };
    if version >= 7 {
        answer = FetchAnswer { error: r.i16()?, session_id: r.i32()? };
    }
    for _ in 0..r.count(compact)? {
        r.string(compact)?;
        for _ in 0..r.count(compact)? {
            each(decode_fetched_partition(&mut r, version, compact)?);
        }
        if compact {
            r.skip_tags()?;
        }
    }
    Ok(answer)
}

fn decode_fetched_partition<'a>(
    r: &mut Reader<'a>,
    version: i16,
    compact: bool,
) -> Decoded<FetchedPartition<'a>> {
    let (partition, error, high_watermark) = (r.i32()?, r.i16()?, r.i64()?);
    r.i64()?;
    if version >= 5 {
        r.i64()?;
    }
    for _ in 0..r.count(compact)? {
        r.take(16)?;
        if compact {
            r.skip_tags()?;
        }
    }
    if version >= 11 {
        r.i32()?;
    }
    let records = r.bytes(compact)?;
    if compact {
        r.skip_tags()?;
    }
    Ok(FetchedPartition { partition, error, high_watermark, records })
}

/// The part of a Produce answer that matters: of its one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    pub partition: i32,
    pub error: i16,
    pub base_offset: i64,
}

/// Reads a Produce answer (after the correlation id) to a request of one partition.
pub fn decode_produce(body: &[u8], flexible: bool) -> Decoded<Produced> {
    let mut r = Reader::new(body);
    if flexible {
        r.skip_tags()?;
    }
    if r.count(flexible)? == 0 {
        return Err(DecodeError::Truncated);
    }
    r.string(flexible)?;
    if r.count(flexible)? == 0 {
        return Err(DecodeError::Truncated);
    }
    Ok(Produced { partition: r.i32()?, error: r.i16()?, base_offset: r.i64()? })
}

/// The protocol's name of an error code.
pub fn error_name(code: i16) -> String {
    let name = match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        0 => "NONE",
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        12 => "OFFSET_METADATA_TOO_LARGE",
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        16 => "NOT_COORDINATOR",
        17 => "INVALID_TOPIC_EXCEPTION",
        19 => "NOT_ENOUGH_REPLICAS",
        21 => "INVALID_REQUIRED_ACKS",
        28 => "INVALID_COMMIT_OFFSET_SIZE",
        35 => "UNSUPPORTED_VERSION",
        36 => "TOPIC_ALREADY_EXISTS",
        37 => "INVALID_PARTITIONS",
        40 => "INVALID_CONFIG",
        42 => "INVALID_REQUEST",
        44 => "POLICY_VIOLATION",
        56 => "KAFKA_STORAGE_ERROR",
        70 => "FETCH_SESSION_ID_NOT_FOUND",
        71 => "INVALID_FETCH_SESSION_EPOCH",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        _ => return format!("error {code}"),
    };
    format!("{name} ({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truncated_fetch_answer_is_an_error() {
        let mut out = Vec::new();
        out.uvarint(0);
        out.i32(0);
        out.i16(0);
        out.i32(42);
        out.count(1, true);
        out.string("t", true);
        out.count(1, true);
        out.i32(3);
        out.i16(0);
        out.i64(7);
        out.i64(7);
        out.i64(0);
        out.count(0, true);
        out.i32(-1);
        out.count(4, true);
        out.extend_from_slice(b"recs");
        out.uvarint(0);
        out.uvarint(0);
        let mut seen = Vec::new();
        let all = decode_fetch(&out, 12, |p| seen.push((p.partition, p.high_watermark, p.records.to_vec())));
        assert_eq!(all, Ok(FetchAnswer { error: 0, session_id: 42 }));
        assert_eq!(seen, vec![(3, 7, b"recs".to_vec())]);
        for len in 0..out.len() {
            assert!(decode_fetch(&out[..len], 12, |_| ()).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        let mut out = Vec::new();
        out.i16(0);
        out.i32(5);
        for (key, min, max) in [(0, 0, 13), (1, 4, 18), (2, 1, 11), (3, 0, 13), (19, 2, 7)] {
            out.i16(key);
            out.i16(min);
            out.i16(max);
        }
        let versions = decode_api_versions(&out).unwrap().unwrap();
        assert_eq!(
            versions,
            Versions { produce: 11, fetch: 12, list_offsets: 5, metadata: 8, create_topics: 4 }
        );
    }
}
