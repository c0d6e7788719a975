//! Times products of few rows on CUDA device 0: weights of every format, in the schedule that the rule chooses and in
//! others, each with the L2 cache overwritten before it.
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
use gable_ir::{Graph, cost, text};
use gable_ptx::{Module, Target};
use gable_runtime::{DeviceKind, Execution, ProfileOptions, RuntimeError, Session, SessionOptions};
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Tensor};
use std::error::Error;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes per second of a copy of 4 GiB within an H200's memory, read and written: docs/performance.md.
const COPY_RATE: f64 = 4.284e12;

const TARGET: Target = Target::Sm90a;

fn main() -> Result<ExitCode> {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let (sweep, small) = (argument == "--sweep", argument == "--small");
    let shapes: &[(usize, usize)] =
        if small { &[(96, 512)] } else { &[(6144, 4096), (28672, 4096), (4096, 14336), (128_256, 4096)] };
    println!("{:22} {:56} {:>4} {:>8} {:>7} {:>6}", "product", "schedule", "regs", "us", "GB/s", "share");
    for &(n, k) in shapes {
        for m in [1, 4, 16, 64] {
            if !product((m, n, k), sweep || small, small)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A linear layer's product.
fn graph((m, n, k): (usize, usize, usize)) -> Result<Graph> {
    let source = format!(
        "graph @few_rows(%a: bf16[{m}, {k}], %b: bf16[{n}, {k}]) {{
  region @r contraction {{
    %0 = transpose %b {{perm=[1, 0]}} : bf16[{k}, {n}]
    %1 = matmul %a, %0 {{acc=f32, out=bf16}} : bf16[{m}, {n}]
  }}
  return c = %1
}}"
    );
    Ok(text::parse(&source)?)
}

/// The rule's schedule, and others.
fn schedules(problem: &Problem, many: bool) -> Result<Vec<Schedule>> {
    let chosen = rule::choose(problem, TARGET)?;
    let mut all = vec![chosen];
    if let (true, Schedule::FewRows(FewRowsSchedule::Fragments(_))) = (many, chosen) {
        for (warps, tiles, depth) in [
            (4, 1, 2),
            (4, 1, 4),
            (4, 2, 2),
            (8, 1, 1),
            (8, 1, 2),
            (8, 1, 4),
            (8, 2, 1),
            (8, 2, 2),
            (16, 1, 1),
            (16, 1, 2),
            (16, 2, 1),
        ] {
            let groups = problem.n.div_ceil(16 * tiles as usize) as u32;
            // All groups as CTAs, and as many CTAs as are resident at once.
            for ctas in [groups, 132, 264, 396, 528] {
                let schedule = FragmentsSchedule { warps, tiles, depth, ctas };
                let resident = (ctas / 132) * warps * 32 * schedule.registers(problem);
                if ctas == groups || ctas < groups && resident <= 65_536 {
                    all.push(Schedule::FewRows(FewRowsSchedule::Fragments(schedule)));
                }
            }
        }
    }
    all.retain(|schedule| schedule.validate(problem, TARGET).is_ok());
    Ok(all)
}

/// Random whole numbers from -2 to 2 as bf16, fast.
fn weights(shape: [usize; 2]) -> Result<Tensor> {
    const NUMBERS: [u16; 8] = [0x0000, 0x3f80, 0xbf80, 0x4000, 0xc000, 0x0000, 0x3f80, 0xbf80];
    let mut random = Random::new(1);
    let count = shape[0] * shape[1];
    let mut bytes = Vec::with_capacity(count * 2 + 32);
    while bytes.len() < count * 2 {
        let mut bits = random.next_u64();
        for _ in 0..16 {
            bytes.extend(NUMBERS[(bits & 7) as usize].to_le_bytes());
            bits >>= 4;
        }
    }
    bytes.truncate(count * 2);
    Ok(Tensor::new(DType::BF16, shape.to_vec(), bytes)?)
}

/// Times one product; false where there is no GPU.
fn product(shape: (usize, usize, usize), many: bool, emulated: bool) -> Result<bool> {
    let graph = graph(shape)?;
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
    let artifact = artifact(&graph, &program, &kernels)?;
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
    let (m, n, k) = shape;
    let a = random::tensor(&mut Random::new(2), DType::BF16, &[m, k], 2)?;
    let b = weights([n, k])?;
    let given = [("a", &a), ("b", &b)];
    let results = session.run(&given)?;
    let bytes = cost::of_group(&graph, &graph.regions[0].nodes).ok_or("sizes are known")?.total_bytes();
    let (profile, loaded) = if emulated {
        (None, Vec::new())
    } else {
        (Some(session.profile(&given, ProfileOptions::default())?), session.kernels()?)
    };
    for (i, kernel) in kernels.iter().enumerate() {
        let seconds = profile.as_ref().map_or(f64::NAN, |p| p.steps[i].cold.median_s - p.timer_overhead_s);
        let registers = loaded.get(i).map_or(0, |kernel| kernel.registers);
        let rate = bytes / seconds;
        println!(
            "{:22} {:56} {registers:4} {:8.2} {:7.0} {:5.1}%{}",
            format!("{m} x {n} x {k} bf16"),
            kernel.schedule.to_string(),
            seconds * 1e6,
            rate / 1e9,
            100.0 * rate / COPY_RATE,
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

/// One plan that runs every kernel over the same inputs into outputs of their own.
fn artifact(graph: &Graph, program: &Program, kernels: &[ContractionKernel]) -> Result<Artifact> {
    let mut artifact = Artifact {
        provenance: Default::default(),
        graph: graph.to_string(),
        dims: Default::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        weights: Vec::new(),
        plans: Vec::new(),
    };
    let mut reads = Vec::new();
    // Kernels take inputs in the order in which the region first uses them.
    for &(_, id) in &program.inputs {
        let position = graph.inputs().iter().position(|&input| input == id).ok_or("an input of the graph")?;
        let bytes = graph.ty(id).concrete().ok_or("sizes are known")?.bytes() as u64;
        reads.push(Arg::Read(BufferRef { space: Space::Input(position), offset: 0, bytes }));
    }
    for &id in graph.inputs() {
        let ty = graph.ty(id).concrete().ok_or("sizes are known")?;
        artifact.inputs.push(Signature { name: graph.input_name(id).to_string(), dtype: ty.dtype, shape: ty.shape });
    }
    let ty = graph.ty(graph.outputs()[0].1).concrete().ok_or("sizes are known")?;
    let mut plan =
        TargetPlan { target: TARGET.name().to_string(), arena_bytes: 0, kernels: Vec::new(), steps: Vec::new() };
    for (i, kernel) in kernels.iter().enumerate() {
        artifact.outputs.push(Signature { name: format!("c{i}"), dtype: ty.dtype, shape: ty.shape.clone() });
        plan.kernels.push(Kernel {
            name: format!("k{i}"),
            entry: kernel.kernel.name.clone(),
            ptx: Module::new(TARGET, vec![kernel.kernel.clone()]).to_string(),
            cubin: None,
            class: kernel.schedule.class().to_string(),
            dynamic_shared_bytes: kernel.shared_bytes(),
            resources: None,
        });
        let mut args = reads.clone();
        args.push(Arg::Write(BufferRef { space: Space::Output(i), offset: 0, bytes: ty.bytes() as u64 }));
        let launch = Launch {
            kernel: i,
            grid: [kernel.grid(), 1, 1],
            block: [kernel.block(), 1, 1],
            cluster: [1; 3],
            dependent: false,
            args,
        };
        let action = Action::Launch(launch);
        plan.steps.push(Step { label: format!("k{i}"), action, cost: StepCost::default(), predicted: None });
    }
    artifact.plans.push(plan);
    Ok(artifact)
}
