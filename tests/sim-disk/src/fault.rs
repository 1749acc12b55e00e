//! Faults to inject: at a given step, or by rules on the kind of operation and the file's path.

use std::collections::BTreeMap;

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Open,
    Create,
    List,
    CreateDir,
    Rename,
    Remove,
    SyncDir,
    Read,
    Write,
    Sync,
    SetLen,
    Punch,
}

impl Op {
    /// Whether the operation can change what is on the medium.
    pub fn mutates(self) -> bool {
        !matches!(self, Op::Open | Op::List | Op::Read)
    }
}

/// What goes wrong with one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. It is not known what happened: a write may have reached its place in part, some of its
    /// sectors as garbage; a change of a name may have been made; of the writes that a failed sync
    /// should have covered, some sectors are durable and the others never will be, although later
    /// syncs succeed and reads still show them.
    Error,
    /// EIO, and nothing happened: of the writes that a failed sync should have covered, nothing will
    /// ever be durable, although later syncs succeed and reads still show them.
    ErrorLost,
    /// ENOSPC; nothing happened.
    NoSpace,
    /// Only the first so many bytes are read or written; success is reported for them.
    Short(usize),
    /// Success is reported for a write or sync that did nothing.
    Lost,
    /// A write stores zeros, a read returns zeros; success is reported.
    Zeroed,
    /// One seeded bit of what is written or read is flipped; success is reported.
    FlipBit,
    /// A write lands in the file of this path at this block-aligned position; success is reported.
    Misdirected(String, u64),
    /// It works, but takes so many turns.
    Delay(u32),
}

/// Injects a fault into operations of a kind on certain files.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The kind of operation.
    pub op: Op,
    /// How the path must end; empty for every path.
    pub path_suffix: String,
    /// So many matching operations are let through first.
    pub skip: u64,
    /// So many are hit then.
    pub times: u64,
    /// What they suffer.
    pub fault: Fault,
}

impl Rule {
    /// Hits the next operation of a kind, on whatever path.
    pub fn once(op: Op, fault: Fault) -> Self {
        Self { op, path_suffix: String::new(), skip: 0, times: 1, fault }
    }

    /// Restricts the rule to paths with this ending.
    pub fn on(mut self, path_suffix: &str) -> Self {
        self.path_suffix = path_suffix.to_owned();
        self
    }

    /// Lets `n` operations through first.
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Hits `n` operations.
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }
}

/// The faults that are still to come.
#[derive(Default)]
pub(super) struct Faults {
    by_step: BTreeMap<u64, Fault>,
    rules: Vec<Rule>,
}

impl Faults {
    pub fn at_step(&mut self, step: u64, fault: Fault) {
        self.by_step.insert(step, fault);
    }

    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The fault for this operation, which it uses up.
    pub fn take(&mut self, step: u64, op: Op, path: &str) -> Option<Fault> {
        if let Some(fault) = self.by_step.remove(&step) {
            return Some(fault);
        }
        for rule in &mut self.rules {
            if rule.op != op || !path.ends_with(&rule.path_suffix) || rule.times == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
        None
    }
}
