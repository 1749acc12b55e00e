//! The way of a group with members from one protocol to the other: from classic when the first member comes that speaks KIP-848,
//! and back when the last such member is gone.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::embedded;
use super::group::Group;
use super::image::{Classic, Current, Entry, Epoch, Subscriber};
use super::mixed::{CONSUMER, by_id};
use super::refused::Refused;
use super::topics::Topics;
use crate::coordinator::groups::classic::{self, Millis, Stored, StoredMember};

fn millis(time: Millis) -> i32 {
    i32::try_from(time).unwrap_or(i32::MAX)
}

impl Group {
    /// Takes over the members of a classic group, with what they have; its generation is the epoch.
    ///
    /// # Errors
    /// [`Refused::NotConvertible`], [`Refused::Full`]: nothing changed.
    pub fn take_over(
        &mut self,
        group: &classic::Group,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<(), Refused> {
        if group.protocol_type().map(|spoken| &**spoken) != Some(CONSUMER) {
            return Err(Refused::NotConvertible("they are no consumers"));
        }
        if group.members().count() > self.limits.size_max {
            return Err(Refused::Full(self.limits.size_max));
        }
        let (epoch, mut entries, mut taken) = (group.generation(), Vec::new(), BTreeSet::new());
        for member in group.members() {
            let wants = member.protocols.first().and_then(|(_, wants)| embedded::subscription(wants));
            let has = embedded::assigned(&member.assignment);
            let (Some(wants), Some(has)) = (wants, has) else {
                return Err(Refused::NotConvertible("what they want cannot be read"));
            };
            let subscriber = Subscriber {
                instance: member.instance.clone(),
                rack: wants.rack.map(Into::into),
                client_id: Arc::clone(&member.client_id),
                client_host: Arc::clone(&member.client_host),
                topics: wants
                    .topics
                    .into_iter()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .map(Into::into)
                    .collect(),
                regex: None,
                rebalance_ms: millis(member.rebalance),
                assignor: None,
                classic: Some(Classic {
                    session_ms: millis(member.session),
                    protocols: member.protocols.clone(),
                }),
            };
            // Their own assignors answer for it that nobody else has it; here it is made sure.
            let has: super::Partitions =
                by_id(&has, topics).iter().filter(|one| taken.insert(*one)).collect();
            let current = Current { epoch, previous: epoch, assigned: has.clone(), ..Current::default() };
            let id = &member.id;
            entries.push(Entry::Subscriber(Arc::clone(id), Some(Rc::new(subscriber))));
            entries.push(Entry::Target(Arc::clone(id), Some(Rc::new(has))));
            entries.push(Entry::Current(Arc::clone(id), Some(Rc::new(current))));
        }
        entries.into_iter().for_each(|entry| self.put(entry));
        let topics_hash = self.topics_hash(topics);
        self.put(Entry::Epoch(Some(Epoch { epoch, topics_hash })));
        self.put(Entry::TargetEpoch(Some(epoch)));
        for member in group.members() {
            self.sessions.insert(Arc::clone(&member.id), now + self.session_of(&member.id));
        }
        Ok(())
    }

    /// The classic group that its members make, all of which speak the classic protocol.
    pub fn as_classic(&self, topics: &impl Topics) -> Stored {
        let protocol = self.common_protocol();
        let time = |ms: i32| u64::from(ms.max(0).unsigned_abs());
        let member = |(id, said): (&Arc<str>, &Rc<Subscriber>)| {
            let classic = said.classic.as_ref();
            let wants =
                classic.and_then(|c| c.protocols.iter().find(|(name, _)| Some(name) == protocol.as_ref()));
            StoredMember {
                id: Arc::clone(id),
                instance: said.instance.clone(),
                client_id: Arc::clone(&said.client_id),
                client_host: Arc::clone(&said.client_host),
                rebalance: time(said.rebalance_ms),
                session: classic.map_or(self.limits.session, |c| time(c.session_ms)),
                subscription: wants.map(|(_, wants)| wants.clone()).unwrap_or_default(),
                assignment: self.classic_assignment(id, topics),
            }
        };
        Stored {
            protocol_type: CONSUMER.into(),
            // That of its members: the epoch rose when the other ones left.
            generation: self.target_epoch(),
            leader: self.image.subscribers.keys().next().cloned(),
            since_ms: 0,
            members: self.image.subscribers.iter().map(member).collect(),
            protocol,
        }
    }
}
