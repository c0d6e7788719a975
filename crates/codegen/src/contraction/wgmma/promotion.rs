//! Sums of 8-bit floats: each round, 128 of k, is summed from zero in the tensor cores and then added to the tile's sums in
//! f32 registers, times its scales where the factors have some.
//!
//! ```text
//!            scales of B: one for each `columns` of the tile
//!              b0         b1        b2
//!          +---------+---------+---------+      a round's sums, as `wgmma` leaves them: a thread has two rows
//!    a0    | a0 b0   | a0 b1   |  ...    |      of each block of 64, so two scales of A
//!    a1    | a1 b0   |  ...    |         |
//!          +---------+---------+---------+      sums += round's sums * (scale of the row * scale of the columns)
//! ```
//! What scales a round is loaded while the round before it is multiplied.

use super::super::cta::{TilePlace, digits};
use super::super::operands::Descriptors;
use super::super::problem::{ContractionError, Memory, Problem, Side};
use super::super::ring::{Position, Ring};
use super::super::surround::Surround;
use super::super::values::{load_into, scale_value};
use super::schedule::{ROWS, WgmmaSchedule};
use super::{Consumer, Sums, shape_of, start_round};
use crate::division::quotient;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, F32, KernelBuilder, R, ScalarType, Space};

/// Columns of a group of eight registers' sums; scales are the same for all of them.
const LEAST_COLUMNS: usize = 8;

/// The most scales of B in a row of a tile.
const MOST_ACROSS: u32 = 4;

/// Rows of each block of 64 that a thread has sums of, and how far apart.
const HALVES: u32 = 2;
const HALF_ROWS: u32 = 8;

/// Whether the scales of a problem are those of whole rounds of `round` values of k, and of whole groups of columns.
pub(super) fn suits(problem: &Problem, round: u32) -> bool {
    let Some([a, b]) = &problem.scaled else { return true };
    let rounds = |scales: &Memory| {
        let moving = scales.k.iter().filter(|digit| digit.stride != 0);
        let whole = scales.group_along_k().is_none_or(|group| group.is_multiple_of(round as usize));
        let forward = scales.k.iter().chain(&scales.outer).all(|digit| digit.stride >= 0);
        whole && moving.count() <= 1 && forward
    };
    let columns = |scales: &Memory| scales.group_along_outer().is_none_or(|group| group.is_multiple_of(LEAST_COLUMNS));
    a.scales.iter().chain(&b.scales).all(rounds) && b.scales.iter().all(columns)
}

/// Neighbouring columns of a tile that share all scales of B.
fn columns(problem: &Problem, schedule: &WgmmaSchedule) -> u32 {
    let scales = problem.scaled.iter().flat_map(|[_, b]| &b.scales);
    scales.filter_map(Memory::group_along_outer).fold(schedule.tile.n, |columns, group| {
        // Powers of two of groups of eight columns, as tiles and blocks of scales are.
        let most = columns.trailing_zeros().min(group.trailing_zeros());
        if (group as u32).is_multiple_of(columns) { columns } else { 1 << most }
    })
}

/// Registers of a thread that a round's scales take.
pub(super) fn registers(problem: &Problem, schedule: &WgmmaSchedule) -> u32 {
    let Some([a, b]) = &problem.scaled else { return 0 };
    let down = HALVES * schedule.consumer_rows() / ROWS;
    let across = schedule.tile.n / columns(problem, schedule);
    // Each loaded, and its address; then their products.
    3 * (down * a.scales.len() as u32 + across * b.scales.len() as u32) + down * across
}

/// Checks that a tile's scales are few.
pub(super) fn validate(problem: &Problem, schedule: &WgmmaSchedule) -> Result<(), ContractionError> {
    let across = schedule.tile.n / columns(problem, schedule).max(1);
    if across <= MOST_ACROSS {
        return Ok(());
    }
    Err(ContractionError::Schedule {
        schedule: schedule.to_string(),
        what: "scales of the right factor in a tile",
        found: across.into(),
        expected: format!("at most {MOST_ACROSS}"),
    })
}

