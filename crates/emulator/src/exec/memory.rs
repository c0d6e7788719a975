//! Loads and stores.
//!
//! Values narrower than their register are extended by the sign of their type. Strong forms (`.relaxed .acquire .release .volatile
//! .mmio`) also order memory; cache hints are read and have no effect.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use super::{Decoded, Flow, bits_of, extend, is_signed, step};
use crate::machine::{LANES, LaneBytes, MOST, Space, lanes};
use crate::order::{Kind, Scope};
use crate::program::{Address, Decoder, Destination, LoadError, Source};
use crate::scalar::Register;

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::Ld | Op::Ldu => load(d, resolved, inst)?,
        Op::St => store(d, resolved, inst)?,
        // Hints: `discard` leaves the data undefined, which a right program does not read.
        Op::Discard => super::moves::nothing(),
        _ => return Ok(None),
    }))
}

/// The state space that a memory instruction names.
pub(crate) fn space(resolved: &Resolved) -> Space {
    use Modifier as M;
    match resolved.one_of(&[
        M::Global,
        M::Shared,
        M::SharedCta,
        M::SharedCluster,
        M::Local,
        M::Const,
        M::Param,
        M::ParamEntry,
        M::ParamFunc,
    ]) {
        Some(M::Shared | M::SharedCta) => Space::Shared,
        Some(M::SharedCluster) => Space::SharedCluster,
        Some(M::Local | M::ParamFunc) => Space::Local,
        Some(M::Param | M::ParamEntry) => Space::Param,
        Some(_) => Space::Global,
        None => Space::Generic,
    }
}

/// What a strong memory instruction orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strength {
    /// Whom it is ordered with.
    pub scope: Scope,
    /// What comes after in the thread sees what the value's writer knew.
    pub acquires: bool,
    /// Whoever reads the value sees what the thread knows.
    pub releases: bool,
}

/// How strong a memory instruction is: none for weak ones.
pub(crate) fn strength(resolved: &Resolved) -> Option<Strength> {
    use Modifier as M;
    let scope = match resolved.one_of(&[M::Cta, M::Cluster, M::Gpu, M::Sys]) {
        Some(M::Cta) => Scope::Cta,
        Some(M::Cluster) => Scope::Cluster,
        Some(M::Gpu) => Scope::Gpu,
        _ => Scope::System,
    };
    let word = resolved.one_of(&[M::Relaxed, M::Acquire, M::Release, M::AcqRel, M::Volatile, M::Mmio])?;
    let acquires = matches!(word, M::Acquire | M::AcqRel);
    let releases = matches!(word, M::Release | M::AcqRel);
    Some(Strength { scope, acquires, releases })
}

/// Where the bytes are: an address, or a fixed place of a parameter.
#[derive(Clone, Copy)]
enum From {
    Address(Space, Address),
    Fixed(Space, u64),
}

fn place(d: &mut Decoder<'_>, resolved: &Resolved, operand: &Operand) -> Result<From, LoadError> {
    let space = space(resolved);
    if space == Space::Param
        && let Some((name, offset)) = d.address_symbol(operand)
    {
        if let Some(at) = d.parameter(name) {
            return Ok(From::Fixed(Space::Param, u64::from(at).wrapping_add_signed(offset)));
        }
        // Arguments and results of calls.
        if let Some(at) = d.local(name) {
            return Ok(From::Fixed(Space::Local, u64::from(at).wrapping_add_signed(offset)));
        }
    }
    let address = d.address(operand)?;
    // A register that holds the address of a parameter holds the whole address.
    let space = if space == Space::Param { Space::Global } else { space };
    if matches!(space, Space::Global | Space::Generic) && strength(resolved).is_some() {
        d.takes_turns();
    }
    Ok(From::Address(space, address))
}

/// One element in memory.
#[derive(Clone, Copy)]
struct Element {
    bytes: usize,
    bits: u32,
    signed: bool,
}

