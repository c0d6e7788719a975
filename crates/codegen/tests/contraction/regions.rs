//! Regions from text through the expression engine: every `.gir` case against the graph's own evaluation.

use crate::region::Region;
use crate::schedules;
use crate::{cases, emulation};
use gable_codegen::compile::region_works;
use gable_codegen::contraction::region::{ContractionKernel, kernel};
use gable_codegen::{Hardware, Program, Work};
use gable_ir::{Module, eval};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module as PtxModule, Target};
use gable_tensor::compare::compare;
use gable_tensor::{Tensor, Tolerance};
use rayon::prelude::*;

/// A case's program and its kernel.
pub fn lowered(name: &str, module: &Module, target: Target) -> (Program, Option<ContractionKernel>) {
    let graph = &module.graph;
    let program = Program::of_region(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let kernel = kernel(&program, target, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
    (program, kernel)
}

/// A case's program and its launches.
fn launches(name: &str, module: &Module, target: Target) -> (Program, Vec<Work>) {
    let graph = &module.graph;
    gable_ir::region::anatomy(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let program = Program::of_region(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let works = region_works(graph, &graph.regions[0], &Hardware::of(target));
    (program, works.unwrap_or_else(|e| panic!("{name} on {target}: {e}")))
}

/// Runs one case on the targets in every schedule; the error says what differs.
fn run(
    name: &str,
    module: &Module,
    inputs: &[(String, Tensor)],
    tolerance: Tolerance,
    targets: &[Target],
) -> Result<(), String> {
    let graph = &module.graph;
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = eval::evaluate(module, &given).map_err(|e| e.to_string())?;
    let input_of = |id| inputs.iter().find(|(name, _)| name == graph.input_name(id)).expect("inputs of the graph");
    for &target in targets {
        let (program, works) = launches(name, module, target);
        if works.is_empty() {
            return Err("there is no kernel".into());
        }
        let region = Region::new(&works, target);
        let given: Vec<&[u8]> = program.inputs.iter().map(|&(_, id)| &input_of(id).1.bytes()[..]).collect();
        let sizes: Vec<usize> =
            (0..program.outputs.len()).map(|position| program.output_type(position).bytes()).collect();
        for schedule in emulation::SCHEDULES {
            let results = region.run(&given, &sizes, schedule).map_err(|fault| format!("{target}: {fault}"))?;
            for (position, &(_, id)) in program.outputs.iter().enumerate() {
                let (output, _) =
                    graph.outputs().iter().find(|(_, output)| *output == id).expect("outputs of the graph");
                let expected = &expected.iter().find(|(name, _)| name == output).expect("a result for each output").1;
                let data = results[position].clone();
                let ty = program.output_type(position);
                let found = Tensor::new(ty.dtype, ty.shape.clone(), data).map_err(|e| e.to_string())?;
                let found = found.reshaped(expected.shape().to_vec()).map_err(|e| e.to_string())?;
                let comparison = compare(&found, expected, tolerance);
                if !comparison.within {
                    let chosen = works.iter().filter_map(Work::launch).map(|launch| launch.schedule.to_string());
                    let chosen: Vec<String> = chosen.collect();
                    return Err(format!(
                        "{output} on {target}, {schedule}: {comparison} ({tolerance:?})\n  {chosen:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A case that panics must not hide the others.
fn caught(name: &str, run: impl FnOnce() -> Result<(), String> + std::panic::UnwindSafe) -> Option<String> {
    let result = std::panic::catch_unwind(run).unwrap_or_else(|_| Err("panicked".into()));
    result.err().map(|error| format!("{name}: {error}"))
}

#[test]
fn every_case_equals_the_graphs_evaluation() {
    let failed: Vec<String> = cases::read("contraction")
        .par_iter()
        .filter_map(|(name, module)| {
            let (inputs, tolerance) = (cases::whole_numbers(module), cases::whole_tolerance(module));
            caught(name, || run(name, module, &inputs, tolerance, &emulation::TARGETS))
        })
        .collect();
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn rounding_stays_within_the_bound_of_the_sums() {
    // A share of the cases: the other test has shown where elements go.
    let cases: Vec<(String, Module)> = cases::read("contraction").into_iter().step_by(3).collect();
    let failed: Vec<String> = cases
        .par_iter()
        .filter_map(|(name, module)| {
            caught(name, || {
                let inputs = cases::normal_numbers(module);
                let tolerance = cases::normal_tolerance(module, &inputs);
                // Sums are rounded by the model of the tensor cores of a family.
                run(name, module, &inputs, tolerance, &[Target::Sm90a, Target::Sm100a, Target::Sm120a])
            })
        })
        .collect();
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_case_assembles_for_every_target() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    // Every case on one target, and a share of them on each other: the text hardly differs. All of them on all when asked.
    let all = std::env::var_os("GABLE_EXHAUSTIVE").is_some();
    let mut cases = cases::read("contraction");
    cases.extend(cases::read("speed"));
    for (position, &target) in Target::ALL.iter().enumerate() {
        let takes = |i: usize| all || target == Target::Sm90a || i % Target::ALL.len() == position;
        // One module for all: the assembler's start costs more than a kernel.
        let mut module = PtxModule::new(target, Vec::new());
        for (_, (name, case)) in cases.iter().enumerate().filter(|(i, _)| takes(*i)) {
            for (number, launch) in launches(name, case, target).1.iter().filter_map(Work::launch).enumerate() {
                let mut kernel = launch.kernel.clone();
                kernel.name = format!("{name}_{number}");
                module.push(kernel);
            }
        }
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}
