//! A tensor with updates written into it.
//!
//! A CTA owns a run of neighbouring result elements and looks at all updates in order, 256 at a time:
//!
//! ```text
//! each thread:  one index tuple -> the slice of the result that it names
//! CTA:          updates whose slice meets the run go to shared memory, in order (ballots and counts of the warps)
//! each thread:  for each of these: if it names the slice of my elements, combine the update into them
//! ```
//!
//! So every element sees its updates in row-major order, whatever runs when: the last one replaces, and sums of floats
//! are the same each time. Nothing is atomic. The cost is that every CTA reads all index tuples: `n / run` times the
//! tuples, plus the updates once. Tuples outside the result are dropped. Each element of `x` is read by the thread that
//! writes it, so the result may overwrite `x`.

use super::rows::{Thread, grid};
use super::{Region, vector_lanes};
use crate::arithmetic;
use crate::element::compute_type;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::work::KernelLaunch;
use gable_ir::attr::ScatterKind;
use gable_ir::{Op, ops};
use gable_ptx::meaning::{Access, Comparison, Ternary};
use gable_ptx::{B32, KernelBuilder, Pred, R, Reg, ScalarType, SharedArray, Space, Value};
use gable_tensor::DType;

/// Threads of a CTA, and updates that it looks at in one step.
const THREADS: u32 = 256;
const WARP: u32 = 32;
const WARPS: u32 = THREADS / WARP;
const ALL_LANES: u32 = u32::MAX;

pub(super) fn launch(region: &Region<'_>, op: &ops::ScatterNd) -> Result<KernelLaunch, Fault> {
    let scatter = Scatter::new(region, op)?;
    let ty = region.program.ty(region.anchor);
    let lanes = vector_lanes(scatter.slice, ty.dtype.bytes(), ty.len(), region.hardware, 512);
    let n_vectors = ty.len() / lanes as usize;
    let grid = grid("scatter_nd", n_vectors.div_ceil(THREADS as usize))?;

    let mut engine = region.engine("scatter_nd", THREADS);
    let thread = Thread::here(&mut engine, grid, THREADS);
    let lane = engine.set_lanes(lanes);
    let flat = engine.indices.scale_add(thread.global, i64::from(lanes), lane);
    let inside = engine.guard_below(GuardId::ALWAYS, thread.global, n_vectors as i64);
    let inside = inside.ok_or_else(|| Fault::contract("a scatter has no element at all"))?;
    let coordinates = engine.indices.coordinates(flat, &ty.shape);
    let old = engine.emit_guarded(region.operand(0), &coordinates, inside)?;
    let mut elements = Vec::with_capacity(lanes as usize);
    for lane in 0..lanes {
        elements.push(engine.copy(compute_type(ty.dtype)?, old.at(lane))?);
    }
    if scatter.n_updates > 0 {
        let (slice, within) = engine.indices.divide(flat, scatter.slice as i64);
        let first = engine.indices.scale(thread.cta, i64::from(THREADS * lanes));
        let last = engine.indices.offset(first, i64::from(THREADS * lanes) - 1);
        let (first, _) = engine.indices.divide(first, scatter.slice as i64);
        let (last, _) = engine.indices.divide(last, scatter.slice as i64);
        // Where a vector has one slice, the lane is gone from its number.
        let slice = engine.indices.at_lane(slice, 0);
        let run = Run { slice, first, last, within, thread: thread.thread, thread_register: thread.thread_register };
        scatter.apply(&mut engine, region, &run, &elements)?;
    }
    let elements = Lanes::new(elements.into_iter().map(Value::from).collect());
    engine.store_output(0, &coordinates, &elements, inside)?;
    engine.k.exit();
    Ok(region.launch(engine, grid, lanes, THREADS))
}

/// Where a thread's elements lie.
struct Run {
    /// The slice that the thread's elements belong to.
    slice: IndexId,
    /// The first and the last slice of the CTA's elements.
    first: IndexId,
    last: IndexId,
    /// Position of the elements within their slice, by lane.
    within: IndexId,
    thread: IndexId,
    thread_register: R<B32>,
}

struct Scatter<'a> {
    op: &'a ops::ScatterNd,
    /// Coordinates in one index tuple.
    depth: usize,
    /// Elements of one slice: of the axes that tuples do not name.
    slice: usize,
    n_updates: usize,
    /// Type of a slice's number in instructions.
    number: ScalarType,
}

