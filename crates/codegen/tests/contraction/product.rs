//! Graphs of one product, run by a schedule that is given, against the graph's evaluation.

use crate::cases;
use crate::emulation;
use crate::region::Region;
use gable_codegen::compile::region_works;
use gable_codegen::contraction::candidates;
use gable_codegen::contraction::problem::{ContractionError, Problem};
use gable_codegen::contraction::realign::Realigned;
use gable_codegen::contraction::region::{ContractionKernel, kernel_by, kernel_realigned};
use gable_codegen::contraction::rule;
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::{Fault, Hardware, Program};
use gable_ir::{Module, eval, text, verify};
use gable_ptx::Target;
use gable_tensor::Tensor;
use gable_tensor::compare::compare;

fn module(source: &str) -> Module {
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let module = Module { graph, ..Module::default() };
    assert_eq!(verify::verify_module(&module), [], "{source}");
    module
}

/// The kernel of the graph's only region.
fn lowered(
    source: &str,
    target: Target,
    choose: impl FnOnce(&Problem) -> Result<Schedule, ContractionError>,
) -> Result<ContractionKernel, Fault> {
    let module = module(source);
    let program = Program::of_region(&module.graph, &module.graph.regions[0])?;
    Ok(kernel_by(&program, target, &[], choose)?.expect("the result has elements"))
}

/// The kernel by the schedule, over the factors as they are.
pub fn kernel(source: &str, target: Target, schedule: Schedule) -> gable_ptx::Kernel {
    let module = module(source);
    let program = Program::of_region(&module.graph, &module.graph.regions[0]).expect("a program");
    let kernel = kernel_realigned(&program, target, &[], Realigned::Never, |_| Ok(schedule));
    kernel.unwrap_or_else(|e| panic!("{source}\n{target} {schedule}: {e}")).expect("the result has elements").kernel
}

/// The schedule that the rule takes.
pub fn chosen(source: &str, target: Target) -> Schedule {
    let kernel = lowered(source, target, |problem| rule::choose(problem, target));
    kernel.unwrap_or_else(|e| panic!("{source}\n{target}: {e}")).schedule
}

/// CTAs of the launch by the schedule.
pub fn grid(source: &str, target: Target, schedule: Schedule) -> u32 {
    let kernel = lowered(source, target, |_| Ok(schedule));
    kernel.unwrap_or_else(|e| panic!("{source}\n{target} {schedule}: {e}")).grid()
}

/// The schedules that may be timed for the graph's only region.
pub fn candidates(source: &str, target: Target) -> Vec<Schedule> {
    let module = module(source);
    let program =
        Program::of_region(&module.graph, &module.graph.regions[0]).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let problem = gable_codegen::contraction::region::problem(&program, target);
    let problem = problem.unwrap_or_else(|e| panic!("{source}\n{e}")).expect("it has a result");
    candidates::candidates(&problem, target).unwrap_or_else(|e| panic!("{source}\n{target}: {e}"))
}

/// How many kernels the graph's only region takes by the rule.
pub fn launches(source: &str, target: Target) -> usize {
    let module = module(source);
    let works = region_works(&module.graph, &module.graph.regions[0], &Hardware::of(target));
    works.unwrap_or_else(|e| panic!("{source}\n{target}: {e}")).len()
}

/// Why a schedule is none for the graph's only region.
pub fn refused(source: &str, target: Target, schedule: Schedule) -> String {
    lowered(source, target, |_| Ok(schedule)).expect_err("it does not fit").to_string()
}

/// Runs the graph's only region by the schedule, in every order of the emulator.
pub fn check(source: &str, target: Target, schedule: Schedule) {
    check_over(source, target, schedule, cases::whole_numbers);
}

/// The same with values for some of the inputs.
pub fn check_given(source: &str, target: Target, schedule: Schedule, given: &[(&str, Tensor)]) {
    check_over(source, target, schedule, |module| {
        let mut inputs = cases::whole_numbers(module);
        for (name, value) in &mut inputs {
            if let Some((_, given)) = given.iter().find(|(other, _)| other == name) {
                value.clone_from(given);
            }
        }
        inputs
    });
}

/// The same over inputs that are given.
pub fn check_over(
    source: &str,
    target: Target,
    schedule: Schedule,
    inputs: impl FnOnce(&Module) -> Vec<(String, Tensor)>,
) {
    let when = Realigned::WhereFaster;
    let fault = run_over(&module(source), target, &emulation::SCHEDULES, when, |_| Ok(schedule), inputs).err();
    assert_eq!(fault, None, "{source}");
}

/// The same with factors copied first to rows that the copy engine can bring.
pub fn check_realigned(source: &str, target: Target, schedule: Schedule) {
    let choose = |problem: &Problem| {
        assert!(problem.realigned, "{source}");
        Ok(schedule)
    };
    let when = Realigned::WherePossible;
    let inputs = cases::whole_numbers;
    let fault = run_over(&module(source), target, &emulation::SCHEDULES, when, choose, inputs).err();
    assert_eq!(fault, None, "{source}");
}

