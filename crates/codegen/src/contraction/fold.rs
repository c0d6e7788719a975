//! Folds: reductions of the result's rows, computed where the result is.
//!
//! ```text
//!   tile of a CTA, or a warp's part of it            scratch memory              join, a kernel of its own
//!   +--------------------------------+             part 0   1   2  ..
//!   | row r: thread's columns ------>| lanes ---->  r  [ ] [ ] [ ]  --- in order ---> fold of row r -> what follows it
//!   +--------------------------------+
//! ```
//!
//! A thread combines its elements of a row as it computes them, lanes that share the row combine theirs by shuffles, and
//! one of them leaves the partial result for the part of the columns that it has seen. The join combines the parts of
//! each row in order, so that results are equal from run to run.

pub(super) mod blocks;
mod join;

use super::columns::Columns;
use super::normal::Plan;
use super::radix::digits_of;
use crate::combine::{Combine, Partial, memory_type};
use crate::engine::{Engine, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::{Program, Value, ValueId};
use crate::work::Memory;
use gable_ir::Op;
use gable_ptx::meaning::Access;
use gable_ptx::{B64, Pred, R, Reg, ScalarType, Space};
use std::collections::{BTreeMap, BTreeSet};

pub(super) use join::launch as join;

/// Scratch memory is counted in multiples of this.
const SCRATCH_ALIGNMENT: u64 = 256;

/// A reduction of the result's rows.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    /// The reduction.
    pub value: ValueId,
    /// What it reduces, over its last axis.
    pub operand: ValueId,
    /// How.
    pub combine: Combine,
    keep: bool,
}

/// What comes after the anchors of a program.
pub(super) struct Apart {
    /// Reductions of rows.
    pub folds: Vec<Fold>,
    /// Reductions of blocks of neighbouring columns.
    pub blocks: Vec<Fold>,
    /// Positions of the outputs that have every element of the result.
    pub results: Vec<usize>,
    /// Positions of the outputs that have one element for each block.
    pub per_block: Vec<usize>,
}

/// The folds after the anchors, and the positions of the outputs that do not follow one of rows.
pub(super) fn apart(program: &Program, anchors: &[ValueId]) -> Result<Apart, Fault> {
    let mut after: BTreeSet<ValueId> = anchors.iter().copied().collect();
    // Values whose last axis is the anchors'.
    let mut keep_last = after.clone();
    let (mut folded, mut blocked) = (BTreeSet::new(), BTreeSet::new());
    let repeated = repeated(program);
    let mut found = Apart { folds: Vec::new(), blocks: Vec::new(), results: Vec::new(), per_block: Vec::new() };
    for (id, node) in program.values.iter().enumerate() {
        let Some(&from) = node.operands.iter().find(|operand| after.contains(operand)) else { continue };
        after.insert(id);
        let any = |set: &BTreeSet<ValueId>| node.operands.iter().any(|operand| set.contains(operand));
        if any(&folded) {
            folded.insert(id);
        } else if let Op::Reduce(op) = &node.op {
            let operand = program.ty(node.operands[0]);
            if op.axes != [operand.shape.len().wrapping_sub(1)] {
                return Err(Fault::contract("a fold after the contraction is along the last axis"));
            }
            let combine = Combine::of(&node.op, operand.dtype, *operand.shape.last().unwrap_or(&1))?;
            let fold = Fold { value: id, operand: node.operands[0], combine, keep: op.keep };
            // Rows no longer than a block may be blocks.
            let (folds, values) = match keep_last.contains(&from) && !repeated.contains(&id) {
                true => (&mut found.folds, &mut folded),
                false => (&mut found.blocks, &mut blocked),
            };
            folds.push(fold);
            values.insert(id);
        } else if any(&blocked) {
            // Repeated over its block, the value has all elements again.
            if !matches!(node.op, Op::Broadcast(_)) {
                blocked.insert(id);
            }
        } else if keep_last.contains(&from) && keeps_last_axis(program, node) {
            keep_last.insert(id);
        }
    }
    for (position, (id, _)) in program.outputs.iter().enumerate() {
        if blocked.contains(id) {
            found.per_block.push(position);
        } else if !folded.contains(id) {
            found.results.push(position);
        }
    }
    Ok(found)
}

