//! Instructions that compute on registers: everything that `scalar` knows, comparisons, logic on predicates.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use super::{Decoded, Flow, is, pair, step};
use crate::machine::LANES;
use crate::program::{Condition, Decoder, Destination, LoadError, Source};
use crate::scalar::{self, Compute, Register, compute};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    if resolved.op == Op::Setp || resolved.op == Op::Set {
        return compare(d, resolved, inst).map(Some);
    }
    if is(resolved.op, &[Op::And, Op::Or, Op::Xor, Op::Not, Op::Lop3]) && resolved.has(Modifier::Pred) {
        return logic(d, resolved.op, inst).map(Some);
    }
    if let Some(run) = scalar::four_elements(&resolved.modifiers).filter(|_| resolved.op == Op::Cvt) {
        return four_elements(d, inst, run).map(Some);
    }
    let of_three = || scalar::extreme_of_three(resolved.op, &resolved.modifiers).filter(|_| inst.operands.len() == 4);
    let Some(function) = of_three().or_else(|| compute(resolved.op, &resolved.modifiers)) else { return Ok(None) };
    let (first, second) = pair(d.operand(inst, 0)?);
    // `lop3.or.b32 d|p, a, b, c, table, q` also says whether the result is not zero, combined with q.
    let test = match second {
        Operand::Sink => None,
        operand => Some((d.predicate(operand)?, d.condition(d.operand(inst, inst.operands.len() - 1)?)?)),
    };
    if let Compute::Test(run) = function {
        let to = d.predicate(first)?;
        let a = d.value(d.operand(inst, 1)?)?;
        return Ok(Some(Decoded::free(step(move |c, at| {
            let kernel = c.grid.kernel;
            let bits = run(c.warps[at.warp].source(kernel, a));
            c.warps[at.warp].set_predicate(to, at.mask, bits);
            Ok(Flow::Next)
        }))));
    }
    let to = d.destination(first)?;
    let float = resolved.has(Modifier::F32);
    let mut value = |index: usize| -> Result<_, LoadError> {
        let operand = d.operand(inst, index)?;
        if float { d.value_f32(operand) } else { d.value(operand) }
    };
    let count = match function {
        Compute::One(_) | Compute::Test(_) => 1,
        Compute::Two(_) | Compute::Compare(_) => 2,
        Compute::Three(_) => 3,
        Compute::Four(_) => 4,
    };
    let mut sources = Vec::new();
    for index in 0..count {
        sources.push(value(1 + index)?);
    }
    let a = sources[0];
    let [b, e, f] = [1, 2, 3].map(|i| sources.get(i).copied().unwrap_or(a));
    if let Some((target, with)) = test {
        let Compute::Four(run) = function else {
            return Err(d.error(format!("`{}` has no predicate result", inst.spelling())));
        };
        let and = resolved.has(Modifier::And);
        return Ok(Some(Decoded::free(step(move |c, at| {
            let kernel = c.grid.kernel;
            let warp = &c.warps[at.warp];
            let mut result = [0; LANES];
            run(
                &mut result,
                warp.source(kernel, a),
                warp.source(kernel, b),
                warp.source(kernel, e),
                warp.source(kernel, f),
            );
            let nonzero = (0..LANES).fold(0, |bits, lane| bits | u32::from(result[lane] as u32 != 0) << lane);
            let with = warp.condition(with);
            c.warps[at.warp].set(to, at.mask, &result);
            c.warps[at.warp].set_predicate(target, at.mask, if and { nonzero & with } else { nonzero | with });
            Ok(Flow::Next)
        }))));
    }
    Ok(Some(match function {
        Compute::One(run) => values(to, [a], move |result, [a]| run(result, a)),
        Compute::Two(run) => values(to, [a, b], move |result, [a, b]| run(result, a, b)),
        Compute::Three(run) => values(to, [a, b, e], move |result, [a, b, e]| run(result, a, b, e)),
        Compute::Four(run) => values(to, [a, b, e, f], move |result, [a, b, e, f]| run(result, a, b, e, f)),
        Compute::Test(_) | Compute::Compare(_) => {
            return Err(d.error(format!("`{}` gives a predicate", inst.spelling())));
        }
    }))
}

/// Computes a register from others.
fn values<const N: usize>(
    to: Destination,
    from: [Source; N],
    run: impl Fn(&mut Register, [&Register; N]) + Send + Sync + 'static,
) -> Decoded {
    Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let mut result = [0; LANES];
        run(&mut result, from.map(|source| warp.source(kernel, source)));
        c.warps[at.warp].set(to, at.mask, &result);
        Ok(Flow::Next)
    }))
}

/// `cvt.rs` of four f32 in a vector, and the random bits.
fn four_elements(d: &mut Decoder<'_>, inst: &Instruction, run: scalar::FiveSources) -> Result<Decoded, LoadError> {
    let to = d.destination(d.operand(inst, 0)?)?;
    let mut sources = Vec::new();
    for element in d.elements(d.operand(inst, 1)?)? {
        sources.push(d.value_f32(&element)?);
    }
    sources.push(d.value(d.operand(inst, 2)?)?);
    let sources: [_; 5] =
        sources.try_into().map_err(|_| d.error(format!("`{}` takes a vector of four values", inst.spelling())))?;
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let mut result = [0; LANES];
        run(&mut result, sources.map(|source| warp.source(kernel, source)));
        c.warps[at.warp].set(to, at.mask, &result);
        Ok(Flow::Next)
    })))
}

