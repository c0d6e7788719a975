//! What the machine's row says of a contraction's time, for the rules that choose schedules.

use super::group_scales;
use super::problem::{Memory, Problem, Side};
use gable_roofline::Machine;
use gable_tensor::DType;

/// Bytes per second from L2 over those from memory. 11.1 TB/s were seen on an H200 where L2 did not bind (8.6 GB in 776 us,
/// 2026-11-21); how much more there is was not measured, and other machines are taken to be alike.
const L2_OVER_MEMORY: f64 = 3.5;

/// Operations of the tensor cores per clock and multiprocessor.
pub(super) fn tensor_rate(element: DType, machine: &Machine) -> f64 {
    match element {
        DType::Tf32 => machine.rates.tf32,
        DType::I8 | DType::U8 => machine.rates.int8,
        DType::E4M3 | DType::E5M2 => machine.rates.fp8_acc32,
        _ => machine.rates.half_acc32,
    }
}

/// The same for a problem's factors, which may have block scales. Those of 8 bits are multiplied at the full rate even where
/// others are not, and those of 4 bits at twice that: a higher rate is that of instructions of 96 elements, which no kernel here has.
/// Scales of whole rounds multiply sums of instructions without scales.
pub(super) fn problem_rate(problem: &Problem, machine: &Machine) -> f64 {
    match &problem.scaled {
        None => tensor_rate(problem.element, machine),
        Some(_) if group_scales::per_round(problem) == group_scales::PER_ROUND => tensor_rate(problem.element, machine),
        Some(_) if [Side::A, Side::B].iter().all(|&side| problem.factor_bits(side) == 4) => {
            machine.rates.fp4.min(4.0 * machine.rates.half_acc16)
        }
        Some(_) => 2.0 * machine.rates.half_acc16,
    }
}

/// Seconds that bytes take from L2.
pub(super) fn l2_seconds(bytes: f64, machine: &Machine) -> f64 {
    bytes / (L2_OVER_MEMORY * machine.memory_bytes_per_s())
}

/// Seconds that all factors and the result take from and to memory once.
pub(super) fn memory_seconds(problem: &Problem, machine: &Machine) -> f64 {
    let entries = problem.batches() as f64;
    // Rows of their own are not those of other entries.
    let row_entries = if problem.ragged { 1.0 } else { entries };
    let scales = |side| -> usize {
        let groups = |extent: usize, group: Option<usize>| group.map_or(1, |group| extent.div_ceil(group));
        let of = |scales: &Memory| {
            let across = groups(problem.outer(side), scales.group_along_outer());
            across * groups(problem.k, scales.group_along_k()) * scales.stored.bytes()
        };
        problem.scaled_of(side).map_or(0, |scaled| scaled.scales.iter().map(of).sum())
    };
    let bytes = |side| (problem.outer(side) * problem.k * problem.factor_bits(side) / 8 + scales(side)) as f64;
    let entries_of = |side| if side == Side::A { row_entries } else { entries };
    let factors: f64 = problem.sides().map(|side| entries_of(side) * bytes(side)).sum();
    let result = row_entries * (problem.m * problem.n * problem.out.bytes()) as f64;
    (factors + result) / machine.memory_bytes_per_s()
}
