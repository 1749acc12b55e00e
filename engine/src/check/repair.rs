//! Repairs what can be repaired without losing data: indexes, copies of the checkpoint, leftover files. Derives the checkpoint if
//! both copies are damaged or missing.
//!
//! Promises: a repair touches only files that a check named, and never a segment that belongs to the shard. Each file is replaced
//! as a whole, so that a repair may be interrupted and begun again.

use std::collections::{BTreeMap, HashSet};

use crate::catalog::Catalog;
use crate::data_dir::DataDir;
use crate::disk::{Disk, DynDisk};
use crate::error::OpenError;
use crate::ids::{Generation, Identity, ShardId};
use crate::log::checkpoint::Checkpoint;
use crate::log::{files, index};

use super::directory::check;
use super::report::{Repair, Report, Severity};
use super::view::View;
use super::{derive, segment};

/// Rounds of repair and check. A round may uncover something: a derived checkpoint may name segments whose indexes must be
/// written.
const ROUNDS: usize = 3;

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// What was done, in order.
    pub done: Vec<String>,
    /// What could not be done, and why.
    pub refused: Vec<String>,
    /// The report of the check after the repair.
    pub after: Report,
}

/// Repairs what `before`, the report of a check of the same directory, names.
///
/// # Errors
/// [`OpenError`] if the disk failed. Repairs that were done before stay done.
pub async fn repair(
    disk: &impl Disk,
    before: &Report,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Repaired, OpenError> {
    repair_on(&DynDisk::new(disk.clone()), before, progress).await
}

async fn repair_on(
    disk: &DynDisk,
    before: &Report,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Repaired, OpenError> {
    let mut out = Repaired { done: Vec::new(), refused: Vec::new(), after: before.clone() };
    let mut tried: Vec<Repair> = Vec::new();
    for _ in 0..ROUNDS {
        let derived = tried.iter().any(|r| matches!(r, Repair::DeriveCheckpoint { .. }));
        // Files that a derived checkpoint does not name are kept until a person has looked at them.
        let wanted = |r: &Repair| !(tried.contains(r) || derived && matches!(r, Repair::Remove { .. }));
        let due: Vec<_> = out.after.findings.iter().filter_map(|f| f.repair.clone()).filter(wanted).collect();
        if due.is_empty() {
            break;
        }
        if out.after.findings.iter().any(|f| f.severity == Severity::Fault && f.file == "catalog") {
            let what =
                "nothing is repaired without the catalog, which tells what is needed: restore it first";
            out.refused.push(what.to_owned());
            break;
        }
        // Raises the format version before anything is written that an older program would misread.
        let dir = DataDir::open_or_format(disk, 0).await?;
        let catalog = Catalog::open(disk.clone(), dir.shards).await?;
        for repair in due {
            match apply(disk, &dir, &catalog, &repair).await? {
                Ok(what) => out.done.push(what),
                Err(what) => out.refused.push(what),
            }
            tried.push(repair);
        }
        out.after = check(disk, progress).await;
    }
    Ok(out)
}

async fn apply(
    disk: &DynDisk,
    dir: &DataDir,
    catalog: &Catalog,
    repair: &Repair,
) -> Result<Result<String, String>, OpenError> {
    let at = |shard: &u16| {
        let identity = Identity { directory: dir.id, shard: ShardId(*shard) };
        (identity, catalog.logs_of(ShardId(*shard)))
    };
    match repair {
        Repair::Remove { path } => {
            disk.remove(path).await.map_err(OpenError::io(format!("removing {path}")))?;
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            disk.sync_dir(folder).await.map_err(OpenError::io(format!("flushing {folder}")))?;
            Ok(Ok(format!("removed {path}")))
        }
        Repair::HealCheckpoint { shard } => {
            let (identity, _) = at(shard);
            match load(disk, &identity).await? {
                Some(checkpoint) => store(disk, &identity, &checkpoint, "replaced it by its good copy").await,
                None => Ok(Err(format!("shard {shard}: neither copy of the checkpoint is whole"))),
            }
        }
        Repair::DeriveCheckpoint { shard } => {
            let (identity, live) = at(shard);
            match derive::derive(disk, &identity, &live).await {
                Ok(checkpoint) => {
                    let logs = checkpoint.logs.decode();
                    let logs: Vec<_> =
                        logs.iter().map(|l| format!("{}: {} to {}", l.log, l.start, l.next)).collect();
                    let what = format!(
                        "derived it from {} segments; logs and their offsets now: {}",
                        checkpoint.segments.len(),
                        logs.join(", ")
                    );
                    store(disk, &identity, &checkpoint, &what).await
                }
                Err(Ok(why)) => {
                    Ok(Err(format!("the checkpoint of shard {shard} cannot be derived without loss: {why}")))
                }
                Err(Err(error)) => Err(error),
            }
        }
        Repair::RewriteIndex { shard, generation } => {
            let (identity, live) = at(shard);
            rewrite_index(disk, &identity, &live, Generation(*generation)).await
        }
    }
}

async fn load(disk: &DynDisk, identity: &Identity) -> Result<Option<Checkpoint>, OpenError> {
    let dir = files::shard_dir(identity.shard);
    let io = OpenError::io(format!("reading {}", files::checkpoint(&dir)));
    Ok(Checkpoint::load(disk, &dir, identity.shard).await.map_err(io)?.flatten())
}

async fn store(
    disk: &DynDisk,
    identity: &Identity,
    checkpoint: &Checkpoint,
    what: &str,
) -> Result<Result<String, String>, OpenError> {
    let dir = files::shard_dir(identity.shard);
    let path = files::checkpoint(&dir);
    let io = OpenError::io(format!("writing {path}"));
    checkpoint.store(disk, &dir, identity.shard).await.map_err(io)?;
    Ok(Ok(format!("{path}: {what}")))
}

async fn rewrite_index(
    disk: &DynDisk,
    identity: &Identity,
    live: &HashSet<crate::LogId>,
    generation: Generation,
) -> Result<Result<String, String>, OpenError> {
    let dir = files::shard_dir(identity.shard);
    let path = files::index(&dir, generation);
    let Some(checkpoint) = load(disk, identity).await? else {
        return Ok(Err(format!("{path}: no checkpoint")));
    };
    let Some(sealed) = checkpoint.segments.iter().find(|s| s.generation == generation).copied() else {
        return Ok(Err(format!("{path}: the checkpoint no longer names its segment")));
    };
    let view = View::new(identity, Some(live), Vec::new(), checkpoint);
    let mut scanner = segment::scanner(disk, identity, generation).await?;
    let seen = segment::read_sealed(&mut scanner, &sealed, |e| view.is_dead(generation, e)).await?;
    if !seen.flaws.is_empty() {
        return Ok(Err(format!("{path}: its segment is damaged, too")));
    }
    let mut scan = seen.scan;
    let starts: BTreeMap<_, _> = view.logs.iter().map(|(log, view)| (*log, view.start)).collect();
    scan.forget(|log, end| {
        let start = starts.get(&log).copied().unwrap_or(0);
        end <= start || view.is_replaced(generation, log, end)
    });
    let logs: Vec<_> = scan.logs.into_iter().filter(|(log, _)| live.contains(log)).collect();
    let (content, _) = index::build(identity.shard, sealed, &logs);
    files::replace(disk, &dir, &path, content).await.map_err(OpenError::io(format!("writing {path}")))?;
    Ok(Ok(format!("{path}: derived from its segment")))
}
