//! Factors whose rows begin anywhere, copied first to rows that the copy engine can bring, against the graph's evaluation.

use crate::product::{self, WAYS, product};
use crate::schedules;
use gable_codegen::contraction::mma_ring::schedule::MmaRingSchedule;
use gable_codegen::contraction::region::kernel;
use gable_codegen::contraction::schedule::{Schedule, Tile};
use gable_codegen::contraction::wgmma::schedule::Sharing;
use gable_codegen::{Program, contraction};
use gable_ir::{Module, text};
use gable_ptx::Target;
use gable_tensor::DType;

fn wgmma(dtype: DType) -> Schedule {
    Schedule::Wgmma(schedules::wgmma((128, 64), dtype, 2, Sharing::Cooperative))
}

#[test]
fn every_majorness_and_type_is_right_over_copies() {
    for transposed in WAYS {
        let source = product("bf16", (133, 75, 77), transposed, "bf16", "");
        product::check_realigned(&source, Target::Sm90a, wgmma(DType::BF16));
    }
    for (dtype, element) in [("f16", DType::F16), ("tf32", DType::Tf32)] {
        let source = product(dtype, (40, 72, 150), [false, true], "f32", "");
        product::check_realigned(&source, Target::Sm90a, wgmma(element));
    }
    // Rows of bytes begin at any byte of a word, and memory ends in any.
    for k in [77, 78, 79] {
        let source = product("i8", (41, 75, k), [false, true], "i32", "");
        product::check_realigned(&source, Target::Sm90a, wgmma(DType::I8));
    }
}

#[test]
fn one_factor_may_be_copied_and_the_other_not() {
    // Rows of 80 are whole chunks, rows of 75 are not.
    let source = product("bf16", (100, 75, 80), [false, false], "bf16", "");
    product::check_realigned(&source, Target::Sm90a, wgmma(DType::BF16));
}

#[test]
fn batches_and_one_input_for_both_factors() {
    let source = "graph @batched(%a: bf16[3, 70, 67], %b: bf16[3, 41, 67]) {\n  region @r contraction {\n    \
         %t = transpose %b {perm=[0, 2, 1]} : bf16[3, 67, 41]\n    \
         %sum = matmul %a, %t {acc=f32, out=f32} : f32[3, 70, 41]\n  }\n  return c = %sum\n}\n";
    product::check_realigned(source, Target::Sm90a, wgmma(DType::BF16));
    let source = "graph @gram(%a: bf16[70, 67]) {\n  region @r contraction {\n    \
         %t = transpose %a {perm=[1, 0]} : bf16[67, 70]\n    \
         %sum = matmul %a, %t {acc=f32, out=f32} : f32[70, 70]\n  }\n  return c = %sum\n}\n";
    product::check_realigned(source, Target::Sm90a, wgmma(DType::BF16));
}

#[test]
fn reductions_of_rows_follow_as_usual() {
    let source = "graph @rows(%a: bf16[70, 67], %b: bf16[72, 67]) {\n  region @r contraction {\n    \
         %t = transpose %b {perm=[1, 0]} : bf16[67, 72]\n    \
         %sum = matmul %a, %t {acc=f32, out=bf16} : bf16[70, 72]\n    \
         %wide = cast %sum {to=f32} : f32[70, 72]\n    \
         %rows = reduce %wide {kind=sum, axes=[1], keep=false} : f32[70]\n  }\n  return c = %sum, r = %rows\n}\n";
    product::check_realigned(source, Target::Sm90a, wgmma(DType::BF16));
}

#[test]
fn the_pipelines_of_blackwell_read_copies_too() {
    let source = product("bf16", (133, 75, 77), [false, true], "bf16", "");
    product::check_realigned(&source, Target::Sm100a, Schedule::Tcgen05(schedules::tcgen05(64, DType::BF16, 3)));
    let ring =
        MmaRingSchedule { tile: Tile { m: 64, n: 64, k: 64 }, warps: (2, 2), scales: 0, stages: 3, group: 2, ctas: 2 };
    product::check_realigned(&source, Target::Sm120a, Schedule::MmaRing(ring));
}

#[test]
fn kernels_without_the_copy_engine_refuse_copies() {
    let problem = contraction::problem::Problem {
        realigned: true,
        ..crate::plain::product(DType::BF16, (64, 64, 64), [false, true])
    };
    let refused = crate::mma(64, 64, 32, (2, 2), 3).validate(&problem, Target::Sm90a).expect_err("it reads the inputs");
    assert!(refused.to_string().contains("copies of factors is 1, expected none"), "{refused}");
}

#[test]
fn the_rule_copies_for_large_products_alone() {
    let copies = |shape, target| {
        let graph = text::parse(&product("bf16", shape, [false, true], "bf16", "")).expect("a graph");
        let module = Module { graph, ..Module::default() };
        let program = Program::of_region(&module.graph, &module.graph.regions[0]).expect("a program");
        let kernel = kernel(&program, target, &[]).expect("a kernel").expect("it has elements");
        (kernel.copies.len(), kernel.work().len())
    };
    for target in [Target::Sm90a, Target::Sm100a, Target::Sm120a] {
        assert_eq!(copies((4095, 4097, 4093), target), (2, 3), "{target}");
        // Rows that are whole chunks need none, small products do not pay for them.
        assert_eq!(copies((4095, 4097, 4096), target), (0, 1), "{target}");
        assert_eq!(copies((65, 67, 69), target), (0, 1), "{target}");
    }
}
