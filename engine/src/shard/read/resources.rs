//! What the readers of a shard share.

use std::cell::RefCell;

use tokio::sync::Semaphore;

use super::ahead_offsets::AheadOffsets;
use super::memory::ReadMemory;
use super::opened::Opened;

/// Reads of the device at once: enough to keep it busy, and few enough that none of them waits for long.
const READS_MAX: usize = 64;
/// The same beside commits.
const PACED_READS_MAX: usize = 1;

/// See the module's header.
pub struct ReadResources {
    /// Open files and decoded blocks of indexes.
    pub opened: RefCell<Opened>,
    /// How far each partition was read ahead.
    pub ahead: RefCell<AheadOffsets>,
    /// Memory.
    pub memory: ReadMemory,
    /// Permits for reads of the device.
    pub permits: Semaphore,
    /// Permits for reads of the device beside commits.
    pub paced_permits: Semaphore,
}

impl Default for ReadResources {
    fn default() -> Self {
        Self {
            opened: RefCell::default(),
            ahead: RefCell::default(),
            memory: ReadMemory::default(),
            permits: Semaphore::new(READS_MAX),
            paced_permits: Semaphore::new(PACED_READS_MAX),
        }
    }
}
