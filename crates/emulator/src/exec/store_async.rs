//! `st.async`, `red.async`: stores and reductions into shared memory of the cluster that signal an mbarrier there; `st.bulk`.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Flow, bits_of, mbarrier, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, LANES, LaneBytes, MOST, Queue, Space, lanes};
use crate::memory::Target;
use crate::order::{Kind, Operation, OperationKind, Place, Proxy, Scope};
use crate::program::{Decoder, LoadError, Source};
use crate::tensor_map::cluster;
use crate::tensor_map::reduce::{self, Type};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::StAsync | Op::RedAsync => store(d, resolved, inst)?,
        Op::StBulk => zeros(d, resolved, inst)?,
        _ => return Ok(None),
    }))
}

struct Store {
    to: u32,
    data: Vec<u8>,
    barrier: u32,
    reduction: Option<(reduce::Operation, Type)>,
    operation: Option<Operation>,
}

impl Asynchronous for Store {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let mut data = self.data;
        if let Some((operation, element)) = self.reduction {
            let mut old = c.read_shared(self.to, data.len())?.to_vec();
            reduce::combine_slice(operation, element, &mut old, &data);
            data = old;
        }
        c.write_shared(self.to, &data)?;
        mbarrier::complete_transactions(c, self.barrier, data.len() as u32, self.operation.as_ref())
    }
}

/// The type of a reduction, `None` for a plain store.
fn reduction(
    d: &Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
    ty: Modifier,
) -> Result<Option<(reduce::Operation, Type)>, LoadError> {
    if resolved.op == Op::StAsync {
        return Ok(None);
    }
    let operation = super::bulk::operation(resolved);
    let element = match ty {
        Modifier::U32 => Type::U32,
        Modifier::S32 => Type::S32,
        Modifier::U64 => Type::U64,
        Modifier::S64 => Type::S64,
        Modifier::B64 => Type::B64,
        _ => Type::B32,
    };
    match operation {
        Some(operation) if reduce::exists(operation, element) => Ok(Some((operation, element))),
        // PTX ISA, red.async: `.add` of `.s64` is not in the table of bulk reductions, and is that of `.u64`.
        Some(reduce::Operation::Add) if element == Type::S64 => Ok(Some((reduce::Operation::Add, Type::U64))),
        _ => Err(d.error(format!("`{}`: there is no such reduction", inst.spelling()))),
    }
}

fn store(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    if inst.operands.len() < 3 {
        // The forms without an mbarrier store to global memory at release or mmio strength.
        return Err(d.error(format!("`{}` without an mbarrier is not emulated", inst.spelling())));
    }
    let ty = resolved.types().last().ok_or_else(|| d.error(format!("`{}` has no type", inst.spelling())))?;
    let part = bits_of(ty).unwrap_or(32) as usize / 8;
    let reduction = reduction(d, resolved, inst, ty)?;
    let to = d.address(d.operand(inst, 0)?)?;
    let mut values: Vec<Source> = Vec::new();
    for operand in d.elements(d.operand(inst, 1)?)? {
        values.push(if ty == Modifier::F32 { d.value_f32(&operand)? } else { d.value(&operand)? });
    }
    let barrier = d.address(d.operand(inst, 2)?)?;
    let bytes = part * values.len();
    if bytes > MOST {
        return Err(d.error(format!("`{}` stores {bytes} bytes", inst.spelling())));
    }
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let (targets, barriers) = (warp.addresses(kernel, to), warp.addresses(kernel, barrier));
        for lane in lanes(at.mask) {
            let data: Vec<u8> = values
                .iter()
                .flat_map(|value| c.warps[at.warp].source(kernel, *value)[lane].to_le_bytes().into_iter().take(part))
                .collect();
            one(c, &at, lane, (targets[lane], barriers[lane]), data, reduction).map_err(|fault| fault.lane(lane))?;
        }
        Ok(Flow::Next)
    })))
}

fn one(
    c: &mut Cluster<'_>,
    at: &At,
    lane: usize,
    (to, barrier): (u64, u64),
    data: Vec<u8>,
    reduction: Option<(reduce::Operation, Type)>,
) -> Result<(), Fault> {
    let Target::Shared(to) = c.locate(at.warp, Space::SharedCluster, to)? else {
        return Err(Fault::new(HazardKind::OutOfBounds, format!("{to:#x} is no shared address")).at(to));
    };
    if !to.is_multiple_of(data.len() as u32) {
        let message = format!("{} bytes at {to:#x}: the address must be a multiple of {}", data.len(), data.len());
        return Err(Fault::new(HazardKind::Misaligned, message).at(u64::from(to)));
    }
    let barrier = mbarrier::locate_one(c, at.warp, Space::SharedCluster, barrier, false)?;
    if !cluster::may_signal(to, barrier, 1) {
        let (data, signal) = (cluster::rank(to), cluster::rank(barrier));
        let message = format!("data goes to CTA {data} and the signal to CTA {signal}, expected the same CTA");
        return Err(Fault::new(HazardKind::Descriptor, message).at(u64::from(barrier)));
    }
    super::transfer::check_shared(c, to, data.len())?;
    let operation = c.order.as_mut().map(|order| order.start(at.warp as u32, 1 << lane, OperationKind::StoreAsync));
    let kind = if reduction.is_some() { Kind::StrongWrite(Scope::Cluster) } else { Kind::Write };
    c.touch(at, operation.as_ref(), Place::Shared, u64::from(to), data.len(), kind, Proxy::Generic);
    mbarrier::touch_by_operation(c, at, operation.as_ref(), barrier);
    let store = Store { to, data, barrier, reduction, operation };
    c.issue(Queue::Unordered, (at.warp, lane as u32), at.pc, Box::new(store)).map(drop)
}

/// `st.bulk`: zeros over a range of shared memory.
fn zeros(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.address(d.operand(inst, 0)?)?;
    let size = d.value(d.operand(inst, 1)?)?;
    if d.immediate(d.operand(inst, 2)?)? != 0 {
        return Err(d.error(format!("`{}`: the value must be 0", inst.spelling())));
    }
    let space = if resolved.has(Modifier::SharedCta) { Space::Shared } else { Space::Generic };
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let targets = c.warps[at.warp].addresses(kernel, to);
        let sizes = *c.warps[at.warp].source(kernel, size);
        for lane in lanes(at.mask) {
            let place = |fault: Fault| fault.lane(lane);
            let Target::Shared(short) = c.locate(at.warp, space, targets[lane]).map_err(place)? else {
                let message = format!("{:#x} is no shared address", targets[lane]);
                return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
            };
            let size = sizes[lane];
            if !short.is_multiple_of(8) || !size.is_multiple_of(8) {
                let message = format!("{size} bytes at {short:#x}: both must be multiples of 8");
                return Err(Fault::new(HazardKind::Misaligned, message).lane(lane));
            }
            super::transfer::check_shared(c, short, size as usize).map_err(place)?;
            let one = At { mask: 1 << lane, ..at };
            let data: LaneBytes = [[0; MOST]; LANES];
            for offset in (0..size).step_by(8) {
                let address = super::splat(targets[lane].wrapping_add(offset));
                c.write_lanes(&one, space, &address, 8, Kind::Write, &data)?;
            }
        }
        Ok(Flow::Next)
    })))
}
