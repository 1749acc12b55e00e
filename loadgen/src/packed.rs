//! Compressed requests of one connection: one buffer for each place in its window.
//!
//! Promises: requests leave in order, several in one write; each is compressed when it is filled, by the thread
//! that sends it, so its processor time is the load's.

use std::io::{ErrorKind, IoSlice, Write};
use std::net::TcpStream;

use crate::batch::Template;

/// Requests in one write.
const PIECES: usize = 32;

#[derive(Debug)]
pub struct Packed {
    codec: i16,
    frames: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    /// Requests written whole, and bytes of the next one.
    written: u64,
    written_of_next: usize,
}

impl Packed {
    pub fn new(codec: i16, window: usize) -> Self {
        Self { codec, frames: vec![Vec::new(); window], scratch: Vec::new(), written: 0, written_of_next: 0 }
    }

    /// Compresses `frame` into place `at`; the bytes of its batch.
    pub fn pack(&mut self, at: usize, template: &Template, frame: &[u8]) -> usize {
        template.pack(frame, self.codec, &mut self.scratch, &mut self.frames[at])
    }

    pub fn frame_mut(&mut self, at: usize) -> &mut [u8] {
        &mut self.frames[at]
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// What was filled before `request` is not to be written any more.
    pub fn begin_at(&mut self, request: u64) {
        (self.written, self.written_of_next) = (request, 0);
    }

    /// Writes requests up to `filled` as far as the socket takes them; false when the other side is gone.
    pub fn write(&mut self, mut stream: &TcpStream, filled: u64, writes: &mut u64) -> bool {
        let window = self.frames.len() as u64;
        while self.written < filled {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (piece, request) in pieces.iter_mut().zip(self.written..filled) {
                let frame = &self.frames[(request % window) as usize];
                let from = if count == 0 { self.written_of_next } else { 0 };
                *piece = IoSlice::new(&frame[from..]);
                count += 1;
            }
            *writes += 1;
            match stream.write_vectored(&pieces[..count]) {
                Ok(bytes) => self.advance(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn advance(&mut self, mut bytes: usize) {
        let window = self.frames.len() as u64;
        while bytes > 0 {
            let left = self.frames[(self.written % window) as usize].len() - self.written_of_next;
            if bytes < left {
                self.written_of_next += bytes;
                return;
            }
            bytes -= left;
            self.written += 1;
            self.written_of_next = 0;
        }
    }
}
