//! Records on their way to one partition, and the batch that they become.
use keylane_engine::record_batch::{BatchFields, HeaderFields, put_record};
use keylane_engine::records::compress;

use crate::cli::failure::Failure;
use crate::cli::record::New;
use crate::cli::time::now_ms;

/// Encoded records of a batch; a single record may be larger. Below the limit that brokers have if nothing else is set.
pub const BATCH_BYTES: usize = 900_000;

/// Records for a partition.
#[derive(Debug, Default)]
pub struct Batch {
    encoded: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Batch {
    /// How many there are.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether a record still fits.
    pub fn has_room(&self, record: &New) -> bool {
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = record.headers.iter().map(|(name, value)| name.len() + bytes(value) + 10);
        let more = bytes(&record.key) + bytes(&record.value) + headers.sum::<usize>() + 40;
        self.count == 0 || self.encoded.len() + more <= BATCH_BYTES
    }

    /// Adds a record.
    pub fn add(&mut self, record: &New) {
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        if self.count == 0 {
            (self.base_timestamp, self.max_timestamp) = (timestamp, timestamp);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let headers: Vec<HeaderFields<'_>> =
            record.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
        let delta = timestamp.wrapping_sub(self.base_timestamp);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        put_record(&mut self.encoded, delta, self.count, key, value, &headers);
        self.count += 1;
    }

    /// The batch as it is sent, compressed with the codec of this number.
    pub fn bytes(&self, codec: i16) -> Result<Vec<u8>, Failure> {
        let fields = BatchFields {
            attributes: codec,
            max_timestamp: self.max_timestamp,
            ..BatchFields::new(self.count, self.base_timestamp)
        };
        if codec == 0 {
            return Ok(fields.around(&self.encoded));
        }
        let mut compressed = Vec::new();
        compress(codec, &self.encoded, &mut compressed).map_err(|error| Failure::Data(error.to_string()))?;
        Ok(fields.around(&compressed))
    }
}
