//! Exchange between the lanes of a warp: `shfl vote match redux elect activemask`.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use super::{Decoded, Flow, is_signed, pair, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{LANES, lanes};
use crate::program::{Converge, Decoder, LoadError};
use crate::scalar::{Compute, compute};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::Shfl => shuffle(d, resolved, inst)?,
        Op::Vote => vote(d, resolved, inst)?,
        Op::Match => matching(d, resolved, inst)?,
        Op::Redux => reduce(d, resolved, inst)?,
        Op::ElectSync => elect(d, inst)?,
        Op::Activemask => {
            let to = d.destination(d.operand(inst, 0)?)?;
            Decoded::free(step(move |c, at| {
                c.warps[at.warp].set(to, at.mask, &super::splat(at.mask.into()));
                Ok(Flow::Next)
            }))
        }
        _ => return Ok(None),
    }))
}

fn members(mut decoded: Decoded, members: crate::program::Source) -> Decoded {
    decoded.converge = Converge::Members(members);
    decoded
}

fn shuffle(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    use Modifier as M;
    let (to, in_range) = pair(d.operand(inst, 0)?);
    let (to, in_range) = (d.destination(to)?, d.predicate(in_range)?);
    let value = d.value(d.operand(inst, 1)?)?;
    let (b, clamp) = (d.value(d.operand(inst, 2)?)?, d.value(d.operand(inst, 3)?)?);
    let mask = match inst.operands.get(4) {
        Some(operand) => d.value(operand)?,
        None => return Err(d.error("`shfl` without `.sync` is gone from sm_70 on")),
    };
    let mode = resolved.one_of(&[M::Up, M::Down, M::Bfly, M::Idx]);
    Ok(members(
        Decoded::free(step(move |c, at| {
            let kernel = c.grid.kernel;
            let warp = &c.warps[at.warp];
            let (values, bs, cs) = (warp.source(kernel, value), warp.source(kernel, b), warp.source(kernel, clamp));
            let mut results = [0; LANES];
            let mut ranges = 0u32;
            for lane in lanes(at.mask) {
                let (by, c) = (bs[lane] as u32 & 31, cs[lane] as u32);
                let (segment, clamp) = (c >> 8 & 31, c & 31);
                let own = lane as u32;
                let most = own & segment | clamp & !segment;
                let least = own & segment;
                // PTX ISA, shfl.sync: the source lane and whether it is inside the segment.
                let (from, inside) = match mode {
                    Some(M::Up) => {
                        let from = own.wrapping_sub(by) as i32;
                        (from as u32, from >= most as i32)
                    }
                    Some(M::Down) => (own + by, own + by <= most),
                    Some(M::Bfly) => (own ^ by, own ^ by <= most),
                    _ => {
                        let from = least | by & !segment;
                        (from, from <= most)
                    }
                };
                let from = if inside { from } else { own } as usize & 31;
                if at.mask >> from & 1 == 0 {
                    let message = format!("lane {lane} reads lane {from}, which does not take part");
                    return Err(Fault::new(HazardKind::Divergence, message).lane(lane));
                }
                results[lane] = values[from] & 0xffff_ffff;
                ranges |= u32::from(inside) << lane;
            }
            let warp = &mut c.warps[at.warp];
            warp.set(to, at.mask, &results);
            warp.set_predicate(in_range, at.mask, ranges);
            Ok(Flow::Next)
        })),
        mask,
    ))
}

fn vote(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    use Modifier as M;
    let condition = d.condition(d.operand(inst, 1)?)?;
    let mask = d.value(d.operand(inst, 2)?)?;
    if resolved.has(M::Ballot) {
        let to = d.destination(d.operand(inst, 0)?)?;
        let run = step(move |c: &mut crate::machine::Cluster<'_>, at: super::At| {
            let bits = c.warps[at.warp].condition(condition) & at.mask;
            c.warps[at.warp].set(to, at.mask, &super::splat(bits.into()));
            Ok(Flow::Next)
        });
        return Ok(members(Decoded::free(run), mask));
    }
    let to = d.predicate(d.operand(inst, 0)?)?;
    let mode = resolved.one_of(&[M::All, M::Any, M::Uni]);
    let run = step(move |c: &mut crate::machine::Cluster<'_>, at: super::At| {
        let bits = c.warps[at.warp].condition(condition) & at.mask;
        let holds = match mode {
            Some(M::All) => bits == at.mask,
            Some(M::Any) => bits != 0,
            _ => bits == at.mask || bits == 0,
        };
        c.warps[at.warp].set_predicate(to, at.mask, if holds { u32::MAX } else { 0 });
        Ok(Flow::Next)
    });
    Ok(members(Decoded::free(run), mask))
}

