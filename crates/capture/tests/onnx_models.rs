//! Real models and exporters' graphs: every one of the collection is captured and verified, and those that the reference
//! evaluation finishes in about a second give the outputs recorded beside them.

mod model_data;

use gable_capture::onnx::OnnxModel;
use gable_ir::Module;
use gable_tensor::compare::compare;
use gable_tensor::{Bindings, DType, Tensor, Tolerance};
use model_data::{array, fetched, folder};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The tensors of the manifest's first case, inputs or outputs.
fn tensors(folder: &Path, which: &str) -> Vec<(String, Tensor)> {
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("the manifest is text");
    let manifest: Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    let read = |entry: &Value| {
        let file = entry["file"].as_str().expect("the manifest names files");
        let name = entry["name"].as_str().expect("the manifest names tensors");
        (name.to_string(), array(&folder.join(file)))
    };
    manifest["data"][0][which].as_array().expect("the manifest has lists").iter().map(read).collect()
}

/// The module for the shapes of the inputs given, verified.
fn capture(file: &Path, inputs: &[(String, Tensor)]) -> Result<Module, String> {
    let model = OnnxModel::load(file).map_err(|e| e.to_string())?;
    let mut bindings = Bindings::new();
    let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(name, t)| (name.as_str(), t.shape())).collect();
    model.bind_shapes(&shapes, &mut bindings).map_err(|e| e.to_string())?;
    let module = model.module(&bindings).map_err(|e| e.to_string())?;
    match gable_ir::verify::verify_module(&module).first() {
        Some(fault) => Err(format!("{}: verifier: {fault}", file.display())),
        None => Ok(module),
    }
}

/// Compares the outputs of reference evaluation with the ones recorded.
fn check_outputs(module: &Module, inputs: &[(String, Tensor)], expected: &[(String, Tensor)]) {
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let found = gable_ir::eval::evaluate(module, &given).unwrap_or_else(|e| panic!("{e}"));
    for (name, expected) in expected {
        let (_, found) = found.iter().find(|(n, _)| n == name).expect("the output is there");
        let tolerance = match expected.dtype() {
            DType::F32 => Tolerance::F32_MODEL,
            DType::F16 => Tolerance::F16_MODEL,
            _ => Tolerance::Exact,
        };
        let comparison = compare(found, expected, tolerance);
        println!("output `{name}`: {comparison}");
        assert!(comparison.within, "output `{name}`: {comparison}");
    }
}

fn check(name: &str) {
    let Some(folder) = folder(name) else { return };
    let inputs = tensors(&folder, "inputs");
    let module = capture(&folder.join("model.onnx"), &inputs).unwrap_or_else(|e| panic!("{e}"));
    check_outputs(&module, &inputs, &tensors(&folder, "outputs"));
}

macro_rules! models {
    ($( $test:ident = $name:literal ),+ $(,)?) => { $(
        #[test]
        fn $test() {
            check($name);
        }
    )+ };
}

models! {
    mnist_cntk = "onnx/mnist_cntk",
    wildbg_contact = "onnx/wildbg_contact",
    tinybert_random = "onnx/tinybert_random",
    selfie_segmentation = "onnx/selfie_segmentation",
    blazeface = "onnx/blazeface",
    dtln_1_with_lstm = "onnx/dtln_1",
    gtcrn_simple_with_gru = "onnx/gtcrn_simple",
    silero_vad_with_a_known_branch = "onnx/silero_vad_op18_ifless",
    stories260k_with_an_empty_cache = "onnx/stories260k_kv",
    bert_dynamo = "exports/bert.dynamo",
    bert_sdpa_torchscript = "exports/bert_sdpa.ts",
    clip_torchscript = "exports/clip.ts",
    detr_torchscript = "exports/detr.ts",
    gpt2_dynamo = "exports/gpt2.dynamo",
    hf_vit_torchscript = "exports/hf_vit.ts",
    llama_dynamo = "exports/llama.dynamo",
    llama_torchscript = "exports/llama.ts",
    llama_with_attention_ops = "exports/llama_op23.dynamo",
    mistral_torchscript = "exports/mistral.ts",
    qwen3_dynamo = "exports/qwen3.dynamo",
    segformer_dynamo = "exports/segformer.dynamo",
    swin_tiny_dynamo = "exports/swin_tiny.dynamo",
    unet_dynamo = "exports/unet.dynamo",
    vae_decoder_dynamo = "exports/vae_dec.dynamo",
    vae_decoder_with_attention_ops = "exports/vae_dec_op23.dynamo",
    vit_tiny_dynamo = "exports/vit_tiny.dynamo",
    wav2vec2_dynamo = "exports/wav2vec2.dynamo",
    whisper_encoder_dynamo = "exports/whisper_enc.dynamo",
}

#[test]
fn every_model_of_the_collection_is_captured() {
    let (Some(onnx), Some(exports)) = (folder("onnx"), folder("exports")) else { return };
    let entries = [onnx, exports].into_iter().flat_map(|kind| std::fs::read_dir(kind).expect("a folder"));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    folders.sort();
    let refused: Vec<String> = folders
        .iter()
        .filter_map(|folder| capture(&folder.join("model.onnx"), &tensors(folder, "inputs")).err())
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(!folders.is_empty(), "the collection has models");
}

#[test]
fn minilm_with_its_weights_in_a_safetensors_file() {
    let (Some(model), Some(reference)) = (fetched("all-minilm-l6-v2"), folder("hf/all-minilm-l6-v2/reference")) else {
        return;
    };
    // One sentence of the four: this evaluator is slow.
    let first = |name: &str| {
        let all = array(&reference.join(format!("{name}.npy")));
        let shape: Vec<usize> = [1].iter().chain(&all.shape()[1..]).copied().collect();
        let row = all.bytes().slice(..all.bytes().len() / all.shape()[0]);
        (name.to_string(), Tensor::new(all.dtype(), shape, row).expect("one of four rows"))
    };
    let inputs = [first("input_ids"), first("attention_mask")];
    let module = capture(&model.join("model.onnx"), &inputs).unwrap_or_else(|e| panic!("{e}"));
    check_outputs(&module, &inputs, &[first("last_hidden_state")]);
}
