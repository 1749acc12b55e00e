//! Framings, checksums, truncation and levels of each codec, and batches that are written with another one.

use std::io::Write;

use twox_hash::XxHash32;

use super::*;
use crate::bytes_at::put_varint;
use crate::record_batch::{HEADER_BYTES, RecordBatch, build, seal};

const COMPRESSED: [i16; 4] = [1, 2, 3, 4];

/// Lines such as people write into logs: compressible, but not at once.
fn text(len: usize) -> Vec<u8> {
    let mut seed = 7u32;
    let words = std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!(
            "{} user={} status={};",
            ["get", "put", "list", "drop"][(seed >> 30) as usize],
            seed >> 9,
            seed >> 28
        )
    });
    words.flat_map(String::into_bytes).take(len).collect()
}

fn packed(how: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress_with(how, plain, &mut out).unwrap();
    out
}

fn of_codec(codec: i16, plain: &[u8]) -> Vec<u8> {
    packed(Compression::of_codec(codec).unwrap(), plain)
}

fn malformed(codec: i16, bytes: &[u8]) -> String {
    match decompress(codec, bytes, MAX_UNCOMPRESSED) {
        Err(DecodeError::Compressed { what, .. }) => what,
        other => panic!("codec {codec}: {:?}", other.map(|out| out.len())),
    }
}

/// An LZ4 frame with everything that clients leave out: sums of blocks and content, and the size.
fn full_lz4(plain: &[u8]) -> Vec<u8> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB)
        .block_checksums(true)
        .content_checksum(true)
        .content_size(Some(plain.len() as u64));
    let mut to = FrameEncoder::with_frame_info(info, Vec::new());
    to.write_all(plain).unwrap();
    to.finish().unwrap()
}

/// A zstd frame with a checksum, of an encoder that is not the one that decodes it.
fn foreign_zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn streams_that_are_cut_off_are_refused_wherever_that_is() {
    let plain = text(1000);
    let whole: Vec<(i16, Vec<u8>)> = COMPRESSED
        .map(|codec| (codec, of_codec(codec, &plain)))
        .into_iter()
        .chain([(3, full_lz4(&plain)), (4, foreign_zstd(&plain))])
        .collect();
    for (codec, bytes) in whole {
        assert_eq!(decompress(codec, &bytes, 1000).as_deref(), Ok(&plain[..]));
        for len in 0..bytes.len() {
            let found = decompress(codec, &bytes[..len], 1000);
            // Nothing at all is an empty stream of gzip members, snappy blocks or zstd frames; so is the start of
            // framed snappy, where a block ends with the stream. Neither has the records.
            let empty = len == 0 && codec != 3 || codec == 2 && len == 16;
            assert_eq!(found.is_ok(), empty, "codec {codec}, {len} of {} bytes", bytes.len());
            assert!(found.unwrap_or_default().is_empty());
        }
    }
}

#[test]
fn checksums_that_do_not_match_are_refused() {
    let plain = text(70_000);
    let gzip = of_codec(1, &plain);
    let (lz4, zstd) = (full_lz4(&plain), foreign_zstd(&plain));
    // The trailer of gzip, the descriptor's and the frame's sum of LZ4, the frame's of zstd.
    let at_end = |bytes: &[u8], back: usize| bytes.len() - back;
    for (codec, bytes, at) in [
        (1, &gzip, at_end(&gzip, 8)),
        (1, &gzip, at_end(&gzip, 1)),
        (3, &lz4, 14),
        (3, &lz4, at_end(&lz4, 1)),
        (4, &zstd, at_end(&zstd, 1)),
    ] {
        assert_eq!(decompress(codec, bytes, 70_000).as_deref(), Ok(&plain[..]));
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        malformed(codec, &bad);
    }
    // Of a block: behind its length and its bytes.
    let len = u32::from_le_bytes([lz4[15], lz4[16], lz4[17], lz4[18]]) as usize;
    let mut bad = lz4.clone();
    bad[19 + len] ^= 1;
    assert_eq!(malformed(3, &bad), "the checksum of a block does not match");
    // The size that a frame states.
    let mut bad = lz4;
    bad[6] ^= 1;
    let sum = (XxHash32::oneshot(0, &bad[4..14]) >> 8) as u8;
    bad[14] = sum;
    assert_eq!(malformed(3, &bad), "the frame has another size than its descriptor says");
}

