//! A launch from beginning to end: limits, clusters in parallel or in turns, and the report of a standstill.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gable_ptx::grammar::Op;
use gable_ptx::{MAX_THREADS_PER_CTA, STATIC_SHARED_BYTES};
use rayon::prelude::*;

use crate::hazard::{Fault, Hazard, HazardKind};
use crate::memory::{GlobalMemory, SHARED_BASE};
use crate::order::GlobalOrder;
use crate::profile::Profile;
use crate::program::Kernel;

use super::Cluster;
use super::launch::{Grid, Launch, LaunchError, Options, Outcome};
use super::turn::Turn;

/// Clusters that are resident at once where they take turns: as many CTAs as a large GPU has SMs.
const RESIDENT_CTAS: u64 = 148;

impl Kernel {
    /// Runs a grid. Faults of the kernel are hazards of the outcome; a launch that the machine refuses is an error.
    pub fn run(&self, memory: &mut GlobalMemory, launch: &Launch, options: &Options) -> Result<Outcome, LaunchError> {
        self.check(launch)?;
        for variable in &self.globals {
            memory.place(variable.name.to_string(), variable.address, &variable.data, variable.read_only);
        }
        let param_base = memory.allocate_with("kernel parameters", &launch.params);
        memory.protect(param_base);
        let clusters = [0, 1, 2].map(|i| launch.grid[i] / launch.cluster[i]);
        let count: u64 = clusters.iter().map(|c| u64::from(*c)).product();
        let grid = Grid {
            kernel: self,
            launch,
            options,
            memory,
            order: options.races.then(|| Arc::new(GlobalOrder::new())),
            param_base,
            clusters,
            waiting: Mutex::new(0..0),
            timer: AtomicU64::new(0),
        };
        let outcome = if self.cooperative { take_turns(&grid, count) } else { side_by_side(&grid, count) };
        memory.free(param_base);
        Ok(outcome)
    }

    /// The parameter block of some values, one for each parameter, little endian.
    pub fn pack(&self, values: &[Vec<u8>]) -> Result<Vec<u8>, LaunchError> {
        if values.len() != self.params.len() {
            let (name, found, wanted) = (&self.name, values.len(), self.params.len());
            return Err(LaunchError(format!("{found} arguments, `{name}` has {wanted} parameters")));
        }
        let mut block = vec![0; self.param_bytes as usize];
        for (value, param) in values.iter().zip(&self.params) {
            if value.len() != param.bytes as usize {
                let (name, found, wanted) = (&param.name, value.len(), param.bytes);
                return Err(LaunchError(format!("{found} bytes for parameter `{name}`, which has {wanted}")));
            }
            block[param.offset as usize..][..value.len()].copy_from_slice(value);
        }
        Ok(block)
    }

    /// Limits of the machine.
    fn check(&self, launch: &Launch) -> Result<(), LaunchError> {
        let error = |message: String| Err(LaunchError(message));
        let row = self.machine.row();
        let threads: u64 = launch.block.iter().map(|n| u64::from(*n)).product();
        if launch.grid.contains(&0) || launch.block.contains(&0) || launch.cluster.contains(&0) {
            return error("grid, block and cluster must be at least 1 in each direction".to_owned());
        }
        if threads > u64::from(MAX_THREADS_PER_CTA) || launch.block[2] > 64 {
            return error(format!("{threads} threads in a CTA; at most {MAX_THREADS_PER_CTA}, 64 of them in z"));
        }
        if launch.grid[1] > 65_535 || launch.grid[2] > 65_535 || launch.grid[0] > i32::MAX as u32 {
            return error(format!("grid {:?}: at most 2^31-1, 65535, 65535", launch.grid));
        }
        for i in 0..3 {
            if !launch.grid[i].is_multiple_of(launch.cluster[i]) {
                let (grid, cluster) = (launch.grid, launch.cluster);
                return error(format!("grid {grid:?} is no multiple of the cluster {cluster:?}"));
            }
        }
        let ctas: u64 = launch.cluster.iter().map(|n| u64::from(*n)).product();
        if ctas > 16 {
            return error(format!("{ctas} CTAs in a cluster; at most 8, or 16 where the kernel asks for it"));
        }
        let directives = &self.directives;
        if let Some(required) = directives.required_cluster
            && required != launch.cluster
        {
            return error(format!("cluster {:?}, and `.reqnctapercluster` says {required:?}", launch.cluster));
        }
        if let Some(required) = directives.required_threads
            && required != launch.block
        {
            return error(format!("block {:?}, and `.reqntid` says {required:?}", launch.block));
        }
        if let Some(most) = directives.max_threads
            && threads > most.iter().map(|n| u64::from(*n)).product()
        {
            return error(format!("{threads} threads in a CTA, and `.maxntid` says {most:?}"));
        }
        if let Some(registers) = directives.max_registers
            && u64::from(registers) * threads > u64::from(row.registers_per_sm)
        {
            let all = row.registers_per_sm;
            return error(format!("{threads} threads of {registers} registers: an SM has {all}"));
        }
        let fixed = self.static_shared - SHARED_BASE;
        if fixed > STATIC_SHARED_BYTES {
            return error(format!("{fixed} bytes of declared shared memory; at most {STATIC_SHARED_BYTES}"));
        }
        let shared = u64::from(fixed) + u64::from(launch.shared_bytes);
        if shared > u64::from(row.max_shared_bytes) {
            let most = row.max_shared_bytes;
            return error(format!("{shared} bytes of shared memory; a CTA on {} has at most {most}", self.machine));
        }
        if launch.params.len() != self.param_bytes as usize {
            let found = launch.params.len();
            return error(format!("{found} bytes of parameters, expected {}", self.param_bytes));
        }
        Ok(())
    }
}

