//! The roofline report: what each kernel needs, how long it took or is expected to take, and how far that is from its
//! roof.
//!
//! Operations and bytes come from the graph's cost. Times are measured, with their circumstances, or predicted, and the
//! word stands in every row. A share above 100 % is an error of the measurement or of the roof, never a success:
//! [`Report::impossible`] lists such rows.

use gable_artifact::{Artifact, Resources, Step, StepCost, TargetPlan};
use gable_ir::{Cost, Unit};
use gable_roofline::{Machine, Roofs, Share, share};
use gable_runtime::{Profile, Timing};
use serde::Serialize;
use std::fmt;

/// Times and bounds of one compiled model on one machine.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// Version of Gable.
    pub gable_version: &'static str,
    /// The plan's target.
    pub target: String,
    /// The machine whose roofs are used.
    pub machine: &'static str,
    /// Device memory roof in bytes per second, and whether it was measured.
    pub memory_roof: MemoryRoof,
    /// Where the arithmetic roofs come from.
    pub arithmetic_roofs: &'static str,
    /// Device, clocks and method, when times were measured.
    pub measurement: Option<Profile>,
    /// One row for each step of the plan.
    pub rows: Vec<Row>,
    /// The whole model: every weight and input read once, every output written once.
    pub total: Row,
}

/// The device memory roof.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryRoof {
    /// Bytes per second.
    pub bytes_per_s: f64,
    /// `measured` or `data sheet`.
    pub source: &'static str,
}

/// One kernel, or the whole model.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The region's name.
    pub label: String,
    /// The kernel's name.
    pub kernel: Option<String>,
    /// Instruction class of its arithmetic.
    pub class: Option<String>,
    /// Operators, in order.
    pub ops: Vec<String>,
    /// Operations, a multiply-add counting as two.
    pub flops: f64,
    /// Compulsory bytes.
    pub bytes: f64,
    /// Least possible time in seconds.
    pub bound_s: f64,
    /// The roof that binds.
    pub binding: String,
    /// Measured or predicted.
    pub time: Time,
    /// Bound over measured time.
    pub share: Share,
    /// The assembler's figures.
    pub resources: Option<Resources>,
}

/// A time, and what it is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Time {
    /// Measured on the device, with the L2 cache overwritten before.
    Measured {
        /// The samples' spread.
        cold: Timing,
        /// The same in the plan's sequence, with what the steps before it left in the caches.
        warm: Timing,
    },
    /// Not measured: what the cost model expects on the report's machine.
    Predicted {
        /// In seconds.
        seconds: f64,
    },
}

impl Time {
    /// The figure that shares are made of: the median, cold, or the prediction.
    pub fn seconds(&self) -> f64 {
        match self {
            Time::Measured { cold, .. } => cold.median_s,
            Time::Predicted { seconds } => *seconds,
        }
    }
}

impl Report {
    /// What is expected of a plan on a machine that is not here.
    pub fn predicted(artifact: &Artifact, plan: &TargetPlan, machine: &'static Machine) -> Report {
        Report::build(artifact, plan, Roofs::data_sheet(machine), None)
    }

    /// What was measured of a plan, held against `roofs`.
    pub fn measured(artifact: &Artifact, plan: &TargetPlan, roofs: Roofs, profile: Profile) -> Report {
        Report::build(artifact, plan, roofs, Some(profile))
    }