/// Runs a module's only region by the schedule that is chosen, and compares it with the graph's evaluation. The error says
/// what went wrong.
pub fn run(
    module: &Module,
    target: Target,
    orders: &[gable_emulator::Schedule],
    choose: impl FnOnce(&Problem) -> Result<Schedule, ContractionError>,
) -> Result<(), String> {
    run_over(module, target, orders, Realigned::WhereFaster, choose, cases::whole_numbers)
}

fn run_over(
    module: &Module,
    target: Target,
    orders: &[gable_emulator::Schedule],
    realigned: Realigned,
    choose: impl FnOnce(&Problem) -> Result<Schedule, ContractionError>,
    inputs: impl FnOnce(&Module) -> Vec<(String, Tensor)>,
) -> Result<(), String> {
    let inputs = inputs(module);
    let tolerance = cases::whole_tolerance(module);
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = eval::evaluate(module, &given).map_err(|e| e.to_string())?;
    let graph = &module.graph;
    let program = Program::of_region(graph, &graph.regions[0]).map_err(|e| e.to_string())?;
    let kernel = kernel_realigned(&program, target, &[], realigned, choose).map_err(|e| e.to_string())?;
    let kernel = kernel.ok_or("there is no kernel")?;
    let what = format!("{target}: {}\n{}", kernel.problem, kernel.schedule);
    let works = kernel.work();
    let region = Region::new(&works, target);
    let inputs_of =
        |id| &inputs.iter().find(|(name, _)| name == graph.input_name(id)).expect("an input of the graph").1;
    let bytes: Vec<&[u8]> = program.inputs.iter().map(|&(_, id)| &inputs_of(id).bytes()[..]).collect();
    let sizes: Vec<usize> = (0..program.outputs.len()).map(|position| program.output_type(position).bytes()).collect();
    for &order in orders {
        let found = region.run(&bytes, &sizes, order).map_err(|e| format!("{what}, {order}: {e}"))?;
        for (position, (&(_, id), data)) in program.outputs.iter().zip(found).enumerate() {
            let (name, _) = graph.outputs().iter().find(|(_, output)| *output == id).expect("an output of the graph");
            let expected = &expected.iter().find(|(other, _)| other == name).expect("a result for each output").1;
            let ty = program.output_type(position);
            let found = Tensor::new(ty.dtype, expected.shape().to_vec(), data).expect("the kernel fills its output");
            let comparison = compare(&found, expected, tolerance);
            if !comparison.within {
                return Err(format!("{what}, {order}, {name}: {comparison}"));
            }
        }
    }
    Ok(())
}

/// Runs the graph's only region by the schedule on normal numbers: every order of the emulator gives the same bits.
pub fn check_equal_in_every_order(source: &str, target: Target, schedule: Schedule) {
    let module = module(source);
    let inputs = cases::normal_numbers(&module);
    let graph = &module.graph;
    let program = Program::of_region(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let kernel = kernel_by(&program, target, &[], |_| Ok(schedule)).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let works = kernel.expect("the result has elements").work();
    let region = Region::new(&works, target);
    let inputs_of =
        |id| &inputs.iter().find(|(name, _)| name == graph.input_name(id)).expect("an input of the graph").1;
    let bytes: Vec<&[u8]> = program.inputs.iter().map(|&(_, id)| &inputs_of(id).bytes()[..]).collect();
    let sizes: Vec<usize> = (0..program.outputs.len()).map(|position| program.output_type(position).bytes()).collect();
    let results = emulation::SCHEDULES.map(|order| {
        region.run(&bytes, &sizes, order).unwrap_or_else(|e| panic!("{source}\n{schedule}, {order}: {e}"))
    });
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{source}\n{target} {schedule}: results differ");
}

/// A graph of one region: `a` by `b`, of which each may lie transposed, then `after` with `%sum`, which gives `%result`.
pub fn product(dtype: &str, (m, n, k): (usize, usize, usize), transposed: [bool; 2], out: &str, after: &str) -> String {
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
    let acc = if matches!(dtype, "i8" | "u8") { "i32" } else { "f32" };
    let result = if after.is_empty() { "%sum" } else { "%result" };
    format!(
        "graph @product({a}, {b}{more}) {{\n  region @r contraction {{\n{turn_a}{turn_b}    %sum = matmul {left}, {right} \
         {{acc={acc}, out={out}}} : {out}[{m}, {n}]\n{after}  }}\n  return c = {result}\n}}\n"
    )
}

/// What comes after a product of `m` by `n` in a linear layer: bias, ReLU, residual.
pub fn layer(m: usize, n: usize) -> String {
    format!(
        "    %wide = broadcast %bias {{shape=[{m}, {n}]}} : bf16[{m}, {n}]\n    %moved = add %sum, %wide : bf16[{m}, {n}]\n    \
         %act = relu %moved : bf16[{m}, {n}]\n    %result = add %act, %rest : bf16[{m}, {n}]\n"
    )
}

/// How both factors may lie.
pub const WAYS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];
