//! A broker that stands still for a tenth of the time must be seen to, at a fixed rate.
//!
//! Requests are due all the time, so a tenth of them is due during a stall, and those wait from the whole of it
//! down to nothing, evenly: at a quantile q above 0.9 the latency is (q - 0.9) / 0.1 of the stall. A generator that
//! waits for an answer before it sends the next request sends next to nothing during a stall and does not see it;
//! that is the negative control.

use std::time::Duration;

use super::common::{broker_that_stalls, load};
use keylane_loadgen::sink::{Keep, Stall};

const STALL: Stall = Stall { lasts: Duration::from_millis(200), every: Duration::from_millis(2_000) };

#[test]
fn a_stall_shows_from_the_90th_percentile_on_as_arithmetic_says() {
    let address = broker_that_stalls(1, Keep::Nothing, Some(STALL)).unwrap();
    // Whole stretches, so that the share of the stall is what it is meant to be.
    let load_args = "--batch-records 1 --record-bytes 200 --consumers 0 --duration 6s --warmup 1s";
    let open = load(&format!("--bootstrap {address} {load_args} --rate 4000 --connections 4 --window 64"));
    assert_eq!(open.produced.latency_kind, "open loop");
    let at_ms = |percentile: f64| open.histograms.ack.at_us(percentile).unwrap() / 1e3;
    for (percentile, expected_ms) in
        [(92.5, 50.0), (95.0, 100.0), (97.5, 150.0), (99.0, 180.0), (99.9, 198.0)]
    {
        let found = at_ms(percentile);
        assert!(
            (found - expected_ms).abs() < 20.0,
            "p{percentile}: {found:.1} ms, not {expected_ms}\n{open}"
        );
    }
    assert!(at_ms(85.0) < 20.0, "p85: {} ms", at_ms(85.0));
    assert!((at_ms(100.0) - 200.0).abs() < 40.0, "longest: {} ms", at_ms(100.0));
}

#[test]
fn a_closed_loop_hides_the_stall_and_is_called_so() {
    let address = broker_that_stalls(1, Keep::Nothing, Some(STALL)).unwrap();
    let load_args = "--batch-records 1 --record-bytes 200 --consumers 0 --duration 4s --warmup 0s";
    let closed = load(&format!("--bootstrap {address} {load_args} --connections 1 --window 1"));
    assert_eq!(closed.produced.latency_kind, "closed loop");
    let latency = closed.produced.latency.unwrap();
    assert!(latency.p99_us < 50_000.0 && latency.max_us > 100_000.0, "{closed}");
}
