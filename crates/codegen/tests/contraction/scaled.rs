//! Products of 8-bit floats with scales by blocks, on `wgmma`, `tcgen05` and the ring of `mma.sync`: every place of the scales,
//! edges, batches, against the graph's evaluation.

use crate::product;
use crate::schedules;
use gable_codegen::Class;
use gable_codegen::contraction::mma_ring::schedule::MmaRingSchedule;
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::{DType, Scalar, Tensor};

/// How one factor is stored: its scales' type, and how many rows (or columns) and values of k share one.
#[derive(Clone, Copy)]
struct Side {
    scale: &'static str,
    group: (usize, usize),
    /// Whether scales of neighbouring rows, not of neighbouring groups of k, lie together.
    by_rows: bool,
}

const fn side(scale: &'static str, group: (usize, usize)) -> Side {
    Side { scale, group, by_rows: false }
}

/// One scale for 128 values of k of a row, and one for 128 columns by 128 of k.
const BLOCKS: [Side; 2] = [side("f32", (1, 128)), side("f32", (128, 128))];

/// Lines that give `%NAME`, a factor of f32 `[rows, k]`, and its parameters.
fn factor(name: &str, batch: &[usize], (rows, k): (usize, usize), stored: &str, side: Side) -> (String, String) {
    let shape = |sizes: &[usize]| -> String {
        let all: Vec<String> = batch.iter().chain(sizes).map(ToString::to_string).collect();
        format!("[{}]", all.join(", "))
    };
    let (outer, groups) = (rows / side.group.0, k / side.group.1);
    let kept = shape(&[outer, groups]);
    let (parameter, turn, from) = if side.by_rows {
        let rank = batch.len() + 2;
        let perm: Vec<String> = (0..batch.len()).chain([rank - 1, rank - 2]).map(|axis| axis.to_string()).collect();
        let turn = format!("    %{name}t = transpose %{name}s {{perm=[{}]}} : {}{kept}\n", perm.join(", "), side.scale);
        (shape(&[groups, outer]), turn, format!("%{name}t"))
    } else {
        (kept.clone(), String::new(), format!("%{name}s"))
    };
    let (single, wide, flat) =
        (shape(&[outer, 1, groups, 1]), shape(&[outer, side.group.0, groups, side.group.1]), shape(&[rows, k]));
    let scale = side.scale;
    let converted =
        if scale == "f32" { String::new() } else { format!("    %{name}c = cast {from} {{to=f32}} : f32{kept}\n") };
    let from = if scale == "f32" { from } else { format!("%{name}c") };
    let lines = format!(
        "{turn}{converted}    %{name}1 = reshape {from} {{shape={single}}} : f32{single}\n    \
         %{name}2 = broadcast %{name}1 {{shape={wide}}} : f32{wide}\n    \
         %{name}3 = reshape %{name}2 {{shape={flat}}} : f32{flat}\n    \
         %{name}4 = cast %{name}e {{to=f32}} : f32{flat}\n    %{name} = mul %{name}4, %{name}3 : f32{flat}\n"
    );
    (format!("%{name}e: {stored}{flat}, %{name}s: {scale}{parameter}"), lines)
}

/// A graph of one region: both factors scaled, the right one stored by columns.
fn graph(batch: &[usize], (m, n, k): (usize, usize, usize), stored: &str, [a, b]: [Side; 2], out: &str) -> String {
    let (a_parameters, a) = factor("a", batch, (m, k), stored, a);
    let (b_parameters, b) = factor("b", batch, (n, k), stored, b);
    let rank = batch.len() + 2;
    let perm: Vec<String> = (0..batch.len()).chain([rank - 1, rank - 2]).map(|axis| axis.to_string()).collect();
    let shape = |sizes: [usize; 2]| -> String {
        let all: Vec<String> = batch.iter().chain(&sizes).map(ToString::to_string).collect();
        format!("[{}]", all.join(", "))
    };
    format!(
        "graph @scaled({a_parameters}, {b_parameters}) {{\n  region @r contraction {{\n{a}{b}    \
         %turned = transpose %b {{perm=[{}]}} : f32{}\n    \
         %sum = matmul %a, %turned {{acc=f32, out={out}}} : {out}{}\n  }}\n  return c = %sum\n}}\n",
        perm.join(", "),
        shape([k, n]),
        shape([m, n])
    )
}

fn schedule(m: u32, n: u32) -> WgmmaSchedule {
    WgmmaSchedule { stages: 2, ..schedules::wgmma((m, n), DType::E4M3, 2, Sharing::Cooperative) }
}

