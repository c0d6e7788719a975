//! What surrounds the sums of a contraction: where operands come from and where results go.
//!
//! The main loops know tiles and fragments, not ops. They ask for an operand's address or elements, and hand over
//! finished sums. Who implements this knows the region: the expression engine for a fused region, a plain matrix in
//! tests of the main loops.

use super::problem::{ContractionError, Side};
use gable_ptx::{B32, B64, KernelBuilder, R, Reg};

/// A place in the iteration space. `batch` is one register per batch dimension of the problem. For an operand `row` is
/// its outer index and `column` is k; for results `row` is m and `column` is n. All lie within the problem's sizes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Batch coordinates.
    pub batch: &'a [R<B32>],
    /// The outer index, or m.
    pub row: R<B32>,
    /// k, or n.
    pub column: R<B32>,
}

/// The region around the sums.
pub trait Surround {
    /// Where the batch entry of these coordinates starts, for an operand that is memory. Asked once, at the kernel's start.
    fn pointer(&mut self, k: &mut KernelBuilder, side: Side, batch: &[R<B32>]) -> Result<R<B64>, ContractionError>;

    /// Elements of an operand that is an expression: as many as the operand's `lanes`, along its `major`, the first at
    /// `place`. Floats narrower than 64 bits come in f32 registers, exactly; narrow integers extended to 32 bits.
    fn load(&mut self, k: &mut KernelBuilder, side: Side, place: Place<'_>) -> Result<Vec<Reg>, ContractionError>;

    /// Does with results what the region does: `sums` are neighbours along `m` or `n` as the problem's `store` says, the
    /// first at `place`, in the type that they were summed in, not rounded yet to the problem's `out`. Between 1 and
    /// `store.lanes` of them, a power of two.
    fn store(&mut self, k: &mut KernelBuilder, place: Place<'_>, sums: &[Reg]) -> Result<(), ContractionError>;
}
