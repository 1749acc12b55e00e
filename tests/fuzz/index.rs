//! The index of a sealed segment: one block, and the whole file. Every run of an index that is taken can be asked for.

use keylane_engine::disk::{Disk, DynDisk};
use keylane_engine::log::files;
use keylane_engine::log::index::{
    ENTRIES_PER_BLOCK, IndexEntry, build, decode_entries, load, load_entries, load_run,
};
use keylane_engine::log::sealed::Sealed;
use keylane_engine::{Generation, LogId, ShardId};
use keylane_sim_disk::{Rng, SimDisk, SimOptions};
use keylane_tests::held::{inside, runtime};

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{put_u32, spoil_in_place, u32_at};

const BLOCK: usize = 4096;
const SHARD: ShardId = ShardId(3);
const GENERATION: Generation = Generation(2);

/// An index of some partitions, in which some blocks are spoiled; their checksums are mostly right.
fn spoiled(rng: &mut Rng) -> Vec<u8> {
    let entry = |n| IndexEntry { base_offset: n, position: 4096, len: 70, span: 1, max_timestamp: n as i64 };
    let logs: Vec<_> = (0..1 + rng.below(4))
        .map(|log| (LogId(log as u32), (0..1 + rng.below(300)).map(entry).collect::<Vec<_>>()))
        .collect();
    let sealed = Sealed { generation: GENERATION, first_seq: 1, next_seq: 2, data_end: 8192 };
    let (bytes, _) = build(SHARD, sealed, &logs);
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.below(3) {
        // Mostly header and table, and where something stands in them.
        let among = if rng.one_in(3) { bytes.len() / BLOCK } else { 2 };
        let number = rng.below(among as u64) as usize;
        let block = &mut bytes[number * BLOCK..][..BLOCK];
        let used = if rng.one_in(8) { BLOCK } else { 208 };
        spoil_in_place(&mut block[..used], rng);
        if !rng.one_in(8) {
            seal(SHARD, GENERATION, number, block);
        }
    }
    bytes
}

/// Makes the checksum of a block right.
pub fn seal(shard: ShardId, generation: Generation, number: usize, block: &mut [u8]) {
    let mut crc = crc32c::crc32c(&u32::from(shard.0).to_le_bytes());
    crc = crc32c::crc32c_append(crc, &generation.0.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &(number as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &block[4..]);
    put_u32(block, 0, crc);
}

#[test]
fn blocks() {
    fuzz("index blocks", 40_000, &mut |rng| {
        let bytes = spoiled(rng);
        let number = rng.below((bytes.len() / BLOCK) as u64) as usize;
        let mut block = bytes[number * BLOCK..][..BLOCK].to_vec();
        if rng.one_in(8) {
            block.truncate(rng.below(BLOCK as u64) as usize);
        }
        match decode_entries(SHARD, GENERATION, number as u32, &block) {
            Some(entries) if entries.len() > ENTRIES_PER_BLOCK => Err(format!("{} entries", entries.len())),
            other => Ok(Outcome::of(other.is_some())),
        }
    });
}

#[test]
fn whole_files() {
    let runtime = runtime();
    fuzz("index files", 8_000, &mut |rng| {
        let bytes = spoiled(rng);
        let len = bytes.len();
        inside(&runtime, async {
            let disk = DynDisk::new(SimDisk::new(1, SimOptions::immediate()));
            let failed = |e: std::io::Error| e.to_string();
            files::replace(&disk, "", "idx", files::padded(&bytes)).await.map_err(failed)?;
            let file = disk.open("idx").await.map_err(failed)?;
            let Some(index) = load(&file, SHARD, GENERATION).await.map_err(failed)? else {
                return Ok(Outcome::Refused);
            };
            if index.bytes() > len as u64 {
                return Err(format!("{index:?} in {len} bytes"));
            }
            drop(load_entries(&file, SHARD, &index).await);
            for (_, run) in &index.runs {
                drop(load_run(&file, SHARD, index.entries_block, run).await);
            }
            Ok(Outcome::Taken)
        })
    });
}

/// The negative control: a reader that believes how many entries a block has.
#[test]
fn a_count_that_is_believed_is_found() {
    must_find("a number of entries that is believed", &mut |rng| {
        let bytes = spoiled(rng);
        let block = &bytes[bytes.len() - BLOCK..];
        let zeros = (0..u32_at(block, 4)).filter(|n| block[8 + 32 * n] == 0).count();
        Ok(Outcome::of(zeros > 0))
    });
}
