//! What a suite consists of, as `manifest.json` says it.

use serde::{Deserialize, Serialize};

/// A suite: kernels that all read one input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// What the kernels were written for.
    pub target: String,
    /// Threads of a launch.
    pub threads: u32,
    /// Threads of a CTA.
    pub block: u32,
    /// File of the input: 64-bit words, `threads` of the first source, then of the second and so on.
    pub input: String,
    /// The modules, one kernel each, called `main`.
    pub modules: Vec<Module>,
}

/// A module with one kernel `main(input, output)`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Module {
    /// File of the text.
    pub ptx: String,
    /// File of the output.
    pub output: String,
    /// Bytes of the output.
    pub bytes: u64,
    /// What stands in the output, in order.
    pub results: Vec<Result>,
}

/// The results of one instruction, one element for each thread.
#[derive(Debug, Serialize, Deserialize)]
pub struct Result {
    /// The instruction.
    pub instruction: String,
    /// Where its results begin in the output.
    pub offset: u64,
    /// Bytes of one result.
    pub bytes: u32,
    /// For approximations, how far from the emulator's result the hardware's may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

/// How far apart two results may be: the sum of the parts, for each element of the format.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bound {
    /// Format of an element.
    pub format: Element,
    /// Absolute.
    pub absolute: f64,
    /// Relative to the larger magnitude.
    pub relative: f64,
    /// The bound holds for sources up to this magnitude; beyond nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_limit: Option<f64>,
}

/// Formats that approximations have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Element {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Half precision.
    F16,
    /// bfloat16.
    Bf16,
}
