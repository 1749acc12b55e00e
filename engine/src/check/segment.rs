//! Reads one segment to the end, past damaged parts.

use std::collections::BTreeMap;

use crate::aligned::BLOCK;
use crate::disk::{Disk, DynDisk};
use crate::error::OpenError;
use crate::ids::{Generation, Identity, LogId, Offset};
use crate::log::files;
use crate::log::format::{CommitError, CommitHeader, ENTRY_BYTES, Entry, check_commit_but, directory_start};
use crate::log::scan::{Scan, Scanner};
use crate::log::sealed::Sealed;

/// Most damaged batches of one commit that are listed one by one.
const LISTED_MAX: usize = 64;

/// Damage in a segment.
#[derive(Debug)]
pub(super) struct Flaw {
    /// Byte position at which the damage begins.
    pub from: u64,
    /// Byte position at which the next whole commit begins, or the damaged batch ends.
    pub to: u64,
    /// What is wrong.
    pub what: String,
    /// The only damaged batch; `None`: more may be damaged.
    pub batch: Option<(LogId, Offset, Offset)>,
}

/// A sealed segment as it was read.
pub(super) struct Seen {
    /// The whole commits, including those in which only single batches are damaged.
    pub scan: Scan,
    /// The damaged parts.
    pub flaws: Vec<Flaw>,
    /// Whole commits.
    pub commits: u64,
}

/// Damaged batches, each with a description of the damage.
type BadBatches = Vec<(Entry, String)>;
type Commit = (CommitHeader, Vec<Entry>, BadBatches);

/// Opens a segment.
pub(super) async fn scanner(
    disk: &DynDisk,
    identity: &Identity,
    generation: Generation,
) -> Result<Scanner, OpenError> {
    let path = files::segment(&files::shard_dir(identity.shard), generation);
    let file = disk.open(&path).await.map_err(OpenError::io(format!("opening {path}")))?;
    Scanner::new(file, path, identity, generation).await
}

/// Checks a commit, and continues behind damaged batches.
pub(super) fn examine(
    header: &CommitHeader,
    bytes: &[u8],
    dead: impl Fn(&Entry) -> bool,
) -> Result<(Vec<Entry>, BadBatches), String> {
    let mut bad = BadBatches::new();
    loop {
        let passed = |e: &Entry| dead(e) || bad.iter().any(|(b, _)| b == e);
        match check_commit_but(header, bytes, passed) {
            Ok(entries) => return Ok((entries, bad)),
            Err(error @ (CommitError::Batch { index, .. } | CommitError::Mismatch(index))) => {
                let at = directory_start(header.payload_len as usize) + index * ENTRY_BYTES;
                match bytes.get(at..).and_then(Entry::decode) {
                    Some(entry) if bad.len() < LISTED_MAX && bad.iter().all(|(b, _)| *b != entry) => {
                        bad.push((entry, error.to_string()));
                    }
                    _ => return Err(error.to_string()),
                }
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Reads a segment whose sequences and end are known.
pub(super) async fn read_sealed(
    scanner: &mut Scanner,
    sealed: &Sealed,
    dead: impl Fn(&Entry) -> bool,
) -> Result<Seen, OpenError> {
    let begin = Sealed { data_end: BLOCK as u64, next_seq: sealed.first_seq, ..*sealed };
    let scan = Scan { sealed: begin, logs: BTreeMap::new() };
    let mut seen = Seen { scan, flaws: Vec::new(), commits: 0 };
    while seen.scan.sealed.next_seq < sealed.next_seq {
        let (position, seq) = (seen.scan.sealed.data_end, seen.scan.sealed.next_seq);
        let what = match read_commit(scanner, position, seq, &dead).await? {
            Ok((header, entries, bad)) => {
                seen.scan.add(&header, &entries);
                seen.commits += 1;
                seen.flaws.extend(bad.into_iter().map(|(entry, what)| {
                    let from = position + u64::from(entry.at);
                    let batch = Some((entry.log, entry.base_offset, entry.end()));
                    Flaw { from, to: from + u64::from(entry.len), what, batch }
                }));
                continue;
            }
            Err(what) => what.unwrap_or_else(|| format!("commit {seq} does not begin here")),
        };
        let rest = seq + 1..sealed.next_seq;
        let next = scanner.find_commit(position + BLOCK as u64, |h| rest.contains(&h.seq)).await?;
        let end = (sealed.next_seq, sealed.data_end);
        let (next_seq, to) = match next {
            Some(at) => (scanner.head(at).await?.map_or(end.0, |h| h.seq), at),
            None => end,
        };
        (seen.scan.sealed.next_seq, seen.scan.sealed.data_end) = (next_seq, to);
        seen.flaws.push(Flaw { from: position, to, what, batch: None });
    }
    let end = seen.scan.sealed.data_end;
    if seen.flaws.is_empty() && end != sealed.data_end {
        let what = format!("its commits end here, the checkpoint says at {}", sealed.data_end);
        seen.flaws.push(Flaw { from: end, to: sealed.data_end.max(end), what, batch: None });
    }
    Ok(seen)
}

/// The commit `seq` at `position`, and its damaged batches. `Err`: what is wrong with the commit; `Err(None)`: no commit
/// begins there.
pub(super) async fn read_commit(
    scanner: &mut Scanner,
    position: u64,
    seq: u64,
    dead: impl Fn(&Entry) -> bool,
) -> Result<Result<Commit, Option<String>>, OpenError> {
    let Some(header) = scanner.head(position).await?.filter(|h| h.seq == seq) else { return Ok(Err(None)) };
    let Some(bytes) = scanner.bytes(position, header.total_len()).await? else {
        return Ok(Err(Some(format!("commit {seq} is cut off by the end of the file"))));
    };
    Ok(match examine(&header, &bytes, &dead) {
        Ok((mut entries, bad)) => {
            scanner.true_times(&bytes, &mut entries, |e| dead(e) || bad.iter().any(|(b, _)| b == e));
            Ok((header, entries, bad))
        }
        Err(what) => Err(Some(what)),
    })
}
