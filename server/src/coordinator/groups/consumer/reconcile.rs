//! The way of a member from what it has to what it is to have: it gives back first, then takes what is free.

use uuid::Uuid;

use super::image::{Current, State};
use super::partitions::Partitions;

/// What a member is to have, and for which epoch.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The epoch.
    pub epoch: i32,
    /// The partitions.
    pub partitions: &'a Partitions,
}

/// The next step of a member. `owned` is what it says it has; `is_free` whether nobody has a partition, the member included.
///
/// * It is asked to give back what it is not to have any more, and stays in its epoch until it says that it has.
/// * Then it is in the target's epoch, gets what is free of what it is to have, and waits for the rest.
pub fn next_step(
    now: &Current,
    target: Target<'_>,
    owned: Option<&Partitions>,
    is_free: impl Fn(Uuid, i32) -> bool,
) -> Current {
    // What it does not say is as it was: nothing is given back.
    let still_has = |revoking: &Partitions| owned.is_none_or(|owned| owned.meets(revoking));
    let epoch = match now.state {
        State::Stable if now.epoch == target.epoch => return now.clone(),
        State::Unrevoked if still_has(&now.revoking) => return now.clone(),
        State::Unrevoked => now.epoch.saturating_add(1),
        State::Stable | State::Unreleased => now.epoch,
    };
    let kept = now.assigned.and(target.partitions);
    let revoking = now.assigned.without(&kept);
    if !revoking.is_empty() && still_has(&revoking) {
        return Current { state: State::Unrevoked, assigned: kept, revoking, ..in_epoch(now, epoch) };
    }
    let missing = target.partitions.without(&kept);
    let free: Partitions = missing.iter().filter(|(topic, partition)| is_free(*topic, *partition)).collect();
    let state = if free.len() < missing.len() { State::Unreleased } else { State::Stable };
    let assigned = kept.or(&free);
    Current { state, assigned, revoking: Partitions::default(), ..in_epoch(now, target.epoch) }
}

/// The epoch before is kept, since the member may not hear of the new one.
fn in_epoch(now: &Current, epoch: i32) -> Current {
    Current { epoch, previous: now.epoch, ..Current::default() }
}
