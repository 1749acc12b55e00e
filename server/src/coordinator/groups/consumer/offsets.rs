//! Who may commit offsets of a consumer group, and fetch them.

use super::group::Group;
use super::planted::{self, Bug};
use super::refused::Refused;

impl Group {
    fn check_member(&self, id: &str, epoch: i32) -> Result<(), Refused> {
        let is = self.current(id).epoch;
        let is_classic = self.image.subscribers.get(id).is_some_and(|s| s.classic.is_some());
        if epoch == is || planted::is(Bug::OldEpochsCommit) {
            Ok(())
        } else if is_classic {
            Err(Refused::IllegalGeneration)
        } else {
            Err(Refused::StaleEpoch { told: epoch, is })
        }
    }

    /// Whether offsets may be committed: by a member in its epoch, or by nobody in particular if there are no members.
    /// `says_epoch`: the request can say an epoch, not only a generation.
    ///
    /// # Errors
    /// Everybody else.
    pub fn check_commit(&self, id: &str, epoch: i32, says_epoch: bool) -> Result<(), Refused> {
        if epoch < 0 && self.is_empty() {
            return Ok(());
        }
        let Some(subscriber) = self.image.subscribers.get(id) else { return Err(Refused::UnknownMember) };
        if !says_epoch && subscriber.classic.is_none() {
            return Err(Refused::Version);
        }
        self.check_member(id, epoch)
    }

    /// Whether offsets may be fetched: by a member in its epoch, or by nobody in particular.
    ///
    /// # Errors
    /// Everybody else.
    pub fn check_fetch(&self, id: Option<&str>, epoch: i32) -> Result<(), Refused> {
        match id {
            None if epoch < 0 => Ok(()),
            Some(id) if self.image.subscribers.contains_key(id) => self.check_member(id, epoch),
            _ => Err(Refused::UnknownMember),
        }
    }
}
