//! Settings of the broker that are changed while it runs: values of topics' settings for topics that do not set them themselves, and levels
//! of the log.
//!
//! A value counts in this order: the topic's own, the broker's, that for all brokers, the server's option, the default. Promise: a change is
//! made as a whole or refused; what no topic could have is refused.

use keylane_engine::catalog::ServerSettings;

use crate::config::{ServerConfig, Values};

use super::change::{Change, SettingsError};
use super::in_force::check_together;
use super::table::SETTINGS;

/// Whose settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Those of all brokers.
    AllBrokers,
    /// Those of the only broker.
    Broker,
}

/// Settings that were changed while the server ran. They are kept in the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerSettings {
    /// For all brokers, by the name that a setting has on a topic.
    all_brokers: Values,
    /// For the only broker, by the same names.
    broker: Values,
    /// Levels of the log, by module.
    pub log_levels: Values,
}

/// Names of the groups in the catalog.
const ALL_BROKERS: &str = "all-brokers";
const BROKER: &str = "broker";
const LOG_LEVELS: &str = "log-levels";

/// The name that a setting has on topics, by that on a broker.
pub fn name_on_topics(on_broker: &str) -> Option<&'static str> {
    let setting = SETTINGS.iter().find(|s| s.broker.is_some_and(|name| name.name() == on_broker));
    setting.map(|setting| setting.name)
}

impl From<&ServerSettings> for BrokerSettings {
    fn from(stored: &ServerSettings) -> Self {
        let group = |name| stored.get(name).cloned().unwrap_or_default();
        Self { all_brokers: group(ALL_BROKERS), broker: group(BROKER), log_levels: group(LOG_LEVELS) }
    }
}

impl BrokerSettings {
    /// As the catalog keeps them.
    pub fn stored(&self) -> ServerSettings {
        let groups =
            [(ALL_BROKERS, &self.all_brokers), (BROKER, &self.broker), (LOG_LEVELS, &self.log_levels)];
        groups.into_iter().map(|(name, values)| (name.to_owned(), values.clone())).collect()
    }

    /// The settings of a layer, by their names on topics.
    pub fn layer(&self, layer: Layer) -> &Values {
        match layer {
            Layer::AllBrokers => &self.all_brokers,
            Layer::Broker => &self.broker,
        }
    }

    /// The server's settings with these.
    pub fn over(&self, config: &ServerConfig) -> ServerConfig {
        let mut config = self.below(Layer::Broker, config);
        config.topic_defaults.extend(self.broker.clone());
        config
    }

    /// The server's settings with those that count after a layer.
    fn below(&self, layer: Layer, config: &ServerConfig) -> ServerConfig {
        let mut config = config.clone();
        if layer == Layer::Broker {
            config.topic_defaults.extend(self.all_brokers.clone());
        }
        config
    }

    /// The settings after a change of a layer. `config`: what was given at the start.
    ///
    /// # Errors
    /// [`SettingsError`] if no topic could have what the change asks for.
    pub fn changed(
        &self,
        layer: Layer,
        change: &Change,
        config: &ServerConfig,
    ) -> Result<Self, SettingsError> {
        let values = change.apply(self.layer(layer), &self.below(layer, config))?;
        let mut after = self.clone();
        match layer {
            Layer::AllBrokers => after.all_brokers = values,
            Layer::Broker => after.broker = values,
        }
        check_together(&Values::new(), &after.over(config)).map_err(SettingsError::Value)?;
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::Operation;
    use super::super::in_force::{log_config, max_message_bytes};
    use super::*;

    fn set(name: &str, value: &str) -> Change {
        Change::Each(vec![(name.to_owned(), Operation::Set, Some(value.to_owned()))])
    }

    #[test]
    fn a_topic_counts_before_the_broker_and_that_before_all_brokers_and_options() {
        let options = Values::from([("retention.ms".to_owned(), "1".to_owned())]);
        let config = ServerConfig { topic_defaults: options, ..ServerConfig::default() };
        let retention =
            |settings: &BrokerSettings, own: &Values| log_config(own, &settings.over(&config)).retention_ms;
        let nothing = BrokerSettings::default();
        assert_eq!(retention(&nothing, &Values::new()), Some(1));
        let all = nothing.changed(Layer::AllBrokers, &set("retention.ms", "2"), &config).unwrap();
        assert_eq!(retention(&all, &Values::new()), Some(2));
        let both = all.changed(Layer::Broker, &set("retention.ms", "3"), &config).unwrap();
        assert_eq!(retention(&both, &Values::new()), Some(3));
        let own = Values::from([("retention.ms".to_owned(), "4".to_owned())]);
        assert_eq!(retention(&both, &own), Some(4));
        let back = both.changed(Layer::Broker, &Change::Replace(Vec::new()), &config).unwrap();
        assert_eq!(back, all);
        assert_eq!(BrokerSettings::from(&both.stored()), both);
    }

    #[test]
    fn limits_with_options_of_their_own_are_changed_too() {
        let config = ServerConfig::default();
        let change = set("max.message.bytes", "5000");
        let after = BrokerSettings::default().changed(Layer::Broker, &change, &config).unwrap();
        assert_eq!(max_message_bytes(&Values::new(), &after.over(&config)), 5000);
        let change = set("segment.bytes", "2000000");
        let after = after.changed(Layer::AllBrokers, &change, &config).unwrap();
        assert_eq!(log_config(&Values::new(), &after.over(&config)).segment_bytes, 2_000_000);
        assert_eq!(after.over(&config).segment_bytes, config.segment_bytes, "files stay as they are");
    }

    #[test]
    fn what_no_topic_could_have_is_refused() {
        let config = ServerConfig::default();
        let settings = BrokerSettings::default();
        for (name, value) in [("retention.ms", "-2"), ("no.such.thing", "1"), ("segment.bytes", "1")] {
            assert!(settings.changed(Layer::Broker, &set(name, value), &config).is_err(), "{name}");
        }
        let low = settings.changed(Layer::AllBrokers, &set("max.compaction.lag.ms", "5"), &config).unwrap();
        let refused = low.changed(Layer::Broker, &set("min.compaction.lag.ms", "6"), &config).unwrap_err();
        assert!(refused.to_string().contains("is above"), "{refused}");
    }

    #[test]
    fn names_are_those_of_the_broker() {
        assert_eq!(name_on_topics("log.retention.ms"), Some("retention.ms"));
        assert_eq!(name_on_topics("message.max.bytes"), Some("max.message.bytes"));
        assert_eq!((name_on_topics("retention.ms"), name_on_topics("num.partitions")), (None, None));
    }
}
