//! The offline check: finds nothing in sound directories, however they were left, and changes nothing in
//! them; names every kind of damage by file and position; agrees with the engine about flipped bits; repairs
//! what it says it can, and the engine finds the same records afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keylane_engine::LogId;
use keylane_engine::check::{Repair, Repaired, Report, Severity, check, repair};
use keylane_engine::disk::Disk;
use keylane_sim_disk::{CrashStyle, SimDisk, SimOptions};
use keylane_tests::e2e::batch::single;
use keylane_tests::e2e::client::Client;
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::scratch;
use keylane_tests::fixture::unpack;
use keylane_tests::held::{Author, Held, Verdict, inside, look, runtime};
use keylane_tests::small::{Small, small_directory};

const BLOCK: u64 = 4096;

fn contents(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.content(&path).expect("listed"))).collect()
}

/// Checks; not a byte may change.
fn checked(disk: &SimDisk) -> Report {
    let before = contents(disk);
    let report = inside(&runtime(), check(disk, &mut |_, _| {}));
    assert!(before == contents(disk), "the check changed something");
    report
}

fn repaired(disk: &SimDisk) -> Repaired {
    let before = checked(disk);
    inside(&runtime(), repair(disk, &before, &mut |_, _| {})).expect("a disk without faults")
}

fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash_image(0, CrashStyle::AllDropped)
}

fn faults(report: &Report) -> Vec<(String, u64, String)> {
    let faults = report.findings.iter().filter(|f| f.severity != Severity::Harmless);
    faults.map(|f| (f.file.clone(), f.position, f.what.clone())).collect()
}

