//! OffsetForLeaderEpoch: where the records of a leader epoch end. There is one node, and one epoch: 0.

use std::rc::Rc;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::offset_for_leader_epoch::{
    EpochEnd, EpochPartition, EpochTopic, EpochTopicEnds, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::code_of_read;
use crate::front::kafka::handlers::Handle;
use crate::service::by_time::{self, Wanted};
use crate::service::error::ReadRefused;
use crate::service::topics::TopicKey;

impl<'q> Handle<'q> for OffsetForLeaderEpochRequest<'q> {
    async fn handle(self, context: &Context) -> OffsetForLeaderEpochResponse<'static> {
        let mut topics = Vec::with_capacity(self.topics.len());
        for EpochTopic { name, partitions } in &self.topics {
            let mut ends = Vec::with_capacity(partitions.len());
            for asked in partitions {
                ends.push(match find(context.core(), name, asked).await {
                    Ok(found) => found,
                    Err(refused) => {
                        EpochEnd { error: code_of_read(refused), index: asked.index, ..Default::default() }
                    }
                });
            }
            topics.push(EpochTopicEnds { name: (*name).to_owned().into(), partitions: ends });
        }
        OffsetForLeaderEpochResponse { topics, ..Default::default() }
    }
}

async fn find(core: &Rc<Core>, topic: &str, asked: &EpochPartition) -> Result<EpochEnd, ReadRefused> {
    let route = core.topics.borrow().find(TopicKey::Name(topic)).and_then(|t| t.route(asked.index))?;
    match asked.current_leader_epoch {
        1.. => return Err(ReadRefused::LaterLeader),
        ..-1 => return Err(ReadRefused::EarlierLeader),
        -1 | 0 => {}
    }
    let nothing = EpochEnd { error: ErrorCode::None, index: asked.index, leader_epoch: -1, end_offset: -1 };
    if asked.leader_epoch != 0 {
        return Ok(nothing);
    }
    let end = by_time::find(core, route, Wanted::End).await?;
    Ok(end.map_or(nothing, |(offset, _)| EpochEnd { leader_epoch: 0, end_offset: offset as i64, ..nothing }))
}
