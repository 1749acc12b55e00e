//! CRC-32C (Castagnoli), as Kafka's record batches and Keylane's own files carry it.
//!
//! Two crates compute the same checksum. `crc32c` is faster for short inputs. `crc-fast` is faster for long ones, because it
//! multiplies without carry beside the processor's CRC instruction (64 KiB: 7.5 instead of 5.3 GB/s on a first-generation
//! EPYC). Checksums of batches are most of the processor time of a read from the disk.

/// Length from which on `crc-fast` is faster: between 2 and 4 KiB, depending on the processor.
const LONG: usize = 4 << 10;

/// The checksum of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    if bytes.len() < LONG {
        return crc32c::crc32c(bytes);
    }
    // The crate returns every kind of CRC in 64 bits; CRC-32C has 32.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The checksum of `first` and `second`, one behind the other.
#[must_use]
pub fn crc32c_of_two(first: &[u8], second: &[u8]) -> u32 {
    if second.len() < LONG {
        return crc32c::crc32c_append(crc32c::crc32c(first), second);
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(first);
    digest.update(second);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_that_others_compute() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn both_agree_at_every_length_and_place() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let lengths = (LONG - 70..LONG + 70).chain([65_535, 65_536, 65_597, 199_900]);
        for (at, len) in lengths.enumerate().map(|(n, len)| (n % 67, len)) {
            let part = &bytes[at..at + len];
            assert_eq!(crc32c(part), crc32c::crc32c(part), "{len} bytes from {at}");
            let (first, second) = part.split_at(40);
            assert_eq!(crc32c_of_two(first, second), crc32c(part), "{len} bytes from {at}, in two parts");
        }
    }

    #[test]
    fn a_flipped_bit_of_much_is_found() {
        let mut bytes = vec![7; LONG + 100];
        let before = crc32c(&bytes);
        for bit in (0..bytes.len() * 8).step_by(97) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(crc32c(&bytes), before);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
