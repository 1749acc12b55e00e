//! The APIs that are served, and what all of their messages have in common. All of it comes from the table in
//! [`crate::messages`].
use bytes::BytesMut;

use crate::field::{At, Field, unserved};
use crate::messages;
use crate::wire::{Reader, WireError, Writer};

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

/// A request or a response as a whole.
pub trait Message<'a>: Field<'a> + Default {
    /// Its API.
    const API: ApiKey;

    /// Reads a body. What follows it in the frame is left.
    ///
    /// # Errors
    /// A version that is not served; bytes that are not a message of it.
    #[inline]
    fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !Self::API.serves(version) {
            return Err(unserved(r, version));
        }
        Self::read(r, Self::API.at(version), "body")
    }

    /// Writes a body.
    #[inline]
    fn encode(&self, version: i16, w: &mut Writer<'_>) {
        self.write(w, Self::API.at(version));
    }
}

/// A request, which says what its answer is.
pub trait Ask<'a>: Message<'a> {
    /// Its response.
    type Answer<'r>: Message<'r>;
}

macro_rules! apis {
    ($(
        $name:ident = $key:literal, $min:literal..=$max:literal $(advertised $advertised:literal)?,
        flexible $flexible:literal,
        $module:ident::{$request:ident $(<$lt:lifetime>)?, $response:ident $(<$rlt:lifetime>)?};
    )*) => {
        /// An API that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        /// Every API that is served, by key.
        pub const SERVED: &[ApiSpec] = &[$(ApiKey::$name.spec(),)*];

        impl ApiKey {
            /// The API that a number stands for, if it is served.
            #[inline]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its versions.
            #[inline]
            pub const fn spec(self) -> ApiSpec {
                match self {
                    $(Self::$name => ApiSpec {
                        key: self,
                        advertised_min: [$($advertised,)? $min][0],
                        min: $min,
                        max: $max,
                        flexible_from: $flexible,
                    },)*
                }
            }

            /// The body of a request with something in each field, for tests.
            pub fn sample_request(self, version: i16) -> BytesMut {
                match self {
                    $(Self::$name => sample::<messages::$module::$request>(version),)*
                }
            }

            /// The body of a response with something in each field, for tests.
            pub fn sample_response(self, version: i16) -> BytesMut {
                match self {
                    $(Self::$name => sample::<messages::$module::$response>(version),)*
                }
            }
        }

        /// The body of a request.
        #[derive(Debug, Clone)]
        pub enum Request<'a> {
            $(
                #[doc = concat!("A request of ", stringify!($name), ".")]
                $name(messages::$module::$request $(<$lt>)?),
            )*
        }

        impl<'a> Request<'a> {
            /// Reads the body that follows a header with this API and version.
            ///
            /// # Errors
            /// A version that is not served; bytes that are not a message of it.
            pub fn decode(api: ApiKey, version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
                Ok(match api {
                    $(ApiKey::$name => Self::$name(Message::decode(version, r)?),)*
                })
            }
        }

        $(
            impl<'a> Message<'a> for messages::$module::$request $(<$lt>)? {
                const API: ApiKey = ApiKey::$name;
            }

            impl<'a> Message<'a> for messages::$module::$response $(<$rlt>)? {
                const API: ApiKey = ApiKey::$name;
            }

            impl<'q> Ask<'q> for apis!(@request $module $request $($lt)?) {
                type Answer<'a> = messages::$module::$response $(<$rlt>)?;
            }
        )*
    };
    (@request $module:ident $request:ident $lt:lifetime) => { messages::$module::$request<'q> };
    (@request $module:ident $request:ident) => { messages::$module::$request };
}

crate::for_each_api!(apis);

fn sample<'a, M: Message<'a>>(version: i16) -> BytesMut {
    let mut out = BytesMut::new();
    M::sample(M::API.at(version), &mut 0).encode(version, &mut Writer::new(&mut out));
    out
}

impl ApiKey {
    /// The number on the wire.
    #[inline]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether a version is served.
    #[inline]
    pub const fn serves(self, version: i16) -> bool {
        let spec = self.spec();
        version >= spec.min && version <= spec.max
    }

    /// Whether a version has compact types and tagged fields.
    #[inline]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.spec().flexible_from
    }

    /// What fields need to know of a version.
    #[inline]
    pub const fn at(self, version: i16) -> At {
        At::new(version, self.is_flexible(version))
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
        let advertised: Vec<_> = SERVED.iter().filter(|spec| spec.advertised_min != spec.min).collect();
        assert_eq!(advertised, [&ApiKey::Produce.spec()]);
    }
}
