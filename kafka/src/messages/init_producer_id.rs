//! InitProducerId (API 22): an id and an epoch for an idempotent producer (KIP-98, KIP-360).
use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An InitProducerId request.
    #[derive(Copy)]
    pub struct InitProducerIdRequest<'a> {
        /// Transactions are asked for under this name; `None` for idempotence alone.
        transactional_id: Option<&'a str>, ..;
        /// After how long an open transaction is to be aborted.
        transaction_timeout_ms: i32, ..;
        /// Id that the producer has, to raise its epoch; -1 for none.
        producer_id: i64 = -1, 3..;
        /// Epoch that the producer has; -1 for none.
        producer_epoch: i16 = -1, 3..;
    }

    /// An InitProducerId response.
    #[derive(Copy)]
    pub struct InitProducerIdResponse {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// The id; -1 in an error.
        producer_id: i64 = -1, ..;
        /// Its epoch; -1 in an error.
        producer_epoch: i16 = -1, ..;
    }
}

impl InitProducerIdResponse {
    /// No id was given.
    pub fn failed(error: ErrorCode) -> Self {
        Self { error, ..Self::default() }
    }
}
