//! What surrounds the sums of a contraction: where operands come from and where results go.
//!
//! The main loops know tiles and fragments, not ops. They ask for an operand's address or elements, and hand over
//! finished sums. Who implements this knows the region: the expression engine for a fused region, a plain matrix in
//! tests of the main loops.

use super::columns::Columns;
use super::problem::{ContractionError, Part, Side};
use gable_ptx::{B32, B64, KernelBuilder, R, Reg, Value};
use gable_tensor::DType;

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

/// Neighbouring sums along n of one thread, at constant distances from the thread's first sum.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// Rows from the thread's first.
    pub row: u32,
    /// Columns from the thread's first.
    pub column: u32,
    /// Packed elements of the region's addend at the same places; none where the region reads it from memory.
    pub addend: &'a [Reg],
    /// The sums: a power of two of them, at most `store.lanes` of the problem. Of several products, those of the first come
    /// before those of the next.
    pub sums: &'a [Reg],
}

/// A result that lies in memory as rows of the problem: element (m, n) of a batch entry at
/// `start + entry + m * stride + n - columns.first`, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRows {
    /// Element type.
    pub dtype: DType,
    /// Whether two elements share a byte.
    pub pairs: bool,
    /// The columns that it has.
    pub columns: Columns,
    /// Where entry 0 starts.
    pub start: i64,
    /// Elements from one row to the next.
    pub stride: i64,
    /// Elements from one value of each batch coordinate to the next.
    pub batch_strides: Vec<i64>,
}

/// The region around the sums.
pub trait Surround {
    /// Where the batch entry of these coordinates starts, for an operand that is memory. Asked once, at the kernel's start.
    fn pointer(&mut self, k: &mut KernelBuilder, side: Side, batch: &[R<B32>]) -> Result<R<B64>, ContractionError>;

    /// The same for one part of a quantised right factor.
    fn quantised(
        &mut self,
        k: &mut KernelBuilder,
        side: Side,
        part: Part,
        batch: &[R<B32>],
    ) -> Result<R<B64>, ContractionError>;

    /// Where the scales of the kind at `position` start in the batch entry, for a factor that is scaled.
    fn scales(
        &mut self,
        k: &mut KernelBuilder,
        side: Side,
        position: usize,
        batch: &[R<B32>],
    ) -> Result<R<B64>, ContractionError>;

    /// The row before which a group of rows ends, at most the problem's rows, for a problem whose batch entries have rows of their
    /// own. `group` is below their number.
    fn group_end(&mut self, k: &mut KernelBuilder, group: R<B32>) -> Result<R<B32>, ContractionError>;

    /// Elements of an operand that is an expression: as many as the operand's `lanes`, along its `major`, the first at
    /// `place`. Floats narrower than 64 bits come in f32 registers, exactly; narrow integers extended to 32 bits.
    fn load(&mut self, k: &mut KernelBuilder, side: Side, place: Place<'_>) -> Result<Vec<Reg>, ContractionError>;

    /// Does with results what the region does: `sums` are neighbours along `m` or `n` as the problem's `store` says, the
    /// first at `place`, in the type that they were summed in, not rounded yet to the problem's `out`. Between 1 and
    /// `store.lanes` of them, a power of two. Of several products, those of the first come before those of the next.
    fn store(&mut self, k: &mut KernelBuilder, place: Place<'_>, sums: &[Reg]) -> Result<(), ContractionError>;

    /// How every result lies in memory, in order, where each lies as rows.
    fn result_rows(&mut self) -> Option<Vec<ResultRows>>;

    /// Begins to bring what the region will read for `columns` results of a row to L2, the first at `place`; a hint. `with_addend`
    /// unless the caller brings that.
    fn prefetch(
        &mut self,
        k: &mut KernelBuilder,
        place: Place<'_>,
        columns: u32,
        with_addend: bool,
    ) -> Result<(), ContractionError>;

    /// Begins to load what the region reads once for each column to registers, for fragments of so many elements at these
    /// distances from the column of `origin`; `results` of a tile of `extent` with that origin uses it.
    fn load_ahead(
        &mut self,
        _k: &mut KernelBuilder,
        _batch: &[R<B32>],
        _origin: (R<B32>, R<B32>),
        _extent: (u32, u32),
        _columns: (&[u32], u32),
    ) -> Result<(), ContractionError> {
        Ok(())
    }

    /// What the region makes of sums, left to the caller to store: for each result and fragment the words that memory holds
    /// (several narrow elements in one). `origin` is the place of the thread's first sum; what lies outside the problem,
    /// where tiles of `extent` do not divide it, comes out as anything and touches no memory there. `only` asks for one
    /// result, whose columns hold `origin` and all fragments; results that have a part of the columns come so alone.
    fn results(
        &mut self,
        k: &mut KernelBuilder,
        batch: &[R<B32>],
        origin: (R<B32>, R<B32>),
        extent: (u32, u32),
        fragments: &[Fragment<'_>],
        only: Option<usize>,
    ) -> Result<Vec<Vec<Vec<Value>>>, ContractionError>;

    /// Whether the region reduces rows of the result in this kernel.
    fn has_folds(&self) -> bool {
        false
    }

    /// Columns of the blocks that the region reduces before it goes on with their elements, a power of two; 1 where it reduces none.
    /// `results` must be asked for whole blocks at once: `width` neighbouring lanes, a power of two, share their rows, and hold
    /// them together.
    fn share_blocks(&mut self, _width: u32) -> u32 {
        1
    }

    /// How the one matrix of 16-bit elements lies that every result reads at its own row and column, if there is one that the
    /// caller may bring: then `results` takes its elements with each fragment.
    fn addend(&mut self) -> Option<ResultRows> {
        None
    }

    /// Has `store` combine what it stores of one row of the thread for folds, until `leave_folds` leaves that row's.
    fn begin_row(&mut self, _k: &mut KernelBuilder) -> Result<(), ContractionError> {
        Ok(())
    }

    /// Leaves the partial results of folds: `results` has combined those of each of the thread's rows since the last call, `store`
    /// those of the row that `begin_row` began.
    /// `width` neighbouring lanes, a power of two, share their rows; `row` is the thread's first, and `part` says which of
    /// the parts of the columns it has computed. Rows of their own end at the batch entry's end. All lanes of a warp come here
    /// together.
    fn leave_folds(
        &mut self,
        _k: &mut KernelBuilder,
        _batch_and_end: (&[R<B32>], Option<R<B32>>),
        _row: R<B32>,
        _extent: (u32, u32),
        _width: u32,
        _part: R<B32>,
    ) -> Result<(), ContractionError> {
        Ok(())
    }
}
