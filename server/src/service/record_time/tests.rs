use std::io::Write;

use keylane_engine::bytes_at::put_varint;
use keylane_engine::record_batch::{BatchFields, put_record};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;

const CODECS: [i16; 5] = [0, 1, 2, 3, 4];
const BASE: i64 = 1_700_000_000_000;

/// A batch around encoded records.
fn batch(records: &[u8], codec: i16, count: i32, base_offset: i64) -> Vec<u8> {
    let fields = BatchFields { attributes: codec, max_timestamp: 0, ..BatchFields::new(count, BASE) };
    let mut out = fields.around(records);
    out[0..8].copy_from_slice(&base_offset.to_be_bytes());
    out
}

/// The batch with the length field that its bytes ask for.
fn resized(mut batch: Vec<u8>) -> Vec<u8> {
    let len = (batch.len() - record_batch::LENGTH_END) as i32;
    batch[8..12].copy_from_slice(&len.to_be_bytes());
    batch
}

/// Records with these timestamp deltas, offset deltas 0, 1, 2, ..., and values of `size` bytes.
fn records(deltas: &[i64], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, delta) in deltas.iter().enumerate() {
        out.extend(record(*delta, at as i64, &vec![at as u8; size]));
    }
    out
}

fn record(time_delta: i64, offset_delta: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let delta = i32::try_from(offset_delta).unwrap();
    put_record(&mut out, time_delta, delta, None, Some(value), &[]);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn xerial(bytes: &[u8], block: usize) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for part in bytes.chunks(block) {
        let part = raw_snappy(part);
        out.extend((part.len() as u32).to_be_bytes());
        out.extend(part);
    }
    out
}

