//! Whether a problem is one of few rows, and by which schedule.
//!
//! The rule for `fragments`: groups of 16 columns, or of 32 where A has many rows and the multiprocessors stay as busy;
//! the most warps that k suffices for and registers allow. All groups run at once where they fit; else each CTA takes
//! several, loading the next while it sums up the last. The example `few_rows` of the crate `gable` times the rule's
//! schedules among others; steps under way, warps and CTAs are what it found best on an H200.
//!
//! `streamed` has a rule of its own ([`streamed::rule`]); it is taken for narrow weights wherever it can be, for others where rows
//! can be held.

use super::super::problem::{Major, Memory, Operand, Problem, Quantised};
use super::super::schedule::WARP;
use super::format::Format;
use super::scales::Scales;
use super::schedule::{
    FRAGMENT_ROWS, FewRowsSchedule, FragmentsSchedule, LANE_ROWS, LanesSchedule, STEP_BYTES, TILE_COLUMNS,
};
use super::source::{self, CHUNK_BYTES};
use super::streamed::{self, scale_bytes};
use gable_roofline::Machine;
use gable_tensor::DType;

/// Registers of a multiprocessor and of a thread, on every target.
const REGISTERS: u32 = 65_536;
const REGISTERS_PER_THREAD: u32 = 255;

