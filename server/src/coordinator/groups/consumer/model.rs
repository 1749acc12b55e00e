//! Random histories of a consumer group: processes join, read, give back, commit, leave, fall silent and are replaced, answers are
//! lost, topics come, grow and go, the server ends and loses what was not durable. After each step the model, which knows
//! only what processes were told, checks the promises of the module.
//!
//! `KEYLANE_CONSUMER_GROUP_HISTORIES` is how many histories there are (500 without it).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use keylane_sim_disk::Rng;
use uuid::Uuid;

use super::heartbeat::{JOINS, LEAVES, LEAVES_FOR_A_WHILE};
use super::planted::{Bug, plant};
use super::*;
use crate::coordinator::groups::classic::Millis;

const LIMITS: Limits = Limits { session: 3_000, heartbeat: 500, size_max: 5 };
const NAMES: [&str; 4] = ["orders", "orders-late", "payments", "other"];
const STEPS: usize = 120;

/// The topics of a history.
#[derive(Default)]
struct Shelf {
    revision: u64,
    topics: BTreeMap<&'static str, (Uuid, i32)>,
}

impl Topics for Shelf {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        self.topics.get(name).copied()
    }

    fn each(&self, see: &mut dyn FnMut(&str)) {
        self.topics.keys().for_each(|name| see(name));
    }
}

/// A program that consumes. One that keeps a name is replaced by another process under the same name.
#[derive(Debug, Clone)]
struct Process {
    id: Arc<str>,
    instance: Option<Arc<str>>,
    /// What it was told last; 0: it is to join.
    epoch: i32,
    topics: Vec<Arc<str>>,
    regex: Option<Arc<str>>,
    assignor: Option<Arc<str>>,
    /// What it is to read.
    told: Partitions,
    /// What it reads.
    reads: Partitions,
    /// It has said everything since it joined, or since an answer was lost.
    said: bool,
    /// It waits for an answer.
    waits: bool,
    /// Its last answer was lost: it does not know what became of what it said.
    unsure: bool,
    /// It has ended: it asks nothing, and hears nothing.
    gone: bool,
}

/// An answer that is given when what goes before it is durable.
struct Owed {
    entries: Vec<Entry>,
    answer: Option<(usize, Result<Beat, Refused>)>,
}

