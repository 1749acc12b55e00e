//! DeleteRecords: moves log start offsets up.
//!
//! A partition whose change takes longer than the request's time-out is answered with REQUEST_TIMED_OUT; the change may
//! still happen.

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeletedRecordsPartition,
    DeletedRecordsTopic, HIGH_WATERMARK,
};

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::code_of_trim;
use crate::front::kafka::handlers::Handle;
use crate::service::error::TrimRefused;
use crate::service::trim::{self, Outcome, Wanted};

impl<'q> Handle<'q> for DeleteRecordsRequest<'q> {
    async fn handle(self, context: &Context) -> DeleteRecordsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let deadline = context.deadline(request.timeout_ms);
        let all = request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| wanted(core, t.name, p)));
        let mut outcomes = trim::trim(core, all.collect(), deadline).await.into_iter();
        let topics = request.topics.iter().map(|topic| DeletedRecordsTopic {
            name: topic.name.to_owned().into(),
            partitions: topic.partitions.iter().zip(&mut outcomes).map(|(p, o)| answer(p.index, o)).collect(),
        });
        // Topics without partitions are not answered, as in Kafka.
        let topics = topics.filter(|topic| !topic.partitions.is_empty()).collect();
        DeleteRecordsResponse { topics, ..Default::default() }
    }
}

fn wanted(core: &Core, topic: &str, partition: &DeleteRecordsPartition) -> Result<Wanted, TrimRefused> {
    // A number below 0 stands for the high watermark; below that one, for nothing.
    let wanted = trim::wanted(core, topic, partition.index, u64::try_from(partition.offset).ok());
    match wanted {
        Ok(_) | Err(TrimRefused::Compacted) if partition.offset < HIGH_WATERMARK => {
            Err(TrimRefused::OutOfRange)
        }
        wanted => wanted,
    }
}

fn answer(index: i32, outcome: Outcome) -> DeletedRecordsPartition {
    let (low_watermark, error) = match outcome {
        Ok(start) => (start as i64, ErrorCode::None),
        Err(refused) => (-1, code_of_trim(refused)),
    };
    DeletedRecordsPartition { index, low_watermark, error }
}
