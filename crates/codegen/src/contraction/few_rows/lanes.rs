//! Few rows on ordinary multiply-adds: B of any plain float type, along k or along n; A from memory or computed.
//!
//! ```text
//! B along k (each column's k contiguous)         B along n (each k's row contiguous)
//!
//!       columns of the CTA                              columns of the CTA, a vector per lane
//!      +--+--+--+--+                                   +------+------+------+------+
//!   k  |  |  |  |  |  thread t takes vectors        k  | lane | lane | lane | ...  |  four neighbouring k at a time;
//!      |  |  |  |  |  t, t + threads, .. of            +------+------+------+------+  the rest of the warp's lanes, then
//!      +--+--+--+--+  every column                     | ...                       |  the warps, take the next four
//! ```
//!
//! Every thread holds partial sums for all rows of A by its columns. At the end the lanes of a warp add theirs by
//! shuffles, the warps through shared memory.

use super::super::cta::{Cta, place};
use super::super::gather::entry_start;
use super::super::problem::{ContractionError, Digit, Major, Memory, Operand, Problem, Side};
use super::super::schedule::WARP;
use super::super::surround::{Place, Surround};
use super::super::values::{Chunk, clear, computed_type, load_into, loaded_class, or_zero, scalar_type, typed};
use super::join::Slabs;
use super::schedule::LanesSchedule;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, F32, KernelBuilder, Pred, R, Reg, ScalarType, Space};

/// Neighbouring values of k that a thread takes at once where B lies along n.
const K_TOGETHER: u32 = 4;

/// Where one operand's elements come from.
struct Source {
    operand: Operand,
    side: Side,
    /// The batch entry's element of indices 0, for an operand that is memory.
    start: Option<R<B64>>,
}

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &LanesSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let threads = schedule.warps * WARP;
    k.required_threads(threads, 1, 1);
    let cta = place(k, problem, (problem.m as u32, schedule.columns), 1);
    let mut source = |k: &mut KernelBuilder, side: Side| -> Result<Source, ContractionError> {
        let operand = problem.operand(side).clone();
        let start = match &operand {
            Operand::Memory(memory) => {
                let start = surround.pointer(k, side, &cta.batch)?;
                Some(entry_start(k, memory, start))
            }
            Operand::Expression { .. } => None,
        };
        Ok(Source { operand, side, start })
    };
    let (a, b) = (source(k, Side::A)?, source(k, Side::B)?);
    let partial = k.dynamic_shared(16);
    let partial = k.address_of_shared(&partial);
    let columns = schedule.columns;
    let slabs = Slabs { warps: schedule.warps, columns, group: columns, products: 1, pitch: columns };
    let slab = k.mad_lo_u32(cta.warp, slabs.bytes(problem), partial);
    match problem.b.vector().0 {
        Major::K => along_k(k, problem, schedule, &cta, [&a, &b], slab, surround)?,
        Major::Outer => along_n(k, problem, schedule, &cta, [&a, &b], slab, surround)?,
    }
    // Every warp's partial sums are there before any are added.
    k.bar_sync(0u32);

    slabs.join(k, problem, &cta, (partial, threads), surround)?;
    k.exit();
    Ok(())
}

impl Source {
    /// B is read once: a copy in L1 would only push out A, which every thread reads.
    fn cache(&self) -> Cache {
        match self.side {
            Side::A => Cache::ReadOnly,
            _ => Cache::ReadOnlyStream,
        }
    }

    /// How many of `most` neighbours along k can be read together.
    fn together(&self, most: u32) -> u32 {
        let (major, lanes) = self.operand.vector();
        if major == Major::K { most.min(lanes as u32) } else { 1 }
    }

