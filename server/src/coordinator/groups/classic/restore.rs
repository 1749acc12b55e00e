//! A group is stored, and comes back at a start.

use std::sync::Arc;

use bytes::Bytes;

use super::group::{Group, State};
use super::limits::{Limits, Millis};
use super::member::Member;
use super::stored::{Stored, StoredMember};

impl Group {
    /// The group as it was stored. Its members have a full session from now.
    pub fn restore(stored: &Stored, limits: Limits, now: Millis) -> Self {
        let mut group = Self::new(limits);
        group.generation = stored.generation;
        group.protocol_type = (!stored.protocol_type.is_empty()).then(|| Arc::clone(&stored.protocol_type));
        let Some(protocol) = stored.protocol.clone().filter(|_| !stored.members.is_empty()) else {
            return group;
        };
        for member in &stored.members {
            let mut restored = Member {
                id: Arc::clone(&member.id),
                instance: member.instance.clone(),
                client_id: Arc::clone(&member.client_id),
                client_host: Arc::clone(&member.client_host),
                session: member.session,
                rebalance: member.rebalance,
                protocols: vec![(Arc::clone(&protocol), member.subscription.clone())],
                assignment: member.assignment.clone(),
                is_new: false,
                deadline: 0,
                joining: None,
                syncing: None,
            };
            restored.heard(now);
            if let Some(instance) = &member.instance {
                group.statics.insert(Arc::clone(instance), Arc::clone(&member.id));
            }
            group.members.insert(Arc::clone(&member.id), restored);
        }
        let leads = stored.leader.clone().filter(|id| group.members.contains_key(id));
        group.leader = leads.or_else(|| group.members.keys().next().cloned());
        group.protocol = Some(protocol);
        group.state = State::Stable;
        if group.members.len() > limits.size_max {
            group.prepare(now);
        }
        group
    }

    /// What is to be stored of it, with these assignments.
    pub(super) fn to_store(&self, part: impl Fn(&Member) -> Bytes) -> Stored {
        let member = |m: &Member| StoredMember {
            id: Arc::clone(&m.id),
            instance: m.instance.clone(),
            client_id: Arc::clone(&m.client_id),
            client_host: Arc::clone(&m.client_host),
            rebalance: m.rebalance,
            session: m.session,
            subscription: self.protocol.as_deref().and_then(|p| m.metadata(p)).cloned().unwrap_or_default(),
            assignment: part(m),
        };
        Stored {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since_ms: 0,
            members: self.members.values().map(member).collect(),
        }
    }
}
