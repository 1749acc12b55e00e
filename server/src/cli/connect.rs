//! The options that all commands have which talk to brokers, and the connection that they lead to.
use std::time::Duration;

use keylane_kafka::ErrorCode;
use keylane_kafka::cluster::{Cluster, Topic};

use super::failure::Failure;

/// What the tool calls itself to brokers.
const CLIENT_ID: &str = "keylane";

/// Options of commands that talk to brokers.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Brokers, with commas between them: Keylane, Apache Kafka or another one that speaks Kafka's protocol
    #[arg(
        short,
        long,
        global = true,
        env = "KEYLANE_BROKERS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:9092"
    )]
    pub brokers: Vec<String>,
    /// Seconds to wait for an answer
    #[arg(
        long, global = true, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub timeout: u32,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// Connects.
    pub fn connect(&self) -> Result<Cluster, Failure> {
        let named = self.brokers.iter().map(|address| with_port(address.trim())).collect();
        let patience = Duration::from_secs(u64::from(self.timeout));
        Ok(Cluster::connect(named, CLIENT_ID, patience)?)
    }

    /// How long a broker may take for a change, in milliseconds.
    pub fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout).unwrap_or(i32::MAX).saturating_mul(1000)
    }
}

/// A host alone means Kafka's port.
fn with_port(address: &str) -> String {
    let has_port =
        address.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    if has_port { address.to_owned() } else { format!("{address}:9092") }
}

/// A topic that exists.
pub fn existing(cluster: &mut Cluster, name: &str) -> Result<Topic, Failure> {
    let topic = cluster.topic(name)?;
    Failure::unless_none(format!("topic {name}"), topic.error, None)?;
    if !topic.is_led() {
        Failure::unless_none(format!("topic {name}"), ErrorCode::LeaderNotAvailable, None)?;
    }
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_means_the_port_of_kafka() {
        for (given, wanted) in
            [("host", "host:9092"), ("host:1", "host:1"), ("[::1]:1", "[::1]:1"), ("[::1]", "[::1]:9092")]
        {
            assert_eq!(with_port(given), wanted);
        }
    }
}
