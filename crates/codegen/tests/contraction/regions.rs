//! Regions from text through the expression engine: every `.gir` case against the graph's own evaluation.

use crate::interpreter;
use crate::plain::fill;
use gable_codegen::Program;
use gable_codegen::contraction::region::{ContractionKernel, kernel};
use gable_ir::{Module, Op, eval, text, verify};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module as PtxModule, Target};
use gable_tensor::{Scalar, Tensor};
use rayon::prelude::*;
use std::path::PathBuf;

fn cases(folder: &str) -> Vec<(String, Module)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/codegen").join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the folder of cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "the cases are there");
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&path).expect("a readable case");
        let graph = text::parse(&source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let module = Module { graph, ..Module::default() };
        assert_eq!(verify::verify_module(&module), [], "{name}");
        (name, module)
    };
    paths.into_iter().map(read).collect()
}

fn lowered(name: &str, module: &Module, target: Target) -> (Program, Option<ContractionKernel>) {
    let graph = &module.graph;
    gable_ir::region::anatomy(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let program = Program::of_region(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let kernel = kernel(&program, target, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
    (program, kernel)
}

/// Runs one case; the error says what differs.
fn run(name: &str, module: &Module) -> Result<(), String> {
    let graph = &module.graph;
    let (program, kernel) = lowered(name, module, Target::Sm90a);
    let kernel = kernel.ok_or("there is no kernel")?;
    let inputs: Vec<(&str, Tensor)> = graph
        .inputs()
        .iter()
        .zip(1..)
        .map(|(&id, seed)| {
            let ty = graph.ty(id).concrete().expect("the cases have known sizes");
            let data = fill(ty.dtype, ty.len(), seed);
            (graph.input_name(id), Tensor::new(ty.dtype, ty.shape, data).expect("as many bytes as the shape says"))
        })
        .collect();
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let expected = eval::evaluate(module, &given).map_err(|e| e.to_string())?;
    let input_of = |id| inputs.iter().find(|(name, _)| *name == graph.input_name(id)).expect("inputs of the graph");
    let mut buffers: Vec<Vec<u8>> = program.inputs.iter().map(|&(_, id)| input_of(id).1.bytes().to_vec()).collect();
    buffers.extend(program.outputs.iter().map(|&(id, _)| vec![0xff; program.ty(id).bytes()]));
    let mut memory = interpreter::Memory { buffers };
    interpreter::run(&kernel.kernel, kernel.grid(), kernel.block(), kernel.shared_bytes() as usize, &mut memory);
    // Transcendental functions are approximations; everything else is exact for small whole numbers.
    let exact = !graph.ids().iter().any(|&id| matches!(graph.op(id), Op::Gelu(_) | Op::Silu(_)));
    for (position, &(value, id)) in program.outputs.iter().enumerate() {
        let (output, _) = graph.outputs().iter().find(|(_, output)| *output == id).expect("outputs of the graph");
        let expected = &expected.iter().find(|(name, _)| name == output).expect("a result for each output").1;
        let dtype = program.ty(value).dtype;
        let found = &memory.buffers[program.inputs.len() + position];
        let found: Vec<f64> = found.chunks(dtype.bytes()).map(|b| Scalar::load(dtype, b).as_f64()).collect();
        let tolerance = |e: f64| if exact { 0.0 } else { 1e-2 * e.abs().max(1.0) };
        let wrong: Vec<usize> = (0..found.len())
            .filter(|&i| {
                let e = expected.get(i).as_f64();
                found[i].is_nan() || (found[i] - e).abs() > tolerance(e)
            })
            .collect();
        if let Some(&first) = wrong.first() {
            return Err(format!(
                "{output}: {} of {} wrong, first [{first}] = {}, expected {}\n  {}\n  {}",
                wrong.len(),
                found.len(),
                found[first],
                expected.get(first).as_f64(),
                kernel.problem,
                kernel.schedule
            ));
        }
    }
    Ok(())
}

#[test]
fn every_case_equals_the_graphs_evaluation() {
    let only = std::env::var("GABLE_CASE").unwrap_or_default();
    let failed: Vec<String> = cases("contraction")
        .par_iter()
        .filter(|(name, _)| name.contains(&only))
        .filter_map(|(name, module)| {
            // A case that panics must not hide the others.
            let result = std::panic::catch_unwind(|| run(name, module)).unwrap_or_else(|_| Err("panicked".into()));
            result.err().map(|error| format!("{name}: {error}"))
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
    let mut cases = cases("contraction");
    cases.extend(self::cases("speed"));
    for (position, &target) in Target::ALL.iter().enumerate() {
        let takes = |i: usize| all || target == Target::Sm90a || i % Target::ALL.len() == position;
        // One module for all: the assembler's start costs more than a kernel.
        let mut module = PtxModule::new(target, Vec::new());
        for (_, (name, case)) in cases.iter().enumerate().filter(|(i, _)| takes(*i)) {
            if let (_, Some(mut kernel)) = lowered(name, case, target) {
                kernel.kernel.name.clone_from(name);
                module.push(kernel.kernel);
            }
        }
        let assembled = ptxas.assemble(&module.to_string(), target).unwrap_or_else(|e| panic!("{e}"));
        for resources in &assembled.kernels {
            assert_eq!(resources.stack_bytes, 0, "{target}: {resources:?}");
        }
    }
}
