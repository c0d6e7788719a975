//! Several products of one left factor in one kernel, by given schedules of every pipeline, against the graph's evaluation.

use crate::schedules;
use crate::{cases, emulation, product};
use gable_codegen::contraction::few_rows::schedule::{FewRowsSchedule, FragmentsSchedule, StreamedSchedule};
use gable_codegen::contraction::schedule::{FmaSchedule, MmaSyncSchedule, Schedule, Tile};
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::Target;
use gable_tensor::DType;

/// `relu(a by b) + (a by b1) * gate`, with the right factors lying as `transposed` says.
fn pair(dtype: &str, (m, n, k): (usize, usize, usize), transposed: [bool; 2], out: &str) -> String {
    let right = |name: &str, is_transposed: bool| {
        let (stored, turn) = if is_transposed {
            let turn = format!("    %t{name} = transpose %{name} {{perm=[1, 0]}} : {dtype}[{k}, {n}]\n");
            (format!("{dtype}[{n}, {k}]"), turn)
        } else {
            (format!("{dtype}[{k}, {n}]"), String::new())
        };
        (format!("%{name}: {stored}"), turn, if is_transposed { format!("%t{name}") } else { format!("%{name}") })
    };
    let (b, turn, first) = right("b", transposed[0]);
    let (c, turn_c, second) = right("c", transposed[1]);
    let acc = if matches!(dtype, "i8" | "i32") { "i32" } else { dtype_sum(dtype) };
    format!(
        "graph @pair(%a: {dtype}[{m}, {k}], {b}, {c}, %bias: {out}[{n}]) {{\n  region @r contraction {{\n{turn}{turn_c}    \
         %first = matmul %a, {first} {{acc={acc}, out={out}}} : {out}[{m}, {n}]\n    \
         %second = matmul %a, {second} {{acc={acc}, out={out}}} : {out}[{m}, {n}]\n    \
         %wide = broadcast %bias {{shape=[{m}, {n}]}} : {out}[{m}, {n}]\n    \
         %gate = relu %first : {out}[{m}, {n}]\n    %up = mul %second, %wide : {out}[{m}, {n}]\n    \
         %result = add %gate, %up : {out}[{m}, {n}]\n  }}\n  return d = %result\n}}\n"
    )
}

fn dtype_sum(dtype: &str) -> &str {
    if dtype == "f64" { "f64" } else { "f32" }
}

fn wgmma(extent: (u32, u32), dtype: DType, consumers: u32, sharing: Sharing) -> Schedule {
    Schedule::Wgmma(WgmmaSchedule { products: 2, ..schedules::wgmma(extent, dtype, consumers, sharing) })
}

fn tcgen05(n: u32, dtype: DType) -> Schedule {
    Schedule::Tcgen05(Tcgen05Schedule { products: 2, ..schedules::tcgen05(n, dtype, 3) })
}

/// The same for two pairs of CTAs.
fn of_two_ctas(n: u32, dtype: DType) -> Schedule {
    Schedule::Tcgen05(Tcgen05Schedule { products: 2, ..schedules::paired(schedules::tcgen05(n, dtype, 3)) })
}

fn mma((m, n, k): (u32, u32, u32), warps: (u32, u32)) -> Schedule {
    Schedule::MmaSync(MmaSyncSchedule { tile: Tile { m, n, k }, products: 2, warps, stages: 3, group: 2 })
}

fn fma((m, n, k): (u32, u32, u32), thread: (u32, u32)) -> Schedule {
    Schedule::Fma(FmaSchedule { tile: Tile { m, n, k }, products: 2, thread, group: 2 })
}

fn few_rows(warps: u32, tiles: u32, depth: u32, ctas: u32) -> Schedule {
    let rows_ahead = ctas == 1;
    let fragments = FragmentsSchedule { warps, tiles, products: 2, depth, ctas, rows_ahead };
    Schedule::FewRows(FewRowsSchedule::Fragments(fragments))
}

/// The same by way of shared memory, each of `clusters` clusters of `split` CTAs.
fn streamed((warps, joiners): (u32, u32), tiles: u32, (split, clusters): (u32, u32), held: bool) -> Schedule {
    let ctas = split * clusters;
    let schedule = StreamedSchedule { warps, joiners, tiles, products: 2, steps: 2, split, ctas, held };
    Schedule::FewRows(FewRowsSchedule::Streamed(schedule))
}

const BOTH_ALIKE: [[bool; 2]; 2] = [[true, true], [false, false]];

#[test]
fn wgmma_multiplies_pairs_with_cooperating_consumers_and_with_turns() {
    for transposed in BOTH_ALIKE {
        for sizes in [(256, 128, 128), (130, 136, 72)] {
            let source = pair("bf16", sizes, transposed, "bf16");
            product::check(&source, Target::Sm90a, wgmma((128, 64), DType::BF16, 2, Sharing::Cooperative));
            product::check(&source, Target::Sm90a, wgmma((64, 64), DType::BF16, 2, Sharing::PingPong));
        }
    }
    // Columns that fill no span, results that leave from registers.
    let source = pair("f16", (70, 37, 64), [true, true], "f16");
    product::check(&source, Target::Sm90a, wgmma((64, 16), DType::F16, 1, Sharing::Cooperative));
    let source = pair("bf16", (128, 64, 128), [true, true], "f32");
    product::check(&source, Target::Sm90a, wgmma((128, 64), DType::BF16, 2, Sharing::Cooperative));
    let source = pair("e4m3", (128, 64, 256), [true, true], "bf16");
    product::check(&source, Target::Sm90a, wgmma((128, 64), DType::E4M3, 2, Sharing::Cooperative));
}

