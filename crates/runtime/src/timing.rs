//! Measured times: samples, their spread, and the circumstances that a reader must know.

use crate::device::DeviceInfo;
use serde::Serialize;

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileOptions {
    /// Runs before the first sample.
    pub warm_up: u32,
    /// Samples of each time.
    pub repetitions: u32,
}

impl Default for ProfileOptions {
    fn default() -> ProfileOptions {
        ProfileOptions { warm_up: 5, repetitions: 30 }
    }
}

/// The spread of a measured time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Number of samples.
    pub n: usize,
    /// Smallest sample.
    pub min_s: f64,
    /// A quarter of the samples are smaller.
    pub lower_quartile_s: f64,
    /// Half of the samples are smaller.
    pub median_s: f64,
    /// Three quarters of the samples are smaller.
    pub upper_quartile_s: f64,
    /// Largest sample.
    pub max_s: f64,
}

impl Timing {
    /// Summarises samples in seconds; `None` when there are none. Quantiles between two samples are interpolated.
    pub fn of(mut samples: Vec<f64>) -> Option<Timing> {
        samples.sort_by(f64::total_cmp);
        let last = samples.len().checked_sub(1)?;
        let quantile = |share| quantile(&samples, share);
        Some(Timing {
            n: samples.len(),
            min_s: samples[0],
            lower_quartile_s: quantile(0.25),
            median_s: quantile(0.5),
            upper_quartile_s: quantile(0.75),
            max_s: samples[last],
        })
    }
}

/// The value below which `share` of the samples lie, which are sorted and not empty; interpolated between two samples.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

/// Measured times of a whole plan and of its steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Where it was measured.
    pub device: DeviceInfo,
    /// Clocks read right after the samples were taken, where the system says.
    pub clocks: Option<Clocks>,
    /// How it was measured.
    pub options: ProfileOptions,
    /// What took the time, in words, with its resolution.
    pub timer: &'static str,
    /// Time between two events with nothing between them: the part of every step's time that is not the step's.
    pub timer_overhead_s: f64,
    /// One run of the whole plan right after another one: the caches hold what that left.
    pub total: Timing,
    /// One run of the whole plan after the L2 cache was overwritten; absent on the cpu.
    pub total_cold: Option<Timing>,
    /// One entry for each step of the plan, in order; none on the cpu, which runs no plan.
    pub steps: Vec<StepTiming>,
}

/// Measured times of one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepTiming {
    /// Position in the plan.
    pub step: usize,
    /// The region that it carries out.
    pub label: String,
    /// The kernel's name; `None` for a fill or a copy.
    pub kernel: Option<String>,
    /// In its place in the plan: the caches hold what the steps before it left.
    pub in_sequence: Timing,
    /// With the L2 cache overwritten right before it: every byte comes from memory. To be held against the memory roof.
    pub cold: Timing,
    /// The mean over several runs back to back, for steps too short for one run to be timed well: the caches hold its
    /// own data. Absent for long steps, and for steps that read what they write, which must run only once.
    pub repeated: Option<RepeatedTiming>,
}

/// A time per run over several runs back to back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RepeatedTiming {
    /// Runs in each sample.
    pub runs: u32,
    /// Time of one run.
    pub per_run: Timing,
}

/// Clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Clocks {
    /// Clock of the multiprocessors.
    pub sm_mhz: u32,
    /// Clock of the memory.
    pub memory_mhz: u32,
}

/// The measured roof of a device's memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CopyBandwidth {
    /// Where it was measured.
    pub device: DeviceInfo,
    /// Clocks read right after the samples were taken, where the system says.
    pub clocks: Option<Clocks>,
    /// Size of the copied buffer, which holds random data.
    pub buffer_bytes: u64,
    /// Time of one copy.
    pub copy: Timing,
    /// Bytes read and written over the median time.
    pub bytes_per_second: f64,
}

/// The measured roof of kernels that hardly write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReadBandwidth {
    /// Size of the buffer that was read, which holds random data.
    pub buffer_bytes: u64,
    /// Time of reading it once.
    pub read: Timing,
    /// Bytes over the median time.
    pub bytes_per_second: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        let timing = Timing::of(vec![4.0, 1.0, 3.0, 2.0]).expect("there are samples");
        assert_eq!(
            (timing.n, timing.min_s, timing.lower_quartile_s, timing.median_s, timing.upper_quartile_s, timing.max_s),
            (4, 1.0, 1.75, 2.5, 3.25, 4.0)
        );
        assert_eq!(Timing::of(vec![7.0]).expect("there is a sample").median_s, 7.0);
        assert_eq!(Timing::of(Vec::new()), None);
    }
}
