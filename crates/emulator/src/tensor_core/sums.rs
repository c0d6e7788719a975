//! The loops of `multiply`: the sum of a group for `L` columns at a time.
//!
//! All in integers of 32 bits: a product of significands has at most 22 bits, 27 when it is shifted to the fraction bits of the sum,
//! and two more with scales; as many are added as fit, and the partial sums are added in f64, exactly. The functions are compiled for the vector instructions of the machine that they run on.

use super::accumulate::{Numerics, Rounding, Terms};
use super::block_sums::BlockSums;
use super::element::ScaleFormat;
use super::lanes::{Cut, is_finite, round_sums, split_accumulators};
use super::multiply::{Problem, add_accumulators};
use super::panel::{Panel, Side, ZERO_EXPONENT};

/// Adds A * B to the accumulators.
pub(super) fn add_columns(problem: &Problem, accumulator: &mut [u32]) {
    if problem.shape.n.is_multiple_of(16) {
        add_columns_by::<16>(problem, accumulator);
    } else {
        add_columns_by::<8>(problem, accumulator);
    }
}

fn add_columns_by<const L: usize>(problem: &Problem, accumulator: &mut [u32]) {
    let (a, b) = (Panel::new(problem, Side::A), Columns::<L>::new(problem));
    let sources = Sources { problem, a: &a, b: &b };
    let arch = pulp::Arch::new();
    match problem.numerics.terms {
        Terms::Products | Terms::ConvertedPairs { .. } => {
            let cut = Cut::new(a.fraction_bits + b.fraction_bits, problem.numerics.fraction_bits);
            let chain = ProductSums { sources, numerics: problem.numerics, cut, fits: fits(problem) };
            arch.dispatch(Rows { sources, chain, accumulator });
        }
        Terms::Blocks { length } => {
            let chain = BlockSums::new(sources, length);
            arch.dispatch(Rows { sources, chain, accumulator });
        }
    }
}

/// What is multiplied.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a, const L: usize> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) a: &'a Panel,
    pub(super) b: &'a Columns<L>,
}

/// B with `L` columns beside each other: chunks of columns, each k rows of `L`. Columns beyond n are zero.
pub(super) struct Columns<const L: usize> {
    pub(super) significands: Vec<[i32; L]>,
    pub(super) exponents: Vec<[i32; L]>,
    fraction_bits: u32,
    special: Vec<bool>,
}

impl<const L: usize> Columns<L> {
    fn new(problem: &Problem) -> Self {
        let k = problem.shape.k;
        let panel = Panel::new(problem, Side::B);
        let chunks = problem.shape.n.div_ceil(L);
        let mut columns = Columns {
            significands: vec![[0; L]; chunks * k],
            exponents: vec![[ZERO_EXPONENT; L]; chunks * k],
            fraction_bits: panel.fraction_bits,
            special: panel.special,
        };
        for column in 0..problem.shape.n {
            let (chunk, lane) = (column / L, column % L);
            let row = column * k..(column + 1) * k;
            for (to, &from) in columns.significands[chunk * k..][..k].iter_mut().zip(&panel.significands[row.clone()]) {
                to[lane] = from;
            }
            for (to, &from) in columns.exponents[chunk * k..][..k].iter_mut().zip(&panel.exponents[row]) {
                to[lane] = from;
            }
        }
        columns
    }
}

/// The sums of all groups of one row and `L` columns, one after the other.
pub(super) trait Chain<const L: usize> {
    /// Replaces C by D; returns whether every accumulator on the way was finite.
    fn add(&self, row: usize, chunk: usize, c: &mut [u32; L]) -> bool;
}

/// All rows and columns; outputs that are not numbers on the way are computed by the definition.
struct Rows<'a, C, const L: usize> {
    sources: Sources<'a, L>,
    chain: C,
    accumulator: &'a mut [u32],
}

impl<C: Chain<L>, const L: usize> pulp::NullaryFnOnce for Rows<'_, C, L> {
    type Output = ();

    // Everything that this calls must become part of it, because only this is compiled for more than the least machine.
    #[inline(always)]
    fn call(self) {
        let Sources { problem, a, b } = self.sources;
        let (m, n) = (problem.shape.m, problem.shape.n);
        for chunk in 0..n.div_ceil(L) {
            let columns = chunk * L..(chunk * L + L).min(n);
            let special = b.special[columns.clone()].iter().any(|&special| special);
            for row in 0..m {
                let outputs = &mut self.accumulator[row * n..][columns.clone()];
                let mut c = [0; L];
                c[..outputs.len()].copy_from_slice(outputs);
                let original = c;
                let finite = self.chain.add(row, chunk, &mut c);
                if special || !finite || a.special[row] {
                    for (lane, output) in c[..outputs.len()].iter_mut().enumerate() {
                        if a.special[row] || b.special[chunk * L + lane] || !finite {
                            *output = problem.exact(row, chunk * L + lane, original[lane]);
                        }
                    }
                }
                outputs.copy_from_slice(&c[..outputs.len()]);
            }
        }
    }
}

