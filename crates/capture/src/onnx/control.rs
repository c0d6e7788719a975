//! Operators with sub-graphs. A branch whose condition is known is inlined; a loop whose trip count is known is unrolled.

use crate::error::{CaptureError, NodeError};
use crate::onnx::call::{Call, bad_attr, bad_input, constant, sizes};
use crate::onnx::lower::{Lowering, Scope};
use crate::onnx::proto::GraphProto;
use gable_ir::NodeId;

/// What went wrong: with the node itself, or with a node inside its bodies.
pub(crate) enum Error {
    /// The node itself.
    Node(NodeError),
    /// A node within, already placed.
    Inside(CaptureError),
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Error {
        Error::Node(error)
    }
}

impl From<gable_ir::OpError> for Error {
    fn from(error: gable_ir::OpError) -> Error {
        Error::Node(error.into())
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Error {
        Error::Inside(error)
    }
}

type Lowered = Result<Vec<NodeId>, Error>;

fn graph<'c>(call: &'c Call, name: &str) -> Result<&'c GraphProto, NodeError> {
    call.attr(name).and_then(|attr| attr.g.as_ref()).ok_or_else(|| bad_attr(name, "absent", "a graph"))
}

/// One branch when the condition is known; else both, and each result is selected.
pub(crate) fn if_else(lowering: &mut Lowering, call: &Call, scope: &Scope) -> Lowered {
    let condition = call.input(0, "cond")?;
    let (then_graph, else_graph) = (graph(call, "then_branch")?, graph(call, "else_branch")?);
    if let Some(known) = constant(&lowering.builder, condition) {
        let truth = known.scalars().next().ok_or_else(|| bad_input("cond", "empty", "one truth value"))?;
        let taken = if truth.as_bool() { then_graph } else { else_graph };
        return Ok(lowering.body(taken, &mut scope.branch())?);
    }
    let n = sizes(&lowering.builder, condition)?.iter().product::<usize>();
    if n != 1 {
        return Err(bad_input("cond", lowering.builder.ty(condition), "one truth value").into());
    }
    let then_values = lowering.body(then_graph, &mut scope.branch())?;
    let else_values = lowering.body(else_graph, &mut scope.branch())?;
    let b = &mut lowering.builder;
    let condition = b.reshape(condition, [] as [gable_tensor::Dim; 0])?;
    let mut results = Vec::new();
    for (&a, &other) in then_values.iter().zip(&else_values) {
        if b.ty(a) != b.ty(other) {
            let problem =
                format!("a condition known only at run time, with branches of types {} and {},", b.ty(a), b.ty(other));
            return Err(NodeError::Unsupported(problem).into());
        }
        results.push(b.select(condition, a, other)?);
    }
    Ok(results)
}

/// The most rounds that a loop is unrolled to.
const MAX_ROUNDS: i64 = 4096;

/// A loop whose trip count is known, and whose condition stays true as far as constants tell.
pub(crate) fn repeat(lowering: &mut Lowering, call: &Call, scope: &Scope) -> Lowered {
    let body = graph(call, "body")?;
    let rounds = match call.optional(0) {
        Some(_) => call.constant_ints(&lowering.builder, 0, "M")?.first().copied().unwrap_or(0),
        None => i64::MAX,
    };
    let holds = |lowering: &Lowering, id: NodeId| {
        let value = constant(&lowering.builder, id).ok_or(NodeError::NotConstant("cond"))?;
        Ok::<bool, NodeError>(value.scalars().next().is_some_and(|v| v.as_bool()))
    };
    let mut goes_on = call.optional(1).map_or(Ok(true), |id| holds(lowering, id))?;
    let mut carried: Vec<NodeId> =
        (2..call.inputs.len()).map(|i| call.input(i, "v_initial")).collect::<Result<_, _>>()?;
    let n_scanned = body.output.len().checked_sub(1 + carried.len());
    let n_scanned =
        n_scanned.ok_or_else(|| bad_attr("body", "a graph with too few outputs", "one per carried value"))?;
    let mut scanned: Vec<Vec<NodeId>> = vec![Vec::new(); n_scanned];
    let mut round = 0;
    while goes_on && round < rounds {
        if round >= MAX_ROUNDS {
            return Err(NodeError::Unsupported(format!("a loop of more than {MAX_ROUNDS} rounds")).into());
        }
        let mut inner = scope.branch();
        let number = lowering.builder.scalar(gable_tensor::DType::I64, round)?;
        let going = lowering.builder.scalar(gable_tensor::DType::Bool, true)?;
        for (port, id) in body.input.iter().zip([number, going].iter().chain(&carried)) {
            inner.define(port.name(), *id);
        }
        let results = lowering.body(body, &mut inner)?;
        goes_on = holds(lowering, results[0])?;
        carried = results[1..results.len() - n_scanned].to_vec();
        for (all, &id) in scanned.iter_mut().zip(&results[results.len() - n_scanned..]) {
            all.push(id);
        }
        round += 1;
    }
    for slices in scanned {
        carried.push(stack(lowering, &slices, 0)?);
    }
    Ok(carried)
}

