//! Whether a problem is one of few rows, and by which schedule.
//!
//! The rule for `fragments`: groups of columns as narrow as keep A's traffic below B's, eight warps to a group, as many
//! steps under way as registers allow at the residency that fills a multiprocessor. All groups run at once where they
//! fit; else each CTA takes several, loading the next while it sums up the last.

use super::super::problem::{Major, Memory, Operand, Problem};
use super::super::schedule::WARP;
use super::schedule::{
    FRAGMENT_ROWS, FewRowsSchedule, FragmentsSchedule, GROUP_ROWS, LANE_ROWS, LanesSchedule, STEP_BYTES,
};
use gable_roofline::Machine;
use gable_tensor::DType;

/// Registers of a multiprocessor, on every target.
const REGISTERS: u32 = 65_536;

/// The schedule for few rows, where the problem is one of them: B from memory, each element used few times.
pub(in super::super) fn choose(problem: &Problem, machine: &Machine) -> Option<FewRowsSchedule> {
    if is_fragments(problem) {
        return Some(FewRowsSchedule::Fragments(fragments(problem, machine)));
    }
    lanes(problem, machine).map(FewRowsSchedule::Lanes)
}

/// Schedules around the rule's choice, some of which may not fit.
pub(in super::super) fn variants(problem: &Problem, machine: &Machine) -> Vec<FewRowsSchedule> {
    if !is_fragments(problem) {
        return lanes(problem, machine).map(FewRowsSchedule::Lanes).into_iter().collect();
    }
    let mut found = Vec::new();
    for warps in [4, 8, 16] {
        for tiles in [1, 2] {
            for depth in [1, 2, 4] {
                let shape = FragmentsSchedule { warps, tiles, depth, ctas: 1 };
                let groups = shape.groups(problem);
                // One group to a CTA, or as many CTAs as are resident together.
                let resident = (1..=4).map(|ctas| ctas * machine.multiprocessors).filter(|&ctas| ctas < groups);
                let counts = resident.chain([groups]);
                found.extend(counts.map(|ctas| FewRowsSchedule::Fragments(FragmentsSchedule { ctas, ..shape })));
            }
        }
    }
    found
}

/// A factor in k order as it is, no element converted.
fn along_k(operand: &Operand, element: DType) -> Option<&Memory> {
    match operand {
        Operand::Memory(memory) if memory.is_matrix() && memory.stored == element => {
            (memory.vector().0 == Major::K).then_some(memory)
        }
        _ => None,
    }
}

/// Whether `fragments` computes this.
pub(super) fn is_fragments(problem: &Problem) -> bool {
    let halves = matches!(problem.element, DType::F16 | DType::BF16);
    // Shorter sums have no warps to split between.
    let long = problem.k >= 128;
    halves
        && long
        && problem.m <= FRAGMENT_ROWS
        && along_k(&problem.a, problem.element).is_some()
        && along_k(&problem.b, problem.element).is_some()
}

/// The schedule on the tensor cores.
fn fragments(problem: &Problem, machine: &Machine) -> FragmentsSchedule {
    let multiprocessors = machine.multiprocessors;
    let row_groups = problem.m.div_ceil(GROUP_ROWS as usize) as u32;
    let tiles = if row_groups > 2 && problem.n >= 32 * multiprocessors as usize { 2 } else { 1 };
    let steps = (problem.k * problem.element.bytes()).div_ceil(STEP_BYTES as usize) as u32;
    let warps = if steps >= 8 { 8 } else { steps.next_power_of_two().min(4) };
    let depth = if row_groups > 2 || steps <= warps { 1 } else { 2 };
    let mut schedule = FragmentsSchedule { warps, tiles, depth, ctas: 1 };
    let threads = warps * WARP;
    let by_registers = REGISTERS / (schedule.registers(problem).next_multiple_of(8) * threads);
    let by_shared = machine.shared_bytes / (2 * warps * schedule.slab_bytes(problem));
    let resident = by_registers.min(by_shared).min(2048 / threads).max(1);
    schedule.ctas =
        schedule.groups(problem).min((resident * multiprocessors).div_ceil(problem.batches() as u32)).max(1);
    schedule
}

/// The schedule on ordinary multiply-adds.
fn lanes(problem: &Problem, machine: &Machine) -> Option<LanesSchedule> {
    let Operand::Memory(b) = &problem.b else { return None };
    let plain = b.is_matrix() && b.stored == problem.element && problem.m <= LANE_ROWS;
    let simple = matches!(problem.element, DType::F32 | DType::F16 | DType::BF16);
    let rows = match &problem.a {
        Operand::Memory(a) => a.is_matrix() && a.stored == problem.element,
        Operand::Expression { .. } => true,
    };
    if !plain || !simple || !rows || problem.n < 8 {
        return None;
    }
    let columns_for = |columns: &[u32]| {
        // The widest that still gives every multiprocessor a CTA, else the narrowest.
        let enough =
            |c: &&u32| problem.n.div_ceil(**c as usize) * problem.batches() >= machine.multiprocessors as usize;
        columns.iter().find(enough).or(columns.last()).copied()
    };
    let (major, lanes) = b.vector();
    match major {
        // A warp sums whole columns, its lanes along k.
        Major::K => {
            let warps = if problem.k >= 2048 { 4 } else { 2 };
            // Sums of all rows by all columns are in registers.
            let widest: &[u32] = if problem.m <= 2 { &[16, 8, 4] } else { &[8, 4] };
            columns_for(widest).map(|columns| LanesSchedule { warps, columns })
        }
        // Lanes lie along n first, the rest of the warp and the warps along k.
        Major::Outer => {
            let lanes = lanes as u32;
            let widths = [32 * lanes, 16 * lanes, 8 * lanes];
            columns_for(&widths).map(|columns| LanesSchedule { warps: 8, columns })
        }
    }
}
