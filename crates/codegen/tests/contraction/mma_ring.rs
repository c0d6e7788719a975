//! The pipeline on `mma.sync` that the copy engine feeds, with given schedules: every majorness, edges, batches, types, ways
//! out and block scales, against the graph's evaluation.

use crate::block_scaled::{self, Format, MXFP4, MXFP6, MXFP8, MXFP8_BY_MXFP4, MXFP8_BY_PAIRS, NVFP4};
use crate::product::{self, WAYS, product};
use crate::schedules::{self, mma_ring as schedule};
use gable_codegen::Class;
use gable_codegen::contraction::mma_ring::schedule::MmaRingSchedule;
use gable_codegen::contraction::schedule::{Schedule, Tile};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::DType;

/// A schedule for factors with block scales.
fn scaled(extent: (u32, u32), warps: (u32, u32), format: Format, stages: u32) -> MmaRingSchedule {
    let k = format.span();
    let tile = Tile { m: extent.0, n: extent.1, k };
    MmaRingSchedule { tile, warps, scales: k / format.block as u32, stages, group: 2, ctas: 2 }
}

fn check(source: &str, schedule: MmaRingSchedule) {
    product::check(source, Target::Sm120a, Schedule::MmaRing(schedule));
}

fn check_scaled(source: &str, schedule: MmaRingSchedule) {
    product::check_over(source, Target::Sm120a, Schedule::MmaRing(schedule), block_scaled::inputs);
}

#[test]
fn every_majorness() {
    for transposed in WAYS {
        let source = product("bf16", (128, 128, 192), transposed, "bf16", "");
        check(&source, schedule((128, 128), (4, 2), DType::BF16, 2));
        check(&source, schedule((64, 64), (4, 1), DType::BF16, 3));
    }
    let source = product("bf16", (256, 128, 128), [true, false], "bf16", "");
    product::check(&source, Target::Sm121a, Schedule::MmaRing(schedule((128, 64), (8, 1), DType::BF16, 2)));
}

#[test]
fn edges_are_right_in_every_direction() {
    for (m, n, k) in [(1, 8, 8), (63, 72, 40), (130, 136, 264)] {
        for transposed in [[false, true], [false, false]] {
            let source = product("f16", (m, n, k), transposed, "f16", "");
            check(&source, schedule((64, 128), (2, 2), DType::F16, 2));
            check(&source, schedule((32, 64), (2, 1), DType::F16, 3));
        }
    }
}

#[test]
fn results_that_are_no_rows_of_whole_chunks_leave_in_pairs() {
    let source = product("bf16", (70, 37, 64), [false, true], "bf16", "");
    check(&source, schedule((64, 64), (4, 1), DType::BF16, 3));
    let turned = "    %result = transpose %sum {perm=[1, 0]} : bf16[72, 80]\n";
    let source = product("bf16", (80, 72, 64), [false, true], "bf16", turned);
    check(&source, schedule((64, 64), (4, 1), DType::BF16, 3));
    // Neither are those of narrow warps whole spans.
    let source = product("bf16", (70, 48, 64), [false, true], "bf16", "");
    check(&source, schedule((32, 64), (2, 2), DType::BF16, 3));
}

#[test]
fn the_region_computes_with_sums_where_they_lie() {
    for (m, n) in [(128, 128), (100, 104), (130, 66)] {
        let source = product("bf16", (m, n, 128), [false, true], "bf16", &product::layer(m, n));
        check(&source, schedule((64, 128), (2, 2), DType::BF16, 2));
    }
}

