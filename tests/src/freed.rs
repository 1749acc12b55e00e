//! A reader whose segment is freed, and filled with other batches, while its read is under way.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use keylane_engine::aligned::BLOCK;
use keylane_engine::disk::{Disk, DiskFile, DynDisk, read_exact_at, write_all_at};
use keylane_engine::record_batch::build;
use keylane_engine::shard::{CommitState, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ShardId};
use keylane_sim_disk::{Fault, Op, Rule, SimDisk, SimOptions};

const PARTITIONS: u32 = 2;
const BATCHES: u64 = 400;
const WANTED: u64 = 20;
/// Turns that the read takes: until long after its segment was freed.
const TURNS: u32 = 3_000_000;

fn batch(what: u8, offset: u64) -> Vec<u8> {
    let mut batch = build(&[(b"key", &[what; 3_000])], 1);
    batch[..8].copy_from_slice(&offset.to_be_bytes());
    batch
}

/// Reads a batch while its segment is regrouped, freed, and used again for a batch that differs only in
/// what it says. Returns what is wrong with what the reader gets.
pub fn read_while_freed() -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(tokio::task::LocalSet::new().run_until(run()))
}

async fn run() -> Vec<String> {
    let disk = SimDisk::new(1, SimOptions { latency_turns: (0, 2), ..SimOptions::default() });
    disk.create_dir("").await.expect("a directory");
    let options = ShardOptions {
        segment_bytes: 1 << 20,
        tail_cache_bytes: 64 << 10,
        zero_fill: false,
        ..ShardOptions::default()
    };
    let live: HashSet<_> = (0..PARTITIONS).map(LogId).collect();
    let shard =
        Shard::open(DynDisk::new(disk.clone()), [1; 16], ShardId(0), &live, options).await.expect("opens");
    let parts: Vec<_> = (0..PARTITIONS).map(|log| shard.attach(LogId(log))).collect();
    // The reader is there before the first segment is sealed, and so before it can be regrouped.
    disk.add_rule(Rule::once(Op::Read, Fault::Delay(TURNS)).on("1.log"));
    let mut reader = None;
    for n in 0..BATCHES {
        let at = parts[(n % u64::from(PARTITIONS)) as usize];
        let last = loop {
            match shard.check_and_append(at, &batch(b'a', 0)) {
                Ok(done) => break done.seq,
                Err(AppendError::Busy) => shard.space().await,
                Err(e) => return vec![format!("append: {e}")],
            }
        };
        if shard.committed(last).await != CommitState::Durable {
            return vec!["a commit failed".to_owned()];
        }
        if n == BATCHES / 4 {
            let (shard, at) = (shard.clone(), parts[0]);
            reader = Some(tokio::task::spawn_local(async move { shard.read(at, WANTED, 1).await }));
        }
    }
    let Some(reader) = reader else { return vec!["no reader".to_owned()] };
    let freed = || shard.counters().freed.load(Ordering::Relaxed) > 0;
    while !freed() && !reader.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    if reader.is_finished() {
        return vec!["the read ended before its segment was freed".to_owned()];
    }
    if let Err(e) = use_again(&DynDisk::new(disk.clone())).await {
        return vec![e];
    }
    match reader.await {
        Ok(Ok(found)) => {
            let bytes = found.slices.concat();
            let good = bytes.ends_with(&[b'a'; 100]) || bytes[..bytes.len() - 8].ends_with(&[b'a'; 100]);
            if good { Vec::new() } else { vec!["a read was served from a freed segment".to_owned()] }
        }
        other => vec![format!("the read failed: {other:?}")],
    }
}

/// Writes another batch over the one that the reader wants.
async fn use_again(disk: &DynDisk) -> Result<(), String> {
    let text = |e: std::io::Error| format!("using the segment again: {e}");
    let names = disk.list("shard-00000").await.map_err(text)?;
    let name = names.iter().find(|name| name.ends_with("1.log"));
    let name = name.ok_or_else(|| format!("the freed segment was not kept: {names:?}"))?;
    let file = disk.open(&format!("shard-00000/{name}")).await.map_err(text)?;
    let len = file.size().await.map_err(text)? as usize / BLOCK * BLOCK;
    let mut bytes = read_exact_at(&file, 0, len).await.map_err(text)?.to_vec();
    let (old, new) = (batch(b'a', WANTED), batch(b'b', WANTED));
    let at = bytes.windows(old.len()).position(|part| part == old).ok_or("the batch is not there")?;
    bytes[at..at + new.len()].copy_from_slice(&new);
    write_all_at(&file, bytes.into(), 0).await.map_err(text)
}
