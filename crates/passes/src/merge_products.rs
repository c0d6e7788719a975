//! One product for several of the same left factor with stored right factors: queries, keys and values of attention.
//!
//! In: `matmul(x, w1)`, `matmul(x, w2)`, ... of one `x`, weights of equal depth. Out: `matmul(x, concat(w1, w2, ...))`, and
//! slices of its columns in their place. No sum changes. One kernel reads `x` once and fills the machine where each alone
//! would not; fusion has it write every slice to a result of its own.
//!
//! Products stay apart whose results meet in maps (a gated layer's): fusion joins those without any merging. So do those
//! whose columns are no multiple of [`WHOLE_COLUMNS`], because their parts would leave the kernel piece by piece.

use crate::context::Context;
use crate::error::PassError;
use gable_ir::{Builder, Graph, Group, Module, NodeId, Op, OpError, ops};
use gable_tensor::{DType, Dim};
use std::collections::{BTreeMap, BTreeSet};

/// Columns that leave a kernel together: 128 bytes of 16-bit results.
const WHOLE_COLUMNS: i64 = 64;

/// Values after a product that are looked at, to see whether it meets another.
const MAX_FOLLOWED: usize = 64;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = merge(&mut b, context).map_err(|source| PassError::Built { pass: "merge-products", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

/// A product with a stored right factor: what has to be equal for two to become one, and what they are.
struct Stored {
    product: NodeId,
    op: ops::Matmul,
    /// The stored matrix, whether it lies as columns by depth, and the shape that it is repeated to.
    weight: NodeId,
    is_transposed: bool,
    repeated: Option<Vec<Dim>>,
    depth: Dim,
    columns: i64,
    dtype: DType,
}

impl Stored {
    fn of(graph: &Graph, product: NodeId) -> Option<Stored> {
        let Op::Matmul(op) = graph.op(product) else { return None };
        let mut right = graph.operand(product, 1);
        let dtype = graph.ty(right).dtype;
        let repeated = matches!(graph.op(right), Op::Broadcast(_)).then(|| graph.ty(right).shape.clone());
        if repeated.is_some() {
            right = graph.operand(right, 0);
        }
        let is_transposed = matches!(graph.op(right), Op::Transpose(op) if op.perm == [1, 0]);
        let depth = graph.ty(right).shape.first()?.clone();
        let columns = graph.ty(right).shape.last()?.value()?;
        let weight = if is_transposed { graph.operand(right, 0) } else { right };
        let is_matrix = graph.ty(weight).rank() == 2 && matches!(graph.op(weight), Op::Weight(_));
        let stored = Stored { product, op: op.clone(), weight, is_transposed, repeated, depth, columns, dtype };
        (is_matrix && columns % WHOLE_COLUMNS == 0).then_some(stored)
    }

    fn is_like(&self, other: &Stored) -> bool {
        let leading = |one: &Stored| one.repeated.as_ref().map(|shape| shape[..shape.len() - 1].to_vec());
        self.op == other.op
            && self.is_transposed == other.is_transposed
            && leading(self) == leading(other)
            && self.depth == other.depth
            && self.dtype == other.dtype
    }
}

fn merge(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    let mut by_left: BTreeMap<NodeId, Vec<Vec<Stored>>> = BTreeMap::new();
    for id in b.graph.order() {
        let Some(stored) = Stored::of(&b.graph, id) else { continue };
        let alike = by_left.entry(b.graph.operand(id, 0)).or_default();
        match alike.iter_mut().find(|set| set[0].is_like(&stored)) {
            Some(set) => set.push(stored),
            None => alike.push(vec![stored]),
        }
    }
    for set in by_left.into_values().flatten() {
        let followed: Vec<BTreeSet<NodeId>> = set.iter().map(|one| followed(&b.graph, one.product)).collect();
        let meets = |i: usize| (0..set.len()).any(|j| i != j && !followed[i].is_disjoint(&followed[j]));
        let apart: Vec<&Stored> = set.iter().enumerate().filter(|(i, _)| !meets(*i)).map(|(_, one)| one).collect();
        if apart.len() > 1 && context.step() {
            replace(b, &apart)?;
        }
    }
    Ok(())
}

/// The values that follow through maps alone.
fn followed(graph: &Graph, product: NodeId) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    let mut pending = vec![product];
    while let Some(id) = pending.pop() {
        for user in graph.users(id) {
            if graph.op(user).is(Group::Map) && found.len() < MAX_FOLLOWED && found.insert(user) {
                pending.push(user);
            }
        }
    }
    found
}

/// Puts slices of one product in the place of all.
fn replace(b: &mut Builder, set: &[&Stored]) -> Result<(), OpError> {
    let first = set[0];
    b.set_origin(b.graph.node(first.product).origin.clone());
    let left = b.graph.operand(first.product, 0);
    let weights: Vec<NodeId> = set.iter().map(|one| one.weight).collect();
    let mut right = b.concat(&weights, if first.is_transposed { 0 } else { 1 })?;
    if first.is_transposed {
        right = b.transpose(right, &[1, 0])?;
    }
    let columns: i64 = set.iter().map(|one| one.columns).sum();
    if let Some(shape) = &first.repeated {
        let mut shape = shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = Dim::known(columns);
        }
        right = b.broadcast_to(right, &shape)?;
    }
    let product = b.add(first.op.clone(), &[left, right])?;
    let last = b.rank(product) - 1;
    let mut start = 0;
    for one in set {
        b.set_origin(b.graph.node(one.product).origin.clone());
        let part = b.slice_axis(product, last, start, start + one.columns)?;
        b.graph.replace_uses(one.product, part);
        start += one.columns;
    }
    Ok(())
}
