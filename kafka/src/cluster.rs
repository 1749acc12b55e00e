//! The brokers of a cluster, for a blocking client: who they are, which of them leads a partition or keeps a group, and a
//! connection to each that was needed.
//!
//! Promises: a request is sent in the highest version that both sides have, and once only; a connection that failed is
//! made anew when it is needed again; the brokers that were named are used as long as no other is known.
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::api::{ApiKey, Ask, Message};
use crate::client::{Client, ClientError, Versions};
use crate::error::ErrorCode;
use crate::field::TopicRef;
use crate::messages::find_coordinator::FindCoordinatorRequest;
use crate::messages::metadata::{MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataTopic};
use crate::wire::Reader;

/// How long to wait before something that a broker is not ready for is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// The last version of OffsetCommit and OffsetFetch that names topics.
const COMMITS_NAME_TOPICS: i16 = 9;

/// Why a cluster has no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// An address that leads nowhere.
    #[error("the broker address {address} cannot be used")]
    Address {
        /// As it was given.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A broker that cannot be talked to.
    #[error("broker {address}")]
    Broker {
        /// Its address.
        address: String,
        /// What happened.
        source: ClientError,
    },
    /// A broker that does not serve a request in a version that is known here.
    #[error("broker {address} does not serve {api:?} in a version that this client knows")]
    Unserved {
        /// Its address.
        address: String,
        /// The API.
        api: ApiKey,
    },
    /// A broker with this id is not among those that Metadata names.
    #[error("no broker has the id {0}")]
    NoSuchBroker(i32),
    /// No broker was named.
    #[error("no broker is named")]
    NoBroker,
    /// A group has no coordinator.
    #[error("no coordinator for group {group}: {code}{message}")]
    Coordinator {
        /// The group.
        group: String,
        /// What the broker says.
        code: ErrorCode,
        /// What it says beyond the code, behind a colon; may be empty.
        message: String,
    },
}

/// A connection to a broker, and the versions that it serves.
#[derive(Debug)]
pub struct Connection {
    address: String,
    client: Client,
    versions: Versions,
    failed: bool,
}

impl Connection {
    fn open(address: &str, name: &str, patience: Duration) -> Result<Self, ClusterError> {
        let unusable = |source| ClusterError::Address { address: address.to_owned(), source };
        let broken = |source| ClusterError::Broker { address: address.to_owned(), source };
        let mut last = unusable(io::Error::other("it has no IP address"));
        let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(unusable)?.collect();
        for ip in addresses {
            match Client::connect(ip, name, patience) {
                Ok(mut client) => {
                    let versions = client.versions().map_err(broken)?;
                    return Ok(Self { address: address.to_owned(), client, versions, failed: false });
                }
                Err(error) => last = broken(error),
            }
        }
        Err(last)
    }

    /// Where it leads to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The version in which a request is sent. Those that would have ids in place of the names of topics are not used.
    ///
    /// # Errors
    /// There is no version that both sides have.
    pub fn version(&self, api: ApiKey) -> Result<i16, ClusterError> {
        let spec = api.spec();
        let max = match api {
            ApiKey::Produce | ApiKey::Fetch => spec.max.min(TopicRef::IDS_FROM - 1),
            ApiKey::OffsetCommit | ApiKey::OffsetFetch => spec.max.min(COMMITS_NAME_TOPICS),
            _ => spec.max,
        };
        let version = self.versions.highest(api, spec.min..=max);
        version.ok_or_else(|| ClusterError::Unserved { address: self.address.clone(), api })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The broker does not serve it, or the connection failed.
    pub fn ask<'q, Q: Ask<'q>>(&mut self, request: &Q) -> Result<Q::Answer<'_>, ClusterError> {
        let sent = self.send(request)?;
        self.receive::<Q>(sent)
    }

