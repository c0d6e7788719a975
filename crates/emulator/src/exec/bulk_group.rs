//! Bulk async-groups: the copies and reductions to global memory that a thread waits for.
//!
//! Such an operation ends twice: its source has been read (`wait_group.read`), then its destination is written (`wait_group`).

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, lanes};
use crate::order::Operation;
use crate::program::{Decoder, LoadError};

/// Bulk operations of one lane: those since the last commit, and the groups before, oldest first.
#[derive(Clone, Debug, Default)]
pub struct LaneBulk {
    /// Not yet in a group.
    pub open: Vec<Issued>,
    /// Groups that were not waited for to the end.
    pub groups: Vec<Vec<Issued>>,
}

/// Half of an issued operation.
#[derive(Clone, Debug)]
pub struct Half {
    /// Its number in the queue.
    pub number: u64,
    /// Its accesses.
    pub operation: Option<Operation>,
}

/// An issued operation.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The reading of the source; none when it was waited for.
    pub source: Option<Half>,
    /// The writing of the destination.
    pub destination: Half,
}

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::CpAsyncBulkCommitGroup => Decoded::free(step(|c, at| {
            for lane in lanes(at.mask) {
                let bulk = &mut c.warps[at.warp].bulk[lane];
                let open = std::mem::take(&mut bulk.open);
                bulk.groups.push(open);
            }
            Ok(Flow::Next)
        })),
        Op::CpAsyncBulkWaitGroup => {
            let most = d.immediate(d.operand(inst, 0)?)? as usize;
            let sources_only = resolved.has(Modifier::Read);
            Decoded::free(step(move |c, at| wait(c, &at, most, sources_only)))
        }
        _ => return Ok(None),
    }))
}

fn wait(c: &mut Cluster<'_>, at: &At, most: usize, sources_only: bool) -> Result<Flow, Fault> {
    for lane in lanes(at.mask) {
        let bulk = &mut c.warps[at.warp].bulk[lane];
        let ready = bulk.groups.len().saturating_sub(most);
        let mut done: Vec<Half> = Vec::new();
        if sources_only {
            done.extend(bulk.groups[..ready].iter_mut().flatten().filter_map(|issued| issued.source.take()));
        } else {
            let whole = bulk.groups.drain(..ready).flatten();
            done.extend(whole.flat_map(|issued| issued.source.into_iter().chain([issued.destination])));
        }
        for half in done {
            c.finish_queue_up_to(half.number)?;
            if let (Some(order), Some(operation)) = (&mut c.order, &half.operation) {
                order.complete(operation, at.warp as u32, 1 << lane);
            }
        }
    }
    Ok(Flow::Next)
}

/// Reports lanes that exit while a bulk operation of theirs may still read shared memory: nobody else can wait for it.
pub(crate) fn thread_exits(c: &mut Cluster<'_>, warp: usize, mask: u32) {
    let unread = |issued: &Issued| issued.source.is_some();
    for lane in lanes(mask) {
        let LaneBulk { open, groups } = &c.warps[warp].bulk[lane];
        if open.iter().chain(groups.iter().flatten()).any(unread) {
            let message =
                "exits while a bulk copy may still read its shared memory: cp.async.bulk.wait_group.read is missing";
            c.report(warp, Fault::new(HazardKind::NotWaitedFor, message).lane(lane));
        }
    }
}
