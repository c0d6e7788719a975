//! Each contradiction between the parts of an artifact is found and named.

mod sample;

use gable_artifact::tensor_map::Swizzle;
use gable_artifact::{Access, Action, Arg, Artifact, BufferRef, FormatError, Launch, Space, TensorMap};

fn faults(break_it: impl Fn(&mut Artifact)) -> Vec<String> {
    let mut artifact = sample::artifact();
    break_it(&mut artifact);
    match artifact.check() {
        Ok(()) => Vec::new(),
        Err(FormatError::Inconsistent(faults)) => faults.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("check gives faults, not {other}"),
    }
}

fn launch(artifact: &mut Artifact) -> &mut Launch {
    match &mut artifact.plans[0].steps[0].action {
        Action::Launch(launch) => launch,
        other => panic!("the sample's first step is a launch, not {other:?}"),
    }
}

#[test]
fn the_sample_is_consistent() {
    assert_eq!(faults(|_| {}), [""; 0]);
}

#[test]
fn names_are_unique() {
    assert_eq!(faults(|a| a.plans[1].target = "sm_90a".into()), ["plans: target `sm_90a` appears twice"]);
    assert_eq!(faults(|a| a.weights[1].key = "layer.weight".into()), ["weights: key `layer.weight` appears twice"]);
    assert_eq!(faults(|a| a.inputs[0].name.clear()), ["inputs: an empty name"]);
    let twice = faults(|a| a.plans[0].kernels[1].name = "scale".into());
    assert_eq!(twice, ["plan sm_90a, kernels: name `scale` appears twice"]);
}

#[test]
fn weights_fill_their_shape() {
    assert_eq!(
        faults(|a| a.weights[0].data.truncate(60)),
        [
            "weight `layer.weight`: holds 60 bytes, its shape needs 64",
            "plan sm_90a, step 0 (scale): weight 0[0, +64] reaches past its 60 bytes",
            "plan sm_120a, step 0 (scale): weight 0[0, +64] reaches past its 60 bytes",
        ]
    );
    let huge = faults(|a| a.weights[1].shape = vec![usize::MAX, 2]);
    assert!(huge[0].starts_with("weight `empty`: a e4m3 tensor of shape"), "{huge:?}");
}

#[test]
fn kernels_hold_their_entry() {
    let gone = faults(|a| a.plans[0].kernels[0].entry = "other".into());
    assert_eq!(gone, ["plan sm_90a, kernel `scale`: entry `other` does not occur in its code"]);
    let zero = faults(|a| a.plans[0].kernels[0].ptx.push('\0'));
    assert_eq!(zero, ["plan sm_90a, kernel `scale`: its code or entry holds a zero byte"]);
}

#[test]
fn launches_stay_within_the_hardware() {
    for (grid, block, cluster, message) in [
        ([0, 1, 1], [1, 1, 1], [1, 1, 1], "grid is [0, 1, 1]"),
        ([1, 65536, 1], [1, 1, 1], [1, 1, 1], "grid is [1, 65536, 1]"),
        ([1, 1, 1], [1024, 2, 1], [1, 1, 1], "block is [1024, 2, 1]"),
        ([1, 1, 1], [1, 1, 65], [1, 1, 1], "block is [1, 1, 65]"),
        ([3, 1, 1], [1, 1, 1], [2, 1, 1], "cluster is [2, 1, 1]"),
        ([32, 1, 1], [1, 1, 1], [32, 1, 1], "cluster is [32, 1, 1]"),
        ([4, 1, 1], [1, 1, 1], [0, 1, 1], "cluster is [0, 1, 1]"),
    ] {
        let found = faults(|a| {
            Launch { grid, block, cluster, dependent: false, args: vec![], kernel: 0 }.clone_into(launch(a))
        });
        assert!(found.len() == 1 && found[0].contains(message), "{message}: {found:?}");
    }
    let many = faults(|a| launch(a).args = vec![Arg::U64(0); 4096]);
    assert_eq!(many, ["plan sm_90a, step 0 (scale): 32768 bytes of parameters, at most 32764 fit"]);
}

