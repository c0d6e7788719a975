//! The layer kit: what transformer architectures are made of, over [`Network`].
//!
//! Activations are f32 and, between attentions, `[batch * seq, width]`: one row per token.
//! A linear layer's weight is `[out, in]`, as the checkpoints store it; the graph says so by a transpose.

use super::network::{BuildError, Built, Network};
use gable_ir::NodeId;
use gable_ir::ops;
use gable_tensor::{DType, Dim, Tensor};

/// A linear layer: `name.weight` of `[out, in]`, and `name.bias` of `[out]` where there is one.
pub(crate) struct Linear<'n> {
    pub(crate) name: &'n str,
    pub(crate) out: usize,
    pub(crate) bias: bool,
}

/// An activation function of an MLP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    Relu,
    Silu,
    Gelu,
    GeluTanh,
}

/// Activation functions by their names in configurations.
pub(crate) const ACTIVATIONS: &[(&str, Activation)] = &[
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

impl Network<'_> {
    /// A parameter raised to f32.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize]) -> Built {
        let stored = self.parameter(name, shape)?;
        self.build(|b| b.cast(stored, DType::F32))
    }

    /// The width of the rows of `x`: the last size, which is always known.
    pub(crate) fn width(&self, x: NodeId) -> usize {
        let width = self.shape(x).last().and_then(Dim::value).and_then(|width| usize::try_from(width).ok());
        width.expect("rows have a known width")
    }

    /// Rows of the table `name` of `[rows, width]`, chosen by `ids` of `[batch, seq]`: one per token.
    pub(crate) fn embedding(&mut self, ids: NodeId, name: &str, rows: usize, width: usize) -> Built {
        let table = self.parameter(name, &[rows, width])?;
        let tokens = self.batch.clone() * self.seq.clone();
        self.build(|b| {
            let ids = b.reshape(ids, [tokens])?;
            let chosen = b.add(ops::Gather { axis: 0 }, &[table, ids])?;
            b.cast(chosen, DType::F32)
        })
    }

    /// Row `i` of the table `name` of `[rows, width]` for position `i` of each sequence: one per token. Sequences may be as
    /// long as the table.
    pub(crate) fn position_embedding(&mut self, name: &str, rows: usize, width: usize) -> Built {
        self.longest_sequence = Some(rows);
        let table = self.parameter(name, &[rows, width])?;
        let (batch, seq) = (self.batch.clone(), self.seq.clone());
        self.build(|b| {
            let first = b.slice_axis(table, 0, 0i64, seq.clone())?;
            let first = b.cast(first, DType::F32)?;
            let repeated = b.broadcast_to(first, &[batch.clone(), seq.clone(), width.into()])?;
            b.reshape(repeated, [batch * seq, width.into()])
        })
    }

    /// `x W^T + b`.
    pub(crate) fn linear(&mut self, x: NodeId, layer: Linear) -> Built {
        let weight = self.weight(&format!("{}.weight", layer.name), &[layer.out, self.width(x)])?;
        let product = self.build(|b| {
            let columns = b.transpose(weight, &[1, 0])?;
            b.matmul(x, columns)
        })?;
        if !layer.bias {
            return Ok(product);
        }
        let bias = self.weight(&format!("{}.bias", layer.name), &[layer.out])?;
        self.build(|b| b.plus(product, bias))
    }

    /// Sum of two values.
    pub(crate) fn plus(&mut self, a: NodeId, b: NodeId) -> Built {
        self.build(|builder| builder.plus(a, b))
    }

    /// Rows to mean 0 and variance 1, times `name.weight`, plus `name.bias`.
    pub(crate) fn layer_norm(&mut self, x: NodeId, name: &str, eps: f64) -> Built {
        let width = self.width(x);
        let scale = self.weight(&format!("{name}.weight"), &[width])?;
        let bias = self.weight(&format!("{name}.bias"), &[width])?;
        self.build(|b| b.add(ops::LayerNorm { eps }, &[x, scale, bias]))
    }

    /// Rows over their root mean square, times `name.weight`.
    pub(crate) fn rms_norm(&mut self, x: NodeId, name: &str, eps: f64) -> Built {
        let scale = self.weight(&format!("{name}.weight"), &[self.width(x)])?;
        self.build(|b| b.add(ops::RmsNorm { eps }, &[x, scale]))
    }

    /// An activation function.
    pub(crate) fn activate(&mut self, x: NodeId, activation: Activation) -> Built {
        self.build(|b| match activation {
            Activation::Relu => b.relu(x),
            Activation::Silu => b.silu(x),
            Activation::Gelu => b.add(ops::Gelu { tanh: false }, &[x]),
            Activation::GeluTanh => b.add(ops::Gelu { tanh: true }, &[x]),
        })
    }

    /// `c tanh(x / c)`.
    pub(crate) fn soft_cap(&mut self, x: NodeId, c: f64) -> Built {
        self.build(|b| {
            let cap = b.scalar_like(x, c)?;
            let ratio = b.div(x, cap)?;
            let bent = b.tanh(ratio)?;
            b.mul(bent, cap)
        })
    }

    /// `down(activation(gate(x)) * up(x))` with the layers `name.gate_proj`, `name.up_proj` and `name.down_proj`.
    pub(crate) fn gated_mlp(
        &mut self,
        x: NodeId,
        name: &str,
        inner: usize,
        activation: Activation,
        bias: bool,
    ) -> Built {
        let width = self.width(x);
        let gate = self.linear(x, Linear { name: &format!("{name}.gate_proj"), out: inner, bias })?;
        let gate = self.activate(gate, activation)?;
        let up = self.linear(x, Linear { name: &format!("{name}.up_proj"), out: inner, bias })?;
        let gated = self.build(|b| b.mul(gate, up))?;
        self.linear(gated, Linear { name: &format!("{name}.down_proj"), out: width, bias })
    }

    /// `[batch * seq, heads * width]` as `[batch, heads, seq, width]`.
    pub(crate) fn split_heads(&mut self, x: NodeId, heads: usize) -> Built {
        let width = Dim::from(self.width(x) / heads.max(1));
        let shape = [self.batch.clone(), self.seq.clone(), Dim::from(heads), width];
        self.build(|b| {
            let split = b.reshape(x, shape)?;
            b.transpose(split, &[0, 2, 1, 3])
        })
    }

    /// `[batch, heads, seq, width]` as `[batch * seq, heads * width]`.
    pub(crate) fn merge_heads(&mut self, x: NodeId) -> Built {
        let shape = self.shape(x);
        let rows = [self.batch.clone() * self.seq.clone(), shape[1].clone() * shape[3].clone()];
        self.build(|b| {
            let tokens = b.transpose(x, &[0, 2, 1, 3])?;
            b.reshape(tokens, rows)
        })
    }

    /// Attention over `[batch, heads, seq, width]`; see [`ops::Attention`].
    pub(crate) fn attention(
        &mut self,
        how: ops::Attention,
        q: NodeId,
        k: NodeId,
        v: NodeId,
        mask: Option<NodeId>,
    ) -> Built {
        let operands: Vec<NodeId> = [q, k, v].into_iter().chain(mask).collect();
        self.build(|b| b.add(how, &operands))
    }

    /// What is added to attention scores where `mask`, of `[batch, seq]`, is 0: `[batch, 1, 1, seq]`.
    ///
    /// It is the lowest finite f32, as in the reference: a row whose keys are all masked stays finite.
    pub(crate) fn padding_mask(&mut self, mask: NodeId) -> Built {
        let one = Dim::known(1);
        let shape = [self.batch.clone(), one.clone(), one, self.seq.clone()];
        self.build(|b| {
            let zero = b.scalar_like(mask, 0.0)?;
            let visible = b.ne(mask, zero)?;
            let visible = b.reshape(visible, shape)?;
            let (kept, hidden) = (b.scalar(DType::F32, 0.0)?, b.scalar(DType::F32, f64::from(f32::MIN))?);
            b.select(visible, kept, hidden)
        })
    }

    /// Cosines and sines of the positions' angles: two tables of `[seq, 2 * frequencies]`, which hold the angles twice, once
    /// for each half of a head.
    pub(crate) fn rotary_tables(&mut self, frequencies: &[f32]) -> Result<(NodeId, NodeId), BuildError> {
        let n = frequencies.len();
        let (grid, frequencies) = ([self.seq.clone(), Dim::known(1)], Tensor::from_vec([n], frequencies));
        let angles = self.build(|b| {
            let position = b.add(ops::Iota { axis: 0, dtype: DType::F32, shape: grid.to_vec() }, &[])?;
            let frequency = b.constant(frequencies)?;
            let angle = b.mul(position, frequency)?;
            b.concat(&[angle, angle], 1)
        })?;
        Ok((self.build(|b| b.cos(angles))?, self.build(|b| b.sin(angles))?))
    }

    /// Rotary position embedding of `[batch, heads, seq, width]` by halves.
    pub(crate) fn rotate(&mut self, x: NodeId, (cos, sin): (NodeId, NodeId)) -> Built {
        self.build(|b| b.add(ops::Rope { interleaved: false }, &[x, cos, sin]))
    }
}
