//! f64 arithmetic. There is no approximate f64 beside the ones that refine from f32.

use super::columns::*;
use crate::meaning::Binary::*;
use crate::meaning::Ternary::*;
use crate::meaning::Unary::*;

super::forms! {
    { "floating-point-instructions-add", Double, Pure, BASE }
    add_f64(F64 <- a: F64, b: F64) = "add.rn.f64" => Binary(Add, F64);

    { "floating-point-instructions-sub", Double, Pure, BASE }
    sub_f64(F64 <- a: F64, b: F64) = "sub.rn.f64" => Binary(Sub, F64);

    { "floating-point-instructions-mul", Double, Pure, BASE }
    mul_f64(F64 <- a: F64, b: F64) = "mul.rn.f64" => Binary(Mul, F64);

    { "floating-point-instructions-fma", Double, Pure, BASE }
    fma_f64(F64 <- a: F64, b: F64, c: F64) = "fma.rn.f64" => Ternary(Fma, F64);

    { "floating-point-instructions-div", Sequence, Pure, BASE }
    div_f64(F64 <- a: F64, b: F64) = "div.rn.f64" => Binary(Div, F64);

    { "floating-point-instructions-sqrt", Sequence, Pure, BASE }
    sqrt_f64(F64 <- a: F64) = "sqrt.rn.f64" => Unary(Sqrt, F64);

    { "floating-point-instructions-rsqrt", Sequence, Pure, BASE }
    rsqrt_approx_f64(F64 <- a: F64) = "rsqrt.approx.f64" => Unary(RsqrtApprox, F64);

    { "floating-point-instructions-rcp", Sequence, Pure, BASE }
    rcp_f64(F64 <- a: F64) = "rcp.rn.f64" => Unary(Rcp, F64);

    { "floating-point-instructions-abs", Double, Pure, BASE }
    abs_f64(F64 <- a: F64) = "abs.f64" => Unary(Abs, F64);

    { "floating-point-instructions-neg", Double, Pure, BASE }
    neg_f64(F64 <- a: F64) = "neg.f64" => Unary(Neg, F64);

    { "floating-point-instructions-min", Double, Pure, BASE }
    min_f64(F64 <- a: F64, b: F64) = "min.f64" => Binary(Min, F64);

    { "floating-point-instructions-max", Double, Pure, BASE }
    max_f64(F64 <- a: F64, b: F64) = "max.f64" => Binary(Max, F64);

    { "floating-point-instructions-copysign", Alu, Pure, BASE }
    copysign_f64(F64 <- sign: F64, magnitude: F64) = "copysign.f64" => Binary(CopySign, F64);

    { "floating-point-instructions-testp", Double, Pure, BASE }
    testp_finite_f64(Pred <- a: F64) = "testp.finite.f64" => Unary(IsFinite, F64);
    testp_infinite_f64(Pred <- a: F64) = "testp.infinite.f64" => Unary(IsInfinite, F64);
    testp_notanumber_f64(Pred <- a: F64) = "testp.notanumber.f64" => Unary(IsNan, F64);

    { "data-movement-and-conversion-instructions-cvt", Double, Pure, BASE }
    round_even_f64(F64 <- a: F64) = "cvt.rni.f64.f64" => Unary(RoundEven, F64);
    truncate_f64(F64 <- a: F64) = "cvt.rzi.f64.f64" => Unary(Truncate, F64);
    floor_f64(F64 <- a: F64) = "cvt.rmi.f64.f64" => Unary(Floor, F64);
    ceil_f64(F64 <- a: F64) = "cvt.rpi.f64.f64" => Unary(Ceil, F64);
}
