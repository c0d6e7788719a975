//! Classification losses: the negative log-likelihood of target classes, from log-probabilities or from scores.

use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, scalar, sizes};
use gable_ir::attr::ReduceKind;
use gable_ir::ops::{Gather, GatherElements, LogSoftmax};
use gable_ir::{Builder, NodeId};
use gable_tensor::DType;

pub(crate) fn negative_log_likelihood(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    Ok(vec![loss(b, call, x)?])
}

/// The loss of a softmax over the classes; the second result is the softmax's logarithm.
pub(crate) fn softmax_cross_entropy(b: &mut Builder, call: &Call) -> Lowered {
    let scores = call.input(0, "scores")?;
    if b.rank(scores) < 2 {
        return Err(bad_input("scores", b.ty(scores), "[n, classes, ...]"));
    }
    let log = b.add(LogSoftmax { axis: 1 }, &[scores])?;
    Ok(vec![loss(b, call, log)?, log])
}

/// `-x[n, target, ...]`, weighted by class, zero where the target is to be ignored, and reduced.
fn loss(b: &mut Builder, call: &Call, x: NodeId) -> Value {
    let (target, weight) = (call.input(1, "target")?, call.optional(2));
    let shape = sizes(b, x)?;
    let mut per_target = shape.clone();
    if shape.len() < 2 || shape[1] == 0 {
        return Err(bad_input("input", b.ty(x), "[n, classes, ...] with at least one class"));
    }
    per_target.remove(1);
    if sizes(b, target)? != per_target {
        return Err(bad_input("target", b.ty(target), format!("one class for each of {per_target:?}")));
    }
    let mut column = per_target.clone();
    column.insert(1, 1);
    // Targets to be ignored may lie outside the classes; the gather clamps them, and their loss is dropped below.
    let chosen = b.reshape(target, column)?;
    let picked = b.add(GatherElements { axis: 1 }, &[x, chosen])?;
    let picked = b.reshape(picked, per_target)?;
    let mut losses = b.neg(picked)?;
    let mut weights = match weight {
        Some(weight) => Some(b.add(Gather { axis: 0 }, &[weight, target])?),
        None => None,
    };
    if let Some(ignored) = call.int_opt("ignore_index")? {
        let ignored = b.scalar(DType::I64, ignored)?;
        let classes = b.cast(target, DType::I64)?;
        let counts = b.ne(classes, ignored)?;
        let ones = match weights {
            Some(weights) => weights,
            None => scalar(b, x, 1.0)?,
        };
        let zero = scalar(b, x, 0.0)?;
        losses = b.select(counts, losses, zero)?;
        weights = Some(b.select(counts, ones, zero)?);
    }
    if let Some(weights) = weights {
        losses = b.mul(losses, weights)?;
    }
    let axes: Vec<usize> = (0..b.rank(losses)).collect();
    Ok(match (call.text("reduction", "mean")?.as_str(), weights) {
        ("none", _) => losses,
        ("sum", _) => b.reduce(ReduceKind::Sum, losses, &axes, false)?,
        ("mean", None) => b.reduce(ReduceKind::Mean, losses, &axes, false)?,
        ("mean", Some(weights)) => {
            let sum = b.reduce(ReduceKind::Sum, losses, &axes, false)?;
            let total = b.reduce(ReduceKind::Sum, weights, &axes, false)?;
            b.div(sum, total)?
        }
        (other, _) => return Err(bad_attr("reduction", format!("`{other}`"), "none, sum or mean")),
    })
}
