//! Shards are split and merged.
//!
//! A change goes like this, on the core that owns the catalog: the parents end, each on its own core, so that no writer appends to
//! them any more; what was appended before is made durable, which tells the offsets at which they end; the catalog gets
//! the children and these ends in one write; every core is told. A crash before that write leaves the parents open. Writers that met
//! an ended parent look for the children a moment later.

use std::collections::HashMap;
use std::rc::Rc;

use keylane_engine::Offset;
use keylane_engine::catalog::Revised;
use keylane_engine::shard::CommitState;

use crate::core::Core;
use crate::runtime::clock::now_ms;
use crate::runtime::mesh::call;
use crate::service::catalog::{OWNER, catalog, tell_all};
use crate::service::error::TopicError;
use crate::service::topics::{Route, TopicKey, check_changeable};

use super::change::StreamError;
use super::hash::{HashRange, even_ranges};
use super::stream::{Stream, StreamShard, of_topic};

/// Most shards of a stream, those that ended included: one catalog entry has to hold them.
const SHARDS_MAX: usize = 20_000;

/// Splits a shard in two; the second one begins with the hash `at`.
///
/// # Errors
/// [`StreamError`]: nothing is changed.
pub async fn split(core: &Rc<Core>, name: String, shard: usize, at: u128) -> Result<(), StreamError> {
    reshard(core, name, move |stream, now_s| {
        let range = open(stream, shard)?.range;
        if at <= range.first.saturating_add(1) || at >= range.last {
            return Err(StreamError::SplitAt(range));
        }
        split_at(stream, shard, at, now_s);
        Ok(())
    })
    .await
}

/// Merges two neighbours.
///
/// # Errors
/// [`StreamError`]: nothing is changed.
pub async fn merge(core: &Rc<Core>, name: String, shard: usize, other: usize) -> Result<(), StreamError> {
    reshard(core, name, move |stream, now_s| {
        let (a, b) = (open(stream, shard)?.range, open(stream, other)?.range);
        let adjacent = a.last.checked_add(1) == Some(b.first) || b.last.checked_add(1) == Some(a.first);
        if !adjacent || shard == other {
            return Err(StreamError::NotAdjacent(shard, other));
        }
        merge_two(stream, shard, other, now_s);
        Ok(())
    })
    .await
}

/// Splits and merges until the open shards are `count` of the same size. Returns how many there were.
///
/// # Errors
/// [`StreamError`]: nothing is changed.
pub async fn set_count(core: &Rc<Core>, name: String, count: usize) -> Result<usize, StreamError> {
    reshard(core, name, move |stream, now_s| {
        let before = stream.open_count();
        even_out(stream, count, now_s);
        Ok(before)
    })
    .await
}

fn open(stream: &Stream, shard: usize) -> Result<&StreamShard, StreamError> {
    let found = stream.shards.get(shard).ok_or(StreamError::NoShard(shard))?;
    if found.is_open() { Ok(found) } else { Err(StreamError::Ended(shard)) }
}

/// The end of a shard whose last offset is not known yet, or that never had a record.
const UNKNOWN: (Offset, i64) = (0, 0);

fn split_at(stream: &mut Stream, shard: usize, at: u128, now_s: u64) -> (usize, usize) {
    let StreamShard { range, created_s, .. } = stream.shards[shard];
    let first = HashRange { first: range.first, last: at - 1 };
    let second = HashRange { first: at, last: range.last };
    let number = stream.shards.len();
    for range in [first, second] {
        let created_s = now_s.max(created_s + 1);
        stream.shards.push(StreamShard { range, created_s, parents: vec![shard as u32], ended: None });
    }
    stream.shards[shard].ended = Some(UNKNOWN);
    (number, number + 1)
}

fn merge_two(stream: &mut Stream, shard: usize, other: usize, now_s: u64) -> usize {
    let (a, b) = (&stream.shards[shard], &stream.shards[other]);
    let range = HashRange { first: a.range.first.min(b.range.first), last: a.range.last.max(b.range.last) };
    let created_s = now_s.max(a.created_s.max(b.created_s) + 1);
    let parents = vec![shard as u32, other as u32];
    stream.shards.push(StreamShard { range, created_s, parents, ended: None });
    stream.shards[shard].ended = Some(UNKNOWN);
    stream.shards[other].ended = Some(UNKNOWN);
    stream.shards.len() - 1
}

/// Splits open shards where the wanted ranges begin, then merges the pieces of each wanted range, two at a time, as every
/// shard has at most two parents. What is only a step on this way ends without a record.
fn even_out(stream: &mut Stream, count: usize, now_s: u64) {
    let wanted = even_ranges(count);
    let mut pieces: Vec<(u128, usize)> = Vec::new();
    let open: Vec<usize> = stream.open().map(|(number, _)| number).collect();
    for shard in open {
        let range = stream.shards[shard].range;
        let cuts: Vec<u128> = wanted
            .iter()
            .map(|w| w.first)
            .filter(|first| *first > range.first && range.contains(*first))
            .collect();
        split_along(stream, shard, &cuts, now_s, &mut pieces);
    }
    pieces.sort_unstable();
    for range in wanted {
        let mut level: Vec<usize> =
            pieces.iter().filter(|(first, _)| range.contains(*first)).map(|(_, shard)| *shard).collect();
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| if let [a, b] = *pair { merge_two(stream, a, b, now_s) } else { pair[0] })
                .collect();
        }
    }
}

