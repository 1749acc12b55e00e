//! The log of a table on the simulated disk: what is shown, what a restart brings back, what a crash leaves, what is refused.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use keylane_engine::shard::ShardOptions;
use keylane_engine::{LogId, OpenError, ShardId};
use keylane_sim_disk::{CrashStyle, Rng, SimDisk, SimOptions};
use proptest::prelude::*;

use super::*;

const KEYS: u64 = 8;

/// Numbers by key. It counts its changes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Numbers {
    by_key: BTreeMap<u8, u32>,
    changes: usize,
}

type Change = (u8, Option<u32>);

impl Table for Numbers {
    type Change = Change;
    type Error = &'static str;

    fn bytes_of(_: &Change) -> usize {
        100
    }

    fn encode((key, value): &Change, now_ms: i64) -> Record {
        let value = value.map(|value| Bytes::copy_from_slice(&value.to_be_bytes()));
        Record {
            key: Some(Bytes::copy_from_slice(&[*key])),
            value,
            headers: Vec::new(),
            timestamp_ms: now_ms,
        }
    }

    fn decode(record: &Record) -> Result<Change, &'static str> {
        let Some([key]) = record.key.as_deref() else { return Err("the key is not one byte") };
        match record.value.as_deref().map(TryInto::try_into) {
            None => Ok((*key, None)),
            Some(Ok(value)) => Ok((*key, Some(u32::from_be_bytes(value)))),
            Some(Err(_)) => Err("the value is not four bytes"),
        }
    }

    fn apply(&mut self, (key, value): Change) {
        self.changes += 1;
        match value {
            Some(value) => self.by_key.insert(key, value),
            None => self.by_key.remove(&key),
        };
    }

    fn bytes(&self) -> usize {
        100 * self.by_key.len()
    }

    fn bytes_replaced(&self, (key, _): &Change) -> usize {
        if self.by_key.contains_key(key) { 100 } else { 0 }
    }
}

fn replayed(changes: &[Change]) -> BTreeMap<u8, u32> {
    let mut numbers = Numbers::default();
    changes.iter().for_each(|change| numbers.apply(*change));
    numbers.by_key
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(future))
}

async fn open(disk: &SimDisk) -> Place {
    try_open(disk).await.unwrap()
}

async fn try_open(disk: &SimDisk) -> Result<Place, OpenError> {
    let options = ShardOptions {
        segment_bytes: 64 << 10,
        tail_cache_bytes: 64 << 10,
        zero_fill: false,
        ..ShardOptions::default()
    };
    let live = HashSet::from([LogId(7)]);
    let shard = Shard::open(disk.clone(), [1; 16], ShardId(0), &live, options).await?;
    let at = shard.attach(LogId(7));
    Ok(Place { shard, at, batch_bytes_max: 8 << 10, stopping: Rc::default() })
}

async fn formatted(seed: u64, options: SimOptions) -> SimDisk {
    let disk = SimDisk::new(seed, options);
    keylane_engine::disk::Disk::create_dir(&disk, "").await.unwrap();
    disk
}

#[test]
fn changes_become_visible_in_the_order_of_the_log_and_only_when_durable() {
    let line = VecDeque::from([(1, (0, Some(5))), (2, (0, Some(6))), (2, (1, Some(7))), (3, (1, None))]);
    let mut state: State<Numbers> = State { table: Numbers::default(), line_bytes: 400, line };
    state.settle(|_| false);
    assert_eq!(state.table.changes, 0);
    // A later commit that is durable does not overtake an earlier one that is not.
    state.settle(|seq| seq != 1);
    assert_eq!(state.table.changes, 0);
    state.settle(|seq| seq < 3);
    assert_eq!(state.table.by_key, BTreeMap::from([(0, 6), (1, 7)]));
    state.settle(|_| true);
    assert_eq!((state.table.by_key, state.line_bytes), (BTreeMap::from([(0, 6)]), 0));
}

