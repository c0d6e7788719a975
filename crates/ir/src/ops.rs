//! The op table: one row per op. `impl OpDef` for each family is in the file of that family.
//!
//! Every op has one result. Broadcasting is an op, so maps take operands of one shape. An export's other forms are
//! lowered at capture: resizing is gathers, transposed convolution is a padded convolution, top-k is an argsort.

mod arrange;
mod bits;
mod contract;
mod grouped;
mod index;
mod leaf;
mod map;
mod order;
mod reduce;
mod row;

use crate::attr::{Layout, ReduceKind, ScatterKind};
use crate::op::ops;
use gable_tensor::{DType, Dim, Tensor};

pub use grouped::group_rows;
pub use leaf::bind_op;
pub use map::scalar_map;

ops! {
    // Leaves.
    /// An argument of the graph.
    Input = "input"() { name: String, dtype: DType, shape: Vec<Dim> } [Leaf];
    /// A parameter, by its key in the module's weight store.
    Weight = "weight"() { key: String, dtype: DType, shape: Vec<Dim> } [Leaf];
    /// A small tensor written in place.
    Const = "const"() { value: Tensor } [Leaf];
    /// Coordinates along `axis`: element `i` of that axis holds `i`.
    Iota = "iota"() { axis: usize, dtype: DType, shape: Vec<Dim> } [Leaf];

    // Maps of one operand.
    /// Negation.
    Neg = "neg"(x) [Map];
    /// Absolute value.
    Abs = "abs"(x) [Map];
    /// -1, 0 or 1 by sign; NaN stays.
    Sign = "sign"(x) [Map];
    /// Largest of zero and the operand; NaN stays.
    Relu = "relu"(x) [Map];
    /// Base-e exponential.
    Exp = "exp"(x) [Map];
    /// Base-e logarithm.
    Log = "log"(x) [Map];
    /// Square root.
    Sqrt = "sqrt"(x) [Map];
    /// One over the square root.
    Rsqrt = "rsqrt"(x) [Map];
    /// One over the operand.
    Recip = "recip"(x) [Map];
    /// Sine of radians.
    Sin = "sin"(x) [Map];
    /// Cosine of radians.
    Cos = "cos"(x) [Map];
    /// Tangent of radians.
    Tan = "tan"(x) [Map];
    /// Inverse sine.
    Asin = "asin"(x) [Map];
    /// Inverse cosine.
    Acos = "acos"(x) [Map];
    /// Inverse tangent.
    Atan = "atan"(x) [Map];
    /// Hyperbolic sine.
    Sinh = "sinh"(x) [Map];
    /// Hyperbolic cosine.
    Cosh = "cosh"(x) [Map];
    /// Inverse hyperbolic sine.
    Asinh = "asinh"(x) [Map];
    /// Inverse hyperbolic cosine.
    Acosh = "acosh"(x) [Map];
    /// Inverse hyperbolic tangent.
    Atanh = "atanh"(x) [Map];
    /// Hyperbolic tangent.
    Tanh = "tanh"(x) [Map];
    /// Error function.
    Erf = "erf"(x) [Map];
    /// `1 / (1 + exp(-x))`.
    Sigmoid = "sigmoid"(x) [Map];
    /// Largest whole number not above the operand.
    Floor = "floor"(x) [Map];
    /// Smallest whole number not below the operand.
    Ceil = "ceil"(x) [Map];
    /// Nearest whole number, ties to even.
    Round = "round"(x) [Map];
    /// Toward zero to a whole number.
    Trunc = "trunc"(x) [Map];
    /// Whether the operand is NaN.
    IsNan = "is_nan"(x) [Map];
    /// Whether the operand is infinite, of the signs asked for.
    IsInf = "is_inf"(x) { positive: bool, negative: bool } [Map];
    /// Logical negation of `bool`, bitwise complement of integers.
    Not = "not"(x) [Map];
    /// Conversion: floats round to nearest even, float to integer truncates and saturates, integers wrap.
    Cast = "cast"(x) { to: DType } [Map];
    /// `x * sigmoid(x)`.
    Silu = "silu"(x) [Map, Composite];
    /// Gaussian error linear unit: `x * Phi(x)`, by erf or by the tanh approximation.
    Gelu = "gelu"(x) { tanh: bool } [Map, Composite];

    // Maps of two and three operands of one shape.
    /// Sum.
    Add = "add"(a, b) [Map, Commutative];
    /// Difference.
    Sub = "sub"(a, b) [Map];
    /// Product; on `bool`: and.
    Mul = "mul"(a, b) [Map, Commutative];
    /// Quotient; integers truncate toward zero, and division by zero gives 0.
    Div = "div"(a, b) [Map];
    /// Remainder with the sign of the dividend; integer remainder by zero is 0.
    Rem = "rem"(a, b) [Map];
    /// Remainder with the sign of the divisor; integer remainder by zero is 0.
    Modulo = "modulo"(a, b) [Map];
    /// `a` to the power `b`.
    Pow = "pow"(a, b) [Map];
    /// Larger operand; NaN wins.
    Max = "max"(a, b) [Map, Commutative];
    /// Smaller operand; NaN wins.
    Min = "min"(a, b) [Map, Commutative];
    /// And of `bool`, bitwise and of integers.
    And = "and"(a, b) [Map, Commutative];
    /// Or of `bool`, bitwise or of integers.
    Or = "or"(a, b) [Map, Commutative];
    /// Exclusive or of `bool`, bitwise of integers.
    Xor = "xor"(a, b) [Map, Commutative];
    /// Left shift of integers; counts of the width or more give 0.
    Shl = "shl"(a, b) [Map];
    /// Right shift of integers, arithmetic for signed types; counts of the width or more shift everything out.
    Shr = "shr"(a, b) [Map];
    /// Whether `a == b`.
    Eq = "eq"(a, b) [Map, Commutative];
    /// Whether `a != b`.
    Ne = "ne"(a, b) [Map, Commutative];
    /// Whether `a < b`.
    Lt = "lt"(a, b) [Map];
    /// Whether `a <= b`.
    Le = "le"(a, b) [Map];
    /// Whether `a > b`.
    Gt = "gt"(a, b) [Map];
    /// Whether `a >= b`.
    Ge = "ge"(a, b) [Map];
    /// `a` where the condition holds, else `b`.
    Select = "select"(cond, a, b) [Map];

    // Movement.
    /// The same elements in row-major order under another shape.
    Reshape = "reshape"(x) { shape: Vec<Dim> } [Movement];
    /// Result axis `i` is operand axis `perm[i]`.
    Transpose = "transpose"(x) { perm: Vec<usize> } [Movement];
    /// Repeats along axes of size 1, and along new leading axes, as NumPy does.
    Broadcast = "broadcast"(x) { shape: Vec<Dim> } [Movement];
    /// Elements `start, start+step, ...` before `end` on every axis; a negative step goes down, to `end` = -1 at least.
    Slice = "slice"(x) { starts: Vec<Dim>, ends: Vec<Dim>, steps: Vec<i64> } [Movement];
    /// Operands one after the other along `axis`.
    Concat = "concat"(..xs) { axis: usize } [Movement];
    /// The scalar `value` before (`low`), after (`high`) and between (`interior`) the elements of each axis.
    /// `low` and `high` may be negative, which crops.
    Pad = "pad"(x, value) { low: Vec<i64>, high: Vec<i64>, interior: Vec<i64> } [Movement];
    /// Slices of `x` along `axis` at `indices`: result shape is `x`'s with that axis replaced by the shape of `indices`.
    /// Indices outside the axis are clamped to it.
    Gather = "gather"(x, indices) { axis: usize } [Movement];
    /// Element `i` of the result is `x` at `i` with coordinate `axis` replaced by `indices[i]`, clamped to the axis.
    GatherElements = "gather_elements"(x, indices) { axis: usize } [Movement];

    // Bits.
    /// The same bits as elements of another type: two of `e2m1`, a last axis that goes, are a `u8`, the first its lower half;
    /// a `u8` is two of `e2m1`, a last axis that comes.
    Bitcast = "bitcast"(x) { to: DType } [Bits];

    // Reductions.
    /// Combines the elements along `axes`, which stay with size 1 when `keep`.
    Reduce = "reduce"(x) { kind: ReduceKind, axes: Vec<usize>, keep: bool } [Reduction];
    /// Combines the elements of windows that slide over every axis; what lies in the padding does not count.
    /// `mean` divides by the number of elements that lie inside.
    ReduceWindow = "reduce_window"(x)
        { kind: ReduceKind, window: Vec<usize>, strides: Vec<usize>, dilations: Vec<usize>, low: Vec<i64>, high: Vec<i64> }
        [Reduction];
    /// Position along `axis` of the largest (or smallest) element, as i64; the first such, or the last; NaN wins.
    /// The axis stays with size 1 when `keep`.
    ArgReduce = "arg_reduce"(x) { largest: bool, axis: usize, keep: bool, last: bool } [Reduction];

    // Rows.
    /// Exponentials of a row along `axis` over their sum, shifted by the row's largest.
    Softmax = "softmax"(x) { axis: usize } [RowWise, Composite];
    /// Logarithm of `softmax`.
    LogSoftmax = "log_softmax"(x) { axis: usize } [RowWise, Composite];
    /// Rows along the last axis to mean 0 and variance 1, times `scale`, plus `bias`.
    LayerNorm = "layer_norm"(x, scale; bias) { eps: f64 } [RowWise, Composite];
    /// Rows along the last axis over their root mean square, times `scale`.
    RmsNorm = "rms_norm"(x, scale) { eps: f64 } [RowWise, Composite];
    /// `[n, channels, spatial...]`: each sample's group of channels to mean 0 and variance 1, times `scale`, plus `bias`,
    /// both per channel.
    GroupNorm = "group_norm"(x, scale, bias) { groups: usize, eps: f64 } [RowWise, Composite];
    /// Rotary position embedding over the last axis: `x * cos + rotated(x) * sin`. Rotated is `(-second half, first half)`,
    /// or with `interleaved` pairs `(-x1, x0)`. `cos` and `sin` broadcast to `x`.
    Rope = "rope"(x, cos, sin) { interleaved: bool } [Composite];

    // Contractions. Products are summed in `acc` and rounded to `out`.
    /// `[..., m, k]` by `[..., k, n]`; batch dimensions are equal.
    Matmul = "matmul"(a, b) { acc: DType, out: DType } [Contraction];
    /// Rows of `x` `[rows, k]`, which lie group after group, each by its group's matrix of `w` `[groups, k, n]`. `ends`
    /// (i32 or i64, `[groups]`) has the row that follows each group's last. An end below the one before it, or beyond the
    /// rows, counts as that; the last group has all rows that are left, whatever its end says. Groups may be empty.
    GroupedMatmul = "grouped_matmul"(x, w, ends) { acc: DType, out: DType } [Contraction];
    /// Cross-correlation of an image with filters over any number of spatial axes.
    /// `low` and `high` are zero padding per spatial axis; `groups` divides the channels.
    Conv = "conv"(x, filter)
        { strides: Vec<usize>, dilations: Vec<usize>, low: Vec<i64>, high: Vec<i64>, groups: usize, layout: Layout,
          acc: DType, out: DType }
        [Contraction];
    /// `softmax(scale * q k^T + mask) v` over `[batch, heads, tokens, width]`; key/value heads may divide query heads.
    /// `mask` is added (float) or selects (bool), and broadcasts. `causal` lets query i see keys up to
    /// `i + keys - queries`; `window` > 0 only that many of them. `softcap` c > 0 replaces scores s by `c tanh(s/c)`.
    Attention = "attention"(q, k, v; mask) { scale: f64, causal: bool, window: usize, softcap: f64 } [Composite];

    // Ordered.
    /// Running combination along `axis`; `exclusive` leaves the element itself out, `reverse` runs from the end.
    Scan = "scan"(x) { kind: ReduceKind, axis: usize, exclusive: bool, reverse: bool } [Ordered];
    /// Positions that sort each row along `axis`, as i64; equal elements keep their order; NaN counts as largest.
    Argsort = "argsort"(x) { axis: usize, descending: bool } [Ordered];
    /// `x` with `updates` written at `indices`, whose last axis holds coordinates of `x`'s leading axes.
    /// Updates outside `x` are dropped.
    ScatterNd = "scatter_nd"(x, indices, updates) { kind: ScatterKind } [Ordered];
}
