//! From a graph to a program: what is computed by which kernel, where every value lies, which buffers are shared.
//!
//! In: a module without symbolic dimensions. Out: [`Plan`]. Constants are converted once; changes of layout take no
//! step; neighbouring maps become one step; steps whose operands are all constant run here. Buffers are reused once
//! the value in them is dead.

use super::choose::{self, Reference};
use super::data::{Class, Data, with_lane};
use super::error::CpuError;
use super::kernel::{Arg, Copy, Kernel, Out};
use super::layout::Layout;
use super::map::MapGroup;
use super::rounding::is_exact;
use gable_ir::{ConcreteType, Graph, Group, Module, NodeId, Op, ops};
use gable_tensor::Dim;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// The buffer that holds a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    Input(usize),
    Constant(usize),
    /// The result of the step of this number; after [`Plan::new`], the slot of this number.
    Computed(usize),
}

/// Where a value lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub source: Source,
    pub layout: Layout,
}

/// One kernel's work.
pub(super) struct Step {
    pub kernel: Box<dyn Kernel>,
    pub args: Vec<Place>,
    /// The slot that gets the result, and how much of it.
    pub slot: usize,
    pub len: usize,
    /// The value computed: of a group of maps, the last.
    pub node: Label,
}

/// What messages and profiles call a step.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub index: usize,
    pub op: &'static str,
    pub origin: Option<String>,
}

/// A program without its memory.
pub(super) struct Plan {
    pub inputs: Vec<(String, ConcreteType)>,
    pub outputs: Vec<(String, ConcreteType, Place)>,
    pub constants: Vec<Data>,
    /// Class and number of elements of each buffer.
    pub slots: Vec<(Class, usize)>,
    pub steps: Vec<Step>,
    /// Ops that no kernel computes, sorted.
    pub by_reference: BTreeSet<&'static str>,
}

impl Plan {
    pub fn new(module: &Module) -> Result<Plan, CpuError> {
        let graph = &module.graph;
        let order = graph.try_order().ok_or_else(|| CpuError::Cycle { graph: graph.name.clone() })?;
        let mut types = BTreeMap::new();
        for &id in &order {
            let symbolic = || CpuError::Symbolic { index: id.index(), ty: graph.ty(id).to_string() };
            types.insert(id, graph.ty(id).concrete().ok_or_else(symbolic)?);
        }
        let mut planner = Planner {
            module,
            types,
            places: BTreeMap::new(),
            constants: Vec::new(),
            by_key: BTreeMap::new(),
            steps: Vec::new(),
            classes: Vec::new(),
            by_reference: BTreeSet::new(),
        };
        let mut inputs = Vec::new();
        for &id in graph.inputs() {
            let ty = planner.types[&id].clone();
            planner.place(id, Source::Input(inputs.len()), Layout::row_major(&ty.shape));
            inputs.push((graph.input_name(id).to_string(), ty));
        }
        let live = live(graph);
        let order: Vec<NodeId> = order.into_iter().filter(|id| live.contains(id)).collect();
        let groups = group_maps(graph, &order);
        let mut members: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for &id in &order {
            groups.get(&id).into_iter().for_each(|&root| members.entry(root).or_default().push(id));
        }
        for &id in &order {
            match groups.get(&id) {
                Some(&root) if root == id => planner.map_group(id, &members[&id])?,
                Some(_) => {}
                None => planner.node(id)?,
            }
        }
        let outputs: Vec<(String, ConcreteType, Place)> = graph
            .outputs()
            .iter()
            .map(|(name, id)| (name.clone(), planner.types[id].clone(), planner.places[id].clone()))
            .collect();
        let Planner { constants, steps, classes, by_reference, .. } = planner;
        let mut plan = Plan { inputs, outputs, constants, slots: Vec::new(), steps, by_reference };
        plan.share_slots(&classes);
        Ok(plan)
    }

    /// Gives each step's result a slot: the smallest free one that is large enough, else the largest free one, grown.
    fn share_slots(&mut self, classes: &[Class]) {
        let mut last_use: Vec<usize> = (0..self.steps.len()).collect();
        for (number, step) in self.steps.iter().enumerate() {
            for place in &step.args {
                if let Source::Computed(value) = place.source {
                    last_use[value] = number;
                }
            }
        }
        for (_, _, place) in &self.outputs {
            if let Source::Computed(value) = place.source {
                last_use[value] = usize::MAX;
            }
        }
        let mut dying: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        last_use.iter().enumerate().for_each(|(value, &step)| dying.entry(step).or_default().push(value));
        let mut free: Vec<usize> = Vec::new();
        for number in 0..self.steps.len() {
            let (class, len) = (classes[number], self.steps[number].len);
            let fitting = |slot: &&usize| self.slots[**slot].0 == class;
            let enough = free.iter().filter(fitting).filter(|&&slot| self.slots[slot].1 >= len);
            let best = enough.min_by_key(|&&slot| self.slots[slot].1);
            let best = best.or_else(|| free.iter().filter(fitting).max_by_key(|&&slot| self.slots[slot].1)).copied();
            let slot = best.unwrap_or(self.slots.len());
            match best {
                Some(slot) => self.slots[slot].1 = self.slots[slot].1.max(len),
                None => self.slots.push((class, len)),
            }
            free.retain(|&other| other != slot);
            self.steps[number].slot = slot;
            // The result is placed before operands are released: no step reads the buffer that it writes.
            let dead = dying.get(&number).into_iter().flatten();
            free.extend(dead.map(|&value| self.steps[value].slot));
        }
        let slots: Vec<usize> = self.steps.iter().map(|step| step.slot).collect();
        let args = self.steps.iter_mut().flat_map(|step| &mut step.args);
        for place in args.chain(self.outputs.iter_mut().map(|(_, _, place)| place)) {
            if let Source::Computed(value) = &mut place.source {
                *value = slots[*value];
            }
        }
    }
}

