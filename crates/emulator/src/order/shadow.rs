//! Pages of cells, made when first touched.

use crate::order::access::Access;
use crate::order::cell::{Actor, CELL, Cell, Found};
use crate::order::vector::Vector;

/// Cells of a page: 1 KiB of memory.
const CELLS: usize = 64;
/// Bytes that a page shadows.
pub(crate) const PAGE: u64 = CELLS as u64 * CELL as u64;

/// The shadow of 1 KiB.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    cells: Box<[Cell]>,
}

impl Page {
    pub(crate) fn new() -> Self {
        Page { cells: vec![Cell::EMPTY; CELLS].into_boxed_slice() }
    }

    /// The first access that `matters` and is not known, with its lane and the byte in the page.
    pub(crate) fn unknown(&self, known: &Vector, matters: &dyn Fn(&Access) -> bool) -> Option<(Access, u32, u32)> {
        self.cells
            .iter()
            .zip((0..).step_by(CELL as usize))
            .find_map(|(cell, byte)| cell.unknown(CELL, known, matters).map(|(access, lane)| (access, lane, byte)))
    }

    /// Checks and records the access to bytes `low..high` of the page; `access` counts lanes from `low` on.
    pub(crate) fn touch(&mut self, low: u32, high: u32, access: Access, actor: &Actor<'_>) -> Result<(), Found> {
        let mut first = Ok(());
        let mut from = low;
        while from < high {
            let start = from / CELL * CELL;
            let to = high.min(start + CELL);
            let mut part = access.shifted(from - low, from - start);
            if to - from == CELL {
                part = part.part(0, CELL);
            }
            let cell = &mut self.cells[(start / CELL) as usize];
            let touched = cell.touch(CELL, from - start, to - start, part, actor);
            if touched.is_err() && first.is_ok() {
                first = touched.map_err(|found| found.moved(start));
            }
            from = to;
        }
        first
    }
}
