//! The pipeline on `tcgen05` with given schedules: every majorness, edges, batches and ways out, against the graph's
//! evaluation.

use crate::product::{self, WAYS, product};
use crate::schedules::{self, tcgen05 as schedule};
use gable_codegen::Class;
use gable_codegen::contraction::schedule::{Schedule, Tile};
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::DType;

/// For two pairs of CTAs.
fn paired(n: u32, dtype: DType, stages: u32) -> Tcgen05Schedule {
    schedules::paired(schedule(n, dtype, stages))
}

fn check(source: &str, schedule: Tcgen05Schedule) {
    for target in [Target::Sm100a, Target::Sm103a] {
        product::check(source, target, Schedule::Tcgen05(schedule));
    }
}

#[test]
fn every_majorness() {
    for transposed in WAYS {
        let source = product("bf16", (256, 256, 192), transposed, "bf16", "");
        check(&source, schedule(128, DType::BF16, 3));
        check(&source, schedule(64, DType::BF16, 2));
    }
}

#[test]
fn edges_are_right_in_every_direction() {
    for (m, n, k) in [(1, 8, 8), (63, 72, 40), (130, 136, 264), (200, 64, 8)] {
        for transposed in [[false, true], [false, false]] {
            let source = product("f16", (m, n, k), transposed, "f16", "");
            check(&source, schedule(64, DType::F16, 3));
            check(&source, schedule(256, DType::F16, 2));
        }
    }
}

#[test]
fn pairs_of_ctas_share_tiles() {
    for transposed in WAYS {
        let source = product("bf16", (512, 128, 192), transposed, "bf16", "");
        check(&source, paired(128, DType::BF16, 3));
        check(&source, paired(256, DType::BF16, 2));
    }
}

#[test]
fn pairs_are_right_at_edges() {
    // The second CTA of a pair may have no row at all, and no column.
    for (m, n, k) in [(1, 8, 8), (130, 136, 136), (300, 72, 40)] {
        let source = product("f16", (m, n, k), [false, true], "f16", "");
        check(&source, paired(64, DType::F16, 3));
        check(&source, paired(192, DType::F16, 2));
    }
    let source = product("f16", (296, 136, 72), [true, false], "f16", "");
    check(&source, paired(128, DType::F16, 3));
}

#[test]
fn pairs_finish_what_single_ctas_finish() {
    for (m, n) in [(256, 128), (100, 104), (290, 66)] {
        let source = product("bf16", (m, n, 128), [false, true], "bf16", &product::layer(m, n));
        check(&source, paired(64, DType::BF16, 2));
    }
    let source = product("tf32", (256, 64, 96), [false, true], "f32", "");
    check(&source, paired(64, DType::Tf32, 2));
    let source = product("e4m3", (256, 64, 256), [false, true], "bf16", "");
    check(&source, paired(64, DType::E4M3, 2));
    let source = product("i8", (130, 80, 272), [false, true], "i32", "");
    product::check(&source, Target::Sm100a, Schedule::Tcgen05(paired(32, DType::I8, 2)));
    let source = "graph @batched(%a: bf16[2, 3, 130, 72], %b: bf16[2, 3, 72, 80]) {\n  region @r contraction {\n    \
        %sum = matmul %a, %b {acc=f32, out=bf16} : bf16[2, 3, 130, 80]\n  }\n  return c = %sum\n}\n";
    check(source, paired(128, DType::BF16, 3));
}

#[test]
fn results_that_are_no_rows_of_whole_chunks_leave_in_pieces() {
    // Rows of the result are no multiple of 16 bytes: the copy engine cannot store them.
    let source = product("bf16", (70, 37, 64), [false, true], "bf16", "");
    check(&source, schedule(64, DType::BF16, 3));
    let turned = "    %result = transpose %sum {perm=[1, 0]} : bf16[72, 80]\n";
    let source = product("bf16", (80, 72, 64), [false, true], "bf16", turned);
    check(&source, schedule(64, DType::BF16, 3));
    // Neither are those of narrow tiles whole spans.
    let source = product("bf16", (70, 48, 64), [false, true], "bf16", "");
    check(&source, schedule(16, DType::BF16, 3));
    check(&source, schedule(48, DType::BF16, 3));
}

#[test]
fn the_region_computes_with_rows_of_sums() {
    for (m, n) in [(128, 128), (100, 104), (130, 66)] {
        let source = product("bf16", (m, n, 128), [false, true], "bf16", &product::layer(m, n));
        check(&source, schedule(64, DType::BF16, 2));
        check(&source, schedule(128, DType::BF16, 4));
    }
}

#[test]
fn other_types_of_factors_and_results() {
    let source = product("bf16", (128, 64, 128), [false, true], "f32", "");
    check(&source, schedule(64, DType::BF16, 2));
    let source = product("tf32", (128, 64, 96), [false, true], "f32", "");
    check(&source, schedule(64, DType::Tf32, 2));
    let source = product("e4m3", (128, 64, 256), [false, true], "bf16", "");
    check(&source, schedule(64, DType::E4M3, 2));
    let source = product("e5m2", (72, 80, 144), [false, true], "f32", "");
    check(&source, schedule(64, DType::E5M2, 3));
    // Only sm_100 multiplies integers.
    for (name, dtype) in [("i8", DType::I8), ("u8", DType::U8)] {
        let source = product(name, (130, 80, 272), [false, true], "i32", "");
        product::check(&source, Target::Sm100a, Schedule::Tcgen05(schedule(48, dtype, 2)));
        let refused = product::refused(&source, Target::Sm103a, Schedule::Tcgen05(schedule(48, dtype, 2)));
        assert_eq!(refused, format!("contraction of `{name}`: no kernel multiplies this type"));
    }
}

