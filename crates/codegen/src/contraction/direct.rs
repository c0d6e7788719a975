//! Convolutions of narrow groups, depthwise ones first of all: no tile of products to share, so a thread per few outputs.
//!
//! ```text
//! thread t of the launch:   `lanes` neighbouring channels of `positions` neighbouring outputs of a row
//!
//!        image row   [ x x x x x x ]     channels last: a vector of channels is one access, its filters are read once
//!        filter        w w w             for all positions, and positions that overlap share their pixels
//!        outputs       y y y y
//! ```
//!
//! The engine finds every element, so that prologue-free operands of any layout will do. Few taps are written out, so that
//! equal pixels are loaded once; many are a loop over k.

use super::axes::Axes;
use super::columns::Columns;
use super::normal::Plan;
use super::problem::{Operand, Problem};
use super::region::{finish, round};
use super::schedule::{DirectSchedule, sum_type};
use crate::element::compute_type;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use gable_ptx::meaning::Ternary;
use gable_ptx::{Reg, ScalarType, Value};

/// Values of k that are written out one after the other; more are a loop.
const MAX_UNROLLED: usize = 32;

/// Threads of a CTA.
pub(super) const THREADS: u32 = 128;

/// Whether a thread per output suits the problem: groups too narrow for tiles, operands that need no computing.
pub(super) fn suits(plan: &Plan, problem: &Problem) -> bool {
    let memory = |operand: &Operand| matches!(operand, Operand::Memory(_));
    let narrow = problem.n < 16 || plan.channels_per_group().is_some_and(|channels| channels < 8);
    plan.is_grouped() && narrow && memory(&problem.a) && memory(&problem.b)
}

/// Neighbours of a thread: channels where they lie together, outputs of a row where whole rows divide.
pub(super) fn schedule(plan: &Plan, problem: &Problem) -> DirectSchedule {
    let channels = problem.n * problem.batches();
    let group = problem.n;
    let widest = (16 / problem.element.bytes()).min(8);
    // A vector of channels must not cross groups, unless each channel is its own.
    let fits = |lanes: usize| channels.is_multiple_of(lanes) && (group == 1 || group.is_multiple_of(lanes));
    let lanes =
        [8, 4, 2].into_iter().find(|&lanes| lanes <= widest && !problem.store.along_m && fits(lanes)).unwrap_or(1);
    let row = plan.sizes.m.last().copied().unwrap_or(1);
    let positions = [4, 2].into_iter().find(|&n| row.is_multiple_of(n)).unwrap_or(1);
    DirectSchedule { lanes: lanes as u32, positions: positions as u32 }
}

/// Writes the kernel's body.
pub(super) fn emit(engine: &mut Engine<'_>, plan: &Plan, schedule: &DirectSchedule) -> Result<(), Fault> {
    engine.k.required_threads(THREADS, 1, 1);
    let problem = &plan.problem;
    let total = schedule.vectors(problem);
    let thread = engine.k.global_thread_x();
    let inside = engine.k.setp_lt_u32(thread, total as u32);
    engine.if_(inside, |engine| {
        let vector = match total {
            1 => engine.indices.constant(0),
            _ => engine.variable(thread, 0, total as i64 - 1),
        };
        outputs(engine, plan, schedule, vector)
    })?;
    engine.k.exit();
    Ok(())
}

/// Axes of a thread's outputs: batch, n and, for each position, m.
fn outputs(engine: &mut Engine<'_>, plan: &Plan, schedule: &DirectSchedule, vector: IndexId) -> Result<(), Fault> {
    let problem = &plan.problem;
    let (lanes, positions) = (schedule.lanes as usize, schedule.positions as usize);
    let channel_vectors = problem.n * problem.batches() / lanes;
    let image = plan.sizes.m[1..].iter().product::<usize>();
    let lane = engine.set_lanes(schedule.lanes);
    // Neighbouring threads take neighbours in memory: channels, or positions where channels come first.
    let (rows, channels) = if problem.store.along_m {
        let per_image = image / positions;
        let (rest, position) = engine.indices.divide(vector, per_image as i64);
        let (n, channel) = engine.indices.divide(rest, channel_vectors as i64);
        (engine.indices.scale_add(n, per_image as i64, position), channel)
    } else {
        engine.indices.divide(vector, channel_vectors as i64)
    };
    let channel = engine.indices.scale_add(channels, lanes as i64, lane);
    let (group, within) = engine.indices.divide(channel, problem.n as i64);
    let mut outputs: Vec<Axes<IndexId>> = Vec::new();
    for position in 0..positions {
        let row = engine.indices.scale(rows, positions as i64);
        let row = engine.indices.offset(row, position as i64);
        outputs.push(plan.axes_at(engine, &[group], row, within, None));
    }

    let ty = compute_type(sum_type(problem.element))?;
    let mut sums: Vec<Vec<Reg>> = Vec::new();
    for _ in 0..positions {
        let zero = if ty.is_float() { zero_of(ty) } else { Value::Int(0) };
        sums.push((0..lanes).map(|_| engine.copy(ty, zero)).collect::<Result<_, Fault>>()?);
    }
    if problem.k <= MAX_UNROLLED {
        for k in 0..problem.k {
            let k = engine.indices.constant(k as i64);
            accumulate(engine, plan, &outputs, k, ty, &sums)?;
        }
    } else {
        engine.for_u32(0, problem.k as u32, 1, |engine, k| {
            let k = engine.variable(k, 0, problem.k as i64 - 1);
            accumulate(engine, plan, &outputs, k, ty, &sums)
        })?;
    }
    for (axes, sums) in outputs.iter().zip(&sums) {
        let mut rounded = Vec::with_capacity(lanes);
        for &sum in sums {
            rounded.push(round(engine, sum_type(problem.element), problem.out, sum.into())?);
        }
        finish(engine, plan, axes, vec![Lanes::new(rounded)], Columns::all(&plan.problem))?;
    }
    Ok(())
}

fn zero_of(ty: ScalarType) -> Value {
    if ty == ScalarType::F64 { Value::from(0f64) } else { Value::from(0f32) }
}

/// Adds the products of one k to every sum.
fn accumulate(
    engine: &mut Engine<'_>,
    plan: &Plan,
    outputs: &[Axes<IndexId>],
    k: IndexId,
    ty: ScalarType,
    sums: &[Vec<Reg>],
) -> Result<(), Fault> {
    use super::problem::Side::{A, B};
    let summed = engine.indices.coordinates(k, &plan.sizes.k);
    for (axes, sums) in outputs.iter().zip(sums) {
        let axes = Axes { k: summed.clone(), ..axes.clone() };
        let pixel = plan.place(engine, A, &axes);
        // Outside the image the load gives zero, and so does the product.
        let mut guard = Some(GuardId::ALWAYS);
        for &(axis, size) in &pixel.padded {
            guard = guard.and_then(|guard| engine.guard_at_least(guard, pixel.coordinates[axis], 0));
            guard = guard.and_then(|guard| engine.guard_below(guard, pixel.coordinates[axis], size as i64));
        }
        let Some(guard) = guard else { continue };
        let pixels = engine.emit_guarded(plan.operand(A), &pixel.coordinates, guard)?;
        let filter = plan.place(engine, B, &axes);
        let weights = engine.emit(plan.operand(B), &filter.coordinates)?;
        for (lane, &sum) in (0..).zip(sums) {
            let op = if ty.is_float() { Ternary::Fma } else { Ternary::Mad };
            let next = engine.k.ternary(op, ty, pixels.at(lane), weights.at(lane), sum)?;
            engine.assign(sum, next.into())?;
        }
    }
    Ok(())
}
