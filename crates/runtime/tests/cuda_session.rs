//! The host's side of the cuda device, on a stand-in for the driver library (`driver_double/libcuda.rs`).
//!
//! The library is found by name when it is first needed, so each test runs itself again in a process of its own whose
//! library path leads to the stand-in.

use gable_artifact::tensor_map::{Fill, L2Promotion, MapElement, Swizzle, TensorMap};
use gable_artifact::{
    Access, Action, Arg, Artifact, BufferRef, Kernel, Launch, Provenance, Signature, Space, Step, StepCost, TargetPlan,
    Weight,
};
use gable_runtime::cuda::{Product, contest::Contest};
use gable_runtime::{
    DeviceKind, Execution, ProfileOptions, Progress, RuntimeError, Session, SessionOptions, Stage, cuda,
};
use gable_tensor::{DType, Tensor};
use std::process::Command;
use std::sync::Mutex;

const N: usize = 1000;
const BYTES: u64 = 4 * N as u64;

/// Runs `body` where the stand-in is the driver. `name` is the test's own name.
fn on_the_stand_in(name: &str, body: impl FnOnce()) {
    const INSIDE: &str = "GABLE_TEST_ON_STAND_IN";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let test = std::env::current_exe().expect("a test is a program");
    // Tests are built in `deps`, examples beside it.
    let examples = test.parent().and_then(|deps| deps.parent()).expect("a target folder").join("examples");
    let library = examples.join(format!("{}cuda{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    if !library.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} was not built", library.display());
        return println!("SKIPPED: {} was not built; run all targets of the package", library.display());
    }
    let output = Command::new(test)
        .args(["--exact", name, "--nocapture"])
        .env("LD_LIBRARY_PATH", &examples)
        .env(INSIDE, "1")
        .output()
        .expect("the test runs again");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "on the stand-in:\n{text}");
}

macro_rules! on_the_stand_in {
    ($( $(#[$doc:meta])* fn $name:ident() $body:block )+) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            on_the_stand_in(stringify!($name), || $body);
        }
    )+ };
}

fn kernel(entry: &str) -> Kernel {
    Kernel {
        name: format!("the_{entry}"),
        entry: entry.into(),
        ptx: format!(".visible .entry {entry}(...)"),
        cubin: None,
        class: "fma".into(),
        dynamic_shared_bytes: 0,
        resources: None,
    }
}

fn whole(space: Space) -> BufferRef {
    BufferRef { space, offset: 0, bytes: BYTES }
}

fn arena(position: u64) -> BufferRef {
    BufferRef { space: Space::Arena, offset: position * BYTES, bytes: BYTES }
}

fn step(label: &str, action: Action) -> Step {
    Step { label: label.into(), action, cost: StepCost::default(), predicted: None }
}

fn launch(kernel: usize, args: Vec<Arg>) -> Action {
    Action::Launch(Launch { kernel, grid: [4, 1, 1], block: [256, 1, 1], cluster: [1, 1, 1], dependent: false, args })
}

/// `total = (x + w) + 2` in place, where the two comes from a fill; `same` is a copy of `total`.
fn artifact() -> Artifact {
    let n = Arg::U32(N as u32);
    let signature = |name: &str| Signature { name: name.into(), dtype: DType::F32, shape: vec![N] };
    let steps = vec![
        step(
            "sum",
            launch(
                0,
                vec![
                    Arg::Read(whole(Space::Input(0))),
                    Arg::Read(whole(Space::Weight(1))),
                    Arg::Write(arena(0)),
                    n.clone(),
                ],
            ),
        ),
        step("twos", Action::Fill { target: arena(1), word: 2f32.to_bits() }),
        step("in place", launch(0, vec![Arg::Update(arena(0)), Arg::Read(arena(1)), Arg::Update(arena(0)), n])),
        step("total", Action::Copy { source: arena(0), target: whole(Space::Output(0)) }),
        step("same", Action::Copy { source: arena(0), target: whole(Space::Output(1)) }),
    ];
    let weight = |key: &str, values: Tensor| Weight {
        key: key.into(),
        dtype: DType::F32,
        shape: vec![N],
        data: values.bytes().clone(),
    };
    Artifact {
        provenance: Provenance::default(),
        graph: String::new(),
        dims: Default::default(),
        inputs: vec![signature("x")],
        outputs: vec![signature("total"), signature("same")],
        weights: vec![weight("unused", counting(7.0)), weight("w", counting(100.0))],
        plans: vec![TargetPlan {
            target: "sm_90a".into(),
            arena_bytes: 2 * BYTES,
            kernels: vec![kernel("add")],
            steps,
        }],
    }
}