#[test]
fn tcgen05_multiplies_pairs() {
    for transposed in BOTH_ALIKE {
        for sizes in [(256, 128, 128), (130, 136, 72)] {
            let source = pair("bf16", sizes, transposed, "bf16");
            product::check(&source, Target::Sm100a, tcgen05(64, DType::BF16));
            if transposed[0] {
                product::check(&source, Target::Sm100a, of_two_ctas(64, DType::BF16));
            }
        }
    }
    // Each CTA of a pair brings whole spans of columns.
    let source = pair("bf16", (130, 128, 72), [false, false], "bf16");
    product::check(&source, Target::Sm100a, of_two_ctas(128, DType::BF16));
    let source = pair("f16", (70, 37, 64), [true, true], "f16");
    product::check(&source, Target::Sm100a, tcgen05(16, DType::F16));
    product::check(&source, Target::Sm100a, of_two_ctas(32, DType::F16));
    let source = pair("bf16", (128, 128, 128), [true, true], "f32");
    product::check(&source, Target::Sm100a, tcgen05(128, DType::BF16));
}

#[test]
fn mma_sync_multiplies_pairs_whatever_way_each_lies() {
    for transposed in product::WAYS {
        let source = pair("bf16", (70, 72, 72), transposed, "bf16");
        product::check(&source, Target::Sm120a, mma((32, 32, 32), (2, 2)));
    }
    let source = pair("f16", (64, 64, 64), [true, false], "f32");
    product::check(&source, Target::Sm120a, mma((64, 64, 32), (2, 4)));
}

#[test]
fn fma_multiplies_pairs() {
    for (dtype, thread) in [("f32", (4, 4)), ("f64", (4, 2))] {
        let source = pair(dtype, (70, 37, 20), [true, false], dtype);
        product::check(&source, Target::Sm120a, fma((32, 32, 8), thread));
    }
}

#[test]
fn few_rows_of_pairs_share_the_halves_of_tiles() {
    for (m, n, k) in [(4, 32, 256), (3, 36, 264), (17, 20, 130)] {
        let source = pair("bf16", (m, n, k), [true, true], "bf16");
        product::check(&source, Target::Sm90a, few_rows(2, 1, 2, 2));
        product::check(&source, Target::Sm120a, few_rows(3, 2, 1, 1));
    }
    for (m, n, k) in [(4, 48, 256), (3, 36, 264), (17, 20, 200)] {
        let source = pair("bf16", (m, n, k), [true, true], "bf16");
        product::check(&source, Target::Sm90a, streamed((2, 0), 1, (1, 2), true));
        product::check(&source, Target::Sm90a, streamed((2, 1), 2, (2, 1), m < 16));
        product::check(&source, Target::Sm100a, streamed((1, 2), 1, (2, 1), false));
        product::check(&source, Target::Sm120a, streamed((3, 1), 2, (1, 1), true));
    }
    let text = product::chosen(&pair("bf16", (4, 4096, 1024), [true, true], "bf16"), Target::Sm90a).to_string();
    assert!(text.starts_with("mma.sync rows") && text.contains(" products 2 "), "{text}");
}

#[test]
fn narrow_few_rows_of_pairs_stream_with_the_scales_of_each() {
    let mut taken = 0;
    for (name, module) in cases::read("contraction").iter().filter(|(name, _)| name.starts_with("gated_few_rows")) {
        for schedule in [streamed((2, 0), 1, (1, 2), true), streamed((1, 2), 2, (2, 1), false)] {
            let found = product::run(module, Target::Sm90a, &emulation::SCHEDULES, |problem| {
                schedule.validate(problem, Target::Sm90a)?;
                Ok(schedule)
            });
            match found {
                Ok(()) => taken += 1,
                // Scales of whole columns have no groups.
                Err(error) => assert!(error.contains("scales that fit a step"), "{name}: {error}"),
            }
        }
    }
    assert!(taken >= 4, "only {taken} pairs streamed");
}

#[test]
fn a_schedule_of_other_products_is_refused() {
    let schedule = schedules::wgmma((128, 128), DType::BF16, 2, Sharing::Cooperative);
    let source = pair("bf16", (256, 128, 128), [true, true], "bf16");
    let message = product::refused(&source, Target::Sm90a, Schedule::Wgmma(schedule));
    assert!(message.contains("products is 1, expected 2"), "{message}");
    let wide = WgmmaSchedule { products: 2, stages: 2, tile: Tile { n: 136, ..schedule.tile }, ..schedule };
    let message = product::refused(&source, Target::Sm90a, Schedule::Wgmma(wide));
    assert!(message.contains("columns of the tile is 136, expected a multiple of 8 up to 128"), "{message}");
}

#[test]
fn the_rule_takes_tensor_cores_for_pairs() {
    let large = pair("bf16", (4096, 4096, 1024), [true, true], "bf16");
    let text = product::chosen(&large, Target::Sm90a).to_string();
    assert!(text.starts_with("wgmma tile") && text.contains(" products 2 "), "{text}");
    let text = product::chosen(&large, Target::Sm100a).to_string();
    assert!(text.starts_with("tcgen05 tile") && text.contains(" products 2 "), "{text}");
    // Right factors that lie differently are no one factor to the instruction.
    let mixed = pair("bf16", (4096, 4096, 1024), [true, false], "bf16");
    let text = product::chosen(&mixed, Target::Sm90a).to_string();
    assert!(text.starts_with("mma.sync tile") && text.contains(" products 2 "), "{text}");
}
