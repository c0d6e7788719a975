//! Pages of cells, made when first touched.

use crate::order::access::Access;
use crate::order::cell::{Actor, CELL, Cell, Found};

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
