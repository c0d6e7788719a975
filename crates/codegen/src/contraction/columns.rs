//! Outputs that have a part of the columns each, such as queries, keys and values of one product.

use super::problem::Problem;
use crate::error::Fault;
use crate::program::{Program, ValueId};
use gable_ir::Op;
use std::collections::BTreeMap;

/// Neighbouring columns of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Columns {
    /// The first one.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl Columns {
    /// All columns of a problem.
    pub fn all(problem: &Problem) -> Columns {
        Columns { first: 0, count: problem.n }
    }
}

/// Whether a region's results go to outputs by parts: whether something after the anchors is cut.
pub(super) fn cuts(program: &Program, anchors: &[ValueId]) -> bool {
    program.values.iter().enumerate().any(|(id, node)| {
        let follows = || {
            let ancestors = program.ancestors(id);
            anchors.iter().any(|anchor| ancestors.contains(anchor))
        };
        matches!(node.op, Op::Slice(_)) && follows()
    })
}

/// The columns that each of the outputs at these positions has, of `n`. What is cut is cut along the last axis before it is
/// moved otherwise.
pub(super) fn columns_of_results(
    program: &Program,
    anchors: &[ValueId],
    results: &[usize],
    n: usize,
) -> Result<Vec<Columns>, Fault> {
    let all = Columns { first: 0, count: n };
    let mut known: BTreeMap<ValueId, Columns> = anchors.iter().map(|&id| (id, all)).collect();
    for (id, node) in program.values.iter().enumerate() {
        let Some(from) = node.operands.iter().find_map(|operand| known.get(operand).copied()) else { continue };
        if anchors.contains(&id) {
            continue;
        }
        let columns = match &node.op {
            Op::Slice(op) => {
                let start =
                    op.starts.last().and_then(|start| start.value()).and_then(|start| usize::try_from(start).ok());
                let count = node.ty.shape.last().copied();
                let (Some(start), Some(count)) = (start, count) else {
                    return Err(Fault::contract("a slice after the contraction has no known columns"));
                };
                Columns { first: from.first + start, count }
            }
            _ => from,
        };
        known.insert(id, columns);
    }
    let columns: Option<Vec<Columns>> =
        results.iter().map(|&position| known.get(&program.outputs[position].0).copied()).collect();
    columns.ok_or_else(|| Fault::contract("an output does not depend on the contraction"))
}
