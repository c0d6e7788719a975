//! Model folders that cannot be taken: each is refused by name, and none panics or asks for much memory.

use gable_capture::Model;
use gable_capture::hf::HfModel;
use gable_tensor::Bindings;
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// A one-layer Llama that is whole and right, to be broken by each test.
struct Checkpoint {
    config: Value,
    shapes: BTreeMap<String, Vec<usize>>,
}

fn llama() -> Checkpoint {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 3, "hidden_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 6,
    });
    let mut shapes = BTreeMap::from(
        [("model.embed_tokens", vec![3, 4]), ("model.norm", vec![4]), ("lm_head", vec![3, 4])]
            .map(|(name, shape)| (format!("{name}.weight"), shape)),
    );
    for (name, shape) in [
        ("input_layernorm", vec![4]),
        ("self_attn.q_proj", vec![4, 4]),
        ("self_attn.k_proj", vec![2, 4]),
        ("self_attn.v_proj", vec![2, 4]),
        ("self_attn.o_proj", vec![4, 4]),
        ("post_attention_layernorm", vec![4]),
        ("mlp.gate_proj", vec![6, 4]),
        ("mlp.up_proj", vec![6, 4]),
        ("mlp.down_proj", vec![4, 6]),
    ] {
        shapes.insert(format!("model.layers.0.{name}.weight"), shape);
    }
    Checkpoint { config, shapes }
}

/// The bytes of a safetensors file of f32 zeros.
fn weights<'a>(shapes: impl IntoIterator<Item = (&'a String, &'a Vec<usize>)>) -> Vec<u8> {
    let zeros = [0u8; 4 * 64];
    let view = |(name, shape): (&'a String, &Vec<usize>)| {
        let bytes = 4 * shape.iter().product::<usize>();
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), &zeros[..bytes]).expect("the zeros fill the shape"))
    };
    serialize(shapes.into_iter().map(view), None).expect("the tensors are valid")
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).expect("the folder is writable");
}

impl Checkpoint {
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), "config.json", self.config.to_string());
        write(folder.path(), "model.safetensors", weights(&self.shapes));
        folder
    }

    /// Checks that the folder is refused with a message that has all of `parts`.
    fn refused(&self, parts: &[&str]) {
        check_refused(self.folder().path(), parts);
    }
}

fn check_refused(folder: &Path, parts: &[&str]) {
    let message = HfModel::open(folder).expect_err("the folder is wrong").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn the_sample_is_right_as_it_is() {
    let folder = llama().folder();
    let model = HfModel::open(folder.path()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(model.signature().dims(), ["batch", "seq"]);
    assert_eq!(model.signature().outputs, ["logits"]);
}

#[test]
fn tensors_that_do_not_fit_are_named_all_at_once() {
    let mut checkpoint = llama();
    let up = checkpoint.shapes.remove("model.layers.0.mlp.up_proj.weight").expect("the sample has it");
    checkpoint.shapes.insert("model.layers.0.mlp.upper_proj.weight".into(), up);
    checkpoint.shapes.insert("model.norm.weight".into(), vec![5]);
    checkpoint.refused(&[
        "LlamaForCausalLM",
        "`model.layers.0.mlp.up_proj.weight` is missing, expected shape [6, 4] (the file has `model.layers.0.mlp.upper_proj.weight`",
        "`model.norm.weight` is f32[5], expected shape [4]",
        "`model.layers.0.mlp.upper_proj.weight` (f32[6, 4]) is not a part of the architecture",
    ]);
}

#[test]
fn harmless_extra_tensors_are_taken() {
    let mut checkpoint = llama();
    checkpoint.config["tie_word_embeddings"] = json!(true);
    checkpoint.shapes.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), vec![1]);
    assert!(HfModel::open(checkpoint.folder().path()).is_ok());
}

#[test]
fn configurations_that_change_the_answers_are_refused_by_field() {
    for (field, value, parts) in [
        (
            "architectures",
            json!(["MambaForCausalLM"]),
            &["`MambaForCausalLM` is not supported", "LlamaForCausalLM"][..],
        ),
        ("quantization_config", json!({"quant_method": "gptq"}), &["quantization_config", "gptq"]),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2}),
            &["`rope_scaling.rope_type` is \"yarn\"", "llama3"],
        ),
        ("sliding_window", json!(4096), &["`sliding_window` is 4096"]),
        ("hidden_act", json!("quick_gelu"), &["`hidden_act` is \"quick_gelu\"", "silu"]),
        ("hidden_size", json!("4"), &["`hidden_size` is \"4\"", "whole number"]),
        ("vocab_size", Value::Null, &["`vocab_size` is null", "expected a size"]),
        ("head_dim", json!(3), &["`head_dim` is 3", "even"]),
        ("num_key_value_heads", json!(3), &["`num_key_value_heads` is 3", "divisor"]),
        ("num_hidden_layers", json!(1u64 << 40), &["`num_hidden_layers`"]),
        ("partial_rotary_factor", json!(0.5), &["`partial_rotary_factor` is 0.5"]),
    ] {
        let mut checkpoint = llama();
        checkpoint.config[field] = value;
        checkpoint.refused(parts);
    }
}

