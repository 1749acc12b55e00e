//! Small data directories that have every kind of file, damage of every kind to them, and what may come
//! of it: an error that names the place, or exactly the same records; never fewer, never others.
//!
//! One exception, counted apart: the very last commit of a directory that was neither closed nor idle before it
//! was left may be cut. A damaged last commit looks like one that was being written when power failed.

use std::collections::BTreeMap;
use std::time::Duration;

use keylane_engine::disk::Disk;
use keylane_sim_disk::{CrashStyle, SimDisk, SimOptions};

use crate::held::{Author, Held, Verdict, inside, look, runtime};

const BLOCK: u64 = 4096;
/// After this time the engine has proven the last commit.
const IDLE: Duration = Duration::from_millis(300);

/// A directory that was not closed, and what was acknowledged of it.
pub struct Small {
    /// Its disk.
    pub disk: SimDisk,
    /// Every batch in it.
    pub held: Held,
    /// The unsealed segment with the last commit.
    pub tail: String,
    /// Whether the last commit is proven: an empty one follows it.
    pub proven: bool,
    /// Batches of the logs that end earlier without the last commit.
    pub without_last: BTreeMap<u32, usize>,
}

/// What came of damage.
#[derive(Debug, Default)]
pub struct Tally {
    /// The same records.
    pub same: usize,
    /// An error.
    pub refused: usize,
    /// The very last commit was cut.
    pub cut: usize,
    /// What must not be, with the place.
    pub findings: Vec<String>,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Tally) {
        self.same += other.same;
        self.refused += other.refused;
        self.cut += other.cut;
        self.findings.extend(other.findings);
    }

    fn judge(&mut self, verdict: Verdict, small: &Small, path: &str, place: impl FnOnce() -> String) {
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::Refused(errors) if errors.iter().all(|e| names_a_place(e)) => self.refused += 1,
            Verdict::Shorter(batches)
                if !small.proven && path == small.tail && batches == small.without_last =>
            {
                self.cut += 1;
            }
            other => self.findings.push(format!("{}: {other:?}", place())),
        }
    }
}

fn names_a_place(error: &str) -> bool {
    let file = ["keylane.format", "catalog", "checkpoint", ".log", ".idx", "segment "];
    error.contains("damaged at") && file.iter().any(|name| error.contains(name))
}

/// One shard, two topics, three partitions; two sealed segments and an unsealed one of several commits, left right
/// after the last commit.
pub fn small_directory() -> Small {
    directory(false)
}

/// The same, left when it was idle: the last commit is proven, and sealed segments are regrouped.
pub fn idle_directory() -> Small {
    directory(true)
}

fn directory(proven: bool) -> Small {
    let disk = SimDisk::new(1, SimOptions::immediate());
    let (image, held) = inside(&runtime(), async {
        let mut held = Held::default();
        for session in 0..2 {
            let mut author = Author::open(&disk, 1, held, session).await?;
            if session == 0 {
                author.create("orders", 2).await?;
                author.create("events", 1).await?;
            }
            for round in 0..3 {
                author.append(&[0, 1, 2, round]).await?;
            }
            held = author.close().await?;
        }
        let mut author = Author::open(&disk, 1, held, 2).await?;
        for logs in [&[0, 1][..], &[2], &[1, 1, 0], &[2, 0], &[1]] {
            author.append(logs).await?;
        }
        if proven {
            tokio::time::sleep(IDLE).await;
        }
        leave(&disk, author).await
    })
    .expect("a disk without faults takes it");
    let tail = tail_of(&image, "shard-00000/");
    let without_last = [(1, held.logs[&1].len() - 1)].into();
    Small { disk: image, held, tail, proven, without_last }
}

