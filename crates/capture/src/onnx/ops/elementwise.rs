//! Operators that compute each element by itself: arithmetic, logic, comparisons, activations, casts.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, normal_axis, scalar, sizes};
use crate::onnx::ops::conv::per_channel;
use gable_ir::ops::{Gelu, IsInf};
use gable_ir::{Builder, NodeId, OpError};
use gable_tensor::{DType, Dim, Scalar};

type Built = Result<NodeId, OpError>;

/// One operand, one IR op.
pub(crate) fn unary(b: &mut Builder, call: &Call, op: fn(&mut Builder, NodeId) -> Built) -> Lowered {
    let x = call.input(0, "X")?;
    Ok(vec![op(b, x)?])
}

/// Two operands that broadcast, one IR op.
pub(crate) fn binary(b: &mut Builder, call: &Call, op: fn(&mut Builder, NodeId, NodeId) -> Built) -> Lowered {
    let (x, y) = (call.input(0, "A")?, call.input(1, "B")?);
    Ok(vec![op(b, x, y)?])
}

/// As [`binary`], for versions before 7: the second operand broadcasts only with an attribute, which may say at which
/// axis of the first it begins.
pub(crate) fn binary_by_attribute(
    b: &mut Builder,
    call: &Call,
    op: fn(&mut Builder, NodeId, NodeId) -> Built,
) -> Lowered {
    let (x, mut y) = (call.input(0, "A")?, call.input(1, "B")?);
    if call.flag("broadcast", false)?
        && let Some(axis) = call.int_opt("axis")?
    {
        let rank = b.rank(x);
        let axis = normal_axis("axis", axis, rank)?;
        let mut shape = b.shape(y);
        let after = rank.checked_sub(axis + shape.len());
        let after = after.ok_or_else(|| bad_attr("axis", axis, format!("an axis of {} that leaves room", b.ty(x))))?;
        shape.extend(vec![Dim::known(1); after]);
        y = b.reshape(y, shape)?;
    }
    Ok(vec![op(b, x, y)?])
}

/// Any number of operands that broadcast, combined from the left.
pub(crate) fn variadic(b: &mut Builder, call: &Call, op: fn(&mut Builder, NodeId, NodeId) -> Built) -> Lowered {
    let inputs = call.all("data_0")?;
    let mut result = inputs[0];
    for &input in &inputs[1..] {
        result = op(b, result, input)?;
    }
    Ok(vec![result])
}

pub(crate) fn mean(b: &mut Builder, call: &Call) -> Lowered {
    let sum = variadic(b, call, Builder::plus)?[0];
    let n = scalar(b, sum, call.inputs.len() as f64)?;
    Ok(vec![b.div(sum, n)?])
}

/// The operand itself.
pub(crate) fn identity(_: &mut Builder, call: &Call) -> Lowered {
    Ok(vec![call.input(0, "X")?])
}

pub(crate) fn pow(b: &mut Builder, call: &Call) -> Lowered {
    let (base, exponent) = (call.input(0, "X")?, call.input(1, "Y")?);
    let (dtype, exponent_dtype) = (b.dtype(base), b.dtype(exponent));
    // The result has the base's type. An integer base with a float exponent is computed in the exponent's type.
    let wide = if dtype.is_int() && exponent_dtype.is_float() { exponent_dtype } else { dtype };
    let (base, exponent) = (b.cast(base, wide)?, b.cast(exponent, wide)?);
    let power = b.pow(base, exponent)?;
    Ok(vec![b.cast(power, dtype)?])
}

pub(crate) fn modulo(b: &mut Builder, call: &Call) -> Lowered {
    let fmod = call.flag("fmod", false)?;
    binary(b, call, if fmod { Builder::rem } else { Builder::modulo })
}

pub(crate) fn bit_shift(b: &mut Builder, call: &Call) -> Lowered {
    match call.text("direction", "")?.as_str() {
        "LEFT" => binary(b, call, Builder::shl),
        "RIGHT" => binary(b, call, Builder::shr),
        other => Err(bad_attr("direction", format!("`{other}`"), "LEFT or RIGHT")),
    }
}

pub(crate) fn is_inf(b: &mut Builder, call: &Call) -> Lowered {
    let positive = call.flag("detect_positive", true)?;
    let negative = call.flag("detect_negative", true)?;
    Ok(vec![b.add(IsInf { positive, negative }, &[call.input(0, "X")?])?])
}

pub(crate) fn select(b: &mut Builder, call: &Call) -> Lowered {
    let (condition, x, y) = (call.input(0, "condition")?, call.input(1, "X")?, call.input(2, "Y")?);
    Ok(vec![b.select(condition, x, y)?])
}

pub(crate) fn cast(b: &mut Builder, call: &Call) -> Lowered {
    let to = call.dtype("to")?.ok_or_else(|| bad_attr("to", "absent", "an element type"))?;
    convert(b, call, to)
}

pub(crate) fn cast_like(b: &mut Builder, call: &Call) -> Lowered {
    let to = b.dtype(call.input(1, "target_type")?);
    convert(b, call, to)
}

