use std::time::{Duration, Instant};

use kafka_protocol::records::{
    Compression as TheirCompression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
    RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType as TheirTimestampType,
};
use proptest::prelude::*;

use super::*;
use crate::bytes_at::put_varint;
use crate::record_batch::{BatchFields, build, build_from, patch, seal};
use crate::records::compress;
use crate::records::tests::record;

const CODECS: [i16; 5] = [0, 1, 2, 3, 4];
const NOW: i64 = 1_700_000_000_000;

/// The smallest record at its place: with an empty key, or without one.
fn small(timestamp_delta: i64, offset_delta: i64, has_key: bool) -> Vec<u8> {
    record(&[timestamp_delta, offset_delta, if has_key { 0 } else { -1 }, -1, 0], b"")
}

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    seal(&mut batch);
    batch
}

/// A batch around records that are compressed already.
fn around(codec: i16, records: &[u8], count: i32, base_timestamp: i64, max_timestamp: i64) -> Vec<u8> {
    BatchFields { attributes: codec, max_timestamp, ..BatchFields::new(count, base_timestamp) }
        .around(records)
}

/// A batch of these records, compressed here.
fn batch(codec: i16, records: &[u8], count: i32, base_timestamp: i64, max_timestamp: i64) -> Vec<u8> {
    let mut compressed = Vec::new();
    compress(codec, records, &mut compressed).unwrap();
    around(codec, &compressed, count, base_timestamp, max_timestamp)
}

/// What would be stored of a batch.
fn stored(checked: &CheckedBatch<'_>) -> Vec<u8> {
    let mut copy = checked.bytes().to_vec();
    patch(&mut copy, 7, 0);
    if let Some(fields) = checked.restated() {
        fields.write_to(&mut copy);
    }
    copy
}

fn rules() -> BatchRules {
    BatchRules::default()
}

