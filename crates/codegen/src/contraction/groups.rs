//! Rows in groups: each batch entry of a problem has consecutive rows of its own, as the experts of a mixture have.
//!
//! ```text
//!   rows of A and of the result        entries of B
//!   0        +----------+                +----+
//!            | group 0  | -------------> | 0  |     tiles are numbered group after group; none straddles two
//!   ends[0]  +----------+                +----+
//!            | group 1  | -------------> | 1  |     what lies beyond a group's end in its last tile is
//!   ends[1]  +----------+                +----+     multiplied, but not stored
//! ```
//! Ends are read once, by all threads, into shared memory. Whoever walks over tiles goes from group to group as its tiles do, so
//! that the next tile is found in a step or two.

use super::cta::{Cta, TilePlace, place};
use super::problem::{ContractionError, Problem};
use super::surround::Surround;
use crate::division::quotient;
use gable_ptx::{B32, KernelBuilder, Pred, R};

/// Bytes of an end in shared memory.
const END: u32 = 4;

/// The ends of all groups, in shared memory.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    ends: R<B32>,
}

/// Bytes of shared memory that the ends of a problem's groups take.
pub(super) fn bytes(problem: &Problem) -> u32 {
    if problem.ragged { u32::try_from(problem.batches()).unwrap_or(u32::MAX).saturating_mul(END) } else { 0 }
}

impl Groups {
    /// Reads the ends to the shared address `ends`, by all `threads` threads of the CTA, which meet at a barrier before anyone
    /// looks for a tile; `None` where rows are in no groups.
    pub fn read(
        k: &mut KernelBuilder,
        problem: &Problem,
        ends: R<B32>,
        (thread, threads): (R<B32>, u32),
        surround: &mut dyn Surround,
    ) -> Result<Option<Groups>, ContractionError> {
        if !problem.ragged {
            return Ok(None);
        }
        let count = problem.batches() as u32;
        k.for_u32(thread, count, threads, |k, group| -> Result<(), ContractionError> {
            let end = surround.group_end(k, group)?;
            let is_last = k.setp_eq_u32(group, count - 1);
            let end = k.selp_b32(problem.m as u32, end, is_last);
            let to = k.mad_lo_u32(group, END, ends);
            k.st_shared_b32(to.at(0), end);
            Ok(())
        })?;
        Ok(Some(Groups { ends }))
    }

    /// Begins at the first group.
    pub fn search(&self, k: &mut KernelBuilder) -> Search {
        let end = k.ld_shared_b32(self.ends.at(0));
        let [first, last, group, row] = [(); 4].map(|()| k.mov_b32(0));
        Search { ends: self.ends, first, last, group, row, end }
    }
}

/// Where one that walks over tiles has come: registers that the walk changes.
#[derive(Clone, Copy)]
pub(super) struct Search {
    ends: R<B32>,
    /// The group's first tile, and the first one after it.
    first: R<B32>,
    last: R<B32>,
    /// The group.
    group: R<B32>,
    /// Its first row, and the one after its last.
    row: R<B32>,
    end: R<B32>,
}

impl Search {
    /// The place of a tile, none before the one that was looked for last; and whether there is such a tile.
    pub fn find(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        extent: (u32, u32),
        group: u32,
        number: R<B32>,
    ) -> (TilePlace, R<Pred>) {
        let tiles_n = problem.n.div_ceil(extent.1 as usize) as u32;
        let (next, found) = (k.label("next_group"), k.label("found_group"));
        k.place(&next);
        let rows = k.sub_u32(self.end, self.row);
        let rows = k.add_u32(rows, extent.0 - 1);
        let tiles_m = k.fresh();
        let whole = quotient(k, rows, extent.0);
        k.set(tiles_m).mov_b32(whole);
        k.set(self.last).mad_lo_u32(tiles_m, tiles_n, self.first);
        let inside = k.setp_lt_u32(number, self.last);
        k.bra_if(inside, &found);
        let is_last = k.setp_ge_u32(self.group, problem.batches() as u32 - 1);
        k.bra_if(is_last, &found);
        k.set(self.first).mov_b32(self.last);
        k.set(self.row).mov_b32(self.end);
        k.set(self.group).add_u32(self.group, 1);
        let at = k.mad_lo_u32(self.group, END, self.ends);
        let end = k.ld_shared_b32(at.at(0));
        // A group that ends before it begins is empty.
        k.set(self.end).max_u32(end, self.row);
        k.bra(next);
        k.place(&found);

        let exists = k.setp_lt_u32(number, self.last);
        let tile = k.sub_u32(number, self.first);
        // Within a group as within a batch entry, but that the tiles along m are counted here.
        let above = quotient(k, tile, group * tiles_n);
        let first = k.mul_lo_u32(above, group);
        let below = k.mul_lo_u32(above, group * tiles_n);
        let within = k.sub_u32(tile, below);
        let left = k.sub_u32(tiles_m, first);
        let height = k.min_u32(left, group);
        // Of a tile that there is not, whose place nobody uses.
        let height = k.max_u32(height, 1);
        let tile_n = k.div_u32(within, height);
        let before = k.mul_lo_u32(tile_n, height);
        let down = k.sub_u32(within, before);
        let tile_m = k.add_u32(first, down);
        let row = k.mad_lo_u32(tile_m, extent.0, self.row);
        let column = k.mul_lo_u32(tile_n, extent.1);
        (TilePlace { batch: vec![self.group], row, column, end: Some(self.end) }, exists)
    }
}

/// The place of a CTA that has one tile, whose shared memory but for the groups' ends is `shared` and `shared_bytes` bytes from
/// there. A CTA without a tile ends here.
pub(super) fn place_of_cta(
    k: &mut KernelBuilder,
    problem: &Problem,
    (extent, group): ((u32, u32), u32),
    threads: u32,
    (shared, shared_bytes): (R<B32>, u32),
    surround: &mut dyn Surround,
) -> Result<Cta, ContractionError> {
    let cta = place(k, problem, extent, group);
    let ends = k.add_u32(shared, shared_bytes);
    let Some(groups) = Groups::read(k, problem, ends, (cta.thread, threads), surround)? else { return Ok(cta) };
    k.bar_sync(0u32);
    let number = k.ctaid_x();
    let search = groups.search(k);
    let (TilePlace { batch, row, column, end }, exists) = search.find(k, problem, extent, group, number);
    let none = k.not_pred(exists);
    k.if_(none, KernelBuilder::exit);
    Ok(Cta { batch, row, column, end, ..cta })
}
