//! `lab groups`: what a group of consumers does while members come and go. Who has which partitions, how long a rebalance
//! takes, what a slow member does to it, and what is different where members keep their partitions meanwhile (KIP-429) or
//! the coordinator deals them (KIP-848).

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use keylane_kafka::ApiKey;
use keylane_kafka::messages::list_offsets::LATEST;
use serde::Serialize;

use super::client::Record;
use super::world::World;
use super::{Claims, Common, Finding, verdict};
use crate::consumer::LIMITS;
use crate::fetch_shape::FetchLimits;
use crate::group::assignor::Strategy;
use crate::group::fleet::Fleet;
use crate::group::spec::{Protocol, Spec};
use crate::group::wire::Timeouts;
use crate::units::time;

const EAGER: Protocol = Protocol::Classic(Strategy::Eager);
const TOPIC: &str = "lab-groups";
const PATIENCE: Duration = Duration::from_secs(20);
/// A named broker has a least session: Kafka's is 6 s.
const SESSION_OF_OTHERS: Duration = Duration::from_secs(6);
const SESSION_OF_OURS: Duration = Duration::from_secs(1);
/// After this time a member is at work.
const BEGUN: Duration = Duration::from_millis(30);

#[derive(Debug, Clone, Args)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub common: Common,
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(4..=200), value_name = "N")]
    pub partitions: i32,
    /// Records of each partition.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=10_000), value_name = "N")]
    pub records: u32,
    /// How long the slow member works on a record, in milliseconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100), value_name = "MS")]
    pub work_ms: u64,
}

/// Something that happened to a group.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub what: &'static str,
    /// From then until the members shared all partitions again, in milliseconds.
    pub ms: f64,
    /// Partitions that members gave up for it.
    pub given_up: u64,
    /// How many partitions each member has, the most first.
    pub shares: Vec<usize>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GroupsFinding {
    pub broker: String,
    pub partitions: i32,
    pub records: u64,
    pub session_ms: u64,
    pub work_ms: u64,
    pub steps: Vec<Step>,
    pub eager: Step,
    pub cooperative: Step,
    /// `None`: the broker does not serve it.
    pub kip_848: Option<Step>,
    pub slow: Step,
    pub crowd: Step,
    /// Records that were read, all groups together, and that should have been.
    pub read: u64,
    pub wrong: Vec<String>,
}

impl Finding for GroupsFinding {
    fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

/// The topic, and what it takes to make groups that read it.
struct Bench<'a> {
    args: &'a GroupsArgs,
    world: &'a World,
    topic: String,
    session: Duration,
    ends: Vec<i64>,
    groups: u32,
    read: u64,
    claims: Claims,
}

impl Bench<'_> {
    /// A group of so many members that share the topic, none of which has read anything yet, or all of it.
    fn group(&mut self, protocol: Protocol, members: usize) -> Result<Fleet> {
        self.groups += 1;
        let mut fleet = Fleet::new(Spec {
            address: self.world.address(),
            group: format!("{}-{}-{:08x}", self.topic, self.groups, crate::setup::random_u64() as u32),
            topic: self.topic.clone(),
            begin: vec![0; self.args.partitions as usize],
            protocol,
            times: Timeouts { session_ms: self.session.as_millis() as i32, rebalance_ms: 30_000 },
            heartbeat: Duration::from_millis(50),
            commit_every: Duration::from_millis(20),
            ahead: 0,
            restarts: false,
            limits: FetchLimits { max_wait_ms: 20, ..LIMITS },
        });
        fleet.add(members)?;
        fleet.settled(PATIENCE)?;
        Ok(fleet)
    }

    /// Has something happen to a group, and waits until its members share the partitions again.
    fn step(
        &self,
        what: &'static str,
        fleet: &mut Fleet,
        act: impl FnOnce(&mut Fleet) -> Result<()>,
    ) -> Result<Step> {
        let (before, began) = (fleet.books.given_up(), Instant::now());
        act(fleet)?;
        fleet.settled(PATIENCE).with_context(|| format!("after {what}"))?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        let shares = fleet.books.shares();
        let mut shares: Vec<usize> =
            fleet.members.iter().map(|m| shares.get(&m.number).map_or(0, |share| share.len())).collect();
        shares.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Step { what, ms, given_up: fleet.books.given_up() - before, shares })
    }

    /// Waits until a group has read everything, ends it, and notes what is wrong.
    fn end(&mut self, name: &str, fleet: Fleet) -> Result<()> {
        let complete = fleet.caught_up(&self.ends, PATIENCE);
        self.claims.check(complete, format!("{name}: the group reads to the end"));
        let (history, _) = fleet.end()?;
        self.read += history.records;
        for finding in history.check(&vec![0; self.ends.len()], &self.ends).into_iter().take(3) {
            self.claims.check(false, format!("{name}: nothing is wrong ({})", finding.text));
        }
        for trouble in history.troubles.iter().take(3) {
            self.claims.check(false, format!("{name}: no request fails ({trouble})"));
        }
        Ok(())
    }
}

