//! Operators that combine elements along axes: reductions, softmaxes, positions of extremes, running sums, top-k.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, normal_axes, scalar, sizes};
use gable_ir::attr::ReduceKind;
use gable_ir::ops::{ArgReduce, Argsort, GatherElements, Iota, LogSoftmax, Scan, Softmax};
use gable_ir::{Builder, NodeId};
use gable_tensor::DType;

/// What is done to the elements before, and to the combined value after.
pub(crate) enum Reduction {
    /// The combination itself.
    Plain(ReduceKind),
    /// Sum of absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials, shifted by the largest.
    LogSumExp,
    /// Sum of squares.
    SumSquare,
}

/// Axes are an attribute in old versions and an input in new ones; none means all, or with a flag nothing at all.
pub(crate) fn reduce(b: &mut Builder, call: &Call, reduction: Reduction) -> Lowered {
    let x = call.input(0, "data")?;
    let rank = b.rank(x);
    let keep = call.flag("keepdims", true)?;
    let axes = call.ints_by_attr_or_input(b, "axes", 1)?.filter(|axes| !axes.is_empty());
    let axes = match axes {
        Some(axes) => normal_axes("axes", &axes, rank)?,
        None if call.flag("noop_with_empty_axes", false)? => Vec::new(),
        None => (0..rank).collect(),
    };
    Ok(vec![reduced(b, x, &axes, keep, reduction)?])
}

fn reduced(b: &mut Builder, x: NodeId, axes: &[usize], keep: bool, reduction: Reduction) -> Value {
    let sum = |b: &mut Builder, x| b.reduce(ReduceKind::Sum, x, axes, keep);
    Ok(match reduction {
        Reduction::Plain(ReduceKind::Mean) if b.dtype(x).is_int() => {
            let sizes = sizes(b, x)?;
            let total = sum(b, x)?;
            let n = axes.iter().map(|&axis| sizes[axis]).product::<usize>();
            let n = scalar(b, total, n as f64)?;
            b.div(total, n)?
        }
        Reduction::Plain(kind) => b.reduce(kind, x, axes, keep)?,
        Reduction::L1 => {
            let size = b.abs(x)?;
            sum(b, size)?
        }
        Reduction::L2 => {
            let square = b.mul(x, x)?;
            let total = sum(b, square)?;
            root(b, total)?
        }
        Reduction::LogSum => {
            let total = sum(b, x)?;
            logarithm(b, total)?
        }
        Reduction::LogSumExp => log_sum_exp(b, x, axes, keep)?,
        Reduction::SumSquare => {
            let square = b.mul(x, x)?;
            sum(b, square)?
        }
    })
}

/// Square root; of integers by way of f64.
fn root(b: &mut Builder, x: NodeId) -> Value {
    in_float(b, x, Builder::sqrt)
}

fn logarithm(b: &mut Builder, x: NodeId) -> Value {
    in_float(b, x, Builder::log)
}

fn in_float(b: &mut Builder, x: NodeId, op: fn(&mut Builder, NodeId) -> Result<NodeId, gable_ir::OpError>) -> Value {
    let dtype = b.dtype(x);
    let float = if dtype.is_float() { dtype } else { DType::F64 };
    let x = b.cast(x, float)?;
    let result = op(b, x)?;
    Ok(b.cast(result, dtype)?)
}

fn log_sum_exp(b: &mut Builder, x: NodeId, axes: &[usize], keep: bool) -> Value {
    let dtype = b.dtype(x);
    let x = if dtype.is_float() { x } else { b.cast(x, DType::F64)? };
    let largest = b.reduce(ReduceKind::Max, x, axes, true)?;
    // An infinite largest element would make infinity less infinity: it is not subtracted.
    let infinite = b.add(gable_ir::ops::IsInf { positive: true, negative: true }, &[largest])?;
    let zero = scalar(b, largest, 0.0)?;
    let shift = b.select(infinite, zero, largest)?;
    let shifted = b.sub(x, shift)?;
    let powers = b.exp(shifted)?;
    let total = b.reduce(ReduceKind::Sum, powers, axes, true)?;
    let log = b.log(total)?;
    let sum = b.plus(log, shift)?;
    let kept = b.shape(sum).into_iter().enumerate().filter(|(axis, _)| keep || !axes.contains(axis));
    let result = b.reshape(sum, kept.map(|(_, dim)| dim).collect::<Vec<_>>())?;
    Ok(b.cast(result, dtype)?)
}

/// Before version 13 the operand is seen as a matrix whose rows begin at `axis`.
pub(crate) fn softmax(b: &mut Builder, call: &Call, log: bool) -> Lowered {
    let x = call.input(0, "input")?;
    let shape = sizes(b, x)?;
    let flat = call.opset < 13;
    let axis = call.axis("axis", if flat { 1 } else { -1 }, shape.len().max(1))?;
    if shape.is_empty() {
        return Err(bad_input("input", b.ty(x), "rank 1 or more"));
    }
    let apply = |b: &mut Builder, x: NodeId, axis: usize| match log {
        false => b.add(Softmax { axis }, &[x]),
        true => b.add(LogSoftmax { axis }, &[x]),
    };
    // Where only sizes of one follow, the matrix's rows are the axis itself.
    if !flat || shape[axis + 1..].iter().all(|&size| size == 1) {
        return Ok(vec![apply(b, x, axis)?]);
    }
    let rows: usize = shape[..axis].iter().product();
    let width: usize = shape[axis..].iter().product();
    let matrix = b.reshape(x, [rows, width])?;
    let result = apply(b, matrix, 1)?;
    Ok(vec![b.reshape(result, shape)?])
}

