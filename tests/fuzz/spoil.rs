//! Ways of making valid bytes nearly right.

use keylane_engine::bytes_at::put_varint;
use keylane_sim_disk::Rng;

/// A number at or beside an edge of some range.
pub fn edge(rng: &mut Rng) -> i64 {
    let edges = [
        0,
        1,
        -1,
        63,
        64,
        -64,
        -65,
        8191,
        8192,
        i64::from(i16::MAX),
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::from(u32::MAX),
        i64::MAX,
        i64::MIN,
    ];
    let near = rng.below(3) as i64 - 1;
    edges[rng.below(edges.len() as u64) as usize].wrapping_add(near)
}

/// Changes the bytes at one place.
pub fn spoil(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(7) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.below(256) as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..(at + 1 + rng.below(9) as usize).min(bytes.len()))),
        4 => {
            let piece = bytes[at..(at + 1 + rng.below(40) as usize).min(bytes.len())].to_vec();
            let to = rng.below(bytes.len() as u64) as usize;
            bytes.splice(to..to, piece);
        }
        5 => {
            let mut number = Vec::new();
            put_varint(&mut number, edge(rng));
            let end = (at + rng.below(3) as usize).min(bytes.len());
            bytes.splice(at..end, number);
        }
        _ => bytes.push(rng.below(256) as u8),
    }
}

/// Changes the bytes at one place, and not their number: a bit, a byte, or a number of fixed size at an edge.
pub fn spoil_in_place(bytes: &mut [u8], rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(4) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.below(256) as u8,
        way => {
            let size = [1, 2, 4, 8][rng.below(4) as usize];
            let at = if way == 2 { at } else { at / size * size };
            let number = edge(rng);
            let big = rng.one_in(2);
            let number = if big { (number << (64 - 8 * size)).to_be_bytes() } else { number.to_le_bytes() };
            let size = size.min(bytes.len() - at);
            bytes[at..at + size].copy_from_slice(&number[..size]);
        }
    }
}

/// The u32 in these bytes, little-endian; 0 beyond their end.
pub fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes(b.try_into().expect("four bytes")) as usize)
}

/// Writes a checksum (CRC-32C) or another number where there is room for it.
pub fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}
