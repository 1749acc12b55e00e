//! Types of fields. JSON has bytes in base64 and times in seconds with a fraction; CBOR has bytes, and times as tag 1 with
//! milliseconds.

use std::fmt;
use std::marker::PhantomData;

use base64_simd::STANDARD;
use ciborium::tag::{Accepted, Required};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

/// Bytes, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    /// In base64.
    Encoded(String),
    /// As they are.
    Plain(Vec<u8>),
}

impl Blob {
    /// Bytes that they take at most.
    pub fn len_max(&self) -> usize {
        match self {
            Self::Encoded(text) => STANDARD.estimated_decoded_length(text.len()),
            Self::Plain(bytes) => bytes.len(),
        }
    }

    /// Adds the bytes to `out`. `None`: they are no base64.
    pub fn put(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Encoded(text) => STANDARD.decode_append(text.as_bytes(), out).ok(),
            Self::Plain(bytes) => {
                out.extend_from_slice(bytes);
                Some(())
            }
        }
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(text)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // As a string of its own: CBOR has long texts in pieces.
        let text = if from.is_human_readable() {
            from.deserialize_str(TextVisitor)
        } else {
            from.deserialize_string(TextVisitor)
        };
        text.map(Self)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(bytes.to_owned())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(bytes)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            from.deserialize_str(TextVisitor).map(Self::Encoded)
        } else {
            from.deserialize_byte_buf(BytesVisitor).map(Self::Plain)
        }
    }
}

/// Bytes of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a>(pub &'a [u8]);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&STANDARD.encode_to_string(self.0))
        } else {
            to.serialize_bytes(self.0)
        }
    }
}

/// A time, in milliseconds since 1970. One that lies between two milliseconds counts as the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From seconds. They are looked at in microseconds: what a float adds to or takes from these is no time.
    fn of_seconds(seconds: f64) -> Self {
        let micros = (seconds * 1e6).round() as i64;
        Self(micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) != 0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_f64(self.0 as f64 / 1000.0)
        } else {
            Required::<i64, 1>(self.0).serialize(to)
        }
    }
}

/// A number of a time: whole ones are seconds in JSON and milliseconds in CBOR.
struct Number(Timestamp);

struct NumberVisitor {
    whole_seconds: bool,
}

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        let ms = if self.whole_seconds { value.saturating_mul(1000) } else { value };
        Ok(Number(Timestamp(ms)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let ms = if self.whole_seconds { value.saturating_mul(1000) } else { value };
        Ok(Number(Timestamp(ms)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number(Timestamp::of_seconds(value)))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let whole_seconds = from.is_human_readable();
        from.deserialize_any(NumberVisitor { whole_seconds })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            Number::deserialize(from).map(|number| number.0)
        } else {
            Accepted::<Number, 1>::deserialize(from).map(|number| number.0.0)
        }
    }
}

/// A list of which at most `MAX` items are kept, so that memory is bounded; it knows how many there were.
#[derive(Debug, Clone)]
pub struct List<T, const MAX: usize> {
    /// The first ones.
    pub kept: Vec<T>,
    /// How many there were.
    pub count: usize,
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX {
            match items.next_element()? {
                Some(item) => kept.push(item),
                None => return Ok(List { count: kept.len(), kept }),
            }
        }
        let mut count = kept.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(List { kept, count })
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Tags, of which at most `MAX` are kept.
#[derive(Debug, Clone, Default)]
pub struct Tags {
    /// The first ones, in order.
    pub kept: Vec<(String, String)>,
    /// How many there were.
    pub count: usize,
}

/// Tags of a request that are looked at.
const TAGS_KEPT: usize = 201;

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tags")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut items: A) -> Result<Tags, A::Error> {
        let mut tags = Tags::default();
        while tags.kept.len() < TAGS_KEPT {
            match items.next_entry()? {
                Some(tag) => tags.kept.push(tag),
                None => break,
            }
        }
        tags.count = tags.kept.len();
        if tags.count == TAGS_KEPT {
            while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                tags.count += 1;
            }
        }
        Ok(tags)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(TagsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        ciborium::into_writer(value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_time_reads_back_as_it_was_written_and_a_part_of_a_millisecond_counts_as_one() {
        for ms in [0, 1, 999, 1_700_000_000_123, 1_700_000_000_999, 1_764_386_000_001] {
            let json = serde_json::to_string(&Timestamp(ms)).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), Timestamp(ms), "{json}");
            let bytes = cbor(&Timestamp(ms));
            assert_eq!(bytes[0], 0xc1, "tag 1");
            assert_eq!(ciborium::from_reader::<Timestamp, _>(&bytes[..]).unwrap(), Timestamp(ms));
        }
        let json = |text: &str| serde_json::from_str::<Timestamp>(text).unwrap().0;
        assert_eq!(json("1700000000"), 1_700_000_000_000);
        assert_eq!(json("1700000000.1234"), 1_700_000_000_124);
        assert_eq!(json("1.7E9"), 1_700_000_000_000);
        // Seconds as a float, which other clients send with the same tag.
        let float = cbor(&Required::<f64, 1>(1_700_000_000.5));
        assert_eq!(ciborium::from_reader::<Timestamp, _>(&float[..]).unwrap().0, 1_700_000_000_500);
    }

    #[test]
    fn long_lists_are_counted_and_not_kept() {
        let list: List<u8, 2> = serde_json::from_str("[1,2,3,4]").unwrap();
        assert_eq!((list.kept, list.count), (vec![1, 2], 4));
        let list: List<u8, 2> = serde_json::from_str("[1]").unwrap();
        assert_eq!((list.kept, list.count), (vec![1], 1));
    }

    #[test]
    fn bytes_come_in_base64_or_as_they_are() {
        let mut out = Vec::new();
        serde_json::from_str::<Blob>("\"aGk=\"").unwrap().put(&mut out).unwrap();
        // Text and bytes in pieces, as some clients write long ones.
        let pieces = [0x5f, 0x41, b' ', 0x42, b'y', b'o', 0xff];
        ciborium::from_reader::<Blob, _>(&pieces[..]).unwrap().put(&mut out).unwrap();
        assert_eq!(out, b"hi yo");
        let text = [0x7f, 0x61, b'a', 0x62, b'b', b'c', 0xff];
        assert_eq!(ciborium::from_reader::<Text, _>(&text[..]).unwrap().0, "abc");
        for wrong in ["\"aGk\"", "\"a\"", "\"****\""] {
            assert!(serde_json::from_str::<Blob>(wrong).unwrap().put(&mut out).is_none(), "{wrong}");
        }
    }
}
