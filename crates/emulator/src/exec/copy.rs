//! `cp.async`: copies of a thread from global to shared memory, in groups that it waits for.
//!
//! The data moves when the schedule says, at the latest at the wait; until then the destination is in flight. After the wait the
//! bytes count as written by the thread, which must still meet the others before they read them.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::{Decoded, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, Queue, Space, lanes};
use crate::memory::Target;
use crate::order::{Kind, Operation, OperationKind, Place, Proxy};
use crate::program::{Decoder, LoadError};

/// Copies of one lane: those since the last commit, and the groups before, oldest first. Numbers of operations.
#[derive(Clone, Debug, Default)]
pub struct LaneCopies {
    /// Not yet in a group.
    pub open: Vec<Copied>,
    /// Groups that were not waited for.
    pub groups: Vec<Vec<Copied>>,
}

/// An issued copy.
#[derive(Clone, Debug)]
pub struct Copied {
    number: u64,
    operation: Option<Operation>,
    to: u32,
    bytes: u32,
}

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::CpAsync => copy(d, resolved, inst)?,
        Op::CpAsyncCommitGroup => Decoded::free(step(|c, at| {
            for lane in lanes(at.mask) {
                let copies = &mut c.warps[at.warp].copies[lane];
                let open = std::mem::take(&mut copies.open);
                copies.groups.push(open);
            }
            Ok(Flow::Next)
        })),
        Op::CpAsyncWaitGroup => {
            let most = d.immediate(d.operand(inst, 0)?)? as usize;
            Decoded::free(step(move |c, at| wait(c, at, most, false)))
        }
        Op::CpAsyncWaitAll => Decoded::free(step(|c, at| wait(c, at, 0, true))),
        _ => return Ok(None),
    }))
}

struct Copy {
    from: u64,
    to: u32,
    read: usize,
    bytes: usize,
}

impl Asynchronous for Copy {
    fn finish(self: Box<Self>, cluster: &mut Cluster<'_>) -> Result<(), Fault> {
        let mut data = [0; 16];
        if self.read > 0 {
            cluster.read_global(self.from, &mut data[..self.read])?;
        }
        cluster.write_shared(self.to, &data[..self.bytes])
    }
}

fn copy(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.address(d.operand(inst, 0)?)?;
    let from = d.address(d.operand(inst, 1)?)?;
    let bytes = d.immediate(d.operand(inst, 2)?)? as usize;
    let allowed: &[usize] = if resolved.has(Modifier::Cg) { &[16] } else { &[4, 8, 16] };
    if !allowed.contains(&bytes) {
        return Err(d.error(format!("`{}` copies {bytes} bytes, expected one of {allowed:?}", inst.spelling())));
    }
    // A fourth operand is the number of bytes read, or a predicate that reads none; a cache policy comes last.
    let mut size = None;
    let mut ignore = None;
    let policy = usize::from(resolved.has(Modifier::L2CacheHint));
    if inst.operands.len() - policy > 3 {
        let operand = d.operand(inst, 3)?;
        if d.is_predicate(operand) {
            ignore = Some(d.condition(operand)?);
        } else {
            size = Some(d.value(operand)?);
        }
    }
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let (targets, sources) = (c.warps[at.warp].addresses(kernel, to), c.warps[at.warp].addresses(kernel, from));
        let sizes = size.map(|size| *c.warps[at.warp].source(kernel, size));
        let ignored = ignore.map_or(0, |condition| c.warps[at.warp].condition(condition));
        for lane in lanes(at.mask) {
            let place = |fault: Fault| fault.lane(lane);
            let Target::Shared(to) = c.locate(at.warp, Space::Shared, targets[lane]).map_err(place)? else {
                let message = format!("{:#x} is no shared address", targets[lane]);
                return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
            };
            let Target::Global(from) = c.locate(at.warp, Space::Generic, sources[lane]).map_err(place)? else {
                let message = format!("{:#x} is no global address", sources[lane]);
                return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
            };
            let mut read = sizes.map_or(bytes, |sizes| sizes[lane] as u32 as usize);
            if ignored >> lane & 1 == 1 {
                read = 0;
            }
            if read > bytes {
                let message = format!("reads {read} of {bytes} bytes");
                return Err(Fault::new(HazardKind::Descriptor, message).lane(lane));
            }
            if !u64::from(to).is_multiple_of(bytes as u64) || (read > 0 && !from.is_multiple_of(bytes as u64)) {
                let message = format!("{bytes} bytes from {from:#x} to {to:#x}: both must be multiples of {bytes}");
                return Err(Fault::new(HazardKind::Misaligned, message).lane(lane));
            }
            let operation =
                c.order.as_mut().map(|order| order.start(at.warp as u32, 1 << lane, OperationKind::CopyAsync));
            if read > 0 {
                c.touch(&at, operation.as_ref(), Place::Global, from, read, Kind::Read, Proxy::Generic);
            }
            c.touch(&at, operation.as_ref(), Place::Shared, u64::from(to), bytes, Kind::Write, Proxy::Generic);
            let queue = Queue::Copies { warp: at.warp as u32, lane: lane as u32 };
            let issuer = (at.warp, lane as u32);
            let number = c.issue(queue, issuer, at.pc, Box::new(Copy { from, to, read, bytes })).map_err(place)?;
            let copied = Copied { number, operation, to, bytes: bytes as u32 };
            c.warps[at.warp].copies[lane].open.push(copied);
        }
        Ok(Flow::Next)
    })))
}

/// Finishes all but the last `most` groups of each lane, and with `open` also what is in no group.
fn wait(c: &mut Cluster<'_>, at: super::At, most: usize, open: bool) -> Result<Flow, Fault> {
    for lane in lanes(at.mask) {
        let copies = &mut c.warps[at.warp].copies[lane];
        let ready = copies.groups.len().saturating_sub(most);
        let mut done: Vec<Copied> = copies.groups.drain(..ready).flatten().collect();
        if open {
            done.append(&mut copies.open);
        }
        finish(c, &at, lane, done)?;
    }
    Ok(Flow::Next)
}

/// Finishes copies of a lane, whose bytes are its own from then on.
fn finish(c: &mut Cluster<'_>, at: &super::At, lane: usize, done: Vec<Copied>) -> Result<(), Fault> {
    for copied in done {
        c.finish_queue_up_to(copied.number)?;
        let (warp, mask) = (at.warp as u32, 1 << lane);
        let mut found = None;
        if let (Some(order), Some(operation)) = (&mut c.order, &copied.operation) {
            order.complete(operation, warp, mask);
            let mut addresses = [0; 32];
            addresses[lane] = u64::from(copied.to);
            let same = |_: u32, _: u32| true;
            found = order.lanes(warp, mask, &addresses, copied.bytes, Place::Shared, Kind::Write, at.pc, &same).err();
        }
        if let Some(conflict) = found {
            c.report_conflict(at.warp, conflict);
        }
    }
    Ok(())
}

/// Copies of a lane that nobody waited for.
pub(super) fn outstanding(c: &Cluster<'_>, warp: usize, lane: usize) -> Vec<Operation> {
    let LaneCopies { open, groups } = &c.warps[warp].copies[lane];
    groups.iter().flatten().chain(open).filter_map(|copied| copied.operation.clone()).collect()
}
