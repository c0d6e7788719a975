//! Maps whose inputs are contiguous along another axis than their outputs: through shared memory, tile by tile.
//!
//! ```text
//! p: the axis along which the transposed inputs are contiguous      q: the axis along which the outputs are
//! load    neighbouring threads along p, into tile[q][p]             store   neighbouring threads along q, from tile[q][p]
//! ```
//!
//! Both sides then touch whole lines. A row of the tile has one word more than its elements, which puts the words of one
//! column into different banks. Inputs that lie as the outputs do are read when the outputs are written.

use super::stated_class;
use crate::combine::memory_type;
use crate::element::{self, compute_type};
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::{Atom, IndexId, Indices};
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::{Group, Op};
use gable_ptx::meaning::Access;
use gable_ptx::{B32, R, ScalarType, Space};
use std::collections::BTreeSet;

/// Threads of a CTA, in rows of a warp.
const ROWS: u32 = 8;
const WARP: u32 = 32;

/// Axes shorter than this fill too little of a tile.
const SHORTEST: usize = 16;

/// Static shared memory of a CTA.
const SHARED_BYTES: u32 = gable_ptx::STATIC_SHARED_BYTES;

/// One place where an input is read: the input and its coordinates.
type Read = (ValueId, Vec<IndexId>);

/// How a program is transposed.
struct Plan {
    shape: Vec<usize>,
    p: usize,
    q: usize,
    /// Which of the program's reads go through shared memory, in the order of `reads`.
    through_tile: Vec<bool>,
    /// Elements of a side of the tile.
    side: u32,
}

/// A kernel through shared memory, where the program is one for it.
pub(super) fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Option<Work>, Fault> {
    // Tiles are read by other threads than those that write over them.
    if !overwritten.is_empty() {
        return Ok(None);
    }
    let Some(plan) = plan(program, hardware) else { return Ok(None) };
    let mut engine = Engine::new(program, "transpose", hardware.target, overwritten);
    let threads = ROWS * WARP;
    engine.k.required_threads(threads, 1, 1);
    let schedule = Schedule::Transpose { side: plan.side, threads };
    engine.k.comment(format!("{schedule}, {:?} by axes {} and {}", plan.shape, plan.p, plan.q));
    let side = plan.side as usize;
    let (tiles_p, tiles_q) = (plan.shape[plan.p].div_ceil(side), plan.shape[plan.q].div_ceil(side));
    let others: Vec<usize> = (0..plan.shape.len()).filter(|&axis| axis != plan.p && axis != plan.q).collect();
    let n_others: usize = others.iter().map(|&axis| plan.shape[axis]).product();
    let n_tiles = tiles_p * tiles_q * n_others;
    let Some(grid) = u32::try_from(n_tiles).ok().filter(|&n| n <= i32::MAX as u32) else { return Ok(None) };

    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let tile = engine.variable(cta, 0, n_tiles as i64 - 1);
    let tile = engine.indices.coordinates(tile, &[n_others, tiles_p, tiles_q]);
    let sizes: Vec<usize> = others.iter().map(|&axis| plan.shape[axis]).collect();
    let outside = engine.indices.coordinates(tile[0], &sizes);
    let column = engine.k.and_b32(tid, WARP - 1);
    let row = engine.k.shr_u32(tid, 5);
    let mut kernel = Kernel { engine: &mut engine, plan: &plan, others, outside, tile, column, row };
    let arrays = kernel.fill()?;
    // Orders the stores of the tile before its loads along the other axis.
    kernel.engine.k.bar_sync(0);
    kernel.store(&arrays)?;
    engine.k.exit();
    Ok(Some(Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule,
        grid: [grid, 1, 1],
        block: [threads, 1, 1],
        cluster: [1, 1, 1],
        dependent: false,
        dynamic_shared_bytes: 0,
        args: KernelLaunch::all_buffers(program),
    })))
}

