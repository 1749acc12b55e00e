//! Latencies in nanoseconds.
//!
//! Promises: three significant digits from a nanosecond to ten minutes, longer ones count as ten
//! minutes; histograms of several threads add up without loss.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use serde::Serialize;

const LONGEST_NS: u64 = 600_000_000_000;

/// Percentiles of a curve.
const CURVE: [f64; 21] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 97.5, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95,
    99.99, 99.995, 99.999, 100.0,
];

#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Option<Histogram<u64>>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub fn new() -> Self {
        // The bounds are constants that the constructor accepts.
        Self { histogram: Histogram::new_with_bounds(1, LONGEST_NS, 3).ok() }
    }

    #[inline]
    pub fn record(&mut self, latency_ns: u64, times: u64) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record_n(latency_ns, times);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        if let (Some(into), Some(from)) = (&mut self.histogram, &other.histogram) {
            // Equal bounds always add.
            let added = into.add(from);
            debug_assert!(added.is_ok());
        }
    }

    fn filled(&self) -> Option<&Histogram<u64>> {
        self.histogram.as_ref().filter(|histogram| !histogram.is_empty())
    }

    /// Microseconds at a percentile; `None` if nothing was recorded.
    pub fn at_us(&self, percentile: f64) -> Option<f64> {
        Some(self.filled()?.value_at_percentile(percentile) as f64 / 1e3)
    }

    /// The usual percentiles in microseconds; `None` if nothing was recorded.
    pub fn summary(&self) -> Option<LatencySummary> {
        let histogram = self.filled()?;
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Some(LatencySummary {
            samples: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: histogram.max() as f64 / 1e3,
        })
    }

    /// Percentile and microseconds, up to where single samples begin and the longest.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let Some(histogram) = self.filled() else { return Vec::new() };
        let told = |percentile: f64| {
            percentile == 100.0 || (1.0 - percentile / 100.0) * histogram.len() as f64 >= 0.999
        };
        let points = CURVE.into_iter().filter(|percentile| told(*percentile));
        points
            .map(|percentile| (percentile, histogram.value_at_percentile(percentile) as f64 / 1e3))
            .collect()
    }

    /// An interval log of HdrHistogram with an entry for each of `runs`.
    pub fn log(runs: &[Self], each: Duration, comment: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.add_comment(comment).with_max_value_divisor(1e6).with_start_time(SystemTime::now());
        let mut writer = builder.begin_log_with(&mut out, &mut serializer)?;
        for (index, run) in (0u32..).zip(runs) {
            let Some(histogram) = &run.histogram else { continue };
            let written = writer.write_histogram(histogram, each * index, each, None);
            written.map_err(|error| anyhow!("writing a histogram: {error:?}"))?;
        }
        Ok(out)
    }

    /// The percentile distribution in milliseconds, in the text format of HdrHistogram's plotter.
    pub fn distribution(&self) -> String {
        let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let Some(histogram) = self.filled() else { return out };
        // Writing to a string does not fail.
        for step in histogram.iter_quantiles(5) {
            let quantile = step.quantile_iterated_to();
            let (value, count) = (step.value_iterated_to() as f64 / 1e6, step.count_since_last_iteration());
            let below = histogram.count_between(0, step.value_iterated_to()).max(count);
            let _ = write!(out, "{value:>12.3} {quantile:>1.12} {below:>10}");
            let _ = if quantile < 1.0 {
                writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile))
            } else {
                writeln!(out)
            };
        }
        let _ = writeln!(
            out,
            "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]",
            histogram.mean() / 1e6,
            histogram.stdev() / 1e6
        );
        let _ = writeln!(
            out,
            "#[Max     = {:>12.3}, Total count    = {:>12}]",
            histogram.max() as f64 / 1e6,
            histogram.len()
        );
        out
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct LatencySummary {
    pub samples: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_give_percentiles_of_all() {
        let (mut a, mut b) = (Latencies::new(), Latencies::new());
        assert!(a.summary().is_none());
        (1..=500).for_each(|ms| a.record(ms * 1_000_000, 1));
        (501..=1000).for_each(|ms| b.record(ms * 1_000_000, 1));
        a.merge(&b);
        let summary = a.summary().unwrap();
        assert_eq!(summary.samples, 1000);
        assert!((summary.p50_us / 500_000.0 - 1.0).abs() < 0.002, "{summary:?}");
        assert!((summary.p99_us / 990_000.0 - 1.0).abs() < 0.002, "{summary:?}");
        let curve = a.curve();
        assert!(curve.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{curve:?}");
        // A thousand samples tell nothing of the 99.99th percentile.
        assert!(curve.iter().any(|(p, _)| *p == 99.9) && !curve.iter().any(|(p, _)| *p == 99.99));
    }

    #[test]
    fn a_log_is_read_back_by_the_library() {
        use hdrhistogram::serialization::Deserializer;
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let mut latencies = Latencies::new();
        (1..=100).for_each(|ms| latencies.record(ms * 1_000_000, 1));
        let log =
            Latencies::log(&[latencies.clone(), latencies.clone()], Duration::from_secs(2), "x").unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(&log).map(|entry| entry.unwrap()).collect();
        let intervals = entries.iter().filter(|entry| matches!(entry, LogEntry::Interval(_)));
        assert_eq!(intervals.count(), 2);
        let _ = Deserializer::new();
        let text = latencies.distribution();
        assert!(text.contains("Total count    =          100"), "{text}");
    }
}
