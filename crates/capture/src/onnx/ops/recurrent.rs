//! Recurrent layers, unrolled over time: RNN, GRU and LSTM in both directions.
//!
//! The products with the inputs are one matrix product for all steps; each step adds the product with its state.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, scalar, sizes};
use crate::onnx::ops::linear::product;
use gable_ir::ops::{GatherElements, Iota};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

/// The most steps that a layer is unrolled to.
const MAX_STEPS: usize = 4096;

/// A kind of cell.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cell {
    /// One gate.
    Rnn,
    /// Update, reset and hidden gate.
    Gru,
    /// Input, output, forget and cell gate.
    Lstm,
}

impl Cell {
    fn n_gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }

    fn default_activations(self) -> &'static [&'static str] {
        match self {
            Cell::Rnn => &["Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// An activation with its parameters.
#[derive(Clone)]
struct Activation {
    name: String,
    alpha: Option<f64>,
    beta: Option<f64>,
}

impl Activation {
    fn apply(&self, b: &mut Builder, x: NodeId) -> Value {
        let alpha = |default: f64| self.alpha.unwrap_or(default);
        let beta = |default: f64| self.beta.unwrap_or(default);
        Ok(match self.name.to_lowercase().as_str() {
            "sigmoid" => b.sigmoid(x)?,
            "tanh" => b.tanh(x)?,
            "relu" => b.relu(x)?,
            "softplus" => crate::onnx::ops::elementwise::softplus_of(b, x)?,
            "leakyrelu" => {
                let (slope, zero) = (scalar(b, x, alpha(0.01))?, scalar(b, x, 0.0)?);
                let low = b.mul(x, slope)?;
                let positive = b.gt(x, zero)?;
                b.select(positive, x, low)?
            }
            "affine" => {
                let (alpha, beta) = (scalar(b, x, alpha(1.0))?, scalar(b, x, beta(0.0))?);
                let scaled = b.mul(x, alpha)?;
                b.plus(scaled, beta)?
            }
            "scaledtanh" => {
                let (alpha, beta) = (scalar(b, x, alpha(1.0))?, scalar(b, x, beta(1.0))?);
                let inner = b.mul(x, beta)?;
                let bent = b.tanh(inner)?;
                b.mul(bent, alpha)?
            }
            "hardsigmoid" => {
                let (alpha, beta) = (scalar(b, x, alpha(0.2))?, scalar(b, x, beta(0.5))?);
                let (zero, one) = (scalar(b, x, 0.0)?, scalar(b, x, 1.0)?);
                let scaled = b.mul(x, alpha)?;
                let line = b.plus(scaled, beta)?;
                let held = b.min(line, one)?;
                b.max(held, zero)?
            }
            _ => return Err(NodeError::Unsupported(format!("activation `{}`", self.name))),
        })
    }
}

/// One direction's parameters and state.
struct Direction {
    backwards: bool,
    /// Input weights, `[gates * hidden, input]`.
    w: NodeId,
    /// State weights, `[gates * hidden, hidden]`.
    r: NodeId,
    /// Biases of the input and of the state product, `[gates * hidden]` each.
    bias: Option<(NodeId, NodeId)>,
    /// Peephole weights for the input, output and forget gate, `[hidden]` each.
    peepholes: Option<[NodeId; 3]>,
    h: NodeId,
    c: Option<NodeId>,
    activations: Vec<Activation>,
}

/// Sizes and switches of a layer.
struct Layer {
    cell: Cell,
    steps: usize,
    batch: usize,
    hidden: usize,
    clip: Option<f64>,
    linear_before_reset: bool,
    couples_forget_to_input: bool,
}

pub(crate) fn layer(b: &mut Builder, call: &Call, cell: Cell) -> Lowered {
    let batch_first = call.flag("layout", false)?;
    let mut x = call.input(0, "X")?;
    if b.rank(x) != 3 {
        return Err(bad_input("X", b.ty(x), "[steps, batch, input]"));
    }
    if batch_first {
        x = b.transpose(x, &[1, 0, 2])?;
    }
    let shape = sizes(b, x)?;
    let r_shape = sizes(b, call.input(2, "R")?)?;
    let n_directions = match call.text("direction", "forward")?.as_str() {
        "forward" | "reverse" => 1,
        "bidirectional" => 2,
        other => return Err(bad_attr("direction", format!("`{other}`"), "forward, reverse or bidirectional")),
    };
    let hidden = r_shape.last().copied().unwrap_or(0);
    if r_shape != [n_directions, cell.n_gates() * hidden, hidden] {
        let expected = format!("[{n_directions}, {} * hidden, hidden]", cell.n_gates());
        return Err(bad_input("R", format!("{r_shape:?}"), expected));
    }
    if shape[0] > MAX_STEPS {
        return Err(NodeError::Unsupported(format!("a recurrent layer of {} steps (at most {MAX_STEPS})", shape[0])));
    }
    let layer = Layer {
        cell,
        steps: shape[0],
        batch: shape[1],
        hidden,
        clip: call.float_opt("clip")?,
        linear_before_reset: call.flag("linear_before_reset", false)?,
        couples_forget_to_input: call.flag("input_forget", false)?,
    };
    let lengths = call.optional(4);
    let (mut all, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..n_directions {
        let direction = layer.direction(b, call, index, batch_first)?;
        let (outputs, h, c) = layer.run(b, x, direction, lengths)?;
        all.push(outputs);
        last_h.push(h);
        last_c.extend(c);
    }
    // [steps, directions, batch, hidden] and [directions, batch, hidden], or both with the batch first.
    let [steps, batch] = [layer.steps, layer.batch];
    let mut y = Vec::new();
    for outputs in all {
        y.push(b.reshape(outputs, [steps, 1, batch, hidden])?);
    }
    let y = b.concat(&y, 1)?;
    let y = if batch_first { b.transpose(y, &[2, 0, 1, 3])? } else { y };
    let mut results = vec![y];
    for states in [last_h, last_c] {
        if states.is_empty() {
            continue;
        }
        let mut rows = Vec::new();
        for state in states {
            rows.push(b.reshape(state, [1, batch, hidden])?);
        }
        let state = b.concat(&rows, 0)?;
        results.push(if batch_first { b.transpose(state, &[1, 0, 2])? } else { state });
    }
    Ok(results)
}

impl Layer {
    fn direction(&self, b: &mut Builder, call: &Call, index: usize, batch_first: bool) -> Result<Direction, NodeError> {
        let one = |b: &mut Builder, id: NodeId| -> Value {
            let slice = b.slice_axis(id, 0, index, index + 1)?;
            let mut shape = b.shape(slice);
            shape.remove(0);
            Ok(b.reshape(slice, shape)?)
        };
        let (w, r) = (one(b, call.input(1, "W")?)?, one(b, call.input(2, "R")?)?);
        let width = self.cell.n_gates() * self.hidden;
        let bias = match call.optional(3) {
            Some(id) => {
                let both = one(b, id)?;
                Some((b.slice_axis(both, 0, 0usize, width)?, b.slice_axis(both, 0, width, 2 * width)?))
            }
            None => None,
        };
        let state = |b: &mut Builder, position: usize| -> Value {
            match call.optional(position) {
                Some(id) => {
                    let id = if batch_first { b.transpose(id, &[1, 0, 2])? } else { id };
                    one(b, id)
                }
                None => {
                    let zero = scalar(b, w, 0.0)?;
                    Ok(b.broadcast_to(zero, &[self.batch.into(), self.hidden.into()])?)
                }
            }
        };
        let h = state(b, 5)?;
        let c = if self.cell == Cell::Lstm { Some(state(b, 6)?) } else { None };
        let peepholes = match call.optional(7).filter(|_| self.cell == Cell::Lstm) {
            Some(id) => {
                let all = one(b, id)?;
                let n = self.hidden;
                let mut part = |i: usize| b.slice_axis(all, 0, i * n, (i + 1) * n);
                Some([part(0)?, part(1)?, part(2)?])
            }
            None => None,
        };
        let backwards = index == 1 || call.text("direction", "forward")? == "reverse";
        let activations = self.activations(call, index)?;
        Ok(Direction { backwards, w, r, bias, peepholes, h, c, activations })
    }

    /// The activations of one direction; parameters are listed in order of the activations that take them.
    fn activations(&self, call: &Call, index: usize) -> Result<Vec<Activation>, NodeError> {
        let defaults = self.cell.default_activations();
        let names = call.texts("activations")?.filter(|names| !names.is_empty());
        let names = names.unwrap_or_else(|| defaults.repeat(index + 1).into_iter().map(String::from).collect());
        let (alphas, betas) =
            (call.floats("activation_alpha")?.unwrap_or_default(), call.floats("activation_beta")?.unwrap_or_default());
        let (mut next_alpha, mut next_beta) = (alphas.into_iter(), betas.into_iter());
        let mut activations = Vec::new();
        for name in names {
            let takes_alpha =
                ["leakyrelu", "affine", "scaledtanh", "hardsigmoid"].contains(&name.to_lowercase().as_str());
            let takes_beta = ["affine", "scaledtanh", "hardsigmoid"].contains(&name.to_lowercase().as_str());
            let alpha = if takes_alpha { next_alpha.next() } else { None };
            let beta = if takes_beta { next_beta.next() } else { None };
            activations.push(Activation { name, alpha, beta });
        }
        let n = defaults.len();
        let own = activations.get(index * n..(index + 1) * n);
        own.map(<[Activation]>::to_vec)
            .ok_or_else(|| bad_attr("activations", activations.len(), format!("{n} per direction")))
    }

    /// All outputs, `[steps, batch, hidden]`, and the last state.
    fn run(
        &self,
        b: &mut Builder,
        x: NodeId,
        mut direction: Direction,
        lengths: Option<NodeId>,
    ) -> Result<(NodeId, NodeId, Option<NodeId>), NodeError> {
        let x = if direction.backwards { self.reversed(b, x, lengths)? } else { x };
        let w = b.transpose(direction.w, &[1, 0])?;
        let dtype = b.dtype(x);
        let mut gates = product(b, x, w, dtype)?;
        if let Some((input_bias, _)) = direction.bias {
            gates = b.plus(gates, input_bias)?;
        }
        direction.r = b.transpose(direction.r, &[1, 0])?;
        let width = self.cell.n_gates() * self.hidden;
        let mut outputs = Vec::new();
        for step in 0..self.steps {
            let gate = b.slice_axis(gates, 0, step, step + 1)?;
            let gate = b.reshape(gate, [self.batch, width])?;
            let (mut h, mut c) = match self.cell {
                Cell::Rnn => (self.rnn(b, &direction, gate)?, None),
                Cell::Gru => (self.gru(b, &direction, gate)?, None),
                Cell::Lstm => self.lstm(b, &direction, gate)?,
            };
            let mut output = h;
            if let Some(lengths) = lengths {
                // A sequence that has ended keeps its state and gives zeros.
                let lengths = b.reshape(lengths, [self.batch, 1])?;
                let step = b.scalar(b.dtype(lengths), step as i64)?;
                let running = b.gt(lengths, step)?;
                let zero = scalar(b, h, 0.0)?;
                output = b.select(running, h, zero)?;
                h = b.select(running, h, direction.h)?;
                if let (Some(new), Some(old)) = (c, direction.c) {
                    c = Some(b.select(running, new, old)?);
                }
            }
            (direction.h, direction.c) = (h, c);
            outputs.push(b.reshape(output, [1, self.batch, self.hidden])?);
        }
        let all = match outputs.is_empty() {
            true => {
                let zero = scalar(b, x, 0.0)?;
                b.broadcast_to(zero, &[0usize.into(), self.batch.into(), self.hidden.into()])?
            }
            false => b.concat(&outputs, 0)?,
        };
        let all = if direction.backwards { self.reversed(b, all, lengths)? } else { all };
        Ok((all, direction.h, direction.c))
    }

    /// `[steps, batch, ...]` with each sequence reversed within its own length.
    fn reversed(&self, b: &mut Builder, x: NodeId, lengths: Option<NodeId>) -> Value {
        let shape = b.shape(x);
        let lengths = match lengths {
            Some(lengths) => lengths,
            None => {
                let steps = b.scalar(DType::I64, self.steps as i64)?;
                b.broadcast_to(steps, &[self.batch.into()])?
            }
        };
        let positions = reversal_positions(b, lengths, &shape, 0, 1)?;
        Ok(b.add(GatherElements { axis: 0 }, &[x, positions])?)
    }

    fn clipped(&self, b: &mut Builder, x: NodeId) -> Value {
        let Some(clip) = self.clip else { return Ok(x) };
        let (low, high) = (scalar(b, x, -clip)?, scalar(b, x, clip)?);
        let held = b.max(x, low)?;
        Ok(b.min(held, high)?)
    }

    fn activated(&self, b: &mut Builder, direction: &Direction, which: usize, x: NodeId) -> Value {
        let x = self.clipped(b, x)?;
        direction.activations[which].apply(b, x)
    }

    /// Columns of gate `index`.
    fn gate(&self, b: &mut Builder, gates: NodeId, index: usize) -> Value {
        let axis = b.rank(gates) - 1;
        Ok(b.slice_axis(gates, axis, index * self.hidden, (index + 1) * self.hidden)?)
    }

    /// The product of a state with the state weights, plus their bias.
    fn state_gates(&self, b: &mut Builder, direction: &Direction) -> Value {
        let gates = b.matmul(direction.h, direction.r)?;
        match direction.bias {
            Some((_, state_bias)) => Ok(b.plus(gates, state_bias)?),
            None => Ok(gates),
        }
    }

    fn rnn(&self, b: &mut Builder, direction: &Direction, gates: NodeId) -> Value {
        let from_state = self.state_gates(b, direction)?;
        let sum = b.plus(gates, from_state)?;
        self.activated(b, direction, 0, sum)
    }

    fn gru(&self, b: &mut Builder, direction: &Direction, gates: NodeId) -> Value {
        let from_state = self.state_gates(b, direction)?;
        let mut opened = [gates; 2];
        for (index, gate) in opened.iter_mut().enumerate() {
            let (x, h) = (self.gate(b, gates, index)?, self.gate(b, from_state, index)?);
            let sum = b.plus(x, h)?;
            *gate = self.activated(b, direction, 0, sum)?;
        }
        let [update, reset] = opened;
        let x = self.gate(b, gates, 2)?;
        let from_state = if self.linear_before_reset {
            let h = self.gate(b, from_state, 2)?;
            b.mul(reset, h)?
        } else {
            let state = b.mul(reset, direction.h)?;
            let r = self.gate(b, direction.r, 2)?;
            let h = b.matmul(state, r)?;
            match direction.bias {
                Some((_, bias)) => {
                    let bias = self.gate(b, bias, 2)?;
                    b.plus(h, bias)?
                }
                None => h,
            }
        };
        let sum = b.plus(x, from_state)?;
        let new = self.activated(b, direction, 1, sum)?;
        // (1 - z) new + z h
        let one = scalar(b, update, 1.0)?;
        let rest = b.sub(one, update)?;
        let (fresh, kept) = (b.mul(rest, new)?, b.mul(update, direction.h)?);
        Ok(b.plus(fresh, kept)?)
    }

    fn lstm(
        &self,
        b: &mut Builder,
        direction: &Direction,
        gates: NodeId,
    ) -> Result<(NodeId, Option<NodeId>), NodeError> {
        let from_state = self.state_gates(b, direction)?;
        let sum = b.plus(gates, from_state)?;
        let c = direction.c.expect("an LSTM direction has a cell state");
        let peep = |b: &mut Builder, gate: NodeId, index: usize, cell: NodeId| -> Value {
            let Some(weights) = direction.peepholes else { return Ok(gate) };
            let seen = b.mul(cell, weights[index])?;
            Ok(b.plus(gate, seen)?)
        };
        let input = self.gate(b, sum, 0)?;
        let input = peep(b, input, 0, c)?;
        let input = self.activated(b, direction, 0, input)?;
        let forget = if self.couples_forget_to_input {
            let one = scalar(b, input, 1.0)?;
            b.sub(one, input)?
        } else {
            let forget = self.gate(b, sum, 2)?;
            let forget = peep(b, forget, 2, c)?;
            self.activated(b, direction, 0, forget)?
        };
        let candidate = self.gate(b, sum, 3)?;
        let candidate = self.activated(b, direction, 1, candidate)?;
        let (kept, fresh) = (b.mul(forget, c)?, b.mul(input, candidate)?);
        let cell = b.plus(kept, fresh)?;
        let output = self.gate(b, sum, 1)?;
        let output = peep(b, output, 1, cell)?;
        let output = self.activated(b, direction, 0, output)?;
        let shown = direction.activations[2].apply(b, cell)?;
        Ok((b.mul(output, shown)?, Some(cell)))
    }
}

/// Positions, in the shape given, that reverse the first `lengths[sample]` elements along `time` and keep the others.
pub(crate) fn reversal_positions(b: &mut Builder, lengths: NodeId, shape: &[Dim], time: usize, batch: usize) -> Value {
    if b.rank(lengths) != 1 || b.shape(lengths)[0] != shape[batch] || time == batch {
        return Err(bad_input(
            "sequence_lens",
            b.ty(lengths),
            format!("one length for each of {} samples", shape[batch]),
        ));
    }
    let lengths = b.cast(lengths, DType::I64)?;
    let mut per_sample = vec![Dim::known(1); shape.len()];
    per_sample[batch] = shape[batch].clone();
    let lengths = b.reshape(lengths, per_sample)?;
    let step = b.add(Iota { axis: time, dtype: DType::I64, shape: shape.to_vec() }, &[])?;
    let one = b.scalar(DType::I64, 1i64)?;
    let last = b.sub(lengths, one)?;
    let mirrored = b.sub(last, step)?;
    let within = b.lt(step, lengths)?;
    Ok(b.select(within, mirrored, step)?)
}
