//! Tensor maps, clusters and dependent launches: one plan, run in the emulator and, where there is one, on a GPU.
//!
//! Its kernel loads a box of 8 rows through one map, adds the number of blocks in its cluster, and stores the box through
//! another map; the last box reaches past the tensor's 12 rows.

use gable_artifact::tensor_map::{Fill, L2Promotion, MapElement, Swizzle, TensorMap};
use gable_artifact::{
    Access, Action, Arg, Artifact, BufferRef, Kernel, Launch, Provenance, Signature, Space, Step, StepCost, TargetPlan,
};
use gable_runtime::{
    DeviceKind, Emulation, Execution, ProfileOptions, RuntimeError, Schedule, Session, SessionOptions,
};
use gable_tensor::{DType, Tensor};

const ROWS: usize = 12;
const COLUMNS: usize = 16;
const BYTES: u64 = (4 * ROWS * COLUMNS) as u64;
const BOX_ROWS: u32 = 8;
const TARGETS: [&str; 3] = ["sm_90a", "sm_100a", "sm_120a"];

fn kernel(target: &str) -> Kernel {
    let ptx = format!(
        ".version 8.8
.target {target}
.address_size 64
.visible .entry shift(.param .align 64 .b8 from[128], .param .align 64 .b8 to[128])
{{
    .reg .pred %p<3>;
    .reg .b32 %r<10>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<4>;
    .shared .align 128 .b8 tile[512];
    .shared .align 8 .b64 full;
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, tile;
    mov.u32 %r2, full;
    setp.eq.u32 %p0, %r0, 0;
    @%p0 mbarrier.init.shared::cta.b64 [%r2], 1;
    @%p0 fence.mbarrier_init.release.cluster;
    bar.sync 0;
    griddepcontrol.wait;
    griddepcontrol.launch_dependents;
    mov.u32 %r3, %ctaid.x;
    shl.b32 %r4, %r3, 3;
    mov.u32 %r5, 0;
    @!%p0 bra WAIT;
    mov.b64 %rd0, from;
    cvta.param.u64 %rd0, %rd0;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 512;
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0, {{%r5, %r4}}], [%r2];
WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2], 0;
    @!%p1 bra WAIT;
    shl.b32 %r6, %r0, 2;
    add.u32 %r6, %r6, %r1;
    mov.u32 %r7, %cluster_nctarank;
    cvt.rn.f32.u32 %f1, %r7;
    ld.shared.f32 %f0, [%r6];
    add.rn.f32 %f0, %f0, %f1;
    st.shared.f32 [%r6], %f0;
    fence.proxy.async.shared::cta;
    bar.sync 0;
    @!%p0 bra DONE;
    mov.b64 %rd1, to;
    cvta.param.u64 %rd1, %rd1;
    cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {{%r5, %r4}}], [%r1];
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
DONE:
    ret;
}}
"
    );
    Kernel {
        name: "shift_rows".into(),
        entry: "shift".into(),
        ptx,
        cubin: None,
        class: "fma".into(),
        dynamic_shared_bytes: 0,
        resources: None,
    }
}

/// A map over a tensor of so many rows at the start of `space`.
fn tensor_map(space: Space, access: Access, rows: usize) -> Arg {
    let map = TensorMap {
        element: MapElement::F32,
        dims: vec![COLUMNS as u64, rows as u64],
        strides: vec![4 * COLUMNS as u64],
        box_dims: vec![COLUMNS as u32, BOX_ROWS],
        swizzle: Swizzle::None,
        l2_promotion: L2Promotion::Bytes256,
        fill: Fill::Zeros,
    };
    Arg::TensorMap { place: BufferRef { space, offset: 0, bytes: BYTES }, access, map: Box::new(map) }
}

fn shift(from: Arg, to: Arg, cluster: u32, dependent: bool) -> Step {
    let launch = Launch {
        kernel: 0,
        grid: [2, 1, 1],
        block: [128, 1, 1],
        cluster: [cluster, 1, 1],
        dependent,
        args: vec![from, to],
    };
    Step { label: "shift".into(), action: Action::Launch(launch), cost: StepCost::default(), predicted: None }
}