fn matching(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let (to, same) = pair(d.operand(inst, 0)?);
    let (to, same) = (d.destination(to)?, d.predicate(same)?);
    let value = d.value(d.operand(inst, 1)?)?;
    let mask = d.value(d.operand(inst, 2)?)?;
    let all = resolved.has(Modifier::All);
    let wide = resolved.has(Modifier::B64);
    let run = step(move |c: &mut crate::machine::Cluster<'_>, at: super::At| {
        let kernel = c.grid.kernel;
        let keep = if wide { u64::MAX } else { 0xffff_ffff };
        let values = c.warps[at.warp].source(kernel, value).map(|v| v & keep);
        let mut results = [0; LANES];
        for lane in lanes(at.mask) {
            let equal = lanes(at.mask).filter(|&other| values[other] == values[lane]);
            let equal = equal.fold(0u32, |bits, other| bits | 1 << other);
            results[lane] = match all {
                false => equal.into(),
                true if equal == at.mask => at.mask.into(),
                true => 0,
            };
        }
        let uniform = lanes(at.mask).all(|lane| results[lane] == u64::from(at.mask));
        c.warps[at.warp].set(to, at.mask, &results);
        c.warps[at.warp].set_predicate(same, at.mask, if uniform { u32::MAX } else { 0 });
        Ok(Flow::Next)
    });
    Ok(members(Decoded::free(run), mask))
}

fn reduce(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    use Modifier as M;
    let to = d.destination(d.operand(inst, 0)?)?;
    let value = d.value(d.operand(inst, 1)?)?;
    let mask = d.value(d.operand(inst, 2)?)?;
    let mode = resolved.one_of(&[M::Add, M::Min, M::Max, M::And, M::Or, M::Xor]);
    let ty = resolved.types().next().unwrap_or(M::B32);
    let absolute = resolved.has(M::Abs);
    let mut modifiers = vec![M::F32];
    if resolved.has(M::Nan) {
        modifiers.insert(0, M::Nan);
    }
    let op = if mode == Some(M::Max) { Op::Max } else { Op::Min };
    let Some(Compute::Two(fold)) = compute(op, &modifiers) else {
        return Err(d.error(format!("`{}` is not emulated", inst.spelling())));
    };
    let run = step(move |c: &mut crate::machine::Cluster<'_>, at: super::At| {
        let kernel = c.grid.kernel;
        let values = *c.warps[at.warp].source(kernel, value);
        let mut all = lanes(at.mask).map(|lane| values[lane] as u32);
        let first = all.next().unwrap_or(0);
        let result = if ty == M::F32 {
            let magnitude = |bits: u32| if absolute { bits & 0x7fff_ffff } else { bits };
            all.fold(magnitude(first), |a, b| {
                let mut result = [0; LANES];
                fold(&mut result, &super::splat(a.into()), &super::splat(magnitude(b).into()));
                result[0] as u32
            })
        } else {
            let signed = is_signed(ty);
            all.fold(first, |a, b| match mode {
                Some(M::Add) => a.wrapping_add(b),
                Some(M::Min) if signed => a.cast_signed().min(b.cast_signed()).cast_unsigned(),
                Some(M::Max) if signed => a.cast_signed().max(b.cast_signed()).cast_unsigned(),
                Some(M::Min) => a.min(b),
                Some(M::Max) => a.max(b),
                Some(M::And) => a & b,
                Some(M::Or) => a | b,
                _ => a ^ b,
            })
        };
        c.warps[at.warp].set(to, at.mask, &super::splat(result.into()));
        Ok(Flow::Next)
    });
    Ok(members(Decoded::free(run), mask))
}

fn elect(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let (to, chosen) = pair(d.operand(inst, 0)?);
    let to = match to {
        Operand::Sink => None,
        operand => Some(d.destination(operand)?),
    };
    let chosen = d.predicate(chosen)?;
    let mask = d.value(d.operand(inst, 1)?)?;
    // Which lane is the hardware's choice; it is the same each time for the same mask. Here the lowest.
    let run = step(move |c: &mut crate::machine::Cluster<'_>, at: super::At| {
        let lane = at.mask.trailing_zeros();
        let warp = &mut c.warps[at.warp];
        if let Some(to) = to {
            warp.set(to, at.mask, &super::splat(lane.into()));
        }
        warp.set_predicate(chosen, at.mask, 1 << lane);
        Ok(Flow::Next)
    });
    Ok(members(Decoded::free(run), mask))
}