    fn build(artifact: &Artifact, plan: &TargetPlan, roofs: Roofs, profile: Option<Profile>) -> Report {
        let rows: Vec<Row> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(position, step)| {
                let cost = step_cost(&step.cost);
                let timing = profile.as_ref().and_then(|p| p.steps.get(position));
                let time = match timing {
                    Some(timing) => Time::Measured { cold: timing.cold, warm: timing.in_sequence },
                    None => Time::Predicted { seconds: roofs.predict(&cost).seconds },
                };
                let row = Row::new(step.label.clone(), &cost, &roofs, time);
                row.of_step(plan, step)
            })
            .collect();
        let whole = whole_cost(artifact, plan);
        let time = match profile.as_ref().and_then(|p| p.total_cold.map(|cold| (cold, p.total))) {
            Some((cold, warm)) => Time::Measured { cold, warm },
            None => Time::Predicted { seconds: rows.iter().map(|row| row.time.seconds()).sum() },
        };
        Report {
            model: artifact.provenance.model_name.clone(),
            gable_version: env!("CARGO_PKG_VERSION"),
            target: plan.target.clone(),
            machine: roofs.machine.name,
            memory_roof: MemoryRoof { bytes_per_s: roofs.memory_bytes_per_s, source: roofs.memory_source.word() },
            arithmetic_roofs: roofs.machine.documents,
            total: Row::new("total".into(), &whole, &roofs, time),
            rows,
            measurement: profile,
        }
    }

    /// Rows that claim to be faster than their roof.
    pub fn impossible(&self) -> Vec<&Row> {
        let all = self.rows.iter().chain([&self.total]);
        all.filter(|row| matches!(row.share, Share::Impossible { .. })).collect()
    }

    /// Whether every time was measured.
    pub fn is_measured(&self) -> bool {
        self.measurement.is_some()
    }
}

impl Row {
    fn new(label: String, cost: &Cost, roofs: &Roofs, time: Time) -> Row {
        let bound = roofs.bound(cost);
        Row {
            label,
            kernel: None,
            class: None,
            ops: Vec::new(),
            flops: cost.total_flops(),
            bytes: cost.total_bytes(),
            bound_s: bound.seconds,
            binding: bound.binding.to_string(),
            // A prediction is made from the bound: its share of it would say nothing.
            share: match time {
                Time::Measured { .. } => share(bound.seconds, time.seconds()),
                Time::Predicted { .. } => Share::None,
            },
            time,
            resources: None,
        }
    }

    fn of_step(mut self, plan: &TargetPlan, step: &Step) -> Row {
        self.ops = step.cost.ops.clone();
        if let Some(kernel) = step.launch().and_then(|launch| plan.kernels.get(launch.kernel)) {
            self.kernel = Some(kernel.name.clone());
            self.class = Some(kernel.class.clone());
            self.resources = kernel.resources;
        }
        self
    }
}

/// The cost that a step carries. Units of a later version that this one does not know have no roof and do not bind.
pub(crate) fn step_cost(cost: &StepCost) -> Cost {
    let known = |(unit, &flops): (&String, &f64)| Some((unit.parse::<Unit>().ok()?, flops));
    Cost {
        flops: cost.flops.iter().filter_map(known).collect(),
        read_bytes: vec![cost.bytes_read as f64],
        written_bytes: cost.bytes_written as f64,
    }
}

/// The model's own needs: all arithmetic, but only inputs, weights and outputs as traffic. What flows between kernels
/// may stay in the caches, so it does not bind the whole.
fn whole_cost(artifact: &Artifact, plan: &TargetPlan) -> Cost {
    let mut whole = Cost::default();
    for step in &plan.steps {
        for (unit, flops) in step_cost(&step.cost).flops {
            whole = whole.with(unit, flops);
        }
    }
    let size = |dtype: gable_tensor::DType, shape: &[usize]| (dtype.bytes() * shape.iter().product::<usize>()) as f64;
    // A weight that only a part is read of (an embedding table) counts as what its steps read at most.
    let reads: f64 = plan.steps.iter().map(|step| step.cost.bytes_read as f64).sum();
    let weights: f64 = artifact.weights.iter().map(|weight| size(weight.dtype, &weight.shape)).sum();
    let inputs: f64 = artifact.inputs.iter().map(|input| size(input.dtype, &input.shape)).sum();
    whole.read_bytes = vec![(weights + inputs).min(reads)];
    whole.written_bytes = artifact.outputs.iter().map(|output| size(output.dtype, &output.shape)).sum();
    whole
}

