//! Ordered regions: scan, argsort and scatter, each alone in its kernel. Right first; see each for its cost.

mod argsort;
mod scan;
mod scatter;

use crate::error::Fault;
use crate::program::Program;
use crate::schedule::Hardware;
use crate::work::Work;
use gable_ir::Op;

/// Kernels for a region of one ordered op.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let [(output, _)] = program.outputs[..] else {
        return Err(Fault::contract("an ordered region has one output"));
    };
    if program.ty(output).is_empty() {
        return Ok(Vec::new());
    }
    if !overwritten.is_empty() {
        return Err(Fault::contract("an ordered op does not write over its operands"));
    }
    match &program.values[output].op {
        Op::Scan(op) => scan::work(program, hardware, output, op),
        Op::Argsort(op) => argsort::work(program, hardware, output, op),
        Op::ScatterNd(op) => scatter::work(program, hardware, output, op),
        other => Err(Fault::contract(format!("`{}` is not an ordered op", other.name()))),
    }
}
