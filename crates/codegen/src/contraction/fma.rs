//! The pipeline on ordinary multiply-adds: f32, f64, integers, and whatever the tensor cores do not take as it comes.
//!
//! ```text
//!            n                          two stages in shared memory, each stage:
//!        +-------+                      +------------------------+------------------------+
//!        |   B   | k                    | A  k rows of tile.m    | B  k rows of tile.n    |   one vector of padding
//!        +-------+                      +------------------------+------------------------+   after each row
//!   k
//! +---+  +-------+   a thread sums thread.0 x thread.1 elements: vectors of 16 bytes, as far apart as makes a warp,
//! | A |  | tile  |   4 threads along m by 8 along n, read neighbouring vectors
//! +---+  +-------+
//!
//! round t:  load tile t + 1 into registers | products of tile t | store tile t + 1 to the other stage | barrier
//! ```
//!
//! Of several products of one left factor a stage holds a tile of each right factor, and a thread has the same part of all.
//!
//! Factors are converted to the type of the sum on their way into shared memory, so the loop has one form: for each k, read
//! a column of A's vectors and a row of B's, then multiply all pairs, the next k's reads under way. One barrier per round
//! is enough: what a round overwrites was read in the round before, and what it reads was stored before its barrier.

use super::cta::{Cta, digits, store_inside};
use super::gather::{Gather, GatherTile};
use super::groups::place_of_cta;
use super::problem::{self, ContractionError, Major, Problem, Side};
use super::schedule::{FmaSchedule, Schedule, WARP, sum_type};
use super::surround::Surround;
use super::tile::Share;
use super::values::{Chunk, clear, scalar_type};
use gable_ptx::meaning::{Access, Meaning, Ternary};
use gable_ptx::{B32, KernelBuilder, Opcode, Operand, R, Reg, ScalarType, Space, Value};
use gable_tensor::DType;

/// Threads of a warp along m and n.
const WARP_SHAPE: (u32, u32) = (4, 8);

/// One operand's tile, how it is brought, and where the thread writes and reads.
struct Staged {
    gather: Gather,
    major: Major,
    /// Bytes of a row of the shared tile.
    pitch: u32,
    /// Byte offset in a stage of the thread's first chunk.
    write: R<B32>,
    /// Byte offset in a stage of the thread's first vector of factors, and from one of its vectors to the next.
    read: R<B32>,
    read_step: u32,
    vectors: u32,
}

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &FmaSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    Schedule::Fma(*schedule).validate(problem, k.target())?;
    let sum = sum_type(problem.element);
    assert!(schedule.shared_bytes(sum) <= k.target().row().max_shared_bytes, "a valid schedule fits shared memory");
    k.required_threads(schedule.threads(), 1, 1);
    let is_computed = |operand: &problem::Operand| matches!(operand, problem::Operand::Expression { .. });
    if is_computed(&problem.a) || is_computed(&problem.b) {
        // What the region computes on the way is not counted in the schedule: without this ptxas 13.0 takes too few registers
        // and spills.
        k.min_ctas_per_sm(1);
    }

    let tile = schedule.tile;
    let stages = k.dynamic_shared(16);
    let stages = k.address_of_shared(&stages);
    let tiles = ((tile.m, tile.n), schedule.group);
    let own_bytes = schedule.shared_bytes(sum_type(problem.element));
    let cta = place_of_cta(k, problem, tiles, schedule.threads(), (stages, own_bytes), surround)?;
    // The thread's position among threads along m and n.
    let warps_n = tile.n / (WARP_SHAPE.1 * schedule.thread.1);
    let warps = (schedule.threads() / WARP / warps_n) as usize;
    let place_of_warp = digits(k, cta.warp, &[warps, warps_n as usize]);
    let (warp_m, warp_n) = (place_of_warp[0], place_of_warp[1]);
    let lane_m = k.shr_u32(cta.lane, WARP_SHAPE.1.trailing_zeros());
    let lane_n = k.and_b32(cta.lane, WARP_SHAPE.1 - 1);
    let thread_m = k.mad_lo_u32(warp_m, WARP_SHAPE.0, lane_m);
    let thread_n = k.mad_lo_u32(warp_n, WARP_SHAPE.1, lane_n);

    let mut operands = Vec::new();
    for side in problem.sides() {
        let thread = if side == Side::A { thread_m } else { thread_n };
        operands.push(stage(k, problem, schedule, side, &cta, thread, surround)?);
    }
    let sums = main_loop(k, problem, schedule, &operands, surround)?;
    epilogue(k, problem, schedule, &cta, (thread_m, thread_n), &sums, surround)
}