/// The scales of one kind that a thread needs of a round.
struct Loads {
    memory: Memory,
    /// Values of k that share one; none where all do.
    group: Option<usize>,
    /// Bytes from a group's to the next.
    step: u32,
    /// Addresses of those of group 0.
    addresses: Vec<R<B64>>,
    /// Those of the coming round, as they are stored.
    registers: Vec<R<B32>>,
}

impl Loads {
    fn access(&self) -> Access {
        let ty = match self.memory.stored.bytes() {
            1 => ScalarType::U8,
            2 => ScalarType::U16,
            _ => ScalarType::B32,
        };
        // The rest of the line is that of later rounds.
        Access { space: Space::Global, ty, count: 1, cache: Cache::ReadOnly }
    }

    /// Begins to load the scales of a round.
    fn load(&self, k: &mut KernelBuilder, round: R<B32>, round_size: u32) -> Result<(), ContractionError> {
        let offset = self.group.map(|group| {
            let group = quotient(k, round, group as u32 / round_size);
            k.mul_wide_u32(group, self.step)
        });
        for (&address, &register) in self.addresses.iter().zip(&self.registers) {
            let address = offset.map_or(address, |offset| k.add_u64(address, offset));
            load_into(k, self.access(), address.at(0).into(), &[register.reg()])?;
        }
        Ok(())
    }
}

/// The scales of a tile.
struct TileScales {
    sides: [Vec<Loads>; 2],
    /// Rows of the thread, and groups of columns, that have scales of their own.
    extent: (usize, usize),
    /// Columns of a group.
    columns: u32,
    round_size: u32,
    last_round: u32,
}

impl TileScales {
    /// Finds the addresses, and begins to load the scales of the first round. `row` is the thread's first.
    fn of(
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        place: &TilePlace,
        row: R<B32>,
        surround: &mut dyn Surround,
    ) -> Result<Option<TileScales>, ContractionError> {
        let Some(scaled) = &problem.scaled else { return Ok(None) };
        let columns = columns(problem, schedule);
        let blocks = schedule.consumer_rows() / ROWS;
        let down: Vec<u32> = (0..blocks * HALVES).map(|i| i / HALVES * ROWS + i % HALVES * HALF_ROWS).collect();
        let across: Vec<u32> = (0..schedule.tile.n / columns).map(|i| i * columns).collect();
        let extent = (down.len(), across.len());
        let mut sides = [Vec::new(), Vec::new()];
        for (side, first, distances) in [(Side::A, row, &down), (Side::B, place.column, &across)] {
            for (position, memory) in scaled[side as usize].scales.iter().enumerate() {
                let start = surround.scales(k, side, position, &place.batch)?;
                let addresses = distances
                    .iter()
                    .map(|&distance| {
                        let at = k.add_u32(first, distance);
                        // What lies beyond the edge is not stored, but must be read somewhere.
                        let at = k.min_u32(at, problem.outer(side) as u32 - 1);
                        address(k, memory, start, at)
                    })
                    .collect();
                let registers = distances.iter().map(|_| k.fresh()).collect();
                let bytes = memory.stored.bytes() as i64;
                let moving = memory.k.iter().find(|digit| digit.stride != 0);
                let step = moving.map_or(0, |digit| (digit.stride * bytes) as u32);
                let group = memory.group_along_k();
                sides[side as usize].push(Loads { memory: memory.clone(), group, step, addresses, registers });
            }
        }
        let (round_size, last_round) = (schedule.tile.k, problem.rounds(schedule.tile.k) - 1);
        let found = TileScales { sides, extent, columns, round_size, last_round };
        let zero = k.mov_b32(0);
        found.load(k, zero)?;
        Ok(Some(found))
    }

    fn load(&self, k: &mut KernelBuilder, round: R<B32>) -> Result<(), ContractionError> {
        self.sides.iter().flatten().try_for_each(|loads| loads.load(k, round, self.round_size))
    }

    /// Begins to load those of the round after `round`; at the last, which has none, the same again.
    fn load_next(&self, k: &mut KernelBuilder, round: R<B32>) -> Result<(), ContractionError> {
        let next = k.add_u32(round, 1);
        let next = k.min_u32(next, self.last_round);
        self.load(k, next)
    }

