//! Bugs planted on purpose, to prove that the model finds them. Only tests plant; anywhere else `is` is a constant.

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A member lives on in any epoch.
    OldEpochsLive,
    /// A commit of an earlier epoch is taken.
    OldEpochsCommit,
    /// A partition is given to the next member before the one before has given it back.
    GivenTooEarly,
    /// Sessions do not end.
    NobodyDies,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or removes it.
#[cfg(test)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[cfg(test)]
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted: never.
#[cfg(not(test))]
#[inline(always)]
pub fn is(_: Bug) -> bool {
    false
}
