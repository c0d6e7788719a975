//! Stores narrow weights as kernels read them: k innermost, and elements of four bits two to a byte.
//!
//! In: factors of products that are computed from weights of at most 8 bits. Out: the same values.
//!
//! - A weight whose k is not innermost is stored with its axes permuted, and its reader takes it through the transpose back.
//! - Whole numbers of which a constant is taken before they are scaled are stored as the difference, where that fits.
//! - e2m1 elements, and whole numbers from -8 to 7, are packed; the graph unpacks them again as `unpacking` recognises it, so
//!   that every kernel and the evaluator know what they mean ([`pack`]).
//!
//! A weight that something else reads too is left as it is. Nothing folds afterwards: what is undone here would be redone.

mod pack;

use crate::constant::splat;
use crate::context::Context;
use crate::error::PassError;
use crate::fold::evaluate;
use gable_ir::{Builder, ConcreteType, Module, NodeId, Op, OpError, ops};
use gable_tensor::{DType, Dim, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;

/// Values on the way from a weight to a factor: they are followed by recursion.
const MAX_DEPTH: usize = 32;

/// Elements of a zero point that is no single value: it is computed for all elements of the weight.
const MAX_ZERO_POINTS: usize = 1 << 26;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = store(&mut b, context).map_err(|source| PassError::Built { pass: "store-narrow", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

fn store(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    for id in b.graph.order() {
        let (op, operands) = (b.graph.op(id).clone(), b.graph.operands(id));
        if !matches!(op, Op::Matmul(_) | Op::GroupedMatmul(_)) {
            continue;
        }
        for (position, &factor) in operands.iter().enumerate().take(2) {
            let last = b.rank(factor) - 1;
            let k = if position == 0 { last } else { last - 1 };
            let mut known = BTreeMap::new();
            if let Some(new) = stored(b, factor, k..k + 1, &mut known, MAX_DEPTH)? {
                if !context.step() {
                    return Ok(());
                }
                b.graph.set_operand(id, position, new);
            }
        }
    }
    Ok(())
}

/// What has been decided on values that a factor uses more than once.
type Known = BTreeMap<(NodeId, usize, usize), Option<NodeId>>;

/// The same value from weights that are stored better; `k` are its axes that are summed over. `None` where nothing is gained.
fn stored(
    b: &mut Builder,
    id: NodeId,
    k: Range<usize>,
    known: &mut Known,
    depth: usize,
) -> Result<Option<NodeId>, OpError> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
    let key = (id, k.start, k.end);
    if let Some(found) = known.get(&key) {
        return Ok(*found);
    }
    b.set_origin(b.graph.node(id).origin.clone());
    let operands = b.graph.operands(id);
    let found = match b.graph.op(id).clone() {
        Op::Weight(_) => in_order(b, id, k)?,
        Op::Cast(op) if op.to.is_float() => match packed(b, operands[0], None, (op.to, k.clone()))? {
            Some(found) => Some(found),
            None => over(b, id, &[Some(k)], known, depth)?,
        },
        Op::Sub(_) => match difference(b, id, k.clone())? {
            Some(found) => Some(found),
            None => over(b, id, &[Some(k.clone()), Some(k)], known, depth)?,
        },
        Op::Mul(_) => over(b, id, &[Some(k.clone()), Some(k)], known, depth)?,
        _ => {
            let inner = before_move(b, id, k);
            if inner.is_some() { over(b, id, &[inner], known, depth)? } else { None }
        }
    };
    known.insert(key, found);
    Ok(found)
}

/// The op over operands that are stored better, if some are.
fn over(
    b: &mut Builder,
    id: NodeId,
    axes: &[Option<Range<usize>>],
    known: &mut Known,
    depth: usize,
) -> Result<Option<NodeId>, OpError> {
    let mut operands = b.graph.operands(id);
    let mut gains = false;
    for (operand, k) in operands.iter_mut().zip(axes) {
        if let Some(k) = k
            && let Some(new) = stored(b, *operand, k.clone(), known, depth)?
        {
            (*operand, gains) = (new, true);
        }
    }
    if !gains {
        return Ok(None);
    }
    let op = b.graph.op(id).clone();
    b.add(op, &operands).map(Some)
}

/// The axes of a move's operand that become the axes `k` of its result; `None` where they are not neighbours in order.
fn before_move(b: &Builder, id: NodeId, k: Range<usize>) -> Option<Range<usize>> {
    let from = &b.ty(*b.graph.operands(id).first()?).shape;
    let to = &b.ty(id).shape;
    match b.graph.op(id) {
        Op::Transpose(op) => {
            let inner = op.perm.get(k)?;
            let is_run = inner.windows(2).all(|pair| pair[1] == pair[0] + 1);
            is_run.then(|| inner[0]..inner[0] + inner.len())
        }
        Op::Broadcast(_) => {
            let added = to.len() - from.len();
            let inner = k.start.checked_sub(added)?..k.end.checked_sub(added)?;
            let repeats_or_keeps = |(from, to): (&Dim, &Dim)| from == to || from.value() == Some(1);
            from[inner.clone()].iter().zip(&to[k]).all(repeats_or_keeps).then_some(inner)
        }
        Op::Slice(_) => Some(k),
        Op::Reshape(_) => {
            let count = |dims: &[Dim]| dims.iter().try_fold(1i64, |n, dim| n.checked_mul(dim.value()?));
            let (before, own) = (count(&to[..k.start])?, count(&to[k])?);
            let start = (0..=from.len()).find(|&axis| count(&from[..axis]) == Some(before))?;
            let end = (start + 1..=from.len()).find(|&axis| count(&from[start..axis]) == Some(own))?;
            Some(start..end)
        }
        _ => None,
    }
}

/// A weight, and how a value that moves it lies over its axes.
struct Source {
    key: String,
    k: Range<usize>,
    /// The moves after it, the first first.
    moves: Vec<Op>,
}

/// The weight that a value is, moved; only where nobody else reads it.
fn source(b: &Builder, mut id: NodeId, mut k: Range<usize>) -> Option<Source> {
    let mut moves = Vec::new();
    while !matches!(b.graph.op(id), Op::Weight(_)) {
        k = before_move(b, id, k)?;
        moves.push(b.graph.op(id).clone());
        id = b.graph.operand(id, 0);
    }
    moves.reverse();
    let Op::Weight(op) = b.graph.op(id) else { return None };
    (b.graph.n_uses(id) == 1 && !k.is_empty()).then(|| Source { key: op.key.clone(), k, moves })
}

/// The permutation that puts the axes `k` last, and its inverse.
fn innermost(rank: usize, k: &Range<usize>) -> (Vec<usize>, Vec<usize>) {
    let perm: Vec<usize> = (0..rank).filter(|axis| !k.contains(axis)).chain(k.clone()).collect();
    let mut back = vec![0; rank];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    (perm, back)
}

/// A weight's elements with the axes `k` innermost.
fn permuted(value: &Tensor, perm: &[usize]) -> Result<Tensor, OpError> {
    let shape = perm.iter().map(|&axis| value.shape()[axis]).collect();
    let out = ConcreteType { dtype: value.dtype(), shape };
    Op::from(ops::Transpose { perm: perm.to_vec() }).def().eval(&[value], &out)
}

/// A narrow weight with k innermost, where it is not so already.
fn in_order(b: &mut Builder, id: NodeId, k: Range<usize>) -> Result<Option<NodeId>, OpError> {
    let dtype = b.dtype(id);
    let is_narrow = dtype.bits() <= 8 && dtype != DType::Bool;
    let (Some(source), true) = (source(b, id, k), is_narrow) else { return Ok(None) };
    let Some(value) = b.weights.get(&source.key).cloned() else { return Ok(None) };
    let (perm, back) = innermost(value.shape().len(), &source.k);
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(None);
    }
    let new = b.weight(format!("{}|transpose(perm={perm:?})", source.key), permuted(&value, &perm)?)?;
    b.transpose(new, &back).map(Some)
}

/// The difference of a weight's whole numbers and constants, converted: as a weight of its own.
fn difference(b: &mut Builder, id: NodeId, k: Range<usize>) -> Result<Option<NodeId>, OpError> {
    let [minuend, subtrahend] = b.graph.operands(id)[..] else { return Ok(None) };
    let Op::Cast(op) = b.graph.op(minuend).clone() else { return Ok(None) };
    if b.graph.n_uses(minuend) != 1 || !op.to.is_float() {
        return Ok(None);
    }
    packed(b, b.graph.operand(minuend, 0), Some(subtrahend), (op.to, k))
}

/// A narrow weight, less a constant, in a float type: packed where its elements fit four bits, or as bytes where it is a difference.
fn packed(
    b: &mut Builder,
    id: NodeId,
    less: Option<NodeId>,
    (to, k): (DType, Range<usize>),
) -> Result<Option<NodeId>, OpError> {
    let Some(source) = source(b, id, k) else { return Ok(None) };
    let Some(value) = b.weights.get(&source.key).cloned() else { return Ok(None) };
    let codes = match less {
        None => pack::codes(&value),
        // What is taken away lies over the moved weight: only one that is not moved is asked for.
        Some(less) if source.moves.is_empty() => {
            zero_points(b, less, value.len())?.and_then(|less| pack::less(&value, &less))
        }
        Some(_) => None,
    };
    let Some(codes) = codes else { return Ok(None) };
    let (perm, back) = innermost(value.shape().len(), &source.k);
    let mut moves = vec![ops::Transpose { perm: back }.into()];
    moves.extend(source.moves);
    let suffix = match less {
        None => String::new(),
        Some(less) => format!("|sub(%{})", less.index()),
    };
    let key = format!("{}{suffix}|transpose(perm={perm:?})", source.key);
    let value = permuted(&codes.value, &perm)?;
    let new = match codes.meaning {
        pack::Meaning::Bytes => {
            let stored = b.weight(key, value)?;
            b.cast(stored, to)?
        }
        meaning => {
            let Some(halves) = pack::halves(&value) else { return Ok(None) };
            let stored = b.weight(format!("{key}|pack()"), halves)?;
            pack::unpacked(b, stored, meaning, to)?
        }
    };
    moves.into_iter().try_fold(new, |value, op: Op| b.add(op, &[value])).map(Some)
}

/// What a constant has for each of so many elements: one whole number, or one for each.
fn zero_points(b: &Builder, id: NodeId, elements: usize) -> Result<Option<Vec<i64>>, OpError> {
    let whole = |value: f64| (value.fract() == 0.0 && value.abs() <= 255.0).then_some(value as i64);
    if let Some(value) = splat(&b.graph, id) {
        return Ok(whole(value.as_f64()).map(|value| vec![value]));
    }
    let is_constant = crate::fold::is_constant(&b.graph, id, MAX_DEPTH);
    if !is_constant || elements > MAX_ZERO_POINTS || b.ty(id).len().value() != i64::try_from(elements).ok() {
        return Ok(None);
    }
    let value = evaluate(b, id, &mut BTreeMap::new())?;
    Ok(value.scalars().map(|scalar| whole(scalar.as_f64())).collect())
}
