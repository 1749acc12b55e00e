//! Histograms of a sweep in the formats of HdrHistogram's own tools.
//!
//! For each point: `NAME.hlog`, an interval log (V2, compressed) with one line for each measurement, and
//! `NAME.hgrm`, the percentile distribution of all of them in milliseconds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::PointLatencies;
use super::result::SweepResult;
use crate::histogram::Latencies;

pub fn write(dir: &Path, result: &SweepResult, latencies: &[PointLatencies]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    for (point, runs) in result.points.iter().zip(latencies) {
        let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
        let (broker, batch) = (plain(&point.name), plain(&point.batch));
        let name = format!("{broker}-p{}-b{batch}-acks{}", point.partitions, plain(&point.acks));
        let save = |ending: &str, bytes: &[u8]| {
            let path = dir.join(format!("{name}.{ending}"));
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        };
        let seconds = point.middle_run().and_then(|run| run.timeline.last()).map_or(0.0, |last| last.at_s);
        save("hlog", &Latencies::log(runs, Duration::from_secs_f64(seconds), &point.command)?)?;
        let mut all = Latencies::new();
        runs.iter().for_each(|run| all.merge(run));
        save("hgrm", all.distribution().as_bytes())?;
    }
    Ok(())
}
