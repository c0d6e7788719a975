//! Gemma 2: a decoder with a norm before and after each part, capped scores and logits, and windows in even layers.
//!
//! Its norms multiply by `1 + weight`, and its embedding is multiplied by the square root of the width.

use super::architecture::Architecture;
use super::decoder::UNUSED;
use super::layers::{ACTIVATIONS, Linear};
use super::network::{BuildError, Built, Network};
use super::rope::Rope;
use super::self_attention::SelfAttention;
use super::sliding::Sliding;
use gable_ir::NodeId;
use gable_ir::ops::RmsNorm;

pub(super) const GEMMA2: Architecture =
    Architecture { name: "Gemma2ForCausalLM", model_type: "gemma2", prefix: "", unused: UNUSED, build };

fn build(net: &mut Network) -> Result<(), BuildError> {
    const EMBEDDING: &str = "model.embed_tokens";
    let config = net.config;
    config.refuse_unless("tie_word_embeddings", true)?;
    let (vocab, hidden) = (config.size("vocab_size")?, config.size("hidden_size")?);
    let (mlp, eps) = (config.size("intermediate_size")?, config.number_or("rms_norm_eps", 1e-6)?);
    let activation = config.choice_or("hidden_activation", ACTIVATIONS, "gelu_pytorch_tanh")?;
    let (sliding, rope) = (Sliding::even_layers(config)?, Rope::read(config)?);
    let mut attention = SelfAttention::read(config)?;
    attention.scale = 1.0 / config.number("query_pre_attn_scalar")?.sqrt();
    attention.softcap = config.optional_number("attn_logit_softcapping")?.unwrap_or(0.0);
    let bias = config.flag_or("attention_bias", false)?;
    (attention.qkv_bias, attention.out_bias) = (bias, bias);

    let ids = net.token_input("input_ids");
    net.enter(EMBEDDING);
    let embedded = net.embedding(ids, &format!("{EMBEDDING}.weight"), vocab, hidden)?;
    let mut x = net.build(|b| {
        let scale = b.scalar_like(embedded, (hidden as f64).sqrt())?;
        b.mul(embedded, scale)
    })?;
    net.enter("rotary_tables");
    let rotary = net.rotary_tables(&rope.frequencies(attention.head_dim))?;
    for index in 0..config.size("num_hidden_layers")? {
        let name = format!("model.layers.{index}");
        net.enter(format!("{name}.self_attn"));
        let normed = norm(net, x, &format!("{name}.input_layernorm"), eps)?;
        let mixed = attention.build(net, normed, &format!("{name}.self_attn"), rotary, sliding.window(index))?;
        let mixed = norm(net, mixed, &format!("{name}.post_attention_layernorm"), eps)?;
        x = net.plus(x, mixed)?;
        net.enter(format!("{name}.mlp"));
        let normed = norm(net, x, &format!("{name}.pre_feedforward_layernorm"), eps)?;
        let thought = net.gated_mlp(normed, &format!("{name}.mlp"), mlp, activation, false)?;
        let thought = norm(net, thought, &format!("{name}.post_feedforward_layernorm"), eps)?;
        x = net.plus(x, thought)?;
    }
    net.enter("model.norm");
    x = norm(net, x, "model.norm", eps)?;
    net.enter("lm_head");
    let mut logits = net.linear(x, Linear { name: EMBEDDING, out: vocab, bias: false })?;
    if let Some(cap) = config.optional_number("final_logit_softcapping")? {
        logits = net.soft_cap(logits, cap)?;
    }
    net.token_output("logits", logits)
}

/// Rows over their root mean square, times one more than `name.weight`.
fn norm(net: &mut Network, x: NodeId, name: &str, eps: f64) -> Built {
    let weight = net.weight(&format!("{name}.weight"), &[net.width(x)])?;
    net.build(|b| {
        let one = b.scalar_like(weight, 1.0)?;
        let scale = b.plus(weight, one)?;
        b.add(RmsNorm { eps }, &[x, scale])
    })
}