#[test]
fn batches_are_dimensions_of_the_maps() {
    let source = "graph @batched(%a: bf16[2, 3, 130, 72], %b: bf16[2, 3, 72, 80]) {\n  region @r contraction {\n    \
        %sum = matmul %a, %b {acc=f32, out=bf16} : bf16[2, 3, 130, 80]\n  }\n  return c = %sum\n}\n";
    check(source, schedule(64, DType::BF16, 3));
}

#[test]
fn every_width_assembles_without_spills_in_its_class() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    let (m, n, k) = (4096, 4096, 4096);
    let turned = format!("    %result = transpose %sum {{perm=[1, 0]}} : bf16[{n}, {m}]\n");
    let cases = [
        ("plain", product("bf16", (m, n, k), [false, true], "bf16", "")),
        ("across", product("f16", (m, n, k), [true, false], "f16", "")),
        ("layer", product("bf16", (m, n, k), [false, true], "bf16", &product::layer(m, n))),
        ("wide", product("tf32", (m, n, k), [false, true], "f32", "")),
        ("edges", product("bf16", (m - 1, n - 8, k), [false, true], "bf16", &product::layer(m - 1, n - 8))),
        ("turned", product("bf16", (m, n, k), [false, true], "bf16", &turned)),
    ];
    for target in [Target::Sm100a, Target::Sm103a, Target::Sm100f] {
        let mut module = Module::new(target, Vec::new());
        for (name, source) in &cases {
            let dtype = if *name == "wide" { DType::Tf32 } else { DType::BF16 };
            let widths = [256, 192, 128, 64].map(|n| schedule(n, dtype, 3));
            // Half of 192 and of 64 columns is no whole span of what lies across rows.
            let pairs = [256, 192, 128, 64].map(|n| paired(n, dtype, 3));
            let pairs = pairs.into_iter().filter(|s| *name != "across" || s.brought().n.is_multiple_of(64));
            for schedule in widths.into_iter().chain(pairs) {
                let (n, ctas) = (schedule.tile.n, schedule.ctas_per_tile);
                let schedule = Schedule::Tcgen05(schedule);
                let mut kernel = product::kernel(source, target, schedule);
                assert_eq!(Class::found(&kernel), schedule.class(), "{name}: {schedule}");
                kernel.name = format!("{name}_{n}_{ctas}");
                module.push(kernel);
            }
        }
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}

#[test]
fn the_rule_takes_it_where_both_factors_are_boxes() {
    let chosen = |source: &str, target| product::chosen(source, target).to_string();
    let large = product("bf16", (8192, 8192, 8192), [false, true], "bf16", "");
    let lines: Vec<String> = [
        chosen(&large, Target::Sm100a),
        chosen(&large, Target::Sm103a),
        chosen(&large, Target::Sm100f),
        chosen(&product("f16", (512, 512, 512), [true, false], "f16", ""), Target::Sm100a),
        chosen(&product("tf32", (4096, 1024, 1024), [false, true], "f32", ""), Target::Sm103a),
        chosen(&product("bf16", (300, 72, 4096), [false, false], "bf16", ""), Target::Sm100a),
        // Rows of no multiple of 16 bytes are no boxes.
        chosen(&product("bf16", (512, 500, 500), [false, true], "bf16", ""), Target::Sm100a),
    ]
    .to_vec();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn schedules_that_do_not_fit_are_refused_by_name() {
    let source = product("bf16", (512, 512, 512), [false, false], "bf16", "");
    let right = schedule(128, DType::BF16, 3);
    let narrow = Tile { k: 32, ..right.tile };
    let refused = |schedule, target| product::refused(&source, target, Schedule::Tcgen05(schedule));
    let cases = [
        refused(right, Target::Sm90a),
        refused(Tcgen05Schedule { tile: Tile { m: 64, ..right.tile }, ..right }, Target::Sm100a),
        refused(schedule(264, DType::BF16, 3), Target::Sm100a),
        refused(schedule(96, DType::BF16, 3), Target::Sm100a),
        refused(Tcgen05Schedule { tile: narrow, ..right }, Target::Sm100a),
        refused(schedule(256, DType::BF16, 6), Target::Sm100a),
        refused(schedule(128, DType::BF16, 1), Target::Sm100a),
        refused(Tcgen05Schedule { ctas: 0, ..right }, Target::Sm100a),
        refused(Tcgen05Schedule { ctas_per_tile: 3, ..right }, Target::Sm100a),
        refused(Tcgen05Schedule { ctas_per_tile: 2, ..right }, Target::Sm100a),
        refused(Tcgen05Schedule { ctas: 3, ..paired(128, DType::BF16, 3) }, Target::Sm100a),
        refused(paired(48, DType::BF16, 3), Target::Sm100a),
        refused(paired(64, DType::BF16, 3), Target::Sm100a),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}
