//! Kernels of every kind of region: they assemble for every target without spills, and compute what the reference does.

mod cases;
#[path = "../emulation/mod.rs"]
mod emulation;
#[path = "../emulation/region.rs"]
mod region;
mod text;

use cases::Case;
use emulation::TARGETS;
use gable_artifact::{BufferRef, Space};
use gable_codegen::compile::region_work;
use gable_codegen::{Hardware, Places, Program, compile_for};
use gable_ir::{Graph, NodeId, eval};
use gable_ptx::Target;
use gable_ptx::ptxas::{Ptxas, PtxasError};
use gable_tensor::Tensor;
use gable_tensor::compare::compare;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Inputs and outputs of a graph of one region where the caller has them.
fn places(graph: &Graph) -> Places {
    let buffer = |id: NodeId, space: Space| {
        let bytes = graph.ty(id).concrete().expect("test shapes are known").bytes() as u64;
        (id, BufferRef { space, offset: 0, bytes })
    };
    let inputs = graph.inputs().iter().enumerate().map(|(i, &id)| buffer(id, Space::Input(i)));
    let outputs = graph.outputs().iter().enumerate().map(|(i, (_, id))| buffer(*id, Space::Output(i)));
    let of: BTreeMap<NodeId, BufferRef> = inputs.chain(outputs).collect();
    Places { of, arena_bytes: 0 }
}

/// A machine so small that small cases fill it, which makes their threads take vectors.
fn small(target: Target) -> Hardware {
    Hardware { target, n_sms: 1 }
}

fn ptxas() -> Option<Ptxas> {
    match Ptxas::find() {
        Ok(ptxas) => Some(ptxas),
        Err(error @ PtxasError::NotFound { .. }) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_case_compiles_for_every_target() {
    for case in cases::all() {
        for target in TARGETS {
            compile_for(&case.module.graph, &places(&case.module.graph), &Hardware::of(target))
                .unwrap_or_else(|error| panic!("case `{}`: {error}", case.name));
        }
    }
}

/// Faults of the assembly of one case: text that `ptxas` refuses, and spills.
fn assembly_faults(ptxas: &Ptxas, case: &Case, hardware: &Hardware) -> Vec<String> {
    let plan = match compile_for(&case.module.graph, &places(&case.module.graph), hardware) {
        Ok(plan) => plan,
        Err(error) => return vec![format!("{}: {error}", case.name)],
    };
    let mut faults = Vec::new();
    for kernel in &plan.kernels {
        match ptxas.assemble(&kernel.ptx, hardware.target) {
            Err(error) => faults.push(format!("{} on {}: {error}\n{}", case.name, hardware.target, kernel.ptx)),
            Ok(assembled) => {
                for found in assembled.kernels {
                    if found.spill_store_bytes + found.spill_load_bytes + found.stack_bytes > 0 {
                        faults.push(format!("{} on {}: {found:?}", case.name, hardware.target));
                    }
                }
            }
        }
    }
    faults
}

#[test]
fn every_case_assembles_without_spills() {
    let Some(ptxas) = ptxas() else { return };
    // Each case for one target of its own, in turn: all targets get cases of every kind.
    let cases: Vec<(usize, Case)> = cases::all().into_iter().enumerate().collect();
    let faults: Vec<String> = cases
        .par_iter()
        .flat_map(|(number, case)| {
            let target = TARGETS[number % TARGETS.len()];
            let hardware = if number % 2 == 0 { small(target) } else { Hardware::of(target) };
            assembly_faults(&ptxas, case, &hardware)
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Larger cases are for assemblers and GPUs.
const EMULATED_ELEMENTS: usize = 5_100;

/// What differs from the reference when the case's kernels run in the emulator.
fn emulated_faults(case: &Case, hardware: &Hardware) -> Vec<String> {
    let graph = &case.module.graph;
    let program = Program::of_region(graph, &graph.regions[0]).expect("cases are verified");
    let works = region_work(&program, graph.regions[0].kind, hardware, &[]).expect("compiled by another test");
    let region = region::Region::new(&works, hardware.target);
    let input_of = |id: NodeId| {
        let name = graph.input_name(id);
        &case.inputs.iter().find(|(given, _)| given == name).expect("cases give their inputs").1
    };
    let inputs: Vec<&[u8]> = program.inputs.iter().map(|&(_, id)| input_of(id).bytes().as_ref()).collect();
    let sizes: Vec<usize> = (0..program.outputs.len()).map(|position| program.output_type(position).bytes()).collect();
    let given: Vec<(&str, &Tensor)> = case.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = eval::evaluate(&case.module, &given).expect("cases evaluate");
    let mut faults = Vec::new();
    for schedule in emulation::SCHEDULES {
        let place = format!("{} on {} ({} SMs), {schedule}", case.name, hardware.target, hardware.n_sms);
        let outputs = match region.run(&inputs, &sizes, schedule) {
            Ok(outputs) => outputs,
            Err(error) => {
                faults.push(format!("{place}: {error}"));
                continue;
            }
        };
        for ((name, expected), (_, id)) in expected.iter().zip(graph.outputs()) {
            let position = program.outputs.iter().position(|(_, output)| output == id).expect("an output");
            let bytes = outputs[position].clone();
            let found =
                Tensor::new(expected.dtype(), expected.shape().to_vec(), bytes).expect("as large as it should be");
            let comparison = compare(&found, expected, case.tolerance);
            if !comparison.within {
                faults.push(format!("{place}, output {name}: {comparison}"));
            }
        }
    }
    faults
}

#[test]
fn kernels_compute_what_the_reference_does() {
    let faults: Vec<String> = cases::all()
        .par_iter()
        .filter(|case| case.inputs.iter().all(|(_, tensor)| tensor.len() <= EMULATED_ELEMENTS))
        .flat_map(|case| {
            let machines = TARGETS.iter().flat_map(|&target| [Hardware::of(target), small(target)]);
            machines.flat_map(|hardware| emulated_faults(case, &hardware)).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
