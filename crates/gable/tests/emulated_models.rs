//! Whole models on the emulator device, for every target: clean under every check, and equal to the recorded outputs.
//!
//! The models are those of the collection: `GABLE_MODELS`, else `shared/models` beside the workspace; MiniLM's weights come from
//! `cargo xtask models`. Where one is absent the tests say that they are skipped, and under `CI` they fail.

use gable::{Device, Emulation, Model, Options, Schedule, Session, SessionOptions, Target, Tensor};
use gable_tensor::compare::compare;
use gable_tensor::{DType, Tolerance};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TARGETS: [Target; 5] = [Target::Sm90a, Target::Sm100a, Target::Sm103a, Target::Sm120a, Target::Sm121a];

/// Each target has one of them, in turn: kernels by themselves run in all, on all targets.
const SCHEDULES: [Schedule; 3] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(5)];

/// Tokens of the sentence that MiniLM reads.
const MINILM_TOKENS: usize = 16;

type Named = BTreeMap<String, Tensor>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `path`, if it is there; else the test is skipped, visibly, and on CI it fails.
fn present(path: PathBuf, remedy: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "`{}` is not there: {remedy}", path.display());
    println!("SKIPPED: `{}` is not there: {remedy}", path.display());
    None
}

fn collection(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GABLE_MODELS").map_or_else(|| workspace().join("../shared/models"), PathBuf::from);
    present(root.join(name), "set GABLE_MODELS to the model collection")
}

fn array(path: PathBuf) -> Tensor {
    gable::inputs::read_npy(&path, None).unwrap_or_else(|e| panic!("{e}"))
}

fn near(found: &Tensor, expected: &Tensor, place: &str) {
    let tolerance = if expected.dtype().is_float() { Tolerance::F32_MODEL } else { Tolerance::Exact };
    let comparison = compare(found, expected, tolerance);
    assert!(comparison.within, "{place}: {comparison}");
}

/// Compiles for the targets, runs each in a schedule, and holds the outputs against `expected`, or the cpu device's.
fn check(model: &Path, inputs: &Named, expected: Option<&Named>, targets: &[Target]) {
    let model = Model::load(model).unwrap_or_else(|e| panic!("{e}"));
    let dims = gable::inputs::bind_from_shapes(&model, inputs).unwrap_or_else(|e| panic!("{e}"));
    let options = targets.iter().fold(Options::new().dims(&dims), |options, target| options.target(*target));
    let compiled = options.for_device(Device::Emulator).optimize(&model).unwrap_or_else(|e| panic!("{e}"));
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let by_cpu: Named = match expected {
        Some(expected) => expected.clone(),
        None => {
            let mut session = Session::open(&compiled, Device::Cpu).unwrap_or_else(|e| panic!("{e}"));
            session.run(&given).unwrap_or_else(|e| panic!("{e}")).into_iter().collect()
        }
    };
    for (target, schedule) in targets.iter().zip(SCHEDULES.into_iter().cycle()) {
        let emulation = Emulation { target: Some(target.name()), schedule, races: true };
        let options = SessionOptions { emulation, ..SessionOptions::default() };
        let mut session =
            Session::open_with(&compiled, Device::Emulator, options).unwrap_or_else(|e| panic!("{target}: {e}"));
        let outputs = session.run(&given).unwrap_or_else(|e| panic!("{target}, {schedule}: {e}"));
        for (name, expected) in &by_cpu {
            let found = outputs.iter().find(|(output, _)| output == name);
            let (_, found) = found.unwrap_or_else(|| panic!("there is no output `{name}`"));
            near(found, expected, &format!("`{name}` on {target}, {schedule}"));
        }
    }
}

/// The first case of an ONNX model's folder.
fn check_onnx(name: &str, input: &str, output: &str) {
    let Some(folder) = collection(name) else { return };
    let inputs = Named::from([(input.to_string(), array(folder.join("data_0/input_0.npy")))]);
    let expected = Named::from([(output.to_string(), array(folder.join("data_0/output_0.npy")))]);
    check(&folder.join("model.onnx"), &inputs, Some(&expected), &TARGETS);
}

#[test]
fn mnist_on_every_target() {
    check_onnx("onnx/mnist_cntk", "Input3", "Plus214_Output_0");
}

#[test]
fn a_vision_transformer_on_every_target() {
    check_onnx("exports/vit_tiny.dynamo", "x", "linear_8");
}

#[test]
fn a_llama_on_every_target() {
    let Some(folder) = collection("hf/tiny-llama") else { return };
    let inputs = Named::from([("input_ids".to_string(), array(folder.join("reference/prompt_0.npy")))]);
    let expected = Named::from([("logits".to_string(), array(folder.join("reference/logits_0.npy")))]);
    check(&folder, &inputs, Some(&expected), &TARGETS);
}

#[test]
fn minilm_on_a_b200() {
    let folder = workspace().join("tools/models/all-minilm-l6-v2");
    let Some(folder) = present(folder, "run `cargo xtask models`") else { return };
    let integers = |value: &dyn Fn(usize) -> i64| {
        Tensor::from_vec([1, MINILM_TOKENS], &(0..MINILM_TOKENS).map(value).collect::<Vec<i64>>())
    };
    let inputs = Named::from([
        ("input_ids".to_string(), integers(&|i| 1000 + 97 * i as i64)),
        ("attention_mask".to_string(), integers(&|i| i64::from(i < MINILM_TOKENS - 3))),
    ]);
    assert_eq!(inputs["input_ids"].dtype(), DType::I64);
    check(&folder, &inputs, None, &[Target::Sm100a]);
}
