//! Headers of requests and responses.
//!
//! Promise: the first eight bytes (API, version, correlation id) are read the same way whatever the version,
//! so that an unsupported version of ApiVersions can still be answered. Request header v0 exists only in
//! an API that is not served (ControlledShutdown 0); response header v1 has tagged fields (KIP-482), and the
//! response of ApiVersions always has v0 because its reader does not know yet what the broker speaks (KIP-511).
use crate::api::ApiKey;
use crate::wire::{Reader, WireError, Writer};

/// Longest request but Produce, in bytes. Decoded, such a request takes up to some thirty times its length in
/// memory; the largest that clients send (names of all topics) are far below.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 16 << 20;

/// Header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Which API.
    pub api: ApiKey,
    /// Version of the request and of its response.
    pub version: i16,
    /// Returned in the response.
    pub correlation_id: i32,
    /// Name that the client gave itself.
    pub client_id: Option<&'a str>,
}

/// A request that cannot be dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The header cannot be decoded.
    #[error("request header: {0}")]
    Wire(#[from] WireError),
    /// An API that is not served.
    #[error("API {key} (version {version}) is not served")]
    UnknownApi {
        /// Its number.
        key: i16,
        /// The version asked for.
        version: i16,
        /// The request's number.
        correlation_id: i32,
    },
    /// A version that is not served. Answer ApiVersions with [`crate::versions::encode_unsupported`];
    /// close the connection for any other.
    #[error("version {version} of {api:?} is not served")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
        /// The request's number.
        correlation_id: i32,
    },
    /// A request without records that is longer than [`CONTROL_REQUEST_BYTES_MAX`].
    #[error("{api:?} request of {length} bytes; the limit is {CONTROL_REQUEST_BYTES_MAX}")]
    TooLong {
        /// The API.
        api: ApiKey,
        /// Length of the request.
        length: usize,
    },
}

impl<'a> RequestHeader<'a> {
    /// Reads the header at the start of a frame and leaves the reader at the body.
    #[inline]
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, HeaderError> {
        let key = r.i16("request_api_key")?;
        let version = r.i16("request_api_version")?;
        let correlation_id = r.i32("correlation_id")?;
        let Some(api) = ApiKey::from_code(key) else {
            return Err(HeaderError::UnknownApi { key, version, correlation_id });
        };
        if !api.serves(version) {
            return Err(HeaderError::UnsupportedVersion { api, version, correlation_id });
        }
        let length = r.position() + r.remaining();
        if api != ApiKey::Produce && length > CONTROL_REQUEST_BYTES_MAX {
            return Err(HeaderError::TooLong { api, length });
        }
        // Not compact in any version, so that the header is readable before the version is known.
        let client_id = r.nullable_string(false, "client_id")?;
        r.skip_tags(api.is_flexible(version))?;
        Ok(Self { api, version, correlation_id, client_id })
    }

    /// Writes the header of a request.
    #[inline]
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i16(self.api.code());
        w.i16(self.version);
        w.i32(self.correlation_id);
        w.nullable_string(false, self.client_id);
        w.no_tags(self.api.is_flexible(self.version));
    }

    /// What the response's header needs.
    #[inline]
    pub fn response(&self) -> ResponseHeader {
        ResponseHeader { api: self.api, version: self.version, correlation_id: self.correlation_id }
    }
}

/// Header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's API.
    pub api: ApiKey,
    /// The request's version.
    pub version: i16,
    /// The request's number.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Whether there are tagged fields. Those who ask for ApiVersions do not know yet what the server speaks.
    #[inline]
    fn is_flexible(&self) -> bool {
        self.api != ApiKey::ApiVersions && self.api.is_flexible(self.version)
    }

    /// Writes it.
    #[inline]
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.correlation_id);
        w.no_tags(self.is_flexible());
    }

    /// Reads the header of an answer in this version.
    ///
    /// # Errors
    /// It is cut short.
    #[inline]
    pub fn decode(api: ApiKey, version: i16, r: &mut Reader<'_>) -> Result<Self, WireError> {
        let header = Self { api, version, correlation_id: r.i32("correlation_id")? };
        r.skip_tags(header.is_flexible())?;
        Ok(header)
    }
}
