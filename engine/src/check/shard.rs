//! Checks one shard: the checkpoint, the segments that it names, later commits, the offsets of the logs, and leftover files.

use std::collections::{BTreeSet, HashSet};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::ids::{Generation, Identity, LogId};
use crate::log::checkpoint::Checkpoint;
use crate::log::files;

use super::checker::Checker;
use super::report::Repair;
use super::view::View;
use super::{offsets, sealed, unsealed};

/// Checks a shard. `true`: the shard holds, or held, records.
pub(super) async fn check_shard(
    c: &mut Checker<'_>,
    identity: &Identity,
    live: Option<&HashSet<LogId>>,
) -> Result<bool, OpenError> {
    let dir = files::shard_dir(identity.shard);
    let names = match c.disk.list(&dir).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(OpenError::io(format!("listing {dir}")))?,
    };
    let mut generations: Vec<_> = names.iter().filter_map(|n| files::generation_of(n)).collect();
    generations.sort();
    let path = files::checkpoint(&dir);
    let stored =
        Checkpoint::load_bytes(c.disk, &dir).await.map_err(OpenError::io(format!("reading {path}")))?;
    let Some(checkpoint) = check_checkpoint(c, identity, &path, stored.as_deref(), &generations, live) else {
        return Ok(!generations.is_empty());
    };
    let mut view = View::new(identity, live, generations, checkpoint);
    unsealed::check(c, &mut view).await?;
    for sealed in view.checkpoint.segments.clone() {
        sealed::check(c, &mut view, &sealed).await?;
    }
    if !view.partial {
        offsets::check(c, &view);
    }
    leftovers(c, &view, &names);
    Ok(view.logs.values().any(|log| log.next > 0))
}

fn check_checkpoint(
    c: &mut Checker<'_>,
    identity: &Identity,
    path: &str,
    bytes: Option<&[u8]>,
    generations: &[Generation],
    live: Option<&HashSet<LogId>>,
) -> Option<Checkpoint> {
    let shard = identity.shard.0;
    let derive = |what: &str, c: &mut Checker<'_>| {
        c.fault(path, 0, what)
            .means("which segments belong to the shard is unknown: they were not checked, and a start is refused")
            .advice(
                "restore the file from a copy of the same moment, or --repair to derive it from the segments: \
                 deleted records may come back, and a batch that is sent again may be stored twice",
            )
            .repair(Repair::DeriveCheckpoint { shard })
            .done();
    };
    let Some(bytes) = bytes else {
        if !generations.is_empty() {
            derive("it is missing, but there are segments", c);
        } else if live.is_some_and(|live| !live.is_empty()) {
            c.fault(
                path,
                0,
                "it is missing, and so are all segments, but the catalog names logs of this shard",
            )
            .means("a start would take these logs for empty; what they held is lost")
            .advice("do not start on this directory: restore the folder from a copy first")
            .done();
        }
        return None;
    };
    let half = (bytes.len() / 2) as u64;
    let (position, good) = match Checkpoint::decode_copies(identity.shard, bytes) {
        [Some(first), Some(second)] if first == second => return Some(first),
        [Some(first), _] => (half, first),
        [None, Some(second)] => (0, second),
        [None, None] => {
            derive("both copies in it are damaged", c);
            return None;
        }
    };
    c.fault(path, position, "one of the two copies in it is damaged")
        .means("nothing is lost: the other copy says the same")
        .advice("--repair, before the other one is damaged as well")
        .repair(Repair::HealCheckpoint { shard })
        .done();
    Some(good)
}

/// Lists files that nothing needs.
fn leftovers(c: &mut Checker<'_>, view: &View<'_>, names: &[String]) {
    let named: BTreeSet<_> = view.checkpoint.segments.iter().map(|s| s.generation).collect();
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    for name in names {
        let path = format!("{}/{name}", view.dir);
        if name.ends_with(".new") {
            c.leftover(path, "a file that was being replaced when the process ended");
            continue;
        }
        let index = generation_of_index(name);
        let Some(generation) = index.or_else(|| files::generation_of(name)) else { continue };
        let old = generation.is_sorted() || generation.0 <= view.checkpoint.through;
        if !old || named.contains(&generation) {
            continue;
        }
        c.leftover(
            path,
            if index.is_some() { "the index of no segment" } else { "a segment that was freed" },
        );
    }
}

/// The index that belongs to a name `*.idx`.
fn generation_of_index(name: &str) -> Option<Generation> {
    let stem = name.strip_suffix(".idx")?;
    let name = if stem.ends_with(".sorted") { stem.to_owned() } else { format!("{stem}.log") };
    crate::log::files::generation_of(&name)
}
