//! Moves between registers: `mov`, packing, `selp`, addresses, special registers.

use gable_ptx::grammar::{Modifier, Op, Resolved, SpecialRegister};
use gable_ptx::syntax::{Instruction, Operand};

use super::memory::space;
use super::{Decoded, Execute, Flow, bits_of, extend, is_signed, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, LANES, Space, lanes};
use crate::memory::{GENERIC_LOCAL, GENERIC_SHARED, Target, rank_of, resolve, shared_address as address_of};
use crate::program::{Decoder, Destination, LoadError};
use crate::scalar::Register;

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::Mov => mov(d, resolved, inst)?,
        Op::Selp => select(d, resolved, inst)?,
        Op::Cvta => convert_address(d, resolved, inst)?,
        Op::Isspacep => is_space(d, resolved, inst)?,
        Op::Mapa => map_address(d, resolved, inst)?,
        Op::Getctarank => cta_rank(d, resolved, inst)?,
        // Hints that change no value.
        Op::Prefetch | Op::Prefetchu | Op::Applypriority | Op::Pmevent => nothing(),
        Op::Createpolicy => {
            let to = d.destination(d.operand(inst, 0)?)?;
            // A policy is opaque and only a hint: any value will do.
            Decoded::free(step(move |c, at| {
                c.warps[at.warp].set(to, at.mask, &super::splat(0x1000_0000_0000_0000));
                Ok(Flow::Next)
            }))
        }
        _ => return Ok(None),
    }))
}

/// An instruction without effect on values.
pub(super) fn nothing() -> Decoded {
    Decoded::free(step(|_, _| Ok(Flow::Next)))
}

fn mov(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let (to, from) = (d.operand(inst, 0)?, d.operand(inst, 1)?);
    if resolved.has(Modifier::Pred) || d.is_predicate(to) {
        let (to, from) = (d.predicate(to)?, d.condition(from)?);
        return Ok(Decoded::free(step(move |c, at| {
            let warp = &mut c.warps[at.warp];
            let bits = warp.condition(from);
            warp.set_predicate(to, at.mask, bits);
            Ok(Flow::Next)
        })));
    }
    let wide = resolved.types().next().and_then(bits_of).unwrap_or(32);
    let (targets, sources) = (d.elements(to)?, d.elements(from)?);
    if targets.len() == 1 && sources.len() == 1 && wide <= 64 {
        let float = resolved.has(Modifier::F32);
        let to = d.destination(&targets[0])?;
        let from = if float { d.value_f32(&sources[0])? } else { d.value(&sources[0])? };
        return Ok(Decoded::free(step(move |c, at| {
            let kernel = c.grid.kernel;
            let value = *c.warps[at.warp].source(kernel, from);
            c.warps[at.warp].set(to, at.mask, &value);
            Ok(Flow::Next)
        })));
    }
    let per_target = wide / targets.len().max(1) as u32;
    let per_source = wide / sources.len().max(1) as u32;
    let mut reads = Vec::new();
    for source in &sources {
        reads.extend(d.parts(source, per_source)?);
    }
    let mut writes = Vec::new();
    for target in &targets {
        writes.extend(d.destination_parts(target, per_target)?);
    }
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let mut whole = [0u128; LANES];
        let warp = &mut c.warps[at.warp];
        let mut shift = 0;
        for (source, bits) in &reads {
            let values = warp.source(kernel, *source);
            for lane in lanes(at.mask) {
                whole[lane] |= u128::from(extend(values[lane], *bits, false)) << shift;
            }
            shift += bits;
        }
        let mut shift = 0;
        for (target, bits) in &writes {
            let part: Register = std::array::from_fn(|lane| extend((whole[lane] >> shift) as u64, *bits, false));
            warp.set(*target, at.mask, &part);
            shift += bits;
        }
        Ok(Flow::Next)
    })))
}