fn convert(b: &mut Builder, call: &Call, to: DType) -> Lowered {
    let x = call.input(0, "input")?;
    let eight_bits = matches!(to, DType::E4M3 | DType::E5M2);
    if eight_bits && !call.flag("saturate", true)? {
        return Err(NodeError::Unsupported(format!("`saturate` = 0 for {to}")));
    }
    // The IR rounds powers of two to the nearest; the operator rounds them up unless told otherwise.
    if to == DType::UE8M0 && call.text("round_mode", "up")? != "nearest" {
        return Err(NodeError::Unsupported("`round_mode` other than `nearest` for ue8m0".into()));
    }
    Ok(vec![b.cast(x, to)?])
}

/// The body of an activation is written in the type of `X`, with scalars of that type.
fn activation(b: &mut Builder, call: &Call, body: impl Fn(&mut Builder, NodeId) -> Value) -> Lowered {
    let x = call.input(0, "X")?;
    Ok(vec![body(b, x)?])
}

/// `a` where `x > 0`, else `other`.
fn where_positive(b: &mut Builder, x: NodeId, a: NodeId, other: NodeId) -> Value {
    let zero = scalar(b, x, 0.0)?;
    let positive = b.gt(x, zero)?;
    Ok(b.select(positive, a, other)?)
}

pub(crate) fn leaky_relu(b: &mut Builder, call: &Call) -> Lowered {
    let alpha = call.float("alpha", 0.01)?;
    activation(b, call, |b, x| {
        let slope = scalar(b, x, alpha)?;
        let low = b.mul(x, slope)?;
        where_positive(b, x, x, low)
    })
}

/// Before version 7 a vector of slopes is one per channel; later it broadcasts as all operands do.
pub(crate) fn prelu(b: &mut Builder, call: &Call) -> Lowered {
    let mut slope = call.input(1, "slope")?;
    if call.opset < 7 && b.rank(slope) == 1 && sizes(b, slope)? != [1] {
        slope = per_channel(b, slope, b.rank(call.input(0, "X")?))?;
    }
    activation(b, call, |b, x| {
        let low = b.mul(x, slope)?;
        where_positive(b, x, x, low)
    })
}

/// `scale * (x, or alpha * (exp(x / divisor) - 1) for x <= 0)`: Elu, Selu and Celu.
fn exponential_unit(b: &mut Builder, x: NodeId, alpha: f64, divisor: f64, scale: f64) -> Value {
    let (zero, one) = (scalar(b, x, 0.0)?, scalar(b, x, 1.0)?);
    // The exponent is held at zero or less, so the branch not taken cannot overflow.
    let low = b.min(x, zero)?;
    let divisor = scalar(b, x, divisor)?;
    let exponent = b.div(low, divisor)?;
    let power = b.exp(exponent)?;
    let less_one = b.sub(power, one)?;
    let alpha = scalar(b, x, alpha)?;
    let bent = b.mul(less_one, alpha)?;
    let chosen = where_positive(b, x, x, bent)?;
    if scale == 1.0 {
        return Ok(chosen);
    }
    let scale = scalar(b, x, scale)?;
    Ok(b.mul(chosen, scale)?)
}

pub(crate) fn elu(b: &mut Builder, call: &Call) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    activation(b, call, |b, x| exponential_unit(b, x, alpha, 1.0, 1.0))
}

pub(crate) fn selu(b: &mut Builder, call: &Call) -> Lowered {
    let alpha = call.float("alpha", 1.673_263_192_176_818_8)?;
    let gamma = call.float("gamma", 1.050_700_902_938_842_8)?;
    activation(b, call, |b, x| exponential_unit(b, x, alpha, 1.0, gamma))
}

pub(crate) fn celu(b: &mut Builder, call: &Call) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    activation(b, call, |b, x| exponential_unit(b, x, alpha, alpha, 1.0))
}

pub(crate) fn thresholded_relu(b: &mut Builder, call: &Call) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    activation(b, call, |b, x| {
        let (zero, alpha) = (scalar(b, x, 0.0)?, scalar(b, x, alpha)?);
        let above = b.gt(x, alpha)?;
        Ok(b.select(above, x, zero)?)
    })
}

/// `max(0, min(1, alpha x + beta))`.
fn hard_sigmoid_of(b: &mut Builder, x: NodeId, alpha: f64, beta: f64) -> Value {
    let (alpha, beta) = (scalar(b, x, alpha)?, scalar(b, x, beta)?);
    let (zero, one) = (scalar(b, x, 0.0)?, scalar(b, x, 1.0)?);
    let scaled = b.mul(x, alpha)?;
    let line = b.plus(scaled, beta)?;
    let below_one = b.min(line, one)?;
    Ok(b.max(below_one, zero)?)
}

pub(crate) fn hard_sigmoid(b: &mut Builder, call: &Call) -> Lowered {
    let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    activation(b, call, |b, x| hard_sigmoid_of(b, x, alpha, beta))
}

pub(crate) fn hard_swish(b: &mut Builder, call: &Call) -> Lowered {
    activation(b, call, |b, x| {
        let gate = hard_sigmoid_of(b, x, 1.0 / 6.0, 0.5)?;
        Ok(b.mul(x, gate)?)
    })
}

