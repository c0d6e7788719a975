//! Random valid graphs over the op table, for tests that compare two ways of computing the same thing.
//!
//! Every row can be drawn. Sizes are small, shapes odd: axes of size 0 and 1, rank 0, views as operands. The same seed
//! gives the same graph on every machine.

use crate::attr::{Attr, Layout, ReduceKind, ScatterKind};
use crate::build::Builder;
use crate::graph::NodeId;
use crate::module::Module;
use crate::op::{Group, Op, OpInfo};
use crate::ops;
use crate::types::{ConcreteType, Type};
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Dim, Tensor};

/// Draws until one fits: attributes are drawn without regard to each other, and most rows accept few of the types.
const ATTEMPTS: usize = 400;

/// Values that a graph may hold at most per tensor.
const MAX_ELEMENTS: usize = 2000;

/// Grows a graph.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    builder: Builder,
    values: Vec<NodeId>,
}

impl Generator {
    /// An empty graph.
    pub fn new(seed: u64) -> Generator {
        Generator { random: Random::new(seed), builder: Builder::new("random"), values: Vec::new() }
    }

    /// Adds an op of the row, with random attributes over values of the graph or new ones, if `accept` takes it.
    /// `None` when no draw fitted.
    pub fn grow(&mut self, row: &OpInfo, accept: &dyn Fn(&Op, &[Type]) -> bool) -> Option<NodeId> {
        for _ in 0..ATTEMPTS {
            let x = self.some_type();
            let Some((op, types)) = self.draw(row, &x) else { continue };
            let refs: Vec<&Type> = types.iter().collect();
            let Ok(result) = op.def().infer(&refs) else { continue };
            let fits = |ty: &Type| ty.concrete().is_some_and(|ty| ty.len() <= MAX_ELEMENTS);
            if !fits(&result) || !types.iter().all(fits) || !accept(&op, &types) {
                continue;
            }
            let id = if op.is(Group::Leaf) {
                self.leaf(&result, Some(row.name))
            } else {
                let operands: Vec<NodeId> = types.iter().map(|ty| self.value(ty)).collect();
                self.builder.add(op, &operands).expect("the types were accepted")
            };
            self.values.push(id);
            return Some(id);
        }
        None
    }

    /// Adds an op of a random row.
    pub fn grow_any(&mut self, accept: &dyn Fn(&Op, &[Type]) -> bool) -> Option<NodeId> {
        let row = &Op::TABLE[self.below(Op::TABLE.len())];
        self.grow(row, accept)
    }

    /// The graph, whose results are the values that no other value uses.
    pub fn finish(mut self) -> Module {
        for id in self.builder.graph.ids() {
            let graph = &self.builder.graph;
            if graph.users(id).is_empty() && !graph.op(id).is(Group::Leaf) {
                self.builder.output(format!("out{}", id.index()), id);
            }
        }
        if let (true, Some(&id)) = (self.builder.graph.outputs().is_empty(), self.values.first()) {
            self.builder.output("out", id);
        }
        self.builder.finish()
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn among<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn size(&mut self) -> usize {
        self.among(&[0, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 11, 16, 17])
    }

    fn shape(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| if self.chance(12) { 0 } else { self.size().max(1) }).collect()
    }

    fn dtype(&mut self) -> DType {
        // Half of the values f32: many rows take floats only.
        if self.chance(2) { DType::F32 } else { self.among(DType::ALL) }
    }

    fn some_type(&mut self) -> Type {
        if !self.values.is_empty() && !self.chance(4) {
            let at = self.below(self.values.len());
            return self.builder.ty(self.values[at]).clone();
        }
        let rank = self.among(&[0, 1, 2, 2, 3, 3, 4, 4, 5]);
        let (dtype, shape) = (self.dtype(), self.shape(rank));
        Type::new(dtype, shape)
    }

    /// A value of the type: one that is there, or a new one.
    fn value(&mut self, ty: &Type) -> NodeId {
        let same: Vec<NodeId> = self.values.iter().copied().filter(|&id| self.builder.ty(id) == ty).collect();
        if !same.is_empty() && !self.chance(4) {
            return same[self.below(same.len())];
        }
        let shape = ty.concrete().expect("random types are concrete").shape;
        let id = match self.below(6) {
            0 if !shape.is_empty() => self.turned(ty.dtype, &shape),
            1 if !shape.is_empty() => self.cut(ty.dtype, &shape),
            2 => self.repeated(ty, &shape),
            _ => self.leaf(ty, None),
        };
        self.values.push(id);
        id
    }

