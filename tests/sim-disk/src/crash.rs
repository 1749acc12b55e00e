//! Power loss: what a medium could hold if it happened now.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::inode::{Inode, Survival};
use super::names::{self, Entry, Names};
use super::rng::Rng;
use super::{SimDisk, State};

/// What a crash does to the changes that no completed sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashStyle {
    /// None survives.
    AllDropped,
    /// All survive, those in flight included.
    AllKept,
    /// Drawn from the seed: each write survives wholly, not at all, its front, its rear, or scattered
    /// sectors; an older write may survive where a newer one does not.
    Mixed,
}

impl SimDisk {
    /// A disk of its own that holds what the medium could hold if power were lost now. It behaves by the
    /// same options, and has no faults injected and no observer.
    pub fn crash_image(&self, seed: u64, style: CrashStyle) -> SimDisk {
        let state = self.state.borrow();
        let mut rng = Rng::new(seed);
        let tree = match style {
            CrashStyle::AllDropped => state.names.after_crash(|| false),
            CrashStyle::AllKept => state.names.after_crash(|| true),
            CrashStyle::Mixed => state.names.after_crash(names::drawn(Rng::new(rng.next_u64()))),
        };
        let survival = match style {
            CrashStyle::AllDropped => Survival::Nothing,
            CrashStyle::AllKept => Survival::Everything,
            CrashStyle::Mixed => Survival::Seeded { garble_1_in: state.options.garble_1_in },
        };
        let mut inodes = BTreeMap::new();
        for (path, entry) in &tree {
            if let Entry::File(ino) = entry
                && let Some(inode) = state.inodes.get(ino)
            {
                let content = inode.after_crash(survival, &mut rng);
                inodes.insert(*ino, Inode::found(Rc::clone(path), content));
            }
        }
        let image = SimDisk::new(rng.next_u64(), state.options.clone());
        let next_ino = state.next_ino;
        *image.state.borrow_mut() = State {
            names: Names::found(tree),
            inodes,
            next_ino,
            ..State::new(rng.next_u64(), state.options.clone())
        };
        image
    }
}
