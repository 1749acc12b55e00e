//! ListConfigResources: what has settings of its own (KIP-1142; version 0 lists client metrics alone, KIP-714).

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::describe_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use keylane_kafka::messages::list_config_resources::{
    ListConfigResourcesRequest, ListConfigResourcesResponse, ListedResource,
};

use crate::front::kafka::context::Context;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::NODE_ID;

/// All kinds, in the order in which they are listed. Client metrics and groups have no settings here.
const KINDS: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];

impl<'q> Handle<'q> for ListConfigResourcesRequest {
    async fn handle(self, context: &Context) -> ListConfigResourcesResponse<'static> {
        let asked = match context.version() {
            0 => vec![CLIENT_METRICS],
            _ if self.kinds.is_empty() => KINDS.to_vec(),
            _ => self.kinds,
        };
        if asked.iter().any(|kind| !KINDS.contains(kind)) {
            return ListConfigResourcesResponse {
                error: ErrorCode::UnsupportedVersion,
                ..Default::default()
            };
        }
        let of = |kind: i8, name: String| ListedResource { name: name.into(), kind };
        let mut resources = Vec::new();
        for kind in KINDS.into_iter().filter(|kind| asked.contains(kind)) {
            match kind {
                BROKER | BROKER_LOGGER => resources.push(of(kind, NODE_ID.to_string())),
                TOPIC => {
                    let topics = context.core().topics.borrow();
                    resources.extend(topics.all().map(|t| of(TOPIC, t.topic.name.clone())));
                }
                _ => {}
            }
        }
        ListConfigResourcesResponse { resources, ..Default::default() }
    }
}
