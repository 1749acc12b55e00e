//! The simulator's own promises.

use std::cell::{Cell, RefCell};
use std::future::Future;

use bytes::Bytes;

use super::*;
use keylane_engine::disk::{DiskFile, read_exact_at, write_all_at};

const STYLES: [CrashStyle; 3] = [CrashStyle::AllDropped, CrashStyle::AllKept, CrashStyle::Mixed];

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(future))
}

fn block(byte: u8) -> Bytes {
    Bytes::from(vec![byte; BLOCK])
}

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, SimOptions::default())
}

/// A file of `blocks` blocks of zeros whose name and length are durable.
async fn durable_file(disk: &SimDisk, path: &str, blocks: u64) -> SimFile {
    let file = disk.create(path, blocks * BLOCK as u64).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_dir(names::parent(path)).await.unwrap();
    file
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("an error").kind()
}

/// Polls a future once: submits its operation.
async fn submit(future: std::pin::Pin<&mut impl Future>) {
    let mut future = Some(future);
    poll_fn(|context| {
        let polled = future.take().expect("polled once").poll(context);
        assert!(polled.is_pending(), "an operation completed at its submission");
        Poll::Ready(())
    })
    .await;
}

#[test]
fn a_synced_write_survives_every_crash() {
    run(async {
        for seed in 0..50 {
            let disk = disk(seed);
            let file = durable_file(&disk, "f", 4).await;
            write_all_at(&file, block(1), BLOCK as u64).await.unwrap();
            file.sync().await.unwrap();
            write_all_at(&file, block(2), 3 * BLOCK as u64).await.unwrap();
            for style in STYLES {
                let image = disk.crash_image(seed, style).content("f").unwrap();
                assert_eq!(image.len(), 4 * BLOCK);
                assert!(image[..BLOCK].iter().all(|&b| b == 0));
                assert_eq!(&image[BLOCK..2 * BLOCK], &block(1)[..]);
                assert!(image[2 * BLOCK..3 * BLOCK].iter().all(|&b| b == 0));
            }
        }
    });
}

#[test]
fn an_unsynced_write_is_lost_kept_or_torn_by_sectors() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 2).await;
        write_all_at(&file, [block(1), block(1)].concat().into(), 0).await.unwrap();
        let sectors = |image: Vec<u8>| -> Vec<Option<u8>> {
            let uniform = |sector: &[u8]| sector.iter().all(|&b| b == sector[0]).then_some(sector[0]);
            image.chunks(SECTOR).map(uniform).collect()
        };
        let dropped = disk.crash_image(0, CrashStyle::AllDropped).content("f").unwrap();
        assert!(sectors(dropped).iter().all(|s| *s == Some(0)));
        let kept = disk.crash_image(0, CrashStyle::AllKept).content("f").unwrap();
        assert!(sectors(kept).iter().all(|s| *s == Some(1)));
        let (mut lost, mut whole, mut torn, mut garbled) = (0, 0, 0, 0);
        for seed in 0..400 {
            let image = sectors(disk.crash_image(seed, CrashStyle::Mixed).content("f").unwrap());
            garbled += u32::from(image.iter().any(Option::is_none));
            match image.iter().filter(|s| **s == Some(1)).count() {
                0 => lost += 1,
                16 => whole += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 20 && whole > 20 && torn > 100 && garbled > 20, "{lost} {whole} {torn} {garbled}");
    });
}

#[test]
fn an_older_unsynced_write_can_win_over_a_newer_one() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 1).await;
        write_all_at(&file, block(1), 0).await.unwrap();
        write_all_at(&file, block(2), 0).await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let image = disk.crash_image(seed, CrashStyle::Mixed).content("f").unwrap();
            seen.extend((0..3).filter(|&byte| image == block(byte)));
        }
        assert_eq!(seen.into_iter().collect::<Vec<u8>>(), [0, 1, 2]);
        assert_eq!(disk.crash_image(0, CrashStyle::AllKept).content("f").unwrap(), block(2));
    });
}