#[test]
fn other_types_of_factors_and_results() {
    let source = product("bf16", (128, 64, 128), [false, true], "f32", "");
    check(&source, schedule((64, 64), (2, 1), DType::BF16, 2));
    let source = product("tf32", (128, 64, 96), [false, true], "f32", "");
    check(&source, schedule((64, 64), (2, 1), DType::Tf32, 2));
    let source = product("e4m3", (128, 64, 256), [false, true], "bf16", "");
    check(&source, schedule((64, 64), (2, 1), DType::E4M3, 2));
    let source = product("e5m2", (72, 80, 144), [false, true], "f32", "");
    check(&source, schedule((64, 64), (2, 1), DType::E5M2, 3));
    for (name, dtype) in [("i8", DType::I8), ("u8", DType::U8)] {
        let source = product(name, (130, 80, 272), [false, true], "i32", "");
        check(&source, schedule((64, 64), (2, 1), dtype, 2));
    }
}

#[test]
fn batches_are_dimensions_of_the_maps() {
    let source = "graph @batched(%a: bf16[2, 3, 130, 72], %b: bf16[2, 3, 72, 80]) {\n  region @r contraction {\n    \
        %sum = matmul %a, %b {acc=f32, out=bf16} : bf16[2, 3, 130, 80]\n  }\n  return c = %sum\n}\n";
    check(source, schedule((64, 64), (4, 1), DType::BF16, 3));
}

#[test]
fn block_scales_come_with_the_stages() {
    for format in [MXFP8, MXFP4, NVFP4] {
        let source = block_scaled::graph((128, 128, 1280), format, "bf16");
        let wide = if format == MXFP8 { ((128, 128), (4, 2)) } else { ((96, 128), (3, 2)) };
        check_scaled(&source, scaled(wide.0, wide.1, format, 2));
        let source = block_scaled::graph((130, 72, 320), format, "f32");
        check_scaled(&source, scaled((64, 64), (4, 1), format, 3));
        check_scaled(&source, scaled((32, 64), (2, 2), format, 3));
    }
    let mixed = Format { elements: ["e5m2", "e4m3"], ..MXFP8 };
    check_scaled(&block_scaled::graph((64, 64, 256), mixed, "bf16"), scaled((64, 64), (2, 1), mixed, 2));
    let shared = Format { shared: true, in_atoms: true, ..NVFP4 };
    check_scaled(&block_scaled::graph((128, 128, 512), shared, "bf16"), scaled((64, 128), (2, 2), shared, 2));
}

#[test]
fn codes_of_fewer_bits_are_placed_in_their_bytes() {
    for elements in block_scaled::MIXES {
        let format = Format { elements, ..MXFP8 };
        let schedule = Schedule::MmaRing(scaled((64, 64), (2, 1), format, 2));
        for (left, element) in [(true, elements[0]), (false, elements[1])] {
            // Of 8 bits some codes are no numbers.
            if !matches!(element, "e4m3" | "e5m2") {
                let source = block_scaled::graph((128, 64, 128), format, "f32");
                let inputs = |module: &gable_ir::Module| block_scaled::any_codes(module, left);
                product::check_over(&source, Target::Sm120a, schedule, inputs);
            }
        }
    }
    for format in [MXFP6, MXFP8_BY_MXFP4, MXFP8_BY_PAIRS] {
        check_scaled(&block_scaled::graph((128, 128, 1280), format, "bf16"), scaled((128, 128), (4, 2), format, 2));
        check_scaled(&block_scaled::graph((130, 72, 320), format, "f32"), scaled((64, 64), (4, 1), format, 3));
    }
}

