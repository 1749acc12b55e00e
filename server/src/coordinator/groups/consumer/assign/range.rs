//! Of each topic every member that wants it gets a range of partitions; the first ones get one more if they do not divide.
//! Members with a name that they keep come first, in the order of their names, so that topics with the same number of partitions
//! are divided the same way.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::consumer::Consumer;
use crate::coordinator::groups::consumer::partitions::Partitions;

/// What each member gets, in the order of the members.
pub fn assign(members: &[Consumer], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|at| {
        let member = &members[*at];
        (member.instance.is_none(), member.instance.clone(), member.id.clone())
    });
    let mut lists = vec![Partitions::default(); members.len()];
    for (topic, partitions) in topics {
        let wanting: Vec<usize> =
            order.iter().copied().filter(|at| members[*at].wants.contains(topic)).collect();
        let mut next = 0;
        for (place, at) in wanting.iter().enumerate() {
            let each = partitions / wanting.len() as i32;
            let more = i32::from((place as i32) < partitions % wanting.len() as i32);
            for partition in next..next + each + more {
                lists[*at].insert(*topic, partition);
            }
            next += each + more;
        }
    }
    lists
}