/// Members join, one leaves, one is killed.
fn come_and_go(bench: &mut Bench<'_>) -> Result<Vec<Step>> {
    let mut fleet = bench.group(EAGER, 1)?;
    let mut steps = Vec::new();
    for what in ["a second member joins", "a third joins", "a fourth joins"] {
        steps.push(bench.step(what, &mut fleet, |fleet| fleet.add(1))?);
    }
    steps.push(bench.step("one leaves", &mut fleet, Fleet::leave)?);
    steps.push(bench.step("one is killed", &mut fleet, Fleet::kill)?);
    bench.end("members come and go", fleet)?;
    Ok(steps)
}

/// A fourth member joins three.
fn fourth(bench: &mut Bench<'_>, protocol: Protocol, what: &'static str) -> Result<Step> {
    let mut fleet = bench.group(protocol, 3)?;
    let step = bench.step(what, &mut fleet, |fleet| fleet.add(1))?;
    bench.end(what, fleet)?;
    Ok(step)
}

/// A member joins one that works on what it has just read.
fn slow(bench: &mut Bench<'_>) -> Result<Step> {
    let mut fleet = bench.group(EAGER, 1)?;
    ensure!(fleet.caught_up(&bench.ends, PATIENCE), "a member does not read to the end");
    let work = Duration::from_millis(bench.args.work_ms);
    fleet.members.iter().for_each(|member| member.works(work));
    // One batch for one partition: it works on it as a whole.
    produce(bench, 1, bench.args.records)?;
    std::thread::sleep(BEGUN);
    let step = bench.step("a member joins one that is at work", &mut fleet, |fleet| fleet.add(1))?;
    fleet.members.iter().for_each(|member| member.works(Duration::ZERO));
    bench.end("a slow member", fleet)?;
    Ok(step)
}

/// Two members more than there are partitions for.
fn crowd(bench: &mut Bench<'_>) -> Result<Step> {
    let members = bench.args.partitions as usize + 2;
    let mut fleet = bench.group(EAGER, members - 1)?;
    let step = bench.step("more members than partitions", &mut fleet, |fleet| fleet.add(1))?;
    bench.end("more members than partitions", fleet)?;
    Ok(step)
}