struct World {
    rng: Rng,
    group: Group,
    shelf: Shelf,
    now: Millis,
    processes: Vec<Process>,
    last: u64,
    durable: Image,
    owed: VecDeque<Owed>,
    /// The last two epochs that each member was answered, in the order of the log.
    answered: BTreeMap<Arc<str>, [i32; 2]>,
    /// When a member was last heard of.
    heard: BTreeMap<Arc<str>, Millis>,
    /// Members whose removal was durable in part at the last restart: without an epoch that they could live in they are refused,
    /// like those that were removed.
    half: BTreeSet<Arc<str>>,
    findings: Vec<String>,
    /// What happened last, for whoever looks at a finding.
    steps: VecDeque<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            group: Group::new(LIMITS),
            shelf: Shelf::default(),
            now: 1_000,
            processes: Vec::new(),
            last: 0,
            durable: Image::default(),
            owed: VecDeque::new(),
            answered: BTreeMap::new(),
            heard: BTreeMap::new(),
            half: BTreeSet::new(),
            findings: Vec::new(),
            steps: VecDeque::new(),
        };
        world.change_topics();
        world.change_topics();
        world
    }

    fn find(&mut self, what: String) {
        let steps: Vec<String> = self.steps.iter().cloned().collect();
        self.findings.push(format!("at {}: {what}; {:?}; before it {steps:#?}", self.now, self.group));
    }

    fn note(&mut self, what: String) {
        if self.steps.len() > 40 {
            self.steps.pop_front();
        }
        self.steps.push_back(what);
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn start_process(&mut self) {
        let named: Vec<Process> = self.processes.iter().filter(|p| p.instance.is_some()).cloned().collect();
        let mut instance = None;
        if self.rng.one_in(4) {
            instance = Some(format!("name-{}", self.rng.below(3)).into());
        }
        // Two processes of one name at a time are a mistake of whoever starts them: rare.
        if named.iter().any(|p| !p.gone && p.instance == instance) && !self.rng.one_in(10) {
            instance = None;
        }
        let regex = self.rng.one_in(3).then(|| "orders.*".into());
        let mut process = Process {
            id: format!("id-{}", self.number()).into(),
            instance,
            epoch: JOINS,
            topics: Vec::new(),
            regex,
            assignor: [None, Some("range".into()), Some("uniform".into())][self.rng.below(3) as usize]
                .clone(),
            told: Partitions::default(),
            reads: Partitions::default(),
            said: false,
            waits: false,
            unsure: false,
            gone: false,
        };
        process.topics = self.some_topics();
        self.processes.push(process);
    }

    fn some_topics(&mut self) -> Vec<Arc<str>> {
        let mut some = Vec::new();
        for name in NAMES {
            if !self.rng.one_in(3) {
                some.push(name.into());
            }
        }
        some
    }

    fn change_topics(&mut self) {
        let name = NAMES[self.rng.below(NAMES.len() as u64) as usize];
        let id = Uuid::from_u128(u128::from(self.number()));
        let most = self.rng.between(1, 7) as i32;
        match self.shelf.topics.get_mut(name) {
            None => {
                self.shelf.topics.insert(name, (id, most));
            }
            Some(_) if self.rng.one_in(2) => {
                self.shelf.topics.remove(name);
            }
            Some(topic) => topic.1 += 1,
        }
        self.shelf.revision += 1;
    }

    fn step(&mut self) {
        let living: Vec<usize> = (0..self.processes.len()).filter(|at| !self.processes[*at].gone).collect();
        if living.is_empty() || (living.len() < 7 && self.rng.one_in(8)) {
            return self.start_process();
        }
        let who = living[self.rng.below(living.len() as u64) as usize];
        match self.rng.below(30) {
            0..=9 => self.heartbeat(who),
            10..=12 => self.reads_what_it_was_told(who),
            13 => self.change_mind(who),
            14 => self.heartbeat_of_old(who),
            15 | 16 => self.commit(who),
            17 => self.end(who),
            18 | 19 => self.pass(),
            20 => self.change_topics(),
            21..=28 => self.finish_storing(),
            _ => self.restart(),
        }
        self.check();
    }

    /// What a process says now.
    fn says(&self, who: usize, full: bool) -> Heartbeat {
        let p = &self.processes[who];
        let all = full || p.epoch == JOINS || !p.said;
        Heartbeat {
            member_id: Arc::clone(&p.id),
            epoch: p.epoch,
            instance: p.instance.clone(),
            rebalance_ms: if all { 2_000 } else { -1 },
            topics: all.then(|| p.topics.clone()),
            regex: p.regex.clone().filter(|_| all),
            assignor: p.assignor.clone().filter(|_| all),
            owned: (all || p.reads == p.told).then(|| p.reads.clone()),
            ..Heartbeat::default()
        }
    }

    fn heartbeat(&mut self, who: usize) {
        if !self.processes[who].waits {
            let full = self.rng.one_in(5);
            let asked = self.says(who, full);
            self.ask(who, &asked, true);
        }
    }

    /// An old heartbeat arrives late, or is sent by a process that fell behind. Its answer is heard by nobody.
    fn heartbeat_of_old(&mut self, who: usize) {
        let mut asked = self.says(who, true);
        let back = 1 + self.rng.below(3) as i32;
        if asked.epoch > back {
            asked.epoch -= back;
            asked.owned = None;
            self.ask(who, &asked, false);
        }
    }

    fn ask(&mut self, who: usize, asked: &Heartbeat, heard: bool) {
        let answer = self.group.heartbeat(asked, &self.shelf, self.now);
        let entries = self.group.take_entries();
        let Heartbeat { member_id, epoch, owned, .. } = asked;
        self.note(format!("{member_id} in {epoch} with {owned:?}, heard {heard}: {answer:?}, {entries:?}"));
        match &answer {
            Ok(beat) => {
                self.heard.insert(Arc::clone(&asked.member_id), self.now);
                let known = self.answered.entry(Arc::clone(&asked.member_id)).or_default();
                if asked.epoch > 0 && !known.contains(&asked.epoch) {
                    let known = *known;
                    self.find(format!(
                        "{} lives in epoch {}, answered {known:?}",
                        asked.member_id, asked.epoch
                    ));
                } else if beat.epoch < 0 {
                    self.answered.remove(&asked.member_id);
                } else if beat.epoch != known[1] {
                    *known = [known[1], beat.epoch];
                }
            }
            Err(_) if !entries.is_empty() => {
                self.find(format!("{asked:?} is refused and changes {entries:?}"))
            }
            Err(_) => {}
        }
        self.processes[who].waits |= heard;
        self.owed.push_back(Owed { entries, answer: heard.then_some((who, answer)) });
    }

    fn answer(&mut self, who: usize, answer: Result<Beat, Refused>) {
        self.note(format!("{} is answered {answer:?}", self.processes[who].id));
        let process = &mut self.processes[who];
        (process.waits, process.unsure) = (false, false);
        match answer {
            Ok(beat) => {
                let before = std::mem::replace(&mut process.epoch, beat.epoch);
                process.said = true;
                process.told = beat.assignment.unwrap_or_else(|| process.told.clone());
                if beat.epoch < before {
                    let id = Arc::clone(&process.id);
                    self.find(format!("{id} goes from epoch {before} to {}", beat.epoch));
                }
            }
            Err(Refused::FencedInstance(_)) => process.gone = true,
            // The process before it may not have ended yet.
            Err(Refused::UnreleasedInstance(_) | Refused::Full(_)) => {}
            Err(_) => {
                process.epoch = JOINS;
                process.told = Partitions::default();
                process.reads = Partitions::default();
            }
        }
    }

    /// A process stops to read what it is not to read any more, then reads what is new; not while it waits to hear what became of
    /// what it said that it reads.
    fn reads_what_it_was_told(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let kept = process.reads.and(&process.told);
        let knows = !process.waits && !process.unsure;
        process.reads = if kept == process.reads && knows { process.told.clone() } else { kept };
        let what = format!("{} reads {:?}", process.id, process.reads);
        self.note(what);
    }

    fn change_mind(&mut self, who: usize) {
        let topics = self.some_topics();
        let process = &mut self.processes[who];
        process.topics = topics;
        process.said = false;
    }

    fn commit(&mut self, who: usize) {
        let back = if self.rng.one_in(3) { self.rng.below(3) as i32 } else { 0 };
        let (id, epoch) = (Arc::clone(&self.processes[who].id), self.processes[who].epoch - back);
        let answer = self.group.check_commit(&id, epoch, true);
        let known = self.answered.get(&id).map(|known| known[1]);
        if answer.is_ok() && epoch > 0 && known != Some(epoch) {
            self.find(format!("{id} commits in epoch {epoch}, it is in {known:?}"));
        }
        if answer.is_err() && self.owed.is_empty() && known == Some(epoch) && self.is_member(&id) {
            self.find(format!("{id} may not commit in its epoch {epoch}: {answer:?}"));
        }
    }

    fn is_member(&self, id: &str) -> bool {
        self.group.image.subscribers.contains_key(id)
    }

    /// A process ends: it says so, for good or for a while, or it is killed.
    fn end(&mut self, who: usize) {
        let asked = self.says(who, false);
        self.processes[who].gone = true;
        let epoch = match asked.instance {
            Some(_) => LEAVES_FOR_A_WHILE,
            None => LEAVES,
        };
        if self.rng.one_in(2) {
            self.processes[who].reads = Partitions::default();
            self.ask(who, &Heartbeat { epoch, ..asked }, false);
        }
    }

    fn pass(&mut self) {
        let until = self.now + [50, 400, 1_500, 4_000][self.rng.below(4) as usize];
        self.pass_until(until);
    }

    fn pass_until(&mut self, until: Millis) {
        while let Some(due) = self.group.due().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.group.tick(&self.shelf, self.now);
            let entries = self.group.take_entries();
            self.owed.push_back(Owed { entries, answer: None });
            if self.group.due().is_some_and(|next| next <= self.now) {
                return self.find("it is due again at once".to_owned());
            }
        }
        self.now = until;
    }

    fn finish_storing(&mut self) {
        let Some(Owed { entries, answer }) = self.owed.pop_front() else { return };
        entries.iter().for_each(|entry| self.durable.apply(entry));
        if let Some((who, answer)) = answer
            && !self.processes[who].gone
        {
            self.answer(who, answer);
        }
    }

    /// The server ends: what is not durable is lost, perhaps in the midst of an answer. It starts with what is left.
    fn restart(&mut self) {
        for _ in 0..self.rng.below(3) {
            self.finish_storing();
        }
        if let Some(Owed { entries, .. }) = self.owed.pop_front() {
            let made = self.rng.below(entries.len() as u64 + 1) as usize;
            entries[..made].iter().for_each(|entry| self.durable.apply(entry));
        }
        self.owed.clear();
        self.heard.clear();
        for process in &mut self.processes {
            process.said &= !process.waits;
            process.unsure |= process.waits;
            process.waits = false;
        }
        self.note(format!("restart with {:?}", self.durable));
        self.group = Group::restore(self.durable.clone(), LIMITS, self.now);
        let members: Vec<_> = self
            .group
            .image
            .currents
            .iter()
            .map(|(id, c)| (Arc::clone(id), Arc::clone(id), c.epoch, c.previous))
            .collect();
        self.answered =
            members.iter().map(|(id, _, epoch, previous)| (Arc::clone(id), [*previous, *epoch])).collect();
        for (id, _, _, _) in &members {
            self.heard.insert(Arc::clone(id), self.now);
        }
        let image = &self.group.image;
        self.half =
            image.subscribers.keys().filter(|id| !image.currents.contains_key(*id)).cloned().collect();
        self.check_place_after_restart();
    }

    /// Who was told its epoch is still in it, and the group's epoch does not rise, unless a topic changed.
    fn check_place_after_restart(&mut self) {
        let image = &self.group.image;
        // A join became durable in part if the topics of its expression are not there: it goes on with a rebalance.
        let mut wanted = image.subscribers.values().filter_map(|s| s.regex.as_ref());
        let settled = image.epoch.map(|epoch| epoch.topics_hash) == Some(self.group.topics_hash(&self.shelf))
            && wanted.all(|text| image.regexes.contains_key(text))
            && image.regexes.iter().all(|(text, r)| r.topics == pattern::matching(text, &self.shelf));
        let before = self.group.image.epoch;
        for who in 0..self.processes.len() {
            let process = self.processes[who].clone();
            let current = self.group.image.currents.get(&process.id).cloned();
            let is_there = current.is_some_and(|c| c.epoch == process.epoch) && self.is_member(&process.id);
            if process.gone || process.epoch <= 0 || !is_there {
                continue;
            }
            let asked = Heartbeat {
                member_id: Arc::clone(&process.id),
                epoch: process.epoch,
                rebalance_ms: -1,
                ..Heartbeat::default()
            };
            let mut again = Group::restore(self.durable.clone(), LIMITS, self.now);
            let answer = again.heartbeat(&asked, &self.shelf, self.now);
            if answer.is_err() {
                self.find(format!("a restart costs {} its place: {answer:?}", process.id));
            }
            if settled && again.image.epoch != before {
                self.find(format!("a restart costs a rebalance: {before:?} becomes {:?}", again.image.epoch));
            }
        }
    }

    /// What must hold between two steps.
    fn check(&mut self) {
        let mut readers: BTreeMap<(Uuid, i32), Arc<str>> = BTreeMap::new();
        let mut twice = Vec::new();
        let half = |id| self.half.contains(id) && !self.group.image.currents.contains_key(id);
        let members = self.processes.iter().filter(|p| self.is_member(&p.id) && !half(&p.id));
        for process in members {
            for one in process.reads.iter() {
                if let Some(other) = readers.insert(one, Arc::clone(&process.id)) {
                    twice.push(format!("{other} and {} read {one:?}", process.id));
                }
            }
        }
        twice.into_iter().for_each(|what| self.find(what));
        let mut image = self.durable.clone();
        self.owed.iter().flat_map(|owed| &owed.entries).for_each(|entry| image.apply(entry));
        if image != self.group.image {
            self.find(format!("it is not what is kept: {image:?}"));
        }
        let restored = Group::restore(image, LIMITS, self.now);
        if restored.owners != self.group.owners || restored.statics != self.group.statics {
            self.find(format!("it would be another one after a restart: {restored:?}"));
        }
        let names: Vec<_> =
            self.group.image.subscribers.values().filter_map(|s| s.instance.clone()).collect();
        if names.len() != names.iter().collect::<BTreeSet<_>>().len()
            || self.group.image.subscribers.len() > LIMITS.size_max
        {
            self.find("two members have one name, or there are too many".to_owned());
        }
        let silent = self
            .group
            .image
            .subscribers
            .keys()
            .find(|id| self.heard.get(*id).is_some_and(|since| self.now > since + LIMITS.session));
        if let Some(id) = silent
            .cloned()
            .filter(|_| self.group.due().is_none_or(|due| due > self.now || due + LIMITS.session < self.now))
        {
            self.find(format!("{id} is a member, and was not heard of for longer than its session"));
        }
    }

    /// Everybody who lives goes on, nothing changes any more: the group becomes stable, with every partition read once.
    fn rest(&mut self) {
        for _ in 0..60 {
            for who in 0..self.processes.len() {
                if !self.processes[who].gone {
                    self.reads_what_it_was_told(who);
                    self.reads_what_it_was_told(who);
                    self.heartbeat(who);
                }
                while !self.owed.is_empty() {
                    self.finish_storing();
                }
            }
            self.pass_until(self.now + LIMITS.heartbeat);
            self.check();
            if !self.findings.is_empty() {
                return;
            }
        }
        let described = self.group.describe();
        let stands = (described.state, self.group.is_empty());
        if !matches!(stands, (described::GroupState::Stable, false) | (described::GroupState::Empty, true)) {
            return self.find(format!("it does not come to rest: {stands:?}"));
        }
        let mut wanted = BTreeSet::new();
        for name in self.group.subscribed() {
            let (id, partitions) = self.shelf.find(name).unwrap_or_default();
            wanted.extend((0..partitions).map(|partition| (id, partition)));
        }
        let members = self.processes.iter().filter(|p| self.is_member(&p.id));
        let read: Vec<_> = members.flat_map(|p| p.reads.iter()).collect();
        if read.len() != wanted.len() || read.iter().copied().collect::<BTreeSet<_>>() != wanted {
            self.find(format!("{read:?} are read, {wanted:?} are wanted"));
        }
    }
}

