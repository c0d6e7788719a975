//! The pipeline on `wgmma` with given schedules: every majorness, edges, batches and ways out, against the graph's evaluation.

use crate::cases;
use crate::emulation;
use crate::region::Region;
use gable_codegen::contraction::region::kernel_by;
use gable_codegen::contraction::schedule::{Schedule, Tile};
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_codegen::{Program, Work};
use gable_ir::{Module, eval, text, verify};
use gable_ptx::Target;
use gable_tensor::compare::compare;
use gable_tensor::{DType, Tensor};

/// A schedule with few CTAs, so that each walks over several tiles.
fn schedule(m: u32, n: u32, dtype: DType, consumers: u32, sharing: Sharing) -> WgmmaSchedule {
    let tile = Tile { m, n, k: WgmmaSchedule::k_of(dtype) };
    WgmmaSchedule { tile, consumers, sharing, stages: 3, group: 2, ctas: 2 }
}

fn module(source: &str) -> Module {
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let module = Module { graph, ..Module::default() };
    assert_eq!(verify::verify_module(&module), [], "{source}");
    module
}

/// Runs the graph's only region by the schedule, in every order of the emulator.
fn check(source: &str, schedule: WgmmaSchedule) {
    let module = module(source);
    let inputs = cases::whole_numbers(&module);
    let tolerance = cases::whole_tolerance(&module);
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = eval::evaluate(&module, &given).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let graph = &module.graph;
    let program = Program::of_region(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let kernel = kernel_by(&program, Target::Sm90a, &[], |_| Ok(Schedule::Wgmma(schedule)))
        .unwrap_or_else(|e| panic!("{source}\n{schedule}: {e}"))
        .expect("the result has elements");
    let works = [Work::Launch(kernel.launch(&program))];
    let region = Region::new(&works, Target::Sm90a);
    let inputs_of =
        |id| &inputs.iter().find(|(name, _)| name == graph.input_name(id)).expect("an input of the graph").1;
    let bytes: Vec<&[u8]> = program.inputs.iter().map(|&(_, id)| &inputs_of(id).bytes()[..]).collect();
    let sizes: Vec<usize> = program.outputs.iter().map(|&(id, _)| program.ty(id).bytes()).collect();
    for order in emulation::SCHEDULES {
        let found = region.run(&bytes, &sizes, order).unwrap_or_else(|e| panic!("{source}\n{schedule}, {order}: {e}"));
        for (&(value, id), data) in program.outputs.iter().zip(found) {
            let (name, _) = graph.outputs().iter().find(|(_, output)| *output == id).expect("an output of the graph");
            let expected = &expected.iter().find(|(other, _)| other == name).expect("a result for each output").1;
            let ty = program.ty(value);
            let found = Tensor::new(ty.dtype, expected.shape().to_vec(), data).expect("the kernel fills its output");
            let comparison = compare(&found, expected, tolerance);
            assert!(comparison.within, "{source}\n{schedule}, {order}, {name}: {comparison}");
        }
    }
}

/// A graph of one region: `a` by `b`, of which each may lie transposed, then `after` with `%sum`, which gives `%result`.
fn product(dtype: &str, (m, n, k): (usize, usize, usize), transposed: [bool; 2], out: &str, after: &str) -> String {
    let side = |name: &str, rows: usize, columns: usize, is_transposed: bool| {
        let (stored, turned) = (if is_transposed { [columns, rows] } else { [rows, columns] }, [rows, columns]);
        let stored = format!("%{name}: {dtype}[{}, {}]", stored[0], stored[1]);
        let turn =
            format!("    %t{name} = transpose %{name} {{perm=[1, 0]}} : {dtype}[{}, {}]\n", turned[0], turned[1]);
        if is_transposed { (stored, turn, format!("%t{name}")) } else { (stored, String::new(), format!("%{name}")) }
    };
    let (a, turn_a, left) = side("a", m, k, transposed[0]);
    let (b, turn_b, right) = side("b", k, n, transposed[1]);
    let more =
        if after.contains("%bias") { format!(", %bias: {out}[{n}], %rest: {out}[{m}, {n}]") } else { String::new() };
    let acc = if dtype == "s8" { "i32" } else { "f32" };
    let result = if after.is_empty() { "%sum" } else { "%result" };
    format!(
        "graph @product({a}, {b}{more}) {{\n  region @r contraction {{\n{turn_a}{turn_b}    %sum = matmul {left}, {right} \
         {{acc={acc}, out={out}}} : {out}[{m}, {n}]\n{after}  }}\n  return c = {result}\n}}\n"
    )
}

const WAYS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

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
        let after = format!(
            "    %wide = broadcast %bias {{shape=[{m}, {n}]}} : bf16[{m}, {n}]\n    %moved = add %sum, %wide : bf16[{m}, {n}]\n    \
             %act = relu %moved : bf16[{m}, {n}]\n    %result = add %act, %rest : bf16[{m}, {n}]\n"
        );
        let source = product("bf16", (m, n, 128), [false, true], "bf16", &after);
        check(&source, schedule(64, 64, DType::BF16, 1, Sharing::Cooperative));
        check(&source, schedule(64, 128, DType::BF16, 2, Sharing::PingPong));
    }
}

#[test]
fn other_types_of_factors_and_results() {
    let source = product("bf16", (128, 64, 128), [false, true], "f32", "");
    check(&source, schedule(128, 64, DType::BF16, 2, Sharing::Cooperative));
    let source = product("tf32", (128, 64, 96), [false, true], "f32", "");
    check(&source, schedule(128, 64, DType::Tf32, 2, Sharing::Cooperative));
}
