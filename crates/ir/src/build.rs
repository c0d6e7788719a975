//! Writing graphs by hand: NumPy broadcasting, scalars, and the usual shorthands over [`Graph::add`].

use crate::attr::ReduceKind;
use crate::graph::{Graph, NodeId};
use crate::module::{Module, Weights};
use crate::op::{Op, OpError};
use crate::ops::*;
use crate::types::Type;
use gable_tensor::{DType, Dim, Scalar, Tensor};

type Built = Result<NodeId, OpError>;

/// Constants of up to this many elements are written into the graph; larger ones go to the weight store.
pub const MAX_INLINE_ELEMENTS: usize = 64;

/// Builds a [`Module`]. Methods that take two operands broadcast them to a common shape.
#[derive(Debug, Default)]
pub struct Builder {
    /// The graph so far.
    pub graph: Graph,
    /// The parameters so far.
    pub weights: Weights,
    /// Whether an op whose operands are all [`Const`]s, and whose result is small enough to be one, is evaluated when
    /// it is added. Off at first: what is written is what the graph holds.
    pub folds: bool,
    origin: Option<String>,
}

macro_rules! unary {
    ($( $name:ident = $Op:ident ),+ $(,)?) => { $(
        #[doc = concat!("Adds [`", stringify!($Op), "`].")]
        pub fn $name(&mut self, x: NodeId) -> Built { self.add($Op {}, &[x]) }
    )+ };
}

macro_rules! binary {
    ($( $name:ident = $Op:ident ),+ $(,)?) => { $(
        #[doc = concat!("Adds [`", stringify!($Op), "`] of the operands broadcast to a common shape.")]
        pub fn $name(&mut self, a: NodeId, b: NodeId) -> Built { self.broadcast_binary($Op {}, a, b) }
    )+ };
}

impl Builder {
    /// An empty module whose graph is called `name`.
    pub fn new(name: impl Into<String>) -> Builder {
        Builder { graph: Graph::new(name), ..Builder::default() }
    }

    /// Goes on with an existing module.
    pub fn over(module: Module) -> Builder {
        Builder { graph: module.graph, weights: module.weights, ..Builder::default() }
    }

    /// The module built.
    pub fn finish(self) -> Module {
        Module { graph: self.graph, weights: self.weights }
    }

    /// Everything added from here on is said to come from `origin`: a node of a model file, or a layer's name.
    pub fn set_origin(&mut self, origin: Option<String>) {
        self.origin = origin;
    }

    /// Adds any op.
    pub fn add(&mut self, op: impl Into<Op>, operands: &[NodeId]) -> Built {
        let op = op.into();
        let op = match self.folded(&op, operands)? {
            Some(value) => return self.add_kept(Const { value }.into(), &[]),
            None => op,
        };
        self.add_kept(op, operands)
    }

    fn add_kept(&mut self, op: Op, operands: &[NodeId]) -> Built {
        let id = self.graph.add(op, operands)?;
        self.graph.node_mut(id).origin = self.origin.clone();
        Ok(id)
    }

    /// The value of `op` when it is to be evaluated at once; see [`Builder::folds`].
    fn folded(&self, op: &Op, operands: &[NodeId]) -> Result<Option<Tensor>, OpError> {
        if !self.folds || operands.is_empty() {
            return Ok(None);
        }
        op.info().check_arity(operands.len())?;
        let types: Vec<&Type> = operands.iter().map(|&id| self.ty(id)).collect();
        // The count of a symbolic type saturates where that of a concrete one, which is only for verified graphs, wraps.
        let small = |ty: &Type| ty.len().value().is_some_and(|n| (0..=MAX_INLINE_ELEMENTS as i64).contains(&n));
        let out = Some(op.def().infer(&types)?).filter(small).and_then(|ty| ty.concrete());
        let value = |&id: &NodeId| match self.graph.op(id) {
            Op::Const(constant) => Some(&constant.value),
            _ => None,
        };
        let values: Option<Vec<&Tensor>> = operands.iter().map(value).collect();
        let (Some(out), Some(values)) = (out, values) else { return Ok(None) };
        op.def().eval(&values, &out).map(Some)
    }

    /// The type of a value.
    pub fn ty(&self, id: NodeId) -> &Type {
        self.graph.ty(id)
    }

    /// The element type of a value.
    pub fn dtype(&self, id: NodeId) -> DType {
        self.graph.ty(id).dtype
    }

