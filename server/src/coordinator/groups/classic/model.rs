//! Random histories of a group: processes join, assign, commit, leave, fall silent and are replaced, storing fails, the server
//! restarts. After each step the model, which knows only what processes were told, checks the promises of the module.
//!
//! `KEYLANE_GROUP_HISTORIES` is how many histories there are (10,000 without it).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use keylane_sim_disk::Rng;

use super::member::{NEW_MEMBER_JOIN, Protocol};
use super::planted::{Bug, plant};
use super::*;

const LIMITS: Limits = Limits { initial_delay: 300, size_max: 5, session_min: 1_000, session_max: 30_000 };
const PARTS: u8 = 6;
const STEPS: usize = 70;

/// A program that wants to be a member. One that keeps a name is replaced by another process under the same name.
#[derive(Debug, Clone)]
struct Process {
    id: Arc<str>,
    instance: Option<Arc<str>>,
    session: Millis,
    rebalance: Millis,
    protocols: Vec<Protocol>,
    /// What it was told last.
    generation: i32,
    /// Whom it leads.
    leads: Vec<Arc<str>>,
    waits: Option<Ticket>,
    /// It has ended: it asks nothing, and hears nothing.
    gone: bool,
}

struct World {
    rng: Rng,
    group: Group,
    now: Millis,
    processes: Vec<Process>,
    last: u64,
    /// Requests that were not answered, and whose they are.
    asked: BTreeMap<Ticket, usize>,
    storing: VecDeque<(StoreId, Stored)>,
    durable: Option<Stored>,
    /// The highest generation that somebody was told since the last start.
    told: i32,
    /// Who had a part in a generation: an id, or the name that a member keeps.
    owners: BTreeMap<(i32, u8), Arc<str>>,
    /// When an id was last heard of, with its session.
    heard: BTreeMap<Arc<str>, Millis>,
    findings: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            group: Group::new(LIMITS),
            now: 1_000,
            processes: Vec::new(),
            last: 0,
            asked: BTreeMap::new(),
            storing: VecDeque::new(),
            durable: None,
            told: 0,
            owners: BTreeMap::new(),
            heard: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    fn find(&mut self, what: String) {
        self.findings.push(format!("at {}: {what}; {:?}", self.now, self.group));
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn start_process(&mut self) {
        let instance: Option<Arc<str>> =
            self.rng.one_in(3).then(|| format!("instance-{}", self.rng.below(2)).into());
        let wants = || Bytes::from_static(b"wants");
        let mut protocols: Vec<Protocol> = vec![("range".into(), wants()), ("sticky".into(), wants())];
        protocols.rotate_left(self.rng.below(2) as usize);
        protocols.truncate(1 + self.rng.below(2) as usize);
        let process = Process {
            id: "".into(),
            instance,
            session: self.rng.between(1_000, 4_000),
            rebalance: self.rng.between(500, 6_000),
            protocols,
            generation: -1,
            leads: Vec::new(),
            waits: None,
            gone: false,
        };
        self.processes.push(process);
    }

    fn step(&mut self) {
        let living: Vec<usize> = (0..self.processes.len()).filter(|at| !self.processes[*at].gone).collect();
        if living.is_empty() || (living.len() < 8 && self.rng.one_in(6)) {
            return self.start_process();
        }
        let who = living[self.rng.below(living.len() as u64) as usize];
        match self.rng.below(20) {
            0..=4 => self.join(who),
            5..=8 => self.sync(who),
            9 | 10 => self.heartbeat(who),
            11 | 12 => self.commit(who),
            13 => self.end(who),
            14 | 15 => self.pass(),
            16..=18 => self.finish_storing(),
            _ => self.restart(),
        }
        self.settle();
        self.check();
    }

    fn join(&mut self, who: usize) {
        let (to, n, alters) = (self.number(), self.number(), self.rng.one_in(5));
        let (needs_id, can_skip) = (!self.rng.one_in(3), !self.rng.one_in(2));
        let process = &mut self.processes[who];
        if process.waits.is_some() {
            return;
        }
        if alters {
            process.protocols[0].1 = Bytes::from(format!("wants {n}"));
        }
        process.waits = Some(to);
        let join = Join {
            to,
            member_id: Arc::clone(&process.id),
            new_id: format!("id-{n}").into(),
            instance: process.instance.clone(),
            client_id: "client".into(),
            client_host: "/here".into(),
            session: process.session,
            rebalance: process.rebalance,
            protocol_type: "consumer".into(),
            protocols: process.protocols.clone(),
            needs_id,
            can_skip,
        };
        self.asked.insert(to, who);
        self.group.join(join, self.now);
    }

    fn sync(&mut self, who: usize) {
        let (to, now) = (self.number(), self.now);
        let Process { id, instance, generation, leads, waits, .. } = self.processes[who].clone();
        if waits.is_some() || generation < 0 {
            return;
        }
        let offset = self.rng.below(u64::from(PARTS)) as u8;
        let mut parts: Vec<(Arc<str>, Vec<u8>)> =
            leads.iter().map(|id| (Arc::clone(id), Vec::new())).collect();
        for part in 0..PARTS {
            if let Some(len @ 1..) = Some(parts.len()) {
                parts[usize::from((part + offset) % PARTS) % len].1.push(part);
            }
        }
        let parts = parts.into_iter().map(|(id, list)| (id, list.into())).collect();
        self.processes[who].waits = Some(to);
        self.asked.insert(to, who);
        let sync =
            Sync { to, member_id: id, instance, generation, protocol_type: None, protocol: None, parts };
        self.group.sync(sync, now);
    }

    fn heartbeat(&mut self, who: usize) {
        let Process { id, instance, generation, .. } = self.processes[who].clone();
        let answer = self.group.heartbeat(&id, instance.as_deref(), generation, self.now);
        if matches!(answer, Ok(()) | Err(Refused::Rebalancing)) {
            self.heard_of(who);
            if self.is_taken_over(who) {
                self.find(format!("{id} lives on, though another process has its name"));
            }
        }
        self.believe(who, &answer);
    }

    /// Whether the process that replaced this one has joined.
    fn is_taken_over(&self, who: usize) -> bool {
        let name = &self.processes[who].instance;
        if name.is_none() {
            return false;
        }
        let later = self.processes[who + 1..].iter();
        later
            .filter(|p| p.instance == *name)
            .any(|p| p.generation >= 0 && self.group.members().any(|m| m.id == p.id))
    }

    fn commit(&mut self, who: usize) {
        let Process { id, instance, generation, .. } = self.processes[who].clone();
        let answer = self.group.check_commit(&id, instance.as_deref(), generation, self.now);
        if answer.is_ok() && generation >= 0 {
            self.heard_of(who);
            if generation < self.told {
                self.find(format!("{id} commits in generation {generation}, {} was told", self.told));
            }
            if self.is_taken_over(who) {
                self.find(format!("{id} commits, though another process has its name"));
            }
        }
        self.believe(who, &answer);
    }

    /// A process ends: it says so, or it is killed.
    fn end(&mut self, who: usize) {
        let process = &mut self.processes[who];
        process.gone = true;
        let leaving = Leaving { member_id: Arc::clone(&process.id), instance: process.instance.clone() };
        if self.rng.one_in(2) && !leaving.member_id.is_empty() {
            let _refused = self.group.leave(&leaving, self.now);
        }
    }

    /// Time passes, in the steps that the group asks for.
    fn pass(&mut self) {
        let until = self.now + [50, 400, 2_000, 8_000][self.rng.below(4) as usize];
        self.pass_until(until);
    }

    fn pass_until(&mut self, until: Millis) {
        while let Some(due) = self.group.due().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.group.tick(self.now);
            self.settle();
            if self.group.due().is_some_and(|next| next <= self.now) {
                return self.find("it is due again at once".to_owned());
            }
        }
        self.now = until;
    }