    /// The loaded scales of each row and group of columns.
    fn products(&self, k: &mut KernelBuilder) -> Result<Vec<Vec<R<F32>>>, ContractionError> {
        let (down, across) = self.extent;
        let mut of_side = |loads: &[Loads], count: usize| -> Result<Vec<Option<R<F32>>>, ContractionError> {
            let mut found = Vec::with_capacity(count);
            for position in 0..count {
                let mut product = None;
                for one in loads {
                    let scale = scale_value(k, one.memory.stored, one.registers[position])?;
                    product = Some(match product {
                        None => scale,
                        Some(product) => k.mul_f32(product, scale),
                    });
                }
                found.push(product);
            }
            Ok(found)
        };
        let (rows, columns) = (of_side(&self.sides[0], down)?, of_side(&self.sides[1], across)?);
        let product = |row: &Option<R<F32>>, column: &Option<R<F32>>, k: &mut KernelBuilder| match (*row, *column) {
            (Some(row), Some(column)) => k.mul_f32(row, column),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => k.mov_f32(1.0),
        };
        Ok(rows.iter().map(|row| columns.iter().map(|column| product(row, column, k)).collect()).collect())
    }
}

/// Where the scale of an outer index lies, that of k 0.
fn address(k: &mut KernelBuilder, memory: &Memory, start: R<B64>, outer: R<B32>) -> R<B64> {
    let sizes: Vec<usize> = memory.outer.iter().map(|digit| digit.size).collect();
    let mut address = start;
    for (value, digit) in digits(k, outer, &sizes).into_iter().zip(&memory.outer) {
        let bytes = digit.stride as u32 * memory.stored.bytes() as u32;
        if bytes != 0 {
            address = k.mad_wide_u32(value, bytes, address);
        }
    }
    address
}

impl Consumer {
    /// The rounds of one tile, whose rows for this consumer begin at `row`: each is summed from zero and then added to the
    /// tile's sums, scaled.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    pub(super) fn multiply_and_promote(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        ring: &Ring,
        at: Position,
        descriptors: &Descriptors,
        (place, row): (&TilePlace, R<B32>),
        round_sums: &Sums,
        sums: &Sums,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let shape = shape_of(problem.element, schedule.columns())?;
        let warp_row = k.mad_lo_u32(self.warp, HALVES * HALF_ROWS, row);
        let down = k.shr_u32(self.lane, 2);
        let thread_row = k.add_u32(warp_row, down);
        let scales = TileScales::of(k, problem, schedule, place, thread_row, surround)?;
        for &register in sums.iter().flatten().flatten() {
            k.copy_into(register, 0.0f32)?;
        }
        k.for_u32(0, schedule.rounds(problem), 1, |k, round| -> Result<(), ContractionError> {
            ring.wait_full(k, at);
            start_round(k, shape, ring, at, descriptors, false, round_sums)?;
            let factors = match &scales {
                None => None,
                Some(scales) => {
                    let products = scales.products(k)?;
                    scales.load_next(k, round)?;
                    Some((products, scales.columns))
                }
            };
            k.wgmma_wait_group(0);
            ring.release(k, at.stage, self.speaks);
            for (block, (sums, products)) in sums.iter().zip(round_sums).enumerate() {
                for (group, (sums, products)) in sums.iter().zip(products).enumerate() {
                    for (i, (sum, product)) in sums.iter().zip(products).enumerate() {
                        let broken = |_| ContractionError::Surround("sums of floats are floats".into());
                        let (sum, product): (R<F32>, R<F32>) =
                            (sum.typed().map_err(broken)?, product.typed().map_err(broken)?);
                        match &factors {
                            None => k.set(sum).add_f32(sum, product),
                            Some((scales, columns)) => {
                                let scale = scales[block * HALVES as usize + i / 2][group * 8 / *columns as usize];
                                k.set(sum).fma_f32(product, scale, sum)
                            }
                        };
                    }
                }
            }
            ring.advance(k, at);
            Ok(())
        })
    }
}