#[test]
fn several_members_and_frames_are_read_as_far_as_the_java_clients_read_them() {
    let (one, two) = (text(3000), text(90_000));
    let plain = [&one[..], &two].concat();
    for codec in [1, 4] {
        let bytes = [of_codec(codec, &one), of_codec(codec, &two)].concat();
        assert_eq!(decompress(codec, &bytes, plain.len()).as_deref(), Ok(&plain[..]), "codec {codec}");
        let junk = [&bytes[..], b"junk behind the frames"].concat();
        malformed(codec, &junk);
    }
    let skippable = [&0x184d_2a53u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"12345"].concat();
    let bytes = [skippable.clone(), of_codec(4, &one), skippable, foreign_zstd(&two)].concat();
    assert_eq!(decompress(4, &bytes, plain.len()).as_deref(), Ok(&plain[..]));
    let bytes = [of_codec(3, &one), of_codec(3, &two)].concat();
    assert_eq!(malformed(3, &bytes), "bytes follow the frame");
    // A gzip header with a name, a comment, more fields and a checksum of its own.
    let mut header = flate2::GzBuilder::new()
        .filename("n")
        .comment("c")
        .extra("more")
        .write(Vec::new(), Default::default());
    header.write_all(&one).unwrap();
    assert_eq!(decompress(1, &header.finish().unwrap(), 3000).as_deref(), Ok(&one[..]));
}

/// One member is decoded at once, by a decoder that ends with the first member and ignores what follows.
#[test]
fn gzip_gives_the_same_at_once_and_as_a_stream() {
    let plain = text(200_000);
    let one = of_codec(1, &plain);
    // Two members with the same content have the same trailers.
    let twice = [&one[..], &one].concat();
    assert_eq!(decompress(1, &twice, 400_000).as_deref(), Ok(&plain.repeat(2)[..]));
    assert_eq!(decompress(1, &twice, 399_999), Err(DecodeError::TooLarge { limit: 399_999 }));
    // The start of a member inside a member, which is stored as it is.
    let tricky = [&plain[..1000], b"\x1f\x8b\x08", &plain[..1000]].concat();
    let mut stored = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    stored.write_all(&tricky).unwrap();
    assert_eq!(decompress(1, &stored.finish().unwrap(), 2003).as_deref(), Ok(&tricky[..]));
    // Whatever length the trailer claims, it has to be that of the content.
    for claim in [0u32, 1, 199_999, 200_001, 1 << 20, u32::MAX] {
        let mut bad = one.clone();
        let at = bad.len() - 4;
        bad[at..].copy_from_slice(&claim.to_le_bytes());
        assert_eq!(malformed(1, &bad), "the checksum or the length of a member does not match");
    }
}

