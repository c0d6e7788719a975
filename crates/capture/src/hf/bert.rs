//! BERT encoders: MiniLM and most sentence embedders.
//!
//! Graph: inputs `input_ids` and `attention_mask` i64 `[batch, seq]`, where mask 0 hides a token; output
//! `last_hidden_state` f32 `[batch, seq, hidden_size]`. All tokens are of segment 0, as the reference takes it when no
//! segments are given. The pooler is a head of another task and is left out.

use super::architecture::Architecture;
use super::layers::{ACTIVATIONS, Linear};
use super::network::{BuildError, Built, Network};
use gable_ir::NodeId;
use gable_ir::ops::Attention;

pub(super) const BERT: Architecture = Architecture {
    name: "BertModel",
    model_type: "bert",
    prefix: "bert.",
    unused: &["*.position_ids", "pooler.*"],
    build,
};

fn build(net: &mut Network) -> Result<(), BuildError> {
    let config = net.config;
    config.refuse_unless("position_embedding_type", "absolute")?;
    config.refuse_unless("is_decoder", false)?;
    let (hidden, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    if hidden % heads != 0 {
        return Err(config.error("num_attention_heads", format!("a divisor of hidden_size, which is {hidden}")).into());
    }
    let (mlp, eps) = (config.size("intermediate_size")?, config.number_or("layer_norm_eps", 1e-12)?);
    let activation = config.choice_or("hidden_act", ACTIVATIONS, "gelu")?;
    let how = Attention { scale: 1.0 / ((hidden / heads) as f64).sqrt(), causal: false, window: 0, softcap: 0.0 };

    let ids = net.token_input("input_ids");
    let mask = net.token_input("attention_mask");
    net.enter("embeddings");
    let mask = net.padding_mask(mask)?;
    let mut x = embeddings(net, ids, hidden)?;
    x = net.layer_norm(x, "embeddings.LayerNorm", eps)?;
    for index in 0..config.size("num_hidden_layers")? {
        let name = format!("encoder.layer.{index}");
        net.enter(format!("{name}.attention"));
        let part = |net: &mut Network, part: &str| {
            let rows =
                net.linear(x, Linear { name: &format!("{name}.attention.self.{part}"), out: hidden, bias: true })?;
            net.split_heads(rows, heads)
        };
        let (q, k, v) = (part(net, "query")?, part(net, "key")?, part(net, "value")?);
        let mixed = net.attention(how.clone(), q, k, v, Some(mask))?;
        let rows = net.merge_heads(mixed)?;
        x = back_into(net, x, rows, &format!("{name}.attention.output"), eps)?;
        net.enter(format!("{name}.mlp"));
        let inner = net.linear(x, Linear { name: &format!("{name}.intermediate.dense"), out: mlp, bias: true })?;
        let inner = net.activate(inner, activation)?;
        x = back_into(net, x, inner, &format!("{name}.output"), eps)?;
    }
    net.token_output("last_hidden_state", x)
}

/// Word, segment and position embeddings added up.
fn embeddings(net: &mut Network, ids: NodeId, hidden: usize) -> Built {
    let config = net.config;
    let (vocab, segments) = (config.size("vocab_size")?, config.size("type_vocab_size")?);
    let positions = config.size("max_position_embeddings")?;
    let words = net.embedding(ids, "embeddings.word_embeddings.weight", vocab, hidden)?;
    let segments = net.weight("embeddings.token_type_embeddings.weight", &[segments, hidden])?;
    let sum = net.build(|b| {
        let first = b.slice_axis(segments, 0, 0i64, 1i64)?;
        b.plus(words, first)
    })?;
    let positions = net.position_embedding("embeddings.position_embeddings.weight", positions, hidden)?;
    net.plus(sum, positions)
}

/// `rows` through `name.dense`, added to `x`, normalized by `name.LayerNorm`.
fn back_into(net: &mut Network, x: NodeId, rows: NodeId, name: &str, eps: f64) -> Built {
    let width = net.width(x);
    let rows = net.linear(rows, Linear { name: &format!("{name}.dense"), out: width, bias: true })?;
    let sum = net.plus(rows, x)?;
    net.layer_norm(sum, &format!("{name}.LayerNorm"), eps)
}
