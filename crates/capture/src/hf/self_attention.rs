//! Causal self-attention of decoders: projections, rotation, attention and the projection back.

use super::config::{Config, FieldError};
use super::layers::Linear;
use super::network::{Built, Network};
use gable_ir::NodeId;
use gable_ir::ops::Attention;

/// Sizes and variants of a decoder's attention.
#[derive(Clone, Debug)]
pub(crate) struct SelfAttention {
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dim: usize,
    /// Whether `q_proj`, `k_proj` and `v_proj` have a bias.
    pub(crate) qkv_bias: bool,
    /// Whether `o_proj` has a bias.
    pub(crate) out_bias: bool,
    /// Epsilon of the norms of each query's and key's head, where there are such norms.
    pub(crate) head_norm_eps: Option<f64>,
    /// What scores are multiplied by.
    pub(crate) scale: f64,
    /// Bound of the scores by a tanh; 0 for none.
    pub(crate) softcap: f64,
}

impl SelfAttention {
    /// Sizes from the fields that all decoders share. No bias, no norms, scores over the square root of the head's width.
    pub(crate) fn read(config: &Config) -> Result<SelfAttention, FieldError> {
        let (hidden, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
        let key_heads = config.optional_size("num_key_value_heads")?.unwrap_or(heads);
        if heads % key_heads != 0 {
            return Err(
                config.error("num_key_value_heads", format!("a divisor of num_attention_heads, which is {heads}"))
            );
        }
        let head_dim = match config.optional_size("head_dim")? {
            Some(head_dim) => head_dim,
            None if hidden % heads == 0 => hidden / heads,
            None => {
                let expected = format!("a divisor of hidden_size, which is {hidden}, or a head_dim beside it");
                return Err(config.error("num_attention_heads", expected));
            }
        };
        if head_dim % 2 != 0 {
            return Err(config.error("head_dim", format!("even, for rotary embedding, but heads are {head_dim} wide")));
        }
        let scale = 1.0 / (head_dim as f64).sqrt();
        Ok(SelfAttention {
            heads,
            key_heads,
            head_dim,
            qkv_bias: false,
            out_bias: false,
            head_norm_eps: None,
            scale,
            softcap: 0.0,
        })
    }

    /// Attention of `x`, one row per token, with the layers `name.q_proj` and so on. `window` 0 sees the whole past.
    pub(crate) fn build(
        &self,
        net: &mut Network,
        x: NodeId,
        name: &str,
        rotary: (NodeId, NodeId),
        window: usize,
    ) -> Built {
        let width = net.width(x);
        let q = self.heads_of(net, x, &format!("{name}.q_proj"), self.heads)?;
        let k = self.heads_of(net, x, &format!("{name}.k_proj"), self.key_heads)?;
        let v = self.heads_of(net, x, &format!("{name}.v_proj"), self.key_heads)?;
        let (q, k) = match self.head_norm_eps {
            Some(eps) => {
                (net.rms_norm(q, &format!("{name}.q_norm"), eps)?, net.rms_norm(k, &format!("{name}.k_norm"), eps)?)
            }
            None => (q, k),
        };
        let (q, k) = (net.rotate(q, rotary)?, net.rotate(k, rotary)?);
        let how = Attention { scale: self.scale, causal: true, window, softcap: self.softcap };
        let mixed = net.attention(how, q, k, v, None)?;
        let rows = net.merge_heads(mixed)?;
        net.linear(rows, Linear { name: &format!("{name}.o_proj"), out: width, bias: self.out_bias })
    }

    fn heads_of(&self, net: &mut Network, x: NodeId, name: &str, heads: usize) -> Built {
        let rows = net.linear(x, Linear { name, out: heads * self.head_dim, bias: self.qkv_bias })?;
        net.split_heads(rows, heads)
    }
}
