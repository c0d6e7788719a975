//! Running runnings along rows.
//!
//! Two schedules. Rows whose neighbours lie side by side, or that are short, take a thread (or a lane of its vector) each,
//! which walks along the row: accesses of neighbouring threads are neighbours. Other rows take a group of 32 or 256
//! threads, which goes along the row chunk by chunk:
//!
//! ```text
//! chunk:   thread 0: V elements | thread 1: V elements | ...      each thread scans its own V
//! warp:    totals of the threads are scanned by shuffles
//! group:   totals of the warps meet in shared memory
//! chunks:  the total so far is carried along in a register
//! ```
//!
//! The order in which elements are joined depends on the shape alone. A reversed scan takes vectors, threads and lanes
//! from the end. Each element is read and written by the same thread, so the result may overwrite the operand.

use super::rows::{Rows, Thread, grid, leave_at};
use super::{Region, vector_lanes};
use crate::combine::Combine;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::work::KernelLaunch;
use gable_ir::{Op, ops};
use gable_ptx::meaning::Access;
use gable_ptx::{B32, Class, F32, KernelBuilder, Pred, R, Reg, ScalarType, SharedArray, Space, Value};
use gable_tensor::DType;

/// Threads of a CTA.
const THREADS: u32 = 256;
const WARP: u32 = 32;
const ALL_LANES: u32 = u32::MAX;
const WARPS: u32 = THREADS / WARP;

/// Rows of up to so many elements are walked by one thread.
const SHORT_ROW: usize = 8;

/// With so many rows side by side, a warp's accesses fill whole lines when each thread walks a row.
const ROWS_SIDE_BY_SIDE: usize = 32;

/// Chunks of a warp along one row, beyond which a whole CTA takes the row.
const WARP_CHUNKS: usize = 8;

pub(super) fn launch(region: &Region<'_>, op: &ops::Scan) -> Result<KernelLaunch, Fault> {
    let ty = region.program.ty(region.anchor);
    let rows = Rows::along("scan", &ty.shape, op.axis)?;
    let running = Running::of(op, ty.dtype)?;
    let scan = Scan { op, rows, running, bytes: ty.dtype.bytes() };
    if scan.rows.length <= SHORT_ROW || scan.rows.inner >= ROWS_SIDE_BY_SIDE {
        thread_per_row(region, &scan)
    } else {
        group_per_row(region, &scan)
    }
}

struct Scan<'a> {
    op: &'a ops::Scan,
    rows: Rows,
    running: Running,
    bytes: usize,
}

fn thread_per_row(region: &Region<'_>, scan: &Scan<'_>) -> Result<KernelLaunch, Fault> {
    let (rows, running) = (&scan.rows, &scan.running);
    let lanes = vector_lanes(rows.inner, scan.bytes, rows.count, region.hardware, 512);
    let n_vectors = rows.count / lanes as usize;
    let grid = grid("scan", n_vectors.div_ceil(THREADS as usize))?;
    let mut engine = region.engine("scan", THREADS);
    let thread = Thread::here(&mut engine, grid, THREADS);
    leave_at(&mut engine, thread.global, n_vectors)?;
    let lane = engine.set_lanes(lanes);
    let row = engine.indices.scale_add(thread.global, i64::from(lanes), lane);
    let mut sums = Vec::with_capacity(lanes as usize);
    for _ in 0..lanes {
        sums.push(engine.copy(running.ty, running.identity)?);
    }
    engine.for_u32(0, rows.length as u32, 1, |engine, step| {
        let step = engine.variable(step, 0, rows.length as i64 - 1);
        let position = scan.position_of(engine, step, rows.length);
        let coordinates = rows.coordinates(&mut engine.indices, row, position);
        let elements = engine.emit(region.operand(0), &coordinates)?;
        let (mut joined, mut results) = (Vec::new(), Vec::new());
        for (lane, &register) in (0..lanes).zip(&sums) {
            let element = running.of_element(engine, elements.at(lane))?;
            let with = running.join(&mut engine.k, register.into(), element)?;
            let result = if scan.op.exclusive { register.into() } else { with };
            results.push(running.finish(&mut engine.k, result)?);
            joined.push(with);
        }
        // Stored before the running registers change: an exclusive result is such a register.
        engine.store_output(0, &coordinates, &Lanes::new(results), GuardId::ALWAYS)?;
        sums.iter().zip(joined).try_for_each(|(&register, with)| engine.assign(register, with))
    })?;
    engine.k.exit();
    Ok(region.launch(engine, grid, lanes, THREADS))
}

