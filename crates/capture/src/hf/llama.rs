//! Llama: the plain decoder, with biases where the configuration asks for them.

use super::architecture::Architecture;
use super::decoder::{Decoder, UNUSED};
use super::network::{BuildError, Network};

pub(super) const LLAMA: Architecture =
    Architecture { name: "LlamaForCausalLM", model_type: "llama", prefix: "", unused: UNUSED, build };

fn build(net: &mut Network) -> Result<(), BuildError> {
    let config = net.config;
    config.refuse("sliding_window")?;
    let mut decoder = Decoder::read(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    decoder.attention.qkv_bias = bias;
    decoder.attention.out_bias = bias;
    decoder.mlp_bias = config.flag_or("mlp_bias", false)?;
    decoder.build(net)
}