/// One at the first largest element, zero elsewhere.
pub(crate) fn hardmax(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let from = sizes(b, x)?;
    let axis = call.axis("axis", if call.opset < 13 { 1 } else { -1 }, from.len())?;
    let (rows, axis) = if call.opset < 13 {
        let width: usize = from[axis..].iter().product();
        (b.reshape(x, [from[..axis].iter().product::<usize>(), width])?, 1)
    } else {
        (x, axis)
    };
    let first = b.add(ArgReduce { largest: true, axis, keep: true, last: false }, &[rows])?;
    let shape = b.shape(rows);
    let position = b.add(Iota { axis, dtype: DType::I64, shape }, &[])?;
    let hot = b.eq(position, first)?;
    let hot = b.cast(hot, b.dtype(x))?;
    Ok(vec![b.reshape(hot, from)?])
}

pub(crate) fn arg_extreme(b: &mut Builder, call: &Call, largest: bool) -> Lowered {
    let x = call.input(0, "data")?;
    let axis = call.axis("axis", 0, b.rank(x))?;
    let keep = call.flag("keepdims", true)?;
    let last = call.flag("select_last_index", false)?;
    Ok(vec![b.add(ArgReduce { largest, axis, keep, last }, &[x])?])
}

pub(crate) fn running(b: &mut Builder, call: &Call, kind: ReduceKind) -> Lowered {
    let x = call.input(0, "x")?;
    let axis = call.constant_ints(b, 1, "axis")?.first().copied().unwrap_or(0);
    let axis = crate::onnx::call::normal_axis("axis", axis, b.rank(x))?;
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    Ok(vec![b.add(Scan { kind, axis, exclusive, reverse }, &[x])?])
}

/// Values and positions of the `k` largest or smallest elements: a sort, its head, and a gather.
pub(crate) fn top_k(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = sizes(b, x)?;
    let axis = call.axis("axis", -1, shape.len())?;
    let k = match call.opset {
        ..10 => call.int("k", 0)?,
        _ => call.constant_ints(b, 1, "K")?.first().copied().unwrap_or(0),
    };
    let k = usize::try_from(k).ok().filter(|&k| k <= shape[axis]);
    let k = k.ok_or_else(|| bad_input("K", "out of range", format!("0 to {}", shape[axis])))?;
    let order = b.add(Argsort { axis, descending: call.flag("largest", true)? }, &[x])?;
    let indices = b.slice_axis(order, axis, 0usize, k)?;
    let values = b.add(GatherElements { axis }, &[x, indices])?;
    Ok(vec![values, indices])
}

/// Rows scaled to unit length in the L1 or L2 norm; rows of zeros stay zeros.
pub(crate) fn lp_normalization(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let axis = call.axis("axis", -1, b.rank(x))?;
    let norm = match call.int("p", 2)? {
        1 => reduced(b, x, &[axis], true, Reduction::L1)?,
        2 => reduced(b, x, &[axis], true, Reduction::L2)?,
        other => return Err(bad_attr("p", other, "1 or 2")),
    };
    let (zero, one) = (scalar(b, norm, 0.0)?, scalar(b, norm, 1.0)?);
    let empty = b.eq(norm, zero)?;
    let divisor = b.select(empty, one, norm)?;
    Ok(vec![b.div(x, divisor)?])
}

/// The determinant of square matrices by cofactors of the first row, for the small sizes where that is no more work
/// than elimination.
pub(crate) fn det(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = sizes(b, x)?;
    let rank = shape.len();
    if rank < 2 || shape[rank - 1] != shape[rank - 2] {
        return Err(bad_input("X", b.ty(x), "square matrices"));
    }
    if shape[rank - 1] > 4 {
        return Err(NodeError::Unsupported(format!("the determinant of matrices of {} rows", shape[rank - 1])));
    }
    let rows: Vec<usize> = (0..shape[rank - 1]).collect();
    let minor = minor(b, x, 0, &rows)?;
    Ok(vec![b.reshape(minor, shape[..rank - 2].to_vec())?])
}

/// The determinant of the matrix of the rows from `row` on and the given columns; its last two axes have size 1.
fn minor(b: &mut Builder, x: NodeId, row: usize, columns: &[usize]) -> Value {
    let rank = b.rank(x);
    let this_row = b.slice_axis(x, rank - 2, row, row + 1)?;
    let mut sum: Option<NodeId> = None;
    for (position, &column) in columns.iter().enumerate() {
        let mut term = b.slice_axis(this_row, rank - 1, column, column + 1)?;
        let others: Vec<usize> = columns.iter().copied().filter(|&other| other != column).collect();
        if !others.is_empty() {
            let cofactor = minor(b, x, row + 1, &others)?;
            term = b.mul(term, cofactor)?;
        }
        sum = Some(match sum {
            None => term,
            Some(sum) if position % 2 == 1 => b.sub(sum, term)?,
            Some(sum) => b.plus(sum, term)?,
        });
    }
    sum.ok_or_else(|| bad_input("X", "empty", "matrices of at least one row"))
}
