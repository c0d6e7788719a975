//! The pipeline on `mma.sync`: every target has it.
//!
//! ```text
//!            n                        ring of `stages` in shared memory, each stage:
//!        +-------+                    +------------------+------------------+
//!        |   B   | k                  | A  tile.m x k    | B  tile.n x k    |   rows along the operand's major
//!        +-------+                    +------------------+------------------+   direction, swizzled (see `tile`)
//!   k
//! +---+  +---+---+
//! | A |  |w00|w01|  warps.0 x warps.1 warps; a warp's part is cut into 16 x 8 fragments of sums in registers,
//! |   |  +---+---+  fed by `ldmatrix` (transposing where the operand's rows run along m or n) in steps of 32 bytes of k
//! +---+  |w10|w11|
//!        +---+---+
//!
//! Of several products of one left factor a stage holds a tile of each right factor, and a warp has the same part of all.
//!
//! round t:  wait for stage t | barrier | start bringing stage t + stages - 1 | products of stage t | land it
//! ```
//!
//! One barrier per round orders everything: it comes after every thread's copies of stage t have arrived and after every
//! warp has read stage t - 1, which is the place that stage t + stages - 1 goes to. An operand that is memory, unconverted
//! and aligned goes by `cp.async`; any other goes through registers, loaded before the products and stored after them.
//!
//! Afterwards each warp turns its sums, sixteen rows at a time, through a slab of shared memory, so that a lane holds
//! neighbours and the epilogue reads and writes whole vectors.

use super::cta::{Cta, digits, store_inside};
use super::gather::{Gather, GatherTile};
use super::groups::place_of_cta;
use super::problem::{ContractionError, Major, Problem, Side};
use super::schedule::{MmaSyncSchedule, Schedule, WARP};
use super::surround::Surround;
use super::tile::{CHUNK, PERIOD, Share, SharedTile};
use super::values::scalar_type;
use crate::division::quotient;
use gable_ptx::meaning::{Access, Element, MatrixMultiply, Meaning};
use gable_ptx::{B32, F32, KernelBuilder, Opcode, Operand, Pred, R, Reg, ScalarType, Space, Value};
use gable_tensor::DType;

/// Bytes of k that one matrix instruction sums over, whatever the type.
const STEP: u32 = 32;

/// Rows and columns of the sums of one instruction.
const FRAGMENT: (u32, u32) = (16, 8);

/// Vectors of a lane, of sixteen rows, that the epilogue writes out one after the other.
const MAX_UNROLLED: u32 = 4;

/// One operand's tile, how it is brought, and where the warp reads its fragments.
struct Staged {
    tile: SharedTile,
    gather: Gather,
    is_async: bool,
    /// Byte offset in a stage of the thread's first chunk.
    write: R<B32>,
    /// Byte offsets in a stage that a lane gives to `ldmatrix`: one per step of k, or one per fragment of 16 outer indices.
    read: Vec<R<B32>>,
    major: Major,
}

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &MmaSyncSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    Schedule::MmaSync(*schedule).validate(problem, k.target())?;
    let shared_bytes = schedule.shared_bytes(problem.element);
    assert!(shared_bytes <= k.target().row().max_shared_bytes, "a valid schedule fits shared memory");
    k.required_threads(schedule.threads(), 1, 1);
    // Without it ptxas 13.0 aims at an occupancy of its own choice and spills a few bytes at 72 registers, where 96 hold
    // all and cost no CTA.
    k.min_ctas_per_sm(1);

    let tile = schedule.tile;
    let ring = k.dynamic_shared(1024);
    let ring = k.address_of_shared(&ring);
    let tiles = ((tile.m, tile.n), schedule.group);
    let cta = place_of_cta(k, problem, tiles, schedule.threads(), (ring, shared_bytes), surround)?;
    let (warp_m, warp_n) = schedule.warp_tile();
    let place_of_warp = digits(k, cta.warp, &[schedule.warps.0 as usize, schedule.warps.1 as usize]);
    let warp_row = k.mul_lo_u32(place_of_warp[0], warp_m);
    let warp_column = k.mul_lo_u32(place_of_warp[1], warp_n);

    let mut operands = Vec::new();
    for side in problem.sides() {
        let origin = if side == Side::A { warp_row } else { warp_column };
        operands.push(stage(k, problem, schedule, side, &cta, origin, surround)?);
    }
    let sums = main_loop(k, problem, schedule, &operands, surround)?;
    epilogue(k, problem, schedule, &cta, (warp_row, warp_column), &sums, surround)
}