/// A time in the unit that reads best.
pub fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.3} s"),
        v if v >= 1e-3 => format!("{:.3} ms", v * 1e3),
        v => format!("{:.2} us", v * 1e6),
    }
}

/// A count with a decimal prefix.
pub fn quantity(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value {
        v if v >= 1e12 => (v / 1e12, "T"),
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    format!("{scaled:.2} {prefix}{unit}")
}

fn share_text(share: &Share) -> String {
    match share {
        Share::Of { share } => format!("{:.1} %", share * 100.0),
        Share::Impossible { ratio } => format!("!{:.0} %", ratio * 100.0),
        Share::None => "-".into(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_measured() { "measured" } else { "predicted" };
        writeln!(f, "{} for {} on {}: {word}", self.model, self.target, self.machine)?;
        let roof = quantity(self.memory_roof.bytes_per_s, "B/s");
        writeln!(
            f,
            "roofs: memory {roof} ({}); arithmetic by data sheet, dense ({})",
            self.memory_roof.source, self.arithmetic_roofs
        )?;
        if let Some(profile) = &self.measurement {
            write_measurement(f, profile)?;
        }
        writeln!(f)?;
        let headers =
            ["region", "kernel", "class", "flops", "bytes", "bound", "binds", word, "share", "spread", "regs"];
        let mut lines: Vec<Vec<String>> = vec![headers.iter().map(ToString::to_string).collect()];
        lines.extend(self.rows.iter().chain([&self.total]).map(cells));
        write_table(f, &lines)?;
        let impossible = self.impossible();
        if !impossible.is_empty() {
            writeln!(
                f,
                "\n{} row(s) marked ! are faster than their roof: the measurement or the roof is wrong",
                impossible.len()
            )?;
        }
        Ok(())
    }
}

fn write_measurement(f: &mut fmt::Formatter<'_>, profile: &Profile) -> fmt::Result {
    write!(f, "device: {}", profile.device.name)?;
    if let Some(cuda) = &profile.device.cuda {
        let driver = cuda.driver_version.as_deref().unwrap_or("unknown");
        write!(f, ", driver {driver}, CUDA {}, {}", cuda.cuda_version, cuda.uuid)?;
    }
    if let Some(clocks) = profile.clocks {
        write!(f, ", {} MHz, memory {} MHz", clocks.sm_mhz, clocks.memory_mhz)?;
    }
    let options = profile.options;
    writeln!(f)?;
    writeln!(
        f,
        "method: {}; {} warm-up runs, n = {}, median with quartiles; L2 overwritten before each sample; random inputs",
        profile.timer, options.warm_up, options.repetitions
    )
}

fn cells(row: &Row) -> Vec<String> {
    let spread = match &row.time {
        Time::Measured { cold, .. } => {
            format!("{} .. {}", seconds(cold.lower_quartile_s), seconds(cold.upper_quartile_s))
        }
        Time::Predicted { .. } => "-".into(),
    };
    let registers = row.resources.map_or("-".into(), |r| match r.spill_store_bytes + r.spill_load_bytes {
        0 => r.registers.to_string(),
        spills => format!("{} (spills {spills} B)", r.registers),
    });
    vec![
        row.label.clone(),
        row.kernel.clone().unwrap_or_else(|| "-".into()),
        row.class.clone().unwrap_or_else(|| "-".into()),
        quantity(row.flops, ""),
        quantity(row.bytes, "B"),
        seconds(row.bound_s),
        row.binding.clone(),
        seconds(row.time.seconds()),
        share_text(&row.share),
        spread,
        registers,
    ]
}

fn write_table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines[0].len();
    let widths: Vec<usize> =
        (0..columns).map(|c| lines.iter().map(|line| line[c].chars().count()).max().unwrap_or(0)).collect();
    for line in lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(f, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}