fn check(source: &str, schedule: WgmmaSchedule) {
    product::check(source, Target::Sm90a, Schedule::Wgmma(schedule));
}

#[test]
fn rounds_are_scaled_by_rows_and_blocks() {
    check(&graph(&[], (256, 256, 512), "e4m3", BLOCKS, "bf16"), schedule(128, 128));
    check(&graph(&[], (128, 384, 256), "e4m3", BLOCKS, "f32"), schedule(128, 192));
    check(&graph(&[], (128, 512, 128), "e5m2", BLOCKS, "bf16"), schedule(128, 64));
}

#[test]
fn scales_lie_in_other_ways_and_types() {
    let by_rows = Side { by_rows: true, ..BLOCKS[0] };
    check(&graph(&[], (128, 256, 384), "e4m3", [by_rows, BLOCKS[1]], "bf16"), schedule(128, 128));
    // Blocks on both sides, narrow types, longer groups, one scale for everything.
    let others = [side("ue8m0", (64, 256)), side("bf16", (32, 128))];
    check(&graph(&[], (128, 128, 512), "e4m3", others, "bf16"), schedule(128, 128));
    let whole = [side("f32", (1, 384)), side("f16", (256, 384))];
    check(&graph(&[], (128, 256, 384), "e4m3", whole, "f32"), schedule(128, 128));
}

#[test]
fn edges_of_rows_and_columns_read_no_scale_outside() {
    for (m, n) in [(1, 128), (130, 256), (63, 384)] {
        check(&graph(&[], (m, n, 256), "e4m3", BLOCKS, "bf16"), schedule(128, 128));
        check(&graph(&[], (m, n, 256), "e4m3", BLOCKS, "bf16"), schedule(128, 192));
    }
    let eights = [BLOCKS[0], side("f32", (24, 128))];
    check(&graph(&[], (70, 72, 128), "e4m3", eights, "bf16"), schedule(128, 32));
}

/// Each CTA of a cluster scales the sums of its own rounds; the last ones have fewer, or none.
#[test]
fn parts_of_k_are_scaled_where_they_are_summed() {
    let split = |schedule, split| WgmmaSchedule { split, ctas: 132, ..schedule };
    for parts in [2, 4] {
        check(&graph(&[], (70, 256, 640), "e4m3", BLOCKS, "bf16"), split(schedule(128, 128), parts));
    }
    check(&graph(&[], (128, 128, 384), "e4m3", BLOCKS, "f32"), split(schedule(128, 64), 2));
    let by_rows = Side { by_rows: true, ..BLOCKS[0] };
    check(&graph(&[2], (16, 128, 384), "e5m2", [by_rows, BLOCKS[1]], "bf16"), split(schedule(128, 64), 2));
    // A group of k of which two CTAs have a part each.
    let others = [side("ue8m0", (64, 256)), side("bf16", (32, 768))];
    check(&graph(&[], (128, 128, 768), "e4m3", others, "bf16"), split(schedule(128, 128), 2));
    check(
        &graph(&[], (128, 384, 1024), "e4m3", BLOCKS, "bf16"),
        WgmmaSchedule { stages: 3, ..split(schedule(128, 192), 4) },
    );
}

/// Rounds past the end of k, which a CTA with a smaller part has, have no scales; those before them may be infinite.
#[test]
fn rounds_past_the_end_add_nothing() {
    let source = graph(&[], (16, 128, 384), "e4m3", BLOCKS, "f32");
    let ones = |rows| Tensor::from_scalars(DType::E4M3, vec![rows, 384], vec![Scalar::F(1.0); rows * 384]);
    let scales = (0..16 * 3).map(|i| Scalar::F(if i % 3 == 2 { f64::INFINITY } else { 1.0 }));
    let given = [("ae", ones(16)), ("be", ones(128)), ("as", Tensor::from_scalars(DType::F32, vec![16, 3], scales))];
    let schedule = WgmmaSchedule { split: 2, ctas: 132, ..schedule(128, 64) };
    product::check_given(&source, Target::Sm90a, Schedule::Wgmma(schedule), &given);
}

#[test]
fn neighbours_have_scales_of_their_own() {
    for along in [(1, 2), (2, 1)] {
        let together = WgmmaSchedule { along, ctas: 4, ..schedule(128, 128) };
        check(&graph(&[], (330, 384, 384), "e4m3", BLOCKS, "bf16"), together);
    }
}