/// Each cluster from start to end, several at once: nothing that one does can be seen by another.
fn side_by_side(grid: &Grid<'_>, count: u64) -> Outcome {
    let stop = AtomicBool::new(false);
    let run = |number: u64| {
        // A fault in one CTA is most likely one in all: later clusters need not run.
        if stop.load(Ordering::Relaxed) {
            return Outcome::default();
        }
        let mut cluster = Cluster::new(grid, number);
        loop {
            match cluster.turn() {
                Turn::Ran => {}
                Turn::Stuck => {
                    cluster.standstill();
                    break;
                }
                Turn::Done | Turn::Failed => break,
            }
        }
        if cluster.hazards.len() >= grid.options.max_hazards {
            stop.store(true, Ordering::Relaxed);
        }
        cluster.outcome()
    };
    // Neighbours are joined in order, so the report does not depend on the number of host threads.
    (0..count).into_par_iter().map(run).reduce(|| empty(grid), |before, after| joined(grid, before, after))
}

/// Clusters in turns on one thread, so that they may wait for each other and the result is the same each time.
fn take_turns(grid: &Grid<'_>, count: u64) -> Outcome {
    let per_cluster: u64 = grid.launch.cluster.iter().map(|n| u64::from(*n)).product();
    let steals = grid.kernel.code.iter().any(|inst| inst.op == Op::ClusterlaunchcontrolTryCancel);
    // Where clusters take over the work of those that wait, some must wait.
    let most = if steals { 2 } else { (RESIDENT_CTAS / per_cluster).max(1) as usize };
    grid.waiting.lock().unwrap_or_else(PoisonError::into_inner).end = count;
    let next = || grid.waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut resident: Vec<Cluster<'_>> = Vec::new();
    // By number, since clusters end in another order than they are reported.
    let mut reports: BTreeMap<u64, Outcome> = BTreeMap::new();
    let mut whole = empty(grid);
    let mut add = |number: u64, mut outcome: Outcome| {
        if !outcome.hazards.is_empty() || !outcome.printed.is_empty() {
            let (hazards, printed) = (std::mem::take(&mut outcome.hazards), std::mem::take(&mut outcome.printed));
            reports.insert(number, Outcome { hazards, printed, ..Outcome::default() });
        }
        whole = joined(grid, std::mem::take(&mut whole), outcome);
    };
    loop {
        while resident.len() < most {
            let Some(number) = next() else { break };
            resident.push(Cluster::new(grid, number));
        }
        if resident.is_empty() {
            break;
        }
        let mut ran = false;
        let mut failed = false;
        let mut index = 0;
        while index < resident.len() {
            match resident[index].turn() {
                Turn::Ran => ran = true,
                Turn::Stuck => {}
                turn @ (Turn::Done | Turn::Failed) => {
                    ran = true;
                    failed |= turn == Turn::Failed;
                    let cluster = resident.remove(index);
                    add(cluster.number, cluster.outcome());
                    continue;
                }
            }
            index += 1;
        }
        if failed || !ran {
            for mut cluster in resident.drain(..) {
                if !failed {
                    cluster.standstill();
                }
                add(cluster.number, cluster.outcome());
            }
            break;
        }
    }
    reports.into_values().fold(whole, |whole, report| joined(grid, whole, report))
}

