//! The names of a simulated disk: the tree that calls see, the tree that is durable, and the changes in
//! between.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::rng::Rng;

/// Number of a file.
pub type Ino = u64;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    File(Ino),
    Dir,
}

/// Full paths and what they stand for. The root has no entry.
pub type Tree = BTreeMap<Rc<str>, Entry>;

#[derive(Clone)]
enum Change {
    Add(Rc<str>, Entry),
    Rename { from: Rc<str>, to: Rc<str>, ino: Ino },
    Remove(Rc<str>, Ino),
}

impl Change {
    fn apply(&self, tree: &mut Tree) {
        match self {
            Change::Add(path, entry) => {
                tree.insert(Rc::clone(path), *entry);
            }
            Change::Rename { to, ino, .. } => {
                // Whatever name it has there, if an earlier rename was lost: a file has one name.
                tree.retain(|_, entry| *entry != Entry::File(*ino));
                tree.insert(Rc::clone(to), Entry::File(*ino));
            }
            Change::Remove(path, ino) => {
                if tree.get(path) == Some(&Entry::File(*ino)) {
                    tree.remove(path);
                }
            }
        }
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Change::Add(path, _) | Change::Remove(path, _) => (path, None),
            Change::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second).map(|path| &**path)
    }
}

struct Pending {
    id: u64,
    completed: Option<u64>,
    /// A failed sync gave it up: no later one covers it.
    given_up: bool,
    /// Directories that are still to be synced.
    dirs: Vec<String>,
    change: Change,
}

/// The names.
#[derive(Default)]
pub struct Names {
    pub visible: Tree,
    durable: Tree,
    pending: Vec<Pending>,
}

impl Names {
    /// A tree found on a medium.
    pub fn found(tree: Tree) -> Self {
        Self { visible: tree.clone(), durable: tree, pending: Vec::new() }
    }

    /// The file of this name.
    pub fn file(&self, path: &str) -> io::Result<Ino> {
        match self.visible.get(path) {
            Some(Entry::File(ino)) => Ok(*ino),
            Some(Entry::Dir) => Err(io::Error::new(io::ErrorKind::IsADirectory, path)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, path)),
        }
    }

    /// Whether there is such a directory.
    pub fn check_dir(&self, dir: &str) -> io::Result<()> {
        match self.visible.get(dir) {
            Some(Entry::Dir) => Ok(()),
            None if dir.is_empty() => Ok(()),
            Some(Entry::File(_)) => Err(io::Error::new(io::ErrorKind::NotADirectory, dir)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, dir)),
        }
    }

    /// Names of the entries of a directory.
    pub fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.check_dir(dir)?;
        let paths = self.visible.keys().filter(|path| parent(path) == dir);
        Ok(paths.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    /// Changes that are not durable.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Adds a name. Calls see it at once; it is in flight until completed.
    pub fn add(&mut self, id: u64, path: &str, entry: Entry) {
        self.begin(id, vec![parent(path).to_owned()], Change::Add(path.into(), entry));
    }

    /// Gives a file another name.
    pub fn rename(&mut self, id: u64, from: &str, to: &str, ino: Ino) {
        let mut dirs = vec![parent(from).to_owned(), parent(to).to_owned()];
        dirs.dedup();
        self.begin(id, dirs, Change::Rename { from: from.into(), to: to.into(), ino });
    }

    /// Removes a file's name.
    pub fn remove(&mut self, id: u64, path: &str, ino: Ino) {
        self.begin(id, vec![parent(path).to_owned()], Change::Remove(path.into(), ino));
    }

    fn begin(&mut self, id: u64, dirs: Vec<String>, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(Pending { id, completed: None, given_up: false, dirs, change });
    }

    /// Completes the changes of an operation: syncs begun from now on cover them.
    pub fn complete(&mut self, id: u64, now: u64) {
        for pending in self.pending.iter_mut().filter(|pending| pending.id == id) {
            pending.completed = Some(now);
        }
    }

    /// Makes the changes of a directory durable that completed before `begun`. A change of two
    /// directories is durable when both were synced. An earlier change of the same name cannot stay
    /// behind: it becomes durable as well.
    pub fn sync(&mut self, dir: &str, begun: u64) {
        for at in 0..self.pending.len() {
            let pending = &mut self.pending[at];
            if !pending.given_up && pending.completed.is_some_and(|at| at < begun) {
                pending.dirs.retain(|other| other != dir);
            }
        }
        let mut durable: Vec<bool> = self.pending.iter().map(|pending| pending.dirs.is_empty()).collect();
        for later in (0..self.pending.len()).rev().filter(|&i| self.pending[i].dirs.is_empty()) {
            self.mark_earlier(later, &mut durable);
        }
        let mut marks = durable.into_iter();
        let tree = &mut self.durable;
        self.pending.retain(|pending| {
            let durable = marks.next().unwrap_or(false);
            if durable {
                pending.change.apply(tree);
            }
            !durable
        });
    }

    fn mark_earlier(&self, later: usize, durable: &mut [bool]) {
        for earlier in (0..later).rev() {
            let mut paths = self.pending[earlier].change.paths();
            let same = paths.any(|path| self.pending[later].change.paths().any(|other| other == path));
            if same && !durable[earlier] {
                durable[earlier] = true;
                self.mark_earlier(earlier, durable);
            }
        }
    }

    /// Gives up the changes that a failed sync of a directory should have made durable.
    pub fn lose(&mut self, dir: &str, begun: u64) {
        for pending in &mut self.pending {
            let covered = pending.completed.is_some_and(|at| at < begun);
            pending.given_up |= covered && pending.dirs.iter().any(|other| other == dir);
        }
    }

    /// What a crash now could leave: the durable tree and those pending changes that `keep` keeps.
    pub fn after_crash(&self, mut keep: impl FnMut() -> bool) -> Tree {
        let mut tree = self.durable.clone();
        for pending in &self.pending {
            if keep() {
                pending.change.apply(&mut tree);
            }
        }
        drop_unreachable(&mut tree);
        tree
    }
}

/// Draws which pending changes of names survive: half of them, nearly all, or hardly any.
pub fn drawn(mut rng: Rng) -> impl FnMut() -> bool {
    let mostly = rng.below(3);
    move || match mostly {
        0 => rng.one_in(2),
        1 => !rng.one_in(8),
        _ => rng.one_in(8),
    }
}

/// Removes what lies in a directory that is not there.
fn drop_unreachable(tree: &mut Tree) {
    loop {
        let lost: Vec<Rc<str>> = tree
            .keys()
            .filter(|path| {
                let dir = parent(path);
                !dir.is_empty() && tree.get(dir) != Some(&Entry::Dir)
            })
            .cloned()
            .collect();
        if lost.is_empty() {
            return;
        }
        for path in lost {
            tree.remove(&path);
        }
    }
}

/// The directory that holds a path; empty for the root.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// A path without leading, trailing and doubled slashes and without `.` components.
pub fn normal(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}
