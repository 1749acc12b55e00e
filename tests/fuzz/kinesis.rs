//! Bodies of Kinesis' requests in JSON and CBOR, shard iterators, sequence numbers. A body is taken or refused; an iterator that was
//! changed is refused; a sequence number that is taken is written again as it came.

use keylane::fuzzed::{OPERATIONS, opens_iterator, reads_body, reads_sequence, seals_iterator};
use keylane_sim_disk::Rng;
use serde_json::{Value, json};

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{spoil, spoil_in_place};

/// A request with every field that operations have.
fn request(rng: &mut Rng) -> Value {
    let text = |rng: &mut Rng| "s".repeat(rng.below(40) as usize);
    let record = json!({"Data": "aGVsbG8=", "PartitionKey": text(rng), "ExplicitHashKey": "7"});
    json!({
        "StreamName": text(rng), "StreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/s",
        "ShardCount": rng.below(9), "Limit": rng.below(1 << 40), "Data": "aGVsbG8=", "PartitionKey": text(rng),
        "Records": vec![record; rng.below(4) as usize], "ShardIterator": text(rng), "ShardId": "shardId-000000000000",
        "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1.7e9, "Tags": {"a": "b", "c": text(rng)},
        "TagKeys": ["a", "b"], "ShardFilter": {"Type": "AT_LATEST", "Timestamp": 1_700_000_000},
        "StreamModeDetails": {"StreamMode": "ON_DEMAND"}, "ShardLevelMetrics": ["ALL"], "Policy": "{}",
        "StartingPosition": {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "1"},
    })
}

/// CBOR of a value as SDKs write it, with bytes where JSON has base64.
fn cbor(value: &Value, name: &str, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>, major: u8, length: usize| {
        out.extend([major << 5 | 25, (length >> 8) as u8, length as u8]);
    };
    match value {
        Value::Object(fields) => {
            head(out, 5, fields.len());
            for (name, value) in fields {
                head(out, 3, name.len());
                out.extend(name.bytes());
                cbor(value, name, out);
            }
        }
        Value::Array(items) => {
            head(out, 4, items.len());
            items.iter().for_each(|item| cbor(item, "", out));
        }
        Value::String(text) => {
            head(out, if name == "Data" { 2 } else { 3 }, text.len());
            out.extend(text.bytes());
        }
        other => {
            if name == "Timestamp" {
                out.push(0xc1);
            }
            match other.as_u64() {
                Some(number) => out.extend([&[0x1b][..], &number.to_be_bytes()].concat()),
                None => {
                    out.extend([&[0xfb][..], &other.as_f64().unwrap_or(0.0).to_be_bytes()].concat());
                }
            }
        }
    }
}

#[test]
fn bodies_of_requests() {
    for format in ["json", "cbor"] {
        fuzz(&format!("kinesis bodies in {format}"), 20_000, &mut |rng| {
            let value = request(rng);
            let mut body = Vec::new();
            if format == "cbor" {
                cbor(&value, "", &mut body)
            } else {
                body = value.to_string().into_bytes()
            }
            for _ in 0..rng.below(3) {
                if rng.one_in(3) { spoil(&mut body, rng) } else { spoil_in_place(&mut body, rng) }
            }
            let operation = OPERATIONS[rng.below(OPERATIONS.len() as u64) as usize];
            Ok(Outcome::of(reads_body(operation, format == "cbor", &body)))
        });
    }
}

/// A reader that believes the length of a text before it is there needs more memory than the process has, or runs past the end.
#[test]
fn a_reader_that_believes_lengths_is_found() {
    must_find("kinesis bodies", &mut |rng| {
        let mut body = Vec::new();
        cbor(&request(rng), "", &mut body);
        spoil_in_place(&mut body, rng);
        let name = usize::from(body[4]) << 8 | usize::from(body[5]);
        Ok(Outcome::of(body[6..6 + name].is_ascii()))
    });
}

#[test]
fn iterators_and_sequence_numbers() {
    fuzz("kinesis iterators", 20_000, &mut |rng| {
        let offset = rng.below(u64::MAX);
        let good = seals_iterator("directory", offset, 1_700_000_000_000);
        let mut bytes = good.clone().into_bytes();
        if rng.one_in(2) {
            if rng.one_in(3) { spoil(&mut bytes, rng) } else { spoil_in_place(&mut bytes, rng) }
        }
        let text = String::from_utf8_lossy(&bytes);
        let opened = opens_iterator("directory", &text, 1_700_000_000_001);
        if opened.is_some() && (text != good || opened != Some(offset)) {
            return Err(format!("{text} is taken for {opened:?}; it was {good} for {offset}"));
        }
        if opened.is_none() && text == good {
            return Err(format!("{good} is refused"));
        }
        Ok(Outcome::of(opened.is_some()))
    });
    fuzz("kinesis sequence numbers", 20_000, &mut |rng| {
        let mut text = *b"49039857307708445622473125256799876420195101598831083570";
        // The digits of offset and partition change freely; those in front are hardly ever right.
        for _ in 0..rng.below(3) {
            let from = if rng.one_in(4) { 0 } else { 26 };
            text[(from + rng.below(56 - from)) as usize] = b'0' + rng.below(10) as u8;
        }
        let text = String::from_utf8_lossy(&text);
        match reads_sequence(&text) {
            Some(again) if again != text => Err(format!("{text} is read as {again}")),
            read => Ok(Outcome::of(read.is_some())),
        }
    });
}
