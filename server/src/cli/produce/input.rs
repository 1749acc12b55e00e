//! Records as they are given: each is a line, or what another delimiter ends.
//!
//! Promise: input is read while records are sent, at most a few thousand records ahead, and none of more than 1 GiB.
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::record::New;

/// How long more input is waited for before what came is sent.
const SOON: Duration = Duration::from_millis(5);
/// Records that are read ahead.
const AHEAD: usize = 4096;
/// Most bytes of a record; brokers take less.
const RECORD_BYTES_MAX: u64 = 1 << 30;

/// A header.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// A header as it is given.
pub fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())))
}

/// How records are made of lines.
#[derive(Debug, Default)]
pub struct Input {
    /// Key of all.
    pub key: Option<Vec<u8>>,
    /// What stands between key and value.
    pub key_delimiter: Option<Vec<u8>>,
    /// A line is a JSON object.
    pub is_json: bool,
    /// Headers of all.
    pub headers: Vec<Header>,
    /// An empty key or value means none.
    pub empty_is_null: bool,
    /// Time of all.
    pub timestamp: Option<i64>,
}

impl Input {
    /// A record with this value.
    pub fn value(&self, value: Vec<u8>) -> New {
        let new = New { key: self.key.clone(), value: Some(value), ..New::default() };
        self.completed(new)
    }

    /// The record that a line stands for.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn record(&self, line: Vec<u8>) -> Result<New, String> {
        if self.is_json {
            return New::of_json(&line).map(|new| self.completed(new));
        }
        let Some(delimiter) = &self.key_delimiter else { return Ok(self.value(line)) };
        let at = line.windows(delimiter.len()).position(|bytes| bytes == delimiter);
        let at = at.ok_or_else(|| {
            let line = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            format!("it has no key: {:?} does not stand in {line:?}", String::from_utf8_lossy(delimiter))
        })?;
        let value = line[at + delimiter.len()..].to_vec();
        let key = Some(line[..at].to_vec());
        Ok(self.completed(New { key, value: Some(value), ..New::default() }))
    }

    fn completed(&self, mut new: New) -> New {
        let some = |bytes: &Vec<u8>| !(self.empty_is_null && bytes.is_empty());
        new.key = new.key.filter(some);
        new.value = new.value.filter(some);
        new.headers.extend(self.headers.iter().cloned());
        new.timestamp = self.timestamp.or(new.timestamp);
        new
    }
}

/// The lines of an input, which a thread reads ahead.
pub struct Lines(Receiver<Result<Vec<u8>, Failure>>);

impl Lines {
    /// The lines of stdin.
    pub fn of_stdin(delimiter: &[u8]) -> Result<Self, Failure> {
        let (give, take) = sync_channel(AHEAD);
        let delimiter = delimiter.to_vec();
        let reading = move || {
            let mut input = BufReader::with_capacity(1 << 16, std::io::stdin());
            while let Some(line) = next_line(&mut input, &delimiter).transpose() {
                let failed = line.is_err();
                if give.send(line).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(reading);
        thread.map_err(|source| Failure::Input { what: "stdin".to_owned(), source })?;
        Ok(Self(take))
    }

    /// The next line; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.0.recv().ok().transpose()
    }

    /// The next line if it comes soon; `Some(None)` at the end.
    pub fn next_soon(&mut self) -> Result<Option<Option<Vec<u8>>>, Failure> {
        match self.0.recv_timeout(SOON) {
            Ok(line) => line.map(|line| Some(Some(line))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Ok(Some(None)),
        }
    }
}

/// The next line without its delimiter; what has none at the end of the input is one, too.
fn next_line(input: &mut impl BufRead, delimiter: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let Some(&last) = delimiter.last() else { return Ok(None) };
    let mut line = Vec::new();
    loop {
        let left = RECORD_BYTES_MAX.saturating_sub(line.len() as u64);
        let took = input.by_ref().take(left).read_until(last, &mut line);
        let took = took.map_err(|source| Failure::Input { what: "stdin".to_owned(), source })?;
        if line.ends_with(delimiter) {
            line.truncate(line.len() - delimiter.len());
            return Ok(Some(line));
        }
        if line.len() as u64 >= RECORD_BYTES_MAX {
            return Err(Failure::Data(format!("a record of stdin has more than {RECORD_BYTES_MAX} bytes")));
        }
        if took == 0 {
            return Ok((!line.is_empty()).then_some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| next_line(&mut input, delimiter).unwrap()).collect()
    }

    #[test]
    fn lines_end_at_their_delimiter() {
        assert_eq!(lines(b"a\n\nb", b"\n"), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"a\nb\r\nc\r\n", b"\r\n"), [&b"a\nb"[..], b"c"]);
        assert_eq!(lines(b"", b"\n"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn records_are_made_of_lines() {
        let input = Input { key_delimiter: Some(b"::".to_vec()), empty_is_null: true, ..Input::default() };
        let record = input.record(b"k:::v".to_vec()).unwrap();
        assert_eq!((record.key, record.value), (Some(b"k".to_vec()), Some(b":v".to_vec())));
        assert_eq!(input.record(b"::".to_vec()).unwrap(), New::default());
        assert!(input.record(b"no key".to_vec()).unwrap_err().contains("no key"));
        let header = header("h=1=2").unwrap();
        let all = Input {
            key: Some(b"k".to_vec()),
            headers: vec![header.clone()],
            timestamp: Some(7),
            ..Input::default()
        };
        let record = all.record(Vec::new()).unwrap();
        assert_eq!(
            record,
            New {
                key: Some(b"k".to_vec()),
                value: Some(Vec::new()),
                headers: vec![header],
                timestamp: Some(7)
            }
        );
    }
}
