//! What is kept of one measurement of a sweep.

use serde::{Deserialize, Serialize};

use crate::report::{Report, TimePoint};
use crate::verdict::Status;

/// One measurement; what the broker does not tell is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Why there are no figures, if so.
    pub error: Option<String>,
    pub records_per_s: f64,
    /// Record batches as they are on the wire, 10^6 bytes.
    pub mb_per_s: f64,
    /// "open loop", "closed loop" or "until written".
    pub latency_kind: String,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    pub timeline: Vec<TimePoint>,
    pub server_cpu_s_per_million_records: Option<f64>,
    pub server_cpu_s_per_gb: Option<f64>,
    pub server_busy_share: Option<f64>,
    pub rss_bytes: Option<u64>,
    pub disk_bytes_per_byte: Option<f64>,
    pub flushes_per_s: Option<f64>,
    /// How fast readers from the beginning came to the end, each of them; absent if there were none or one did not.
    pub catch_up_mb_per_s: Option<f64>,
    pub load_busy_share: f64,
    /// Names of what failed, and whether anything was checked at all.
    pub failed_checks: Vec<String>,
    pub checked: bool,
    pub warnings: Vec<String>,
    pub exit_code: u8,
}

/// The mean of the groups that catch up.
fn catch_up_rate(report: &Report) -> Option<f64> {
    let readers = &report.consumed.as_ref()?.readers;
    let catching_up = || readers.iter().filter(|reader| reader.name.starts_with("catch-up"));
    let rates: Option<Vec<f64>> = catching_up().map(|reader| reader.caught_up_bytes_per_s).collect();
    let rates = rates.filter(|rates| !rates.is_empty())?;
    Some(rates.iter().sum::<f64>() / rates.len() as f64 / 1e6)
}

impl Figures {
    pub fn of(report: &Report) -> Self {
        let (produced, cost) = (&report.produced, &report.cost);
        let latency = produced.latency.unwrap_or_default();
        let lines = &report.verdict.lines;
        let failed = lines.iter().filter(|line| line.status == Status::Failed);
        let mut warnings = report.warnings.clone();
        warnings.extend(report.incomplete.clone());
        Self {
            error: produced.latency.is_none().then(|| "nothing was acked".to_owned()),
            records_per_s: produced.records_per_s,
            mb_per_s: produced.batch_bytes_per_s / 1e6,
            latency_kind: produced.latency_kind.to_owned(),
            p50_us: latency.p50_us,
            p90_us: latency.p90_us,
            p99_us: latency.p99_us,
            p999_us: latency.p999_us,
            max_us: latency.max_us,
            timeline: report.timeline.clone(),
            server_cpu_s_per_million_records: cost.server_cpu_s_per_million_records,
            server_cpu_s_per_gb: cost.server_cpu_s_per_gb,
            server_busy_share: cost.server_busy_share,
            rss_bytes: cost.rss_bytes,
            disk_bytes_per_byte: cost.disk_bytes_per_byte,
            flushes_per_s: cost.flushes_per_s,
            catch_up_mb_per_s: catch_up_rate(report),
            load_busy_share: report.cpu.load_busy_share,
            failed_checks: failed.map(|line| line.name.to_owned()).collect(),
            checked: lines.iter().any(|line| line.status == Status::Ok),
            warnings,
            exit_code: report.exit_code,
        }
    }

    pub fn failed(error: String) -> Self {
        Self { error: Some(error), exit_code: 2, ..Self::default() }
    }
}
