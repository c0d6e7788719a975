//! The least time of a cost under a set of roofs, and what a measured or predicted time says about it.

use crate::machine::{Machine, Source};
use gable_ir::{Cost, Unit};
use serde::Serialize;

/// What even an empty kernel takes inside a CUDA graph, from the end of one to the end of the next. An assumption, for
/// predictions only.
const LAUNCH_SECONDS: f64 = 2.2e-6;

/// Share of the bound that a plain streaming or tiled kernel is expected to reach, for predictions only.
const EXPECTED_SHARE: f64 = 0.75;

/// The roofs of one machine: measured where it was possible, else from its data sheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofs {
    /// The machine.
    pub machine: &'static Machine,
    /// Bytes per second of device memory.
    pub memory_bytes_per_s: f64,
    /// Where the memory roof comes from. Arithmetic roofs are the data sheet's.
    pub memory_source: Source,
}

impl Roofs {
    /// Roofs by the data sheet.
    pub fn data_sheet(machine: &'static Machine) -> Roofs {
        Roofs { machine, memory_bytes_per_s: machine.memory_bytes_per_s(), memory_source: Source::DataSheet }
    }

    /// Roofs of a board whose memory bandwidth was measured.
    pub fn measured(machine: &'static Machine, memory_bytes_per_s: f64) -> Roofs {
        Roofs { machine, memory_bytes_per_s, memory_source: Source::Measured }
    }

    /// The least time for a cost: every need at its roof, all at once.
    pub fn bound(&self, cost: &Cost) -> Bound {
        let memory = cost.total_bytes() / self.memory_bytes_per_s;
        let mut bound = Bound { seconds: memory, binding: Binding::Memory };
        for (&unit, &flops) in &cost.flops {
            let seconds = flops / self.machine.flops_per_s(unit);
            if seconds > bound.seconds {
                bound = Bound { seconds, binding: Binding::Unit(unit) };
            }
        }
        bound
    }

    /// The time that a kernel for this cost is expected to take: its bound at the expected share, and a launch.
    /// It has not been measured and must be called predicted.
    pub fn predict(&self, cost: &Cost) -> Prediction {
        let bound = self.bound(cost);
        Prediction { seconds: bound.seconds / EXPECTED_SHARE + LAUNCH_SECONDS, binding: bound.binding }
    }
}

/// What limits a cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Binding {
    /// Device memory.
    Memory,
    /// An arithmetic unit.
    Unit(Unit),
}

impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Binding::Memory => f.write_str("dram"),
            Binding::Unit(unit) => unit.fmt(f),
        }
    }
}

/// The least time for a cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// In seconds.
    pub seconds: f64,
    /// What sets it.
    pub binding: Binding,
}

/// An expected time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// In seconds.
    pub seconds: f64,
    /// What limits it most.
    pub binding: Binding,
}

/// How much of its roof a time reaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Share {
    /// A share from 0 to 1.
    Of {
        /// The share.
        share: f64,
    },
    /// The time is below the least possible: the measurement or the roof is wrong.
    Impossible {
        /// The ratio, above 1.
        ratio: f64,
    },
    /// Nothing to compare: no work, or no time.
    None,
}

/// Relates a measured time to its bound. Both in seconds.
pub fn share(bound_seconds: f64, seconds: f64) -> Share {
    if !(bound_seconds > 0.0 && seconds > 0.0) {
        return Share::None;
    }
    let ratio = bound_seconds / seconds;
    if ratio > 1.0 { Share::Impossible { ratio } } else { Share::Of { share: ratio } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gable_tensor::DType;

    fn h200() -> Roofs {
        Roofs::data_sheet(Machine::named("h200").expect("in the table"))
    }

    /// Data-sheet peaks in TFLOPS that the per-clock rates must give back to within half a percent.
    #[test]
    fn rates_reproduce_the_sheets() {
        let contraction = |input| Unit::Contraction { input, acc: DType::F32 };
        let sheet = [
            ("h200", contraction(DType::BF16), 989.4),
            ("h200", contraction(DType::E4M3), 1978.9),
            ("h200", contraction(DType::Tf32), 494.7),
            ("b200", contraction(DType::BF16), 2250.0),
            ("b200", contraction(DType::E2M1), 9000.0),
            ("rtx5090", contraction(DType::BF16), 209.5),
            ("rtx5090", contraction(DType::E2M1), 1676.0),
            ("rtx5090", Unit::Float(DType::F32), 104.8),
            ("rtxpro6000", contraction(DType::BF16), 503.8),
        ];
        for (machine, unit, tflops) in sheet {
            let machine = Machine::named(machine).expect("in the table");
            let found = machine.flops_per_s(unit) / 1e12;
            assert!((found / tflops - 1.0).abs() < 5e-3, "{} {unit}: {found} TFLOPS, sheet {tflops}", machine.name);
        }
    }

    #[test]
    fn the_larger_need_binds() {
        let unit = Unit::Contraction { input: DType::BF16, acc: DType::F32 };
        let small = Cost { read_bytes: vec![4.8e9], ..Cost::default() }.with(unit, 1e9);
        assert_eq!(h200().bound(&small).binding, Binding::Memory);
        assert!((h200().bound(&small).seconds - 1e-3).abs() < 1e-12);
        let large = Cost { read_bytes: vec![1e6], ..Cost::default() }.with(unit, 1e12);
        assert_eq!(h200().bound(&large).binding, Binding::Unit(unit));
    }

    #[test]
    fn faster_than_the_roof_is_impossible_not_a_success() {
        assert_eq!(share(2.0, 4.0), Share::Of { share: 0.5 });
        assert_eq!(share(2.0, 1.0), Share::Impossible { ratio: 2.0 });
        assert_eq!(share(0.0, 1.0), Share::None);
    }

    #[test]
    fn devices_are_recognised_by_their_driver_name() {
        assert_eq!(Machine::of_device("NVIDIA H200").map(|m| m.name), Some("h200"));
        assert_eq!(Machine::of_device("NVIDIA GeForce RTX 5070 Ti").map(|m| m.name), Some("rtx5070ti"));
        assert_eq!(Machine::of_device("NVIDIA GeForce RTX 5070").map(|m| m.name), Some("rtx5070"));
        assert_eq!(Machine::of_device("Tesla T4"), None);
    }
}
