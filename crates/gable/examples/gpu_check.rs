//! Runs the code generator's kernels on CUDA device 0 and holds them against the reference evaluation.
//!
//! ```text
//! gpu_check                 every case of the code generator's tests
//! gpu_check FILTER          cases whose name contains FILTER
//! gpu_check --contractions  large products and convolutions, timed: operations and bytes per second
//! gpu_check --bandwidth     large maps, rows and reductions, timed: bytes per second, and the share of a copy's
//! ```
//! Prints a row for each case that fails and a summary; exits with 1 where one failed, and with 0 and a word about it
//! where there is no GPU.

#[path = "../../codegen/tests/kernels/cases.rs"]
mod cases;
#[path = "../../codegen/tests/contraction/cases.rs"]
mod contractions;

use cases::Case;
use gable_artifact::{Artifact, BufferRef, Signature, Space};
use gable_codegen::{Hardware, Places, compile_for};
use gable_ir::attr::ReduceKind;
use gable_ir::{ConcreteType, Graph, NodeId, eval, ops};
use gable_ptx::Target;
use gable_runtime::{DeviceKind, Execution, ProfileOptions, RuntimeError, Session, SessionOptions};
use gable_tensor::compare::compare;
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<ExitCode> {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("--bandwidth") => bandwidth(),
        Some("--contractions") => speed(),
        filter => check(filter.unwrap_or("")),
    }
}

