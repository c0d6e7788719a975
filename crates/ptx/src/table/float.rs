//! f32 arithmetic. `.rn` is spelled out: without it `ptxas` may join a product and a sum into one rounding.

use super::columns::*;
use crate::meaning::Binary::*;
use crate::meaning::Ternary::*;
use crate::meaning::Unary::*;

super::forms! {
    { "floating-point-instructions-add", Fma, Pure, BASE }
    add_f32(F32 <- a: F32, b: F32) = "add.rn.f32" => Binary(Add, F32);

    { "floating-point-instructions-sub", Fma, Pure, BASE }
    sub_f32(F32 <- a: F32, b: F32) = "sub.rn.f32" => Binary(Sub, F32);

    { "floating-point-instructions-mul", Fma, Pure, BASE }
    mul_f32(F32 <- a: F32, b: F32) = "mul.rn.f32" => Binary(Mul, F32);

    { "floating-point-instructions-fma", Fma, Pure, BASE }
    fma_f32(F32 <- a: F32, b: F32, c: F32) = "fma.rn.f32" => Ternary(Fma, F32);

    { "floating-point-instructions-div", Sequence, Pure, BASE }
    div_f32(F32 <- a: F32, b: F32) = "div.rn.f32" => Binary(Div, F32);
    div_full_f32(F32 <- a: F32, b: F32) = "div.full.f32" => Binary(DivFull, F32);
    div_approx_f32(F32 <- a: F32, b: F32) = "div.approx.f32" => Binary(DivApprox, F32);

    { "floating-point-instructions-abs", Alu, Pure, BASE }
    abs_f32(F32 <- a: F32) = "abs.f32" => Unary(Abs, F32);

    { "floating-point-instructions-neg", Alu, Pure, BASE }
    neg_f32(F32 <- a: F32) = "neg.f32" => Unary(Neg, F32);

    { "floating-point-instructions-min", Alu, Pure, BASE }
    min_f32(F32 <- a: F32, b: F32) = "min.f32" => Binary(Min, F32);
    { "floating-point-instructions-min", Alu, Pure, from(80, 7, 0) }
    min_nan_f32(F32 <- a: F32, b: F32) = "min.NaN.f32" => Binary(MinNan, F32);

    { "floating-point-instructions-max", Alu, Pure, BASE }
    max_f32(F32 <- a: F32, b: F32) = "max.f32" => Binary(Max, F32);
    { "floating-point-instructions-max", Alu, Pure, from(80, 7, 0) }
    max_nan_f32(F32 <- a: F32, b: F32) = "max.NaN.f32" => Binary(MaxNan, F32);

    { "floating-point-instructions-copysign", Alu, Pure, BASE }
    copysign_f32(F32 <- sign: F32, magnitude: F32) = "copysign.f32" => Binary(CopySign, F32);

    { "floating-point-instructions-sqrt", Sequence, Pure, BASE }
    sqrt_f32(F32 <- a: F32) = "sqrt.rn.f32" => Unary(Sqrt, F32);
    { "floating-point-instructions-sqrt", Special, Pure, BASE }
    sqrt_approx_f32(F32 <- a: F32) = "sqrt.approx.f32" => Unary(SqrtApprox, F32);

    { "floating-point-instructions-rsqrt", Special, Pure, BASE }
    rsqrt_approx_f32(F32 <- a: F32) = "rsqrt.approx.f32" => Unary(RsqrtApprox, F32);

    { "floating-point-instructions-rcp", Sequence, Pure, BASE }
    rcp_f32(F32 <- a: F32) = "rcp.rn.f32" => Unary(Rcp, F32);
    { "floating-point-instructions-rcp", Special, Pure, BASE }
    rcp_approx_f32(F32 <- a: F32) = "rcp.approx.f32" => Unary(RcpApprox, F32);
    rcp_approx_ftz_f32(F32 <- a: F32) = "rcp.approx.ftz.f32" => Unary(RcpApproxFlush, F32);

    { "floating-point-instructions-ex2", Special, Pure, BASE }
    ex2_approx_f32(F32 <- a: F32) = "ex2.approx.f32" => Unary(Exp2Approx, F32);
    ex2_approx_ftz_f32(F32 <- a: F32) = "ex2.approx.ftz.f32" => Unary(Exp2ApproxFlush, F32);

    { "floating-point-instructions-lg2", Special, Pure, BASE }
    lg2_approx_f32(F32 <- a: F32) = "lg2.approx.f32" => Unary(Log2Approx, F32);
    lg2_approx_ftz_f32(F32 <- a: F32) = "lg2.approx.ftz.f32" => Unary(Log2ApproxFlush, F32);

    { "floating-point-instructions-sin", Special, Pure, BASE }
    sin_approx_f32(F32 <- a: F32) = "sin.approx.f32" => Unary(SinApprox, F32);

    { "floating-point-instructions-cos", Special, Pure, BASE }
    cos_approx_f32(F32 <- a: F32) = "cos.approx.f32" => Unary(CosApprox, F32);

    { "floating-point-instructions-tanh", Special, Pure, from(75, 7, 0) }
    tanh_approx_f32(F32 <- a: F32) = "tanh.approx.f32" => Unary(TanhApprox, F32);

    { "floating-point-instructions-testp", Alu, Pure, BASE }
    testp_finite_f32(Pred <- a: F32) = "testp.finite.f32" => Unary(IsFinite, F32);
    testp_infinite_f32(Pred <- a: F32) = "testp.infinite.f32" => Unary(IsInfinite, F32);
    testp_notanumber_f32(Pred <- a: F32) = "testp.notanumber.f32" => Unary(IsNan, F32);
    testp_number_f32(Pred <- a: F32) = "testp.number.f32" => Unary(IsNumber, F32);
    testp_normal_f32(Pred <- a: F32) = "testp.normal.f32" => Unary(IsNormal, F32);
    testp_subnormal_f32(Pred <- a: F32) = "testp.subnormal.f32" => Unary(IsSubnormal, F32);

    { "data-movement-and-conversion-instructions-cvt", Special, Pure, BASE }
    round_even_f32(F32 <- a: F32) = "cvt.rni.f32.f32" => Unary(RoundEven, F32);
    truncate_f32(F32 <- a: F32) = "cvt.rzi.f32.f32" => Unary(Truncate, F32);
    floor_f32(F32 <- a: F32) = "cvt.rmi.f32.f32" => Unary(Floor, F32);
    ceil_f32(F32 <- a: F32) = "cvt.rpi.f32.f32" => Unary(Ceil, F32);
    saturate_f32(F32 <- a: F32) = "cvt.sat.f32.f32" => Unary(Saturate, F32);
}
