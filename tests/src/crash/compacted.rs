//! What may be missing from a log that is compacted, and what may not.

use std::collections::BTreeMap;

use bytes::Bytes;
use keylane_engine::Offset;
use keylane_engine::record_batch;
use keylane_engine::records::Opened;
use keylane_engine::shard::{PartitionRef, Shard};

use super::check::{Finding, split};
use super::model::Sent;

/// Most bytes of the records of a batch.
const LIMIT: usize = 1 << 20;

/// A record: what must be the same wherever it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    time: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// Records of a batch that begins at `base`, whatever its header says.
fn records(batch: &[u8], base: Offset) -> Result<Vec<(Offset, Content)>, String> {
    let opened = Opened::of(batch, LIMIT).map_err(|e| e.to_string())?;
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let record = |record: Result<keylane_engine::records::RecordView<'_>, _>| {
        let record = record.map_err(|e: keylane_engine::records::RecordsError| e.to_string())?;
        let (key, value) = (owned(record.key), owned(record.value));
        Ok((base + record.offset_delta as u64, Content { time: record.timestamp, key, value }))
    };
    opened.records().map(record).collect()
}

/// The batches that a reader finds who reads from the start to the end.
pub async fn read_all(shard: &Shard, at: PartitionRef) -> Result<Vec<Bytes>, Finding> {
    read_from(shard, at, 0).await
}

/// The batches that a reader finds who reads from an offset, or from the start if it is behind it, to the end.
pub async fn read_from(shard: &Shard, at: PartitionRef, first: Offset) -> Result<Vec<Bytes>, Finding> {
    let refused = |e: String| Finding::Refused(format!("reading log {}: {e}", at.log()));
    let offsets = shard.offsets(at).map_err(|e| refused(e.to_string()))?;
    let (mut next, mut stored) = (first.max(offsets.start), Vec::new());
    while next < offsets.high_watermark {
        let part = shard.read(at, next, 1 << 20).await.map_err(|e| refused(e.to_string()))?;
        if part.next_offset <= next {
            return Err(Finding::Lost(format!("log {}: nothing from {next} on", at.log())));
        }
        stored.extend(split(&part).map_err(refused)?);
        next = part.next_offset;
    }
    Ok(stored)
}

/// Whether something of what was sent is not stored any more.
pub fn is_cleaned(sent: &[Sent], stored: &[Bytes]) -> bool {
    sent.len() != stored.len() || sent.iter().zip(stored).any(|(sent, stored)| !sent.is(stored))
}

/// Compares what is stored with what was sent: no record but those that were sent, in the same order and at
/// their offsets; and of every key the latest, unless the log starts behind it.
pub fn compare(sent: &[Sent], stored: &[Bytes], start: Offset) -> Result<(), Finding> {
    let mut known = BTreeMap::new();
    for batch in sent {
        known.extend(records(&batch.bytes, batch.base_offset).map_err(Finding::Refused)?);
    }
    let mut latest = BTreeMap::new();
    for (offset, content) in known.range(start..) {
        latest.insert(content.key.clone(), *offset);
    }
    let mut found = BTreeMap::new();
    let mut after = 0;
    for batch in stored {
        let base = record_batch::base_offset(batch).unwrap_or(Offset::MAX);
        let end = record_batch::end_offset(batch).unwrap_or(0);
        if base < after {
            return Err(Finding::Invented(format!("a batch at {base}, behind one that ends at {after}")));
        }
        after = end;
        for (offset, content) in records(batch, base).map_err(Finding::Refused)? {
            if known.get(&offset) != Some(&content) {
                let what = format!("{content:?} at {offset}, sent was {:?}", known.get(&offset));
                return Err(Finding::Invented(what));
            }
            found.insert(offset, content);
        }
    }
    match latest.iter().find(|(_, offset)| !found.contains_key(offset)) {
        Some((key, offset)) => Err(Finding::Lost(format!("the latest record of {key:?}, at {offset}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keylane_engine::record_batch::{build, patch};

    fn sent(base_offset: Offset, key: &str, value: &str) -> Sent {
        let mut bytes = build(&[(key.as_bytes(), value.as_bytes())], 1);
        patch(&mut bytes, base_offset, 0);
        Sent { base_offset, count: 1, bytes: bytes.into() }
    }

    /// Negative control: what must not be is found.
    #[test]
    fn missing_changed_moved_and_foreign_records_are_found() {
        let all = [sent(0, "a", "1"), sent(1, "b", "2"), sent(2, "a", "3"), sent(3, "c", "4")];
        let stored = |numbers: &[usize]| numbers.iter().map(|n| all[*n].bytes.clone()).collect::<Vec<_>>();
        for sound in [&[0, 1, 2, 3][..], &[1, 2, 3]] {
            assert_eq!(compare(&all, &stored(sound), 0), Ok(()));
        }
        assert_eq!(compare(&all, &stored(&[3]), 3), Ok(()), "the log starts there");
        for lost in [&[0, 1, 3][..], &[2, 3], &[1, 2], &[]] {
            assert!(matches!(compare(&all, &stored(lost), 0), Err(Finding::Lost(_))), "{lost:?}");
        }
        let invented = |stored: &[Bytes]| matches!(compare(&all, stored, 0), Err(Finding::Invented(_)));
        assert!(invented(&stored(&[1, 3, 2])) && invented(&stored(&[1, 2, 2, 3])));
        let with = |other: Sent| [stored(&[1, 2]), vec![other.bytes]].concat();
        assert!(invented(&with(sent(3, "c", "5"))) && invented(&with(sent(3, "d", "4"))));
        assert!(invented(&with(sent(4, "c", "4"))), "at another offset");
    }
}