#[test]
fn a_sync_covers_only_what_completed_before_it_began() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 2).await;
        write_all_at(&file, block(1), 0).await.unwrap();
        disk.add_rule(Rule::once(Op::Sync, Fault::Delay(40)));
        disk.add_rule(Rule::once(Op::Write, Fault::Delay(10)));
        let mut sync = Box::pin(file.sync());
        submit(sync.as_mut()).await;
        write_all_at(&file, block(2), BLOCK as u64).await.unwrap();
        sync.await.unwrap();
        let image = disk.crash_image(0, CrashStyle::AllDropped).content("f").unwrap();
        assert_eq!(image, [block(1), block(0)].concat());
        file.sync().await.unwrap();
        let image = disk.crash_image(0, CrashStyle::AllDropped).content("f").unwrap();
        assert_eq!(image, [block(1), block(2)].concat());
    });
}

#[test]
fn a_write_in_flight_is_unseen_and_uncovered_but_may_be_on_the_medium() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 1).await;
        disk.add_rule(Rule::once(Op::Write, Fault::Delay(1000)));
        let mut write = Box::pin(file.write_at(block(1), 0));
        submit(write.as_mut()).await;
        file.sync().await.unwrap();
        assert_eq!(read_exact_at(&file, 0, BLOCK).await.unwrap(), block(0));
        assert_eq!(disk.crash_image(0, CrashStyle::AllDropped).content("f").unwrap(), block(0));
        assert_eq!(disk.crash_image(0, CrashStyle::AllKept).content("f").unwrap(), block(1));
        assert_eq!(write.await.unwrap(), BLOCK);
        assert_eq!(read_exact_at(&file, 0, BLOCK).await.unwrap(), block(1));
    });
}

#[test]
fn concurrent_writes_complete_in_a_seeded_order() {
    let order = |seed| {
        run(async {
            let disk = disk(seed);
            let file = durable_file(&disk, "f", 8).await;
            let done = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..8u8)
                .map(|i| {
                    let (file, done) = (file.clone(), Rc::clone(&done));
                    tokio::task::spawn_local(async move {
                        write_all_at(&file, block(i), u64::from(i) * BLOCK as u64).await.unwrap();
                        done.borrow_mut().push(i);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            done.take()
        })
    };
    assert_eq!(order(3), order(3));
    assert!((0..10).any(|seed| order(seed) != order(seed + 1)));
    assert!((0..10).any(|seed| !order(seed).is_sorted()));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        run(async {
            let disk = SimDisk::new(seed, SimOptions { short_write_1_in: 3, ..SimOptions::default() });
            let steps = Rc::new(RefCell::new(String::new()));
            let log = Rc::clone(&steps);
            disk.on_step(Some(Rc::new(move |step, disk: &SimDisk| {
                let image = disk.crash_image(step.number, CrashStyle::Mixed);
                let sum = |path: &String| image.content(path).unwrap().iter().map(|&b| u64::from(b)).sum();
                let sums: Vec<u64> = image.paths().iter().map(sum).collect();
                log.borrow_mut().push_str(&format!("{step:?} {sums:?}\n"));
            })));
            let file = disk.create("f", 8 * BLOCK as u64).await.unwrap();
            write_all_at(&file, vec![1; 6 * BLOCK].into(), 0).await.unwrap();
            file.sync().await.unwrap();
            disk.sync_dir("").await.unwrap();
            steps.take()
        })
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn ignored_syncs_lose_data() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 1).await;
        disk.set_options(|options| options.ignore_syncs = true);
        write_all_at(&file, block(1), 0).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(disk.crash_image(0, CrashStyle::AllDropped).content("f").unwrap(), block(0));
    });
}

