//! The schedule of few rows by way of shared memory that is chosen, and others that are worth timing.
//!
//! - One group of rows: 16 columns, so that sixteen warps that multiply, and joiners, have registers for their rows.
//! - More rows: their sums cost as much as the columns' bytes where k is divided often. 32 columns and 8 warps that add
//!   them together, where that leaves the multiprocessors as busy; else as for one group of rows, with k split.
//! - k is split between as many CTAs as the registers need to hold the rows, and more where there are too few columns for all
//!   multiprocessors.
//! - As many warps as leave the fewest steps beyond the end of k, the most of those; and joiners that fill up a quarter.
//!
//! Fitted to times of an H200 (2026-11-22, bf16, e4m3, mxfp4 and nvfp4 by 1, 4 and 16 rows, single products and pairs).

use super::super::super::problem::Problem;
use super::super::super::schedule::WARP;
use super::super::format::Format;
use super::super::schedule::{FragmentsSchedule, STEP_BYTES};
use super::schedule::{StreamedSchedule, WARPS_TOGETHER};
use gable_roofline::Machine;

/// Registers of a multiprocessor and of a thread, on every target.
const REGISTERS: u64 = 65_536;
const REGISTERS_PER_THREAD: u32 = 255;

/// Most warps of a CTA that multiply, and fewest.
const MOST_WARPS: u32 = 16;
const FEWEST_WARPS: u32 = 8;

/// Warps of a CTA that has two tiles at once.
const WARPS_OF_PAIR: u32 = 8;

/// CTAs between which k may be split.
const SPLITS: [u32; 3] = [1, 2, 4];

/// How much less busy multiprocessors may be for what a larger group, or fewer CTAs to exchange sums with, saves.
const LESS_BUSY: f64 = 0.05;

/// Groups of multiprocessors that a cluster must lie within.
const CLUSTER_GROUPS: u32 = 8;

/// The schedule by way of shared memory, where it is the better one.
pub(in super::super) fn choose(problem: &Problem, machine: &Machine) -> Option<StreamedSchedule> {
    let rule = Rule { problem, machine };
    let is_one_group = FragmentsSchedule::row_groups(problem) == 1;
    if !is_one_group && let Some(pair) = rule.pair() {
        return Some(pair);
    }
    let held = if is_one_group { &SPLITS[..] } else { &SPLITS[1..] };
    rule.joined(held).or_else(|| rule.not_held())
}

struct Rule<'a> {
    problem: &'a Problem,
    machine: &'a Machine,
}