/// `y = x + 2 + 1`: a launch in clusters of two blocks, and one without clusters that may start early.
fn artifact() -> Artifact {
    let signature = |name: &str| Signature { name: name.into(), dtype: DType::F32, shape: vec![ROWS, COLUMNS] };
    let steps = vec![
        shift(tensor_map(Space::Input(0), Access::Read, ROWS), tensor_map(Space::Arena, Access::Write, ROWS), 2, false),
        shift(tensor_map(Space::Arena, Access::Read, ROWS), tensor_map(Space::Output(0), Access::Write, ROWS), 1, true),
    ];
    let plan = |target: &str| TargetPlan {
        target: target.into(),
        arena_bytes: BYTES,
        kernels: vec![kernel(target)],
        steps: steps.clone(),
    };
    Artifact {
        provenance: Provenance::default(),
        graph: String::new(),
        dims: Default::default(),
        inputs: vec![signature("x")],
        outputs: vec![signature("y")],
        weights: Vec::new(),
        plans: TARGETS.map(plan).to_vec(),
    }
}

fn x() -> Tensor {
    Tensor::from_vec([ROWS, COLUMNS], &(0..ROWS * COLUMNS).map(|i| i as f32).collect::<Vec<_>>())
}

fn assert_shifted(session: &mut Session) {
    let outputs = session.run(&[("x", &x())]).expect("the plan is right");
    let expected: Vec<f32> = (0..ROWS * COLUMNS).map(|i| i as f32 + 3.0).collect();
    assert_eq!(outputs[0].1.to_vec::<f32>(), expected);
}

#[test]
fn the_emulator_copies_through_maps_on_every_target_in_every_schedule() {
    for target in TARGETS {
        for schedule in [Schedule::Eager, Schedule::Lazy, Schedule::Random(5)] {
            let emulation = Emulation { target: Some(target), schedule, races: true };
            let options = SessionOptions { emulation, ..SessionOptions::default() };
            let mut session = Session::open_with(&artifact(), DeviceKind::Emulator, options).expect("it loads");
            assert_shifted(&mut session);
        }
    }
}

#[test]
fn rows_that_a_map_leaves_out_stay_unwritten() {
    let mut artifact = artifact();
    let Action::Launch(launch) = &mut artifact.plans[0].steps[1].action else { panic!("it is a launch") };
    launch.args[1] = tensor_map(Space::Output(0), Access::Write, ROWS - 1);
    let mut session = Session::open(&artifact, DeviceKind::Emulator).expect("it loads");
    let error = session.run(&[("x", &x())]).expect_err("a row is missing");
    let first = 4 * ((ROWS - 1) * COLUMNS) as u64;
    assert!(matches!(&error, RuntimeError::Unwritten { first: found, .. } if *found == first), "{error}");
}

#[test]
fn a_map_where_the_code_declares_an_address_is_refused() {
    let mut artifact = artifact();
    let ptx = &mut artifact.plans[0].kernels[0].ptx;
    *ptx = ptx.replace(".param .align 64 .b8 to[128]", ".param .u64 to");
    let mut session = Session::open(&artifact, DeviceKind::Emulator).expect("it loads");
    let error = session.run(&[("x", &x())]).expect_err("the sizes differ").to_string();
    assert_eq!(
        error,
        "step 0 (`shift`) gives kernel `shift_rows` arguments of [128, 128] bytes, its code declares [128, 8]"
    );
}

#[test]
fn a_gpu_gives_the_same() {
    for execution in [Execution::Graph, Execution::Stepwise] {
        let options = SessionOptions { execution, ..SessionOptions::default() };
        let mut session = match Session::open_with(&artifact(), DeviceKind::Cuda(0), options) {
            Ok(session) => session,
            Err(error @ (RuntimeError::NoDriver { .. } | RuntimeError::NoPlan { .. })) => {
                return println!("SKIPPED: {error}");
            }
            Err(error) => panic!("{error}"),
        };
        for _ in 0..3 {
            assert_shifted(&mut session);
        }
        // Marks between the steps keep the second from starting early; neither way may disturb the other.
        let options = ProfileOptions { warm_up: 1, repetitions: 5 };
        let profile = session.profile(&[("x", &x())], options).expect("the plan is right");
        assert_eq!(profile.steps.len(), 2);
        println!("{}: two launches in {:.2} us", session.device().name, profile.total.median_s * 1e6);
        assert_shifted(&mut session);
    }
}