/// Values that an output needs.
fn live(graph: &Graph) -> BTreeSet<NodeId> {
    let mut live = BTreeSet::new();
    let mut pending: Vec<NodeId> = graph.outputs().iter().map(|(_, id)| *id).collect();
    while let Some(id) = pending.pop() {
        if live.insert(id) {
            pending.extend(graph.operands(id));
        }
    }
    live
}

/// The last member of each map's group. A map joins its users' group when they are all in one group, so nothing is
/// computed twice and only the last member is needed outside. A cast that changes nothing is in no group of its own.
fn group_maps(graph: &Graph, order: &[NodeId]) -> BTreeMap<NodeId, NodeId> {
    let live: BTreeSet<NodeId> = order.iter().copied().collect();
    let mut groups: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for &id in order.iter().rev().filter(|&&id| graph.op(id).is(Group::Map)) {
        let mut roots = graph.users(id).into_iter().filter(|user| live.contains(user)).map(|user| groups.get(&user));
        let root = match roots.next() {
            Some(Some(&root)) if !graph.is_output(id) && roots.all(|other| other == Some(&root)) => root,
            _ => id,
        };
        groups.insert(id, root);
    }
    let sizes = groups.values().fold(BTreeMap::<NodeId, usize>::new(), |mut sizes, &root| {
        *sizes.entry(root).or_default() += 1;
        sizes
    });
    groups.retain(|_, root| sizes[root] > 1 || !is_exact_cast(graph, *root));
    groups
}

fn is_exact_cast(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.op(id), Op::Cast(op) if is_exact(graph.ty(graph.operand(id, 0)).dtype, op.to))
}

struct Planner<'a> {
    module: &'a Module,
    types: BTreeMap<NodeId, ConcreteType>,
    places: BTreeMap<NodeId, Place>,
    constants: Vec<Data>,
    /// Constants made from weights.
    by_key: BTreeMap<&'a str, usize>,
    steps: Vec<Step>,
    /// Classes of the steps' results.
    classes: Vec<Class>,
    by_reference: BTreeSet<&'static str>,
}

impl<'a> Planner<'a> {
    fn place(&mut self, id: NodeId, source: Source, layout: Layout) {
        self.places.insert(id, Place { source, layout });
    }

    /// A value that is neither an input nor in a group of maps.
    fn node(&mut self, id: NodeId) -> Result<(), CpuError> {
        let graph = &self.module.graph;
        let operands = graph.operands(id);
        let shape = self.types[&id].shape.clone();
        let first = operands.first().map(|operand| self.places[operand].clone());
        match (graph.op(id), first) {
            (Op::Input(_), _) => {}
            (Op::Weight(weight), _) => self.weight(id, weight)?,
            (Op::Const(op), _) => self.constant(id, Data::of_tensor(&op.value), Layout::row_major(&shape)),
            (Op::Iota(op), _) => self.iota(id, op),
            (Op::Reshape(_), Some(x)) => match x.layout.reshaped(&shape) {
                Some(layout) => self.place(id, x.source, layout),
                None => {
                    let copy: Box<dyn Kernel> =
                        with_lane!(Class::of(self.types[&id].dtype), T => Box::new(Copy::<T>(PhantomData)));
                    self.step(id, copy, vec![x])?;
                }
            },
            (Op::Transpose(op), Some(x)) => self.place(id, x.source, x.layout.transposed(&op.perm)),
            (Op::Broadcast(_), Some(x)) => self.place(id, x.source, x.layout.broadcast(&shape)),
            (Op::Slice(op), Some(x)) => {
                let starts: Option<Vec<i64>> = op.starts.iter().map(Dim::value).collect();
                let symbolic =
                    || CpuError::Symbolic { index: id.index(), ty: format!("a slice of {}", self.types[&id]) };
                let layout = x.layout.sliced(&starts.ok_or_else(symbolic)?, &op.steps, &shape);
                self.place(id, x.source, layout);
            }
            (Op::Cast(_), Some(x)) => self.places.insert(id, x).map_or((), drop),
            (op, _) => {
                let args: Vec<Place> = operands.iter().map(|operand| self.places[operand].clone()).collect();
                let types: Vec<&ConcreteType> = operands.iter().map(|operand| &self.types[operand]).collect();
                let layouts: Vec<&Layout> = args.iter().map(|place| &place.layout).collect();
                let out = &self.types[&id];
                let kernel = choose::kernel(op, &types, &layouts, out).unwrap_or_else(|| {
                    self.by_reference.insert(op.name());
                    let args = types.iter().map(|ty| (*ty).clone()).collect();
                    Box::new(Reference { op: op.clone(), args, out: out.clone() })
                });
                self.step(id, kernel, args)?;
            }
        }
        Ok(())
    }

