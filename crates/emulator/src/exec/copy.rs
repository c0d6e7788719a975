//! `cp.async`: copies of a thread from global to shared memory, in groups that it waits for.
//!
//! The data moves when the schedule says, at the latest at the wait; until then the destination is in flight. After the wait the
//! bytes count as written by the thread, which must still meet the others before they read them.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, LANES, Queue, Space, lanes};
use crate::memory::Target;
use crate::order::{Clock, Kind, Place};
use crate::program::{Decoder, LoadError};
use crate::scalar::Register;

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
    /// The number of the instruction in its warp, for happens-before.
    instruction: u32,
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
        let mut copies: Vec<(usize, Copy)> = Vec::with_capacity(LANES);
        let mut filled = [0; LANES];
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
            filled[lane] = u64::from(to);
            copies.push((lane, Copy { from, to, read, bytes }));
        }
        let instruction = order(c, &at, &copies, &filled, bytes);
        for (lane, copy) in copies {
            let queue = Queue::Copies { warp: at.warp as u32, lane: lane as u32 };
            let issuer = (at.warp, lane as u32);
            let number = c.issue(queue, issuer, at.pc, Box::new(copy)).map_err(|fault| fault.lane(lane))?;
            c.warps[at.warp].copies[lane].open.push(Copied { number, instruction });
        }
        Ok(Flow::Next)
    })))
}

/// Records what the copies read and fill; the number of the instruction in its warp.
fn order(c: &mut Cluster<'_>, at: &At, copies: &[(usize, Copy)], filled: &Register, bytes: usize) -> u32 {
    let Some(order) = &mut c.order else { return 0 };
    let warp = at.warp as u32;
    let mut found = Vec::new();
    let mut sources = [0; LANES];
    let mut rest = 0u32;
    for (lane, copy) in copies.iter().filter(|(_, copy)| copy.read > 0) {
        sources[*lane] = copy.from;
        rest |= 1 << lane;
    }
    // Lanes at the edge read less than the others.
    while rest != 0 {
        let read = |lane: usize| copies.iter().find(|(other, _)| *other == lane).map_or(0, |(_, copy)| copy.read);
        let first = read(rest.trailing_zeros() as usize);
        let mask = lanes(rest).filter(|lane| read(*lane) == first).fold(0, |mask, lane| mask | 1 << lane);
        found.extend(order.lanes(warp, mask, &sources, first as u32, Place::Global, Kind::Read, at.pc).err());
        rest &= !mask;
    }
    let (instruction, conflict) = order.copy_async(warp, at.mask, filled, bytes as u32, at.pc);
    found.extend(conflict);
    for conflict in found {
        c.report_conflict(at.warp, conflict);
    }
    instruction
}

/// Finishes all but the last `most` groups of each lane, and with `open` also what is in no group. The bytes are the lanes' own
/// from then on.
fn wait(c: &mut Cluster<'_>, at: At, most: usize, open: bool) -> Result<Flow, Fault> {
    let mut waited = [0; LANES];
    for lane in lanes(at.mask) {
        let copies = &mut c.warps[at.warp].copies[lane];
        let ready = copies.groups.len().saturating_sub(most);
        let mut done: Vec<Copied> = copies.groups.drain(..ready).flatten().collect();
        if open {
            done.append(&mut copies.open);
        }
        waited[lane] = finish(c, done)?;
    }
    let mut rest = at.mask;
    while rest != 0 {
        let number = waited[rest.trailing_zeros() as usize];
        let mask = lanes(rest).filter(|lane| waited[*lane] == number).fold(0, |mask, lane| mask | 1 << lane);
        if let Some(order) = &mut c.order {
            order.wait_copies(at.warp as u32, mask, number);
        }
        rest &= !mask;
    }
    Ok(Flow::Next)
}

/// Finishes copies; the number of the last one's instruction.
fn finish(c: &mut Cluster<'_>, done: Vec<Copied>) -> Result<u32, Fault> {
    let mut last = 0;
    for copied in done {
        c.finish_queue_up_to(copied.number)?;
        last = last.max(copied.instruction);
    }
    Ok(last)
}

/// What an `cp.async.mbarrier.arrive` of the lane tells: all copies that it has issued.
pub(super) fn issued(c: &mut Cluster<'_>, warp: usize, lane: usize) -> Clock {
    let mut clock = Clock::default();
    if let Some(order) = &mut c.order {
        order.finish_copies(warp as u32, 1 << lane, &mut clock);
    }
    clock
}