/// The outcome of no cluster.
fn empty(grid: &Grid<'_>) -> Outcome {
    Outcome { profile: grid.options.profile.then(Profile::default), ..Outcome::default() }
}

/// Two parts of a launch together.
fn joined(grid: &Grid<'_>, mut whole: Outcome, part: Outcome) -> Outcome {
    for hazard in part.hazards {
        let same = |known: &Hazard| known.kind == hazard.kind && known.line == hazard.line;
        if whole.hazards.len() < grid.options.max_hazards && !whole.hazards.iter().any(same) {
            whole.hazards.push(hazard);
        }
    }
    match (&mut whole.profile, part.profile) {
        (Some(whole), Some(part)) => whole.add(&part),
        (whole, part) => *whole = whole.take().or(part),
    }
    whole.printed.push_str(&part.printed);
    whole.instructions += part.instructions;
    whole.thread_instructions += part.thread_instructions;
    whole
}

impl Cluster<'_> {
    fn outcome(self) -> Outcome {
        Outcome {
            hazards: self.hazards,
            profile: self.profile,
            printed: self.printed,
            instructions: self.instructions,
            thread_instructions: self.thread_instructions,
        }
    }

    /// Reports who waits for what where nothing can go on.
    fn standstill(&mut self) {
        let code = &self.grid.kernel.code;
        let mut waits: Vec<(usize, u32, u32, HazardKind, String)> = Vec::new();
        for (number, warp) in self.warps.iter().enumerate() {
            for group in &warp.groups {
                let inst = &code[group.pc as usize];
                let (kind, what) = match &group.parked {
                    Some(parked) => (HazardKind::Deadlock, parked.on.clone()),
                    None if group.converging => (
                        HazardKind::Divergence,
                        format!(
                            "lanes {:#010x} stand at `{}`; lanes {:#010x} of the warp do not come there",
                            group.mask,
                            inst.spelling,
                            warp.alive() & !group.mask
                        ),
                    ),
                    None => continue,
                };
                waits.push((number, group.mask.trailing_zeros(), group.pc, kind, what));
            }
        }
        // Divergence is the cause where there is any: others wait for it.
        waits.sort_by_key(|(_, _, _, kind, _)| *kind != HazardKind::Divergence);
        let summary: Vec<String> = waits
            .iter()
            .take(8)
            .map(|(warp, lane, pc, _, what)| {
                let line = code[*pc as usize].line;
                let [x, y, z] = self.cta_of(*warp).id;
                let state = &self.warps[*warp];
                format!("CTA ({x}, {y}, {z}) warp {} lane {lane} at line {line}: {what}", state.number)
            })
            .collect();
        let more = waits.len().saturating_sub(8);
        let rest = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        if let Some((warp, lane, pc, kind, _)) = waits.first() {
            let message = format!("no thread can go on:\n  {}{rest}", summary.join("\n  "));
            let hazard = self.hazard(*warp, *pc, Fault::new(*kind, message).lane(*lane as usize));
            self.hazards.push(hazard);
        }
    }

    /// After lanes have exited.
    pub(super) fn thread_exit(&mut self, warp: usize, mask: u32) {
        crate::exec::bulk_group::thread_exits(self, warp, mask);
        let cta = self.warps[warp].cta;
        self.ctas[cta].exited += mask.count_ones();
        if self.ctas[cta].exited == self.threads_per_cta() {
            crate::exec::tcgen05::cta_exits(self, warp);
        }
        if self.ctas[cta].exited == self.threads_per_cta()
            && let Some(order) = &mut self.order
            && let Err(conflict) = order.exit_cta(cta as u32, self.pc)
        {
            self.report_conflict(warp, conflict);
        }
        crate::exec::barrier::complete_cluster(self);
    }
}
