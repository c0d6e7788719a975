//! `mbarrier.*`, and the arrival that `cp.async` copies make.
//!
//! The object lies in shared memory as [`Mbarrier`] encodes it. Beside it the cluster keeps what arrivals and finished operations
//! have told: whoever waits for a phase learns what was told until its end, and in all phases before, since operations on one
//! barrier follow each other.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::memory::space;
use super::{At, Decoded, Execute, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, LANES, Queue, Schedule, Space, lanes};
use crate::mbarrier::{Error, Mbarrier, SIZE};
use crate::memory::{Target, rank_of};
use crate::order::{Clock, Kind, Operation, Place, Scope};
use crate::program::{Address, Decoder, Destination, LoadError, Source};
use crate::scalar::Register;

/// What the cluster keeps of a barrier beside its word in shared memory.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    /// The word after the last operation on the barrier. Memory that holds another was overwritten.
    word: u64,
    /// What arrivals and operations have told in this phase.
    filling: Clock,
    /// What they told in the phases that are complete.
    completed: Clock,
}

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::MbarrierInit => {
            let (space, address) = (space(resolved), d.address(d.operand(inst, 0)?)?);
            let count = d.value(d.operand(inst, 1)?)?;
            Decoded::free(step(move |c, at| init(c, &at, space, address, count)))
        }
        Op::MbarrierInval => {
            let (space, address) = (space(resolved), d.address(d.operand(inst, 0)?)?);
            Decoded::free(step(move |c, at| invalidate(c, &at, space, address)))
        }
        Op::MbarrierExpectTx | Op::MbarrierCompleteTx => {
            let (space, address) = (space(resolved), d.address(d.operand(inst, 0)?)?);
            let bytes = d.value(d.operand(inst, 1)?)?;
            let completes = resolved.op == Op::MbarrierCompleteTx;
            Decoded::free(step(move |c, at| {
                let barriers = locate(c, &at, space, address, false)?;
                touch(c, &at, &barriers, Kind::StrongWrite(Scope::Cluster));
                let bytes = *c.warps[at.warp].source(c.grid.kernel, bytes);
                for lane in lanes(at.mask) {
                    let bytes = bytes[lane] as u32;
                    change(c, barriers[lane], |barrier| match completes {
                        true => barrier.complete_transactions(bytes).map(drop),
                        false => barrier.expect_transactions(bytes),
                    })
                    .map_err(|fault| fault.lane(lane))?;
                }
                Ok(Flow::Next)
            }))
        }
        Op::MbarrierArrive | Op::MbarrierArriveDrop => arrive(d, resolved, inst)?,
        Op::MbarrierTestWait | Op::MbarrierTryWait => wait(d, resolved, inst)?,
        Op::MbarrierPendingCount => {
            let to = d.destination(d.operand(inst, 0)?)?;
            let state = d.value(d.operand(inst, 1)?)?;
            Decoded::free(step(move |c, at| {
                let states = *c.warps[at.warp].source(c.grid.kernel, state);
                let mut counts = [0; LANES];
                for lane in lanes(at.mask) {
                    let count = Mbarrier::pending_count(states[lane]).map_err(|error| fault(error, None).lane(lane))?;
                    counts[lane] = u64::from(count);
                }
                c.warps[at.warp].set(to, at.mask, &counts);
                Ok(Flow::Next)
            }))
        }
        Op::CpAsyncMbarrierArrive => {
            let (space, address) = (space(resolved), d.address(d.operand(inst, 0)?)?);
            let increments = !resolved.has(Modifier::Noinc);
            Decoded::free(step(move |c, at| arrive_after_copies(c, &at, space, address, increments)))
        }
        _ => return Ok(None),
    }))
}

fn fault(error: Error, address: Option<u32>) -> Fault {
    let fault = Fault::new(HazardKind::Barrier, error.to_string());
    match address {
        Some(address) => fault.at(u64::from(address)),
        None => fault,
    }
}

/// The shared addresses of the barriers that the lanes name; with `own` they must lie in the lanes' CTA.
fn locate(c: &Cluster<'_>, at: &At, space: Space, address: Address, own: bool) -> Result<[u32; LANES], Fault> {
    let addresses = c.warps[at.warp].addresses(c.grid.kernel, address);
    let mut barriers = [0; LANES];
    for lane in lanes(at.mask) {
        barriers[lane] = locate_one(c, at.warp, space, addresses[lane], own).map_err(|fault| fault.lane(lane))?;
    }
    Ok(barriers)
}