    /// `count` elements along k from `at` of outer index `outer`, as f32. Where `inside` does not hold they are zero.
    #[expect(clippy::too_many_arguments, reason = "an element's place and the kernel's context are that many things")]
    fn along_k(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        cta: &Cta,
        outer: R<B32>,
        at: R<B32>,
        count: u32,
        inside: Option<R<Pred>>,
        surround: &mut dyn Surround,
    ) -> Result<Vec<R<F32>>, ContractionError> {
        let together = self.together(count);
        let element = scalar_type(problem.element)?;
        let mut factors = Vec::new();
        for first in (0..count).step_by(together as usize) {
            let index = if first == 0 { at } else { k.add_u32(at, first) };
            let chunk = match (&self.operand, self.start) {
                (Operand::Memory(memory), Some(start)) => {
                    let (outer_step, k_step) = steps(memory);
                    let address = k.mad_wide_u32(outer, outer_step, start);
                    let address = k.mad_wide_u32(index, k_step, address);
                    load(k, memory, address, together, self.cache(), inside)?
                }
                _ => {
                    // Past the end the last elements stand in; the other factor is zero there.
                    let index = if inside.is_some() { k.min_u32(index, problem.k as u32 - together) } else { index };
                    let place = Place { batch: &cta.batch, row: outer, column: index };
                    let mut registers = surround.load(k, self.side, place)?;
                    if let Some(inside) = inside {
                        for register in &mut registers {
                            *register = or_zero(k, *register, inside)?;
                        }
                    }
                    Chunk { ty: computed_type(element), registers }
                }
            };
            factors.extend(chunk.each(k, element, ScalarType::F32)?.into_iter().map(typed::<F32>));
        }
        Ok(factors)
    }
}

/// Bytes between outer indices and between values of k.
fn steps(memory: &Memory) -> (u32, u32) {
    let bytes = |digits: &[Digit]| (digits.first().map_or(0, |d| d.stride) * memory.stored.bytes() as i64) as u32;
    (bytes(&memory.outer), bytes(&memory.k))
}

/// `count` neighbours from `address`, or zeros.
fn load(
    k: &mut KernelBuilder,
    memory: &Memory,
    address: R<B64>,
    count: u32,
    cache: Cache,
    inside: Option<R<Pred>>,
) -> Result<Chunk, ContractionError> {
    let stored = scalar_type(memory.stored)?;
    let packed = stored.bytes() == 2 && count > 1;
    let (ty, count) = if packed { (ScalarType::B32, count / 2) } else { (stored, count) };
    let access = Access { space: Space::Global, ty, count: count as u8, cache };
    let registers: Vec<Reg> = (0..count).map(|_| k.fresh_reg(loaded_class(ty))).collect();
    match inside {
        None => load_into(k, access, address.at(0).into(), &registers)?,
        Some(inside) => {
            registers.iter().try_for_each(|&register| clear(k, register))?;
            k.when(inside, |k| load_into(k, access, address.at(0).into(), &registers))?;
        }
    }
    Ok(Chunk { ty, registers })
}

/// Partial sums `[row][column]`, all zero.
fn zero_sums(k: &mut KernelBuilder, rows: usize, columns: u32) -> Vec<Vec<R<F32>>> {
    (0..rows).map(|_| (0..columns).map(|_| k.mov_f32(0.0)).collect()).collect()
}

/// Adds a partial sum over the lanes whose numbers differ in the bits of `distances`.
fn add_lanes(k: &mut KernelBuilder, sum: R<F32>, distances: &[u32]) -> R<F32> {
    let mut sum = sum;
    for &distance in distances {
        let bits = k.b32_of_f32(sum);
        let other = k.shfl_bfly_b32(bits, distance, 31, -1);
        let other = k.f32_of_b32(other);
        sum = k.add_f32(sum, other);
    }
    sum
}

fn along_k(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &LanesSchedule,
    cta: &Cta,
    [a, b]: [&Source; 2],
    slab: R<B32>,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let count = b.operand.vector().1 as u32;
    let sums = zero_sums(k, problem.m, schedule.columns);
    let rows: Vec<R<B32>> = (0..problem.m as u32).map(|row| k.mov_b32(row)).collect();
    // Columns past the last are computed as the last, and not stored.
    let ragged = !problem.n.is_multiple_of(schedule.columns as usize);
    let columns: Vec<R<B32>> = (0..schedule.columns)
        .map(|column| {
            let column = k.add_u32(cta.column, column);
            if ragged { k.min_u32(column, problem.n as u32 - 1) } else { column }
        })
        .collect();
    let first = k.mul_lo_u32(cta.thread, count);
    k.no_unroll();
    k.for_u32(first, problem.k as u32, schedule.warps * WARP * count, |k, at| -> Result<(), ContractionError> {
        let mut right = Vec::new();
        for &column in &columns {
            right.push(b.along_k(k, problem, cta, column, at, count, None, surround)?);
        }
        for (row, sums) in rows.iter().zip(&sums) {
            let left = a.along_k(k, problem, cta, *row, at, count, None, surround)?;
            for (&sum, right) in sums.iter().zip(&right) {
                for (&x, &y) in left.iter().zip(right) {
                    k.set(sum).fma_f32(x, y, sum);
                }
            }
        }
        Ok(())
    })?;
    let is_first = k.setp_eq_u32(cta.lane, 0);
    for (row, sums) in (0..).zip(&sums) {
        for (column, &sum) in (0..).zip(sums) {
            let sum = add_lanes(k, sum, &[16, 8, 4, 2, 1]);
            let at = ((row * schedule.columns + column) * 4) as i32;
            k.when(is_first, |k| k.st_shared_f32(slab.at(at), sum));
        }
    }
    Ok(())
}

