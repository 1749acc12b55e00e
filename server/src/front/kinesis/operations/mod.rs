//! The operations: `streams` (made, described, listed, deleted), `shards` (described and listed), `put`, `get` (iterators and
//! records), `reshard`, `settings` (retention, tags, mode, size of records), `consumers` and
//! `subscribe`, `stored` (what is kept and told again).

pub mod consumers;
pub mod get;
pub mod put;
pub mod reshard;
pub mod settings;
pub mod shards;
pub mod stored;
pub mod streams;
pub mod subscribe;