#[test]
fn raw_snappy_is_read_too() {
    let plain = text(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(decompress(2, &raw, 100_000).as_deref(), Ok(&plain[..]));
    // A block that claims more than its bytes can stand for, and more than is held.
    assert!(malformed(2, b"\xff\xff\xff\xff\x0f\0").contains("more than they can"));
}

#[test]
fn what_needs_a_dictionary_or_blocks_before_is_refused() {
    let plain = text(200_000);
    let mut dictionary = of_codec(3, &plain);
    dictionary.splice(6..7, [1, 2, 3, 4]);
    dictionary[4] |= 1;
    dictionary.insert(10, (XxHash32::oneshot(0, &dictionary[4..10]) >> 8) as u8);
    assert_eq!(malformed(3, &dictionary), "the frame needs a dictionary");
    let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
    let mut to = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    to.write_all(&plain).unwrap();
    assert!(malformed(3, &to.finish().unwrap()).contains("linked blocks"));
    // The frame's header names a dictionary (its flag, and an id of one byte behind the window's descriptor).
    let mut to = ::zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    to.write_all(&plain).unwrap();
    let mut frame = to.finish().unwrap();
    frame[4] |= 1;
    frame.insert(6, 42);
    assert!(malformed(4, &frame).to_lowercase().contains("dictionary"));
}

#[test]
fn a_zstd_window_larger_than_what_is_held_is_read_as_far_as_it_is_not_needed() {
    let plain = text(300_000);
    let mut to = ::zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    to.window_log(27).unwrap();
    to.write_all(&plain).unwrap();
    let frame = to.finish().unwrap();
    assert!(frame[5] >> 3 > MAX_HELD.ilog2() as u8 - 10, "the frame asks for a larger window");
    assert_eq!(decompress(4, &frame, 300_000).as_deref(), Ok(&plain[..]));
    for len in 0..frame.len().min(100) {
        assert!(decompress(4, &frame[..len], 300_000).is_ok_and(|out| out.is_empty()) == (len == 0), "{len}");
    }
}

#[test]
fn levels_trade_time_for_size_as_they_do_in_kafka() {
    let plain = text(100_000);
    let size = |how| {
        let bytes = packed(how, &plain);
        assert!(decompresses_to(how.codec().unwrap(), &bytes, &plain), "{how:?}");
        bytes.len()
    };
    for level in -1..=9 {
        size(Compression::Gzip { level });
    }
    for level in 1..=17 {
        size(Compression::Lz4 { level });
    }
    for level in [-131_072, -5, 0, 1, 3, 19, 22] {
        size(Compression::Zstd { level });
    }
    assert!(size(Compression::Gzip { level: 9 }) < size(Compression::Gzip { level: 1 }));
    assert_eq!(size(Compression::Gzip { level: -1 }), size(Compression::Gzip { level: 6 }));
    assert!(size(Compression::Lz4 { level: 12 }) < size(Compression::Lz4 { level: 9 }));
    assert!(size(Compression::Zstd { level: 19 }) < size(Compression::Zstd { level: 1 }));
    assert!(size(Compression::Zstd { level: 1 }) < size(Compression::Zstd { level: -50 }));
}

/// A batch of two records; the first has the same header key twice, the second neither key nor value.
fn batch(codec: i16) -> Vec<u8> {
    let mut records = Vec::new();
    for body in [&b"\0\x06\0\x02k\x06val\x04\x02h\x02a\x02h\x02b"[..], &b"\0\x01\x02\x01\x01\0"[..]] {
        put_varint(&mut records, body.len() as i64);
        records.extend_from_slice(body);
    }
    let mut out = build(&[(b"", b""), (b"", b"")], 1_700_000_000_000);
    out.truncate(HEADER_BYTES);
    out[12..16].copy_from_slice(&9i32.to_be_bytes());
    out[43..51].copy_from_slice(&77i64.to_be_bytes());
    out[51..57].copy_from_slice(&[0, 3, 0, 0, 0, 5]);
    out[21..23].copy_from_slice(&(codec | APPEND_TIME).to_be_bytes());
    compress(codec, &records, &mut out).unwrap();
    seal(&mut out);
    out
}

fn records_of(batch: &[u8]) -> Vec<u8> {
    let opened = Opened::of(batch, 1000).unwrap();
    opened.records().flat_map(|record| record.unwrap().encoded.to_vec()).collect()
}

#[test]
fn a_batch_with_another_codec_keeps_its_records_and_its_header() {
    let hows = [
        Compression::Uncompressed,
        Compression::Gzip { level: 1 },
        Compression::Snappy,
        Compression::Lz4 { level: 17 },
        Compression::Zstd { level: 7 },
    ];
    for from in 0..=4 {
        let before = batch(from);
        assert_eq!(RecordBatch::check_stored(&before).map(|b| b.count), Ok(2));
        assert_eq!(recompress(&before, Compression::Producer).unwrap(), None);
        for how in hows {
            let after = recompress(&before, how).unwrap();
            if how.codec() == Some(from) {
                assert_eq!(after, None, "{how:?}");
                continue;
            }
            let after = after.unwrap();
            let checked = RecordBatch::check_stored(&after).unwrap();
            assert_eq!(checked.attributes, how.codec().unwrap() | APPEND_TIME);
            assert_eq!(records_of(&after), records_of(&before), "{from} {how:?}");
            // All but length, CRC and attributes.
            for same in [0..8, 12..17, 23..HEADER_BYTES] {
                assert_eq!(after[same.clone()], before[same]);
            }
        }
    }
}

#[test]
fn a_batch_that_cannot_be_read_or_is_a_bomb_is_not_compressed_again() {
    let mut bomb = batch(0);
    bomb.truncate(HEADER_BYTES);
    bomb[22] = 1;
    let mut to = flate2::write::GzEncoder::new(bomb, flate2::Compression::fast());
    let mebibyte = vec![0; 1 << 20];
    (0..=RECOMPRESSED_MAX >> 20).for_each(|_| to.write_all(&mebibyte).unwrap());
    let bomb = to.finish().unwrap();
    assert!(matches!(
        recompress(&bomb, Compression::Snappy),
        Err(RecompressError::Decode(DecodeError::TooLarge { limit: RECOMPRESSED_MAX }))
    ));
    let mut garbage = batch(4);
    garbage[HEADER_BYTES] ^= 1;
    assert!(matches!(recompress(&garbage, Compression::Uncompressed), Err(RecompressError::Decode(_))));
    assert!(matches!(recompress(&garbage[..60], Compression::Snappy), Err(RecompressError::Length(60))));
}

/// What one batch leaves behind for the next one on the thread must not show.
#[test]
fn a_codec_is_used_again_after_a_batch_that_failed_or_was_left_in_the_middle() {
    // More than any codec decodes at once.
    let plain = text(1_200_000);
    for codec in COMPRESSED {
        let bytes = of_codec(codec, &plain);
        for round in 0..3 {
            let mut left = Decoder::new(codec, &bytes, 1_200_000).unwrap();
            assert!(left.refill().unwrap() && left.unread().len() < 1_200_000);
            drop(left);
            let mut bad = bytes.clone();
            bad[bytes.len() / 2..].fill(0xa5);
            assert!(decompress(codec, &bad, 1_200_000).is_err(), "codec {codec}");
            assert_eq!(
                decompress(codec, &bytes, 1_200_000).as_deref(),
                Ok(&plain[..]),
                "{codec}, round {round}"
            );
        }
    }
}