#[test]
fn names_are_durable_only_after_a_sync_of_their_directory() {
    run(async {
        let disk = disk(1);
        disk.create_dir("d").await.unwrap();
        disk.sync_dir("").await.unwrap();
        durable_file(&disk, "d/a", 1).await;
        let image = |style| disk.crash_image(0, style).paths();
        disk.create("d/b", 0).await.unwrap();
        disk.rename("d/a", "d/c").await.unwrap();
        assert_eq!(image(CrashStyle::AllDropped), ["d/a"]);
        assert_eq!(image(CrashStyle::AllKept), ["d/b", "d/c"]);
        let mixed = |seed| disk.crash_image(seed, CrashStyle::Mixed).paths();
        for wanted in [vec!["d/a"], vec!["d/c"], vec!["d/a", "d/b"], vec!["d/b", "d/c"]] {
            assert!((0..200).any(|seed| mixed(seed) == wanted), "{wanted:?} never seen");
        }
        disk.sync_dir("d").await.unwrap();
        assert_eq!(image(CrashStyle::AllDropped), ["d/b", "d/c"]);
        disk.remove("d/b").await.unwrap();
        assert_eq!(image(CrashStyle::AllDropped), ["d/b", "d/c"]);
        disk.sync_dir("d").await.unwrap();
        assert_eq!(image(CrashStyle::AllDropped), ["d/c"]);
        let mut names = disk.list("d").await.unwrap();
        names.sort();
        assert_eq!(names, ["c"]);
    });
}

#[test]
fn a_lost_directory_takes_its_files_along() {
    run(async {
        let disk = disk(1);
        disk.create_dir("a/b").await.unwrap();
        durable_file(&disk, "a/b/f", 1).await;
        disk.sync_dir("a").await.unwrap();
        assert!(disk.crash_image(0, CrashStyle::AllDropped).paths().is_empty());
        disk.sync_dir(".").await.unwrap();
        assert_eq!(disk.crash_image(0, CrashStyle::AllDropped).paths(), ["a/b/f"]);
        assert_eq!(kind(disk.create("x/f", 0).await), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.list("x").await), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_rename_that_replaces_a_file_is_atomic() {
    run(async {
        let disk = disk(1);
        for (path, byte) in [("old", 1), ("new", 2)] {
            let file = durable_file(&disk, path, 1).await;
            write_all_at(&file, block(byte), 0).await.unwrap();
            file.sync().await.unwrap();
        }
        disk.rename("new", "old").await.unwrap();
        for seed in 0..50 {
            let image = disk.crash_image(seed, CrashStyle::Mixed);
            let expected = if image.paths().len() == 2 { block(1) } else { block(2) };
            assert_eq!(image.content("old").unwrap(), expected);
        }
    });
}

#[test]
fn the_length_of_a_new_file_is_durable_only_after_a_sync_of_the_file() {
    run(async {
        let disk = disk(1);
        let file = disk.create("f", 8 * BLOCK as u64).await.unwrap();
        disk.sync_dir("").await.unwrap();
        let len = |style| disk.crash_image(0, style).content("f").unwrap().len();
        assert_eq!(len(CrashStyle::AllDropped), 0);
        file.sync().await.unwrap();
        assert_eq!(len(CrashStyle::AllDropped), 8 * BLOCK);
        file.set_len(BLOCK as u64).await.unwrap();
        assert_eq!(file.size().await.unwrap(), BLOCK as u64);
        assert_eq!(len(CrashStyle::AllDropped), 8 * BLOCK);
        file.sync().await.unwrap();
        assert_eq!(len(CrashStyle::AllDropped), BLOCK);
    });
}

#[test]
fn short_transfers_are_continued() {
    run(async {
        let options = SimOptions { short_write_1_in: 2, short_read_1_in: 2, ..SimOptions::default() };
        let disk = SimDisk::new(7, options);
        let file = durable_file(&disk, "f", 16).await;
        for round in 0..50u8 {
            let bytes: Vec<u8> = (0..16 * BLOCK).map(|i| (i / BLOCK) as u8 ^ round).collect();
            write_all_at(&file, bytes.clone().into(), 0).await.unwrap();
            assert_eq!(read_exact_at(&file, 0, 16 * BLOCK).await.unwrap(), bytes);
        }
        disk.add_rule(Rule::once(Op::Write, Fault::Short(BLOCK + SECTOR)));
        let written = file.write_at(vec![0xaa; 2 * BLOCK].into(), 0).await.unwrap();
        assert_eq!(written, BLOCK + SECTOR);
        let content = disk.content("f").unwrap();
        assert!(content[..written].iter().all(|&b| b == 0xaa) && content[written] != 0xaa);
        disk.add_rule(Rule::once(Op::Write, Fault::Short(SECTOR)));
        assert_eq!(kind(write_all_at(&file, block(1), 0).await), io::ErrorKind::WriteZero);
    });
}

#[test]
fn a_failed_write_leaves_old_new_or_garbage() {
    run(async {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let disk = disk(seed);
            let file = durable_file(&disk, "f", 1).await;
            disk.add_rule(Rule::once(Op::Write, Fault::Error).on("f"));
            let error = file.write_at(block(1), 0).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            let content = disk.content("f").unwrap();
            seen.insert((content.contains(&0), content.contains(&1)));
            file.write_at(block(2), 0).await.unwrap();
            assert_eq!(disk.content("f").unwrap(), block(2));
        }
        assert!([(true, false), (false, true), (true, true)].iter().all(|state| seen.contains(state)));
    });
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_saves_nothing() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 2).await;
        write_all_at(&file, block(1), 0).await.unwrap();
        disk.add_rule(Rule::once(Op::Sync, Fault::ErrorLost));
        assert_eq!(file.sync().await.unwrap_err().raw_os_error(), Some(libc::EIO));
        write_all_at(&file, block(2), BLOCK as u64).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(disk.unsynced(), 0);
        assert_eq!(read_exact_at(&file, 0, BLOCK).await.unwrap(), block(1));
        for style in STYLES {
            let image = disk.crash_image(0, style).content("f").unwrap();
            assert_eq!(image, [block(0), block(2)].concat());
        }
    });
}

