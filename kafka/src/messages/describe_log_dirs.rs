//! DescribeLogDirs (API 35): what partitions take on the disk (KIP-113), and how large it is (KIP-827).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A DescribeLogDirs request.
    pub struct DescribeLogDirsRequest<'a> {
        /// Topics that are asked for; `None`: all.
        topics: Option<Vec<DescribableLogDirTopic<'a>>>, ..;
    }

    /// A topic of it.
    pub struct DescribableLogDirTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Partitions that are asked for.
        partitions: Vec<i32>, ..;
    }

    /// A DescribeLogDirs response.
    pub struct DescribeLogDirsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome of the request as a whole.
        error: ErrorCode, 3..;
        /// Directories.
        directories: Vec<LogDir<'a>>, ..;
    }

    /// A directory.
    pub struct LogDir<'a> {
        /// Why it cannot be used.
        error: ErrorCode, ..;
        /// Its path from the root.
        path: Cow<'a, str>, ..;
        /// Topics that have something there.
        topics: Vec<LogDirTopic<'a>>, ..;
        /// Bytes of its file system; -1: unknown.
        total_bytes: i64 = -1, 4..;
        /// Bytes of it that are left; -1: unknown.
        usable_bytes: i64 = -1, 4..;
    }

    /// A topic there.
    pub struct LogDirTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<LogDirPartition>, ..;
    }

    /// A partition there.
    #[derive(Copy)]
    pub struct LogDirPartition {
        /// Its number.
        index: i32, ..;
        /// Bytes that it takes.
        size: i64, ..;
        /// How far it is behind: 0 where it leads.
        offset_lag: i64, ..;
        /// Whether it is about to replace the one in another directory.
        is_future: bool, ..;
    }
}
