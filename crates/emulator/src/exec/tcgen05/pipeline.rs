//! The pipeline of a thread: multiplies, copies and shifts in their order, and `tcgen05.commit`.
//!
//! The manual lists which of them may follow each other without a wait (PTX ISA
//! `#tcgen05-memory-consistency-model-pipelined-instructions`); here all may, since published kernels rely on a pair that it leaves out.

use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Fault, HazardKind, cta_group, group_ranks, says};
use crate::exec::{Flow, mbarrier, step};
use crate::machine::{Asynchronous, Cluster, Queue, Space, lanes};
use crate::memory::rank_of;
use crate::order::{Operation, OperationKind};
use crate::program::{Decoder, LoadError};

/// Begins an operation of a thread in its pipeline.
pub(super) fn start(c: &mut Cluster<'_>, at: &At, lane: usize, kind: OperationKind) -> Option<Operation> {
    let operation = c.order.as_mut()?.start(at.warp as u32, 1 << lane, kind);
    *c.warps[at.warp].tensor.last(lane) = Some(operation.clone());
    Some(operation)
}

/// The queue of a thread's pipeline.
pub(super) fn queue(at: &At, lane: usize) -> Queue {
    Queue::Tensor { warp: at.warp as u32, lane: lane as u32 }
}

pub(super) fn commit(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    let address = d.address(d.operand(inst, 0)?)?;
    let mask = match inst.operands.get(1) {
        Some(mask) => Some(d.value(mask)?),
        None => None,
    };
    if mask.is_some() != says(inst, "multicast::cluster") {
        return Err(d.error("a mask of CTAs goes with `.multicast::cluster`, and only with it"));
    }
    let space = if says(inst, "shared::cluster") { Space::SharedCluster } else { Space::Generic };
    Ok(Decoded::free(step(move |c, at| {
        group_ranks(c, &at, cta_group)?;
        let addresses = c.warps[at.warp].addresses(c.grid.kernel, address);
        let masks = mask.map(|mask| *c.warps[at.warp].source(c.grid.kernel, mask));
        for lane in lanes(at.mask) {
            let place = |fault: Fault| fault.lane(lane);
            let barrier = mbarrier::locate_one(c, at.warp, space, addresses[lane], false).map_err(place)?;
            let barriers = match masks {
                None => vec![barrier],
                Some(masks) => multicast(c, barrier, masks[lane] as u16).map_err(place)?,
            };
            // Whoever knows the last operation of a pipeline to be over knows it of those before.
            let last = c.warps[at.warp].tensor.last(lane).clone();
            let arrival = c.order.as_mut().map(|o| o.start(at.warp as u32, 1 << lane, OperationKind::TensorMma));
            for barrier in &barriers {
                mbarrier::touch_by_operation(c, &at, arrival.as_ref(), *barrier);
            }
            let operations = last.into_iter().chain(arrival).collect();
            let commit = Commit { barriers, operations };
            c.issue(queue(&at, lane), (at.warp, lane as u32), at.pc, Box::new(commit)).map_err(place)?;
        }
        Ok(Flow::Next)
    })))
}

/// The barrier at the same place in each CTA of a mask.
fn multicast(c: &Cluster<'_>, barrier: u32, mask: u16) -> Result<Vec<u32>, Fault> {
    let (_, offset) = rank_of(barrier);
    if mask == 0 || u32::from(mask) >> c.ctas.len().min(16) != 0 {
        let count = c.ctas.len();
        let message = format!("multicast to CTAs {mask:#06b} of a cluster of {count}");
        return Err(Fault::new(HazardKind::Descriptor, message));
    }
    Ok((0..16).filter(|rank| mask >> rank & 1 == 1).map(|rank| rank << 24 | offset).collect())
}

/// The end of all operations before it.
struct Commit {
    barriers: Vec<u32>,
    operations: Vec<Operation>,
}

impl Asynchronous for Commit {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        for barrier in self.barriers {
            mbarrier::arrive_finished(c, barrier, &self.operations)?;
        }
        Ok(())
    }
}
