//! Operands taken apart once for many columns at a time: significands as signed integers, and exponents.
//!
//! A value is `significand * 2^(exponent - fraction_bits)`. Zero has a significand of zero and an exponent so low that it is never
//! the largest of a group. NaN and infinities become zero and mark their row.

use super::accumulate::{Terms, signed};
use super::element::{Class, Decoded, Element, F16, FloatFormat};
use super::multiply::{Operand, Problem, operand_value};

/// The exponent of zero. Sums of a few of them stay far from the ends of the type.
pub const ZERO_EXPONENT: i32 = -10_000;

/// The rows of A or B.
pub struct Panel {
    /// Rows of k.
    pub significands: Vec<i32>,
    /// Rows of k.
    pub exponents: Vec<i32>,
    /// Bits of every significand that are below `2^exponent`.
    pub fraction_bits: u32,
    /// Rows with an element, or a scale, that is not a number.
    pub special: Vec<bool>,
}

/// Which operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A.
    A,
    /// B.
    B,
}

impl Panel {
    /// Takes one operand apart; with `Terms::ConvertedPairs` the elements of a row are in the order in which they are added.
    pub fn new(problem: &Problem, side: Side) -> Panel {
        let k = problem.shape.k;
        let (operand, format) = match side {
            Side::A => (problem.a, problem.formats[0]),
            Side::B => (problem.b, problem.formats[1]),
        };
        let values = values(problem.numerics.terms, operand, format);
        let mut panel = Panel {
            significands: values.iter().map(|value| value.0).collect(),
            exponents: values.iter().map(|value| value.1).collect(),
            fraction_bits: if matches!(problem.numerics.terms, Terms::ConvertedPairs { .. }) {
                F16.fraction_bits
            } else {
                format.fraction_bits
            },
            special: values
                .chunks_exact(k.max(1))
                .map(|row| row.iter().any(|value| value.1 == SPECIAL_EXPONENT))
                .collect(),
        };
        panel.exponents.iter_mut().filter(|exponent| **exponent == SPECIAL_EXPONENT).for_each(|e| *e = ZERO_EXPONENT);
        if let Some(scales) = problem.scales {
            let codes = if side == Side::A { scales.a } else { scales.b };
            let elements = panel.significands.chunks_mut(scales.block).zip(panel.exponents.chunks_mut(scales.block));
            for (block, ((significands, exponents), &code)) in elements.zip(codes).enumerate() {
                let scale = scales.format.decode(code);
                let (significand, exponent) = split(scale);
                if exponent == SPECIAL_EXPONENT {
                    panel.special[block * scales.block / k] = true;
                } else if problem.numerics.terms == Terms::Products {
                    significands.iter_mut().for_each(|value| *value *= significand);
                    exponents.iter_mut().for_each(|value| *value += exponent);
                }
            }
        }
        if let (Some(scales), Terms::Products) = (problem.scales, problem.numerics.terms) {
            panel.fraction_bits += scales.format.fraction_bits();
        }
        if let Terms::ConvertedPairs { span } = problem.numerics.terms {
            order_pairs(&mut panel.significands, k, span);
            order_pairs(&mut panel.exponents, k, span);
        }
        panel
    }
}

/// In place of the exponent of what is not a number.
const SPECIAL_EXPONENT: i32 = i32::MAX;

/// Significand and exponent as a panel has them, before specials are taken out.
fn split(decoded: Decoded) -> (i32, i32) {
    match decoded.class {
        Class::Infinite | Class::Nan => (0, SPECIAL_EXPONENT),
        Class::Finite if decoded.significand == 0 => (0, ZERO_EXPONENT),
        Class::Finite => (signed(&decoded) as i32, decoded.exponent),
    }
}

fn values(terms: Terms, operand: &Operand, format: FloatFormat) -> Vec<(i32, i32)> {
    let at = |operand: &Operand, index: usize| split(operand_value(terms, operand, format, index).0);
    let length = operand.codes.len();
    if operand.element.bits() <= 8 && length > 256 {
        // Each code once; what a code with other bits above the type would be is not asked.
        let all: Vec<u8> = (0..=255).collect();
        let every = Operand { codes: super::multiply::Codes::Bytes(&all), ..*operand };
        let table: Vec<(i32, i32)> = (0..256).map(|index| at(&every, index)).collect();
        return (0..length).map(|index| table[operand.codes.get(index) as usize & 0xff]).collect();
    }
    match (operand.codes, operand.element) {
        (super::multiply::Codes::Halves(codes), Element::F16 | Element::Bf16) => {
            let sign = u32::from(operand.negate) << (format.bits() - 1);
            codes.iter().map(|&code| split(format.decode(u32::from(code) ^ sign))).collect()
        }
        _ => (0..length).map(|index| at(operand, index)).collect(),
    }
}

/// The elements of each row in the first half of a span before those in the second half.
fn order_pairs<T: Copy>(values: &mut [T], k: usize, span: usize) {
    for row in values.chunks_exact_mut(k.max(1)) {
        let (first, second): (Vec<usize>, Vec<usize>) = (0..k).partition(|index| index % span < span / 2);
        let ordered: Vec<T> = first.into_iter().chain(second).map(|index| row[index]).collect();
        row.copy_from_slice(&ordered);
    }
}
