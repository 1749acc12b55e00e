//! UpdateFeatures (API 57): the levels of a cluster's features (KIP-584).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An UpdateFeatures request.
    pub struct UpdateFeaturesRequest<'a> {
        /// How long the client waits, in milliseconds.
        timeout_ms: i32 = 60_000, ..;
        /// Features with the level that they are to have.
        updates: Vec<FeatureUpdate<'a>>, ..;
        /// Whether this is only tried.
        validate_only: bool, 1..;
    }

    /// A feature with the level that it is to have.
    pub struct FeatureUpdate<'a> {
        /// Its name.
        name: &'a str, ..;
        /// The level.
        level: i16, ..;
        /// Whether the level may go down.
        allow_downgrade: bool, ..=0;
        /// 1: up, 2: down if nothing is lost, 3: down.
        upgrade_type: i8 = 1, 1..;
    }

    /// An UpdateFeatures response.
    pub struct UpdateFeaturesResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome of the request as a whole.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// Outcome for each feature.
        results: Vec<FeatureOutcome<'a>>, ..=1;
    }

    /// Outcome for a feature.
    pub struct FeatureOutcome<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
    }
}
