//! Fixed-width integers in byte slices: checked reads for what came from a disk or a network, and
//! appends for what goes there. Little endian on disk; record batches are big endian, as on the wire.

macro_rules! reader {
    ($name:ident, $type:ty, $from:ident) => {
        /// Reads at `at`; `None` beyond the end.
        pub fn $name(bytes: &[u8], at: usize) -> Option<$type> {
            let end = at.checked_add(size_of::<$type>())?;
            Some(<$type>::$from(bytes.get(at..end)?.try_into().ok()?))
        }
    };
}

reader!(u32_le, u32, from_le_bytes);
reader!(u64_le, u64, from_le_bytes);
reader!(i64_le, i64, from_le_bytes);
reader!(i16_be, i16, from_be_bytes);
reader!(i32_be, i32, from_be_bytes);
reader!(u32_be, u32, from_be_bytes);
reader!(i64_be, i64, from_be_bytes);

/// Reads a varint in the zigzag encoding of record fields; returns it and the bytes it took.
pub fn varint(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some(((value >> 1) as i64 ^ -((value & 1) as i64), i + 1));
        }
    }
    None
}
