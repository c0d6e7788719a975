//! Inputs from files, and random ones where none is given.

use crate::{Error, Model};
use gable_artifact::Signature;
use gable_ir::{Graph, Group, NodeId, Op};
use gable_tensor::{Bindings, DType, Tensor, npy, random};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Integer inputs that index nothing (masks, token types) are drawn from this many values.
const UNINDEXED_VALUES: u64 = 2;

/// Reads a `.npy` file as an input of type `dtype`.
pub fn read_npy(path: &Path, dtype: Option<DType>) -> Result<Tensor, Error> {
    let io = |source| Error::Io { action: "read", path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(io)?.into();
    let tensor = match dtype {
        Some(dtype) => npy::read_as(&bytes, dtype),
        None => npy::read(&bytes),
    };
    tensor.map_err(|source| Error::Npy { path: path.to_path_buf(), source })
}

/// Sizes of a model's dynamic dimensions that the shapes of given inputs fix.
pub fn bind_from_shapes(model: &Model, given: &BTreeMap<String, Tensor>) -> Result<Bindings, Error> {
    let shapes: Vec<(&str, &[usize])> = given.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
    let mut bindings = Bindings::new();
    model.bind_shapes(&shapes, &mut bindings)?;
    Ok(bindings)
}

/// A random tensor for an input that was not given: unit normal floats, fair coins, and integers within the axis that
/// they index, or 0 and 1 where they index none.
pub fn random_input(signature: &Signature, graph: Option<&Graph>, seed: u64) -> Result<Tensor, Error> {
    let mut generator = random::Random::named(seed, &signature.name);
    let bound = graph.and_then(|graph| indexed_axis(graph, &signature.name)).unwrap_or(UNINDEXED_VALUES);
    random::tensor(&mut generator, signature.dtype, &signature.shape, bound)
        .map_err(|error| Error::Request(format!("input `{}`: {error}", signature.name)))
}

/// The size of the smallest axis that the input called `name` indexes, through maps and movement.
fn indexed_axis(graph: &Graph, name: &str) -> Option<u64> {
    let input = graph.inputs().iter().copied().find(|&id| graph.input_name(id) == name)?;
    let mut pending: Vec<NodeId> = vec![input];
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    let mut smallest: Option<u64> = None;
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        for user in graph.users(id) {
            let op = graph.op(user);
            let axis = match op {
                Op::Gather(gather) => Some(gather.axis),
                Op::GatherElements(gather) => Some(gather.axis),
                _ => None,
            };
            match axis {
                Some(axis) if graph.operand(user, 1) == id => {
                    let size = graph.ty(graph.operand(user, 0)).shape[axis].value();
                    let size = size.and_then(|size| u64::try_from(size).ok());
                    smallest = [smallest, size].into_iter().flatten().min();
                }
                _ if graph.ty(user).dtype.is_int() && (op.is(Group::Map) || op.is(Group::Movement)) => {
                    pending.push(user)
                }
                _ => {}
            }
        }
    }
    smallest
}

/// A graph output's name as a file name: other characters than letters, digits, `.`, `_` and `-` become `_`.
pub fn file_name(output: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("{}.npy", output.chars().map(safe).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_safe_file_names() {
        assert_eq!(file_name("a/b:0 c.d-e_f"), "a_b_0_c.d-e_f.npy");
    }

    #[test]
    fn integers_stay_within_what_they_index() {
        let text = "graph @g(%ids: i64[4], %mask: i64[4]) {
            %0 = weight {key=\"table\", dtype=f32, shape=[7, 2]} : f32[7, 2]
            %1 = gather %0, %ids {axis=0} : f32[4, 2]
            return y = %1, m = %mask }";
        let graph = gable_ir::text::parse(text).expect("valid");
        assert_eq!(indexed_axis(&graph, "ids"), Some(7));
        assert_eq!(indexed_axis(&graph, "mask"), None);
    }
}
