//! Operands that threads carry into the stages of `wgmma` and `tcgen05`: unaligned rows, conversions, computed elements,
//! padded images and weights stored narrow, by given schedules, against the graph's evaluation.

use crate::product::{self, WAYS, product};
use crate::{cases, emulation, schedules};
use gable_codegen::Class;
use gable_codegen::contraction::problem::Problem;
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::DType;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

fn schedule(m: u32, n: u32, dtype: DType, (carriers, consumers): (u32, u32), sharing: Sharing) -> WgmmaSchedule {
    WgmmaSchedule { carriers, ..schedules::wgmma((m, n), dtype, consumers, sharing) }
}

fn check(source: &str, schedule: WgmmaSchedule) {
    product::check(source, Target::Sm90a, Schedule::Wgmma(schedule));
}

#[test]
fn unaligned_rows_come_in_every_majorness() {
    for transposed in WAYS {
        let source = product("bf16", (130, 137, 203), transposed, "bf16", "");
        check(&source, schedule(128, 128, DType::BF16, (1, 2), Sharing::Cooperative));
        check(&source, schedule(64, 64, DType::BF16, (2, 2), Sharing::PingPong));
        check(&source, schedule(64, 64, DType::BF16, (1, 1), Sharing::Cooperative));
    }
}

/// On tensor memory, with so many times four warps that carry.
fn in_tensor_memory(n: u32, dtype: DType, carriers: u32) -> Schedule {
    Schedule::Tcgen05(Tcgen05Schedule { carriers, ..schedules::tcgen05(n, dtype, 2) })
}

#[test]
fn unaligned_rows_come_to_tcgen05() {
    for transposed in WAYS {
        let source = product("bf16", (130, 137, 203), transposed, "bf16", "");
        product::check(&source, Target::Sm100a, in_tensor_memory(128, DType::BF16, 1));
        product::check(&source, Target::Sm103a, in_tensor_memory(64, DType::BF16, 2));
    }
}

#[test]
fn factors_that_begin_within_a_buffer_are_boxes() {
    // Rows 3 and on of a larger matrix, and columns 24 and on.
    let source = "graph @part(%a: bf16[70, 104], %b: bf16[80, 64]) {\n  region @r contraction {\n    \
        %part = slice %a {starts=[3, 24], ends=[67, 88], steps=[1, 1]} : bf16[64, 64]\n    \
        %t = transpose %b {perm=[1, 0]} : bf16[64, 80]\n    \
        %sum = matmul %part, %t {acc=f32, out=bf16} : bf16[64, 80]\n  }\n  return c = %sum\n}\n";
    check(source, schedule(64, 64, DType::BF16, (0, 1), Sharing::Cooperative));
    product::check(source, Target::Sm100a, in_tensor_memory(64, DType::BF16, 0));
}

/// Runs every case that one of the schedules takes; some must be among them.
fn every_case(target: Target, schedules: impl Fn(DType) -> [Schedule; 2] + Sync) {
    let taken = AtomicUsize::new(0);
    let failed: Vec<String> = cases::read("contraction")
        .par_iter()
        .filter_map(|(name, module)| {
            let mut is_taken = false;
            let choose = |problem: &Problem| {
                let schedules = schedules(problem.element);
                let valid = schedules.into_iter().find(|schedule| schedule.validate(problem, target).is_ok());
                is_taken = valid.is_some();
                Ok(valid.unwrap_or(schedules[0]))
            };
            let result = product::run(module, target, &emulation::SCHEDULES[2..], choose);
            // Other problems are refused, which is another test's; so are reductions of rows that the kernel leaves to another.
            taken.fetch_add(usize::from(is_taken), Ordering::Relaxed);
            let is_fault = |error: &String| is_taken && !error.contains("does not reduce rows of its result");
            result.err().filter(is_fault).map(|error| format!("{name}: {error}"))
        })
        .collect();
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
    assert!(taken.into_inner() > 60, "most cases of 16-bit factors are taken");
}

#[test]
fn every_case_comes_to_wgmma() {
    every_case(Target::Sm90a, |dtype| {
        [0, 1].map(|carriers| Schedule::Wgmma(schedule(64, 64, dtype, (carriers, 1), Sharing::Cooperative)))
    });
}

#[test]
fn every_case_comes_to_tcgen05() {
    every_case(Target::Sm100a, |dtype| [0, 1].map(|carriers| in_tensor_memory(64, dtype, carriers)));
}

