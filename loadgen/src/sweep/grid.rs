//! The points of a sweep, the command of each, and the order in which they are measured.

use super::args::SweepArgs;
use super::broker::Broker;
use super::result::Point;
use super::spec::BatchSize;
use crate::args::Cores;

/// Keys for each partition: enough that hardly one stays without.
const KEYS_PER_PARTITION: i64 = 10;
const KEYS_MIN: i64 = 1_000;
const KEYS_MAX: i64 = 1_000_000;

/// All points, brokers together.
pub fn points(args: &SweepArgs, brokers: &[Broker]) -> Vec<Point> {
    let mut points = Vec::new();
    for acks in &args.acks {
        for batch in &args.batch {
            for &partitions in &args.partitions {
                for (index, broker) in brokers.iter().enumerate() {
                    let options = options(args, broker, partitions, batch, acks);
                    points.push(Point {
                        broker: index,
                        name: broker.spec.name.clone(),
                        partitions,
                        batch: batch.text.clone(),
                        acks: acks.clone(),
                        rate: args.rate,
                        command: super::result::command_line(&options),
                        options,
                        runs: Vec::new(),
                        curve: Vec::new(),
                    });
                }
            }
        }
    }
    points
}

/// Options of `run` for one point.
fn options(args: &SweepArgs, broker: &Broker, partitions: i32, batch: &BatchSize, acks: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    if let Some(address) = &broker.spec.address {
        add("bootstrap", address.clone());
        if let Some(pid) = broker.spec.pid {
            add("server-pid", pid.to_string());
        }
    } else {
        if let Some(cores) = &args.server_cores {
            add("server-cores", list(cores));
        }
        if let Some(parent) = &args.data_parent {
            add("data-parent", parent.display().to_string());
        }
    }
    add("partitions", partitions.to_string());
    let (connections, window) = match batch.bytes {
        Some(bytes) => {
            add("batch-bytes", bytes.to_string());
            (8, 5)
        }
        None => {
            add("batch-records", "1".to_owned());
            (16, 64)
        }
    };
    add("record-bytes", args.record_bytes.to_string());
    add("connections", args.connections.unwrap_or(connections).to_string());
    add("window", args.window.unwrap_or(window).to_string());
    add("acks", acks.to_owned());
    add("keys", (i64::from(partitions) * KEYS_PER_PARTITION).clamp(KEYS_MIN, KEYS_MAX).to_string());
    if let Some(rate) = args.rate {
        add("rate", rate.to_string());
    }
    add("duration", format!("{}s", args.duration.as_secs_f64()));
    add("warmup", format!("{}s", args.warmup.as_secs_f64()));
    // The same bytes again and again cannot be read back; what belongs to that is refused, even to ask for no reader.
    let same_bytes = args.run_options.split_ascii_whitespace().any(|word| word == "--static-payload");
    if args.consumers > 0 || !same_bytes {
        add("consumers", args.consumers.to_string());
    }
    if let Some(groups) = args.catch_up {
        add("catch-up", groups.to_string());
    }
    if let Some(shape) = args.fetch_shape {
        add("fetch-shape", shape.name().to_owned());
    }
    if let Some(cores) = &args.cores {
        add("cores", list(cores));
    }
    if broker.spec.address.is_some() {
        words.push("--delete-topic".to_owned());
    }
    if !same_bytes {
        words.push("--prime".to_owned());
    }
    words.push("--no-progress".to_owned());
    words.extend(args.run_options.split_ascii_whitespace().map(str::to_owned));
    words
}

fn list(cores: &Cores) -> String {
    cores.0.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The order of one round: as written, brokers taking turns to be first.
pub fn order(args: &SweepArgs, brokers: &[Broker], round: usize) -> Vec<usize> {
    let of_each = brokers.len();
    let groups = args.acks.len() * args.batch.len() * args.partitions.len();
    let broker = |group: usize, turn: usize| (turn + round + group) % of_each;
    (0..groups)
        .flat_map(|group| (0..of_each).map(move |turn| group * of_each + broker(group, turn)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::spec::BrokerSpec;
    use super::*;

    fn brokers(names: &[&str]) -> Vec<Broker> {
        let spec =
            |name: &&str| BrokerSpec { name: (*name).to_owned(), address: None, pid: None, note: None };
        names.iter().map(|name| Broker { spec: spec(name), durability: None, warm_up: Vec::new() }).collect()
    }

    #[test]
    fn sending_the_same_bytes_again_does_not_ask_for_readers() {
        let asked = |text: &str| {
            let args = SweepArgs::from_text("--partitions 1 --batch 64k").unwrap();
            let args = SweepArgs { run_options: text.to_owned(), ..args };
            let point = &points(&args, &brokers(&["a"]))[0];
            let run = crate::args::RunArgs::from_words(point.options.iter().map(String::as_str)).unwrap();
            assert_eq!(run.consumers, 0);
            point.options.iter().any(|word| word == "--consumers")
        };
        assert!(asked("--codec lz4") && !asked("--codec lz4 --static-payload"));
    }

    #[test]
    fn every_round_measures_every_point_once_and_brokers_take_turns() {
        let args = SweepArgs::from_text("--partitions 1,10 --batch 64k,single --acks all,1").unwrap();
        let brokers = brokers(&["a", "b", "c"]);
        let points = points(&args, &brokers);
        assert_eq!(points.len(), 2 * 2 * 2 * 3);
        let mut first = std::collections::BTreeSet::new();
        for round in 0..3 {
            let order = order(&args, &brokers, round);
            first.insert(points[order[0]].name.clone());
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..points.len()).collect::<Vec<_>>());
            // The brokers of one point follow each other.
            for group in order.chunks(3) {
                let of = |index: &usize| (points[*index].partitions, points[*index].batch.clone());
                assert!(group.iter().all(|index| of(index) == of(&group[0])));
            }
        }
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn the_command_of_a_point_is_what_is_run() {
        let args = SweepArgs::from_text("--partitions 100 --batch single --acks 1 --rate 500").unwrap();
        let point = &points(&args, &brokers(&["a"]))[0];
        let run = crate::args::RunArgs::from_words(point.options.iter().map(String::as_str)).unwrap();
        assert_eq!((run.partitions, run.batch_records, run.window), (100, Some(1), 64));
        assert_eq!((run.rate, run.keys, run.consumers), (Some(500.0), 1000, 0));
        let end = point.options.join(" ");
        assert!(point.command.starts_with("keylane-loadgen run ") && point.command.ends_with(&end));
    }
}