impl<'a> Scatter<'a> {
    fn new(region: &Region<'_>, op: &'a ops::ScatterNd) -> Result<Scatter<'a>, Fault> {
        let (x, indices) = (region.program.ty(region.operand(0)), region.program.ty(region.operand(1)));
        let Some((&depth, leading)) = indices.shape.split_last() else {
            return Err(Fault::contract("the indices of a scatter have no axis of coordinates"));
        };
        let n_updates: usize = leading.iter().product();
        if n_updates > i32::MAX as usize - THREADS as usize {
            return Err(Fault::unsupported("scatter_nd", format!("{n_updates} updates are more than 2^31")));
        }
        let slice = x.shape[depth..].iter().product();
        let n_slices: usize = x.shape[..depth].iter().product();
        let number = if i32::try_from(n_slices).is_ok() { ScalarType::S32 } else { ScalarType::S64 };
        Ok(Scatter { op, depth, slice, n_updates, number })
    }

    /// Combines all updates into the thread's elements.
    fn apply(&self, engine: &mut Engine<'_>, region: &Region<'_>, run: &Run, elements: &[Reg]) -> Result<(), Fault> {
        let found = Found::new(engine, self.number, run.thread_register);
        let as_wide = self.number == ScalarType::S64;
        let [first, last, own] = [run.first, run.last, run.slice].map(|index| engine.index_register(index, as_wide));
        let (first, last, own) = (first?, last?, own?);
        let steps = self.n_updates.div_ceil(THREADS as usize);
        engine.for_u32(0, steps as u32, 1, |engine, step| {
            let step = engine.variable(step, 0, steps as i64 - 1);
            let update = engine.indices.scale_add(step, i64::from(THREADS), run.thread);
            let update_register = engine.index_register(update, false)?;
            let update_register = update_register.typed().expect("the index was asked for in 32 bits");
            let (slice, exists) = self.slice_of(engine, region, update)?;
            let k = &mut engine.k;
            let not_before = k.compare(Comparison::Ge, self.number, slice, first)?;
            let not_after = k.compare(Comparison::Le, self.number, slice, last)?;
            let meets = k.and_pred(not_before, not_after);
            let meets = k.and_pred(meets, exists);
            let count = found.gather(k, meets, slice, update_register)?;
            engine.for_u32(0, count, 1, |engine, i| {
                let (slice, update) = found.at(&mut engine.k, i)?;
                let is_mine = engine.k.compare(Comparison::Eq, self.number, slice, own)?;
                engine.if_(is_mine, |engine| self.combine(engine, region, run, update, elements))
            })?;
            // What was found is read, and the next step may write its own.
            engine.k.bar_sync(0);
            Ok::<(), Fault>(())
        })
    }

    /// The slice that update `update` names, and whether there are such an update and such a slice.
    fn slice_of(&self, engine: &mut Engine<'_>, region: &Region<'_>, update: IndexId) -> Result<(Reg, R<Pred>), Fault> {
        let program = region.program;
        let (x, indices) = (program.ty(region.operand(0)), program.ty(region.operand(1)));
        let ty = compute_type(indices.dtype)?;
        let guard = engine.guard_below(GuardId::ALWAYS, update, self.n_updates as i64);
        let guard = guard.ok_or_else(|| Fault::contract("a step of a scatter has no update"))?;
        let mut coordinates = engine.indices.coordinates(update, &indices.shape[..indices.shape.len() - 1]);
        let mut exists = match engine.predicate(guard, 0)? {
            Some(exists) => exists,
            None => engine.k.setp_eq_u32(0, 0),
        };
        let mut slice = engine.copy(self.number, Value::Int(0))?;
        for axis in 0..self.depth {
            coordinates.push(engine.indices.constant(axis as i64));
            let coordinate = engine.emit_guarded(region.operand(1), &coordinates, guard)?.at(0);
            coordinates.pop();
            let k = &mut engine.k;
            // Negative coordinates are large without sign, so that one comparison sees both ends.
            let unsigned = if ty == ScalarType::S64 { ScalarType::U64 } else { ScalarType::U32 };
            let size = x.shape[axis];
            let bound = if ty == ScalarType::S64 { size as i64 } else { size.min(1 << 31) as i64 };
            let is_inside = k.compare(Comparison::Lt, unsigned, coordinate, bound)?;
            exists = k.and_pred(exists, is_inside);
            let coordinate = crate::element::register(k, ty, coordinate)?;
            let coordinate = match (ty, self.number) {
                (ScalarType::S64, ScalarType::S32) => k.convert(ScalarType::U32, ScalarType::U64, coordinate)?,
                (ScalarType::S32, ScalarType::S64) => k.convert(ScalarType::S64, ScalarType::S32, coordinate)?,
                _ => coordinate,
            };
            // Horner's rule over the leading axes; what overflows is outside and not used.
            slice = k.ternary(Ternary::Mad, self.number, slice, size as i64, coordinate)?;
        }
        Ok((slice, exists))
    }

    /// Combines one update, which names the thread's slice, into the thread's elements.
    fn combine(
        &self,
        engine: &mut Engine<'_>,
        region: &Region<'_>,
        run: &Run,
        update: R<B32>,
        elements: &[Reg],
    ) -> Result<(), Fault> {
        let program = region.program;
        let (x, indices) = (program.ty(region.operand(0)), program.ty(region.operand(1)));
        let update = engine.variable(update, 0, self.n_updates as i64 - 1);
        let mut coordinates = engine.indices.coordinates(update, &indices.shape[..indices.shape.len() - 1]);
        coordinates.extend(engine.indices.coordinates(run.within, &x.shape[self.depth..]));
        let updates = engine.emit(region.operand(2), &coordinates)?;
        for (&element, lane) in elements.iter().zip(0..) {
            let combined = join(&mut engine.k, self.op.kind, x.dtype, element.into(), updates.at(lane))?;
            engine.assign(element, combined)?;
        }
        Ok(())
    }
}

