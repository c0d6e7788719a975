//! Times products of few rows on CUDA device 0: weights of every format, in the schedule that the rule chooses and in
//! others. As in a model, other weights are read between two uses of the same ones, so that none are in the L2 cache and
//! nothing there waits to be written.
//!
//! ```text
//! few_rows              the chosen schedules
//! few_rows --sweep      others beside them
//! few_rows --small      small sizes, all schedules in the emulator, where there is no GPU
//! ```
//! A row for each schedule: microseconds, bytes that must move per second, and their share of a measured copy's rate.
//! The results of all schedules of a product are compared with the first one's.

use gable_artifact::{Action, Arg, Artifact, BufferRef, Kernel, Launch, Signature, Space, Step, StepCost, TargetPlan};
use gable_codegen::Program;
use gable_codegen::contraction::few_rows::schedule::{FewRowsSchedule, FragmentsSchedule};
use gable_codegen::contraction::problem::Problem;
use gable_codegen::contraction::region::{ContractionKernel, kernel_by};
use gable_codegen::contraction::rule;
use gable_codegen::contraction::schedule::Schedule;
use gable_ir::{Builder, Graph, Op, Region, RegionKind, Type, cost, ops};
use gable_ptx::{Module, Target};
use gable_runtime::{DeviceKind, Execution, ProfileOptions, RuntimeError, Session, SessionOptions};
use gable_tensor::random::Random;
use gable_tensor::{DType, Dim, Scalar, Tensor};
use std::error::Error;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes per second of a copy of 4 GiB within an H200's memory, read and written: docs/performance.md.
const COPY_RATE: f64 = 4.284e12;

const TARGET: Target = Target::Sm90a;

/// Bytes of weights between two uses of the same ones, at least: four times the L2 cache.
const ROTATED_BYTES: usize = 240 << 20;

