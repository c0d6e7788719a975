//! Where a byte of a tile lies after swizzling.
//!
//! The permutation is a function of the absolute shared address: bits of the line number (the address divided by 128) are
//! exclusive-ored into the bits that choose a chunk within 128 bytes. The patterns of 32, 64 and 128 bytes were seen in dumps
//! of an H200; the others follow the tables of PTX ISA section 5.5.7 (swizzling modes) and were not measured.

use super::map::Swizzle;

/// The shared address at which the byte of unswizzled address `address` lies. Its own inverse.
pub fn apply(swizzle: Swizzle, address: u32) -> u32 {
    let line = address >> 7;
    address
        ^ match swizzle {
            Swizzle::None => 0,
            // The published table of the 96-byte mode has the two lines of the 32-byte mode.
            Swizzle::Span32 | Swizzle::Span96 => (line & 1) << 4,
            Swizzle::Span64 => (line & 3) << 4,
            Swizzle::Span128 => (line & 7) << 4,
            Swizzle::Span128Atom32 => (line & 3) << 5,
            Swizzle::Span128Atom32Flip8 => ((line & 3) << 5) | ((line & 1) << 3),
            Swizzle::Span128Atom64 => (line & 1) << 6,
        }
}

/// Bytes that stay together, aligned to their own size; `None` when everything does.
pub fn atom(swizzle: Swizzle) -> Option<u32> {
    match swizzle {
        Swizzle::None => None,
        Swizzle::Span32 | Swizzle::Span64 | Swizzle::Span96 | Swizzle::Span128 => Some(16),
        Swizzle::Span128Atom32 => Some(32),
        Swizzle::Span128Atom32Flip8 => Some(8),
        Swizzle::Span128Atom64 => Some(64),
    }
}

/// Bytes after which the pattern repeats: a tile that starts at a multiple has base offset 0.
pub fn period(swizzle: Swizzle) -> u32 {
    match swizzle {
        Swizzle::None => 1,
        Swizzle::Span32 | Swizzle::Span96 | Swizzle::Span128Atom64 => 256,
        Swizzle::Span64 | Swizzle::Span128Atom32 | Swizzle::Span128Atom32Flip8 => 512,
        Swizzle::Span128 => 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Swizzle; 8] = [
        Swizzle::None,
        Swizzle::Span32,
        Swizzle::Span64,
        Swizzle::Span96,
        Swizzle::Span128,
        Swizzle::Span128Atom32,
        Swizzle::Span128Atom32Flip8,
        Swizzle::Span128Atom64,
    ];

    /// The 16-byte chunks of the logical row that line `line` holds, from left to right.
    fn line(swizzle: Swizzle, line: u32) -> Vec<u32> {
        (0..8).map(|place| (apply(swizzle, line * 128 + place * 16) >> 4) & 7).collect()
    }

    #[test]
    fn lines_equal_the_tables_of_the_isa() {
        assert_eq!(line(Swizzle::Span32, 1), [1, 0, 3, 2, 5, 4, 7, 6]);
        assert_eq!(line(Swizzle::Span32, 2), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(line(Swizzle::Span64, 2), [2, 3, 0, 1, 6, 7, 4, 5]);
        assert_eq!(line(Swizzle::Span64, 3), [3, 2, 1, 0, 7, 6, 5, 4]);
        assert_eq!(line(Swizzle::Span128, 5), [5, 4, 7, 6, 1, 0, 3, 2]);
        assert_eq!(line(Swizzle::Span128, 7), [7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(line(Swizzle::Span128Atom32, 1), [2, 3, 0, 1, 6, 7, 4, 5]);
        assert_eq!(line(Swizzle::Span128Atom32, 3), [6, 7, 4, 5, 2, 3, 0, 1]);
        assert_eq!(line(Swizzle::Span128Atom64, 1), [4, 5, 6, 7, 0, 1, 2, 3]);
    }

    #[test]
    fn atoms_stay_together_and_patterns_repeat() {
        for swizzle in ALL {
            let atom = atom(swizzle).unwrap_or(128);
            for address in 0..4096 {
                let place = apply(swizzle, address);
                assert_eq!(apply(swizzle, place), address);
                assert_eq!(place % atom, address % atom);
                assert_eq!(place / 128, address / 128, "a line keeps its bytes");
                assert_eq!(apply(swizzle, address + period(swizzle)), place + period(swizzle));
            }
        }
    }

    #[test]
    fn flip_exchanges_the_halves_of_16_bytes_in_odd_lines_only() {
        for address in (0..1024).step_by(8) {
            let flipped = apply(Swizzle::Span128Atom32Flip8, address) ^ apply(Swizzle::Span128Atom32, address);
            assert_eq!(flipped, if address & 128 == 0 { 0 } else { 8 });
        }
    }
}
