//! The end of a group of columns: partial sums of all warps, `[warp, row, column]` in shared memory, become results.
//!
//! Warps are added in the order of their numbers, whatever the order in which they came. Where k is split between CTAs, what the
//! CTAs of a cluster receive from each other lies the same way, one slab for each CTA.

use super::super::cta::{Cta, digits, store_inside};
use super::super::problem::{ContractionError, Problem};
use super::super::surround::Surround;
use super::super::values::typed;
use super::schedule::{GROUP_ROWS, half_of_tile};
use gable_ptx::meaning::Access;
use gable_ptx::{B32, F32, KernelBuilder, R, Reg, ScalarType, Space};

/// Where partial sums lie in shared memory.
pub(super) struct Slabs {
    /// Warps that have one; or CTAs.
    pub warps: u32,
    /// Columns of a row, of each product.
    pub columns: u32,
    /// Columns of each product that the CTA, or its cluster, takes at once: whole groups of so many may end past the last one.
    pub group: u32,
    /// Products, whose columns follow each other in a row.
    pub products: u32,
    /// 32-bit words from one row to the next; a multiple of 4.
    pub pitch: u32,
}

impl Slabs {
    /// Bytes of a warp's slab.
    pub fn bytes(&self, problem: &Problem) -> u32 {
        problem.m as u32 * self.pitch * 4
    }

    /// Bytes of all slabs.
    pub fn all_bytes(&self, problem: &Problem) -> u32 {
        self.warps * self.bytes(problem)
    }

    /// `lanes` neighbouring sums over all warps: those of the first warp lie `bytes` after `from`.
    pub fn sum(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        (from, bytes): (R<B32>, u32),
        lanes: u32,
    ) -> Result<Vec<R<F32>>, ContractionError> {
        let access = Access::new(Space::Shared, ScalarType::F32, lanes as u8);
        let mut sums: Vec<R<F32>> = Vec::new();
        for warp in 0..self.warps {
            let part = k.load(access, from.at((bytes + warp * self.bytes(problem)) as i32))?;
            sums = match warp {
                0 => part.into_iter().map(typed).collect(),
                _ => sums.iter().zip(part).map(|(&sum, part)| k.add_f32(sum, typed::<F32>(part))).collect(),
            };
        }
        Ok(sums)
    }

    /// Writes a warp's sums, per tile and group of rows, to its slab of those that start at `start`.
    pub fn write(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        (warp, lane): (R<B32>, R<B32>),
        start: R<B32>,
        sums: &[Vec<[R<F32>; 4]>],
    ) {
        let slab = k.mad_lo_u32(warp, self.bytes(problem), start);
        let pair = k.and_b32(lane, 3);
        let row = k.mul_lo_u32(pair, 2);
        let column = k.shr_u32(lane, 2);
        let word = k.mad_lo_u32(row, self.pitch, column);
        let at = k.mad_lo_u32(word, 4, slab);
        for (tile, sums) in (0..).zip(sums) {
            for (group, sums) in (0..).zip(sums) {
                for (i, &sum) in (0..).zip(sums) {
                    // A lane holds rows 2t and 2t + 1 of columns g and g + 8.
                    let (product, distance) = half_of_tile(2 * tile + i / 2, self.products);
                    let (column, row) = (product * self.columns + distance, group * GROUP_ROWS + i % 2);
                    let to = at.at(((row * self.pitch + column) * 4) as i32);
                    let left = (problem.m as u32).saturating_sub(row);
                    match left.div_ceil(2) {
                        0 => {}
                        pairs if pairs < 4 => {
                            let has_row = k.setp_lt_u32(pair, pairs);
                            k.when(has_row, |k| k.st_shared_f32(to, sum));
                        }
                        _ => k.st_shared_f32(to, sum),
                    }
                }
            }
        }
    }

    /// Adds the slabs that start at `start` and hands results to the region, the first at `cta.column`. The warps' stores
    /// must be visible. `threads` is how many threads the CTA has.
    pub fn join(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        cta: &Cta,
        (start, threads): (R<B32>, u32),
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let lanes = if problem.store.along_m { 1 } else { (problem.store.lanes as u32).min(4).min(self.columns) };
        let per_row = self.columns / lanes;
        let vectors = per_row * problem.m as u32;
        let mut one = |k: &mut KernelBuilder, vector: R<B32>| {
            let split = digits(k, vector, &[problem.m, per_row as usize]);
            let (row, across) = (split[0], split[1]);
            let within = k.mul_lo_u32(across, lanes);
            let column = k.add_u32(cta.column, within);
            let word = k.mad_lo_u32(row, self.pitch, within);
            let from = k.mad_lo_u32(word, 4, start);
            let mut all: Vec<Reg> = Vec::new();
            for product in 0..self.products {
                let sums = self.sum(k, problem, (from, product * self.columns * 4), lanes)?;
                all.extend(sums.into_iter().map(R::reg));
            }
            store_inside(k, problem, (problem.m as u32, self.group), cta, (row, column), &all, surround)
        };
        if vectors <= threads {
            let works = k.setp_lt_u32(cta.thread, vectors);
            return k.if_(works, |k| one(k, cta.thread));
        }
        k.no_unroll();
        k.for_u32(cta.thread, vectors, threads, one)
    }
}
