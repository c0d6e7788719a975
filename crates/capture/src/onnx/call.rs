//! One node as its lowering sees it: operands resolved to values, attributes by name and type.
//!
//! Every dimension is bound before lowering starts, so [`sizes`] are plain numbers. What decides a shape must be
//! computable from constants: [`constant`] evaluates it with the ops' own reference evaluation.

use crate::error::NodeError;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::tensor;
use gable_ir::{Builder, NodeId, Op};
use gable_tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The values that a node makes, in the order of its outputs; trailing optional ones may be left out.
pub(crate) type Lowered = Result<Vec<NodeId>, NodeError>;

/// A single value or why there is none.
pub(crate) type Value = Result<NodeId, NodeError>;

/// A node being lowered.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a NodeProto,
    /// Version of the node's domain that the model imports.
    pub(crate) opset: i64,
    /// Values of the inputs; `None` for an optional input left out.
    pub(crate) inputs: Vec<Option<NodeId>>,
    /// Inputs that are lists of tensors, by position; only for operators that take such.
    pub(crate) sequences: BTreeMap<usize, Vec<NodeId>>,
    /// The model file, beside which tensor attributes may have external data.
    pub(crate) file: &'a Path,
}

impl Call<'_> {
    /// The input at `index`, which the operator calls `name`.
    pub(crate) fn input(&self, index: usize, name: &'static str) -> Value {
        self.optional(index).ok_or(NodeError::MissingInput { index, name })
    }

    /// The input at `index`, or `None` when it is left out.
    pub(crate) fn optional(&self, index: usize) -> Option<NodeId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The list at `index`.
    pub(crate) fn sequence(&self, index: usize, name: &'static str) -> Result<&[NodeId], NodeError> {
        self.sequences.get(&index).map(Vec::as_slice).ok_or_else(|| bad_input(name, "a tensor or absent", "a sequence"))
    }

    /// Every input; none may be left out.
    pub(crate) fn all(&self, name: &'static str) -> Result<Vec<NodeId>, NodeError> {
        let inputs: Vec<NodeId> =
            (0..self.inputs.len()).map(|index| self.input(index, name)).collect::<Result<_, _>>()?;
        if inputs.is_empty() { Err(NodeError::MissingInput { index: 0, name }) } else { Ok(inputs) }
    }

    /// Whether anything may read the output at `index`.
    pub(crate) fn wants(&self, index: usize) -> bool {
        self.node.output.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Number of outputs that the node lists.
    pub(crate) fn n_outputs(&self) -> usize {
        self.node.output.len()
    }

    pub(crate) fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|attr| attr.name() == name)
    }

    /// An attribute that must be of `kind`; writers from before the kind was stored leave it out.
    fn typed(&self, name: &str, kind: AttributeType) -> Result<Option<&AttributeProto>, NodeError> {
        match self.attr(name) {
            None => Ok(None),
            Some(attr) if matches!(attr.r#type.unwrap_or(0), 0) || attr.r#type == Some(kind as i32) => Ok(Some(attr)),
            Some(attr) => {
                let found = AttributeType::try_from(attr.r#type.unwrap_or(0)).map_or("unknown", |t| t.as_str_name());
                Err(bad_attr(name, format!("of type {found}"), kind.as_str_name()))
            }
        }
    }

    pub(crate) fn int_opt(&self, name: &str) -> Result<Option<i64>, NodeError> {
        // Writers that follow proto3 leave a zero out.
        Ok(self.typed(name, AttributeType::Int)?.map(|attr| attr.i.unwrap_or(0)))
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> Result<i64, NodeError> {
        Ok(self.int_opt(name)?.unwrap_or(default))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, NodeError> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// A whole number in an attribute, at least `least`.
    pub(crate) fn size(&self, name: &str, default: i64, least: i64) -> Result<usize, NodeError> {
        let value = self.int(name, default)?;
        let bad = || bad_attr(name, value, format!("at least {least}"));
        usize::try_from(value).ok().filter(|_| value >= least).ok_or_else(bad)
    }

    pub(crate) fn float_opt(&self, name: &str) -> Result<Option<f64>, NodeError> {
        Ok(self.typed(name, AttributeType::Float)?.map(|attr| f64::from(attr.f.unwrap_or(0.0))))
    }

    pub(crate) fn float(&self, name: &str, default: f64) -> Result<f64, NodeError> {
        Ok(self.float_opt(name)?.unwrap_or(default))
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, NodeError> {
        Ok(self.typed(name, AttributeType::Ints)?.map(|attr| attr.ints.clone()))
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Option<Vec<f64>>, NodeError> {
        Ok(self.typed(name, AttributeType::Floats)?.map(|attr| attr.floats.iter().map(|&x| f64::from(x)).collect()))
    }

    pub(crate) fn text(&self, name: &str, default: &str) -> Result<String, NodeError> {
        let attr = self.typed(name, AttributeType::String)?;
        Ok(attr.map_or_else(|| default.to_string(), |attr| String::from_utf8_lossy(attr.s()).into_owned()))
    }

    /// Texts, such as the activations of a recurrent layer.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, NodeError> {
        let attr = self.typed(name, AttributeType::Strings)?;
        Ok(attr.map(|attr| attr.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()))
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>, NodeError> {
        let Some(attr) = self.typed(name, AttributeType::Tensor)? else { return Ok(None) };
        let stored = attr.t.as_ref().ok_or_else(|| bad_attr(name, "absent", "a tensor"))?;
        let value = tensor::read(stored, &mut ExternalFiles::beside(self.file));
        value
            .map(Some)
            .map_err(|problem| bad_attr(name, format!("a tensor that cannot be read ({problem})"), "a tensor"))
    }

    /// An element type in an attribute.
    pub(crate) fn dtype(&self, name: &str) -> Result<Option<DType>, NodeError> {
        let Some(code) = self.int_opt(name)? else { return Ok(None) };
        let dtype = i32::try_from(code).map_err(|_| bad_attr(name, code, "an ONNX element type"))?;
        tensor::element_type(dtype).map(Some).map_err(NodeError::Unsupported)
    }

    /// The attribute `name`, an axis of a value with `rank` dimensions; negative ones count from the end.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, NodeError> {
        normal_axis(name, self.int(name, default)?, rank)
    }

    /// An input whose value must be known now, as whole numbers.
    pub(crate) fn constant_ints(&self, b: &Builder, index: usize, name: &'static str) -> Result<Vec<i64>, NodeError> {
        let value = self.constant(b, index, name)?;
        if !value.dtype().is_int() {
            return Err(NodeError::Input { name, found: value.dtype().to_string(), expected: "integers".into() });
        }
        Ok(value.to_vec())
    }

    /// As [`Call::constant_ints`], for an input that may be left out.
    pub(crate) fn constant_ints_opt(
        &self,
        b: &Builder,
        index: usize,
        name: &'static str,
    ) -> Result<Option<Vec<i64>>, NodeError> {
        self.optional(index).map(|_| self.constant_ints(b, index, name)).transpose()
    }

    /// An input whose value must be known now.
    pub(crate) fn constant(&self, b: &Builder, index: usize, name: &'static str) -> Result<Tensor, NodeError> {
        constant(b, self.input(index, name)?).ok_or(NodeError::NotConstant(name))
    }

    /// Integers that are an attribute in old versions and the input at `index` in new ones.
    pub(crate) fn ints_by_attr_or_input(
        &self,
        b: &Builder,
        name: &'static str,
        index: usize,
    ) -> Result<Option<Vec<i64>>, NodeError> {
        match self.ints(name)? {
            Some(ints) => Ok(Some(ints)),
            None => self.constant_ints_opt(b, index, name),
        }
    }
}

pub(crate) fn bad_attr(attr: &str, found: impl ToString, expected: impl ToString) -> NodeError {
    NodeError::Attr { attr: attr.to_string(), found: found.to_string(), expected: expected.to_string() }
}

pub(crate) fn bad_input(name: &'static str, found: impl ToString, expected: impl ToString) -> NodeError {
    NodeError::Input { name, found: found.to_string(), expected: expected.to_string() }
}

/// `axis` of `rank` dimensions, counted from the front.
pub(crate) fn normal_axis(name: &str, axis: i64, rank: usize) -> Result<usize, NodeError> {
    let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let valid = from_front.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    valid.ok_or_else(|| bad_attr(name, axis, format!("an axis of {rank} dimensions")))
}

/// `axes` of `rank` dimensions, counted from the front, sorted, each at most once.
pub(crate) fn normal_axes(name: &str, axes: &[i64], rank: usize) -> Result<Vec<usize>, NodeError> {
    let normal: BTreeSet<usize> = axes.iter().map(|&axis| normal_axis(name, axis, rank)).collect::<Result<_, _>>()?;
    if normal.len() != axes.len() {
        return Err(bad_attr(name, format!("{axes:?}"), "each axis at most once"));
    }
    Ok(normal.into_iter().collect())
}

/// The sizes of a value. Fails when a product of some of them could not be addressed, so that arithmetic on them is
/// safe afterwards.
pub(crate) fn sizes(b: &Builder, id: NodeId) -> Result<Vec<usize>, NodeError> {
    let too_large = || NodeError::Unsupported(format!("a value of type {}, which cannot be addressed,", b.ty(id)));
    let shape = b.ty(id).concrete().ok_or_else(too_large)?.shape;
    // Zero sizes are counted as one: they must not hide the overflow of a product that leaves them out.
    let most = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1)));
    most.filter(|&elements| elements <= isize::MAX as usize / 8).ok_or_else(too_large)?;
    Ok(shape)
}

/// The most elements that evaluating one constant may touch.
const MAX_CONSTANT_ELEMENTS: usize = 1 << 22;

/// The value of `id` when it follows from constants and small parameters alone.
pub(crate) fn constant(b: &Builder, id: NodeId) -> Option<Tensor> {
    if let Op::Const(constant) = b.graph.op(id) {
        return Some(constant.value.clone());
    }
    let mut needed = BTreeSet::new();
    let (mut pending, mut elements) = (vec![id], 0usize);
    while let Some(next) = pending.pop() {
        if !needed.insert(next) {
            continue;
        }
        elements = elements.checked_add(sizes(b, next).ok()?.iter().product::<usize>() + 1)?;
        if matches!(b.graph.op(next), Op::Input(_)) || elements > MAX_CONSTANT_ELEMENTS {
            return None;
        }
        pending.extend(b.graph.operands(next));
    }
    let mut values: BTreeMap<NodeId, Tensor> = BTreeMap::new();
    // Values are added after their operands, so the order of ids is topological.
    for &next in &needed {
        let value = match b.graph.op(next) {
            Op::Const(constant) => constant.value.clone(),
            Op::Weight(weight) => b.weights.get(&weight.key)?.clone(),
            op => {
                let args: Vec<&Tensor> = b.graph.operands(next).iter().map(|operand| &values[operand]).collect();
                op.def().eval(&args, &b.ty(next).concrete()?).ok()?
            }
        };
        values.insert(next, value);
    }
    values.remove(&id)
}

/// A constant of rank 1 from whole numbers.
pub(crate) fn int_vector(b: &mut Builder, values: &[i64]) -> Value {
    Ok(b.constant(Tensor::from_vec([values.len()], values))?)
}

/// A scalar constant of the element type of `like`.
pub(crate) fn scalar(b: &mut Builder, like: NodeId, value: f64) -> Value {
    Ok(b.scalar_like(like, value)?)
}