#[test]
fn a_dependent_launch_waits_by_itself() {
    let unsafe_launch = faults(|a| launch(a).dependent = true);
    assert_eq!(
        unsafe_launch,
        ["plan sm_90a, step 0 (scale): is dependent, but kernel `scale` holds no `griddepcontrol.wait`"]
    );
    let waiting = faults(|a| {
        a.plans[0].kernels[0].ptx.push_str("{ griddepcontrol.wait; }");
        launch(a).dependent = true;
    });
    assert_eq!(waiting, [""; 0]);
}

#[test]
fn tensor_maps_stay_within_their_memory_and_target() {
    type Change = fn(&mut TensorMap, &mut BufferRef);
    let with_map = |change: Change| {
        faults(|a| {
            let Arg::TensorMap { place, map, .. } = &mut launch(a).args[6] else {
                panic!("the sample's seventh argument is a tensor map");
            };
            change(map, place);
        })
    };
    let prefix = "plan sm_90a, step 0 (scale), argument 6: tensor map: ";
    let cases: [(Change, &str); 4] = [
        (|map, _| map.box_dims[1] = 0, "`box_dims[1]` is 0, expected 1 to 256"),
        (|map, _| map.dims[1] = 5, "`dims` reach 80 bytes from the start of arena[0, +64]"),
        (
            |map, place| (map.dims[1], place.offset, place.bytes) = (3, 8, 56),
            "arena[8, +56] does not start at a multiple of 16 bytes",
        ),
        (|map, _| map.swizzle = Swizzle::Bytes128Atom32, "`swizzle` is Bytes128Atom32, which sm_90a does not have"),
    ];
    for (change, message) in cases {
        assert_eq!(with_map(change), [format!("{prefix}{message}")]);
    }
    let outside = with_map(|_, place| place.offset = 48);
    // Once for what it reads, once for what it writes.
    assert_eq!(outside, ["plan sm_90a, step 0 (scale): arena[48, +64] reaches past its 96 bytes"; 2]);
    let onto_weight = faults(|a| {
        if let Arg::TensorMap { place, access, .. } = &mut launch(a).args[6] {
            (place.space, *access) = (Space::Weight(0), Access::Write);
        }
    });
    assert_eq!(onto_weight, ["plan sm_90a, step 0 (scale): writes weight 0[0, +64]: inputs and weights are read only"]);
}

#[test]
fn parameters_are_counted_with_their_alignment() {
    let found = faults(|a| {
        let map = launch(a).args[6].clone();
        // Each word leaves a gap before the map that follows: 192 bytes for a pair.
        launch(a).args = (0..171).flat_map(|_| [Arg::U32(0), map.clone()]).collect();
    });
    assert_eq!(found, ["plan sm_90a, step 0 (scale): 32832 bytes of parameters, at most 32764 fit"]);
}

#[test]
fn ranges_cannot_wrap_around() {
    let wrapped = faults(|a| {
        if let Action::Fill { target, .. } = &mut a.plans[0].steps[1].action {
            target.offset = u64::MAX - 3;
        }
    });
    assert!(wrapped[0].contains("reaches past its 96 bytes"), "{wrapped:?}");
}

#[test]
fn steps_write_where_they_may() {
    let onto_input = faults(|a| {
        if let Action::Copy { target, .. } = &mut a.plans[0].steps[2].action {
            target.space = Space::Input(0);
        }
    });
    assert!(onto_input[0].contains("inputs and weights are read only"), "{onto_input:?}");
    let launched = faults(|a| {
        launch(a).args.push(Arg::Update(BufferRef { space: Space::Weight(0), offset: 0, bytes: 64 }));
    });
    assert_eq!(launched, ["plan sm_90a, step 0 (scale): writes weight 0[0, +64]: inputs and weights are read only"]);
    let overlapping = faults(|a| {
        if let Action::Copy { target, .. } = &mut a.plans[0].steps[2].action {
            (target.space, target.offset) = (Space::Arena, 32);
        }
    });
    assert!(overlapping[0].contains("they overlap"), "{overlapping:?}");
    let ragged = faults(|a| {
        if let Action::Fill { target, .. } = &mut a.plans[0].steps[1].action {
            target.bytes = 30;
        }
    });
    assert!(ragged[0].contains("not made of whole words"), "{ragged:?}");
}

#[test]
fn figures_are_finite() {
    let found = faults(|a| {
        a.plans[0].steps[0].cost.flops.insert("f32".into(), f64::NAN);
    });
    assert!(found[0].contains("a cost or time is NaN"), "{found:?}");
}