    /// Sends a request whose answer is read later, by [`Self::receive`] and in the order of sending.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn send<'q, Q: Ask<'q>>(&mut self, request: &Q) -> Result<Sent, ClusterError> {
        let version = self.version(Q::API)?;
        let sent = self.client.send(version, request);
        self.failed |= sent.is_err();
        match sent {
            Ok(id) => Ok(Sent { id, version }),
            Err(source) => Err(ClusterError::Broker { address: self.address.clone(), source }),
        }
    }

    /// Reads the answer to a request.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn receive<'q, Q: Ask<'q>>(&mut self, sent: Sent) -> Result<Q::Answer<'_>, ClusterError> {
        let Self { client, address, failed, .. } = self;
        let Sent { id, version } = sent;
        let answer = client
            .receive(id, Q::API, version)
            .and_then(|body| Ok(Q::Answer::decode(version, &mut Reader::new(body))?));
        *failed |= answer.is_err();
        answer.map_err(|source| ClusterError::Broker { address: address.clone(), source })
    }
}

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    id: i32,
    version: i16,
}

/// A topic, as Metadata tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; empty for an id that is not known.
    pub name: String,
    /// Its id; nil where the broker does not tell ids.
    pub id: Uuid,
    /// Outcome.
    pub error: ErrorCode,
    /// Whether the brokers made it for their own use.
    pub is_internal: bool,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A partition, as Metadata tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// Outcome.
    pub error: ErrorCode,
    /// The broker that leads it; -1 for none.
    pub leader: i32,
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// The brokers that have it up to date.
    pub in_sync: Vec<i32>,
}

impl Topic {
    fn of(told: MetadataTopic<'_>) -> Self {
        let mut partitions: Vec<_> = told.partitions.into_iter().map(Partition::of).collect();
        partitions.sort_unstable_by_key(|partition| partition.index);
        Self {
            name: told.name.unwrap_or_default().into_owned(),
            id: told.topic_id,
            error: told.error,
            is_internal: told.is_internal,
            partitions,
        }
    }

    /// Whether each partition has a leader.
    pub fn is_led(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.iter().all(|partition| partition.leader >= 0)
    }
}

impl Partition {
    fn of(told: MetadataPartition<'_>) -> Self {
        Self {
            index: told.index,
            error: told.error,
            leader: told.leader_id,
            replicas: told.replicas.into_owned(),
            in_sync: told.isr_nodes.into_owned(),
        }
    }
}

/// Whether an error passes by itself: leaders move, coordinators load.
pub fn passes(code: ErrorCode) -> bool {
    [
        ErrorCode::LeaderNotAvailable,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::BrokerNotAvailable,
        ErrorCode::ReplicaNotAvailable,
        ErrorCode::NetworkException,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::NotController,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownLeaderEpoch,
    ]
    .contains(&code)
}

/// The brokers.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    patience: Duration,
    /// The addresses that were named.
    named: Vec<String>,
    /// Addresses by id, as Metadata told them last.
    brokers: BTreeMap<i32, String>,
    controller: i32,
    /// Connections by address.
    open: BTreeMap<String, Connection>,
}

impl Cluster {
    /// Connects to the first of the named brokers that answers, and asks which others there are. The client calls itself
    /// `name`, and waits `patience` for each answer.
    ///
    /// # Errors
    /// None of them answers: what is wrong with the last one.
    pub fn connect(named: Vec<String>, name: &str, patience: Duration) -> Result<Self, ClusterError> {
        let (brokers, open) = (BTreeMap::new(), BTreeMap::new());
        let mut cluster = Self { name: name.to_owned(), patience, named, brokers, controller: -1, open };
        cluster.topics(Some(&[]))?;
        Ok(cluster)
    }