fn group_per_row(region: &Region<'_>, scan: &Scan<'_>) -> Result<KernelLaunch, Fault> {
    let (rows, running) = (&scan.rows, &scan.running);
    let contiguous = if rows.inner == 1 { rows.length } else { 1 };
    let lanes = vector_lanes(contiguous, scan.bytes, rows.count * rows.length, region.hardware, 512);
    let n_vectors = rows.length / lanes as usize;
    let group = if n_vectors.div_ceil(WARP as usize) <= WARP_CHUNKS { WARP } else { THREADS };
    let rows_per_cta = THREADS / group;
    let grid = grid("scan", rows.count.div_ceil(rows_per_cta as usize))?;

    let mut engine = region.engine("scan", THREADS);
    let thread = Thread::here(&mut engine, grid, THREADS);
    let (within_cta, place) = engine.indices.divide(thread.thread, i64::from(group));
    let row = engine.indices.scale_add(thread.cta, i64::from(rows_per_cta), within_cta);
    // Whole warps leave, and where a CTA shares a row none does.
    leave_at(&mut engine, row, rows.count)?;
    let lane = engine.set_lanes(lanes);
    let warp = (group > WARP).then(|| Warps::new(&mut engine, thread.thread_register, running.ty));
    let lane_in_warp = engine.k.and_b32(thread.thread_register, WARP - 1);
    let carry = engine.copy(running.ty, running.identity)?;

    let n_chunks = n_vectors.div_ceil(group as usize);
    engine.for_u32(0, n_chunks as u32, 1, |engine, chunk| {
        let chunk = engine.variable(chunk, 0, n_chunks as i64 - 1);
        let step = engine.indices.scale_add(chunk, i64::from(group), place);
        let guard = engine.guard_below(GuardId::ALWAYS, step, n_vectors as i64);
        let guard = guard.ok_or_else(|| Fault::contract("a chunk of a scan lies beyond its row"))?;
        let vector = scan.position_of(engine, step, n_vectors);
        let position = engine.indices.scale_add(vector, i64::from(lanes), lane);
        let coordinates = rows.coordinates(&mut engine.indices, row, position);
        let elements = engine.emit_guarded(region.operand(0), &coordinates, guard)?;
        let inside = engine.predicate(guard, 0)?;

        let order: Vec<u32> = if scan.op.reverse { (0..lanes).rev().collect() } else { (0..lanes).collect() };
        let mut own: Vec<Value> = Vec::with_capacity(lanes as usize);
        for &lane in &order {
            let mut element = running.of_element(engine, elements.at(lane))?;
            let k = &mut engine.k;
            if let Some(inside) = inside {
                element = running.select(k, inside, element, running.identity)?;
            }
            own.push(match own.last() {
                None => element,
                Some(&before) => running.join(k, before, element)?,
            });
        }
        let total = *own.last().expect("a vector has a lane");
        let total = engine.copy(running.ty, total)?;
        let k = &mut engine.k;
        let through = scan_warp(k, running, lane_in_warp, total)?;
        let before = shuffle(k, Shuffle::Up, through, 1)?;
        let is_first = k.setp_eq_u32(lane_in_warp, 0);
        let mut before = running.select(k, is_first, running.identity, before.into())?;
        before = match &warp {
            None => {
                let before = running.join(k, carry.into(), before)?;
                let all = shuffle(k, Shuffle::Index, through, WARP - 1)?;
                let next = running.join(k, carry.into(), all.into())?;
                k.copy_into(carry, next)?;
                before
            }
            Some(warps) => warps.join(k, running, lane_in_warp, through, before, carry)?,
        };
        let mut results = vec![before; lanes as usize];
        for (count, &lane) in order.iter().enumerate() {
            let own = if scan.op.exclusive { count.checked_sub(1) } else { Some(count) }.map(|last| own[last]);
            let result = match own {
                None => before,
                Some(own) => running.join(k, before, own)?,
            };
            results[lane as usize] = running.finish(k, result)?;
        }
        engine.store_output(0, &coordinates, &Lanes::new(results), guard)
    })?;
    engine.k.exit();
    Ok(region.launch(engine, grid, lanes, THREADS))
}

impl Scan<'_> {
    /// Step `step` of `count` as a position: counted from the end when the scan runs from there.
    fn position_of(&self, engine: &mut Engine<'_>, step: IndexId, count: usize) -> IndexId {
        if !self.op.reverse {
            return step;
        }
        let negated = engine.indices.scale(step, -1);
        engine.indices.offset(negated, count as i64 - 1)
    }
}

/// One register that is combined along a row.
struct Running {
    combine: Combine,
    ty: ScalarType,
    /// The combination of no elements.
    identity: Value,
}

impl Running {
    fn of(op: &ops::Scan, dtype: DType) -> Result<Running, Fault> {
        let combine = Combine::of(&Op::Scan(op.clone()), dtype, 0)?;
        let (ty, identity) = (combine.types()?[0], combine.identity()?[0]);
        Ok(Running { combine, ty, identity })
    }

    fn of_element(&self, engine: &mut Engine<'_>, element: Value) -> Result<Value, Fault> {
        Ok(self.combine.of_element(engine, element, |_| Ok(Value::Int(0)))?[0])
    }