fn malformed(result: Result<CheckedBatch<'_>, BatchError>) -> (u32, &'static str) {
    match result {
        Err(BatchError::Records(RecordsError::Record { index, what })) => (index, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_right_batch_is_stored_as_it_came() {
    for codec in CODECS {
        let records = [small(5, 0, true), small(9, 1, false), small(-3, 2, true)].concat();
        let sent = batch(codec, &records, 3, NOW, NOW + 9);
        let checked = check(&sent[..], &rules(), NOW).unwrap();
        assert_eq!(checked.restated(), None, "codec {codec}");
        assert_eq!((checked.view().max_timestamp, checked.view().count), (NOW + 9, 3));
        assert_eq!(checked.append_time_ms(), None);
    }
}

/// Sarama sent -1 until 2025; retention never deleted such batches, and lookup by time did not find them. With 0 fresh
/// records were deleted within seconds.
#[test]
fn a_maximum_timestamp_that_lies_is_put_right_and_so_is_the_checksum() {
    let large = record(&[3, 1, -1, 20_000], &[vec![7; 20_000], vec![0]].concat());
    for (codec, second) in CODECS.into_iter().flat_map(|c| [(c, small(3, 1, true)), (c, large.clone())]) {
        let records = [small(0, 0, true), second].concat();
        let right = batch(codec, &records, 2, NOW, NOW + 3);
        for lie in [-1, 0, 1000, NOW + 2, NOW + 4, i64::MAX, i64::MIN] {
            let sent = batch(codec, &records, 2, NOW, lie);
            let checked = check(&sent[..], &rules(), NOW).unwrap();
            let (mut expected, kept) = (right.clone(), stored(&checked));
            patch(&mut expected, 7, 0);
            assert_eq!(kept, expected, "codec {codec}, {lie}");
            assert_eq!(RecordBatch::check_stored(&kept).unwrap().max_timestamp, checked.view().max_timestamp);
            assert_eq!(checked.bytes(), sent, "what was sent is not touched");
        }
    }
}

#[test]
fn attribute_bits_say_what_the_log_does() {
    let records = [small(0, 0, true), small(1, 1, true)].concat();
    let right = batch(0, &records, 2, NOW, NOW + 1);
    for bits in [APPEND_TIME, DELETE_HORIZON, APPEND_TIME | DELETE_HORIZON] {
        let mut sent = right.clone();
        sent[22] |= bits as u8;
        let sent = sealed(sent);
        let checked = check(&sent[..], &rules(), NOW).unwrap();
        assert_eq!(stored(&checked)[8..], right[8..], "{bits:#x}");
    }
}

#[test]
fn the_time_of_the_append_is_the_logs_and_records_are_left_alone() {
    let of_log = BatchRules { timestamps: TimestampType::LogAppendTime, ..rules() };
    for codec in CODECS {
        // Producers' times do not count, wherever they lie.
        let records = [small(0, 0, true), small(i64::MAX, 1, true)].concat();
        let sent = batch(codec, &records, 2, 5, 6);
        let checked = check(&sent[..], &of_log, NOW).unwrap();
        let kept = stored(&checked);
        let view = RecordBatch::check_stored(&kept).unwrap();
        assert_eq!((view.attributes, view.max_timestamp), (codec | APPEND_TIME, NOW));
        assert_eq!(checked.append_time_ms(), Some(NOW));
        assert_eq!((&kept[27..35], &kept[43..]), (&sent[27..35], &sent[43..]));
        let mut claims = sent.clone();
        claims[22] |= APPEND_TIME as u8;
        let claims = sealed(claims);
        let Err(BatchError::Refused(refused)) = check(&claims[..], &of_log, NOW) else { panic!("taken") };
        assert!(refused.timestamps && refused.total == 2 && refused.records[0].reason == Reason::AppendTime);
    }
}

#[test]
fn a_topic_with_a_codec_of_its_own_gets_right_headers_in_it() {
    use crate::records::Compression;
    let records = [small(0, 0, true), small(7, 1, true)].concat();
    let of_log = TimestampType::LogAppendTime;
    for (to, how) in [(0, Compression::Uncompressed), (3, Compression::Lz4 { level: 9 })] {
        for (codec, timestamps) in
            CODECS.into_iter().flat_map(|c| [(c, TimestampType::CreateTime), (c, of_log)])
        {
            let rules = BatchRules { compression: how, timestamps, ..rules() };
            let sent = batch(codec, &records, 2, NOW, -1);
            let checked = check(&sent[..], &rules, NOW + 100).unwrap();
            let kept = stored(&checked);
            let view = RecordBatch::check_stored(&kept).unwrap();
            let expected = if timestamps == of_log { (to | APPEND_TIME, NOW + 100) } else { (to, NOW + 7) };
            assert_eq!((view.attributes, view.max_timestamp), expected, "from {codec}");
            let plain = crate::records::decompress(to, &kept[HEADER_BYTES..], 1000).unwrap();
            assert_eq!(plain, records);
        }
    }
}

#[test]
fn timestamps_out_of_bounds_are_refused_one_by_one() {
    let rules = BatchRules { timestamp_before_max_ms: 100, timestamp_after_max_ms: 50, ..rules() };
    let times = [NOW - 100, NOW - 101, NOW + 50, NOW + 51, -1, i64::MIN, i64::MAX, 0];
    let (least, most) = (NOW - 100, NOW + 50);
    for codec in CODECS {
        let deltas = times.iter().zip(0..);
        let records: Vec<_> = deltas.map(|(t, n)| small(t.wrapping_sub(NOW), n, true)).collect();
        let sent = batch(codec, &records.concat(), times.len() as i32, NOW, 0);
        let Err(BatchError::Refused(refused)) = check(&sent[..], &rules, NOW) else { panic!("taken") };
        let expected = [1, 3, 5, 6, 7].map(|index: u32| RefusedRecord {
            index,
            reason: Reason::Timestamp { timestamp: times[index as usize], least, most },
        });
        assert_eq!((&refused.records[..], refused.total, refused.timestamps), (&expected[..], 5, true));
    }
}

#[test]
fn times_at_both_ends_of_64_bits_are_added_as_in_java() {
    let any = BatchRules::WITHOUT_TOPIC;
    for (base, delta, sum) in [
        (i64::MAX, 0, i64::MAX),
        (i64::MIN, 0, i64::MIN),
        (i64::MAX, 1, i64::MIN),
        (i64::MIN, -1, i64::MAX),
        (0, i64::MIN, i64::MIN),
        (-1, i64::MAX, i64::MAX - 1),
    ] {
        for codec in CODECS {
            let sent = batch(codec, &small(delta, 0, true), 1, base, 17);
            assert_eq!(check(&sent[..], &any, NOW).unwrap().view().max_timestamp, sum, "{base} {delta}");
            // By default no time is too old, and an hour ahead is as far as it goes.
            let taken = check(&sent[..], &rules(), NOW).is_ok();
            assert_eq!(taken, sum <= NOW + 3_600_000, "{base} {delta}");
        }
    }
    let sent = build(&[(b"k", b"v")], NOW);
    for now in [i64::MIN, i64::MAX] {
        assert_eq!(check(&sent[..], &rules(), now).is_ok(), now == i64::MAX, "clock {now}");
    }
}

#[test]
fn records_without_a_key_are_named() {
    let keyed = BatchRules { keys_required: true, ..rules() };
    for codec in CODECS {
        let records = [small(0, 0, true), small(0, 1, false), small(0, 2, false)].concat();
        let sent = batch(codec, &records, 3, NOW, NOW);
        assert!(check(&sent[..], &rules(), NOW).is_ok());
        let Err(BatchError::Refused(refused)) = check(&sent[..], &keyed, NOW) else { panic!("taken") };
        let at: Vec<_> = refused.records.iter().map(|r| (r.index, r.reason)).collect();
        assert_eq!((at, refused.timestamps), (vec![(1, Reason::NoKey), (2, Reason::NoKey)], false));
    }
}

#[test]
fn so_many_refused_records_are_told_and_the_rest_counted() {
    let keyed = BatchRules { keys_required: true, ..rules() };
    let records: Vec<_> = (0..5000).map(|n| small(0, n, false)).collect();
    let sent = batch(1, &records.concat(), 5000, NOW, NOW);
    let Err(BatchError::Refused(refused)) = check(&sent[..], &keyed, NOW) else { panic!("taken") };
    assert_eq!((refused.records.len(), refused.total), (REFUSED_MAX, 5000));
}

#[test]
fn every_size_that_is_wrong_is_found_in_every_codec() {
    let first = small(0, 0, true);
    let wrong = |second: &[u8]| [first.clone(), second.to_vec()].concat();
    let below_null = "it has a key, value or header whose length is below -1";
    let cases: [(Vec<u8>, &str); 26] = [
        (wrong(b""), "it ends beyond the records"),
        (wrong(&[0xff; 5]), "its length is no varint"),
        (wrong(&[0x8e, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 2, 1, 1, 0]), "its length is no varint"),
        (wrong(&[1]), "its length is negative"),
        (wrong(&[0]), "it is empty"),
        (wrong(&[2, 0]), "its timestamp is no varint"),
        (wrong(&record(&[], &[0xff; 11])), "its timestamp is no varint"),
        (wrong(&record(&[0], &[0x80; 6])), "its offset is no varint"),
        (wrong(&record(&[0, 1], b"")), "its key has no length"),
        (wrong(&record(&[0, 1, 4, -1, 0], b"")), "its key ends beyond it"),
        (wrong(&record(&[0, 1, i64::from(i32::MAX), -1, 0], b"")), "its key ends beyond it"),
        (wrong(&record(&[0, 1, -2, -1, 0], b"")), below_null),
        (wrong(&record(&[0, 1, i64::from(i32::MIN), -1, 0], b"")), below_null),
        (wrong(&record(&[0, 1, -1], b"")), "its value has no length"),
        (wrong(&record(&[0, 1, -1, -2, 0], b"")), below_null),
        (wrong(&record(&[0, 1, -1, 2, 0], b"")), "its value ends beyond it"),
        (wrong(&record(&[0, 1, -1, -1], b"")), "it has no number of headers"),
        (wrong(&record(&[0, 1, -1, -1, -1], b"")), "it has a negative number of headers"),
        (wrong(&record(&[0, 1, -1, -1, 1], b"")), "a header has no key length"),
        (wrong(&record(&[0, 1, -1, -1, 1, -1, -1], b"")), "the key of a header is null"),
        (wrong(&record(&[0, 1, -1, -1, 1, -2, -1], b"")), below_null),
        (wrong(&record(&[0, 1, -1, -1, 1, 0, -2], b"")), below_null),
        (wrong(&record(&[0, 1, -1, -1, 1, 3, -1], b"h")), "the key of a header ends beyond it"),
        (wrong(&record(&[0, 1, -1, -1, 1, 0], b"")), "a header has no value length"),
        (wrong(&record(&[0, 1, -1, -1, 1, 0, 2], b"v")), "the value of a header ends beyond it"),
        (wrong(&record(&[0, 1, -1, -1, 0], b"x")), "bytes follow its headers"),
    ];
    for codec in CODECS {
        for (records, what) in &cases {
            let sent = batch(codec, records, 2, NOW, NOW);
            assert_eq!(malformed(check(&sent[..], &rules(), NOW)), (1, *what), "codec {codec}");
        }
        for delta in [-1, 0, 2, i64::from(i32::MAX)] {
            let sent = batch(codec, &wrong(&small(0, delta, true)), 2, NOW, NOW);
            let found = malformed(check(&sent[..], &rules(), NOW));
            assert_eq!(found, (1, "its offset delta is not its position"), "codec {codec}");
        }
        let three = wrong(&[small(0, 1, true), small(0, 2, true)].concat());
        let sent = batch(codec, &three, 2, NOW, NOW);
        assert_eq!(malformed(check(&sent[..], &rules(), NOW)), (2, "bytes follow the last one"));
        let sent = batch(codec, &three, 4, NOW, NOW);
        assert_eq!(malformed(check(&sent[..], &rules(), NOW)), (3, "it ends beyond the records"));
        let sent = batch(codec, &[three, vec![0]].concat(), 3, NOW, NOW);
        assert_eq!(malformed(check(&sent[..], &rules(), NOW)), (3, "bytes follow the last one"));
    }
}

#[test]
fn header_fields_that_are_not_the_producers_are_refused() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut batch = build_from(&[(b"a", b"1"), (b"b", b"2")], NOW, 9, 1, 4);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        check(sealed(batch).as_slice(), &rules(), NOW).map(|_| ()).unwrap_err()
    };
    assert_eq!(changed(0, &3i64.to_be_bytes()), BatchError::BaseOffset(3));
    assert_eq!(changed(0, &(-1i64).to_be_bytes()), BatchError::BaseOffset(-1));
    assert_eq!(changed(16, &[1]), BatchError::Magic(1));
    assert_eq!(changed(23, &2i32.to_be_bytes()), BatchError::Count { count: 2, last_delta: 2 });
    assert_eq!(changed(22, &[CONTROL as u8]), BatchError::Control);
    assert_eq!(changed(22, &[TRANSACTIONAL as u8]), BatchError::Transactional);
    assert_eq!(changed(22, &[5]), DecodeError::Codec(5).into());
    let no_sequence = BatchError::Producer { producer_id: 9, epoch: 1, base_sequence: -1 };
    assert_eq!(changed(53, &(-1i32).to_be_bytes()), no_sequence);
    let no_epoch = BatchError::Producer { producer_id: 9, epoch: -1, base_sequence: 4 };
    assert_eq!(changed(51, &(-1i16).to_be_bytes()), no_epoch);
}

#[test]
fn compressed_records_that_are_cut_off_or_garbage_are_refused() {
    // The number of headers stands behind the value.
    let value = |n: i64| [vec![n as u8; 200], vec![0]].concat();
    let records: Vec<u8> = (0..50).flat_map(|n| record(&[0, n, -1, 200], &value(n))).collect();
    for codec in 1..=4 {
        let mut compressed = Vec::new();
        compress(codec, &records, &mut compressed).unwrap();
        let whole = around(codec, &compressed, 50, NOW, NOW);
        assert!(check(&whole[..], &rules(), NOW).is_ok(), "codec {codec}");
        // The last bytes of a frame may be a checksum or an end mark that some decoders do not ask for.
        for cut in [1, compressed.len() / 3, compressed.len() / 2, compressed.len() - 12] {
            let sent = around(codec, &compressed[..cut], 50, NOW, NOW);
            assert!(check(&sent[..], &rules(), NOW).is_err(), "codec {codec}, {cut} bytes");
        }
        let sent = around(codec, b"garbage, and no compressed records", 50, NOW, NOW);
        assert!(check(&sent[..], &rules(), NOW).is_err(), "codec {codec}");
        assert!(check(around(codec, b"", 50, NOW, NOW).as_slice(), &rules(), NOW).is_err(), "codec {codec}");
    }
}

#[test]
fn a_hundred_thousand_empty_records_are_taken() {
    let records: Vec<u8> = (0..100_000).flat_map(|n| small(0, n, false)).collect();
    for codec in CODECS {
        let sent = batch(codec, &records, 100_000, NOW, NOW);
        assert_eq!(check(&sent[..], &rules(), NOW).unwrap().view().count, 100_000, "codec {codec}");
        assert!(check(batch(codec, &records, 99_999, NOW, NOW).as_slice(), &rules(), NOW).is_err());
    }
}

/// A zstd block of `bytes` as they are.
fn raw_block(bytes: &[u8]) -> Vec<u8> {
    [&((bytes.len() as u32) << 3).to_le_bytes()[..3], bytes].concat()
}

/// A zstd frame of 32 bytes and more that becomes `count` records of 128 KiB.
fn bomb(count: i64) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38];
    for n in 0..count {
        let mut fields = vec![0];
        [0, n, -1, i64::from(BLOCK)].iter().for_each(|&field| put_varint(&mut fields, field));
        let mut head = Vec::new();
        put_varint(&mut head, fields.len() as i64 + i64::from(BLOCK) + 1);
        frame.extend(raw_block(&[head, fields].concat()));
        // A block that repeats one byte.
        frame.extend_from_slice(&(BLOCK << 3 | 1 << 1).to_le_bytes()[..3]);
        frame.push(7);
        frame.extend(raw_block(&[0]));
    }
    frame.extend([1, 0, 0]);
    frame
}