    /// What waits longest to be stored is, mostly.
    fn finish_storing(&mut self) {
        let Some((id, what)) = self.storing.pop_front() else { return };
        let outcome = if self.rng.one_in(12) { Err(Refused::NotStored) } else { Ok(()) };
        if outcome.is_ok() {
            self.durable = Some(what);
        }
        self.group.stored(id, outcome, self.now);
    }

    /// The server ends, and starts with what is durable. Requests that waited fail.
    fn restart(&mut self) {
        if self.rng.one_in(2) {
            self.finish_storing();
            self.settle();
        }
        self.storing.clear();
        self.asked.clear();
        self.processes.iter_mut().for_each(|p| p.waits = None);
        self.heard.clear();
        let Some(durable) = &self.durable else {
            self.group = Group::new(LIMITS);
            self.told = 0;
            return;
        };
        self.group = Group::restore(durable, LIMITS, self.now);
        self.told = durable.generation;
        let members: Vec<_> =
            durable.members.iter().map(|m| (Arc::clone(&m.id), m.instance.clone())).collect();
        for (id, instance) in members {
            self.heard.insert(Arc::clone(&id), self.now);
            let answer = self.group.heartbeat(&id, instance.as_deref(), self.told, self.now);
            if answer.is_err() {
                self.find(format!("a restart costs {id} its place: {answer:?}"));
            }
        }
    }

