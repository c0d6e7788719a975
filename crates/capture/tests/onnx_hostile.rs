//! Broken and hostile ONNX files give errors that say what and where, and never a panic.

use gable_capture::onnx::OnnxModel;
use gable_tensor::Bindings;
use proptest::prelude::*;
use std::path::Path;

// The wire format by hand: a field is a tag (number << 3 | kind) and a value; kind 0 is a varint, 2 a length and bytes.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn int(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

fn message(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [varint(field << 3 | 2), varint(body.len() as u64), body].concat()
}

fn text(field: u64, value: &str) -> Vec<u8> {
    message(field, &[value.as_bytes().to_vec()])
}

const F32: i64 = 1;
const I64: i64 = 7;

/// A `ValueInfoProto` of a tensor: sizes, or names for dynamic dimensions.
fn port(field: u64, name: &str, data_type: i64, dims: &[Result<i64, &str>]) -> Vec<u8> {
    let dim = |dim: &Result<i64, &str>| match dim {
        Ok(size) => message(1, &[int(1, *size)]),
        Err(name) => message(1, &[text(2, name)]),
    };
    let shape = message(2, &dims.iter().map(dim).collect::<Vec<_>>());
    message(field, &[text(1, name), message(2, &[message(1, &[int(1, data_type), shape])])])
}

fn input(name: &str, dims: &[Result<i64, &str>]) -> Vec<u8> {
    port(11, name, F32, dims)
}

fn output(name: &str) -> Vec<u8> {
    port(12, name, F32, &[])
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let inputs = inputs.iter().map(|name| text(1, name));
    let outputs = outputs.iter().map(|name| text(2, name));
    message(1, &inputs.chain(outputs).chain([text(4, op)]).collect::<Vec<_>>())
}

/// An `int64` initializer without raw data.
fn initializer(name: &str, dims: &[i64], values: &[i64]) -> Vec<u8> {
    let dims = dims.iter().map(|&dim| int(1, dim));
    let values = values.iter().map(|&value| int(7, value));
    message(5, &dims.chain([int(2, I64), text(8, name)]).chain(values).collect::<Vec<_>>())
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [message(8, &[int(2, 17)]), message(7, graph)].concat()
}

fn capture(file: Vec<u8>) -> Result<String, String> {
    let model = OnnxModel::parse(Path::new("folder/model.onnx"), file.into()).map_err(|e| e.to_string())?;
    let module = model.module(&Bindings::new()).map_err(|e| e.to_string())?;
    Ok(gable_ir::text::print(&module.graph))
}

fn refused(graph: &[Vec<u8>], expected: &str) {
    let error = capture(model(graph)).expect_err("the model is at fault");
    assert!(error.contains(expected), "expected `{expected}` in: {error}");
    assert!(error.contains("folder/model.onnx"), "names the file: {error}");
}

#[test]
fn a_sound_model_is_captured() {
    let graph = [input("x", &[Ok(2)]), node("Relu", &["x"], &["y"]), output("y")];
    let printed = capture(model(&graph)).expect("valid");
    assert!(printed.contains("relu"), "{printed}");
}

