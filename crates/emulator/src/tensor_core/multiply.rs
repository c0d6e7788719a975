//! `D = A * B + C` over raw codes: what every matrix instruction comes down to.
//!
//! In: A as m rows of k codes, B as n rows of k codes (column j of B is row j here), C as m rows of n words. Out: D in place of C.
//! Operands are taken apart once, into significands and exponents; columns are then added many at a time (`sums`). Outputs that
//! NaN or infinity reach are computed one by one by the definition, in whole numbers.

use super::accumulate::{self, Accumulator, Numerics, Rounding, Special, Term, Terms, signed};
use super::element::{Decoded, Element, F16, FloatFormat, ScaleFormat};
use super::integers::multiply_integers;
use super::sums::add_columns;

/// Codes of a matrix, one element each, in the low bits; the bits above the type must be zero except for tf32 and integers.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// Types of up to 8 bits.
    Bytes(&'a [u8]),
    /// Types of up to 16 bits.
    Halves(&'a [u16]),
    /// Types of up to 32 bits.
    Words(&'a [u32]),
}

impl Codes<'_> {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Codes::Bytes(codes) => codes.len(),
            Codes::Halves(codes) => codes.len(),
            Codes::Words(codes) => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code at `index`, which must be less than `len`.
    pub fn get(&self, index: usize) -> u32 {
        match self {
            Codes::Bytes(codes) => codes[index].into(),
            Codes::Halves(codes) => codes[index].into(),
            Codes::Words(codes) => codes[index],
        }
    }
}

/// A or B.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The type of the elements.
    pub element: Element,
    /// Rows of k codes.
    pub codes: Codes<'a>,
    /// Whether every element is taken with the other sign; floating point only.
    pub negate: bool,
    /// For a sparse A, expanded to k columns: which elements are stored. Products of the others do not exist, so that an infinity
    /// of B that meets one does not make a NaN. Their codes must be zero.
    pub present: Option<&'a [bool]>,
}

impl<'a> Operand<'a> {
    /// A dense operand.
    pub fn new(element: Element, codes: Codes<'a>) -> Self {
        Operand { element, codes, negate: false, present: None }
    }
}

/// Scales of blocks along k.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    /// The type of the scales.
    pub format: ScaleFormat,
    /// Elements that share a scale; divides k.
    pub block: usize,
    /// m rows of k / block codes.
    pub a: &'a [u8],
    /// n rows of k / block codes.
    pub b: &'a [u8],
}

/// The sizes of a multiplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of A and D.
    pub m: usize,
    /// Rows of B, columns of D.
    pub n: usize,
    /// Columns of A and B.
    pub k: usize,
}

/// The arguments of a multiplication contradict each other. The callers in this crate never let this happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiplyError {
    /// A slice has another length than the shape says.
    #[error("{what} has {found} elements, expected {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length by the shape.
        expected: usize,
    },
    /// The element cannot be added up in that accumulator.
    #[error("`{}` elements cannot be multiplied into {accumulator:?}", element.name())]
    Element {
        /// The type of A or B.
        element: Element,
        /// The type of D.
        accumulator: Accumulator,
    },
    /// Blocks of scales, or of terms, do not divide k.
    #[error("blocks of {block} do not divide k of {k}")]
    Block {
        /// Length of a block.
        block: usize,
        /// Elements along k.
        k: usize,
    },
}

/// Replaces `accumulator` (m rows of n) by A * B plus it.
///
/// Integers are exact and take no notice of `numerics`; floating point adds as it says. For f16 a word holds the bits in its low
/// half, and the upper half is ignored and written as zero.
pub fn multiply(
    numerics: &Numerics,
    shape: Shape,
    a: &Operand,
    b: &Operand,
    scales: Option<&Scales>,
    kind: Accumulator,
    accumulator: &mut [u32],
) -> Result<(), MultiplyError> {
    check(numerics, shape, a, b, scales, accumulator)?;
    if let Accumulator::S32 { saturate } = kind {
        return multiply_integers(shape, a, b, saturate, accumulator);
    }
    let format = |operand: &Operand| {
        let element = operand.element;
        element.float_format().ok_or(MultiplyError::Element { element, accumulator: kind })
    };
    if let (Terms::Blocks { .. }, Some(operand)) =
        (numerics.terms, [a, b].into_iter().find(|o| o.element != Element::E2m1))
    {
        return Err(MultiplyError::Element { element: operand.element, accumulator: kind });
    }
    let problem = Problem { numerics, shape, a, b, scales, formats: [format(a)?, format(b)?] };
    if kind == Accumulator::F16 {
        accumulator.iter_mut().for_each(|word| *word &= 0xffff);
    }
    add_columns(&problem, accumulator);
    Ok(())
}

