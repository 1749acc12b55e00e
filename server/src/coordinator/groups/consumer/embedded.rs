//! What members that speak the classic protocol say inside of it: which topics they want and what they have, and which partitions
//! they get (`ConsumerProtocolSubscription`, `ConsumerProtocolAssignment`).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a member wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Names of topics.
    pub topics: Vec<String>,
    /// What it has, by name of topic; from version 1 on.
    pub owned: Vec<(String, Vec<i32>)>,
    /// Where it is; from version 3 on.
    pub rack: Option<String>,
}

/// First version with what the member has.
const OWNS: i16 = 1;
/// First version with a generation.
const GENERATION: i16 = 2;
/// First version with a rack.
const RACK: i16 = 3;
/// The last version of assignments that is known; all have the same fields.
const ASSIGNMENT_LAST: i16 = 3;

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(rest.try_get_i16().ok()?).ok()?;
    Some(std::str::from_utf8(rest.split_off(..len)?).ok()?.to_owned())
}

/// A list. Each element takes two bytes at least, so that no more are read than can be there.
fn list<T>(rest: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let len = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    if len > rest.len() / 2 {
        return None;
    }
    (0..len).map(|_| read(rest)).collect()
}

fn partitions(rest: &mut &[u8]) -> Option<(String, Vec<i32>)> {
    Some((text(rest)?, list(rest, |rest| rest.try_get_i32().ok())?))
}

/// Reads what a member wants.
pub fn subscription(mut rest: &[u8]) -> Option<Subscription> {
    let rest = &mut rest;
    let version = rest.try_get_i16().ok()?;
    let mut read = Subscription { topics: list(rest, text)?, ..Subscription::default() };
    if let Ok(user) = usize::try_from(rest.try_get_i32().ok()?) {
        rest.split_off(..user)?;
    }
    if version >= OWNS {
        read.owned = list(rest, partitions)?;
    }
    if version >= GENERATION {
        rest.try_get_i32().ok()?;
    }
    if version >= RACK {
        let mut peek = *rest;
        read.rack = if peek.try_get_i16().ok()? < 0 { None } else { Some(text(rest)?) };
    }
    Some(read)
}

/// Reads what a member gets; nothing if it never got anything.
pub fn assigned(mut rest: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let rest = &mut rest;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    rest.try_get_i16().ok()?;
    list(rest, partitions)
}

/// Writes what a member gets, in the version in which it said what it wants.
pub fn assignment<'a>(mut wants: &[u8], topics: impl ExactSizeIterator<Item = (&'a str, Vec<i32>)>) -> Bytes {
    let count = |len: usize| i32::try_from(len).unwrap_or(i32::MAX);
    let mut out = BytesMut::new();
    out.put_i16(wants.try_get_i16().unwrap_or(0).clamp(0, ASSIGNMENT_LAST));
    out.put_i32(count(topics.len()));
    for (name, partitions) in topics {
        // Names of topics have 249 bytes at most.
        out.put_i16(name.len() as i16);
        out.put_slice(name.as_bytes());
        out.put_i32(count(partitions.len()));
        partitions.into_iter().for_each(|partition| out.put_i32(partition));
    }
    // No data of the client's own.
    out.put_i32(-1);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_every_version_are_read() {
        let parts: [&[u8]; 4] = [
            b"\0\0\0\x01\0\x01t\xff\xff\xff\xff",
            b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x03",
            b"\0\0\0\x09",
            b"\0\x01r",
        ];
        for version in 0..=3u8 {
            let bytes = [&[0, version][..], &parts[..=usize::from(version)].concat()].concat();
            let want = Subscription {
                topics: vec!["t".to_owned()],
                owned: if version >= 1 { vec![("t".to_owned(), vec![1, 3])] } else { Vec::new() },
                rack: (version >= 3).then(|| "r".to_owned()),
            };
            assert_eq!(subscription(&bytes), Some(want), "{version}");
            for cut in 0..bytes.len() {
                assert_eq!(subscription(&bytes[..cut]), None, "{version} {cut}");
            }
        }
        assert_eq!(subscription(b"\0\0\x7f\xff\xff\xff\0\x01t"), None);
    }

    #[test]
    fn an_assignment_reads_back() {
        let topics = [("t", vec![0, 2]), ("u", vec![1])];
        let bytes = assignment(b"\0\x01", topics.iter().cloned());
        assert_eq!(bytes[..2], *b"\0\x01");
        let read = assigned(&bytes).unwrap();
        assert_eq!(read, topics.map(|(name, list)| (name.to_owned(), list)));
        assert_eq!((assigned(b""), assigned(&bytes[..9])), (Some(Vec::new()), None));
    }
}
