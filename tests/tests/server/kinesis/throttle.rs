//! A server that refuses what is beyond the rates of a shard: a hot shard is refused at AWS' rates, others are not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;

const SHARD: &str = "shardId-000000000000";
/// Records of 1 KiB for the hot shard in a second: three MiB.
const HOT_A_SECOND: f64 = 3.0 * 1024.0;

#[test]
fn a_hot_shard_is_refused_and_others_are_not() {
    let bench = Bench::start_with(|config| config.kinesis_throttle = true);
    let mut client = bench.client();
    client.create("s", 4).unwrap();
    // A hash of each shard; the first one is hot.
    let hashes: Vec<String> = (0..4u128).map(|shard| (shard << 126).to_string()).collect();
    let begun = Instant::now();
    let (mut sent, mut taken, mut refused) = (0usize, 0usize, 0usize);
    // Longer where the disk is so slow that the shard is not hot at once.
    while begun.elapsed() < Duration::from_millis(1_500)
        || (refused == 0 && begun.elapsed() < Duration::from_secs(30))
    {
        // Records of 1 KiB for the hot shard, as many as are due at three MiB a second, and one for each of the others.
        let due = (begun.elapsed().as_secs_f64() * HOT_A_SECOND) as usize;
        let hot = due.saturating_sub(sent).clamp(1, 490);
        let entry =
            |hash: &str| json!({"PartitionKey": "k", "ExplicitHashKey": hash, "Data": "A".repeat(1364)});
        let mut records = vec![entry(&hashes[0]); hot];
        records.extend(hashes[1..].iter().map(|hash| entry(hash)));
        sent += hot;
        let put = client.call("PutRecords", &json!({"StreamName": "s", "Records": records})).unwrap();
        let answers = put["Records"].as_array().unwrap();
        let failed: Vec<&Value> = answers.iter().filter(|a| a["ErrorCode"].is_string()).collect();
        assert_eq!(put["FailedRecordCount"], json!(failed.len()));
        assert!(
            answers[hot..].iter().all(|a| a["SequenceNumber"].is_string()),
            "the other shards are not hot"
        );
        for answer in &failed {
            assert_eq!(answer["ErrorCode"], "ProvisionedThroughputExceededException");
            assert_eq!(
                answer["ErrorMessage"],
                format!("Rate exceeded for shard {SHARD} in stream s under account 123456789012.")
            );
        }
        (taken, refused) = (taken + hot - failed.len(), refused + failed.len());
        std::thread::sleep(Duration::from_millis(10));
    }
    // What the first second gives at once, and 1,000 records for each second since.
    let most = 1_000.0 + begun.elapsed().as_secs_f64() * 1_001.0 + 1.0;
    assert!(
        refused > 0 && taken >= 1_000 && (taken as f64) <= most,
        "{taken} taken, {refused} refused, {most}"
    );
    let iterator = client.iterator("s", SHARD, "LATEST", &Value::Null).unwrap();
    let reads: Vec<bool> = (0..20).map(|_| client.records(&iterator, 1).is_ok()).collect();
    assert_eq!(reads[..5], [true; 5]);
    let (kind, _) = client.refused("GetRecords", &json!({"ShardIterator": iterator})).unwrap();
    assert_eq!(kind, "ProvisionedThroughputExceededException");
    bench.finish();
}