fn plan(program: &Program, hardware: &Hardware) -> Option<Plan> {
    let shape = program.ty(program.outputs.first()?.0).shape.clone();
    if program.outputs.iter().any(|&(id, _)| program.ty(id).shape != shape) {
        return None;
    }
    let q = shape.iter().rposition(|&size| size > 1)?;
    if shape[q] < SHORTEST {
        return None;
    }
    // An engine that writes nothing that is kept: only its indices are looked at.
    let mut engine = Engine::of_inputs(program, "plan", hardware.target);
    let axes: Vec<(IndexId, u32)> = shape.iter().map(|&size| engine.indices.variable(0, size as i64 - 1)).collect();
    let coordinates: Vec<IndexId> = axes.iter().map(|&(index, _)| index).collect();
    let reads = reads(&mut engine, &coordinates)?;
    let mut p = None;
    let mut through_tile = Vec::with_capacity(reads.len());
    let mut bytes_per_element = 0;
    for (input, at) in &reads {
        let flat = engine.indices.flat(at, &program.ty(*input).shape);
        let factors = factors(&engine.indices, flat, &axes)?;
        let contiguous = (0..shape.len()).find(|&axis| factors[axis] == 1 && shape[axis] >= SHORTEST);
        let is_transposed = factors[q] > 1 && contiguous.is_some();
        if is_transposed {
            if p.is_some_and(|p| Some(p) != contiguous) {
                return None;
            }
            p = contiguous;
            bytes_per_element += tile_type(program, *input)?.bytes();
        }
        through_tile.push(is_transposed);
    }
    let p = p?;
    let widest = reads.iter().zip(&through_tile).filter(|&(_, &tiled)| tiled);
    let widest = widest.map(|((input, _), _)| program.ty(*input).dtype.bytes()).max()?;
    // Narrow elements need more of them to fill a line.
    let mut side = if widest >= 4 { WARP } else { 2 * WARP };
    while side > WARP && side * (side + 1) * bytes_per_element > SHARED_BYTES {
        side /= 2;
    }
    (side * (side + 1) * bytes_per_element <= SHARED_BYTES).then_some(Plan { shape, p, q, through_tile, side })
}

/// The type under which an input's elements lie in the tile.
fn tile_type(program: &Program, input: ValueId) -> Option<ScalarType> {
    Some(match compute_type(program.ty(input).dtype).ok()? {
        ScalarType::Pred => ScalarType::U32,
        other => other,
    })
}

/// What each axis' coordinate counts for in an index; `None` where it is not a plain sum of them.
fn factors(indices: &Indices, index: IndexId, axes: &[(IndexId, u32)]) -> Option<Vec<i64>> {
    let mut factors = vec![0; axes.len()];
    for (atom, factor) in indices.parts(index).1 {
        let Atom::Variable { number, .. } = indices.atom(atom) else { return None };
        let axis = axes.iter().position(|&(_, own)| own == number)?;
        factors[axis] = factor;
    }
    Some(factors)
}

/// Every read of an input that the outputs at `coordinates` need, in a fixed order; `None` where an element's place
/// depends on more than its coordinates.
fn reads(engine: &mut Engine<'_>, coordinates: &[IndexId]) -> Option<Vec<Read>> {
    let program = engine.program;
    let mut found = Vec::new();
    let mut seen: BTreeSet<Read> = BTreeSet::new();
    let mut pending: Vec<Read> = program.outputs.iter().map(|&(id, _)| (id, coordinates.to_vec())).collect();
    while let Some((id, at)) = pending.pop() {
        if !seen.insert((id, at.clone())) {
            continue;
        }
        let node = &program.values[id];
        match &node.op {
            Op::Input(_) | Op::Weight(_) => found.push((id, at)),
            Op::Const(_) | Op::Iota(_) => {}
            op if op.is(Group::Map) => pending.extend(node.operands.iter().map(|&operand| (operand, at.clone()))),
            _ => {
                let inner = engine.moved(node, &at)?;
                pending.push((node.operands[0], inner));
            }
        }
    }
    Some(found)
}

struct Kernel<'e, 'p, 'l> {
    engine: &'e mut Engine<'p>,
    plan: &'l Plan,
    others: Vec<usize>,
    /// Coordinates of the tile along the axes that are not `p` and `q`.
    outside: Vec<IndexId>,
    /// The tile's number among others, along p and along q.
    tile: Vec<IndexId>,
    column: R<B32>,
    row: R<B32>,
}

/// Where a read's elements lie in shared memory.
struct TileArray {
    ty: ScalarType,
    base: R<B32>,
}

