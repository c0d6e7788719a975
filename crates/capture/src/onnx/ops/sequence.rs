//! Lists of tensors. Their lengths and the positions asked for are known at capture, so a list is only bookkeeping: no
//! op of the graph has one.

use crate::error::NodeError;
use crate::onnx::call::{Call, bad_attr, bad_input, normal_axis, sizes};
use crate::onnx::lower::Value;
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

type Lowered = Result<Vec<Value>, NodeError>;

pub(crate) fn construct(_: &mut Builder, call: &Call) -> Lowered {
    Ok(vec![Value::Sequence(call.all("inputs")?)])
}

pub(crate) fn empty(_: &mut Builder, _: &Call) -> Lowered {
    Ok(vec![Value::Sequence(Vec::new())])
}

pub(crate) fn length(b: &mut Builder, call: &Call) -> Lowered {
    let n = call.sequence(0, "input_sequence")?.len();
    Ok(vec![Value::Tensor(b.scalar(DType::I64, n as i64)?)])
}

/// The position that input `index` holds, counted from the front, at most `last`; `default` when it is left out.
fn position(b: &Builder, call: &Call, index: usize, last: usize, default: usize) -> Result<usize, NodeError> {
    let Some(given) = call.constant_ints_opt(b, index, "position")? else { return Ok(default) };
    let bad = || bad_input("position", format!("{given:?}"), format!("one position within {last}"));
    let &[at] = &given[..] else { return Err(bad()) };
    let from_front = if at < 0 { at + call.sequence(0, "input_sequence")?.len() as i64 } else { at };
    usize::try_from(from_front).ok().filter(|&at| at <= last).ok_or_else(bad)
}

/// The last position of a list that must not be empty.
fn last_of(list: &[NodeId]) -> Result<usize, NodeError> {
    list.len().checked_sub(1).ok_or_else(|| bad_input("input_sequence", "empty", "at least one tensor"))
}

pub(crate) fn at(b: &mut Builder, call: &Call) -> Lowered {
    let list = call.sequence(0, "input_sequence")?;
    let last = last_of(list)?;
    Ok(vec![Value::Tensor(list[position(b, call, 1, last, last)?])])
}

pub(crate) fn insert(b: &mut Builder, call: &Call) -> Lowered {
    let mut list = call.sequence(0, "input_sequence")?.to_vec();
    let at = position(b, call, 2, list.len(), list.len())?;
    list.insert(at, call.input(1, "tensor")?);
    Ok(vec![Value::Sequence(list)])
}

pub(crate) fn erase(b: &mut Builder, call: &Call) -> Lowered {
    let mut list = call.sequence(0, "input_sequence")?.to_vec();
    let last = last_of(&list)?;
    list.remove(position(b, call, 1, last, last)?);
    Ok(vec![Value::Sequence(list)])
}

pub(crate) fn concat(b: &mut Builder, call: &Call) -> Lowered {
    let list = call.sequence(0, "input_sequence")?;
    last_of(list)?;
    let stacks = call.flag("new_axis", false)?;
    let rank = b.rank(list[0]) + usize::from(stacks);
    let axis = call.int_opt("axis")?.ok_or_else(|| bad_attr("axis", "absent", "an axis"))?;
    let axis = normal_axis("axis", axis, rank)?;
    let mut parts = list.to_vec();
    if stacks {
        for part in &mut parts {
            let mut shape = b.shape(*part);
            shape.insert(axis.min(shape.len()), Dim::known(1));
            *part = b.reshape(*part, shape)?;
        }
    }
    Ok(vec![Value::Tensor(b.concat(&parts, axis)?)])
}

/// The most tensors that one split makes.
const MAX_PARTS: usize = 1 << 16;

/// Parts of the sizes given, or of one size; without sizes, single slices that may lose the axis.
pub(crate) fn split(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let shape = sizes(b, x)?;
    let axis = call.axis("axis", 0, shape.len())?;
    let whole = shape[axis];
    let given = call.constant_ints_opt(b, 1, "split")?;
    let drops_axis = given.is_none() && !call.flag("keepdims", true)?;
    let is_scalar = call.optional(1).is_some_and(|id| b.rank(id) == 0);
    let bad = || bad_input("split", format!("{given:?}"), format!("sizes that add up to {whole}, at most {MAX_PARTS}"));
    let parts: Vec<usize> = match given.as_deref() {
        Some(&[part]) if is_scalar => {
            let part =
                usize::try_from(part).ok().filter(|&part| part > 0 && whole / part < MAX_PARTS).ok_or_else(bad)?;
            (0..whole.div_ceil(part)).map(|i| part.min(whole - i * part)).collect()
        }
        Some(parts) => parts.iter().map(|&part| usize::try_from(part).map_err(|_| bad())).collect::<Result<_, _>>()?,
        None if whole <= MAX_PARTS => vec![1; whole],
        None => return Err(bad()),
    };
    if parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)) != Some(whole) {
        return Err(bad());
    }
    let (mut list, mut start) = (Vec::new(), 0);
    for part in parts {
        let mut slice = b.slice_axis(x, axis, start, start + part)?;
        if drops_axis {
            let mut shape = b.shape(slice);
            shape.remove(axis);
            slice = b.reshape(slice, shape)?;
        }
        list.push(slice);
        start += part;
    }
    Ok(vec![Value::Sequence(list)])
}