/// Splits a shard at each of these hashes, the middle one first; adds the pieces.
fn split_along(
    stream: &mut Stream,
    shard: usize,
    cuts: &[u128],
    now_s: u64,
    pieces: &mut Vec<(u128, usize)>,
) {
    let middle = cuts.len() / 2;
    let Some(at) = cuts.get(middle) else {
        pieces.push((stream.shards[shard].range.first, shard));
        return;
    };
    let (left, right) = split_at(stream, shard, *at, now_s);
    split_along(stream, left, &cuts[..middle], now_s, pieces);
    split_along(stream, right, &cuts[middle + 1..], now_s, pieces);
}

/// Makes the change that `plan` makes of the list of shards. See the module's header.
async fn reshard<T: Send + 'static>(
    core: &Rc<Core>,
    name: String,
    plan: impl FnOnce(&mut Stream, u64) -> Result<T, StreamError> + Send + 'static,
) -> Result<T, StreamError> {
    check_changeable(&name)?;
    let done = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        let topic = Rc::new(std::sync::Arc::clone(catalog.topic(&name).ok_or(StreamError::Unknown)?));
        let before = of_topic(&topic);
        if before.deleting_ms.is_some() {
            return Err(StreamError::Deleting);
        }
        if before.on_demand {
            return Err(StreamError::OnDemand);
        }
        let mut stream = before.clone();
        let now_s = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let out = plan(&mut stream, now_s)?;
        if stream.shards.len() > SHARDS_MAX {
            return Err(StreamError::TooMany);
        }
        if stream == before {
            return Ok(out);
        }
        let ending: Vec<usize> = (0..before.shards.len())
            .filter(|n| before.shards[*n].is_open() && !stream.shards[*n].is_open())
            .collect();
        let ends = end_all(&core, &name, &ending).await;
        let stored = match &ends {
            Ok(ends) => {
                set_ends(&mut stream, ends);
                let configs = topic.configs.clone();
                let partitions = stream.shards.len();
                let revised = Revised { partitions, configs, attached: Some(stream.to_text()) };
                catalog.revise(&name, revised).await.map_err(StreamError::from)
            }
            Err(_) => Err(StreamError::Storage),
        };
        match stored {
            Ok(topic) => tell_all(&core, &topic).await,
            Err(error) => {
                set_ended(&core, &name, &ending, false).await;
                return Err(error);
            }
        }
        Ok(out)
    });
    done.await.ok_or(StreamError::Topic(TopicError::Stopping))?
}

/// States where shards ended; one that was only a step on the way ended where it began.
fn set_ends(stream: &mut Stream, ends: &HashMap<usize, Offset>) {
    let now = now_ms();
    for (number, shard) in stream.shards.iter_mut().enumerate() {
        if shard.ended == Some(UNKNOWN) {
            shard.ended = Some((ends.get(&number).copied().unwrap_or(0), now));
        }
    }
}

/// Ends partitions and waits until what they hold is durable. Returns their ends.
async fn end_all(
    core: &Rc<Core>,
    name: &str,
    shards: &[usize],
) -> Result<HashMap<usize, Offset>, StreamError> {
    let ends = set_ended(core, name, shards, true).await;
    ends.into_iter().map(|(shard, end)| Ok((shard, end.ok_or(StreamError::Storage)?))).collect()
}

/// Ends partitions, or has them take batches again. Returns the ends; `None`: what a partition holds did not become durable.
async fn set_ended(
    core: &Rc<Core>,
    name: &str,
    shards: &[usize],
    ended: bool,
) -> Vec<(usize, Option<Offset>)> {
    let topic = core.topics.borrow().get(TopicKey::Name(name)).cloned();
    let Some(topic) = topic else { return shards.iter().map(|shard| (*shard, None)).collect() };
    let mut out = Vec::with_capacity(shards.len());
    for number in shards {
        let (to, shard, log) = match topic.routes.get(*number) {
            Some(Route::Here { shard, at }) => (core.index, *shard, at.log()),
            Some(Route::There { core, shard, log }) => (*core, *shard, *log),
            None => {
                out.push((*number, None));
                continue;
            }
        };
        let end = call(core, to, move |core| async move {
            let shard = &core.shards[shard];
            let at = shard.partition(log)?;
            if let Some(seq) = shard.set_ended(at, ended).ok()?
                && ended
                && shard.committed(seq).await != CommitState::Durable
            {
                return None;
            }
            shard.offsets(at).ok().map(|offsets| offsets.end)
        });
        out.push((*number, end.await.flatten()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evened(from: usize, to: usize) -> Stream {
        let mut stream = Stream::new(from, 0);
        even_out(&mut stream, to, 100);
        set_ends(&mut stream, &HashMap::new());
        stream.index();
        stream
    }

    #[test]
    fn any_number_of_shards_leads_to_any_other() {
        for (from, to) in
            [(1, 2), (2, 4), (4, 2), (3, 2), (2, 3), (5, 7), (7, 5), (6, 6), (1, 1), (8, 1), (1, 9)]
        {
            let stream = evened(from, to);
            let ranges: Vec<HashRange> = stream.open().map(|(_, shard)| shard.range).collect();
            assert_eq!(ranges, even_ranges(to), "{from} to {to}");
            for shard in &stream.shards {
                assert!(shard.parents.len() <= 2, "{shard:?}");
                let older = |parent: &u32| stream.shards[*parent as usize].created_s < shard.created_s;
                assert!(shard.parents.iter().all(older), "children are younger than their parents");
                assert!(shard.parents.iter().all(|parent| !stream.shards[*parent as usize].is_open()));
            }
        }
        assert_eq!(evened(4, 2).shards.len(), 6, "two merges");
        assert_eq!(evened(2, 4).shards.len(), 6, "two splits");
        assert_eq!(evened(6, 6), Stream::new(6, 0));
    }
}
