//! What is known of one machine, and what it can do per second of each kind of work.

use gable_ir::Unit;
use gable_tensor::DType;

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The vendor's documents, named in [`Machine::documents`].
    DataSheet,
    /// Measured on the board at hand.
    Measured,
}

impl Source {
    /// The word that stands beside the figure in a report.
    pub fn word(self) -> &'static str {
        match self {
            Source::DataSheet => "data sheet",
            Source::Measured => "measured",
        }
    }
}

/// Dense tensor-core and vector rates in operations per clock and multiprocessor; a multiply-add counts as two.
/// Zero means that the hardware has no such instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Ordinary f32 arithmetic.
    pub f32: f64,
    /// Ordinary f64 arithmetic.
    pub f64: f64,
    /// tf32 products summed in f32.
    pub tf32: f64,
    /// bf16 or f16 products summed in f32.
    pub half_acc32: f64,
    /// f16 products summed in f16.
    pub half_acc16: f64,
    /// 8-bit float products summed in f32.
    pub fp8_acc32: f64,
    /// 6-bit float products.
    pub fp6: f64,
    /// 4-bit float products.
    pub fp4: f64,
    /// 8-bit integer products summed in 32 bits.
    pub int8: f64,
}

/// One row of the machine table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Name as in reports and on the command line.
    pub name: &'static str,
    /// What the CUDA driver calls it: a device whose name contains this is this machine.
    pub driver_name: &'static str,
    /// The PTX target that it runs.
    pub target: &'static str,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Clock that the peaks imply, in GHz.
    pub clock_ghz: f64,
    /// Device memory bandwidth in GB/s (10^9 bytes).
    pub memory_gb_per_s: f64,
    /// Last-level cache in MiB.
    pub l2_mib: u32,
    /// Shared memory that a block can ask for, in bytes.
    pub shared_bytes: u32,
    /// Operations per clock and multiprocessor.
    pub rates: Rates,
    /// The documents that the figures come from.
    pub documents: &'static str,
}

impl Machine {
    /// Every machine in the table.
    pub fn all() -> &'static [Machine] {
        crate::machines::MACHINES
    }

    /// The machine called `name`.
    pub fn named(name: &str) -> Option<&'static Machine> {
        Machine::all().iter().find(|machine| machine.name == name)
    }

    /// The machine that a driver's device name means.
    pub fn of_device(device_name: &str) -> Option<&'static Machine> {
        // The longest match wins: "NVIDIA H200" must not be taken for another machine's shorter name.
        Machine::all().iter().filter(|m| device_name.contains(m.driver_name)).max_by_key(|m| m.driver_name.len())
    }

    /// The machine that predictions for a target are made for: the first of the table with that target, or for a family's
    /// target (`sm_100f`) the first of the member that the family is named for.
    pub fn for_target(target: &str) -> Option<&'static Machine> {
        let member = target.strip_suffix('f').map_or(target.to_string(), |family| format!("{family}a"));
        Machine::all().iter().find(|machine| machine.target == member)
    }

    /// Bytes per second of device memory, by the data sheet.
    pub fn memory_bytes_per_s(&self) -> f64 {
        self.memory_gb_per_s * 1e9
    }

    /// Operations per second of a unit, by the data sheet. A contraction of types that the tensor cores lack runs on
    /// the ordinary pipes, after conversion.
    pub fn flops_per_s(&self, unit: Unit) -> f64 {
        self.multiprocessors as f64 * self.clock_ghz * 1e9 * self.per_clock(unit)
    }

    fn per_clock(&self, unit: Unit) -> f64 {
        let rates = &self.rates;
        let or_half = |rate: f64| if rate > 0.0 { rate } else { rates.half_acc32 };
        match unit {
            Unit::Contraction { input, acc } => match input {
                DType::Tf32 => rates.tf32,
                DType::F16 if acc == DType::F16 => rates.half_acc16,
                DType::F16 | DType::BF16 => rates.half_acc32,
                DType::E4M3 | DType::E5M2 => or_half(rates.fp8_acc32),
                DType::E2M3 | DType::E3M2 => or_half(rates.fp6),
                DType::E2M1 => or_half(rates.fp4),
                DType::I8 | DType::U8 => rates.int8,
                DType::F64 => rates.f64,
                _ => rates.f32,
            },
            Unit::Float(DType::F64) => rates.f64,
            // Packed instructions do two 16-bit operations in each f32 lane.
            Unit::Float(DType::F16 | DType::BF16) => 2.0 * rates.f32,
            Unit::Float(_) => rates.f32,
            // CUDA C++ Programming Guide, "Arithmetic Instructions": 16 results per clock and multiprocessor.
            Unit::Special => 16.0,
            // Integer adds go through 64 or 128 lanes and the multiply-add pipe besides: 128 is the most of any.
            Unit::Integer => 128.0,
        }
    }
}
