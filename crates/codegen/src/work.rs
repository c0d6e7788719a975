//! What a region becomes: launches of kernels, in order, over the region's buffers.

use crate::class::Class;
use crate::schedule::Schedule;
use gable_artifact::TensorMap;

/// One thing that a region does on the device.
#[expect(clippy::large_enum_variant, reason = "nearly all are launches, and a region has a few at most")]
#[derive(Clone, Debug)]
pub enum Work {
    /// Runs a kernel.
    Launch(KernelLaunch),
    /// Copies a whole input to a whole output, by position.
    Copy {
        /// The region's input.
        input: usize,
        /// The region's output, of the same type.
        output: usize,
    },
}

/// A kernel and how it is launched.
#[derive(Clone, Debug)]
pub struct KernelLaunch {
    /// The code.
    pub kernel: gable_ptx::Kernel,
    /// The instruction class that does its arithmetic.
    pub class: Class,
    /// What was chosen for it.
    pub schedule: Schedule,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block in x, y, z.
    pub block: [u32; 3],
    /// Blocks per cluster in x, y, z; all ones for none.
    pub cluster: [u32; 3],
    /// Whether it may start before the launch before it has finished; its kernel then waits with `griddepcontrol.wait`.
    pub dependent: bool,
    /// Shared memory beyond the static part.
    pub dynamic_shared_bytes: u32,
    /// Parameters, in order.
    pub args: Vec<Memory>,
}

/// A kernel's parameter: memory of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The region's input of this position, read.
    Input(usize),
    /// The region's output of this position, every byte written.
    Output(usize),
    /// The region's output of this position, written in part or read as well.
    Update(usize),
    /// Bytes that only this region uses, written by one launch and read by a later one.
    Scratch {
        /// From the start of the region's scratch memory; a multiple of 256.
        offset: u64,
        /// How many.
        bytes: u64,
        /// Whether this launch writes them.
        written: bool,
    },
    /// A tensor map over other memory, as a parameter of 128 bytes.
    TensorMap {
        /// The memory, which holds the whole tensor from its start on.
        of: Box<Memory>,
        /// How copies walk over it.
        map: Box<TensorMap>,
    },
}

impl KernelLaunch {
    /// Parameters of a kernel over all inputs of a region, as `Engine::of_inputs` declares them.
    pub fn all_inputs(program: &crate::Program) -> Vec<Memory> {
        (0..program.inputs.len()).map(Memory::Input).collect()
    }

    /// Parameters of a kernel over all inputs and all outputs of a region, as `Engine::new` declares them.
    pub fn all_buffers(program: &crate::Program) -> Vec<Memory> {
        let inputs = (0..program.inputs.len()).map(Memory::Input);
        inputs.chain((0..program.outputs.len()).map(Memory::Output)).collect()
    }
}
