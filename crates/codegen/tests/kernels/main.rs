//! Kernels of every kind of region: they assemble for every target without spills, and compute what the reference does.

mod cases;
#[path = "../interpreter/mod.rs"]
mod interpreter;
mod text;

use cases::Case;
use gable_artifact::{BufferRef, Space};
use gable_codegen::compile::region_work;
use gable_codegen::{Hardware, Memory, Places, Program, Work, compile_for};
use gable_ir::{Graph, NodeId, eval};
use gable_ptx::Target;
use gable_ptx::ptxas::{Ptxas, PtxasError};
use gable_tensor::Tensor;
use gable_tensor::compare::compare;
use rayon::prelude::*;
use std::collections::BTreeMap;

const TARGETS: [Target; 5] = [Target::Sm90a, Target::Sm100a, Target::Sm103a, Target::Sm120a, Target::Sm121a];

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

/// Larger cases are for assemblers and GPUs: interpreting takes about a microsecond for each instruction of a thread.
const INTERPRETED_ELEMENTS: usize = 5_100;

/// What differs from the reference when the case's kernels run on the interpreter.
fn interpreted_faults(case: &Case, hardware: &Hardware) -> Vec<String> {
    let graph = &case.module.graph;
    let program = Program::of_region(graph, &graph.regions[0]).expect("cases are verified");
    let works = region_work(&program, graph.regions[0].kind, hardware, &[]).expect("compiled by another test");
    let input_of = |id: NodeId| {
        let name = graph.input_name(id);
        &case.inputs.iter().find(|(given, _)| given == name).expect("cases give their inputs").1
    };
    let inputs: Vec<&Tensor> = program.inputs.iter().map(|&(_, id)| input_of(id)).collect();
    let mut outputs: Vec<Vec<u8>> = program.outputs.iter().map(|&(id, _)| vec![0xA5; program.ty(id).bytes()]).collect();
    let mut scratch: Vec<u8> = Vec::new();
    for work in works {
        let launch = match work {
            Work::Copy { input, output } => {
                outputs[output].copy_from_slice(inputs[input].bytes());
                continue;
            }
            Work::Launch(launch) => launch,
        };
        // The memory that the launch names, in its order, and back where it came from.
        let take = |memory: &Memory| match *memory {
            Memory::Input(position) => inputs[position].bytes().to_vec(),
            Memory::Output(position) | Memory::Update(position) => outputs[position].clone(),
            Memory::Scratch { offset, bytes, .. } => {
                let end = (offset + bytes) as usize;
                let mut whole = scratch.clone();
                whole.resize(whole.len().max(end), 0xA5);
                whole[offset as usize..end].to_vec()
            }
        };
        let mut memory = interpreter::Memory { buffers: launch.args.iter().map(take).collect() };
        let [x, y, _] = launch.grid;
        let shared = launch.dynamic_shared_bytes as usize;
        interpreter::run(&launch.kernel, [x, y], launch.block[0], shared, &mut memory);
        for (argument, buffer) in launch.args.iter().zip(memory.buffers) {
            match *argument {
                Memory::Input(_) => {}
                Memory::Output(position) | Memory::Update(position) => outputs[position] = buffer,
                Memory::Scratch { offset, .. } => {
                    let end = offset as usize + buffer.len();
                    let size = scratch.len().max(end);
                    scratch.resize(size, 0xA5);
                    scratch[offset as usize..end].copy_from_slice(&buffer);
                }
            }
        }
    }
    let given: Vec<(&str, &Tensor)> = case.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = eval::evaluate(&case.module, &given).expect("cases evaluate");
    let mut faults = Vec::new();
    for ((name, expected), (_, id)) in expected.iter().zip(graph.outputs()) {
        let position = program.outputs.iter().position(|(_, output)| output == id).expect("an output");
        let bytes = outputs[position].clone();
        let found = Tensor::new(expected.dtype(), expected.shape().to_vec(), bytes).expect("as large as it should be");
        let comparison = compare(&found, expected, case.tolerance);
        if !comparison.within {
            faults.push(format!("{} ({} SMs), output {name}: {comparison}", case.name, hardware.n_sms));
        }
    }
    faults
}

#[test]
fn kernels_compute_what_the_reference_does() {
    let faults: Vec<String> = cases::all()
        .par_iter()
        .filter(|case| case.inputs.iter().all(|(_, tensor)| tensor.len() <= INTERPRETED_ELEMENTS))
        .flat_map(|case| {
            let machines = [Hardware::of(Target::Sm90a), small(Target::Sm90a)];
            machines.iter().flat_map(|hardware| interpreted_faults(case, hardware)).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
