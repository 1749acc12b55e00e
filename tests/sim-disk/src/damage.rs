//! Damage to what is stored, and a look at it past the interface. Damage hits the durable content and
//! what reads see alike; a write that is not durable yet can repair it.

use std::io;

use super::SimDisk;
use super::content::Content;
use super::names::Entry;
use keylane_engine::aligned::BLOCK;

impl SimDisk {
    /// Paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        let state = self.state.borrow();
        let files = state.names.visible.iter().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        files.map(|(path, _)| path.to_string()).collect()
    }

    /// All bytes of a file, as reads see them.
    pub fn content(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        let ino = state.names.file(path)?;
        let content = &state.inode(ino).visible;
        let mut bytes = vec![0; content.len() as usize];
        content.read(0, &mut bytes);
        Ok(bytes)
    }

    /// Flips bit `bit` (0 to 7) of the byte at `pos`.
    pub fn flip_bit(&self, path: &str, pos: u64, bit: u8) -> io::Result<()> {
        self.damage(path, |content| {
            let mut byte = [0];
            content.read(pos, &mut byte);
            content.overwrite(pos, &[byte[0] ^ (1 << bit)]);
        })
    }

    /// Fills the block that holds `pos` with zeros.
    pub fn zero_block(&self, path: &str, pos: u64) -> io::Result<()> {
        self.damage(path, |content| content.write_blocks(pos - pos % BLOCK as u64, &[None]))
    }

    /// Replaces bytes within a file.
    pub fn overwrite(&self, path: &str, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.damage(path, |content| content.overwrite(pos, bytes))
    }

    /// Exchanges two blocks, of the same file or of two.
    pub fn swap_blocks(&self, one: (&str, u64), other: (&str, u64)) -> io::Result<()> {
        let block = |(path, pos): (&str, u64)| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; BLOCK];
            let mut state = self.state.borrow_mut();
            let ino = state.names.file(path)?;
            state.inode(ino).visible.read(pos, &mut bytes);
            Ok(bytes)
        };
        let (first, second) = (block(one)?, block(other)?);
        self.overwrite(one.0, one.1, &second)?;
        self.overwrite(other.0, other.1, &first)
    }

    fn damage(&self, path: &str, harm: impl Fn(&mut Content)) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let ino = state.names.file(path)?;
        let inode = state.inode(ino);
        harm(&mut inode.visible);
        if inode.durable.len() == inode.visible.len() {
            harm(&mut inode.durable);
        }
        Ok(())
    }
}
