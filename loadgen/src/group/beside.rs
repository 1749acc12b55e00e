//! A group beside a load: started with it, and ended when it has read everything.

use std::time::Duration;

use anyhow::Result;

use super::args::GroupArgs;
use super::churn::Churn;
use super::fleet::Fleet;
use super::history::Finding;
use super::spec::{Protocol, Spec};
use super::summary::GroupReport;
use super::wire::Timeouts;
use crate::consumer::LIMITS;
use crate::fetch_shape::FetchLimits;
use crate::setup::Target;

/// How long a group may take to read and commit the rest, besides a session that has to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a broker lets a member of KIP-848 be silent: Kafka's default, and the least that it takes.
const BROKERS_SESSION: Duration = Duration::from_secs(45);
const REBALANCE_MS: i32 = 30_000;

/// A group that reads while a load runs.
pub struct Beside {
    churn: Churn,
    session: Duration,
}

/// The member's settings for a topic.
fn spec(args: &GroupArgs, target: &Target, restarts: bool) -> Result<Spec> {
    let session_ms = args.group_session.as_millis() as i32;
    Ok(Spec {
        address: target.address,
        group: format!("{}-group", target.topic),
        topic: target.topic.clone(),
        begin: target.begin.clone(),
        protocol: args.protocol()?,
        times: Timeouts { session_ms, rebalance_ms: REBALANCE_MS },
        heartbeat: (args.group_session / 10).min(Duration::from_secs(1)),
        commit_every: Duration::from_millis(50),
        ahead: args.group_ahead,
        restarts,
        limits: FetchLimits { max_wait_ms: 50, ..LIMITS },
    })
}

impl Beside {
    /// Starts the group that is asked for, if one is.
    pub fn start(args: &GroupArgs, target: &Target, restarts: bool) -> Result<Option<Self>> {
        if args.group == 0 {
            return Ok(None);
        }
        let mut fleet = Fleet::new(spec(args, target, restarts)?);
        fleet.add(args.group as usize)?;
        let churn = Churn::start(fleet, args.group_churn);
        Ok(Some(Self { churn, session: args.group_session }))
    }

    /// Waits until the group has committed everything up to these ends, and ends it.
    pub fn finish(self, ends: &[i64]) -> Result<(GroupReport, Vec<Finding>)> {
        let fleet = self.churn.stop()?;
        let session = match fleet.spec.protocol {
            Protocol::Classic(_) => self.session,
            Protocol::Consumer => self.session.max(BROKERS_SESSION),
        };
        let complete = fleet.caught_up(ends, PATIENCE + session);
        let (begin, protocol) = (fleet.spec.begin.clone(), fleet.spec.protocol.name());
        let hindered = fleet.books.hindered().clone();
        let (history, counts) = fleet.end()?;
        let mut report = GroupReport::of(&history, counts, protocol, (&begin, ends));
        report.complete = complete;
        if !complete {
            let stuck =
                hindered.iter().map(|(member, fault)| format!("member {member} is kept out: {fault}"));
            report.troubles.extend(stuck);
        }
        Ok((report, history.check(&begin, ends)))
    }
}
