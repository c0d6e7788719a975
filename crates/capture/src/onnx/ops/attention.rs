//! Scaled dot-product attention and rotary position embedding.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, constant, scalar, sizes};
use crate::onnx::ops::index::from_front;
use gable_ir::attr::ReduceKind;
use gable_ir::build::default_acc;
use gable_ir::ops::{Attention, Gather, Iota, Matmul, Pad, Rope, Softmax};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

/// `[batch, tokens, heads * width]` to `[batch, heads, tokens, width]`; four axes stay as they are.
fn split_heads(b: &mut Builder, x: NodeId, heads: Option<usize>, name: &'static str) -> Value {
    let shape = sizes(b, x)?;
    match (&shape[..], heads) {
        (&[_, _, _, _], _) => Ok(x),
        (&[batch, tokens, width], Some(heads)) if heads > 0 && width % heads == 0 => {
            let x = b.reshape(x, [batch, tokens, heads, width / heads])?;
            Ok(b.transpose(x, &[0, 2, 1, 3])?)
        }
        _ => Err(bad_input(name, b.ty(x), "4 axes, or 3 with a number of heads that divides the last")),
    }
}

/// The operands of an attention, and which keys a query may see.
struct Scores {
    q: NodeId,
    k: NodeId,
    v: NodeId,
    /// `[batch, heads, queries, keys]`.
    shape: [usize; 4],
    scale: f64,
    softcap: f64,
    /// Whether query `i` sees keys up to `i + keys - queries` only.
    causal: bool,
    /// Added to the scores.
    bias: Option<NodeId>,
    /// Where it does not hold, a key is not seen.
    visible: Option<NodeId>,
}