#[test]
fn products_side_by_side_have_scales_of_their_own() {
    check(&graph(&[3], (100, 128, 256), "e4m3", BLOCKS, "bf16"), schedule(128, 128));
}

/// Sums that the graph accumulates in a narrower type stay in the tensor cores for the whole of k.
#[test]
fn short_sums_are_asked_for_by_the_graph() {
    let source = product::product("e4m3", (128, 128, 512), [false, true], "bf16", "");
    let short = source.replace("acc=f32", "acc=tf32");
    let turns = WgmmaSchedule { sharing: Sharing::PingPong, stages: 3, ..schedule(64, 128) };
    check(&short, turns);
    check(&short, schedule(128, 64));
    let refused = product::refused(&source, Target::Sm90a, Schedule::Wgmma(turns));
    assert!(refused.contains("consumers of promoted sums"), "{refused}");
    let text = Module::new(Target::Sm90a, vec![product::kernel(&short, Target::Sm90a, Schedule::Wgmma(turns))]);
    assert!(text.to_string().contains("128x128x512 e4m3 to bf16 by short sums"), "{text}");
}

/// A schedule for factors of sums on the ring that feeds `mma.sync`.
fn ring(extent: (u32, u32), warps: (u32, u32)) -> MmaRingSchedule {
    MmaRingSchedule { scales: 1, ..schedules::mma_ring(extent, warps, DType::E4M3, 2) }
}

fn check_ring(source: &str, schedule: MmaRingSchedule) {
    product::check(source, Target::Sm120a, Schedule::MmaRing(schedule));
}

#[test]
fn rounds_of_mma_sync_are_scaled() {
    check_ring(&graph(&[], (192, 256, 512), "e4m3", BLOCKS, "bf16"), ring((96, 128), (3, 2)));
    check_ring(&graph(&[], (70, 256, 384), "e4m3", BLOCKS, "f32"), ring((64, 64), (4, 1)));
    check_ring(&graph(&[3], (33, 128, 256), "e5m2", BLOCKS, "bf16"), ring((32, 128), (2, 2)));
    let by_rows = Side { by_rows: true, ..BLOCKS[0] };
    check_ring(&graph(&[], (100, 128, 384), "e4m3", [by_rows, BLOCKS[1]], "bf16"), ring((64, 128), (4, 2)));
    // Several groups in a warp's columns, longer groups, one scale for everything.
    let others = [side("ue8m0", (64, 256)), side("bf16", (32, 128))];
    check_ring(&graph(&[], (128, 128, 512), "e4m3", others, "bf16"), ring((64, 128), (4, 2)));
    let whole = [side("f32", (1, 384)), side("f16", (256, 384))];
    check_ring(&graph(&[], (64, 256, 384), "e4m3", whole, "f32"), ring((64, 64), (2, 1)));
}

/// A schedule for factors of sums, each round of which has an accumulator in tensor memory.
fn rounds_in_tensor_memory(n: u32, accumulators: u32) -> Tcgen05Schedule {
    Tcgen05Schedule { scales: 1, accumulators, ..schedules::tcgen05(n, DType::E4M3, 2) }
}

fn check_tensor_memory(source: &str, schedule: Tcgen05Schedule) {
    product::check(source, Target::Sm100a, Schedule::Tcgen05(schedule));
}

#[test]
fn rounds_in_tensor_memory_are_scaled() {
    check_tensor_memory(&graph(&[], (256, 256, 512), "e4m3", BLOCKS, "bf16"), rounds_in_tensor_memory(128, 3));
    check_tensor_memory(&graph(&[], (70, 256, 640), "e4m3", BLOCKS, "f32"), rounds_in_tensor_memory(64, 2));
    check_tensor_memory(&graph(&[3], (130, 128, 256), "e5m2", BLOCKS, "bf16"), rounds_in_tensor_memory(64, 3));
    let by_rows = Side { by_rows: true, ..BLOCKS[0] };
    let turned = graph(&[], (100, 384, 384), "e4m3", [by_rows, BLOCKS[1]], "bf16");
    check_tensor_memory(&turned, rounds_in_tensor_memory(96, 3));
    let others = [side("ue8m0", (64, 256)), side("bf16", (32, 128))];
    check_tensor_memory(&graph(&[], (128, 128, 512), "e4m3", others, "bf16"), rounds_in_tensor_memory(128, 3));
    let whole = [side("f32", (1, 384)), side("f16", (256, 384))];
    check_tensor_memory(&graph(&[], (64, 256, 384), "e4m3", whole, "f32"), rounds_in_tensor_memory(128, 1));
    let taken = Tcgen05Schedule { takes_over: true, ..rounds_in_tensor_memory(64, 3) };
    check_tensor_memory(&graph(&[], (256, 256, 256), "e4m3", BLOCKS, "bf16"), taken);
}

