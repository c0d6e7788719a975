//! Tensor memory of one CTA: 128 lanes of 512 columns of 32 bits, handed out by columns.
//!
//! Cells know whether they were written since their columns were allocated. Several CTAs on one multiprocessor are not modelled: each
//! has all columns to itself.

use crate::hazard::{Fault, HazardKind};
use crate::tensor_core::tcgen05::{COLUMNS, LANES};

/// Columns that were handed out together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The first column.
    pub first: u32,
    /// How many.
    pub columns: u32,
}

/// The tensor memory of a CTA.
#[derive(Clone, Debug, Default)]
pub struct TensorMemory {
    /// Lane by lane; empty until the first allocation.
    cells: Vec<u32>,
    /// One bit per cell, eight words a lane.
    written: Vec<u64>,
    allocations: Vec<Allocation>,
    /// Columns of the last allocation: later ones must not be larger.
    last: Option<u32>,
    /// Whether the CTA gave up the right to allocate.
    relinquished: bool,
}

const WORDS: usize = COLUMNS as usize / 64;

fn fault(message: impl Into<String>) -> Fault {
    Fault::new(HazardKind::TensorMemory, message)
}

impl TensorMemory {
    /// Whether a CTA may ask for this many columns now.
    ///
    /// # Errors
    /// When the number is none that there is, larger than that of the allocation before, or the right was given up.
    pub fn may_allocate(&self, columns: u32) -> Result<(), Fault> {
        if !columns.is_power_of_two() || !(32..=COLUMNS).contains(&columns) {
            return Err(fault(format!("{columns} columns, expected a power of two from 32 to {COLUMNS}")));
        }
        if self.relinquished {
            return Err(fault("allocates after tcgen05.relinquish_alloc_permit"));
        }
        if let Some(last) = self.last
            && columns > last
        {
            return Err(fault(format!("{columns} columns after an allocation of {last}: allocations must not grow")));
        }
        Ok(())
    }

    /// The first columns that are free, aligned to their number.
    pub fn free(&self, columns: u32) -> impl Iterator<Item = u32> + '_ {
        (0..COLUMNS).step_by(columns as usize).filter(move |&first| self.is_free(first, columns))
    }

    /// Whether all of the columns are free.
    pub fn is_free(&self, first: u32, columns: u32) -> bool {
        self.allocations.iter().all(|other| first + columns <= other.first || other.first + other.columns <= first)
    }

    /// Hands out columns that are free.
    pub fn allocate(&mut self, first: u32, columns: u32) {
        if self.cells.is_empty() {
            self.cells = vec![0; (LANES * COLUMNS) as usize];
            self.written = vec![0; LANES as usize * WORDS];
        }
        self.allocations.push(Allocation { first, columns });
        self.last = Some(columns);
    }

    /// Takes columns back.
    ///
    /// # Errors
    /// When they are not those of an allocation.
    pub fn deallocate(&mut self, first: u32, columns: u32) -> Result<(), Fault> {
        let allocation = Allocation { first, columns };
        let Some(index) = self.allocations.iter().position(|other| *other == allocation) else {
            let message = format!("frees {columns} columns from column {first}; allocated are {}", self.describe());
            return Err(fault(message));
        };
        self.allocations.swap_remove(index);
        for lane in 0..LANES as usize {
            for (word, bits) in words(first, columns) {
                self.written[lane * WORDS + word] &= !bits;
            }
        }
        Ok(())
    }

    /// Gives up the right to allocate.
    pub fn relinquish(&mut self) {
        self.relinquished = true;
    }

    /// What is handed out.
    pub fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    fn describe(&self) -> String {
        if self.allocations.is_empty() {
            return "none".to_owned();
        }
        let each = self.allocations.iter().map(|a| format!("{}-{}", a.first, a.first + a.columns - 1));
        format!("columns {}", each.collect::<Vec<_>>().join(", "))
    }

    /// Whether the lanes exist and the columns are handed out, all to one allocation.
    ///
    /// # Errors
    /// Says what is allocated.
    pub fn check(&self, lane: u32, lanes: u32, first: u32, columns: u32) -> Result<(), Fault> {
        if lane + lanes > LANES {
            return Err(fault(format!("lanes {lane} to {} of tensor memory, which has {LANES}", lane + lanes - 1)));
        }
        let holds = |a: &Allocation| a.first <= first && first + columns <= a.first + a.columns;
        if self.allocations.iter().any(holds) {
            return Ok(());
        }
        let last = first + columns - 1;
        Err(fault(format!("columns {first} to {last} of tensor memory; allocated are {}", self.describe())))
    }

    /// Cells of a lane, all of which must have been written.
    ///
    /// # Errors
    /// When a cell was not written, or is beyond the memory.
    pub fn read(&self, lane: u32, first: u32, columns: u32) -> Result<&[u32], Fault> {
        self.check(lane, 1, first, columns)?;
        for (word, bits) in words(first, columns) {
            let missing = bits & !self.written[lane as usize * WORDS + word];
            if missing != 0 {
                let column = word as u32 * 64 + missing.trailing_zeros();
                let message = format!("reads lane {lane}, column {column} of tensor memory, which was never written");
                let address = u64::from(lane) << 16 | u64::from(column);
                return Err(Fault::new(HazardKind::Uninitialized, message).at(address));
            }
        }
        let start = (lane * COLUMNS + first) as usize;
        Ok(&self.cells[start..start + columns as usize])
    }

    /// Writes cells of a lane.
    ///
    /// # Errors
    /// When they are not allocated.
    pub fn write(&mut self, lane: u32, first: u32, cells: &[u32]) -> Result<(), Fault> {
        self.check(lane, 1, first, cells.len() as u32)?;
        let start = (lane * COLUMNS + first) as usize;
        self.cells[start..start + cells.len()].copy_from_slice(cells);
        for (word, bits) in words(first, cells.len() as u32) {
            self.written[lane as usize * WORDS + word] |= bits;
        }
        Ok(())
    }
}