/// The shared address of the barrier at `address`.
pub(super) fn locate_one(c: &Cluster<'_>, warp: usize, space: Space, address: u64, own: bool) -> Result<u32, Fault> {
    let Target::Shared(short) = c.locate(warp, space, address)? else {
        let message = format!("{address:#x} is no shared address, where mbarriers lie");
        return Err(Fault::new(HazardKind::OutOfBounds, message).at(address));
    };
    if !short.is_multiple_of(SIZE) {
        let message = format!("mbarrier at {short:#x}: the address must be a multiple of {SIZE}");
        return Err(Fault::new(HazardKind::Misaligned, message).at(address));
    }
    let (rank, _) = rank_of(short);
    if own && rank != c.cta_of(warp).rank {
        let message = format!("mbarrier {short:#x} is in CTA {rank}; this can be done in the own CTA only");
        return Err(Fault::new(HazardKind::Barrier, message).at(address));
    }
    Ok(short)
}

fn touch(c: &mut Cluster<'_>, at: &At, barriers: &[u32; LANES], kind: Kind) {
    let addresses = barriers.map(u64::from);
    let Some(order) = &mut c.order else { return };
    let found = order.lanes(at.warp as u32, at.mask, &addresses, SIZE, Place::Shared, kind, at.pc);
    if let Err(conflict) = found {
        c.report_conflict(at.warp, conflict);
    }
}

/// What lies in memory where a barrier is or will be.
fn word(c: &Cluster<'_>, address: u32) -> Result<u64, Fault> {
    let (rank, offset) = rank_of(address);
    let cta = &c.ctas[rank as usize];
    if cta.exited >= c.threads_per_cta() {
        let message = format!("touches an mbarrier of CTA {rank} of the cluster, which has exited");
        return Err(Fault::new(HazardKind::OutOfBounds, message).at(u64::from(address)));
    }
    let bytes = cta.shared.read_any(offset, SIZE as usize)?;
    Ok(u64::from_le_bytes(std::array::from_fn(|at| bytes[at])))
}

/// The barrier at `address`, none where memory holds something else.
fn barrier_at(c: &Cluster<'_>, address: u32) -> Result<Result<Mbarrier, Error>, Fault> {
    let word = word(c, address)?;
    let known = c.mbarriers.get(&address).is_some_and(|tracked| tracked.word == word);
    Ok(if known { Mbarrier::decode(word) } else { Err(Error::NotInitialized { word }) })
}

fn put(c: &mut Cluster<'_>, address: u32, word: u64) -> Result<(), Fault> {
    let (rank, offset) = rank_of(address);
    c.ctas[rank as usize].shared.write(offset, &word.to_le_bytes())?;
    c.mbarriers.entry(address).or_default().word = word;
    Ok(())
}

/// Changes the barrier at `address`; ends the phase where that completed it.
fn change<T>(
    c: &mut Cluster<'_>,
    address: u32,
    change: impl FnOnce(&mut Mbarrier) -> Result<T, Error>,
) -> Result<T, Fault> {
    let place = |error| fault(error, Some(address));
    let mut barrier = barrier_at(c, address)?.map_err(place)?;
    let parity = barrier.parity;
    let result = change(&mut barrier).map_err(place)?;
    put(c, address, barrier.encode())?;
    if barrier.parity != parity {
        let tracked = c.mbarriers.entry(address).or_default();
        tracked.completed.join(&tracked.filling);
        tracked.filling.clear();
    }
    c.progress += 1;
    Ok(result)
}

/// The end of an asynchronous operation that moved `bytes` bytes: whoever waits for the phase learns of it.
pub(super) fn complete_transactions(
    c: &mut Cluster<'_>,
    address: u32,
    bytes: u32,
    operation: Option<&Operation>,
) -> Result<(), Fault> {
    if let (Some(order), Some(operation)) = (&mut c.order, operation) {
        order.finish(operation, &mut c.mbarriers.entry(address).or_default().filling);
    }
    change(c, address, |barrier| barrier.complete_transactions(bytes).map(drop))
}

/// The end of asynchronous operations that arrive at a barrier instead of counting bytes.
pub(crate) fn arrive_finished(c: &mut Cluster<'_>, address: u32, operations: &[Operation]) -> Result<(), Fault> {
    if let Some(order) = &mut c.order {
        let tracked = c.mbarriers.entry(address).or_default();
        operations.iter().for_each(|operation| order.finish(operation, &mut tracked.filling));
    }
    change(c, address, |barrier| barrier.arrive(1).map(drop))
}

/// Records that an asynchronous operation will signal a barrier. Call it when the operation is issued.
pub(crate) fn touch_by_operation(c: &mut Cluster<'_>, at: &At, operation: Option<&Operation>, barrier: u32) {
    let kind = Kind::StrongWrite(Scope::Cluster);
    let (address, bytes) = (u64::from(barrier), SIZE as usize);
    // PTX ISA, cp.async.bulk: the mbarrier operand is accessed through the generic proxy.
    c.touch(at, operation, Place::Shared, address, bytes, kind, crate::order::Proxy::Generic);
}

