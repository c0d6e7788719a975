//! `clusterlaunchcontrol`: a running cluster takes over one that has not started.
//!
//! The response is sixteen bytes that programs may not look into. Ours: the coordinates of the first CTA, 32 bits each, and 1
//! where a cluster was taken over; zeros where none was left. PTX ISA leaves a request undefined after a failed one was seen.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::memory::space;
use super::{At, Decoded, Flow, mbarrier, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, LANES, Queue, Space, lanes};
use crate::memory::Target;
use crate::order::{Kind, Operation, OperationKind, Place, Proxy};
use crate::program::{Decoder, LoadError};
use crate::tensor_map::cluster;

/// Bytes of a response.
const BYTES: u32 = 16;

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::ClusterlaunchcontrolTryCancel => {
            // Which clusters are left depends on all of them: they run in turns.
            d.takes_turns();
            let space = space(resolved);
            let to = d.address(d.operand(inst, 0)?)?;
            let barrier = d.address(d.operand(inst, 1)?)?;
            let to_all = resolved.has(Modifier::MulticastClusterAll);
            Decoded::free(step(move |c, at| {
                let kernel = c.grid.kernel;
                let warp = &c.warps[at.warp];
                let (targets, barriers) = (warp.addresses(kernel, to), warp.addresses(kernel, barrier));
                for lane in lanes(at.mask) {
                    request(c, &at, lane, space, (targets[lane], barriers[lane]), to_all)
                        .map_err(|fault| fault.lane(lane))?;
                }
                Ok(Flow::Next)
            }))
        }
        Op::ClusterlaunchcontrolQueryCancel if resolved.has(Modifier::IsCanceled) => {
            let to = d.predicate(d.operand(inst, 0)?)?;
            let response = d.parts(d.operand(inst, 1)?, 128)?;
            let high = response[1].0;
            Decoded::free(step(move |c, at| {
                let high = *c.warps[at.warp].source(c.grid.kernel, high);
                let taken = lanes(at.mask).filter(|&lane| high[lane] >> 32 != 0).fold(0, |mask, lane| mask | 1 << lane);
                c.no_more_launches |= taken != at.mask;
                c.warps[at.warp].set_predicate(to, at.mask, taken);
                Ok(Flow::Next)
            }))
        }
        Op::ClusterlaunchcontrolQueryCancel => first_cta(d, resolved, inst)?,
        _ => return Ok(None),
    }))
}

/// `get_first_ctaid`: one coordinate, or a vector of three and one unused.
fn first_cta(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let names = [Modifier::GetFirstCtaidX, Modifier::GetFirstCtaidY, Modifier::GetFirstCtaidZ];
    let one = names.iter().position(|name| resolved.has(*name));
    let mut targets = Vec::new();
    for operand in d.elements(d.operand(inst, 0)?)? {
        targets.push(d.destination(&operand)?);
    }
    let response = d.parts(d.operand(inst, 1)?, 128)?;
    let (low, high) = (response[0].0, response[1].0);
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let (low, high) = (*c.warps[at.warp].source(kernel, low), *c.warps[at.warp].source(kernel, high));
        if let Some(lane) = lanes(at.mask).find(|&lane| high[lane] >> 32 == 0) {
            let message = "the response of a request that failed has no CTA: test is_canceled first";
            return Err(Fault::new(HazardKind::Descriptor, message).lane(lane));
        }
        let coordinate = |axis: usize, lane: usize| match axis {
            0 => u64::from(low[lane] as u32),
            1 => low[lane] >> 32,
            2 => u64::from(high[lane] as u32),
            // The fourth element of the vector form means nothing.
            _ => 0,
        };
        for (index, to) in targets.iter().enumerate() {
            let axis = one.unwrap_or(index);
            let values: [u64; LANES] = std::array::from_fn(|lane| coordinate(axis, lane));
            c.warps[at.warp].set(*to, at.mask, &values);
        }
        Ok(Flow::Next)
    })))
}

/// The arrival of a response at one CTA.
struct Response {
    to: u32,
    barrier: u32,
    data: [u8; BYTES as usize],
    operation: Option<Operation>,
}

impl Asynchronous for Response {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        c.write_shared(self.to, &self.data)?;
        mbarrier::complete_transactions(c, self.barrier, BYTES, self.operation.as_ref())
    }
}

fn request(
    c: &mut Cluster<'_>,
    at: &At,
    lane: usize,
    space: Space,
    (to, barrier): (u64, u64),
    to_all: bool,
) -> Result<(), Fault> {
    if c.no_more_launches {
        let message = "requests another cluster after a request was seen to fail";
        return Err(Fault::new(HazardKind::Descriptor, message));
    }
    let Target::Shared(to) = c.locate(at.warp, space, to)? else {
        return Err(Fault::new(HazardKind::OutOfBounds, format!("{to:#x} is no shared address")).at(to));
    };
    if !to.is_multiple_of(BYTES) {
        let message = format!("response at {to:#x}: the address must be a multiple of {BYTES}");
        return Err(Fault::new(HazardKind::Misaligned, message).at(u64::from(to)));
    }
    let barrier = mbarrier::locate_one(c, at.warp, space, barrier, true)?;
    let taken = c.grid.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    let mut data = [0; BYTES as usize];
    if let Some(number) = taken {
        let [x, y, z] = c.grid.cta_index(number, 0);
        for (part, word) in data.chunks_exact_mut(4).zip([x, y, z, 1]) {
            part.copy_from_slice(&word.to_le_bytes());
        }
    }
    let own = cluster::rank(to);
    let ranks = if to_all { 0..c.ctas.len() as u32 } else { own..own + 1 };
    for rank in ranks {
        let (to, barrier) = (cluster::map(to, rank), cluster::map(barrier, rank));
        super::transfer::check_shared(c, to, BYTES as usize)?;
        let operation =
            c.order.as_mut().map(|order| order.start(at.warp as u32, 1 << lane, OperationKind::LaunchControl));
        c.touch(at, operation.as_ref(), Place::Shared, u64::from(to), BYTES as usize, Kind::Write, Proxy::Async);
        mbarrier::touch_by_operation(c, at, operation.as_ref(), barrier);
        let response = Response { to, barrier, data, operation };
        c.issue(Queue::Unordered, (at.warp, lane as u32), at.pc, Box::new(response))?;
    }
    Ok(())
}