    /// A process does what an answer says.
    fn believe(&mut self, who: usize, answer: &Result<(), Refused>) {
        let process = &mut self.processes[who];
        match answer {
            Err(Refused::UnknownMember) => process.id = "".into(),
            Err(Refused::Fenced) => process.gone = true,
            _ => {}
        }
    }

    fn heard_of(&mut self, who: usize) {
        self.heard.insert(Arc::clone(&self.processes[who].id), self.now);
    }

    /// Takes what followed, until nothing does.
    fn settle(&mut self) {
        for effect in self.group.take_effects() {
            match effect {
                Effect::Joined { to, answer } => self.joined(to, answer),
                Effect::Synced { to, answer } => self.synced(to, answer),
                Effect::Store { id, what } => self.storing.push_back((id, what)),
            }
        }
    }

    fn answered(&mut self, to: Ticket) -> Option<usize> {
        let Some(who) = self.asked.remove(&to) else {
            self.find(format!("{to} is answered, and did not wait"));
            return None;
        };
        self.processes[who].waits = None;
        self.heard_of(who);
        Some(who)
    }

    fn joined(&mut self, to: Ticket, answer: Result<Joined, Refused>) {
        let Some(who) = self.answered(to) else { return };
        match answer {
            Ok(joined) => {
                let name = self.processes[who].instance.clone();
                self.heard.insert(Arc::clone(&joined.member_id), self.now);
                let process = &mut self.processes[who];
                process.id = Arc::clone(&joined.member_id);
                process.generation = joined.generation;
                process.leads = joined.members.iter().map(|m| Arc::clone(&m.id)).collect();
                if joined.generation < self.told {
                    self.find(format!("generation {} after {}", joined.generation, self.told));
                }
                self.told = self.told.max(joined.generation);
                if name.is_some() && self.is_taken_over(who) {
                    self.find(format!("{} joins, though another process has its name", joined.member_id));
                }
            }
            Err(Refused::MemberIdRequired(id)) => self.processes[who].id = id,
            Err(refused) => self.believe(who, &Err(refused)),
        }
    }

    fn synced(&mut self, to: Ticket, answer: Result<Synced, Refused>) {
        let Some(who) = self.answered(to) else { return };
        let synced = match answer {
            Ok(synced) => synced,
            Err(refused) => return self.believe(who, &Err(refused)),
        };
        self.heard_of(who);
        let Process { id, instance, generation, .. } = self.processes[who].clone();
        let stored = self.durable.as_ref().filter(|d| d.generation == generation);
        let stored = stored.and_then(|d| d.members.iter().find(|m| m.id == id).map(|m| m.assignment.clone()));
        if stored.as_ref() != Some(&synced.assignment) {
            self.find(format!("{id} gets {:?} in {generation}, stored is {stored:?}", synced.assignment));
        }
        let name = instance.unwrap_or(id);
        for part in synced.assignment.iter() {
            let owner = self.owners.entry((generation, *part)).or_insert_with(|| Arc::clone(&name));
            if *owner != name {
                let owner = Arc::clone(owner);
                self.find(format!("{owner} and {name} have part {part} in generation {generation}"));
            }
        }
    }