#[test]
fn a_bomb_is_refused_in_bounded_time() {
    let begun = Instant::now();
    let small = around(4, &bomb(100), 100, NOW, NOW);
    assert_eq!(check(&small[..], &rules(), NOW).unwrap().view().count, 100, "the test is not valid");
    let large = around(4, &bomb(80_000), 80_000, NOW, NOW);
    assert!(large.len() < 2 << 20, "{} bytes become 10 GB", large.len());
    let too_large = Err(DecodeError::TooLarge { limit: MAX_UNCOMPRESSED }.into());
    assert_eq!(check(&large[..], &rules(), NOW).map(|_| ()), too_large);
    // A record that claims 2 GiB is refused by its length: as too large, or in records that are uncompressed whole because
    // nothing follows.
    let mut fields = vec![0];
    [0, 0, -1, i64::from(i32::MAX) - 20].iter().for_each(|&field| put_varint(&mut fields, field));
    let mut head = Vec::new();
    put_varint(&mut head, i64::from(i32::MAX));
    let one = [head, fields, vec![0; 1000]].concat();
    for codec in 1..=4 {
        let found = check(batch(codec, &one, 1, NOW, NOW).as_slice(), &rules(), NOW).map(|_| ());
        let no_end = RecordsError::Record { index: 0, what: "it ends beyond the records" };
        assert!(found == too_large || found == Err(no_end.into()), "codec {codec}: {found:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn headers_alone_are_believed_only_within_bounds_and_only_if_asked_for() {
    let believing = BatchRules { check_compressed: CheckCompressed::Header, ..rules() };
    let claim = |codec, max| around(codec, b"garbage", 5, NOW, max);
    for codec in 1..=4 {
        let sent = claim(codec, NOW + 9);
        let checked = check(&sent[..], &believing, NOW).unwrap();
        assert_eq!((checked.view().max_timestamp, checked.restated()), (NOW + 9, None));
        // Never before the base timestamp: what is fresh must not look old.
        for lie in [-1, 0, NOW - 1] {
            let sent = claim(codec, lie);
            let checked = check(&sent[..], &believing, NOW).unwrap();
            assert_eq!(RecordBatch::check_stored(&stored(&checked)).unwrap().max_timestamp, NOW);
        }
        let result = check(claim(codec, NOW + 3_600_001).as_slice(), &believing, NOW).map(|_| ());
        assert!(matches!(result, Err(BatchError::Claim(Reason::Timestamp { .. }))), "{result:?}");
    }
    assert!(check(claim(0, NOW).as_slice(), &believing, NOW).is_err(), "not compressed: looked at");
}

/// As an independent encoder writes it; the compression is from here.
fn their_batch(records: &[Record], codec: i16) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: TheirCompression::None };
    RecordBatchEncoder::encode(&mut out, records, &options).unwrap();
    let mut sent = out[..HEADER_BYTES].to_vec();
    sent[21..23].copy_from_slice(&codec.to_be_bytes());
    compress(codec, &out[HEADER_BYTES..], &mut sent).unwrap();
    sealed(sent)
}

