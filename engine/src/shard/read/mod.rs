//! Reading: batches come from the tail cache, or from the disk through the index of their segment.
//!
//! Promises: a reader gets whole batches, only durable ones, and each was checked against its checksum. Nothing is
//! returned of a segment that was freed or replaced during the read. Readers give way to commits.

pub(crate) mod ahead;
pub(crate) mod ahead_offsets;
pub(crate) mod batches;
pub(crate) mod by_time;
pub(crate) mod cached;
pub(crate) mod extents;
pub(crate) mod fetch;
pub(crate) mod index;
pub(crate) mod locate;
pub(crate) mod located;
pub(crate) mod memory;
pub(crate) mod opened;
pub(crate) mod paced;
pub(crate) mod reader;
pub(crate) mod resources;
