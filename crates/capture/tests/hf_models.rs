//! Whole model folders by the reference evaluator, against outputs of the reference implementation in f32.

mod model_data;

use gable_capture::hf::HfModel;
use gable_ir::{eval, verify};
use gable_tensor::compare::compare;
use gable_tensor::{Bindings, Tensor, Tolerance};
use model_data::{array, fetched, folder};
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
    let cases: serde_json::Value = serde_json::from_str(&text).expect("the reference is JSON");
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