/// Bytes of a stage before an operand's tile.
fn tile_start(schedule: &MmaSyncSchedule, side: Side, bytes: u32) -> u32 {
    match side {
        Side::A => 0,
        right => (schedule.tile.m + right.product() as u32 * schedule.tile.n) * schedule.tile.k * bytes,
    }
}

/// Prepares one operand; `origin` is the warp's first outer index within the tile.
fn stage(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &MmaSyncSchedule,
    side: Side,
    cta: &Cta,
    origin: R<B32>,
    surround: &mut dyn Surround,
) -> Result<Staged, ContractionError> {
    let bytes = problem.element.bytes() as u32;
    let (outer, warp_outer, cta_origin) = match side {
        Side::A => (schedule.tile.m, schedule.warp_tile().0, cta.row),
        _ => (schedule.tile.n, schedule.warp_tile().1, cta.column),
    };
    // `ldmatrix` transposes elements of 16 bits only: others lie in k order, however they come.
    let major = if bytes == 2 { problem.operand(side).vector().0 } else { Major::K };
    let tile = match major {
        Major::K => SharedTile { rows: outer, row_bytes: schedule.tile.k * bytes },
        Major::Outer => SharedTile { rows: schedule.tile.k, row_bytes: outer * bytes },
    };
    let share = Share::of(k, cta.thread, tile.rows, tile.chunks(), schedule.threads());
    assert!(share.count == 1 || share.row_step.is_multiple_of(PERIOD), "a thread's chunks share a swizzle");
    let elements = CHUNK / bytes;
    let described = GatherTile {
        problem,
        side,
        major,
        elements,
        origin: cta_origin,
        step: outer,
        k: schedule.tile.k,
        batch: &cta.batch,
    };
    let gather = Gather::new(k, described, share, surround)?;
    let start = tile_start(schedule, side, bytes);
    let (row, column) = gather.first();
    let write = tile.offset(k, row, column);
    let write = k.add_u32(write, start);
    let read = fragment_offsets(k, &tile, major, side, (origin, warp_outer), cta.lane);
    let read = read.into_iter().map(|offset| k.add_u32(offset, start)).collect();
    let is_async = gather.is_async(problem.element);
    Ok(Staged { tile, gather, is_async, write, read, major })
}

/// What a lane gives to `ldmatrix.x4`: the row of matrix `lane / 8` that it names. The four matrices are the halves of
/// 16 outer indices by the halves of a step, ordered so that the registers are A's fragment, or B's fragments of eight
/// columns twice.
pub(super) fn fragment_offsets(
    k: &mut KernelBuilder,
    tile: &SharedTile,
    major: Major,
    side: Side,
    (origin, outer): (R<B32>, u32),
    lane: R<B32>,
) -> Vec<R<B32>> {
    let in_eight = k.and_b32(lane, 7);
    let bit = |k: &mut KernelBuilder, position: u32| {
        let shifted = k.shr_u32(lane, position);
        k.and_b32(shifted, 1)
    };
    // Of the matrix's number, A counts outer halves fastest, B counts k halves fastest.
    let (fast, slow) = (bit(k, 3), bit(k, 4));
    let (outer_half, k_half) = match side {
        Side::A => (fast, slow),
        _ => (slow, fast),
    };
    match major {
        Major::K => {
            let row = k.mad_lo_u32(outer_half, 8, in_eight);
            let row = k.add_u32(row, origin);
            (0..tile.row_bytes / STEP)
                .map(|step| {
                    let chunk = k.add_u32(k_half, step * STEP / CHUNK);
                    tile.offset(k, row, chunk)
                })
                .collect()
        }
        Major::Outer => {
            let row = k.mad_lo_u32(k_half, 8, in_eight);
            let first = k.shr_u32(origin, 3);
            let first = k.add_u32(first, outer_half);
            (0..outer / 16)
                .map(|fragment| {
                    let chunk = k.add_u32(first, fragment * 2);
                    tile.offset(k, row, chunk)
                })
                .collect()
        }
    }
}

impl Staged {
    /// Brings the tile at `k0` to the stage at `stage`, all of it now or, through registers, up to what `land` does.
    fn bring(
        &self,
        k: &mut KernelBuilder,
        k0: R<B32>,
        stage: R<B32>,
        surround: &mut dyn Surround,
    ) -> Result<Vec<super::values::Chunk>, ContractionError> {
        if self.is_async {
            let to = k.add_u32(stage, self.write);
            self.gather.copy(k, k0, to, self.gather.row_step() * self.tile.row_bytes);
            return Ok(Vec::new());
        }
        self.gather.fetch(k, k0, surround)
    }