impl Rule<'_> {
    /// Steps along k of a column.
    fn steps(&self) -> u32 {
        let bytes = self.problem.k as u64 * u64::from(Format::of(self.problem).bits()) / 8;
        bytes.div_ceil(u64::from(STEP_BYTES)) as u32
    }

    /// Schedule of these warps with as many CTAs and steps under way as do good.
    fn of(&self, (warps, joiners): (u32, u32), tiles: u32, split: u32, held: bool) -> StreamedSchedule {
        let products = self.problem.products();
        let shape = StreamedSchedule { warps, joiners, tiles, products, steps: 1, split, ctas: split, held };
        let at_once = clusters_at_once(split, self.machine).div_ceil(self.problem.batches() as u32);
        let clusters = shape.groups(self.problem).min(at_once).max(1);
        // What is not unpacked is multiplied as soon as it comes, so more may be asked for; no more than there is.
        let wanted = if Format::of(self.problem).bits() == 16 { 4 } else { 2 };
        let all = shape.group_steps(self.problem) * shape.groups(self.problem).div_ceil(clusters);
        StreamedSchedule { steps: all.clamp(1, wanted), ctas: clusters * split, ..shape }
    }

    fn fits(&self, schedule: &StreamedSchedule) -> bool {
        schedule.registers(self.problem) <= REGISTERS_PER_THREAD
            && schedule.registers_of_cta(self.problem) <= REGISTERS
            && schedule.shared_bytes(self.problem) <= self.machine.shared_bytes
    }

    /// The share of the multiprocessors' time in which they have columns.
    fn busy(&self, schedule: &StreamedSchedule) -> f64 {
        let groups = f64::from(schedule.groups(self.problem)) * self.problem.batches() as f64;
        let clusters = f64::from(schedule.clusters()) * self.problem.batches() as f64;
        let rounds = (groups / clusters).ceil();
        groups * f64::from(schedule.split) / (rounds * f64::from(self.machine.multiprocessors))
    }

    /// Two tiles at once, where the multiprocessors stay as busy as with one.
    fn pair(&self) -> Option<StreamedSchedule> {
        let [one, two] = [1, 2].map(|tiles| self.of((WARPS_OF_PAIR, 0), tiles, 1, true));
        let is_long = self.steps() >= WARPS_OF_PAIR;
        (is_long && self.busy(&two) > self.busy(&one) - LESS_BUSY && self.fits(&two)).then_some(two)
    }

    /// One tile at once with joiners, and rows in registers: of the splits that keep the multiprocessors busy, the smallest.
    fn joined(&self, splits: &[u32]) -> Option<StreamedSchedule> {
        let fitting: Vec<StreamedSchedule> = splits.iter().filter_map(|&split| self.of_split(split)).collect();
        let busiest = fitting.iter().map(|schedule| self.busy(schedule)).fold(0.0, f64::max);
        fitting.into_iter().find(|schedule| self.busy(schedule) > busiest - LESS_BUSY)
    }

    /// The best of a split, if any fits.
    fn of_split(&self, split: u32) -> Option<StreamedSchedule> {
        let steps = self.steps();
        let mut counts: Vec<u32> = (1..=MOST_WARPS).filter(|&warps| warps * split <= steps).collect();
        // Fewer warps than this have too little under way, where there are steps for more.
        let fewest = counts.last()?.min(&FEWEST_WARPS).to_owned();
        counts.retain(|&warps| warps >= fewest);
        counts.sort_by_key(|&warps| (steps.next_multiple_of(warps * split), MOST_WARPS - warps));
        let of = |warps: u32, joiners: u32, tiles: u32| self.of((warps, joiners), tiles, split, true);
        // One tile at once, or two where the CTAs could not share the columns of one.
        let tiles = if of(fewest, 1, 1).divides_columns() { 1 } else { 2 };
        // Every joiner has slabs of its own: many rows leave room for few.
        let all =
            counts.into_iter().flat_map(|warps| [joiners_beside(warps), 2, 1].map(|joiners| of(warps, joiners, tiles)));
        all.into_iter().find(|schedule| self.fits(schedule))
    }

    /// One tile at once with rows that are loaded for every group, for narrow weights: rows by weights of 16 bits come better
    /// as `fragments` loads them.
    fn not_held(&self) -> Option<StreamedSchedule> {
        if Format::of(self.problem).bits() == 16 {
            return None;
        }
        let steps = self.steps();
        let warps = (FEWEST_WARPS..=MOST_WARPS).rev().min_by_key(|&warps| steps.next_multiple_of(warps))?.min(steps);
        Some(self.of((warps, 0), 1, 1, false)).filter(|schedule| self.fits(schedule))
    }
}

/// Joiners that fill up the last quarter of a multiprocessor's warps, or make another one.
fn joiners_beside(warps: u32) -> u32 {
    WARPS_TOGETHER - warps % WARPS_TOGETHER
}

/// Clusters of so many CTAs that run at once, one CTA to a multiprocessor: groups of multiprocessors differ in size, and half a
/// cluster is left over in each. 31 clusters of 4 were seen not to run at once on an H200.
fn clusters_at_once(split: u32, machine: &Machine) -> u32 {
    let left_over = if split <= 2 { 0 } else { CLUSTER_GROUPS * (split - 1) / 2 };
    (machine.multiprocessors.saturating_sub(left_over) / split).max(1)
}

/// Schedules by way of shared memory, some of which may not fit.
pub(in super::super) fn variants(problem: &Problem, machine: &Machine) -> Vec<StreamedSchedule> {
    let rule = Rule { problem, machine };
    let mut found = Vec::new();
    for (warps, tiles, steps) in triples(&[8, 14, 16], &[1, 2], &[2, 4]) {
        for held in [false, true] {
            let shape = StreamedSchedule { steps, ..rule.of((warps, 0), tiles, 1, held) };
            let groups = shape.groups(problem);
            let resident = (1..=2).map(|ctas| ctas * machine.multiprocessors).filter(|&ctas| ctas < groups);
            found.extend(resident.chain([groups]).map(|ctas| StreamedSchedule { ctas, ..shape }));
        }
    }
    for split in SPLITS {
        for (warps, tiles, steps) in triples(&[7, 8, 14, 16], &[1, 2], &[2, 4]) {
            let few = if warps == 8 { &[2, 4][..] } else { &[joiners_beside(warps)] };
            let of = |&joiners: &u32| StreamedSchedule { steps, ..rule.of((warps, joiners), tiles, split, true) };
            found.extend(few.iter().map(of));
        }
    }
    found
}

/// All choices of one of each.
fn triples(first: &[u32], second: &[u32], third: &[u32]) -> Vec<(u32, u32, u32)> {
    let pairs = first.iter().flat_map(|&a| second.iter().map(move |&b| (a, b)));
    pairs.flat_map(|(a, b)| third.iter().map(move |&c| (a, b, c))).collect()
}

const _: () = assert!(MOST_WARPS * WARP <= 1024, "a CTA has so many threads");
