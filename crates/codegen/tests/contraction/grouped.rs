//! Products of rows in groups: ragged and empty groups, edges, what follows the product, on every class of kernels, against the
//! graph's evaluation.

use crate::product;
use crate::schedules;
use gable_codegen::contraction::mma_ring::schedule::MmaRingSchedule;
use gable_codegen::contraction::schedule::{FmaSchedule, MmaSyncSchedule, Schedule, Tile};
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_codegen::contraction::wgmma::schedule::Sharing;
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::{DType, Scalar, Tensor};

/// A graph of one region: `rows` by `k`, by matrices that lie as `[k, n]` or turned.
fn graph(element: &str, [rows, groups, n, k]: [usize; 4], turned: bool, ends: &str, after: &str) -> String {
    let (stored, turn, factor) = if turned {
        let turn = format!("    %wt = transpose %w {{perm=[0, 2, 1]}} : {element}[{groups}, {k}, {n}]\n");
        (format!("[{groups}, {n}, {k}]"), turn, "%wt")
    } else {
        (format!("[{groups}, {k}, {n}]"), String::new(), "%w")
    };
    let out = if element == "f32" { "f32" } else { "bf16" };
    let more = if after.is_empty() { String::new() } else { format!(", %bias: bf16[{n}], %rest: bf16[{rows}, {n}]") };
    let result = if after.is_empty() { "%sum" } else { "%result" };
    format!(
        "graph @grouped(%x: {element}[{rows}, {k}], %w: {element}{stored}, %ends: {ends}[{groups}]{more}) {{\n  \
         region @r contraction {{\n{turn}    %sum = grouped_matmul %x, {factor}, %ends {{acc=f32, out={out}}} : \
         {out}[{rows}, {n}]\n{after}  }}\n  return c = {result}\n}}\n"
    )
}

fn ends_of(dtype: DType, values: &[i64]) -> Tensor {
    let scalars: Vec<Scalar> = values.iter().map(|&value| Scalar::I(value.into())).collect();
    Tensor::from_scalars(dtype, vec![values.len()], scalars)
}

fn check(source: &str, target: Target, schedule: Schedule, ends: &[i64]) {
    let dtype = if source.contains("%ends: i64") { DType::I64 } else { DType::I32 };
    product::check_given(source, target, schedule, &[("ends", ends_of(dtype, ends))]);
}

fn wgmma(m: u32, n: u32, dtype: DType, sharing: Sharing) -> Schedule {
    Schedule::Wgmma(schedules::wgmma((m, n), dtype, 2, sharing))
}

/// Ends in every relation to tiles: full ones, one row, none, all; out of order, before the first row and beyond the last.
const ENDS: [[i64; 5]; 6] = [
    [64, 128, 192, 256, 300],
    [1, 1, 130, 131, 300],
    [0, 0, 0, 0, 300],
    [300, 300, 300, 300, 300],
    [70, 20, -5, 1000, 7],
    [37, 101, 167, 233, -1],
];

#[test]
fn groups_of_every_size_are_multiplied_on_wgmma() {
    for (i, ends) in ENDS.iter().enumerate() {
        let source = graph("bf16", [300, 5, 64, 72], i % 2 == 0, "i32", "");
        check(&source, Target::Sm90a, wgmma(64, 64, DType::BF16, Sharing::PingPong), ends);
        let source = graph("bf16", [300, 5, 136, 72], i % 2 == 1, "i64", "");
        check(&source, Target::Sm90a, wgmma(128, 64, DType::BF16, Sharing::Cooperative), ends);
    }
}

fn tcgen05(n: u32, dtype: DType) -> Schedule {
    Schedule::Tcgen05(schedules::tcgen05(n, dtype, 3))
}

fn tcgen05_pairs(n: u32, dtype: DType) -> Schedule {
    Schedule::Tcgen05(schedules::paired(schedules::tcgen05(n, dtype, 3)))
}

fn mma_ring(extent: (u32, u32), warps: (u32, u32), dtype: DType) -> Schedule {
    Schedule::MmaRing(schedules::mma_ring(extent, warps, dtype, 2))
}

#[test]
fn groups_of_every_size_are_multiplied_on_tcgen05() {
    for (i, ends) in ENDS.iter().enumerate() {
        let source = graph("bf16", [300, 5, 64, 72], i % 2 == 0, "i32", "");
        check(&source, Target::Sm100a, tcgen05(64, DType::BF16), ends);
        // Neither do pairs straddle two groups: their second CTA often has no row.
        let source = graph("bf16", [300, 5, 136, 72], i % 2 == 1, "i64", "");
        check(&source, Target::Sm103a, tcgen05_pairs(128, DType::BF16), ends);
    }
    let source = graph("e4m3", [300, 5, 64, 256], true, "i32", "");
    check(&source, Target::Sm100a, tcgen05(64, DType::E4M3), &ENDS[5]);
    // Rows that threads carry.
    let source = graph("bf16", [300, 5, 64, 74], true, "i32", "");
    let carried = Tcgen05Schedule { carriers: 1, ..schedules::tcgen05(64, DType::BF16, 3) };
    check(&source, Target::Sm100a, Schedule::Tcgen05(carried), &ENDS[5]);
}