fn main() -> Result<ExitCode> {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let (sweep, small) = (argument == "--sweep", argument == "--small");
    let shapes: &[(usize, usize)] =
        if small { &[(96, 512)] } else { &[(6144, 4096), (28672, 4096), (4096, 14336), (128_256, 4096)] };
    println!("{:26} {:60} {:>4} {:>8} {:>7} {:>6}", "product", "schedule", "regs", "us", "GB/s", "share");
    for format in Format::ALL {
        for &(n, k) in shapes {
            let rows: &[usize] = if sweep { &[1, 16] } else { &[1, 4, 16, 64] };
            for &m in rows {
                if !product(format, (m, n, k), sweep || small, small)? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Bf16,
    E4m3,
    Mxfp8,
    Mxfp4,
    Nvfp4,
    Int4,
}

impl Format {
    const ALL: [Format; 6] = [Format::Bf16, Format::E4m3, Format::Mxfp8, Format::Mxfp4, Format::Nvfp4, Format::Int4];

    /// The stored type, and the type and the group of the scales.
    fn types(self) -> (DType, Option<(DType, usize)>) {
        match self {
            Format::Bf16 => (DType::BF16, None),
            Format::E4m3 => (DType::E4M3, None),
            Format::Mxfp8 => (DType::E4M3, Some((DType::UE8M0, 32))),
            Format::Mxfp4 => (DType::U8, Some((DType::UE8M0, 32))),
            Format::Nvfp4 => (DType::U8, Some((DType::E4M3, 16))),
            Format::Int4 => (DType::U8, Some((DType::BF16, 128))),
        }
    }

    /// The table of four-bit elements.
    fn table(self) -> Option<[f64; 16]> {
        let half = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        match self {
            Format::Mxfp4 | Format::Nvfp4 => Some(std::array::from_fn(|i| if i < 8 { half[i] } else { -half[i - 8] })),
            Format::Int4 => Some(std::array::from_fn(|i| i as f64 - 8.0)),
            _ => None,
        }
    }
}

/// A linear layer's product.
fn graph(format: Format, (m, n, k): (usize, usize, usize)) -> Result<Graph> {
    let (stored, scales) = format.types();
    let bf16 = DType::BF16;
    let mut b = Builder::new("few_rows");
    let a = b.input("a", Type::new(bf16, [m, k]));
    let width = if format.table().is_some() { k / 2 } else { k };
    let w = b.input("w", Type::new(stored, [n, width]));
    let mut factor = match format.table() {
        None if stored == bf16 => w,
        None => b.cast(w, bf16)?,
        Some(table) => {
            let (mask, shift) = (b.scalar(stored, 15i64)?, b.scalar(stored, 4i64)?);
            let (low, high) = (b.and(w, mask)?, b.shr(w, shift)?);
            let (low, high) = (b.reshape(low, [n, width, 1])?, b.reshape(high, [n, width, 1])?);
            let both = b.concat(&[low, high], 2)?;
            let codes = b.reshape(both, [n, k])?;
            let codes = b.cast(codes, DType::I32)?;
            let table = b.constant(Tensor::from_scalars(bf16, vec![16], table.map(Scalar::F)))?;
            b.add(ops::Gather { axis: 0 }, &[table, codes])?
        }
    };
    if let Some((dtype, group)) = scales {
        let s = b.input("s", Type::new(dtype, [n, k / group]));
        let s = if dtype == bf16 { s } else { b.cast(s, bf16)? };
        let s = b.reshape(s, [n, k / group, 1])?;
        let s = b.broadcast_to(s, &[Dim::from(n), Dim::from(k / group), Dim::from(group)])?;
        let s = b.reshape(s, [n, k])?;
        factor = b.mul(factor, s)?;
    }
    let factor = b.transpose(factor, &[1, 0])?;
    let c = b.add(ops::Matmul { acc: DType::F32, out: bf16 }, &[a, factor])?;
    b.output("c", c);
    let mut graph = b.finish().graph;
    let nodes = graph.ids().into_iter().filter(|&id| !matches!(graph.op(id), Op::Input(_)));
    let region = Region::new("r", RegionKind::Contraction, nodes);
    graph.regions.push(region);
    Ok(graph)
}

/// The rule's schedule, and others.
fn schedules(problem: &Problem, many: bool) -> Result<Vec<Schedule>> {
    let chosen = rule::choose(problem, TARGET)?;
    let mut all = vec![chosen];
    if let (true, Schedule::FewRows(FewRowsSchedule::Fragments(_))) = (many, chosen) {
        for (warps, tiles, depth) in
            [(4, 1, 1), (4, 1, 2), (8, 1, 1), (8, 1, 2), (8, 2, 1), (16, 1, 1), (16, 1, 2), (16, 2, 1), (24, 1, 1)]
        {
            let groups = problem.n.div_ceil(16 * tiles as usize) as u32;
            for (ctas, rows_ahead) in
                [(groups, false), (132, true), (132, false), (264, false), (264, true), (396, false), (528, false)]
            {
                let schedule = FragmentsSchedule { warps, tiles, products: 1, depth, ctas, rows_ahead };
                let resident = (ctas / 132).max(1) * warps * 32 * schedule.registers(problem);
                if ctas == groups || ctas < groups && resident <= 65_536 {
                    all.push(Schedule::FewRows(FewRowsSchedule::Fragments(schedule)));
                }
            }
        }
    }
    all.retain(|schedule| schedule.validate(problem, TARGET).is_ok());
    Ok(all)
}

/// Random bits that are small numbers of a type, fast.
fn numbers(dtype: DType, shape: &[usize], seed: u64) -> Result<Tensor> {
    let count = shape.iter().product::<usize>() * dtype.bytes();
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        let bits = random.next_u64();
        let word = match dtype {
            // Sign, and 2^-3 to 2 with fractions.
            DType::BF16 => bits & 0x81ff_81ff_81ff_81ff | 0x3e00_3e00_3e00_3e00,
            // Less than 2.
            DType::E4M3 => bits & 0xbfbf_bfbf_bfbf_bfbf,
            // From a quarter to 2.
            DType::UE8M0 => bits & 0x0303_0303_0303_0303 | 0x7c7c_7c7c_7c7c_7c7c,
            _ => bits,
        };
        bytes.extend(word.to_le_bytes());
    }
    bytes.truncate(count);
    Ok(Tensor::new(dtype, shape.to_vec(), bytes)?)
}

/// Times one product; false where there is no GPU.
fn product(format: Format, shape: (usize, usize, usize), many: bool, emulated: bool) -> Result<bool> {
    let graph = graph(format, shape)?;
    let program = Program::of_region(&graph, &graph.regions[0])?;
    let mut problem = None;
    kernel_by(&program, TARGET, &[], |found| {
        problem = Some(found.clone());
        rule::choose(found, TARGET)
    })?;
    let problem = problem.ok_or("the product has elements")?;
    let mut kernels: Vec<ContractionKernel> = Vec::new();
    for schedule in schedules(&problem, many)? {
        kernels.extend(kernel_by(&program, TARGET, &[], |_| Ok(schedule))?);
    }
    let bytes = cost::of_group(&graph, &graph.regions[0].nodes).ok_or("sizes are known")?.total_bytes();
    let rotation = if emulated { 2 } else { ROTATED_BYTES / bytes as usize + 2 };
    let rotation = if bytes > 0.5e9 { 1 } else { rotation };
    let steps =
        if emulated { kernels.len() } else { kernels.len().max(rotation).next_multiple_of(kernels.len()).max(3) };
    let artifact = artifact(&graph, &program, &kernels, rotation, steps)?;
    let device = if emulated { DeviceKind::Emulator } else { DeviceKind::Cuda(0) };
    let options = SessionOptions { execution: Execution::Stepwise, ..SessionOptions::default() };
    let mut session = match Session::open_with(&artifact, device, options) {
        Ok(session) => session,
        Err(error @ (RuntimeError::NoDriver { .. } | RuntimeError::NoDevice { .. })) => {
            println!("SKIPPED: {error}");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    let mut inputs: Vec<(String, Tensor)> = Vec::new();
    for (position, signature) in artifact.inputs.iter().enumerate() {
        let first = signature.name.split('.').next().unwrap_or_default();
        let same = inputs.iter().find(|(name, _)| name.split('.').next() == Some(first)).map(|(_, tensor)| tensor);
        let tensor = match same {
            Some(tensor) => tensor.clone(),
            None => numbers(signature.dtype, &signature.shape, position as u64 + 1)?,
        };
        inputs.push((signature.name.clone(), tensor));
    }
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let results = session.run(&given)?;
    let (profile, loaded) = if emulated {
        (None, Vec::new())
    } else {
        (Some(session.profile(&given, ProfileOptions::default())?), session.kernels()?)
    };
    let (m, n, k) = shape;
    for (i, kernel) in kernels.iter().enumerate() {
        let seconds = profile.as_ref().map_or(f64::NAN, |profile| {
            let of_kernel = profile.steps.iter().skip(i).step_by(kernels.len());
            let mut times: Vec<f64> =
                of_kernel.map(|step| step.in_sequence.median_s - profile.timer_overhead_s).collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        let flushed = profile.as_ref().map_or(f64::NAN, |p| p.steps[i].cold.median_s - p.timer_overhead_s);
        let registers = loaded.get(i).map_or(0, |kernel| kernel.registers);
        let rate = bytes / seconds;
        println!(
            "{:26} {:60} {registers:4} {:8.2} {:7.0} {:5.1}% ({:.2} after a flush){}",
            format!("{m} x {n} x {k} {format:?}"),
            kernel.schedule.to_string(),
            seconds * 1e6,
            rate / 1e9,
            100.0 * rate / COPY_RATE,
            flushed * 1e6,
            difference(&results[0].1, &results[i].1)
        );
    }
    Ok(true)
}

/// What to say of results that differ by more than the last bits of sums in another order.
fn difference(expected: &Tensor, found: &Tensor) -> String {
    let largest = expected.scalars().map(|x| x.as_f64().abs()).fold(0.0, f64::max);
    let off = expected.scalars().zip(found.scalars()).map(|(x, y)| (x.as_f64() - y.as_f64()).abs());
    // One rounding to bf16 of the largest.
    match off.fold(0.0, f64::max) / largest {
        off if off <= 2f64.powi(-7) => String::new(),
        off => format!("  DIFFERS by {off:e} of the largest"),
    }
}

/// One plan of `steps` steps, which takes kernel after kernel and, of `rotation` copies of the weights, copy after copy.
fn artifact(
    graph: &Graph,
    program: &Program,
    kernels: &[ContractionKernel],
    rotation: usize,
    steps: usize,
) -> Result<Artifact> {
    let mut artifact = Artifact {
        provenance: Default::default(),
        graph: graph.to_string(),
        dims: Default::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        weights: Vec::new(),
        plans: Vec::new(),
    };
    // Kernels take inputs in the order in which the region first uses them.
    let mut reads: Vec<Vec<Arg>> = Vec::new();
    for copy in 0..rotation {
        let mut args = Vec::new();
        for &(_, id) in &program.inputs {
            let ty = graph.ty(id).concrete().ok_or("sizes are known")?;
            let bytes = ty.bytes() as u64;
            args.push(Arg::Read(BufferRef { space: Space::Input(artifact.inputs.len()), offset: 0, bytes }));
            let name = format!("{}.{copy}", graph.input_name(id));
            artifact.inputs.push(Signature { name, dtype: ty.dtype, shape: ty.shape });
        }
        reads.push(args);
    }
    let ty = graph.ty(graph.outputs()[0].1).concrete().ok_or("sizes are known")?;
    let mut plan =
        TargetPlan { target: TARGET.name().to_string(), arena_bytes: 0, kernels: Vec::new(), steps: Vec::new() };
    for (i, kernel) in kernels.iter().enumerate() {
        plan.kernels.push(Kernel {
            name: format!("k{i}"),
            entry: kernel.kernel.name.clone(),
            ptx: Module::new(TARGET, vec![kernel.kernel.clone()]).to_string(),
            cubin: None,
            class: kernel.schedule.class().to_string(),
            dynamic_shared_bytes: kernel.shared_bytes(),
            resources: None,
        });
    }
    for step in 0..steps {
        let kernel = &kernels[step % kernels.len()];
        artifact.outputs.push(Signature { name: format!("c{step}"), dtype: ty.dtype, shape: ty.shape.clone() });
        let mut args = reads[step % rotation].clone();
        args.push(Arg::Write(BufferRef { space: Space::Output(step), offset: 0, bytes: ty.bytes() as u64 }));
        let launch = Launch {
            kernel: step % kernels.len(),
            grid: [kernel.grid(), 1, 1],
            block: [kernel.block(), 1, 1],
            cluster: [1; 3],
            dependent: false,
            args,
        };
        let action = Action::Launch(launch);
        plan.steps.push(Step { label: format!("s{step}"), action, cost: StepCost::default(), predicted: None });
    }
    artifact.plans.push(plan);
    Ok(artifact)
}
