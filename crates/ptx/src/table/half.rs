//! f16 and bf16 arithmetic, single in 16-bit registers and packed in 32-bit registers.
//!
//! Constants do not stand for 16-bit floats: `ptxas` would read an integer. Move the bits into a register first.

use super::columns::*;
use crate::meaning::Binary::*;
use crate::meaning::Ternary::*;
use crate::meaning::Unary::*;

super::forms! {
    { "half-precision-floating-point-instructions-add", Half, Pure, BASE }
    add_f16(B16 <- a: RegB16, b: RegB16) = "add.rn.f16" => Binary(Add, F16);
    add_f16x2(B32 <- a: RegB32, b: RegB32) = "add.rn.f16x2" => Binary(Add, F16x2);
    { "half-precision-floating-point-instructions-add", Half, Pure, from(90, 7, 8) }
    add_bf16(B16 <- a: RegB16, b: RegB16) = "add.rn.bf16" => Binary(Add, Bf16);
    add_bf16x2(B32 <- a: RegB32, b: RegB32) = "add.rn.bf16x2" => Binary(Add, Bf16x2);

    { "half-precision-floating-point-instructions-sub", Half, Pure, BASE }
    sub_f16(B16 <- a: RegB16, b: RegB16) = "sub.rn.f16" => Binary(Sub, F16);
    sub_f16x2(B32 <- a: RegB32, b: RegB32) = "sub.rn.f16x2" => Binary(Sub, F16x2);
    { "half-precision-floating-point-instructions-sub", Half, Pure, from(90, 7, 8) }
    sub_bf16(B16 <- a: RegB16, b: RegB16) = "sub.rn.bf16" => Binary(Sub, Bf16);
    sub_bf16x2(B32 <- a: RegB32, b: RegB32) = "sub.rn.bf16x2" => Binary(Sub, Bf16x2);

    { "half-precision-floating-point-instructions-mul", Half, Pure, BASE }
    mul_f16(B16 <- a: RegB16, b: RegB16) = "mul.rn.f16" => Binary(Mul, F16);
    mul_f16x2(B32 <- a: RegB32, b: RegB32) = "mul.rn.f16x2" => Binary(Mul, F16x2);
    { "half-precision-floating-point-instructions-mul", Half, Pure, from(90, 7, 8) }
    mul_bf16(B16 <- a: RegB16, b: RegB16) = "mul.rn.bf16" => Binary(Mul, Bf16);
    mul_bf16x2(B32 <- a: RegB32, b: RegB32) = "mul.rn.bf16x2" => Binary(Mul, Bf16x2);

    { "half-precision-floating-point-instructions-fma", Half, Pure, BASE }
    fma_f16(B16 <- a: RegB16, b: RegB16, c: RegB16) = "fma.rn.f16" => Ternary(Fma, F16);
    fma_f16x2(B32 <- a: RegB32, b: RegB32, c: RegB32) = "fma.rn.f16x2" => Ternary(Fma, F16x2);
    { "half-precision-floating-point-instructions-fma", Half, Pure, from(80, 7, 0) }
    fma_bf16(B16 <- a: RegB16, b: RegB16, c: RegB16) = "fma.rn.bf16" => Ternary(Fma, Bf16);
    fma_bf16x2(B32 <- a: RegB32, b: RegB32, c: RegB32) = "fma.rn.bf16x2" => Ternary(Fma, Bf16x2);
    fma_relu_f16x2(B32 <- a: RegB32, b: RegB32, c: RegB32) = "fma.rn.relu.f16x2" => Ternary(FmaRelu, F16x2);
    fma_relu_bf16x2(B32 <- a: RegB32, b: RegB32, c: RegB32) = "fma.rn.relu.bf16x2" => Ternary(FmaRelu, Bf16x2);

    { "half-precision-floating-point-instructions-neg", Half, Pure, BASE }
    neg_f16(B16 <- a: RegB16) = "neg.f16" => Unary(Neg, F16);
    neg_f16x2(B32 <- a: RegB32) = "neg.f16x2" => Unary(Neg, F16x2);
    { "half-precision-floating-point-instructions-neg", Half, Pure, from(80, 7, 0) }
    neg_bf16(B16 <- a: RegB16) = "neg.bf16" => Unary(Neg, Bf16);
    neg_bf16x2(B32 <- a: RegB32) = "neg.bf16x2" => Unary(Neg, Bf16x2);

    { "half-precision-floating-point-instructions-abs", Half, Pure, from(75, 6, 5) }
    abs_f16(B16 <- a: RegB16) = "abs.f16" => Unary(Abs, F16);
    abs_f16x2(B32 <- a: RegB32) = "abs.f16x2" => Unary(Abs, F16x2);
    { "half-precision-floating-point-instructions-abs", Half, Pure, from(80, 7, 0) }
    abs_bf16(B16 <- a: RegB16) = "abs.bf16" => Unary(Abs, Bf16);
    abs_bf16x2(B32 <- a: RegB32) = "abs.bf16x2" => Unary(Abs, Bf16x2);

    { "half-precision-floating-point-instructions-min", Half, Pure, from(80, 7, 0) }
    min_f16(B16 <- a: RegB16, b: RegB16) = "min.f16" => Binary(Min, F16);
    min_f16x2(B32 <- a: RegB32, b: RegB32) = "min.f16x2" => Binary(Min, F16x2);
    min_bf16(B16 <- a: RegB16, b: RegB16) = "min.bf16" => Binary(Min, Bf16);
    min_bf16x2(B32 <- a: RegB32, b: RegB32) = "min.bf16x2" => Binary(Min, Bf16x2);
    min_nan_f16x2(B32 <- a: RegB32, b: RegB32) = "min.NaN.f16x2" => Binary(MinNan, F16x2);
    min_nan_bf16x2(B32 <- a: RegB32, b: RegB32) = "min.NaN.bf16x2" => Binary(MinNan, Bf16x2);

    { "half-precision-floating-point-instructions-max", Half, Pure, from(80, 7, 0) }
    max_f16(B16 <- a: RegB16, b: RegB16) = "max.f16" => Binary(Max, F16);
    max_f16x2(B32 <- a: RegB32, b: RegB32) = "max.f16x2" => Binary(Max, F16x2);
    max_bf16(B16 <- a: RegB16, b: RegB16) = "max.bf16" => Binary(Max, Bf16);
    max_bf16x2(B32 <- a: RegB32, b: RegB32) = "max.bf16x2" => Binary(Max, Bf16x2);
    max_nan_f16x2(B32 <- a: RegB32, b: RegB32) = "max.NaN.f16x2" => Binary(MaxNan, F16x2);
    max_nan_bf16x2(B32 <- a: RegB32, b: RegB32) = "max.NaN.bf16x2" => Binary(MaxNan, Bf16x2);

    { "half-precision-floating-point-instructions-ex2", Special, Pure, from(75, 7, 0) }
    ex2_approx_f16x2(B32 <- a: RegB32) = "ex2.approx.f16x2" => Unary(Exp2Approx, F16x2);
    { "half-precision-floating-point-instructions-ex2", Special, Pure, from(90, 7, 8) }
    ex2_approx_ftz_bf16x2(B32 <- a: RegB32) = "ex2.approx.ftz.bf16x2" => Unary(Exp2ApproxFlush, Bf16x2);

    { "half-precision-floating-point-instructions-tanh", Special, Pure, from(75, 7, 0) }
    tanh_approx_f16x2(B32 <- a: RegB32) = "tanh.approx.f16x2" => Unary(TanhApprox, F16x2);
    { "half-precision-floating-point-instructions-tanh", Special, Pure, from(90, 7, 8) }
    tanh_approx_bf16x2(B32 <- a: RegB32) = "tanh.approx.bf16x2" => Unary(TanhApprox, Bf16x2);
}