fn raw_snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn lz4(bytes: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut to = FrameEncoder::with_frame_info(info, Vec::new());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn compressed(bytes: &[u8], codec: i16) -> Vec<u8> {
    match codec {
        0 => bytes.to_vec(),
        1 => gzip(bytes),
        2 => xerial(bytes, 1000),
        3 => lz4(bytes, FrameInfo::new()),
        _ => zstd(bytes),
    }
}

/// What the two questions should be answered with.
fn expected(times: &[i64], base_offset: u64, from: i64) -> [Option<(u64, i64)>; 2] {
    let at = |index: usize| (base_offset + index as u64, times[index]);
    let first = times.iter().position(|&time| time >= from).map(at);
    let most = times.iter().max().and_then(|most| times.iter().position(|time| time == most));
    [first, most.map(at)]
}

fn answers(batch: &[u8], from: i64) -> [Option<(u64, i64)>; 2] {
    [first_at_or_after(batch, from, 0).unwrap(), latest(batch, 0).unwrap()]
}

/// Answers in full for a batch whose records hold these timestamp deltas.
fn check(batch: &[u8], deltas: &[i64], base_offset: u64) {
    let times: Vec<i64> = deltas.iter().map(|delta| BASE + delta).collect();
    for from in times.iter().flat_map(|time| [time - 1, *time, time + 1]).chain([i64::MIN, i64::MAX]) {
        assert_eq!(answers(batch, from), expected(&times, base_offset, from), "from {from}");
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn foreign() -> [Vec<u8>; 4] {
    [BY_GZIP, BY_SNAPPY, BY_LZ4, BY_ZSTD].map(from_hex)
}

#[test]
fn batches_of_another_encoder_are_searched() {
    let deltas: Vec<i64> = (0..40).map(|i| i * 17 % 40 * 250).collect();
    for (batch, codec) in foreign().iter().zip(1..) {
        assert_eq!(RecordBatch::check_stored(batch).unwrap().attributes, codec);
        check(batch, &deltas, 1000);
    }
}

#[test]
fn every_framing_of_every_codec_is_searched() {
    let deltas: Vec<i64> = (0..300).map(|i| i * 7919 % 1000 - 300).collect();
    let plain = records(&deltas, 700);
    let (one, two) = plain.split_at(100_001);
    let frame = FrameInfo::new;
    let sums = frame().block_checksums(true).content_checksum(true).content_size(Some(plain.len() as u64));
    let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let framings = [
        (0, plain.clone()),
        (1, gzip(&plain)),
        (1, [gzip(one), gzip(two)].concat()),
        (2, raw_snappy(&plain)),
        (2, xerial(&plain, 32 << 10)),
        (2, xerial(&plain, 7)),
        (3, lz4(&plain, frame())),
        (3, lz4(&plain, sums)),
        (4, zstd(&plain)),
        (4, [skippable.clone(), zstd(one), skippable, zstd(two)].concat()),
    ];
    for (at, (codec, records)) in framings.iter().enumerate() {
        let batch = batch(records, *codec, 300, 5);
        let times: Vec<i64> = deltas.iter().map(|delta| BASE + delta).collect();
        for from in [i64::MIN, BASE, BASE + 600, BASE + 699, BASE + 700, i64::MAX] {
            assert_eq!(answers(&batch, from), expected(&times, 5, from), "framing {at} from {from}");
        }
    }
}

#[test]
fn the_time_of_the_append_is_that_of_every_record() {
    for codec in CODECS {
        let mut batch = batch(&compressed(&records(&[5, 9, 7], 10), codec), codec | 8, 3, 40);
        batch[35..43].copy_from_slice(&(BASE + 50).to_be_bytes());
        let all = Some((40, BASE + 50));
        assert_eq!(answers(&batch, BASE + 50), [all, all]);
        assert_eq!(answers(&batch, BASE + 51), [None, all]);
    }
}

#[test]
fn records_before_an_offset_do_not_count() {
    let deltas = [50, 9, 50, 30, 9];
    for codec in CODECS {
        let batch = batch(&compressed(&records(&deltas, 10), codec), codec, 5, 40);
        for start in 0..=5usize {
            let left = || deltas.iter().enumerate().skip(start).map(|(at, d)| (40 + at as u64, BASE + d));
            let from = 40 + start as u64;
            for time in [BASE, BASE + 10, BASE + 31, BASE + 51] {
                let first = left().find(|(_, found)| *found >= time);
                assert_eq!(first_at_or_after(&batch, time, from), Ok(first), "from {from} at {time}");
            }
            let most = left().map(|(_, time)| time).max();
            let largest = left().find(|(_, time)| Some(*time) == most);
            assert_eq!(latest(&batch, from), Ok(largest), "from {from}");
        }
    }
}

#[test]
fn a_batch_without_records_has_no_answer() {
    assert_eq!(answers(&batch(&[], 0, 0, 1), 0), [None, None]);
}

#[test]
fn what_follows_the_answer_is_not_read() {
    let mut plain = records(&[0, 10], 10);
    plain.extend([0xff; 40]);
    let batch = batch(&plain, 0, 3, 0);
    assert_eq!(first_at_or_after(&batch, BASE + 10, 0), Ok(Some((1, BASE + 10))));
    assert!(latest(&batch, 0).is_err());
}

#[test]
fn malformed_headers_are_refused() {
    let good = batch(&records(&[0, 1], 3), 0, 2, 0);
    let error = |batch: &[u8]| latest(batch, 0).unwrap_err();
    for len in 0..good.len() {
        assert!(matches!(error(&good[..len]), RecordTimeError::Length { .. }), "length {len}");
    }
    let changed = |at: usize, to: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + to.len()].copy_from_slice(to);
        error(&bad)
    };
    assert!(matches!(changed(0, &[0x80]), RecordTimeError::Header(_)));
    assert!(matches!(changed(8, &[0xff]), RecordTimeError::Header(_)));
    assert!(matches!(changed(57, &[0xff]), RecordTimeError::Header(_)));
    assert_eq!(changed(16, &[1]), RecordTimeError::Magic(1));
    for codec in 5..8 {
        assert_eq!(changed(22, &[codec]), DecodeError::Codec(i16::from(codec)).into());
    }
}

#[test]
fn malformed_records_are_refused_by_name() {
    let of = |plain: &[u8], count| latest(&batch(plain, 0, count, i64::MAX - 1), 0).unwrap_err();
    let bad = |index, what| RecordTimeError::Records(RecordsError::Record { index, what });
    let good = records(&[1], 3);
    assert_eq!(of(&good, 2), bad(1, "it ends beyond the records"));
    assert_eq!(of(&good[..good.len() - 1], 1), bad(0, "it ends beyond the records"));
    assert_eq!(of(&[good.clone(), vec![0]].concat(), 1), bad(1, "bytes follow the last one"));
    assert_eq!(of(&[0x80; 20], 1), bad(0, "its length is no varint"));
    assert_eq!(of(&[1, 0, 0], 1), bad(0, "its length is negative"));
    assert_eq!(of(&[0], 1), bad(0, "it is empty"));
    assert_eq!(of(&[2, 0, 0, 0], 1), bad(0, "its timestamp is no varint"));
    assert_eq!(of(&[6, 0, 0x80, 0x80, 0], 1), bad(0, "its timestamp is no varint"));
    assert_eq!(of(&[4, 0, 0, 0], 1), bad(0, "its offset is no varint"));
    assert_eq!(of(&record(0, 1, b""), 1), bad(0, "its offset is beyond the last one of the batch"));
    let same = [record(0, 0, b""), record(0, 0, b"")].concat();
    assert_eq!(of(&same, 2), bad(1, "its offset is not above that of the record before"));
    assert_eq!(of(&record(0, -1, b""), 1), bad(0, "its offset is not above that of the record before"));
}

#[test]
fn a_cut_in_compressed_records_is_an_error_or_makes_no_difference() {
    for good in foreign() {
        let whole = latest(&good, 0);
        for len in HEADER_BYTES..good.len() {
            let cut = latest(&resized(good[..len].to_vec()), 0);
            // All records are there when an end mark or a checksum is missing.
            assert!(cut.is_err() || (cut == whole && len + 16 >= good.len()), "length {len}: {cut:?}");
        }
    }
}

/// The start of a record that claims more than may be read.
fn bomb_start() -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, i64::from(i32::MAX));
    out.extend([0, 0, 0]);
    out
}