    /// The shape of a value.
    pub fn shape(&self, id: NodeId) -> Vec<Dim> {
        self.graph.ty(id).shape.clone()
    }

    /// The number of dimensions of a value.
    pub fn rank(&self, id: NodeId) -> usize {
        self.graph.ty(id).rank()
    }

    /// Adds an argument of the graph.
    pub fn input(&mut self, name: impl Into<String>, ty: Type) -> NodeId {
        self.graph.input(name, ty)
    }

    /// Adds a result of the graph.
    pub fn output(&mut self, name: impl Into<String>, id: NodeId) {
        self.graph.output(name, id);
    }

    /// A parameter; the store takes the tensor under `key`.
    pub fn weight(&mut self, key: impl Into<String>, tensor: Tensor) -> Built {
        let key = key.into();
        let shape = tensor.shape().iter().map(|&size| Dim::from(size)).collect();
        let op = Weight { key: key.clone(), dtype: tensor.dtype(), shape };
        self.weights.insert(key, tensor);
        self.add(op, &[])
    }

    /// A constant: written in place when small, else a parameter under a key made from its contents.
    pub fn constant(&mut self, tensor: Tensor) -> Built {
        if tensor.len() <= MAX_INLINE_ELEMENTS {
            return self.add(Const { value: tensor }, &[]);
        }
        // FNV-1a over type, shape and bytes: equal constants share a key, and the key is the same on every machine.
        let head = format!("{}{:?}", tensor.dtype(), tensor.shape());
        let hash = head
            .bytes()
            .chain(tensor.bytes().iter().copied())
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        self.weight(format!("constant:{hash:016x}"), tensor)
    }

    /// A constant of rank 0.
    pub fn scalar(&mut self, dtype: DType, value: impl Into<Scalar>) -> Built {
        self.add(Const { value: Tensor::scalar(dtype, value) }, &[])
    }

    /// A scalar constant of the element type of `like`.
    pub fn scalar_like(&mut self, like: NodeId, value: f64) -> Built {
        self.scalar(self.dtype(like), Scalar::F(value).to_kind(self.dtype(like)))
    }

    /// `x` repeated to `shape`; `x` itself when it already has it.
    pub fn broadcast_to(&mut self, x: NodeId, shape: &[Dim]) -> Built {
        if self.ty(x).shape == shape {
            return Ok(x);
        }
        self.add(Broadcast { shape: shape.to_vec() }, &[x])
    }

    /// All values repeated to their common shape.
    pub fn broadcast_all(&mut self, values: &[NodeId]) -> Result<Vec<NodeId>, OpError> {
        let mut shape: Vec<Dim> = Vec::new();
        for &value in values {
            shape = broadcast_shape(&shape, &self.ty(value).shape)?;
        }
        values.iter().map(|&value| self.broadcast_to(value, &shape)).collect()
    }

    /// Adds a two-operand op of operands broadcast to a common shape.
    pub fn broadcast_binary(&mut self, op: impl Into<Op>, a: NodeId, b: NodeId) -> Built {
        let operands = self.broadcast_all(&[a, b])?;
        self.add(op, &operands)
    }

    unary! {
        neg = Neg, abs = Abs, sign = Sign, relu = Relu, exp = Exp, log = Log, sqrt = Sqrt, rsqrt = Rsqrt, recip = Recip,
        sin = Sin, cos = Cos, tan = Tan, asin = Asin, acos = Acos, atan = Atan, sinh = Sinh, cosh = Cosh, asinh = Asinh,
        acosh = Acosh, atanh = Atanh, tanh = Tanh, erf = Erf, sigmoid = Sigmoid, floor = Floor, ceil = Ceil,
        round = Round, trunc = Trunc, is_nan = IsNan, not = Not, silu = Silu,
    }

    binary! {
        plus = Add, sub = Sub, mul = Mul, div = Div, rem = Rem, modulo = Modulo, pow = Pow, max = Max, min = Min,
        and = And, or = Or, xor = Xor, shl = Shl, shr = Shr, eq = Eq, ne = Ne, lt = Lt, le = Le, gt = Gt, ge = Ge,
    }

    /// `a` where `cond`, else `b`, all broadcast to a common shape.
    pub fn select(&mut self, cond: NodeId, a: NodeId, b: NodeId) -> Built {
        let operands = self.broadcast_all(&[cond, a, b])?;
        self.add(Select {}, &operands)
    }