#[test]
fn what_is_appended_is_shown_when_it_is_durable_and_read_back_at_a_start() {
    run(async {
        let disk = formatted(1, SimOptions::default()).await;
        let log: Log<Numbers> = Log::new(open(&disk).await, 1 << 20);
        let changes: Vec<Change> = (0..500).map(|n| ((n % KEYS as u32) as u8, Some(n))).collect();
        let turn = log.turn().await;
        let appended = turn.append(changes.clone()).await.unwrap();
        let in_line = turn.look(|table, line| table.changes + line.count());
        assert_eq!(in_line, 500, "nothing is lost between the two");
        drop(turn);
        log.durable(appended).await.unwrap();
        assert_eq!(log.look(|numbers| numbers.by_key.clone()), replayed(&changes));
        log.place.shard.close().await.unwrap();

        let again: Log<Numbers> = Log::new(open(&disk).await, 1 << 20);
        assert_eq!(again.load().await.unwrap(), 500);
        assert_eq!(again.look(|numbers| numbers.by_key.clone()), replayed(&changes));
    });
}

#[test]
fn a_table_that_is_full_takes_only_what_does_not_enlarge_it() {
    run(async {
        let disk = formatted(1, SimOptions::default()).await;
        let log: Log<Numbers> = Log::new(open(&disk).await, 250);
        let turn = log.turn().await;
        let two = vec![(0, Some(1)), (1, Some(1))];
        turn.admit(&two).unwrap();
        let appended = turn.append(two).await.unwrap();
        // What is in line counts.
        assert_eq!(turn.admit(&[(2, Some(1))]), Err(WriteError::Full { bytes: 300, max: 250 }));
        log.durable(appended).await.unwrap();
        assert_eq!(turn.admit(&[(2, Some(1))]), Err(WriteError::Full { bytes: 300, max: 250 }));
        turn.admit(&[(1, Some(2))]).unwrap();
    });
}

#[test]
fn a_log_that_is_stopping_does_not_wait() {
    run(async {
        let disk = formatted(1, SimOptions::default()).await;
        let place = open(&disk).await;
        place.shard.detach(LogId(7));
        let log: Log<Numbers> = Log::new(place, 250);
        let refused = log.turn().await.append(vec![(0, Some(1))]).await;
        assert!(matches!(refused, Err(WriteError::Gone)), "{refused:?}");
    });
}

/// What was promised at the moment of a crash.
struct Crash {
    image: SimDisk,
    /// Changes that were answered or shown, of those that were appended.
    promised: usize,
    appended: usize,
}

