//! A cluster in execution: its CTAs, warps, and what is on its way.

use std::collections::HashMap;

use crate::hazard::{Fault, Hazard, HazardKind};
use crate::memory::{SHARED_BASE, SharedMemory, TensorMemory};
use crate::order::{Clock, ClusterOrder, ClusterShape};
use crate::profile::Profile;

use super::launch::{Grid, Schedule};
use super::queue::Pending;
use super::warp::Warp;

/// A hardware barrier of a CTA, one of 16.
#[derive(Clone, Debug, Default)]
pub struct NamedBarrier {
    /// How often it completed.
    pub phase: u64,
    /// Threads that have arrived in this phase.
    pub arrived: u32,
    /// Threads that this phase needs; absent before the first arrival.
    pub expected: Option<u32>,
    /// Warps and lanes that have arrived, and whether they wait.
    pub participants: Vec<(u32, u32)>,
    /// What the arrivals know.
    pub clock: Clock,
    /// What the arrivals of the phase before knew, for those that wait.
    pub completed: Clock,
    /// `bar.red`: count, and, or of the predicates of this phase, and of the phase before.
    pub votes: [(u32, bool, bool); 2],
}

/// A CTA in execution.
pub struct Cta {
    /// Its coordinates in the grid.
    pub id: [u32; 3],
    /// Its rank in the cluster.
    pub rank: u32,
    /// Its shared memory.
    pub shared: SharedMemory,
    /// Its tensor memory.
    pub tensor: TensorMemory,
    /// What it did to its tensor memory that its pair must do too.
    pub tensor_owner: crate::exec::tcgen05::Owner,
    /// Its barriers.
    pub barriers: Vec<NamedBarrier>,
    /// Threads that have exited.
    pub exited: u32,
}

/// The barrier of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterBarrier {
    /// How often it completed.
    pub phase: u64,
    /// Threads that have arrived in this phase, by warp.
    pub arrived: Vec<(u32, u32)>,
    /// What they know.
    pub clock: Clock,
    /// What the arrivals of the phase before knew.
    pub completed: Clock,
}

/// A cluster in execution.
pub struct Cluster<'l> {
    pub(crate) grid: &'l Grid<'l>,
    /// Its number in the grid.
    pub number: u64,
    /// Its coordinates in the grid, in clusters.
    pub index: [u32; 3],
    /// Its CTAs, by rank.
    pub ctas: Vec<Cta>,
    /// Its warps: those of CTA 0 first.
    pub warps: Vec<Warp>,
    /// Its barrier.
    pub barrier: ClusterBarrier,
    /// What is kept of mbarriers beside their words, by shared address.
    pub mbarriers: HashMap<u32, crate::exec::mbarrier::Tracked>,
    /// Whether a request for another cluster was seen to fail.
    pub no_more_launches: bool,
    /// Happens-before, unless switched off.
    pub order: Option<ClusterOrder>,
    /// Asynchronous operations on their way, in the order of issue.
    pub pending: Vec<Pending>,
    /// Operations issued so far.
    pub issued: u64,
    /// Grows whenever something happens that a waiting group may wait for.
    pub progress: u64,
    /// Warp instructions run.
    pub instructions: u64,
    /// Thread instructions run.
    pub thread_instructions: u64,
    /// What went wrong so far.
    pub hazards: Vec<Hazard>,
    /// What was printed.
    pub printed: String,
    /// Counts.
    pub profile: Option<Profile>,
    /// Who issued the operation that failed, if not the instruction that runs.
    pub(super) blame: Option<((usize, u32), u32)>,
    /// Times that waiting groups were woken in vain.
    pub(super) wakes: u32,
    pub(super) progress_at_wake: u64,
    pub(super) idle_turns: u32,
    pub(super) progress_at_turn: u64,
    pub(super) chance: u64,
    /// Index of the instruction that runs.
    pub pc: u32,
}

