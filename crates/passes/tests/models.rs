//! Real exports through the pipeline: what is recognised in them, and that they compute what they did.

use gable_capture::onnx::OnnxModel;
use gable_ir::{Module, Op, RegionKind, eval};
use gable_passes::{PassOptions, Precision, RunnerConfig, fusion, optimize_with, run_until};
use gable_tensor::compare::{Tolerance, compare};
use gable_tensor::{Bindings, Tensor, mapped_file, npy};
use std::path::{Path, PathBuf};

/// The folder `name` of the model collection: `GABLE_MODELS`, else `shared/models` beside the workspace.
fn folder(name: &str) -> Option<PathBuf> {
    let collection = std::env::var_os("GABLE_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models"), PathBuf::from);
    present(collection.join(name), "set GABLE_MODELS to the model collection")
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

/// A model with the inputs that it was recorded with; its dimensions follow from these.
fn load(folder: &Path) -> (Module, Vec<(String, Tensor)>) {
    let model = OnnxModel::load(folder.join("model.onnx")).expect("a model of the collection loads");
    let inputs: Vec<(String, Tensor)> = model
        .signature()
        .inputs
        .iter()
        .enumerate()
        .map(|(position, port)| {
            let file = folder.join(format!("data_0/input_{position}.npy"));
            let bytes = mapped_file::map(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            (port.name.clone(), npy::read(&bytes).expect("a recorded input reads"))
        })
        .collect();
    let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(name, x)| (name.as_str(), x.shape())).collect();
    let mut dims = Bindings::new();
    model.bind_shapes(&shapes, &mut dims).expect("recorded inputs fit");
    (model.module(&dims).expect("a model of the collection is captured"), inputs)
}

fn count(module: &Module, wanted: impl Fn(&Op) -> bool) -> usize {
    module.graph.ids().into_iter().filter(|&id| wanted(module.graph.op(id))).count()
}

#[test]
fn composites_are_found_in_exports() {
    struct Expected {
        name: &'static str,
        attention: usize,
        layer_norm: usize,
        rms_norm: usize,
        gelu: usize,
        silu: usize,
        rope: usize,
    }
    let none = Expected { name: "", attention: 0, layer_norm: 0, rms_norm: 0, gelu: 0, silu: 0, rope: 0 };
    // Two layers each. A guard against NaN between softmax and product keeps `bert_sdpa.ts` from being attention.
    let models = [
        Expected { name: "bert.dynamo", attention: 2, layer_norm: 5, gelu: 2, ..none },
        Expected { name: "bert_sdpa.ts", layer_norm: 5, gelu: 2, ..none },
        Expected { name: "vit_tiny.dynamo", attention: 2, layer_norm: 5, gelu: 2, ..none },
        Expected { name: "gpt2.dynamo", attention: 2, layer_norm: 5, gelu: 2, ..none },
        Expected { name: "llama.dynamo", attention: 2, rms_norm: 5, silu: 2, rope: 4, ..none },
        Expected { name: "llama.ts", attention: 2, rms_norm: 5, silu: 2, rope: 4, ..none },
    ];
    for expected in models {
        let Some(folder) = folder(&format!("exports/{}", expected.name)) else { continue };
        let (module, _) = load(&folder);
        let config = RunnerConfig { check: true, ..RunnerConfig::default() };
        let module = run_until(module, &PassOptions::default(), &config, "recognize").expect("the passes run");
        let found = [
            count(&module, |op| matches!(op, Op::Attention(_))),
            count(&module, |op| matches!(op, Op::LayerNorm(_))),
            count(&module, |op| matches!(op, Op::RmsNorm(_))),
            count(&module, |op| matches!(op, Op::Gelu(_))),
            count(&module, |op| matches!(op, Op::Silu(_))),
            count(&module, |op| matches!(op, Op::Rope(_))),
        ];
        let wanted =
            [expected.attention, expected.layer_norm, expected.rms_norm, expected.gelu, expected.silu, expected.rope];
        assert_eq!(found, wanted, "{}: attention, layer norm, RMS norm, GELU, SiLU, rope", expected.name);
    }
}

#[test]
fn minilm_is_six_layers_of_attention() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/models/all-minilm-l6-v2");
    let Some(folder) = present(folder, "run `cargo xtask models`") else { return };
    let model = OnnxModel::load(folder.join("model.onnx")).expect("the model loads");
    let dims = Bindings::from([("batch".to_string(), 2), ("sequence".to_string(), 16)]);
    let captured = model.module(&dims).expect("the model is captured");
    let config = RunnerConfig { check: true, ..RunnerConfig::default() };
    let module = run_until(captured.clone(), &PassOptions::default(), &config, "recognize").expect("the passes run");
    assert_eq!(count(&module, |op| matches!(op, Op::Attention(_))), 6);
    assert_eq!(count(&module, |op| matches!(op, Op::LayerNorm(_))), 13);
    assert_eq!(count(&module, |op| matches!(op, Op::Gelu(_))), 6);
    // Six products a layer, one of them for queries, keys and values, each with all that follows it; norms and softmax; the
    // mask, once for all layers.
    let regions =
        optimize_with(captured, &PassOptions::default(), &config).expect("the passes run").module.graph.regions;
    let kinds = |kind| regions.iter().filter(|region| region.kind == kind).count();
    assert_eq!((kinds(RegionKind::Contraction), kinds(RegionKind::Row)), (36, 19));
    assert!(kinds(RegionKind::Map) <= 2, "{} map regions", kinds(RegionKind::Map));
}

/// Every output of the optimised model against that of the captured one, by the reference evaluator.
fn check_values(name: &str, precision: Precision, tolerance: Tolerance) {
    let Some(folder) = folder(name) else { return };
    let (module, inputs) = load(&folder);
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let options = PassOptions { precision, ..PassOptions::default() };
    let config = RunnerConfig { check: true, ..RunnerConfig::default() };
    let expected = eval::evaluate(&module, &inputs).expect("the captured model evaluates");
    let optimized = optimize_with(module, &options, &config).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(fusion::check(&optimized.module.graph), [], "{name}");
    let found = eval::evaluate(&optimized.module, &inputs).expect("the optimised model evaluates");
    for ((output, expected), (_, found)) in expected.iter().zip(&found) {
        let comparison = compare(found, expected, tolerance);
        assert!(comparison.within, "{name} at {precision}: output `{output}`: {comparison}");
    }
}

const MODELS: &[&str] = &[
    "onnx/mnist_cntk",
    "onnx/wildbg_contact",
    "exports/bert.dynamo",
    "exports/bert_sdpa.ts",
    "exports/gpt2.dynamo",
    "exports/hf_vit.ts",
    "exports/llama.dynamo",
    "exports/llama.ts",
    "exports/mistral.ts",
    "exports/qwen3.dynamo",
    "exports/segformer.dynamo",
    "exports/unet.dynamo",
    "exports/vae_dec.dynamo",
    "exports/vit_tiny.dynamo",
    "exports/whisper_enc.dynamo",
];

#[test]
fn optimised_models_compute_what_they_did() {
    for name in MODELS {
        check_values(name, Precision::AsIs, Tolerance::F32_MODEL);
    }
}

#[test]
fn bf16_factors_stay_within_their_class() {
    for name in ["exports/bert.dynamo", "exports/llama.dynamo", "exports/vit_tiny.dynamo", "onnx/mnist_cntk"] {
        check_values(name, Precision::Bf16, Tolerance::BF16_MODEL);
    }
}
