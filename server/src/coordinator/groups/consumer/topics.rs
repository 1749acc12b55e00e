//! What a consumer group needs to know of the topics.

use uuid::Uuid;

/// The topics that there are.
pub trait Topics {
    /// A number that is another one after every change.
    fn revision(&self) -> u64;
    /// A topic's id and its number of partitions.
    fn find(&self, name: &str) -> Option<(Uuid, i32)>;
    /// Shows the name of every topic that clients may consume, in no particular order.
    fn each(&self, see: &mut dyn FnMut(&str));
}
