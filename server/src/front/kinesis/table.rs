//! All operations: each is named once, with what does it.
//!
//! An operation that changes streams is done to its end once it has begun, also if its client is gone: half of a change on a
//! core would be worse. The others end with their client.

use serde::de::DeserializeOwned;

use super::answer::Outcome;
use super::context::Context;
use super::fault::Fault;
use super::format::Format;
use super::operations::{consumers, get, put, reshard, settings, shards, stored, streams, subscribe};

/// Whether a body is a request of what `_does` it.
fn can_read<R: DeserializeOwned, O>(
    _does: impl FnOnce(&'static Context, R) -> O,
    format: Format,
    body: &[u8],
) -> bool {
    format.decode::<R>(body).is_ok()
}

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

        /// Reads a body as a request of an operation, and does nothing with it.
        pub fn reads(name: &str, format: Format, body: &[u8]) -> bool {
            match name {
                $($record => can_read(|context, request| $of_records(context, request), format, body),)*
                $($change => can_read(|context, request| $of_change(context, request), format, body),)*
                _ => false,
            }
        }

        /// All names.
        pub const NAMES: &[&str] = &[$($record,)* $($change),*];

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
        "DescribeAccountSettings" => stored::account,
        "DescribeLimits" => streams::limits,
        "DescribeStream" => streams::describe,
        "DescribeStreamConsumer" => consumers::describe,
        "DescribeStreamSummary" => streams::summary,
        "GetRecords" => get::records,
        "GetResourcePolicy" => stored::get_policy,
        "GetShardIterator" => get::iterator,
        "ListShards" => shards::list,
        "ListStreamConsumers" => consumers::list,
        "ListStreams" => streams::list,
        "ListTagsForResource" => stored::list_tags,
        "ListTagsForStream" => settings::list_tags,
        "PutRecord" => put::record,
        "PutRecords" => put::records,
        "SubscribeToShard" => subscribe::subscribe,
    }
    changes {
        "AddTagsToStream" => settings::add_tags,
        "CreateStream" => streams::create,
        "DecreaseStreamRetentionPeriod" => settings::decrease_retention,
        "DeleteResourcePolicy" => stored::delete_policy,
        "DeleteStream" => streams::delete,
        "DeregisterStreamConsumer" => consumers::deregister,
        "DisableEnhancedMonitoring" => stored::disable_monitoring,
        "EnableEnhancedMonitoring" => stored::enable_monitoring,
        "IncreaseStreamRetentionPeriod" => settings::increase_retention,
        "MergeShards" => reshard::merge,
        "PutResourcePolicy" => stored::put_policy,
        "RegisterStreamConsumer" => consumers::register,
        "RemoveTagsFromStream" => settings::remove_tags,
        "SplitShard" => reshard::split,
        "StartStreamEncryption" => stored::start_encryption,
        "StopStreamEncryption" => stored::stop_encryption,
        "TagResource" => stored::tag,
        "UntagResource" => stored::untag,
        "UpdateAccountSettings" => stored::update_account,
        "UpdateMaxRecordSize" => settings::update_record_size,
        "UpdateShardCount" => reshard::update_count,
        "UpdateStreamMode" => settings::update_mode,
        "UpdateStreamWarmThroughput" => settings::update_warm,
    }
}