fn along_n(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &LanesSchedule,
    cta: &Cta,
    [a, b]: [&Source; 2],
    slab: R<B32>,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let (Operand::Memory(memory), Some(start)) = (&b.operand, b.start) else {
        unreachable!("few rows are chosen for a B in memory")
    };
    let count = memory.vector().1 as u32;
    let across = schedule.columns / count;
    let lane_n = k.and_b32(cta.lane, across - 1);
    let lane_k = k.shr_u32(cta.lane, across.trailing_zeros());
    let group = k.mad_lo_u32(cta.warp, WARP / across, lane_k);
    let step = schedule.warps * (WARP / across) * K_TOGETHER;
    let within = k.mul_lo_u32(lane_n, count);
    let column = k.add_u32(cta.column, within);
    let ragged_n = !problem.n.is_multiple_of(schedule.columns as usize);
    let ragged_k = !problem.k.is_multiple_of(K_TOGETHER as usize);
    // Columns past the last read the last vector, and are not stored.
    let column = if ragged_n { k.min_u32(column, problem.n as u32 - count) } else { column };
    let (column_step, row_step) = steps(memory);
    let start = k.mad_wide_u32(column, column_step, start);
    let sums = zero_sums(k, problem.m, count);
    let rows: Vec<R<B32>> = (0..problem.m as u32).map(|row| k.mov_b32(row)).collect();
    let element = scalar_type(problem.element)?;
    let first = k.mul_lo_u32(group, K_TOGETHER);
    k.no_unroll();
    k.for_u32(first, problem.k as u32, step, |k, at| -> Result<(), ContractionError> {
        let address = k.mad_wide_u32(at, row_step, start);
        let mut right: Vec<Vec<Reg>> = Vec::new();
        for i in 0..K_TOGETHER {
            let inside = ragged_k.then(|| {
                let index = k.add_u32(at, i);
                k.setp_lt_u32(index, problem.k as u32)
            });
            let address = k.add_u64(address, u64::from(i) * u64::from(row_step));
            right.push(load(k, memory, address, count, b.cache(), inside)?.each(k, element, ScalarType::F32)?);
        }
        for (&row, sums) in rows.iter().zip(&sums) {
            let left = left_factors(k, problem, cta, a, (row, at), ragged_k, surround)?;
            for (x, right) in left.into_iter().zip(&right) {
                for (&sum, &y) in sums.iter().zip(right) {
                    k.set(sum).fma_f32(x, typed::<F32>(y), sum);
                }
            }
        }
        Ok(())
    })?;
    let distances: Vec<u32> = [16, 8, 4, 2, 1].into_iter().filter(|&d| d >= across).collect();
    let writes = k.setp_lt_u32(cta.lane, across);
    for (row, sums) in (0..).zip(&sums) {
        for (i, &sum) in (0..).zip(sums) {
            let sum = add_lanes(k, sum, &distances);
            let to = k.mad_lo_u32(within, 4, slab);
            let at = ((row * schedule.columns + i) * 4) as i32;
            k.when(writes, |k| k.st_shared_f32(to.at(at), sum));
        }
    }
    Ok(())
}

/// The factors of a row of A for the next values of k, zero past the end.
fn left_factors(
    k: &mut KernelBuilder,
    problem: &Problem,
    cta: &Cta,
    a: &Source,
    (row, at): (R<B32>, R<B32>),
    ragged: bool,
    surround: &mut dyn Surround,
) -> Result<Vec<R<F32>>, ContractionError> {
    if !ragged {
        return a.along_k(k, problem, cta, row, at, K_TOGETHER, None, surround);
    }
    let together = a.together(K_TOGETHER);
    let mut factors = Vec::new();
    for first in (0..K_TOGETHER).step_by(together as usize) {
        let index = k.add_u32(at, first);
        let inside = k.setp_lt_u32(index, problem.k as u32);
        factors.extend(a.along_k(k, problem, cta, row, index, together, Some(inside), surround)?);
    }
    Ok(factors)
}