fn element(d: &Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Element, LoadError> {
    let ty = resolved.types().last();
    let bits = ty.and_then(bits_of).ok_or_else(|| d.error(format!("`{}` has no type", inst.spelling())))?;
    Ok(Element { bytes: bits as usize / 8, bits, signed: ty.is_some_and(is_signed) })
}

fn count(resolved: &Resolved) -> usize {
    match resolved.one_of(&[Modifier::V2, Modifier::V4, Modifier::V8]) {
        Some(Modifier::V2) => 2,
        Some(Modifier::V4) => 4,
        Some(_) => 8,
        None => 1,
    }
}

fn load(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let element = element(d, resolved, inst)?;
    let count = count(resolved);
    let from = place(d, resolved, d.operand(inst, 1)?)?;
    let strength = strength(resolved);
    let mut targets: Vec<Destination> = Vec::new();
    for operand in d.elements(d.operand(inst, 0)?)? {
        targets.extend(d.destination_parts(&operand, element.bits)?.into_iter().map(|(to, _)| to));
    }
    // 128-bit elements are two halves.
    let part = Element { bytes: element.bytes.min(8), bits: element.bits.min(64), ..element };
    let bytes = element.bytes * count;
    if bytes > MOST || targets.len() * part.bytes != bytes {
        return Err(d.error(format!("`{}` loads {count} values into {} registers", inst.spelling(), targets.len())));
    }
    Ok(Decoded::free(step(move |c, at| {
        let (space, addresses) = addresses(c, at.warp, from);
        let mut data: LaneBytes = [[0; MOST]; LANES];
        let kind = strength.map_or(Kind::Read, |strong| Kind::StrongRead(strong.scope));
        c.read_lanes(&at, space, &addresses, bytes, kind, &mut data)?;
        if let Some(strength) = strength {
            c.synchronize_loads(&at, space, &addresses, strength.acquires);
        }
        for (i, to) in targets.iter().enumerate() {
            let mut values = [0; LANES];
            for lane in lanes(at.mask) {
                let mut word = [0; 8];
                word[..part.bytes].copy_from_slice(&data[lane][i * part.bytes..(i + 1) * part.bytes]);
                values[lane] = extend(u64::from_le_bytes(word), part.bits, part.signed);
            }
            c.warps[at.warp].set(*to, at.mask, &values);
        }
        Ok(Flow::Next)
    })))
}

fn store(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let element = element(d, resolved, inst)?;
    let count = count(resolved);
    let to = place(d, resolved, d.operand(inst, 0)?)?;
    let strength = strength(resolved);
    let float = resolved.has(Modifier::F32);
    let mut sources: Vec<Source> = Vec::new();
    for operand in d.elements(d.operand(inst, 1)?)? {
        if float {
            sources.push(d.value_f32(&operand)?);
        } else {
            sources.extend(d.parts(&operand, element.bits)?.into_iter().map(|(source, _)| source));
        }
    }
    let part = element.bytes.min(8);
    let bytes = element.bytes * count;
    if bytes > MOST || sources.len() * part != bytes {
        return Err(d.error(format!("`{}` stores {count} values from {} registers", inst.spelling(), sources.len())));
    }
    Ok(Decoded::free(step(move |c, at| {
        let (space, addresses) = addresses(c, at.warp, to);
        let kernel = c.grid.kernel;
        let mut data: LaneBytes = [[0; MOST]; LANES];
        for (i, source) in sources.iter().enumerate() {
            let values = c.warps[at.warp].source(kernel, *source);
            for lane in lanes(at.mask) {
                data[lane][i * part..(i + 1) * part].copy_from_slice(&values[lane].to_le_bytes()[..part]);
            }
        }
        // A release is ordered before its store can be seen.
        if let Some(strength) = strength {
            c.synchronize_stores(&at, space, &addresses, false, strength.releases);
            c.progress += 1;
        }
        let kind = strength.map_or(Kind::Write, |strong| Kind::StrongWrite(strong.scope));
        c.write_lanes(&at, space, &addresses, bytes, kind, &data)?;
        Ok(Flow::Next)
    })))
}

fn addresses(c: &crate::machine::Cluster<'_>, warp: usize, place: From) -> (Space, Register) {
    match place {
        From::Address(space, address) => (space, c.warps[warp].addresses(c.grid.kernel, address)),
        From::Fixed(space, offset) => (space, super::splat(offset)),
    }
}