/// Two shards with two partitions each, and in both an unsealed segment only. Commits have one block and
/// one batch, and those at the same position of the two segments have the same sequence.
pub fn twin_directory() -> Small {
    let disk = SimDisk::new(1, SimOptions::immediate());
    let (image, held) = inside(&runtime(), async {
        let mut author = Author::open(&disk, 2, Held::default(), 1).await?;
        author.create("twins", 4).await?;
        for log in [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 2, 3, 2, 3] {
            author.append(&[log]).await?;
        }
        leave(&disk, author).await
    })
    .expect("a disk without faults takes it");
    let tail = tail_of(&image, "shard-00001/");
    let without_last = [(3, held.logs[&3].len() - 1)].into();
    Small { disk: image, held, tail, proven: false, without_last }
}

/// The disk as after kill -9, and what was acknowledged. Segments prepared for later are left out: with
/// nothing in them, they are only more bytes to try.
async fn leave(disk: &SimDisk, author: Author) -> Result<(SimDisk, Held), String> {
    let image = disk.crash_image(0, CrashStyle::AllKept);
    for path in image.paths() {
        if path.ends_with(".log") && commits(&image, &path).is_empty() {
            image.remove(&path).await.map_err(|e| e.to_string())?;
        }
    }
    Ok((image.crash_image(0, CrashStyle::AllKept), author.held.clone()))
}

fn tail_of(disk: &SimDisk, prefix: &str) -> String {
    let logs = disk.paths().into_iter().filter(|p| p.starts_with(prefix) && p.ends_with(".log"));
    logs.max().expect("a segment with commits")
}

/// Positions of the commits in a segment.
fn commits(disk: &SimDisk, path: &str) -> Vec<u64> {
    let content = disk.content(path).unwrap_or_default();
    let blocks = content.chunks(BLOCK as usize).enumerate();
    blocks.filter(|(_, block)| block.starts_with(b"KLcommit")).map(|(i, _)| i as u64 * BLOCK).collect()
}

/// Flips one bit in every byte whose number leaves `rest` when divided by `step`, of each file whose path
/// ends with `suffix`.
pub fn flip_bytes(small: &Small, suffix: &str, step: u64, rest: u64) -> Tally {
    let runtime = runtime();
    let mut tally = Tally::default();
    for path in small.disk.paths().into_iter().filter(|path| path.ends_with(suffix)) {
        let len = small.disk.content(&path).expect("listed").len() as u64;
        for at in (0..len).filter(|at| at % step == rest) {
            let image = small.disk.crash_image(0, CrashStyle::AllDropped);
            image.flip_bit(&path, at, (at / step % 8) as u8).expect("listed");
            let verdict = inside(&runtime, look(&image, &small.held));
            tally.judge(verdict, small, &path, || format!("byte {at} of {path}"));
        }
    }
    tally
}

/// Fills every block of every file with zeros, one at a time.
pub fn zero_blocks(small: &Small) -> Tally {
    let runtime = runtime();
    let mut tally = Tally::default();
    for path in small.disk.paths() {
        let len = small.disk.content(&path).expect("listed").len() as u64;
        for at in (0..len).step_by(BLOCK as usize) {
            let image = small.disk.crash_image(0, CrashStyle::AllDropped);
            image.zero_block(&path, at).expect("listed");
            let verdict = inside(&runtime, look(&image, &small.held));
            tally.judge(verdict, small, &path, || format!("zeros at {at} of {path}"));
        }
    }
    tally
}

/// Exchanges every two commits but the last of each segment, within a segment and between segments.
pub fn swap_commits(small: &Small) -> Tally {
    let runtime = runtime();
    let mut tally = Tally::default();
    let logs = small.disk.paths().into_iter().filter(|path| path.ends_with(".log"));
    let places: Vec<(String, u64)> = logs
        .flat_map(|path| {
            let mut found = commits(&small.disk, &path);
            found.pop();
            found.into_iter().map(move |at| (path.clone(), at))
        })
        .collect();
    for (i, (path, at)) in places.iter().enumerate() {
        for (other, other_at) in &places[i + 1..] {
            let image = small.disk.crash_image(0, CrashStyle::AllDropped);
            image.swap_blocks((path, *at), (other, *other_at)).expect("listed");
            let verdict = inside(&runtime, look(&image, &small.held));
            tally.judge(verdict, small, "", || format!("{path} {at} and {other} {other_at}"));
        }
    }
    tally
}