fn stage(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &FmaSchedule,
    side: Side,
    cta: &Cta,
    thread: R<B32>,
    surround: &mut dyn Surround,
) -> Result<Staged, ContractionError> {
    let sum = sum_type(problem.element);
    let (bytes, vector) = (sum.bytes() as u32, FmaSchedule::vector(sum));
    let pitch_of = |width| FmaSchedule::pitch(width, sum) * bytes;
    let (outer, per_thread, origin, start) = match side {
        Side::A => (schedule.tile.m, schedule.thread.0, cta.row, 0),
        right => {
            let before = pitch_of(schedule.tile.m) + right.product() as u32 * pitch_of(schedule.tile.n);
            (schedule.tile.n, schedule.thread.1, cta.column, schedule.tile.k * before)
        }
    };
    let pitch = pitch_of(outer);
    let major = problem.operand(side).vector().0;
    // A chunk is a vector of k for one outer index, or a vector of outer indices for one k.
    let (rows, columns) = match major {
        Major::K => (outer, schedule.tile.k / vector),
        Major::Outer => (schedule.tile.k, outer / vector),
    };
    let share = Share::of(k, cta.thread, rows, columns, schedule.threads());
    let described = GatherTile {
        problem,
        side,
        major,
        elements: vector,
        origin,
        step: outer,
        k: schedule.tile.k,
        batch: &cta.batch,
    };
    let gather = Gather::new(k, described, share, surround)?;
    let (row, column) = gather.first();
    let (down, right) = match major {
        Major::K => (k.mul_lo_u32(column, vector), row),
        Major::Outer => (row, k.mul_lo_u32(column, vector)),
    };
    let write = k.mad_lo_u32(down, pitch, start);
    let write = k.mad_lo_u32(right, bytes, write);
    let read = k.mad_lo_u32(thread, vector * bytes, start);
    let vectors = per_thread / vector;
    Ok(Staged { gather, major, pitch, write, read, read_step: outer / vectors * bytes, vectors })
}

impl Staged {
    /// Stores chunks, in the type of the sum, to the stage at `stage`.
    fn land(
        &self,
        k: &mut KernelBuilder,
        chunks: &[Chunk],
        stage: R<B32>,
        element: DType,
    ) -> Result<(), ContractionError> {
        let sum = scalar_type(sum_type(element))?;
        let element = scalar_type(element)?;
        let to = k.add_u32(stage, self.write);
        for (i, chunk) in chunks.iter().enumerate() {
            let elements = chunk.each(k, element, sum)?;
            let step = i as u32 * self.gather.row_step();
            match self.major {
                // The chunk stands upright in the tile.
                Major::K => {
                    for (j, &element) in elements.iter().enumerate() {
                        let at = to.at((j as u32 * self.pitch + step * sum.bytes()) as i32);
                        let access = Access::new(Space::Shared, sum, 1);
                        self.gather.land(k, |k| k.store(access, at, &[element.into()]))?;
                    }
                }
                Major::Outer => {
                    let values: Vec<Value> = elements.into_iter().map(Value::Reg).collect();
                    let access = Access::new(Space::Shared, sum, values.len() as u8);
                    self.gather.land(k, |k| k.store(access, to.at((step * self.pitch) as i32), &values))?;
                }
            }
        }
        Ok(())
    }

    /// The thread's factors of row `row` of the stage at `from`.
    fn factors(&self, k: &mut KernelBuilder, from: R<B32>, row: u32, sum: DType) -> Result<Vec<Reg>, ContractionError> {
        let access = Access::new(Space::Shared, scalar_type(sum)?, FmaSchedule::vector(sum) as u8);
        let mut factors = Vec::new();
        for vector in 0..self.vectors {
            factors.extend(k.load(access, from.at((row * self.pitch + vector * self.read_step) as i32))?);
        }
        Ok(factors)
    }
}

/// The multiply-add of a sum type.
fn multiply_add(sum: DType) -> Result<Opcode, ContractionError> {
    let meaning = match sum {
        DType::F32 => Meaning::Ternary(Ternary::Fma, ScalarType::F32),
        DType::F64 => Meaning::Ternary(Ternary::Fma, ScalarType::F64),
        DType::I32 => Meaning::Ternary(Ternary::Mad, ScalarType::S32),
        DType::I64 => Meaning::Ternary(Ternary::Mad, ScalarType::S64),
        other => return Err(ContractionError::Type(other)),
    };
    Ok(Opcode::of(meaning).ok_or(gable_ptx::EmitError::NoRow { meaning })?)
}

