//! Values and how they depend on each other, on petgraph.
//!
//! A node is an op with its result: every op has one result, so a node is also a value. Edges run from operand to
//! user and carry the operand's position. The canonical order is topological, ties broken by insertion; printing,
//! numbering and every pass use it, so the same graph always gives the same text.

use crate::op::{Op, OpError};
use crate::ops::Input;
use crate::region::Region;
use crate::types::Type;
use gable_tensor::Bindings;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// A value of a graph.
pub type NodeId = NodeIndex<u32>;

/// An op and what is known of its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The op.
    pub op: Op,
    /// Type of the result.
    pub ty: Type,
    /// Where it came from, for messages and reports: an ONNX node's name, say. No meaning.
    pub origin: Option<String>,
}

/// A tensor program: inputs, ops, named outputs, and (after fusion) regions.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The graph's name.
    pub name: String,
    /// What fuses with what; empty before fusion. See [`crate::region`].
    pub regions: Vec<Region>,
    nodes: StableDiGraph<Node, u32>,
    inputs: Vec<NodeId>,
    outputs: Vec<(String, NodeId)>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Adds an argument.
    pub fn input(&mut self, name: impl Into<String>, ty: Type) -> NodeId {
        let op = Input { name: name.into(), dtype: ty.dtype, shape: ty.shape.clone() };
        let id = self.nodes.add_node(Node { op: op.into(), ty, origin: None });
        self.inputs.push(id);
        id
    }

    /// Adds an op whose type follows from its operands.
    pub fn add(&mut self, op: impl Into<Op>, operands: &[NodeId]) -> Result<NodeId, OpError> {
        let op = op.into();
        op.info().check_arity(operands.len())?;
        let types: Vec<&Type> = operands.iter().map(|&id| self.ty(id)).collect();
        let ty = op.def().infer(&types)?;
        Ok(self.add_unchecked(op, operands, ty))
    }

    /// Adds an op with a stated type, right or wrong: for the parser, whose result the verifier judges.
    pub fn add_unchecked(&mut self, op: Op, operands: &[NodeId], ty: Type) -> NodeId {
        let is_input = matches!(op, Op::Input(_));
        let id = self.nodes.add_node(Node { op, ty, origin: None });
        for (position, &operand) in operands.iter().enumerate() {
            self.nodes.add_edge(operand, id, position as u32);
        }
        if is_input {
            self.inputs.push(id);
        }
        id
    }

    /// Names a value as a result of the graph. One value may have several names.
    pub fn output(&mut self, name: impl Into<String>, id: NodeId) {
        self.outputs.push((name.into(), id));
    }

    /// The arguments, in order.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// Names and values of the results, in order.
    pub fn outputs(&self) -> &[(String, NodeId)] {
        &self.outputs
    }

    /// The name of an argument.
    pub fn input_name(&self, id: NodeId) -> &str {
        match self.op(id) {
            Op::Input(input) => &input.name,
            other => unreachable!("`{}` is not an input", other.name()),
        }
    }

    /// A node. Panics when `id` is of another graph or removed.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// A node, to be changed in place.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id]
    }

    /// A value's op.
    pub fn op(&self, id: NodeId) -> &Op {
        &self.nodes[id].op
    }

    /// A value's type.
    pub fn ty(&self, id: NodeId) -> &Type {
        &self.nodes[id].ty
    }

    /// Whether the value exists.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_node(id)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every value, in insertion order.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.node_indices().collect()
    }

    /// Operands in position.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        let mut edges: Vec<(u32, NodeId)> =
            self.nodes.edges_directed(id, Direction::Incoming).map(|e| (*e.weight(), e.source())).collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, source)| source).collect()
    }

    /// The operand at `position`. Panics past the last.
    pub fn operand(&self, id: NodeId, position: usize) -> NodeId {
        self.operands(id)[position]
    }

    /// Users, sorted, each once however often it uses the value.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let users: BTreeSet<NodeId> = self.nodes.neighbors_directed(id, Direction::Outgoing).collect();
        users.into_iter().collect()
    }

    /// Number of uses: operand positions of other values, and names as a result.
    pub fn n_uses(&self, id: NodeId) -> usize {
        self.nodes.edges_directed(id, Direction::Outgoing).count()
            + self.outputs.iter().filter(|(_, o)| *o == id).count()
    }

    /// Whether the value is a result of the graph.
    pub fn is_output(&self, id: NodeId) -> bool {
        self.outputs.iter().any(|(_, output)| *output == id)
    }

    /// Makes every user of `old`, and every output, use `new` instead. `new` itself may use `old`; that use stays.
    pub fn replace_uses(&mut self, old: NodeId, new: NodeId) {
        let edges: Vec<_> = self
            .nodes
            .edges_directed(old, Direction::Outgoing)
            .filter(|e| e.target() != new)
            .map(|e| (e.id(), e.target(), *e.weight()))
            .collect();
        for (edge, user, position) in edges {
            self.nodes.remove_edge(edge);
            self.nodes.add_edge(new, user, position);
        }
        for (_, output) in &mut self.outputs {
            if *output == old {
                *output = new;
            }
        }
    }

    /// Makes `id` take `operand` at `position` instead of what it took.
    pub fn set_operand(&mut self, id: NodeId, position: usize, operand: NodeId) {
        let edge = self
            .nodes
            .edges_directed(id, Direction::Incoming)
            .find(|e| *e.weight() as usize == position)
            .map(|e| e.id());
        self.nodes.remove_edge(edge.expect("the position is within the op's operands"));
        self.nodes.add_edge(operand, id, position as u32);
    }

    /// Removes a value that has no users. Panics when it has.
    pub fn remove(&mut self, id: NodeId) {
        assert_eq!(self.n_uses(id), 0, "a value is removed after its uses");
        self.inputs.retain(|&input| input != id);
        self.nodes.remove_node(id);
    }

    /// Removes values that no output needs, inputs excepted. Returns how many.
    pub fn remove_dead(&mut self) -> usize {
        let mut live: BTreeSet<NodeId> = self.inputs.iter().copied().collect();
        let mut pending: Vec<NodeId> = self.outputs.iter().map(|(_, id)| *id).collect();
        while let Some(id) = pending.pop() {
            if live.insert(id) {
                pending.extend(self.nodes.neighbors_directed(id, Direction::Incoming));
            }
        }
        let dead: Vec<NodeId> = self.nodes.node_indices().filter(|id| !live.contains(id)).collect();
        for &id in &dead {
            self.nodes.remove_node(id);
        }
        dead.len()
    }

    /// Every value, operands before users, ties by insertion. With regions, a region's values are contiguous.
    /// `None` when the graph (or the graph of regions) has a cycle.
    pub fn try_order(&self) -> Option<Vec<NodeId>> {
        // Units are single values, or regions under the id of their first value.
        let mut unit_of: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let mut members: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for region in &self.regions {
            if let Some(&first) = region.nodes.iter().min() {
                region.nodes.iter().for_each(|&id| {
                    unit_of.insert(id, first);
                });
                members.insert(first, region.nodes.clone());
            }
        }
        let unit = |id: NodeId| unit_of.get(&id).copied().unwrap_or(id);
        let mut waiting: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        let mut users: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        for id in self.nodes.node_indices() {
            waiting.entry(unit(id)).or_default();
            for operand in self.nodes.neighbors_directed(id, Direction::Incoming) {
                if unit(operand) != unit(id) {
                    waiting.entry(unit(id)).or_default().insert(unit(operand));
                    users.entry(unit(operand)).or_default().insert(unit(id));
                }
            }
        }
        let mut ready: BinaryHeap<Reverse<NodeId>> =
            waiting.iter().filter(|(_, on)| on.is_empty()).map(|(&id, _)| Reverse(id)).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(id)) = ready.pop() {
            match members.get(&id) {
                Some(nodes) => order.extend(self.order_within(nodes)?),
                None => order.push(id),
            }
            for &user in users.get(&id).into_iter().flatten() {
                let on = waiting.get_mut(&user).expect("every unit waits");
                on.remove(&id);
                if on.is_empty() {
                    ready.push(Reverse(user));
                }
            }
        }
        (order.len() == self.len()).then_some(order)
    }

    /// The given values in topological order, ties by insertion; `None` when they have a cycle.
    pub fn order_within(&self, nodes: &[NodeId]) -> Option<Vec<NodeId>> {
        let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
        let operands_inside = |id| {
            let unique: BTreeSet<NodeId> =
                self.nodes.neighbors_directed(id, Direction::Incoming).filter(|o| inside.contains(o)).collect();
            unique.len()
        };
        let mut waiting: BTreeMap<NodeId, usize> = inside.iter().map(|&id| (id, operands_inside(id))).collect();
        let mut ready: BinaryHeap<Reverse<NodeId>> =
            waiting.iter().filter(|(_, n)| **n == 0).map(|(&id, _)| Reverse(id)).collect();
        let mut order = Vec::with_capacity(inside.len());
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for user in self.users(id) {
                if let Some(n) = waiting.get_mut(&user) {
                    *n -= 1;
                    if *n == 0 {
                        ready.push(Reverse(user));
                    }
                }
            }
        }
        (order.len() == inside.len()).then_some(order)
    }

    /// Every value in canonical order. Panics on a cycle, which a verified graph has not.
    pub fn order(&self) -> Vec<NodeId> {
        self.try_order().expect("a verified graph has no cycle")
    }

    /// Names of unbound dimensions over all inputs, sorted.
    pub fn symbols(&self) -> Vec<String> {
        let all: BTreeSet<String> = self
            .inputs
            .iter()
            .flat_map(|&id| self.ty(id).shape.iter().flat_map(|dim| dim.symbols()))
            .map(|name| name.to_string())
            .collect();
        all.into_iter().collect()
    }

    /// The same graph with named dimensions replaced, every type inferred anew, and ids renumbered canonically.
    pub fn bind(&self, bindings: &Bindings) -> Result<Graph, OpError> {
        self.rebuild(|op, _| crate::ops::bind_op(op, bindings))
    }

    /// The same graph with ids renumbered in canonical order.
    pub fn compacted(&self) -> Graph {
        self.rebuild(|op, _| op.clone()).expect("a verified graph's types follow from its operands")
    }

    /// Copies the graph in canonical order, each op passed through `change`, types inferred anew.
    pub fn rebuild(&self, mut change: impl FnMut(&Op, NodeId) -> Op) -> Result<Graph, OpError> {
        let mut graph = Graph::new(self.name.clone());
        let mut map: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        // Inputs keep their order, whatever the order of their first use.
        for &id in &self.inputs {
            let op = change(self.op(id), id);
            map.insert(id, graph.add(op, &[])?);
        }
        for id in self.order() {
            if map.contains_key(&id) {
                continue;
            }
            let operands: Vec<NodeId> = self.operands(id).iter().map(|operand| map[operand]).collect();
            let op = change(self.op(id), id);
            let place = |e: OpError| OpError(format!("value {} (`{}`): {e}", id.index(), op.name()));
            let new = graph.add(op.clone(), &operands).map_err(place)?;
            graph.node_mut(new).origin = self.node(id).origin.clone();
            map.insert(id, new);
        }
        for (name, id) in &self.outputs {
            graph.output(name.clone(), map[id]);
        }
        graph.regions = self.regions.iter().map(|region| region.mapped(|id| map[&id])).collect();
        Ok(graph)
    }
}

/// Equality of structure: the same ops, operands, types, inputs, outputs and regions in canonical order.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        let (Some(mine), Some(theirs)) = (self.try_order(), other.try_order()) else { return false };
        if self.name != other.name || mine.len() != theirs.len() {
            return false;
        }
        let to_theirs: BTreeMap<NodeId, NodeId> = mine.iter().copied().zip(theirs.iter().copied()).collect();
        let same_nodes = to_theirs.iter().all(|(&a, &b)| {
            self.node(a) == other.node(b)
                && self.operands(a).iter().map(|o| to_theirs[o]).collect::<Vec<_>>() == other.operands(b)
        });
        same_nodes
            && self.inputs.iter().map(|id| to_theirs[id]).collect::<Vec<_>>() == other.inputs
            && self.outputs.iter().map(|(n, id)| (n.clone(), to_theirs[id])).collect::<Vec<_>>() == other.outputs
            && self.regions.iter().map(|r| r.mapped(|id| to_theirs[&id])).collect::<Vec<_>>() == other.regions
    }
}
