//! Mistral: Llama with a sliding window in every layer.

use super::architecture::Architecture;
use super::decoder::{Decoder, UNUSED};
use super::network::{BuildError, Network};
use super::sliding::Sliding;

pub(super) const MISTRAL: Architecture =
    Architecture { name: "MistralForCausalLM", model_type: "mistral", prefix: "", unused: UNUSED, build };

fn build(net: &mut Network) -> Result<(), BuildError> {
    let decoder = Decoder { sliding: Sliding::all_layers(net.config)?, ..Decoder::read(net.config)? };
    decoder.build(net)
}
