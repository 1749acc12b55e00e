//! Settings of topics as they are given on the command line, and as brokers tell them.
use std::str::FromStr;

use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::describe_configs::{
    ConfigResource, ConfigSource, DescribeConfigsRequest, TOPIC,
};
use serde::Serialize;

use crate::cli::failure::Failure;

/// A setting as it is given: `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}

/// A setting of a topic, as a broker tells it.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value; `null` for a secret.
    pub value: Option<String>,
    /// Where it comes from: topic, broker or default.
    pub source: &'static str,
}

/// The settings of topics, in the order of the names.
pub fn settings(cluster: &mut Cluster, topics: &[String]) -> Result<Vec<Vec<Setting>>, Failure> {
    let resources = topics.iter().map(|name| ConfigResource { kind: TOPIC, name, keys: None }).collect();
    let answer = cluster.any()?.ask(&DescribeConfigsRequest { resources, ..Default::default() })?;
    let mut found = vec![Vec::new(); topics.len()];
    for told in answer.resources {
        Failure::unless_none(
            format!("settings of {}", told.name),
            told.error,
            told.error_message.as_deref(),
        )?;
        let Some(at) = topics.iter().position(|name| *name == told.name) else { continue };
        let mut settings: Vec<_> = (told.configs.into_iter())
            .map(|config| Setting {
                name: config.name.into_owned(),
                value: config.value.map(|value| value.into_owned()),
                source: source(config.source),
            })
            .collect();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        found[at] = settings;
    }
    Ok(found)
}

fn source(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Topic => "topic",
        ConfigSource::DynamicBroker
        | ConfigSource::DynamicDefaultBroker
        | ConfigSource::StaticBroker
        | ConfigSource::DynamicBrokerLogger => "broker",
        ConfigSource::Default => "default",
        ConfigSource::Unknown => "unknown",
    }
}