    /// What must hold between two steps.
    fn check(&mut self) {
        let waiting = |ticket: fn(&Member) -> Option<Ticket>| {
            let list: Vec<Ticket> = self.group.members().filter_map(ticket).collect();
            list
        };
        let mut owed = [waiting(|m| m.joining), waiting(|m| m.syncing)].concat();
        owed.sort_unstable();
        let asked: Vec<Ticket> = self.asked.keys().copied().collect();
        if owed != asked {
            self.find(format!("answers are owed to {owed:?}, and waited for by {asked:?}"));
        }
        let names: Vec<Arc<str>> = self.group.members().filter_map(|m| m.instance.clone()).collect();
        if names.len() != names.iter().collect::<std::collections::BTreeSet<_>>().len() {
            self.find("two members have one name".to_owned());
        }
        let state = self.group.state();
        let count = self.group.members().count();
        if (state == State::Empty && count > 0)
            || (matches!(state, State::Stable | State::CompletingRebalance)
                && !(1..=LIMITS.size_max).contains(&count))
        {
            self.find(format!("{count} members"));
        }
        let silent = self.group.members().find(|m| {
            let since = self.heard.get(&m.id).copied().unwrap_or(0);
            // One that keeps a name is waited for longer: its place outlives a rebalance without it.
            m.instance.is_none() && m.joining.is_none() && m.syncing.is_none() && self.now > since + m.session
        });
        if let Some(id) =
            silent.map(|m| Arc::clone(&m.id)).filter(|_| self.group.due().is_none_or(|due| due > self.now))
        {
            self.find(format!("{id} is a member, and was not heard of for longer than its session"));
        }
    }

    /// Nobody asks any more: the group comes to rest, without members.
    fn rest(&mut self) {
        for _ in 0..50 {
            while !self.storing.is_empty() {
                self.finish_storing();
                self.settle();
            }
            let Some(due) = self.group.due() else { break };
            if due > self.now + 2 * NEW_MEMBER_JOIN || !self.findings.is_empty() {
                break;
            }
            self.pass_until(due);
        }
        if !self.group.is_vacant() || !self.asked.is_empty() {
            let asked = self.asked.clone();
            self.find(format!("it does not come to rest; asked are {asked:?}"));
        }
    }
}

/// What is wrong in a history.
fn history(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
        if !world.findings.is_empty() {
            return world.findings;
        }
    }
    world.rest();
    world.findings
}

fn histories() -> u64 {
    std::env::var("KEYLANE_GROUP_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

#[test]
fn random_histories_keep_the_promises() {
    let mut reached = BTreeMap::new();
    for seed in 0..histories() {
        let findings = history(seed);
        assert!(findings.is_empty(), "history {seed}: {}", findings[0]);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            *reached.entry(world.group.state().name()).or_insert(0) += 1;
        }
    }
    // A model that never gets far proves nothing.
    assert!(reached.len() == 4 && reached.values().all(|n| *n > 100), "{reached:?}");
}

/// The negative controls.
#[test]
fn planted_bugs_are_found() {
    let bugs = [Bug::GenerationStays, Bug::OldGenerationCommits, Bug::OldInstanceStays, Bug::PendingStays];
    for bug in bugs {
        plant(Some(bug));
        let found = (0..2_000).find_map(|seed| history(seed).into_iter().next().map(|first| (seed, first)));
        plant(None);
        let (seed, first) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("planted: {bug:?}: history {seed}: {}", first.get(..160).unwrap_or(&first));
    }
}