#[test]
fn a_claim_of_a_million_layers_ends_after_a_few_missing_tensors() {
    let mut checkpoint = llama();
    checkpoint.config["num_hidden_layers"] = json!(1_000_000);
    checkpoint.refused(&["`model.layers.1.input_layernorm.weight` is missing", "more"]);
}

/// The sample in two shards under an index, which `change` may edit.
fn sharded(change: impl FnOnce(&mut Value)) -> TempDir {
    let checkpoint = llama();
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "config.json", checkpoint.config.to_string());
    let shard_of = |name: &str| if name < "model.layers.0.mlp" { "1.safetensors" } else { "2.safetensors" };
    for shard in ["1.safetensors", "2.safetensors"] {
        write(folder.path(), shard, weights(checkpoint.shapes.iter().filter(|(name, _)| shard_of(name) == shard)));
    }
    let map: BTreeMap<&String, &str> = checkpoint.shapes.keys().map(|name| (name, shard_of(name))).collect();
    let mut index = json!({"metadata": {"total_size": 0}, "weight_map": map});
    change(&mut index);
    write(folder.path(), "model.safetensors.index.json", index.to_string());
    folder
}

#[test]
fn shards_must_be_where_the_index_says() {
    let whole = sharded(|_| ());
    HfModel::open(whole.path()).unwrap_or_else(|e| panic!("{e}"));
    for outside in ["../1.safetensors", "/etc/passwd", "a/b.safetensors", "C:\\x.safetensors", "passwd"] {
        let folder = sharded(|index| index["weight_map"]["model.norm.weight"] = json!(outside));
        check_refused(
            folder.path(),
            &["index.json", "`model.norm.weight`", "expected the name of a file in the model's folder"],
        );
    }
    let folder = sharded(|index| index["weight_map"]["model.norm.weight"] = json!("3.safetensors"));
    check_refused(folder.path(), &["shard `3.safetensors`", "is not in the folder"]);
    let folder = sharded(|index| index["weight_map"]["model.norm.weight"] = json!("1.safetensors"));
    check_refused(folder.path(), &["`model.norm.weight`", "is not in `1.safetensors`"]);
    let folder = sharded(|index| index["weight_map"]["model.absent.weight"] = json!("1.safetensors"));
    check_refused(folder.path(), &["`model.absent.weight`"]);
    let folder = sharded(|_| ());
    std::fs::copy(folder.path().join("1.safetensors"), folder.path().join("2.safetensors")).expect("both are files");
    check_refused(folder.path(), &["is in two shards, `1.safetensors` and `2.safetensors`"]);
    check_refused(sharded(|index| *index = json!([])).path(), &["is not a JSON object"]);
    check_refused(sharded(|index| index["weight_map"] = json!(7)).path(), &["weight_map"]);
}

#[test]
fn missing_and_cut_files_are_named() {
    let folder = llama().folder();
    std::fs::remove_file(folder.path().join("model.safetensors")).expect("the file is there");
    check_refused(folder.path(), &["has neither `model.safetensors` nor `model.safetensors.index.json`"]);
    write(folder.path(), "pytorch_model.bin", "");
    check_refused(folder.path(), &["pickled"]);
    std::fs::remove_file(folder.path().join("config.json")).expect("the file is there");
    check_refused(folder.path(), &["config.json", "cannot be read"]);

    let folder = llama().folder();
    let file = std::fs::read(folder.path().join("model.safetensors")).expect("the file is there");
    for length in [0, 7, 8, 100, file.len() - 1] {
        write(folder.path(), "model.safetensors", &file[..length]);
        check_refused(folder.path(), &["model.safetensors"]);
    }
}

