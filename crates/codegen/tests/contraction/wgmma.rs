//! The pipeline on `wgmma` with given schedules: every majorness, edges, batches and ways out, against the graph's evaluation.

use crate::product::{self, WAYS, product};
use crate::schedules;
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::Target;
use gable_tensor::DType;

fn schedule(m: u32, n: u32, dtype: DType, consumers: u32, sharing: Sharing) -> WgmmaSchedule {
    schedules::wgmma((m, n), dtype, consumers, sharing)
}

fn check(source: &str, schedule: WgmmaSchedule) {
    product::check(source, Target::Sm90a, Schedule::Wgmma(schedule));
}

#[test]
fn every_majorness_with_cooperating_consumers_and_with_turns() {
    for transposed in WAYS {
        let source = product("bf16", (256, 256, 192), transposed, "bf16", "");
        check(&source, schedule(128, 128, DType::BF16, 2, Sharing::Cooperative));
        check(&source, schedule(64, 64, DType::BF16, 2, Sharing::PingPong));
    }
}

#[test]
fn edges_are_right_in_every_direction() {
    for (m, n, k) in [(1, 8, 8), (63, 72, 40), (130, 136, 264), (200, 64, 8)] {
        for transposed in [[false, true], [false, false]] {
            let source = product("f16", (m, n, k), transposed, "f16", "");
            check(&source, schedule(128, 64, DType::F16, 2, Sharing::Cooperative));
            check(&source, schedule(64, 128, DType::F16, 2, Sharing::PingPong));
        }
    }
}

#[test]
fn results_that_are_no_rows_of_whole_chunks_leave_one_by_one() {
    // Rows of the result are no multiple of 16 bytes: the copy engine cannot store them.
    let source = product("bf16", (70, 37, 64), [false, true], "bf16", "");
    check(&source, schedule(64, 64, DType::BF16, 1, Sharing::Cooperative));
    let turned = "    %result = transpose %sum {perm=[1, 0]} : bf16[72, 80]\n";
    let source = product("bf16", (80, 72, 64), [false, true], "bf16", turned);
    check(&source, schedule(64, 64, DType::BF16, 1, Sharing::Cooperative));
}

#[test]
fn the_region_computes_with_sums_where_they_are() {
    for (m, n) in [(128, 128), (100, 104)] {
        let source = product("bf16", (m, n, 128), [false, true], "bf16", &product::layer(m, n));
        check(&source, schedule(64, 64, DType::BF16, 1, Sharing::Cooperative));
        check(&source, schedule(64, 128, DType::BF16, 2, Sharing::PingPong));
    }
}

#[test]
fn other_types_of_factors_and_results() {
    let source = product("bf16", (128, 64, 128), [false, true], "f32", "");
    check(&source, schedule(128, 64, DType::BF16, 2, Sharing::Cooperative));
    let source = product("e4m3", (128, 64, 256), [false, true], "bf16", "");
    check(&source, schedule(128, 64, DType::E4M3, 2, Sharing::Cooperative));
    let source = product("e5m2", (72, 80, 144), [false, true], "f32", "");
    check(&source, schedule(128, 64, DType::E5M2, 2, Sharing::Cooperative));
    let source = product("tf32", (128, 64, 96), [false, true], "f32", "");
    check(&source, schedule(128, 64, DType::Tf32, 2, Sharing::Cooperative));
}

/// The same by clusters whose CTAs bring operands for each other.
fn together(schedule: WgmmaSchedule, along: (u32, u32)) -> WgmmaSchedule {
    WgmmaSchedule { along, ctas: 2 * along.0 * along.1, ..schedule }
}

#[test]
fn neighbours_bring_operands_for_each_other() {
    // Several blocks for each cluster, and blocks of which some tiles lie outside.
    let shapes = [([false, true], (328, 136, 136)), ([true, false], (136, 328, 72))];
    for along in [(2, 1), (1, 2)] {
        for (transposed, (m, n, k)) in shapes {
            let source = product("bf16", (m, n, k), transposed, "bf16", "");
            check(&source, together(schedule(128, 128, DType::BF16, 2, Sharing::Cooperative), along));
        }
        let source = product("bf16", (200, 200, 72), [false, true], "bf16", &product::layer(200, 200));
        check(&source, together(schedule(64, 64, DType::BF16, 2, Sharing::PingPong), along));
    }
    let source = product("e4m3", (40, 168, 400), [false, true], "f32", "");
    check(&source, together(schedule(128, 64, DType::E4M3, 2, Sharing::Cooperative), (1, 2)));
    let source = product("bf16", (136, 104, 192), [false, true], "bf16", &product::layer(136, 104));
    check(&source, together(schedule(64, 32, DType::BF16, 1, Sharing::Cooperative), (2, 2)));
}

