//! Multiplication of integers, bits and f64, which have no accumulation model: exact, or a chain of fused multiply-adds.

use super::accumulate::Accumulator;
use super::element::Element;
use super::multiply::{Codes, MultiplyError, Operand, Shape};

/// What is done with two bits before they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOperation {
    /// `.and.popc`
    And,
    /// `.xor.popc`
    Xor,
}

/// Integers: the sum of products is exact, and wraps or saturates once, with C.
pub(super) fn multiply_integers(
    shape: Shape,
    a: &Operand,
    b: &Operand,
    saturate: bool,
    accumulator: &mut [u32],
) -> Result<(), MultiplyError> {
    let Shape { n, k, .. } = shape;
    let a = integers(a, Accumulator::S32 { saturate })?;
    let rows_of_b = integers(b, Accumulator::S32 { saturate })?;
    // Columns beside each other, so that many are added at a time.
    let mut b = vec![0i16; n * k];
    for (column, row) in rows_of_b.chunks_exact(k.max(1)).enumerate() {
        for (k, &value) in row.iter().enumerate() {
            b[k * n + column] = value;
        }
    }
    pulp::Arch::new().dispatch(Rows { shape, a: &a, b: &b, saturate, accumulator });
    Ok(())
}

struct Rows<'a> {
    shape: Shape,
    /// m rows of k.
    a: &'a [i16],
    /// k rows of n.
    b: &'a [i16],
    saturate: bool,
    accumulator: &'a mut [u32],
}

impl pulp::NullaryFnOnce for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Shape { n, k, .. } = self.shape;
        let mut sums = vec![0i32; n];
        for (row, outputs) in self.a.chunks_exact(k.max(1)).zip(self.accumulator.chunks_exact_mut(n.max(1))) {
            sums.fill(0);
            for (&value, columns) in row.iter().zip(self.b.chunks_exact(n.max(1))) {
                for (sum, &column) in sums.iter_mut().zip(columns) {
                    // At most 2^16 in size: 2^15 of them fit, far more than any instruction has.
                    *sum = sum.wrapping_add(i32::from(value) * i32::from(column));
                }
            }
            for (output, &sum) in outputs.iter_mut().zip(&sums) {
                let c = *output as i32;
                *output = if self.saturate { c.saturating_add(sum) } else { c.wrapping_add(sum) } as u32;
            }
        }
    }
}

fn integers(operand: &Operand, accumulator: Accumulator) -> Result<Vec<i16>, MultiplyError> {
    let element = operand.element;
    if element.integer(0).is_none() {
        return Err(MultiplyError::Element { element, accumulator });
    }
    Ok(match (operand.codes, element) {
        (Codes::Bytes(codes), Element::S8) => codes.iter().map(|&code| (code as i8).into()).collect(),
        (Codes::Bytes(codes), Element::U8) => codes.iter().map(|&code| code.into()).collect(),
        (codes, _) => (0..codes.len()).map(|index| element.integer(codes.get(index)).unwrap_or(0) as i16).collect(),
    })
}

/// Bits: the count of ones of A op B, added to C with wrapping. `k_words` 32-bit words make a row of A and of B.
pub fn multiply_bits(
    operation: BitOperation,
    m: usize,
    n: usize,
    k_words: usize,
    a: &[u32],
    b: &[u32],
    accumulator: &mut [u32],
) -> Result<(), MultiplyError> {
    check([("A", a.len(), m * k_words), ("B", b.len(), n * k_words), ("C", accumulator.len(), m * n)])?;
    for row in 0..m {
        for column in 0..n {
            let pairs = a[row * k_words..][..k_words].iter().zip(&b[column * k_words..][..k_words]);
            let count: u32 = match operation {
                BitOperation::And => pairs.map(|(a, b)| (a & b).count_ones()).sum(),
                BitOperation::Xor => pairs.map(|(a, b)| (a ^ b).count_ones()).sum(),
            };
            let output = &mut accumulator[row * n + column];
            *output = output.wrapping_add(count);
        }
    }
    Ok(())
}

/// f64: one fused multiply-add after another, to the nearest even, in the order of k (recorded on an H200).
pub fn multiply_f64(shape: Shape, a: &[u64], b: &[u64], accumulator: &mut [u64]) -> Result<(), MultiplyError> {
    let Shape { m, n, k } = shape;
    check([("A", a.len(), m * k), ("B", b.len(), n * k), ("C", accumulator.len(), m * n)])?;
    for row in 0..m {
        for column in 0..n {
            let output = &mut accumulator[row * n + column];
            let pairs = a[row * k..][..k].iter().zip(&b[column * k..][..k]);
            *output = pairs.fold(*output, |sum, (&a, &b)| multiply_add(a, b, sum));
        }
    }
    Ok(())
}

/// `a * b + sum`. Of several NaN, b's comes first, then that of the sum; one that arises anew is 0xfff8 followed by zeros (recorded on
/// an H200).
fn multiply_add(a: u64, b: u64, sum: u64) -> u64 {
    let is_nan = |bits: u64| f64::from_bits(bits).is_nan();
    match [b, sum, a].into_iter().find(|&bits| is_nan(bits)) {
        Some(nan) => nan | 1 << 51,
        None => {
            let result = f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(sum));
            if result.is_nan() { 0xfff8 << 48 } else { result.to_bits() }
        }
    }
}

fn check(lengths: [(&'static str, usize, usize); 3]) -> Result<(), MultiplyError> {
    match lengths.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(MultiplyError::Length { what, found, expected }),
        None => Ok(()),
    }
}