impl Decoder<'_> {
    /// A value of `bits` bits as sources of at most 64 bits each, low first.
    pub fn parts(&mut self, operand: &Operand, bits: u32) -> Result<Vec<(crate::program::Source, u32)>, LoadError> {
        if bits <= 64 {
            return Ok(vec![(self.value(operand)?, bits)]);
        }
        let low = self.value(operand)?;
        Ok(vec![(low, 64), (self.upper_half(low), 64)])
    }

    /// A register of `bits` bits as destinations of at most 64 bits each, low first.
    pub fn destination_parts(&mut self, operand: &Operand, bits: u32) -> Result<Vec<(Destination, u32)>, LoadError> {
        let low = self.destination(operand)?;
        if bits <= 64 {
            return Ok(vec![(low, bits)]);
        }
        let high = Destination { register: low.register.map(|r| r + 1), bits: 64 };
        Ok(vec![(Destination { bits: 64, ..low }, 64), (high, 64)])
    }
}

/// A special register to a register.
pub(crate) fn special(
    d: &Decoder<'_>,
    register: SpecialRegister,
    to: Destination,
) -> Result<Box<dyn Execute>, LoadError> {
    let known = !register.text().starts_with("%envreg") && !register.text().starts_with("%pm");
    if !known {
        return Err(d.error(format!("special register `{}` is not emulated", register.text())));
    }
    Ok(Box::new(step(move |c, at| {
        let value = c.special(at.warp, register);
        c.warps[at.warp].set(to, at.mask, &value);
        Ok(Flow::Next)
    })))
}

/// The address of a shared variable, or of the array that the launch sizes.
pub(crate) fn shared_address(to: Destination, place: Option<u32>, offset: i64, generic: bool) -> Box<dyn Execute> {
    Box::new(step(move |c: &mut Cluster<'_>, at| {
        let kernel = c.grid.kernel;
        let dynamic = kernel.static_shared.next_multiple_of(kernel.dynamic_align.max(16));
        let rank = c.cta_of(at.warp).rank;
        let short = address_of(rank, place.unwrap_or(dynamic));
        let base = if generic { GENERIC_SHARED } else { 0 };
        let value = (base + u64::from(short)).wrapping_add_signed(offset);
        c.warps[at.warp].set(to, at.mask, &super::splat(value));
        Ok(Flow::Next)
    }))
}

/// The address of a kernel parameter.
pub(crate) fn parameter_address(to: Destination, offset: i64) -> Box<dyn Execute> {
    Box::new(step(move |c: &mut Cluster<'_>, at| {
        let value = c.grid.param_base.wrapping_add_signed(offset);
        c.warps[at.warp].set(to, at.mask, &super::splat(value));
        Ok(Flow::Next)
    }))
}

fn select(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.destination(d.operand(inst, 0)?)?;
    let float = resolved.has(Modifier::F32);
    let mut value = |index: usize| -> Result<_, LoadError> {
        let operand = d.operand(inst, index)?;
        if float { d.value_f32(operand) } else { d.value(operand) }
    };
    let (yes, no) = (value(1)?, value(2)?);
    let condition = d.condition(d.operand(inst, 3)?)?;
    let ty = resolved.types().next();
    let (bits, signed) = (ty.and_then(bits_of).unwrap_or(64), ty.is_some_and(is_signed));
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let pick = warp.condition(condition);
        let (a, b) = (warp.source(kernel, yes), warp.source(kernel, no));
        let values: Register =
            std::array::from_fn(|lane| extend(if pick >> lane & 1 == 1 { a[lane] } else { b[lane] }, bits, signed));
        c.warps[at.warp].set(to, at.mask, &values);
        Ok(Flow::Next)
    })))
}

/// The window of an address that `cvta` and `isspacep` name: parameters are global memory.
fn space_named(resolved: &Resolved) -> Space {
    match space(resolved) {
        Space::Param => Space::Global,
        other => other,
    }
}

