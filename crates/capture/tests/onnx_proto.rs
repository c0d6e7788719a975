//! The checked-in Rust form of `proto/onnx.proto` is what the generator makes of it today.
//! `GABLE_BLESS=1` rewrites it.

use std::path::Path;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["onnx.proto"], [root.join("proto")]).expect("the proto file is valid");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new()
        .out_dir(out.path())
        // Tensor data stays a view of the mapped file instead of a copy.
        .bytes(["."])
        // The comments are in the proto file; repeating them triples the code to read.
        .disable_comments(["."])
        .compile_fds(descriptors)
        .expect("code generation succeeds");
    let code = std::fs::read_to_string(out.path().join("onnx.rs")).expect("one module per package");
    let generated = format!("// @generated from proto/onnx.proto by tests/onnx_proto.rs\n{code}");
    let checked_in = root.join("src/onnx/proto.rs");
    if std::env::var_os("GABLE_BLESS").is_some() {
        std::fs::write(&checked_in, &generated).expect("the source tree is writable");
    }
    let current = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(current == generated, "src/onnx/proto.rs is stale; run with GABLE_BLESS=1");
}
