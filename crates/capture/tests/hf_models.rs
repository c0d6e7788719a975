//! Whole model folders by the reference evaluator, against outputs of the reference implementation in f32.

mod model_data;

use gable_capture::hf::HfModel;
use gable_capture::onnx::OnnxModel;
use gable_ir::{eval, verify};
use gable_tensor::compare::compare;
use gable_tensor::{Bindings, DType, Tensor, Tolerance};
use model_data::{array, fetched, folder};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::path::Path;

/// Evaluates the model in `folder` over `inputs`, whose first is of shape `[batch, seq]`, and compares its one output.
fn check(folder: &Path, inputs: &[(&str, &Tensor)], expected: &Tensor) {
    let model = HfModel::open(folder).unwrap_or_else(|e| panic!("{e}"));
    let mut bindings = Bindings::new();
    let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(name, tensor)| (*name, tensor.shape())).collect();
    model.signature().bind_shapes(folder, &shapes, &mut bindings).unwrap_or_else(|e| panic!("{e}"));
    let module = model.module(&bindings).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify::verify(&module.graph), [], "{}", folder.display());
    let outputs = eval::evaluate(&module, inputs).unwrap_or_else(|e| panic!("{e}"));
    let comparison = compare(&outputs[0].1, expected, Tolerance::F32_MODEL);
    println!("{}: {comparison}", folder.display());
    assert!(comparison.within, "{}: {comparison}", folder.display());
}

/// Both prompts of a tiny model: one of 24 tokens, and two of 5.
fn check_prompts(name: &str) {
    let Some(folder) = folder(&format!("hf/{name}")) else { return };
    for case in 0..2 {
        let file = |what: &str| array(&folder.join(format!("reference/{what}_{case}.npy")));
        check(&folder, &[("input_ids", &file("prompt"))], &file("logits"));
    }
}

#[test]
fn llama_with_llama3_rotary_scaling_and_grouped_heads() {
    check_prompts("tiny-llama");
}

#[test]
fn llama_with_biases_linear_scaling_and_its_own_head() {
    check_prompts("tiny-llama-bias");
}

#[test]
fn mistral_with_a_window_shorter_than_the_prompt() {
    check_prompts("tiny-mistral-swa");
}

#[test]
fn qwen2_in_bf16_shards() {
    check_prompts("tiny-qwen2-bf16-sharded");
}

#[test]
fn qwen3_with_normalized_heads_wider_than_hidden() {
    check_prompts("tiny-qwen3");
}

#[test]
fn gemma2_with_soft_caps_and_alternating_windows() {
    check_prompts("tiny-gemma2");
}

#[test]
fn stories260k_a_llama_that_writes_english() {
    let Some(folder) = folder("hf/stories260k") else { return };
    let text = std::fs::read_to_string(folder.join("reference/open.json")).expect("the reference is there");
    let cases: Value = serde_json::from_str(&text).expect("the reference is JSON");
    for case in cases.as_array().expect("a list of cases") {
        let ids: Vec<i64> = serde_json::from_value(case["prompt_ids"].clone()).expect("token numbers");
        let logits = array(&folder.join(case["logits"].as_str().expect("a file name")));
        let shape = [1, ids.len(), 512];
        let logits = logits.reshaped(shape).expect("logits of the whole prompt");
        check(&folder, &[("input_ids", &Tensor::from_vec([1, ids.len()], &ids))], &logits);
    }
}

#[test]
fn the_repository_s_own_llama() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/stories260k");
    let file = |name: &str| array(&folder.join(name));
    check(&folder, &[("input_ids", &file("once_upon_a_time_ids.npy"))], &file("once_upon_a_time_logits.npy"));
}

#[test]
fn minilm_a_bert_with_padded_sentences() {
    let (Some(model), Some(reference)) = (fetched("all-minilm-l6-v2"), folder("hf/all-minilm-l6-v2/reference")) else {
        return;
    };
    let file = |name: &str| array(&reference.join(name));
    let (ids, mask) = (file("input_ids.npy"), file("attention_mask.npy"));
    // One short, padded sentence of the four: this evaluator is slow.
    let first = |x: &Tensor| {
        let shape: Vec<usize> = [1].iter().chain(&x.shape()[1..]).copied().collect();
        Tensor::new(x.dtype(), shape, x.bytes().slice(..x.bytes().len() / 4)).expect("one of four rows")
    };
    let (ids, mask) = (first(&ids), first(&mask));
    assert!(mask.to_vec::<i64>().contains(&0), "the sentence is padded");
    check(&model, &[("input_ids", &ids), ("attention_mask", &mask)], &first(&file("last_hidden_state.npy")));
}

/// A tensor's name and shape in a folder, for its name and shape in an export; `None` for those that are no parameters.
type Rename = fn(&str, &[usize]) -> Option<(String, Vec<usize>)>;

/// Lays the f32 parameters of the exported graph at `onnx` out as a folder: an export's recorded outputs are then a reference
/// for the architecture that it was made from.
fn write_export(onnx: &Path, config: &Value, rename: Rename, folder: &Path) {
    let model = OnnxModel::load(onnx).unwrap_or_else(|e| panic!("{e}"));
    let floats = model.initializers().iter().filter(|(_, tensor)| tensor.dtype() == DType::F32);
    let views = floats.filter_map(|(key, tensor)| {
        let (name, shape) = rename(key, tensor.shape())?;
        Some((name, TensorView::new(Dtype::F32, shape, tensor.bytes()).expect("the bytes fill the shape")))
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("the folder is writable");
    let file = serialize(views.collect::<Vec<_>>(), None).expect("the tensors are valid");
    std::fs::write(folder.join("model.safetensors"), file).expect("the folder is writable");
}

#[test]
fn gpt2_equals_its_export() {
    let Some(export) = folder("exports/gpt2.dynamo") else { return };
    let config = json!({
        "architectures": ["GPT2LMHeadModel"], "vocab_size": 97, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 12,
    });
    let rename = |key: &str, shape: &[usize]| match key {
        "m.lm_head.weight" => Some(("transformer.wte.weight".to_string(), shape.to_vec())),
        // The exporter looked the twelve positions up already.
        "embedding_1" => Some(("transformer.wpe.weight".to_string(), shape[1..].to_vec())),
        key => Some((key.strip_prefix("m.")?.to_string(), shape.to_vec())),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_export(&export.join("model.onnx"), &config, rename, folder.path());
    let file = |name: &str| array(&export.join("data_0").join(name));
    check(folder.path(), &[("input_ids", &file("input_0.npy"))], &file("output_0.npy"));
}
