//! Qwen 2 (biased queries, keys and values) and Qwen 3 (normalized queries and keys), with windows in late layers.

use super::architecture::Architecture;
use super::decoder::{Decoder, UNUSED};
use super::network::{BuildError, Network};
use super::sliding::Sliding;

pub(super) const QWEN2: Architecture =
    Architecture { name: "Qwen2ForCausalLM", model_type: "qwen2", prefix: "", unused: UNUSED, build: qwen2 };

pub(super) const QWEN3: Architecture =
    Architecture { name: "Qwen3ForCausalLM", model_type: "qwen3", prefix: "", unused: UNUSED, build: qwen3 };

fn qwen2(net: &mut Network) -> Result<(), BuildError> {
    let mut decoder = Decoder { sliding: Sliding::late_layers(net.config)?, ..Decoder::read(net.config)? };
    decoder.attention.qkv_bias = true;
    decoder.build(net)
}

fn qwen3(net: &mut Network) -> Result<(), BuildError> {
    let mut decoder = Decoder { sliding: Sliding::late_layers(net.config)?, ..Decoder::read(net.config)? };
    let bias = net.config.flag_or("attention_bias", false)?;
    decoder.attention.qkv_bias = bias;
    decoder.attention.out_bias = bias;
    decoder.attention.head_norm_eps = Some(decoder.norm_eps);
    decoder.build(net)
}
