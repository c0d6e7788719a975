//! Integer arithmetic on 16, 32 and 64 bits. Sums and low products wrap.

use super::columns::*;
use crate::meaning::Binary::*;
use crate::meaning::Ternary::*;
use crate::meaning::Unary::*;
use crate::slot::{BitCount, BitPosition};

super::forms! {
    { "integer-arithmetic-instructions-add", Alu, Pure, BASE }
    add_u16(B16 <- a: B16, b: B16) = "add.u16" => Binary(Add, U16);
    add_s16(B16 <- a: B16, b: B16) = "add.s16" => Binary(Add, S16);
    add_u32(B32 <- a: B32, b: B32) = "add.u32" => Binary(Add, U32);
    add_s32(B32 <- a: B32, b: B32) = "add.s32" => Binary(Add, S32);
    add_u64(B64 <- a: B64, b: B64) = "add.u64" => Binary(Add, U64);
    add_s64(B64 <- a: B64, b: B64) = "add.s64" => Binary(Add, S64);

    { "integer-arithmetic-instructions-sub", Alu, Pure, BASE }
    sub_u16(B16 <- a: B16, b: B16) = "sub.u16" => Binary(Sub, U16);
    sub_s16(B16 <- a: B16, b: B16) = "sub.s16" => Binary(Sub, S16);
    sub_u32(B32 <- a: B32, b: B32) = "sub.u32" => Binary(Sub, U32);
    sub_s32(B32 <- a: B32, b: B32) = "sub.s32" => Binary(Sub, S32);
    sub_u64(B64 <- a: B64, b: B64) = "sub.u64" => Binary(Sub, U64);
    sub_s64(B64 <- a: B64, b: B64) = "sub.s64" => Binary(Sub, S64);

    { "integer-arithmetic-instructions-mul", Fma, Pure, BASE }
    mul_lo_u16(B16 <- a: B16, b: B16) = "mul.lo.u16" => Binary(Mul, U16);
    mul_lo_s16(B16 <- a: B16, b: B16) = "mul.lo.s16" => Binary(Mul, S16);
    mul_lo_u32(B32 <- a: B32, b: B32) = "mul.lo.u32" => Binary(Mul, U32);
    mul_lo_s32(B32 <- a: B32, b: B32) = "mul.lo.s32" => Binary(Mul, S32);
    mul_lo_u64(B64 <- a: B64, b: B64) = "mul.lo.u64" => Binary(Mul, U64);
    mul_lo_s64(B64 <- a: B64, b: B64) = "mul.lo.s64" => Binary(Mul, S64);
    mul_hi_u32(B32 <- a: B32, b: B32) = "mul.hi.u32" => Binary(MulHigh, U32);
    mul_hi_s32(B32 <- a: B32, b: B32) = "mul.hi.s32" => Binary(MulHigh, S32);
    mul_hi_u64(B64 <- a: B64, b: B64) = "mul.hi.u64" => Binary(MulHigh, U64);
    mul_hi_s64(B64 <- a: B64, b: B64) = "mul.hi.s64" => Binary(MulHigh, S64);
    mul_wide_u16(B32 <- a: B16, b: B16) = "mul.wide.u16" => Binary(MulWide, U16);
    mul_wide_s16(B32 <- a: B16, b: B16) = "mul.wide.s16" => Binary(MulWide, S16);
    mul_wide_u32(B64 <- a: B32, b: B32) = "mul.wide.u32" => Binary(MulWide, U32);
    mul_wide_s32(B64 <- a: B32, b: B32) = "mul.wide.s32" => Binary(MulWide, S32);

    { "integer-arithmetic-instructions-mad", Fma, Pure, BASE }
    mad_lo_u16(B16 <- a: B16, b: B16, c: B16) = "mad.lo.u16" => Ternary(Mad, U16);
    mad_lo_s16(B16 <- a: B16, b: B16, c: B16) = "mad.lo.s16" => Ternary(Mad, S16);
    mad_lo_u32(B32 <- a: B32, b: B32, c: B32) = "mad.lo.u32" => Ternary(Mad, U32);
    mad_lo_s32(B32 <- a: B32, b: B32, c: B32) = "mad.lo.s32" => Ternary(Mad, S32);
    mad_lo_u64(B64 <- a: B64, b: B64, c: B64) = "mad.lo.u64" => Ternary(Mad, U64);
    mad_lo_s64(B64 <- a: B64, b: B64, c: B64) = "mad.lo.s64" => Ternary(Mad, S64);
    mad_wide_u32(B64 <- a: B32, b: B32, c: B64) = "mad.wide.u32" => Ternary(MadWide, U32);
    mad_wide_s32(B64 <- a: B32, b: B32, c: B64) = "mad.wide.s32" => Ternary(MadWide, S32);

    { "integer-arithmetic-instructions-div", Sequence, Pure, BASE }
    div_u16(B16 <- a: B16, b: B16) = "div.u16" => Binary(Div, U16);
    div_s16(B16 <- a: B16, b: B16) = "div.s16" => Binary(Div, S16);
    div_u32(B32 <- a: B32, b: B32) = "div.u32" => Binary(Div, U32);
    div_s32(B32 <- a: B32, b: B32) = "div.s32" => Binary(Div, S32);
    div_u64(B64 <- a: B64, b: B64) = "div.u64" => Binary(Div, U64);
    div_s64(B64 <- a: B64, b: B64) = "div.s64" => Binary(Div, S64);

    { "integer-arithmetic-instructions-rem", Sequence, Pure, BASE }
    rem_u16(B16 <- a: B16, b: B16) = "rem.u16" => Binary(Rem, U16);
    rem_s16(B16 <- a: B16, b: B16) = "rem.s16" => Binary(Rem, S16);
    rem_u32(B32 <- a: B32, b: B32) = "rem.u32" => Binary(Rem, U32);
    rem_s32(B32 <- a: B32, b: B32) = "rem.s32" => Binary(Rem, S32);
    rem_u64(B64 <- a: B64, b: B64) = "rem.u64" => Binary(Rem, U64);
    rem_s64(B64 <- a: B64, b: B64) = "rem.s64" => Binary(Rem, S64);

    { "integer-arithmetic-instructions-min", Alu, Pure, BASE }
    min_u16(B16 <- a: B16, b: B16) = "min.u16" => Binary(Min, U16);
    min_s16(B16 <- a: B16, b: B16) = "min.s16" => Binary(Min, S16);
    min_u32(B32 <- a: B32, b: B32) = "min.u32" => Binary(Min, U32);
    min_s32(B32 <- a: B32, b: B32) = "min.s32" => Binary(Min, S32);
    min_u64(B64 <- a: B64, b: B64) = "min.u64" => Binary(Min, U64);
    min_s64(B64 <- a: B64, b: B64) = "min.s64" => Binary(Min, S64);

    { "integer-arithmetic-instructions-max", Alu, Pure, BASE }
    max_u16(B16 <- a: B16, b: B16) = "max.u16" => Binary(Max, U16);
    max_s16(B16 <- a: B16, b: B16) = "max.s16" => Binary(Max, S16);
    max_u32(B32 <- a: B32, b: B32) = "max.u32" => Binary(Max, U32);
    max_s32(B32 <- a: B32, b: B32) = "max.s32" => Binary(Max, S32);
    max_u64(B64 <- a: B64, b: B64) = "max.u64" => Binary(Max, U64);
    max_s64(B64 <- a: B64, b: B64) = "max.s64" => Binary(Max, S64);

    { "integer-arithmetic-instructions-abs", Alu, Pure, BASE }
    abs_s16(B16 <- a: B16) = "abs.s16" => Unary(Abs, S16);
    abs_s32(B32 <- a: B32) = "abs.s32" => Unary(Abs, S32);
    abs_s64(B64 <- a: B64) = "abs.s64" => Unary(Abs, S64);

    { "integer-arithmetic-instructions-neg", Alu, Pure, BASE }
    neg_s16(B16 <- a: B16) = "neg.s16" => Unary(Neg, S16);
    neg_s32(B32 <- a: B32) = "neg.s32" => Unary(Neg, S32);
    neg_s64(B64 <- a: B64) = "neg.s64" => Unary(Neg, S64);

    { "integer-arithmetic-instructions-popc", Special, Pure, BASE }
    popc_b32(B32 <- a: B32) = "popc.b32" => Unary(PopCount, B32);
    popc_b64(B32 <- a: B64) = "popc.b64" => Unary(PopCount, B64);

    { "integer-arithmetic-instructions-clz", Special, Pure, BASE }
    clz_b32(B32 <- a: B32) = "clz.b32" => Unary(LeadingZeros, B32);
    clz_b64(B32 <- a: B64) = "clz.b64" => Unary(LeadingZeros, B64);

    { "integer-arithmetic-instructions-brev", Special, Pure, BASE }
    brev_b32(B32 <- a: B32) = "brev.b32" => Unary(ReverseBits, B32);
    brev_b64(B64 <- a: B64) = "brev.b64" => Unary(ReverseBits, B64);

    { "integer-arithmetic-instructions-bfe", Alu, Pure, BASE }
    bfe_u32(B32 <- a: B32, start: BitPosition, length: BitCount) = "bfe.u32" => Ternary(BitFieldExtract, U32);
    bfe_s32(B32 <- a: B32, start: BitPosition, length: BitCount) = "bfe.s32" => Ternary(BitFieldExtract, S32);

    { "integer-arithmetic-instructions-bfi", Alu, Pure, BASE }
    bfi_b32(B32 <- a: B32, b: B32, start: BitPosition, length: BitCount) = "bfi.b32" => Ternary(BitFieldInsert, B32);

    { "integer-arithmetic-instructions-dp4a", Fma, Pure, BASE }
    dp4a_s32(B32 <- a: B32, b: B32, c: B32) = "dp4a.s32.s32" => Ternary(DotProduct4, S32);
    dp4a_u32(B32 <- a: B32, b: B32, c: B32) = "dp4a.u32.u32" => Ternary(DotProduct4, U32);
}
