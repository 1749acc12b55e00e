//! The story of the table with rdkafka, which wraps librdkafka.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clients::{
    Groups, HEARTBEAT_MS, Member, Outcome, PARTITIONS, SESSION_MS, Shown, bootstrap, cell, equal, tell,
    unique, until,
};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

struct Rdkafka {
    runtime: tokio::runtime::Runtime,
    control: AdminClient<DefaultClientContext>,
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap());
    config
}

impl Rdkafka {
    fn topic(&self, name: &str, partitions: i32) -> Outcome {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = self.runtime.block_on(self.control.create_topics([&new], &AdminOptions::new()))?;
        made.into_iter().collect::<Result<Vec<_>, _>>().map_err(|(name, code)| format!("{name}: {code}"))?;
        Ok(())
    }

    fn listed(&self, name: &str) -> Outcome<usize> {
        let found = self.control.inner().fetch_metadata(None, Duration::from_secs(10))?;
        Ok(found
            .topics()
            .iter()
            .find(|topic| topic.name() == name)
            .map_or(0, |topic| topic.partitions().len()))
    }

    fn admin(&self) -> Outcome {
        let name = unique("rdkafka-admin");
        self.topic(&name, 3)?;
        until("three partitions", || Ok(self.listed(&name)? == 3))?;
        let resource = ResourceSpecifier::Topic(&name);
        let found =
            self.runtime.block_on(self.control.describe_configs([&resource], &AdminOptions::new()))?;
        let settings = found.into_iter().next().ok_or("no resource")??;
        equal(settings.get("retention.ms").is_some(), true, "retention.ms is described")?;
        self.runtime.block_on(self.control.delete_topics(&[&name], &AdminOptions::new()))?;
        until("its end", || Ok(self.listed(&name)? == 0))
    }
}

fn member(topic: &str, group: &str, shown: &Shown) -> Outcome {
    let consumer: BaseConsumer = config()
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", SESSION_MS.to_string())
        .set("heartbeat.interval.ms", HEARTBEAT_MS.to_string())
        .create()?;
    consumer.subscribe(&[topic])?;
    while !shown.leave.load(Ordering::SeqCst) {
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            let message = message?;
            let value = std::str::from_utf8(message.payload().unwrap_or_default())?.parse()?;
            shown.values.lock().map_err(|_| "poisoned")?.push(value);
        }
        shown.partitions.store(consumer.assignment()?.count(), Ordering::SeqCst);
        if shown.commit.load(Ordering::SeqCst) {
            consumer.commit_consumer_state(CommitMode::Sync)?;
            shown.commit.store(false, Ordering::SeqCst);
        }
    }
    Ok(())
}

impl Groups for Rdkafka {
    fn create(&self, topic: &str) -> Outcome {
        self.topic(topic, PARTITIONS)
    }

    fn produce(&self, topic: &str, values: std::ops::Range<i32>) -> Outcome {
        let producer: FutureProducer = config().set("linger.ms", "5").create()?;
        self.runtime.block_on(async {
            let mut waiting = Vec::new();
            for value in values {
                let record = FutureRecord::<(), _>::to(topic).partition(value % PARTITIONS);
                let text = value.to_string();
                waiting.push(producer.send_result(record.payload(&text)).map_err(|(cause, _)| cause)?);
            }
            for each in waiting {
                each.await?.map_err(|(cause, _)| cause)?;
            }
            Ok(())
        })
    }

    fn join(&self, topic: &str, group: &str) -> Member {
        let shown = Arc::new(Shown::default());
        let (topic, group, mine) = (topic.to_owned(), group.to_owned(), Arc::clone(&shown));
        let thread = std::thread::spawn(move || {
            let outcome = member(&topic, &group, &mine);
            if let (Err(cause), Ok(mut failed)) = (outcome, mine.failed.lock()) {
                *failed = Some(cause.to_string());
            }
        });
        Member { shown, thread }
    }
}

fn main() -> Outcome {
    let client = Rdkafka { runtime: tokio::runtime::Runtime::new()?, control: config().create()? };
    let version = format!("0.39.0 (librdkafka {})", rdkafka::util::get_rdkafka_version().1);
    cell("rdkafka", &version, "admin", Some(client.admin()));
    tell("rdkafka", &version, &client);
    Ok(())
}
