//! Reference evaluation of a whole graph: every op's own `eval`, in canonical order.

use crate::graph::{Graph, NodeId};
use crate::module::Module;
use crate::op::{Op, OpError};
use crate::types::ConcreteType;
use gable_tensor::Tensor;
use std::collections::BTreeMap;

/// Why a graph cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// An input was not given.
    #[error("input `{0}` is not given")]
    MissingInput(String),
    /// An input has the wrong type.
    #[error("input `{name}` is {found}, expected {expected}")]
    InputType {
        /// The input.
        name: String,
        /// Type given.
        found: String,
        /// Type declared.
        expected: String,
    },
    /// A parameter is not in the store, or not of the type that the graph says.
    #[error("weight `{key}`: {what}")]
    Weight {
        /// The parameter.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// A dimension is still symbolic.
    #[error("value %{index} has type {ty}: bind its dimensions first")]
    Symbolic {
        /// The value's id.
        index: usize,
        /// Its type.
        ty: String,
    },
    /// An op failed.
    #[error("value %{index} (`{op}`): {source}")]
    Op {
        /// The value's id.
        index: usize,
        /// The op's name.
        op: &'static str,
        /// Why.
        source: OpError,
    },
}

/// Outputs by name, in the graph's order.
pub fn evaluate(module: &Module, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, EvalError> {
    let values = evaluate_all(module, inputs)?;
    Ok(module.graph.outputs().iter().map(|(name, id)| (name.clone(), values[id].clone())).collect())
}

/// Every value that an output needs. Memory holds all of them: this is the oracle, not an engine.
pub fn evaluate_all(module: &Module, inputs: &[(&str, &Tensor)]) -> Result<BTreeMap<NodeId, Tensor>, EvalError> {
    let graph = &module.graph;
    let mut values: BTreeMap<NodeId, Tensor> = BTreeMap::new();
    for id in graph.order() {
        let value = evaluate_node(graph, &module.weights, id, inputs, |operand| values[&operand].clone())?;
        values.insert(id, value);
    }
    Ok(values)
}

/// One value, given its operands.
pub fn evaluate_node(
    graph: &Graph,
    weights: &crate::Weights,
    id: NodeId,
    inputs: &[(&str, &Tensor)],
    operand: impl Fn(NodeId) -> Tensor,
) -> Result<Tensor, EvalError> {
    let ty = graph.ty(id).concrete();
    let ty = ty.ok_or_else(|| EvalError::Symbolic { index: id.index(), ty: graph.ty(id).to_string() })?;
    match graph.op(id) {
        Op::Input(input) => {
            let given = inputs.iter().find(|(name, _)| *name == input.name);
            let tensor = given.ok_or_else(|| EvalError::MissingInput(input.name.clone()))?.1;
            if ConcreteType::of(tensor) != ty {
                let found = ConcreteType::of(tensor).to_string();
                return Err(EvalError::InputType { name: input.name.clone(), found, expected: ty.to_string() });
            }
            Ok(tensor.clone())
        }
        Op::Weight(weight) => {
            let error = |what| EvalError::Weight { key: weight.key.clone(), what };
            let tensor = weights.get(&weight.key).ok_or_else(|| error("is not in the store".into()))?;
            if ConcreteType::of(tensor) != ty {
                return Err(error(format!("is {}, expected {ty}", ConcreteType::of(tensor))));
            }
            Ok(tensor.clone())
        }
        op => {
            let args: Vec<Tensor> = graph.operands(id).into_iter().map(operand).collect();
            let args: Vec<&Tensor> = args.iter().collect();
            op.def().eval(&args, &ty).map_err(|source| EvalError::Op { index: id.index(), op: op.name(), source })
        }
    }
}