#[test]
fn groups_of_every_size_are_multiplied_by_warps_that_the_copy_engine_feeds() {
    for (i, ends) in ENDS.iter().enumerate() {
        let source = graph("bf16", [300, 5, 64, 72], i % 2 == 0, "i32", "");
        check(&source, Target::Sm120a, mma_ring((64, 64), (4, 1), DType::BF16), ends);
    }
    let source = graph("e4m3", [300, 5, 136, 144], true, "i64", "");
    check(&source, Target::Sm120a, mma_ring((64, 128), (2, 2), DType::E4M3), &ENDS[1]);
}

#[test]
fn groups_are_multiplied_by_threads_of_every_target() {
    for (i, ends) in ENDS.iter().enumerate() {
        let source = graph("bf16", [300, 5, 40, 40], i % 2 == 0, "i32", "");
        let tile = Tile { m: 64, n: 32, k: 32 };
        let schedule = MmaSyncSchedule { products: 1, tile, warps: (2, 2), stages: 3, group: 2 };
        check(&source, Target::Sm120a, Schedule::MmaSync(schedule), ends);
        let source = graph("f32", [300, 5, 40, 12], i % 2 == 1, "i64", "");
        let schedule = FmaSchedule { products: 1, tile: Tile { m: 64, n: 64, k: 16 }, thread: (8, 4), group: 2 };
        check(&source, Target::Sm100a, Schedule::Fma(schedule), ends);
    }
}

#[test]
fn what_follows_the_product_reads_and_writes_the_groups_own_rows() {
    for ends in [ENDS[1], ENDS[5]] {
        let source = graph("bf16", [300, 5, 64, 64], true, "i32", &product::layer(300, 64));
        check(&source, Target::Sm90a, wgmma(128, 64, DType::BF16, Sharing::Cooperative), &ends);
        check(&source, Target::Sm90a, wgmma(64, 64, DType::BF16, Sharing::PingPong), &ends);
        check(&source, Target::Sm100a, tcgen05(64, DType::BF16), &ends);
        check(&source, Target::Sm100a, tcgen05_pairs(64, DType::BF16), &ends);
        check(&source, Target::Sm120a, mma_ring((64, 64), (4, 1), DType::BF16), &ends);
        let schedule =
            MmaSyncSchedule { products: 1, tile: Tile { m: 64, n: 32, k: 32 }, warps: (2, 2), stages: 3, group: 2 };
        check(&source, Target::Sm100a, Schedule::MmaSync(schedule), &ends);
    }
    // Results that the copy engine cannot write.
    let turned = "    %result = transpose %sum {perm=[1, 0]} : bf16[64, 300]\n";
    let source =
        graph("bf16", [300, 5, 64, 64], true, "i32", turned).replace(", %bias: bf16[64], %rest: bf16[300, 64]", "");
    check(&source, Target::Sm90a, wgmma(128, 64, DType::BF16, Sharing::Cooperative), &ENDS[5]);
    check(&source, Target::Sm100a, tcgen05(64, DType::BF16), &ENDS[5]);
    check(&source, Target::Sm120a, mma_ring((64, 64), (4, 1), DType::BF16), &ENDS[5]);
}

#[test]
fn sums_of_8_bit_floats_are_promoted_group_by_group() {
    let source = graph("e4m3", [300, 5, 64, 256], true, "i32", "");
    for ends in [ENDS[1], ENDS[4]] {
        check(&source, Target::Sm90a, wgmma(128, 64, DType::E4M3, Sharing::Cooperative), &ends);
    }
}

