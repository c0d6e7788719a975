//! ONNX files of one product, written field by field.

/// Element types by their numbers in the format.
pub const U8: u64 = 2;
pub const I8: u64 = 3;
pub const FLOAT16: u64 = 10;
pub const E4M3: u64 = 17;
pub const U4: u64 = 21;
pub const I4: u64 = 22;
pub const E2M1: u64 = 23;

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, field << 3);
    number(&mut out, value);
    out
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, field << 3 | 2);
    number(&mut out, value.len() as u64);
    out.extend(value);
    out
}

/// A stored tensor.
pub fn stored(name: &str, element: u64, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = shape.iter().flat_map(|&size| varint(1, size as u64)).collect();
    out.extend(varint(2, element));
    out.extend(bytes(8, name.as_bytes()));
    out.extend(bytes(9, data));
    out
}

/// A node with whole numbers as attributes.
pub fn node(domain: &str, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
    out.extend(bytes(2, output.as_bytes()));
    out.extend(bytes(4, op.as_bytes()));
    for (name, value) in attributes {
        let integer = 2;
        let attribute = [bytes(1, name.as_bytes()), varint(3, *value as u64), varint(20, integer)].concat();
        out.extend(bytes(5, &attribute));
    }
    out.extend(bytes(7, domain.as_bytes()));
    out
}

/// An input or output of the model.
fn port(name: &str, element: u64, shape: &[usize]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&size| bytes(1, &varint(1, size as u64))).collect();
    let tensor = [varint(1, element), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// A model from `x` to `y`, of one element type.
pub fn model(element: u64, x: &[usize], y: &[usize], nodes: &[Vec<u8>], stored: &[Vec<u8>]) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|node| bytes(1, node)).collect();
    graph.extend(bytes(2, b"g"));
    graph.extend(stored.iter().flat_map(|tensor| bytes(5, tensor)));
    graph.extend(bytes(11, &port("x", element, x)));
    graph.extend(bytes(12, &port("y", element, y)));
    let set = |domain: &str, version| bytes(8, &[bytes(1, domain.as_bytes()), varint(2, version)].concat());
    [varint(1, 10), bytes(7, &graph), set("", 23), set("com.microsoft", 1)].concat()
}
