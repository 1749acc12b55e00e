//! Keylane.