/// Values that a `broadcast` repeats, or what becomes of them.
fn repeated(program: &Program) -> BTreeSet<ValueId> {
    let mut found = BTreeSet::new();
    for (id, node) in program.values.iter().enumerate().rev() {
        if matches!(node.op, Op::Broadcast(_)) || found.contains(&id) {
            found.extend(node.operands.iter().copied());
        }
    }
    found
}

/// Whether a map or move leaves the last axis of its operand as it is.
fn keeps_last_axis(program: &Program, node: &Value) -> bool {
    match &node.op {
        Op::Reshape(_) => node.ty.shape.last() == program.ty(node.operands[0]).shape.last(),
        Op::Transpose(op) => op.perm.last().is_some_and(|&axis| axis + 1 == op.perm.len()),
        Op::Slice(_) => false,
        _ => true,
    }
}

impl Fold {
    /// The type of a partial result.
    fn ty(&self) -> Result<ScalarType, Fault> {
        self.combine.types()?.first().copied().ok_or_else(|| Fault::contract("a fold has a partial result"))
    }

    /// The fold's coordinates for those of an element that it reduces.
    pub fn coordinates(&self, engine: &mut Engine<'_>, operand: &[IndexId]) -> Vec<IndexId> {
        let (_, rows) = operand.split_last().expect("a fold has a last axis");
        let zero = engine.indices.constant(0);
        rows.iter().copied().chain(self.keep.then_some(zero)).collect()
    }

    /// What neighbouring elements of one row add.
    pub fn partial(&self, engine: &mut Engine<'_>, elements: &Lanes, lanes: u32) -> Result<Partial, Fault> {
        let mut sum: Option<Partial> = None;
        for lane in 0..lanes {
            let none = |_: &mut Engine<'_>| Err(Fault::contract("folds have no positions"));
            let one = self.combine.of_element(engine, elements.at(lane), none)?;
            sum = Some(match sum {
                None => one,
                Some(sum) => self.combine.combine(&mut engine.k, &sum, &one)?,
            });
        }
        sum.ok_or_else(|| Fault::contract("neighbours are at least one"))
    }
}

impl Plan {
    /// Whether every fold reduces whole rows of the problem, beside results of whole rows: its place does not depend on the
    /// column.
    pub fn folds_rows(&self, engine: &mut Engine<'_>) -> bool {
        let whole = Columns::all(&self.problem);
        if self.columns.iter().any(|columns| *columns != whole) {
            return false;
        }
        let all = self.reasoning_places(engine, whole);
        let entries: Vec<IndexId> = all[..all.len() - 2].iter().map(|axis| axis.index).collect();
        let [row, column] = [all[all.len() - 2], all[all.len() - 1]];
        let axes = self.axes_at(engine, &entries, row.index, column.index, None);
        let result = self.result(engine, &axes);
        let Ok(ways) = self.ways(engine, &result) else { return false };
        self.folds.iter().all(|fold| {
            let Some(operand) = ways.get(&fold.operand) else { return false };
            let shape = &engine.program.ty(fold.value).shape;
            let at = fold.coordinates(engine, operand);
            let flat = engine.indices.flat(&at, shape);
            let along_columns = digits_of(&engine.indices, flat, &all).and_then(|(_, mut digits)| digits.pop());
            let whole = engine.program.ty(fold.operand).shape.last() == Some(&self.problem.n);
            whole && along_columns.is_some_and(|digits| digits.iter().all(|digit| digit.stride == 0))
        })
    }

    /// Rows of all batch entries: results of each fold.
    fn n_rows(&self) -> usize {
        // Rows in groups are not those of other groups.
        if self.problem.ragged { self.problem.m } else { self.problem.batches() * self.problem.m }
    }
}

/// Partial results in memory: for each fold `parts` times as many as there are rows, rows next to each other in the order
/// of the fold's own elements.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// Parts of the columns.
    pub parts: u32,
    rows: usize,
    types: Vec<ScalarType>,
}

impl Scratch {
    /// For folds over so many parts of the columns.
    pub fn of(plan: &Plan, parts: u32) -> Result<Scratch, Fault> {
        let types = plan.folds.iter().map(Fold::ty).collect::<Result<_, _>>()?;
        Ok(Scratch { parts, rows: plan.n_rows(), types })
    }