#[test]
fn every_candidate_assembles_without_spills_in_its_class() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    let (m, n, k) = (4096, 4096, 4096);
    let turned = format!("    %result = transpose %sum {{perm=[1, 0]}} : bf16[{n}, {m}]\n");
    let plain = [
        ("plain", DType::BF16, product("bf16", (m, n, k), [false, true], "bf16", "")),
        ("across", DType::F16, product("f16", (m, n, k), [true, false], "f16", "")),
        ("layer", DType::BF16, product("bf16", (m, n, k), [false, true], "bf16", &product::layer(m, n))),
        ("wide", DType::Tf32, product("tf32", (m, n, k), [false, true], "f32", "")),
        (
            "edges",
            DType::BF16,
            product("bf16", (m - 1, n - 8, k), [false, true], "bf16", &product::layer(m - 1, n - 8)),
        ),
        ("turned", DType::BF16, product("bf16", (m, n, k), [false, true], "bf16", &turned)),
        ("bytes", DType::E4M3, product("e4m3", (m, n, k), [false, true], "bf16", "")),
    ];
    let formats = [
        ("mxfp8", MXFP8),
        ("mxfp6", MXFP6),
        ("mixed", MXFP8_BY_MXFP4),
        ("pairs", MXFP8_BY_PAIRS),
        ("mxfp4", MXFP4),
        ("nvfp4", NVFP4),
    ];
    let extents: [((u32, u32), (u32, u32)); 5] =
        [((128, 128), (4, 2)), ((96, 128), (3, 2)), ((128, 64), (8, 1)), ((64, 128), (4, 2)), ((32, 64), (2, 1))];
    for target in [Target::Sm120a, Target::Sm121a, Target::Sm120f] {
        let mut module = Module::new(target, Vec::new());
        let mut push = |name: &str, source: &str, schedule: MmaRingSchedule| {
            let Tile { m, n, .. } = schedule.tile;
            let schedule = Schedule::MmaRing(schedule);
            let mut kernel = product::kernel(source, target, schedule);
            assert_eq!(Class::found(&kernel), schedule.class(), "{name}: {schedule}");
            kernel.name = format!("{name}_{m}_{n}");
            module.push(kernel);
        };
        for (extent, warps) in extents {
            for (name, dtype, source) in &plain {
                if *name != "across" || extent.0.is_multiple_of(64) {
                    push(name, source, schedule(extent, warps, *dtype, 2));
                }
            }
            for (name, format) in formats {
                if extent != (128, 128) || format.span() == 128 {
                    push(name, &block_scaled::graph((m, n, k), format, "bf16"), scaled(extent, warps, format, 2));
                }
            }
        }
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}

#[test]
fn the_rule_takes_it_where_both_factors_are_boxes() {
    let chosen = |source: &str, target| product::chosen(source, target).to_string();
    let large = product("bf16", (8192, 8192, 8192), [false, true], "bf16", "");
    let mut lines = vec![
        chosen(&large, Target::Sm120a),
        chosen(&large, Target::Sm121a),
        chosen(&large, Target::Sm120f),
        chosen(&product("f16", (512, 512, 512), [true, false], "f16", ""), Target::Sm120a),
        chosen(&product("e4m3", (4096, 4096, 4096), [false, true], "bf16", ""), Target::Sm120a),
        // Rows of no multiple of 16 bytes are no boxes.
        chosen(&product("bf16", (512, 500, 500), [false, true], "bf16", ""), Target::Sm120a),
    ];
    for format in [MXFP8, MXFP4, NVFP4] {
        lines.push(chosen(&block_scaled::graph((4096, 4096, 4096), format, "bf16"), Target::Sm120a));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn schedules_that_do_not_fit_are_refused_by_name() {
    let source = product("bf16", (512, 512, 512), [false, false], "bf16", "");
    let right = schedule((128, 128), (4, 2), DType::BF16, 2);
    let refused = |schedule, target| product::refused(&source, target, Schedule::MmaRing(schedule));
    let cases = [
        refused(right, Target::Sm100a),
        refused(MmaRingSchedule { stages: 1, ..right }, Target::Sm120a),
        refused(MmaRingSchedule { stages: 4, ..right }, Target::Sm120a),
        refused(MmaRingSchedule { warps: (3, 2), ..right }, Target::Sm120a),
        refused(MmaRingSchedule { warps: (1, 1), ..right }, Target::Sm120a),
        refused(MmaRingSchedule { scales: 4, ..right }, Target::Sm120a),
        refused(MmaRingSchedule { ctas: 0, ..right }, Target::Sm120a),
        refused(schedule((128, 96), (4, 2), DType::BF16, 2), Target::Sm120a),
        refused(MmaRingSchedule { tile: Tile { k: 32, ..right.tile }, ..right }, Target::Sm120a),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}
