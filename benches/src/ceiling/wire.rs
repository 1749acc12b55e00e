//! The least parsing that finds the one record batch of a Produce request, and its answer.
//!
//! Versions 3 to 11: one topic, one partition, one batch of format 2; anything else is `None` and the
//! connection is closed. Nothing is allocated: the parts are slices of the receive buffer.

use keylane_engine::{bytes_at, checksum};
use keylane_kafka::wire::{Reader, WireError, put_length};

/// API key of Produce.
pub const PRODUCE: i16 = 0;
/// Versions of Produce that are understood.
pub const PRODUCE_VERSIONS: std::ops::RangeInclusive<i16> = 3..=11;

/// First version of Produce in the flexible encoding.
const FLEXIBLE_FROM: i16 = 9;
/// Size of the header of a batch, in bytes.
const BATCH_HEADER: usize = 61;
/// Where the checksum of a batch lies.
const CRC_AT: usize = 17;
/// Where the bytes that the checksum covers begin: at `attributes`.
const CRC_FROM: usize = 21;
/// Where the number of records lies.
const COUNT_AT: usize = 57;

/// A Produce request of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produce<'a> {
    /// Version of the request, and so of the answer.
    pub version: i16,
    /// Number that ties the answer to the request.
    pub correlation: i32,
    /// 0: no answer is wanted.
    pub acks: i16,
    /// Name of the topic.
    pub topic: &'a [u8],
    /// Index of the partition.
    pub partition: i32,
    /// The batch, header included.
    pub batch: &'a [u8],
}

/// API key of a frame (without its length prefix).
pub fn api_key(frame: &[u8]) -> Option<i16> {
    bytes_at::i16_be(frame, 0)
}

/// Finds the batch of a Produce request in a frame without its length prefix.
pub fn parse_produce(frame: &[u8]) -> Option<Produce<'_>> {
    find_batch(&mut Reader::new(frame)).ok()?.filter(|found| found.batch.len() >= BATCH_HEADER)
}

fn find_batch<'a>(r: &mut Reader<'a>) -> Result<Option<Produce<'a>>, WireError> {
    let (key, version, correlation) = (r.i16("key")?, r.i16("version")?, r.i32("correlation")?);
    if key != PRODUCE || !PRODUCE_VERSIONS.contains(&version) {
        return Ok(None);
    }
    let flexible = version >= FLEXIBLE_FROM;
    r.nullable_string(false, "client_id")?;
    r.skip_tags(flexible)?;
    r.nullable_string(flexible, "transactional_id")?;
    let acks = r.i16("acks")?;
    r.i32("timeout_ms")?;
    if r.array(flexible, 1, "topics")? != 1 {
        return Ok(None);
    }
    let topic = r.string(flexible, "topic")?.as_bytes();
    if r.array(flexible, 1, "partitions")? != 1 {
        return Ok(None);
    }
    let partition = r.i32("partition")?;
    let Some(batch) = r.nullable_bytes(flexible, "records")? else { return Ok(None) };
    Ok(Some(Produce { version, correlation, acks, topic, partition, batch: r.slice(batch) }))
}

/// Whether the checksum of a batch fits its bytes.
pub fn crc_fits(batch: &[u8]) -> bool {
    batch[CRC_AT..CRC_FROM] == checksum::crc32c(&batch[CRC_FROM..]).to_be_bytes()
}

/// The number of records that the header of a batch states.
pub fn record_count(batch: &[u8]) -> i32 {
    bytes_at::i32_be(batch, COUNT_AT).unwrap_or(0)
}