fn init(c: &mut Cluster<'_>, at: &At, space: Space, address: Address, count: Source) -> Result<Flow, Fault> {
    let barriers = locate(c, at, space, address, true)?;
    touch(c, at, &barriers, Kind::Write);
    let counts = *c.warps[at.warp].source(c.grid.kernel, count);
    for lane in lanes(at.mask) {
        let address = barriers[lane];
        let there = barrier_at(c, address)?.ok().map(Mbarrier::encode);
        let barrier =
            Mbarrier::init(there, counts[lane] as u32).map_err(|error| fault(error, Some(address)).lane(lane))?;
        c.mbarriers.insert(address, Tracked::default());
        put(c, address, barrier.encode())?;
    }
    c.progress += 1;
    Ok(Flow::Next)
}

fn invalidate(c: &mut Cluster<'_>, at: &At, space: Space, address: Address) -> Result<Flow, Fault> {
    let barriers = locate(c, at, space, address, true)?;
    // Not a weak write: libcu++ invalidates a barrier in one lane that has met the others by `match.sync` only, after their last tests.
    // An arrival that comes too late finds no barrier.
    touch(c, at, &barriers, Kind::StrongWrite(Scope::Cluster));
    for lane in lanes(at.mask) {
        let address = barriers[lane];
        barrier_at(c, address)?.map_err(|error| fault(error, Some(address)).lane(lane))?;
        put(c, address, Mbarrier::invalid())?;
        c.mbarriers.remove(&address);
    }
    Ok(Flow::Next)
}

/// Lanes that name the same barrier, barrier by barrier in order of their first lanes.
fn by_barrier(mask: u32, barriers: &[u32; LANES]) -> Vec<(u32, u32)> {
    let mut groups: Vec<(u32, u32)> = Vec::new();
    for lane in lanes(mask) {
        match groups.iter_mut().find(|(address, _)| *address == barriers[lane]) {
            Some((_, lanes)) => *lanes |= 1 << lane,
            None => groups.push((barriers[lane], 1 << lane)),
        }
    }
    groups
}

struct Arrive {
    to: Destination,
    space: Space,
    address: Address,
    count: Option<Source>,
    transactions: Option<Source>,
    drops: bool,
    must_not_complete: bool,
    releases: bool,
}

fn arrive(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.destination(d.operand(inst, 0)?)?;
    let address = d.address(d.operand(inst, 1)?)?;
    let mut third = None;
    if inst.operands.len() > 2 {
        third = Some(d.value(d.operand(inst, 2)?)?);
    }
    let expects = resolved.has(Modifier::ExpectTx);
    Ok(Decoded::free(Arrive {
        to,
        space: space(resolved),
        address,
        count: third.filter(|_| !expects),
        transactions: third.filter(|_| expects),
        drops: resolved.op == Op::MbarrierArriveDrop,
        must_not_complete: resolved.has(Modifier::NoComplete),
        releases: !resolved.has(Modifier::Relaxed),
    }))
}

impl Execute for Arrive {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = c.grid.kernel;
        let barriers = locate(c, &at, self.space, self.address, self.to.register.is_some())?;
        touch(c, &at, &barriers, Kind::StrongWrite(Scope::Cluster));
        let read = |source: Option<Source>| source.map(|source| *c.warps[at.warp].source(kernel, source));
        let (counts, transactions) = (read(self.count), read(self.transactions));
        let count = |lane: usize| counts.map_or(1, |counts| counts[lane] as u32);
        let mut states: Register = [0; LANES];
        for (address, group) in by_barrier(at.mask, &barriers) {
            let first = group.trailing_zeros() as usize;
            let pending = barrier_at(c, address)?.map_err(|error| fault(error, Some(address)).lane(first))?.pending;
            let total: u64 = lanes(group).map(|lane| u64::from(count(lane))).sum();
            // Lanes that all belong to this phase tell what they know at once.
            let together = total <= u64::from(pending);
            for lane in lanes(group) {
                if self.releases && (!together || lane == first) {
                    let telling = if together { group } else { 1 << lane };
                    if let Some(order) = &mut c.order {
                        let tracked = c.mbarriers.entry(address).or_default();
                        order.release(at.warp as u32, telling, &mut tracked.filling);
                    }
                }
                let bytes = transactions.map(|bytes| bytes[lane] as u32);
                states[lane] = change(c, address, |barrier| {
                    bytes.map_or(Ok(()), |bytes| barrier.expect_transactions(bytes))?;
                    let state = barrier.state();
                    match (self.drops, self.must_not_complete) {
                        (false, false) => barrier.arrive(count(lane)).map(drop)?,
                        (false, true) => barrier.arrive_without_completing(count(lane))?,
                        (true, false) => barrier.arrive_drop(count(lane)).map(drop)?,
                        (true, true) => barrier.arrive_drop_without_completing(count(lane))?,
                    }
                    Ok(state)
                })
                .map_err(|fault| fault.lane(lane))?;
            }
        }
        c.warps[at.warp].set(self.to, at.mask, &states);
        Ok(Flow::Next)
    }
}

