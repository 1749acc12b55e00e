//! Data directories as they were written once, kept in `tests/fixtures`, still open and hold the same.
//!
//! For each `NAME.tar.gz` there is a `NAME.json` that lists what it holds, and damage to apply to a copy
//! with what must come of it: the same records, a refusal, or either. The generator at the end of this
//! file is run by hand, for each version of the format:
//!
//! ```text
//! cargo test --release -p keylane-tests --test storage golden:: -- --ignored
//! ```
//!
//! It writes fixtures of the version that the code writes, and leaves those of other versions alone.

use std::fs::{self, File};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use keylane_engine::disk::Disk;
use keylane_engine::log::format::FORMAT_VERSION;
use keylane_sim_disk::{CrashStyle, SimDisk, SimOptions};
use keylane_tests::fixture::unpack;
use keylane_tests::held::{Author, Held, Verdict, inside, look, runtime};
use serde::{Deserialize, Serialize};

const BLOCK: u64 = 4096;

/// What `NAME.json` says.
#[derive(Serialize, Deserialize)]
struct Fixture {
    /// Version of the format it was written in.
    version: u32,
    held: Held,
    corrupt: Vec<Corrupt>,
}

/// Damage to a copy, and what must come of it.
#[derive(Serialize, Deserialize)]
struct Corrupt {
    name: String,
    damage: Vec<Damage>,
    expect: Expect,
    /// Words that a refusal has.
    says: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Damage {
    FlipBit { file: String, at: u64, bit: u8 },
    ZeroBlock { file: String, at: u64 },
    SwapBlocks { file: String, at: u64, other: u64 },
    Remove { file: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Same,
    Refused,
    SameOrRefused,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

async fn apply(disk: &SimDisk, damage: &Damage) {
    match damage {
        Damage::FlipBit { file, at, bit } => disk.flip_bit(file, *at, *bit).expect("a file"),
        Damage::ZeroBlock { file, at } => disk.zero_block(file, *at).expect("a file"),
        Damage::SwapBlocks { file, at, other } => {
            disk.swap_blocks((file, *at), (file, *other)).expect("a file");
        }
        Damage::Remove { file } => disk.remove(file).await.expect("a file"),
    }
}

/// Whether the verdict is the one expected.
fn check(corrupt: &Corrupt, verdict: &Verdict) -> Result<(), String> {
    let fits = match verdict {
        Verdict::Same => corrupt.expect != Expect::Refused,
        Verdict::Refused(errors) => {
            let named = |word: &String| errors.iter().all(|error| error.contains(word));
            corrupt.expect != Expect::Same && corrupt.says.iter().all(named)
        }
        Verdict::Shorter(_) | Verdict::Other(_) => false,
    };
    let expected = (corrupt.expect, &corrupt.says);
    if fits { Ok(()) } else { Err(format!("{}: {verdict:?}, expected {expected:?}", corrupt.name)) }
}

fn fixtures() -> Vec<(String, Fixture)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder()).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "json") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("its text");
            found.push((name, serde_json::from_str(&text).expect("a list of what it holds")));
        }
    }
    found
}

#[test]
fn directories_of_each_version_hold_what_they_held_and_go_on() {
    let runtime = runtime();
    let fixtures = fixtures();
    let names = [
        "v1-clean",
        "v1-killed",
        "v2-clean",
        "v2-killed",
        "v3-clean",
        "v3-killed",
        "v3-compacted",
        "v4-clean",
        "v4-killed",
        "v4-compacted",
    ];
    for name in names {
        assert!(fixtures.iter().any(|(found, _)| found == name), "{name} is missing");
    }
    for (name, Fixture { held, version, .. }) in fixtures {
        assert!(version <= FORMAT_VERSION && held.logs.values().map(Vec::len).sum::<usize>() > 100);
        let disk = inside(&runtime, unpack(&name));
        assert_eq!(inside(&runtime, look(&disk, &held)), Verdict::Same, "{name}");
        let more = inside(&runtime, async {
            let mut author = Author::open(&disk, 1, held, 7).await?;
            let logs: Vec<u32> = author.held.logs.keys().copied().collect();
            for &log in &logs {
                author.repeat(log).await?;
            }
            for _ in 0..20 {
                author.append(&logs).await?;
            }
            author.close().await
        });
        let more = more.unwrap_or_else(|what| panic!("{name}: {what}"));
        let again = disk.crash_image(1, CrashStyle::AllDropped);
        assert_eq!(inside(&runtime, look(&again, &more)), Verdict::Same, "{name}, after more appends");
    }
}

#[test]
fn damaged_directories_are_refused_or_hold_the_same() {
    let runtime = runtime();
    let mut cases = 0;
    for (name, fixture) in fixtures() {
        let disk = inside(&runtime, unpack(&name));
        for corrupt in &fixture.corrupt {
            let copy = disk.crash_image(0, CrashStyle::AllDropped);
            let verdict = inside(&runtime, async {
                for damage in &corrupt.damage {
                    apply(&copy, damage).await;
                }
                look(&copy, &fixture.held).await
            });
            check(corrupt, &verdict).unwrap_or_else(|what| panic!("{name}, {what}"));
            cases += 1;
        }
    }
    assert!(cases >= 10, "{cases} cases");
}