/// How many products of the largest size, cut to the fraction bits, an i32 holds.
fn fits(problem: &Problem) -> usize {
    let largest = |fraction_bits: u32| 2.0 - 1.0 / f64::from(1 << fraction_bits);
    let scale = match problem.scales.map(|scales| scales.format) {
        Some(ScaleFormat::Ue4m3) => largest(3) * largest(3),
        Some(ScaleFormat::Ue8m0) | None => 1.0,
    };
    let product = problem.formats.iter().map(|format| largest(format.fraction_bits)).product::<f64>() * scale;
    let fits = f64::from(i32::MAX) / (product * f64::from(1 << problem.numerics.fraction_bits.min(30)));
    (fits as usize).max(1)
}

/// Sums whose terms are products.
struct ProductSums<'a, const L: usize> {
    sources: Sources<'a, L>,
    numerics: &'a Numerics,
    /// Of products.
    cut: Cut,
    /// Terms that an i32 holds the sum of.
    fits: usize,
}

impl<const L: usize> Chain<L> for ProductSums<'_, L> {
    #[inline(always)]
    fn add(&self, row: usize, chunk: usize, c: &mut [u32; L]) -> bool {
        let Sources { problem, a, b } = self.sources;
        let k = problem.shape.k;
        let (a, a_exponents) = (&a.significands[row * k..][..k], &a.exponents[row * k..][..k]);
        let (b, b_exponents) = (&b.significands[chunk * k..][..k], &b.exponents[chunk * k..][..k]);
        let original = *c;
        let pairs = matches!(self.numerics.terms, Terms::ConvertedPairs { .. });
        let rounding = self.numerics.rounding;
        let group = if pairs { k / 2 } else { self.numerics.group };
        if pairs {
            *c = [0; L];
        }
        let mut finite = true;
        let mut start = 0;
        while start < k {
            let end = k.min(start + group.max(1));
            let a = (&a[start..end], &a_exponents[start..end]);
            finite &= self.add_group(rounding, a, (&b[start..end], &b_exponents[start..end]), c);
            start = end;
        }
        if pairs {
            for (output, original) in c.iter_mut().zip(original) {
                finite &= is_finite(self.numerics.rounding, original);
                *output = add_accumulators(self.numerics.rounding, *output, original);
            }
        }
        finite & c.iter().all(|&bits| is_finite(self.numerics.rounding, bits))
    }
}

impl<const L: usize> ProductSums<'_, L> {
    /// Adds one group: significands and exponents of a row of A and of `L` columns of B.
    #[inline(always)]
    fn add_group(
        &self,
        rounding: Rounding,
        (a, a_exponents): (&[i32], &[i32]),
        (b, b_exponents): (&[[i32; L]], &[[i32; L]]),
        c: &mut [u32; L],
    ) -> bool {
        let accumulators = split_accumulators(rounding, c);
        let accumulator_cut = Cut::new(accumulators.fraction_bits, self.numerics.fraction_bits);
        let mut largest = accumulators.exponents.map(|exponent| exponent.max(self.numerics.lowest_exponent));
        for (&a, b) in a_exponents.iter().zip(b_exponents) {
            for lane in 0..L {
                largest[lane] = largest[lane].max(a + b[lane]);
            }
        }
        let mut total = [0f64; L];
        let parts = a.chunks(self.fits).zip(a_exponents.chunks(self.fits));
        for ((a, a_exponents), (b, b_exponents)) in parts.zip(b.chunks(self.fits).zip(b_exponents.chunks(self.fits))) {
            let mut sum = [0i32; L];
            for ((&a, &a_exponent), (b, b_exponents)) in a.iter().zip(a_exponents).zip(b.iter().zip(b_exponents)) {
                for lane in 0..L {
                    sum[lane] += self.cut.apply(a * b[lane], largest[lane] - (a_exponent + b_exponents[lane]));
                }
            }
            for lane in 0..L {
                total[lane] += f64::from(sum[lane]);
            }
        }
        for lane in 0..L {
            let below = largest[lane] - accumulators.exponents[lane];
            total[lane] += f64::from(accumulator_cut.apply(accumulators.significands[lane], below));
        }
        *c = round_sums(rounding, &total, &largest, self.numerics.fraction_bits as i32);
        accumulators.finite
    }
}
