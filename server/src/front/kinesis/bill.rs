//! What an answer pays for its memory, from the core's budget.
//!
//! Promise: the first part is waited for, and the rest is taken only if it is there at once. So an answer that is begun is never
//! kept waiting by others that are begun as well; it ends earlier, and its client asks again.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::core::{Core, MEMORY_UNIT};

use super::fault::Fault;

/// What is paid at once when more is needed: this many units.
const STEP_UNITS: usize = 4;

/// See the module's header.
pub struct Bill {
    memory: Arc<Semaphore>,
    paid: OwnedSemaphorePermit,
}

impl Bill {
    /// Waits until there is memory for `bytes`.
    ///
    /// # Errors
    /// ServiceUnavailableException: the server is stopping.
    pub async fn open(core: &Core, bytes: usize) -> Result<Self, Fault> {
        let memory = Arc::clone(&core.memory);
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX);
        let paid = Arc::clone(&memory).acquire_many_owned(units).await;
        let paid = paid.map_err(|_| Fault::unavailable("the server is stopping"))?;
        Ok(Self { memory, paid })
    }

    /// Whether `bytes` are paid for, or can be without waiting.
    pub fn covers(&mut self, bytes: usize) -> bool {
        let missing = bytes.div_ceil(MEMORY_UNIT).saturating_sub(self.paid.num_permits());
        if missing == 0 {
            return true;
        }
        let units = u32::try_from(missing.max(STEP_UNITS)).unwrap_or(u32::MAX);
        match Arc::clone(&self.memory).try_acquire_many_owned(units) {
            Ok(more) => {
                self.paid.merge(more);
                true
            }
            Err(_) => false,
        }
    }

    /// The answer, which is paid for as long as it is there; what it does not need is given back.
    pub fn settle(mut self, bytes: Vec<u8>) -> Bytes {
        let spare = self.paid.num_permits().saturating_sub(bytes.capacity().div_ceil(MEMORY_UNIT));
        drop(self.paid.split(spare));
        Bytes::from_owner(Paid { bytes, _paid: self.paid })
    }
}

/// Bytes with what was paid for them.
struct Paid {
    bytes: Vec<u8>,
    _paid: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