async fn sorted_within(disk: &SimDisk, seconds: u64) {
    for _ in 0..seconds * 100 {
        if disk.paths().iter().any(|p| p.ends_with(".sorted.idx")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no segment was regrouped within {seconds} s: {:?}", disk.paths());
}

/// Two shards, several segments, some of them sorted; closed.
fn sorted_directory() -> (SimDisk, Held) {
    let disk = SimDisk::new(1, SimOptions::immediate());
    let held = inside(&runtime(), async {
        let mut author = Author::open(&disk, 2, Held::default(), 1).await?;
        author.create("orders", 3).await?;
        author.create("events", 3).await?;
        for round in 0..120 {
            author.append(&[round % 6, (round + 1) % 6, (round * 5 + 2) % 6]).await?;
        }
        sorted_within(&disk, 20).await;
        author.close().await
    })
    .expect("a disk without faults takes it");
    (disk, held)
}

/// Records deleted from the front, a topic deleted, and killed in the middle of it all.
fn deleted_directory() -> (SimDisk, Held) {
    let disk = SimDisk::new(2, SimOptions::immediate());
    let held = inside(&runtime(), async {
        let mut author = Author::open(&disk, 1, Held::default(), 2).await?;
        author.create("orders", 2).await?;
        author.create("gone", 2).await?;
        for round in 0..150u32 {
            author.append(&[round % 4, (round / 2) % 4]).await?;
            if round == 100 {
                author.engine.catalog.delete("gone").await.map_err(|e| e.to_string())?;
                for log in [2, 3] {
                    author.engine.shards[0].detach(LogId(log));
                    author.held.logs.remove(&log);
                }
                author.held.topics.remove("gone");
                break;
            }
        }
        for log in [0, 1] {
            let stamps = author.held.logs.get_mut(&log).expect("a log");
            stamps.drain(..stamps.len() / 2);
            let (shard, at) = author.engine.find(LogId(log)).expect("a log");
            let seq = shard.trim(at, stamps[0].offset).map_err(|e| e.to_string())?;
            shard.committed(seq).await;
        }
        for round in 0..40 {
            author.append(&[round % 2]).await?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, String>(author.held.clone())
    })
    .expect("a disk without faults takes it");
    (disk.crash_image(0, CrashStyle::AllKept), held)
}

/// Compacted logs beside others in the same segments.
fn compacted_directory() -> (SimDisk, Held) {
    let disk = SimDisk::new(3, SimOptions::immediate());
    let held = inside(&runtime(), async {
        let mut author = Author::open(&disk, 1, Held::default(), 3).await?;
        author.create("latest", 2).await?;
        author.create("events", 2).await?;
        for round in 0..2 {
            for n in 0..100 {
                author.append(&[n % 4, round]).await?;
            }
            author.compact(&[0, 1]).await?;
        }
        author.append(&[0, 2]).await?;
        author.close().await
    })
    .expect("a disk without faults takes it");
    (disk, held)
}

#[test]
fn compacted_logs_are_sound_and_their_gaps_are_counted() {
    let (disk, held) = compacted_directory();
    let report = checked(&disk);
    assert_eq!(faults(&report), []);
    assert!(report.gaps > 2, "{}", report.gaps);
    assert_eq!(inside(&runtime(), look(&copy(&disk), &held)), Verdict::Same);
    // An index is derived without what was replaced.
    for path in disk.paths().into_iter().filter(|p| p.ends_with(".idx")) {
        let image = copy(&disk);
        inside(&runtime(), image.remove(&path)).expect("listed");
        assert_eq!(repaired(&image).refused, Vec::<String>::new(), "{path}");
        assert_eq!(faults(&checked(&image)), [], "{path}");
        assert_eq!(inside(&runtime(), look(&image, &held)), Verdict::Same, "{path}");
    }
    // Without the checkpoint, the segments tell which of them compaction wrote.
    let image = copy(&disk);
    inside(&runtime(), image.remove("shard-00000/checkpoint")).expect("listed");
    repaired(&image);
    assert_eq!(faults(&checked(&image)), []);
    assert_eq!(inside(&runtime(), look(&image, &held)), Verdict::Same, "with a derived checkpoint");
}

/// A golden fixture.
fn fixture(name: &str) -> SimDisk {
    inside(&runtime(), unpack(name))
}

#[test]
fn sound_directories_are_sound_however_they_were_left() {
    let (sorted, held) = sorted_directory();
    let (deleted, rest) = deleted_directory();
    let Small { disk: killed, held: all, .. } = small_directory();
    for (name, disk, held) in [
        ("sorted", &sorted, Some(&held)),
        ("deleted", &deleted, Some(&rest)),
        ("killed", &killed, Some(&all)),
        ("v1-clean", &fixture("v1-clean"), None),
        ("v1-killed", &fixture("v1-killed"), None),
        ("v2-clean", &fixture("v2-clean"), None),
        ("v2-killed", &fixture("v2-killed"), None),
        ("v3-compacted", &fixture("v3-compacted"), None),
        ("empty", &SimDisk::new(1, SimOptions::immediate()), None),
    ] {
        let report = checked(disk);
        if name == "empty" {
            assert!(!report.is_sound(), "a folder that is no data directory");
            continue;
        }
        assert_eq!(faults(&report), [], "{name}");
        assert!(report.commits > 10 && report.batches >= report.commits && report.topics > 0, "{name}");
        if let Some(held) = held {
            assert_eq!(inside(&runtime(), look(&copy(disk), held)), Verdict::Same, "{name}");
            let batches: usize = held.logs.values().map(Vec::len).sum();
            assert!(report.batches >= batches as u64, "{name}: {batches}");
        }
    }
}

/// Whatever power loss leaves is no fault.
#[test]
fn images_of_crashes_are_sound() {
    let styles = [CrashStyle::AllKept, CrashStyle::AllDropped, CrashStyle::Mixed];
    let mut torn = 0;
    for seed in 0..4 {
        let disk = SimDisk::new(seed, SimOptions::default());
        let mut images = Vec::new();
        inside(&runtime(), async {
            let mut author = Author::open(&disk, 1, Held::default(), seed).await.expect("opens");
            author.create("t", 4).await.expect("created");
            for round in 0..120u32 {
                let (shard, at) = author.engine.find(LogId(round % 4)).expect("a log");
                let batch = keylane_engine::record_batch::build(&[(b"k", &[7; 5000])], 1);
                shard.check_and_append(at, &batch).expect("a little at a time");
                for _ in 0..round % 12 {
                    tokio::task::yield_now().await;
                }
                for (i, style) in styles.into_iter().enumerate() {
                    images.push(disk.crash_image(seed * 1000 + u64::from(round) * 3 + i as u64, style));
                }
                author.append(&[(round + 1) % 4, (round + 2) % 4]).await.unwrap_or_default();
            }
        });
        for (number, image) in images.iter().enumerate() {
            let report = checked(image);
            assert_eq!(faults(&report), [], "seed {seed}, image {number}");
            torn += report.findings.iter().filter(|f| f.means.starts_with("a torn tail")).count();
        }
    }
    // How many of them have a torn tail is a matter of luck; the damaged ones of the other tests have.
    println!("{torn} torn tails");
}

/// Positions of the commits in a segment.
fn commits(disk: &SimDisk, path: &str) -> Vec<u64> {
    let content = disk.content(path).expect("a segment");
    let blocks = content.chunks(BLOCK as usize).enumerate();
    blocks.filter(|(_, b)| b.starts_with(b"KLcommit")).map(|(i, _)| i as u64 * BLOCK).collect()
}

#[test]
fn every_kind_of_damage_is_named_with_file_and_position() {
    let Small { disk, held, tail, .. } = small_directory();
    let sealed: Vec<_> =
        disk.paths().into_iter().filter(|p| p.ends_with(".idx")).map(|p| p.replace(".idx", ".log")).collect();
    let log = sealed[0].replace(".sorted.log", ".sorted");
    let idx = if log.ends_with(".sorted") { format!("{log}.idx") } else { log.replace(".log", ".idx") };
    let (at, tail_at) = (commits(&disk, &log), commits(&disk, &tail));
    let checkpoint = "shard-00000/checkpoint";
    let half = disk.content(checkpoint).expect("it").len() as u64 / 2;
    type Harm<'a> = Box<dyn Fn(&SimDisk) + 'a>;
    let flip = |path: &str, pos: u64| -> Harm<'_> {
        let path = path.to_owned();
        Box::new(move |d: &SimDisk| d.flip_bit(&path, pos, 3).expect("a file"))
    };
    let zero = |path: &str, pos: u64| -> Harm<'_> {
        let path = path.to_owned();
        Box::new(move |d: &SimDisk| d.zero_block(&path, pos).expect("a file"))
    };
    let remove = |path: &str| -> Harm<'_> {
        let path = path.to_owned();
        Box::new(move |d: &SimDisk| inside(&runtime(), d.remove(&path)).expect("a file"))
    };
    let swap = |path: &str, one: u64, other: u64| -> Harm<'_> {
        let path = path.to_owned();
        Box::new(move |d: &SimDisk| d.swap_blocks((&path, one), (&path, other)).expect("a file"))
    };
    // What is done; the file and position that are named; a word; whether records are lost, and repairable.
    let cases: Vec<(&str, Harm<'_>, &str, u64, &str, bool, bool)> = vec![
        ("a batch", flip(&log, at[1] + 64 + 70), &log, at[1] + 64, "batch 0", true, false),
        ("a commit header", flip(&log, at[1] + 20), &log, at[1], "does not begin here", false, false),
        ("a zeroed commit", zero(&log, at[1]), &log, at[1], "does not begin here", true, false),
        (
            "a zeroed last commit",
            zero(&log, at[at.len() - 1]),
            &log,
            at[at.len() - 1],
            "does not begin",
            true,
            false,
        ),
        ("a segment header", flip(&log, 9), &log, 0, "segment header", false, false),
        ("a missing segment", remove(&log), &log, 0, "missing", true, false),
        ("an index header", flip(&idx, 30), &idx, 0, "checksum", false, true),
        ("an index table", flip(&idx, BLOCK + 30), &idx, BLOCK, "checksum", false, true),
        ("index entries", flip(&idx, 2 * BLOCK + 30), &idx, 2 * BLOCK, "checksum", false, true),
        ("a missing index", remove(&idx), &idx, 0, "missing", false, true),
        ("the first copy", flip(checkpoint, 70), checkpoint, 0, "one of the two copies", false, true),
        ("the second copy", zero(checkpoint, half), checkpoint, half, "one of the two copies", false, true),
        ("no checkpoint", remove(checkpoint), checkpoint, 0, "missing", false, true),
        ("the unsealed tail", flip(&tail, tail_at[1] + 64 + 70), &tail, tail_at[1], "durable", true, false),
        ("zeros in the tail", zero(&tail, tail_at[1]), &tail, tail_at[1], "durable", false, false),
        (
            "exchanged commits",
            swap(&tail, tail_at[0], tail_at[1]),
            &tail,
            tail_at[0],
            "durable",
            false,
            false,
        ),
        ("the tail's header", zero(&tail, 0), &tail, 0, "no segment header", false, false),
        ("the catalog", flip("catalog", 30), "catalog", 0, "checksum", false, false),
        ("no catalog", remove("catalog"), "catalog", 0, "missing", false, false),
        ("keylane.format", flip("keylane.format", 17), "keylane.format", 0, "checksum", false, false),
        ("no keylane.format", remove("keylane.format"), "keylane.format", 0, "missing", false, false),
    ];
    for (name, harm, file, position, word, lost, repairable) in cases {
        let image = copy(&disk);
        harm(&image);
        let report = checked(&image);
        let found: Vec<_> = report.findings.iter().filter(|f| f.severity == Severity::Fault).collect();
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
        let fault = found[0];
        assert_eq!((fault.file.as_str(), fault.position), (file, position), "{name}: {fault:#?}");
        assert!(fault.what.contains(word), "{name}: {fault:#?}");
        assert_eq!(!fault.lost.is_empty(), lost, "{name}: {fault:#?}");
        assert_eq!(fault.repair.is_some(), repairable, "{name}: {fault:#?}");
        assert!(!fault.means.is_empty() && !fault.advice.is_empty(), "{name}: {fault:#?}");
        if !repairable {
            // Nothing is touched that cannot be repaired without loss.
            let before = contents(&image);
            let done = checked(&image);
            let done = inside(&runtime(), repair(&image, &done, &mut |_, _| {})).expect("nothing to do");
            assert!(done.done.is_empty() && before == contents(&image), "{name}: {:?}", done.done);
            continue;
        }
        let done = repaired(&image);
        assert_eq!(faults(&done.after), [], "{name}");
        assert!(done.refused.is_empty() && !done.done.is_empty(), "{name}: {:?}", done.refused);
        assert_eq!(inside(&runtime(), look(&image, &held)), Verdict::Same, "{name}");
    }
}