/// So many records for each of the first partitions.
fn produce(bench: &mut Bench<'_>, partitions: i32, count: u32) -> Result<()> {
    let mut client = bench.world.client()?;
    let record = |n| Record {
        key: format!("key-{n}"),
        value: vec![b'v'; 20],
        time_ms: 1_700_000_000_000 + i64::from(n),
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    for partition in 0..partitions {
        client.produce(&bench.topic, partition, &records)?;
    }
    bench.ends = client.offsets_at(&bench.topic, bench.args.partitions, LATEST)?;
    Ok(())
}

/// Runs the experiment.
pub fn run(args: &GroupsArgs) -> Result<GroupsFinding> {
    let world = World::open(&args.common)?;
    let topic = world.client()?.create_topic(TOPIC, args.partitions)?;
    let session = if world.is_embedded() { SESSION_OF_OURS } else { SESSION_OF_OTHERS };
    let (ends, claims) = (Vec::new(), Claims::default());
    let mut bench = Bench { args, world: &world, topic, session, ends, groups: 0, read: 0, claims };
    produce(&mut bench, args.partitions, args.records)?;
    let steps = come_and_go(&mut bench)?;
    let eager = fourth(&mut bench, EAGER, "eager")?;
    let cooperative = fourth(&mut bench, Protocol::Classic(Strategy::Cooperative), "cooperative")?;
    let served = world.client()?.serves(ApiKey::ConsumerGroupHeartbeat)?;
    let kip_848 = served.then(|| fourth(&mut bench, Protocol::Consumer, "KIP-848")).transpose()?;
    let crowd = crowd(&mut bench)?;
    let slow = slow(&mut bench)?;
    let mut finding = GroupsFinding {
        broker: world.what(),
        partitions: args.partitions,
        records: u64::from(args.records),
        session_ms: session.as_millis() as u64,
        work_ms: args.work_ms,
        steps,
        eager,
        cooperative,
        kip_848,
        slow,
        crowd,
        read: bench.read,
        wrong: Vec::new(),
    };
    let mut claims = bench.claims;
    judge(&finding, &mut claims);
    finding.wrong = claims.into_wrong();
    world.close()?;
    Ok(finding)
}

fn judge(finding: &GroupsFinding, claims: &mut Claims) {
    let all = finding.partitions as u64;
    let session = finding.session_ms as f64;
    if let [.., leaves, killed] = &finding.steps[..] {
        claims.check(leaves.ms < session / 2.0, "who leaves is not missed for long");
        claims.check(killed.ms > session / 2.0, "who is killed is missed when its session ends");
    }
    claims.check(finding.eager.given_up == all, "an eager group gives up all partitions for a new member");
    let moved = finding.cooperative.given_up;
    claims.check(moved == all / 4, format!("a cooperative group gives up a fourth of them, not {moved}"));
    if let Some(step) = &finding.kip_848 {
        let moved = step.given_up;
        claims.check(moved == all / 4, format!("a group of KIP-848 gives up a fourth of them, not {moved}"));
    }
    let idle = finding.crowd.shares.iter().filter(|share| **share == 0).count();
    claims.check(idle == 2, format!("two members have nothing to do, not {idle}"));
    // It has begun when the other one comes.
    let work = finding.work_ms as f64 * finding.records as f64 - BEGUN.as_secs_f64() * 2e3;
    claims.check(finding.slow.ms > work, "a rebalance waits for a member that is at work");
}

fn row(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let shares: Vec<String> = step.shares.iter().map(usize::to_string).collect();
    let (what, took, given_up) = (step.what, time(step.ms * 1e3), step.given_up);
    writeln!(f, "   {what:<36} {took:>10}   {given_up:>3} given up   shares {}", shares.join(" "))
}

impl fmt::Display for GroupsFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lab groups: what a group does while members come and go")?;
        writeln!(
            f,
            "  {} partitions of {} records on {}; a member may be silent for {} ms.",
            self.partitions, self.records, self.broker, self.session_ms
        )?;
        writeln!(f)?;
        writeln!(f, "1. A rebalance: every member joins again, and one of them deals the partitions")?;
        self.steps.iter().try_for_each(|step| row(f, step))?;
        writeln!(f, "   Who leaves says so; who is killed is missed only when its session ends.")?;
        writeln!(f)?;
        writeln!(f, "2. Eager, cooperative and KIP-848: a fourth member joins three")?;
        row(f, &self.eager)?;
        row(f, &self.cooperative)?;
        match &self.kip_848 {
            Some(step) => row(f, step)?,
            None => writeln!(f, "   KIP-848                              this broker does not serve it")?,
        }
        writeln!(
            f,
            "   Eager members stop with all they have. Cooperative ones give up what goes to another member and"
        )?;
        writeln!(f, "   read on meanwhile; it takes them a second round to deal what was given up.")?;
        writeln!(
            f,
            "   By KIP-848 the coordinator deals: it asks those to give up from whom something goes, each at its own"
        )?;
        writeln!(f, "   heartbeat, and nobody waits for the others.")?;
        writeln!(f)?;
        writeln!(f, "3. A slow member: it works {} ms on each record when another one joins", self.work_ms)?;
        row(f, &self.slow)?;
        writeln!(
            f,
            "   Its heart beats, so it is not put out, and the rebalance waits until it asks for more."
        )?;
        writeln!(f)?;
        writeln!(f, "4. More members than partitions")?;
        row(f, &self.crowd)?;
        writeln!(f)?;
        let lesson = "A rebalance costs what the slowest member needs to join again. Let members leave\n  when they end, \
                      poll in small steps, take cooperative assignment, and have more partitions\n  than members.";
        verdict(f, &self.wrong, lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(ms: f64, given_up: u64, shares: &[usize]) -> Step {
        Step { what: "x", ms, given_up, shares: shares.to_vec() }
    }

    fn finding() -> GroupsFinding {
        GroupsFinding {
            broker: String::new(),
            partitions: 12,
            records: 100,
            session_ms: 1000,
            work_ms: 2,
            steps: vec![step(5.0, 0, &[6, 6]), step(4.0, 0, &[12]), step(900.0, 0, &[12])],
            eager: step(1.0, 12, &[3, 3, 3, 3]),
            cooperative: step(1.0, 3, &[3, 3, 3, 3]),
            kip_848: Some(step(1.0, 3, &[3, 3, 3, 3])),
            slow: step(190.0, 12, &[6, 6]),
            crowd: step(1.0, 12, &[1, 1, 0, 0]),
            read: 0,
            wrong: Vec::new(),
        }
    }

    /// The control of the check: findings that are not as they should be.
    #[test]
    fn claims_that_do_not_hold_are_named() {
        let wrong = |change: fn(&mut GroupsFinding)| {
            let (mut finding, mut claims) = (finding(), Claims::default());
            change(&mut finding);
            judge(&finding, &mut claims);
            claims.into_wrong().len()
        };
        assert_eq!(wrong(|_| ()), 0);
        let changes: [fn(&mut GroupsFinding); 7] = [
            |f| f.steps[1].ms = 700.0,
            |f| f.steps[2].ms = 100.0,
            |f| f.eager.given_up = 3,
            |f| f.cooperative.given_up = 12,
            |f| f.kip_848 = Some(step(1.0, 12, &[3, 3, 3, 3])),
            |f| f.crowd.shares = vec![1, 1, 1, 0],
            |f| f.slow.ms = 100.0,
        ];
        assert_eq!(changes.map(wrong), [1; 7]);
    }
}
