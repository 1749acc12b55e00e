//! What a field of a message is: how each type is read and written in a version, and the least that it takes.
//!
//! Promises: a field that was written is read back the same; nothing is reserved for an array before the bytes
//! that its elements take at least are there, and that least is computed from the fields of the element.
use std::borrow::Cow;

use bytes::BytesMut;
use uuid::Uuid;

use crate::error::ErrorCode;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A version of an API, as far as a field needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The version.
    pub version: i16,
    /// Whether it has compact types and tagged fields (KIP-482).
    pub flexible: bool,
    /// Whether the field may be null.
    nullable: bool,
}

impl At {
    /// A version of an API.
    #[inline]
    pub const fn new(version: i16, flexible: bool) -> Self {
        Self { version, flexible, nullable: true }
    }

    /// Whether the version is one of these.
    #[inline]
    pub fn is_in(self, versions: impl std::ops::RangeBounds<i16>) -> bool {
        versions.contains(&self.version)
    }

    /// The same for a field that may be null or not.
    #[inline]
    pub fn nullable(self, nullable: bool) -> Self {
        Self { nullable, ..self }
    }
}

/// A type that fields of messages have. Messages are such types themselves.
pub trait Field<'a>: Sized {
    /// Reads it. `name` is what an error calls it.
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError>;

    /// Writes it.
    fn write(&self, w: &mut Writer<'_>, at: At);

    /// The fewest bytes that it takes.
    fn bytes_min(at: At) -> usize;

    /// A value for tests with something in each part. `seed` makes values differ.
    fn sample(at: At, seed: &mut u32) -> Self;

    /// Sets `throttle_time_ms`, in messages that have it.
    fn set_throttle(&mut self, _ms: i32) {}
}

/// The next number for a sample.
fn next(seed: &mut u32) -> u32 {
    *seed = seed.wrapping_add(1);
    *seed
}

macro_rules! fixed {
    ($($ty:ty, $bytes:literal, $read:ident, $sample:expr;)*) => {$(
        impl<'a> Field<'a> for $ty {
            #[inline]
            fn read(r: &mut Reader<'a>, _: At, name: &'static str) -> Result<Self, WireError> {
                r.$read(name)
            }

            #[inline]
            fn write(&self, w: &mut Writer<'_>, _: At) {
                w.$read(*self);
            }

            #[inline]
            fn bytes_min(_: At) -> usize {
                $bytes
            }

            fn sample(_: At, seed: &mut u32) -> Self {
                $sample(next(seed))
            }
        }
    )*};
}

fixed! {
    i8, 1, i8, |n| (n % 100) as i8;
    i16, 2, i16, |n| (n % 10_000) as i16;
    i32, 4, i32, |n| n as i32;
    i64, 8, i64, i64::from;
    bool, 1, bool, |_| true;
    Uuid, 16, uuid, |n| Uuid::from_u128(u128::from(n) << 40 | 7);
}

impl<'a> Field<'a> for ErrorCode {
    #[inline]
    fn read(r: &mut Reader<'a>, _: At, name: &'static str) -> Result<Self, WireError> {
        Ok(Self::from_code(r.i16(name)?))
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, _: At) {
        w.i16(self.code());
    }

    #[inline]
    fn bytes_min(_: At) -> usize {
        2
    }

    fn sample(_: At, seed: &mut u32) -> Self {
        Self::from_code((next(seed) % 100) as i16)
    }
}

#[inline]
fn string_bytes_min(at: At) -> usize {
    if at.flexible { 1 } else { 2 }
}

#[inline]
fn array_bytes_min(at: At) -> usize {
    if at.flexible { 1 } else { 4 }
}

impl<'a> Field<'a> for &'a str {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        r.string(at.flexible, name)
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        w.string(at.flexible, self);
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        string_bytes_min(at)
    }

    fn sample(_: At, seed: &mut u32) -> Self {
        const TEXTS: [&str; 4] = ["alpha", "b\u{e9}ta", "gamma.delta", "x"];
        TEXTS[next(seed) as usize % TEXTS.len()]
    }
}

impl<'a> Field<'a> for Cow<'a, str> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        <&str>::read(r, at, name).map(Cow::Borrowed)
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        w.string(at.flexible, self);
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        string_bytes_min(at)
    }

    fn sample(at: At, seed: &mut u32) -> Self {
        <&str>::sample(at, seed).into()
    }
}

/// A string that may be null. In versions where it may not, `None` is written as an empty one.
macro_rules! nullable_string {
    ($($ty:ty;)*) => {$(
        impl<'a> Field<'a> for Option<$ty> {
            #[inline]
            fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
                Ok(if at.nullable {
                    r.nullable_string(at.flexible, name)?.map(Into::into)
                } else {
                    Some(r.string(at.flexible, name)?.into())
                })
            }

            #[inline]
            fn write(&self, w: &mut Writer<'_>, at: At) {
                let text: Option<&str> = self.as_ref().map(|text| &**text);
                match at.nullable {
                    true => w.nullable_string(at.flexible, text),
                    false => w.string(at.flexible, text.unwrap_or_default()),
                }
            }

            #[inline]
            fn bytes_min(at: At) -> usize {
                string_bytes_min(at)
            }

            fn sample(at: At, seed: &mut u32) -> Self {
                Some(<$ty>::sample(at, seed))
            }
        }
    )*};
}

nullable_string! {
    &'a str;
    Cow<'a, str>;
}

/// Bytes that cannot be null.
impl<'a> Field<'a> for &'a [u8] {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        let start = r.clone();
        Option::read(r, at, name)?.ok_or_else(|| start.error(name, WireErrorKind::Null))
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        Some(*self).write(w, at);
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        array_bytes_min(at)
    }

    fn sample(_: At, _: &mut u32) -> Self {
        b"some bytes"
    }
}

