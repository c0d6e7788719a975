//! Barriers of a CTA, a warp and a cluster; fences; waits for other grids.
//!
//! A wait runs in two moments: the arrival, and, when it runs again, the question whether the phase is over.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Execute, Flow, pair, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, Meeting, lanes};
use crate::program::{Condition, Converge, Decoder, Destination, LoadError, Source};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    use Modifier as M;
    Ok(Some(match resolved.op {
        Op::BarSync | Op::BarArrive | Op::BarRed => cta_barrier(d, resolved, inst)?,
        Op::BarWarpSync => {
            let members = d.value(d.operand(inst, 0)?)?;
            let mut decoded = Decoded::free(WarpBarrier { members });
            decoded.converge = Converge::Tile(members);
            decoded
        }
        Op::BarrierClusterArrive => {
            let release = !resolved.has(M::Relaxed);
            let run = ClusterArrive { release };
            if resolved.has(M::Aligned) { Decoded::aligned(run) } else { Decoded::free(run) }
        }
        Op::BarrierClusterWait => {
            if resolved.has(M::Aligned) {
                Decoded::aligned(ClusterWait)
            } else {
                Decoded::free(ClusterWait)
            }
        }
        Op::Membar | Op::Fence => {
            let (acquires, releases) = match resolved.one_of(&[M::Acquire, M::Release]) {
                Some(M::Acquire) => (true, false),
                Some(_) => (false, true),
                None => (true, true),
            };
            Decoded::free(step(move |c, at| {
                if let Some(order) = &mut c.order {
                    order.fence(at.warp as u32, at.mask, acquires, releases);
                }
                Ok(Flow::Next)
            }))
        }
        Op::FenceMbarrierInit => Decoded::free(step(|c, at| {
            if let Some(order) = &mut c.order {
                order.fence(at.warp as u32, at.mask, false, true);
            }
            Ok(Flow::Next)
        })),
        Op::FenceProxy => {
            // `fence.proxy.tensormap` has a reader of its own beside the bulk copies; aliases and constants need no tracking here.
            let is_async = resolved.has(M::Async) || resolved.has(M::AsyncGeneric);
            Decoded::free(step(move |c, at| {
                if is_async && let Some(order) = &mut c.order {
                    order.fence_proxy_async(at.warp as u32, at.mask);
                }
                Ok(Flow::Next)
            }))
        }
        // One grid at a time: what it depends on is done, and who depends on it starts after it.
        Op::Griddepcontrol => super::moves::nothing(),
        Op::Setmaxnreg => set_registers(d, inst)?,
        _ => return Ok(None),
    }))
}

/// What `bar.red` combines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Vote {
    Count(Destination),
    And(Option<u32>),
    Or(Option<u32>),
}

struct CtaBarrier {
    number: Source,
    count: Option<Source>,
    waits: bool,
    vote: Option<(Vote, Condition)>,
}

fn cta_barrier(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    use Modifier as M;
    let mut next = 0;
    let mut vote = None;
    let mut target = None;
    if resolved.op == Op::BarRed {
        target = Some(d.operand(inst, 0)?.clone());
        next = 1;
    }
    let number = d.value(d.operand(inst, next)?)?;
    next += 1;
    let rest = inst.operands.len() - next;
    let counted = if resolved.op == Op::BarRed { rest == 2 } else { rest == 1 };
    let mut count = None;
    if counted {
        count = Some(d.value(d.operand(inst, next)?)?);
        next += 1;
    }
    if let Some(target) = target {
        let condition = d.condition(d.operand(inst, next)?)?;
        let kind = if resolved.has(M::Popc) {
            Vote::Count(d.destination(&target)?)
        } else {
            let to = d.predicate(pair(&target).0)?;
            if resolved.has(M::And) { Vote::And(to) } else { Vote::Or(to) }
        };
        vote = Some((kind, condition));
    }
    // `bar.*` is `barrier.*.aligned`.
    let aligned = &*inst.name == "bar" || resolved.has(M::Aligned);
    let run = CtaBarrier { number, count, waits: resolved.op != Op::BarArrive, vote };
    Ok(if aligned { Decoded::aligned(run) } else { Decoded::free(run) })
}

