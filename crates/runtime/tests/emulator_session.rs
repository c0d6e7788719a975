//! Sessions on the emulator device: results, what it is strict about, and requests that it refuses. Kernels are written by hand.

use gable_artifact::{
    Action, Arg, Artifact, BufferRef, Kernel, Launch, Provenance, Signature, Space, Step, StepCost, TargetPlan, Weight,
};
use gable_runtime::{DeviceKind, Emulation, ProfileOptions, RuntimeError, Schedule, Session, SessionOptions};
use gable_tensor::{DType, Tensor};

/// Elements of every tensor.
const N: usize = 64;

/// `y[i] = x[i] + w[i]` in `threads` threads, with an offset in elements before each access.
fn kernel(target: &str, load: usize, store: usize) -> Kernel {
    let ptx = format!(
        ".version 8.7
.target {target}
.address_size 64
.visible .entry add(.param .u64 x, .param .u64 w, .param .u64 y)
{{
    .reg .b32 %r<2>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd0, [x];
    ld.param.u64 %rd1, [w];
    ld.param.u64 %rd2, [y];
    mov.u32 %r0, %tid.x;
    mul.wide.u32 %rd3, %r0, 4;
    add.s64 %rd4, %rd0, %rd3;
    add.s64 %rd5, %rd1, %rd3;
    add.s64 %rd6, %rd2, %rd3;
    ld.global.f32 %f0, [%rd4+{}];
    ld.global.f32 %f1, [%rd5];
    add.rn.f32 %f2, %f0, %f1;
    st.global.f32 [%rd6+{}], %f2;
    ret;
}}
",
        4 * load,
        4 * store
    );
    Kernel {
        name: "add_x_w".into(),
        entry: "add".into(),
        ptx,
        cubin: None,
        class: "fma".into(),
        dynamic_shared_bytes: 0,
        resources: None,
    }
}

fn range(space: Space, offset: usize) -> BufferRef {
    BufferRef { space, offset: 4 * offset as u64, bytes: 4 * N as u64 }
}

fn add(threads: u32, args: [Arg; 3]) -> Step {
    let launch = Launch {
        kernel: 0,
        grid: [1; 3],
        block: [threads, 1, 1],
        cluster: [1; 3],
        dependent: false,
        args: args.to_vec(),
    };
    Step { label: "sum".into(), action: Action::Launch(launch), cost: StepCost::default(), predicted: None }
}

/// `y = x + w + w` by way of the arena, for two targets.
fn artifact() -> Artifact {
    let signature = |name: &str| Signature { name: name.into(), dtype: DType::F32, shape: vec![N] };
    let weight = Arg::Read(range(Space::Weight(0), 0));
    let arena = range(Space::Arena, N);
    let first = add(N as u32, [Arg::Read(range(Space::Input(0), 0)), weight.clone(), Arg::Write(arena)]);
    let second = add(N as u32, [Arg::Read(arena), weight, Arg::Write(range(Space::Output(0), 0))]);
    let plan = |target: &str| TargetPlan {
        target: target.into(),
        arena_bytes: 8 * N as u64,
        kernels: vec![kernel(target, 0, 0)],
        steps: vec![first.clone(), second.clone()],
    };
    Artifact {
        provenance: Provenance::default(),
        graph: String::new(),
        dims: Default::default(),
        inputs: vec![signature("x")],
        outputs: vec![signature("y")],
        weights: vec![Weight {
            key: "w".into(),
            dtype: DType::F32,
            shape: vec![N],
            data: Tensor::from_vec([N], &vec![0.5f32; N]).bytes().clone(),
        }],
        plans: vec![plan("sm_100a"), plan("sm_90a")],
    }
}

fn open(artifact: &Artifact, emulation: Emulation<'_>) -> Result<Session, RuntimeError> {
    Session::open_with(artifact, DeviceKind::Emulator, SessionOptions { emulation, ..SessionOptions::default() })
}

fn x() -> Tensor {
    Tensor::from_vec([N], &(0..N).map(|i| i as f32).collect::<Vec<_>>())
}

/// What a run of a changed artifact says.
fn run_fails(change: impl Fn(&mut TargetPlan)) -> RuntimeError {
    let mut artifact = artifact();
    change(&mut artifact.plans[0]);
    let mut session = open(&artifact, Emulation::default()).expect("the kernels can be read");
    session.run(&[("x", &x())]).expect_err("the plan is wrong")
}

#[test]
fn every_target_gives_the_result_in_every_schedule() {
    let artifact = artifact();
    for target in [None, Some("sm_100a"), Some("sm_90a")] {
        for schedule in [Schedule::Eager, Schedule::Lazy, Schedule::Random(3)] {
            for races in [true, false] {
                let mut session = open(&artifact, Emulation { target, schedule, races }).expect("the plan is right");
                assert!(session.device().name.starts_with(target.unwrap_or("sm_100a")), "{}", session.device().name);
                for _ in 0..2 {
                    let outputs = session.run(&[("x", &x())]).expect("the plan is right");
                    let expected: Vec<f32> = (0..N).map(|i| i as f32 + 1.0).collect();
                    assert_eq!(outputs[0].1.to_vec::<f32>(), expected);
                }
            }
        }
    }
}