/// Appends the answer to `request`, length prefix included.
pub fn put_answer(out: &mut Vec<u8>, request: &Produce<'_>, error: i16, base_offset: i64) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&request.correlation.to_be_bytes());
    let flexible = request.version >= FLEXIBLE_FROM;
    if flexible {
        out.extend_from_slice(&[0, 2]); // no tagged fields; one topic
        put_length(out, true, request.topic.len());
        out.extend_from_slice(request.topic);
        out.push(2); // one partition
    } else {
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&(request.topic.len() as i16).to_be_bytes());
        out.extend_from_slice(request.topic);
        out.extend_from_slice(&1i32.to_be_bytes());
    }
    out.extend_from_slice(&request.partition.to_be_bytes());
    out.extend_from_slice(&error.to_be_bytes());
    out.extend_from_slice(&base_offset.to_be_bytes());
    out.extend_from_slice(&(-1i64).to_be_bytes()); // log append time
    if request.version >= 5 {
        out.extend_from_slice(&0i64.to_be_bytes()); // log start offset
    }
    if flexible {
        // No record errors, no message, no tagged fields of the partition nor the topic, no throttling,
        // no tagged fields.
        out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0]);
    } else {
        if request.version >= 8 {
            out.extend_from_slice(&[0, 0, 0, 0, 0xff, 0xff]); // no record errors, no message
        }
        out.extend_from_slice(&0i32.to_be_bytes()); // throttling
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes, BytesMut};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{
        ApiKey, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

    use super::*;

    fn frame(version: i16, topic: &str, batch: &[u8]) -> Vec<u8> {
        let partition =
            PartitionProduceData::default().with_index(7).with_records(Some(Bytes::copy_from_slice(batch)));
        let data = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(topic.into())))
            .with_partition_data(vec![partition]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![data]);
        let header = RequestHeader::default()
            .with_request_api_key(ApiKey::Produce as i16)
            .with_request_api_version(version)
            .with_correlation_id(42)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut out = BytesMut::new();
        header.encode(&mut out, ProduceRequest::header_version(version)).unwrap();
        request.encode(&mut out, version).unwrap();
        out.to_vec()
    }

    fn batch() -> Vec<u8> {
        let mut batch: Vec<u8> = (0..200u8).collect();
        batch[COUNT_AT..COUNT_AT + 4].copy_from_slice(&3i32.to_be_bytes());
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    #[test]
    fn finds_the_batch_and_answers_in_every_version() {
        let batch = batch();
        let long_name = "t".repeat(200);
        for version in PRODUCE_VERSIONS {
            let frame = frame(version, &long_name, &batch);
            let request = parse_produce(&frame).unwrap();
            assert_eq!(request.batch, &batch[..]);
            assert_eq!((request.partition, request.acks, request.correlation), (7, -1, 42));
            assert!(crc_fits(request.batch));
            assert_eq!(record_count(request.batch), 3);

            let mut out = vec![0xee];
            put_answer(&mut out, &request, 2, 1234);
            let mut answer = Bytes::from(out.split_off(1));
            assert_eq!(answer.get_u32() as usize, answer.len());
            let header =
                ResponseHeader::decode(&mut answer, ProduceResponse::header_version(version)).unwrap();
            assert_eq!(header.correlation_id, 42);
            let response = ProduceResponse::decode(&mut answer, version).unwrap();
            assert!(answer.is_empty(), "version {version}: bytes left over");
            let topic = &response.responses[0];
            assert_eq!(topic.name.0.as_str(), long_name);
            let partition = &topic.partition_responses[0];
            assert_eq!((partition.index, partition.error_code, partition.base_offset), (7, 2, 1234));
            assert_eq!(partition.log_append_time_ms, -1);
        }
    }

    #[test]
    fn a_cut_frame_is_refused_at_every_length() {
        for version in [3, 9] {
            let frame = frame(version, "topic", &batch());
            let end_of_batch = frame.windows(200).position(|w| w == batch()).unwrap() + 200;
            for n in 0..end_of_batch {
                assert_eq!(parse_produce(&frame[..n]), None, "version {version}, {n} bytes");
            }
        }
    }

    #[test]
    fn a_changed_byte_breaks_the_checksum() {
        let mut batch = batch();
        batch[100] ^= 1;
        assert!(!crc_fits(&batch));
    }
}
