//! Bugs planted on purpose, to prove that the model finds them. Only tests plant; anywhere else `is` is a constant.

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A completed rebalance keeps the generation.
    GenerationStays,
    /// A commit of an earlier generation is taken.
    OldGenerationCommits,
    /// The process that had a static member's name stays a member beside the one that took it over.
    OldInstanceStays,
    /// Ids that nobody joins with are never forgotten.
    PendingStays,
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