#[test]
fn after_a_failed_sync_of_a_directory_the_next_one_saves_nothing() {
    run(async {
        let disk = disk(1);
        disk.create("a", 0).await.unwrap();
        disk.add_rule(Rule::once(Op::SyncDir, Fault::Error));
        assert!(disk.sync_dir("").await.is_err());
        disk.create("b", 0).await.unwrap();
        disk.sync_dir("").await.unwrap();
        assert_eq!(disk.crash_image(0, CrashStyle::AllDropped).paths(), ["b"]);
        // A later change of the same name settles what became of the earlier one.
        disk.rename("a", "c").await.unwrap();
        disk.sync_dir("").await.unwrap();
        assert_eq!(disk.crash_image(0, CrashStyle::AllDropped).paths(), ["b", "c"]);
    });
}

#[test]
fn a_full_disk_leaves_no_file_and_takes_one_when_there_is_room_again() {
    run(async {
        let disk = disk(1);
        disk.set_capacity(Some(4 * BLOCK as u64));
        let file = durable_file(&disk, "a", 3).await;
        assert_eq!(kind(disk.create("b", 2 * BLOCK as u64).await), io::ErrorKind::StorageFull);
        assert_eq!(disk.list("").await.unwrap(), ["a"]);
        assert_eq!(kind(file.set_len(5 * BLOCK as u64).await), io::ErrorKind::StorageFull);
        assert_eq!(kind(file.write_at(block(1), 4 * BLOCK as u64).await), io::ErrorKind::StorageFull);
        assert_eq!(file.write_at(block(1), 2 * BLOCK as u64).await.unwrap(), BLOCK);
        disk.set_capacity(Some(5 * BLOCK as u64));
        disk.create("b", 2 * BLOCK as u64).await.unwrap();
        assert_eq!(disk.used_bytes(), 5 * BLOCK as u64);
        disk.remove("a").await.unwrap();
        assert_eq!(disk.used_bytes(), 2 * BLOCK as u64);
    });
}

