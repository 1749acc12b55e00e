//! FindCoordinator (API 10): one key before version 4, several from then on (KIP-699).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A FindCoordinator request.
    pub struct FindCoordinatorRequest<'a> {
        /// Group or transaction.
        key: &'a str, ..=3;
        /// 0: group, 1: transaction, 2: share group.
        key_type: i8, 1..;
        /// Groups or transactions.
        coordinator_keys: Vec<&'a str>, 4..;
    }

    /// A FindCoordinator response.
    pub struct FindCoordinatorResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Outcome.
        error: ErrorCode, ..=3;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, 1..=3;
        /// The node; -1 in an error.
        node_id: i32 = -1, ..=3;
        /// Its host.
        host: Cow<'a, str>, ..=3;
        /// Its port; -1 in an error.
        port: i32 = -1, ..=3;
        /// The keys of the request, in its order.
        coordinators: Vec<Coordinator<'a>>, 4..;
    }

    /// Who coordinates a key.
    pub struct Coordinator<'a> {
        /// The key.
        key: Cow<'a, str>, ..;
        /// The node; -1 in an error.
        node_id: i32 = -1, ..;
        /// Its host.
        host: Cow<'a, str>, ..;
        /// Its port; -1 in an error.
        port: i32 = -1, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
    }
}

impl<'a> FindCoordinatorRequest<'a> {
    /// What is asked for, whatever the version.
    pub fn keys(&self, version: i16) -> &[&'a str] {
        if version < 4 { std::slice::from_ref(&self.key) } else { &self.coordinator_keys }
    }
}

impl<'a> FindCoordinatorResponse<'a> {
    /// An answer to the keys of a request. Before version 4 there is one.
    pub fn new(version: i16, mut coordinators: Vec<Coordinator<'a>>) -> Self {
        if version >= 4 {
            return Self { coordinators, ..Self::default() };
        }
        let missing = || Coordinator { error: ErrorCode::InvalidRequest, ..Coordinator::default() };
        let Coordinator { error, error_message, node_id, host, port, .. } =
            if coordinators.is_empty() { missing() } else { coordinators.swap_remove(0) };
        Self { error, error_message, node_id, host, port, ..Self::default() }
    }
}
