//! What is asked of a group: the options of `run`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::assignor::Strategy;
use super::spec::Protocol;
use crate::units::parse_duration;

/// A protocol of groups, as Kafka's consumers call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupProtocol {
    Classic,
    Consumer,
}

#[derive(Debug, Clone, Args)]
pub struct GroupArgs {
    /// A group of so many members reads the topic, too: they subscribe, commit and rebalance.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N", conflicts_with = "kinesis")]
    pub group: u32,
    /// Every so often a member leaves, is killed, or a new one joins.
    #[arg(long, value_parser = parse_duration, value_name = "TIME", requires = "group")]
    pub group_churn: Option<Duration>,
    /// How members are in the group: by the classic protocol, or that of KIP-848 (Kafka's `group.protocol=consumer`).
    #[arg(long, value_enum, default_value_t = GroupProtocol::Classic)]
    pub group_protocol: GroupProtocol,
    /// How members of the classic protocol give partitions up before a rebalance [default: eager]
    #[arg(long, value_enum)]
    pub group_strategy: Option<Strategy>,
    /// How long a member may be silent. A broker has a least time for it: Kafka's is 6 s. By KIP-848 a named broker
    /// decides it, Kafka for 45 s.
    #[arg(long, default_value = "6s", value_parser = parse_duration, value_name = "TIME")]
    pub group_session: Duration,
    /// Members commit what they have fetched so many milliseconds before they read it, so that the checks must find records lost.
    #[arg(long, default_value_t = 0, value_name = "MS", hide = true)]
    pub group_ahead: u64,
}

impl GroupArgs {
    /// The protocol of its members.
    ///
    /// # Errors
    /// A strategy for members that have none.
    pub fn protocol(&self) -> Result<Protocol> {
        match (self.group_protocol, self.group_strategy) {
            (GroupProtocol::Classic, strategy) => Ok(Protocol::Classic(strategy.unwrap_or(Strategy::Eager))),
            (GroupProtocol::Consumer, None) => Ok(Protocol::Consumer),
            (GroupProtocol::Consumer, Some(_)) => bail!(
                "--group-strategy is about the classic protocol: by --group-protocol consumer the broker assigns partitions"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::RunArgs;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn a_strategy_is_for_members_that_have_one() {
        let protocol = |args: &str| Program::parse_from(args.split(' ')).run.group.protocol();
        assert!(matches!(protocol("run"), Ok(Protocol::Classic(Strategy::Eager))));
        let cooperative = protocol("run --group-strategy cooperative");
        assert!(matches!(cooperative, Ok(Protocol::Classic(Strategy::Cooperative))));
        assert!(matches!(protocol("run --group-protocol consumer"), Ok(Protocol::Consumer)));
        let refused = protocol("run --group-protocol consumer --group-strategy eager").unwrap_err();
        assert!(refused.to_string().contains("--group-strategy"));
    }
}