/// What is wrong in a history.
fn history(seed: u64, reached: &mut BTreeMap<&'static str, u64>) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
        *reached.entry(world.group.describe().state.name()).or_default() += 1;
        if !world.findings.is_empty() {
            return world.findings;
        }
    }
    world.rest();
    world.findings
}

fn histories() -> u64 {
    std::env::var("KEYLANE_CONSUMER_GROUP_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

#[test]
fn random_histories_keep_the_promises() {
    let mut reached = BTreeMap::new();
    for seed in 0..histories() {
        let findings = history(seed, &mut reached);
        assert!(findings.is_empty(), "history {seed}: {}", findings[0]);
    }
    // A model that never gets far proves nothing.
    assert!(reached.len() == 4 && reached.values().all(|n| *n > 100), "{reached:?}");
}

/// The negative controls.
#[test]
fn planted_bugs_are_found() {
    for bug in [Bug::OldEpochsLive, Bug::OldEpochsCommit, Bug::GivenTooEarly, Bug::NobodyDies] {
        plant(Some(bug));
        let none = &mut BTreeMap::new();
        let found =
            (0..2_000).find_map(|seed| history(seed, none).into_iter().next().map(|first| (seed, first)));
        plant(None);
        let (seed, first) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("planted: {bug:?}: history {seed}: {}", first.get(..160).unwrap_or(&first));
    }
}