/// Sources of large products whose left, right or both factors threads carry.
fn large() -> Vec<(&'static str, String)> {
    let (m, n, k) = (4095, 4097, 4093);
    let factor = |a: &str, b: &str, computed: &str| {
        format!(
            "graph @g(%a: {a}[4096, 4096], %b: {b}[4096, 4096], %s: f32[4096], %i: i32[4096]) {{\n  region @r contraction {{\n{computed}    \
             %c = matmul %x, %w {{acc=f32, out=bf16}} : bf16[4096, 4096]\n  }}\n  return c = %c\n}}\n"
        )
    };
    let turned = "    %w = transpose %b {perm=[1, 0]} : bf16[4096, 4096]\n";
    let cast = "    %x = cast %a {to=bf16} : bf16[4096, 4096]\n";
    let computed = "    %a32 = cast %a {to=f32} : f32[4096, 4096]\n    %s1 = reshape %s {shape=[4096, 1]} : f32[4096, 1]\n    \
        %s2 = broadcast %s1 {shape=[4096, 4096]} : f32[4096, 4096]\n    %m = mul %a32, %s2 : f32[4096, 4096]\n    \
        %r = silu %m : f32[4096, 4096]\n    %x = cast %r {to=bf16} : bf16[4096, 4096]\n";
    let gathered = "    %x = gather %a, %i {axis=0} : bf16[4096, 4096]\n";
    let narrow = "    %x = relu %a : bf16[4096, 4096]\n    %n = cast %b {to=bf16} : bf16[4096, 4096]\n    \
        %w = transpose %n {perm=[1, 0]} : bf16[4096, 4096]\n";
    let conv = |layout: &str, x: &str, w: &str, out: &str| {
        format!(
            "graph @g(%x: bf16[{x}], %w: bf16[{w}]) {{\n  region @r convolution {{\n    %0 = conv %x, %w {{strides=[1, 1], dilations=[1, 1], \
             low=[1, 1], high=[1, 1], groups=1, layout={layout}, acc=f32, out=bf16}} : bf16[{out}]\n  }}\n  return y = %0\n}}\n"
        )
    };
    vec![
        ("unaligned_nn", product("bf16", (m, n, k), [false, false], "bf16", "")),
        ("unaligned_nt", product("bf16", (m, n, k), [false, true], "bf16", "")),
        ("unaligned_tn", product("bf16", (m, n, k), [true, false], "bf16", "")),
        ("cast", factor("f32", "bf16", &format!("{cast}{turned}"))),
        ("computed", factor("bf16", "bf16", &format!("{computed}{turned}"))),
        ("gathered", factor("bf16", "bf16", &format!("{gathered}{turned}"))),
        ("narrow", factor("bf16", "e4m3", narrow)),
        ("conv_last", conv("channels_last", "32, 56, 56, 64", "64, 3, 3, 64", "32, 56, 56, 64")),
        ("conv_first", conv("channels_first", "32, 64, 56, 56", "64, 64, 3, 3", "32, 64, 56, 56")),
    ]
}

/// Few rows lead to widths that are no blocks of 64 columns.
#[test]
fn every_candidate_for_narrow_weights_is_written() {
    let source = "graph @g(%a: bf16[1, 256], %b: e4m3[28672, 256]) {\n  region @r contraction {\n    \
         %n = cast %b {to=bf16} : bf16[28672, 256]\n    %w = transpose %n {perm=[1, 0]} : bf16[256, 28672]\n    \
         %c = matmul %a, %w {acc=f32, out=bf16} : bf16[1, 28672]\n  }\n  return c = %c\n}\n";
    let found = product::candidates(source, Target::Sm90a);
    let found: Vec<Schedule> = found.into_iter().filter(|one| matches!(one, Schedule::Wgmma(_))).collect();
    let widths = found.iter().filter(|one| matches!(one, Schedule::Wgmma(one) if one.tile.n % 64 != 0));
    assert!(widths.count() > 0, "{found:?}");
    found.par_iter().for_each(|&schedule| {
        product::kernel(source, Target::Sm90a, schedule);
    });
}

#[test]
fn carrying_kernels_assemble_without_spills_in_their_class() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    use Sharing::{Cooperative, PingPong};
    let shapes = [
        (128, 256, (1, 2), Cooperative),
        (128, 128, (2, 2), Cooperative),
        (128, 192, (1, 2), Cooperative),
        (64, 256, (1, 2), PingPong),
        (128, 128, (2, 2), PingPong),
        (64, 64, (1, 1), Cooperative),
    ];
    let mut module = Module::new(Target::Sm90a, Vec::new());
    for (name, source) in large() {
        for (m, n, warpgroups, sharing) in shapes {
            let schedule = Schedule::Wgmma(schedule(m, n, DType::BF16, warpgroups, sharing));
            let mut kernel = product::kernel(&source, Target::Sm90a, schedule);
            assert_eq!(Class::found(&kernel), schedule.class(), "{name}: {schedule}");
            kernel.name = format!("{name}_{m}x{n}_{}_{sharing:?}", warpgroups.0);
            module.push(kernel);
        }
    }
    schedules::assert_no_spills(&ptxas, &module, Target::Sm90a);
}
