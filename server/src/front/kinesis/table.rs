//! All operations: each is named once, with what does it.

use super::answer::Outcome;
use super::context::Context;
use super::fault::Fault;
use super::operations::{get, put, reshard, settings, shards, streams};

macro_rules! operations {
    ($($name:literal => $handler:path,)*) => {
        /// Their names.
        pub const NAMES: &[&str] = &[$($name),*];

        /// Does one of them.
        ///
        /// # Errors
        /// What the operation refuses; UnknownOperationException.
        pub async fn dispatch(context: &Context, name: &str, body: &[u8]) -> Outcome {
            match name {
                $($name => $handler(context, context.format.decode(body)?).await,)*
                other => Err(Fault::unknown_operation(format!("there is no operation {other}"))),
            }
        }
    };
}

operations! {
    "AddTagsToStream" => settings::add_tags,
    "CreateStream" => streams::create,
    "DecreaseStreamRetentionPeriod" => settings::decrease_retention,
    "DeleteStream" => streams::delete,
    "DescribeLimits" => streams::limits,
    "DescribeStream" => streams::describe,
    "DescribeStreamSummary" => streams::summary,
    "GetRecords" => get::records,
    "GetShardIterator" => get::iterator,
    "IncreaseStreamRetentionPeriod" => settings::increase_retention,
    "ListShards" => shards::list,
    "ListStreams" => streams::list,
    "ListTagsForStream" => settings::list_tags,
    "MergeShards" => reshard::merge,
    "PutRecord" => put::record,
    "PutRecords" => put::records,
    "RemoveTagsFromStream" => settings::remove_tags,
    "SplitShard" => reshard::split,
    "UpdateMaxRecordSize" => settings::update_record_size,
    "UpdateShardCount" => reshard::update_count,
    "UpdateStreamMode" => settings::update_mode,
}
