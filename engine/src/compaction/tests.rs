//! Rewriting against an independent decoder, and whole compactions against a plain map.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use kafka_protocol::records::{Compression, RecordBatchDecoder};
use proptest::prelude::*;

use super::*;
use crate::record_batch::{BatchFields, HEADER_BYTES, RecordBatch, patch, put_record, seal};
use crate::records::{APPEND_TIME, Opened, compress, decompress};

const TIME: i64 = 1_700_000_000_000;
const LIMIT: usize = 1 << 20;

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: u64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A batch of a producer; offsets rise by one.
fn batch(records: &[Seen], attributes: i16) -> Vec<u8> {
    let base = records[0].offset;
    let mut plain = Vec::new();
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
        let (time, delta) = (record.timestamp - TIME, (record.offset - base) as i32);
        put_record(&mut plain, time, delta, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    let fields = BatchFields {
        attributes,
        max_timestamp: records.iter().map(|r| r.timestamp).max().unwrap(),
        producer_id: 77,
        producer_epoch: 3,
        base_sequence: 1234,
        ..BatchFields::new(records.len() as i32, TIME)
    };
    let mut out = fields.header().to_vec();
    compress(attributes & 7, &plain, &mut out).unwrap();
    seal(&mut out);
    patch(&mut out, base, 0);
    RecordBatch::check_stored(&out).unwrap();
    out
}

/// What an independent decoder finds in a batch. It takes the codecs from here.
fn seen(batch: &[u8]) -> Vec<Seen> {
    let view = RecordBatch::check_stored(batch).unwrap();
    let uncompress = |from: &mut Bytes, codec: Compression| {
        decompress(codec as i16, from, LIMIT).map(Bytes::from).map_err(anyhow_of)
    };
    let mut from = Bytes::copy_from_slice(batch);
    let set = RecordBatchDecoder::decode_with_custom_compression(&mut from, Some(uncompress)).unwrap();
    assert_eq!(set.records.len(), view.count as usize);
    let owned = |bytes: &Bytes| bytes.to_vec();
    (set.records.iter())
        .map(|r| Seen {
            offset: r.offset as u64,
            timestamp: if view.attributes & APPEND_TIME != 0 { view.max_timestamp } else { r.timestamp },
            key: r.key.as_ref().map(owned),
            value: r.value.as_ref().map(owned),
            headers: r.headers.iter().map(|(k, v)| (k.to_string(), v.as_ref().map(owned))).collect(),
        })
        .collect()
}

fn anyhow_of<E: std::error::Error + Send + Sync + 'static, T: From<E>>(error: E) -> T {
    error.into()
}

fn record(offset: u64, key: Option<&str>, value: Option<&str>) -> Seen {
    let owned = |text: &str| text.as_bytes().to_vec();
    Seen { offset, timestamp: TIME, key: key.map(owned), value: value.map(owned), headers: Vec::new() }
}

fn keys_of(start: u64, batches: &[&[u8]]) -> KeyOffsets {
    let mut keys = KeyOffsets::new(start, 1 << 16, 1000).unwrap();
    batches.iter().for_each(|batch| assert!(keys.add(batch, LIMIT).unwrap()));
    keys
}

fn pass(keys: &KeyOffsets, now_ms: i64) -> Pass<'_> {
    Pass { keys, now_ms, delete_retention_ms: 100, limit: LIMIT }
}

