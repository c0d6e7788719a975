//! Whether a problem is one of few rows, and by which schedule.
//!
//! The rule for `fragments`: groups of 16 columns, or of 32 where A has many rows and the multiprocessors stay as busy;
//! the most warps that k suffices for and registers allow. All groups run at once where they fit; else each CTA takes
//! several, loading the next while it sums up the last. The example `few_rows` of the crate `gable` times the rule's
//! schedules among others; steps under way, warps and CTAs are what it found best on an H200.
//!
//! The rule for `streamed`, which has narrow weights wherever it can, others where rows can be held: a CTA for each
//! multiprocessor, with groups of 32 columns and 8 warps where that leaves them as busy, else groups of 16 and as many warps up to
//! 16 as leave the fewest steps beyond the end of k.

use super::super::problem::{Major, Memory, Operand, Problem, Quantised};
use super::super::schedule::WARP;
use super::format::Format;
use super::scales::Scales;
use super::schedule::{
    FRAGMENT_ROWS, FewRowsSchedule, FragmentsSchedule, LANE_ROWS, LanesSchedule, STEP_BYTES, StreamedSchedule,
    TILE_COLUMNS,
};
use super::source::{self, CHUNK_BYTES};
use super::streamed::scale_bytes;
use gable_roofline::Machine;
use gable_tensor::DType;

/// Registers of a multiprocessor and of a thread, on every target.
const REGISTERS: u32 = 65_536;
const REGISTERS_PER_THREAD: u32 = 255;

/// The schedule for few rows, where the problem is one of them: B from memory, each element used few times.
pub(in super::super) fn choose(problem: &Problem, machine: &Machine) -> Option<FewRowsSchedule> {
    if let Some(schedule) = streamed(problem, machine) {
        return Some(FewRowsSchedule::Streamed(schedule));
    }
    if is_fragments(problem) {
        return Some(FewRowsSchedule::Fragments(fragments(problem, machine)));
    }
    lanes(problem, machine).map(FewRowsSchedule::Lanes)
}

/// Seconds from one kernel's end to the results of the next one's last group (with a start, partial sums are added), and the
/// share of the memory's data sheet that kernels reach: by registers, and by way of shared memory.
const START_S: f64 = 6e-6;
const MEMORY_SHARE: f64 = 0.875;
const STREAMED_START_S: f64 = 5.2e-6;
const STREAMED_SHARE: f64 = 0.955;

/// What a byte of A costs that a group of columns reads again, over one of B.
const AGAIN_COST: f64 = 0.2;

/// Predicted seconds of a schedule on the tensor cores; none of others. As measured on an H200 to 10 %.
pub(in super::super) fn seconds(problem: &Problem, schedule: &FewRowsSchedule, machine: &Machine) -> Option<f64> {
    let by_registers = (START_S, MEMORY_SHARE);
    let by_shared = (STREAMED_START_S, STREAMED_SHARE);
    // How often rows are read, and the constants.
    let (times, (start, share)) = match schedule {
        FewRowsSchedule::Lanes(_) => return None,
        FewRowsSchedule::Streamed(schedule) if schedule.held => (schedule.ctas, by_shared),
        FewRowsSchedule::Streamed(schedule) => (schedule.groups(problem), by_shared),
        FewRowsSchedule::Fragments(schedule) => (schedule.groups(problem), by_registers),
    };
    let columns = problem.n as f64 * problem.k as f64 * f64::from(Format::of(problem).bits()) / 8.0;
    let rows = problem.m as f64 * problem.k as f64 * problem.element.bytes() as f64;
    let bytes = columns + AGAIN_COST * f64::from(times) * rows;
    Some(start + problem.batches() as f64 * bytes / (share * machine.memory_bytes_per_s()))
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
        found.extend(streamed_variants(problem, machine).into_iter().map(FewRowsSchedule::Streamed));
        found.extend(joined_variants(problem, machine).into_iter().map(FewRowsSchedule::Streamed));
    }
    found
}

