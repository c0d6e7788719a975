//! The pre-norm decoder that Llama, Mistral and Qwen share: RMS norm, rotary attention, gated MLP.
//!
//! Graph: input `input_ids` i64 `[batch, seq]`; output `logits` f32 `[batch, seq, vocab_size]`, for every position of the
//! prompt. Tensors are named `model.embed_tokens`, `model.layers.N.{input_layernorm, self_attn.*,
//! post_attention_layernorm, mlp.*}`, `model.norm` and, unless the embedding serves for both, `lm_head`.

use super::config::{Config, FieldError};
use super::layers::{ACTIVATIONS, Activation, Linear};
use super::network::{BuildError, Network};
use super::rope::Rope;
use super::self_attention::SelfAttention;
use super::sliding::Sliding;
use gable_ir::NodeId;

/// Names of a decoder's file that have no use here: tables that older versions saved, and a copy of the embedding that
/// some files hold although it serves as the head.
pub(super) const UNUSED: &[&str] = &["*.rotary_emb.inv_freq", "lm_head.weight"];

/// What tells one such decoder from another.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) mlp: usize,
    pub(crate) mlp_bias: bool,
    pub(crate) activation: Activation,
    pub(crate) norm_eps: f64,
    pub(crate) attention: SelfAttention,
    pub(crate) sliding: Sliding,
    pub(crate) rope: Rope,
    /// Whether the embedding's table is also the head's.
    pub(crate) tied: bool,
}

impl Decoder {
    /// The fields that all of them share; no biases and no windows.
    pub(crate) fn read(config: &Config) -> Result<Decoder, FieldError> {
        Ok(Decoder {
            vocab: config.size("vocab_size")?,
            hidden: config.size("hidden_size")?,
            layers: config.size("num_hidden_layers")?,
            mlp: config.size("intermediate_size")?,
            mlp_bias: false,
            activation: config.choice_or("hidden_act", ACTIVATIONS, "silu")?,
            norm_eps: config.number_or("rms_norm_eps", 1e-6)?,
            attention: SelfAttention::read(config)?,
            sliding: Sliding::NONE,
            rope: Rope::read(config)?,
            tied: config.flag_or("tie_word_embeddings", false)?,
        })
    }

    /// Adds the whole decoder.
    pub(crate) fn build(&self, net: &mut Network) -> Result<(), BuildError> {
        const EMBEDDING: &str = "model.embed_tokens";
        let ids = net.token_input("input_ids");
        net.enter(EMBEDDING);
        let mut x = net.embedding(ids, &format!("{EMBEDDING}.weight"), self.vocab, self.hidden)?;
        net.enter("rotary_tables");
        let rotary = net.rotary_tables(&self.rope.frequencies(self.attention.head_dim))?;
        for index in 0..self.layers {
            x = self.layer(net, x, index, rotary)?;
        }
        net.enter("model.norm");
        let x = net.rms_norm(x, "model.norm", self.norm_eps)?;
        net.enter("lm_head");
        let head = if self.tied { EMBEDDING } else { "lm_head" };
        let logits = net.linear(x, Linear { name: head, out: self.vocab, bias: false })?;
        net.token_output("logits", logits)
    }

    fn layer(
        &self,
        net: &mut Network,
        x: NodeId,
        index: usize,
        rotary: (NodeId, NodeId),
    ) -> Result<NodeId, BuildError> {
        let name = format!("model.layers.{index}");
        net.enter(format!("{name}.self_attn"));
        let normed = net.rms_norm(x, &format!("{name}.input_layernorm"), self.norm_eps)?;
        let window = self.sliding.window(index);
        let mixed = self.attention.build(net, normed, &format!("{name}.self_attn"), rotary, window)?;
        let x = net.plus(x, mixed)?;
        net.enter(format!("{name}.mlp"));
        let normed = net.rms_norm(x, &format!("{name}.post_attention_layernorm"), self.norm_eps)?;
        let thought = net.gated_mlp(normed, &format!("{name}.mlp"), self.mlp, self.activation, self.mlp_bias)?;
        net.plus(x, thought)
    }
}
