//! The first records of every partition, before a measurement.
//!
//! A broker with files for each partition pays for them at the first write: at many partitions that would be
//! measured instead of the load. The records written here are before the place where reading begins.
//!
//! Two of them are enough for a broker whose index has an entry every 4 KiB: the second brings the first entry (Kafka maps
//! its indexes into memory, and the first touch of each costs a read-ahead). They are of the present: a broker that rolls
//! and deletes by time would else do that in the midst of the measurement.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_kafka::client::Client;
use keylane_kafka::messages::list_offsets::LATEST;
use keylane_kafka::messages::produce::ProduceResponse;
use keylane_kafka::{ApiKey, Message, Reader};

use crate::args::RunArgs;
use crate::batch::{Template, TemplateSpec};
use crate::client::Admin;
use crate::cpu;
use crate::pacing::Clock;
use crate::payload::Payload;
use crate::protocol::CLIENT_ID;
use crate::setup::Target;

/// Partitions written to at once.
const AT_ONCE: usize = 32;
/// Records of each, each more than the 4 KiB after which Kafka's index has a new entry.
const RECORDS: usize = 2;
const VALUE_BYTES: usize = 5 << 10;
/// How long a broker may take for one request: it may still be busy with the creation.
const TIMEOUT: Duration = Duration::from_secs(120);
const REST: f64 = 0.05;
const LOOK: Duration = Duration::from_millis(250);

/// Writes to every partition, waits until the broker's process (if it is known) is at rest, and moves the beginning of
/// reading behind what was written.
pub fn prime(args: &RunArgs, target: &mut Target, admin: &mut Admin) -> Result<()> {
    let template = Template::new(&TemplateSpec {
        produce_version: target.versions.produce,
        topic: &target.topic,
        acks: -1,
        key_bytes: target.names.key_bytes(),
        value_bytes: VALUE_BYTES,
        records: 1,
        run: 0,
        connection: 0,
        seed: 0,
        payload: Payload::Noise,
        compressibility: 0.0,
    });
    let version = target.versions.produce;
    let mut client = Client::connect(target.address, CLIENT_ID, TIMEOUT)?;
    let clock = Clock::new();
    let all: Vec<i32> = (0..target.partitions).collect();
    for some in all.chunks(AT_ONCE) {
        let mut frames = Vec::new();
        let wall_ms = clock.wall_ms(clock.now_ns());
        for &partition in some {
            let mut frame = template.frame().to_vec();
            template.set_correlation(&mut frame, partition);
            template.fill(&mut frame, partition, 0, wall_ms, &target.names, || (0, 0));
            frames.extend_from_slice(&frame.repeat(RECORDS));
        }
        client.send_frames(&frames).context("writing to each partition")?;
        for partition in some.iter().flat_map(|partition| [partition; RECORDS]) {
            let body = client.receive(*partition, ApiKey::Produce, version);
            let answer = ProduceResponse::decode(version, &mut Reader::new(body?))?;
            let told = answer.topics.first().and_then(|topic| topic.partitions.first());
            let error = told.context("an answer about no partition")?.error;
            ensure!(error.is_none(), "first write to partition {partition}: {error}");
        }
    }
    if let Some(pid) = args.server_pid {
        rest(pid);
    }
    target.begin = admin.offsets(&target.topic, target.partitions, LATEST)?;
    Ok(())
}

/// Waits until a process uses next to no processor time, for a while at most.
fn rest(pid: u32) {
    let deadline = Instant::now() + TIMEOUT;
    let used = || cpu::process_use(pid).map(|used| used.cpu_s);
    while let Ok(before) = used()
        && Instant::now() < deadline
    {
        std::thread::sleep(LOOK);
        if used().is_ok_and(|after| (after - before) / LOOK.as_secs_f64() < REST) {
            return;
        }
    }
}