/// What the engine refuses or cannot read is a fault.
fn agree(report: &Report, verdict: &Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Same => Ok(()),
        // The last commit of a directory that was not closed looks like one that was being written.
        Verdict::Shorter(_) => Ok(()),
        Verdict::Refused(_) if !report.is_sound() => Ok(()),
        other => Err(format!("{other:?}, but the check found {:?}", faults(report))),
    }
}

#[test]
fn the_check_agrees_with_the_engine_about_flipped_bits() {
    let Small { disk, held, .. } = small_directory();
    let (mut refused, mut found) = (0, 0);
    for path in disk.paths() {
        let len = disk.content(&path).expect("listed").len() as u64;
        for at in (0..len).filter(|at| at % 13 == 5 || at % BLOCK < 64) {
            let image = copy(&disk);
            image.flip_bit(&path, at, (at % 8) as u8).expect("a file");
            let report = checked(&image);
            let verdict = inside(&runtime(), look(&image, &held));
            agree(&report, &verdict).unwrap_or_else(|what| panic!("byte {at} of {path}: {what}"));
            refused += u32::from(matches!(verdict, Verdict::Refused(_)));
            found += u32::from(!report.is_sound());
        }
    }
    assert!(refused > 100 && found >= refused, "{refused} refused, {found} found");
}

