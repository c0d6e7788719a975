//! Real models on the cpu device, as captured and after the passes, against outputs recorded from other runtimes.
//!
//! The models are those of the collection: `GABLE_MODELS`, else `shared/models` beside the workspace. Where it is absent
//! the tests say that they are skipped, and under `CI` they fail.

use gable_capture::Model;
use gable_ir::Module;
use gable_passes::PassOptions;
use gable_runtime::cpu::CpuProgram;
use gable_tensor::compare::compare;
use gable_tensor::{Bindings, DType, Tensor, Tolerance, mapped_file, npy};
use serde_json::Value;
use std::path::{Path, PathBuf};

type Named = Vec<(String, Tensor)>;

/// `path`, if it is there; else the test is skipped, visibly, and on CI it fails.
fn present(path: PathBuf, remedy: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "`{}` is not there: {remedy}", path.display());
    println!("SKIPPED: `{}` is not there: {remedy}", path.display());
    None
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn collection(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GABLE_MODELS").map_or_else(|| workspace().join("../shared/models"), PathBuf::from);
    present(root.join(name), "set GABLE_MODELS to the model collection")
}

fn fetched(name: &str) -> Option<PathBuf> {
    present(workspace().join("tools/models").join(name), "run `cargo xtask models`")
}

fn array(path: &Path) -> Tensor {
    let file = mapped_file::map(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    npy::read(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The cases of a manifest: inputs and outputs by name.
fn cases(folder: &Path) -> Vec<(Named, Named)> {
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("the manifest is text");
    let manifest: Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    let read = |entry: &Value| {
        let file = entry["file"].as_str().expect("the manifest names files");
        (entry["name"].as_str().expect("the manifest names tensors").to_string(), array(&folder.join(file)))
    };
    let list = |list: &Value| list.as_array().expect("the manifest has lists").iter().map(read).collect();
    let cases = manifest["data"].as_array().expect("the manifest has cases");
    cases.iter().map(|case| (list(&case["inputs"]), list(&case["outputs"]))).collect()
}

fn given(inputs: &Named) -> Vec<(&str, &Tensor)> {
    inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

/// The model for the shapes of `inputs`.
fn captured(path: &Path, inputs: &Named) -> Module {
    let model = Model::load(path).unwrap_or_else(|e| panic!("{e}"));
    let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
    let mut bindings = Bindings::new();
    model.bind_shapes(&shapes, &mut bindings).unwrap_or_else(|e| panic!("{e}"));
    model.module(&bindings).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs `module` and compares the outputs that `expected` names.
fn check_module(what: &str, module: &Module, inputs: &Named, expected: &Named) {
    let program = CpuProgram::new(module).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(program.ops_by_reference().is_empty(), "{what}: slow ops {:?}", program.ops_by_reference());
    let outputs = program.run(&given(inputs)).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (name, expected) in expected {
        let found = outputs.iter().find(|(output, _)| output == name);
        let (_, found) = found.unwrap_or_else(|| panic!("{what}: there is no output `{name}`"));
        let tolerance = match expected.dtype() {
            DType::F16 => Tolerance::F16_MODEL,
            dtype if dtype.is_float() => Tolerance::F32_MODEL,
            _ => Tolerance::Exact,
        };
        let comparison = compare(found, expected, tolerance);
        println!("{what}, `{name}`: {comparison}");
        assert!(comparison.within, "{what}, `{name}`: {comparison}");
    }
}

/// Checks the model at `path` as captured and after the passes.
fn check(path: &Path, inputs: &Named, expected: &Named) {
    let what = path.display().to_string();
    let module = captured(path, inputs);
    check_module(&what, &module, inputs, expected);
    let optimized = gable_passes::optimize(module, &PassOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
    check_module(&format!("{what} after the passes"), &optimized.module, inputs, expected);
}

/// Every case of an ONNX model's folder.
fn check_onnx(name: &str) {
    let Some(folder) = collection(name) else { return };
    for (inputs, outputs) in cases(&folder) {
        check(&folder.join("model.onnx"), &inputs, &outputs);
    }
}

/// Both prompts of a small language model.
fn check_prompts(name: &str) {
    let Some(folder) = collection(name) else { return };
    for case in 0..2 {
        let file = |what: &str| array(&folder.join(format!("reference/{what}_{case}.npy")));
        check(&folder, &vec![("input_ids".into(), file("prompt"))], &vec![("logits".into(), file("logits"))]);
    }
}

macro_rules! models {
    ($check:ident: $( $test:ident = $name:literal ),+ $(,)?) => { $(
        #[test]
        fn $test() {
            $check($name);
        }
    )+ };
}

models! {
    check_onnx:
    mnist_cntk = "onnx/mnist_cntk",
    squeezenet_fp16 = "onnx/squeezenet_fp16",
    superres_x3 = "onnx/superres_x3",
    ultraface_rfb320 = "onnx/ultraface_rfb320",
    wildbg_contact = "onnx/wildbg_contact",
    tinybert_random = "onnx/tinybert_random",
    selfie_segmentation = "onnx/selfie_segmentation",
    yolox_nano = "onnx/yolox_nano",
    bert_dynamo = "exports/bert.dynamo",
    bert_sdpa_torchscript = "exports/bert_sdpa.ts",
    vit_tiny_dynamo = "exports/vit_tiny.dynamo",
    gpt2_dynamo = "exports/gpt2.dynamo",
    llama_dynamo = "exports/llama.dynamo",
    basic_pitch = "onnx/basic_pitch",
    blazeface = "onnx/blazeface",
    dtln_1 = "onnx/dtln_1",
    fastestdet = "onnx/fastestdet",
    fns_candy = "onnx/fns_candy",
    gtcrn_simple = "onnx/gtcrn_simple",
    magika_v3_3 = "onnx/magika_v3_3",
    meshnet_brain3d = "onnx/meshnet_brain3d",
    ppocr_v2_det = "onnx/ppocr_v2_det",
    silero_vad = "onnx/silero_vad_op18_ifless",
    stories260k_kv = "onnx/stories260k_kv",
    clip_torchscript = "exports/clip.ts",
    detr_torchscript = "exports/detr.ts",
    hf_vit_torchscript = "exports/hf_vit.ts",
    hunyuan_decoder_dynamo = "exports/hunyuan_dec.dynamo",
    llama_torchscript = "exports/llama.ts",
    llama_with_attention_ops = "exports/llama_op23.dynamo",
    mistral_torchscript = "exports/mistral.ts",
    qwen3_dynamo = "exports/qwen3.dynamo",
    segformer_dynamo = "exports/segformer.dynamo",
    swin_tiny_dynamo = "exports/swin_tiny.dynamo",
    unet_dynamo = "exports/unet.dynamo",
    vae_decoder_dynamo = "exports/vae_dec.dynamo",
    vae_decoder_with_attention_ops = "exports/vae_dec_op23.dynamo",
    wav2vec2_dynamo = "exports/wav2vec2.dynamo",
    whisper_encoder_dynamo = "exports/whisper_enc.dynamo",
}

models! {
    check_prompts:
    tiny_llama = "hf/tiny-llama",
    tiny_llama_bias = "hf/tiny-llama-bias",
    tiny_mistral = "hf/tiny-mistral-swa",
    tiny_qwen2_bf16_shards = "hf/tiny-qwen2-bf16-sharded",
    tiny_qwen3 = "hf/tiny-qwen3",
    tiny_gemma2 = "hf/tiny-gemma2",
}

/// The two models in the repository, which need no collection.
#[test]
fn the_repository_s_models() {
    let models = workspace().join("examples/models");
    for (name, file) in [("squeezenet_fp16", "model.onnx"), ("stories260k", "")] {
        for (inputs, outputs) in cases(&models.join(name)) {
            check(&models.join(name).join(file), &inputs, &outputs);
        }
    }
}

/// MiniLM from its safetensors folder, and from its export, whose weights lie in the same file.
#[test]
fn minilm_from_folder_and_export() {
    let (Some(model), Some(reference)) = (fetched("all-minilm-l6-v2"), collection("hf/all-minilm-l6-v2/reference"))
    else {
        return;
    };
    let file = |name: &str| (name.to_string(), array(&reference.join(format!("{name}.npy"))));
    let (inputs, outputs) = (vec![file("input_ids"), file("attention_mask")], vec![file("last_hidden_state")]);
    check(&model, &inputs, &outputs);
    if let Some(export) = present(model.join("model.onnx"), "run `cargo xtask models` with the model collection") {
        check(&export, &inputs, &outputs);
    }
}
