//! What is read of a topic: for each partition where it stands and where it ends.
use std::collections::BTreeMap;

use keylane_kafka::cluster::{Cluster, Topic};

use crate::cli::failure::Failure;
use crate::cli::place::Place;

/// A partition that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The offset that comes next.
    pub next: i64,
    /// The offset before which it ends.
    pub end: i64,
}

/// What is read.
#[derive(Debug)]
pub struct Span {
    /// The topic and who leads its partitions.
    pub topic: Topic,
    /// Its partitions that are read.
    pub partitions: BTreeMap<i32, Reading>,
    /// Whether it was told that a broker has gone.
    pub told: bool,
}

impl Span {
    /// Finds out where the partitions begin and end; all of them if none is given. Without `until` they have no end.
    pub fn of(
        cluster: &mut Cluster,
        topic: Topic,
        given: &[i32],
        from: Place,
        until: Option<Place>,
        committed: bool,
    ) -> Result<Self, Failure> {
        let mut wanted: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        if let Some(unknown) = given.iter().find(|index| !wanted.contains(index)) {
            let count = wanted.len();
            let name = &topic.name;
            return Err(Failure::Unfit(format!(
                "topic {name} has no partition {unknown}; it has {count}, counted from 0"
            )));
        }
        wanted.retain(|index| given.is_empty() || given.contains(index));
        let mut find = |place: Place| place.find(cluster, &topic, &wanted, committed);
        let starts = find(from)?;
        let ends = until.map(find).transpose()?;
        let reading = |(index, next): (i32, i64)| {
            let end = ends.as_ref().map_or(i64::MAX, |ends| ends.get(&index).copied().unwrap_or(next));
            (index, Reading { next, end })
        };
        Ok(Self { partitions: starts.into_iter().map(reading).collect(), topic, told: false })
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        self.partitions.values().all(|reading| reading.next >= reading.end)
    }
}