/// Negative control: one other number in the list is found.
#[test]
fn a_directory_that_holds_something_else_is_found_out() {
    let runtime = runtime();
    let Some((name, fixture)) = fixtures().pop() else { panic!("no fixtures") };
    let disk = inside(&runtime, unpack(&name));
    for change in 0..3 {
        let mut held = fixture.held.clone();
        let stamps = held.logs.values_mut().nth(change).expect("several logs");
        match change {
            0 => stamps[3].crc ^= 1,
            1 => stamps.truncate(2),
            _ => held.topics.clear(),
        }
        let copy = disk.crash_image(0, CrashStyle::AllDropped);
        let verdict = inside(&runtime, look(&copy, &held));
        assert!(matches!(verdict, Verdict::Other(_)), "{verdict:?}");
    }
}

// --- The generator ---

fn segment(shard: u16, generation: u64) -> String {
    format!("shard-{shard:05}/{generation:016}.log")
}

/// Positions and sequences of the commits in a segment.
fn commits(disk: &SimDisk, path: &str) -> Vec<(u64, u64)> {
    let content = disk.content(path).expect("a segment");
    let blocks = content.chunks(BLOCK as usize).enumerate();
    let heads = blocks.filter(|(_, block)| block.starts_with(b"KLcommit"));
    heads.map(|(i, b)| (i as u64 * BLOCK, u64::from_le_bytes(b[32..40].try_into().expect("eight")))).collect()
}

/// Two shards, three topics, several sealed segments.
async fn write(disk: &SimDisk, rounds: u64) -> Author {
    let mut author = Author::open(disk, 2, Held::default(), 1).await.expect("an empty disk");
    for (topic, partitions) in [("orders", 3), ("events", 2), ("audit", 1)] {
        author.create(topic, partitions).await.expect("a topic");
    }
    for round in 0..rounds {
        let logs: Vec<u32> = (0..=round % 4).map(|i| ((round + i * 5) % 6) as u32).collect();
        author.append(&logs).await.expect("appended");
    }
    author
}

async fn save(name: &str, disk: &SimDisk, held: Held, corrupt: Vec<Corrupt>) {
    for corrupt in &corrupt {
        let copy = disk.crash_image(0, CrashStyle::AllDropped);
        for damage in &corrupt.damage {
            apply(&copy, damage).await;
        }
        let verdict = look(&copy, &held).await;
        println!("{name}, {}: {verdict:?}", corrupt.name);
        check(corrupt, &verdict).expect("the code that writes it does as expected");
    }
    let file = File::create(folder().join(format!("{name}.tar.gz"))).expect("the archive");
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    for path in disk.paths() {
        let content = disk.content(&path).expect("listed");
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, &path, &content[..]).expect("packed");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("packed");
    let fixture = Fixture { version: FORMAT_VERSION, held, corrupt };
    let text = serde_json::to_string(&fixture).expect("text");
    fs::write(folder().join(format!("{name}.json")), text).expect("the list");
}

fn corrupt(name: &str, damage: Damage, expect: Expect, says: &[&str]) -> Corrupt {
    let says = says.iter().map(|word| (*word).to_owned()).collect();
    Corrupt { name: name.to_owned(), damage: vec![damage], expect, says }
}

async fn clean() {
    let disk = SimDisk::new(1, SimOptions::immediate());
    let held = write(&disk, 120).await.close().await.expect("closes");
    let (file, next) = (segment(0, 1), segment(0, 2));
    let at = commits(&disk, &file);
    let (middle, later) = (at[at.len() / 2].0, at[at.len() / 2 + 1].0);
    let idx = file.replace(".log", ".idx");
    let checkpoint = "shard-00001/checkpoint".to_owned();
    let damaged = ["is damaged"];
    let cases = vec![
        corrupt(
            "a bit in a batch of a sealed segment",
            Damage::FlipBit { file: file.clone(), at: middle + 64 + 70, bit: 3 },
            Expect::Refused,
            &damaged,
        ),
        corrupt(
            "a bit in the header of an index",
            Damage::FlipBit { file: idx.clone(), at: 20, bit: 1 },
            Expect::Same,
            &[],
        ),
        corrupt(
            "a bit in the entries of an index",
            Damage::FlipBit { file: idx.clone(), at: 2 * BLOCK + 100, bit: 1 },
            Expect::SameOrRefused,
            &["segment 1 of shard 0", "damaged"],
        ),
        corrupt("a missing index", Damage::Remove { file: idx }, Expect::Same, &[]),
        corrupt(
            "a bit in a checkpoint",
            Damage::FlipBit { file: checkpoint.clone(), at: 60, bit: 6 },
            Expect::SameOrRefused,
            &["checkpoint", "damaged"],
        ),
        corrupt(
            "a missing checkpoint",
            Damage::Remove { file: checkpoint },
            Expect::SameOrRefused,
            &["checkpoint"],
        ),
        corrupt(
            "a zeroed block in a sealed segment",
            Damage::ZeroBlock { file: file.clone(), at: middle },
            Expect::Refused,
            &damaged,
        ),
        corrupt(
            "two exchanged commits in a sealed segment",
            Damage::SwapBlocks { file, at: middle, other: later },
            Expect::Refused,
            &damaged,
        ),
        corrupt(
            "a missing segment",
            Damage::Remove { file: next.clone() },
            Expect::Refused,
            &[&next, "missing"],
        ),
        corrupt(
            "a bit in the catalog",
            Damage::FlipBit { file: "catalog".to_owned(), at: 40, bit: 0 },
            Expect::Refused,
            &["catalog", "damaged"],
        ),
        corrupt(
            "a bit in keylane.format",
            Damage::FlipBit { file: "keylane.format".to_owned(), at: 12, bit: 0 },
            Expect::Refused,
            &["keylane.format", "damaged"],
        ),
    ];
    save(&format!("v{FORMAT_VERSION}-clean"), &disk, held, cases).await;
}