/// `log(1 + exp(x))`, written so that no exponential overflows.
pub(crate) fn softplus_of(b: &mut Builder, x: NodeId) -> Value {
    let (zero, one) = (scalar(b, x, 0.0)?, scalar(b, x, 1.0)?);
    let size = b.abs(x)?;
    let negative = b.neg(size)?;
    let power = b.exp(negative)?;
    let shifted = b.plus(power, one)?;
    let log = b.log(shifted)?;
    let high = b.max(x, zero)?;
    Ok(b.plus(high, log)?)
}

pub(crate) fn softplus(b: &mut Builder, call: &Call) -> Lowered {
    activation(b, call, softplus_of)
}

pub(crate) fn softsign(b: &mut Builder, call: &Call) -> Lowered {
    activation(b, call, |b, x| {
        let one = scalar(b, x, 1.0)?;
        let size = b.abs(x)?;
        let divisor = b.plus(size, one)?;
        Ok(b.div(x, divisor)?)
    })
}

pub(crate) fn mish(b: &mut Builder, call: &Call) -> Lowered {
    activation(b, call, |b, x| {
        let soft = softplus_of(b, x)?;
        let gate = b.tanh(soft)?;
        Ok(b.mul(x, gate)?)
    })
}

pub(crate) fn gelu(b: &mut Builder, call: &Call) -> Lowered {
    let tanh = match call.text("approximate", "none")?.as_str() {
        "none" => false,
        "tanh" => true,
        other => return Err(bad_attr("approximate", format!("`{other}`"), "none or tanh")),
    };
    activation(b, call, |b, x| Ok(b.add(Gelu { tanh }, &[x])?))
}

/// `x * sigmoid(alpha x)`.
fn swish_of(b: &mut Builder, x: NodeId, alpha: f64) -> Value {
    if alpha == 1.0 {
        return Ok(b.silu(x)?);
    }
    let alpha = scalar(b, x, alpha)?;
    let scaled = b.mul(x, alpha)?;
    let gate = b.sigmoid(scaled)?;
    Ok(b.mul(x, gate)?)
}

pub(crate) fn swish(b: &mut Builder, call: &Call) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    activation(b, call, |b, x| swish_of(b, x, alpha))
}

pub(crate) fn swiglu(b: &mut Builder, call: &Call) -> Lowered {
    let (gate, x) = (call.input(0, "A")?, call.input(1, "B")?);
    let gate = swish_of(b, gate, call.float("alpha", 1.0)?)?;
    Ok(vec![b.mul(gate, x)?])
}

pub(crate) fn shrink(b: &mut Builder, call: &Call) -> Lowered {
    let (bias, lambda) = (call.float("bias", 0.0)?, call.float("lambd", 0.5)?);
    activation(b, call, |b, x| {
        let (zero, bias) = (scalar(b, x, 0.0)?, scalar(b, x, bias)?);
        let (low, high) = (scalar(b, x, -lambda)?, scalar(b, x, lambda)?);
        let (raised, lowered) = (b.plus(x, bias)?, b.sub(x, bias)?);
        let (below, above) = (b.lt(x, low)?, b.gt(x, high)?);
        let positive = b.select(above, lowered, zero)?;
        Ok(b.select(below, raised, positive)?)
    })
}

/// Bounds are attributes until version 10, then optional inputs.
pub(crate) fn clip(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let mut bound = |index: usize, name: &'static str| -> Result<Option<NodeId>, NodeError> {
        if call.opset < 11 {
            let value = call.float_opt(name)?;
            return value.map(|value| scalar(b, x, value)).transpose();
        }
        match call.optional(index) {
            Some(id) if sizes(b, id)?.iter().product::<usize>() != 1 => Err(bad_input(name, b.ty(id), "a scalar")),
            Some(id) => Ok(Some(b.reshape(id, [] as [Dim; 0])?)),
            None => Ok(None),
        }
    };
    let (low, high) = (bound(1, "min")?, bound(2, "max")?);
    let mut result = x;
    if let Some(low) = low {
        result = b.max(result, low)?;
    }
    if let Some(high) = high {
        result = b.min(result, high)?;
    }
    Ok(vec![result])
}

/// The identity, with a mask of all true when it is asked for. Training mode draws random numbers.
pub(crate) fn dropout(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    if call.optional(2).is_some() && call.constant(b, 2, "training_mode")?.scalars().any(|v| v.as_bool()) {
        let ratio = match call.optional(1) {
            Some(_) => call.constant(b, 1, "ratio")?.scalars().next().map_or(0.5, Scalar::as_f64),
            None => 0.5,
        };
        if ratio != 0.0 {
            return Err(NodeError::Unsupported("`training_mode`, which drops elements at random,".into()));
        }
    }
    let mut results = vec![x];
    if call.wants(1) {
        let kept = b.scalar(DType::Bool, true)?;
        let shape = b.shape(x);
        results.push(b.broadcast_to(kept, &shape)?);
    }
    Ok(results)
}