    /// Stores what `bring` left in registers.
    fn land(
        &self,
        k: &mut KernelBuilder,
        chunks: &[super::values::Chunk],
        stage: R<B32>,
        element: ScalarType,
    ) -> Result<(), ContractionError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let to = k.add_u32(stage, self.write);
        for (i, chunk) in chunks.iter().enumerate() {
            let words = chunk.words(k, element)?;
            let at = i as u32 * self.gather.row_step() * self.tile.row_bytes;
            let [x, y, z, w] = words[..] else { unreachable!("a chunk is sixteen bytes") };
            self.gather.land(k, |k| k.st_shared_v4_b32(to.at(at as i32), [x, y, z, w]));
        }
        Ok(())
    }

    /// The fragments of 16 outer indices `fragment` at `step`, from the stage at `stage`.
    fn fragment(&self, k: &mut KernelBuilder, addresses: &[R<B32>], fragment: u32, step: u32) -> [R<B32>; 4] {
        match self.major {
            Major::K => k.ldmatrix_x4(addresses[step as usize].at((fragment * 16 * self.tile.row_bytes) as i32)),
            Major::Outer => {
                k.ldmatrix_x4_trans(addresses[fragment as usize].at((step * 16 * self.tile.row_bytes) as i32))
            }
        }
    }
}

/// The matrix instruction of an element type.
fn instruction(element: DType) -> Result<Opcode, ContractionError> {
    let (k, factor) = match element {
        DType::F16 => (16, Element::F16),
        DType::BF16 => (16, Element::Bf16),
        DType::Tf32 => (8, Element::Tf32),
        other => return Err(ContractionError::Type(other)),
    };
    let meaning =
        Meaning::MatrixMultiply(MatrixMultiply { m: 16, n: 8, k, a: factor, b: factor, accumulator: Element::F32 });
    Ok(Opcode::of(meaning).ok_or(gable_ptx::EmitError::NoRow { meaning })?)
}

/// Sums of a warp: `[fragment row][fragment column][register]`, the columns of one product after those of another.
type Sums = Vec<Vec<[R<F32>; 4]>>;

fn main_loop(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &MmaSyncSchedule,
    operands: &[Staged],
    surround: &mut dyn Surround,
) -> Result<Sums, ContractionError> {
    let element = scalar_type(problem.element)?;
    let multiply = instruction(problem.element)?;
    let stage_bytes = schedule.stage_bytes(problem.element);
    let ahead = schedule.stages - 1;
    let rounds = problem.k.div_ceil(schedule.tile.k as usize) as u32;
    let any_async = operands.iter().any(|operand| operand.is_async);
    let (warp_m, warp_n) = schedule.warp_tile();
    let (rows, columns) = (warp_m / FRAGMENT.0, schedule.products * warp_n / FRAGMENT.1);
    let steps = schedule.tile.k * problem.element.bytes() as u32 / STEP;

    let ring = k.dynamic_shared(1024);
    let ring = k.address_of_shared(&ring);
    let sums: Sums =
        (0..rows).map(|_| (0..columns).map(|_| std::array::from_fn(|_| k.mov_f32(0.0))).collect()).collect();

    k.comment("The first stages, so that the loop always has copies under way.");
    let next_k = k.mov_b32(0);
    let write = k.mov_b32(ring);
    for _ in 0..ahead.min(rounds) {
        for operand in operands {
            let chunks = operand.bring(k, next_k, write, surround)?;
            operand.land(k, &chunks, write, element)?;
        }
        if any_async {
            k.cp_async_commit_group();
        }
        k.set(next_k).add_u32(next_k, schedule.tile.k);
        k.set(write).add_u32(write, stage_bytes);
    }
    // A short sum has fewer stages under way; empty groups keep the count that the loop waits for.
    for _ in rounds..ahead {
        if any_async {
            k.cp_async_commit_group();
        }
        k.set(write).add_u32(write, stage_bytes);
    }
    let read = k.mov_b32(ring);
    let end = k.add_u32(ring, schedule.stages * stage_bytes);
    let k_end = rounds * schedule.tile.k;

    k.no_unroll();
    k.for_u32(0, rounds, 1, |k, _| -> Result<(), ContractionError> {
        // The groups after stage t's may still be under way.
        if any_async {
            k.cp_async_wait_group(ahead - 1);
        }
        // Orders this round's reads after all copies of the stage, and this round's copies after all reads of the last.
        k.bar_sync(0u32);
        let more = k.setp_lt_u32(next_k, k_end);
        let brought = k.if_(more, |k| -> Result<Vec<_>, ContractionError> {
            operands.iter().map(|operand| operand.bring(k, next_k, write, surround)).collect()
        })?;
        if any_async {
            k.cp_async_commit_group();
        }
        k.set(next_k).add_u32(next_k, schedule.tile.k);
        products(k, operands, read, (rows, columns, steps), multiply, &sums)?;
        if brought.iter().any(|chunks| !chunks.is_empty()) {
            k.if_(more, |k| -> Result<(), ContractionError> {
                for (operand, chunks) in operands.iter().zip(&brought) {
                    operand.land(k, chunks, write, element)?;
                }
                Ok(())
            })?;
        }
        for place in [read, write] {
            let next = k.add_u32(place, stage_bytes);
            let wraps: R<Pred> = k.setp_ge_u32(next, end);
            k.set(place).selp_b32(ring, next, wraps);
        }
        Ok(())
    })?;
    // The epilogue's slabs lie where the ring was.
    k.bar_sync(0u32);
    Ok(sums)
}