impl Kernel<'_, '_, '_> {
    /// The coordinates at `along_p` and `along_q` of the tile, and the guard that they lie inside.
    fn place(&mut self, along_p: R<B32>, along_q: R<B32>) -> Result<(Vec<IndexId>, GuardId), Fault> {
        let mut guard = GuardId::ALWAYS;
        let mut coordinates = vec![self.outside.first().copied().unwrap_or(self.tile[0]); self.plan.shape.len()];
        for (&axis, &at) in self.others.iter().zip(&self.outside) {
            coordinates[axis] = at;
        }
        for (axis, tile, along) in [(self.plan.p, self.tile[1], along_p), (self.plan.q, self.tile[2], along_q)] {
            let size = self.plan.shape[axis];
            let start = self.engine.indices.scale(tile, self.plan.side.into());
            let start: R<B32> = self.engine.index_register(start, false)?.typed().expect("a narrow index is 32 bits");
            let at = self.engine.k.add_u32(start, along);
            if !size.is_multiple_of(self.plan.side as usize) {
                let inside = self.engine.k.setp_lt_u32(at, size as u32);
                guard = self.engine.guard_by(guard, inside);
            }
            coordinates[axis] = self.engine.variable(at, 0, size as i64 - 1);
        }
        Ok((coordinates, guard))
    }

    /// The reads that go through the tile, at these coordinates.
    fn tiled_reads(&mut self, coordinates: &[IndexId]) -> Result<Vec<Read>, Fault> {
        let all = reads(self.engine, coordinates).ok_or_else(|| Fault::contract("a transposed read moved"))?;
        if all.len() != self.plan.through_tile.len() {
            return Err(Fault::contract("a transposed read joined another"));
        }
        Ok(all.into_iter().zip(&self.plan.through_tile).filter(|&(_, &tiled)| tiled).map(|(read, _)| read).collect())
    }

    /// Steps of a thread over the tile: `(along the warp, along the rows)`, both within the tile.
    fn steps(&mut self) -> Vec<(R<B32>, R<B32>)> {
        let side = self.plan.side;
        let mut steps = Vec::new();
        for down in (0..side).step_by(ROWS as usize) {
            let slow = self.engine.k.add_u32(self.row, down);
            for right in (0..side).step_by(WARP as usize) {
                let fast = self.engine.k.add_u32(self.column, right);
                steps.push((fast, slow));
            }
        }
        steps
    }

    /// Loads along p and stores into the tile.
    fn fill(&mut self) -> Result<Vec<TileArray>, Fault> {
        let program = self.engine.program;
        let side = self.plan.side;
        let mut arrays: Vec<TileArray> = Vec::new();
        // All loads first, so that they are in flight together.
        let mut loaded = Vec::new();
        for (along_p, along_q) in self.steps() {
            let (coordinates, guard) = self.place(along_p, along_q)?;
            let mut elements = Vec::new();
            for (input, at) in self.tiled_reads(&coordinates)? {
                let value = self.engine.emit_guarded(input, &at, guard)?.at(0);
                elements.push((input, value));
            }
            loaded.push((along_p, along_q, elements));
        }
        for (along_p, along_q, elements) in loaded {
            let at = self.engine.k.mad_lo_u32(along_q, side + 1, along_p);
            for (position, (input, value)) in elements.into_iter().enumerate() {
                let ty = tile_type(program, input).ok_or_else(|| Fault::contract("a read changed its type"))?;
                if arrays.len() == position {
                    let bytes = side * (side + 1) * ty.bytes();
                    let array = self.engine.k.shared_array(&format!("tile{position}"), bytes, 16);
                    arrays.push(TileArray { ty, base: self.engine.k.address_of_shared(&array) });
                }
                let k = &mut self.engine.k;
                let word = match compute_type(program.ty(input).dtype)? {
                    ScalarType::Pred => {
                        let truth = element::predicate(k, value)?;
                        k.selp_b32(1, 0, truth).reg()
                    }
                    other => element::register(k, other, value)?,
                };
                let place = k.mad_lo_u32(at, ty.bytes(), arrays[position].base);
                k.store(Access::new(Space::Shared, memory_type(ty), 1), place, &[word.into()])?;
            }
        }
        Ok(arrays)
    }

    /// Reads the tile along q, computes and stores.
    fn store(&mut self, arrays: &[TileArray]) -> Result<(), Fault> {
        let program = self.engine.program;
        let side = self.plan.side;
        for (along_q, along_p) in self.steps() {
            let (coordinates, guard) = self.place(along_p, along_q)?;
            let at = self.engine.k.mad_lo_u32(along_q, side + 1, along_p);
            for ((input, inner), array) in self.tiled_reads(&coordinates)?.into_iter().zip(arrays) {
                let k = &mut self.engine.k;
                let place = k.mad_lo_u32(at, array.ty.bytes(), array.base);
                let word = k.load(Access::new(Space::Shared, memory_type(array.ty), 1), place)?[0];
                let value = match compute_type(program.ty(input).dtype)? {
                    ScalarType::Pred => k.setp_ne_u32(word.typed::<B32>().expect("bool lies as a word"), 0).reg(),
                    _ => word,
                };
                self.engine.bind(input, &inner, Lanes::uniform(value));
            }
            for (position, &(output, _)) in program.outputs.iter().enumerate() {
                let elements = self.engine.emit_guarded(output, &coordinates, guard)?;
                self.engine.store_output(position, &coordinates, &elements, guard)?;
            }
        }
        Ok(())
    }
}