    fn leaf(&mut self, ty: &Type, kind: Option<&str>) -> NodeId {
        let concrete = ty.concrete().expect("random types are concrete");
        let kind = kind.unwrap_or(match self.below(4) {
            0 => "weight",
            1 if concrete.len() <= 8 => "const",
            _ => "input",
        });
        let tensor = tensor(&mut self.random, &concrete);
        let made = match kind {
            "weight" => self.builder.weight(format!("w{}", self.builder.graph.len()), tensor),
            "const" => self.builder.add(ops::Const { value: tensor }, &[]),
            "iota" => {
                let axis = self.below(ty.rank().max(1));
                self.builder.add(ops::Iota { axis, dtype: ty.dtype, shape: ty.shape.clone() }, &[])
            }
            _ => Ok(self.builder.input(format!("x{}", self.builder.graph.len()), ty.clone())),
        };
        made.expect("leaves of any type can be made")
    }

    /// A transpose of a new leaf.
    fn turned(&mut self, dtype: DType, shape: &[usize]) -> NodeId {
        let perm = self.permutation(shape.len());
        let mut from = vec![0; shape.len()];
        perm.iter().zip(shape).for_each(|(&axis, &size)| from[axis] = size);
        let leaf = self.leaf(&Type::new(dtype, from), None);
        self.builder.transpose(leaf, &perm).expect("a permutation")
    }

    /// A slice of a new leaf, one axis reversed or strided.
    fn cut(&mut self, dtype: DType, shape: &[usize]) -> NodeId {
        let axis = self.below(shape.len());
        let mut from = shape.to_vec();
        from[axis] = shape[axis] * 2 + 1;
        let leaf = self.leaf(&Type::new(dtype, from.clone()), None);
        let mut starts = vec![Dim::known(0); shape.len()];
        let mut ends: Vec<Dim> = from.iter().map(|&n| Dim::from(n)).collect();
        let mut steps = vec![1; shape.len()];
        let n = shape[axis] as i64;
        let (start, end, step) = self.among(&[(1, n + 1, 1), (0, 2 * n, 2), (2 * n, 0, -2), (n, 0, -1)]);
        (starts[axis], ends[axis], steps[axis]) = (Dim::known(start), Dim::known(end), step);
        self.builder.add(ops::Slice { starts, ends, steps }, &[leaf]).expect("the slice lies inside")
    }

