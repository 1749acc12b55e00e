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

/// What no counter ever reaches, so that code may add to one.
pub const COUNT_END: u64 = 1 << 62;

/// Reads a counter: an offset, a sequence of commits, a position in a file. `None` also where it is [`COUNT_END`] or more.
pub fn count_le(bytes: &[u8], at: usize) -> Option<u64> {
    u64_le(bytes, at).filter(|&count| count < COUNT_END)
}

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

/// Appends a varint in the zigzag encoding of record fields.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`put_varint`] appends: 1 to 10.
pub fn varint_len(value: i64) -> usize {
    let bits = u64::BITS - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_nothing_reaches_is_none() {
        let read = |count: u64| count_le(&count.to_le_bytes(), 0);
        assert_eq!(read(COUNT_END - 1), Some(COUNT_END - 1));
        assert_eq!((read(COUNT_END), read(u64::MAX), count_le(&[0; 7], 0)), (None, None, None));
    }

    #[test]
    fn varints_are_read_back_and_are_as_long_as_foretold() {
        let edges = (0..63).flat_map(|bit| [1i64 << bit, (1 << bit) - 1, -(1 << bit), i64::MIN >> bit]);
        for value in edges {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(varint(&out), Some((value, out.len())), "{value}");
            assert_eq!(varint_len(value), out.len(), "{value}");
        }
    }
}
