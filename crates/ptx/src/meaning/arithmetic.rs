//! Operations on values in registers, and changes of their type.

use crate::scalar::ScalarType;

/// Operations on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unary {
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// Every bit flipped.
    Not,
    /// Number of one bits, as u32.
    PopCount,
    /// Number of zero bits above the highest one bit, as u32.
    LeadingZeros,
    /// Bits in reverse order.
    ReverseBits,
    /// Square root, rounded to nearest.
    Sqrt,
    /// Square root, approximate.
    SqrtApprox,
    /// `1 / sqrt(a)`, approximate.
    RsqrtApprox,
    /// `1 / a`, rounded to nearest.
    Rcp,
    /// `1 / a`, approximate.
    RcpApprox,
    /// `1 / a`, approximate, subnormals flushed.
    RcpApproxFlush,
    /// `2^a`, approximate.
    Exp2Approx,
    /// `2^a`, approximate, subnormals flushed.
    Exp2ApproxFlush,
    /// `log2 a`, approximate.
    Log2Approx,
    /// `log2 a`, approximate, subnormals flushed.
    Log2ApproxFlush,
    /// Sine, approximate.
    SinApprox,
    /// Cosine, approximate.
    CosApprox,
    /// Hyperbolic tangent, approximate.
    TanhApprox,
    /// To the nearest integral value, ties to even.
    RoundEven,
    /// To the integral value toward zero.
    Truncate,
    /// To the integral value below.
    Floor,
    /// To the integral value above.
    Ceil,
    /// Clamped to `[0, 1]`, NaN to 0.
    Saturate,
    /// Whether neither infinite nor NaN.
    IsFinite,
    /// Whether infinite.
    IsInfinite,
    /// Whether NaN.
    IsNan,
    /// Whether not NaN.
    IsNumber,
    /// Whether normal.
    IsNormal,
    /// Whether subnormal.
    IsSubnormal,
}

/// Operations on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`; for integers the low half.
    Mul,
    /// The high half of an integer product.
    MulHigh,
    /// The whole integer product, twice as wide.
    MulWide,
    /// `a / b`, rounded to nearest; for integers toward zero.
    Div,
    /// `a / b` within 2 ulp over the full range.
    DivFull,
    /// `a / b` within 2 ulp for `b` in [2^-126, 2^126].
    DivApprox,
    /// `a % b`
    Rem,
    /// The smaller; of a number and a NaN the number.
    Min,
    /// The larger; of a number and a NaN the number.
    Max,
    /// The smaller, or NaN where one is NaN.
    MinNan,
    /// The larger, or NaN where one is NaN.
    MaxNan,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// `a << b` with `b` a u32; 0 where `b` is not below the width.
    Shl,
    /// `a >> b` with `b` a u32; arithmetic for signed types.
    Shr,
    /// The magnitude of `b` with the sign of `a`.
    CopySign,
}

/// Operations on three or more values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ternary {
    /// `a * b + c`, rounded once.
    Fma,
    /// `max(a * b + c, 0)`, rounded once; NaN stays NaN.
    FmaRelu,
    /// `a * b + c`, the low half of the product.
    Mad,
    /// `a * b + c`, the whole product, `c` twice as wide.
    MadWide,
    /// Any function of three bits, given by a truth table.
    Logic3,
    /// Four bytes picked out of eight.
    Permute,
    /// Four bytes from byte `c` on, upward.
    PermuteForward4,
    /// Four bytes from byte `c` on, downward.
    PermuteBackward4,
    /// Byte `c` four times.
    PermuteReplicate8,
    /// Bytes 0 to 3, those below `c` replaced by it.
    PermuteEdgeLeft,
    /// Bytes 0 to 3, those above `c` replaced by it.
    PermuteEdgeRight,
    /// 16-bit half `c` twice.
    PermuteReplicate16,
    /// A field of `length` bits of `a` from bit `start`.
    BitFieldExtract,
    /// The low `length` bits of `a` put into `b` at bit `start`.
    BitFieldInsert,
    /// The high word of `(b:a) << c`.
    FunnelShiftLeft,
    /// The low word of `(b:a) >> c`.
    FunnelShiftRight,
    /// Four products of bytes added to `c`.
    DotProduct4,
}

/// Comparisons. The `U` forms also hold where an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `a = b`
    Eq,
    /// `a != b`
    Ne,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a > b`
    Gt,
    /// `a >= b`
    Ge,
    /// `a = b`, or one is NaN.
    EqU,
    /// `a != b`, or one is NaN.
    NeU,
    /// `a < b`, or one is NaN.
    LtU,
    /// `a <= b`, or one is NaN.
    LeU,
    /// `a > b`, or one is NaN.
    GtU,
    /// `a >= b`, or one is NaN.
    GeU,
    /// Neither is NaN.
    Num,
    /// One is NaN.
    Nan,
}

/// A change of type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Convert {
    /// Type of the result.
    pub to: ScalarType,
    /// Type of the source. A packed result takes two sources of it, the upper half first.
    pub from: ScalarType,
    /// What happens to values between two values of `to`.
    pub rounding: Rounding,
    /// What happens to values outside `to`.
    pub clamp: Clamp,
}

/// Rounding of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rounding {
    /// Every value of the source has one in the result, or integers wrap.
    Exact,
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero.
    NearestAway,
    /// Toward zero.
    Zero,
    /// Upward.
    Up,
    /// Downward.
    Down,
    /// Up or down by the bits of an operand, the nearer the likelier.
    Stochastic,
}

/// What a conversion does with values outside the result type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clamp {
    /// Integers wrap, floats overflow to infinity; float to integer clamps by itself.
    Off,
    /// To the nearest end of an integer type.
    Saturate,
    /// To the largest finite value.
    Finite,
    /// Negative values to zero.
    Relu,
    /// Both of the last.
    FiniteRelu,
}