    /// How long it waits for an answer.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The ids of the brokers.
    pub fn brokers(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// The address of a broker.
    pub fn address(&self, broker: i32) -> Option<&str> {
        self.brokers.get(&broker).map(String::as_str)
    }

    fn connection(&mut self, address: &str) -> Result<&mut Connection, ClusterError> {
        if self.open.get(address).is_none_or(|connection| connection.failed) {
            self.open.remove(address);
            let new = Connection::open(address, &self.name, self.patience)?;
            self.open.insert(address.to_owned(), new);
        }
        self.open.get_mut(address).ok_or(ClusterError::NoBroker)
    }

    /// A connection to a broker.
    ///
    /// # Errors
    /// It is not known, or does not answer.
    pub fn broker(&mut self, id: i32) -> Result<&mut Connection, ClusterError> {
        let address = self.brokers.get(&id).ok_or(ClusterError::NoSuchBroker(id))?.clone();
        self.connection(&address)
    }

    /// A connection to any broker.
    ///
    /// # Errors
    /// None answers: what is wrong with the last one.
    pub fn any(&mut self) -> Result<&mut Connection, ClusterError> {
        let mut addresses: Vec<String> = self.brokers.values().chain(&self.named).cloned().collect();
        // Those that are connected already come first.
        addresses.sort_by_key(|address| self.open.get(address).is_none_or(|connection| connection.failed));
        let mut last = ClusterError::NoBroker;
        for address in addresses {
            match self.connection(&address).map(|_| ()) {
                Ok(()) => return self.connection(&address),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A connection to the broker that administration is sent to.
    ///
    /// # Errors
    /// As [`Self::broker`].
    pub fn controller(&mut self) -> Result<&mut Connection, ClusterError> {
        match self.brokers.contains_key(&self.controller) {
            true => self.broker(self.controller),
            false => self.any(),
        }
    }

    /// Asks for topics by name, for all of them with `None`; none is created by that. The brokers are learned on the way.
    ///
    /// # Errors
    /// No broker answers.
    pub fn topics(&mut self, names: Option<&[&str]>) -> Result<Vec<Topic>, ClusterError> {
        let topics = names.map(|names| {
            names.iter().map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() }).collect()
        });
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let answer = self.any()?.ask(&request)?;
        let host = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let brokers: BTreeMap<_, _> = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id, format!("{}:{}", host(&broker.host), broker.port)))
            .collect();
        let controller = answer.controller_id;
        let topics = answer.topics.into_iter().map(Topic::of).collect();
        (self.brokers, self.controller) = (brokers, controller);
        Ok(topics)
    }

    /// A topic; waits until its partitions have leaders, but not longer than for an answer.
    ///
    /// # Errors
    /// No broker answers. What is wrong with the topic stands in its error.
    pub fn topic(&mut self, name: &str) -> Result<Topic, ClusterError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let found = self.topics(Some(&[name]))?.into_iter().next();
            let found = found.unwrap_or_else(|| Topic {
                name: name.to_owned(),
                id: Uuid::nil(),
                error: ErrorCode::UnknownTopicOrPartition,
                is_internal: false,
                partitions: Vec::new(),
            });
            let waits = passes(found.error) || (found.error.is_none() && !found.is_led());
            if !waits || Instant::now() >= deadline {
                return Ok(found);
            }
            sleep(AGAIN);
        }
    }

    /// The broker that keeps a group; waits until there is one, but not longer than for an answer.
    ///
    /// # Errors
    /// No broker answers, or there is no coordinator.
    pub fn coordinator(&mut self, group: &str) -> Result<i32, ClusterError> {
        let deadline = Instant::now() + self.patience;
        let request =
            FindCoordinatorRequest { key: group, coordinator_keys: vec![group], ..Default::default() };
        loop {
            let answer = self.any()?.ask(&request)?;
            let (code, node, message) = match answer.coordinators.into_iter().next() {
                Some(told) => (told.error, told.node_id, told.error_message),
                None => (answer.error, answer.node_id, answer.error_message),
            };
            if code.is_none() {
                return Ok(node);
            }
            if !passes(code) || Instant::now() >= deadline {
                let message = message.filter(|text| !text.is_empty()).map(|text| format!(": {text}"));
                let message = message.unwrap_or_default();
                return Err(ClusterError::Coordinator { group: group.to_owned(), code, message });
            }
            sleep(AGAIN);
        }
    }
}