/// A graph of one region: rows of mxfp8 by matrices stored so, with a scale for 32 values of k each.
fn scaled_graph([rows, groups, n, k]: [usize; 4], elements: [&str; 2]) -> String {
    let blocks = k / 32;
    let factor = |name: &str, outer: &str| {
        format!(
            "    %{name}v = cast %{name}e {{to=f32}} : f32[{outer}, {k}]\n    \
             %{name}c = cast %{name}s {{to=f32}} : f32[{outer}, {blocks}]\n    \
             %{name}1 = reshape %{name}c {{shape=[{outer}, {blocks}, 1]}} : f32[{outer}, {blocks}, 1]\n    \
             %{name}2 = broadcast %{name}1 {{shape=[{outer}, {blocks}, 32]}} : f32[{outer}, {blocks}, 32]\n    \
             %{name}3 = reshape %{name}2 {{shape=[{outer}, {k}]}} : f32[{outer}, {k}]\n    \
             %{name} = mul %{name}v, %{name}3 : f32[{outer}, {k}]\n"
        )
    };
    let (x, w) = (factor("x", &rows.to_string()), factor("w", &format!("{groups}, {n}")));
    format!(
        "graph @grouped(%xe: {0}[{rows}, {k}], %xs: ue8m0[{rows}, {blocks}], %we: {1}[{groups}, {n}, {k}], \
         %ws: ue8m0[{groups}, {n}, {blocks}], %ends: i32[{groups}]) {{\n  region @r contraction {{\n{x}{w}    \
         %t = transpose %w {{perm=[0, 2, 1]}} : f32[{groups}, {k}, {n}]\n    \
         %sum = grouped_matmul %x, %t, %ends {{acc=f32, out=bf16}} : bf16[{rows}, {n}]\n  }}\n  return c = %sum\n}}\n",
        elements[0], elements[1]
    )
}

#[test]
fn groups_of_block_scaled_factors_are_multiplied_as_they_are_stored() {
    for (ends, elements) in [(ENDS[1], ["e4m3", "e4m3"]), (ENDS[5], ["e4m3", "e2m1"])] {
        let source = scaled_graph([300, 5, 72, 320], elements);
        let Schedule::Tcgen05(plain) = tcgen05(64, DType::U8) else { unreachable!("a schedule on tcgen05") };
        let single = Tcgen05Schedule { scales: 4, ..plain };
        check(&source, Target::Sm100a, Schedule::Tcgen05(single), &ends);
        check(&source, Target::Sm100a, Schedule::Tcgen05(schedules::paired(single)), &ends);
        let ring = MmaRingSchedule { scales: 4, ..schedules::mma_ring((64, 64), (4, 1), DType::U8, 2) };
        check(&source, Target::Sm120a, Schedule::MmaRing(ring), &ends);
    }
}

#[test]
fn groups_of_matrices_that_are_stored_narrow_are_unpacked_on_the_way() {
    let (rows, groups, n, k) = (300, 5, 72, 64);
    let source = format!(
        "graph @grouped(%x: bf16[{rows}, {k}], %w: e4m3[{groups}, {n}, {k}], %ends: i32[{groups}]) {{\n  region @r contraction {{\n    \
         %wide = cast %w {{to=bf16}} : bf16[{groups}, {n}, {k}]\n    \
         %t = transpose %wide {{perm=[0, 2, 1]}} : bf16[{groups}, {k}, {n}]\n    \
         %sum = grouped_matmul %x, %t, %ends {{acc=f32, out=bf16}} : bf16[{rows}, {n}]\n  }}\n  return c = %sum\n}}\n"
    );
    for ends in [ENDS[1], ENDS[5]] {
        let carried = Tcgen05Schedule { carriers: 1, ..schedules::tcgen05(64, DType::BF16, 3) };
        check(&source, Target::Sm100a, Schedule::Tcgen05(carried), &ends);
    }
}

#[test]
fn the_rule_takes_the_class_of_the_target() {
    let source = graph("bf16", [8192, 64, 4096, 14336], true, "i32", "");
    for (target, is_taken) in [
        (Target::Sm90a, (|schedule| matches!(schedule, Schedule::Wgmma(_))) as fn(&Schedule) -> bool),
        (Target::Sm100a, |schedule| matches!(schedule, Schedule::Tcgen05(_))),
        (Target::Sm120a, |schedule| matches!(schedule, Schedule::MmaRing(_))),
    ] {
        let chosen = product::chosen(&source, target);
        assert!(is_taken(&chosen), "{target}: {chosen}");
        println!("{target}: {chosen}");
    }
    // Few rows have no family of their own here, and one group is a group.
    for rows in [1, 8, 100] {
        let chosen = product::chosen(&graph("bf16", [rows, 1, 64, 256], true, "i32", ""), Target::Sm90a);
        assert!(!matches!(chosen, Schedule::FewRows(_)), "{chosen}");
    }
}

#[test]
fn grouped_products_assemble_without_spills() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    for (target, element) in [
        (Target::Sm90a, "bf16"),
        (Target::Sm90a, "e4m3"),
        (Target::Sm120a, "bf16"),
        (Target::Sm120a, "e4m3"),
        (Target::Sm100a, "bf16"),
        (Target::Sm103a, "e4m3"),
        (Target::Sm100a, "f32"),
    ] {
        let mut module = Module::new(target, Vec::new());
        for (rows, turned) in [(8192, true), (700, false)] {
            let source = graph(element, [rows, 64, 4096, 1024], turned || element == "e4m3", "i32", "");
            let mut kernel = product::kernel(&source, target, product::chosen(&source, target));
            kernel.name = format!("grouped_{rows}");
            module.push(kernel);
        }
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}
