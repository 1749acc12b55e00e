//! State whose invariants debug builds check after every change.

use std::cell::{Ref, RefCell, RefMut};
use std::ops::{Deref, DerefMut};

/// What must hold of a part of the state between two changes.
pub trait Invariant {
    /// Panics if an invariant does not hold. Cheap: debug builds call it after every change.
    fn check(&self);
}

/// A value that checks itself in debug builds whenever a change of it ends. In release builds it is a `RefCell`.
pub struct Checked<T: Invariant>(RefCell<T>);

impl<T: Invariant> Checked<T> {
    /// Takes a value over.
    pub fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// For reading.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    /// For a change. The change ends when what is returned is dropped.
    pub fn borrow_mut(&self) -> Change<'_, T> {
        Change(self.0.borrow_mut())
    }
}

/// A change under way.
pub struct Change<'a, T: Invariant>(RefMut<'a, T>);

impl<T: Invariant> Deref for Change<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Invariant> DerefMut for Change<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Invariant> Drop for Change<'_, T> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) && !std::thread::panicking() {
            self.0.check();
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    struct Even {
        value: u32,
    }

    impl Invariant for Even {
        fn check(&self) {
            assert!(self.value.is_multiple_of(2), "it is even");
        }
    }

    #[test]
    fn an_invariant_may_be_broken_during_a_change() {
        let even = Checked::new(Even { value: 0 });
        let mut change = even.borrow_mut();
        change.value += 1;
        change.value += 1;
        drop(change);
        assert_eq!(even.borrow().value, 2);
    }

    #[test]
    #[should_panic(expected = "it is even")]
    fn an_invariant_that_is_broken_after_a_change_is_found() {
        Checked::new(Even { value: 0 }).borrow_mut().value += 1;
    }
}
