//! Sums whose terms are exact sums of blocks of e2m1 products, times the scales of the blocks, for `L` columns at a time.

use super::accumulate::Rounding;
use super::lanes::{is_finite, round_sums, split_accumulators};
use super::panel::ZERO_EXPONENT;
use super::sums::{Chain, Sources};

pub(super) struct BlockSums<'a, const L: usize> {
    sources: Sources<'a, L>,
    length: usize,
    /// Blocks that are added as one sum.
    blocks_per_group: usize,
    fraction_bits: i32,
    lowest_exponent: i32,
    rounding: Rounding,
    /// Significand and exponent of the scale of every block of every row of A, and of B.
    scales: [Vec<(f64, i32)>; 2],
    /// The elements of A and of B in halves, arranged as the panels are.
    a: Vec<i32>,
    b: Vec<[i32; L]>,
}

impl<'a, const L: usize> BlockSums<'a, L> {
    pub(super) fn new(sources: Sources<'a, L>, length: usize) -> Self {
        let problem = sources.problem;
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
            sources,
            length,
            blocks_per_group: (numerics.group / length).max(1),
            fraction_bits: numerics.fraction_bits as i32,
            lowest_exponent: numerics.lowest_exponent,
            rounding: numerics.rounding,
            scales: [scales_of(0), scales_of(1)],
            a: sources.a.significands.iter().zip(&sources.a.exponents).map(|(&s, &e)| in_halves(s, e)).collect(),
            b: sources
                .b
                .significands
                .iter()
                .zip(&sources.b.exponents)
                .map(|(significands, exponents)| {
                    std::array::from_fn(|lane| in_halves(significands[lane], exponents[lane]))
                })
                .collect(),
        }
    }

    /// The sum of the products of a block, in quarters.
    #[inline(always)]
    fn block_sum(&self, row: usize, chunk: usize, block: usize) -> [i32; L] {
        let k = self.sources.problem.shape.k;
        let a = &self.a[row * k + block * self.length..][..self.length];
        let b = &self.b[chunk * k + block * self.length..][..self.length];
        let mut sum = [0; L];
        for (&a, b) in a.iter().zip(b) {
            for lane in 0..L {
                sum[lane] += a * b[lane];
            }
        }
        sum
    }
}

impl<const L: usize> Chain<L> for BlockSums<'_, L> {
    #[inline(always)]
    fn add(&self, row: usize, chunk: usize, c: &mut [u32; L]) -> bool {
        let problem = self.sources.problem;
        let blocks = problem.shape.k / self.length;
        // Far below the largest a term is cut to zero whatever its exponent, and the power stays a normal number.
        let scale = |exponent: i32| f64::from_bits(((exponent.max(-500) + 1023) as u64) << 52);
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
                let sum = self.block_sum(row, chunk, block);
                for lane in 0..L.min(problem.shape.n - chunk * L) {
                    let (b_scale, b_exponent) = self.scales[1][(chunk * L + lane) * blocks + block];
                    term[lane] = 0.25 * f64::from(sum[lane]) * a_scale * b_scale;
                    if term[lane] != 0.0 {
                        exponent[lane] = a_exponent + b_exponent;
                    }
                    largest[lane] = largest[lane].max(exponent[lane]);
                }
                terms.push((term, exponent));
            }
            let mut total = [0f64; L];
            for (term, exponent) in &terms {
                for lane in 0..L {
                    total[lane] += (term[lane] * scale(exponent[lane] - largest[lane] + self.fraction_bits)).trunc();
                }
            }
            for lane in 0..L {
                let shift = accumulators.exponents[lane] - largest[lane] + self.fraction_bits;
                let shift = shift - accumulators.fraction_bits as i32;
                total[lane] += (f64::from(accumulators.significands[lane]) * scale(shift)).trunc();
            }
            *c = round_sums(self.rounding, &total, &largest, self.fraction_bits);
            first = last;
        }
        finite & c.iter().all(|&bits| is_finite(self.rounding, bits))
    }
}

/// The value of an e2m1 element: at most 12 halves.
fn in_halves(significand: i32, exponent: i32) -> i32 {
    significand << exponent.max(0)
}