    /// A group of maps, whose last member is `root`.
    fn map_group(&mut self, root: NodeId, members: &[NodeId]) -> Result<(), CpuError> {
        let graph = &self.module.graph;
        let inside: BTreeSet<NodeId> = members.iter().copied().collect();
        let mut outside: Vec<NodeId> = Vec::new();
        for operand in members.iter().flat_map(|&member| graph.operands(member)) {
            if !inside.contains(&operand) && !outside.contains(&operand) {
                outside.push(operand);
            }
        }
        let args: Vec<Place> = outside.iter().map(|operand| self.places[operand].clone()).collect();
        let operands: Vec<(NodeId, &Layout)> =
            outside.iter().copied().zip(args.iter().map(|place| &place.layout)).collect();
        let kernel = MapGroup::compile(graph, members, &operands);
        self.step(root, Box::new(kernel), args)
    }

    fn weight(&mut self, id: NodeId, weight: &'a ops::Weight) -> Result<(), CpuError> {
        let ty = &self.types[&id];
        let error = |what| CpuError::Weight { key: weight.key.clone(), what };
        let tensor = self.module.weights.get(&weight.key).ok_or_else(|| error("is not in the store".into()))?;
        let found = ConcreteType::of(tensor);
        if found != *ty {
            return Err(error(format!("is {found}, expected {ty}")));
        }
        let layout = Layout::row_major(&ty.shape);
        match self.by_key.get(weight.key.as_str()) {
            Some(&number) => self.place(id, Source::Constant(number), layout),
            None => {
                self.by_key.insert(&weight.key, self.constants.len());
                self.constant(id, Data::of_tensor(tensor), layout);
            }
        }
        Ok(())
    }

    fn constant(&mut self, id: NodeId, data: Data, layout: Layout) {
        self.place(id, Source::Constant(self.constants.len()), layout);
        self.constants.push(data);
    }

    /// Coordinates: one line of numbers, which the other axes repeat.
    fn iota(&mut self, id: NodeId, op: &ops::Iota) {
        let shape = &self.types[&id].shape;
        let line = ConcreteType { dtype: op.dtype, shape: vec![shape[op.axis]] };
        let values = (0..line.shape[0]).map(|i| gable_tensor::Scalar::I(i as i128));
        let data = Data::of_tensor(&gable_tensor::Tensor::from_scalars(line.dtype, line.shape.clone(), values));
        let mut layout = Layout::row_major(shape);
        layout.strides = (0..shape.len()).map(|axis| isize::from(axis == op.axis)).collect();
        self.constant(id, data, layout);
    }

    fn step(&mut self, id: NodeId, kernel: Box<dyn Kernel>, args: Vec<Place>) -> Result<(), CpuError> {
        let (node, ty) = (self.module.graph.node(id), &self.types[&id]);
        let (class, len) = (Class::of(ty.dtype), ty.len());
        let layout = Layout::row_major(&ty.shape);
        let label = Label { index: id.index(), op: node.op.name(), origin: node.origin.clone() };
        let step = Step { kernel, args, slot: usize::MAX, len, node: label };
        if let Some(data) = self.folded(&step, class)? {
            self.constant(id, data, layout);
            return Ok(());
        }
        self.place(id, Source::Computed(self.steps.len()), layout);
        self.steps.push(step);
        self.classes.push(class);
        Ok(())
    }

    /// The result of a step of constants, unless it takes more memory than they do.
    fn folded(&self, step: &Step, class: Class) -> Result<Option<Data>, CpuError> {
        let mut args = Vec::with_capacity(step.args.len());
        for place in &step.args {
            let Source::Constant(number) = place.source else { return Ok(None) };
            args.push(Arg { data: &self.constants[number], layout: &place.layout });
        }
        if step.len > args.iter().map(|arg| arg.data.len()).sum() {
            return Ok(None);
        }
        let mut data = Data::zeroed(class, step.len).ok_or(CpuError::OutOfMemory { elements: step.len })?;
        step.kernel.run(&args, Out { data: &mut data, len: step.len }).map_err(|source| step.node.error(source))?;
        Ok(Some(data))
    }
}

impl Label {
    pub fn error(&self, source: gable_ir::OpError) -> CpuError {
        CpuError::Op { index: self.index, op: self.op, origin: self.origin.clone(), source }
    }
}
