//! What can be seen of a consumer group.

use std::rc::Rc;
use std::sync::Arc;

use super::group::Group;
use super::image::{State, Subscriber};
use super::partitions::Partitions;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Partitions are to be assigned anew, with the next heartbeat.
    Assigning,
    /// Members are on their way to what they are to have.
    Reconciling,
    /// Every member has what it is to have.
    Stable,
}

impl GroupState {
    /// Its name in Kafka.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch for which partitions are assigned.
    pub target_epoch: i32,
    /// How they are assigned.
    pub assignor: &'static str,
    /// Its members, by id.
    pub members: Vec<DescribedMember>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub id: Arc<str>,
    /// What it said of itself.
    pub said: Subscriber,
    /// Its epoch.
    pub epoch: i32,
    /// What it has.
    pub assigned: Partitions,
    /// What it is to have.
    pub target: Partitions,
}

impl Group {
    /// Where it stands.
    pub fn state(&self) -> GroupState {
        let epoch = self.target_epoch();
        let is_there = |id: &Arc<str>| {
            let current = self.current(id);
            current.state == State::Stable && current.epoch == epoch
        };
        if self.is_empty() {
            GroupState::Empty
        } else if self.epoch() > epoch {
            GroupState::Assigning
        } else if self.image.subscribers.keys().all(is_there) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Describes it.
    pub fn describe(&self) -> Described {
        let member = |(id, said): (&Arc<str>, &Rc<Subscriber>)| {
            let current = self.current(id);
            DescribedMember {
                id: Arc::clone(id),
                said: (**said).clone(),
                epoch: current.epoch,
                assigned: current.assigned.clone(),
                target: self.image.targets.get(id).map(|target| (**target).clone()).unwrap_or_default(),
            }
        };
        Described {
            state: self.state(),
            epoch: self.epoch(),
            target_epoch: self.target_epoch(),
            assignor: self.assignor(),
            members: self.image.subscribers.iter().map(member).collect(),
        }
    }
}
