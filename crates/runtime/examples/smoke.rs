//! Runs a small plan written by hand on `cuda:0` and checks the results: as one graph, step by step, traced, timed.
//! Also measures the memory roof. Exits with 1 when anything is wrong.
//!
//! ```text
//! cargo run --release -p gable-runtime --example smoke
//! ```

use gable_artifact::{
    Action, Arg, Artifact, BufferRef, Kernel, Launch, Provenance, Signature, Space, Step, StepCost, TargetPlan, Weight,
};
use gable_runtime::{
    DeviceKind, Execution, Profile, ProfileOptions, RuntimeError, Session, SessionOptions, Timing, cuda,
};
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Tensor};
use std::process::ExitCode;

/// Elements of each tensor: 64 MiB of f32, more than the L2 cache of the targets.
const N: usize = 16 << 20;
const BLOCK: u32 = 256;
const TARGETS: [&str; 5] = ["sm_90a", "sm_100a", "sm_103a", "sm_120a", "sm_121a"];

/// `c[i] = a[i] + b[i]` for `i < n`. `VERSION` and `TARGET` are filled in.
const ADD: &str = r#"
.version VERSION
.target TARGET
.address_size 64
.visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
    .reg .pred %p;
    .reg .b32 %r<5>;
    .reg .b64 %d<8>;
    .reg .f32 %f<4>;
    ld.param.u64 %d1, [a];
    ld.param.u64 %d2, [b];
    ld.param.u64 %d3, [c];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.u32 %r2, %r2, %r3, %r4;
    setp.ge.u32 %p, %r2, %r1;
    @%p bra DONE;
    mul.wide.u32 %d4, %r2, 4;
    add.u64 %d5, %d1, %d4;
    add.u64 %d6, %d2, %d4;
    add.u64 %d7, %d3, %d4;
    ld.global.f32 %f1, [%d5];
    ld.global.f32 %f2, [%d6];
    add.f32 %f3, %f1, %f2;
    st.global.f32 [%d7], %f3;
DONE:
    ret;
}
"#;

fn add_kernel(target: &str) -> Kernel {
    // The first PTX version that knows the target.
    let version = match target {
        "sm_90a" => "8.0",
        "sm_100a" => "8.6",
        "sm_120a" => "8.7",
        _ => "8.8",
    };
    Kernel {
        name: "add".into(),
        entry: "add".into(),
        ptx: ADD.replace("VERSION", version).replace("TARGET", target),
        cubin: None,
        class: "fma".into(),
        dynamic_shared_bytes: 0,
        resources: None,
    }
}

/// `total = (x + w) + 1.5`, where the ones and a half come from a fill; `same` is a copy of `x + w`.
fn artifact() -> Artifact {
    let bytes = (N * 4) as u64;
    let whole = |space| BufferRef { space, offset: 0, bytes };
    let sum = whole(Space::Arena);
    let halves = BufferRef { space: Space::Arena, offset: bytes, bytes };
    let step = |label: &str, action, reads, writes| Step {
        label: label.into(),
        action,
        cost: StepCost {
            flops: [("f32".to_string(), N as f64)].into(),
            bytes_read: reads * bytes,
            bytes_written: writes * bytes,
            ops: vec!["add".into()],
        },
        predicted: None,
    };
    let add = |a, b, c| {
        Action::Launch(Launch {
            kernel: 0,
            grid: [(N as u32).div_ceil(BLOCK), 1, 1],
            block: [BLOCK, 1, 1],
            cluster: [1, 1, 1],
            dependent: false,
            args: vec![Arg::Read(a), Arg::Read(b), Arg::Write(c), Arg::U32(N as u32)],
        })
    };
    let steps = vec![
        step("x plus w", add(whole(Space::Input(0)), whole(Space::Weight(0)), sum), 2, 1),
        step("halves", Action::Fill { target: halves, word: 1.5f32.to_bits() }, 0, 1),
        step("total", add(sum, halves, whole(Space::Output(0))), 2, 1),
        step("same", Action::Copy { source: sum, target: whole(Space::Output(1)) }, 1, 1),
    ];
    let plan = |target: &str| TargetPlan {
        target: target.into(),
        arena_bytes: 2 * bytes,
        kernels: vec![add_kernel(target)],
        steps: steps.clone(),
    };
    let signature = |name: &str| Signature { name: name.into(), dtype: DType::F32, shape: vec![N] };
    Artifact {
        provenance: Provenance::default(),
        graph: format!(
            "graph @smoke(%x: f32[{N}]) {{
               %0 = weight {{key=\"w\", dtype=f32, shape=[{N}]}} : f32[{N}]
               %1 = add %x, %0 : f32[{N}]
               %2 = const {{value=f32[1](1.5)}} : f32[1]
               %3 = broadcast %2 {{shape=[{N}]}} : f32[{N}]
               %4 = add %1, %3 : f32[{N}]
               return total = %4, same = %1
             }}"
        ),
        dims: Default::default(),
        inputs: vec![signature("x")],
        outputs: vec![signature("total"), signature("same")],
        weights: vec![Weight { key: "w".into(), dtype: DType::F32, shape: vec![N], data: values(1).bytes().clone() }],
        plans: TARGETS.into_iter().map(plan).collect(),
    }
}

