//! Opaque texts that clients hand back: they carry what the server needs and a signature, so that one that was changed, or
//! comes from another data directory, is told from a good one.
//!
//! Promise: no two are the same, as each has a number of its own.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of the signature.
const SIGNATURE_BYTES: usize = 16;
/// Bytes of the number.
const NUMBER_BYTES: usize = 16;
/// Longest text that is looked at.
const TEXT_MAX: usize = 1024;

/// Signs tokens, and checks them.
pub struct Tokens {
    key: Hmac<Sha256>,
    start: u64,
    next: Cell<u64>,
}

impl Tokens {
    /// The tokens of a data directory; they hold across restarts.
    pub fn new(directory: &str) -> Self {
        let key = format!("keylane tokens of {directory}");
        let key = <Hmac<Sha256> as Mac>::new_from_slice(key.as_bytes()).expect("a key of any length will do");
        let start = uuid::Uuid::new_v4().as_u64_pair().1;
        Self { key, start, next: Cell::default() }
    }

    fn signature(&self, kind: u8, content: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let whole = self.key.clone().chain_update([kind]).chain_update(content).finalize().into_bytes();
        let mut out = [0; SIGNATURE_BYTES];
        out.copy_from_slice(&whole[..SIGNATURE_BYTES]);
        out
    }

    /// A token of a kind with this content.
    pub fn seal(&self, kind: u8, content: &[u8]) -> String {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut bytes = Vec::with_capacity(SIGNATURE_BYTES + NUMBER_BYTES + content.len());
        bytes.resize(SIGNATURE_BYTES, 0);
        bytes.extend_from_slice(&self.start.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(content);
        let signature = self.signature(kind, &bytes[SIGNATURE_BYTES..]);
        bytes[..SIGNATURE_BYTES].copy_from_slice(&signature);
        STANDARD.encode(bytes)
    }

    /// The content of a token of this kind; `None`: it is no such token.
    pub fn open(&self, kind: u8, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let mut bytes = STANDARD.decode(text).ok()?;
        let (signature, rest) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        if rest.len() < NUMBER_BYTES || self.signature(kind, rest) != signature {
            return None;
        }
        bytes.drain(..SIGNATURE_BYTES + NUMBER_BYTES);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_open_where_they_were_sealed_and_nowhere_else() {
        let tokens = Tokens::new("a");
        let token = tokens.seal(1, b"content");
        assert_eq!(tokens.open(1, &token).as_deref(), Some(&b"content"[..]));
        assert_eq!(Tokens::new("a").open(1, &token).as_deref(), Some(&b"content"[..]), "after a restart");
        assert_ne!(tokens.seal(1, b"content"), token);
        assert_eq!(tokens.open(2, &token), None, "of another kind");
        assert_eq!(Tokens::new("b").open(1, &token), None, "of another directory");
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.open(1, &String::from_utf8(forged).unwrap()), None, "byte {at}");
        }
        for wrong in ["", "AAAA", "\u{1f600}", &"A".repeat(4096)] {
            assert_eq!(tokens.open(1, wrong), None, "{wrong}");
        }
    }
}