    /// Declares a parameter for each fold.
    pub fn pointers(&self, engine: &mut Engine<'_>) -> Vec<R<B64>> {
        (0..self.types.len()).map(|fold| engine.k.param_pointer(&format!("fold{fold}"))).collect()
    }

    /// The parameters.
    pub fn memory(&self, written: bool) -> Vec<Memory> {
        let mut offset = 0;
        let mut all = Vec::with_capacity(self.types.len());
        for ty in &self.types {
            let bytes = u64::from(self.parts) * self.rows as u64 * u64::from(ty.bytes());
            all.push(Memory::Scratch { offset, bytes, written });
            offset += bytes.next_multiple_of(SCRATCH_ALIGNMENT);
        }
        all
    }
}

/// Where a thread's partial results gather while its rows are computed: by fold and row, counted from the thread's first.
pub(super) type Gathered = BTreeMap<(usize, u32), Partial>;

/// Combines what the neighbours at `result` add to each fold, where they are `inside`, to what their row has gathered.
pub(super) fn gather(
    engine: &mut Engine<'_>,
    plan: &Plan,
    result: &[IndexId],
    (lanes, row): (u32, u32),
    inside: Option<R<Pred>>,
    gathered: &mut Gathered,
) -> Result<(), Fault> {
    let ways = plan.ways(engine, result)?;
    for (number, fold) in plan.folds.iter().enumerate() {
        let elements = engine.emit(fold.operand, operand_of(&ways, fold)?)?;
        let mut partial = fold.partial(engine, &elements, lanes)?;
        if let Some(inside) = inside {
            partial = fold.combine.where_(&mut engine.k, inside, &partial)?;
        }
        if let Some(before) = gathered.get(&(number, row)) {
            partial = fold.combine.combine(&mut engine.k, before, &partial)?;
        }
        gathered.insert((number, row), partial);
    }
    Ok(())
}

/// What one row has gathered, in registers that change as its elements are stored: for each fold.
pub(super) type Row = Vec<Vec<Reg>>;

/// A row of which nothing has been stored yet.
pub(super) fn begin(engine: &mut Engine<'_>, plan: &Plan) -> Result<Row, Fault> {
    plan.folds.iter().map(|fold| fold.combine.start(engine)).collect()
}

/// Combines what the `lanes` neighbours at `result` add to each fold into what their row has gathered.
pub(super) fn add_to(
    engine: &mut Engine<'_>,
    plan: &Plan,
    result: &[IndexId],
    lanes: u32,
    row: &Row,
) -> Result<(), Fault> {
    let ways = plan.ways(engine, result)?;
    for (fold, sum) in plan.folds.iter().zip(row) {
        let elements = engine.emit(fold.operand, operand_of(&ways, fold)?)?;
        let partial = fold.partial(engine, &elements, lanes)?;
        fold.combine.add_to(engine, sum, &partial)?;
    }
    Ok(())
}

/// Stores the partial result of a part of the row of `result` where `pred` holds.
pub(super) fn leave(
    engine: &mut Engine<'_>,
    plan: &Plan,
    (number, pointer): (usize, R<B64>),
    result: &[IndexId],
    part: IndexId,
    partial: &Partial,
    pred: R<Pred>,
) -> Result<(), Fault> {
    let fold = &plan.folds[number];
    let ways = plan.ways(engine, result)?;
    let at = fold.coordinates(engine, operand_of(&ways, fold)?);
    let flat = engine.indices.flat(&at, &engine.program.ty(fold.value).shape);
    let at = engine.indices.scale_add(part, plan.n_rows() as i64, flat);
    let ty = fold.ty()?;
    let place = engine.place(pointer, at, ty.bytes() as usize)?;
    let access = Access::new(Space::Global, memory_type(ty), 1);
    Ok(engine.k.when(pred, |k| k.store(access, place, partial))?)
}

fn operand_of<'a>(ways: &'a BTreeMap<ValueId, Vec<IndexId>>, fold: &Fold) -> Result<&'a [IndexId], Fault> {
    ways.get(&fold.operand).map(Vec::as_slice).ok_or_else(|| Fault::contract("a fold does not follow the contraction"))
}