impl Execute for CtaBarrier {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = c.grid.kernel;
        let lane = at.mask.trailing_zeros() as usize;
        let cta = c.warps[at.warp].cta;
        let number = c.warps[at.warp].source(kernel, self.number)[lane] as usize;
        if number >= c.ctas[cta].barriers.len() {
            return Err(Fault::new(HazardKind::Barrier, format!("barrier {number}: a CTA has 16")).lane(lane));
        }
        if at.resume.is_none() {
            self.arrive(c, &at, cta, number, lane)?;
        }
        let phase_over = |c: &Cluster<'_>, token: u64| c.ctas[cta].barriers[number].phase >= token;
        let token = at.resume.unwrap_or(c.ctas[cta].barriers[number].phase + 1);
        // The arrival may have been the last one.
        let token = if at.resume.is_none() && c.ctas[cta].barriers[number].arrived == 0 { token - 1 } else { token };
        if !self.waits {
            complete(c, cta, number);
            return Ok(Flow::Next);
        }
        complete(c, cta, number);
        if !phase_over(c, token) {
            let barrier = &c.ctas[cta].barriers[number];
            let needed = needed(c, cta, number);
            let on = format!(
                "barrier {number}, phase {}: {} of {needed} threads have arrived",
                barrier.phase, barrier.arrived
            );
            return Ok(Flow::Wait { token, on, may_time_out: false });
        }
        let completed = c.ctas[cta].barriers[number].completed.clone();
        if let Some(order) = &mut c.order {
            order.acquire(at.warp as u32, at.mask, &completed);
        }
        if let Some((vote, _)) = self.vote {
            let (count, and, or) = c.ctas[cta].barriers[number].votes[1];
            let warp = &mut c.warps[at.warp];
            match vote {
                Vote::Count(to) => warp.set(to, at.mask, &super::splat(count.into())),
                Vote::And(to) => warp.set_predicate(to, at.mask, if and { u32::MAX } else { 0 }),
                Vote::Or(to) => warp.set_predicate(to, at.mask, if or { u32::MAX } else { 0 }),
            }
        }
        Ok(Flow::Next)
    }
}

impl CtaBarrier {
    fn arrive(&self, c: &mut Cluster<'_>, at: &At, cta: usize, number: usize, lane: usize) -> Result<(), Fault> {
        let kernel = c.grid.kernel;
        let threads = c.threads_per_cta();
        let warp_threads = at.mask.count_ones();
        let expected = match self.count {
            None => None,
            Some(count) => {
                let count = c.warps[at.warp].source(kernel, count)[lane] as u32;
                if count == 0 || !count.is_multiple_of(32) || count > threads.next_multiple_of(32) {
                    let message = format!("{count} threads at barrier {number}: a multiple of 32 up to {threads}");
                    return Err(Fault::new(HazardKind::Barrier, message).lane(lane));
                }
                Some(count)
            }
        };
        let votes = self.vote.map(|(_, condition)| c.warps[at.warp].condition(condition) & at.mask);
        let partial = c.warps[at.warp].present != u32::MAX;
        let barrier = &mut c.ctas[cta].barriers[number];
        if barrier.arrived > 0 && barrier.expected != expected {
            let describe = |count: Option<u32>| count.map_or("all".to_owned(), |count| count.to_string());
            let message = format!(
                "barrier {number} is awaited by {} threads, and arrivals of the same phase say {}",
                describe(expected),
                describe(barrier.expected)
            );
            return Err(Fault::new(HazardKind::Barrier, message).lane(lane));
        }
        barrier.expected = expected;
        // Counts are of whole warps; the last warp of a CTA may have fewer threads.
        barrier.arrived += if expected.is_some() && partial { 32 } else { warp_threads };
        barrier.participants.push((at.warp as u32, at.mask));
        if let Some(votes) = votes {
            let (count, and, or) = &mut barrier.votes[0];
            if barrier.participants.len() == 1 {
                (*count, *and, *or) = (0, true, false);
            }
            *count += votes.count_ones();
            *and &= votes == at.mask;
            *or |= votes != 0;
        }
        let mut clock = std::mem::take(&mut barrier.clock);
        if let Some(order) = &mut c.order {
            order.release(at.warp as u32, at.mask, &mut clock);
        }
        c.ctas[cta].barriers[number].clock = clock;
        c.progress += 1;
        if c.ctas[cta].barriers[number].arrived > needed(c, cta, number) {
            let barrier = &c.ctas[cta].barriers[number];
            let message =
                format!("{} threads at barrier {number}, which expects {}", barrier.arrived, needed(c, cta, number));
            return Err(Fault::new(HazardKind::Barrier, message).lane(lane));
        }
        complete(c, cta, number);
        Ok(())
    }
}

