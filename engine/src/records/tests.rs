use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::bytes_at::put_varint;
use crate::record_batch::{BatchFields, build};

const CODECS: [i16; 5] = [0, 1, 2, 3, 4];

fn compressed(codec: i16, plain: &[u8]) -> Vec<u8> {
    let mut out = b"what was there before".to_vec();
    compress(codec, plain, &mut out).unwrap();
    out.split_off(21)
}

/// A batch around encoded records.
fn around(records: &[u8], codec: i16, count: i32, last_delta: i32) -> Vec<u8> {
    let mut out = BatchFields { attributes: codec, ..BatchFields::new(count, 1000) }.around(records);
    out[23..27].copy_from_slice(&last_delta.to_be_bytes());
    out
}

/// One encoded record: its fields behind the attributes, then more bytes.
pub(super) fn record(fields: &[i64], bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    fields.iter().for_each(|&field| put_varint(&mut body, field));
    body.extend_from_slice(bytes);
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as i64);
    out.extend(body);
    out
}

fn read(batch: &[u8], limit: usize) -> Result<u64, RecordsError> {
    let opened = Opened::of(batch, limit)?;
    opened.records().try_fold(0, |sum, record| Ok(sum + record?.encoded.len() as u64))
}

#[test]
fn fields_are_read_and_a_missing_key_is_not_an_empty_one() {
    // Timestamp delta, offset delta, key length, value length, number of headers.
    let plain = [
        record(&[-7, 0, 0, -1, 0], b""),
        record(&[5, 4, -1, 0, 0], b""),
        record(&[0, 9, -3, -1], b"\x02\x02h\x01"),
    ]
    .concat();
    for codec in CODECS {
        let batch = around(&compressed(codec, &plain), codec, 3, 9);
        let opened = Opened::of(&batch, plain.len()).unwrap();
        let all: Vec<RecordView> = opened.records().map(Result::unwrap).collect();
        let fields = |r: &RecordView| (r.offset, r.timestamp, r.key.is_some(), r.value.is_some());
        assert_eq!(
            all.iter().map(fields).collect::<Vec<_>>(),
            [(0, 993, true, false), (4, 1005, false, true), (9, 1000, false, false)]
        );
        assert_eq!(all[2].headers, b"\x02\x02h\x01");
        assert_eq!(all.iter().map(|r| r.encoded).collect::<Vec<_>>().concat(), plain);
    }
}

#[test]
fn malformed_records_are_refused_by_name_and_nothing_follows() {
    let what = |plain: &[u8], count| {
        let batch = around(plain, 0, count, 5);
        let opened = Opened::of(&batch, 0).unwrap();
        let mut records = opened.records();
        let error = records.by_ref().find_map(Result::err);
        assert!(records.next().is_none());
        match error {
            Some(RecordsError::Record { index, what }) => (index, what),
            other => panic!("{other:?}"),
        }
    };
    let good = record(&[0, 0, -1, -1, 0], b"");
    assert_eq!(what(&good, 2), (1, "its length is no varint"));
    assert_eq!(what(&good[..3], 1), (0, "it ends beyond the records"));
    assert_eq!(what(&[good.clone(), vec![0]].concat(), 1), (1, "bytes follow the last one"));
    assert_eq!(
        what(&[good.clone(), good].concat(), 2).1,
        "its offset is not above that of the record before"
    );
    assert_eq!(what(&record(&[0, 6, -1, -1, 0], b""), 1).1, "its offset is beyond the last one of the batch");
    assert_eq!(what(&record(&[0, 0, 2, -1, 0], b""), 1).1, "its value ends beyond it");
    assert_eq!(what(&record(&[0, 0, 4, -1, 0], b""), 1).1, "its key ends beyond it");
    assert_eq!(what(&record(&[0, 0, i64::MAX], b""), 1).1, "its key ends beyond it");
    assert_eq!(what(&record(&[0, 0, -1, 1], b""), 1).1, "its value ends beyond it");
    assert_eq!(what(&[0], 1).1, "it is empty");
    assert_eq!(what(&[1], 1).1, "its length is negative");
    assert_eq!(what(&[0x80; 11], 1).1, "its length is no varint");
}

#[test]
fn headers_that_no_stored_batch_has_are_refused() {
    let good = build(&[(b"k", b"v")], 0);
    assert!(read(&good, 0).is_ok());
    for (at, byte) in [(0, 0x80), (0, 0x7f), (23, 0x80), (57, 0x80)] {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&[byte, 0xff, 0xff, 0xff]);
        bad[4..8].fill(0xff);
        assert!(matches!(read(&bad, 0), Err(RecordsError::Header(_))), "{byte:#x} at {at}");
    }
    assert!(read(&good[..60], 0).is_err());
    let unknown = around(&[], 5, 0, 0);
    assert_eq!(read(&unknown, 0), Err(RecordsError::Decode(DecodeError::Codec(5))));
    assert!(matches!(compress(5, b"", &mut Vec::new()), Err(EncodeError::Codec(5))));
}

