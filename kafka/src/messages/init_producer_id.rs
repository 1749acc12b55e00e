//! InitProducerId (API 22), versions 0 to 5: an id and an epoch for an idempotent producer (KIP-98, KIP-360).
use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// An InitProducerId request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProducerIdRequest<'a> {
    /// Transactions are asked for under this name; `None` for idempotence alone.
    pub transactional_id: Option<&'a str>,
    /// After how long an open transaction is to be aborted.
    pub transaction_timeout_ms: i32,
    /// Id that the producer has, to raise its epoch; -1 for none (v3).
    pub producer_id: i64,
    /// Epoch that the producer has; -1 for none (v3).
    pub producer_epoch: i16,
}

impl<'a> InitProducerIdRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::InitProducerId.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::InitProducerId.is_flexible(version);
        let request = Self {
            transactional_id: r.nullable_string(flexible, "transactional_id")?,
            transaction_timeout_ms: r.i32("transaction_timeout_ms")?,
            producer_id: if version >= 3 { r.i64("producer_id")? } else { -1 },
            producer_epoch: if version >= 3 { r.i16("producer_epoch")? } else { -1 },
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// An InitProducerId response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProducerIdResponse {
    /// Outcome.
    pub error: ErrorCode,
    /// The id; -1 in an error.
    pub producer_id: i64,
    /// Its epoch; -1 in an error.
    pub producer_epoch: i16,
}

impl InitProducerIdResponse {
    /// No id was given.
    pub fn failed(error: ErrorCode) -> Self {
        Self { error, producer_id: -1, producer_epoch: -1 }
    }

    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        w.i32(0); // throttle_time_ms
        w.i16(self.error.code());
        w.i64(self.producer_id);
        w.i16(self.producer_epoch);
        w.no_tags(ApiKey::InitProducerId.is_flexible(version));
    }
}
