//! Every member gets about as many partitions, and keeps of what it had as much as that allows.
//!
//! If all want the same, the numbers of partitions of any two members differ by one at most. If not, nothing can be moved from a
//! member to another one that wants it and has at least two less.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::consumer::Consumer;
use crate::coordinator::groups::consumer::partitions::Partitions;

/// What each member gets, in the order of the members.
pub fn assign(members: &[Consumer], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let same = members.windows(2).all(|pair| pair[0].wants == pair[1].wants);
    if same { evenly(members, topics) } else { Uneven::new(members, topics).assign() }
}

/// Whether a partition is there, and the member wants it.
fn is_wanted(member: &Consumer, topics: &BTreeMap<Uuid, i32>, topic: Uuid, partition: i32) -> bool {
    member.wants.contains(&topic) && topics.get(&topic).is_some_and(|n| (0..*n).contains(&partition))
}

fn evenly(members: &[Consumer], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let Some(first) = members.first() else { return Vec::new() };
    let wanted = topics.iter().filter(|(topic, _)| first.wants.contains(topic));
    let mut free: BTreeSet<(Uuid, i32)> =
        wanted.flat_map(|(topic, n)| (0..*n).map(|partition| (*topic, partition))).collect();
    let (least, mut extra) = (free.len() / members.len(), free.len() % members.len());
    let mut lists = Vec::with_capacity(members.len());
    for member in members {
        let most = least + usize::from(extra > 0);
        // Nobody but the first one that had a partition keeps it.
        let kept: Partitions = member.had.iter().filter(|one| free.contains(one)).take(most).collect();
        kept.iter().for_each(|one| {
            free.remove(&one);
        });
        extra -= usize::from(kept.len() > least);
        lists.push(kept);
    }
    // Those with too few come first, also when it is about one more than others.
    let (too_few, enough): (Vec<_>, Vec<_>) = (0..lists.len()).partition(|at| lists[*at].len() < least);
    for at in too_few.into_iter().chain(enough) {
        let one_more = extra > 0 && lists[at].len() <= least;
        extra -= usize::from(one_more);
        let most = least + usize::from(one_more);
        while lists[at].len() < most
            && let Some((topic, partition)) = free.pop_first()
        {
            lists[at].insert(topic, partition);
        }
    }
    lists
}

/// Members that want different topics.
struct Uneven<'a> {
    members: &'a [Consumer],
    topics: &'a BTreeMap<Uuid, i32>,
    lists: Vec<Partitions>,
    sizes: Vec<usize>,
}

impl<'a> Uneven<'a> {
    fn new(members: &'a [Consumer], topics: &'a BTreeMap<Uuid, i32>) -> Self {
        Self {
            members,
            topics,
            lists: vec![Partitions::default(); members.len()],
            sizes: vec![0; members.len()],
        }
    }

    fn give(&mut self, at: usize, topic: Uuid, partition: i32) {
        self.lists[at].insert(topic, partition);
        self.sizes[at] += 1;
    }

    /// Those that want a topic, the one with the fewest partitions first.
    fn wanting(&self, topic: Uuid) -> BTreeSet<(usize, usize)> {
        let wants = |at: &usize| self.members[*at].wants.contains(&topic);
        (0..self.members.len()).filter(wants).map(|at| (self.sizes[at], at)).collect()
    }

    fn assign(mut self) -> Vec<Partitions> {
        let mut taken = BTreeSet::new();
        for (at, member) in self.members.iter().enumerate() {
            for (topic, partition) in member.had.iter() {
                if is_wanted(member, self.topics, topic, partition) && taken.insert((topic, partition)) {
                    self.give(at, topic, partition);
                }
            }
        }
        // What few want is given first, since there is least choice.
        let mut order: Vec<Uuid> = self.topics.keys().copied().collect();
        order.sort_by_cached_key(|topic| self.wanting(*topic).len());
        for topic in &order {
            self.fill(*topic, &taken);
        }
        while order.iter().map(|topic| self.even_out(*topic)).sum::<usize>() > 0 {}
        self.lists
    }

    /// Gives the partitions of a topic that nobody has to those with the fewest.
    fn fill(&mut self, topic: Uuid, taken: &BTreeSet<(Uuid, i32)>) {
        let mut wanting = self.wanting(topic);
        for partition in (0..self.topics[&topic]).filter(|p| !taken.contains(&(topic, *p))) {
            let Some((size, at)) = wanting.pop_first() else { return };
            self.give(at, topic, partition);
            wanting.insert((size + 1, at));
        }
    }

    /// Moves partitions of a topic from those with many to those with at least two less. Returns how many it moved: each move
    /// brings sizes nearer to each other, so that there is an end.
    fn even_out(&mut self, topic: Uuid) -> usize {
        let mut wanting = self.wanting(topic);
        let mut moved = 0;
        let mut from: Vec<(usize, usize)> = wanting.iter().copied().collect();
        while let Some((_, richest)) = from.pop() {
            while let Some((size, poorest)) = wanting.first().copied()
                && size + 1 < self.sizes[richest]
                && let Some(partition) = self.last_of(richest, topic)
            {
                wanting.remove(&(size, poorest));
                wanting.remove(&(self.sizes[richest], richest));
                self.lists[richest].remove(topic, partition);
                self.sizes[richest] -= 1;
                self.give(poorest, topic, partition);
                wanting.insert((self.sizes[richest], richest));
                wanting.insert((self.sizes[poorest], poorest));
                moved += 1;
            }
        }
        moved
    }

    fn last_of(&self, at: usize, topic: Uuid) -> Option<i32> {
        self.lists[at].of(topic).and_then(|list| list.last().copied())
    }
}
