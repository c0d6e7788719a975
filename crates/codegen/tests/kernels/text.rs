//! The text of a few tiny kernels: what a change of the code generator changes is seen here first.

use super::{places, small};
use gable_codegen::compile_for;
use gable_ir::{Builder, NodeId, Op, OpError, Region, RegionKind, Type, ops};
use gable_ptx::Target;
use gable_tensor::DType;

/// The kernels of a graph of one region over `inputs`, on a machine that it fills.
fn text(
    kind: RegionKind,
    inputs: &[(DType, &[usize])],
    body: impl FnOnce(&mut Builder, &[NodeId]) -> Result<NodeId, OpError>,
) -> String {
    let mut b = Builder::new("tiny");
    let named = inputs.iter().zip(b'a'..);
    let ids: Vec<NodeId> = named
        .map(|(&(dtype, shape), letter)| b.input(char::from(letter).to_string(), Type::new(dtype, shape.to_vec())))
        .collect();
    let output = body(&mut b, &ids).expect("the graph is well typed");
    b.output("y", output);
    let mut graph = b.finish().graph;
    let nodes = graph.ids().into_iter().filter(|&id| !matches!(graph.op(id), Op::Input(_)));
    let region = Region::new("tiny", kind, nodes);
    graph.regions.push(region);
    let plan = compile_for(&graph, &places(&graph), &small(Target::Sm90a)).expect("the region is compiled");
    plan.kernels.iter().map(|kernel| kernel.ptx.as_str()).collect()
}

#[test]
fn a_map_takes_16_bytes_at_a_time() {
    insta::assert_snapshot!(text(RegionKind::Map, &[(DType::F32, &[4096]), (DType::F32, &[4096])], |b, x| {
        b.plus(x[0], x[1])
    }));
}

#[test]
fn a_reshape_and_a_broadcast_leave_no_arithmetic_per_element() {
    insta::assert_snapshot!(text(RegionKind::Map, &[(DType::BF16, &[64, 64]), (DType::BF16, &[64])], |b, x| {
        let sum = b.plus(x[0], x[1])?;
        b.reshape(sum, [8i64, 8, 64])
    }));
}

#[test]
fn a_padded_load_is_guarded() {
    insta::assert_snapshot!(text(RegionKind::Map, &[(DType::I32, &[5])], |b, x| {
        let value = b.scalar(DType::I32, 7i64)?;
        b.add(ops::Pad { low: vec![1], high: vec![2], interior: vec![0] }, &[x[0], value])
    }));
}

#[test]
fn a_row_is_read_once() {
    let text = text(RegionKind::Row, &[(DType::F32, &[8, 64])], |b, x| b.add(ops::Softmax { axis: 1 }, x));
    assert_eq!(text.matches("ld.global").count(), 1, "{text}");
    insta::assert_snapshot!(text);
}