#[test]
fn the_limit_is_exact() {
    let plain = vec![7; 100_000];
    for codec in CODECS {
        let bytes = compressed(codec, &plain);
        let too_large = |limit| Err(DecodeError::TooLarge { limit });
        assert_eq!(decompress(codec, &bytes, 100_000).as_ref(), Ok(&plain), "codec {codec}");
        for limit in [0, 1, 99_999] {
            assert_eq!(decompress(codec, &bytes, limit), too_large(limit), "codec {codec}");
        }
        assert!(decompress(codec, &bytes, usize::MAX).unwrap().capacity() <= 200_000 + bytes.len() * 2);
        assert!(decompress(codec, &bytes, 100_001).unwrap().capacity() <= 100_001);
    }
}

#[test]
fn a_panicking_codec_becomes_an_error() {
    assert!(!panic_is_caught());
    let caught = codec::guarded(|| -> std::io::Result<()> {
        assert!(panic_is_caught());
        panic!("on purpose");
    });
    assert!(caught.unwrap_err().to_string().contains("panicked"));
    assert!(!panic_is_caught());
}

#[test]
fn framings_are_those_of_the_java_clients() {
    let plain = vec![b'x'; 100_000];
    let snappy = compressed(2, &plain);
    assert_eq!(&snappy[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let mut blocks = 0;
    let mut rest = &snappy[16..];
    while let Some((len, after)) = rest.split_first_chunk() {
        let (block, after) = after.split_at(u32::from_be_bytes(*len) as usize);
        assert!(snap::raw::decompress_len(block).unwrap() <= 32 << 10);
        (rest, blocks) = (after, blocks + 1);
    }
    assert_eq!((blocks, rest.len()), (4, 0));
    // Version 1, independent blocks, no checksums, no size; blocks of 64 KiB. Others refuse linked blocks.
    assert_eq!(&compressed(3, &plain)[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
    assert_eq!(&compressed(1, &plain)[..2], [0x1f, 0x8b]);
    assert_eq!(&compressed(4, &plain)[..4], [0x28, 0xb5, 0x2f, 0xfd]);
}

#[test]
fn comparing_with_compressed_bytes_finds_any_difference() {
    let plain: Vec<u8> = (0..70_000u32).map(|i| (i / 3) as u8).collect();
    for codec in CODECS {
        let bytes = compressed(codec, &plain);
        assert!(decompresses_to(codec, &bytes, &plain));
        assert!(!decompresses_to(codec, &bytes, &plain[..69_999]));
        assert!(!decompresses_to(codec, &bytes, &[&plain[..], b"1"].concat()));
        for at in [0, 40_000, 69_999] {
            let mut other = plain.clone();
            other[at] ^= 1;
            assert!(!decompresses_to(codec, &bytes, &other), "codec {codec} at {at}");
        }
    }
}

/// Bytes between noise and monotony, in which codecs find something to do.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        prop::collection::vec(0u8..3, 0..20_000),
        (any::<u8>(), 0usize..200_000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_codec_gives_back_what_it_took(plain in plain()) {
        for codec in CODECS {
            let bytes = compressed(codec, &plain);
            prop_assert!(decompresses_to(codec, &bytes, &plain));
            prop_assert_eq!(decompress(codec, &bytes, plain.len()).unwrap(), &plain[..], "codec {}", codec);
        }
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        count in any::<i32>(),
        last_delta in any::<i32>(),
    ) {
        let _ = read(&bytes, 1 << 20);
        for codec in 0..8 {
            let _ = read(&around(&bytes, codec, count, last_delta), 1 << 20);
        }
    }

    #[test]
    fn damaged_records_never_panic_and_never_pass_the_limit(
        plain in plain(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        limit in 0usize..300_000,
    ) {
        for codec in CODECS {
            let mut bytes = compressed(codec, &plain);
            for (at, byte) in &damage {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            match decompress(codec, &bytes, limit) {
                Ok(out) => prop_assert!(out.capacity() <= limit),
                Err(error) => prop_assert!(!error.to_string().contains("panicked"), "{}", error),
            }
        }
    }
}

#[test]
fn bombs_end_at_the_limit_whatever_they_claim() {
    let mebibyte = vec![0; 1 << 20];
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..64).for_each(|_| to.write_all(&mebibyte).unwrap());
    let gzip = to.finish().unwrap();
    let plain = vec![0; 64 << 20];
    for (codec, bytes) in [gzip].into_iter().chain((2..5).map(|codec| compressed(codec, &plain))).enumerate()
    {
        let (codec, limit) = (codec as i16 + 1, 1 << 20);
        assert_eq!(decompress(codec, &bytes, limit), Err(DecodeError::TooLarge { limit }), "codec {codec}");
    }
}