/// An element after an update.
fn join(k: &mut KernelBuilder, kind: ScatterKind, dtype: DType, old: Value, new: Value) -> Result<Value, Fault> {
    let op = match kind {
        ScatterKind::Replace => return Ok(new),
        ScatterKind::Add => Op::Add(ops::Add {}),
        ScatterKind::Mul => Op::Mul(ops::Mul {}),
        ScatterKind::Max => Op::Max(ops::Max {}),
        ScatterKind::Min => Op::Min(ops::Min {}),
    };
    arithmetic::map(k, &op, &[dtype; 2], dtype, &[old, new])
}

/// Updates that meet the CTA's elements, in shared memory.
struct Found {
    slices: SharedArray,
    updates: SharedArray,
    counts: SharedArray,
    number: ScalarType,
    warp: R<B32>,
    lane: R<B32>,
}

impl Found {
    fn new(engine: &mut Engine<'_>, number: ScalarType, thread: R<B32>) -> Found {
        let k = &mut engine.k;
        Found {
            slices: k.shared_array("slices", THREADS * number.bytes(), number.bytes()),
            updates: k.shared_array("updates", THREADS * 4, 4),
            counts: k.shared_array("counts", WARPS * 4, 4),
            number,
            warp: k.shr_u32(thread, WARP.trailing_zeros()),
            lane: k.and_b32(thread, WARP - 1),
        }
    }

    /// Puts the updates of the threads where `meets` holds one after the other, in the order of the threads, and gives
    /// their number.
    fn gather(&self, k: &mut KernelBuilder, meets: R<Pred>, slice: Reg, update: R<B32>) -> Result<R<B32>, Fault> {
        let ballot = k.vote_ballot(meets, ALL_LANES);
        let in_warp = k.popc_b32(ballot);
        let is_first = k.setp_eq_u32(self.lane, 0);
        let slot = address(k, &self.counts, self.warp, 4);
        k.when(is_first, |k| k.st_shared_b32(slot, in_warp));
        // Counts of the warps are written.
        k.bar_sync(0);
        let bit = k.shl_b32(1u32, self.lane);
        let lower = k.sub_u32(bit, 1);
        let lower = k.and_b32(ballot, lower);
        let before = k.popc_b32(lower);
        let mut place = before;
        let mut total = k.mov_b32(0);
        for warp in 0..WARPS {
            let count = k.ld_shared_b32(self.counts.at(warp as i32 * 4));
            let is_before = k.setp_gt_u32(self.warp, warp);
            let ahead = k.selp_b32(count, 0, is_before);
            place = k.add_u32(place, ahead);
            total = k.add_u32(total, count);
        }
        let to_slice = address(k, &self.slices, place, self.number.bytes());
        let to_update = address(k, &self.updates, place, 4);
        k.when(meets, |k| {
            k.store(Access::new(Space::Shared, self.number, 1), to_slice, &[slice.into()])?;
            k.st_shared_b32(to_update, update);
            Ok::<(), Fault>(())
        })?;
        // Updates are written; counts are read, and the next step may write its own.
        k.bar_sync(0);
        Ok(total)
    }

    /// The slice and the number of update `i` of those found.
    fn at(&self, k: &mut KernelBuilder, i: R<B32>) -> Result<(Reg, R<B32>), Fault> {
        let from_slice = address(k, &self.slices, i, self.number.bytes());
        let from_update = address(k, &self.updates, i, 4);
        let slice = k.load(Access::new(Space::Shared, self.number, 1), from_slice)?[0];
        Ok((slice, k.ld_shared_b32(from_update)))
    }
}

fn address(k: &mut KernelBuilder, array: &SharedArray, index: R<B32>, bytes: u32) -> R<B32> {
    let base = k.address_of_shared(array);
    k.mad_lo_u32(index, bytes, base)
}
