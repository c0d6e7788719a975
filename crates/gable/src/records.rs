//! Schedules that were chosen by measurement: one JSON object to a line, with what was measured, where and by which version.
//!
//! Records are data from elsewhere. One that another version wrote, that names another device or target, or a schedule that
//! this version does not write for the region, is refused with the reason; one whose region a model does not have is not
//! used.

use crate::{Error, Target};
use gable_codegen::{Choices, Tunable};
use gable_roofline::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The version that writes and reads records.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Largest file of records that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// One region's schedule, and how it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRecord {
    /// Version of Gable.
    pub gable_version: String,
    /// The device's name.
    pub gpu: String,
    /// Identity of the board.
    pub uuid: String,
    /// Version of the driver, where the system says.
    pub driver: Option<String>,
    /// Clock of the multiprocessors right after, in MHz, where the system says.
    pub sm_mhz: Option<u32>,
    /// Clock of the memory.
    pub memory_mhz: Option<u32>,
    /// The target that was compiled for.
    pub target: String,
    /// The problem in one line.
    pub problem: String,
    /// The problem and what is fused around it.
    pub region: String,
    /// The schedule.
    pub schedule: String,
    /// Its time.
    pub time: RecordedTime,
    /// What the rule chooses.
    pub default_schedule: String,
    /// The time of that.
    pub default_time: RecordedTime,
    /// Schedules that were timed.
    pub tried: usize,
}

/// A measured time in seconds: of all regions of the kind in a model, in sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedTime {
    /// Samples.
    pub n: usize,
    /// A quarter of the samples are smaller.
    pub lower_quartile_s: f64,
    /// Half of them are.
    pub median_s: f64,
    /// Three quarters are.
    pub upper_quartile_s: f64,
}

/// Records from a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    path: PathBuf,
    /// With their lines, from 1.
    list: Vec<(usize, ScheduleRecord)>,
}

/// Schedules of common products, chosen on the machines of the table that were at hand.
const BUNDLED: &str = include_str!("../records/h200.jsonl");

impl Records {
    /// The records that come with this version: schedules of common products, chosen by measurement.
    pub fn bundled() -> Result<Records, Error> {
        Records::parse(Path::new("bundled records"), BUNDLED)
    }

