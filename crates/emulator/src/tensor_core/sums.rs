//! The loops of `multiply`: the sum of a group for `L` columns at a time.
//!
//! Equal to the definition in `accumulate` bit for bit: products of two significands are exact in f32 (at most 22 bits, and 24 with
//! scales), scaling by a power of two is exact, the conversion to an integer cuts toward zero, and sums of integers are exact.
//! The functions are compiled for the vector instructions of the machine that they run on.

use super::accumulate::{Numerics, Rounding, Terms, round};
use super::element::ScaleFormat;
use super::multiply::{Problem, add_in_f32};
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
    let arch = pulp::Arch::new();
    match problem.numerics.terms {
        Terms::Products | Terms::ConvertedPairs => {
            let sums = ProductSums { numerics: problem.numerics, fits: fits(problem) };
            arch.dispatch(|| {
                for_each_chunk(problem, &a, &b, accumulator, |row, chunk, c| sums.chain(problem, &a, &b, row, chunk, c))
            });
        }
        Terms::Blocks { length } => {
            let sums = BlockSums::new(problem, length);
            arch.dispatch(|| {
                for_each_chunk(problem, &a, &b, accumulator, |row, chunk, c| sums.chain(problem, &a, &b, row, chunk, c))
            });
        }
    }
}

/// B with `L` columns beside each other: chunks of columns, each k rows of `L`. Columns beyond n are zero.
struct Columns<const L: usize> {
    significands: Vec<[f32; L]>,
    exponents: Vec<[i32; L]>,
    special: Vec<bool>,
}

