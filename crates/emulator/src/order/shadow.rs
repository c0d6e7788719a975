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
        let mut from = low;
        while from < high {
            let start = from / CELL * CELL;
            let to = high.min(start + CELL);
            let cell = &mut self.cells[(start / CELL) as usize];
            let full = to - start == CELL && from == start;
            let part = access.shifted(from - low, from - start);
            let part = if full { part.part(0, CELL) } else { part };
            cell.touch(CELL, from - start, to - start, part, actor).map_err(|mut found| {
                found.offset += start;
                found
            })?;
            from = to;
        }
        Ok(())
    }
}
