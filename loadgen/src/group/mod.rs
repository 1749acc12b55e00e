//! Consumers of a group, by the classic protocol (KIP-429, KIP-394) or KIP-848, that read a topic while members come and
//! go, and what must hold of what they did.
//!
//! [`fleet`] starts and ends members, [`churn`] has them come and go, [`beside`] does so beside a load, and [`summary`]
//! tells what came of it; a [`member`] reads and commits what its `seat` in the group gives to it. `classic` and
//! `consumer` are the seats of the two protocols, [`wire`] has the requests of both, [`assignor`] deals partitions as the
//! leader of a classic group does; [`books`] and [`history`] keep what was done, and `history` finds what must not be.

pub mod args;
pub mod assignor;
pub mod beside;
pub mod books;
pub mod churn;
mod classic;
mod consumer;
pub mod fleet;
pub mod history;
pub mod member;
mod seat;
pub mod spec;
pub mod summary;
pub mod wire;
