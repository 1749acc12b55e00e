//! The verdict: what was checked, and what came out, in one line each.
//!
//! Promises: what was not checked says so and is never "ok"; a failed line makes the whole fail.

use serde::Serialize;

use crate::checker::Checked;
use crate::evidence::FaultKind;
use crate::units::thousands;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Failed,
    NotChecked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub name: &'static str,
    pub status: Status,
    pub text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub lines: Vec<Line>,
    pub examples: Vec<String>,
}

/// How records were put and read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Kafka,
    /// It has shards in place of partitions and no batches; the numbers of records rise, and are not dense.
    Kinesis,
}

/// What is known of the run besides what was read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    pub protocol: Protocol,
    /// The acks asked for promise that records are kept.
    pub acks_promise: bool,
    pub crc_verified: bool,
    pub refused: u64,
    pub refused_is_fine: bool,
    pub answers_out_of_order: u64,
    /// Everything was read once more, and compared.
    pub read_again: bool,
}

impl Verdict {
    pub fn failed(&self) -> bool {
        self.lines.iter().any(|line| line.status == Status::Failed)
    }

    fn add(&mut self, name: &'static str, status: Status, text: String) {
        self.lines.push(Line { name, status, text });
    }

    pub(crate) fn add_checked(&mut self, name: &'static str, faults: &[(u64, &str)], ok: String) {
        let bad: Vec<String> = faults
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", thousands(*count)))
            .collect();
        if bad.is_empty() {
            self.add(name, Status::Ok, ok);
        } else {
            self.add(name, Status::Failed, bad.join(", "));
        }
    }

    /// Of a run that read nothing back.
    pub fn nothing_read(why: &str, circumstances: Circumstances) -> Self {
        let mut verdict = Self::default();
        for name in ["order", "loss", "duplicates", "strays", "offsets", "headers"] {
            verdict.add(name, Status::NotChecked, why.to_owned());
        }
        verdict.add_answers(circumstances);
        verdict
    }

    pub fn of(checked: &Checked, circumstances: Circumstances) -> Self {
        let mut verdict = Self::default();
        let faults = |kind| checked.faults.of(kind);
        let (keys, read) = (thousands(checked.keys), thousands(checked.records_read));
        let kinesis = circumstances.protocol == Protocol::Kinesis;
        let partition = if kinesis { "shard" } else { "partition" };
        verdict.add_checked(
            "order",
            &[
                (faults(FaultKind::Reordered), "records after a later one of their key"),
                (faults(FaultKind::MovedPartition), "records or keys in another partition"),
            ],
            format!("{keys} keys, {read} records: one {partition} per key, sequences rise by one"),
        );
        verdict.add_loss(checked, circumstances);
        if circumstances.read_again {
            let gone = faults(FaultKind::ReadNotDurable);
            let ok = "all that was read before is still there".to_owned();
            verdict.add_checked("durability", &[(gone, "records were read and then gone")], ok);
        }
        let again = faults(FaultKind::Duplicate);
        verdict.add_checked("duplicates", &[(again, "records more than once")], "0".to_owned());
        let strays = faults(FaultKind::NeverSent);
        verdict.add_checked("strays", &[(strays, "records that were not sent")], "0 never sent".to_owned());
        verdict.add_checked(
            "offsets",
            &[
                (faults(FaultKind::OffsetGap), "offsets without a record"),
                (faults(FaultKind::OffsetBack), "batches at an offset that had been passed"),
                (faults(FaultKind::PollSkipped), "offsets that a poll skipped"),
                (faults(FaultKind::PollBack), "polls that went back"),
                (faults(FaultKind::TwoValues), "offsets with two values"),
            ],
            if kinesis {
                format!("sequence numbers rise in {} shards", thousands(checked.partitions_read))
            } else {
                format!("dense in {} partitions", thousands(checked.partitions_read))
            },
        );
        let crc = match (circumstances.crc_verified, kinesis) {
            (true, false) => "CRC-32C of every batch matches",
            (true, true) => "CRC-32C of every value matches",
            (false, _) => "CRC not computed",
        };
        let corrupt = faults(FaultKind::Corrupt);
        verdict.add_checked("content", &[(corrupt, "batches or records not as written")], crc.to_owned());
        let lying = faults(FaultKind::LyingHeader);
        if !kinesis {
            verdict.add_checked(
                "headers",
                &[(lying, "batches whose header does not state the largest timestamp of their records")],
                "every batch states the largest timestamp of its records".to_owned(),
            );
        }
        verdict.add_answers(circumstances);
        verdict.examples.clone_from(&checked.faults.examples);
        verdict
    }