/// Threads that the phase needs: those counted, or all that have not exited.
fn needed(c: &Cluster<'_>, cta: usize, number: usize) -> u32 {
    let exited = c.ctas[cta].exited;
    c.ctas[cta].barriers[number].expected.unwrap_or(c.threads_per_cta() - exited)
}

fn complete(c: &mut Cluster<'_>, cta: usize, number: usize) {
    let needed = needed(c, cta, number);
    let barrier = &mut c.ctas[cta].barriers[number];
    if barrier.arrived == 0 || barrier.arrived < needed {
        return;
    }
    barrier.phase += 1;
    barrier.arrived = 0;
    barrier.expected = None;
    barrier.participants.clear();
    barrier.votes[1] = barrier.votes[0];
    barrier.completed = std::mem::take(&mut barrier.clock);
    c.progress += 1;
}

/// `bar.warp.sync`: lanes may come from different places in the code.
struct WarpBarrier {
    members: Source,
}

impl Execute for WarpBarrier {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = c.grid.kernel;
        let masks = c.warps[at.warp].source(kernel, self.members);
        let members = masks[at.mask.trailing_zeros() as usize] as u32;
        if let Some(lane) = lanes(at.mask).find(|lane| members >> lane & 1 == 0) {
            let message = format!("lane {lane} is not in its own member mask {members:#010x}");
            return Err(Fault::new(HazardKind::Divergence, message).lane(lane));
        }
        let warp = &mut c.warps[at.warp];
        let needed = members & warp.alive();
        if at.resume.is_none() {
            match warp.meetings.iter_mut().find(|m| m.members == members && m.arrived & at.mask == 0 && !m.over) {
                Some(meeting) => meeting.arrived |= at.mask,
                None => warp.meetings.push(Meeting { members, arrived: at.mask, left: 0, over: false }),
            }
            c.progress += 1;
        }
        let warp = &mut c.warps[at.warp];
        // Lanes that left a meeting may be at the next one before the others have left.
        let here = |m: &Meeting| m.members == members && m.arrived & at.mask == at.mask && m.left & at.mask == 0;
        let Some(index) = warp.meetings.iter().position(here) else {
            return Err(Fault::new(HazardKind::Divergence, "lanes arrived at a warp barrier twice"));
        };
        let meeting = &mut warp.meetings[index];
        if !meeting.over && meeting.arrived & needed == needed {
            meeting.over = true;
            let all = meeting.arrived;
            c.progress += 1;
            if let Some(order) = &mut c.order {
                order.barrier(&[(at.warp as u32, all)]);
            }
        }
        let meeting = &mut c.warps[at.warp].meetings[index];
        if !meeting.over {
            let on = format!("bar.warp.sync {members:#010x}: lanes {:#010x} have arrived", meeting.arrived);
            return Ok(Flow::Wait { token: u64::from(meeting.arrived) << 1 | 1, on, may_time_out: false });
        }
        meeting.left |= at.mask;
        if meeting.left == meeting.arrived {
            c.warps[at.warp].meetings.remove(index);
        }
        Ok(Flow::Next)
    }
}

