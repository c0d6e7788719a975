//! Sessions on the cpu device: results, and requests that cannot be met.

use gable_artifact::{Artifact, Provenance, Signature, Weight};
use gable_runtime::{DeviceKind, ProfileOptions, RuntimeError, Session};
use gable_tensor::{DType, Tensor};

/// `sum = x + w`, `product = x * y`, on two numbers each.
fn artifact() -> Artifact {
    let graph = r#"
        graph @pair(%x: f32[2], %y: f32[2]) {
          %0 = weight {key="w", dtype=f32, shape=[2]} : f32[2]
          %1 = add %x, %0 : f32[2]
          %2 = mul %x, %y : f32[2]
          return sum = %1, product = %2
        }"#;
    let signature = |name: &str| Signature { name: name.into(), dtype: DType::F32, shape: vec![2] };
    Artifact {
        provenance: Provenance::default(),
        graph: graph.to_string(),
        dims: Default::default(),
        inputs: vec![signature("x"), signature("y")],
        outputs: vec![signature("sum"), signature("product")],
        weights: vec![Weight {
            key: "w".into(),
            dtype: DType::F32,
            shape: vec![2],
            data: Tensor::from_vec([2], &[10.0f32, 20.0]).bytes().clone(),
        }],
        plans: Vec::new(),
    }
}

fn open(artifact: &Artifact) -> Session {
    Session::open(artifact, DeviceKind::Cpu).expect("the artifact is right")
}

fn opening_fails(break_it: impl Fn(&mut Artifact)) -> String {
    let mut artifact = artifact();
    break_it(&mut artifact);
    match Session::open(&artifact, DeviceKind::Cpu) {
        Ok(_) => panic!("the artifact is wrong"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn inputs_go_by_name_and_outputs_come_in_graph_order() {
    let (x, y) = (Tensor::from_vec([2], &[1.0f32, 2.0]), Tensor::from_vec([2], &[3.0f32, 4.0]));
    let mut session = open(&artifact());
    let outputs = session.run(&[("y", &y), ("x", &x)]).expect("the inputs fit");
    let expected = [("sum", [11.0f32, 22.0]), ("product", [3.0, 8.0])];
    for ((name, tensor), (expected_name, expected)) in outputs.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_eq!(tensor.to_vec::<f32>(), expected);
    }
    assert_eq!(outputs.len(), 2);
}

#[test]
fn wrong_inputs_say_what_is_expected() {
    let (x, long) = (Tensor::from_vec([2], &[1.0f32, 2.0]), Tensor::from_vec([3], &[1.0f32, 2.0, 3.0]));
    let whole = Tensor::from_vec([2], &[1i64, 2]);
    let mut session = open(&artifact());
    for (inputs, message) in [
        (vec![("x", &x)], "input `y` (f32 [2]) was not given"),
        (vec![("x", &x), ("y", &x), ("z", &x)], "the model has no input `z`; its inputs are `x`, `y`"),
        (vec![("x", &x), ("x", &x), ("y", &x)], "input `x` was given twice"),
        (vec![("x", &x), ("y", &long)], "input `y` is f32 [3], expected f32 [2]"),
        (vec![("x", &whole), ("y", &x)], "input `x` is i64 [2], expected f32 [2]"),
    ] {
        let error = session.run(&inputs).expect_err("the inputs are wrong");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_graph_that_contradicts_the_artifact_is_refused() {
    let unreadable = opening_fails(|artifact| artifact.graph = "grape".into());
    assert!(unreadable.starts_with("the artifact's graph: line 1, column 1: "), "{unreadable}");
    let weightless = opening_fails(|artifact| artifact.weights.clear());
    assert_eq!(weightless, "the artifact's graph: weight `w`: is not in the store");
    let renamed = opening_fails(|artifact| artifact.inputs[1].name = "z".into());
    assert!(renamed.contains("has input `y` of type f32[2], the artifact declares `z` of f32 [2]"), "{renamed}");
    let fewer = opening_fails(|artifact| artifact.outputs.truncate(1));
    assert_eq!(fewer, "the artifact's graph: has 2 outputs, the artifact declares 1");
    let huge = opening_fails(|artifact| {
        artifact.graph = "graph @huge() { %0 = iota {axis=0, dtype=f32, shape=[1000000000000000]} : \
                          f32[1000000000000000] return y = %0 }"
            .into();
        artifact.inputs.clear();
        artifact.outputs = vec![Signature { name: "y".into(), dtype: DType::F32, shape: vec![1_000_000_000_000_000] }];
    });
    assert!(huge.contains("needs 4000000000000000 bytes, this machine has"), "{huge}");
    let short = opening_fails(|artifact| artifact.weights[0].data.truncate(4));
    assert!(short.contains("weight `w`: holds 4 bytes, its shape needs 8"), "{short}");
}

#[test]
fn profiles_measure_the_whole_run() {
    let x = Tensor::from_vec([2], &[1.0f32, 2.0]);
    let options = ProfileOptions { warm_up: 1, repetitions: 7 };
    let profile = open(&artifact()).profile(&[("x", &x), ("y", &x)], options).expect("the inputs fit");
    assert_eq!((profile.total.n, profile.steps.len(), profile.device.device.as_str()), (7, 0, "cpu"));
    assert!(0.0 < profile.total.min_s && profile.total.min_s <= profile.total.max_s);
}

#[test]
fn tracing_needs_a_plan() {
    let x = Tensor::from_vec([2], &[1.0f32, 2.0]);
    let error = open(&artifact()).trace(&[("x", &x), ("y", &x)], &mut |_| Ok(())).expect_err("there is no plan");
    assert_eq!(error.to_string(), "device `cpu` runs no plan, so it has no steps to trace");
}

#[test]
fn without_a_driver_auto_is_the_cpu_and_cuda_is_an_error() {
    match gable_runtime::cuda::devices() {
        Err(RuntimeError::NoDriver { .. }) => {}
        _ => return println!("SKIPPED: this machine has a CUDA driver"),
    }
    let session = Session::open(&artifact(), DeviceKind::Auto).expect("the cpu needs nothing");
    assert_eq!(session.device().device, "cpu");
    let error = match Session::open(&artifact(), DeviceKind::Cuda(0)) {
        Ok(_) => panic!("there is no driver"),
        Err(error) => error.to_string(),
    };
    assert!(error.starts_with("no CUDA driver: "), "{error}");
    assert!(gable_runtime::cuda::measure_copy_bandwidth(0).is_err());
}
