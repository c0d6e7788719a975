//! A matrix that the region reads at its result's own row and column, a residual: the copy engine brings it to the buffers
//! that the results leave by.
//!
//! ```text
//!  buffer of a warp:   ask for a piece | .. arrives .. | ldmatrix -> region -> stmatrix, in place | copy to memory | ask for the next
//! ```
//!
//! As many pieces of a tile as there are buffers are asked for before it is multiplied; a further one as soon as a result has
//! left the buffer that it needs. Pieces have the shape of a staging buffer, and so do the results: 16-bit elements.

use super::super::MapParameter;
use super::super::boxes::{Boxes, Receivers};
use super::super::problem::{ContractionError, Problem};
use super::super::ring::BARRIER;
use super::super::schedule::WARP;
use super::super::staged::{self, Staged};
use super::super::surround::Surround;
use super::epilogue::WARP_ROWS;
use super::schedule::{STAGING, WARPGROUP, WgmmaSchedule};
use gable_ptx::{B32, B64, KernelBuilder, Pred, R, Reg};

/// The matrix, as pieces that a buffer holds.
pub(super) struct Addend {
    boxes: Boxes,
    map: R<B64>,
}

/// A warp's side: which of its buffers a piece has arrived in.
pub(super) struct Arrivals {
    /// Address of the barriers of the warp's buffers.
    barriers: R<B32>,
    /// For each buffer the parity of the arrival that is waited for next.
    parity: Vec<R<B32>>,
}

impl Arrivals {
    /// Of the warp of this number among all consumers' warps.
    pub fn new(k: &mut KernelBuilder, schedule: &WgmmaSchedule, data: R<B32>, warp: R<B32>) -> Arrivals {
        let barriers = k.mad_lo_u32(warp, schedule.buffers * BARRIER, data);
        let barriers = k.add_u32(barriers, schedule.arrivals_at());
        Arrivals { barriers, parity: (0..schedule.buffers).map(|_| k.mov_b32(0)).collect() }
    }

    /// Waits for the piece in a buffer.
    fn wait(&self, k: &mut KernelBuilder, buffer: u32) {
        let parity = self.parity[buffer as usize];
        let again = k.label("arrives");
        k.place(&again);
        let arrived = k.mbarrier_try_wait_parity(self.barriers.at((buffer * BARRIER) as i32), parity);
        k.bra_unless(arrived, &again);
        k.set(parity).xor_b32(parity, 1);
    }
}

impl Addend {
    /// The matrix, where the region reads one, results are 16-bit elements of one matrix, and a tile fills every buffer of a
    /// warp as often as the others. Declares its map as a parameter.
    pub fn of(
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        results: &[Staged],
        surround: &mut dyn Surround,
    ) -> Option<Addend> {
        let [result] = results else { return None };
        if result.dtype.bytes() != 2 || !schedule.fillings().is_multiple_of(schedule.buffers) {
            return None;
        }
        let boxes = staged::piece_of(problem, &surround.addend()?, WARP_ROWS)?;
        Some(Addend { boxes, map: k.param_tensor_map("map_addend") })
    }

    /// The map.
    pub fn parameter(&self) -> MapParameter {
        MapParameter::Addend(self.boxes.map.clone())
    }

    /// Initialises the barriers of all warps. By one thread, before the CTA's first barrier.
    pub fn init(&self, k: &mut KernelBuilder, schedule: &WgmmaSchedule, data: R<B32>) {
        for barrier in 0..schedule.consumers * WARPGROUP / WARP * schedule.buffers {
            k.mbarrier_init(data.at((schedule.arrivals_at() + barrier * BARRIER) as i32), 1);
        }
        k.fence_mbarrier_init();
    }

    /// Asks for a piece, which begins at `(column, row)`, into a buffer, whose former contents have been read by the threads of
    /// the warp. All lanes come here together.
    pub fn ask(
        &self,
        k: &mut KernelBuilder,
        arrivals: &Arrivals,
        elected: R<Pred>,
        (staging, buffer): (R<B32>, u32),
        place: (R<B32>, R<B32>),
        batch: &[R<B32>],
    ) -> Result<(), ContractionError> {
        // Results that left by the buffer have been read too.
        k.bulk_wait_group_read(0);
        k.bar_warp_sync(-1);
        let to = k.add_u32(staging, buffer * STAGING);
        let barrier = k.add_u32(arrivals.barriers, buffer * BARRIER);
        k.if_(elected, |k| {
            k.mbarrier_arrive_expect_tx(barrier.at(0), STAGING);
            self.boxes.load(k, self.map, place, batch, to, barrier, Receivers::Own)
        })
    }

    /// Waits for the piece in a buffer, and reads it: for each step of sixteen columns the pairs of upper and lower rows of eight
    /// columns, then of the next eight. `matrices` are the lane's places in the first buffer.
    pub fn read(&self, k: &mut KernelBuilder, arrivals: &Arrivals, buffer: u32, matrices: &[R<B32>]) -> Vec<[Reg; 4]> {
        arrivals.wait(k, buffer);
        let offset = (buffer * STAGING) as i32;
        matrices.iter().map(|matrix| k.ldmatrix_x4(matrix.at(offset)).map(|word| word.reg())).collect()
    }
}