/// The target of the first CUDA device; `None` where there is none.
fn open(artifact: &Artifact) -> Result<Option<Session>> {
    let options = SessionOptions { execution: Execution::Stepwise, ..SessionOptions::default() };
    match Session::open_with(artifact, DeviceKind::Cuda(0), options) {
        Ok(session) => Ok(Some(session)),
        Err(error @ (RuntimeError::NoDriver { .. } | RuntimeError::NoDevice { .. })) => {
            println!("SKIPPED: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// An artifact with a plan for `hardware`; inputs and outputs are the caller's.
fn build(graph: &Graph, hardware: &Hardware) -> Result<Artifact> {
    let concrete = |id: NodeId| graph.ty(id).concrete().ok_or("sizes are known");
    let mut places = Places::default();
    let mut artifact = Artifact {
        provenance: Default::default(),
        graph: graph.to_string(),
        dims: Default::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        weights: Vec::new(),
        plans: Vec::new(),
    };
    for (position, &id) in graph.inputs().iter().enumerate() {
        let ConcreteType { dtype, shape } = concrete(id)?;
        let bytes = concrete(id)?.bytes() as u64;
        places.of.insert(id, BufferRef { space: Space::Input(position), offset: 0, bytes });
        artifact.inputs.push(Signature { name: graph.input_name(id).to_string(), dtype, shape });
    }
    for (position, (name, id)) in graph.outputs().iter().enumerate() {
        let ConcreteType { dtype, shape } = concrete(*id)?;
        let bytes = concrete(*id)?.bytes() as u64;
        places.of.insert(*id, BufferRef { space: Space::Output(position), offset: 0, bytes });
        artifact.outputs.push(Signature { name: name.clone(), dtype, shape });
    }
    artifact.plans.push(compile_for(graph, &places, hardware)?);
    Ok(artifact)
}

fn check(filter: &str) -> Result<ExitCode> {
    let target = Target::Sm90a;
    let (mut n_run, mut failed) = (0, Vec::new());
    let all = cases::all().into_iter().chain(contraction_cases());
    for case in all.filter(|case| case.name.contains(filter)) {
        let case = &case;
        // Once as the machine is, and once as if it were small, which makes small cases take vectors.
        for hardware in [Hardware::of(target), Hardware { target, n_sms: 1 }] {
            let artifact =
                build(&case.module.graph, &hardware).map_err(|error| format!("case `{}`: {error}", case.name))?;
            match run(case, &artifact) {
                Ok(Some(faults)) => {
                    n_run += 1;
                    for fault in faults {
                        println!("FAIL  {} ({} SMs): {fault}", case.name, hardware.n_sms);
                        failed.push(case.name.clone());
                    }
                }
                Ok(None) => return Ok(ExitCode::SUCCESS),
                Err(error) => {
                    n_run += 1;
                    println!("ERROR {} ({} SMs): {error}", case.name, hardware.n_sms);
                    failed.push(case.name.clone());
                    // After a fault on the device nothing else on it can be believed.
                    if format!("{error}").contains("CUDA_ERROR") {
                        return Err(format!("stopped after {n_run} runs: run the others by their names").into());
                    }
                }
            }
        }
    }
    failed.dedup();
    println!("{n_run} runs on {target}, {} cases failed", failed.len());
    for name in &failed {
        println!("  {name}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every contraction graph over whole numbers and over normal ones.
fn contraction_cases() -> impl Iterator<Item = Case> {
    contractions::read("contraction").into_iter().flat_map(|(name, module)| {
        let whole = Case {
            name: format!("{name} exact"),
            inputs: contractions::whole_numbers(&module),
            tolerance: contractions::whole_tolerance(&module),
            module: module.clone(),
        };
        let inputs = contractions::normal_numbers(&module);
        let tolerance = contractions::normal_tolerance(&module, &inputs);
        [whole, Case { name: format!("{name} rounded"), inputs, tolerance, module }]
    })
}

/// What differs from the reference; `None` where there is no GPU.
fn run(case: &Case, artifact: &Artifact) -> Result<Option<Vec<String>>> {
    let Some(mut session) = open(artifact)? else { return Ok(None) };
    let inputs: Vec<(&str, &Tensor)> = case.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let found = session.run(&inputs)?;
    let expected = eval::evaluate(&case.module, &inputs)?;
    let faults = found.iter().zip(&expected).filter_map(|((name, found), (_, expected))| {
        let comparison = compare(found, expected, case.tolerance);
        (!comparison.within).then(|| format!("output `{name}`: {comparison} ({:?})", case.tolerance))
    });
    Ok(Some(faults.collect()))
}

/// Graphs of at least 64 MB whose time is their memory's, each with its name.
fn large() -> Result<Vec<(String, gable_ir::Module)>> {
    use gable_ir::{Builder, Op, Region, RegionKind};
    type Body<'a> = &'a dyn Fn(&mut Builder, &[NodeId]) -> std::result::Result<NodeId, gable_ir::OpError>;
    let mut graphs = Vec::new();
    let mut add = |name: &str, kind: RegionKind, inputs: &[(DType, &[usize])], body: Body<'_>| -> Result<()> {
        let mut b = Builder::new("large");
        let ids: Vec<NodeId> = inputs
            .iter()
            .zip(b'a'..)
            .map(|(&(dtype, shape), letter)| {
                b.input(char::from(letter).to_string(), gable_ir::Type::new(dtype, shape.to_vec()))
            })
            .collect();
        let output = body(&mut b, &ids)?;
        b.output("y", output);
        let mut module = b.finish();
        let nodes = module.graph.ids().into_iter().filter(|&id| !matches!(module.graph.op(id), Op::Input(_)));
        let region = Region::new("case", kind, nodes);
        module.graph.regions.push(region);
        graphs.push((name.to_string(), module));
        Ok(())
    };
    let (f32, bf16) = (DType::F32, DType::BF16);
    let flat: &[usize] = &[1 << 26];
    let square: &[usize] = &[8192, 8192];
    let rows: &[usize] = &[16_384, 4096];
    let short: &[usize] = &[524_288, 128];
    let long: &[usize] = &[1024, 65_536];
    let bert: &[usize] = &[87_381, 768];
    add("negate f32", RegionKind::Map, &[(f32, flat)], &|b, x| b.neg(x[0]))?;
    add("negate bf16", RegionKind::Map, &[(bf16, flat)], &|b, x| b.neg(x[0]))?;
    add("add f32", RegionKind::Map, &[(f32, flat), (f32, flat)], &|b, x| b.plus(x[0], x[1]))?;
    add("bias gelu f32", RegionKind::Map, &[(f32, square), (f32, &[8192])], &|b, x| {
        let sum = b.plus(x[0], x[1])?;
        b.add(ops::Gelu { tanh: false }, &[sum])
    })?;
    add("bias gelu bf16", RegionKind::Map, &[(bf16, square), (bf16, &[8192])], &|b, x| {
        let sum = b.plus(x[0], x[1])?;
        b.add(ops::Gelu { tanh: false }, &[sum])
    })?;
    add("transpose f32", RegionKind::Map, &[(f32, square)], &|b, x| b.transpose(x[0], &[1, 0]))?;
    add("transpose bf16", RegionKind::Map, &[(bf16, square)], &|b, x| b.transpose(x[0], &[1, 0]))?;
    for (name, shape) in [("4096", rows), ("128", short), ("65536", long), ("768", bert)] {
        add(&format!("softmax rows of {name} f32"), RegionKind::Row, &[(f32, shape)], &|b, x| {
            b.add(ops::Softmax { axis: 1 }, x)
        })?;
        let vector: &[usize] = &shape[1..];
        add(
            &format!("layer_norm rows of {name} bf16"),
            RegionKind::Row,
            &[(bf16, shape), (bf16, vector), (bf16, vector)],
            &|b, x| b.add(ops::LayerNorm { eps: 1e-5 }, x),
        )?;
    }
    add("rms_norm rows of 4096 f32", RegionKind::Row, &[(f32, rows), (f32, &[4096])], &|b, x| {
        b.add(ops::RmsNorm { eps: 1e-5 }, x)
    })?;
    add("sum rows f32", RegionKind::Reduction, &[(f32, rows)], &|b, x| b.reduce(ReduceKind::Sum, x[0], &[1], false))?;
    add("sum columns f32", RegionKind::Reduction, &[(f32, rows)], &|b, x| {
        b.reduce(ReduceKind::Sum, x[0], &[0], false)
    })?;
    add("sum all f32", RegionKind::Reduction, &[(f32, flat)], &|b, x| b.reduce(ReduceKind::Sum, x[0], &[0], false))?;
    add("sum columns bf16", RegionKind::Reduction, &[(bf16, rows)], &|b, x| {
        b.reduce(ReduceKind::Sum, x[0], &[0], false)
    })?;
    Ok(graphs)
}

fn bandwidth() -> Result<ExitCode> {
    let hardware = Hardware::of(Target::Sm90a);
    let mut copy_rate = None;
    println!("{:36} {:>9} {:>9} {:>8} {:>6}", "kernel", "MB", "us (cold)", "GB/s", "share");
    for (name, module) in large()? {
        let graph = &module.graph;
        let artifact = build(graph, &hardware).map_err(|error| format!("{name}: {error}"))?;
        let Some(mut session) = open(&artifact)? else { return Ok(ExitCode::SUCCESS) };
        let mut inputs = BTreeMap::new();
        for signature in &artifact.inputs {
            let mut random = Random::named(1, &signature.name);
            inputs.insert(signature.name.clone(), random::tensor(&mut random, signature.dtype, &signature.shape, 2)?);
        }
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let profile = session.profile(&given, ProfileOptions::default())?;
        let seconds: f64 = profile.steps.iter().map(|step| step.cold.median_s - profile.timer_overhead_s).sum();
        let cost = gable_ir::cost::of_group(graph, &graph.regions[0].nodes).ok_or("sizes are known")?;
        let rate = cost.total_bytes() / seconds;
        // The first graph reads and writes every byte once: a copy.
        let copy = *copy_rate.get_or_insert(rate);
        println!(
            "{name:36} {:9.1} {:9.1} {:8.0} {:5.0}%",
            cost.total_bytes() / 1e6,
            seconds * 1e6,
            rate / 1e9,
            100.0 * rate / copy
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Times the large contractions: with L2 overwritten before, and right after another run.
fn speed() -> Result<ExitCode> {
    let hardware = Hardware::of(Target::Sm90a);
    println!("{:24} {:>10} {:>10} {:>9} {:>8}", "contraction", "us (cold)", "us (next)", "TFLOP/s", "GB/s");
    for (name, module) in contractions::read("speed") {
        let graph = &module.graph;
        let artifact = build(graph, &hardware).map_err(|error| format!("{name}: {error}"))?;
        let Some(mut session) = open(&artifact)? else { return Ok(ExitCode::SUCCESS) };
        let inputs = contractions::normal_numbers(&module);
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let profile = session.profile(&given, ProfileOptions::default())?;
        let cold: f64 = profile.steps.iter().map(|step| step.cold.median_s - profile.timer_overhead_s).sum();
        let in_sequence: f64 =
            profile.steps.iter().map(|step| step.in_sequence.median_s - profile.timer_overhead_s).sum();
        let cost = gable_ir::cost::of_group(graph, &graph.regions[0].nodes).ok_or("sizes are known")?;
        // Operations and bytes of the graph, over the cold time.
        println!(
            "{name:24} {:10.1} {:10.1} {:9.1} {:8.0}",
            cold * 1e6,
            in_sequence * 1e6,
            cost.total_flops() / cold / 1e12,
            cost.total_bytes() / cold / 1e9
        );
    }
    Ok(ExitCode::SUCCESS)
}
