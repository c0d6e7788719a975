//! The operator table: one row per operator and change of meaning. A row applies from its version on, until a newer row
//! of the same operator does.
//!
//! To add an operator: a function in `ops` that adds IR ops for one node, and a row here.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered};
use crate::onnx::control;
use crate::onnx::lower::{Lowering, Scope, Value};
use crate::onnx::ops::recurrent::Cell;
use crate::onnx::ops::reduce::Reduction;
use crate::onnx::ops::{
    attention, conv, elementwise, fourier, index, linear, loss, nbits, norm, pool, quant, recurrent, reduce, resize,
    sample, sequence, shape,
};
use gable_ir::Builder;
use gable_ir::NodeId;
use gable_ir::attr::ReduceKind;
use std::collections::BTreeMap;

/// How a row turns a node into values.
pub(crate) enum Lower {
    /// From the values of its inputs.
    Values(fn(&mut Builder, &Call) -> Lowered),
    /// From tensors and lists of tensors, to either.
    Sequences(fn(&mut Builder, &Call) -> Result<Vec<Value>, NodeError>),
    /// From its sub-graphs too.
    Graphs(fn(&mut Lowering, &Call, &Scope) -> Result<Vec<NodeId>, control::Error>),
}

/// An operator from one version of its domain on.
pub(crate) struct Row {
    domain: &'static str,
    name: &'static str,
    since: i64,
    pub(crate) lower: Lower,
}

impl Row {
    /// Whether inputs may be lists of tensors.
    pub(crate) fn takes_sequences(&self) -> bool {
        matches!(self.lower, Lower::Sequences(_))
    }
}

type Values = fn(&mut Builder, &Call) -> Lowered;

const fn row(name: &'static str, since: i64, lower: Values) -> Row {
    Row { domain: "", name, since, lower: Lower::Values(lower) }
}

const fn control_row(
    name: &'static str,
    since: i64,
    lower: fn(&mut Lowering, &Call, &Scope) -> Result<Vec<NodeId>, control::Error>,
) -> Row {
    Row { domain: "", name, since, lower: Lower::Graphs(lower) }
}

const fn sequence_row(name: &'static str, lower: fn(&mut Builder, &Call) -> Result<Vec<Value>, NodeError>) -> Row {
    Row { domain: "", name, since: 11, lower: Lower::Sequences(lower) }
}

const fn microsoft(name: &'static str, lower: Values) -> Row {
    Row { domain: "com.microsoft", name, since: 1, lower: Lower::Values(lower) }
}

const fn machine_learning(name: &'static str, lower: Values) -> Row {
    Row { domain: "ai.onnx.ml", name, since: 1, lower: Lower::Values(lower) }
}

/// The row for an operator of a domain, at the version that the model imports.
pub(crate) fn find(domain: &str, name: &str, opset: i64) -> Option<&'static Row> {
    let rows = TABLE.iter().filter(|row| row.domain == domain && row.name == name && row.since <= opset);
    rows.max_by_key(|row| row.since)
}

/// Every operator that is read: domain (empty for the default one), name, and the versions at which its meaning
/// changes, sorted.
pub fn operators() -> Vec<(&'static str, &'static str, Vec<i64>)> {
    let mut versions: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    for row in TABLE {
        versions.entry((row.domain, row.name)).or_default().push(row.since);
    }
    let sorted = versions.into_iter().map(|((domain, name), mut since)| {
        since.sort_unstable();
        (domain, name, since)
    });
    sorted.collect()
}

