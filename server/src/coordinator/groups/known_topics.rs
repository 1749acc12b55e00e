//! The topics that a core knows, as consumer groups see them.

use std::cell::RefCell;

use uuid::Uuid;

use crate::service::topics::{TopicKey, TopicTable};

use super::consumer::Topics;

/// See the module's header.
pub struct Known<'a>(pub &'a RefCell<TopicTable>);

impl Topics for Known<'_> {
    fn revision(&self) -> u64 {
        self.0.borrow().revision()
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        let topics = self.0.borrow();
        let topic = topics.get(TopicKey::Name(name))?;
        Some((topic.topic.id, i32::try_from(topic.routes.len()).unwrap_or(i32::MAX)))
    }

    fn each(&self, see: &mut dyn FnMut(&str)) {
        self.0.borrow().all().filter(|topic| !topic.internal).for_each(|topic| see(&topic.topic.name));
    }
}