/// `setp.CMP{.BOOL}.type p{|q}, a, b{, {!}c}` and `set`, whose result is a value of all ones or 1.0.
fn compare(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    use Modifier as M;
    let types: Vec<M> = resolved.types().collect();
    let source_type = if resolved.op == Op::Set { types.get(1) } else { types.first() };
    let float = source_type == Some(&M::F32);
    // `scalar` compares without knowing of the combination: it sees the comparison, the type and `.ftz`.
    let modifiers: Vec<M> = resolved
        .modifiers
        .iter()
        .copied()
        .filter(|m| !matches!(m, M::And | M::Or | M::Xor))
        .filter(|m| resolved.op == Op::Setp || !m.is_type() || source_type == Some(m))
        .collect();
    let Some(Compute::Compare(run)) = compute(Op::Setp, &modifiers) else {
        return Err(d.error(format!("`{}` is not emulated", inst.spelling())));
    };
    let mut value = |index: usize| -> Result<_, LoadError> {
        let operand = d.operand(inst, index)?;
        if float { d.value_f32(operand) } else { d.value(operand) }
    };
    let (a, b) = (value(1)?, value(2)?);
    let with = match inst.operands.get(3) {
        Some(operand) => Some((d.condition(operand)?, resolved.one_of(&[M::And, M::Or, M::Xor]))),
        None => None,
    };
    let combine = move |warp: &crate::machine::Warp, bits: u32| match with {
        None => (bits, !bits),
        Some((condition, how)) => {
            let c = warp.condition(condition);
            match how {
                Some(M::Or) => (bits | c, !bits | c),
                Some(M::Xor) => (bits ^ c, !bits ^ c),
                _ => (bits & c, !bits & c),
            }
        }
    };
    if resolved.op == Op::Setp {
        let (p, q) = pair(d.operand(inst, 0)?);
        // Packed halves compare each: the first predicate is of the low half.
        let packed = matches!(source_type, Some(M::F16x2 | M::Bf16x2));
        let (p, q) = (d.predicate(p)?, d.predicate(q)?);
        if packed {
            return Ok(Decoded::free(step(move |c, at| {
                let kernel = c.grid.kernel;
                let warp = &c.warps[at.warp];
                let (x, y) = (warp.source(kernel, a), warp.source(kernel, b));
                let low = run(&x.map(|v| v & 0xffff), &y.map(|v| v & 0xffff));
                let high = run(&x.map(|v| v >> 16 & 0xffff), &y.map(|v| v >> 16 & 0xffff));
                let (low, high) = (combine(warp, low).0, combine(warp, high).0);
                c.warps[at.warp].set_predicate(p, at.mask, low);
                c.warps[at.warp].set_predicate(q, at.mask, high);
                Ok(Flow::Next)
            })));
        }
        return Ok(Decoded::free(step(move |c, at| {
            let kernel = c.grid.kernel;
            let warp = &c.warps[at.warp];
            let bits = run(warp.source(kernel, a), warp.source(kernel, b));
            let (yes, no) = combine(warp, bits);
            c.warps[at.warp].set_predicate(p, at.mask, yes);
            c.warps[at.warp].set_predicate(q, at.mask, no);
            Ok(Flow::Next)
        })));
    }
    let to = d.destination(d.operand(inst, 0)?)?;
    let truth: u64 = match types.first() {
        Some(M::F32) => 0x3f80_0000,
        Some(M::F16) => 0x3c00,
        Some(M::Bf16) => 0x3f80,
        Some(M::U16 | M::S16) => 0xffff,
        _ => 0xffff_ffff,
    };
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let bits = run(warp.source(kernel, a), warp.source(kernel, b));
        let (yes, _) = combine(warp, bits);
        let values = std::array::from_fn(|lane| if yes >> lane & 1 == 1 { truth } else { 0 });
        c.warps[at.warp].set(to, at.mask, &values);
        Ok(Flow::Next)
    })))
}

fn logic(d: &mut Decoder<'_>, op: Op, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.predicate(d.operand(inst, 0)?)?;
    let a = d.condition(d.operand(inst, 1)?)?;
    let b = match op {
        Op::Not => Condition::Constant(true),
        _ => d.condition(d.operand(inst, 2)?)?,
    };
    Ok(Decoded::free(step(move |c, at| {
        let warp = &mut c.warps[at.warp];
        let (x, y) = (warp.condition(a), warp.condition(b));
        let bits = match op {
            Op::And => x & y,
            Op::Or => x | y,
            Op::Not => !x,
            _ => x ^ y,
        };
        warp.set_predicate(to, at.mask, bits);
        Ok(Flow::Next)
    })))
}