/// The products of one stage: fragments of the next step are loaded before the products of this one.
fn products(
    k: &mut KernelBuilder,
    operands: &[Staged],
    read: R<B32>,
    (rows, columns, steps): (u32, u32, u32),
    multiply: Opcode,
    sums: &Sums,
) -> Result<(), ContractionError> {
    let from = |k: &mut KernelBuilder, operand: &Staged| -> Vec<R<B32>> {
        operand.read.iter().map(|&offset| k.add_u32(offset, read)).collect()
    };
    let read_from: Vec<Vec<R<B32>>> = operands.iter().map(|operand| from(k, operand)).collect();
    let fragments = columns / 2 / (operands.len() as u32 - 1);
    let load = |k: &mut KernelBuilder, step: u32| {
        let mut each = operands.iter().zip(&read_from).enumerate().map(|(position, (operand, from))| -> Vec<_> {
            let count = if position == 0 { rows } else { fragments };
            (0..count).map(|fragment| operand.fragment(k, from, fragment, step)).collect()
        });
        let left = each.next().unwrap_or_default();
        let right: Vec<[R<B32>; 4]> = each.flatten().collect();
        (left, right)
    };
    let vector = |registers: &[Reg]| Operand::Vector(registers.iter().map(|&r| Value::Reg(r)).collect());
    let mut current = load(k, 0);
    for step in 0..steps {
        let next = (step + 1 < steps).then(|| load(k, step + 1));
        let (left, right) = &current;
        for (i, left) in left.iter().enumerate() {
            for j in 0..columns as usize {
                // One load of B's fragments serves two columns of eight.
                let half = 2 * (j % 2);
                let right = [right[j / 2][half].reg(), right[j / 2][half + 1].reg()];
                let sum = sums[i][j].map(R::reg);
                let sources = vec![vector(&left.map(R::reg)), vector(&right), vector(&sum)];
                k.emit_into(multiply, sum.to_vec(), sources)?;
            }
        }
        if let Some(next) = next {
            current = next;
        }
    }
    Ok(())
}

/// Neighbours that a lane hands to the region together.
fn vector_lanes(problem: &Problem, schedule: &MmaSyncSchedule) -> u32 {
    (problem.store.lanes as u32).min(if problem.store.along_m { 8 } else { 8.min(schedule.warp_tile().1) })
}

/// Parts of the columns whose folds the kernel leaves: those of its warps, where the vectors of a row are those of a power of two
/// of lanes.
pub(super) fn fold_parts(problem: &Problem, schedule: &MmaSyncSchedule) -> Option<u32> {
    let vectors = schedule.warp_tile().1 / vector_lanes(problem, schedule);
    let is_lanes = !problem.store.along_m && vectors > 1 && vectors.is_power_of_two();
    is_lanes.then(|| problem.n.div_ceil(schedule.tile.n as usize) as u32 * schedule.warps.1)
}

