//! What was measured of one problem: a record for a file, a line for a reader.

use super::case::Case;
use gable_roofline::{Share, share};
use gable_runtime::timing::{Clocks, quantile};
use serde::Serialize;
use std::fmt;

/// Times of one entrant in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Samples.
    pub n: usize,
    /// A tenth of the samples are smaller.
    pub p10_s: f64,
    /// Half of them are.
    pub median_s: f64,
    /// All but a tenth are.
    pub p90_s: f64,
}

impl Spread {
    /// Summarises samples; there is at least one.
    pub fn of(mut samples: Vec<f64>) -> Spread {
        samples.sort_by(f64::total_cmp);
        Spread {
            n: samples.len(),
            p10_s: quantile(&samples, 0.1),
            median_s: quantile(&samples, 0.5),
            p90_s: quantile(&samples, 0.9),
        }
    }
}

/// Where and with what a record was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Circumstances {
    /// Version of Gable.
    pub gable_version: &'static str,
    /// The device's name.
    pub device: String,
    /// Identity of the board.
    pub uuid: String,
    /// Version of the driver, where the system says.
    pub driver: Option<String>,
    /// Version of cuBLASLt, where it is installed.
    pub cublaslt: Option<usize>,
    /// Measured copy bandwidth, bytes read and written.
    pub copy_bytes_per_s: f64,
    /// Measured bandwidth of reading alone.
    pub read_bytes_per_s: f64,
    /// Operations per second of the tensor cores on 16-bit factors by the data sheet.
    pub sheet_bf16_flops_per_s: f64,
    /// The same for 8-bit factors.
    pub sheet_fp8_flops_per_s: f64,
    /// How samples were taken.
    pub method: String,
}

/// One of our kernels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelUsed {
    /// Its name.
    pub name: String,
    /// Its instruction class.
    pub class: String,
}

/// A peer's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// How much of the problem it does.
    pub does: &'static str,
    /// Its proposals that ran; the best one was timed.
    pub proposals: usize,
    /// Its times.
    pub time: Spread,
    /// Its relative error, where it does the whole problem.
    pub error: Option<f64>,
}

/// One problem, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// The problem's name.
    pub case: String,
    /// Rows, columns, terms.
    pub sizes: [usize; 3],
    /// Products side by side.
    pub batch: usize,
    /// Operations, a multiply-add counting as two.
    pub flops: f64,
    /// Bytes of all inputs and outputs.
    pub bytes: f64,
    /// Our kernels, in order.
    pub kernels: Vec<KernelUsed>,
    /// Our relative error.
    pub error: f64,
    /// Our times; absent where the result is wrong.
    pub time: Option<Spread>,
    /// The least possible time by the roofs.
    pub bound_s: f64,
    /// `memory` by the measured roofs, or `arithmetic` by the data sheet.
    pub bound: &'static str,
    /// cuBLASLt.
    pub peer: Option<Peer>,
    /// The peer's median time over ours.
    pub ratio: Option<f64>,
    /// Clocks right after, where the system says.
    pub clocks: Option<Clocks>,
}

impl Circumstances {
    /// The least time for a problem that reads and writes so many bytes, and what binds: as many bytes as are written are
    /// copied, what is read beside them is read alone.
    pub fn bound(&self, case: &Case, (read, written): (f64, f64)) -> (f64, &'static str) {
        let flops_per_s = match case.factors().bytes() {
            1 => self.sheet_fp8_flops_per_s,
            _ => self.sheet_bf16_flops_per_s,
        };
        let copied = read.min(written);
        let memory = 2.0 * copied / self.copy_bytes_per_s + (read + written - 2.0 * copied) / self.read_bytes_per_s;
        let arithmetic = case.flops() / flops_per_s;
        if memory > arithmetic { (memory, "memory") } else { (arithmetic, "arithmetic") }
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver = self.driver.as_deref().unwrap_or("unknown");
        writeln!(f, "{} ({}), driver {driver}, gable {}", self.device, self.uuid, self.gable_version)?;
        writeln!(
            f,
            "roofs: copy {:.2} and read {:.2} TB/s measured, {:.0} TFLOP/s at 16 bits and {:.0} at 8 by the data sheet",
            self.copy_bytes_per_s * 1e-12,
            self.read_bytes_per_s * 1e-12,
            self.sheet_bf16_flops_per_s * 1e-12,
            self.sheet_fp8_flops_per_s * 1e-12
        )?;
        match self.cublaslt {
            Some(version) => writeln!(f, "peer: cuBLASLt {version}, the best of its first 10 proposals")?,
            None => writeln!(f, "peer: none: cuBLASLt was not found by the system's loader, or not asked for")?,
        }
        writeln!(f, "{}", self.method)?;
        write!(
            f,
            "{:<36} {:>10} {:>19} {:>8} {:>6} {:>6} {:>10} {:>6} {:>8}  kernels",
            "problem", "us", "p10..p90", "TFLOP/s", "TB/s", "roof", "peer us", "ratio", "error"
        )
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<36} ", self.case)?;
        match &self.time {
            None => write!(f, "{:>10} {:>19} {:>8} {:>6} {:>6} ", "WRONG", "", "", "", "")?,
            Some(time) => {
                let spread = format!("{:.1}..{:.1}", time.p10_s * 1e6, time.p90_s * 1e6);
                let of_roof = match share(self.bound_s, time.median_s) {
                    Share::Of { share } => format!("{:.0}%", share * 100.0),
                    Share::Impossible { ratio } => format!("{:.0}%!", ratio * 100.0),
                    Share::None => "-".into(),
                };
                let (us, tflops) = (time.median_s * 1e6, self.flops / time.median_s * 1e-12);
                let tbs = self.bytes / time.median_s * 1e-12;
                write!(f, "{us:>10.1} {spread:>19} {tflops:>8.1} {tbs:>6.2} {of_roof:>6} ")?;
            }
        }
        let peer = self.peer.as_ref().map_or("-".into(), |peer| format!("{:.1}", peer.time.median_s * 1e6));
        let ratio = self.ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"));
        write!(f, "{peer:>10} {ratio:>6} {:>8.1e}  ", self.error)?;
        let kernels: Vec<String> = self.kernels.iter().map(|kernel| kernel.class.clone()).collect();
        write!(f, "{}", kernels.join(" + "))?;
        match &self.peer {
            Some(peer) if peer.does != "all" => write!(f, "  (peer: {})", peer.does),
            _ => Ok(()),
        }
    }
}
