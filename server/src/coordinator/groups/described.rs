//! What can be seen of a group.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::classic::{Group, Member, State};

/// What consumers speak.
pub const CONSUMER: &str = "consumer";

/// What a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its members assign partitions (`classic`).
    Classic,
    /// The server assigns partitions (`consumer`).
    Consumer,
}

impl Kind {
    /// Its name in Kafka.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What its members speak, or spoke last; empty if there never were any.
    pub protocol_type: String,
    /// Its state.
    pub state: &'static str,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: &'static str,
    /// What its members speak, or spoke last; empty if there never were any.
    pub protocol_type: String,
    /// How partitions are assigned, in a stable group.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// What it wants, in a stable group.
    pub metadata: Bytes,
    /// What it has, or had in the generation before.
    pub assignment: Bytes,
}

impl Described {
    /// A group without members.
    pub fn empty() -> Self {
        let none = String::new;
        Self { state: State::Empty.name(), protocol_type: none(), protocol: none(), members: Vec::new() }
    }
}

/// Describes a group.
pub fn describe(group: &Group) -> Described {
    let text = |text: Option<&Arc<str>>| text.map(|t| t.to_string()).unwrap_or_default();
    let stable = group.state() == State::Stable;
    let protocol = if stable { text(group.protocol()) } else { String::new() };
    let member = |m: &Member| DescribedMember {
        id: Arc::clone(&m.id),
        instance: m.instance.clone(),
        client_id: Arc::clone(&m.client_id),
        client_host: Arc::clone(&m.client_host),
        metadata: m.metadata(&protocol).cloned().unwrap_or_default(),
        assignment: m.assignment.clone(),
    };
    Described {
        state: group.state().name(),
        protocol_type: text(group.protocol_type()),
        members: group.members().map(member).collect(),
        protocol,
    }
}

/// The topics that the members of a group consume. `None` if that cannot be told: it may be any.
pub fn subscribed(group: &Group) -> Option<BTreeSet<String>> {
    group.protocol()?;
    let mut all = BTreeSet::new();
    for subscription in group.subscriptions() {
        topics_of(subscription, &mut all)?;
    }
    Some(all)
}

/// Reads the topics of a consumer's subscription: version i16, number of topics i32, topics as strings.
fn topics_of(mut rest: &[u8], all: &mut BTreeSet<String>) -> Option<()> {
    rest.try_get_i16().ok()?;
    for _ in 0..rest.try_get_i32().ok()? {
        let len = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let topic = rest.split_off(..len)?;
        all.insert(std::str::from_utf8(topic).ok()?.to_owned());
    }
    Some(())
}
