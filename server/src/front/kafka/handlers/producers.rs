//! DescribeProducers: the idempotent producers that partitions remember (KIP-664).

use keylane_kafka::messages::describe_producers::{
    ActiveProducer, DescribeProducersRequest, DescribeProducersResponse, ProducersPartition, ProducersTopic,
};

use crate::front::kafka::context::Context;
use crate::front::kafka::errors::code_of_partition;
use crate::front::kafka::handlers::Handle;
use crate::service::producers::producers;
use crate::service::topics::TopicKey;

impl<'q> Handle<'q> for DescribeProducersRequest<'q> {
    async fn handle(self, context: &Context) -> DescribeProducersResponse<'static> {
        let core = context.core();
        let routes: Vec<_> = {
            let known = core.topics.borrow();
            let all = self.topics.iter().flat_map(|t| t.partitions.iter().map(|index| (t.name, *index)));
            all.map(|(name, index)| known.find(TopicKey::Name(name)).and_then(|t| t.route(index))).collect()
        };
        let mut found = producers(core, &routes).await.into_iter();
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|index| {
                let Some(found) = found.next() else { unreachable!("one for each partition") };
                let none = ProducersPartition { index: *index, ..Default::default() };
                match found {
                    Err(error) => ProducersPartition {
                        error: code_of_partition(error),
                        error_message: Some(error.to_string().into()),
                        ..none
                    },
                    Ok(known) => {
                        let producers = known.into_iter().map(|producer| ActiveProducer {
                            id: producer.id,
                            epoch: producer.epoch.into(),
                            last_sequence: producer.last_sequence,
                            last_timestamp: producer.last_timestamp.unwrap_or(-1),
                            coordinator_epoch: -1,
                            ..ActiveProducer::default()
                        });
                        ProducersPartition { producers: producers.collect(), ..none }
                    }
                }
            });
            ProducersTopic { name: topic.name.to_owned().into(), partitions: partitions.collect() }
        });
        DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
    }
}
