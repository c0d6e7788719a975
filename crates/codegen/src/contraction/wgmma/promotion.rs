//! Sums of 8-bit floats: each round, 128 of k, is summed from zero in the tensor cores and then added to the tile's sums in
//! f32 registers, times its scales where the factors have some.
//!
//! ```text
//!            factors of B's columns: one for each group of them
//!              b0         b1        b2
//!          +---------+---------+---------+      a round's sums, as `wgmma` leaves them: a thread has two rows
//!    a0    | a0 b0   | a0 b1   |  ...    |      of each block of 64, so two factors of A
//!    a1    | a1 b0   |  ...    |         |
//!          +---------+---------+---------+      sums += round's sums * (factor of the row * factor of the columns)
//! ```
//! Factors lie beside the round's stage, where `group_scales` has brought them.

use super::super::group_scales::{Factors, GroupScales, Slots, promote};
use super::super::operands::Descriptors;
use super::super::problem::{ContractionError, Problem};
use super::super::ring::{Position, Ring};
use super::schedule::{ROWS, WgmmaSchedule};
use super::{Consumer, Sums, shape_of, start_round};
use gable_ptx::{B32, KernelBuilder, R};

/// Rows of each block of 64 that a thread has sums of, and how far apart.
const HALVES: u32 = 2;
const HALF_ROWS: u32 = 8;

/// Registers of a thread that a round's scales take.
pub(super) fn registers(scales: &GroupScales, schedule: &WgmmaSchedule) -> u32 {
    scales.registers(HALVES * schedule.consumer_rows() / ROWS, schedule.tile.n)
}

impl Consumer {
    /// How the consumer's thread reads factors; its rows of the tile begin at `own_rows`.
    pub(super) fn factors(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        own_rows: R<B32>,
    ) -> Option<Factors> {
        let scales = GroupScales::of(problem, schedule.tile)?;
        let warp_row = k.mad_lo_u32(self.warp, HALVES * HALF_ROWS, own_rows);
        let down = k.shr_u32(self.lane, 2);
        let first = k.add_u32(warp_row, down);
        let blocks = schedule.consumer_rows() / ROWS;
        let rows = (0..blocks * HALVES).map(|i| i / HALVES * ROWS + i % HALVES * HALF_ROWS).collect();
        let slots = Slots { first: self.beside, stride: scales.bytes() };
        let column = k.mov_b32(0);
        Some(Factors::new(k, &scales, slots, (first, column), (rows, schedule.tile.n)))
    }

    /// The rounds of one tile: each is summed from zero and then added to the tile's sums, scaled.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    pub(super) fn multiply_and_promote(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        ring: &Ring,
        at: Position,
        descriptors: &Descriptors,
        factors: Option<&Factors>,
        round_sums: &Sums,
        sums: &Sums,
    ) -> Result<(), ContractionError> {
        let shape = shape_of(problem.element, schedule.columns())?;
        for &register in sums.iter().flatten().flatten() {
            k.copy_into(register, 0.0f32)?;
        }
        k.for_u32(0, schedule.rounds(problem), 1, |k, _| -> Result<(), ContractionError> {
            ring.wait_full(k, at);
            let scales = factors.map(|factors| (factors.of_round(k, at), factors));
            start_round(k, shape, ring, at, descriptors, false, round_sums)?;
            k.wgmma_wait_group(0);
            if scales.is_some() {
                // Every lane has read its factors.
                k.bar_warp_sync(-1);
            }
            ring.release(k, at.stage, self.speaks);
            for (block, (sums, products)) in sums.iter().zip(round_sums).enumerate() {
                for (column, (sums, products)) in (0..).step_by(8).zip(sums.iter().zip(products)) {
                    for (half, (sums, products)) in sums.chunks(2).zip(products.chunks(2)).enumerate() {
                        let row = block * HALVES as usize + half;
                        let factor = scales.as_ref().map(|(scales, factors)| scales[row][factors.group_of(column)]);
                        promote(k, factor, products, sums)?;
                    }
                }
            }
            ring.advance(k, at);
            Ok(())
        })
    }
}
