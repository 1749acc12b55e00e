//! Questions to a broker beside the load: topics removed and enlarged, and what it says of its flushes.
//!
//! Promise: old, inflexible versions only, which every broker that has the API serves.

use anyhow::{Context, Result, ensure};
use keylane_kafka::messages::create_partitions::{CreatePartitionsRequest, PartitionsTopic};
use keylane_kafka::messages::delete_topics::DeleteTopicsRequest;
use keylane_kafka::messages::describe_configs::{
    ConfigResource, DescribeConfigsRequest, DescribedConfig, TOPIC,
};

use crate::client::{Admin, PARTITIONS_AT_ONCE};

const DELETE_TOPICS: i16 = 1;
const DESCRIBE_CONFIGS: i16 = 1;
const CREATE_PARTITIONS: i16 = 0;

/// Settings of a topic that say when its records are flushed.
pub const FLUSH_SETTINGS: [&str; 2] = ["flush.messages", "flush.ms"];

impl Admin {
    pub fn delete_topic(&mut self, topic: &str) -> Result<()> {
        let request =
            DeleteTopicsRequest { topic_names: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer = self.client.ask(DELETE_TOPICS, &request)?;
        let code = answer.topics.first().context("an answer about no topic")?.error;
        ensure!(code.is_none(), "deleting topic {topic}: {code}");
        Ok(())
    }

    /// Gives a topic `total` partitions, a few thousand at a time.
    pub fn raise_partitions(&mut self, topic: &str, from: i32, total: i32) -> Result<()> {
        let mut count = from;
        while count < total {
            count = total.min(count + PARTITIONS_AT_ONCE);
            let wanted = PartitionsTopic { name: topic, count, assignments: None };
            let request =
                CreatePartitionsRequest { topics: vec![wanted], timeout_ms: 60_000, validate_only: false };
            let answer = self.client.ask(CREATE_PARTITIONS, &request)?;
            let code = answer.topics.first().context("an answer about no topic")?.error;
            ensure!(code.is_none(), "raising {topic} to {count} partitions: {code}");
        }
        Ok(())
    }

    /// Name and value of each of [`FLUSH_SETTINGS`] that the broker tells.
    pub fn flush_settings(&mut self, topic: &str) -> Result<Vec<(String, String)>> {
        let wanted = ConfigResource { kind: TOPIC, name: topic, keys: Some(FLUSH_SETTINGS.to_vec()) };
        let request = DescribeConfigsRequest { resources: vec![wanted], ..Default::default() };
        let answer = self.client.ask(DESCRIBE_CONFIGS, &request)?;
        let told = answer.resources.into_iter().next().context("an answer about no topic")?;
        ensure!(told.error.is_none(), "settings of {topic}: {}", told.error);
        let setting = |config: DescribedConfig<'_>| {
            (config.name.into_owned(), config.value.unwrap_or_default().into_owned())
        };
        Ok(told.configs.into_iter().map(setting).collect())
    }
}

/// What the settings of flushing mean, in words.
pub fn durability_in_words(settings: &[(String, String)]) -> String {
    let value =
        |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let Some(messages) = value("flush.messages") else { return "not told".to_owned() };
    let ms = value("flush.ms");
    let never = |text: &str| text.parse::<i64>().is_ok_and(|number| number >= i64::MAX / 2);
    match messages {
        "1" => "flush.messages=1: flushed before each ack".to_owned(),
        _ if never(messages) && ms.is_none_or(never) => {
            "flush.messages=never (default): acked from the page cache, lost with the power".to_owned()
        }
        _ => format!("flush.messages={messages}, flush.ms={}", ms.unwrap_or("not told")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_flushing_are_told_in_words() {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let never = durability_in_words(&[setting("flush.messages", "9223372036854775807")]);
        assert!(never.contains("page cache"), "{never}");
        assert!(durability_in_words(&[setting("flush.messages", "1")]).contains("before each ack"));
        assert_eq!(durability_in_words(&[]), "not told");
    }
}
