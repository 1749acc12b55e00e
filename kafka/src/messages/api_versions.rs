//! ApiVersions (API 18): the first request of a connection (KIP-35, KIP-511).
use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An ApiVersions request.
    #[derive(Copy)]
    pub struct ApiVersionsRequest<'a> {
        /// Name of the client library.
        client_software_name: &'a str, 3..;
        /// Its version.
        client_software_version: &'a str, 3..;
    }

    /// An ApiVersions response.
    pub struct ApiVersionsResponse<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// What is served.
        apis: Vec<ApiVersion>, ..;
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Features that could be switched on (KIP-584). Before version 4 a client does not understand those that could be
        /// switched off, and they are left out.
        supported_features: Vec<SupportedFeature<'a>>, 3.., tag 0;
        /// Which list of features that are on this is.
        finalized_features_epoch: i64 = -1, 3.., tag 1;
        /// Features that are on.
        finalized_features: Vec<FinalizedFeature<'a>>, 3.., tag 2;
    }

    /// A feature that could be switched on.
    #[derive(Copy)]
    pub struct SupportedFeature<'a> {
        /// Its name.
        name: &'a str, 3..;
        /// Its lowest level; 0: it could be off.
        min_version: i16, 3..;
        /// Its highest level.
        max_version: i16, 3..;
    }

    /// A feature that is on.
    #[derive(Copy)]
    pub struct FinalizedFeature<'a> {
        /// Its name.
        name: &'a str, 3..;
        /// Its level.
        max_version_level: i16, 3..;
        /// The lowest level that it may have.
        min_version_level: i16, 3..;
    }

    /// Versions of an API that are served.
    #[derive(Copy)]
    pub struct ApiVersion {
        /// The API.
        api_key: i16, ..;
        /// First version.
        min_version: i16, ..;
        /// Last version.
        max_version: i16, ..;
    }
}

impl ApiVersionsRequest<'_> {
    /// First version in which a client names its library.
    pub const SOFTWARE_FROM: i16 = 3;

    /// Whether name and version of the client are what KIP-511 allows: letters and digits, and between them
    /// hyphens and dots. Before version 3 a client does not name itself.
    pub fn is_valid(&self, version: i16) -> bool {
        let valid = |text: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            let bytes = text.as_bytes();
            let ends = [bytes.first(), bytes.last()];
            bytes.iter().all(|b| allowed(*b)) && ends.iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
        };
        version < Self::SOFTWARE_FROM
            || (valid(self.client_software_name) && valid(self.client_software_version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_name_themselves_by_the_rule() {
        let valid = |name, version| {
            ApiVersionsRequest { client_software_name: name, client_software_version: version }.is_valid(3)
        };
        assert!(valid("apache-kafka-java", "4.1.1") && valid("a", "1") && valid("a.b-c", "1.2-SNAPSHOT"));
        for bad in ["", "a b", "-a", "a-", ".a", "a.", "a_b", "a+b", "\u{e4}"] {
            assert!(!valid(bad, "1") && !valid("a", bad), "{bad:?}");
        }
        let nameless = ApiVersionsRequest { client_software_name: "", client_software_version: "" };
        assert!(nameless.is_valid(2) && !nameless.is_valid(3));
    }
}
