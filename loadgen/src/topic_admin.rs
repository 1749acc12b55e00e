//! Questions to a broker beside the load: topics removed and enlarged, and what it says of its flushes.
//!
//! Promise: old, inflexible versions only, which every broker that has the API serves.

use anyhow::{Context, Result, ensure};

use crate::client::Admin;
use crate::protocol;
use crate::wire::{Decoded, Put, Reader};

const DELETE_TOPICS: i16 = 20;
const DESCRIBE_CONFIGS: i16 = 32;
const CREATE_PARTITIONS: i16 = 37;

/// Brokers refuse to create more than some number of partitions in one request.
pub const PARTITIONS_AT_ONCE: i32 = 5_000;

/// Settings of a topic that say when its records are flushed.
pub const FLUSH_SETTINGS: [&str; 2] = ["flush.messages", "flush.ms"];

impl Admin {
    pub fn delete_topic(&mut self, topic: &str) -> Result<()> {
        let body = self.ask(DELETE_TOPICS, 1, |out| {
            out.i32(1);
            out.string(topic, false);
            out.i32(30_000);
        })?;
        let mut r = Reader::new(&body);
        r.i32()?;
        ensure!(r.count(false)? == 1, "an answer about no topic");
        r.string(false)?;
        let code = r.i16()?;
        ensure!(code == 0, "deleting topic {topic}: {}", protocol::error_name(code));
        Ok(())
    }

    /// Gives a topic `total` partitions, a few thousand at a time.
    pub fn raise_partitions(&mut self, topic: &str, from: i32, total: i32) -> Result<()> {
        let mut count = from;
        while count < total {
            count = total.min(count + PARTITIONS_AT_ONCE);
            let body = self.ask(CREATE_PARTITIONS, 0, |out| {
                out.i32(1);
                out.string(topic, false);
                out.i32(count);
                out.i32(-1);
                out.i32(60_000);
                out.i8(0);
            })?;
            let mut r = Reader::new(&body);
            r.i32()?;
            ensure!(r.count(false)? == 1, "an answer about no topic");
            r.string(false)?;
            let code = r.i16()?;
            ensure!(code == 0, "raising {topic} to {count} partitions: {}", protocol::error_name(code));
        }
        Ok(())
    }

    /// Name and value of each of [`FLUSH_SETTINGS`] that the broker tells.
    pub fn flush_settings(&mut self, topic: &str) -> Result<Vec<(String, String)>> {
        let body = self.ask(DESCRIBE_CONFIGS, 1, |out| {
            out.i32(1);
            out.i8(2); // a topic
            out.string(topic, false);
            out.count(FLUSH_SETTINGS.len(), false);
            FLUSH_SETTINGS.iter().for_each(|name| out.string(name, false));
            out.i8(0);
        })?;
        let (code, settings) = decode_configs(&body).context("the answer to DescribeConfigs")?;
        ensure!(code == 0, "settings of {topic}: {}", protocol::error_name(code));
        Ok(settings)
    }
}

fn decode_configs(body: &[u8]) -> Decoded<(i16, Vec<(String, String)>)> {
    let mut r = Reader::new(body);
    r.i32()?;
    let mut found = (-1, Vec::new());
    for _ in 0..r.count(false)? {
        found.0 = r.i16()?;
        r.string(false)?;
        r.u8()?;
        r.string(false)?;
        for _ in 0..r.count(false)? {
            let setting = (r.text(false)?, r.text(false)?);
            r.take(3)?;
            for _ in 0..r.count(false)? {
                r.string(false)?;
                r.string(false)?;
                r.u8()?;
            }
            found.1.push(setting);
        }
    }
    Ok(found)
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
    fn settings_are_read_whole_or_not_at_all() {
        let mut out = Vec::new();
        out.i32(0);
        out.count(1, false);
        out.i16(0);
        out.string("", false);
        out.i8(2);
        out.string("t", false);
        out.count(1, false);
        out.string("flush.messages", false);
        out.string("9223372036854775807", false);
        out.extend_from_slice(&[0, 5, 0]);
        out.count(1, false);
        out.string("log.flush.interval.messages", false);
        out.string("9223372036854775807", false);
        out.i8(5);
        let (code, settings) = decode_configs(&out).unwrap();
        assert_eq!(code, 0);
        assert!(durability_in_words(&settings).contains("page cache"), "{settings:?}");
        for len in 0..out.len() {
            assert!(decode_configs(&out[..len]).is_err(), "cut at {len}");
        }
        let flushed = [("flush.messages".to_owned(), "1".to_owned())];
        assert!(durability_in_words(&flushed).contains("before each ack"));
        assert_eq!(durability_in_words(&[]), "not told");
    }
}
