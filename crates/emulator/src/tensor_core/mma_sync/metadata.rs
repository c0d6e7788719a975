//! Which lane and which bits hold the metadata of a chunk of a sparse A.
//!
//! A chunk has a code of 4 bits. With 16-bit and tf32 elements a word has 4 codes of row `g` in its lower half and 4 of row `g + 8`
//! in its upper half; with narrower elements it has 8 codes of one row. In a quad:
//!
//! | codes of a row | 16-bit, tf32 | narrower |
//! |---|---|---|
//! | 4 | one thread: the selector | |
//! | 8 | a pair of threads: 4 codes each | a pair: the first has row `g`, the second row `g + 8` |
//! | 16 | | all: two pairs like that, 8 codes each |
//!
//! Threads and selectors: PTX ISA `#warp-level-sparse-matrix-storage`. The bits are only in figures there; these were recorded on an
//! H200 for every shape and type that it has.

use super::super::element::Element;
use super::super::sparsity::{Expanded, Granularity};
use super::{Gathered, Kind, Mma, MmaError, Sparsity};
use crate::scalar::Register;

fn granularity(mma: &Mma) -> Granularity {
    let pairs = mma.kind == Kind::Packed || matches!(mma.a, Element::S4 | Element::U4);
    match Granularity::of(mma.a, pairs) {
        Granularity::TwoOfFour if mma.sparsity == Sparsity::AnyOrder => Granularity::TwoOfFourAnyOrder,
        granularity => granularity,
    }
}

/// The lane and the lowest bit of a code.
fn place(wide: bool, codes: usize, selector: usize, row: usize, chunk: usize) -> (usize, usize) {
    let (quad, half) = (row % 8 * 4, row / 8);
    match (wide, codes) {
        (true, 4) => (quad + selector, 16 * half + 4 * chunk),
        (true, _) => (quad + 2 * selector + chunk / 4, 16 * half + 4 * (chunk % 4)),
        (false, _) => (quad + 2 * selector + half + 2 * (chunk / 8), 4 * (chunk % 8)),
    }
}

/// The whole rows of A.
pub(super) fn expand(mma: &Mma, stored: &Gathered, metadata: &Register, selector: u32) -> Result<Expanded, MmaError> {
    let granularity = granularity(mma);
    let codes = mma.shape.k / granularity.chunk() as usize;
    let (most, expected) = match codes {
        4 => (3, "0 to 3"),
        8 => (1, "0 or 1"),
        _ => (0, "0"),
    };
    if selector > most {
        return Err(MmaError::Selector { found: selector, expected });
    }
    let wide = mma.a.bits() >= 16;
    let stored = stored.as_codes();
    let stored: Vec<u32> = (0..stored.len()).map(|index| stored.get(index)).collect();
    let code = |row: u32, chunk: u32| {
        let (lane, bit) = place(wide, codes, selector as usize, row as usize, chunk as usize);
        (metadata[lane] >> bit) as u32 & 0xf
    };
    Ok(granularity.expand(&stored, mma.shape.m as u32, mma.shape.k as u32, code)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_bits_of_its_own_in_the_lanes_of_the_selector() {
        for (wide, codes, selectors) in [(true, 4, 4), (true, 8, 2), (false, 8, 2), (false, 16, 1)] {
            for selector in 0..selectors {
                let mut places: Vec<(usize, usize)> = (0..16)
                    .flat_map(|row| (0..codes).map(move |chunk| (row, chunk)))
                    .map(|(row, chunk)| place(wide, codes, selector, row, chunk))
                    .collect();
                places.sort_unstable();
                places.dedup();
                assert_eq!(places.len(), 16 * codes);
                let threads = 4 / selectors;
                assert!(places.iter().all(|(lane, bit)| lane % 4 / threads == selector && bit + 4 <= 32));
            }
        }
    }
}
