//! `wgmma.mma_async`: which shapes and types exist, and what each register of the 128 threads of a warpgroup holds.
//!
//! With warp `w` of the warpgroup, lane `l`, `g = l / 4`, `t = l % 4`, register `i` of the list, and `e` elements in a register:
//!
//! | fragment | row | column or k |
//! |---|---|---|
//! | D in f32, s32 | 16 w + g + 8 (i / 2 % 2) | 8 (i / 4) + 2 t + i % 2 |
//! | D in f16 | 16 w + g + 8 (i % 2) | 8 (i / 2) + 2 t and the next |
//! | A | 16 w + g + 8 (i % 2) | e t + 4 e (i / 2) and the e - 1 next |
//!
//! Measured on an H200 but for A of tf32 and bits, and for everything sparse, which are from PTX ISA
//! `#asynchronous-warpgroup-level-matrix-register-fragment`.

use super::accumulate::Accumulator;
use super::element::Element;
use super::operand::Major;

/// Rows of A and D: always 64.
pub const M: u32 = 64;

/// Registers of A for each thread: four for every type.
pub const A_REGISTERS: u32 = 4;

/// What an instruction is by its mnemonic and immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// N of the shape.
    pub n: u32,
    /// K of the shape.
    pub k: u32,
    /// Type of A.
    pub a: Element,
    /// Type of B.
    pub b: Element,
    /// Type of D.
    pub d: Accumulator,
    /// `.sp`: A holds half of its elements.
    pub sparse: bool,
    /// Majorness of A in shared memory.
    pub a_major: Major,
    /// Majorness of B.
    pub b_major: Major,
    /// A is multiplied by -1.
    pub negate_a: bool,
    /// B is multiplied by -1.
    pub negate_b: bool,
}