    /// A broadcast of a new leaf.
    fn repeated(&mut self, ty: &Type, shape: &[usize]) -> NodeId {
        let mut from: Vec<usize> = shape.iter().map(|&n| if self.chance(2) { 1 } else { n }).collect();
        if self.chance(2) {
            from.drain(..self.random.below(from.len() as u64 + 1) as usize);
        }
        let leaf = self.leaf(&Type::new(ty.dtype, from), None);
        self.builder.broadcast_to(leaf, &ty.shape).expect("sizes of 1 broadcast")
    }

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (0..rank).collect();
        for i in (1..rank).rev() {
            let j = self.below(i + 1);
            perm.swap(i, j);
        }
        perm
    }

    fn amounts(&mut self, n: usize, from: &[i64]) -> Vec<i64> {
        (0..n).map(|_| self.among(from)).collect()
    }

    fn counts(&mut self, n: usize, from: &[usize]) -> Vec<usize> {
        (0..n).map(|_| self.among(from)).collect()
    }

    fn accumulator(&mut self, dtype: DType) -> DType {
        crate::build::default_acc(dtype)
    }

    /// An op of the row and its operands' types, perhaps ones that do not fit; `x` is the first operand's if possible.
    fn draw(&mut self, row: &OpInfo, x: &Type) -> Option<(Op, Vec<Type>)> {
        let rank = x.rank();
        let axis = (rank > 0).then(|| self.below(rank));
        let shape = x.concrete().expect("random types are concrete").shape;
        let vector = |n: &Dim| Type { dtype: x.dtype, shape: vec![n.clone()] };
        let kind = self.among(ReduceKind::ALL);
        let index = self.among(&[DType::I32, DType::I64]);
        let flag = self.chance(2);
        Some(match row.name {
            "input" | "weight" | "const" | "iota" => {
                let text = |name: &str| match name {
                    "dtype" => Some(x.dtype.print()),
                    "shape" => Some(x.shape.print()),
                    "axis" => axis.map(|axis| axis.print()),
                    "value" => Some(Tensor::scalar(x.dtype, 1.0).print()),
                    _ => Some(String::from("leaf").print()),
                };
                (Op::parse(row.name, &text).ok()?, vec![])
            }
            "cast" => (ops::Cast { to: self.among(DType::ALL) }.into(), vec![x.clone()]),
            "is_inf" => (ops::IsInf { positive: flag, negative: self.chance(2) }.into(), vec![x.clone()]),
            "gelu" => (ops::Gelu { tanh: flag }.into(), vec![x.clone()]),
            "select" => (ops::Select {}.into(), vec![x.with_dtype(DType::Bool), x.clone(), x.clone()]),
            "reshape" => (ops::Reshape { shape: self.other_shape(&shape) }.into(), vec![x.clone()]),
            "transpose" => (ops::Transpose { perm: self.permutation(rank) }.into(), vec![x.clone()]),
            "broadcast" => {
                let mut to: Vec<usize> = shape.iter().map(|&n| if n == 1 { self.size() } else { n }).collect();
                if flag {
                    to.insert(0, self.size());
                }
                (ops::Broadcast { shape: to.into_iter().map(Dim::from).collect() }.into(), vec![x.clone()])
            }
            "slice" => (self.slice(&shape), vec![x.clone()]),
            "bitcast" => {
                let mut x = x.with_dtype(self.among(&[DType::E2M1, DType::U8]));
                if x.dtype == DType::E2M1 && rank > 0 {
                    x.shape[rank - 1] = Dim::known(2);
                }
                let to = if x.dtype == DType::U8 { DType::E2M1 } else { DType::U8 };
                (ops::Bitcast { to }.into(), vec![x])
            }
            "concat" => {
                let axis = axis?;
                let n = 1 + self.below(3);
                let types = (0..n).map(|_| {
                    let mut ty = x.clone();
                    ty.shape[axis] = if self.chance(2) { ty.shape[axis].clone() } else { Dim::from(self.size()) };
                    ty
                });
                (ops::Concat { axis }.into(), types.collect())
            }
            "pad" => {
                let low = self.amounts(rank, &[0, 0, 1, 2, -1]);
                let (high, interior) = (self.amounts(rank, &[0, 0, 1, 3, -2]), self.amounts(rank, &[0, 0, 0, 1, 2]));
                (ops::Pad { low, high, interior }.into(), vec![x.clone(), x.with_shape(vec![])])
            }
            "gather" => {
                let rank = self.below(3);
                let indices = Type::new(index, self.shape(rank));
                (ops::Gather { axis: axis? }.into(), vec![x.clone(), indices])
            }
            "gather_elements" => {
                let mut indices: Vec<usize> = shape.iter().map(|&n| self.below(n + 1)).collect();
                indices[axis?] = self.size();
                (ops::GatherElements { axis: axis? }.into(), vec![x.clone(), Type::new(index, indices)])
            }
            "reduce" => {
                let axes = (0..rank).filter(|_| self.chance(2)).collect();
                (ops::Reduce { kind, axes, keep: flag }.into(), vec![x.clone()])
            }
            "reduce_window" => {
                let (window, strides) = (self.counts(rank, &[1, 1, 2, 3]), self.counts(rank, &[1, 1, 2, 3]));
                let dilations = self.counts(rank, &[1, 1, 2]);
                let (low, high) = (self.amounts(rank, &[0, 0, 1, 2, -1]), self.amounts(rank, &[0, 0, 1, 2, -1]));
                (ops::ReduceWindow { kind, window, strides, dilations, low, high }.into(), vec![x.clone()])
            }
            "arg_reduce" => {
                let op = ops::ArgReduce { largest: flag, axis: axis?, keep: self.chance(2), last: self.chance(2) };
                (op.into(), vec![x.clone()])
            }
            "softmax" => (ops::Softmax { axis: axis? }.into(), vec![x.clone()]),
            "log_softmax" => (ops::LogSoftmax { axis: axis? }.into(), vec![x.clone()]),
            "layer_norm" => {
                let row = vector(x.shape.last()?);
                let types = if flag { vec![x.clone(), row.clone(), row] } else { vec![x.clone(), row] };
                (ops::LayerNorm { eps: 1e-5 }.into(), types)
            }
            "rms_norm" => (ops::RmsNorm { eps: 1e-6 }.into(), vec![x.clone(), vector(x.shape.last()?)]),
            "group_norm" => {
                let channels = vector(x.shape.get(1)?);
                let op = ops::GroupNorm { groups: 1 + self.below(4), eps: 1e-5 };
                (op.into(), vec![x.clone(), channels.clone(), channels])
            }
            "rope" => {
                let angles: Vec<usize> = shape.iter().map(|&n| if self.chance(3) { 1 } else { n }).collect();
                let cos = Type::new(x.dtype, angles);
                let sin = if flag { cos.clone() } else { x.clone() };
                (ops::Rope { interleaved: self.chance(2) }.into(), vec![x.clone(), cos, sin])
            }
            "matmul" => {
                let mut other = x.clone();
                let [.., k, n] = other.shape.as_mut_slice() else { return None };
                (*k, *n) = (n.clone(), Dim::from(self.size()));
                let out = if flag { x.dtype } else { self.dtype() };
                (ops::Matmul { acc: self.accumulator(x.dtype), out }.into(), vec![x.clone(), other])
            }
            "grouped_matmul" => {
                let [_, k] = x.shape.as_slice() else { return None };
                let groups = Dim::from(1 + self.below(4));
                let w = Type { dtype: x.dtype, shape: vec![groups.clone(), k.clone(), Dim::from(self.size())] };
                let ends = Type { dtype: if flag { DType::I32 } else { DType::I64 }, shape: vec![groups] };
                let out = if self.chance(2) { x.dtype } else { self.dtype() };
                (ops::GroupedMatmul { acc: self.accumulator(x.dtype), out }.into(), vec![x.clone(), w, ends])
            }
            "conv" => self.conv(x, &shape)?,
            "attention" => self.attention(x)?,
            "scan" => {
                let op = ops::Scan { kind, axis: axis?, exclusive: flag, reverse: self.chance(2) };
                (op.into(), vec![x.clone()])
            }
            "argsort" => (ops::Argsort { axis: axis?, descending: flag }.into(), vec![x.clone()]),
            "scatter_nd" => {
                let depth = self.below(rank + 1);
                let mut indices = self.shape(1);
                let mut updates: Vec<Dim> = indices.iter().map(|&n| Dim::from(n)).collect();
                updates.extend(x.shape[depth..].iter().cloned());
                indices.push(depth);
                let op = ops::ScatterNd { kind: self.among(ScatterKind::ALL) };
                (op.into(), vec![x.clone(), Type::new(index, indices), x.with_shape(updates)])
            }
            // Everything else is a map without attributes, over operands of one type.
            name => {
                let op = Op::parse(name, &|_| None).unwrap_or_else(|e| unreachable!("`{name}` cannot be drawn: {e}"));
                (op, vec![x.clone(); row.operands.len()])
            }
        })
    }

    fn other_shape(&mut self, shape: &[usize]) -> Vec<Dim> {
        let mut to = shape.to_vec();
        match self.below(3) {
            0 => to = vec![to.iter().product()],
            1 => to.insert(self.random.below(to.len() as u64 + 1) as usize, 1),
            _ => {
                if let Some(axis) = (0..to.len()).find(|&axis| to[axis] > 2 && to[axis].is_multiple_of(2)) {
                    to[axis] /= 2;
                    to.insert(axis, 2);
                } else if to.len() > 1 {
                    let last = to.pop().unwrap_or(1);
                    to.last_mut().into_iter().for_each(|n| *n *= last);
                }
            }
        }
        to.into_iter().map(Dim::from).collect()
    }

    fn slice(&mut self, shape: &[usize]) -> Op {
        let (mut starts, mut ends, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for &n in shape {
            let (a, b) = (self.below(n + 1) as i64, self.below(n + 1) as i64);
            let step = self.among(&[1, 1, 2, 3, -1, -2]);
            let (start, end) = if step > 0 { (a.min(b), a.max(b)) } else { (a.max(b) - 1, a.min(b) - 1) };
            starts.push(Dim::known(start));
            ends.push(Dim::known(end));
            steps.push(step);
        }
        ops::Slice { starts, ends, steps }.into()
    }

    fn conv(&mut self, x: &Type, shape: &[usize]) -> Option<(Op, Vec<Type>)> {
        let spatial = shape.len().checked_sub(2).filter(|&n| n > 0)?;
        let layout = self.among(Layout::ALL);
        let channel = if layout == Layout::ChannelsFirst { 1 } else { shape.len() - 1 };
        let groups = if self.chance(2) { 1 } else { self.among(&[shape[channel].max(1), 2, 3]) };
        let window = self.counts(spatial, &[1, 1, 2, 3]);
        let mut filter = vec![groups * (1 + self.below(4))];
        filter.extend(&window);
        filter.insert(if layout == Layout::ChannelsFirst { 1 } else { filter.len() }, shape[channel] / groups);
        let op = ops::Conv {
            strides: self.counts(spatial, &[1, 1, 2, 3]),
            dilations: self.counts(spatial, &[1, 1, 2]),
            low: self.amounts(spatial, &[0, 0, 1, 2, -1]),
            high: self.amounts(spatial, &[0, 0, 1, 2, -1]),
            groups,
            layout,
            acc: self.accumulator(x.dtype),
            out: x.dtype,
        };
        Some((op.into(), vec![x.clone(), Type::new(x.dtype, filter)]))
    }

    fn attention(&mut self, x: &Type) -> Option<(Op, Vec<Type>)> {
        let [batch, heads, queries, width] = x.concrete()?.shape[..] else { return None };
        let shared = self.among(&[1, 1, 2, 3]);
        let keys = if self.chance(2) { queries } else { self.size() };
        let kv_heads = if heads % shared == 0 { heads / shared } else { heads };
        let k = Type::new(x.dtype, [batch, kv_heads, keys, width]);
        let v = Type::new(x.dtype, [batch, kv_heads, keys, self.size()]);
        let mut types = vec![x.clone(), k, v];
        if self.chance(2) {
            let mask = [self.among(&[1, batch]), self.among(&[1, heads]), queries, keys];
            let dtype = self.among(&[x.dtype, DType::F32, DType::Bool]);
            types.push(Type::new(dtype, mask));
        }
        let causal = self.chance(3);
        let op = ops::Attention {
            scale: 0.3,
            causal,
            window: if causal && self.chance(2) { 1 + self.below(4) } else { 0 },
            softcap: self.among(&[0.0, 0.0, 5.0]),
        };
        Some((op.into(), types))
    }
}