/// Every row, by family.
static TABLE: &[Row] = &[
    // Elementwise.
    row("Abs", 6, |b, c| elementwise::unary(b, c, Builder::abs)),
    row("Acos", 7, |b, c| elementwise::unary(b, c, Builder::acos)),
    row("Acosh", 9, |b, c| elementwise::unary(b, c, Builder::acosh)),
    row("Add", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::plus)),
    row("Add", 7, |b, c| elementwise::binary(b, c, Builder::plus)),
    row("And", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::and)),
    row("And", 7, |b, c| elementwise::binary(b, c, Builder::and)),
    row("Asin", 7, |b, c| elementwise::unary(b, c, Builder::asin)),
    row("Asinh", 9, |b, c| elementwise::unary(b, c, Builder::asinh)),
    row("Atan", 7, |b, c| elementwise::unary(b, c, Builder::atan)),
    row("Atanh", 9, |b, c| elementwise::unary(b, c, Builder::atanh)),
    row("BitShift", 11, elementwise::bit_shift),
    row("BitwiseAnd", 18, |b, c| elementwise::binary(b, c, Builder::and)),
    row("BitwiseNot", 18, |b, c| elementwise::unary(b, c, Builder::not)),
    row("BitwiseOr", 18, |b, c| elementwise::binary(b, c, Builder::or)),
    row("BitwiseXor", 18, |b, c| elementwise::binary(b, c, Builder::xor)),
    row("Cast", 6, elementwise::cast),
    row("CastLike", 15, elementwise::cast_like),
    row("Ceil", 6, |b, c| elementwise::unary(b, c, Builder::ceil)),
    row("Celu", 12, elementwise::celu),
    row("Clip", 6, elementwise::clip),
    row("Cos", 7, |b, c| elementwise::unary(b, c, Builder::cos)),
    row("Cosh", 9, |b, c| elementwise::unary(b, c, Builder::cosh)),
    row("Div", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::div)),
    row("Div", 7, |b, c| elementwise::binary(b, c, Builder::div)),
    row("Dropout", 1, elementwise::dropout),
    row("Elu", 6, elementwise::elu),
    row("Equal", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::eq)),
    row("Equal", 7, |b, c| elementwise::binary(b, c, Builder::eq)),
    row("Erf", 9, |b, c| elementwise::unary(b, c, Builder::erf)),
    row("Exp", 6, |b, c| elementwise::unary(b, c, Builder::exp)),
    row("Floor", 6, |b, c| elementwise::unary(b, c, Builder::floor)),
    row("Gelu", 20, elementwise::gelu),
    row("Greater", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::gt)),
    row("Greater", 7, |b, c| elementwise::binary(b, c, Builder::gt)),
    row("GreaterOrEqual", 12, |b, c| elementwise::binary(b, c, Builder::ge)),
    row("HardSigmoid", 6, elementwise::hard_sigmoid),
    row("HardSwish", 14, elementwise::hard_swish),
    row("Identity", 1, elementwise::identity),
    row("IsInf", 10, elementwise::is_inf),
    row("IsNaN", 9, |b, c| elementwise::unary(b, c, Builder::is_nan)),
    row("LeakyRelu", 6, elementwise::leaky_relu),
    row("Less", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::lt)),
    row("Less", 7, |b, c| elementwise::binary(b, c, Builder::lt)),
    row("LessOrEqual", 12, |b, c| elementwise::binary(b, c, Builder::le)),
    row("Log", 6, |b, c| elementwise::unary(b, c, Builder::log)),
    row("Max", 6, |b, c| elementwise::variadic(b, c, Builder::max)),
    row("Mean", 6, elementwise::mean),
    row("Min", 6, |b, c| elementwise::variadic(b, c, Builder::min)),
    row("Mish", 18, elementwise::mish),
    row("Mod", 10, elementwise::modulo),
    row("Mul", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::mul)),
    row("Mul", 7, |b, c| elementwise::binary(b, c, Builder::mul)),
    row("Neg", 6, |b, c| elementwise::unary(b, c, Builder::neg)),
    row("Not", 1, |b, c| elementwise::unary(b, c, Builder::not)),
    row("Or", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::or)),
    row("Or", 7, |b, c| elementwise::binary(b, c, Builder::or)),
    row("PRelu", 6, elementwise::prelu),
    row("Pow", 1, elementwise::pow),
    row("Reciprocal", 6, |b, c| elementwise::unary(b, c, Builder::recip)),
    row("Relu", 6, |b, c| elementwise::unary(b, c, Builder::relu)),
    row("Round", 11, |b, c| elementwise::unary(b, c, Builder::round)),
    row("Selu", 6, elementwise::selu),
    row("Shrink", 9, elementwise::shrink),
    row("Sigmoid", 6, |b, c| elementwise::unary(b, c, Builder::sigmoid)),
    row("Sign", 9, |b, c| elementwise::unary(b, c, Builder::sign)),
    row("Sin", 7, |b, c| elementwise::unary(b, c, Builder::sin)),
    row("Sinh", 9, |b, c| elementwise::unary(b, c, Builder::sinh)),
    row("Softplus", 1, elementwise::softplus),
    row("Softsign", 1, elementwise::softsign),
    row("Sqrt", 6, |b, c| elementwise::unary(b, c, Builder::sqrt)),
    row("Sub", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::sub)),
    row("Sub", 7, |b, c| elementwise::binary(b, c, Builder::sub)),
    row("Sum", 6, |b, c| elementwise::variadic(b, c, Builder::plus)),
    row("SwiGLU", 28, elementwise::swiglu),
    row("Swish", 24, elementwise::swish),
    row("Tan", 7, |b, c| elementwise::unary(b, c, Builder::tan)),
    row("Tanh", 6, |b, c| elementwise::unary(b, c, Builder::tanh)),
    row("ThresholdedRelu", 10, elementwise::thresholded_relu),
    row("Where", 9, elementwise::select),
    row("Xor", 1, |b, c| elementwise::binary_by_attribute(b, c, Builder::xor)),
    row("Xor", 7, |b, c| elementwise::binary(b, c, Builder::xor)),
    // Shapes and rearrangement.
    row("BlackmanWindow", 17, |b, c| shape::window(b, c, [0.42, 0.5, 0.08])),
    row("CenterCropPad", 18, shape::center_crop_pad),
    row("Compress", 9, shape::compress),
    row("Concat", 4, shape::concat),
    row("Constant", 1, shape::constant_value),
    row("ConstantOfShape", 9, shape::constant_of_shape),
    row("DepthToSpace", 1, shape::depth_to_space),
    row("Expand", 8, shape::expand),
    row("EyeLike", 9, shape::eye_like),
    row("Flatten", 1, shape::flatten),
    row("HammingWindow", 17, |b, c| shape::window(b, c, [25.0 / 46.0, 21.0 / 46.0, 0.0])),
    row("HannWindow", 17, |b, c| shape::window(b, c, [0.5, 0.5, 0.0])),
    row("NonZero", 9, shape::non_zero),
    row("OneHot", 9, shape::one_hot),
    row("Pad", 2, shape::pad),
    row("Range", 11, shape::range),
    row("Reshape", 5, shape::reshape),
    row("ReverseSequence", 10, shape::reverse_sequence),
    row("Shape", 1, shape::shape),
    row("Size", 1, shape::size),
    row("Slice", 1, shape::slice),
    row("SpaceToDepth", 1, shape::space_to_depth),
    row("Split", 2, shape::split),
    row("Squeeze", 1, shape::squeeze),
    row("Tile", 6, shape::tile),
    row("Transpose", 1, shape::transpose),
    row("Trilu", 14, shape::trilu),
    row("Unsqueeze", 1, shape::unsqueeze),
    // Indexing.
    row("Gather", 1, index::gather),
    row("GatherElements", 11, index::gather_elements),
    row("GatherND", 11, index::gather_nd),
    row("Scatter", 9, index::scatter_elements),
    row("ScatterElements", 11, index::scatter_elements),
    row("ScatterND", 11, index::scatter_nd),
    row("TensorScatter", 24, index::tensor_scatter),
    machine_learning("ArrayFeatureExtractor", index::array_feature_extractor),
    // Reductions along axes.
    row("ArgMax", 1, |b, c| reduce::arg_extreme(b, c, true)),
    row("ArgMin", 1, |b, c| reduce::arg_extreme(b, c, false)),
    row("CumProd", 26, |b, c| reduce::running(b, c, ReduceKind::Prod)),
    row("CumSum", 11, |b, c| reduce::running(b, c, ReduceKind::Sum)),
    row("Det", 11, reduce::det),
    row("Hardmax", 1, reduce::hardmax),
    row("LogSoftmax", 1, |b, c| reduce::softmax(b, c, true)),
    row("LpNormalization", 1, reduce::lp_normalization),
    row("ReduceL1", 1, |b, c| reduce::reduce(b, c, Reduction::L1)),
    row("ReduceL2", 1, |b, c| reduce::reduce(b, c, Reduction::L2)),
    row("ReduceLogSum", 1, |b, c| reduce::reduce(b, c, Reduction::LogSum)),
    row("ReduceLogSumExp", 1, |b, c| reduce::reduce(b, c, Reduction::LogSumExp)),
    row("ReduceMax", 1, |b, c| reduce::reduce(b, c, Reduction::Plain(ReduceKind::Max))),
    row("ReduceMean", 1, |b, c| reduce::reduce(b, c, Reduction::Plain(ReduceKind::Mean))),
    row("ReduceMin", 1, |b, c| reduce::reduce(b, c, Reduction::Plain(ReduceKind::Min))),
    row("ReduceProd", 1, |b, c| reduce::reduce(b, c, Reduction::Plain(ReduceKind::Prod))),
    row("ReduceSum", 1, |b, c| reduce::reduce(b, c, Reduction::Plain(ReduceKind::Sum))),
    row("ReduceSumSquare", 1, |b, c| reduce::reduce(b, c, Reduction::SumSquare)),
    row("Softmax", 1, |b, c| reduce::softmax(b, c, false)),
    row("TopK", 1, reduce::top_k),
    // Windows.
    row("AveragePool", 1, pool::average_pool),
    row("CausalConvWithState", 27, conv::causal_conv),
    row("Conv", 1, conv::conv),
    row("ConvTranspose", 1, conv::conv_transpose),
    row("GlobalAveragePool", 1, |b, c| pool::global_pool(b, c, ReduceKind::Mean)),
    row("GlobalLpPool", 2, pool::global_lp_pool),
    row("GlobalMaxPool", 1, |b, c| pool::global_pool(b, c, ReduceKind::Max)),
    row("LpPool", 2, pool::lp_pool),
    row("MaxPool", 1, pool::max_pool),
    row("MaxUnpool", 9, pool::max_unpool),
    // Resizing.
    row("Resize", 10, resize::resize),
    row("Upsample", 7, resize::upsample),
    row("AffineGrid", 20, sample::affine_grid),
    row("Col2Im", 18, sample::col2im),
    row("GridSample", 16, sample::grid_sample),
    // Matrix products.
    row("Einsum", 12, linear::einsum),
    row("Gemm", 6, linear::gemm),
    row("MatMul", 1, linear::matmul),
    // Fourier transforms.
    row("DFT", 17, fourier::dft),
    row("STFT", 17, fourier::stft),
    // Norms.
    row("BatchNormalization", 6, norm::batch_norm),
    row("GroupNormalization", 18, norm::group_norm),
    row("InstanceNormalization", 6, norm::instance_norm),
    row("LayerNormalization", 17, norm::layer_norm),
    row("LRN", 1, norm::lrn),
    row("MeanVarianceNormalization", 9, norm::mean_variance_norm),
    row("RMSNormalization", 23, norm::rms_norm),
    row("SimplifiedLayerNormalization", 1, norm::rms_norm),
    microsoft("SimplifiedLayerNormalization", norm::rms_norm),
    microsoft("SkipLayerNormalization", |b, c| norm::skip_norm(b, c, false)),
    microsoft("SkipSimplifiedLayerNormalization", |b, c| norm::skip_norm(b, c, true)),
    microsoft("Gelu", elementwise::gelu),
    // Attention.
    row("Attention", 23, attention::attention),
    row("RotaryEmbedding", 23, attention::rotary_embedding),
    // Quantization.
    row("ConvInteger", 10, quant::conv_integer),
    row("DequantizeLinear", 10, quant::dequantize),
    row("DynamicQuantizeLinear", 11, quant::dynamic_quantize),
    row("MatMulInteger", 10, quant::matmul_integer),
    microsoft("MatMulNBits", nbits::matmul_nbits),
    row("QLinearConv", 10, quant::qlinear_conv),
    row("QLinearMatMul", 10, quant::qlinear_matmul),
    row("QuantizeLinear", 10, quant::quantize),
    // Losses.
    row("NegativeLogLikelihoodLoss", 12, loss::negative_log_likelihood),
    row("SoftmaxCrossEntropyLoss", 12, loss::softmax_cross_entropy),
    // Lists of tensors.
    sequence_row("ConcatFromSequence", sequence::concat),
    sequence_row("SequenceAt", sequence::at),
    sequence_row("SequenceConstruct", sequence::construct),
    sequence_row("SequenceEmpty", sequence::empty),
    sequence_row("SequenceErase", sequence::erase),
    sequence_row("SequenceInsert", sequence::insert),
    sequence_row("SequenceLength", sequence::length),
    sequence_row("SplitToSequence", sequence::split),
    // Recurrent layers and control flow.
    row("GRU", 7, |b, c| recurrent::layer(b, c, Cell::Gru)),
    row("LSTM", 7, |b, c| recurrent::layer(b, c, Cell::Lstm)),
    row("RNN", 7, |b, c| recurrent::layer(b, c, Cell::Rnn)),
    control_row("If", 1, control::if_else),
    control_row("Loop", 1, control::repeat),
    control_row("Scan", 9, control::scan),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_row_is_written_twice() {
        let mut seen = BTreeSet::new();
        for row in TABLE {
            assert!(seen.insert((row.domain, row.name, row.since)), "{} {}", row.domain, row.name);
        }
    }

    #[test]
    fn rows_begin_at_their_version() {
        assert!(find("", "Gelu", 19).is_none());
        assert!(find("", "Gelu", 24).is_some());
        assert!(find("com.microsoft", "Gelu", 1).is_some());
        assert!(find("", "NoSuchOperator", 24).is_none());
    }
}