struct Wait {
    to: Option<u32>,
    space: Space,
    address: Address,
    phase: Source,
    by_parity: bool,
    acquires: bool,
    /// `try_wait`: the lanes may be suspended until the phase is over.
    suspends: bool,
}

fn wait(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.predicate(d.operand(inst, 0)?)?;
    let address = d.address(d.operand(inst, 1)?)?;
    let phase = d.value(d.operand(inst, 2)?)?;
    Ok(Decoded::free(Wait {
        to,
        space: space(resolved),
        address,
        phase,
        by_parity: resolved.has(Modifier::Parity),
        acquires: !resolved.has(Modifier::Relaxed),
        suspends: resolved.op == Op::MbarrierTryWait,
    }))
}

impl Execute for Wait {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let barriers = locate(c, &at, self.space, self.address, true)?;
        let phases = *c.warps[at.warp].source(c.grid.kernel, self.phase);
        let mut over = 0;
        let mut missing = None;
        for lane in lanes(at.mask) {
            let place = |error| fault(error, Some(barriers[lane])).lane(lane);
            let barrier = barrier_at(c, barriers[lane])?.map_err(place)?;
            let done = match self.by_parity {
                true => barrier.test_parity(phases[lane] as u32),
                false => barrier.test_state(phases[lane]),
            };
            if done.map_err(place)? {
                over |= 1 << lane;
            } else {
                missing.get_or_insert((barriers[lane], barrier));
            }
        }
        // A thread is suspended for as long as the system likes, which may be not at all: where operations are late, the first
        // answer is no, so that a program which does not look at it is found.
        let eager = c.grid.options.schedule == Schedule::Eager;
        let vain = &mut c.warps[at.warp].vain_waits;
        let first = !vain.contains(&at.pc);
        let gives_up = at.timed_out || (at.resume.is_none() && !eager && first);
        if over != 0 {
            vain.retain(|pc| *pc != at.pc);
        } else if first {
            vain.push(at.pc);
        }
        if let (0, Some((address, barrier)), true, false) = (over, missing, self.suspends, gives_up) {
            let Mbarrier { pending, expected, transactions, parity } = barrier;
            let on = format!(
                "mbarrier {address:#x}, phase of parity {parity}: {pending} of {expected} arrivals and {transactions} bytes are missing"
            );
            return Ok(Flow::Wait { token: 0, on, may_time_out: true });
        }
        touch(c, &at, &barriers, Kind::StrongRead(Scope::Cluster));
        if self.acquires {
            for (address, group) in by_barrier(over, &barriers) {
                let tracked = c.mbarriers.get(&address);
                if let (Some(order), Some(tracked)) = (&mut c.order, tracked) {
                    order.acquire(at.warp as u32, group, &tracked.completed);
                }
            }
        }
        c.warps[at.warp].set_predicate(self.to, at.mask, over);
        // A loop of tests should not keep others from what it waits for.
        Ok(if over == 0 { Flow::Yield } else { Flow::Next })
    }
}

/// An arrival that happens when the copies before it are done.
struct ArriveAfter {
    barrier: u32,
    tells: Clock,
}

impl Asynchronous for ArriveAfter {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        c.mbarriers.entry(self.barrier).or_default().filling.join(&self.tells);
        change(c, self.barrier, |barrier| barrier.arrive(1).map(drop))
    }
}

fn arrive_after_copies(
    c: &mut Cluster<'_>,
    at: &At,
    space: Space,
    address: Address,
    increments: bool,
) -> Result<Flow, Fault> {
    let barriers = locate(c, at, space, address, true)?;
    touch(c, at, &barriers, Kind::StrongWrite(Scope::Cluster));
    for lane in lanes(at.mask) {
        let place = |fault: Fault| fault.lane(lane);
        let barrier = barriers[lane];
        if increments {
            change(c, barrier, Mbarrier::increment_pending).map_err(place)?;
        }
        let tells = super::copy::issued(c, at.warp, lane);
        // The queue of the lane's copies: the arrival comes after all of them.
        let queue = Queue::Copies { warp: at.warp as u32, lane: lane as u32 };
        let arrival = Box::new(ArriveAfter { barrier, tells });
        c.issue(queue, (at.warp, lane as u32), at.pc, arrival).map_err(place)?;
    }
    Ok(Flow::Next)
}
