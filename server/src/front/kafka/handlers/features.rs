//! UpdateFeatures (KIP-584): the features that there are have one level, which they keep.

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::update_features::{
    FeatureOutcome, FeatureUpdate, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use keylane_kafka::versions::FEATURES;

use crate::front::kafka::context::Context;
use crate::front::kafka::errors::Refusal;
use crate::front::kafka::handlers::Handle;

/// First version whose answer is about the request as a whole.
const AS_A_WHOLE: i16 = 2;
/// Ways of changing a level: up, down if nothing is lost, down.
const UPGRADE_TYPES: std::ops::RangeInclusive<i8> = 1..=3;

/// Refuses every level but the one that a feature has, and ways of changing it that there are not.
fn check(update: &FeatureUpdate<'_>) -> Result<(), Refusal> {
    let refused = |why: String| Err((ErrorCode::InvalidUpdateVersion, why));
    if !UPGRADE_TYPES.contains(&update.upgrade_type) {
        return refused(format!("there is no way {} of changing a level", update.upgrade_type));
    }
    match FEATURES.iter().find(|(name, _)| *name == update.name) {
        None => refused(format!("there is no feature {}", update.name)),
        Some((_, level)) if *level == update.level => Ok(()),
        Some((name, level)) => {
            refused(format!("{name} has level {level} for good: it cannot be {}", update.level))
        }
    }
}

impl<'q> Handle<'q> for UpdateFeaturesRequest<'q> {
    async fn handle(self, context: &Context) -> UpdateFeaturesResponse<'static> {
        if let Some((error, why)) = self.updates.iter().find_map(|update| check(update).err()) {
            return UpdateFeaturesResponse { error, error_message: Some(why.into()), ..Default::default() };
        }
        let done = |update: &FeatureUpdate<'_>| FeatureOutcome {
            name: update.name.to_owned().into(),
            ..FeatureOutcome::default()
        };
        // Before, each feature had an outcome of its own; in Kafka, too, one that fails fails all.
        let each =
            if context.version() < AS_A_WHOLE { self.updates.iter().map(done).collect() } else { Vec::new() };
        UpdateFeaturesResponse { results: each, ..Default::default() }
    }
}
