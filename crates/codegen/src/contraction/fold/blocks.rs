//! Block folds: reductions of blocks of neighbouring columns, such as the largest sizes behind the scales of a quantised
//! result, that are used for the same elements again.
//!
//! ```text
//!   sums of a row in the lanes that share it          block 0             block 1
//!   first:  what is folded, of every element    |x x x x x x x x x x|x x x x x x x x x x|
//!   then:   folded by each lane, joined by shuffles      [max]               [max]
//!   last:   every element again, by its block's     |q q q q q q q q q q|q q q q q q q q q q|
//! ```
//!
//! In: fragments that hold whole blocks between the lanes that share their rows. Every lane ends up with the same partial
//! result, so nothing goes through memory; what was computed of an element for the fold is still there afterwards.

use super::Fold;
use crate::combine::{Partial, combine_lanes};
use crate::contraction::normal::Plan;
use crate::engine::{Engine, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ptx::{B32, R};
use std::collections::BTreeMap;

/// Bytes of a line that results are written in.
const LINE: usize = 128;

/// Columns of the narrowest tile whose results are written in lines.
const LEAST_COLUMNS: usize = 64;

/// A fragment's place: its row, counted from the thread's first, its block, counted from the first one's, and where every
/// value after the anchors lies.
pub(in super::super) struct Place {
    pub row: u32,
    pub block: u32,
    pub ways: BTreeMap<ValueId, Vec<IndexId>>,
}

impl Place {
    /// The coordinates of a value.
    pub fn of(&self, value: ValueId) -> Result<&[IndexId], Fault> {
        self.ways
            .get(&value)
            .map(Vec::as_slice)
            .ok_or_else(|| Fault::contract("a value does not follow the contraction"))
    }
}

/// Columns of fragments as blocks and places within them, so that all columns of a block have one index of it.
pub(in super::super) struct BlockColumns {
    columns: u32,
    lanes: u32,
    /// How many blocks a row has.
    count: u32,
    first: R<B32>,
    /// The same as an index, where tiles end where rows do.
    shared: Option<IndexId>,
    within: IndexId,
}

impl BlockColumns {
    /// For fragments of `lanes` columns at these distances from the thread's `first` column, which together hold whole blocks.
    pub fn new(
        engine: &mut Engine<'_>,
        plan: &Plan,
        first: R<B32>,
        (lanes, extent): (u32, u32),
        distances: &[u32],
    ) -> BlockColumns {
        let columns = plan.block_columns(engine) as u32;
        // A block is whole, so that the last lane's last columns are its end.
        let farthest = distances.iter().map(|distance| distance % columns).max().unwrap_or(0);
        let last = columns.saturating_sub(lanes + farthest) / lanes;
        let within = match last {
            0 => engine.indices.constant(0),
            last => {
                let within = engine.k.and_b32(first, columns - 1);
                let vector = engine.k.shr_u32(within, lanes.trailing_zeros());
                engine.variable(vector, 0, last.into())
            }
        };
        let first = engine.k.shr_u32(first, columns.trailing_zeros());
        let count = (plan.problem.n as u32) / columns;
        // Blocks are written as distances from one that all share, so that they share its address.
        let farthest = distances.iter().map(|distance| distance / columns).max().unwrap_or(0);
        let divides = plan.problem.n.is_multiple_of(extent as usize);
        let shared = divides.then(|| engine.variable(first, 0, i64::from(count) - 1 - i64::from(farthest)));
        BlockColumns { columns, lanes, count, first, shared, within }
    }

    /// The index of a block so many after the first one, kept below the number of blocks.
    pub fn block(&self, engine: &mut Engine<'_>, distance: u32) -> IndexId {
        let last = self.count - 1;
        if let Some(first) = self.shared {
            return engine.indices.offset(first, distance.into());
        }
        let at = engine.k.add_u32(self.first, distance);
        let inside = engine.k.min_u32(at, last);
        engine.variable(inside, 0, last.into())
    }

    /// The column that lies `distance` from the thread's first, in a block of this index, with the lane added.
    pub fn column(&self, engine: &mut Engine<'_>, block: IndexId, distance: u32) -> IndexId {
        let lane = engine.set_lanes(self.lanes);
        let within = engine.indices.scale_add(self.within, self.lanes.into(), lane);
        let within = engine.indices.offset(within, (distance % self.columns).into());
        engine.indices.scale_add(block, self.columns.into(), within)
    }

    /// How many blocks after the first one the column lies.
    pub fn number(&self, distance: u32) -> u32 {
        distance / self.columns
    }

    /// Whether there is a block so many after the first one; `None` where there always is.
    pub fn exists(&self, engine: &mut Engine<'_>, distance: u32) -> Option<R<gable_ptx::Pred>> {
        self.shared.is_none().then(|| {
            let at = engine.k.add_u32(self.first, distance);
            engine.k.setp_lt_u32(at, self.count)
        })
    }
}

impl Plan {
    /// Columns of a block; 1 where none are folded.
    pub fn block_columns(&self, engine: &Engine<'_>) -> usize {
        let operand = self.blocks.first().map(|fold| fold.operand);
        operand.and_then(|operand| engine.program.ty(operand).shape.last().copied()).unwrap_or(1)
    }

    /// Columns that a tile has multiples of, so that it holds whole blocks in whole lines of results; 1 where no blocks are folded.
    pub fn columns_together(&self, engine: &Engine<'_>) -> usize {
        if self.blocks.is_empty() {
            return 1;
        }
        let bytes = self.results.iter().map(|&position| {
            let (value, _) = engine.program.outputs[position];
            engine.program.ty(value).dtype.bytes()
        });
        let line = LINE / bytes.min().unwrap_or(1).max(1);
        self.block_columns(engine).max(line).max(LEAST_COLUMNS)
    }
}

/// Folds the blocks of all fragments, and states the results where the program has them. `width` lanes share their rows.
pub(in super::super) fn bind(
    engine: &mut Engine<'_>,
    plan: &Plan,
    places: &[Place],
    (lanes, width): (u32, u32),
) -> Result<(), Fault> {
    for fold in &plan.blocks {
        let mut gathered: BTreeMap<(u32, u32), (&Place, Vec<Partial>)> = BTreeMap::new();
        for place in places {
            let elements = engine.emit(fold.operand, place.of(fold.operand)?)?;
            let partial = fold.partial(engine, &elements, lanes)?;
            gathered.entry((place.row, place.block)).or_insert((place, Vec::new())).1.push(partial);
        }
        for (place, partials) in gathered.into_values() {
            let partial = in_pairs(engine, fold, partials)?;
            let partial = combine_lanes(&mut engine.k, &fold.combine, partial, width)?;
            let count = fold.combine.count(plan.block_columns(engine));
            let element = fold.combine.finish(&mut engine.k, &partial, count)?;
            engine.bind(fold.value, place.of(fold.value)?, Lanes::uniform(element));
        }
    }
    Ok(())
}

/// Combines neighbours, then their results, and so on: in one order, and without a long chain.
fn in_pairs(engine: &mut Engine<'_>, fold: &Fold, mut partials: Vec<Partial>) -> Result<Partial, Fault> {
    while partials.len() > 1 {
        let mut next = Vec::with_capacity(partials.len().div_ceil(2));
        for pair in partials.chunks(2) {
            next.push(match pair {
                [a, b] => fold.combine.combine(&mut engine.k, a, b)?,
                one => one[0].clone(),
            });
        }
        partials = next;
    }
    partials.pop().ok_or_else(|| Fault::contract("a block has columns"))
}
