//! Extended-precision integer arithmetic through the carry bit: `add.cc addc sub.cc subc mad.cc madc`.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::{Decoded, Flow, bits_of, is, is_signed, step};
use crate::machine::{LANES, lanes};
use crate::program::{Decoder, LoadError};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    let op = resolved.op;
    if !is(op, &[Op::AddCc, Op::Addc, Op::SubCc, Op::Subc, Op::MadCc, Op::Madc]) {
        return Ok(None);
    }
    let to = d.destination(d.operand(inst, 0)?)?;
    let multiplies = is(op, &[Op::MadCc, Op::Madc]);
    let a = d.value(d.operand(inst, 1)?)?;
    let b = d.value(d.operand(inst, 2)?)?;
    let addend = if multiplies { d.value(d.operand(inst, 3)?)? } else { b };
    let ty = resolved.types().next();
    let (bits, signed) = (ty.and_then(bits_of).unwrap_or(32), ty.is_some_and(is_signed));
    let (high, sets) = (resolved.has(Modifier::Hi), resolved.has(Modifier::Cc));
    let takes = is(op, &[Op::Addc, Op::Subc, Op::Madc]);
    let subtracts = is(op, &[Op::SubCc, Op::Subc]);
    Ok(Some(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let (x, y, z) = (warp.source(kernel, a), warp.source(kernel, b), warp.source(kernel, addend));
        let mask = (1u128 << bits) - 1;
        let mut results = [0; LANES];
        let mut carry = warp.carry;
        for lane in lanes(at.mask) {
            let carry_in = u128::from(takes && carry >> lane & 1 == 1);
            let (left, right) = if multiplies {
                let wide = |v: u64| {
                    let v = super::extend(v, bits, signed);
                    if signed { i128::from(v.cast_signed()) } else { i128::from(v) }
                };
                let product = (wide(x[lane]) * wide(y[lane])) as u128;
                (if high { product >> bits } else { product } & mask, u128::from(z[lane]) & mask)
            } else {
                (u128::from(x[lane]) & mask, u128::from(y[lane]) & mask)
            };
            // A borrow is the carry of subtraction: 1 where the difference is negative.
            let (value, out) = match subtracts {
                false => {
                    let sum = left + right + carry_in;
                    (sum & mask, sum >> bits != 0)
                }
                true => (left.wrapping_sub(right).wrapping_sub(carry_in) & mask, left < right + carry_in),
            };
            results[lane] = value as u64;
            if sets {
                carry = carry & !(1 << lane) | u32::from(out) << lane;
            }
        }
        c.warps[at.warp].carry = carry;
        c.warps[at.warp].set(to, at.mask, &results);
        Ok(Flow::Next)
    }))))
}
