//! Scales of whole rounds of k, on their way to the sums that they multiply: warps that do nothing else load them, and lay
//! what a round's sums are multiplied by beside its stage of the ring.
//!
//! ```text
//!  thread t of T:  rows t, t + T, .. of the tile, and group t of its columns
//!     for some rounds at once: load each scale of A that such a row has, and of B that such a group has
//!     for each of these rounds: wait empty[s] | products of a row's scales, of a group's, beside stage s | arrive on full[s]
//!
//!  beside stage s
//!  +---------------------------+----------------------------------------+
//!  | f32 for each row of A     | f32 for each `columns` columns of B    |      none of a factor without scales
//!  +---------------------------+----------------------------------------+
//! ```
//! So scales are as many rounds ahead as the ring has stages, and those that multiply read them within a few tens of cycles.
//! Where these loaded them from memory, a round ahead, they waited for them (H200, 2026-11-22: 4096^3 118 us, 113 two rounds
//! ahead, 108 without any loads). The ring is that of operands, or of accumulators in tensor memory.
//!
//! A round past the end of k, which a part of a split k may have, is multiplied by zero.

use super::block_scaled::BlockScaled;
use super::cta::{Walk, digits};
use super::problem::{ContractionError, Memory, Problem, Side};
use super::ring::{Position, Ring};
use super::schedule::Tile;
use super::surround::Surround;
use super::values::{load_into, scale_value};
use crate::division::quotient;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, F32, KernelBuilder, Pred, R, Reg, ScalarType, Space};
use gable_tensor::DType;

/// Columns of the least group: those of a fragment's sums, which are multiplied by one scale.
const LEAST_COLUMNS: usize = 8;

/// The most groups of columns in a tile: every reader holds a product for each and for each of its rows.
const MOST_GROUPS: u32 = 4;

/// Rounds whose scales are loaded together, so that their latency is waited for once; fewer where a thread would hold more than
/// so many scales.
const MOST_TOGETHER: u32 = 4;
const MOST_LOADED: u32 = 12;

/// Factors of a row in a round, which is how schedules name these scales: block scales are four or more.
pub(super) const PER_ROUND: u32 = 1;

/// Bytes of a factor of sums.
const FACTOR: u32 = 4;

/// Bytes of which the factors of a stage are a multiple.
const ALIGNMENT: u32 = 16;

/// What lies beside a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupScales {
    /// What a round multiplies.
    tile: Tile,
    /// Factors of rows: all of the tile, or none.
    rows: u32,
    /// Factors of groups of columns, and the columns of each: of the whole tile where B has no scales.
    groups: u32,
    columns: u32,
}

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

/// Scales of a row that a round brings: block scales, [`PER_ROUND`] where factors of sums come instead, or none.
pub(super) fn per_round(problem: &Problem) -> u32 {
    match (&problem.scaled, BlockScaled::of(problem)) {
        (None, _) => 0,
        (Some(_), Some(scaled)) => scaled.per_round(),
        (Some(_), None) => PER_ROUND,
    }
}

impl GroupScales {
    /// Those of a problem that `suits`; none where no factor has scales.
    pub fn of(problem: &Problem, tile: Tile) -> Option<GroupScales> {
        let [a, b] = problem.scaled.as_ref()?;
        // Powers of two of groups of eight columns, as tiles and blocks of scales are.
        let columns = b.scales.iter().filter_map(Memory::group_along_outer).fold(tile.n.max(1), |columns, group| {
            let most = columns.trailing_zeros().min(group.trailing_zeros());
            if (group as u32).is_multiple_of(columns) { columns } else { 1 << most }
        });
        let rows = if a.scales.is_empty() { 0 } else { tile.m };
        let groups = if b.scales.is_empty() { 0 } else { tile.n / columns };
        Some(GroupScales { tile, rows, groups, columns })
    }

    /// Bytes of the factors of a stage of so many rows, whatever the problem.
    pub fn most_bytes(rows: u32) -> u32 {
        ((rows + MOST_GROUPS) * FACTOR).next_multiple_of(ALIGNMENT)
    }

    /// Bytes of a stage's factors.
    pub fn bytes(&self) -> u32 {
        ((self.rows + self.groups) * FACTOR).next_multiple_of(ALIGNMENT)
    }

