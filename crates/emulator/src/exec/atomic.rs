//! Atomic updates: `atom` and `red` on global and shared memory.
//!
//! Lanes of one instruction go one after the other, in order of lane. A kernel that has one on global memory runs its CTAs in turns
//! on one host thread, so that the outcome is the same each time.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::memory::{Strength, space, strength};
use super::{Decoded, Flow, bits_of, extend, is, is_signed, step};
use crate::machine::{LANES, LaneBytes, MOST, Space, lanes};
use crate::program::{Decoder, Destination, LoadError, Source};
use crate::scalar::{Compute, Register, compute};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    if !is(resolved.op, &[Op::Atom, Op::Red]) {
        return Ok(None);
    }
    use Modifier as M;
    let returns = resolved.op == Op::Atom;
    let first = usize::from(returns);
    let ty = resolved.types().last().ok_or_else(|| d.error(format!("`{}` has no type", inst.spelling())))?;
    let bits = bits_of(ty).unwrap_or(32);
    let what = resolved.one_of(&[M::Add, M::Min, M::Max, M::And, M::Or, M::Xor, M::Inc, M::Dec, M::Exch, M::Cas]);
    let what = what.ok_or_else(|| d.error(format!("`{}` names no operation", inst.spelling())))?;
    let space = space(resolved);
    if matches!(space, Space::Global | Space::Generic) {
        d.takes_turns();
    }
    let address = d.address(d.operand(inst, first)?)?;
    // PTX ISA, atom: without a word it is relaxed, at the scope of the device.
    let relaxed = Strength { scope: crate::order::Scope::Gpu, acquires: false, releases: false };
    let strength = strength(resolved).unwrap_or(relaxed);
    let mut values: Vec<Source> = Vec::new();
    for operand in d.elements(d.operand(inst, first + 1)?)? {
        values.extend(if ty == M::F32 {
            vec![d.value_f32(&operand)?]
        } else {
            d.parts(&operand, bits)?.into_iter().map(|(s, _)| s).collect()
        });
    }
    let mut swaps: Vec<Source> = Vec::new();
    if what == M::Cas {
        swaps.extend(d.parts(d.operand(inst, first + 2)?, bits)?.into_iter().map(|(s, _)| s));
    }
    let mut targets: Vec<Destination> = Vec::new();
    if returns {
        for operand in d.elements(d.operand(inst, 0)?)? {
            targets.extend(d.destination_parts(&operand, bits)?.into_iter().map(|(to, _)| to));
        }
    }
    let part = (bits.min(64) / 8) as usize;
    let bytes = part * values.len();
    if bytes > MOST || (returns && targets.len() != values.len()) {
        return Err(d.error(format!("`{}`: {} values, {} results", inst.spelling(), values.len(), targets.len())));
    }
    // PTX ISA, atom: f32 sums in global memory flush subnormals, those in shared memory do not.
    let flush = ty == M::F32 && space != Space::Shared;
    let run = function(d, what, ty, flush)?;
    Ok(Some(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let addresses = c.warps[at.warp].addresses(kernel, address);
        let read = |sources: &[Source]| -> Vec<Register> {
            sources.iter().map(|source| *c.warps[at.warp].source(kernel, *source)).collect()
        };
        let (operands, replacements) = (read(&values), read(&swaps));
        let mut old: LaneBytes = [[0; MOST]; LANES];
        c.synchronize_stores(&at, space, &addresses, true, strength.releases);
        c.update_lanes(&at, space, &addresses, bytes, strength.scope, &mut old, |lane, before| {
            let mut after = [0; MOST];
            let word = |i: usize| {
                let mut word = [0; 8];
                word[..part].copy_from_slice(&before[i * part..(i + 1) * part]);
                u64::from_le_bytes(word)
            };
            let mask = if part == 8 { u64::MAX } else { (1 << (8 * part)) - 1 };
            let equal = (0..operands.len()).all(|i| word(i) == operands[i][lane] & mask);
            if what == M::Cas && !equal {
                return None;
            }
            for i in 0..operands.len() {
                let new = match what {
                    M::Cas => replacements[i][lane],
                    M::Exch => operands[i][lane],
                    _ => run(word(i), operands[i][lane]),
                };
                after[i * part..(i + 1) * part].copy_from_slice(&new.to_le_bytes()[..part]);
            }
            Some(after)
        })?;
        c.synchronize_loads(&at, space, &addresses, strength.acquires);
        c.progress += 1;
        for (i, to) in targets.iter().enumerate() {
            let mut results = [0; LANES];
            for lane in lanes(at.mask) {
                let mut word = [0; 8];
                word[..part].copy_from_slice(&old[lane][i * part..(i + 1) * part]);
                results[lane] = extend(u64::from_le_bytes(word), bits.min(64), is_signed(ty));
            }
            c.warps[at.warp].set(*to, at.mask, &results);
        }
        Ok(Flow::Next)
    }))))
}

type Update = Box<dyn Fn(u64, u64) -> u64 + Send + Sync>;

/// The new value from the old one and the operand.
fn function(d: &Decoder<'_>, what: Modifier, ty: Modifier, flush: bool) -> Result<Update, LoadError> {
    use Modifier as M;
    let op = match what {
        M::Cas | M::Exch => return Ok(Box::new(|_, new| new)),
        // PTX ISA, atom: counters that wrap at the operand.
        M::Inc => return Ok(Box::new(|old, most| if old as u32 >= most as u32 { 0 } else { old + 1 })),
        M::Dec => {
            let step = |old: u64, most: u64| {
                let (old, most) = (old as u32, most as u32);
                u64::from(if old == 0 || old > most { most } else { old - 1 })
            };
            return Ok(Box::new(step));
        }
        M::Add => Op::Add,
        M::Min => Op::Min,
        M::Max => Op::Max,
        M::And => Op::And,
        M::Or => Op::Or,
        _ => Op::Xor,
    };
    let mut modifiers = Vec::new();
    let float = matches!(ty, M::F16 | M::F16x2 | M::Bf16 | M::Bf16x2 | M::F32 | M::F64);
    if float && op == Op::Add {
        modifiers.push(M::Rn);
    }
    if flush && op == Op::Add {
        modifiers.push(M::Ftz);
    }
    modifiers.push(match ty {
        M::U64 | M::S64 if matches!(op, Op::And | Op::Or | Op::Xor) => M::B64,
        other => other,
    });
    match compute(op, &modifiers) {
        Some(Compute::Two(run)) => Ok(Box::new(move |old, operand| {
            let mut result = [0; 32];
            run(&mut result, &super::splat(old), &super::splat(operand));
            result[0]
        })),
        _ => Err(d.error(format!("an atomic `{}` of `{}` is not emulated", what.text(), ty.text()))),
    }
}
