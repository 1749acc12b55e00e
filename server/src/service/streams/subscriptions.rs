//! Who is subscribed to which shard: one connection for each consumer and shard.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

/// How long nobody may take over a subscription that lives.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
const KEPT: Duration = Duration::from_secs(5);

/// A consumer of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// The stream's topic.
    pub topic: Uuid,
    /// The consumer's name.
    pub consumer: String,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: i64,
    /// The shard.
    pub shard: usize,
}

struct Held {
    since: Instant,
    taken: oneshot::Sender<()>,
}

/// The subscriptions that live. A subscriber whose receiver is dropped is none any more.
#[derive(Default)]
pub struct Subscriptions(RefCell<HashMap<Subscriber, Held>>);

impl Subscriptions {
    /// Begins a subscription, and ends the one before, whose receiver gets a message. `false`: that one is too young.
    pub fn take(&self, subscriber: Subscriber, taken: oneshot::Sender<()>, now: Instant) -> bool {
        let mut all = self.0.borrow_mut();
        all.retain(|_, held| !held.taken.is_closed());
        if let Some(before) = all.get(&subscriber)
            && now.duration_since(before.since) < KEPT
        {
            return false;
        }
        if let Some(before) = all.insert(subscriber, Held { since: now, taken }) {
            // It may have ended meanwhile.
            let _ended = before.taken.send(());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_takes_over_after_a_time_or_when_the_first_is_gone() {
        let (all, now) = (Subscriptions::default(), Instant::now());
        let subscriber =
            |shard| Subscriber { topic: Uuid::nil(), consumer: "c".to_owned(), created_ms: 1, shard };
        let take = |shard, after| {
            let (sender, receiver) = oneshot::channel();
            all.take(subscriber(shard), sender, now + after).then_some(receiver)
        };
        let mut first = take(0, Duration::ZERO).unwrap();
        assert!(take(0, KEPT - Duration::from_millis(1)).is_none());
        assert!(first.try_recv().is_err(), "it was not taken over");
        assert!(take(1, Duration::ZERO).is_some(), "another shard");
        let second = take(0, KEPT).unwrap();
        assert_eq!(first.try_recv(), Ok(()));
        drop(second);
        assert!(take(0, KEPT).is_some(), "the second is gone");
        assert_eq!(all.0.borrow().len(), 1);
    }
}