/// Bytes that cannot be null, borrowed where they were read and perhaps owned where a message is made.
impl<'a> Field<'a> for Cow<'a, [u8]> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        <&[u8]>::read(r, at, name).map(Cow::Borrowed)
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        Some(&**self).write(w, at);
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        array_bytes_min(at)
    }

    fn sample(_: At, _: &mut u32) -> Self {
        Cow::Borrowed(b"some bytes")
    }
}

/// Bytes, among them records; null is told from empty.
impl<'a> Field<'a> for Option<&'a [u8]> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        Ok(r.nullable_bytes(at.flexible, name)?.map(|range| r.slice(range)))
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        w.nullable_length(at.flexible, self.map(<[u8]>::len));
        w.bytes(self.unwrap_or_default());
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        array_bytes_min(at)
    }

    fn sample(_: At, _: &mut u32) -> Self {
        Some(b"not a batch")
    }
}

/// An array. Its elements have tagged fields where they are messages, and none where they are not.
impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        r.vec(at.flexible, T::bytes_min(at), name, |r| T::read(r, at, name))
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        w.length(at.flexible, self.len());
        self.iter().for_each(|element| element.write(w, at));
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        array_bytes_min(at)
    }

    fn sample(at: At, seed: &mut u32) -> Self {
        vec![T::sample(at, seed), T::sample(at, seed)]
    }
}

/// An array that may be null. In versions where it may not, `None` is written as an empty one.
impl<'a, T: Field<'a>> Field<'a> for Option<Vec<T>> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        if !at.nullable {
            return Vec::read(r, at, name).map(Some);
        }
        let Some(len) = r.nullable_array(at.flexible, T::bytes_min(at), name)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(len);
        for _ in 0..len {
            elements.push(T::read(r, at, name)?);
        }
        Ok(Some(elements))
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        match self {
            Some(elements) => elements.write(w, at),
            None => w.nullable_length(at.flexible, if at.nullable { None } else { Some(0) }),
        }
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        array_bytes_min(at)
    }

    fn sample(at: At, seed: &mut u32) -> Self {
        Some(Vec::sample(at, seed))
    }
}

/// A struct that may be null: a byte says whether it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<'a, T: Field<'a>> Field<'a> for Nullable<T> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        if r.i8(name)? < 0 { Ok(Self(None)) } else { T::read(r, at, name).map(|value| Self(Some(value))) }
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        match &self.0 {
            Some(value) => {
                w.i8(1);
                value.write(w, at);
            }
            None => w.i8(-1),
        }
    }

    #[inline]
    fn bytes_min(_: At) -> usize {
        1
    }

    fn sample(at: At, seed: &mut u32) -> Self {
        Self(Some(T::sample(at, seed)))
    }
}

/// Numbers that are borrowed where a message is made and owned where it was read.
impl<'a> Field<'a> for Cow<'a, [i32]> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        r.i32s(at.flexible, name).map(Cow::Owned)
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        w.i32s(at.flexible, self);
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        array_bytes_min(at)
    }

    fn sample(at: At, seed: &mut u32) -> Self {
        Cow::Owned(Vec::sample(at, seed))
    }
}

/// A topic: by name, or by its id from version 13 of Produce and of Fetch on (KIP-516).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id.
    Id(Uuid),
}

impl TopicRef<'_> {
    /// First version of Produce and of Fetch in which topics are named by id.
    pub const IDS_FROM: i16 = 13;
}

impl Default for TopicRef<'_> {
    #[inline]
    fn default() -> Self {
        Self::Name("")
    }
}

impl<'a> Field<'a> for TopicRef<'a> {
    #[inline]
    fn read(r: &mut Reader<'a>, at: At, name: &'static str) -> Result<Self, WireError> {
        Ok(match at.version {
            Self::IDS_FROM.. => Self::Id(r.uuid(name)?),
            _ => Self::Name(r.string(at.flexible, name)?),
        })
    }

    #[inline]
    fn write(&self, w: &mut Writer<'_>, at: At) {
        match self {
            Self::Id(id) => w.uuid(*id),
            Self::Name(name) => w.string(at.flexible, name),
        }
    }

    #[inline]
    fn bytes_min(at: At) -> usize {
        if at.version >= Self::IDS_FROM { 16 } else { string_bytes_min(at) }
    }

    fn sample(at: At, seed: &mut u32) -> Self {
        if at.version >= Self::IDS_FROM {
            Self::Id(Uuid::sample(at, seed))
        } else {
            Self::Name(<&str>::sample(at, seed))
        }
    }
}

/// Tagged fields that differ from their defaults: those that are written.
#[derive(Debug, Default)]
pub struct Tags(Vec<(u32, BytesMut)>);

impl Tags {
    /// Takes a field that is to be written; tags rise from call to call.
    #[inline]
    pub fn add<'a>(&mut self, tag: u32, at: At, field: &impl Field<'a>) {
        let mut bytes = BytesMut::new();
        field.write(&mut Writer::new(&mut bytes), at);
        self.0.push((tag, bytes));
    }

    /// Writes them.
    #[inline]
    pub fn write(self, w: &mut Writer<'_>) {
        w.uvarint(self.0.len() as u32);
        for (tag, bytes) in self.0 {
            w.uvarint(tag);
            w.uvarint(bytes.len() as u32);
            w.bytes(&bytes);
        }
    }
}

/// The error that a version is not served.
#[cold]
pub fn unserved(r: &Reader<'_>, version: i16) -> WireError {
    r.error("request_api_version", WireErrorKind::Version(version))
}