async fn killed() {
    let disk = SimDisk::new(2, SimOptions::immediate());
    let mut author = write(&disk, 100).await;
    let held = author.held.clone();
    // One more, of which a part gets lost.
    author.append(&[0]).await.expect("appended");
    let image = disk.crash_image(1, CrashStyle::AllDropped);
    let shard = author.engine.find(keylane_engine::LogId(0)).expect("a log").0.id().0;
    drop(author);
    let prefix = format!("shard-{shard:05}/");
    let logs = image.paths().into_iter().filter(|p| p.starts_with(&prefix) && p.ends_with(".log"));
    let last = logs.filter(|path| !commits(&image, path).is_empty()).max().expect("a segment");
    let at = commits(&image, &last);
    assert!(at.len() > 3, "a tail of several commits");
    image.overwrite(&last, at[at.len() - 1].0 + 128, &[0; 384]).expect("torn");
    let middle = at[at.len() - 3].0;
    let damaged = [last.as_str(), "damaged"];
    let cases = vec![
        corrupt(
            "a bit in the unsealed tail",
            Damage::FlipBit { file: last.clone(), at: middle + 64 + 70, bit: 3 },
            Expect::Refused,
            &damaged,
        ),
        corrupt(
            "a zeroed block in the unsealed tail",
            Damage::ZeroBlock { file: last.clone(), at: middle },
            Expect::Refused,
            &damaged,
        ),
        corrupt(
            "two exchanged commits in the unsealed tail",
            Damage::SwapBlocks { file: last.clone(), at: middle, other: at[at.len() - 2].0 },
            Expect::Refused,
            &damaged,
        ),
        corrupt(
            "the header of the unsealed segment",
            Damage::ZeroBlock { file: last.clone(), at: 0 },
            Expect::Refused,
            &damaged,
        ),
    ];
    save(&format!("v{FORMAT_VERSION}-killed"), &image, held, cases).await;
}

/// Two of the logs are compacted, one of them twice, and the others lie in the same segments.
async fn compacted() {
    let disk = SimDisk::new(3, SimOptions::immediate());
    let mut author = write(&disk, 100).await;
    author.compact(&[0, 3]).await.expect("compacted");
    for round in 0..60 {
        author.append(&[round % 6, 0]).await.expect("appended");
    }
    author.compact(&[0]).await.expect("compacted");
    author.append(&[0, 3, 1]).await.expect("appended");
    let held = author.close().await.expect("closes");
    // Its commits say `durable_below` 1.
    let by_compaction = |path: &String| {
        let content = disk.content(path).expect("listed");
        path.ends_with(".sorted") && content[BLOCK as usize + 40] == 1
    };
    let file = disk.paths().into_iter().find(by_compaction).expect("what compaction wrote");
    let prefix = file.split_inclusive('/').next().expect("a folder");
    let cases = vec![
        corrupt(
            "a missing index of a compacted segment",
            Damage::Remove { file: format!("{file}.idx") },
            Expect::Same,
            &[],
        ),
        corrupt(
            "a bit in a batch of a compacted segment",
            Damage::FlipBit { file: file.clone(), at: BLOCK + 64 + 70, bit: 3 },
            Expect::Refused,
            &["is damaged"],
        ),
        corrupt(
            "a missing compacted segment",
            Damage::Remove { file: file.clone() },
            Expect::Refused,
            &[&file, "missing"],
        ),
        corrupt(
            "a bit in one copy of the checkpoint",
            Damage::FlipBit { file: format!("{prefix}checkpoint"), at: 57, bit: 0 },
            Expect::Same,
            &[],
        ),
    ];
    save(&format!("v{FORMAT_VERSION}-compacted"), &disk, held, cases).await;
}

#[test]
#[ignore = "writes tests/fixtures"]
fn write_the_fixtures_of_this_version() {
    fs::create_dir_all(folder()).expect("a folder");
    let runtime = runtime();
    inside(&runtime, clean());
    inside(&runtime, killed());
    inside(&runtime, compacted());
}
