//! Kernels of every kind of region: they assemble for every target without spills, and compute what the reference does.

mod cases;

use cases::Case;
use gable_artifact::{BufferRef, Space};
use gable_codegen::{Hardware, Places, compile_for};
use gable_ir::{Graph, NodeId};
use gable_ptx::Target;
use gable_ptx::ptxas::{Ptxas, PtxasError};
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