impl<'l> Cluster<'l> {
    pub(super) fn new(grid: &'l Grid<'l>, number: u64) -> Self {
        let (kernel, launch) = (grid.kernel, grid.launch);
        let index = grid.cluster_index(number);
        let [sx, sy, sz] = launch.cluster;
        let threads = launch.block.iter().product::<u32>();
        let warps_per_cta = threads.div_ceil(32);
        let mut ctas = Vec::new();
        let mut warps = Vec::new();
        let dynamic = kernel.static_shared.next_multiple_of(kernel.dynamic_align.max(16)) + launch.shared_bytes;
        let shared_end = if launch.shared_bytes > 0 { dynamic } else { kernel.static_shared };
        for rank in 0..sx * sy * sz {
            let place = [rank % sx, rank / sx % sy, rank / (sx * sy)];
            let id = [0, 1, 2].map(|i| index[i] * launch.cluster[i] + place[i]);
            let shared = SharedMemory::new("shared", SHARED_BASE, shared_end - SHARED_BASE);
            ctas.push(Cta {
                id,
                rank,
                shared,
                tensor: TensorMemory::default(),
                tensor_owner: crate::exec::tcgen05::Owner::default(),
                barriers: vec![NamedBarrier::default(); 16],
                exited: 0,
            });
            for number in 0..warps_per_cta {
                let count = (threads - number * 32).min(32);
                warps.push(Warp::new(kernel, rank as usize, number, u32::MAX >> (32 - count)));
            }
        }
        let tensor_fences = kernel.tensor_fences;
        let shape = ClusterShape { ctas: sx * sy * sz, warps_per_cta, shared_bytes: shared_end, tensor_fences };
        let order = grid.order.as_ref().map(|global| ClusterOrder::new(global.clone(), number as u32, shape));
        let seed = match grid.options.schedule {
            Schedule::Random(seed) => seed,
            _ => 0,
        };
        Cluster {
            grid,
            number,
            index,
            ctas,
            warps,
            barrier: ClusterBarrier::default(),
            mbarriers: HashMap::new(),
            no_more_launches: false,
            order,
            pending: Vec::new(),
            issued: 0,
            progress: 1,
            instructions: 0,
            thread_instructions: 0,
            hazards: Vec::new(),
            printed: String::new(),
            profile: grid.options.profile.then(Profile::default),
            blame: None,
            wakes: 0,
            progress_at_wake: 0,
            idle_turns: 0,
            progress_at_turn: 0,
            // Each cluster draws its own numbers, whatever host thread runs it.
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ number.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9),
            pc: 0,
        }
    }

    /// Warps of one CTA.
    pub fn warps_per_cta(&self) -> usize {
        self.warps.len() / self.ctas.len().max(1)
    }

    /// Threads of one CTA.
    pub fn threads_per_cta(&self) -> u32 {
        self.grid.launch.block.iter().product()
    }

    /// The CTA of a warp.
    pub fn cta_of(&self, warp: usize) -> &Cta {
        &self.ctas[self.warps[warp].cta]
    }

    /// Registers that a thread has at launch, where the kernel says enough to know: `.maxnreg`, or the bound on threads with the
    /// number of CTAs of an SM.
    pub fn registers_at_launch(&self) -> Option<u32> {
        let directives = &self.grid.kernel.directives;
        if let Some(registers) = directives.max_registers {
            return Some(registers);
        }
        let threads = directives.max_threads.or(directives.required_threads)?;
        let ctas = directives.min_ctas_per_sm?;
        let row = self.grid.kernel.machine.row();
        let threads: u64 = threads.iter().map(|n| u64::from(*n)).product();
        let each = u64::from(row.registers_per_sm) / (threads * u64::from(ctas)).max(1);
        // Registers are given out in eights.
        Some((each / 8 * 8).min(u64::from(row.max_registers_per_thread) / 8 * 8) as u32)
    }

    /// Coordinates of a thread in its CTA.
    pub fn thread(&self, warp: usize, lane: u32) -> [u32; 3] {
        let [x, y, _] = self.grid.launch.block;
        let number = self.warps[warp].number * 32 + lane;
        [number % x, number / x % y, number / (x * y)]
    }

    /// The next number of a sequence that the seed and the cluster decide.
    pub(super) fn draw(&mut self) -> u64 {
        // SplitMix64: a well-mixed sequence from a counter.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match self.grid.options.schedule {
            Schedule::Eager => from.first(),
            Schedule::Lazy => from.last(),
            Schedule::Random(_) if from.is_empty() => None,
            Schedule::Random(_) => from.get((self.draw() % from.len() as u64) as usize),
        }
    }

    pub(super) fn finishes_at_once(&mut self) -> bool {
        match self.grid.options.schedule {
            Schedule::Eager => true,
            Schedule::Lazy => false,
            Schedule::Random(_) => self.draw().is_multiple_of(4),
        }
    }

    /// Adds a fault to the report; the kernel goes on.
    pub fn report(&mut self, warp: usize, fault: Fault) {
        let hazard = self.hazard(warp, self.pc, fault);
        // One line of PTX at fault in a thousand threads is one finding.
        let same = |known: &Hazard| known.kind == hazard.kind && known.line == hazard.line;
        if !self.hazards.iter().any(same) {
            self.hazards.push(hazard);
        }
    }

    /// Removes reads of unwritten bytes at a line from the report: a race at that line is why they were unwritten.
    pub(super) fn explained(&mut self, line: u32) {
        self.hazards.retain(|known| known.kind != HazardKind::Uninitialized || known.line != line);
    }

    pub(super) fn hazard(&mut self, warp: usize, pc: u32, fault: Fault) -> Hazard {
        let (warp, lane, pc) = match self.blame.take() {
            Some(((warp, lane), pc)) => (warp, Some(lane), pc),
            None => (warp, fault.lane, pc),
        };
        let inst = self.grid.kernel.code.get(pc as usize);
        Hazard {
            kind: fault.kind,
            message: fault.message,
            cta: self.cta_of(warp).id,
            thread: self.thread(warp, lane.unwrap_or(0)),
            line: inst.map_or(0, |inst| inst.line),
            instruction: inst.map_or(String::new(), |inst| inst.spelling.to_string()),
            address: fault.address,
        }
    }
}