/// Negative control: a check that finds nothing is caught.
#[test]
fn a_check_that_finds_nothing_is_caught() {
    let Small { disk, held, .. } = small_directory();
    let blind = checked(&disk);
    assert!(blind.is_sound());
    let log = disk.paths().into_iter().find(|p| p.ends_with(".log")).expect("a segment");
    let image = copy(&disk);
    image.flip_bit(&log, commits(&disk, &log)[0] + 64 + 70, 1).expect("a file");
    let verdict = inside(&runtime(), look(&image, &held));
    agree(&blind, &verdict).expect_err("the engine found damage, this report has none");
    agree(&checked(&image), &verdict).expect("the check found it, too");
}

/// A checkpoint of which nothing is left is derived, with sorted segments in the place of those they were
/// made from.
#[test]
fn a_checkpoint_is_derived_from_the_segments() {
    let (disk, held) = sorted_directory();
    assert!(disk.paths().iter().any(|p| p.ends_with(".sorted")));
    for shard in 0..2 {
        let checkpoint = format!("shard-{shard:05}/checkpoint");
        disk.overwrite(&checkpoint, 0, &[0; 100]).expect("a file");
        let half = disk.content(&checkpoint).expect("a file").len() as u64 / 2;
        disk.overwrite(&checkpoint, half, &[0; 100]).expect("a file");
    }
    assert_eq!(checked(&disk).count(Severity::Fault), 2);
    let done = repaired(&disk);
    assert_eq!((faults(&done.after), done.refused), (Vec::new(), Vec::new()));
    assert_eq!(inside(&runtime(), look(&disk, &held)), Verdict::Same);
    // And it goes on.
    let more = inside(&runtime(), async {
        let mut author = Author::open(&disk, 2, held, 7).await?;
        for round in 0..20 {
            author.append(&[round % 6]).await?;
        }
        author.close().await
    });
    assert_eq!(inside(&runtime(), look(&disk, &more.expect("appends"))), Verdict::Same);
    assert_eq!(faults(&checked(&disk)), []);
}