/// Schedules by way of shared memory, some of which may not fit.
fn streamed_variants(problem: &Problem, machine: &Machine) -> Vec<StreamedSchedule> {
    let (mut found, products) = (Vec::new(), problem.products());
    for warps in [8, 14, 16] {
        for tiles in [1, 2] {
            for steps in [2, 4, 6, 8] {
                for held in [false, true] {
                    let shape = StreamedSchedule { warps, joiners: 0, tiles, products, steps, split: 1, ctas: 1, held };
                    let groups = shape.groups(problem);
                    let resident = (1..=2).map(|ctas| ctas * machine.multiprocessors).filter(|&ctas| ctas < groups);
                    found.extend(resident.chain([groups]).map(|ctas| StreamedSchedule { ctas, ..shape }));
                }
            }
        }
    }
    found
}

/// Warps that multiply and warps that join, of CTAs whose k is split between so many, worth timing.
const JOINED: [(u32, u32); 5] = [(8, 4), (8, 2), (16, 4), (14, 2), (7, 1)];
const SPLITS: [u32; 3] = [1, 2, 4];

/// Schedules by way of shared memory with joiners, some of which may not fit.
fn joined_variants(problem: &Problem, machine: &Machine) -> Vec<StreamedSchedule> {
    let (mut found, products) = (Vec::new(), problem.products());
    for (warps, joiners) in JOINED {
        for tiles in [1, 2] {
            for steps in [2, 3, 4, 6] {
                for split in SPLITS {
                    for held in [true, false] {
                        let shape =
                            StreamedSchedule { warps, joiners, tiles, products, steps, split, ctas: split, held };
                        let clusters = shape.groups(problem).min(clusters_at_once(split, machine));
                        found.push(StreamedSchedule { ctas: clusters * split, ..shape });
                    }
                }
            }
        }
    }
    found
}

/// Clusters of so many CTAs that run at once, one CTA to a multiprocessor.
fn clusters_at_once(split: u32, machine: &Machine) -> u32 {
    let left_over = 4 * split.saturating_sub(2);
    ((machine.multiprocessors - left_over.min(machine.multiprocessors)) / split).max(1)
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

/// Most warps of a CTA that streams one tile, and warps of one that streams two.
const WARPS_OF_TILE: u32 = 16;
const WARPS_OF_PAIR: u32 = 8;

/// The schedule by way of shared memory, where it is the better one.
fn streamed(problem: &Problem, machine: &Machine) -> Option<StreamedSchedule> {
    if !is_streamed(problem) {
        return None;
    }
    let bits = Format::of(problem).bits();
    let bytes = problem.k as u64 * u64::from(bits) / 8;
    let steps = u32::try_from(bytes.div_ceil(u64::from(STEP_BYTES))).ok()?;
    let slots = machine.multiprocessors.div_ceil(problem.batches() as u32);
    let of = |warps: u32, tiles: u32, held: bool| {
        let shape = StreamedSchedule {
            warps,
            joiners: 0,
            tiles,
            products: problem.products(),
            steps: 1,
            split: 1,
            ctas: 1,
            held,
        };
        let groups = shape.groups(problem);
        let ctas = groups.min(slots);
        // What is not unpacked is multiplied as soon as it comes, so more may be asked for; no more than there is.
        let wanted = if bits == 16 { 4 } else { 2 };
        let all = shape.group_steps(problem) * groups.div_ceil(ctas.max(1));
        StreamedSchedule { steps: all.clamp(1, wanted), ctas, ..shape }
    };
    let fits = |schedule: &StreamedSchedule| {
        let registers = schedule.registers(problem);
        registers <= REGISTERS_PER_THREAD
            && registers.next_multiple_of(8) * schedule.warps * WARP <= REGISTERS
            && schedule.shared_bytes(problem) <= machine.shared_bytes
    };
    // Twice the columns for each barrier, if the multiprocessors stay as busy.
    let busy = |tiles: u32| {
        let share = f64::from(of(1, tiles, true).groups(problem)) / f64::from(slots);
        share / share.ceil()
    };
    let pair = of(WARPS_OF_PAIR, 2, true);
    if steps >= WARPS_OF_PAIR && busy(2) > busy(1) - 0.05 && fits(&pair) {
        return Some(pair);
    }
    // The most warps of those that have the fewest steps beyond the end of k.
    let few = WARPS_OF_TILE / 2;
    let warps = (few..=WARPS_OF_TILE).rev().min_by_key(|&warps| steps.next_multiple_of(warps))?.min(steps);
    // Rows of 16-bit factors that are not held come better as `fragments` loads them.
    let held = if bits == 16 { &[true][..] } else { &[true, false] };
    held.iter().map(|&held| of(warps, 1, held)).find(fits)
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
