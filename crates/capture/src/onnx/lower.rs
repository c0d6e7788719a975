//! A loaded model to a module: every dimension bound, functions inlined, each node lowered by its operator's row.
//!
//! Values that follow from constants are evaluated as they are added, so sub-graphs that only compute shapes vanish and
//! shapes become attributes. Parameters of more than a few elements are left for the passes to fold.

use crate::error::{CaptureError, NodePlace};
use crate::onnx::call::{Call, sizes};
use crate::onnx::control;
use crate::onnx::external::ExternalFiles;
use crate::onnx::model::{OnnxModel, node_label};
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use crate::onnx::table::{self, Lower, Row};
use crate::onnx::tensor;
use gable_ir::build::MAX_INLINE_ELEMENTS;
use gable_ir::{Builder, Module, NodeId};
use gable_tensor::{Bindings, Dim};
use std::collections::BTreeMap;

/// The most nodes that one model may have once its functions are inlined and its loops unrolled: functions that call
/// functions can ask for exponentially many.
const MAX_NODES: usize = 200_000;

/// How deep functions and branches may nest.
const MAX_DEPTH: usize = 64;

impl OnnxModel {
    /// The model as graph and parameters, with the named dimensions bound. Fails on a dimension without a value, an
    /// operator without a row, or a node that its operator's lowering refuses.
    pub fn module(&self, bindings: &Bindings) -> Result<Module, CaptureError> {
        // Names in the file may have characters that dimensions of a graph do not.
        let bindings: Bindings = bindings.iter().map(|(name, &n)| (Dim::symbol(name).to_string(), n)).collect();
        self.signature().check_values(self.path(), &bindings)?;
        self.signature().check_bound(self.path(), &bindings)?;
        let name = self.graph().name();
        let mut builder = Builder::new(if name.is_empty() { "main" } else { name });
        builder.folds = true;
        let mut lowering = Lowering { model: self, builder, n_nodes: 0 };
        let mut scope = Scope::main(self);
        for input in &self.signature().inputs {
            let ty = input.ty.bind(&bindings);
            if ty.concrete().is_none() {
                return Err(self.malformed(format!("input `{}`", input.name), format!("has the impossible type {ty}")));
            }
            let id = lowering.builder.input(&input.name, ty);
            scope.define(&input.name, id);
        }
        lowering.nodes(&self.graph().node, &mut scope)?;
        for output in &self.signature().outputs {
            let id = lowering.value(output, &mut scope)?;
            lowering.builder.output(output, id);
        }
        let mut module = lowering.builder.finish();
        module.graph.remove_dead();
        module.weights.retain_used(&module.graph);
        Ok(module)
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A tensor, which is a value of the graph.
    Tensor(NodeId),
    /// A list of tensors. Graphs have none: its length is known at capture, and it is taken apart there.
    Sequence(Vec<NodeId>),
}

/// Where names are looked up: the model's graph, a branch within another scope, or a function's body.
pub(crate) struct Scope<'s> {
    values: BTreeMap<String, Value>,
    /// The scope around a branch, whose names it sees.
    around: Option<&'s Scope<'s>>,
    /// Versions of the operator sets that the body is written in.
    opsets: BTreeMap<String, i64>,
    /// Whether the model's initializers are seen; functions do not.
    sees_initializers: bool,
    depth: usize,
}

impl<'s> Scope<'s> {
    fn main(model: &OnnxModel) -> Scope<'static> {
        let opsets = model.opsets().clone();
        Scope { values: BTreeMap::new(), around: None, opsets, sees_initializers: true, depth: 0 }
    }

    /// A branch or loop body within `self`.
    pub(crate) fn branch(&'s self) -> Scope<'s> {
        let (opsets, depth) = (self.opsets.clone(), self.depth + 1);
        Scope { values: BTreeMap::new(), around: Some(self), opsets, sees_initializers: self.sees_initializers, depth }
    }

    /// Names a value.
    pub(crate) fn define(&mut self, name: &str, id: NodeId) {
        self.values.insert(name.to_string(), Value::Tensor(id));
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| self.around?.find(name))
    }
}

/// The state of lowering one model.
pub(crate) struct Lowering<'m> {
    pub(crate) model: &'m OnnxModel,
    pub(crate) builder: Builder,
    n_nodes: usize,
}

