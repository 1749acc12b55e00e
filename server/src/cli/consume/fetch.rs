//! One round of reading: every leader is asked for its partitions at the same time, and the answers are handed out.
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use keylane_kafka::messages::list_offsets::EARLIEST;

use super::opened;
use super::span::Span;
use crate::cli::failure::Failure;
use crate::cli::offsets::{by_leader, offsets};
use crate::cli::record::Found;
use crate::cli::say;

/// How long a broker waits for records, in milliseconds.
const WAIT_MS: i32 = 500;
/// Most bytes of an answer, but for a first batch that is larger.
const ANSWER_BYTES: i32 = 32 << 20;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Only records whose transaction was committed.
    pub committed: bool,
    /// Most bytes of a partition.
    pub partition_bytes: i32,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All that came was handed out.
    All,
    /// The taker has enough.
    Enough,
}

/// Asks for what comes next of each partition.
pub fn round(
    cluster: &mut Cluster,
    span: &mut Span,
    limits: Limits,
    taker: &mut impl FnMut(&Found<'_>) -> Result<bool, Failure>,
) -> Result<Taken, Failure> {
    let open =
        span.partitions.iter().filter(|(_, reading)| reading.next < reading.end).map(|(index, _)| index);
    let leaders = by_leader(&span.topic, open);
    if leaders.is_empty() {
        Failure::unless_none(format!("reading {}", span.topic.name), ErrorCode::LeaderNotAvailable, None)?;
    }
    let mut sent = Vec::new();
    for (leader, partitions) in leaders {
        let request = request(span, limits, &partitions);
        sent.push((leader, cluster.broker(leader)?.send(&request)?));
    }
    let mut out_of_range = Vec::new();
    for (leader, sent) in sent {
        let answer = cluster.broker(leader)?.receive::<FetchRequest<'_>>(sent)?;
        Failure::unless_none(format!("reading {}", span.topic.name), answer.error, None)?;
        for fetched in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let Some(reading) = span.partitions.get_mut(&fetched.index) else { continue };
            let name = &span.topic.name;
            if fetched.error == ErrorCode::OffsetOutOfRange {
                out_of_range.push(fetched.index);
                continue;
            }
            let doing = format!("reading topic {name}, partition {}", fetched.index);
            Failure::unless_none(doing, fetched.error, None)?;
            span.told = false;
            if !opened::take(name, fetched, reading, limits.committed, taker)? {
                return Ok(Taken::Enough);
            }
        }
    }
    if !out_of_range.is_empty() {
        resume(cluster, span, &out_of_range)?;
    }
    Ok(Taken::All)
}

fn request<'a>(span: &'a Span, limits: Limits, partitions: &[i32]) -> FetchRequest<'a> {
    let partition = |index: &i32| FetchPartition {
        index: *index,
        fetch_offset: span.partitions.get(index).map_or(0, |reading| reading.next),
        max_bytes: limits.partition_bytes,
        ..FetchPartition::default()
    };
    let mut partitions: Vec<_> = partitions.iter().map(partition).collect();
    // Brokers fill an answer in the order of the request: the partition that is behind most comes first.
    partitions.sort_by_key(|partition| partition.fetch_offset);
    FetchRequest {
        max_wait_ms: WAIT_MS,
        min_bytes: 1,
        max_bytes: ANSWER_BYTES,
        isolation_level: i8::from(limits.committed),
        topics: vec![FetchTopic { topic: TopicRef::Name(&span.topic.name), partitions }],
        ..FetchRequest::default()
    }
}

/// Partitions whose records were deleted are read from the first one that is left.
fn resume(cluster: &mut Cluster, span: &mut Span, out_of_range: &[i32]) -> Result<(), Failure> {
    for (index, start) in offsets(cluster, &span.topic, out_of_range, EARLIEST, false)? {
        let Some(reading) = span.partitions.get_mut(&index) else { continue };
        let (next, name) = (reading.next, &span.topic.name);
        if start <= next {
            let doing = format!("reading topic {name}, partition {index}, from offset {next}");
            Failure::unless_none(doing, ErrorCode::OffsetOutOfRange, None)?;
        }
        say::tell(&format!("topic {name}, partition {index}: offsets {next} to {} were deleted", start - 1));
        reading.next = start;
    }
    Ok(())
}
