//! Runs a target case by case, each from a seed of its own, and tells the seed of the case that went wrong.
//!
//! Promises: the same seed makes the same case. Panics count wherever they happen, also in tasks; only those of foreign codecs
//! that the engine catches do not. One target runs at a time, so that the memory of the process is its own.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use keylane_engine::records::panic_is_caught;
use keylane_sim_disk::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Address space of the process.
pub const MEMORY_BYTES: u64 = 512 << 20;

/// What a decoder made of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took them.
    Taken,
    /// It refused them.
    Refused,
}

impl Outcome {
    /// Taken or not.
    pub fn of(taken: bool) -> Self {
        if taken { Self::Taken } else { Self::Refused }
    }
}

/// A case, and what is wrong with it if something is.
pub type Case<'a> = &'a mut dyn FnMut(&mut Rng) -> Result<Outcome, String>;

/// Number of cases, and of those that were taken.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub cases: u64,
    pub taken: u64,
}

/// Runs a target: `cases` of them, or as long as `KEYLANE_FUZZ_SECONDS` says.
///
/// Panics with the seed if a case goes wrong, and if nearly all cases were taken or nearly all refused: such a target would
/// show nothing.
pub fn fuzz(name: &str, cases: u64, case: Case<'_>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("KEYLANE_FUZZ_SECONDS");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    let first =
        number("KEYLANE_FUZZ_SEED").unwrap_or(if seconds.is_some() { now.as_secs() << 24 } else { 1 });
    // Printed before, because memory that is not there ends the process.
    println!("{name}: seeds from {first}");
    let begun = Instant::now();
    let more = |done| match seconds {
        Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
        None => done < cases,
    };
    match run(first, more, case) {
        Err((seed, what)) => panic!("{name}: KEYLANE_FUZZ_SEED={seed}: {what}"),
        Ok(Tally { cases, taken }) => {
            println!("{name}: {cases} cases, {taken} taken, {:?}", begun.elapsed());
            assert!(taken > cases / 50 && taken < cases / 50 * 49, "{taken} of {cases} cases were taken");
        }
    }
}

/// The negative control of a target: a decoder that is wrong on purpose goes wrong within 20,000 cases.
pub fn must_find(name: &str, case: Case<'_>) {
    match run(1, |done| done < 20_000, case) {
        Err((seed, what)) => println!("{name}: found with seed {seed}: {what}"),
        Ok(tally) => panic!("{name}: {tally:?}, and nothing found"),
    }
}

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Sets the limit of memory, and counts panics instead of printing them while a case runs.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = Rlimit { current: Some(MEMORY_BYTES), ..getrlimit(Resource::As) };
        setrlimit(Resource::As, limit).expect("a lower limit is allowed");
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IN_CASE.get() {
                before(panic);
            } else if !panic_is_caught() {
                PANICS.set(PANICS.get() + 1);
                // The place of the panic may lie in the standard library; with RUST_BACKTRACE=1 it says more.
                LAST_PANIC.set(format!("{panic}\n{}", Backtrace::capture()));
            }
        }));
    });
}

thread_local! {
    static IN_CASE: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: Cell<String> = const { Cell::new(String::new()) };
}

/// The cases from a seed on, while there should be more; the seed and story of the first that goes wrong.
fn run(first: u64, more: impl Fn(u64) -> bool, case: Case<'_>) -> Result<Tally, (u64, String)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    prepare();
    let mut tally = Tally::default();
    while more(tally.cases) {
        let seed = first + tally.cases;
        PANICS.set(0);
        IN_CASE.set(true);
        let done = catch_unwind(AssertUnwindSafe(|| case(&mut Rng::new(seed))));
        IN_CASE.set(false);
        match done {
            Ok(Ok(outcome)) if PANICS.get() == 0 => tally.taken += u64::from(outcome == Outcome::Taken),
            Ok(Err(what)) => return Err((seed, what)),
            _ => return Err((seed, LAST_PANIC.take())),
        }
        tally.cases += 1;
    }
    Ok(tally)
}

/// The harness itself: memory ends where it should, and a panic in a task that nobody waits for is noticed.
#[test]
fn the_limit_holds_and_a_panic_in_a_task_counts() {
    must_find("memory", &mut |_| {
        let whole = Vec::<u8>::new().try_reserve_exact(MEMORY_BYTES as usize);
        whole.map(|()| Outcome::Taken).map_err(|error| error.to_string())
    });
    let runtime = keylane_tests::held::runtime();
    must_find("a panic in a task", &mut |_| {
        keylane_tests::held::inside(&runtime, async {
            drop(tokio::task::spawn_local(async { panic!("nobody waits for this task") }));
            tokio::task::yield_now().await;
            Ok(Outcome::Taken)
        })
    });
}
