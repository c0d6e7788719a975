//! A small artifact that uses every kind of step, argument and memory.

use bytes::Bytes;
use gable_artifact::tensor_map::{Fill, L2Promotion, Swizzle};
use gable_artifact::{
    Access, Action, Arg, Artifact, BufferRef, Kernel, Launch, MapElement, Prediction, Provenance, Resources, Signature,
    Space, Step, StepCost, TargetPlan, TensorMap, Weight,
};
use gable_tensor::DType;

pub fn artifact() -> Artifact {
    let signature = |name: &str| Signature { name: name.into(), dtype: DType::F32, shape: vec![8, 2] };
    let buffer = |space| BufferRef { space, offset: 0, bytes: 64 };
    let kernel = |name: &str, cubin: Option<&'static [u8]>| Kernel {
        name: name.into(),
        entry: format!("entry_{name}"),
        ptx: format!(".visible .entry entry_{name}()"),
        cubin: cubin.map(Bytes::from_static),
        class: "fma".into(),
        dynamic_shared_bytes: 1024,
        resources: cubin.map(|_| Resources { registers: 32, static_shared_bytes: 48, ..Resources::default() }),
    };
    let launch = |kernel, args| Launch {
        kernel,
        grid: [4, 1, 1],
        block: [128, 1, 1],
        cluster: [2, 1, 1],
        dependent: false,
        args,
    };
    let map = TensorMap {
        element: MapElement::F32,
        dims: vec![4, 4],
        strides: vec![16],
        box_dims: vec![4, 2],
        swizzle: Swizzle::None,
        l2_promotion: L2Promotion::Bytes128,
        fill: Fill::Nan,
    };
    let cost = StepCost {
        flops: [("f32".to_string(), 32.0)].into(),
        bytes_read: 128,
        bytes_written: 64,
        ops: vec!["mul".into(), "add".into()],
    };
    let steps = vec![
        Step {
            label: "scale".into(),
            action: Action::Launch(launch(
                0,
                vec![
                    Arg::Read(buffer(Space::Input(0))),
                    Arg::Read(buffer(Space::Weight(0))),
                    Arg::Write(buffer(Space::Arena)),
                    Arg::U32(16),
                    Arg::U64(1 << 40),
                    Arg::f32(f32::NAN),
                    Arg::TensorMap { place: buffer(Space::Arena), access: Access::Update, map: Box::new(map.clone()) },
                ],
            )),
            cost: cost.clone(),
            predicted: Some(Prediction { machine: "h200".into(), seconds: 1.1e-6 / 3.0, bound: "dram".into() }),
        },
        Step {
            label: "clear".into(),
            action: Action::Fill { target: BufferRef { space: Space::Arena, offset: 64, bytes: 32 }, word: 7 },
            cost: StepCost::default(),
            predicted: None,
        },
        Step {
            label: "hand over".into(),
            action: Action::Copy { source: buffer(Space::Arena), target: buffer(Space::Output(0)) },
            cost: StepCost::default(),
            predicted: None,
        },
    ];
    let plan = |target: &str, cubin| TargetPlan {
        target: target.into(),
        arena_bytes: 96,
        kernels: vec![kernel("scale", cubin), kernel("spare", None)],
        steps: steps.clone(),
    };
    Artifact {
        provenance: Provenance {
            gable_version: "0.1.0".into(),
            model_name: "sample".into(),
            model_hash: "00ff".into(),
            options: [("precision".to_string(), "fp32".to_string())].into(),
        },
        graph: "graph @sample() {}\n".into(),
        dims: [("batch".to_string(), 8)].into(),
        inputs: vec![signature("x")],
        outputs: vec![signature("y")],
        weights: vec![
            Weight {
                key: "layer.weight".into(),
                dtype: DType::F32,
                shape: vec![8, 2],
                data: Bytes::from((0..64).collect::<Vec<u8>>()),
            },
            Weight { key: "empty".into(), dtype: DType::E4M3, shape: vec![0, 3], data: Bytes::new() },
        ],
        plans: vec![plan("sm_90a", Some(b"\x7fELF code")), plan("sm_120a", None)],
    }
}