fn assert_bomb(records: &[u8], codec: i16) {
    assert!(records.len() < 16 << 20);
    let batch = batch(records, codec, 1, 0);
    let too_large = RecordTimeError::from(DecodeError::TooLarge { limit: MAX_UNCOMPRESSED });
    assert_eq!(latest(&batch, 0), Err(too_large.clone()));
    assert_eq!(first_at_or_after(&batch, 0, 0), Err(too_large.clone()));
}

#[test]
fn bombs_end_at_the_limit() {
    let mebibyte = vec![0; 1 << 20];
    let mut to = flate2::write::GzEncoder::new(bomb_gzip_prefix(), flate2::Compression::fast());
    for _ in 0..257 {
        to.write_all(&mebibyte).unwrap();
    }
    assert_bomb(&to.finish().unwrap(), 1);

    let mut snappy = xerial(&bomb_start(), 100);
    let block = raw_snappy(&mebibyte);
    for _ in 0..257 {
        snappy.extend((block.len() as u32).to_be_bytes());
        snappy.extend(&block);
    }
    assert_bomb(&snappy, 2);

    let mut to = FrameEncoder::with_frame_info(FrameInfo::new().block_size(BlockSize::Max4MB), Vec::new());
    to.write_all(&bomb_start()).unwrap();
    for _ in 0..257 {
        to.write_all(&mebibyte).unwrap();
    }
    assert_bomb(&to.finish().unwrap(), 3);

    assert_bomb(&zstd_bomb(0x68), 4);
    assert_bomb(&zstd_bomb(0xff), 4);
}

/// A gzip member that holds the start of the record.
fn bomb_gzip_prefix() -> Vec<u8> {
    gzip(&bomb_start())
}

/// A frame of blocks that each repeat one byte 128 KiB times, with this window.
fn zstd_bomb(window: u8) -> Vec<u8> {
    let start = bomb_start();
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    out.extend(&((start.len() as u32) << 3).to_le_bytes()[..3]);
    out.extend(start);
    for _ in 0..8 * 300 {
        out.extend(&((128 << 10 << 3) | 2u32).to_le_bytes()[..3]);
        out.push(0);
    }
    out
}

#[test]
fn windows_and_blocks_are_no_larger_than_what_may_be_held() {
    // A large window that is announced but not used does no harm.
    let mut wide = from_hex(BY_ZSTD);
    assert_eq!(wide[HEADER_BYTES + 4] & 0x20, 0, "a single segment has no window");
    let whole = latest(&wide, 0);
    wide[HEADER_BYTES + 5] = 0xff;
    assert_eq!(latest(&wide, 0), whole);

    let what = |records: &[u8], codec| match latest(&batch(records, codec, 1, 0), 0) {
        Err(RecordTimeError::Records(RecordsError::Decode(DecodeError::Compressed { what, .. }))) => what,
        other => panic!("{other:?}"),
    };
    // A single segment of 4 GiB less one byte.
    let segment = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0];
    assert!(what(&segment, 4).contains("too much memory"), "{}", what(&segment, 4));
    // The Java clients cannot read blocks that need those before.
    let linked = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
    assert!(what(&lz4(&vec![7; 200_000], linked), 3).contains("linked"));
    let mut claim = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(what(&claim, 2).contains("more than they can"));
    claim.resize(200 << 20 >> 3, 0);
    claim[..5].copy_from_slice(&[0x81, 0x80, 0x80, 0x10, 0]);
    assert!(what(&claim, 2).contains("are allowed"), "{}", what(&claim, 2));
}

