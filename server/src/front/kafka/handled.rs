//! How far a request got.

/// How far a request got.
pub enum Handled {
    /// Taken care of; its bytes are no longer needed.
    Done,
    /// Needs its bytes for longer, or needs to wait: it is dispatched once more.
    Deferred,
}