impl Lowering<'_> {
    /// Lowers a body's nodes in order.
    pub(crate) fn nodes(&mut self, nodes: &[NodeProto], scope: &mut Scope) -> Result<(), CaptureError> {
        for node in nodes {
            self.node(node, scope)?;
        }
        Ok(())
    }

    /// Lowers a branch or loop body; the values of its outputs.
    pub(crate) fn body(&mut self, graph: &GraphProto, scope: &mut Scope) -> Result<Vec<NodeId>, CaptureError> {
        for initializer in &graph.initializer {
            let place = || format!("initializer `{}` of graph `{}`", initializer.name(), graph.name());
            let value = tensor::read(initializer, &mut ExternalFiles::beside(self.model.path()))
                .map_err(|problem| self.model.malformed(place(), problem))?;
            let id = self.builder.constant(value).map_err(|e| self.model.malformed(place(), e.to_string()))?;
            scope.define(initializer.name(), id);
        }
        self.nodes(&graph.node, scope)?;
        graph.output.iter().map(|output| self.value(output.name(), scope)).collect()
    }

    /// The tensor called `name`; an initializer becomes one at its first use.
    fn value(&mut self, name: &str, scope: &mut Scope) -> Result<NodeId, CaptureError> {
        match scope.find(name) {
            Some(Value::Tensor(id)) => return Ok(*id),
            Some(Value::Sequence(_)) => {
                return Err(self.model.malformed(format!("value `{name}`"), "is a sequence, expected a tensor here"));
            }
            None => {}
        }
        let initializer = self.model.initializers.get(name).filter(|_| scope.sees_initializers);
        let Some(tensor) = initializer.cloned() else {
            return Err(self.model.malformed(format!("value `{name}`"), "is read, but nothing makes it before"));
        };
        self.builder.set_origin(None);
        let small = tensor.len() <= MAX_INLINE_ELEMENTS;
        let id = if small { self.builder.constant(tensor) } else { self.builder.weight(name, tensor) };
        let id = id.map_err(|e| self.model.malformed(format!("initializer `{name}`"), e.to_string()))?;
        scope.define(name, id);
        Ok(id)
    }

    fn node(&mut self, node: &NodeProto, scope: &mut Scope) -> Result<(), CaptureError> {
        self.n_nodes += 1;
        let label = node_label(node);
        if self.n_nodes > MAX_NODES || scope.depth > MAX_DEPTH {
            let problem = format!(
                "passes the limits of {MAX_NODES} nodes and {MAX_DEPTH} nested bodies once functions are inlined and \
                 loops unrolled"
            );
            return Err(self.model.malformed(format!("node `{label}`"), problem));
        }
        let function = self.model.function(node);
        let takes_sequences = function.is_none() && self.row(node, scope).is_some_and(Row::takes_sequences);
        let (mut inputs, mut sequences) = (Vec::with_capacity(node.input.len()), BTreeMap::new());
        for (index, name) in node.input.iter().enumerate() {
            inputs.push(match scope.find(name) {
                _ if name.is_empty() => None,
                Some(Value::Sequence(list)) if takes_sequences => {
                    sequences.insert(index, list.clone());
                    None
                }
                _ => Some(self.value(name, scope)?),
            });
        }
        let results = match function {
            Some(function) => self.call_function(function, node, &inputs, scope)?,
            None => self.operator(node, &label, (inputs, sequences), scope)?,
        };
        for (index, name) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(value) = results.get(index) else {
                let problem = format!("its operator has no output {index} here, but `{name}` is to be it");
                return Err(self.model.malformed(format!("node `{label}`"), problem));
            };
            scope.values.insert(name.clone(), value.clone());
        }
        Ok(())
    }

    /// The domain that a node's operator is looked up in, and its version.
    fn domain<'n>(node: &'n NodeProto, scope: &Scope) -> (&'n str, i64) {
        let domain = if node.domain() == "ai.onnx" { "" } else { node.domain() };
        (domain, scope.opsets.get(domain).copied().unwrap_or(1))
    }

    fn row(&self, node: &NodeProto, scope: &Scope) -> Option<&'static Row> {
        let (domain, opset) = Self::domain(node, scope);
        table::find(domain, node.op_type(), opset)
    }

    fn operator(
        &mut self,
        node: &NodeProto,
        label: &str,
        (inputs, sequences): (Vec<Option<NodeId>>, BTreeMap<usize, Vec<NodeId>>),
        scope: &Scope,
    ) -> Result<Vec<Value>, CaptureError> {
        let (domain, opset) = Self::domain(node, scope);
        let place = || {
            let domain = if domain.is_empty() { "ai.onnx" } else { domain }.to_string();
            let (file, node_label, op) =
                (self.model.path().to_path_buf(), label.to_string(), node.op_type().to_string());
            Box::new(NodePlace { file, node: node_label, op, domain, opset })
        };
        let Some(row) = self.row(node, scope) else {
            return Err(CaptureError::UnsupportedOperator(place()));
        };
        let call = Call { node, opset, inputs, sequences, file: self.model.path() };
        self.builder.set_origin(Some(label.to_string()));
        let result = match row.lower {
            Lower::Values(lower) => lower(&mut self.builder, &call).map(tensors),
            Lower::Sequences(lower) => lower(&mut self.builder, &call),
            Lower::Graphs(lower) => match lower(self, &call, scope) {
                Ok(values) => Ok(tensors(values)),
                Err(control::Error::Node(source)) => Err(source),
                Err(control::Error::Inside(error)) => return Err(error),
            },
        };
        let checked = result.and_then(|values| {
            for value in &values {
                let ids = match value {
                    Value::Tensor(id) => std::slice::from_ref(id),
                    Value::Sequence(list) => list,
                };
                ids.iter().try_for_each(|&id| sizes(&self.builder, id).map(drop))?;
            }
            Ok(values)
        });
        checked.map_err(|source| CaptureError::Node { place: place(), source })
    }

    /// Inlines a call of one of the model's own functions.
    fn call_function(
        &mut self,
        function: &FunctionProto,
        node: &NodeProto,
        inputs: &[Option<NodeId>],
        around: &Scope,
    ) -> Result<Vec<Value>, CaptureError> {
        let mut opsets = around.opsets.clone();
        for import in &function.opset_import {
            let domain = if import.domain() == "ai.onnx" { "" } else { import.domain() };
            opsets.insert(domain.to_string(), import.version());
        }
        let depth = around.depth + 1;
        let mut scope = Scope { values: BTreeMap::new(), around: None, opsets, sees_initializers: false, depth };
        for (name, id) in function.input.iter().zip(inputs) {
            if let Some(id) = id {
                scope.define(name, *id);
            }
        }
        for inner in &function.node {
            let mut inner = with_attributes(inner, function, node);
            // An optional parameter that the call leaves out is left out within as well.
            for name in &mut inner.input {
                if function.input.contains(name) && scope.find(name).is_none() {
                    name.clear();
                }
            }
            self.node(&inner, &mut scope)?;
        }
        function.output.iter().map(|name| self.value(name, &mut scope).map(Value::Tensor)).collect()
    }
}

