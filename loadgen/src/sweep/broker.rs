//! The brokers of a sweep: where they are, which process they are, and what they say of their durability.

use anyhow::{Context, Result, ensure};

use super::args::SweepArgs;
use super::result::NamedBroker;
use super::spec::BrokerSpec;
use crate::args::RunArgs;
use crate::client::{self, Admin};
use crate::report::Report;
use crate::setup::random_u64;
use crate::topic_admin::durability_in_words;

pub struct Broker {
    pub spec: BrokerSpec,
    pub durability: Option<String>,
    /// MB/s of each measurement before the sweep.
    pub warm_up: Vec<f64>,
}

/// The brokers that were asked for; those with an address must answer.
pub fn all(args: &SweepArgs) -> Result<Vec<Broker>> {
    let mut specs = args.brokers.clone();
    if specs.is_empty() {
        let (name, address) = match &args.bootstrap {
            Some(address) => ("broker", Some(address.clone())),
            None => ("keylane", None),
        };
        specs.push(BrokerSpec { name: name.to_owned(), address, pid: None, note: None });
    }
    for (index, spec) in specs.iter().enumerate() {
        let same = specs[..index].iter().any(|other| other.name == spec.name);
        ensure!(!same, "two brokers are called {}", spec.name);
    }
    specs.into_iter().map(Broker::reach).collect()
}

impl Broker {
    fn reach(spec: BrokerSpec) -> Result<Self> {
        let mut broker = Self { spec, durability: None, warm_up: Vec::new() };
        if let Some(address) = &broker.spec.address {
            let address = client::resolve(address)?;
            Admin::connect(address).with_context(|| format!("broker {}", broker.spec.name))?;
            broker.durability = ask_durability(address).ok();
        }
        Ok(broker)
    }

    /// Options of `run` for this broker, as arguments.
    pub fn args_of(&self, options: &[String]) -> Result<RunArgs> {
        RunArgs::from_words(options.iter().map(String::as_str)).context("options of a point")
    }

    /// An embedded server tells its setting only while it runs.
    pub fn learn(&mut self, report: &Report) {
        if self.durability.is_none() {
            self.durability.clone_from(&report.durability);
        }
    }

    pub fn into_named(self) -> NamedBroker {
        let Self { spec, durability, warm_up } = self;
        let told = durability.is_some();
        NamedBroker {
            name: spec.name,
            address: spec.address.unwrap_or_else(|| "embedded".to_owned()),
            durability: durability.or_else(|| spec.note.clone()).unwrap_or_else(|| "not told".to_owned()),
            durability_told_by: if told { "DescribeConfigs" } else { "the command line" }.to_owned(),
            note: spec.note.unwrap_or_default(),
            warm_up,
        }
    }
}

/// Asks with a topic that is there only for the question: settings of the broker are not in every version.
pub fn ask_durability(address: std::net::SocketAddr) -> Result<String> {
    let mut admin = Admin::connect(address)?;
    let topic = format!("keylane-load-settings-{:08x}", random_u64() as u32);
    admin.create_topic(&topic, 1, &[])?;
    admin.wait_for_topic(&topic, std::time::Duration::from_secs(60))?;
    let settings = admin.flush_settings(&topic);
    // A broker that cannot delete topics keeps an empty one.
    let _ = admin.delete_topic(&topic);
    let settings = settings?;
    ensure!(!settings.is_empty(), "no settings");
    Ok(durability_in_words(&settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_read_from_the_command_line() {
        let spec: BrokerSpec = "kafka=127.0.0.1:9092,pid=7,note=no flush, ever".parse().unwrap();
        assert_eq!((spec.name.as_str(), spec.pid), ("kafka", Some(7)));
        assert_eq!(spec.address.as_deref(), Some("127.0.0.1:9092"));
        assert_eq!(spec.note.as_deref(), Some("no flush, ever"));
        let own: BrokerSpec = "keylane=embedded".parse().unwrap();
        assert_eq!((own.address, own.pid), (None, None));
        for wrong in ["", "kafka", "=x:1", "kafka=x:1,pid=a", "kafka=x:1,what=2"] {
            assert!(wrong.parse::<BrokerSpec>().is_err(), "{wrong}");
        }
    }
}