/// Values of one type along a new axis.
fn stack(lowering: &mut Lowering, slices: &[NodeId], axis: usize) -> Result<NodeId, Error> {
    let b = &mut lowering.builder;
    let Some(&first) = slices.first() else {
        return Err(NodeError::Unsupported("a scan output of a loop without rounds".into()).into());
    };
    let mut shape = b.shape(first);
    if axis > shape.len() {
        return Err(bad_attr("scan_output_axes", axis, format!("an axis of {} dimensions", shape.len() + 1)).into());
    }
    shape.insert(axis, 1i64.into());
    let slices = slices.iter().map(|&id| b.reshape(id, shape.clone())).collect::<Result<Vec<_>, _>>()?;
    Ok(b.concat(&slices, axis)?)
}

/// A scan (version 9 on), unrolled: its length is the size of an axis, so always known.
pub(crate) fn scan(lowering: &mut Lowering, call: &Call, scope: &Scope) -> Lowered {
    let body = graph(call, "body")?;
    let n_inputs = call.size("num_scan_inputs", 0, 1)?;
    let given = call.all("initial_state_and_scan_inputs")?;
    let n_states = given.len().checked_sub(n_inputs);
    let n_states = n_states.ok_or_else(|| bad_attr("num_scan_inputs", n_inputs, "at most the number of inputs"))?;
    let n_outputs = body.output.len().checked_sub(n_states);
    let n_outputs = n_outputs.ok_or_else(|| bad_attr("body", "a graph with too few outputs", "one per state"))?;
    let list = |name: &str, n: usize| -> Result<Vec<i64>, NodeError> {
        let list = call.ints(name)?.unwrap_or_else(|| vec![0; n]);
        if list.len() == n { Ok(list) } else { Err(bad_attr(name, format!("{list:?}"), format!("{n} numbers"))) }
    };
    let input_axes = list("scan_input_axes", n_inputs)?;
    let input_directions = list("scan_input_directions", n_inputs)?;
    let output_axes = list("scan_output_axes", n_outputs)?;
    let output_directions = list("scan_output_directions", n_outputs)?;
    let mut states = given[..n_states].to_vec();
    let mut sequences = Vec::new();
    let mut length = None;
    for ((&id, &axis), &direction) in given[n_states..].iter().zip(&input_axes).zip(&input_directions) {
        let shape = sizes(&lowering.builder, id)?;
        let axis = crate::onnx::call::normal_axis("scan_input_axes", axis, shape.len())?;
        if *length.get_or_insert(shape[axis]) != shape[axis] {
            return Err(bad_input("scan_inputs", format!("{} long", shape[axis]), "inputs of one length").into());
        }
        sequences.push((id, axis, direction != 0));
    }
    let length = length.unwrap_or(0);
    if length as i64 > MAX_ROUNDS {
        return Err(NodeError::Unsupported(format!("a scan of more than {MAX_ROUNDS} rounds")).into());
    }
    let mut scanned: Vec<Vec<NodeId>> = vec![Vec::new(); n_outputs];
    for round in 0..length {
        let mut inner = scope.branch();
        let mut arguments = states.clone();
        for &(id, axis, backwards) in &sequences {
            let at = if backwards { length - 1 - round } else { round };
            let b = &mut lowering.builder;
            let slice = b.slice_axis(id, axis, at, at + 1)?;
            let mut shape = b.shape(slice);
            shape.remove(axis);
            arguments.push(b.reshape(slice, shape)?);
        }
        for (port, id) in body.input.iter().zip(&arguments) {
            inner.define(port.name(), *id);
        }
        let results = lowering.body(body, &mut inner)?;
        states = results[..n_states].to_vec();
        for (all, &id) in scanned.iter_mut().zip(&results[n_states..]) {
            all.push(id);
        }
    }
    for ((mut slices, &axis), &direction) in scanned.into_iter().zip(&output_axes).zip(&output_directions) {
        if direction != 0 {
            slices.reverse();
        }
        let rank = slices.first().map_or(0, |&id| lowering.builder.rank(id)) + 1;
        let axis = crate::onnx::call::normal_axis("scan_output_axes", axis, rank)?;
        states.push(stack(lowering, &slices, axis)?);
    }
    Ok(states)
}
