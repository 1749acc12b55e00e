//! A record as JSON: one object, as `keylane consume --json` prints it and `keylane produce --from-json` reads it.
//!
//! Promise: what was printed is read back the same. Bytes that are no UTF-8 stand in a field whose name ends in `_base64`.
use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: u64,
    /// Its time in milliseconds since 1970.
    pub timestamp: i64,
    /// Whether that is the time of the append, and not one that the producer gave.
    pub is_append_time: bool,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Name and value of its headers.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct New {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Name and value of its headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Its time; `None`: now.
    pub timestamp: Option<i64>,
}

/// Bytes in JSON: text, base64 or null, of which the first is there if the second is not.
type Text<'a> = Option<Option<Cow<'a, str>>>;

#[derive(Serialize)]
struct Printed<'a> {
    topic: &'a str,
    partition: i32,
    offset: u64,
    timestamp: i64,
    timestamp_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<PrintedHeader<'a>>,
}

#[derive(Serialize)]
struct PrintedHeader<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

fn text(bytes: Option<&[u8]>) -> (Text<'_>, Option<String>) {
    match bytes.map(std::str::from_utf8) {
        None => (Some(None), None),
        Some(Ok(text)) => (Some(Some(text.into())), None),
        Some(Err(_)) => (None, bytes.map(|bytes| STANDARD.encode(bytes))),
    }
}

impl Found<'_> {
    /// The record in one line.
    pub fn json(&self) -> serde_json::Result<String> {
        let ((key, key_base64), (value, value_base64)) = (text(self.key), text(self.value));
        let header = |(name, value): &(&'_ [u8], Option<&'_ [u8]>)| {
            let name = String::from_utf8_lossy(name).into_owned().into();
            let (value, value_base64) = text(*value);
            let value = value.map(|text| text.map(|text| text.into_owned().into()));
            PrintedHeader { name, value, value_base64 }
        };
        serde_json::to_string(&Printed {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            timestamp_type: if self.is_append_time { "append" } else { "create" },
            key,
            key_base64,
            value,
            value_base64,
            headers: self.headers.iter().map(header).collect(),
        })
    }
}

/// What is read of a record; other fields are passed over.
#[derive(Deserialize)]
struct Given {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<GivenHeader>,
    timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct GivenHeader {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match base64 {
        Some(base64) => STANDARD.decode(&base64).map(Some).map_err(|error| format!("base64: {error}")),
        None => Ok(text.map(String::into_bytes)),
    }
}

impl New {
    /// A record that stands in one line of JSON.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn of_json(line: &[u8]) -> Result<Self, String> {
        let given: Given = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let header = |header: GivenHeader| {
            Ok::<_, String>((header.name.into_bytes(), bytes(header.value, header.value_base64)?))
        };
        Ok(Self {
            key: bytes(given.key, given.key_base64)?,
            value: bytes(given.value, given.value_base64)?,
            headers: given.headers.into_iter().map(header).collect::<Result<_, _>>()?,
            timestamp: given.timestamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_json_as_it_was() {
        let found = Found {
            topic: "t",
            partition: 1,
            offset: 7,
            timestamp: 1000,
            is_append_time: false,
            key: Some(b"k\"\n"),
            value: Some(b"\xff\x00"),
            headers: vec![(b"h", Some(b"1")), (b"h", None), (b"b", Some(b"\xfe")), (b"", Some(b""))],
        };
        let line = found.json().unwrap();
        let start = r#"{"topic":"t","partition":1,"offset":7,"timestamp":1000,"timestamp_type":"create","#;
        assert!(
            line.starts_with(start) && !line.contains('\n') && !line.contains("\"value\":null,\"h"),
            "{line}"
        );
        assert!(line.contains(r#""value_base64":"/wA=""#) && !line.contains("key_base64"), "{line}");
        let owned = |bytes: &[u8]| bytes.to_vec();
        let new = New {
            key: found.key.map(owned),
            value: found.value.map(owned),
            headers: found.headers.iter().map(|(n, v)| (n.to_vec(), v.map(owned))).collect(),
            timestamp: Some(1000),
        };
        assert_eq!(New::of_json(line.as_bytes()), Ok(new));
        let null = Found { key: None, value: None, headers: Vec::new(), ..found }.json().unwrap();
        assert!(null.contains(r#""key":null,"value":null"#), "{null}");
        assert_eq!(New::of_json(b"{}"), Ok(New::default()));
        assert!(New::of_json(b"no").is_err() && New::of_json(br#"{"key_base64":"?"}"#).is_err());
    }
}
