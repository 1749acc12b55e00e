//! Messages of an event stream: each has its length, headers, a body, and checksums of the length and of all.
//! Source: <https://smithy.io/2.0/aws/amazon-eventstream.html>

use bytes::Bytes;

use super::fault::Fault;
use super::format::Format;

/// The content type of an answer that is an event stream.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Bytes before the headers: two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
/// Bytes of a checksum.
const CRC_BYTES: usize = 4;
/// A header's value is a text.
const TEXT: u8 = 7;

/// An event of this type.
pub fn event(kind: &str, format: Format, body: &[u8]) -> Bytes {
    let headers =
        [(":message-type", "event"), (":event-type", kind), (":content-type", format.content_type())];
    message(&headers, body)
}

/// What ends a stream before its time.
pub fn exception(fault: &Fault, format: Format) -> Bytes {
    let mut body = Vec::new();
    format.encode(fault, &mut body);
    let headers = [
        (":message-type", "exception"),
        (":exception-type", fault.kind),
        (":content-type", format.content_type()),
    ];
    message(&headers, &body)
}

/// The headers' names and values are short.
fn message(headers: &[(&str, &str)], body: &[u8]) -> Bytes {
    let size = |(name, value): &(&str, &str)| 1 + name.len() + 3 + value.len();
    let of_headers: usize = headers.iter().map(size).sum();
    let whole = PRELUDE_BYTES + of_headers + body.len() + CRC_BYTES;
    let mut out = Vec::with_capacity(whole);
    out.extend_from_slice(&(whole as u32).to_be_bytes());
    out.extend_from_slice(&(of_headers as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    for (name, value) in headers {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(TEXT);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(body);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of two headers that another implementation of the format (botocore's) reads as such.
    #[test]
    fn a_message_is_laid_out_as_others_read_it() {
        let bytes = message(&[("a", "b"), (":event-type", "E")], b"{}");
        assert_eq!(bytes.len(), 12 + 6 + 16 + 2 + 4);
        assert_eq!(bytes[..8], [0, 0, 0, 40, 0, 0, 0, 22]);
        assert_eq!(bytes[8..12], crc32fast::hash(&bytes[..8]).to_be_bytes());
        assert_eq!(bytes[12..18], *b"\x01a\x07\x00\x01b");
        assert_eq!(bytes[34..36], *b"{}");
        assert_eq!(bytes[36..], crc32fast::hash(&bytes[..36]).to_be_bytes());
    }
}