/// A checkpoint is not derived where that would lose acknowledged records.
#[test]
fn a_checkpoint_is_not_derived_over_damaged_segments() {
    let Small { disk, tail, .. } = small_directory();
    disk.flip_bit(&tail, commits(&disk, &tail)[1] + 64 + 70, 3).expect("a file");
    inside(&runtime(), disk.remove("shard-00000/checkpoint")).expect("a file");
    let before = contents(&disk);
    let done = repaired(&disk);
    assert!(done.done.is_empty() && done.refused.len() == 1, "{done:?}");
    assert!(done.refused[0].contains("cannot be derived without loss"), "{done:?}");
    assert!(before == contents(&disk));
}

/// Without the catalog, every record would pass for one of a deleted topic.
#[test]
fn nothing_is_repaired_without_the_catalog() {
    for checkpoint_too in [false, true] {
        let Small { disk, .. } = small_directory();
        let index = disk.paths().into_iter().find(|p| p.ends_with(".idx")).expect("an index");
        inside(&runtime(), async {
            disk.remove("catalog").await.expect("a file");
            disk.remove(&index).await.expect("a file");
            if checkpoint_too {
                disk.remove("shard-00000/checkpoint").await.expect("a file");
            }
        });
        let before = contents(&disk);
        let done = repaired(&disk);
        assert!(done.done.is_empty() && done.refused.len() == 1, "{done:?}");
        assert!(before == contents(&disk));
    }
}

#[test]
fn leftovers_are_listed_and_removed_on_request_only() {
    let Small { disk, held, .. } = small_directory();
    let left = ["catalog.new", "shard-00000/checkpoint.new", "shard-00000/0000000000000099.sorted"];
    inside(&runtime(), async {
        for path in left {
            disk.create(path, BLOCK).await.expect("a file");
        }
    });
    let report = checked(&disk);
    assert!(report.is_sound());
    let remove = |path: &str| Some(Repair::Remove { path: path.to_owned() });
    for path in left {
        assert!(report.findings.iter().any(|f| f.file == path && f.repair == remove(path)), "{report:#?}");
    }
    let done = repaired(&disk);
    assert!(done.after.findings.is_empty(), "{:#?}", done.after.findings);
    assert!(left.iter().all(|path| !disk.paths().iter().any(|p| p == path)));
    assert_eq!(inside(&runtime(), look(&disk, &held)), Verdict::Same);
}

/// Exit code, stdout and stderr of `keylane check`.
fn command(data: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(binary().expect("the binary")).arg("check").arg(data).args(args).output();
    let output = output.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_says_what_it_found_and_ends_with_a_code() {
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "check-").unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let (code, _, said) = command(&data, &[]);
    assert!(code == Some(2) && said.contains("name an existing data directory"), "{said}");
    assert!(!data.exists(), "a check creates nothing");
    let server = Server::start(&binary().unwrap(), &data, &["--cores", "0"], &log).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(client.create_topic("orders", 1).unwrap(), 0);
    for _ in 0..5 {
        client.append("orders", 0, single("value")).unwrap();
    }
    let (code, _, said) = command(&data, &[]);
    assert!(code == Some(2) && said.contains("in use by another process"), "{said}");
    server.kill().unwrap();
    let (code, out, _) = command(&data, &[]);
    assert!(code == Some(0) && out.contains("verdict: sound") && out.contains("5 batches"), "{out}");
    let server = Server::start(&binary().unwrap(), &data, &["--cores", "0"], &log).unwrap();
    server.stop().unwrap();
    let index = data.join("shard-00000/0000000000000001.idx");
    let mut bytes = std::fs::read(&index).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&index, bytes).unwrap();
    let (code, out, _) = command(&data, &[]);
    assert!(code == Some(1) && out.contains("0000000000000001.idx at byte 0"), "{out}");
    let (code, out, _) = command(&data, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["sound"], &json["repaired"]), (Some(1), &false.into(), &serde_json::Value::Null));
    assert_eq!(json["report"]["findings"][0]["position"], 0);
    let (code, out, _) = command(&data, &["--repair"]);
    assert!(code == Some(0) && out.contains("derived from its segment"), "{out}");
    assert_eq!(command(&data, &[]).0, Some(0));
}