    /// Reads a file of records.
    pub fn open(path: &Path) -> Result<Records, Error> {
        let io = |source| Error::Io { action: "read", path: path.to_path_buf(), source };
        let bytes = std::fs::metadata(path).map_err(io)?.len();
        if bytes > MAX_FILE_BYTES {
            let message = format!("has {bytes} bytes, records have at most {MAX_FILE_BYTES}");
            return Err(Error::Records { path: path.to_path_buf(), message });
        }
        Records::parse(path, &std::fs::read_to_string(path).map_err(io)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Records, Error> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let record = |(line, text): (usize, &str)| {
            let record = serde_json::from_str(text).map_err(|error| Error::Records {
                path: path.into(),
                message: format!("line {}: {error}", line + 1),
            })?;
            Ok((line + 1, record))
        };
        Ok(Records { path: path.into(), list: lines.map(record).collect::<Result<_, Error>>()? })
    }

    /// Refuses what can be used for none of `targets`, or was measured on another device than `here`.
    pub fn check(&self, targets: &[Target], here: Option<&str>) -> Result<(), Error> {
        for (line, record) in &self.list {
            if record.gable_version != VERSION {
                let version = &record.gable_version;
                return Err(self.refused(*line, format!("gable {version} made it, this is {VERSION}: tune again")));
            }
            let Some(machine) = Machine::of_device(&record.gpu) else {
                return Err(self.refused(*line, format!("the table of machines has no {}", record.gpu)));
            };
            if machine.target != record.target {
                let reason = format!("it is for {}, but {} runs {}", record.target, record.gpu, machine.target);
                return Err(self.refused(*line, reason));
            }
            if !targets.iter().any(|target| target.name() == record.target) {
                let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
                let reason = format!("it is for {} ({}), not for {}", record.target, record.gpu, names.join(", "));
                return Err(self.refused(*line, reason));
            }
            if let Some(here) = here.filter(|here| *here != record.gpu) {
                return Err(self.refused(*line, format!("it was measured on {}, this device is {here}", record.gpu)));
            }
        }
        Ok(())
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ScheduleRecord> {
        self.list.iter().map(|(_, record)| record)
    }

    /// Those for the device here; all where none is.
    pub fn for_device(mut self, here: Option<&str>) -> Records {
        self.list.retain(|(_, record)| here.is_none_or(|here| here == record.gpu));
        self
    }

    /// Whether there are records for a target.
    pub fn has(&self, target: Target) -> bool {
        self.iter().any(|record| record.target == target.name())
    }

    /// The schedules for the regions of a model that `keys` has; that this version still writes them is left to whoever does.
    pub(crate) fn choices_among(&self, target: Target, keys: &BTreeSet<String>) -> Choices {
        let used = self.iter().filter(|record| record.target == target.name() && keys.contains(&record.region));
        Choices { by_region: used.map(|record| (record.region.clone(), record.schedule.clone())).collect() }
    }

    /// The schedules for the regions of a model, by the last record of each region.
    pub fn choices(&self, target: Target, tunables: &[Tunable]) -> Result<Choices, Error> {
        let mut choices = Choices::default();
        for (line, record) in self.list.iter().filter(|(_, record)| record.target == target.name()) {
            let Some(tunable) = tunables.iter().find(|tunable| tunable.key == record.region) else { continue };
            if !tunable.candidates.contains(&record.schedule) {
                let reason = format!("this version has no schedule `{}` for {}", record.schedule, record.problem);
                return Err(self.refused(*line, reason));
            }
            choices.by_region.insert(record.region.clone(), record.schedule.clone());
        }
        Ok(choices)
    }

    fn refused(&self, line: usize, reason: String) -> Error {
        Error::Records { path: self.path.clone(), message: format!("line {line}: the record cannot be used: {reason}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ScheduleRecord {
        let time = RecordedTime { n: 30, lower_quartile_s: 1e-5, median_s: 1.1e-5, upper_quartile_s: 1.2e-5 };
        ScheduleRecord {
            gable_version: VERSION.into(),
            gpu: "NVIDIA H200".into(),
            uuid: "GPU-1".into(),
            driver: None,
            sm_mhz: Some(1980),
            memory_mhz: None,
            target: "sm_90a".into(),
            problem: "64x64x64 bf16 to bf16".into(),
            region: "64x64x64 bf16 to bf16: matmul bf16[64, 64]".into(),
            schedule: "fast".into(),
            time,
            default_schedule: "plain".into(),
            default_time: time,
            tried: 2,
        }
    }

    fn records(list: &[ScheduleRecord]) -> Records {
        let line = |record| serde_json::to_string(record).expect("numbers and texts") + "\n";
        let text: String = list.iter().map(line).collect();
        Records::parse(Path::new("r.jsonl"), &text).expect("what was written can be read")
    }

    fn tunable() -> Tunable {
        Tunable {
            key: record().region,
            problem: record().problem,
            regions: vec!["matmul".into()],
            candidates: vec!["plain".into(), "fast".into()],
        }
    }

    #[test]
    fn a_record_chooses_for_its_region_alone() {
        let other = ScheduleRecord { region: "elsewhere".into(), schedule: "unknown".into(), ..record() };
        let records = records(&[record(), other]);
        records.check(&[Target::Sm90a, Target::Sm100a], Some("NVIDIA H200")).expect("it is this device's");
        let choices = records.choices(Target::Sm90a, &[tunable()]).expect("the schedule is known");
        assert_eq!(choices.by_region.into_iter().collect::<Vec<_>>(), [(record().region, "fast".into())]);
        let elsewhere = records.choices(Target::Sm100a, &[tunable()]).expect("it has no records");
        assert!(elsewhere.by_region.is_empty());
    }

    #[test]
    fn stale_and_foreign_records_are_refused_with_the_reason() {
        let refused = |record: ScheduleRecord, targets: &[Target], here| {
            let records = records(&[record]);
            let checked = records.check(targets, here).and_then(|()| records.choices(targets[0], &[tunable()]));
            let message = checked.expect_err("it is refused").to_string();
            message.strip_prefix("r.jsonl: line 1: the record cannot be used: ").expect("it names the line").to_string()
        };
        let hopper = &[Target::Sm90a][..];
        let old = ScheduleRecord { gable_version: "0.0.1".into(), ..record() };
        assert_eq!(refused(old, hopper, None), format!("gable 0.0.1 made it, this is {VERSION}: tune again"));
        assert_eq!(refused(record(), &[Target::Sm100a], None), "it is for sm_90a (NVIDIA H200), not for sm_100a");
        assert_eq!(
            refused(record(), hopper, Some("NVIDIA H100")),
            "it was measured on NVIDIA H200, this device is NVIDIA H100"
        );
        let mixed = ScheduleRecord { target: "sm_100a".into(), ..record() };
        assert_eq!(refused(mixed, hopper, None), "it is for sm_100a, but NVIDIA H200 runs sm_90a");
        let nowhere = ScheduleRecord { gpu: "Abacus".into(), ..record() };
        assert_eq!(refused(nowhere, hopper, None), "the table of machines has no Abacus");
        let gone = ScheduleRecord { schedule: "gone".into(), ..record() };
        assert_eq!(refused(gone, hopper, None), "this version has no schedule `gone` for 64x64x64 bf16 to bf16");
        let error = Records::parse(Path::new("r.jsonl"), "\n{\"gpu\": 3}").expect_err("it is no record").to_string();
        assert!(error.starts_with("r.jsonl: line 2: "), "{error}");
    }
}
