//! Compressed bytes in every codec, and stored batches around them. What is uncompressed keeps to the limit; records of a stored
//! batch end within it; a batch whose records can be read has the same ones in every other codec.

use keylane_engine::record_batch::{HEADER_BYTES, RecordBatch, build, seal};
use keylane_engine::records::{Compression, Opened, compress, decompress, recompress};
use keylane_sim_disk::Rng;

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{spoil, spoil_in_place};

/// Most uncompressed bytes that are asked for.
const LIMIT: usize = 1 << 20;

/// Compressed bytes, mostly spoiled; their codec.
fn compressed(rng: &mut Rng) -> (i16, Vec<u8>) {
    let codec = 1 + rng.below(4) as i16;
    let most = if rng.one_in(20) { 200_000 } else { 3000 };
    let mut plain = vec![0; rng.below(most) as usize];
    if rng.one_in(2) {
        rng.fill(&mut plain);
    }
    let mut bytes = Vec::new();
    compress(codec, &plain, &mut bytes).expect("encoders take anything");
    for _ in 0..rng.below(4) {
        if rng.one_in(2) { spoil(&mut bytes, rng) } else { spoil_in_place(&mut bytes, rng) }
    }
    (codec, bytes)
}

#[test]
fn every_codec() {
    fuzz("codecs", 20_000, &mut |rng| {
        let (codec, bytes) = compressed(rng);
        match decompress(codec, &bytes, LIMIT) {
            Ok(plain) if plain.len() > LIMIT => Err(format!("codec {codec}: {} bytes", plain.len())),
            other => Ok(Outcome::of(other.is_ok())),
        }
    });
}

/// A batch as it could be stored, with a header or records that are spoiled.
fn stored(rng: &mut Rng) -> Vec<u8> {
    let pairs: Vec<_> =
        (0..1 + rng.below(8)).map(|n| (vec![n as u8; n as usize], vec![7; rng.below(90) as usize])).collect();
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let mut batch = build(&pairs, 1_700_000_000_000);
    if rng.one_in(2) {
        let mut records = batch.split_off(HEADER_BYTES);
        spoil(&mut records, rng);
        batch.extend(records);
    }
    if rng.one_in(2) {
        let how = [Compression::Snappy, Compression::Gzip { level: 1 }, Compression::Lz4 { level: 1 }];
        let how = how[rng.below(3) as usize];
        batch = recompress(&batch, how).ok().flatten().unwrap_or(batch);
    }
    for _ in 0..rng.below(3) {
        spoil_in_place(&mut batch, rng);
    }
    seal(&mut batch);
    batch
}

/// All records of a batch, if each of them can be read.
fn records(batch: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    RecordBatch::check_stored(batch).ok()?;
    let opened = Opened::of(batch, LIMIT).ok()?;
    let all: Result<Vec<_>, _> =
        opened.records().map(|r| r.map(|r| (r.offset, r.encoded.to_vec()))).collect();
    all.ok()
}

#[test]
fn stored_batches() {
    fuzz("stored batches", 30_000, &mut |rng| {
        let batch = stored(rng);
        let Some(all) = records(&batch) else { return Ok(Outcome::Refused) };
        let view = RecordBatch::peek(&batch).ok_or("no header")?;
        let base = i64::from_be_bytes(batch[..8].try_into().expect("eight bytes")) as u64;
        let dense = all.iter().all(|(offset, _)| (base..base + u64::from(view.span)).contains(offset));
        if !dense || all.len() != view.count as usize {
            return Err(format!("{} records of {view:?}", all.len()));
        }
        let other = recompress(&batch, Compression::Zstd { level: 1 }).map_err(|e| e.to_string())?;
        match other.map(|other| records(&other)) {
            Some(found) if found.as_ref() != Some(&all) => Err(format!("{found:?} in place of {all:?}")),
            _ => Ok(Outcome::Taken),
        }
    });
}

/// The negative controls: a snappy decoder that believes the length at the start, and a reader that believes the count.
#[test]
fn wrong_decoders_are_found() {
    must_find("a length that is believed", &mut |rng| {
        let (_, bytes) = compressed(rng);
        let len = bytes.first_chunk().map_or(0, |first| u32::from_le_bytes(*first)) as usize;
        let room = Vec::<u8>::new().try_reserve_exact(len).is_ok();
        if room { Ok(Outcome::Taken) } else { Err(format!("{len} bytes for {}", bytes.len())) }
    });
    must_find("a count that is believed", &mut |rng| {
        let batch = stored(rng);
        let count = RecordBatch::peek(&batch).map_or(0, |view| view.count);
        let all = records(&batch).map_or(0, |all| all.len());
        if all == count as usize {
            Ok(Outcome::Taken)
        } else {
            Err(format!("{count} records in place of {all}"))
        }
    });
}
