//! Why a command that talks to brokers failed, and what the person can do.
//!
//! Promise: every failure says what was done when it happened, what the broker said, and where there is something to do, that.
use std::io;

use keylane_kafka::ErrorCode;
use keylane_kafka::client::ClientError;
use keylane_kafka::cluster::ClusterError;

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No answer from the brokers.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The broker refused.
    #[error("{doing}: {code}{}", said(.message))]
    Refused {
        /// What was asked for.
        doing: String,
        /// Its answer.
        code: ErrorCode,
        /// What it said beyond the code.
        message: String,
    },
    /// The command cannot be done as it was given.
    #[error("{0}")]
    Unfit(String),
    /// Some of the things that were asked for failed; what is wrong was told for each.
    #[error("not all could be done")]
    Told,
    /// What was read cannot be understood.
    #[error("{0}")]
    Data(String),
    /// Nobody takes the output.
    #[error("writing the output")]
    Output(#[source] io::Error),
    /// The input cannot be read.
    #[error("reading {what}")]
    Input {
        /// From where.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn said(message: &str) -> String {
    match message.trim_end().trim_end_matches('.') {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

impl Failure {
    /// A refusal; nothing if the code says that all went well.
    pub fn unless_none(doing: impl Into<String>, code: ErrorCode, message: Option<&str>) -> Result<(), Self> {
        match code.is_none() {
            true => Ok(()),
            false => {
                let message = message.unwrap_or_default().to_owned();
                Err(Self::Refused { doing: doing.into(), code, message })
            }
        }
    }

    /// The code that the broker gave.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::Cluster(ClusterError::Coordinator { code, .. }) => Some(*code),
            _ => None,
        }
    }

    /// What to do.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Cluster(error) => of_cluster(error),
            Self::Refused { code, .. } => of_code(*code),
            _ => None,
        }
    }

    /// The failure with its causes and what to do, in one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(error.to_string().trim_end());
            cause = error.source();
        }
        if let Some(advice) = self.advice() {
            line.push_str("; ");
            line.push_str(advice);
        }
        line
    }
}

fn of_cluster(error: &ClusterError) -> Option<&'static str> {
    const WHERE: &str =
        "is a broker running there? name another one with --brokers HOST:PORT or KEYLANE_BROKERS";
    Some(match error {
        ClusterError::Address { .. } | ClusterError::NoBroker => {
            "write --brokers HOST:PORT, with commas between several"
        }
        ClusterError::Broker { source: ClientError::Connect { .. }, .. } => WHERE,
        ClusterError::Broker { source: ClientError::Io { source, .. }, .. } => match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "the broker is busy or hangs: try again, with a longer --timeout"
            }
            _ => {
                "the broker closed the connection: look into its log; a port with TLS or a login does so, and this tool knows neither"
            }
        },
        ClusterError::Broker { .. } => "is it Kafka's protocol that is spoken there?",
        ClusterError::Unserved { .. } => "use a newer broker, or a tool of its own version",
        ClusterError::NoSuchBroker(_) => "the broker has gone or has just started: try again",
        ClusterError::Coordinator { code, .. } => return of_code(*code),
        _ => return None,
    })
}

fn of_code(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition => {
            "`keylane topic list` shows the topics, `keylane topic describe TOPIC` the partitions of one"
        }
        ErrorCode::TopicAlreadyExists => "take another name, or give --if-not-exists",
        ErrorCode::InvalidReplicationFactor => "give no more --replicas than there are brokers",
        ErrorCode::InvalidConfig => "`keylane topic describe TOPIC --all` shows names and values of settings",
        ErrorCode::InvalidTopicException => {
            "letters and digits of ASCII, dots, hyphens and underscores make a name"
        }
        ErrorCode::InvalidPartitions => "partitions are added, never removed",
        ErrorCode::OffsetOutOfRange => {
            "`keylane topic describe` shows the first and the next offset of each partition"
        }
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "raise the topic's limit with `keylane topic alter TOPIC -c max.message.bytes=N`, or write smaller records"
        }
        ErrorCode::RequestTimedOut => "the broker is busy: try again, with a longer --timeout",
        ErrorCode::NonEmptyGroup | ErrorCode::GroupSubscribedToTopic => {
            "stop the members first; `keylane group describe GROUP` shows them"
        }
        ErrorCode::GroupIdNotFound => "`keylane group list` shows the groups",
        ErrorCode::LeaderNotAvailable
        | ErrorCode::NotLeaderOrFollower
        | ErrorCode::CoordinatorNotAvailable => "a broker is starting or has gone: try again",
        ErrorCode::KafkaStorageError => "the broker's disk has failed or is full: look into its log",
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => {
            "this tool has no login: the broker must allow it to clients without one"
        }
        _ => return None,
    })
}