#[test]
fn a_trace_shows_memory_after_each_step() {
    let mut session = open(&artifact(), Emulation::default()).expect("the plan is right");
    let mut seen = Vec::new();
    session
        .trace(&[("x", &x())], &mut |step| {
            let (_, bytes) = &step.written()?[0];
            seen.push(f32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
            let weight = step.read(BufferRef { space: Space::Weight(0), offset: 8, bytes: 4 })?;
            assert_eq!(weight, 0.5f32.to_le_bytes());
            Ok(())
        })
        .expect("the plan is right");
    assert_eq!(seen, [1.5, 2.0]);
}

#[test]
fn an_access_past_a_range_is_a_hazard_of_its_step() {
    // Into the other half of the arena, which is memory of the plan, but not of the step.
    let error = run_fails(|plan| plan.kernels[0] = kernel("sm_100a", 0, 1)).to_string();
    for part in ["step 0 (`sum`), kernel `add_x_w` for sm_100a is at fault", "out-of-bounds", "thread (63, 0, 0)"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = run_fails(|plan| plan.kernels[0] = kernel("sm_100a", 1, 0));
    assert!(matches!(&error, RuntimeError::Hazards { step: 0, .. }), "{error}");
}

#[test]
fn a_range_that_is_only_read_may_not_be_written() {
    let error = run_fails(|plan| {
        let Action::Launch(launch) = &mut plan.steps[1].action else { panic!("it is a launch") };
        launch.args[2] = Arg::Read(range(Space::Output(0), 0));
    });
    assert!(matches!(&error, RuntimeError::Hazards { step: 1, .. }), "{error}");
    assert!(error.to_string().contains("read-only: writes `output 0[0, +256]`"), "{error}");
}

#[test]
fn bytes_that_nobody_wrote_are_found() {
    // Half of the threads write half of the range.
    let error = run_fails(|plan| {
        let Action::Launch(launch) = &mut plan.steps[0].action else { panic!("it is a launch") };
        launch.block = [N as u32 / 2, 1, 1];
    });
    assert_eq!(
        error.to_string(),
        "step 0 (`sum`), kernel `add_x_w`, which promises to write it all, leaves arena[256, +256] unwritten from byte 128 on"
    );
    // The second step without the first reads what nobody wrote.
    let error = run_fails(|plan| drop(plan.steps.remove(0)));
    assert!(error.to_string().contains("uninitialized"), "{error}");
    // Without the second, the output is missing.
    let error = run_fails(|plan| plan.steps.truncate(1));
    assert_eq!(error.to_string(), "the plan for sm_100a leaves output `y` unwritten from byte 0 on");
}

#[test]
fn overlapping_ranges_are_one_memory() {
    // In place: the step reads and writes the same range of the arena.
    let mut artifact = artifact();
    let arena = range(Space::Arena, N);
    let weight = Arg::Read(range(Space::Weight(0), 0));
    artifact.plans[0].steps.insert(1, add(N as u32, [Arg::Read(arena), weight, Arg::Update(arena)]));
    let mut session = open(&artifact, Emulation::default()).expect("the plan is right");
    let outputs = session.run(&[("x", &x())]).expect("the plan is right");
    assert_eq!(outputs[0].1.to_vec::<f32>()[..3], [1.5, 2.5, 3.5]);
}

#[test]
fn fills_and_copies_are_steps_too() {
    let mut artifact = artifact();
    let (arena, output) = (range(Space::Arena, 0), range(Space::Output(0), 0));
    let step = |action| Step { label: "move".into(), action, cost: StepCost::default(), predicted: None };
    artifact.plans[0].steps = vec![
        step(Action::Fill { target: arena, word: 2.5f32.to_bits() }),
        step(Action::Copy { source: arena, target: output }),
    ];
    let run = |artifact: &Artifact| {
        let mut session = open(artifact, Emulation::default()).expect("the plan is right");
        session.run(&[("x", &x())]).map(|outputs| outputs[0].1.to_vec::<f32>()[N - 1])
    };
    assert_eq!(run(&artifact).expect("the plan is right"), 2.5);
    artifact.plans[0].steps = vec![step(Action::Copy { source: range(Space::Weight(0), 0), target: output })];
    assert_eq!(run(&artifact).expect("the plan is right"), 0.5);
    // A copy of nothing is still nothing.
    artifact.plans[0].steps = vec![step(Action::Copy { source: arena, target: output })];
    assert!(matches!(run(&artifact), Err(RuntimeError::Unwritten { .. })));
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let artifact = artifact();
    let error = open(&artifact, Emulation { target: Some("sm_120a"), ..Emulation::default() }).err();
    assert_eq!(
        error.expect("there is no such plan").to_string(),
        "the artifact has no plan for sm_120a; it was compiled for `sm_100a`, `sm_90a`"
    );
    let mut broken = artifact.clone();
    broken.plans[0].kernels[0].ptx = broken.plans[0].kernels[0].ptx.replace("add.rn.f32", "add.rn.f33");
    let error = open(&broken, Emulation::default()).err().expect("it is no instruction").to_string();
    assert!(error.starts_with("the emulator cannot load kernel `add_x_w` for sm_100a: line 19"), "{error}");
    let mut session = open(&artifact, Emulation::default()).expect("the plan is right");
    let error = session.profile(&[("x", &x())], ProfileOptions::default()).expect_err("there are no times");
    assert_eq!(
        error.to_string(),
        "device `emulator` has no times: it says whether kernels are right, not how fast they are"
    );
    assert_eq!(session.kernels().expect("no driver loads any"), []);
    let error = run_fails(|plan| {
        let Action::Launch(launch) = &mut plan.steps[0].action else { panic!("it is a launch") };
        launch.args[0] = Arg::U32(1);
    });
    assert!(matches!(&error, RuntimeError::Params { declared, .. } if declared == &[8, 8, 8]), "{error}");
    let error = run_fails(|plan| plan.kernels[0].dynamic_shared_bytes = 1 << 20).to_string();
    assert!(error.starts_with("step 0 (`sum`), kernel `add_x_w`: 1048576 bytes of shared memory"), "{error}");
}