fn main_loop(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &FmaSchedule,
    operands: &[Staged],
    surround: &mut dyn Surround,
) -> Result<Vec<Vec<Reg>>, ContractionError> {
    let sum = sum_type(problem.element);
    let class = scalar_type(sum)?.class();
    let multiply_add = multiply_add(sum)?;
    let stage_bytes = schedule.stage_bytes(sum);
    let rounds = problem.k.div_ceil(schedule.tile.k as usize) as u32;

    let stages = k.dynamic_shared(16);
    let stages = k.address_of_shared(&stages);
    let mut sums = Vec::new();
    for _ in 0..schedule.thread.0 {
        let row: Vec<Reg> = (0..schedule.products * schedule.thread.1).map(|_| k.fresh_reg(class)).collect();
        row.iter().try_for_each(|&register| clear(k, register))?;
        sums.push(row);
    }
    let next_k = k.mov_b32(0);
    for operand in operands.iter().filter(|_| rounds > 0) {
        let chunks = operand.gather.fetch(k, next_k, surround)?;
        operand.land(k, &chunks, stages, problem.element)?;
    }
    // The first stage is whole before anyone reads it.
    k.bar_sync(0u32);
    let read = k.mov_b32(stages);
    let write = k.add_u32(stages, stage_bytes);
    let both = k.add_u32(read, write);
    k.set(next_k).mov_b32(schedule.tile.k);

    k.no_unroll();
    k.for_u32(0, rounds, 1, |k, _| -> Result<(), ContractionError> {
        let more = k.setp_lt_u32(next_k, rounds * schedule.tile.k);
        let fetched = k.if_(more, |k| -> Result<Vec<Vec<Chunk>>, ContractionError> {
            operands.iter().map(|operand| operand.gather.fetch(k, next_k, surround)).collect()
        })?;
        k.set(next_k).add_u32(next_k, schedule.tile.k);
        let from: Vec<R<B32>> = operands.iter().map(|operand| k.add_u32(read, operand.read)).collect();
        // The left factors of a row, and the right ones of all products.
        let factors = |k: &mut KernelBuilder, row: u32| -> Result<(Vec<Reg>, Vec<Reg>), ContractionError> {
            let mut each = operands.iter().zip(&from).map(|(operand, &from)| operand.factors(k, from, row, sum));
            let left = each.next().transpose()?.unwrap_or_default();
            Ok((left, each.collect::<Result<Vec<_>, _>>()?.concat()))
        };
        let mut current = factors(k, 0)?;
        for row in 0..schedule.tile.k {
            let next = if row + 1 < schedule.tile.k { Some(factors(k, row + 1)?) } else { None };
            for (sums, &left) in sums.iter().zip(&current.0) {
                for (&sum, &right) in sums.iter().zip(&current.1) {
                    let sources = [left, right, sum].map(|register| Operand::Value(register.into()));
                    k.emit_into(multiply_add, vec![sum], sources.into())?;
                }
            }
            current = next.unwrap_or(current);
        }
        k.if_(more, |k| -> Result<(), ContractionError> {
            for (operand, chunks) in operands.iter().zip(&fetched) {
                operand.land(k, chunks, write, problem.element)?;
            }
            Ok(())
        })?;
        // Orders this round's stores before the next round's reads, and this round's reads before the next one's stores.
        k.bar_sync(0u32);
        k.set(read).sub_u32(both, read);
        k.set(write).sub_u32(both, write);
        Ok(())
    })?;
    Ok(sums)
}

/// Hands the sums to the region, neighbours together: a thread's vectors along n or m, of every product.
fn epilogue(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &FmaSchedule,
    cta: &Cta,
    (thread_m, thread_n): (R<B32>, R<B32>),
    sums: &[Vec<Reg>],
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let vector = FmaSchedule::vector(sum_type(problem.element));
    let lanes = (problem.store.lanes as u32).min(vector);
    let first = |k: &mut KernelBuilder, origin: R<B32>, thread: R<B32>| k.mad_lo_u32(thread, vector, origin);
    let (row, column) = (first(k, cta.row, thread_m), first(k, cta.column, thread_n));
    // Where element `i` of the thread's rows or columns lies: vector by vector, spread over the tile.
    let at = |i: u32, per_thread: u32, width: u32| i / vector * (width / (per_thread / vector)) + i % vector;
    let (tile, thread) = (schedule.tile, schedule.thread);
    let (step_m, step_n) = if problem.store.along_m { (lanes, 1) } else { (1, lanes) };
    for i in (0..thread.0).step_by(step_m as usize) {
        for j in (0..thread.1).step_by(step_n as usize) {
            let sum = |first: u32, l: u32| {
                let (i, j) = if step_m > 1 { (i + l, first + j) } else { (i, first + j + l) };
                sums[i as usize][j as usize]
            };
            let firsts = (0..schedule.products).map(|product| product * thread.1);
            let values: Vec<Reg> = firsts.flat_map(|first| (0..lanes).map(move |l| sum(first, l))).collect();
            let row = k.add_u32(row, at(i, thread.0, tile.m));
            let column = k.add_u32(column, at(j, thread.1, tile.n));
            store_inside(k, problem, (tile.m, tile.n), cta, (row, column), &values, surround)?;
        }
    }
    k.exit();
    Ok(())
}

const _: () = assert!(WARP_SHAPE.0 * WARP_SHAPE.1 == WARP, "a warp is cut into its lanes");
