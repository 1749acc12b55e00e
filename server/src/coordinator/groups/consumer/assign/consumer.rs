//! A member, as an assignor sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::coordinator::groups::consumer::partitions::Partitions;

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its id.
    pub id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// What it wants, of the topics that there are.
    pub wants: BTreeSet<Uuid>,
    /// What it was to have before.
    pub had: Partitions,
}
