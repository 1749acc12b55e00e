//! The machine that a sweep ran on, as far as it bears on the figures.

use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
}

pub fn describe() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let kib = field(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = kib.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name"),
        cores: read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
        memory_gib: (kib + (1 << 19)) >> 20,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { processor, cores, memory_gib, kernel } = self;
        write!(f, "{cores} cores ({processor}), {memory_gib} GiB, Linux {kernel}")
    }
}
