//! How a record is printed: a format string with the letters of kcat's.
use std::io::{self, Write};
use std::str::FromStr;

use super::record::Found;
use super::time::rfc3339;

/// The letters, for `--help`.
pub const HELP: &str = "\
Format strings, as those of kcat:
  %s  value          %S  its bytes (-1: null)    %R  the same as 4 bytes, big-endian
  %k  key            %K  its bytes (-1: null)    %h  headers, as name=value,name=value
  %t  topic          %p  partition               %o  offset
  %T  time in ms     %D  time as RFC 3339        %%  a percent sign
  \\n \\r \\t \\0 \\xHH \\\\ stand for bytes";

/// A format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Field(char),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut letters = text;
        while let Some((before, after)) = letters.split_once('%') {
            let letter = after.chars().next().ok_or("a lone % ends it; write %%")?;
            parts.push(Part::Bytes(unescaped(before)?));
            parts.push(match letter {
                '%' => Part::Bytes(b"%".to_vec()),
                's' | 'S' | 'R' | 'k' | 'K' | 'h' | 't' | 'p' | 'o' | 'T' | 'D' => Part::Field(letter),
                other => {
                    return Err(format!("%{other} has no meaning; `keylane consume --help` has the letters"));
                }
            });
            letters = &after[letter.len_utf8()..];
        }
        parts.push(Part::Bytes(unescaped(letters)?));
        Ok(Self(parts))
    }
}

/// The bytes that a text with escapes stands for.
pub fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match letters.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let hex: String = letters.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 2);
                byte.ok_or_else(|| format!("\\x{hex} is no byte; write \\x and two digits"))?
            }
            other => return Err(format!("\\{} has no meaning", other.map_or(String::new(), String::from))),
        });
    }
    Ok(bytes)
}

impl Format {
    /// Each value in a line.
    pub fn values() -> Self {
        Self(vec![Part::Field('s'), Part::Bytes(b"\n".to_vec())])
    }

    /// Writes a record.
    pub fn write(&self, out: &mut impl Write, record: &Found<'_>) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => out.write_all(bytes)?,
                Part::Field(letter) => field(out, *letter, record)?,
            }
        }
        Ok(())
    }
}

fn field(out: &mut impl Write, letter: char, record: &Found<'_>) -> io::Result<()> {
    let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    match letter {
        's' => out.write_all(record.value.unwrap_or_default()),
        'k' => out.write_all(record.key.unwrap_or_default()),
        'S' => write!(out, "{}", len(record.value)),
        'K' => write!(out, "{}", len(record.key)),
        // A value has less than 2 GiB.
        'R' => out.write_all(&(len(record.value) as i32).to_be_bytes()),
        't' => out.write_all(record.topic.as_bytes()),
        'p' => write!(out, "{}", record.partition),
        'o' => write!(out, "{}", record.offset),
        'T' => write!(out, "{}", record.timestamp),
        'D' => out.write_all(rfc3339(record.timestamp).as_bytes()),
        _ => headers(out, record),
    }
}

fn headers(out: &mut impl Write, record: &Found<'_>) -> io::Result<()> {
    for (at, (name, value)) in record.headers.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        out.write_all(name)?;
        out.write_all(b"=")?;
        out.write_all(value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_has_its_meaning() {
        let record = Found {
            topic: "t",
            partition: 1,
            offset: 7,
            timestamp: 1000,
            is_append_time: false,
            key: None,
            value: Some(b"value"),
            headers: vec![(b"a", Some(b"1")), (b"b", None)],
        };
        let print = |format: &str| {
            let mut out = Vec::new();
            format.parse::<Format>().unwrap().write(&mut out, &record).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print("%t-%p@%o %T %D\\n"), "t-1@7 1000 1970-01-01T00:00:01.000Z\n");
        assert_eq!(print("%k|%K|%s|%S|%h|%%"), "|-1|value|5|a=1,b=NULL|%");
        assert_eq!(print("%R"), "\0\0\0\u{5}");
        assert_eq!(print("\\x41\\t\\\\%%s"), "A\t\\%s");
        for wrong in ["%", "%q", "\\q", "\\x4", "\\"] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong}");
        }
    }
}