fn replaced(rewritten: Rewritten) -> Vec<u8> {
    match rewritten {
        Rewritten::Batch(batch) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tombstone_gets_a_horizon_and_goes_after_it() {
    let written =
        [record(5, Some("k"), Some("v")), record(6, Some("k"), None), record(7, Some("l"), Some("w"))];
    for codec in 0..5 {
        let batch = batch(&written, codec);
        let keys = keys_of(5, &[&batch]);
        let first = replaced(pass(&keys, TIME + 10).clean(&batch).unwrap());
        assert_eq!(Opened::of(&first, LIMIT).unwrap().delete_horizon(), Some(TIME + 110));
        assert_eq!(seen(&first), written[1..]);
        // It stays until the horizon, and the horizon stays.
        let later = keys_of(8, &[]);
        assert_eq!(pass(&later, TIME + 109).clean(&first), Ok(Rewritten::Unchanged));
        let second = replaced(pass(&later, TIME + 110).clean(&first).unwrap());
        assert_eq!(seen(&second), written[2..]);
        assert_eq!(Opened::of(&second, LIMIT).unwrap().delete_horizon(), Some(TIME + 110));
        let view = RecordBatch::check_stored(&second).unwrap();
        assert_eq!((view.span, view.producer_id, view.producer_epoch, view.base_sequence), (3, 77, 3, 1234));
        assert_eq!(view.attributes & 7, codec);
    }
}

#[test]
fn a_tombstone_that_is_not_covered_yet_gets_no_horizon() {
    let written = [record(0, Some("a"), Some("1")), record(1, Some("b"), None), record(2, Some("c"), None)];
    let batch = batch(&written, 0);
    let mut keys = KeyOffsets::new(0, 1 << 12, 2).unwrap();
    assert!(!keys.add(&batch, LIMIT).unwrap());
    assert_eq!(pass(&keys, TIME).clean(&batch), Ok(Rewritten::Unchanged));
    assert_eq!(pass(&keys_of(0, &[]), TIME).clean(&batch), Ok(Rewritten::Unchanged));
}

#[test]
fn records_without_a_key_and_batches_without_records_go() {
    let written = [record(0, None, Some("1")), record(1, Some("a"), Some("2"))];
    let first = batch(&written, 0);
    let next = batch(&[record(2, Some("a"), Some("3"))], 0);
    let keys = keys_of(0, &[&first]);
    assert_eq!(seen(&replaced(pass(&keys, TIME).clean(&first).unwrap())), written[1..]);
    let keys = keys_of(0, &[&first, &next]);
    assert_eq!(pass(&keys, TIME).clean(&first), Ok(Rewritten::Empty));
    assert_eq!(pass(&keys, TIME).clean(&next), Ok(Rewritten::Unchanged));
}

/// Before version 4 of the format a header could state any maximum timestamp. The segments that compaction writes are of
/// the current version, so a batch that keeps all its records must not keep that.
#[test]
fn a_header_that_lies_about_time_is_made_true_although_all_records_stay() {
    let written = [record(0, Some("a"), Some("1")), record(1, Some("b"), Some("2"))];
    for codec in 0..5 {
        let honest = batch(&written, codec);
        let keys = keys_of(0, &[&honest]);
        assert_eq!(pass(&keys, TIME).clean(&honest), Ok(Rewritten::Unchanged));
        for stated in [-1, 0, i64::MAX] {
            let mut lying = honest.clone();
            lying[35..43].copy_from_slice(&stated.to_be_bytes());
            seal(&mut lying);
            assert_eq!(replaced(pass(&keys, TIME).clean(&lying).unwrap()), honest);
        }
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_a_guess() {
    let mut bad = batch(&[record(0, Some("a"), Some("1"))], 1);
    let end = bad.len() - 1;
    bad[HEADER_BYTES..end].fill(0xff);
    assert!(pass(&keys_of(9, &[]), TIME).clean(&bad).is_err());
    assert!(KeyOffsets::new(0, 1 << 12, 9).unwrap().add(&bad, LIMIT).is_err());
}

fn some_record() -> impl Strategy<Value = Seen> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let headers = prop::collection::btree_map("[a-z]{0,4}", prop::option::of(bytes()), 0..3);
    (-9000i64..9000, prop::option::of(bytes()), prop::option::of(bytes()), headers).prop_map(
        |(time, key, value, headers)| Seen {
            offset: 0,
            timestamp: TIME + time,
            key,
            value,
            headers: headers.into_iter().collect(),
        },
    )
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// A batch of (key, whether it has a value), compressed with a codec.
    Append(Vec<(u8, bool)>, i16),
    /// A pass some time later, with room for this many keys.
    Clean(i64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (prop::collection::vec((0u8..8, prop::bool::weighted(0.7)), 1..6), 0i16..5);
    prop::collection::vec(
        prop_oneof![
            3 => append.prop_map(|(records, codec)| Step::Append(records, codec)),
            1 => (0i64..150, 1usize..9).prop_map(|(later, room)| Step::Clean(later, room)),
        ],
        1..30,
    )
}

/// A partition, cleaned with the module, and what was written to it.
#[derive(Default)]
struct History {
    log: Vec<Vec<u8>>,
    written: Vec<Seen>,
    clean_end: u64,
    now: i64,
    /// When a pass first covered the tombstone at this offset.
    covered: BTreeMap<u64, i64>,
}

impl History {
    fn append(&mut self, records: &[(u8, bool)], codec: i16) {
        let next = self.written.len() as u64;
        let records: Vec<Seen> = (records.iter().zip(next..))
            .map(|(&(key, value), offset)| Seen {
                offset,
                timestamp: TIME + self.now,
                key: Some(vec![key]),
                value: value.then(|| offset.to_string().into_bytes()),
                headers: vec![("h".into(), Some(vec![key]))],
            })
            .collect();
        self.log.push(batch(&records, codec));
        self.written.extend(records);
    }

    fn clean(&mut self, room: usize) {
        let mut keys = KeyOffsets::new(self.clean_end, 1 << 12, room).unwrap();
        for batch in &self.log {
            if !keys.add(batch, LIMIT).unwrap() {
                break;
            }
        }
        let pass = pass(&keys, TIME + self.now);
        let mut cleaned = Vec::new();
        for batch in &self.log {
            match pass.clean(batch).unwrap() {
                Rewritten::Unchanged => cleaned.push(batch.clone()),
                Rewritten::Empty => {}
                Rewritten::Batch(batch) => cleaned.push(batch),
            }
        }
        self.log = cleaned;
        self.clean_end = keys.end();
        for record in self.written.iter().filter(|r| r.value.is_none() && r.offset < self.clean_end) {
            self.covered.entry(record.offset).or_insert(self.now);
        }
    }

    /// What is wrong with the log, compared to what was written.
    fn fault(&self) -> Option<String> {
        let log: Vec<Seen> = self.log.iter().flat_map(|batch| seen(batch)).collect();
        if !log.is_sorted_by(|a, b| a.offset < b.offset) {
            return Some("order".into());
        }
        if let Some(other) = log.iter().find(|r| self.written[r.offset as usize] != **r) {
            return Some(format!("{other:?} was not written"));
        }
        let mut latest: HashMap<&[u8], u64> = HashMap::new();
        for record in &self.written {
            latest.insert(record.key.as_deref().unwrap_or_default(), record.offset);
        }
        let mut latest_clean: HashMap<&[u8], u64> = HashMap::new();
        for record in self.written.iter().filter(|r| r.offset < self.clean_end) {
            latest_clean.insert(record.key.as_deref().unwrap_or_default(), record.offset);
        }
        let has = |offset: u64| log.iter().any(|r| r.offset == offset);
        for record in &self.written {
            let key = record.key.as_deref().unwrap_or_default();
            let there = has(record.offset);
            if record.offset >= self.clean_end {
                // A newer record of the key may be in a map that became full on the way.
                if !there && latest[key] == record.offset {
                    return Some(format!("{record:?} is dirty and gone"));
                }
            } else if latest_clean[key] != record.offset {
                if there {
                    return Some(format!("{record:?} is not the latest and still there"));
                }
            } else if !there && latest[key] == record.offset {
                let expired = self.covered.get(&record.offset).is_some_and(|at| at + 100 <= self.now);
                if record.value.is_some() || !expired {
                    return Some(format!("{record:?} is the latest and gone"));
                }
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn survivors_and_only_they_stay_with_all_they_had(
        mut records in prop::collection::vec(some_record(), 1..12),
        base in 0u64..1 << 40,
        stays in any::<u16>(),
        append_time in any::<bool>(),
        horizon in prop::option::of(0i64..2 * TIME),
    ) {
        let newest = records.iter().map(|r| r.timestamp).max().unwrap();
        for (at, record) in records.iter_mut().enumerate() {
            record.offset = base + at as u64;
            if append_time {
                record.timestamp = newest;
            }
        }
        let stays = |offset: u64| stays >> (offset - base) & 1 == 1;
        let left: Vec<Seen> = records.iter().filter(|r| stays(r.offset)).cloned().collect();
        for codec in 0..5 {
            let batch = batch(&records, if append_time { codec | APPEND_TIME } else { codec });
            let opened = Opened::of(&batch, LIMIT).unwrap();
            let rewritten = rewrite(&opened, horizon, |r| stays(r.offset)).unwrap();
            let tombstone = left.iter().any(|r| r.value.is_none());
            match rewritten {
                Rewritten::Empty => prop_assert!(left.is_empty()),
                Rewritten::Unchanged => {
                    prop_assert_eq!(left.len(), records.len());
                    prop_assert!(horizon.is_none() || !tombstone);
                }
                Rewritten::Batch(new) => {
                    prop_assert_eq!(seen(&new), &left[..]);
                    let view = RecordBatch::check_stored(&new).unwrap();
                    prop_assert_eq!(view.span as usize, records.len());
                    prop_assert_eq!(view.max_timestamp, left.iter().map(|r| r.timestamp).max().unwrap());
                    prop_assert_eq!(view.attributes & 15, opened.batch.attributes & 15);
                    prop_assert_eq!((view.producer_id, view.producer_epoch, view.base_sequence), (77, 3, 1234));
                    let after = Opened::of(&new, LIMIT).unwrap();
                    prop_assert_eq!(after.delete_horizon(), horizon.filter(|_| tombstone));
                    prop_assert_eq!(rewrite(&after, horizon, |_| true).unwrap(), Rewritten::Unchanged);
                }
            }
        }
    }

    #[test]
    fn a_compacted_log_is_that_of_a_plain_map(steps in steps()) {
        let mut history = History::default();
        for step in &steps {
            match step {
                Step::Append(records, codec) => history.append(records, *codec),
                Step::Clean(later, room) => {
                    history.now += later;
                    history.clean(*room);
                }
            }
            prop_assert_eq!(history.fault(), None);
        }
        // With room and time enough, only the latest values are left.
        for _ in 0..2 {
            history.now += 100;
            history.clean(100);
        }
        prop_assert_eq!(history.fault(), None);
        let mut latest: BTreeMap<Vec<u8>, &Seen> = BTreeMap::new();
        for record in &history.written {
            latest.insert(record.key.clone().unwrap(), record);
        }
        let mut expected: Vec<Seen> = latest.into_values().filter(|r| r.value.is_some()).cloned().collect();
        expected.sort_by_key(|r| r.offset);
        let log: Vec<Seen> = history.log.iter().flat_map(|batch| seen(batch)).collect();
        prop_assert_eq!(log, expected);
    }

    #[test]
    fn damaged_batches_never_panic(
        records in prop::collection::vec(some_record(), 1..6),
        codec in 0i16..5,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut records = records;
        records.iter_mut().zip(0..).for_each(|(record, offset)| record.offset = offset);
        let mut batch = batch(&records, codec);
        for (at, byte) in damage {
            let at = at.index(batch.len());
            batch[at] = byte;
        }
        let mut keys = KeyOffsets::new(0, 1 << 12, 3).unwrap();
        let _ = keys.add(&batch, LIMIT);
        let _ = pass(&keys, TIME).clean(&batch);
        let _ = pass(&keys_of(1 << 40, &[]), TIME).clean(&batch);
    }
}

#[test]
fn the_model_finds_what_a_wrong_pass_would_do() {
    let fresh = || {
        let mut history = History::default();
        history.append(&[(1, true), (2, true)], 0);
        history.append(&[(1, true), (2, false)], 3);
        history.clean(10);
        assert_eq!(history.fault(), None);
        history
    };
    let fault = |change: fn(&mut History)| {
        let mut history = fresh();
        change(&mut history);
        history.fault().expect("a fault")
    };
    assert!(fault(|h| h.log.clear()).contains("gone"));
    assert!(fault(|h| h.log.push(h.log[0].clone())).contains("order"));
    let old = |h: &mut History| h.log.insert(0, batch(&h.written[..1], 0));
    assert!(fault(old).contains("not the latest"));
    let early = |h: &mut History| h.log[0] = batch(&h.written[2..3], 0);
    assert!(fault(early).contains("gone"));
    let moved = |h: &mut History| {
        h.written[2].timestamp += 1;
    };
    assert!(fault(moved).contains("was not written"));
}
