//! Mutated batches against the check of every batch ([`keylane_engine::records::check`]).
//!
//! Batches are generated, compressed with any codec, and then mutated before and after the compression: bits, bytes, pieces,
//! varints, header fields. Length and checksum are mostly corrected afterwards, so that the mutated bytes get past them. The
//! verdict must be that of a second walk, which is written independently here and has all uncompressed records in memory at
//! once. An accepted batch must get the maximum timestamp that the second walk finds.

use keylane_engine::bytes_at::put_varint;
use keylane_engine::record_batch::{HEADER_BYTES, LENGTH_END, build, seal};
use keylane_engine::records::{
    BatchRules, DecodeError, MAX_UNCOMPRESSED, TimestampType, check, compress, decompress,
};
use keylane_sim_disk::Rng;

use crate::harness::{MEMORY_BYTES, Outcome, fuzz, must_find};
use crate::spoil::{edge, spoil};

/// Batches of a run without a time.
const BATCHES: u64 = 20_000;
/// Most uncompressed bytes that the second walk takes; the verdict on a larger batch is not compared.
const SECOND_BYTES_MAX: usize = 16 << 20;
const NOW: i64 = 1_700_000_000_000;

fn field(out: &mut Vec<u8>, rng: &mut Rng, may_be_null: bool) {
    if may_be_null && rng.one_in(4) {
        return put_varint(out, -1);
    }
    let len = if rng.one_in(50) { rng.below(20_000) } else { rng.below(30) } as usize;
    put_varint(out, len as i64);
    let from = out.len();
    out.resize(from + len, 0);
    if rng.one_in(2) {
        rng.fill(&mut out[from..]);
    }
}

/// Well-formed records, in which one number in `spoil_1_in` is wrong.
fn records(rng: &mut Rng, count: i32, spoil_1_in: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for delta in 0..count {
        let number = |rng: &mut Rng, right: i64| if rng.one_in(spoil_1_in) { edge(rng) } else { right };
        let mut body = vec![rng.below(256) as u8];
        let time = if rng.one_in(30) { edge(rng) } else { rng.below(5000) as i64 - 2500 };
        put_varint(&mut body, time);
        put_varint(&mut body, number(rng, i64::from(delta)));
        field(&mut body, rng, true);
        field(&mut body, rng, true);
        let headers = if rng.one_in(4) { rng.below(4) } else { 0 } as i64;
        put_varint(&mut body, number(rng, headers));
        for _ in 0..headers {
            let null_key = rng.one_in(spoil_1_in);
            if null_key {
                put_varint(&mut body, -1)
            } else {
                field(&mut body, rng, false)
            }
            field(&mut body, rng, true);
        }
        put_varint(&mut out, number(rng, body.len() as i64));
        out.extend(body);
    }
    out
}

fn spoiled_batch(rng: &mut Rng) -> Vec<u8> {
    let codec = rng.below(5) as i16;
    let count = if rng.one_in(20) { rng.below(2000) } else { 1 + rng.below(20) } as i32;
    let spoil_1_in = if rng.one_in(2) { 1 << 30 } else { 20 };
    let mut plain = records(rng, count, spoil_1_in);
    if rng.one_in(3) {
        spoil(&mut plain, rng);
    }
    let mut batch = build(&[], if rng.one_in(10) { edge(rng) } else { NOW });
    batch[21..23].copy_from_slice(&codec.to_be_bytes());
    let stated = if rng.one_in(20) { edge(rng) as i32 } else { count };
    batch[23..27].copy_from_slice(&stated.wrapping_sub(1).to_be_bytes());
    batch[57..61].copy_from_slice(&stated.to_be_bytes());
    compress(codec, &plain, &mut batch).expect("encoders take anything");
    if rng.one_in(3) {
        let mut compressed = batch.split_off(HEADER_BYTES);
        spoil(&mut compressed, rng);
        batch.extend(compressed);
    }
    if rng.one_in(20) {
        let at = 12 + rng.below(49) as usize;
        batch[at] = rng.below(256) as u8;
    }
    if !rng.one_in(50) {
        seal(&mut batch);
    }
    if rng.one_in(100) {
        spoil(&mut batch, rng);
    }
    batch
}