    /// Checks that a tile's groups are few. `schedule` is the one of which the tile is.
    pub fn validate(&self, schedule: &dyn std::fmt::Display) -> Result<(), ContractionError> {
        if self.groups <= MOST_GROUPS {
            return Ok(());
        }
        Err(ContractionError::Schedule {
            schedule: schedule.to_string(),
            what: "scales of the right factor in a tile",
            found: self.groups.into(),
            expected: format!("at most {MOST_GROUPS}"),
        })
    }

    /// Registers of a thread that multiplies the sums of so many rows and columns: what it reads, and the products of that.
    pub fn registers(&self, rows: u32, width: u32) -> u32 {
        let groups = self.groups_of(width);
        rows.min(self.rows) + groups + rows * groups.max(1)
    }

    /// Whether threads that have the sums of `width` columns each, side by side, have whole groups or lie within one.
    pub fn divides(&self, width: u32) -> bool {
        width.is_multiple_of(self.columns) || self.columns.is_multiple_of(width.max(1))
    }

    /// Groups of `width` columns that it `divides`; none where columns have no factors.
    fn groups_of(&self, width: u32) -> u32 {
        if self.groups == 0 { 0 } else { (width / self.columns).max(1) }
    }
}

/// One thread that brings scales.
pub(super) struct GroupScaler {
    /// Which, of how many.
    pub thread: R<B32>,
    pub threads: u32,
    /// Whether it speaks for its warp.
    pub elected: R<Pred>,
    /// Where they go.
    pub slots: Slots,
}

/// Where the factors of stages lie.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    /// Address of those of stage 0.
    pub first: R<B32>,
    /// Bytes from those of a stage to those of the next.
    pub stride: u32,
}

/// Scales of one kind along k.
struct Steps {
    stored: DType,
    /// Rounds that share one, and bytes from one to the next; none where all rounds share one.
    along_k: Option<(u32, u32)>,
}

/// A row of A or a group of columns of B: where its scales of k 0 lie, of each kind, and where the factor goes.
struct Item {
    side: Side,
    addresses: Vec<R<B64>>,
    slot: u32,
    /// Whether the thread has such an item; where it is none, every thread has.
    exists: Option<R<Pred>>,
}

impl GroupScaler {
    /// Brings the factors of every round of every tile.
    pub fn run(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        scales: &GroupScales,
        ring: &Ring,
        walk: &Walk,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let Some(factors) = &problem.scaled else { return Ok(()) };
        let at = ring.first_to_fill(k);
        let all = problem.rounds(scales.tile.k);
        let rounds = walk.part.map_or(all, |part| part.rounds);
        let first = walk.part.map(|part| quotient(k, part.first, scales.tile.k));
        let steps = |side: Side| -> Vec<Steps> {
            factors[side as usize].scales.iter().map(|memory| Steps::of(memory, scales.tile.k)).collect()
        };
        let steps = [steps(Side::A), steps(Side::B)];
        let own = k.mad_lo_u32(self.thread, FACTOR, self.slots.first);
        walk.for_each(k, problem, |k, place| {
            let mut items = Vec::new();
            for slot in (0..scales.rows).step_by(self.threads as usize) {
                let row = k.add_u32(place.row, slot);
                let row = k.add_u32(row, self.thread);
                let addresses = addresses(k, problem, (Side::A, row), &place.batch, surround)?;
                let exists = (slot + self.threads > scales.rows).then(|| {
                    let last = scales.rows - slot;
                    k.setp_lt_u32(self.thread, last)
                });
                items.push(Item { side: Side::A, addresses, slot, exists });
            }
            if scales.groups > 0 {
                let exists = k.setp_lt_u32(self.thread, scales.groups);
                let group = k.min_u32(self.thread, scales.groups - 1);
                let column = k.mad_lo_u32(group, scales.columns, place.column);
                let addresses = addresses(k, problem, (Side::B, column), &place.batch, surround)?;
                items.push(Item { side: Side::B, addresses, slot: scales.rows, exists: Some(exists) });
            }
            let held: usize = items.iter().map(|item| item.addresses.len()).sum();
            let together = (MOST_LOADED / held.max(1) as u32).clamp(1, MOST_TOGETHER);
            k.no_unroll();
            k.for_u32(0, rounds, together, |k, begin| {
                let mut loaded = Vec::new();
                for number in 0..together {
                    let round = k.add_u32(begin, number);
                    let round = first.map_or(round, |first| k.add_u32(round, first));
                    loaded.push((round, load(k, &items, &steps, (round, all))?));
                }
                for (number, (round, loaded)) in (0..).zip(&loaded) {
                    let put = |k: &mut KernelBuilder| -> Result<(), ContractionError> {
                        let full = ring.wait_empty(k, at);
                        let to = k.mad_lo_u32(at.stage, self.slots.stride, own);
                        // Only a part of k has rounds past its end.
                        let is_round = walk.part.map(|_| k.setp_lt_u32(*round, all));
                        for (item, loaded) in items.iter().zip(loaded) {
                            let mut factor = product(k, &steps[item.side as usize], loaded)?;
                            if let Some(is_round) = is_round {
                                factor = k.selp_f32(factor, 0.0, is_round);
                            }
                            let place = to.at((item.slot * FACTOR) as i32);
                            match item.exists {
                                None => k.st_shared_f32(place, factor),
                                Some(exists) => k.when(exists, |k| k.st_shared_f32(place, factor)),
                            }
                        }
                        k.bar_warp_sync(-1);
                        ring.fill(k, full, self.elected);
                        ring.advance(k, at);
                        Ok(())
                    };
                    if rounds.is_multiple_of(together) || number == 0 {
                        put(k)?;
                    } else {
                        let round = k.add_u32(begin, number);
                        let is_one = k.setp_lt_u32(round, rounds);
                        k.if_(is_one, put)?;
                    }
                }
                Ok(())
            })
        })
    }
}