/// The schedule for few rows, where the problem is one of them: B from memory, each element used few times.
pub(in super::super) fn choose(problem: &Problem, machine: &Machine) -> Option<FewRowsSchedule> {
    if is_streamed(problem)
        && let Some(schedule) = streamed::rule::choose(problem, machine)
    {
        return Some(FewRowsSchedule::Streamed(schedule));
    }
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
            for (depth, rows_ahead) in [(1, true), (1, false), (2, true), (2, false), (4, true)] {
                let products = problem.products();
                let shape = FragmentsSchedule { warps, tiles, products, depth, ctas: 1, rows_ahead };
                let groups = shape.groups(problem);
                // One group to a CTA, or as many CTAs as are resident together.
                let resident = (1..=4).map(|ctas| ctas * machine.multiprocessors).filter(|&ctas| ctas < groups);
                let counts = resident.chain([groups]);
                found.extend(counts.map(|ctas| FewRowsSchedule::Fragments(FragmentsSchedule { ctas, ..shape })));
            }
        }
    }
    if is_streamed(problem) {
        found.extend(streamed::rule::variants(problem, machine).into_iter().map(FewRowsSchedule::Streamed));
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
fn is_fragments(problem: &Problem) -> bool {
    let halves = matches!(problem.element, DType::F16 | DType::BF16);
    // Shorter sums have no warps to split between.
    let long = problem.k >= 128;
    let b = along_k(&problem.b, problem.element).is_some() || problem.quantised.as_ref().is_some_and(is_unpacked);
    // Two products have a half of every tile each.
    problem.products() <= 2
        && !problem.ragged
        && lie_alike(problem)
        && halves
        && long
        && problem.m <= FRAGMENT_ROWS
        && along_k(&problem.a, problem.element).is_some()
        && b
}

/// Whether `streamed` computes this: whole chunks of 16 bytes of both factors, with scales that fit a step.
pub(super) fn is_streamed(problem: &Problem) -> bool {
    let bits = Format::of(problem).bits();
    let whole = |memory: &Memory, bits: u32| {
        source::vector_bytes(memory, bits) == CHUNK_BYTES && (problem.k as u64 * u64::from(bits)).is_multiple_of(128)
    };
    let b = match (&problem.b, &problem.quantised) {
        (Operand::Memory(b), _) => Some(b),
        (_, quantised) => quantised.as_ref().map(|quantised| &quantised.stored),
    };
    let a = along_k(&problem.a, problem.element);
    is_fragments(problem)
        && a.is_some_and(|a| whole(a, 16))
        && b.is_some_and(|b| whole(b, bits))
        && scale_bytes(problem).is_some()
}

/// Whether the right factors of all products lie in memory alike, each from a start of its own.
fn lie_alike(problem: &Problem) -> bool {
    let places = |memory: &Memory| Memory { entries: None, ..memory.clone() };
    let plain = |operand: &Operand| match operand {
        Operand::Memory(memory) => Some(places(memory)),
        Operand::Expression { .. } => None,
    };
    let narrow =
        |quantised: &Quantised| (places(&quantised.stored), quantised.codes, quantised.scales.as_ref().map(places));
    problem.further.iter().all(|right| {
        plain(&right.operand) == plain(&problem.b)
            && right.quantised.as_ref().map(narrow) == problem.quantised.as_ref().map(narrow)
    })
}

/// Whether a quantised B comes in loads of whole words, with scales that fit them.
fn is_unpacked(quantised: &Quantised) -> bool {
    let stored = &quantised.stored;
    let bits = quantised.codes.bits();
    stored.is_matrix()
        && stored.k.last().is_none_or(|digit| digit.stride == 1)
        && source::vector_bytes(stored, bits) >= 4
        && (quantised.scales.is_none() || Scales::of(quantised, CHUNK_BYTES * 8 / bits).is_some())
}

/// The schedule on the tensor cores.
fn fragments(problem: &Problem, machine: &Machine) -> FragmentsSchedule {
    let (row_groups, products) = (FragmentsSchedule::row_groups(problem), problem.products());
    let bits = Format::of(problem).bits();
    let narrow = bits < 16;
    let steps = ((problem.k as u64 * u64::from(bits) / 8) as u32).div_ceil(STEP_BYTES);
    // How much of the time the multiprocessors are busy when each takes its share of the groups of columns.
    let groups = |tiles: u32| problem.n.div_ceil((tiles * TILE_COLUMNS / products) as usize) * problem.batches();
    let busy = |tiles: u32| {
        let share = groups(tiles) as f64 / f64::from(machine.multiprocessors);
        share / share.ceil()
    };
    // Each group reads all of A: from two groups of rows on, twice the columns halve that. Unpacking takes the registers
    // that it would take.
    let tiles = if row_groups > 1 && !narrow && busy(2) > busy(1) - 0.05 { 2 } else { 1 };
    let few_groups = groups(1) <= 3 * machine.multiprocessors as usize;
    let rows_ahead = !narrow || bits == 8 && row_groups == 2 && !few_groups;
    let most_warps = if narrow && rows_ahead { 8 } else { 16 };
    let of_warps = |warps: u32| {
        let depth = if bits == 8 && row_groups == 1 { (steps / warps).clamp(1, 2) } else { 1 };
        let mut schedule = FragmentsSchedule { warps, tiles, products, depth, ctas: 1, rows_ahead };
        let threads = warps * WARP;
        let by_registers = REGISTERS / (schedule.registers(problem).next_multiple_of(8) * threads);
        let by_shared = machine.shared_bytes / schedule.shared_bytes(problem).max(1);
        let resident = by_registers.min(by_shared).min(2048 / threads);
        let slots = (resident.max(1) * machine.multiprocessors).div_ceil(problem.batches() as u32);
        // Short products of narrow elements are over before a second group could be loaded behind the first.
        let all = schedule.groups(problem);
        schedule.ctas = if bits == 8 && few_groups { all } else { all.min(slots).max(1) };
        (resident > 0 && schedule.registers(problem) <= REGISTERS_PER_THREAD).then_some(schedule)
    };
    // The most warps that have a step each and fit a multiprocessor.
    [16, 8, 4, 2]
        .into_iter()
        .filter(|&warps| warps <= steps.min(most_warps))
        .find_map(of_warps)
        .unwrap_or(FragmentsSchedule { warps: 1, tiles: 1, products, depth: 1, ctas: 1, rows_ahead: false })
}

/// The schedule on ordinary multiply-adds.
fn lanes(problem: &Problem, machine: &Machine) -> Option<LanesSchedule> {
    let Operand::Memory(b) = &problem.b else { return None };
    if problem.products() > 1 {
        return None;
    }
    let plain = b.is_matrix() && b.stored == problem.element && problem.m <= LANE_ROWS;
    let simple = matches!(problem.element, DType::F32 | DType::F16 | DType::BF16);
    let rows = match &problem.a {
        Operand::Memory(a) => a.is_matrix() && a.stored == problem.element,
        Operand::Expression { .. } => true,
    };
    if problem.ragged || !plain || !simple || !rows || problem.n < 8 {
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
