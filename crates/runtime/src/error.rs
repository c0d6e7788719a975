//! What can go wrong between an artifact and its results.

use crate::cpu::CpuError;
use crate::device::Capability;
use gable_tensor::DType;
use std::fmt;

/// A model could not be loaded or run. All but [`RuntimeError::Cuda`] can be acted on by the caller.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no CUDA driver on this machine.
    #[error(
        "no CUDA driver: {library} was not found by the system's loader; install the NVIDIA driver, or choose device `cpu`"
    )]
    NoDriver {
        /// The library that was looked for.
        library: &'static str,
    },
    /// The driver is older than the functions used here.
    #[error("the CUDA driver supports CUDA {found}, gable needs {needed} or newer: update the NVIDIA driver")]
    OldDriver {
        /// CUDA version of the driver.
        found: String,
        /// Oldest version that works.
        needed: String,
    },
    /// The driver has no device of this number.
    #[error("there is no device `cuda:{ordinal}`: the driver sees {count} device(s)")]
    NoDevice {
        /// Number asked for.
        ordinal: usize,
        /// Number of devices.
        count: usize,
    },
    /// The artifact has no plan that the device can run.
    #[error(
        "{device} has compute capability {capability}, but the artifact was compiled for {}; {}",
        list(targets),
        advice(advised)
    )]
    NoPlan {
        /// The device's name.
        device: String,
        /// What it can run.
        capability: Capability,
        /// The artifact's targets.
        targets: Vec<String>,
        /// The target to compile for, when there is one for this device.
        advised: Option<&'static str>,
    },
    /// The device cannot hold what the plan needs.
    #[error("{device} has {free_bytes} of {total_bytes} bytes free, {what} needs {needed_bytes}")]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// What the memory was for.
        what: String,
        /// Bytes asked for.
        needed_bytes: usize,
        /// Bytes free on the device.
        free_bytes: usize,
        /// Bytes that the device has.
        total_bytes: usize,
    },
    /// A launch does not fit its kernel.
    #[error(
        "step {step} (`{label}`) gives kernel `{kernel}` arguments of {given:?} bytes, its code declares {declared:?}"
    )]
    Params {
        /// Position of the step in the plan.
        step: usize,
        /// The region that it carries out.
        label: String,
        /// The kernel's name.
        kernel: String,
        /// Size of each argument.
        given: Vec<u32>,
        /// Size of each parameter that the code declares.
        declared: Vec<u32>,
    },
    /// The CUDA driver reports an error.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// An input that the model does not have.
    #[error("the model has no input `{name}`; its inputs are {}", list(known))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The model's inputs.
        known: Vec<String>,
    },
    /// An input that was not given.
    #[error("input `{name}` ({dtype} {shape:?}) was not given")]
    MissingInput {
        /// The input.
        name: String,
        /// Its element type.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An input given twice.
    #[error("input `{name}` was given twice")]
    RepeatedInput {
        /// The input.
        name: String,
    },
    /// An input of the wrong element type or shape.
    #[error("input `{name}` is {found_dtype} {found_shape:?}, expected {dtype} {shape:?}")]
    InputMismatch {
        /// The input.
        name: String,
        /// Element type given.
        found_dtype: DType,
        /// Shape given.
        found_shape: Vec<usize>,
        /// The model's element type.
        dtype: DType,
        /// The model's shape.
        shape: Vec<usize>,
    },
    /// The artifact contradicts itself.
    #[error(transparent)]
    Artifact(#[from] gable_artifact::FormatError),
    /// The artifact's graph cannot be evaluated.
    #[error("the artifact's graph: {0}")]
    Graph(String),
    /// The cpu cannot prepare or run the graph.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Something is larger than the host's memory.
    #[error("{what} needs {needed_bytes} bytes, this machine has {memory_bytes} bytes of memory")]
    HostMemory {
        /// What: a value of the graph with its operator and type, or a plan's memory.
        what: String,
        /// Bytes that it needs.
        needed_bytes: u64,
        /// Bytes that the machine has.
        memory_bytes: u64,
    },
    /// The artifact has no plan for the target asked for.
    #[error("the artifact has no plan for {target}; it was compiled for {}", list(targets))]
    NoTarget {
        /// The target asked for.
        target: String,
        /// The artifact's targets.
        targets: Vec<String>,
    },
    /// The emulator cannot read a kernel.
    #[error("the emulator cannot load kernel `{kernel}` for {target}: {message}")]
    Load {
        /// The kernel.
        kernel: String,
        /// The plan's target.
        target: String,
        /// What is wrong, with the line.
        message: String,
    },
    /// The emulated machine refuses a launch.
    #[error("step {step} (`{label}`), kernel `{kernel}`: {message}")]
    Launch {
        /// Position of the step in the plan.
        step: usize,
        /// The region that it carries out.
        label: String,
        /// The kernel's name.
        kernel: String,
        /// Which limit the launch exceeds.
        message: String,
    },
    /// The emulator found a kernel at fault.
    #[error("step {step} (`{label}`), kernel `{kernel}` for {target} is at fault:{}", indented(hazards))]
    Hazards {
        /// Position of the step in the plan.
        step: usize,
        /// The region that it carries out.
        label: String,
        /// The kernel's name.
        kernel: String,
        /// The plan's target.
        target: String,
        /// What was found; at least one.
        hazards: Vec<gable_emulator::Hazard>,
    },
    /// Bytes that the plan promises to write were not written in an emulated run.
    #[error("{place} leaves {what} unwritten from byte {first} on")]
    Unwritten {
        /// The step and its kernel, or the plan.
        place: String,
        /// The range or the output.
        what: String,
        /// The first byte that nobody wrote, counted from the start of the range.
        first: u64,
    },
    /// A library that is measured against reports an error.
    #[error("{library}: {call} failed with {status}")]
    Library {
        /// The library.
        library: &'static str,
        /// Its function.
        call: &'static str,
        /// The code's name.
        status: String,
    },
    /// The device cannot do what was asked of it.
    #[error("device `{device}` {what}")]
    Unsupported {
        /// The device.
        device: String,
        /// What it lacks, as the rest of a sentence.
        what: &'static str,
    },
}

/// An error that the CUDA driver reports, with the call that met it and what the call was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaError {
    /// The driver's function.
    pub call: &'static str,
    /// The code's name, such as `CUDA_ERROR_INVALID_VALUE`.
    pub name: String,
    /// The driver's description of the code.
    pub description: String,
    /// What was being done: the kernel, its launch, the size; empty when the call says it all.
    pub during: String,
}

impl CudaError {
    /// Adds what was being done, unless the error says so already.
    pub fn during(mut self, what: impl FnOnce() -> String) -> CudaError {
        if self.during.is_empty() {
            self.during = what();
        }
        self
    }
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed with {} ({})", self.call, self.name, self.description)?;
        if self.during.is_empty() { Ok(()) } else { write!(f, " while {}", self.during) }
    }
}

impl std::error::Error for CudaError {}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_string();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn indented(hazards: &[gable_emulator::Hazard]) -> String {
    hazards.iter().map(|hazard| format!("\n  {}", hazard.to_string().replace('\n', "\n  "))).collect()
}

fn advice(target: &Option<&'static str>) -> String {
    match target {
        Some(target) => format!("compile the model again with `gable compile --target {target}`"),
        None => "gable has no target for this device, choose device `cpu`".to_string(),
    }
}
