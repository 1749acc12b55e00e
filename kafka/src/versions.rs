//! Which APIs are served, in which versions, and from which version on they are flexible (KIP-482).
//!
//! Promise: a version is advertised only if it is served, with one exception. Produce is advertised from 0
//! although 0 to 2 are refused, as Kafka 4 does (KAFKA-18659): older librdkafka takes a higher minimum for a
//! broker without its message formats and silently turns compression off.

/// An API that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    CreatePartitions = 37,
    DeleteGroups = 42,
    IncrementalAlterConfigs = 44,
    OffsetDelete = 47,
    DescribeCluster = 60,
}

/// Versions of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiSpec {
    /// The API.
    pub key: ApiKey,
    /// First version that is told to clients.
    pub advertised_min: i16,
    /// First version that is served.
    pub min: i16,
    /// Last version that is served and told to clients.
    pub max: i16,
    /// First version with compact types and tagged fields.
    pub flexible_from: i16,
}

const fn spec(key: ApiKey, min: i16, max: i16, flexible_from: i16) -> ApiSpec {
    ApiSpec { key, advertised_min: min, min, max, flexible_from }
}

/// Every API that is served, by key.
pub const SERVED: &[ApiSpec] = &[
    ApiSpec { advertised_min: 0, ..spec(ApiKey::Produce, 3, 13, 9) },
    spec(ApiKey::Fetch, 4, 18, 12),
    spec(ApiKey::ListOffsets, 1, 11, 6),
    spec(ApiKey::Metadata, 0, 13, 9),
    spec(ApiKey::OffsetCommit, 2, 9, 8),
    spec(ApiKey::OffsetFetch, 1, 9, 6),
    spec(ApiKey::FindCoordinator, 0, 6, 3),
    spec(ApiKey::DescribeGroups, 0, 6, 5),
    spec(ApiKey::ListGroups, 0, 5, 3),
    spec(ApiKey::ApiVersions, 0, 4, 3),
    spec(ApiKey::CreateTopics, 2, 7, 5),
    spec(ApiKey::DeleteTopics, 1, 6, 4),
    spec(ApiKey::DeleteRecords, 0, 2, 2),
    spec(ApiKey::InitProducerId, 0, 5, 2),
    spec(ApiKey::DescribeConfigs, 1, 4, 4),
    spec(ApiKey::AlterConfigs, 0, 2, 2),
    spec(ApiKey::CreatePartitions, 0, 3, 2),
    spec(ApiKey::DeleteGroups, 0, 2, 2),
    spec(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    // No version of it is flexible.
    spec(ApiKey::OffsetDelete, 0, 0, 1),
    spec(ApiKey::DescribeCluster, 0, 2, 0),
];

impl ApiKey {
    /// The API that a number stands for, if it is served.
    pub fn from_code(code: i16) -> Option<Self> {
        SERVED.iter().find(|spec| spec.key.code() == code).map(|spec| spec.key)
    }

    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Its versions.
    pub const fn spec(self) -> ApiSpec {
        // By position: a match is checked for completeness, a search of the table is not.
        let index = match self {
            Self::Produce => 0,
            Self::Fetch => 1,
            Self::ListOffsets => 2,
            Self::Metadata => 3,
            Self::OffsetCommit => 4,
            Self::OffsetFetch => 5,
            Self::FindCoordinator => 6,
            Self::DescribeGroups => 7,
            Self::ListGroups => 8,
            Self::ApiVersions => 9,
            Self::CreateTopics => 10,
            Self::DeleteTopics => 11,
            Self::DeleteRecords => 12,
            Self::InitProducerId => 13,
            Self::DescribeConfigs => 14,
            Self::AlterConfigs => 15,
            Self::CreatePartitions => 16,
            Self::DeleteGroups => 17,
            Self::IncrementalAlterConfigs => 18,
            Self::OffsetDelete => 19,
            Self::DescribeCluster => 20,
        };
        SERVED[index]
    }

    /// Whether a version is served.
    pub const fn serves(self, version: i16) -> bool {
        let spec = self.spec();
        version >= spec.min && version <= spec.max
    }

    /// Whether a version has compact types and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.spec().flexible_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_itself_and_with_an_independent_list() {
        use kafka_protocol::messages::ApiKey as Theirs;
        for spec in SERVED {
            assert_eq!(spec.key.spec(), *spec);
            assert_eq!(ApiKey::from_code(spec.key.code()), Some(spec.key));
            let theirs = Theirs::try_from(spec.key.code()).unwrap();
            assert_eq!(format!("{:?}", spec.key), format!("{theirs:?}"));
            for version in spec.min..=spec.max {
                let header = if spec.key.is_flexible(version) { 2 } else { 1 };
                assert_eq!(theirs.request_header_version(version), header, "{theirs:?} v{version}");
            }
        }
        assert!(SERVED.is_sorted_by_key(|spec| spec.key.code()));
        assert_eq!(ApiKey::from_code(17), None);
        assert!(!ApiKey::Produce.serves(2) && ApiKey::Produce.serves(3) && !ApiKey::Produce.serves(14));
    }
}