fn tensors(ids: Vec<NodeId>) -> Vec<Value> {
    ids.into_iter().map(Value::Tensor).collect()
}

impl OnnxModel {
    /// The model's own function that a node calls.
    fn function(&self, node: &NodeProto) -> Option<&FunctionProto> {
        self.proto.functions.iter().find(|function| {
            function.name() == node.op_type()
                && function.domain() == node.domain()
                && function.overload() == node.overload()
        })
    }
}

/// A function's node with references to the call's attributes replaced by their values, in its own sub-graphs too.
fn with_attributes(inner: &NodeProto, function: &FunctionProto, call: &NodeProto) -> NodeProto {
    let value = |name: &str| {
        let given = call.attribute.iter().find(|attr| attr.name() == name);
        given.or_else(|| function.attribute_proto.iter().find(|attr| attr.name() == name))
    };
    let resolve = |attr: &AttributeProto| -> Option<AttributeProto> {
        if !attr.ref_attr_name().is_empty() {
            let name = attr.name.clone();
            return value(attr.ref_attr_name()).map(|found| AttributeProto { name, ..found.clone() });
        }
        let mut attr = attr.clone();
        for graph in attr.g.iter_mut().chain(&mut attr.graphs) {
            for node in &mut graph.node {
                *node = with_attributes(node, function, call);
            }
        }
        Some(attr)
    };
    NodeProto { attribute: inner.attribute.iter().filter_map(resolve).collect(), ..inner.clone() }
}