#[test]
fn neighbours_that_do_not_fit_are_refused_by_name() {
    let source = product("bf16", (256, 256, 128), [true, false], "bf16", "");
    let refused = |schedule| product::refused(&source, Target::Sm90a, Schedule::Wgmma(schedule));
    let whole = schedule(128, 128, DType::BF16, 2, Sharing::Cooperative);
    let cases = [
        WgmmaSchedule { along: (3, 1), ..whole },
        WgmmaSchedule { along: (2, 1), ctas: 131, ..whole },
        WgmmaSchedule { along: (1, 2), split: 2, ctas: 132, ..whole },
        WgmmaSchedule { along: (2, 1), ..schedule(128, 64, DType::BF16, 2, Sharing::Cooperative) },
    ];
    insta::assert_snapshot!(cases.map(refused).join("\n"));
}

/// The same with k split between CTAs of a cluster; each cluster has one tile.
fn split(schedule: WgmmaSchedule, split: u32) -> WgmmaSchedule {
    WgmmaSchedule { split, ctas: 132, ..schedule }
}

#[test]
fn the_ctas_of_a_cluster_add_their_sums() {
    for (n, parts) in [(64, 2), (128, 2), (128, 8)] {
        // Rounds of 64 that the parts do not divide: the last CTA has fewer, or none.
        let source = product("bf16", (128, 128, 584), [false, true], "bf16", "");
        check(&source, split(schedule(128, n, DType::BF16, 2, Sharing::Cooperative), parts));
    }
    let source = product("f16", (104, 136, 256), [true, false], "f32", "");
    check(&source, split(schedule(64, 64, DType::F16, 1, Sharing::Cooperative), 4));
    let source = product("bf16", (128, 104, 192), [false, true], "bf16", &product::layer(128, 104));
    check(&source, split(schedule(128, 128, DType::BF16, 2, Sharing::Cooperative), 2));
    let source = product("e4m3", (72, 80, 272), [false, true], "bf16", "");
    check(&source, split(schedule(128, 64, DType::E4M3, 2, Sharing::Cooperative), 2));
}

#[test]
fn splits_that_do_not_fit_are_refused_by_name() {
    let source = product("bf16", (128, 128, 256), [false, true], "bf16", "");
    let refused = |schedule| product::refused(&source, Target::Sm90a, Schedule::Wgmma(schedule));
    let whole = schedule(128, 128, DType::BF16, 2, Sharing::Cooperative);
    assert!(refused(split(whole, 3)).contains("1, 2, 4 or 8"), "{}", refused(split(whole, 3)));
    assert!(refused(split(whole, 8)).contains("rounds"), "{}", refused(split(whole, 8)));
    let crowded = WgmmaSchedule { split: 4, ..whole };
    assert!(refused(crowded).contains("a cluster has one tile"), "{}", refused(crowded));
    let turns = schedule(64, 64, DType::BF16, 2, Sharing::PingPong);
    assert!(refused(split(turns, 2)).contains("take turns"), "{}", refused(split(turns, 2)));
    let narrow = schedule(64, 32, DType::BF16, 1, Sharing::Cooperative);
    assert!(refused(split(narrow, 4)).contains("columns of the tile"), "{}", refused(split(narrow, 4)));
}

#[test]
fn a_bias_is_loaded_before_the_products_of_short_sums() {
    let with =
        Schedule::Wgmma(WgmmaSchedule { stages: 2, ..schedules::wgmma((128, 128), DType::BF16, 2, Sharing::PingPong) });
    let after = |(m, n)| product::layer(m, n);
    for (shape, ahead) in [((256, 256, 128), true), ((200, 136, 1024), true), ((256, 256, 1088), false)] {
        let source = product::product("bf16", shape, [false, true], "bf16", &after((shape.0, shape.1)));
        let kernel = product::kernel(&source, Target::Sm90a, with);
        let place = |text: &str| kernel.insts().position(|inst| inst.op.form().spelling.starts_with(text));
        let (load, multiply) = (place("ld.global"), place("wgmma.mma_async"));
        assert!(load.is_some() && multiply.is_some(), "{shape:?}");
        assert_eq!(load < multiply, ahead, "{shape:?}");
    }
    let shape = (200, 136, 72);
    let source = product::product("bf16", shape, [false, true], "bf16", &after((shape.0, shape.1)));
    product::check(&source, Target::Sm90a, with);
}
