//! How a group's leader deals partitions, and what it and the members tell each other: the bytes of a subscription and
//! of an assignment, as Kafka's consumers have them, for one topic.
//!
//! Promises: each partition is dealt to at most one member, and in an eager group to exactly one; the numbers of two
//! members differ by one at most. In a cooperative group (KIP-429) a partition that another member still owns is dealt
//! to nobody: that member gives it up, joins again, and the next round deals it.

use std::collections::BTreeMap;

use clap::ValueEnum;

/// How members give partitions up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// All of them, before each rebalance.
    Eager,
    /// Only those that go to another member.
    Cooperative,
}

impl Strategy {
    /// Its name in JoinGroup, as Kafka's consumers call the assignor.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eager => "roundrobin",
            Self::Cooperative => "cooperative-sticky",
        }
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no subscription or assignment of a consumer")]
pub struct Malformed;

fn put_topic(out: &mut Vec<u8>, topic: &str, partitions: &[i32]) {
    out.extend_from_slice(&1i32.to_be_bytes());
    put_text(out, topic);
    out.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|partition| out.extend_from_slice(&partition.to_be_bytes()));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// What a member wants and what it owns: a subscription of version 1.
pub fn subscription(topic: &str, owned: &[i32]) -> Vec<u8> {
    let mut out = vec![0, 1];
    out.extend_from_slice(&1i32.to_be_bytes());
    put_text(&mut out, topic);
    out.extend_from_slice(&(-1i32).to_be_bytes());
    if owned.is_empty() {
        out.extend_from_slice(&0i32.to_be_bytes());
    } else {
        put_topic(&mut out, topic, owned);
    }
    out
}

/// What a member gets: an assignment of version 1.
pub fn assignment(topic: &str, partitions: &[i32]) -> Vec<u8> {
    let mut out = vec![0, 1];
    put_topic(&mut out, topic, partitions);
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out
}

/// Reads what lies next of some bytes.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().map_err(|_| Malformed)?))
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
    }

    /// Skips a text or bytes of this length; -1 is none.
    fn skip(&mut self, length: i32) -> Result<(), Malformed> {
        if length >= 0 {
            self.take(length as usize)?;
        }
        Ok(())
    }

    /// The partitions of all topics of a list.
    fn partitions(&mut self) -> Result<Vec<i32>, Malformed> {
        let mut found = Vec::new();
        for _ in 0..self.i32()? {
            let length = self.i16()?;
            self.skip(i32::from(length))?;
            for _ in 0..self.i32()? {
                found.push(self.i32()?);
            }
        }
        Ok(found)
    }
}

/// The partitions that a subscription says the member owns; version 0 does not say.
pub fn owned(subscription: &[u8]) -> Result<Vec<i32>, Malformed> {
    let mut bytes = Bytes(subscription);
    let version = bytes.i16()?;
    for _ in 0..bytes.i32()? {
        let length = bytes.i16()?;
        bytes.skip(i32::from(length))?;
    }
    let user_data = bytes.i32()?;
    bytes.skip(user_data)?;
    if version < 1 { Ok(Vec::new()) } else { bytes.partitions() }
}

/// The partitions of an assignment. An empty one is none: the member gets nothing.
pub fn assigned(assignment: &[u8]) -> Result<Vec<i32>, Malformed> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut bytes = Bytes(assignment);
    bytes.i16()?;
    bytes.partitions()
}

/// Deals partitions to members, which are given with what they own; the answer is in their order.
pub fn deal(strategy: Strategy, members: &[Vec<i32>], partitions: i32) -> Vec<Vec<i32>> {
    match strategy {
        Strategy::Eager => {
            (0..members.len()).map(|at| (at as i32..partitions).step_by(members.len()).collect()).collect()
        }
        Strategy::Cooperative => sticky(members, partitions),
    }
}

fn sticky(members: &[Vec<i32>], partitions: i32) -> Vec<Vec<i32>> {
    let count = members.len().max(1);
    let (least, larger) = (partitions as usize / count, partitions as usize % count);
    let mut owners: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (member, owned) in members.iter().enumerate() {
        owned.iter().for_each(|partition| owners.entry(*partition).or_default().push(member));
    }
    let mut dealt = vec![Vec::new(); members.len()];
    let mut rest = Vec::new();
    // Some members may have one more than the others; who owns the most keeps it.
    let mut may_be_larger = larger;
    for partition in 0..partitions {
        let keeper = match owners.get(&partition).map(Vec::as_slice) {
            Some([only]) => Some(*only),
            _ => None,
        };
        let keeper = keeper.filter(|member| {
            let has = dealt[*member].len();
            let larger = has == least && may_be_larger > 0;
            may_be_larger -= usize::from(larger);
            has < least || larger
        });
        match keeper {
            Some(member) => dealt[member].push(partition),
            None => rest.push(partition),
        }
    }
    for partition in rest {
        let Some(poorest) = (0..members.len()).min_by_key(|member| dealt[*member].len()) else { break };
        dealt[poorest].push(partition);
    }
    for (member, dealt) in dealt.iter_mut().enumerate() {
        let free = |partition: &i32| {
            owners.get(partition).is_none_or(|owners| owners.iter().all(|owner| *owner == member))
        };
        dealt.retain(free);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(owned(&subscription("topic", &[3, 1])), Ok(vec![3, 1]));
        assert_eq!(owned(&subscription("topic", &[])), Ok(vec![]));
        assert_eq!(assigned(&assignment("topic", &[0, 7])), Ok(vec![0, 7]));
        assert_eq!(assigned(&[]), Ok(vec![]));
        let whole = subscription("topic", &[3, 1]);
        assert!((0..whole.len()).all(|cut| owned(&whole[..cut]).is_err()));
    }

    #[test]
    fn an_eager_group_has_every_partition_once() {
        for members in 1..8 {
            let dealt = deal(Strategy::Eager, &vec![Vec::new(); members], 10);
            let mut all: Vec<i32> = dealt.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
    }

    /// Members join one after the other and then half of them leave: after at most two rounds all partitions are dealt evenly,
    /// and what a member keeps it never gives up in between.
    #[test]
    fn a_cooperative_group_moves_only_what_has_to_move() {
        let mut members: Vec<Vec<i32>> = Vec::new();
        for step in 0..12 {
            if step < 7 {
                members.push(Vec::new())
            } else {
                drop(members.remove(0))
            }
            let first = deal(Strategy::Cooperative, &members, 20);
            for (before, after) in members.iter().zip(&first) {
                let kept = before.iter().filter(|partition| after.contains(partition)).count();
                assert!(kept >= before.len().min(20 / members.len()), "{before:?} becomes {after:?}");
            }
            let second = deal(Strategy::Cooperative, &first, 20);
            assert!(first.iter().zip(&second).all(|(a, b)| a.iter().all(|partition| b.contains(partition))));
            let mut all: Vec<i32> = second.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..20).collect::<Vec<_>>());
            let sizes: Vec<usize> = second.iter().map(Vec::len).collect();
            assert!(sizes.iter().max().zip(sizes.iter().min()).is_some_and(|(a, b)| a - b <= 1), "{sizes:?}");
            members = second;
        }
    }

    #[test]
    fn a_partition_that_two_claim_goes_to_neither_yet() {
        let dealt = deal(Strategy::Cooperative, &[vec![0, 1], vec![1, 2], vec![]], 3);
        assert!(dealt.iter().all(|dealt| !dealt.contains(&1)), "{dealt:?}");
    }
}
