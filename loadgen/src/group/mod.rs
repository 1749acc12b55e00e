//! Consumers of a group (KIP-429, KIP-394: the classic protocol) that read a topic while members come and go, and what
//! must hold of what they did.
//!
//! [`fleet`] starts and ends members, [`churn`] has them come and go, [`beside`] does so beside a load, and [`summary`]
//! tells what came of it; a [`member`] joins, reads, commits, and joins again when it is told to; [`wire`]
//! has its requests, [`assignor`] deals partitions as the group's leader does; [`history`] keeps what was done, and
//! finds what must not be.

pub mod args;
pub mod assignor;
pub mod beside;
pub mod churn;
pub mod fleet;
pub mod history;
pub mod member;
pub mod summary;
pub mod wire;