fn values(seed: u64) -> Tensor {
    random::tensor(&mut Random::new(seed), DType::F32, &[N], 2).expect("the size is small")
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match smoke() {
        Ok(0) => {
            println!("smoke: all right");
            ExitCode::SUCCESS
        }
        Ok(wrong) => {
            println!("smoke: {wrong} checks FAILED");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("smoke: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts failed checks.
fn smoke() -> Result<usize, RuntimeError> {
    let artifact = artifact();
    let x = values(2);
    let inputs = [("x", &x)];
    let sum: Vec<f32> = values(2).to_vec::<f32>().iter().zip(values(1).to_vec::<f32>()).map(|(x, w)| x + w).collect();
    let total: Vec<f32> = sum.iter().map(|value| value + 1.5).collect();
    let mut wrong = 0;
    let mut check = |what: &str, right: bool| {
        println!("{:<40} {}", what, if right { "ok" } else { "WRONG" });
        wrong += usize::from(!right);
    };

    let on_cpu = Session::open(&artifact, DeviceKind::Cpu)?.run(&inputs)?;
    check("cpu: total", on_cpu[0].1.to_vec::<f32>() == total);
    check("cpu: same", on_cpu[1].1.to_vec::<f32>() == sum);
    for device in cuda::devices()? {
        println!("{device:#?}");
    }
    for execution in [Execution::Graph, Execution::Stepwise] {
        let progress = |progress| println!("{progress:?}");
        let options = SessionOptions { execution, progress: Some(&progress), ..SessionOptions::default() };
        let mut session = Session::open_with(&artifact, DeviceKind::Cuda(0), options)?;
        for run in 0..2 {
            let outputs = session.run(&inputs)?;
            check(&format!("{execution:?} run {run}: total"), outputs[0].1.to_vec::<f32>() == total);
            check(&format!("{execution:?} run {run}: same"), outputs[1].1.to_vec::<f32>() == sum);
        }
    }

    let mut session = Session::open(&artifact, DeviceKind::Cuda(0))?;
    println!("{:#?}", session.kernels()?);
    let mut seen = Vec::new();
    session.trace(&inputs, &mut |step| {
        let written = step.written()?;
        let values = Tensor::new(DType::F32, vec![N], written[0].1.clone()).expect("the step writes whole tensors");
        seen.push((step.step().label.clone(), values.to_vec::<f32>()));
        Ok(())
    })?;
    let expected: [(&str, &[f32]); 4] =
        [("x plus w", &sum), ("halves", &vec![1.5; N]), ("total", &total), ("same", &sum)];
    check("trace: four steps", seen.len() == expected.len());
    for ((label, values), (expected_label, expected)) in seen.iter().zip(expected) {
        check(&format!("trace: {label}"), label == expected_label && values == expected);
    }

    let profile = session.profile(&inputs, ProfileOptions::default())?;
    print_profile(&profile, &artifact);
    let outputs = session.run(&inputs)?;
    check("run after profile", outputs[0].1.to_vec::<f32>() == total);

    let copy = cuda::measure_copy_bandwidth(0)?;
    println!(
        "copy of {} MiB: {}, {:.0} GB/s read and written, clocks {:?}",
        copy.buffer_bytes >> 20,
        spread(&copy.copy),
        copy.bytes_per_second * 1e-9,
        copy.clocks
    );
    for (position, step) in profile.steps.iter().enumerate() {
        let cost = &artifact.plans[0].steps[position].cost;
        let reached = (cost.bytes_read + cost.bytes_written) as f64 / step.cold.median_s;
        let share = reached / copy.bytes_per_second;
        println!("{:<10} {:.0} GB/s cold, {:.0} % of the copy", step.label, reached * 1e-9, share * 100.0);
        if step.kernel.is_some() {
            check(&format!("{}: between 40 % and 110 % of the copy", step.label), (0.4..1.1).contains(&share));
        }
    }

    check_errors(&artifact, &mut check);
    Ok(wrong)
}

/// Errors of the driver's come with what they are about.
fn check_errors(artifact: &Artifact, check: &mut dyn FnMut(&str, bool)) {
    let mut fails = |what: &str, fragments: &[&str], break_it: &dyn Fn(&mut Artifact)| {
        let mut broken = artifact.clone();
        break_it(&mut broken);
        let message = match Session::open(&broken, DeviceKind::Cuda(0)) {
            Ok(_) => "no error".to_string(),
            Err(error) => error.to_string(),
        };
        println!("{what}: {message}");
        check(what, fragments.iter().all(|fragment| message.contains(fragment)));
    };
    fails("PTX that does not assemble", &["cuModuleLoadDataEx", "kernel `add`", "line"], &|artifact| {
        artifact.plans.iter_mut().for_each(|plan| {
            plan.kernels[0].ptx = plan.kernels[0].ptx.replace("add.f32", "odd.f32");
        });
    });
    fails("a launch with too few arguments", &["step 0", "kernel `add`", "[8, 8, 8]", "[8, 8, 8, 4]"], &|artifact| {
        artifact.plans.iter_mut().for_each(|plan| {
            if let Action::Launch(launch) = &mut plan.steps[0].action {
                launch.args.pop();
            }
        });
    });
    fails("too much shared memory", &["cuFuncSetAttribute", "kernel `add`", "bytes for a block"], &|artifact| {
        artifact.plans.iter_mut().for_each(|plan| plan.kernels[0].dynamic_shared_bytes = 1 << 20);
    });
    fails("an arena that is too large", &["bytes free", "the arena needs"], &|artifact| {
        artifact.plans.iter_mut().for_each(|plan| plan.arena_bytes = 1 << 45);
    });
    fails("no plan for this device", &["compute capability", "gable compile --target"], &|artifact| {
        artifact.plans.clear();
    });
}

fn print_profile(profile: &Profile, artifact: &Artifact) {
    println!(
        "clocks {:?}, {}, {:.2} us between two events",
        profile.clocks,
        profile.timer,
        profile.timer_overhead_s * 1e6
    );
    println!("total      {}", spread(&profile.total));
    if let Some(cold) = &profile.total_cold {
        println!("total cold {}", spread(cold));
    }
    for (step, of_plan) in profile.steps.iter().zip(&artifact.plans[0].steps) {
        println!("{:<10} in sequence {}", of_plan.label, spread(&step.in_sequence));
        println!("{:<10} cold        {}", "", spread(&step.cold));
        if let Some(repeated) = &step.repeated {
            println!("{:<10} {} runs     {}", "", repeated.runs, spread(&repeated.per_run));
        }
    }
}

fn spread(timing: &Timing) -> String {
    let us = |seconds: f64| seconds * 1e6;
    format!(
        "median {:.2} us, quartiles {:.2} to {:.2}, range {:.2} to {:.2}, n {}",
        us(timing.median_s),
        us(timing.lower_quartile_s),
        us(timing.upper_quartile_s),
        us(timing.min_s),
        us(timing.max_s),
        timing.n
    )
}