/// Hands the sums to the region, neighbours together.
fn epilogue(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &MmaSyncSchedule,
    cta: &Cta,
    (warp_row, warp_column): (R<B32>, R<B32>),
    sums: &Sums,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let (_, warp_n) = schedule.warp_tile();
    let extent = (schedule.tile.m, schedule.tile.n);
    let starts: Vec<u32> = (0..schedule.products).map(|product| product * warp_n * 4).collect();
    let pitch = schedule.slab_pitch();
    let ring = k.dynamic_shared(1024);
    let ring = k.address_of_shared(&ring);
    let slab = k.mad_lo_u32(cta.warp, 16 * pitch * 4, ring);
    // Where the fragment layout puts a lane's sums: row lane / 4, columns 2 (lane % 4) and the next; then eight rows on.
    let group = k.shr_u32(cta.lane, 2);
    let in_group = k.and_b32(cta.lane, 3);
    let to = k.mad_lo_u32(group, pitch * 4, slab);
    let to = k.mad_lo_u32(in_group, 8, to);

    let along_m = problem.store.along_m;
    let lanes = vector_lanes(problem, schedule);
    // Vectors are counted so that neighbouring lanes write neighbouring vectors.
    let (vectors_n, vectors_m) = if along_m { (warp_n, 16 / lanes) } else { (warp_n / lanes, 16) };
    let whole =
        problem.m.is_multiple_of(schedule.tile.m as usize) && problem.n.is_multiple_of(schedule.tile.n as usize);
    let first_row = k.add_u32(cta.row, warp_row);
    let first_column = k.add_u32(cta.column, warp_column);

    // Where the region reduces rows, a lane has whole vectors of one row, then of another.
    let part = surround.has_folds().then(|| quotient(k, first_column, warp_n));
    let (steps, width) = if part.is_some() { (vectors_n.div_ceil(WARP), vectors_n.min(WARP)) } else { (1, 1) };

    for (i, fragments) in sums.iter().enumerate() {
        // The last round's readers of the slab are done before it is written again, and the other way round.
        k.bar_warp_sync(-1);
        for (j, sum) in fragments.iter().enumerate() {
            let at = (j as u32 * FRAGMENT.1 * 4) as i32;
            k.st_shared_v2_f32(to.at(at), [sum[0], sum[1]]);
            k.st_shared_v2_f32(to.at(at + (8 * pitch * 4) as i32), [sum[2], sum[3]]);
        }
        k.bar_warp_sync(-1);
        let hand_over =
            |k: &mut KernelBuilder, vector: R<B32>, surround: &mut dyn Surround| -> Result<R<B32>, ContractionError> {
                let (row, column) = if along_m {
                    let split = digits(k, vector, &[vectors_n as usize, vectors_m as usize]);
                    (k.mul_lo_u32(split[1], lanes), split[0])
                } else {
                    let split = digits(k, vector, &[vectors_m as usize, vectors_n as usize]);
                    (split[0], k.mul_lo_u32(split[1], lanes))
                };
                let from = k.mad_lo_u32(row, pitch * 4, slab);
                let from = k.mad_lo_u32(column, 4, from);
                let row = k.add_u32(row, first_row);
                let row = k.add_u32(row, i as u32 * FRAGMENT.0);
                let column = k.add_u32(column, first_column);
                let mut values = Vec::with_capacity((schedule.products * lanes) as usize);
                for &start in &starts {
                    if along_m {
                        let place = |lane: u32| from.at((start + lane * pitch * 4) as i32);
                        values.extend((0..lanes).map(|lane| k.ld_shared_f32(place(lane)).reg()));
                        continue;
                    }
                    let count = lanes.min(4);
                    for lane in (0..lanes).step_by(count as usize) {
                        let access = Access::new(Space::Shared, ScalarType::F32, count as u8);
                        values.extend(k.load(access, from.at((start + lane * 4) as i32))?);
                    }
                }
                store_inside(k, problem, extent, cta, (row, column), &values, surround)?;
                Ok(row)
            };
        let mut of_rows = |k: &mut KernelBuilder, vector: R<B32>| -> Result<(), ContractionError> {
            surround.begin_row(k)?;
            let row = hand_over(k, vector, surround)?;
            for step in 1..steps {
                let vector = k.add_u32(vector, step * WARP);
                hand_over(k, vector, surround)?;
            }
            let Some(part) = part else { return Ok(()) };
            surround.leave_folds(k, (&cta.batch, cta.end), row, extent, width, part)
        };
        let vectors = vectors_m * vectors_n;
        if whole && vectors.is_multiple_of(WARP) && vectors / WARP <= MAX_UNROLLED {
            // Written out, so that what the region loads for one vector is under way while another is computed.
            for step in (0..vectors / WARP).step_by(steps as usize) {
                let vector = k.add_u32(cta.lane, step * WARP);
                of_rows(k, vector)?;
            }
        } else {
            k.no_unroll();
            k.for_u32(cta.lane, vectors, steps * WARP, of_rows)?;
        }
    }
    k.exit();
    Ok(())
}
