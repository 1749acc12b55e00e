//! All operations: each is named once, with what does it.
//!
//! An operation that changes streams is done to its end once it has begun, also if its client is gone: half of a change on a
//! core would be worse. The others end with their client.

use super::answer::Outcome;
use super::context::Context;
use super::fault::Fault;
use super::operations::{consumers, get, put, reshard, settings, shards, streams, subscribe};

macro_rules! operations {
    (
        records { $($record:literal => $of_records:path,)* }
        changes { $($change:literal => $of_change:path,)* }
    ) => {
        /// Whether there is an operation of this name.
        pub fn is_known(name: &str) -> bool {
            matches!(name, $($record)|* | $($change)|*)
        }

        /// Whether an operation changes streams.
        pub fn is_change(name: &str) -> bool {
            matches!(name, $($change)|*)
        }

        /// Does one of them.
        ///
        /// # Errors
        /// What the operation refuses; UnknownOperationException.
        pub async fn dispatch(context: &Context, name: &str, body: &[u8]) -> Outcome {
            match name {
                $($record => $of_records(context, context.format.decode(body)?).await,)*
                $($change => $of_change(context, context.format.decode(body)?).await,)*
                other => Err(Fault::unknown_operation(format!("there is no operation {other}"))),
            }
        }
    };
}

operations! {
    records {
        "DescribeLimits" => streams::limits,
        "DescribeStream" => streams::describe,
        "DescribeStreamConsumer" => consumers::describe,
        "DescribeStreamSummary" => streams::summary,
        "GetRecords" => get::records,
        "GetShardIterator" => get::iterator,
        "ListShards" => shards::list,
        "ListStreamConsumers" => consumers::list,
        "ListStreams" => streams::list,
        "ListTagsForStream" => settings::list_tags,
        "PutRecord" => put::record,
        "PutRecords" => put::records,
        "SubscribeToShard" => subscribe::subscribe,
    }
    changes {
        "AddTagsToStream" => settings::add_tags,
        "CreateStream" => streams::create,
        "DecreaseStreamRetentionPeriod" => settings::decrease_retention,
        "DeleteStream" => streams::delete,
        "DeregisterStreamConsumer" => consumers::deregister,
        "IncreaseStreamRetentionPeriod" => settings::increase_retention,
        "MergeShards" => reshard::merge,
        "RegisterStreamConsumer" => consumers::register,
        "RemoveTagsFromStream" => settings::remove_tags,
        "SplitShard" => reshard::split,
        "UpdateMaxRecordSize" => settings::update_record_size,
        "UpdateShardCount" => reshard::update_count,
        "UpdateStreamMode" => settings::update_mode,
    }
}
