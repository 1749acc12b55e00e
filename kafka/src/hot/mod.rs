//! What records go through: requests and responses of Produce and Fetch, read and written without a copy. Each has a
//! declaration in [`crate::messages`], and tests compare the two byte by byte.
pub mod answers;
pub mod fetch;
pub mod produce;
