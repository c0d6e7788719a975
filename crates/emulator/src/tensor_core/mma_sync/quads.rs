//! m8n8k4 on f16: four products at once, each of two quads of threads, 16 lanes apart.
//!
//! Lanes `4q..4q+4` and `4q+16..4q+20` compute product `q`. With `t = lane % 4` and `h = lane / 16`, element `i` of a lane is
//!
//! | matrix | row | column |
//! |---|---|---|
//! | A `.row` | `t + 4h` | `i` |
//! | A `.col` | `i + 4h` | `t` |
//! | B `.row` | `t` | `i + 4h` |
//! | B `.col` | `i` | `t + 4h` |
//! | C, D f16 | `t + 4h` | `i` |
//! | C, D f32 | `t % 2 + (i & 2) + 4h` | `(i & 4) + (t & 2) + (i & 1)` |
//!
//! Map: PTX ISA `#warp-level-matrix-fragment-mma-884-f16`. Sum, recorded on an H200: in f32 to the nearest even, fused multiply-adds in the
//! order of k, then C is added; a D of f16 is rounded from that. They start from plus zero, and for a D of f16 from minus zero.

use half::f16;

use super::super::accumulate::{NAN_F16, NAN_F32};
use super::{AccumulatorType, Inputs, Mma, Order};
use crate::scalar::Register;

pub(super) fn registers(mma: &Mma) -> [usize; 4] {
    let of = |ty: AccumulatorType| if ty == AccumulatorType::F16 { 4 } else { 8 };
    [2, 2, of(mma.c), of(mma.d)]
}

fn half(registers: &[Register], lane: usize, i: usize) -> f32 {
    f16::from_bits((registers[i / 2][lane] >> (16 * (i % 2))) as u16).to_f32()
}

fn place_of_accumulator(ty: AccumulatorType, lane: usize, i: usize) -> (usize, usize) {
    let (t, h) = (lane % 4, lane / 16);
    match ty {
        AccumulatorType::F16 => (t + 4 * h, i),
        _ => (t % 2 + (i & 2) + 4 * h, (i & 4) + (t & 2) + (i & 1)),
    }
}

pub(super) fn run(mma: &Mma, inputs: &Inputs) -> Vec<Register> {
    let mut results = vec![[0; 32]; registers(mma)[3]];
    for quad in 0..4 {
        let lanes = || (0..4).flat_map(move |t| [4 * quad + t, 4 * quad + t + 16]);
        let zero = if mma.d == AccumulatorType::F16 { -0.0 } else { 0.0 };
        // Rows of A and columns of B, of 4 elements.
        let (mut a, mut b) = ([[0f32; 4]; 8], [[0f32; 4]; 8]);
        let mut c = [[0f32; 8]; 8];
        for lane in lanes() {
            let (t, h) = (lane % 4, lane / 16);
            for i in 0..4 {
                let (row, k) = match mma.orders[0] {
                    Order::Row => (t + 4 * h, i),
                    Order::Column => (i + 4 * h, t),
                };
                a[row][k] = half(inputs.a, lane, i);
                let (k, column) = match mma.orders[1] {
                    Order::Row => (t, i + 4 * h),
                    Order::Column => (i, t + 4 * h),
                };
                b[column][k] = half(inputs.b, lane, i);
            }
            for i in 0..8 {
                let (row, column) = place_of_accumulator(mma.c, lane, i);
                c[row][column] = match mma.c {
                    AccumulatorType::F16 => half(inputs.c, lane, i),
                    _ => f32::from_bits(inputs.c[i][lane] as u32),
                };
            }
        }
        for lane in lanes() {
            for i in 0..8 {
                let (row, column) = place_of_accumulator(mma.d, lane, i);
                let (a, b) = (a[row], b[column]);
                let products = (0..4).fold(zero, |sum, k| a[k].mul_add(b[k], sum));
                let sum = products + c[row][column];
                match mma.d {
                    AccumulatorType::F16 => {
                        let bits = if sum.is_nan() { NAN_F16 } else { f16::from_f32(sum).to_bits().into() };
                        results[i / 2][lane] |= u64::from(bits) << (16 * (i % 2));
                    }
                    _ => results[i][lane] = if sum.is_nan() { NAN_F32 } else { sum.to_bits() }.into(),
                }
            }
        }
    }
    results
}