fn their_count(batch: Vec<u8>) -> Result<usize, String> {
    let codec = i16::from_be_bytes([batch[21], batch[22]]) & CODEC_BITS;
    let uncompress = |from: &mut bytes::Bytes, _: TheirCompression| {
        let plain = crate::records::decompress(codec, from, MAX_UNCOMPRESSED);
        plain.map(bytes::Bytes::from).map_err(Into::into)
    };
    let mut from = bytes::Bytes::from(batch);
    let set = RecordBatchDecoder::decode_with_custom_compression(&mut from, Some(uncompress));
    set.map(|set| set.records.len()).map_err(|e| e.to_string())
}

/// Key, value, headers, and milliseconds from now.
type AnyRecord = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>, i64);

fn any_record() -> impl Strategy<Value = AnyRecord> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec(("[a-z]{0,5}", bytes()), 0..3);
    (bytes(), bytes(), headers, -3_000_000i64..3_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What an independent encoder writes is taken, with the largest of its timestamps; what was changed anywhere inside is
    /// never taken where an independent decoder does not get through it with as many records.
    #[test]
    fn an_independent_codec_agrees(
        records in proptest::collection::vec(any_record(), 1..8),
        codec in 0i16..=4,
        change in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let newest = records.iter().map(|r| NOW + r.3).max().unwrap();
        let theirs: Vec<Record> = records.iter().enumerate().map(|(n, (key, value, headers, time))| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TheirTimestampType::Creation,
            offset: n as i64,
            sequence: n as i32,
            timestamp: NOW + time,
            key: key.clone().map(Into::into),
            value: value.clone().map(Into::into),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone().into(), value.clone().map(Into::into)))
                .collect(),
        }).collect();
        let sent = their_batch(&theirs, codec);
        let checked = check(&sent[..], &BatchRules::WITHOUT_TOPIC, NOW).unwrap();
        prop_assert_eq!(checked.view().max_timestamp, newest);
        prop_assert_eq!(checked.view().count as usize, records.len());
        let Some((at, byte)) = change else { return Ok(()) };
        let mut bad = sent.clone();
        let at = HEADER_BYTES + at.index(bad.len() - HEADER_BYTES);
        bad[at] = byte;
        let bad = sealed(bad);
        if check(&bad[..], &BatchRules::WITHOUT_TOPIC, NOW).is_ok() {
            let decoded = their_count(bad);
            // Their decoder wants header keys in UTF-8, which Java's client replaces.
            let stricter = |why: &String| why.contains("utf-8");
            let refused = decoded.as_ref().is_err_and(stricter);
            prop_assert!(refused || decoded == Ok(records.len()), "{:?}", decoded);
        }
    }

    #[test]
    fn arbitrary_bytes_give_an_error_and_no_panic(
        records in proptest::collection::vec(any::<u8>(), 0..300),
        codec in 0i16..=7,
        count in 1i32..40,
    ) {
        let sent = around(codec, &records, count, NOW, NOW);
        let rules = BatchRules { keys_required: true, ..BatchRules::default() };
        let _either = check(&sent[..], &rules, NOW).map(|_| ());
    }
}