impl Steps {
    fn of(memory: &Memory, round: u32) -> Steps {
        let moving = memory.k.iter().find(|digit| digit.stride != 0);
        let step = moving.map_or(0, |digit| digit.stride as u32 * memory.stored.bytes() as u32);
        Steps { stored: memory.stored, along_k: memory.group_along_k().map(|group| (group as u32 / round, step)) }
    }
}

/// Where the scales of an outer index lie, those of k 0, of each kind. What lies beyond the edge is read from the last one: it is
/// never stored.
fn addresses(
    k: &mut KernelBuilder,
    problem: &Problem,
    (side, outer): (Side, R<B32>),
    batch: &[R<B32>],
    surround: &mut dyn Surround,
) -> Result<Vec<R<B64>>, ContractionError> {
    let Some(factors) = &problem.scaled else { return Ok(Vec::new()) };
    let outer = k.min_u32(outer, problem.outer(side) as u32 - 1);
    let mut found = Vec::new();
    for (position, memory) in factors[side as usize].scales.iter().enumerate() {
        let mut address = surround.scales(k, side, position, batch)?;
        let sizes: Vec<usize> = memory.outer.iter().map(|digit| digit.size).collect();
        for (value, digit) in digits(k, outer, &sizes).into_iter().zip(&memory.outer) {
            let bytes = digit.stride as u32 * memory.stored.bytes() as u32;
            if bytes != 0 {
                address = k.mad_wide_u32(value, bytes, address);
            }
        }
        found.push(address);
    }
    Ok(found)
}

/// Begins to load the scales of all items in a round of `all`; past the last one those of the last.
fn load(
    k: &mut KernelBuilder,
    items: &[Item],
    steps: &[Vec<Steps>; 2],
    (round, all): (R<B32>, u32),
) -> Result<Vec<Vec<R<B32>>>, ContractionError> {
    let round = k.min_u32(round, all - 1);
    let offsets = steps.each_ref().map(|steps| -> Vec<Option<R<B64>>> {
        let along_k = steps.iter().map(|steps| steps.along_k);
        along_k
            .map(|along_k| {
                along_k.map(|(rounds, step)| {
                    let group = quotient(k, round, rounds);
                    k.mul_wide_u32(group, step)
                })
            })
            .collect()
    });
    let mut found = Vec::new();
    for item in items {
        let (steps, offsets) = (&steps[item.side as usize], &offsets[item.side as usize]);
        let mut registers = Vec::new();
        for ((&address, steps), offset) in item.addresses.iter().zip(steps).zip(offsets) {
            let ty = match steps.stored.bytes() {
                1 => ScalarType::U8,
                2 => ScalarType::U16,
                _ => ScalarType::B32,
            };
            // The rest of the line is that of other rounds or rows.
            let access = Access { space: Space::Global, ty, count: 1, cache: Cache::ReadOnly };
            let address = offset.map_or(address, |offset| k.add_u64(address, offset));
            let register: R<B32> = k.fresh();
            load_into(k, access, address.at(0).into(), &[register.reg()])?;
            registers.push(register);
        }
        found.push(registers);
    }
    Ok(found)
}

