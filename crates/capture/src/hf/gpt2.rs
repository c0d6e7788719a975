//! GPT-2: a decoder with learnt positions, layer norms, and linear layers stored as `[in, out]`.
//!
//! Graph: input `input_ids` i64 `[batch, seq]`; output `logits` f32 `[batch, seq, vocab_size]`.

use super::architecture::Architecture;
use super::layers::{ACTIVATIONS, Linear};
use super::network::{BuildError, Built, Network};
use gable_ir::NodeId;
use gable_ir::ops::Attention;

pub(super) const GPT2: Architecture = Architecture {
    name: "GPT2LMHeadModel",
    model_type: "gpt2",
    prefix: "transformer.",
    // Old files hold the causal mask of each layer, and some a copy of the embedding as the head.
    unused: &["*.attn.bias", "*.attn.masked_bias", "lm_head.weight"],
    build,
};

fn build(net: &mut Network) -> Result<(), BuildError> {
    const EMBEDDING: &str = "wte";
    let config = net.config;
    config.refuse_unless("tie_word_embeddings", true)?;
    config.refuse_unless("scale_attn_weights", true)?;
    config.refuse_unless("scale_attn_by_inverse_layer_idx", false)?;
    config.refuse_unless("add_cross_attention", false)?;
    let (vocab, hidden, heads) = (config.size("vocab_size")?, config.size("n_embd")?, config.size("n_head")?);
    if hidden % heads != 0 {
        return Err(config.error("n_head", format!("a divisor of n_embd, which is {hidden}")).into());
    }
    let inner = config.optional_size("n_inner")?.unwrap_or(4 * hidden);
    let eps = config.number_or("layer_norm_epsilon", 1e-5)?;
    let activation = config.choice_or("activation_function", ACTIVATIONS, "gelu_new")?;
    let how = Attention { scale: 1.0 / ((hidden / heads) as f64).sqrt(), causal: true, window: 0, softcap: 0.0 };

    let ids = net.token_input("input_ids");
    net.enter("embeddings");
    let words = net.embedding(ids, &format!("{EMBEDDING}.weight"), vocab, hidden)?;
    let positions = net.position_embedding("wpe.weight", config.size("n_positions")?, hidden)?;
    let mut x = net.plus(words, positions)?;
    for index in 0..config.size("n_layer")? {
        let name = format!("h.{index}");
        net.enter(format!("{name}.attn"));
        let normed = net.layer_norm(x, &format!("{name}.ln_1"), eps)?;
        let qkv = affine(net, normed, &format!("{name}.attn.c_attn"), 3 * hidden)?;
        let part = |net: &mut Network, part: usize| {
            let rows = net.build(|b| b.slice_axis(qkv, 1, part * hidden, (part + 1) * hidden))?;
            net.split_heads(rows, heads)
        };
        let (q, k, v) = (part(net, 0)?, part(net, 1)?, part(net, 2)?);
        let mixed = net.attention(how.clone(), q, k, v, None)?;
        let rows = net.merge_heads(mixed)?;
        let mixed = affine(net, rows, &format!("{name}.attn.c_proj"), hidden)?;
        x = net.plus(x, mixed)?;
        net.enter(format!("{name}.mlp"));
        let normed = net.layer_norm(x, &format!("{name}.ln_2"), eps)?;
        let wide = affine(net, normed, &format!("{name}.mlp.c_fc"), inner)?;
        let wide = net.activate(wide, activation)?;
        let thought = affine(net, wide, &format!("{name}.mlp.c_proj"), hidden)?;
        x = net.plus(x, thought)?;
    }
    net.enter("ln_f");
    let x = net.layer_norm(x, "ln_f", eps)?;
    net.enter("lm_head");
    let logits = net.linear(x, Linear { name: EMBEDDING, out: vocab, bias: false })?;
    net.token_output("logits", logits)
}

/// `x W + b`, with `name.weight` of `[in, out]` and `name.bias` of `[out]`.
fn affine(net: &mut Network, x: NodeId, name: &str, out: usize) -> Built {
    let weight = net.weight(&format!("{name}.weight"), &[net.width(x), out])?;
    let bias = net.weight(&format!("{name}.bias"), &[out])?;
    net.build(|b| {
        let product = b.matmul(x, weight)?;
        b.plus(product, bias)
    })
}