    fn join(&self, k: &mut KernelBuilder, earlier: Value, later: Value) -> Result<Value, Fault> {
        Ok(self.combine.combine(k, &[earlier], &[later])?[0])
    }

    fn select(&self, k: &mut KernelBuilder, cond: R<Pred>, a: Value, b: Value) -> Result<Value, Fault> {
        Ok(k.select(self.ty, a, b, cond)?.into())
    }

    fn finish(&self, k: &mut KernelBuilder, running: Value) -> Result<Value, Fault> {
        self.combine.finish(k, &[running], self.combine.count(1))
    }
}

/// The totals of a CTA's warps.
struct Warps {
    totals: SharedArray,
    ty: ScalarType,
    warp: R<B32>,
}

impl Warps {
    fn new(engine: &mut Engine<'_>, thread: R<B32>, ty: ScalarType) -> Warps {
        let totals = engine.k.shared_array("totals", WARPS * ty.bytes(), ty.bytes());
        let warp = engine.k.shr_u32(thread, WARP.trailing_zeros());
        Warps { totals, ty, warp }
    }

    /// What comes before a thread in its row: the carry, the warps before its own, and `before`, which is within its
    /// warp. `through` is the warp's total in its last lane. The carry moves on by the whole CTA.
    fn join(
        &self,
        k: &mut KernelBuilder,
        running: &Running,
        lane_in_warp: R<B32>,
        through: Reg,
        before: Value,
        carry: Reg,
    ) -> Result<Value, Fault> {
        let bytes = self.ty.bytes();
        let access = Access::new(Space::Shared, self.ty, 1);
        let base = k.address_of_shared(&self.totals);
        let own = k.mad_lo_u32(self.warp, bytes, base);
        let is_last = k.setp_eq_u32(lane_in_warp, WARP - 1);
        k.when(is_last, |k| k.store(access, own, &[through.into()]))?;
        // Totals are written.
        k.bar_sync(0);
        let mut ahead: Value = k.copy(self.ty, carry)?.into();
        let mut mine = ahead;
        for warp in 0..WARPS {
            let is_own = k.setp_eq_u32(self.warp, warp);
            mine = running.select(k, is_own, ahead, mine)?;
            let total = k.load(access, self.totals.at((warp * bytes) as i32))?[0];
            ahead = running.join(k, ahead, total.into())?;
        }
        k.copy_into(carry, ahead)?;
        // Totals are read, and the next chunk may write its own.
        k.bar_sync(0);
        running.join(k, mine, before)
    }
}

/// The running of `value` over this lane and all lanes before it.
fn scan_warp(k: &mut KernelBuilder, running: &Running, lane_in_warp: R<B32>, value: Reg) -> Result<Reg, Fault> {
    let mut distance = 1;
    while distance < WARP {
        let other = shuffle(k, Shuffle::Up, value, distance)?;
        let joined = running.join(k, other.into(), value.into())?;
        let has_other: R<Pred> = k.setp_ge_u32(lane_in_warp, distance);
        let joined = running.select(k, has_other, joined, value.into())?;
        k.copy_into(value, joined)?;
        distance *= 2;
    }
    Ok(value)
}

#[derive(Clone, Copy)]
enum Shuffle {
    /// From the lane so many before; lanes without one keep their own value.
    Up,
    /// From the lane of this number.
    Index,
}

/// The register of another lane. All lanes of the warp take part.
fn shuffle(k: &mut KernelBuilder, from: Shuffle, value: Reg, by: u32) -> Result<Reg, Fault> {
    let word = |k: &mut KernelBuilder, word: R<B32>| match from {
        Shuffle::Up => k.shfl_up_b32(word, by, 0, ALL_LANES),
        Shuffle::Index => k.shfl_idx_b32(word, by, WARP - 1, ALL_LANES),
    };
    const MATCHES: &str = "the class was looked at";
    Ok(match value.class {
        Class::B32 => word(k, value.typed().expect(MATCHES)).reg(),
        Class::F32 => {
            let value: R<F32> = value.typed().expect(MATCHES);
            match from {
                Shuffle::Up => k.shfl_up_f32(value, by, 0, ALL_LANES).reg(),
                Shuffle::Index => k.shfl_idx_f32(value, by, WARP - 1, ALL_LANES).reg(),
            }
        }
        Class::B64 | Class::F64 => {
            let bits = match value.class {
                Class::F64 => k.b64_of_f64(value.typed().expect(MATCHES)),
                _ => value.typed().expect(MATCHES),
            };
            let [low, high] = k.unpack_b64(bits);
            let (low, high) = (word(k, low), word(k, high));
            let bits = k.pack_b64([low, high]);
            if value.class == Class::F64 { k.f64_of_b64(bits).reg() } else { bits.reg() }
        }
        Class::Pred | Class::B8 | Class::B16 | Class::B128 => {
            return Err(Fault::contract("a running value is in a register of 32 or 64 bits"));
        }
    })
}