pub(crate) fn attention(b: &mut Builder, call: &Call) -> Lowered {
    let heads = |name: &str| -> Result<Option<usize>, NodeError> {
        call.int_opt(name)?.map(|_| call.size(name, 0, 1)).transpose()
    };
    let (q_heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    let merged = b.rank(call.input(0, "Q")?) == 3;
    let q = split_heads(b, call.input(0, "Q")?, q_heads, "Q")?;
    let mut k = split_heads(b, call.input(1, "K")?, kv_heads, "K")?;
    let mut v = split_heads(b, call.input(2, "V")?, kv_heads, "V")?;
    let mut past = 0;
    if let (Some(past_k), Some(past_v)) = (call.optional(4), call.optional(5)) {
        past = sizes(b, past_k)?.get(2).copied().unwrap_or(0);
        k = b.concat(&[past_k, k], 2)?;
        v = b.concat(&[past_v, v], 2)?;
    }
    let (q_shape, k_shape) = (sizes(b, q)?, sizes(b, k)?);
    let shape = [q_shape[0], q_shape[1], q_shape[2], k_shape[2]];
    let scale = call.float("scale", 1.0 / (q_shape[3] as f64).sqrt())?;
    let mut scores = Scores {
        q,
        k,
        v,
        shape,
        scale,
        softcap: call.float("softcap", 0.0)?,
        causal: false,
        bias: None,
        visible: None,
    };
    if let Some(mask) = call.optional(3) {
        let mask = full_width_mask(b, mask, shape[3])?;
        match b.dtype(mask) {
            DType::Bool => scores.visible = Some(mask),
            _ => scores.bias = Some(mask),
        }
    }
    scores.restrict(b, call, past)?;
    let wants_scores = call.wants(3);
    let (y, exposed) = if wants_scores {
        scores.spelled_out(b, call.int("qk_matmul_output_mode", 0)?)?
    } else {
        (scores.fused(b)?, None)
    };
    let y = scores.without_blind_rows(b, y)?;
    let y = if merged {
        let width = sizes(b, y)?[3];
        let y = b.transpose(y, &[0, 2, 1, 3])?;
        b.reshape(y, [shape[0], shape[2], shape[1] * width])?
    } else {
        y
    };
    Ok([y, k, v].into_iter().chain(exposed).collect())
}

/// A mask over fewer keys than there are hides the others.
fn full_width_mask(b: &mut Builder, mask: NodeId, keys: usize) -> Value {
    let shape = sizes(b, mask)?;
    let Some(&width) = shape.last().filter(|&&width| width <= keys) else {
        return Err(bad_input("attn_mask", b.ty(mask), format!("at most {keys} keys")));
    };
    if width == keys {
        return Ok(mask);
    }
    let hidden = match b.dtype(mask) {
        DType::Bool => b.scalar(DType::Bool, false)?,
        _ => scalar(b, mask, f64::NEG_INFINITY)?,
    };
    let mut high = vec![0; shape.len()];
    high[shape.len() - 1] = (keys - width) as i64;
    Ok(b.add(Pad { low: vec![0; shape.len()], high, interior: vec![0; shape.len()] }, &[mask, hidden])?)
}

impl Scores {
    /// Causality, windows, and the valid length of each sample's keys.
    fn restrict(&mut self, b: &mut Builder, call: &Call, past: usize) -> Result<(), NodeError> {
        let [batch, _, queries, keys] = self.shape;
        let causal = call.flag("is_causal", false)?;
        let window =
            |name: &str| -> Result<Option<i64>, NodeError> { Ok(Some(call.int(name, -1)?).filter(|&size| size >= 0)) };
        let (left, right) = (window("left_window_size")?, window("right_window_size")?);
        let lengths = match call.optional(6) {
            Some(lengths) => {
                let lengths = b.cast(lengths, DType::I64)?;
                Some(b.reshape(lengths, [batch, 1, 1, 1])?)
            }
            None => None,
        };
        // The op's own causality ends at the last key; a plain square and a cache of `past` keys both do.
        self.causal = causal && lengths.is_none() && past + queries == keys;
        let spells_causality = causal && !self.causal;
        if !spells_causality && left.is_none() && right.is_none() && lengths.is_none() {
            return Ok(());
        }
        let grid: Vec<Dim> = [1, 1, queries, keys].into_iter().map(Dim::from).collect();
        let row = b.add(Iota { axis: 2, dtype: DType::I64, shape: grid.clone() }, &[])?;
        let column = b.add(Iota { axis: 3, dtype: DType::I64, shape: grid }, &[])?;
        // How many keys come before the first query.
        let before = match lengths {
            Some(lengths) => {
                let queries = b.scalar(DType::I64, queries as i64)?;
                b.sub(lengths, queries)?
            }
            None => b.scalar(DType::I64, past as i64)?,
        };
        let position = b.plus(row, before)?;
        if spells_causality {
            let seen = b.le(column, position)?;
            self.and(b, seen)?;
        }
        if let Some(left) = left {
            let left = b.scalar(DType::I64, left)?;
            let first = b.sub(position, left)?;
            let seen = b.ge(column, first)?;
            self.and(b, seen)?;
        }
        if let Some(right) = right {
            let right = b.scalar(DType::I64, right)?;
            let last = b.plus(position, right)?;
            let seen = b.le(column, last)?;
            self.and(b, seen)?;
        }
        if let Some(lengths) = lengths {
            let seen = b.lt(column, lengths)?;
            self.and(b, seen)?;
        }
        Ok(())
    }

    fn and(&mut self, b: &mut Builder, seen: NodeId) -> Result<(), NodeError> {
        self.visible = Some(match self.visible {
            Some(visible) => b.and(visible, seen)?,
            None => seen,
        });
        Ok(())
    }

    /// One mask for the op: truth values alone stay so, else minus infinity is added where a key is not seen.
    fn mask(&self, b: &mut Builder) -> Result<Option<NodeId>, NodeError> {
        match (self.bias, self.visible) {
            (None, visible) => Ok(visible),
            (Some(bias), None) => Ok(Some(bias)),
            (Some(bias), Some(visible)) => {
                let hidden = scalar(b, bias, f64::NEG_INFINITY)?;
                Ok(Some(b.select(visible, bias, hidden)?))
            }
        }
    }

    fn fused(&self, b: &mut Builder) -> Value {
        let mask = self.mask(b)?;
        let op = Attention { scale: self.scale, causal: self.causal, window: 0, softcap: self.softcap };
        let operands: Vec<NodeId> = [self.q, self.k, self.v].into_iter().chain(mask).collect();
        Ok(b.add(op, &operands)?)
    }

    /// A query that sees no key gives zeros, where a softmax would divide zero by zero.
    fn without_blind_rows(&self, b: &mut Builder, y: NodeId) -> Value {
        let Some(mask) = self.mask(b)? else { return Ok(y) };
        let truth = match b.dtype(mask) {
            DType::Bool => mask,
            _ => {
                let lowest = scalar(b, mask, f64::NEG_INFINITY)?;
                b.gt(mask, lowest)?
            }
        };
        let truth = if self.causal {
            let [_, _, queries, keys] = self.shape;
            let grid: Vec<Dim> = [queries, keys].into_iter().map(Dim::from).collect();
            let row = b.add(Iota { axis: 0, dtype: DType::I64, shape: grid.clone() }, &[])?;
            let column = b.add(Iota { axis: 1, dtype: DType::I64, shape: grid }, &[])?;
            let past = b.scalar(DType::I64, (keys - queries) as i64)?;
            let position = b.plus(row, past)?;
            let seen = b.le(column, position)?;
            b.and(truth, seen)?
        } else {
            truth
        };
        let axis = b.rank(truth) - 1;
        let sees = b.reduce(ReduceKind::Max, truth, &[axis], true)?;
        if constant(b, sees).is_some_and(|all| all.scalars().all(|v| v.as_bool())) {
            return Ok(y);
        }
        let zero = scalar(b, y, 0.0)?;
        Ok(b.select(sees, y, zero)?)
    }

    /// The same in single ops, for nodes that also give the scores: as they are (0), after the soft cap (1), after the
    /// masks (2), or after the softmax (3).
    fn spelled_out(&self, b: &mut Builder, mode: i64) -> Result<(NodeId, Option<NodeId>), NodeError> {
        let [batch, heads, queries, keys] = self.shape;
        let dtype = b.dtype(self.q);
        let wide = default_acc(dtype);
        let repeated = |b: &mut Builder, x: NodeId| -> Value {
            let &[_, kv_heads, tokens, width] = &sizes(b, x)?[..] else {
                return Err(bad_input("K", b.ty(x), "4 axes"));
            };
            if kv_heads == heads {
                return Ok(x);
            }
            if kv_heads == 0 || heads % kv_heads != 0 {
                return Err(bad_input("K", b.ty(x), format!("a number of heads that divides {heads}")));
            }
            let group = heads / kv_heads;
            let x = b.reshape(x, [batch, kv_heads, 1, tokens, width])?;
            let full: Vec<Dim> = [batch, kv_heads, group, tokens, width].into_iter().map(Dim::from).collect();
            let x = b.broadcast_to(x, &full)?;
            Ok(b.reshape(x, [batch, heads, tokens, width])?)
        };
        let (k, v) = (repeated(b, self.k)?, repeated(b, self.v)?);
        let columns = b.transpose(k, &[0, 1, 3, 2])?;
        let product = b.add(Matmul { acc: wide, out: wide }, &[self.q, columns])?;
        let scale = scalar(b, product, self.scale)?;
        let raw = b.mul(product, scale)?;
        let capped = if self.softcap > 0.0 {
            let cap = scalar(b, raw, self.softcap)?;
            let ratio = b.div(raw, cap)?;
            let bent = b.tanh(ratio)?;
            b.mul(bent, cap)?
        } else {
            raw
        };
        let hidden = scalar(b, raw, f64::NEG_INFINITY)?;
        let mut masked = capped;
        if let Some(bias) = self.bias {
            let bias = b.cast(bias, wide)?;
            masked = b.plus(masked, bias)?;
        }
        if let Some(visible) = self.visible {
            masked = b.select(visible, masked, hidden)?;
        }
        if self.causal {
            let grid: Vec<Dim> = [queries, keys].into_iter().map(Dim::from).collect();
            let row = b.add(Iota { axis: 0, dtype: DType::I64, shape: grid.clone() }, &[])?;
            let column = b.add(Iota { axis: 1, dtype: DType::I64, shape: grid }, &[])?;
            let past = b.scalar(DType::I64, (keys - queries) as i64)?;
            let position = b.plus(row, past)?;
            let seen = b.le(column, position)?;
            masked = b.select(seen, masked, hidden)?;
        }
        let weights = b.add(Softmax { axis: 3 }, &[masked])?;
        let weights = self.without_blind_rows(b, weights)?;
        let exposed = match mode {
            0 => raw,
            1 => capped,
            2 => masked,
            3 => weights,
            other => return Err(bad_attr("qk_matmul_output_mode", other, "0 to 3")),
        };
        let exposed = b.cast(exposed, dtype)?;
        let weights = b.cast(weights, dtype)?;
        Ok((b.add(Matmul { acc: wide, out: dtype }, &[weights, v])?, Some(exposed)))
    }
}

/// Rotates pairs of the last axis by angles whose cosines and sines are given for half of it.
pub(crate) fn rotary_embedding(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let merged = b.rank(x) == 3;
    let n_heads = call.size("num_heads", 0, 0)?;
    let rows = split_heads(b, x, Some(n_heads), "X")?;
    let shape = sizes(b, rows)?;
    let [batch, _, tokens, width] = shape[..] else { return Err(bad_input("X", b.ty(x), "3 or 4 axes")) };
    let rotated_width = match call.size("rotary_embedding_dim", 0, 0)? {
        0 => width,
        n if n <= width && n % 2 == 0 => n,
        n => return Err(bad_attr("rotary_embedding_dim", n, format!("an even number up to {width}"))),
    };
    let interleaved = call.flag("interleaved", false)?;
    let angle = |b: &mut Builder, index: usize, name: &'static str| -> Value {
        let cache = call.input(index, name)?;
        let per_token = match call.optional(3) {
            Some(positions) => {
                let longest = sizes(b, cache)?.first().copied().unwrap_or(0);
                let positions = from_front(b, positions, longest)?;
                b.add(Gather { axis: 0 }, &[cache, positions])?
            }
            None => cache,
        };
        let half = rotated_width / 2;
        if sizes(b, per_token)? != [batch, tokens, half] {
            return Err(bad_input(
                name,
                b.ty(per_token),
                format!("[{batch}, {tokens}, {half}] once positions are looked up"),
            ));
        }
        // One angle for both elements of a pair: neighbours, or half the width apart.
        let wide = if interleaved {
            let pairs = b.reshape(per_token, [batch, tokens, half, 1])?;
            let both: Vec<Dim> = [batch, tokens, half, 2].into_iter().map(Dim::from).collect();
            let pairs = b.broadcast_to(pairs, &both)?;
            b.reshape(pairs, [batch, 1, tokens, rotated_width])?
        } else {
            let twice = b.concat(&[per_token, per_token], 2)?;
            b.reshape(twice, [batch, 1, tokens, rotated_width])?
        };
        Ok(wide)
    };
    let (cos, sin) = (angle(b, 1, "cos_cache")?, angle(b, 2, "sin_cache")?);
    let turned_part = b.slice_axis(rows, 3, 0usize, rotated_width)?;
    let turned = b.add(Rope { interleaved }, &[turned_part, cos, sin])?;
    let all = if rotated_width == width {
        turned
    } else {
        let rest = b.slice_axis(rows, 3, rotated_width, width)?;
        b.concat(&[turned, rest], 3)?
    };
    if !merged {
        return Ok(vec![all]);
    }
    let all = b.transpose(all, &[0, 2, 1, 3])?;
    let original = b.shape(x);
    Ok(vec![b.reshape(all, original)?])
}