#[test]
fn tiles_whose_rounds_do_not_fit_are_refused() {
    let source = graph(&[], (256, 256, 256), "e4m3", BLOCKS, "bf16");
    let refused = |schedule| product::refused(&source, Target::Sm100a, Schedule::Tcgen05(schedule));
    let cases = [
        rounds_in_tensor_memory(192, 1),
        rounds_in_tensor_memory(128, 4),
        schedules::paired(rounds_in_tensor_memory(128, 3)),
        Tcgen05Schedule { scales: 0, ..rounds_in_tensor_memory(128, 2) },
    ];
    insta::assert_snapshot!(cases.map(refused).join("\n"));
}

#[test]
fn warps_whose_columns_straddle_groups_are_refused() {
    let eights = [BLOCKS[0], side("f32", (32, 128))];
    let source = graph(&[], (128, 96, 128), "e4m3", eights, "bf16");
    let schedule = Schedule::MmaRing(ring((64, 96), (4, 2)));
    let refused = product::refused(&source, Target::Sm120a, schedule);
    assert!(refused.contains("columns of a warp is 48"), "{refused}");
}

#[test]
fn scaled_rounds_assemble_without_spills_on_blackwell() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    let source = graph(&[], (4096, 4096, 4096), "e4m3", BLOCKS, "bf16");
    let targets = [
        (Target::Sm100a, Class::Tcgen05),
        (Target::Sm103a, Class::Tcgen05),
        (Target::Sm120a, Class::MmaSync),
        (Target::Sm121a, Class::MmaSync),
    ];
    for (target, class) in targets {
        assert_eq!(product::chosen(&source, target).class(), class, "{target}");
        let mut module = Module::new(target, Vec::new());
        for (number, schedule) in product::candidates(&source, target).into_iter().enumerate() {
            if !matches!(schedule, Schedule::MmaRing(_) | Schedule::Tcgen05(_)) {
                continue;
            }
            let mut kernel = product::kernel(&source, target, schedule);
            assert_eq!((Class::found(&kernel), schedule.class()), (class, class), "{schedule}");
            kernel.name = format!("scaled_{number}");
            module.push(kernel);
        }
        assert!(module.kernels.len() > 2, "{target} has candidates");
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}

#[test]
fn scaled_rounds_assemble_without_spills() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    let mut module = Module::new(Target::Sm90a, Vec::new());
    for (m, n) in [(128, 192), (128, 128), (256, 64), (128, 64)] {
        for (name, sides) in [("e4m3", BLOCKS), ("e5m2", [Side { by_rows: true, ..BLOCKS[0] }, BLOCKS[1]])] {
            let schedule = WgmmaSchedule { stages: 4, ctas: 132, group: 16, ..schedule(m, n) };
            let source = graph(&[], (4000, 4096, 4096), name, sides, "bf16");
            let mut kernel = product::kernel(&source, Target::Sm90a, Schedule::Wgmma(schedule));
            kernel.name = format!("scaled_{m}_{n}_{name}");
            module.push(kernel);
        }
    }
    schedules::assert_no_spills(&ptxas, &module, Target::Sm90a);
}

#[test]
fn the_rule_takes_the_tensor_cores_and_says_so() {
    let source = graph(&[], (4096, 4096, 4096), "e4m3", BLOCKS, "bf16");
    let chosen = product::chosen(&source, Target::Sm90a);
    assert!(matches!(chosen, Schedule::Wgmma(_)), "{chosen}");
    // What lies across the rounds, or changes from column to column, is the region's to compute.
    for sides in [[side("ue8m0", (1, 32)); 2], [side("f32", (1, 128)); 2]] {
        let other = product::chosen(&graph(&[], (256, 256, 256), "e4m3", sides, "bf16"), Target::Sm90a);
        assert!(matches!(other, Schedule::Fma(_)), "{other}");
    }
    let narrow = [BLOCKS[0], side("f32", (16, 128))];
    let source = graph(&[], (128, 128, 128), "e4m3", narrow, "bf16");
    let refused = product::refused(&source, Target::Sm90a, Schedule::Wgmma(schedule(128, 128)));
    assert!(refused.contains("scales of the right factor in a tile is 8, expected at most 4"), "{refused}");
}