    fn add_loss(&mut self, checked: &Checked, circumstances: Circumstances) {
        let (acked, read) = (thousands(checked.records_acked), thousands(checked.records_read));
        if !circumstances.acks_promise {
            let sent = thousands(checked.records_maybe);
            let text = format!("acks=0 promises nothing ({sent} sent, {read} read)");
            return self.add("loss", Status::NotChecked, text);
        }
        if !checked.complete {
            let text = format!("the broker went away before all was read ({acked} acked, {read} read)");
            return self.add("loss", Status::NotChecked, text);
        }
        let mut text = format!("{acked} acked, {read} read");
        if checked.records_maybe > 0 {
            let maybe = thousands(checked.records_maybe);
            text = format!("{text}; {maybe} not acked, unknown: may be there or not");
        }
        let lost = checked.faults.of(FaultKind::Lost);
        self.add_checked("loss", &[(lost, "acked records were not read")], text);
    }

    fn add_answers(&mut self, circumstances: Circumstances) {
        let wrong = circumstances.answers_out_of_order;
        if wrong > 0 {
            self.add_checked(
                "answers",
                &[(wrong, "answers out of order or with offsets that do not rise")],
                String::new(),
            );
        }
        if circumstances.refused > 0 {
            let what = if circumstances.protocol == Protocol::Kinesis { "records" } else { "requests" };
            let text = format!("{} {what}: not acked, unknown", thousands(circumstances.refused));
            let status = if circumstances.refused_is_fine { Status::Ok } else { Status::Failed };
            self.add("refused", status, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(kind: Option<FaultKind>) -> Checked {
        let mut faults = crate::checker::Faults::default();
        faults.counts.extend(kind.map(|kind| (kind, 3)));
        Checked {
            keys: 1000,
            records_read: 1_234_567,
            records_acked: 1_234_567,
            records_maybe: 0,
            partitions_read: 4,
            complete: true,
            faults,
        }
    }

    fn failed_lines(checked: &Checked, circumstances: Circumstances) -> Vec<&'static str> {
        let lines = Verdict::of(checked, circumstances).lines;
        lines.into_iter().filter(|line| line.status == Status::Failed).map(|line| line.name).collect()
    }

    #[test]
    fn each_fault_fails_its_own_line() {
        let fine = Circumstances {
            acks_promise: true,
            crc_verified: true,
            read_again: true,
            ..Circumstances::default()
        };
        assert!(failed_lines(&checked(None), fine).is_empty());
        for (kind, line) in [
            (FaultKind::Lost, "loss"),
            (FaultKind::Duplicate, "duplicates"),
            (FaultKind::Reordered, "order"),
            (FaultKind::MovedPartition, "order"),
            (FaultKind::NeverSent, "strays"),
            (FaultKind::OffsetGap, "offsets"),
            (FaultKind::OffsetBack, "offsets"),
            (FaultKind::PollSkipped, "offsets"),
            (FaultKind::PollBack, "offsets"),
            (FaultKind::TwoValues, "offsets"),
            (FaultKind::ReadNotDurable, "durability"),
            (FaultKind::Corrupt, "content"),
            (FaultKind::LyingHeader, "headers"),
        ] {
            assert_eq!(failed_lines(&checked(Some(kind)), fine), [line]);
        }
        let refused = Circumstances { refused: 1, ..fine };
        assert_eq!(failed_lines(&checked(None), refused), ["refused"]);
        let swapped = Circumstances { answers_out_of_order: 1, ..fine };
        assert_eq!(failed_lines(&checked(None), swapped), ["answers"]);
    }

    #[test]
    fn what_was_not_read_is_not_ok() {
        let verdict = Verdict::nothing_read("produce only", Circumstances::default());
        assert!(!verdict.failed());
        assert!(verdict.lines.iter().all(|line| line.status == Status::NotChecked));
    }
}
