//! A whole data directory in which blocks of files are spoiled, with checksums that are right again: it is opened and read, and
//! checked offline. Both may refuse it; neither may panic, hang, or need more memory than there is.

use keylane_engine::ShardId;
use keylane_engine::log::files;
use keylane_sim_disk::{CrashStyle, Rng, SimDisk};
use keylane_tests::held::{Verdict, inside, look, runtime};
use keylane_tests::small::{Small, idle_directory, small_directory};

use crate::harness::{Outcome, fuzz, must_find};
use crate::index;
use crate::spoil::{put_u32, spoil_in_place, u32_at};

const BLOCK: usize = 4096;

/// Makes the checksum of a block right where the block has one of its own.
fn seal(path: &str, number: usize, block: &mut [u8]) {
    if let Some(segment) = path.strip_suffix(".idx") {
        let name = segment.rsplit('/').next().unwrap_or_default();
        let generation = files::generation_of(name).or_else(|| files::generation_of(&format!("{name}.log")));
        index::seal(ShardId(0), generation.expect("the index of a segment"), number, block);
    } else if block.starts_with(b"KLcommit") {
        let crc = crc32c::crc32c(&block[12..64]);
        put_u32(block, 8, crc);
    } else if block.starts_with(b"KLcheckp")
        && let Some(body) = block[64..].get(..u32_at(block, 32))
    {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..60]), body);
        put_u32(block, 60, crc);
    }
}

/// A copy of the directory with spoiled blocks.
fn spoiled(small: &Small, rng: &mut Rng) -> SimDisk {
    let image = small.disk.crash_image(0, CrashStyle::AllDropped);
    let paths = image.paths();
    for _ in 0..rng.below(3) {
        let path = &paths[rng.below(paths.len() as u64) as usize];
        let file = image.content(path).expect("listed");
        let Some(blocks) = (file.len() / BLOCK).checked_sub(1) else { continue };
        let at = rng.between(0, blocks as u64) as usize * BLOCK;
        let mut block = file[at..at + BLOCK].to_vec();
        let used = if rng.one_in(4) { BLOCK } else { 160 };
        spoil_in_place(&mut block[..used], rng);
        if !rng.one_in(4) {
            seal(path, at / BLOCK, &mut block);
        }
        image.overwrite(path, at as u64, &block).expect("listed");
    }
    image
}

#[test]
fn directories() {
    let runtime = runtime();
    let smalls = [small_directory(), idle_directory()];
    fuzz("directories", 3000, &mut |rng| {
        let small = &smalls[rng.below(2) as usize];
        let image = spoiled(small, rng);
        inside(&runtime, async {
            let report = keylane_engine::check::check(&image, &mut |_, _| {}).await;
            let verdict = look(&image, &small.held).await;
            // What opens as it was had no error that loses something.
            let lost = report.findings.iter().any(|finding| !finding.lost.is_empty());
            match verdict {
                Verdict::Same if lost => {
                    Err(format!("all is there, and the check says: {:?}", report.findings))
                }
                Verdict::Same => Ok(Outcome::Taken),
                _ => Ok(Outcome::Refused),
            }
        })
    });
}

/// An index block that states fewer entries than it has, with a right checksum, is an error for who reads them. A search among
/// entries went on for ever, and held its core, where a block ended before the entry that was looked for.
#[test]
fn a_block_that_lacks_entries_ends_a_search() {
    let (found, finding) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = runtime();
        let small = small_directory();
        let mut refused = 0;
        for path in small.disk.paths().into_iter().filter(|path| path.ends_with(".idx")) {
            let file = small.disk.content(&path).expect("listed");
            // The first block is the header, the second the table of partitions.
            for (number, block) in file.chunks_exact(BLOCK).enumerate().skip(2) {
                let mut block = block.to_vec();
                let entries = u32_at(&block, 4) as u32;
                put_u32(&mut block, 4, entries - 1);
                seal(&path, number, &mut block);
                let image = small.disk.crash_image(0, CrashStyle::AllDropped);
                image.overwrite(&path, (number * BLOCK) as u64, &block).expect("listed");
                let verdict = inside(&runtime, look(&image, &small.held));
                refused += u32::from(matches!(verdict, Verdict::Refused(_)));
            }
        }
        let _late = found.send(refused);
    });
    let refused = finding.recv_timeout(std::time::Duration::from_secs(60)).expect("an end of all searches");
    assert!(refused > 0, "no directory had such a block");
}

/// The negative control: whoever believes that every directory opens as it was is wrong.
#[test]
fn a_directory_that_is_believed_is_found() {
    let runtime = runtime();
    let small = small_directory();
    must_find("a directory that is believed", &mut |rng| {
        let image = spoiled(&small, rng);
        match inside(&runtime, look(&image, &small.held)) {
            Verdict::Same => Ok(Outcome::Taken),
            other => Err(format!("{other:?}")),
        }
    });
}
