//! Headers of segments, and commits. The batches of a commit that is taken lie one behind the other and fill what the header
//! says.

use keylane_engine::log::format::{
    COMMIT_HEADER_BYTES, CommitHeader, Entry, LEADER_EPOCH, Place, SegmentHeader, check_commit, commit_len,
    directory_start,
};
use keylane_engine::record_batch::{RecordBatch, build, patch};
use keylane_engine::{Generation, LogId, ShardId};
use keylane_sim_disk::Rng;

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{put_u32, spoil_in_place, u32_at};

const PLACE: Place = Place { shard: ShardId(3), generation: Generation(2), position: 8192 };
const ENTRY_BYTES: usize = 32;

/// A commit with some batches and a trim.
fn commit(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; COMMIT_HEADER_BYTES];
    let mut entries = vec![Entry { at: COMMIT_HEADER_BYTES as u32, ..Entry::trim(LogId(1), 4) }];
    for n in 0..rng.below(4) {
        let mut batch = build(&[(b"key", &vec![7; rng.below(200) as usize]), (b"", b"")], 17);
        patch(&mut batch, 9 + n, LEADER_EPOCH);
        let view = RecordBatch::check_stored(&batch).expect("a whole batch");
        let (len, at) = (batch.len() as u32, bytes.len() as u32);
        let (span, max_timestamp) = (view.span, view.max_timestamp);
        entries.push(Entry { log: LogId(n as u32), len, at, span, base_offset: 9 + n, max_timestamp });
        bytes.extend(batch);
    }
    let payload = bytes.len() - COMMIT_HEADER_BYTES;
    bytes.resize(directory_start(payload), 0);
    let directory: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
    let header = CommitHeader {
        place: PLACE,
        seq: 5,
        durable_below: 4,
        payload_len: payload as u32,
        entries: entries.len() as u32,
        directory_crc: crc32c::crc32c(&directory),
    };
    bytes.extend(directory);
    bytes.resize(commit_len(payload, entries.len()), 0);
    bytes[..COMMIT_HEADER_BYTES].copy_from_slice(&header.encode());
    bytes
}

/// A commit whose header, directory or batches are spoiled; the checksums of header and directory are mostly right.
fn spoiled(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = commit(rng);
    let directory = directory_start(u32_at(&bytes, 48));
    let end = directory + u32_at(&bytes, 52) * ENTRY_BYTES;
    match rng.below(4) {
        0 => spoil_in_place(&mut bytes[..COMMIT_HEADER_BYTES], rng),
        1 | 2 => spoil_in_place(&mut bytes[directory..end], rng),
        _ => spoil_in_place(&mut bytes, rng),
    }
    if !rng.one_in(8) {
        let crc = crc32c::crc32c(&bytes[directory..end]);
        put_u32(&mut bytes, 56, crc);
        let crc = crc32c::crc32c(&bytes[12..COMMIT_HEADER_BYTES]);
        put_u32(&mut bytes, 8, crc);
    }
    if rng.one_in(8) {
        bytes.truncate(rng.below(bytes.len() as u64) as usize);
    }
    bytes
}

#[test]
fn commits() {
    fuzz("commits", 60_000, &mut |rng| {
        let bytes = spoiled(rng);
        let Some(header) = CommitHeader::decode(&bytes, PLACE) else { return Ok(Outcome::Refused) };
        let Ok(entries) = check_commit(&header, &bytes) else { return Ok(Outcome::Refused) };
        let mut next = COMMIT_HEADER_BYTES;
        for entry in &entries {
            if entry.at as usize != next {
                return Err(format!("{entry:?} does not begin at {next}"));
            }
            next += entry.len as usize;
        }
        let whole =
            next == COMMIT_HEADER_BYTES + header.payload_len as usize && header.total_len() <= bytes.len();
        if whole { Ok(Outcome::Taken) } else { Err(format!("{header:?} ends at {next}")) }
    });
}

#[test]
fn headers_of_segments() {
    fuzz("segment headers", 20_000, &mut |rng| {
        let header = SegmentHeader { directory: [7; 16], shard: ShardId(3), generation: Generation(9) };
        let mut block = header.encode();
        spoil_in_place(&mut block[..44], rng);
        if !rng.one_in(4) {
            let crc = crc32c::crc32c(&block[..40]);
            put_u32(&mut block, 40, crc);
        }
        SegmentHeader::has_untrue_times(&block);
        let Some(first) = SegmentHeader::decode(&block) else { return Ok(Outcome::Refused) };
        let again = SegmentHeader::decode(&first.encode());
        if again == Some(first) { Ok(Outcome::Taken) } else { Err(format!("{first:?}, {again:?}")) }
    });
}

/// The negative control: a reader that believes where the directory lies.
#[test]
fn lengths_that_are_believed_are_found() {
    must_find("a place that is believed", &mut |rng| {
        let bytes = spoiled(rng);
        let Some(header) = CommitHeader::decode(&bytes, PLACE) else { return Ok(Outcome::Refused) };
        let at = directory_start(header.payload_len as usize);
        let directory = &bytes[at..at + header.entries as usize * ENTRY_BYTES];
        Ok(Outcome::of(crc32c::crc32c(directory) == header.directory_crc))
    });
}