#[test]
fn names_that_do_not_fit_together_are_found() {
    let x = || input("x", &[Ok(2)]);
    refused(&[x(), node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"]), output("b")], "cyclic");
    refused(&[x(), node("Relu", &["absent"], &["y"]), output("y")], "reads `absent`, which no input");
    refused(&[x(), node("Relu", &["x"], &["y"]), node("Exp", &["x"], &["y"]), output("y")], "already made");
    refused(&[x(), x(), output("x")], "used twice");
    refused(&[x(), output("y")], "output `y`");
    refused(&[initializer("w", &[1], &[1]), initializer("w", &[1], &[1]), output("w")], "used twice");
}

#[test]
fn sizes_that_lie_are_found_before_memory_is_asked_for() {
    refused(&[initializer("w", &[1 << 40, 1 << 40], &[]), output("w")], "too large to address");
    refused(&[initializer("w", &[1 << 40], &[]), output("w")], "`int64_data` has 0 elements");
    refused(&[initializer("w", &[-4], &[]), output("w")], "dims are [-4]");
    let huge = [
        initializer("shape", &[4], &[1 << 40, 1 << 40, 1 << 40, 1 << 40]),
        node("ConstantOfShape", &["shape"], &["y"]),
        output("y"),
    ];
    refused(&huge, "cannot be addressed");
    let negative = [initializer("shape", &[1], &[-1]), node("ConstantOfShape", &["shape"], &["y"]), output("y")];
    refused(&negative, "sizes of zero or more");
    let tiled = [
        input("x", &[Ok(1 << 40)]),
        initializer("repeats", &[1], &[1 << 40]),
        node("Tile", &["x", "repeats"], &["y"]),
        output("y"),
    ];
    refused(&tiled, "cannot be addressed");
}

#[test]
fn an_unsupported_operator_is_named_with_its_version_and_node() {
    let graph = [input("x", &[Ok(2)]), node("Frobnicate", &["x"], &["y"]), output("y")];
    refused(&graph, "node `Frobnicate -> y`: operator `Frobnicate` (ai.onnx 17) is not supported; re-export");
}

#[test]
fn a_shape_that_depends_on_data_is_named() {
    let graph = [input("x", &[Ok(4)]), port(11, "s", I64, &[Ok(1)]), node("Reshape", &["x", "s"], &["y"]), output("y")];
    refused(&graph, "input `shape` decides the shape of the result");
}

#[test]
fn unbound_dimensions_say_how_to_bind_them() {
    let graph = [input("x", &[Err("batch"), Ok(-1)]), node("Relu", &["x"], &["y"]), output("y")];
    refused(&graph, "pass `--dim batch=VALUE`");
    let file = model(&graph);
    let model = OnnxModel::parse(Path::new("model.onnx"), file.into()).expect("valid");
    assert_eq!(model.signature().dims(), ["batch", "x_dim1"]);
    let bindings = |pairs: &[(&str, i64)]| pairs.iter().map(|&(name, n)| (name.to_string(), n)).collect::<Bindings>();
    assert!(model.module(&bindings(&[("batch", 2), ("x_dim1", 3)])).is_ok());
    let unknown = model.module(&bindings(&[("bach", 2)])).expect_err("no such dimension").to_string();
    assert!(
        unknown.contains("dimension `bach` is given 2, expected one of the model's dimensions: batch, x_dim1"),
        "{unknown}"
    );
    let negative = model.module(&bindings(&[("batch", -2)])).expect_err("negative").to_string();
    assert!(negative.contains("is given -2, expected a size, not a negative number"), "{negative}");
    let mut bound = Bindings::new();
    model.bind_shapes(&[("x", &[5, 6])], &mut bound).expect("fits");
    assert_eq!(bound, bindings(&[("batch", 5), ("x_dim1", 6)]));
    assert!(model.bind_shapes(&[("x", &[7, 6])], &mut bound).is_err(), "batch is 5 already");
}

#[test]
fn functions_that_multiply_without_end_are_stopped() {
    // f0 calls f1 twice, f1 calls f2 twice, ...: two to the 60th nodes from 4 KB.
    let function = |i: usize| {
        let callee = format!("f{}", i + 1);
        let call = |input: &str, output: &str| {
            message(7, &[text(1, input), text(2, output), text(4, &callee), text(7, "own")])
        };
        message(
            25,
            &[text(1, &format!("f{i}")), text(4, "x"), text(5, "y"), call("x", "m"), call("m", "y"), text(10, "own")],
        )
    };
    let last = message(
        25,
        &[
            text(1, "f60"),
            text(4, "x"),
            text(5, "y"),
            message(7, &[text(1, "x"), text(2, "y"), text(4, "Relu")]),
            text(10, "own"),
        ],
    );
    let call = message(1, &[text(1, "x"), text(2, "y"), text(4, "f0"), text(7, "own")]);
    let graph = message(7, &[input("x", &[Ok(2)]), call, output("y")]);
    let functions: Vec<u8> = (0..60).flat_map(function).collect();
    let file = [message(8, &[int(2, 17)]), graph, functions, last].concat();
    let error = capture(file).expect_err("too many nodes");
    assert!(error.contains("passes the limits"), "{error}");
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    for file in [&b""[..], b"{}", b"\x08", &[0xff; 64], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let error = capture(file.to_vec()).expect_err("not a model");
        assert!(error.contains("the file"), "{error}");
    }
    // Bodies nested past what the decoder follows.
    let mut nested = node("Relu", &["x"], &["y"]);
    for _ in 0..400 {
        nested = message(1, &[text(4, "If"), message(5, &[text(1, "then_branch"), message(6, &[nested])])]);
    }
    assert!(capture(model(&[nested])).is_err());
}

/// A model with a node of every kind that computes with sizes.
fn busy_model() -> Vec<u8> {
    model(&[
        input("x", &[Ok(1), Ok(4), Ok(6), Ok(6)]),
        port(11, "i", I64, &[Ok(2)]),
        initializer("shape", &[2], &[4, -1]),
        initializer("starts", &[1], &[1]),
        initializer("ends", &[1], &[3]),
        initializer("axes", &[1], &[0]),
        initializer("pads", &[4], &[1, 0, 2, 1]),
        node("GlobalAveragePool", &["x"], &["pooled"]),
        node("Reshape", &["x", "shape"], &["matrix"]),
        node("Slice", &["matrix", "starts", "ends", "axes"], &["sliced"]),
        node("Pad", &["sliced", "pads"], &["padded"]),
        node("Gather", &["padded", "i"], &["gathered"]),
        node("Softmax", &["gathered"], &["soft"]),
        node("Transpose", &["soft"], &["turned"]),
        node("MatMul", &["soft", "turned"], &["product"]),
        node("Shape", &["product"], &["sizes"]),
        output("product"),
        output("pooled"),
    ])
}

#[test]
fn the_model_that_mutations_start_from_is_sound() {
    capture(busy_model()).expect("valid");
}

proptest! {
    #[test]
    fn mutated_and_truncated_models_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut file = busy_model();
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if cuts {
            file.truncate(cut.index(file.len() + 1));
        }
        let _ = capture(file);
    }
}