/// The product of an item's scales.
fn product(k: &mut KernelBuilder, steps: &[Steps], loaded: &[R<B32>]) -> Result<R<F32>, ContractionError> {
    let mut product = None;
    for (steps, &bits) in steps.iter().zip(loaded) {
        let scale = scale_value(k, steps.stored, bits)?;
        product = Some(product.map_or(scale, |product| k.mul_f32(product, scale)));
    }
    Ok(product.unwrap_or_else(|| k.mov_f32(1.0)))
}

/// The factors as one thread reads them that multiplies sums.
pub(super) struct Factors {
    stride: u32,
    /// Beside stage 0: the factor of its first row, and of its first group of columns.
    first: (R<B32>, R<B32>),
    /// Rows from the first one to each that it has sums of, and whether they have factors.
    rows: Vec<u32>,
    has_rows: bool,
    /// Its groups, and columns of each.
    groups: u32,
    columns: u32,
}

impl Factors {
    /// For a thread that has the sums of `width` columns of each of some rows, from the given row and column of the tile on;
    /// `rows` are the distances of its rows from the first one.
    pub fn new(
        k: &mut KernelBuilder,
        scales: &GroupScales,
        slots: Slots,
        (row, column): (R<B32>, R<B32>),
        (rows, width): (Vec<u32>, u32),
    ) -> Factors {
        let first_row = k.mad_lo_u32(row, FACTOR, slots.first);
        let group = quotient(k, column, scales.columns);
        let first_group = k.mad_lo_u32(group, FACTOR, slots.first);
        let first_group = k.add_u32(first_group, scales.rows * FACTOR);
        Factors {
            stride: slots.stride,
            first: (first_row, first_group),
            rows,
            has_rows: scales.rows > 0,
            groups: scales.groups_of(width),
            columns: scales.columns,
        }
    }

    /// What the sums of each row and group of columns are multiplied by in the round of a full stage.
    pub fn of_round(&self, k: &mut KernelBuilder, at: Position) -> Vec<Vec<R<F32>>> {
        let (first_row, first_group) = self.first;
        let read = |k: &mut KernelBuilder, first: R<B32>, distances: &[u32]| -> Vec<R<F32>> {
            let start = k.mad_lo_u32(at.stage, self.stride, first);
            distances.iter().map(|&distance| k.ld_shared_f32(start.at((distance * FACTOR) as i32))).collect()
        };
        let of_rows = if self.has_rows { read(k, first_row, &self.rows) } else { Vec::new() };
        let numbers: Vec<u32> = (0..self.groups).collect();
        let of_groups = if self.groups > 0 { read(k, first_group, &numbers) } else { Vec::new() };
        let product = |k: &mut KernelBuilder, row: Option<&R<F32>>, group: Option<&R<F32>>| match (row, group) {
            (Some(&row), Some(&group)) => k.mul_f32(row, group),
            (Some(&one), None) | (None, Some(&one)) => one,
            (None, None) => k.mov_f32(1.0),
        };
        let across = self.groups.max(1) as usize;
        (0..self.rows.len())
            .map(|row| (0..across).map(|group| product(k, of_rows.get(row), of_groups.get(group))).collect())
            .collect()
    }

    /// The group of a column, counted from the thread's first one.
    pub fn group_of(&self, column: u32) -> usize {
        (column / self.columns) as usize
    }
}

/// Adds a round's sums to the sums of the tile, each times its factor; as they are where there is none.
pub(super) fn promote(
    k: &mut KernelBuilder,
    factor: Option<R<F32>>,
    round: &[Reg],
    sums: &[Reg],
) -> Result<(), ContractionError> {
    let broken = |_| ContractionError::Surround("sums of floats are floats".into());
    for (sum, product) in sums.iter().zip(round) {
        let (sum, product): (R<F32>, R<F32>) = (sum.typed().map_err(broken)?, product.typed().map_err(broken)?);
        match factor {
            None => k.set(sum).add_f32(sum, product),
            Some(factor) => k.set(sum).fma_f32(product, factor, sum),
        };
    }
    Ok(())
}
