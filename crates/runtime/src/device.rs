//! Names and descriptions of devices.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Which device to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The first CUDA device that the artifact has a plan for, else the cpu.
    #[default]
    Auto,
    /// The host's processor.
    Cpu,
    /// The emulator: the emitted kernels of any target, run and checked on the host's processor.
    Emulator,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceKind::Auto => f.write_str("auto"),
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::Emulator => f.write_str("emulator"),
            DeviceKind::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    /// `auto`, `cpu`, `emulator`, `cuda` (the same as `cuda:0`) or `cuda:N`.
    fn from_str(text: &str) -> Result<DeviceKind, String> {
        let ordinal = |text: &str| text.parse().ok().map(DeviceKind::Cuda);
        match text {
            "auto" => Ok(DeviceKind::Auto),
            "cpu" => Ok(DeviceKind::Cpu),
            "cuda" => Ok(DeviceKind::Cuda(0)),
            "emulator" => Ok(DeviceKind::Emulator),
            _ => text
                .strip_prefix("cuda:")
                .and_then(ordinal)
                .ok_or_else(|| format!("unknown device `{text}`, expected `auto`, `cpu`, `emulator` or `cuda:N`")),
        }
    }
}

/// A CUDA compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Capability {
    /// Architecture.
    pub major: u32,
    /// Variant of the architecture.
    pub minor: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What is known of a device. Measured times stand beside it in reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// As [`DeviceKind`] prints it.
    pub device: String,
    /// The maker's name for it.
    pub name: String,
    /// Facts about a CUDA device; absent for the others.
    pub cuda: Option<CudaInfo>,
}

/// Facts about a CUDA device, from the driver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CudaInfo {
    /// Number among the driver's devices.
    pub ordinal: usize,
    /// Identity of the board.
    pub uuid: String,
    /// What it can run.
    pub capability: Capability,
    /// CUDA version that the driver supports, such as `13.0`.
    pub cuda_version: String,
    /// Version of the driver itself, where the system says.
    pub driver_version: Option<String>,
    /// Streaming multiprocessors.
    pub sm_count: u32,
    /// Size of the L2 cache.
    pub l2_bytes: u64,
    /// Device memory.
    pub memory_bytes: u64,
    /// Width of the memory bus.
    pub memory_bus_bits: u32,
    /// Shared memory that one block may ask for.
    pub shared_bytes_per_block: u32,
    /// Highest clock of the multiprocessors.
    pub peak_sm_clock_mhz: u32,
    /// Highest clock of the memory.
    pub peak_memory_clock_mhz: u32,
}

impl DeviceInfo {
    /// The host's processor.
    pub fn cpu() -> DeviceInfo {
        let threads = rayon::current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        DeviceInfo {
            device: DeviceKind::Cpu.to_string(),
            name: format!("{} processor, {threads} thread{plural}", std::env::consts::ARCH),
            cuda: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in [DeviceKind::Auto, DeviceKind::Cpu, DeviceKind::Emulator, DeviceKind::Cuda(0), DeviceKind::Cuda(17)]
        {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("cuda".parse(), Ok(DeviceKind::Cuda(0)));
    }

    #[test]
    fn unknown_names_say_what_is_known() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = text.parse::<DeviceKind>().expect_err(text);
            assert_eq!(error, format!("unknown device `{text}`, expected `auto`, `cpu`, `emulator` or `cuda:N`"));
        }
    }
}