struct ClusterArrive {
    release: bool,
}

impl Execute for ClusterArrive {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let warp = at.warp as u32;
        if c.barrier.arrived.iter().any(|(other, mask)| *other == warp && mask & at.mask != 0) {
            let lane = at.mask.trailing_zeros() as usize;
            let message = "arrives at the cluster barrier twice without waiting between";
            return Err(Fault::new(HazardKind::Barrier, message).lane(lane));
        }
        c.barrier.arrived.push((warp, at.mask));
        if self.release {
            let mut clock = std::mem::take(&mut c.barrier.clock);
            if let Some(order) = &mut c.order {
                order.release(warp, at.mask, &mut clock);
            }
            c.barrier.clock = clock;
        }
        for lane in lanes(at.mask) {
            c.warps[at.warp].cluster_phase[lane] = c.barrier.phase + 1;
        }
        c.progress += 1;
        complete_cluster(c);
        Ok(Flow::Next)
    }
}

/// Ends the phase where every thread that has not exited has arrived.
pub(crate) fn complete_cluster(c: &mut Cluster<'_>) {
    let mut arrived = vec![0u32; c.warps.len()];
    c.barrier.arrived.iter().for_each(|(warp, mask)| arrived[*warp as usize] |= mask);
    let all = c.warps.iter().zip(&arrived).all(|(warp, arrived)| warp.alive() & !arrived == 0);
    if all && !c.barrier.arrived.is_empty() {
        c.barrier.phase += 1;
        c.barrier.arrived.clear();
        c.barrier.completed = std::mem::take(&mut c.barrier.clock);
        c.progress += 1;
    }
}

struct ClusterWait;

impl Execute for ClusterWait {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        complete_cluster(c);
        let lane = at.mask.trailing_zeros() as usize;
        let wanted = c.warps[at.warp].cluster_phase[lane];
        if wanted == 0 {
            let message = "waits at the cluster barrier without having arrived";
            return Err(Fault::new(HazardKind::Barrier, message).lane(lane));
        }
        if c.barrier.phase < wanted {
            let arrived: u32 = c.barrier.arrived.iter().map(|(_, mask)| mask.count_ones()).sum();
            let all: u32 = c.warps.iter().map(|warp| warp.alive().count_ones()).sum();
            let on = format!("the cluster barrier, phase {}: {arrived} of {all} threads have arrived", c.barrier.phase);
            return Ok(Flow::Wait { token: wanted, on, may_time_out: false });
        }
        let completed = c.barrier.completed.clone();
        if let Some(order) = &mut c.order {
            order.acquire(at.warp as u32, at.mask, &completed);
        }
        Ok(Flow::Next)
    }
}

/// `setmaxnreg`: the CTA's pool of registers, by warp.
fn set_registers(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let count = d.immediate(d.operand(inst, 0)?)? as u32;
    if !(24..=256).contains(&count) || !count.is_multiple_of(8) {
        return Err(d.error(format!("{count} registers: a multiple of 8 from 24 to 256")));
    }
    Ok(Decoded::aligned(step(move |c, at| {
        let cta = c.warps[at.warp].cta;
        c.warps[at.warp].max_registers = Some(count);
        let Some(at_launch) = c.registers_at_launch() else { return Ok(Flow::Next) };
        let warps: Vec<&crate::machine::Warp> = c.warps.iter().filter(|warp| warp.cta == cta).collect();
        let used: u32 = warps.iter().map(|warp| warp.max_registers.unwrap_or(at_launch)).sum();
        let pool = at_launch * warps.len() as u32;
        // An increase waits until others have given back; what never fits is a standstill on hardware.
        if used > pool {
            let on =
                format!("setmaxnreg {count}: {used} registers of a thread in each warp together, the CTA has {pool}");
            return Ok(Flow::Wait { token: 0, on, may_time_out: false });
        }
        c.progress += 1;
        Ok(Flow::Next)
    })))
}
