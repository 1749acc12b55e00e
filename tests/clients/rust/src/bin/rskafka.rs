//! The story of the table with rskafka, which has neither groups nor topics' settings: what it produces it reads back.

use std::time::Duration;

use clients::{Outcome, PARTITIONS, bootstrap, cell, equal, unique};
use rskafka::client::partition::{Compression, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;

async fn produce(client: &Client) -> Outcome {
    let topic = unique("rskafka");
    client.controller_client()?.create_topic(&topic, PARTITIONS, 1, 5000).await?;
    for partition in 0..PARTITIONS {
        let place = client.partition_client(&topic, partition, UnknownTopicHandling::Retry).await?;
        let values: Vec<_> = (0..25).map(|i| (i * PARTITIONS + partition).to_string().into_bytes()).collect();
        let records = values.iter().map(|value| Record {
            key: None,
            value: Some(value.clone()),
            headers: Default::default(),
            timestamp: chrono::Utc::now(),
        });
        let offsets = place.produce(records.collect(), Compression::NoCompression).await?;
        equal(offsets, (0..25).collect(), "offsets")?;
        let (read, high_watermark) = place.fetch_records(0, 1..1_000_000, 1000).await?;
        equal(high_watermark, 25, "high watermark")?;
        equal(read.into_iter().filter_map(|each| each.record.value).collect(), values, "values")?;
    }
    Ok(())
}

async fn listed(client: &Client, topic: &str, count: usize) -> Outcome {
    for _ in 0..300 {
        let topics = client.list_topics().await?;
        if topics.iter().find(|each| each.name == topic).map_or(0, |each| each.partitions.len()) == count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("not listed with {count} partitions").into())
}

async fn admin(client: &Client) -> Outcome {
    let topic = unique("rskafka-admin");
    let control = client.controller_client()?;
    control.create_topic(&topic, 3, 1, 5000).await?;
    listed(client, &topic, 3).await?;
    control.delete_topic(&topic, 5000).await?;
    listed(client, &topic, 0).await
}

#[tokio::main]
async fn main() -> Outcome {
    let client = ClientBuilder::new(vec![bootstrap()]).build().await?;
    let version = "0.6.0";
    cell("rskafka", version, "admin", Some(admin(&client).await));
    cell("rskafka", version, "produce", Some(produce(&client).await));
    for feature in ["consume by group", "rebalance", "commit and resume"] {
        cell("rskafka", version, feature, None);
    }
    println!("done");
    Ok(())
}