#[test]
fn damage_that_a_checksum_covers_is_found() {
    let plain = records(&[1, 2, 3], 100);
    let sums = FrameInfo::new().content_checksum(true);
    for (codec, mut records) in [(1, gzip(&plain)), (3, lz4(&plain, sums)), (4, zstd(&plain))] {
        let sum = records.len() - if codec == 1 { 8 } else { 4 };
        records[sum] ^= 1;
        let error = latest(&batch(&records, codec, 3, 0), 0).unwrap_err();
        assert!(
            matches!(error, RecordTimeError::Records(RecordsError::Decode(DecodeError::Compressed { .. }))),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn answers_are_those_of_a_plain_search(
        deltas in prop::collection::vec(prop_oneof![-5i64..5, -1_000_000i64..1_000_000], 1..40),
        size in 0usize..2000,
        base_offset in 0i64..1 << 40,
    ) {
        let plain = records(&deltas, size);
        for codec in CODECS {
            let batch = batch(&compressed(&plain, codec), codec, deltas.len() as i32, base_offset);
            check(&batch, &deltas, base_offset as u64);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), count in any::<i32>()) {
        let _ = (latest(&bytes, 0), first_at_or_after(&bytes, 0, 0));
        for codec in CODECS {
            let mut batch = batch(&bytes, codec, 1, 0);
            batch[57..61].copy_from_slice(&count.to_be_bytes());
            batch[23..27].copy_from_slice(&i32::MAX.to_be_bytes());
            assert_ne!(panicked(latest(&batch, 0)), Some(true));
            assert_ne!(panicked(first_at_or_after(&batch, i64::MAX, 0)), Some(true));
        }
    }

    #[test]
    fn damaged_batches_never_panic(
        which in 0usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut batch = foreign()[which].clone();
        for (at, byte) in damage {
            let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
            batch[at] = byte;
        }
        assert_ne!(panicked(latest(&batch, 0)), Some(true));
        assert_ne!(panicked(first_at_or_after(&batch, i64::MAX, 0)), Some(true));
    }
}

/// Whether an error came out of a panic of a decoder.
fn panicked(result: Result<Option<(u64, i64)>, RecordTimeError>) -> Option<bool> {
    match result {
        Err(RecordTimeError::Records(RecordsError::Decode(DecodeError::Compressed { what, .. }))) => {
            Some(what.contains("panicked"))
        }
        _ => None,
    }
}

// 40 records at offset 1000, with keys and values, at BASE plus 0, 250, ... ms in a mixed order: written by
// kafka-protocol 0.18 with all its codecs (flate2, its own snappy framing, liblz4, libzstd).

const BY_GZIP: &str = "\
    00000000000003e8000001a1000000000221020aac0001000000270000018bcfe568000000018bcfe58e16ffffffffffffffffff\
    ff00000000000000281f8b08000000000000ff8dd4a14b036118c7f1e7d5434545454545455f5454c61877b73164c89043860c59\
    18e781c1f0c20e1dc7263a450cc2c2c2c2c2c2c282c160302c180c0b06c382c1b060302c180c0b06c382c1e0fbb23f60bf76e1e1\
    e5fb830f972422cdd3ad8b1397e744c6e557a7e7a91c17c7229de5229bea7ef9b94e363d597d9a67f43c35c8a17681699a67f6bc\
    35e5b37fbe01a420284f1f33434841489e36a6869100b5ebf760140950bb6a55368614a85d2fd109a420289fede4d92492a08615\
    37a6910235ec393d831418f2b4393e8704a85d85e43c12a076d52b6c112950bbde224b28c4fc0dc720da54595d411dbeba6ba8c3\
    d6c83aeab09cd8c41c3ad428331f06d1a68fb01f7558ba0e600e6dba5bd65186efc24419b6074328c3db781863e850b3c4b63087\
    367d99119461f5721b65585b88a20c3f8f7650869d7e0b65f810dbc5183ad42ab218fa3ffc09eca10cefcfe228c3faec3ecaf0fb\
    308131fc07a0b5b114be060000\
";
const BY_SNAPPY: &str = "\
    00000000000003e8000001f100000000027351418e0002000000270000018bcfe568000000018bcfe58e16ffffffffffffffffff\
    ff000000000000002882534e41505059000000000100000001000001acbe0d7c52000000046b30427468652073616d6520776f72\
    647320616761696e20616e64090a2c2c2030005400b44202046b31822b002831005600e8840104046b32822c001832005400fc2a\
    068e82001833005400b06d088e82001834005400c4130a8e810001d808f8550c8e810001d80cac98010e8e820001d808c03e108e\
    82001c33005600f48001128e830001d9088827148e820001d908bc69168e82001831005400d00f188e810001d80884521a8e8100\
    1c33005600b894011c8e820001d808cc3a1e8e820001d808807d208e820001d8089423228e810001d808c865248e8100418808dc\
    0b268e810001d708904e288e81001c30005600c490012a8e820001d808d8362c8e820001d8088c792e8e820001d808a01f308e81\
    0001d808d461328e810021af08e807348e810001d7089c4a368e81001c32005600d08c01388e820001d808e4323a8e820001d808\
    98753c8e820001d808ac1b3e8e810001d808e05d408e810021af08f403428e810001d708a846448e81001c34005600dc8801468e\
    820001d808f02e488e820001d808a4714a8e820001d808b8174c8e810001d808ec594e8e8100043400\
";
const BY_LZ4: &str = "\
    00000000000003e8000001d400000000029d5a62520003000000270000018bcfe568000000018bcfe58e16ffffffffffffffffff\
    ff000000000000002804224d187440bd8c010000f21152000000046b30427468652073616d6520776f72647320616761696e2061\
    6e640a00cf2c2030005400b44202046b312b000ebf31005600e8840104046b322c000e7f32005400fc2a068200117f33005400b0\
    6d088200117e34005400c4130a81000fd800033ef8550c81000fd800034eac98010e82000fd800033fc03e108200118e33005600\
    f480011283000fd900033e88271482000fd900033fbc69168200117e31005400d00f1881000fd800033e84521a81000fd800034e\
    b894011c82000fd800033fcc3a1e8902153f807d208902135f54009423228802153fc865248802153fdc0b268802153f904e2888\
    02136f5600c490012a8902135f5400d8362c8802153f8c792e8802135f5400a01f308702153fd461328702153fe807348702153f\
    9c4a368702136f5600d08c01388802135f5400e4323a8702153f98753c8702153fac1b3e8702153fe05d408702153ff403428702\
    153fa846448702136f5600dc8801461005153ff02e488702153fa4714a8702153fb8174c8702153fec594e81000e506e2c203400\
    e47363220000000063a8c23d\
";
const BY_ZSTD: &str = "\
    00000000000003e8000001bc0000000002e82991e30004000000270000018bcfe568000000018bcfe58e16ffffffffffffffffff\
    ff000000000000002828b52ffd0058150c0006144841106f95e1c0b4a8408caa0ad7a20231aa2a5c8b0a8b388ee3380e7d7f1eef\
    b1d6acd7fe25a99c0dca066583b260937def8ea3b1819e9cbed6d7fa5a5feba718490a3a003500340077e851f2bacf8e11897bb7\
    4189719752b46dda49b6778ca22d4353e20eb9ca87f471a4d067e1e34a1f0d183a70a0d157e240173668a068fb3d01f7c87d30dd\
    61014c8afb24a0ad5c7b77023ca7bb0c2002bbc79390893b345980ba4f12cd34dbbb1bc99cb8cb108dd5da3b824c801129d8def2\
    c201718f93437687f253719fd040887b67f190bacbca65c53d5234d56b6fc8a0a3ba4f051fb17b970084e22e0f205805cf0e0517\
    f74e0200d75d723288b8c708961777b8d150b1bd2784cd887ba7d198dde5830a2cee3133a075870e38b0ee13235bdc065a282010\
    230926281f9126d2449a90a60192479a4913a449186916264d4442ea8b7af882a499349126d2449a92a641245f90349326d2449a\
    92a641a47920c91b20cda4993427cd03917c21d23c40f2274d42d22469168a34cf47effc4828069f\
";