/// A form that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum FormError {
    #[error("wgmma of `{}` by `{}` into `{d}` does not exist", a.name(), b.name())]
    Types { a: Element, b: Element, d: &'static str },
    #[error("K of `{}` is {expected}, found {found}", a.name())]
    K { a: Element, expected: u32, found: u32 },
    #[error("N is {found}, expected {expected}")]
    N { found: u32, expected: &'static str },
    #[error("`{}` operands are K-major only", a.name())]
    Transpose { a: Element },
    #[error("integer operands cannot be negated")]
    Negate,
}

impl Form {
    /// Whether the form exists.
    ///
    /// # Errors
    /// Names what does not go together.
    pub fn check(&self) -> Result<(), FormError> {
        let Form { n, k, a, b, d, sparse, .. } = *self;
        let integer = matches!(a, Element::S8 | Element::U8 | Element::B1);
        let types = match (a, b, d) {
            (Element::F16, Element::F16, Accumulator::F16 | Accumulator::F32) => true,
            (Element::Bf16, Element::Bf16, Accumulator::F32) => true,
            (Element::Tf32, Element::Tf32, Accumulator::F32) => true,
            (Element::E4m3 | Element::E5m2, Element::E4m3 | Element::E5m2, d) => !matches!(d, Accumulator::S32 { .. }),
            (Element::S8 | Element::U8, Element::S8 | Element::U8, Accumulator::S32 { .. }) => true,
            (Element::B1, Element::B1, Accumulator::S32 { saturate: false }) => !sparse,
            _ => false,
        };
        if !types {
            let d = match d {
                Accumulator::F16 => "f16",
                Accumulator::F32 => "f32",
                Accumulator::S32 { .. } => "s32",
            };
            return Err(FormError::Types { a, b, d });
        }
        let expected = (256 / a.bits()) << u32::from(sparse);
        if k != expected {
            return Err(FormError::K { a, expected, found: k });
        }
        let (legal, expected) = if integer {
            (matches!(n, 8 | 24) || n % 16 == 0, "8, 16, 24, 32, or a multiple of 16 up to 256")
        } else {
            (n % 8 == 0, "a multiple of 8 in 8..256")
        };
        if !legal || !(8..=256).contains(&n) {
            return Err(FormError::N { found: n, expected });
        }
        let transposed = self.a_major == Major::Mn || self.b_major == Major::Mn;
        if transposed && a.bits() != 16 {
            return Err(FormError::Transpose { a });
        }
        if integer && (self.negate_a || self.negate_b) {
            return Err(FormError::Negate);
        }
        Ok(())
    }

    /// Registers of D for each thread.
    pub fn d_registers(&self) -> u32 {
        match self.d {
            Accumulator::F16 => self.n / 4,
            Accumulator::F32 | Accumulator::S32 { .. } => self.n / 2,
        }
    }

    /// Elements of a row of A that are stored.
    pub fn stored_k(&self) -> u32 {
        if self.sparse { self.k / 2 } else { self.k }
    }
}

/// Row and column of the value that a register holds of D in 32 bits.
pub const fn d_cell(warp: u32, lane: u32, register: u32) -> (u32, u32) {
    (16 * warp + lane / 4 + register / 2 % 2 * 8, register / 4 * 8 + lane % 4 * 2 + register % 2)
}

/// Row and column of the value in the low half of a register of D in f16; the upper half is the next column.
pub const fn d_pair(warp: u32, lane: u32, register: u32) -> (u32, u32) {
    (16 * warp + lane / 4 + register % 2 * 8, register / 2 * 8 + lane % 4 * 2)
}

/// Row and stored k of the first element in a register of A, which holds `32 / bits` of them from the low bits up.
pub const fn a_elements(warp: u32, lane: u32, register: u32, bits: u32) -> (u32, u32) {
    let elements = 32 / bits;
    (16 * warp + lane / 4 + register % 2 * 8, elements * (lane % 4 + register / 2 * 4))
}

/// The thread of a warp and the nibble of its metadata register with the code of a chunk of a row (0 to 15) of its warp's A.
///
/// With 8 chunks a row (16-bit types, tf32) the selector says which two threads of four give their register; with 16 (8-bit types) all
/// four do and the selector is 0. As for `mma.sp`; not measured.
pub const fn metadata_nibble(row: u32, chunk: u32, selector: u32) -> (u32, u32) {
    (row % 8 * 4 + selector * 2 + chunk / 4, row / 8 * 4 + chunk % 4)
}

/// Most selectors that a sparse instruction of the type has.
pub const fn selectors(a: Element) -> u32 {
    if a.bits() == 8 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn form(a: Element, d: Accumulator, n: u32, k: u32) -> Form {
        Form { n, k, a, b: a, d, sparse: false, a_major: Major::K, b_major: Major::K, negate_a: false, negate_b: false }
    }

    const S32: Accumulator = Accumulator::S32 { saturate: false };

    #[test]
    fn each_type_has_one_k_and_its_steps_of_n() {
        let legal = |a: Element, d: Accumulator| -> Vec<(u32, u32)> {
            let all = (8..=264).step_by(4).flat_map(|n| [8, 16, 32, 64, 256].map(|k| (n, k)));
            all.filter(|&(n, k)| form(a, d, n, k).check().is_ok()).collect()
        };
        let by_eight = |k| (8..=256).step_by(8).map(|n| (n, k)).collect::<Vec<(u32, u32)>>();
        assert_eq!(legal(Element::Bf16, Accumulator::F32), by_eight(16));
        assert_eq!(legal(Element::F16, Accumulator::F16), by_eight(16));
        assert_eq!(legal(Element::Tf32, Accumulator::F32), by_eight(8));
        assert_eq!(legal(Element::E5m2, Accumulator::F16), by_eight(32));
        let integers: Vec<u32> = [8, 16, 24].into_iter().chain((32..=256).step_by(16)).collect();
        assert_eq!(legal(Element::S8, S32).iter().map(|&(n, _)| n).collect::<Vec<u32>>(), integers);
        assert_eq!(legal(Element::B1, S32)[0], (8, 256));
        assert!(legal(Element::Bf16, Accumulator::F16).is_empty() && legal(Element::E2m1, Accumulator::F32).is_empty());
    }

    #[test]
    fn only_sixteen_bit_types_transpose_and_only_floats_negate() {
        let fp8 = Form { b_major: Major::Mn, ..form(Element::E4m3, Accumulator::F32, 8, 32) };
        assert_eq!(fp8.check(), Err(FormError::Transpose { a: Element::E4m3 }));
        let half = Form { a_major: Major::Mn, negate_b: true, ..form(Element::F16, Accumulator::F32, 8, 16) };
        assert_eq!(half.check(), Ok(()));
        let integer = Form { negate_a: true, ..form(Element::U8, S32, 8, 32) };
        assert_eq!(integer.check(), Err(FormError::Negate));
        let mixed = Form { b: Element::U8, ..form(Element::S8, S32, 8, 32) };
        assert_eq!(mixed.check(), Ok(()));
        let sparse = Form { sparse: true, ..form(Element::S8, S32, 8, 64) };
        assert_eq!((sparse.check(), sparse.stored_k()), (Ok(()), 32));
    }

    #[test]
    fn fragments_hold_every_element_once() {
        let n = 24;
        let (mut words, mut halves, mut a) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (warp, lane) in (0..4).flat_map(|warp| (0..32).map(move |lane| (warp, lane))) {
            words.extend((0..n / 2).map(|register| d_cell(warp, lane, register)));
            for register in 0..n / 4 {
                let (row, column) = d_pair(warp, lane, register);
                halves.extend([(row, column), (row, column + 1)]);
            }
            for register in 0..A_REGISTERS {
                let (row, k) = a_elements(warp, lane, register, 8);
                a.extend((0..4).map(|element| (row, k + element)));
            }
        }
        let all = |columns: u32| (0..M).flat_map(|row| (0..columns).map(move |column| (row, column))).collect();
        assert_eq!(words, all(n));
        assert_eq!(halves, all(n));
        assert_eq!(a, all(32));
    }

    #[test]
    fn the_accumulator_of_one_product_is_the_operand_of_the_next() {
        // Registers 8 i to 8 i + 7 of D, converted two by two to 16 bits, are A of k-step i.
        for (warp, lane, step) in [(0, 0, 0), (2, 13, 1), (3, 31, 3)] {
            for register in 0..A_REGISTERS {
                let (row, k) = a_elements(warp, lane, register, 16);
                let pair = 8 * step + 2 * register;
                assert_eq!(d_cell(warp, lane, pair), (row, 16 * step + k));
                assert_eq!(d_cell(warp, lane, pair + 1), (row, 16 * step + k + 1));
            }
        }
    }

    #[test]
    fn metadata_codes_have_a_nibble_each() {
        for (chunks, selector) in [(8, 0), (8, 1), (16, 0)] {
            let codes: BTreeSet<(u32, u32)> =
                (0..16).flat_map(|row| (0..chunks).map(move |chunk| metadata_nibble(row, chunk, selector))).collect();
            assert_eq!(codes.len() as u32, 16 * chunks);
            assert!(codes.iter().all(|&(lane, nibble)| lane < 32 && nibble < 8));
        }
    }
}