/// The words of a lane's bits that columns fall on, and which bits.
fn words(first: u32, columns: u32) -> impl Iterator<Item = (usize, u64)> {
    let end = first + columns;
    (first / 64..end.div_ceil(64)).map(move |word| {
        let (from, to) = (first.max(word * 64) - word * 64, end.min(word * 64 + 64) - word * 64);
        (word as usize, u64::MAX >> (64 - (to - from)) << from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_handed_out_and_taken_back() {
        let mut memory = TensorMemory::default();
        assert!(memory.may_allocate(48).is_err() && memory.may_allocate(16).is_err());
        memory.may_allocate(128).unwrap();
        let first = memory.free(128).next().unwrap();
        memory.allocate(first, 128);
        assert!(memory.may_allocate(256).is_err(), "allocations must not grow");
        let next = memory.free(64).next().unwrap();
        memory.allocate(next, 64);
        assert_eq!((first, next), (0, 128));
        assert!(memory.deallocate(0, 64).is_err());
        memory.deallocate(0, 128).unwrap();
        assert_eq!(memory.free(128).collect::<Vec<u32>>(), [0, 256, 384]);
        memory.relinquish();
        assert!(memory.may_allocate(32).is_err());
    }

    #[test]
    fn cells_must_be_allocated_and_written() {
        let mut memory = TensorMemory::default();
        assert_eq!(memory.read(0, 0, 1).unwrap_err().kind, HazardKind::TensorMemory);
        memory.allocate(64, 64);
        assert_eq!(memory.read(3, 64, 2).unwrap_err().kind, HazardKind::Uninitialized);
        memory.write(3, 64, &[7, 8]).unwrap();
        assert_eq!(memory.read(3, 64, 2).unwrap(), [7, 8]);
        assert!(memory.read(3, 64, 3).is_err() && memory.read(4, 64, 1).is_err());
        assert!(memory.write(3, 127, &[1, 2]).is_err(), "past the allocation");
        memory.deallocate(64, 64).unwrap();
        memory.allocate(64, 64);
        assert!(memory.read(3, 64, 1).is_err(), "what was there is gone");
        assert!(memory.check(120, 16, 64, 1).is_err());
    }
}
