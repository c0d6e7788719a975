//! Turns of a cluster: which group runs next, how groups split and merge, and what a standstill means.

use crate::exec::{At, Flow};
use crate::hazard::{Fault, HazardKind};
use crate::program::Converge;

use super::launch::Schedule;
use super::warp::{Frame, Group, Parked};
use super::{Cluster, lanes};

/// Instructions that a group runs before others have a turn.
const QUANTUM: u64 = 2048;

/// Instructions that a group behind may run before groups further on have a turn: a loop that is not waiting for them ends before.
const PATIENCE: u64 = 16 * QUANTUM;

/// Turns without progress after which an operation finishes though something runs: a loop may be waiting for it by reading memory.
const IDLE_TURNS: u32 = 16;

/// Vain wakings of `try_wait` loops after which a standstill is a deadlock: each gives every loop one more round.
const VAIN_WAKES: u32 = 3;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something ran.
    Ran,
    /// Nothing can run, even after every operation has finished.
    Stuck,
    /// All threads have exited and nothing is on its way.
    Done,
    /// A fault ended the cluster.
    Failed,
}

impl Cluster<'_> {
    /// Gives every warp a turn.
    pub(super) fn turn(&mut self) -> Turn {
        let count = self.warps.len();
        let mut ran = false;
        let start = match self.grid.options.schedule {
            Schedule::Random(_) => self.draw() as usize % count,
            _ => 0,
        };
        for i in 0..count {
            let warp = match self.grid.options.schedule {
                Schedule::Lazy => count - 1 - i,
                _ => (start + i) % count,
            };
            match self.run_warp(warp) {
                Ok(did) => ran |= did,
                Err(fault) => {
                    let hazard = self.hazard(warp, self.pc, fault);
                    self.hazards.push(hazard);
                    return Turn::Failed;
                }
            }
            if self.hazards.len() >= self.grid.options.max_hazards {
                return Turn::Failed;
            }
        }
        self.idle_turns = if self.progress == self.progress_at_turn { self.idle_turns + 1 } else { 0 };
        self.progress_at_turn = self.progress;
        if ran && self.idle_turns < IDLE_TURNS {
            return Turn::Ran;
        }
        self.idle_turns = 0;
        let over = self.warps.iter().all(|warp| warp.groups.is_empty());
        match self.finish_one() {
            Ok(true) => return Turn::Ran,
            Ok(false) => {}
            Err(fault) => {
                let hazard = self.hazard(0, self.pc, fault);
                self.hazards.push(hazard);
                return Turn::Failed;
            }
        }
        if over {
            return Turn::Done;
        }
        // A turn may have been spent on groups that wait, where others of their warps can run.
        if ran || self.can_run() || self.wake() { Turn::Ran } else { Turn::Stuck }
    }

    /// Whether a group has something to do, or a wait to try again.
    fn can_run(&self) -> bool {
        let ready = |group: &Group| {
            !group.converging && group.parked.as_ref().is_none_or(|p| p.tried != self.progress || group.timed_out)
        };
        self.warps.iter().flat_map(|warp| &warp.groups).any(ready)
    }

    /// Lets waits that may give up do so. False where that was of no use before.
    fn wake(&mut self) -> bool {
        if self.progress == self.progress_at_wake {
            self.wakes += 1;
        } else {
            self.wakes = 0;
        }
        self.progress_at_wake = self.progress;
        if self.wakes >= VAIN_WAKES {
            return false;
        }
        let mut woken = false;
        for group in self.warps.iter_mut().flat_map(|warp| &mut warp.groups) {
            if group.parked.as_ref().is_some_and(|parked| parked.may_time_out) {
                group.timed_out = true;
                woken = true;
            }
        }
        woken
    }

    /// Runs a group of a warp until it waits or its quantum is over. False where none can run.
    fn run_warp(&mut self, warp: usize) -> Result<bool, Fault> {
        let mut ran = false;
        let mut budget = match self.grid.options.schedule {
            Schedule::Random(_) => 1 + self.draw() % 64,
            _ => QUANTUM,
        };
        while budget > 0 {
            let Some(index) = self.next_group(warp) else { break };
            let steps = self.run_group(warp, index, budget)?;
            ran |= steps > 0;
            // A group that tried and waits still costs, so that a warp of waiting groups ends its turn.
            budget = budget.saturating_sub(steps.max(1));
        }
        Ok(ran)
    }

    /// The group to run: the one furthest behind, so that groups meet again; by chance in a random schedule.
    fn next_group(&mut self, warp: usize) -> Option<usize> {
        let progress = self.progress;
        let ready = |group: &Group| {
            !group.converging && group.parked.as_ref().is_none_or(|p| p.tried != progress || group.timed_out)
        };
        let groups = &self.warps[warp].groups;
        if groups.len() == 1 {
            return ready(&groups[0]).then_some(0);
        }
        let candidates: Vec<usize> = (0..groups.len()).filter(|&i| ready(&groups[i])).collect();
        match self.grid.options.schedule {
            Schedule::Random(_) if !candidates.is_empty() => {
                let pick = self.draw() as usize % candidates.len();
                Some(candidates[pick])
            }
            // In the end the groups further on also run, so that a loop that waits for them ends.
            _ if candidates.len() > 1 && self.warps[warp].apart > PATIENCE => {
                self.warps[warp].apart = 0;
                candidates.into_iter().max_by_key(|&i| self.warps[warp].groups[i].pc)
            }
            _ => candidates.into_iter().min_by_key(|&i| self.warps[warp].groups[i].pc),
        }
    }

    /// Runs one group. Gives how many instructions it ran; 0 where it only found that it waits on.
    fn run_group(&mut self, warp: usize, index: usize, budget: u64) -> Result<u64, Fault> {
        let kernel = self.grid.kernel;
        let mut group = self.warps[warp].groups.swap_remove(index);
        let mut steps = 0;
        loop {
            let pc = group.pc;
            self.pc = pc;
            let inst = &kernel.code[pc as usize];
            let guard = inst.guard.map_or(u32::MAX, |(index, negated)| {
                let bits = self.warps[warp].predicates[index as usize];
                if negated { !bits } else { bits }
            });
            let mut active = group.mask & guard;
            if active != 0 && inst.converge != Converge::Never {
                let ready = self.gathered(warp, &group, active)?;
                if ready == 0 {
                    group.converging = true;
                    self.warps[warp].groups.push(group);
                    self.merge(warp);
                    return Ok(steps);
                }
                if ready != active {
                    self.split(warp, active & !ready, pc);
                    group.mask &= !(active & !ready);
                    active = ready;
                }
            }
            if active == 0 {
                group.pc += 1;
                steps += 1;
                self.instructions += 1;
                if self.settle(warp, &mut group, steps, budget) {
                    return Ok(steps);
                }
                continue;
            }
            if !self.warps[warp].in_flight.is_empty() {
                self.use_in_flight(warp, pc, inst)?;
            }
            if self.warps[warp].early_use.is_some() && ends_waiting(inst.op) {
                self.check_early_use(warp, active);
            }
            let resume = group.parked.take();
            let timed_out = std::mem::take(&mut group.timed_out);
            let at = At { warp, mask: active, resume: resume.map(|parked| parked.token), timed_out, pc };
            let flow = inst.execute.execute(self, at)?;
            self.instructions += 1;
            self.thread_instructions += u64::from(active.count_ones());
            // A wait that is tried again is one instruction.
            if at.resume.is_none()
                && let Some(profile) = &mut self.profile
            {
                profile.count(inst.op, active);
            }
            if self.instructions > self.grid.options.max_instructions {
                let most = self.grid.options.max_instructions;
                let message = format!("more than {most} warp instructions in one cluster: an endless loop?");
                return Err(Fault::new(HazardKind::Endless, message));
            }
            let passed = group.mask & !active;
            match flow {
                Flow::Next => {
                    group.pc += 1;
                    steps += 1;
                }
                Flow::Yield => {
                    group.pc += 1;
                    self.warps[warp].apart = PATIENCE + 1;
                    self.settle(warp, &mut group, budget, budget);
                    return Ok(steps + 1);
                }
                Flow::Jump(label) => {
                    let to = kernel.labels[label.0 as usize];
                    steps += 1;
                    if passed != 0 {
                        self.split(warp, passed, pc + 1);
                        group.mask = active;
                    }
                    group.pc = to;
                }
                Flow::Scatter(places) => {
                    steps += 1;
                    if passed != 0 {
                        self.split(warp, passed, pc + 1);
                    }
                    group.mask = active;
                    let first = places[active.trailing_zeros() as usize];
                    for lane in lanes(active) {
                        if places[lane] != first {
                            group.mask &= !(1 << lane);
                            self.split(warp, 1 << lane, places[lane]);
                        }
                    }
                    group.pc = first;
                }
                Flow::Call { function, lanes: called } => {
                    steps += 1;
                    for lane in lanes(called) {
                        let calls = &mut self.warps[warp].calls[lane];
                        if calls.iter().any(|frame| frame.function == function.0) {
                            let message = "a function calls itself: recursion is not emulated";
                            return Err(Fault::new(HazardKind::Unsupported, message).lane(lane));
                        }
                        calls.push(Frame { pc: pc + 1, function: function.0 });
                    }
                    if passed != 0 {
                        self.split(warp, passed, pc + 1);
                    }
                    if active != called {
                        self.split(warp, active & !called, pc);
                    }
                    group.mask = called;
                    group.pc = kernel.labels[function.0 as usize];
                }
                Flow::Exit => {
                    steps += 1;
                    self.exit(warp, active);
                    group.mask = passed;
                    group.pc += 1;
                    if group.mask == 0 {
                        self.merge(warp);
                        return Ok(steps);
                    }
                }
                Flow::Wait { token, on, may_time_out } => {
                    if passed != 0 {
                        self.split(warp, passed, pc + 1);
                        group.mask = active;
                    }
                    let tried = self.progress;
                    group.parked = Some(Parked { token, on, may_time_out, tried });
                    self.warps[warp].groups.push(group);
                    self.merge(warp);
                    return Ok(steps);
                }
            }
            if self.settle(warp, &mut group, steps, budget) {
                return Ok(steps);
            }
        }
    }

    /// After a step: puts the group back where it meets another or its time is over.
    fn settle(&mut self, warp: usize, group: &mut Group, steps: u64, budget: u64) -> bool {
        if self.warps[warp].groups.is_empty() && steps < budget {
            return false;
        }
        self.warps[warp].apart += 1;
        let groups = &self.warps[warp].groups;
        // Behind is only who can run; a group that waits at this very place joins.
        let meets = groups
            .iter()
            .any(|other| other.pc == group.pc || other.pc < group.pc && other.parked.is_none() && !other.converging);
        if !meets && steps < budget {
            return false;
        }
        let group = Group { parked: None, timed_out: false, converging: false, ..*group };
        self.warps[warp].groups.push(group);
        self.merge(warp);
        true
    }

    fn split(&mut self, warp: usize, mask: u32, pc: u32) {
        self.warps[warp].groups.push(Group { pc, mask, parked: None, timed_out: false, converging: false });
    }

    /// Joins groups at one instruction, unless one of them is in the middle of it.
    fn merge(&mut self, warp: usize) {
        let groups = &mut self.warps[warp].groups;
        let mut i = 0;
        while i < groups.len() {
            let mut j = i + 1;
            while j < groups.len() {
                // A wait that holds a token has arrived somewhere already; it goes on with its own lanes.
                let mid = |group: &Group| group.parked.as_ref().is_some_and(|parked| parked.token != 0);
                if groups[i].pc == groups[j].pc && !mid(&groups[i]) && !mid(&groups[j]) {
                    let other = groups.swap_remove(j);
                    groups[i].mask |= other.mask;
                    groups[i].parked = None;
                    groups[i].converging = false;
                } else {
                    j += 1;
                }
            }
            i += 1;
        }
    }

    fn exit(&mut self, warp: usize, mask: u32) {
        self.warps[warp].exited |= mask;
        self.progress += 1;
        // Collectives wait for fewer lanes now.
        self.warps[warp].groups.iter_mut().for_each(|group| group.converging = false);
        self.thread_exit(warp, mask);
    }

    /// Which of the active lanes can run a collective instruction now: all those of a member mask that is complete, or none.
    fn gathered(&self, warp: usize, group: &Group, active: u32) -> Result<u32, Fault> {
        let kernel = self.grid.kernel;
        let inst = &kernel.code[group.pc as usize];
        let alive = self.warps[warp].alive();
        match inst.converge {
            Converge::Never => Ok(active),
            Converge::Warp if active == alive => Ok(active),
            Converge::Warp if group.mask == alive => {
                let message = format!(
                    "an aligned instruction is run by lanes {active:#010x} of {alive:#010x}: its guard differs between them"
                );
                Err(Fault::new(HazardKind::Divergence, message).lane(active.trailing_zeros() as usize))
            }
            Converge::Warp => Ok(0),
            Converge::Tile(source) => {
                let masks = self.warps[warp].source(kernel, source);
                let first = masks[active.trailing_zeros() as usize] as u32;
                Ok(lanes(active).filter(|&lane| masks[lane] as u32 == first).fold(0, |bits, lane| bits | 1 << lane))
            }
            Converge::Members(source) => {
                let masks = self.warps[warp].source(kernel, source);
                let mut open = active;
                while open != 0 {
                    let first = open.trailing_zeros() as usize;
                    let members = masks[first] as u32;
                    if members >> first & 1 == 0 {
                        let message =
                            format!("lane {first} runs it, but its member mask {members:#010x} leaves it out");
                        return Err(Fault::new(HazardKind::Divergence, message).lane(first));
                    }
                    // Tiles of a warp each give their own mask and need not wait for each other.
                    let tile = lanes(open).filter(|&lane| masks[lane] as u32 == members);
                    let tile = tile.fold(0, |bits, lane| bits | 1 << lane);
                    if tile & !members != 0 {
                        let lane = (tile & !members).trailing_zeros();
                        let message = format!("lane {lane} runs it, but its member mask {members:#010x} leaves it out");
                        return Err(Fault::new(HazardKind::Divergence, message).lane(lane as usize));
                    }
                    if members & alive & !tile == 0 {
                        return Ok(tile);
                    }
                    open &= !tile;
                }
                Ok(0)
            }
        }
    }

    /// An instruction that uses a register which an asynchronous operation owns. Compilers move such uses before the wait, since
    /// the assembler lets an instruction wait for the registers that it names: the operation finishes here, and it is a fault only
    /// where no wait follows before the thread ends.
    fn use_in_flight(&mut self, warp: usize, pc: u32, inst: &crate::program::Inst) -> Result<(), Fault> {
        let used = |(register, _): &&(u32, &'static str)| inst.registers.binary_search(register).is_ok();
        let found = self.warps[warp].in_flight.iter().find(used).copied();
        let Some((register, why)) = found.filter(|_| !inst.execute.may_touch_in_flight()) else { return Ok(()) };
        crate::exec::finish_owners(self, warp, inst.op, why)?;
        let state = &mut self.warps[warp];
        state.in_flight.retain(|(owned, _)| inst.registers.binary_search(owned).is_err());
        state.early_use.get_or_insert((pc, register, why));
        Ok(())
    }

    /// Reports a use before a wait that never came.
    fn check_early_use(&mut self, warp: usize, mask: u32) {
        let Some((pc, _, why)) = self.warps[warp].early_use.take() else { return };
        let fault = Fault::new(HazardKind::NotWaitedFor, format!("uses a register that {why}"));
        let hazard = self.hazard(warp, pc, fault.lane(mask.trailing_zeros() as usize));
        self.hazards.push(hazard);
    }
}

/// Instructions before which a wait must have come.
fn ends_waiting(op: gable_ptx::grammar::Op) -> bool {
    use gable_ptx::grammar::Op;
    matches!(op, Op::Ret | Op::Exit)
}