/// The second walk: all timestamps and whether each record has a key; `None`: not well-formed. Numbers are read as
/// Java's client reads them, and null is a length of -1 alone.
fn second_walk(plain: &[u8], count: i32, base_timestamp: i64) -> Option<Vec<(i64, bool)>> {
    let mut at = 0usize;
    let number = |at: &mut usize, end: usize, bytes_max: usize| -> Option<u64> {
        let taken = plain.get(*at..end)?.iter().take(bytes_max).position(|byte| byte & 0x80 == 0)? + 1;
        let digits = plain[*at..*at + taken].iter().enumerate();
        let value: u128 = digits.map(|(n, byte)| u128::from(byte & 0x7f) << (7 * n)).sum();
        *at += taken;
        if bytes_max == 5 && value > u128::from(u32::MAX) { None } else { Some(value as u64) }
    };
    let signed = |raw: u64| (raw >> 1) as i64 ^ -((raw & 1) as i64);
    let mut out = Vec::new();
    for index in 0..count {
        let len = usize::try_from(signed(number(&mut at, plain.len(), 5)?)).ok()?;
        let end = at.checked_add(len).filter(|end| *end <= plain.len() && len > 0)?;
        at += 1;
        let time = base_timestamp.wrapping_add(signed(number(&mut at, end, 10)?));
        if signed(number(&mut at, end, 5)?) != i64::from(index) {
            return None;
        }
        let mut nulls = Vec::new();
        let mut fields = 2i64;
        let mut headers = None;
        while fields > 0 {
            let len = signed(number(&mut at, end, 5)?);
            at = at.checked_add(usize::try_from(len).unwrap_or(0)).filter(|at| *at <= end)?;
            if len < -1 {
                return None;
            }
            nulls.push(len == -1);
            fields -= 1;
            if fields == 0 && headers.is_none() {
                let count = signed(number(&mut at, end, 5)?);
                headers = Some(count);
                fields = if count < 0 { return None } else { count * 2 };
            }
        }
        let null_header = nulls[2..].iter().step_by(2).any(|null| *null);
        if at != end || null_header {
            return None;
        }
        out.push((time, !nulls[0]));
    }
    (at == plain.len()).then_some(out)
}

/// The maximum timestamp that an accepted batch gets; `None`: the batch is refused. The error: too large for the second walk.
fn second_verdict(batch: &[u8], rules: &BatchRules) -> Result<Option<i64>, ()> {
    let int = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| i64::from_be_bytes(batch[at..at + 8].try_into().expect("eight bytes"));
    if batch.len() < HEADER_BYTES || batch[16] != 2 || int(8) as usize != batch.len() - LENGTH_END {
        return Ok(None);
    }
    if int(17) as u32 != crc32c::crc32c(&batch[21..]) || long(0) != 0 {
        return Ok(None);
    }
    let (attributes, count) = (i16::from_be_bytes([batch[21], batch[22]]), int(57));
    let producer = long(43) >= 0 && (int(53) < 0 || i16::from_be_bytes([batch[51], batch[52]]) < 0);
    if attributes & 0x30 != 0 || attributes & 7 > 4 || count < 1 || int(23) != count - 1 || producer {
        return Ok(None);
    }
    let plain = match decompress(attributes & 7, &batch[HEADER_BYTES..], SECOND_BYTES_MAX) {
        Ok(plain) => plain,
        Err(DecodeError::TooLarge { .. } | DecodeError::Memory(_)) => return Err(()),
        Err(_) => return Ok(None),
    };
    let Some(records) = second_walk(&plain, count, long(27)) else { return Ok(None) };
    let of_log = rules.timestamps == TimestampType::LogAppendTime;
    let (least, most) = (NOW - rules.timestamp_before_max_ms, NOW + rules.timestamp_after_max_ms);
    let young = |time: i64| of_log || time == -1 || (least..=most).contains(&time);
    let taken = records.iter().all(|(time, key)| young(*time) && (*key || !rules.keys_required));
    if !taken || (of_log && attributes & 8 != 0) {
        return Ok(None);
    }
    let newest = records.iter().map(|(time, _)| *time).max();
    Ok(if of_log { Some(NOW) } else { newest })
}

fn rules(rng: &mut Rng) -> BatchRules {
    BatchRules {
        keys_required: rng.one_in(4),
        timestamps: if rng.one_in(8) { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: if rng.one_in(4) { 2000 } else { 1 << 40 },
        timestamp_after_max_ms: if rng.one_in(4) { 2000 } else { 1 << 40 },
        ..BatchRules::default()
    }
}

#[test]
fn every_verdict_is_that_of_a_second_walk() {
    let (mut batches, mut unknown) = (0u64, 0u64);
    fuzz("batches", BATCHES, &mut |rng| {
        let batch = spoiled_batch(rng);
        let rules = rules(rng);
        let found = check(&batch[..], &rules, NOW);
        let newest = found.as_ref().ok().map(|checked| checked.view().max_timestamp);
        batches += 1;
        match second_verdict(&batch, &rules) {
            Ok(expected) if newest != expected => {
                return Err(format!("{:?}, where {expected:?} was expected", found.map(|_| newest)));
            }
            Ok(_) => {}
            Err(()) => unknown += 1,
        }
        Ok(Outcome::of(found.is_ok()))
    });
    assert!(unknown < batches / 20, "{unknown} of {batches} batches were too large for the second walk");
    assert!(MAX_UNCOMPRESSED as u64 * 2 <= MEMORY_BYTES);
}

/// The negative control: a check that does not look at keys, as the rules of a compacted topic ask.
#[test]
fn a_rule_that_is_forgotten_is_found() {
    must_find("keys that nobody asks for", &mut |rng| {
        let batch = spoiled_batch(rng);
        let rules = rules(rng);
        let forgetful = BatchRules { keys_required: false, ..rules.clone() };
        let newest = check(&batch[..], &forgetful, NOW).ok().map(|checked| checked.view().max_timestamp);
        match second_verdict(&batch, &rules) {
            Ok(expected) if newest != expected => Err(format!("{newest:?} in place of {expected:?}")),
            _ => Ok(Outcome::of(newest.is_some())),
        }
    });
}
