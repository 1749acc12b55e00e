//! The checkpoint of a shard. What is taken, written again, is read as the same.

use std::sync::Arc;

use keylane_engine::log::checkpoint::{Checkpoint, Compacted, LogState, LogStates};
use keylane_engine::log::sealed::Sealed;
use keylane_engine::producer_state::{Accepted, Producer};
use keylane_engine::{Generation, LogId, ShardId};
use keylane_sim_disk::Rng;

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{put_u32, spoil, spoil_in_place, u32_at};

const SHARD: ShardId = ShardId(3);
const HEADER_BYTES: usize = 64;
const BODY_LEN_AT: usize = 32;

fn checkpoint(rng: &mut Rng) -> Checkpoint {
    let mut small = |most| rng.below(most);
    let mut logs = LogStates::default();
    for log in 0..small(4) as u32 {
        let recent =
            (0..small(3)).map(|n| Accepted { first: n as i32, last: n as i32, base_offset: n }).collect();
        let producer = Producer { epoch: 1, recent, last_timestamp: None };
        let producers = (0..small(3)).map(|id| (id as i64, producer.clone())).collect();
        logs.push(&LogState { log: LogId(log), start: small(9), next: 9, producers });
    }
    let sealed = |n| Sealed { generation: Generation(n), first_seq: n, next_seq: n + 1, data_end: 4096 };
    let compacted = |log| Compacted { log, end: 7, clean_end: 7, clean_bytes: 9, segments: vec![1, 2] };
    Checkpoint {
        through: 1,
        next_seq: 2,
        next_sorted: 3,
        segments: (0..small(4)).map(sealed).collect(),
        trims: (0..small(3)).map(|n| (LogId(n as u32), n)).collect(),
        compacted: (0..small(3)).map(|n| compacted(LogId(n as u32))).collect(),
        logs: Arc::new(logs),
    }
}

/// One copy of a spoiled checkpoint; its length and checksum are mostly right.
fn spoiled(rng: &mut Rng) -> Vec<u8> {
    let file = checkpoint(rng).encode(SHARD);
    let mut copy = file[..HEADER_BYTES + u32_at(&file, BODY_LEN_AT)].to_vec();
    for _ in 0..rng.below(3) {
        if rng.one_in(4) { spoil(&mut copy, rng) } else { spoil_in_place(&mut copy, rng) }
    }
    if !rng.one_in(8) && copy.len() >= HEADER_BYTES {
        let body = (copy.len() - HEADER_BYTES) as u64;
        copy[BODY_LEN_AT..BODY_LEN_AT + 8].copy_from_slice(&body.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&copy[..HEADER_BYTES - 4]), &copy[HEADER_BYTES..]);
        put_u32(&mut copy, HEADER_BYTES - 4, crc);
    }
    copy
}

#[test]
fn checkpoints() {
    fuzz("checkpoint", 60_000, &mut |rng| {
        let bytes = spoiled(rng);
        drop(Checkpoint::decode_copies(SHARD, &bytes));
        let Some(first) = Checkpoint::decode(SHARD, &bytes) else { return Ok(Outcome::Refused) };
        match Checkpoint::decode(SHARD, &first.encode(SHARD)) {
            Some(second) if second == first => Ok(Outcome::Taken),
            other => Err(format!("{first:?}, read again as {other:?}")),
        }
    });
}

/// The negative control: a decoder that believes how many segments there are.
#[test]
fn a_count_that_is_believed_is_found() {
    must_find("a number of segments that is believed", &mut |rng| {
        let bytes = spoiled(rng);
        let segments = u32_at(&bytes, 40);
        let zeros = (0..segments).filter(|n| bytes[HEADER_BYTES + 32 * n] == 0).count();
        Ok(Outcome::of(zeros > 0))
    });
}