/// A random tensor: unit normal for floats, integers on both sides of zero where the type has both.
pub fn tensor(random: &mut Random, ty: &ConcreteType) -> Tensor {
    let tensor = random::tensor(random, ty.dtype, &ty.shape, 24).expect("random types are small");
    match ty.dtype.int_range() {
        Some((low, _)) if low < 0 => {
            let shifted = tensor.scalars().map(|x| gable_tensor::Scalar::I(x.as_i128() - 8));
            Tensor::from_scalars(ty.dtype, ty.shape.clone(), shifted)
        }
        _ => tensor,
    }
}

/// A random tensor for every input of a module whose dimensions are bound.
pub fn inputs(module: &Module, seed: u64) -> Vec<(String, Tensor)> {
    let graph = &module.graph;
    let input = |&id: &NodeId| {
        let name = graph.input_name(id);
        let ty = graph.ty(id).concrete().expect("the module's dimensions are bound");
        (name.to_string(), tensor(&mut Random::named(seed, name), &ty))
    };
    graph.inputs().iter().map(input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_drawn_and_valid() {
        for (number, row) in Op::TABLE.iter().enumerate() {
            let mut generator = Generator::new(number as u64);
            let id = generator.grow(row, &|_, _| true);
            assert!(id.is_some(), "`{}` was not drawn", row.name);
            let module = generator.finish();
            assert_eq!(crate::verify::verify_module(&module), [], "`{}`", row.name);
        }
    }

    #[test]
    fn large_graphs_are_valid_and_repeatable() {
        let grown = |seed| {
            let mut generator = Generator::new(seed);
            for _ in 0..40 {
                generator.grow_any(&|_, _| true);
            }
            generator.finish()
        };
        for seed in 0..20 {
            let module = grown(seed);
            assert_eq!(crate::verify::verify_module(&module), []);
            assert_eq!(module.graph.to_string(), grown(seed).graph.to_string());
        }
    }
}