    /// `x` converted; `x` itself when it already has the type.
    pub fn cast(&mut self, x: NodeId, to: DType) -> Built {
        if self.dtype(x) == to { Ok(x) } else { self.add(Cast { to }, &[x]) }
    }

    /// `x` under another shape; `x` itself when it already has it.
    pub fn reshape<D: Into<Dim>>(&mut self, x: NodeId, shape: impl IntoIterator<Item = D>) -> Built {
        let shape: Vec<Dim> = shape.into_iter().map(Into::into).collect();
        if self.ty(x).shape == shape { Ok(x) } else { self.add(Reshape { shape }, &[x]) }
    }

    /// `x` with permuted axes; `x` itself for the identity.
    pub fn transpose(&mut self, x: NodeId, perm: &[usize]) -> Built {
        if perm.iter().copied().eq(0..self.rank(x)) && perm.len() == self.rank(x) {
            return Ok(x);
        }
        self.add(Transpose { perm: perm.to_vec() }, &[x])
    }

    /// Elements `start` to `end` of one axis, the others whole.
    pub fn slice_axis(&mut self, x: NodeId, axis: usize, start: impl Into<Dim>, end: impl Into<Dim>) -> Built {
        let shape = self.shape(x);
        if axis >= shape.len() {
            return Err(OpError::new(format!("slice axis is {axis}, the operand has {} dimensions", shape.len())));
        }
        let mut starts = vec![Dim::known(0); shape.len()];
        let mut ends = shape;
        starts[axis] = start.into();
        ends[axis] = end.into();
        let steps = vec![1; ends.len()];
        self.add(Slice { starts, ends, steps }, &[x])
    }

    /// The bits of `x` as another type; `x` itself when it already has it.
    pub fn bitcast(&mut self, x: NodeId, to: DType) -> Built {
        if self.dtype(x) == to { Ok(x) } else { self.add(Bitcast { to }, &[x]) }
    }

    /// Operands one after the other; the operand itself when there is one.
    pub fn concat(&mut self, xs: &[NodeId], axis: usize) -> Built {
        match xs {
            [x] => Ok(*x),
            _ => self.add(Concat { axis }, xs),
        }
    }

    /// Combines along `axes`.
    pub fn reduce(&mut self, kind: ReduceKind, x: NodeId, axes: &[usize], keep: bool) -> Built {
        self.add(Reduce { kind, axes: axes.to_vec(), keep }, &[x])
    }

    /// A matrix product that sums in f32 (f64 for f64, i32 for small integers) and gives the operands' type.
    pub fn matmul(&mut self, a: NodeId, b: NodeId) -> Built {
        let dtype = self.dtype(a);
        self.add(Matmul { acc: default_acc(dtype), out: dtype }, &[a, b])
    }
}

/// The type that products of `dtype` are summed in where nothing else is said.
pub fn default_acc(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ if dtype.is_float() => DType::F32,
        DType::I64 | DType::U64 => dtype,
        _ => DType::I32,
    }
}

/// The shape that two shapes broadcast to, aligned at the last axis.
pub fn broadcast_shape(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, OpError> {
    let rank = a.len().max(b.len());
    let one = Dim::known(1);
    let at = |shape: &[Dim], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or_else(|| one.clone(), |i| shape[i].clone())
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Ok(x),
            (x, y) if x == one => Ok(y),
            (x, y) if y == one => Ok(x),
            (x, y) => Err(OpError::new(format!("sizes {x} and {y} do not broadcast"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folding_builder_evaluates_small_constants_only() {
        let mut b = Builder { folds: true, ..Builder::new("shapes") };
        let x = b.input("x", Type::new(DType::I64, [2i64]));
        let two = b.constant(Tensor::from_vec([2], &[2i64, 3])).expect("valid");
        let sum = b.plus(two, two).expect("valid");
        assert_eq!(b.graph.op(sum), &Const { value: Tensor::from_vec([2], &[4i64, 6]) }.into());
        let large = b.broadcast_to(sum, &[Dim::known(1 << 40), Dim::known(2)]).expect("valid");
        let of_input = b.plus(x, sum).expect("valid");
        let huge = b.broadcast_to(sum, &[Dim::known(1 << 62), Dim::known(1 << 62), Dim::known(2)]).expect("valid");
        for kept in [large, huge, of_input] {
            assert!(!matches!(b.graph.op(kept), Op::Const(_)));
        }
    }
}
