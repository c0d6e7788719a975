//! Ordered regions: results whose elements depend on each other. One op stands alone in its region.

mod argsort;
pub(crate) mod rows;
mod scan;
mod scatter;

use crate::class::Class;
use crate::engine::Engine;
use crate::error::Fault;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::{Group, Op};

/// Kernels for a region of one ordered op. `overwritten` are inputs that share memory with the output, by position:
/// a scan and a scatter may overwrite their `x`.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let found = program.find(|op| op.is(Group::Ordered));
    let &[anchor] = found.as_slice() else {
        return Err(Fault::contract(format!("an ordered region has {} ordered ops, expected 1", found.len())));
    };
    if program.outputs.iter().map(|&(id, _)| id).ne([anchor]) {
        return Err(Fault::contract("an ordered region gives its op's result and nothing else"));
    }
    if program.ty(anchor).is_empty() {
        return Ok(Vec::new());
    }
    let region = Region { program, hardware, overwritten, anchor };
    let launch = match &program.values[anchor].op {
        Op::Scan(op) => scan::launch(&region, op),
        Op::Argsort(op) => argsort::launch(&region, op),
        Op::ScatterNd(op) => scatter::launch(&region, op),
        other => Err(Fault::contract(format!("`{}` is not an ordered op", other.name()))),
    }?;
    Ok(vec![Work::Launch(launch)])
}

/// What the kernels of all ordered ops start from.
struct Region<'p> {
    program: &'p Program,
    hardware: &'p Hardware,
    overwritten: &'p [usize],
    anchor: ValueId,
}

impl<'p> Region<'p> {
    /// The anchor's operand.
    fn operand(&self, position: usize) -> ValueId {
        self.program.values[self.anchor].operands[position]
    }

    /// A kernel over the region's buffers.
    fn engine(&self, name: &str, threads: u32) -> Engine<'p> {
        let mut engine = Engine::new(self.program, name, self.hardware.target, self.overwritten);
        engine.k.required_threads(threads, 1, 1);
        engine
    }

    /// The launch of a finished kernel.
    fn launch(&self, engine: Engine<'_>, grid: [u32; 3], lanes: u32, threads: u32) -> KernelLaunch {
        let kernel = engine.k.finish();
        KernelLaunch {
            class: Class::found(&kernel),
            kernel,
            schedule: Schedule::PerThread { lanes, threads },
            grid,
            block: [threads, 1, 1],
            cluster: [1, 1, 1],
            dependent: false,
            dynamic_shared_bytes: 0,
            args: KernelLaunch::all_buffers(self.program),
        }
    }
}

/// The widest vector, of 16 bytes at most, that `length` elements of `bytes` each divide into and that leaves at least
/// `threads_per_sm` threads for each SM among `n` elements.
pub(crate) fn vector_lanes(length: usize, bytes: usize, n: usize, hardware: &Hardware, threads_per_sm: usize) -> u32 {
    let wanted = threads_per_sm * hardware.n_sms as usize;
    let mut lanes = (16 / bytes).clamp(1, 8);
    while lanes > 1 && (!length.is_multiple_of(lanes) || n / lanes < wanted) {
        lanes /= 2;
    }
    lanes as u32
}