/// Appends changes, waits for some of them, and loses power at a step of the disk. With `early` a change counts as answered
/// when it is appended; a disk that `lies` keeps nothing of what is flushed.
async fn until_crash(seed: u64, lies: bool, early: bool) -> (Vec<Change>, Option<Crash>) {
    let mut rng = Rng::new(seed);
    let disk = formatted(seed, SimOptions::default()).await;
    let log: Log<Numbers> = Log::new(open(&disk).await, 1 << 20);
    disk.set_options(|options| options.ignore_syncs = lies);
    let (promised, appended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let crash: Rc<RefCell<Option<Crash>>> = Rc::default();
    let (at, style) = (
        disk.steps() + rng.below(60),
        [CrashStyle::AllDropped, CrashStyle::AllKept, CrashStyle::Mixed][rng.below(3) as usize],
    );
    let (seen, told, done) = (Rc::clone(&crash), Rc::clone(&promised), Rc::clone(&appended));
    disk.on_step(Some(Rc::new(move |step, disk| {
        let mut crash = seen.borrow_mut();
        if step.number >= at && crash.is_none() {
            let image = disk.crash_image(seed, style);
            *crash = Some(Crash { image, promised: told.get(), appended: done.get() });
        }
    })));
    let mut written: Vec<Change> = Vec::new();
    for _ in 0..60 {
        let mut some = Vec::new();
        for _ in 0..=rng.below(5) {
            let value = (!rng.one_in(4)).then_some(written.len() as u32);
            some.push((rng.below(KEYS) as u8, value));
            written.push(some[some.len() - 1]);
        }
        appended.set(written.len());
        let made = log.turn().await.append(some).await.unwrap();
        if early {
            promised.set(written.len());
            // The disk goes on.
            tokio::task::yield_now().await;
        } else if rng.one_in(3) {
            log.durable(made).await.unwrap();
            promised.set(written.len());
        } else {
            let shown = log.look(|numbers| numbers.changes);
            promised.set(promised.get().max(shown));
        }
    }
    let crash = crash.borrow_mut().take();
    (written, crash)
}

/// Loses power and starts again. Returns what is wrong with what was read back; `None` if power was not lost.
fn crashed(seed: u64, lies: bool, early: bool) -> Option<Result<(), String>> {
    let (written, crash) = run(until_crash(seed, lies, early));
    let Crash { image, promised, appended } = crash?;
    Some(run(async move {
        let place = try_open(&image).await.map_err(|e| e.to_string())?;
        let log: Log<Numbers> = Log::new(place, 1 << 20);
        log.load().await.map_err(|e| e.to_string())?;
        let numbers = log.look(Numbers::clone);
        let changes = numbers.changes;
        if !(promised..=appended).contains(&changes) {
            return Err(format!(
                "{changes} changes are there; {promised} were promised, {appended} appended"
            ));
        }
        let expected = replayed(&written[..changes]);
        let same = numbers.by_key == expected;
        if same { Ok(()) } else { Err(format!("{:?} instead of {expected:?}", numbers.by_key)) }
    }))
}

#[test]
fn after_a_crash_every_answered_change_is_there_and_none_is_out_of_order() {
    let mut crashes = 0;
    for seed in 0..200 {
        if let Some(outcome) = crashed(seed, false, false) {
            assert_eq!(outcome, Ok(()), "seed {seed}");
            crashes += 1;
        }
    }
    assert!(crashes > 100, "{crashes} crashes");
}

/// Negative controls: a disk that does not keep what it says it keeps, and a log that answers before it is durable.
#[test]
fn lost_changes_are_found() {
    let lost = |lies, early| {
        let outcomes = (0..60).filter_map(|seed| crashed(seed, lies, early));
        outcomes.filter(Result::is_err).count()
    };
    let (lied, early) = (lost(true, false), lost(false, true));
    println!("lost changes were found after {lied} and {early} crashes of 60");
    assert!(lied > 5 && early > 5, "{lied}, {early}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Records that nobody of this version wrote stand between others: they change nothing, and hide nothing.
    #[test]
    fn records_that_are_not_understood_change_nothing(
        records in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..3), prop::option::of(prop::collection::vec(any::<u8>(), 3..6))),
            1..60,
        )
    ) {
        run(async move {
            let disk = formatted(1, SimOptions::immediate()).await;
            let log: Log<Numbers> = Log::new(open(&disk).await, 1 << 20);
            let mut changes = Vec::new();
            for (key, value) in &records {
                let (key, value) = (Bytes::from(key.clone()), value.clone().map(Bytes::from));
                let record = Record { key: Some(key), value, headers: Vec::new(), timestamp_ms: 1 };
                changes.extend(Numbers::decode(&record).ok());
                let batch = encode_batch(std::slice::from_ref(&record)).unwrap();
                let batch = check(batch, &RULES, now_ms()).unwrap();
                let appended = log.place.shard.append(log.place.at, &batch).unwrap();
                log.place.shard.committed(appended.seq).await;
            }
            assert_eq!(log.load().await.unwrap(), records.len());
            assert_eq!(log.look(|numbers| numbers.by_key.clone()), replayed(&changes));
            assert_eq!(log.look(|numbers| numbers.changes), changes.len());
        });
    }
}
