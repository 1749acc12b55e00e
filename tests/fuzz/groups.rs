//! Records of `__consumer_offsets`: committed offsets, and groups with their members. A record that is taken is written again so
//! that it is read as the same.

use bytes::Bytes;
use keylane::fuzzed::rewrites_group_record;
use keylane_engine::{Header, Record};
use keylane_sim_disk::Rng;

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{spoil, spoil_in_place};

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.bytes());
}

fn word(rng: &mut Rng) -> String {
    "g".repeat(rng.below(20) as usize)
}

/// A record with its topic's id, as Kafka's message definitions say.
fn record(key: Vec<u8>, value: Vec<u8>) -> Record {
    let id = Header { name: "keylane.topic.id".to_owned(), value: Some(Bytes::from_static(&[7; 16])) };
    Record { key: Some(key.into()), value: Some(value.into()), headers: vec![id], timestamp_ms: 1 }
}

/// `OffsetCommitKey` 1 and `OffsetCommitValue` 3.
fn committed(rng: &mut Rng) -> Record {
    let mut key = vec![0, 1];
    text(&mut key, &word(rng));
    text(&mut key, &word(rng));
    key.extend((rng.below(9) as i32).to_be_bytes());
    let mut value = vec![0, 3];
    value.extend((rng.below(1 << 40) as i64).to_be_bytes());
    value.extend((-1i32).to_be_bytes());
    text(&mut value, &word(rng));
    value.extend(1_700_000_000_000i64.to_be_bytes());
    record(key, value)
}

/// `GroupMetadataKey` 2 and `GroupMetadataValue` 3.
fn members(rng: &mut Rng) -> Record {
    let mut key = vec![0, 2];
    text(&mut key, &word(rng));
    let mut value = vec![0, 3];
    text(&mut value, "consumer");
    value.extend((rng.below(99) as i32).to_be_bytes());
    text(&mut value, "range");
    value.extend((-1i16).to_be_bytes());
    value.extend(1_700_000_000_000i64.to_be_bytes());
    let count = rng.below(4);
    value.extend((count as i32).to_be_bytes());
    for _ in 0..count {
        text(&mut value, &word(rng));
        value.extend((-1i16).to_be_bytes());
        text(&mut value, &word(rng));
        text(&mut value, "/127.0.0.1");
        value.extend([0, 4, 0x93, 0xe0, 0, 0, 0xaf, 0xc8]);
        for bytes in [word(rng), word(rng)] {
            value.extend((bytes.len() as i32).to_be_bytes());
            value.extend(bytes.bytes());
        }
    }
    record(key, value)
}

fn spoiled(good: &Record, rng: &mut Rng) -> Record {
    let mut bad = good.clone();
    for part in [&mut bad.key, &mut bad.value] {
        let mut bytes = part.take().unwrap_or_default().to_vec();
        for _ in 0..rng.below(3) {
            if rng.one_in(3) { spoil(&mut bytes, rng) } else { spoil_in_place(&mut bytes, rng) }
        }
        *part = Some(bytes.into());
    }
    if rng.one_in(20) {
        bad.value = None;
    }
    bad
}

#[test]
fn records_of_groups() {
    for (name, make) in
        [("committed offsets", committed as fn(&mut Rng) -> Record), ("members of groups", members)]
    {
        fuzz(name, 20_000, &mut |rng| {
            let record = spoiled(&make(rng), rng);
            let Some(once) = rewrites_group_record(&record) else { return Ok(Outcome::Refused) };
            match rewrites_group_record(&once) {
                Some(twice) if twice == once => Ok(Outcome::Taken),
                other => Err(format!("{once:?} is written again as {other:?}")),
            }
        });
    }
}

/// A reader that believes the number of members reads past the end.
#[test]
fn a_count_of_members_that_is_believed_is_found() {
    must_find("members of groups", &mut |rng| {
        let mut value = members(rng).value.unwrap_or_default().to_vec();
        spoil_in_place(&mut value, rng);
        let at = 2 + 10 + 4 + 7 + 2 + 8;
        let count = i32::from_be_bytes(value[at..at + 4].try_into().expect("four bytes"));
        let shortest = 24 * usize::try_from(count).unwrap_or(0);
        Ok(Outcome::of(value[at + 4..at + 4 + shortest].is_ascii()))
    });
}
