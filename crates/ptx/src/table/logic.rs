//! Bitwise operations, shifts and permutations. Shift counts are u32 whatever the width.

use super::columns::*;
use crate::meaning::Binary::*;
use crate::meaning::Ternary::*;
use crate::meaning::Unary::*;
use crate::slot::TruthTable;

super::forms! {
    { "logic-and-shift-instructions-and", Alu, Pure, BASE }
    and_pred(Pred <- a: Pred, b: Pred) = "and.pred" => Binary(And, Pred);
    and_b16(B16 <- a: B16, b: B16) = "and.b16" => Binary(And, B16);
    and_b32(B32 <- a: B32, b: B32) = "and.b32" => Binary(And, B32);
    and_b64(B64 <- a: B64, b: B64) = "and.b64" => Binary(And, B64);

    { "logic-and-shift-instructions-or", Alu, Pure, BASE }
    or_pred(Pred <- a: Pred, b: Pred) = "or.pred" => Binary(Or, Pred);
    or_b16(B16 <- a: B16, b: B16) = "or.b16" => Binary(Or, B16);
    or_b32(B32 <- a: B32, b: B32) = "or.b32" => Binary(Or, B32);
    or_b64(B64 <- a: B64, b: B64) = "or.b64" => Binary(Or, B64);

    { "logic-and-shift-instructions-xor", Alu, Pure, BASE }
    xor_pred(Pred <- a: Pred, b: Pred) = "xor.pred" => Binary(Xor, Pred);
    xor_b16(B16 <- a: B16, b: B16) = "xor.b16" => Binary(Xor, B16);
    xor_b32(B32 <- a: B32, b: B32) = "xor.b32" => Binary(Xor, B32);
    xor_b64(B64 <- a: B64, b: B64) = "xor.b64" => Binary(Xor, B64);

    { "logic-and-shift-instructions-not", Alu, Pure, BASE }
    not_pred(Pred <- a: Pred) = "not.pred" => Unary(Not, Pred);
    not_b16(B16 <- a: B16) = "not.b16" => Unary(Not, B16);
    not_b32(B32 <- a: B32) = "not.b32" => Unary(Not, B32);
    not_b64(B64 <- a: B64) = "not.b64" => Unary(Not, B64);

    { "logic-and-shift-instructions-shl", Alu, Pure, BASE }
    shl_b16(B16 <- a: B16, count: B32) = "shl.b16" => Binary(Shl, B16);
    shl_b32(B32 <- a: B32, count: B32) = "shl.b32" => Binary(Shl, B32);
    shl_b64(B64 <- a: B64, count: B32) = "shl.b64" => Binary(Shl, B64);

    { "logic-and-shift-instructions-shr", Alu, Pure, BASE }
    shr_u16(B16 <- a: B16, count: B32) = "shr.u16" => Binary(Shr, U16);
    shr_s16(B16 <- a: B16, count: B32) = "shr.s16" => Binary(Shr, S16);
    shr_u32(B32 <- a: B32, count: B32) = "shr.u32" => Binary(Shr, U32);
    shr_s32(B32 <- a: B32, count: B32) = "shr.s32" => Binary(Shr, S32);
    shr_u64(B64 <- a: B64, count: B32) = "shr.u64" => Binary(Shr, U64);
    shr_s64(B64 <- a: B64, count: B32) = "shr.s64" => Binary(Shr, S64);

    { "logic-and-shift-instructions-shf", Alu, Pure, BASE }
    shf_l_b32(B32 <- low: B32, high: B32, count: B32) = "shf.l.wrap.b32" => Ternary(FunnelShiftLeft, B32);
    shf_r_b32(B32 <- low: B32, high: B32, count: B32) = "shf.r.wrap.b32" => Ternary(FunnelShiftRight, B32);

    { "logic-and-shift-instructions-lop3", Alu, Pure, BASE }
    lop3_b32(B32 <- a: B32, b: B32, c: B32, table: TruthTable) = "lop3.b32" => Ternary(Logic3, B32);

    { "data-movement-and-conversion-instructions-prmt", Alu, Pure, BASE }
    prmt_b32(B32 <- a: B32, b: B32, selector: B32) = "prmt.b32" => Ternary(Permute, B32);
    prmt_f4e_b32(B32 <- a: B32, b: B32, c: B32) = "prmt.b32.f4e" => Ternary(PermuteForward4, B32);
    prmt_b4e_b32(B32 <- a: B32, b: B32, c: B32) = "prmt.b32.b4e" => Ternary(PermuteBackward4, B32);
    prmt_rc8_b32(B32 <- a: B32, b: B32, c: B32) = "prmt.b32.rc8" => Ternary(PermuteReplicate8, B32);
    prmt_ecl_b32(B32 <- a: B32, b: B32, c: B32) = "prmt.b32.ecl" => Ternary(PermuteEdgeLeft, B32);
    prmt_ecr_b32(B32 <- a: B32, b: B32, c: B32) = "prmt.b32.ecr" => Ternary(PermuteEdgeRight, B32);
    prmt_rc16_b32(B32 <- a: B32, b: B32, c: B32) = "prmt.b32.rc16" => Ternary(PermuteReplicate16, B32);
}