impl<const L: usize> Columns<L> {
    fn new(problem: &Problem) -> Self {
        let k = problem.shape.k;
        let panel = Panel::new(problem, Side::B);
        let chunks = problem.shape.n.div_ceil(L);
        let mut columns = Columns {
            significands: vec![[0.0; L]; chunks * k],
            exponents: vec![[ZERO_EXPONENT; L]; chunks * k],
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

/// Calls `chain` for each row and `L` columns with their C, which it replaces by D; outputs that are not numbers on the way
/// are computed by the definition.
#[inline(always)]
fn for_each_chunk<const L: usize>(
    problem: &Problem,
    a: &Panel,
    b: &Columns<L>,
    accumulator: &mut [u32],
    chain: impl Fn(usize, usize, &mut [u32; L]) -> bool,
) {
    let (m, n) = (problem.shape.m, problem.shape.n);
    for chunk in 0..n.div_ceil(L) {
        let columns = chunk * L..(chunk * L + L).min(n);
        let special = b.special[columns.clone()].iter().any(|&special| special);
        for row in 0..m {
            let outputs = &mut accumulator[row * n..][columns.clone()];
            let mut c = [0; L];
            c[..outputs.len()].copy_from_slice(outputs);
            let original = c;
            let finite = chain(row, chunk, &mut c);
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

struct ProductSums<'a> {
    numerics: &'a Numerics,
    /// Terms that an i32 holds the sum of.
    fits: usize,
}

impl ProductSums<'_> {
    /// The sums of all groups, one after the other. Returns whether every accumulator on the way was finite.
    #[inline(always)]
    fn chain<const L: usize>(
        &self,
        problem: &Problem,
        a: &Panel,
        b: &Columns<L>,
        row: usize,
        chunk: usize,
        c: &mut [u32; L],
    ) -> bool {
        let k = problem.shape.k;
        let original = *c;
        let pairs = self.numerics.terms == Terms::ConvertedPairs;
        let (group, rounding) = match pairs {
            true => (k / 2, Rounding::TowardZero { fraction_bits: 23 }),
            false => (self.numerics.group, self.numerics.rounding),
        };
        if pairs {
            *c = [0; L];
        }
        let mut finite = true;
        let a_row = (&a.significands[row * k..][..k], &a.exponents[row * k..][..k]);
        let b_rows = (&b.significands[chunk * k..][..k], &b.exponents[chunk * k..][..k]);
        let mut start = 0;
        while start < k {
            let end = k.min(start + group.max(1));
            let sources = Group {
                a: (&a_row.0[start..end], &a_row.1[start..end]),
                b: (&b_rows.0[start..end], &b_rows.1[start..end]),
            };
            finite &= self.add_group(rounding, sources, c);
            start = end;
        }
        if pairs {
            for (output, original) in c.iter_mut().zip(original) {
                finite &= is_finite(self.numerics.rounding, original);
                *output = add_in_f32(self.numerics.rounding, *output, original);
            }
        }
        finite & c.iter().all(|&bits| is_finite(self.numerics.rounding, bits))
    }

    #[inline(always)]
    fn add_group<const L: usize>(&self, rounding: Rounding, group: Group<L>, c: &mut [u32; L]) -> bool {
        let fraction_bits = self.numerics.fraction_bits as i32;
        let accumulators = split_accumulators(rounding, c);
        let mut largest = accumulators.exponents.map(|exponent| exponent.max(self.numerics.lowest_exponent));
        for (&a, b) in group.a.1.iter().zip(group.b.1) {
            for lane in 0..L {
                largest[lane] = largest[lane].max(a + b[lane]);
            }
        }
        // The biased exponent of 2^(exponent - largest + fraction_bits), with the exponent left out. The least scale that is used
        // takes every term below one without making it subnormal, which would be slow.
        let offset = largest.map(|largest| 127 + fraction_bits - largest);
        let scale = |exponent: i32| f32::from_bits((exponent.max(40) as u32) << 23);
        let mut total = [0f64; L];
        let mut start = 0;
        while start < group.a.0.len() {
            let end = group.a.0.len().min(start + self.fits);
            let mut sum = [0i32; L];
            let a = group.a.0[start..end].iter().zip(&group.a.1[start..end]);
            let b = group.b.0[start..end].iter().zip(&group.b.1[start..end]);
            for ((&a, &a_exponent), (b, b_exponent)) in a.zip(b) {
                for lane in 0..L {
                    let term = a * b[lane] * scale(a_exponent + b_exponent[lane] + offset[lane]);
                    sum[lane] = sum[lane].wrapping_add(term as i32);
                }
            }
            for lane in 0..L {
                total[lane] += f64::from(sum[lane]);
            }
            start = end;
        }
        for lane in 0..L {
            let term = accumulators.significands[lane] * scale(accumulators.exponents[lane] + offset[lane]);
            total[lane] += f64::from(term as i32);
        }
        *c = round_sums(rounding, &total, &largest, fraction_bits);
        accumulators.finite
    }
}

/// A row of A and `L` columns of B, from one k to another.
struct Group<'a, const L: usize> {
    a: (&'a [f32], &'a [i32]),
    b: (&'a [[f32; L]], &'a [[i32; L]]),
}

/// Sums whose terms are sums of blocks.
struct BlockSums {
    length: usize,
    /// Blocks that are added as one sum.
    blocks_per_group: usize,
    fraction_bits: i32,
    lowest_exponent: i32,
    rounding: Rounding,
    /// Significand and exponent of the scale of every block of every row of A, and of B.
    scales: [Vec<(f64, i32)>; 2],
}

impl BlockSums {
    fn new(problem: &Problem, length: usize) -> Self {
        let numerics = problem.numerics;
        let blocks = problem.shape.k / length;
        let scales_of = |side: usize| {
            let rows = if side == 0 { problem.shape.m } else { problem.shape.n };
            let Some(scales) = problem.scales else { return vec![(1.0, 0); rows * blocks] };
            let codes = if side == 0 { scales.a } else { scales.b };
            let of_block = |index: usize| {
                let (row, block) = (index / blocks, index % blocks);
                let code = codes[row * (problem.shape.k / scales.block) + block * length / scales.block];
                let scale = scales.format.decode(code);
                let significand = f64::from(scale.significand) / f64::from(1 << scales.format.fraction_bits());
                (significand, scale.exponent)
            };
            (0..rows * blocks).map(of_block).collect()
        };
        BlockSums {
            length,
            blocks_per_group: (numerics.group / length).max(1),
            fraction_bits: numerics.fraction_bits as i32,
            lowest_exponent: numerics.lowest_exponent,
            rounding: numerics.rounding,
            scales: [scales_of(0), scales_of(1)],
        }
    }

    #[inline(always)]
    fn chain<const L: usize>(
        &self,
        problem: &Problem,
        a: &Panel,
        b: &Columns<L>,
        row: usize,
        chunk: usize,
        c: &mut [u32; L],
    ) -> bool {
        let k = problem.shape.k;
        let blocks = k / self.length;
        let mut finite = true;
        let mut first = 0;
        while first < blocks {
            let last = blocks.min(first + self.blocks_per_group);
            let accumulators = split_accumulators(self.rounding, c);
            finite &= accumulators.finite;
            let mut largest = accumulators.exponents.map(|exponent| exponent.max(self.lowest_exponent));
            let mut terms = Vec::with_capacity(last - first);
            for block in first..last {
                let (a_scale, a_exponent) = self.scales[0][row * blocks + block];
                let mut term = [0f64; L];
                let mut exponent = [ZERO_EXPONENT; L];
                let sum = self.block_sum(problem, a, b, row, chunk, block);
                for lane in 0..L.min(problem.shape.n - chunk * L) {
                    let (b_scale, b_exponent) = self.scales[1][(chunk * L + lane) * blocks + block];
                    term[lane] = f64::from(sum[lane]) * a_scale * b_scale;
                    if term[lane] != 0.0 {
                        exponent[lane] = a_exponent + b_exponent;
                    }
                    largest[lane] = largest[lane].max(exponent[lane]);
                }
                terms.push((term, exponent));
            }
            let mut total = [0f64; L];
            // Far below the largest a term is cut to zero whatever its exponent, and the power stays a normal number.
            let scale = |exponent: i32| f64::from_bits(((exponent.max(-500) + 1023) as u64) << 52);
            for (term, exponent) in &terms {
                for lane in 0..L {
                    total[lane] += (term[lane] * scale(exponent[lane] - largest[lane] + self.fraction_bits)).trunc();
                }
            }
            for lane in 0..L {
                let shift = accumulators.exponents[lane] - largest[lane] + self.fraction_bits;
                total[lane] += (f64::from(accumulators.significands[lane]) * scale(shift)).trunc();
            }
            *c = round_sums(self.rounding, &total, &largest, self.fraction_bits);
            first = last;
        }
        finite & c.iter().all(|&bits| is_finite(self.rounding, bits))
    }

    /// The sum of the products of a block. Exact: they are multiples of a quarter, at most 36 each.
    #[inline(always)]
    fn block_sum<const L: usize>(
        &self,
        problem: &Problem,
        a: &Panel,
        b: &Columns<L>,
        row: usize,
        chunk: usize,
        block: usize,
    ) -> [f32; L] {
        let k = problem.shape.k;
        let from = block * self.length;
        let mut sum = [0f32; L];
        for k_index in from..from + self.length {
            let a_index = row * k + k_index;
            let a_value = value(a.significands[a_index], a.exponents[a_index]);
            let (b_significands, b_exponents) =
                (&b.significands[chunk * k + k_index], &b.exponents[chunk * k + k_index]);
            for lane in 0..L {
                sum[lane] += a_value * value(b_significands[lane], b_exponents[lane]);
            }
        }
        sum
    }
}

/// The value of an e2m1 element.
#[inline(always)]
fn value(significand: f32, exponent: i32) -> f32 {
    significand * f32::from_bits((exponent.max(-126) + 127) as u32 * (1 << 23))
}

/// Accumulators taken apart like operands.
struct Accumulators<const L: usize> {
    significands: [f32; L],
    exponents: [i32; L],
    finite: bool,
}

#[inline(always)]
fn split_accumulators<const L: usize>(rounding: Rounding, c: &[u32; L]) -> Accumulators<L> {
    let (exponent_bits, fraction_bits) = match rounding {
        Rounding::TowardZero { .. } => (8, 23),
        Rounding::NearestF16 => (5, 10),
    };
    let bias = (1i32 << (exponent_bits - 1)) - 1;
    let last_field = (1u32 << exponent_bits) - 1;
    let mut accumulators = Accumulators { significands: [0.0; L], exponents: [0; L], finite: true };
    let unit = f32::from_bits((127 - fraction_bits) << 23);
    let mut largest_field = 0;
    for lane in 0..L {
        let field = (c[lane] >> fraction_bits) & last_field;
        let fraction = c[lane] & ((1 << fraction_bits) - 1);
        let significand = fraction | if field == 0 { 0 } else { 1 << fraction_bits };
        // The sign of the code, on top of a positive f32.
        let sign = (c[lane] >> (exponent_bits + fraction_bits)) << 31;
        accumulators.significands[lane] = f32::from_bits((significand as i32 as f32 * unit).to_bits() | sign);
        let exponent = (field as i32).max(1) - bias;
        accumulators.exponents[lane] = if significand == 0 { ZERO_EXPONENT } else { exponent };
        largest_field = largest_field.max(field);
    }
    accumulators.finite = largest_field < last_field;
    accumulators
}

#[inline(always)]
fn is_finite(rounding: Rounding, bits: u32) -> bool {
    match rounding {
        Rounding::TowardZero { .. } => bits & 0x7f80_0000 != 0x7f80_0000,
        Rounding::NearestF16 => bits & 0x7c00 != 0x7c00,
    }
}

/// `total * 2^(largest - fraction_bits)`, rounded. The totals are whole and below 2^53.
#[inline(always)]
fn round_sums<const L: usize>(
    rounding: Rounding,
    total: &[f64; L],
    largest: &[i32; L],
    fraction_bits: i32,
) -> [u32; L] {
    let mut result = [0; L];
    match rounding {
        Rounding::TowardZero { fraction_bits: kept } => {
            let mask = !0u64 << (52 - kept);
            for lane in 0..L {
                let scale = f64::from_bits(((1023 + largest[lane] - fraction_bits) as u64) << 52);
                let cut = f64::from_bits((total[lane] * scale).to_bits() & mask);
                // Exact, except for subnormal results, which are cut as well, and for those that are too large.
                let rounded = cut as f32;
                let too_far = f64::from(rounded.abs()) > cut.abs() && rounded.abs() < f32::INFINITY;
                result[lane] = rounded.to_bits() - u32::from(too_far);
            }
        }
        Rounding::NearestF16 => {
            for lane in 0..L {
                result[lane] = round(rounding, total[lane] as i64, largest[lane] - fraction_bits);
            }
        }
    }
    result
}