fn counting(from: f32) -> Tensor {
    Tensor::from_vec([N], &(0..N).map(|i| from + i as f32).collect::<Vec<_>>())
}

fn open(artifact: &Artifact, execution: Execution) -> Result<Session, RuntimeError> {
    Session::open_with(artifact, DeviceKind::Cuda(0), SessionOptions { execution, ..SessionOptions::default() })
}

fn opening_fails(break_it: impl Fn(&mut Artifact)) -> String {
    let mut artifact = artifact();
    break_it(&mut artifact);
    match Session::open(&artifact, DeviceKind::Cuda(0)) {
        Ok(_) => panic!("the artifact is wrong"),
        Err(error) => error.to_string(),
    }
}

fn change_launch(artifact: &mut Artifact, step: usize, change: impl Fn(&mut Launch)) {
    match &mut artifact.plans[0].steps[step].action {
        Action::Launch(launch) => change(launch),
        other => panic!("step {step} is a launch, not {other:?}"),
    }
}

on_the_stand_in! {
    fn a_plan_gives_its_results_as_a_graph_and_stepwise() {
        for execution in [Execution::Graph, Execution::Stepwise] {
            let mut session = open(&artifact(), execution).expect("the artifact is right");
            assert_eq!(session.device().name, "stand-in device");
            for from in [0.0, 50.0] {
                let outputs = session.run(&[("x", &counting(from))]).expect("the input fits");
                let expected: Vec<f32> = (0..N).map(|i| from + 102.0 + 2.0 * i as f32).collect();
                assert_eq!(outputs[0], ("total".to_string(), Tensor::from_vec([N], &expected)));
                assert_eq!(outputs[1], ("same".to_string(), Tensor::from_vec([N], &expected)));
            }
        }
    }

    fn auto_takes_the_device_that_has_a_plan() {
        let session = Session::open(&artifact(), DeviceKind::Auto).expect("there is a device");
        assert_eq!(session.device().device, "cuda:0");
        let mut elsewhere = artifact();
        elsewhere.plans[0].target = "sm_120a".into();
        elsewhere.graph = "graph @none() { return }".into();
        (elsewhere.inputs, elsewhere.outputs) = (Vec::new(), Vec::new());
        elsewhere.plans[0].steps.clear();
        let session = Session::open(&elsewhere, DeviceKind::Auto).expect("the cpu needs no plan");
        assert_eq!(session.device().device, "cpu");
    }

    fn a_trace_shows_what_each_step_wrote() {
        let mut session = open(&artifact(), Execution::Graph).expect("the artifact is right");
        let mut seen = Vec::new();
        session
            .trace(&[("x", &counting(0.0))], &mut |state| {
                let (range, bytes) = state.written()?.remove(0);
                let first = f32::from_le_bytes(bytes[..4].try_into().expect("four bytes were sliced"));
                seen.push((state.position, state.step().label.clone(), range.space, first));
                Ok(())
            })
            .expect("the input fits");
        let expected = [
            (0, "sum", Space::Arena, 100.0),
            (1, "twos", Space::Arena, 2.0),
            (2, "in place", Space::Arena, 102.0),
            (3, "total", Space::Output(0), 102.0),
            (4, "same", Space::Output(1), 102.0),
        ];
        assert_eq!(seen, expected.map(|(position, label, space, first)| (position, label.to_string(), space, first)));
    }

    fn a_profile_times_each_step_and_spoils_nothing() {
        let mut session = open(&artifact(), Execution::Graph).expect("the artifact is right");
        let x = counting(0.0);
        let options = ProfileOptions { warm_up: 1, repetitions: 4 };
        let profile = session.profile(&[("x", &x)], options).expect("the input fits");
        assert_eq!((profile.total.n, profile.total_cold.expect("there is a cache").n), (4, 4));
        let kernels: Vec<_> = profile.steps.iter().map(|step| step.kernel.as_deref()).collect();
        assert_eq!(kernels, [Some("the_add"), None, Some("the_add"), None, None]);
        for step in &profile.steps {
            assert_eq!((step.in_sequence.n, step.cold.n), (4, 4));
            assert!(step.in_sequence.min_s > 0.0, "{step:?}");
        }
        assert_eq!(profile.steps[2].repeated, None, "an in-place step must not run twice");
        let outputs = session.run(&[("x", &x)]).expect("the input fits");
        assert_eq!(outputs[0].1.get(0).as_f64(), 102.0);
    }

    fn kernels_are_described_as_loaded() {
        let mut artifact = artifact();
        let from_cubin = |artifact: &Artifact| {
            open(artifact, Execution::Graph).expect("it loads").kernels().expect("they are loaded")[0].from_cubin
        };
        assert!(!from_cubin(&artifact));
        artifact.plans[0].kernels[0].cubin = Some("cubin of the kernel\0".into());
        assert!(from_cubin(&artifact));
        // Assembled code of another kind: the same kernel's PTX is loaded.
        artifact.plans[0].kernels[0].cubin = Some("not for this device\0".into());
        assert!(!from_cubin(&artifact));
    }

    fn opening_tells_how_far_it_is() {
        let told = Mutex::new(Vec::new());
        let progress = |progress: Progress| told.lock().expect("no thread panics").push(progress);
        let options = SessionOptions { progress: Some(&progress), ..SessionOptions::default() };
        Session::open_with(&artifact(), DeviceKind::Cuda(0), options).expect("the artifact is right");
        let expected = [(Stage::Kernels, 0, 1), (Stage::Kernels, 1, 1), (Stage::Weights, 0, BYTES), (Stage::Weights, BYTES, BYTES)];
        let expected = expected.map(|(stage, done, total)| Progress { stage, done, total });
        // Only the weight that the plan reads is uploaded.
        assert_eq!(*told.lock().expect("no thread panics"), expected);
    }

    fn a_kernel_that_does_not_assemble_shows_the_log() {
        let error = opening_fails(|artifact| artifact.plans[0].kernels[0].ptx.push_str(" syntax error"));
        assert_eq!(
            error,
            "cuModuleLoadDataEx failed with CUDA_ERROR_INVALID_PTX (said by the stand-in) while assembling kernel \
             `the_add` for stand-in device; the driver's assembler says:\nline 7; error: there is a syntax error"
        );
    }

    fn a_kernel_that_faults_is_named() {
        let mut artifact = artifact();
        artifact.plans[0].kernels.push(kernel("trap"));
        artifact.plans[0].steps.push(step("last", launch(1, vec![Arg::U32(0)])));
        let x = counting(0.0);
        let run = |execution| {
            let mut session = open(&artifact, execution).expect("it loads");
            let error = session.run(&[("x", &x)]).expect_err("the kernel faults").to_string();
            session.run(&[("x", &x)]).expect_err("it faults each time");
            error
        };
        assert_eq!(
            run(Execution::Stepwise),
            "cuStreamSynchronize failed with CUDA_ERROR_LAUNCH_FAILED (said by the stand-in) while running step 5 \
             (`last`): kernel `the_trap`, grid [4, 1, 1], block [256, 1, 1], cluster [1, 1, 1], 0 bytes of dynamic \
             shared memory"
        );
        let as_a_graph = run(Execution::Graph);
        assert!(as_a_graph.contains("running the plan's 6 steps as one graph; run stepwise"), "{as_a_graph}");
    }

    fn arguments_that_do_not_fit_the_code_are_refused() {
        let few = opening_fails(|artifact| change_launch(artifact, 2, |launch| launch.args.truncate(3)));
        assert_eq!(few, "step 2 (`in place`) gives kernel `the_add` arguments of [8, 8, 8] bytes, its code declares [8, 8, 8, 4]");
        let wide = opening_fails(|artifact| change_launch(artifact, 0, |launch| launch.args[3] = Arg::U64(1)));
        assert!(wide.contains("arguments of [8, 8, 8, 8] bytes"), "{wide}");
    }

    fn maps_clusters_and_early_starts_reach_the_driver() {
        let mut artifact = artifact();
        artifact.plans[0].kernels.push(Kernel { ptx: ".visible .entry twice(...) griddepcontrol.wait".into(), ..kernel("twice") });
        let map = TensorMap {
            element: MapElement::F32,
            dims: vec![N as u64],
            strides: Vec::new(),
            box_dims: vec![4],
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::None,
            fill: Fill::Zeros,
        };
        let twice = |map: &TensorMap| {
            let arg = Arg::TensorMap { place: arena(0), access: Access::Update, map: Box::new(map.clone()) };
            let launch = Launch { kernel: 1, grid: [4, 1, 1], block: [256, 1, 1], cluster: [2, 1, 1], dependent: true, args: vec![arg] };
            step("twice", Action::Launch(launch))
        };
        // The first is right behind a kernel and may start early, the second is behind a fill and may not.
        artifact.plans[0].steps.insert(3, twice(&map));
        artifact.plans[0].steps.insert(4, step("between", Action::Fill { target: arena(1), word: 0 }));
        artifact.plans[0].steps.insert(5, twice(&map));
        for execution in [Execution::Graph, Execution::Stepwise] {
            let mut session = open(&artifact, execution).expect("the artifact is right");
            let outputs = session.run(&[("x", &counting(0.0))]).expect("the input fits");
            let expected: Vec<f32> = (0..N).map(|i| 4.0 * (102.0 + 2.0 * i as f32)).collect();
            assert_eq!(outputs[0].1, Tensor::from_vec([N], &expected));
        }
        let profile = open(&artifact, Execution::Graph).expect("the artifact is right").profile(
            &[("x", &counting(0.0))],
            ProfileOptions { warm_up: 0, repetitions: 1 },
        );
        assert_eq!(profile.expect("marks keep kernels apart").steps.len(), 8);
        // What the artifact's check lets pass and the stand-in does not: it knows no unsigned numbers.
        artifact.plans[0].steps[3] = twice(&TensorMap { element: MapElement::U32, ..map });
        let error = open(&artifact, Execution::Graph).err().expect("the map is refused").to_string();
        assert!(error.starts_with("cuTensorMapEncodeTiled failed with CUDA_ERROR_INVALID_VALUE"), "{error}");
        assert!(error.contains("element: U32") && error.ends_with("for step 3 (`twice`), kernel `the_twice`"), "{error}");
    }

    fn too_much_memory_is_refused_and_none_is_leaked() {
        let error = || opening_fails(|artifact| artifact.plans[0].arena_bytes = 1 << 40);
        // The arena comes last: what was allocated before it counts as used while the error is made.
        let used = 4 * BYTES;
        let expected = format!(
            "stand-in device has {} of {} bytes free, the arena needs {}",
            (1u64 << 26) - used, 1u64 << 26, 1u64 << 40
        );
        assert_eq!(error(), expected);
        drop(open(&artifact(), Execution::Graph).expect("it fits"));
        assert_eq!(error(), expected, "what the session held is free again");
    }

    fn a_device_that_is_not_there_is_named() {
        let error = match Session::open(&artifact(), DeviceKind::Cuda(3)) {
            Ok(_) => panic!("there is one device"),
            Err(error) => error.to_string(),
        };
        assert_eq!(error, "there is no device `cuda:3`: the driver sees 1 device(s)");
        let shared = opening_fails(|artifact| artifact.plans[0].kernels[0].dynamic_shared_bytes = 1 << 20);
        assert!(shared.contains("setting 1048576 on kernel `the_add`"), "{shared}");
        assert!(shared.contains("the device has 232448 bytes for a block"), "{shared}");
    }

    fn entrants_take_turns_and_keep_their_results() {
        let contest = Contest::open(0).expect("there is a device");
        assert!(contest.flush_bytes() >= 4 << 16, "four times the cache of the stand-in");
        let one = contest.plan(&artifact(), &[counting(0.0)]).expect("the artifact is right");
        let other = contest.plan(&artifact(), &[counting(50.0)]).expect("the artifact is right");
        let times = contest.time(&[&one, &other], 3).expect("nothing fails");
        assert_eq!(times.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
        assert!(times.concat().iter().all(|&seconds| seconds > 0.0), "{times:?}");
        let floats = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let found = contest.result(&other, 1, &[0, 40], 4).expect("the ranges are inside");
        assert_eq!([floats(&found[0]), floats(&found[1])], [152.0, 172.0]);
        let product = Product {
            sizes: [1, 1, 1],
            batch: 1,
            factors: DType::F32,
            result: DType::F32,
            first: 0,
            seconds: vec![0],
            groups: Vec::new(),
            second_is_kn: false,
            scales: None,
            gelu_bias: None,
            addend: None,
        };
        if cuda::cublaslt_version().is_none() {
            assert!(contest.library(&product, &one).expect("it is not needed").is_empty());
        }
    }

    fn the_memory_roof_counts_bytes_read_and_written() {
        let roof = cuda::measure_copy_bandwidth(0).expect("there is a device");
        assert_eq!(roof.buffer_bytes, 16 << 20);
        let expected = 2.0 * roof.buffer_bytes as f64 / roof.copy.median_s;
        assert!((roof.bytes_per_second / expected - 1.0).abs() < 1e-12, "{roof:?}");
    }
}