#[test]
fn dimensions_take_values_that_the_model_has() {
    let model = HfModel::open(llama().folder().path()).unwrap_or_else(|e| panic!("{e}"));
    let bind = |dim: &str, value| model.module(&Bindings::from([(dim.to_string(), value)]));
    assert_eq!(bind("seq", 7).expect("valid").graph.symbols(), ["batch"]);
    assert!(bind("seq", -7).is_err());
    assert!(bind("sequence", 7).expect_err("unknown").to_string().contains("batch, seq"));
}

/// A one-layer GPT-2 with four positions.
fn gpt2() -> Checkpoint {
    let config = json!({
        "model_type": "gpt2", "vocab_size": 3, "n_embd": 4, "n_head": 2, "n_layer": 1, "n_positions": 4, "n_inner": 6,
    });
    let shapes = [
        ("wte.weight", vec![3, 4]),
        ("wpe.weight", vec![4, 4]),
        ("h.0.ln_1.weight", vec![4]),
        ("h.0.ln_1.bias", vec![4]),
        ("h.0.attn.c_attn.weight", vec![4, 12]),
        ("h.0.attn.c_attn.bias", vec![12]),
        ("h.0.attn.c_proj.weight", vec![4, 4]),
        ("h.0.attn.c_proj.bias", vec![4]),
        ("h.0.ln_2.weight", vec![4]),
        ("h.0.ln_2.bias", vec![4]),
        ("h.0.mlp.c_fc.weight", vec![4, 6]),
        ("h.0.mlp.c_fc.bias", vec![6]),
        ("h.0.mlp.c_proj.weight", vec![6, 4]),
        ("h.0.mlp.c_proj.bias", vec![4]),
        ("ln_f.weight", vec![4]),
        ("ln_f.bias", vec![4]),
        // The causal mask that old files hold.
        ("h.0.attn.bias", vec![1, 1, 4, 4]),
    ];
    Checkpoint { config, shapes: shapes.map(|(name, shape)| (name.to_string(), shape)).into() }
}

#[test]
fn a_sequence_longer_than_the_table_of_positions_is_refused() {
    let folder = gpt2().folder();
    let model = Model::load(folder.path()).unwrap_or_else(|e| panic!("{e}"));
    let bind = |seq| model.module(&Bindings::from([("batch".to_string(), 1), ("seq".to_string(), seq)]));
    assert!(bind(4).is_ok());
    let message = bind(5).expect_err("there are four positions").to_string();
    assert!(message.contains("dimension `seq` is given 5, expected 4 tokens at most"), "{message}");
    let message = model.module(&Bindings::new()).expect_err("nothing is bound").to_string();
    assert!(message.contains("pass `--dim batch=VALUE`"), "{message}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..40).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9_]{0,12}".prop_map(Value::from),
        prop_oneof![Just("llama3"), Just("linear"), Just("silu"), Just("BertModel"), Just("Gemma2ForCausalLM")]
            .prop_map(Value::from),
    ];
    let field = prop_oneof![Just("rope_type"), Just("factor"), Just("rope_theta"), Just("low_freq_factor")];
    leaf.prop_recursive(2, 12, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(field.clone(), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_string(), v)).collect()),
        ]
    })
}

const FIELDS: [&str; 16] = [
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "head_dim",
    "rope_scaling",
    "rope_parameters",
    "rope_theta",
    "hidden_act",
    "rms_norm_eps",
    "attention_bias",
    "tie_word_embeddings",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the configuration says, there is an answer.
    #[test]
    fn mutated_configurations_never_panic(edits in proptest::collection::vec((0..FIELDS.len(), any_json()), 1..4)) {
        let mut checkpoint = llama();
        for (field, value) in edits {
            checkpoint.config[FIELDS[field]] = value;
        }
        if let Ok(model) = HfModel::open(checkpoint.folder().path()) {
            let bindings = Bindings::from([("batch".to_string(), 1), ("seq".to_string(), 2)]);
            prop_assert!(model.module(&bindings).is_ok());
        }
    }

    /// Bytes of `config.json` and of the weights changed or cut anywhere.
    #[test]
    fn mutated_files_never_panic(
        edits in proptest::collection::vec((any::<bool>(), 0usize..1200, any::<u8>()), 1..4),
        cut in 0usize..2000,
    ) {
        let folder = llama().folder();
        for name in ["config.json", "model.safetensors"] {
            let mut bytes = std::fs::read(folder.path().join(name)).expect("the file is there");
            for &(in_config, at, value) in &edits {
                if in_config == (name == "config.json") && let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if cut > 1500 {
                bytes.truncate(bytes.len() * (cut - 1500) / 500);
            }
            write(folder.path(), name, bytes);
        }
        let _ = HfModel::open(folder.path());
    }
}
