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
//! PTX ISA `#warp-level-matrix-fragment-mma-884-f16`. How later devices than Volta add here is not known: the model of m16n8k16 is
//! used with a group of 4.

use super::super::accumulate::{Accumulator, Numerics};
use super::super::element::Element;
use super::super::multiply::{Codes, Operand, Shape, multiply};
use super::{AccumulatorType, Inputs, Mma, MmaError, Order};
use crate::scalar::Register;

pub(super) fn registers(mma: &Mma) -> [usize; 4] {
    let of = |ty: AccumulatorType| if ty == AccumulatorType::F16 { 4 } else { 8 };
    [2, 2, of(mma.c), of(mma.d)]
}

fn half(registers: &[Register], lane: usize, i: usize) -> u16 {
    (registers[i / 2][lane] >> (16 * (i % 2))) as u16
}

fn place_of_accumulator(ty: AccumulatorType, lane: usize, i: usize) -> usize {
    let (t, h) = (lane % 4, lane / 16);
    match ty {
        AccumulatorType::F16 => (t + 4 * h) * 8 + i,
        _ => (t % 2 + (i & 2) + 4 * h) * 8 + (i & 4) + (t & 2) + (i & 1),
    }
}

pub(super) fn run(mma: &Mma, numerics: &Numerics, inputs: &Inputs) -> Result<Vec<Register>, MmaError> {
    let mut results = vec![[0; 32]; registers(mma)[3]];
    for quad in 0..4 {
        let lanes = || (0..4).flat_map(move |t| [4 * quad + t, 4 * quad + t + 16]);
        // Rows of A and columns of B, of 4 elements.
        let (mut a, mut b) = ([0u16; 32], [0u16; 32]);
        let mut d = [0u32; 64];
        for lane in lanes() {
            let (t, h) = (lane % 4, lane / 16);
            for i in 0..4 {
                let from = match mma.orders[0] {
                    Order::Row => (t + 4 * h) * 4 + i,
                    Order::Column => (i + 4 * h) * 4 + t,
                };
                a[from] = half(inputs.a, lane, i);
                let from = match mma.orders[1] {
                    Order::Row => (i + 4 * h) * 4 + t,
                    Order::Column => (t + 4 * h) * 4 + i,
                };
                b[from] = half(inputs.b, lane, i);
            }
            for i in 0..8 {
                d[place_of_accumulator(mma.c, lane, i)] = match (mma.c, mma.d) {
                    (AccumulatorType::F16, AccumulatorType::F16) => half(inputs.c, lane, i).into(),
                    (AccumulatorType::F16, _) => half::f16::from_bits(half(inputs.c, lane, i)).to_f32().to_bits(),
                    _ => inputs.c[i][lane] as u32,
                };
            }
        }
        let (a, b) = (Operand::new(Element::F16, Codes::Halves(&a)), Operand::new(Element::F16, Codes::Halves(&b)));
        let kind = if mma.d == AccumulatorType::F16 { Accumulator::F16 } else { Accumulator::F32 };
        multiply(numerics, Shape { m: 8, n: 8, k: 4 }, &a, &b, None, kind, &mut d)?;
        for lane in lanes() {
            for i in 0..8 {
                let word = u64::from(d[place_of_accumulator(mma.d, lane, i)]);
                match mma.d {
                    AccumulatorType::F16 => results[i / 2][lane] |= word << (16 * (i % 2)),
                    _ => results[i][lane] = word,
                }
            }
        }
    }
    Ok(results)
}