fn check(
    numerics: &Numerics,
    shape: Shape,
    a: &Operand,
    b: &Operand,
    scales: Option<&Scales>,
    accumulator: &[u32],
) -> Result<(), MultiplyError> {
    let Shape { m, n, k } = shape;
    let mut lengths = vec![("A", a.codes.len(), m * k), ("B", b.codes.len(), n * k), ("C", accumulator.len(), m * n)];
    for operand in [a, b] {
        lengths
            .extend(operand.present.map(|present| ("the mask of stored elements", present.len(), operand.codes.len())));
    }
    let mut blocks = Vec::new();
    if let Some(scales) = scales {
        blocks.push(scales.block);
        let per_row = k.checked_div(scales.block).unwrap_or(0);
        lengths.extend([
            ("the scales of A", scales.a.len(), m * per_row),
            ("the scales of B", scales.b.len(), n * per_row),
        ]);
    }
    if let Terms::Blocks { length } = numerics.terms {
        blocks.push(length);
    }
    if let Some(&block) = blocks.iter().find(|&&block| block == 0 || k % block != 0) {
        return Err(MultiplyError::Block { block, k });
    }
    match lengths.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(MultiplyError::Length { what, found, expected }),
        None => Ok(()),
    }
}

/// The arguments of a floating-point multiplication, found consistent.
pub(super) struct Problem<'a> {
    pub(super) numerics: &'a Numerics,
    pub(super) shape: Shape,
    pub(super) a: &'a Operand<'a>,
    pub(super) b: &'a Operand<'a>,
    pub(super) scales: Option<&'a Scales<'a>>,
    /// Of A and B.
    pub(super) formats: [FloatFormat; 2],
}

/// An element as the tensor core sees it: for `Terms::ConvertedPairs` that is its f16.
pub(super) fn operand_value(
    terms: Terms,
    operand: &Operand,
    format: FloatFormat,
    index: usize,
) -> (Decoded, FloatFormat) {
    let decoded = format.decode(operand.element.float_code(operand.codes.get(index)));
    let (mut decoded, format) = match terms {
        Terms::ConvertedPairs { .. } => (to_f16(decoded, format), F16),
        Terms::Products | Terms::Blocks { .. } => (decoded, format),
    };
    decoded.negative ^= operand.negate;
    (decoded, format)
}

/// A number of at most 8 bits with the significand and exponent that it has as an f16. Exact: f16 holds all of them.
fn to_f16(mut decoded: Decoded, format: FloatFormat) -> Decoded {
    decoded.significand <<= F16.fraction_bits - format.fraction_bits;
    let leading = 31 - decoded.significand.leading_zeros() as i32;
    let renormalise = (F16.fraction_bits as i32 - leading).min(decoded.exponent - F16.lowest_exponent());
    if decoded.significand != 0 {
        decoded.significand <<= renormalise;
        decoded.exponent -= renormalise;
    }
    decoded
}

