//! `tensormap.replace`, `tensormap.cp_fenceproxy`, `fence.proxy.tensormap`: tensor maps that a kernel makes or changes.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::memory::space;
use super::{At, Decoded, Flow, splat, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, LANES, LaneBytes, MOST, Space, lanes};
use crate::order::Kind;
use crate::program::{Decoder, LoadError};
use crate::tensor_map::bytes::{Field, SIZE, replace};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::TensormapReplace => replace_field(d, resolved, inst)?,
        Op::TensormapCpFenceproxy => copy_and_fence(d, inst)?,
        Op::FenceProxy if resolved.has(Modifier::TensormapGeneric) => {
            let (acquires, releases) = (resolved.has(Modifier::Acquire), resolved.has(Modifier::Release));
            Decoded::free(step(move |c, at| {
                if let Some(order) = &mut c.order {
                    order.fence(at.warp as u32, at.mask, acquires, releases);
                    if acquires {
                        order.fence_proxy_tensormap(at.warp as u32, at.mask);
                    }
                }
                Ok(Flow::Next)
            }))
        }
        _ => return Ok(None),
    }))
}

fn replace_field(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let fields = [
        (Modifier::GlobalAddress, Field::GlobalAddress),
        (Modifier::Rank, Field::Rank),
        (Modifier::BoxDim, Field::BoxDim),
        (Modifier::GlobalDim, Field::GlobalDim),
        (Modifier::GlobalStride, Field::GlobalStride),
        (Modifier::ElementStride, Field::ElementStride),
        (Modifier::Elemtype, Field::ElementType),
        (Modifier::InterleaveLayout, Field::InterleaveLayout),
        (Modifier::SwizzleMode, Field::SwizzleMode),
        (Modifier::SwizzleAtomicity, Field::SwizzleAtomicity),
        (Modifier::FillMode, Field::FillMode),
    ];
    let (_, field) = fields
        .into_iter()
        .find(|(word, _)| resolved.has(*word))
        .ok_or_else(|| d.error(format!("`{}` names no field", inst.spelling())))?;
    let space = space(resolved);
    let address = d.address(d.operand(inst, 0)?)?;
    let mut ordinal = 0;
    let mut next = 1;
    if field.ordinals().is_some() {
        ordinal = d.immediate(d.operand(inst, 1)?)? as usize;
        next = 2;
    }
    let value = d.value(d.operand(inst, next)?)?;
    let wide = matches!(field, Field::GlobalAddress | Field::GlobalStride);
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let addresses = c.warps[at.warp].addresses(kernel, address);
        let values = *c.warps[at.warp].source(kernel, value);
        for lane in lanes(at.mask) {
            let mut map = read(c, &at, lane, space, addresses[lane])?;
            let value = if wide { values[lane] } else { u64::from(values[lane] as u32) };
            replace(&mut map, field, ordinal, value).map_err(|invalid| {
                Fault::new(HazardKind::Descriptor, invalid.to_string()).lane(lane).at(addresses[lane])
            })?;
            write(c, &at, lane, space, addresses[lane], &map)?;
        }
        Ok(Flow::Next)
    })))
}

/// The map of one lane, all of which must have been written.
fn read(c: &mut Cluster<'_>, at: &At, lane: usize, space: Space, address: u64) -> Result<[u8; SIZE], Fault> {
    let one = At { mask: 1 << lane, ..*at };
    let mut map = [0; SIZE];
    for part in 0..SIZE / MOST {
        let mut data: LaneBytes = [[0; MOST]; LANES];
        let from = splat(address.wrapping_add((part * MOST) as u64));
        c.read_lanes(&one, space, &from, MOST, Kind::Read, &mut data)?;
        map[part * MOST..(part + 1) * MOST].copy_from_slice(&data[lane]);
    }
    Ok(map)
}

fn write(c: &mut Cluster<'_>, at: &At, lane: usize, space: Space, address: u64, map: &[u8; SIZE]) -> Result<(), Fault> {
    let one = At { mask: 1 << lane, ..*at };
    for part in 0..SIZE / MOST {
        let mut data: LaneBytes = [[0; MOST]; LANES];
        data[lane].copy_from_slice(&map[part * MOST..(part + 1) * MOST]);
        let to = splat(address.wrapping_add((part * MOST) as u64));
        c.write_lanes(&one, space, &to, MOST, Kind::Write, &data)?;
    }
    Ok(())
}

/// The copy of a map from shared to global memory, by all lanes of a warp together, and the releasing fence.
fn copy_and_fence(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.address(d.operand(inst, 0)?)?;
    let from = d.address(d.operand(inst, 1)?)?;
    let size = d.immediate(d.operand(inst, 2)?)?;
    if size != SIZE as u64 {
        return Err(d.error(format!("`{}` copies {size} bytes, expected {SIZE}", inst.spelling())));
    }
    Ok(Decoded::aligned(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let (targets, sources) = (warp.addresses(kernel, to), warp.addresses(kernel, from));
        let first = at.mask.trailing_zeros() as usize;
        for lane in lanes(at.mask) {
            if (targets[lane], sources[lane]) != (targets[first], sources[first]) {
                let message = "lanes name different tensor maps; a warp copies one";
                return Err(Fault::new(HazardKind::Divergence, message).lane(lane));
            }
        }
        if let Some(order) = &mut c.order {
            order.barrier(&[(at.warp as u32, at.mask)]);
        }
        let map = read(c, &at, first, Space::Shared, sources[first])?;
        write(c, &at, first, Space::Global, targets[first], &map)?;
        if let Some(order) = &mut c.order {
            // The lanes did it together: each knows of it, and releases it.
            order.barrier(&[(at.warp as u32, at.mask)]);
            order.fence(at.warp as u32, at.mask, false, true);
        }
        Ok(Flow::Next)
    })))
}