fn convert_address(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.destination(d.operand(inst, 0)?)?;
    let from = d.value(d.operand(inst, 1)?)?;
    let space = space_named(resolved);
    let into_space = resolved.has(Modifier::To);
    let parameter = resolved.has(Modifier::Param) || resolved.has(Modifier::ParamEntry);
    let name = inst.spelling();
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let values = *c.warps[at.warp].source(kernel, from);
        let mut results = [0; LANES];
        for lane in lanes(at.mask) {
            let value = values[lane];
            results[lane] = match (into_space, space) {
                (false, Space::Shared | Space::SharedCluster) => GENERIC_SHARED + (value & 0xffff_ffff),
                (false, Space::Local) => GENERIC_LOCAL + (value & 0xffff_ffff),
                // Compilers hold addresses of parameters in 32 bits too: the low half says the place in the block.
                (false, _) if parameter && value >> 32 == 0 => {
                    let base = c.grid.param_base;
                    base + u64::from((value as u32).wrapping_sub(base as u32))
                }
                (false, _) => value,
                (true, wanted) => match (resolve(value), wanted) {
                    (Target::Shared(short), Space::Shared | Space::SharedCluster) => u64::from(short),
                    (Target::Local(offset), Space::Local) => u64::from(offset),
                    (Target::Global(address), Space::Global) => address,
                    // A null pointer stays one in every space; using it is what is wrong.
                    (Target::Global(0), _) => 0,
                    (found, _) => {
                        let message = format!("`{name}`: {value:#x} is {found:?}, not in that space");
                        return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane).at(value));
                    }
                },
            };
        }
        c.warps[at.warp].set(to, at.mask, &results);
        Ok(Flow::Next)
    })))
}

fn is_space(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.predicate(d.operand(inst, 0)?)?;
    let from = d.value(d.operand(inst, 1)?)?;
    let space = space_named(resolved);
    let (constant, parameter) =
        (resolved.has(Modifier::Const), resolved.has(Modifier::Param) || resolved.has(Modifier::ParamEntry));
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let values = c.warps[at.warp].source(kernel, from);
        let own = c.cta_of(at.warp).rank;
        let block = c.grid.param_base..c.grid.param_base + u64::from(kernel.param_bytes.max(1));
        let read_only = |address: u64| {
            kernel
                .globals
                .iter()
                .any(|g| g.read_only && (g.address..g.address + g.data.len() as u64).contains(&address))
        };
        let mut bits = 0;
        for lane in lanes(at.mask) {
            let holds = match resolve(values[lane]) {
                Target::Shared(short) => match space {
                    Space::Shared => rank_of(short).0 == own,
                    Space::SharedCluster => true,
                    _ => false,
                },
                Target::Local(_) => space == Space::Local,
                Target::Global(address) if parameter => block.contains(&address),
                Target::Global(address) if constant => read_only(address),
                Target::Global(_) => space == Space::Global,
            };
            bits |= u32::from(holds) << lane;
        }
        c.warps[at.warp].set_predicate(to, at.mask, bits);
        Ok(Flow::Next)
    })))
}

fn map_address(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.destination(d.operand(inst, 0)?)?;
    let from = d.value(d.operand(inst, 1)?)?;
    let rank = d.value(d.operand(inst, 2)?)?;
    let generic = space_named(resolved) == Space::Generic;
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let (addresses, ranks) = (*warp.source(kernel, from), *warp.source(kernel, rank));
        let mut results = [0; LANES];
        for lane in lanes(at.mask) {
            let rank = ranks[lane] as u32;
            if rank as usize >= c.ctas.len() {
                let message = format!("there is no CTA {rank} in a cluster of {}", c.ctas.len());
                return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
            }
            let target =
                c.locate(at.warp, if generic { Space::Generic } else { Space::SharedCluster }, addresses[lane]);
            let Target::Shared(short) = target.map_err(|fault| fault.lane(lane))? else {
                let message = format!("{:#x} is no shared address", addresses[lane]);
                return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
            };
            let mapped = u64::from(address_of(rank, rank_of(short).1));
            results[lane] = if generic { GENERIC_SHARED + mapped } else { mapped };
        }
        c.warps[at.warp].set(to, at.mask, &results);
        Ok(Flow::Next)
    })))
}

fn cta_rank(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.destination(d.operand(inst, 0)?)?;
    let from = d.value(d.operand(inst, 1)?)?;
    let space = if space_named(resolved) == Space::Generic { Space::Generic } else { Space::SharedCluster };
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let addresses = *c.warps[at.warp].source(kernel, from);
        let mut results = [0; LANES];
        for lane in lanes(at.mask) {
            match c.locate(at.warp, space, addresses[lane]).map_err(|fault| fault.lane(lane))? {
                Target::Shared(short) => results[lane] = u64::from(rank_of(short).0),
                _ => {
                    let message = format!("{:#x} is no shared address", addresses[lane]);
                    return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
                }
            }
        }
        c.warps[at.warp].set(to, at.mask, &results);
        Ok(Flow::Next)
    })))
}
