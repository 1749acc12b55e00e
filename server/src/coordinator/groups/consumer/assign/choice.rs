//! Which assignor it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::consumer::Consumer;
use super::{range, uniform};
use crate::coordinator::groups::consumer::partitions::Partitions;

const UNIFORM: &str = "uniform";
const RANGE: &str = "range";
/// All assignors, first the one that is taken if no member says which.
pub const ASSIGNORS: [&str; 2] = [UNIFORM, RANGE];

/// Assigns the partitions of topics, of which the number is given, to members that are in the order of their ids.
pub fn assign(
    assignor: &str,
    members: &[Consumer],
    topics: &BTreeMap<Uuid, i32>,
) -> BTreeMap<Arc<str>, Partitions> {
    let assign = if assignor == RANGE { range::assign } else { uniform::assign };
    members.iter().map(|member| Arc::clone(&member.id)).zip(assign(members, topics)).collect()
}

/// The assignor that most members ask for.
pub fn preferred<'a>(asked: impl Iterator<Item = &'a Arc<str>>) -> &'static str {
    let mut votes = [0usize; ASSIGNORS.len()];
    for name in asked {
        if let Some(at) = ASSIGNORS.iter().position(|known| **known == **name) {
            votes[at] += 1;
        }
    }
    let most = votes.iter().copied().max().unwrap_or(0);
    let at = votes.iter().position(|n| *n == most).unwrap_or(0);
    ASSIGNORS[at]
}