#[test]
fn silent_faults_strike_as_told() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 2).await;
        let other = durable_file(&disk, "g", 2).await;
        disk.add_rule(Rule::once(Op::Write, Fault::Misdirected("g".into(), BLOCK as u64)));
        write_all_at(&file, block(1), 0).await.unwrap();
        assert_eq!(disk.content("f").unwrap(), [block(0), block(0)].concat());
        assert_eq!(disk.content("g").unwrap(), [block(0), block(1)].concat());
        other.sync().await.unwrap();
        disk.add_rule(Rule::once(Op::Write, Fault::Zeroed).after(1));
        write_all_at(&file, block(2), 0).await.unwrap();
        write_all_at(&file, block(3), BLOCK as u64).await.unwrap();
        assert_eq!(disk.content("f").unwrap(), [block(2), block(0)].concat());
        disk.fail_step(disk.steps(), Fault::Lost);
        write_all_at(&file, block(3), BLOCK as u64).await.unwrap();
        assert_eq!(disk.content("f").unwrap(), [block(2), block(0)].concat());
        disk.add_rule(Rule::once(Op::Write, Fault::FlipBit));
        write_all_at(&file, block(4), 0).await.unwrap();
        let flipped = disk.content("f").unwrap();
        let bits: u32 = flipped[..BLOCK].iter().map(|b| (b ^ 4).count_ones()).sum();
        assert_eq!(bits, 1);
        file.sync().await.unwrap();
        disk.flip_bit("g", BLOCK as u64 + 7, 3).unwrap();
        let image = disk.crash_image(0, CrashStyle::Mixed);
        assert_eq!(image.content("g").unwrap()[BLOCK + 7], 1 ^ 8);
        image.swap_blocks(("g", 0), ("g", BLOCK as u64)).unwrap();
        assert_eq!(image.content("g").unwrap()[7], 1 ^ 8);
        image.zero_block("g", 5).unwrap();
        assert_eq!(image.content("g").unwrap(), [block(0), block(0)].concat());
    });
}

#[test]
fn an_image_is_independent_of_its_origin() {
    run(async {
        let disk = disk(1);
        let file = durable_file(&disk, "f", 1).await;
        let image = disk.crash_image(0, CrashStyle::Mixed);
        write_all_at(&file, block(1), 0).await.unwrap();
        let copy = image.open("f").await.unwrap();
        write_all_at(&copy, block(2), 0).await.unwrap();
        assert_eq!(disk.content("f").unwrap(), block(1));
        assert_eq!(image.content("f").unwrap(), block(2));
    });
}

#[test]
fn the_observer_sees_both_ends_of_each_step() {
    run(async {
        let disk = disk(1);
        let (begun, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let counts = (Rc::clone(&begun), Rc::clone(&ended));
        disk.on_step(Some(Rc::new(move |step, _: &SimDisk| match step.phase {
            Phase::Submitted => counts.0.set(counts.0.get() + 1),
            Phase::Completed => counts.1.set(counts.1.get() + 1),
        })));
        durable_file(&disk, "f", 1).await;
        assert_eq!((begun.get(), ended.get(), disk.steps()), (3, 3, 3));
    });
}

#[test]
fn an_image_costs_microseconds() {
    run(async {
        let disk = disk(1);
        for i in 0..16 {
            let file = durable_file(&disk, &format!("segment-{i}"), 64).await;
            write_all_at(&file, vec![7; 64 * BLOCK].into(), 0).await.unwrap();
            if i > 2 {
                file.sync().await.unwrap();
            }
        }
        let start = std::time::Instant::now();
        let images: Vec<_> = (0..1000).map(|seed| disk.crash_image(seed, CrashStyle::Mixed)).collect();
        let each = start.elapsed() / 1000;
        assert!(each < std::time::Duration::from_millis(5), "{each:?} for one image");
        assert!(images.iter().all(|image| image.paths().len() == 16));
    });
}
