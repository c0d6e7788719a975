//! `docs/onnx.md` lists the operators that the table has. `GABLE_BLESS=1` rewrites it.

use gable_capture::onnx::operators;
use std::path::Path;

const HEAD: &str = "\
# ONNX models

Generated from the table in `crates/capture/src/onnx/table.rs` by `GABLE_BLESS=1 cargo test -p gable-capture`; do not edit.

A model is captured with every dimension bound: by `--dim NAME=VALUE`, or by the inputs given.
A dynamic dimension that has no name in the file is called `INPUT_dimAXIS`.
Whatever decides a shape must follow from constants and bound dimensions; the sub-graphs that compute it vanish.
An input that decides a shape is made a constant at capture (`OnnxModel::freeze`).
Branches of `If` with a known condition are inlined, other branches are both computed and one is selected; `Loop` and `Scan`
with known lengths are unrolled, and so are recurrent layers.
Lists of tensors are taken apart at capture; they cannot be inputs or outputs.
External data must lie in the model's own folder.
The element types are f32, f64, f16, bf16, the integers of 8 to 64 bits, bool, and float8e4m3fn, float8e5m2, float8e8m0
and float4e2m1; stored tensors may be of int4 and uint4 too.

An operator is read from the first version listed on; further versions are those at which its reading changes.
Attributes and inputs that moved between versions are told apart within a row.

| operator | versions | domain |
|---|---|---|
";

#[test]
fn the_operator_page_is_current() {
    let mut page = HEAD.to_string();
    for (domain, name, since) in operators() {
        let since: Vec<String> = since.iter().map(i64::to_string).collect();
        let domain = if domain.is_empty() { "ai.onnx" } else { domain };
        page.push_str(&format!("| {name} | {} | {domain} |\n", since.join(", ")));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/onnx.md");
    if std::env::var_os("GABLE_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the source tree is writable");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/onnx.md is not what the table gives; run with GABLE_BLESS=1");
}