impl Problem<'_> {
    /// One output by the definition, from the bits of C.
    #[inline(never)]
    pub(super) fn exact(&self, row: usize, column: usize, c: u32) -> u32 {
        match self.numerics.terms {
            Terms::Products => {
                let step = self.numerics.group.max(1);
                let starts = (0..self.shape.k).step_by(step);
                starts.fold(c, |c, start| {
                    let group = start..(start + step).min(self.shape.k);
                    self.sum_of(row, column, group, Some(c), self.numerics)
                })
            }
            Terms::ConvertedPairs { span } => {
                let half = |upper: bool| (0..self.shape.k).filter(move |k| (k % span >= span / 2) == upper);
                let first = self.sum_of(row, column, half(false), None, self.numerics);
                let both = self.sum_of(row, column, half(true), Some(first), self.numerics);
                add_accumulators(self.numerics.rounding, both, c)
            }
            Terms::Blocks { length } => {
                let step = self.numerics.group.max(length);
                let starts = (0..self.shape.k).step_by(step);
                starts.fold(c, |c, start| {
                    self.sum_of_blocks(row, column, start..(start + step).min(self.shape.k), length, c)
                })
            }
        }
    }

    fn sum_of(
        &self,
        row: usize,
        column: usize,
        group: impl Iterator<Item = usize>,
        c: Option<u32>,
        numerics: &Numerics,
    ) -> u32 {
        let mut special = Special::new();
        let mut terms = Vec::new();
        for k in group {
            if !self.is_present(row, column, k) {
                continue;
            }
            let (a, a_format) = operand_value(self.numerics.terms, self.a, self.formats[0], row * self.shape.k + k);
            let (b, b_format) = operand_value(self.numerics.terms, self.b, self.formats[1], column * self.shape.k + k);
            let mut term = Term {
                significand: signed(&a) * signed(&b),
                exponent: a.exponent + b.exponent,
                fraction_bits: a_format.fraction_bits + b_format.fraction_bits,
            };
            match self.scales_at(row, column, k) {
                None => special.product(&[a, b]),
                Some((scale_a, scale_b, format)) => {
                    special.product(&[a, b, scale_a, scale_b]);
                    term.significand *= signed(&scale_a) * signed(&scale_b);
                    term.exponent += scale_a.exponent + scale_b.exponent;
                    term.fraction_bits += 2 * format.fraction_bits();
                }
            }
            terms.push(term);
        }
        if let Some(c) = c {
            special.product(&[accumulate::accumulator_format(numerics.rounding).decode(c)]);
        }
        special.result(numerics.rounding).unwrap_or_else(|| {
            terms.extend(c.map(|c| Term::of_accumulator(numerics.rounding, c)));
            accumulate::sum(numerics, &terms)
        })
    }

    fn sum_of_blocks(&self, row: usize, column: usize, group: std::ops::Range<usize>, length: usize, c: u32) -> u32 {
        let mut special = Special::new();
        special.product(&[accumulate::accumulator_format(self.numerics.rounding).decode(c)]);
        let mut terms = vec![];
        for start in group.step_by(length) {
            let mut significand = 0;
            for k in (start..start + length).filter(|&k| self.is_present(row, column, k)) {
                let (a, _) = operand_value(self.numerics.terms, self.a, self.formats[0], row * self.shape.k + k);
                let (b, _) = operand_value(self.numerics.terms, self.b, self.formats[1], column * self.shape.k + k);
                // In quarters: the exponents of e2m1 are not negative.
                significand += (signed(&a) * signed(&b)) << (a.exponent + b.exponent);
            }
            let mut term = Term { significand, exponent: 0, fraction_bits: 2 };
            if let Some((scale_a, scale_b, format)) = self.scales_at(row, column, start) {
                special.product(&[scale_a, scale_b]);
                term.significand *= signed(&scale_a) * signed(&scale_b);
                term.exponent = scale_a.exponent + scale_b.exponent;
                term.fraction_bits += 2 * format.fraction_bits();
            }
            terms.push(term);
        }
        special.result(self.numerics.rounding).unwrap_or_else(|| {
            terms.push(Term::of_accumulator(self.numerics.rounding, c));
            accumulate::sum(self.numerics, &terms)
        })
    }

    fn is_present(&self, row: usize, column: usize, k: usize) -> bool {
        let at = |operand: &Operand, index: usize| operand.present.is_none_or(|present| present[index]);
        at(self.a, row * self.shape.k + k) && at(self.b, column * self.shape.k + k)
    }

    fn scales_at(&self, row: usize, column: usize, k: usize) -> Option<(Decoded, Decoded, ScaleFormat)> {
        let scales = self.scales?;
        let per_row = self.shape.k / scales.block;
        let at = |codes: &[u8], row: usize| scales.format.decode(codes[row * per_row + k / scales.block]);
        Some((at(scales.a, row), at(scales.b, column), scales.format))
    }
}

/// The last step of `Terms::ConvertedPairs`: the sum of two accumulators, to the nearest even.
pub(super) fn add_accumulators(rounding: Rounding, sum: u32, c: u32) -> u32 {
    match rounding {
        Rounding::TowardZero { .. } => {
            let result = f32::from_bits(sum) + f32::from_bits(c);
            if result.is_nan() { accumulate::NAN_F32 } else { result.to_bits() }
        }
        Rounding::NearestF16 => {
            let value = |bits: u32| half::f16::from_bits(bits as u16).to_f32();
            // Rounding to f32 first changes nothing: it has more than twice the bits of f16.
            let result = half::f16::from_f32(value(sum) + value(c));
            if result.is_nan() { accumulate::NAN_F16 } else { result.to_bits().into() }
        }
    }
}
