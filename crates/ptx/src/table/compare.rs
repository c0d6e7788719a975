//! Comparisons into predicates, and selection by a predicate.

use super::columns::*;
use crate::meaning::Comparison::*;

/// The comparisons of one type: `signed` and unsigned integers have six, floats fourteen.
macro_rules! comparisons {
    ($(integer $ity:literal $IClass:ident $IType:ident: $ieq:ident $ine:ident $ilt:ident $ile:ident $igt:ident $ige:ident;)*
     $(float $fty:literal $FClass:ident $FType:ident $floor:expr => $feq:ident $fne:ident $flt:ident $fle:ident $fgt:ident $fge:ident
        $equ:ident $neu:ident $ltu:ident $leu:ident $gtu:ident $geu:ident $num:ident $nan:ident;)*) => {
        super::forms! {
            $(
            { "comparison-and-selection-instructions-setp", Alu, Pure, BASE }
            $ieq(Pred <- a: $IClass, b: $IClass) = concat!("setp.eq.", $ity) => Compare(Eq, $IType);
            $ine(Pred <- a: $IClass, b: $IClass) = concat!("setp.ne.", $ity) => Compare(Ne, $IType);
            $ilt(Pred <- a: $IClass, b: $IClass) = concat!("setp.lt.", $ity) => Compare(Lt, $IType);
            $ile(Pred <- a: $IClass, b: $IClass) = concat!("setp.le.", $ity) => Compare(Le, $IType);
            $igt(Pred <- a: $IClass, b: $IClass) = concat!("setp.gt.", $ity) => Compare(Gt, $IType);
            $ige(Pred <- a: $IClass, b: $IClass) = concat!("setp.ge.", $ity) => Compare(Ge, $IType);
            )*
            $(
            { "comparison-and-selection-instructions-setp", Alu, Pure, $floor }
            $feq(Pred <- a: $FClass, b: $FClass) = concat!("setp.eq.", $fty) => Compare(Eq, $FType);
            $fne(Pred <- a: $FClass, b: $FClass) = concat!("setp.ne.", $fty) => Compare(Ne, $FType);
            $flt(Pred <- a: $FClass, b: $FClass) = concat!("setp.lt.", $fty) => Compare(Lt, $FType);
            $fle(Pred <- a: $FClass, b: $FClass) = concat!("setp.le.", $fty) => Compare(Le, $FType);
            $fgt(Pred <- a: $FClass, b: $FClass) = concat!("setp.gt.", $fty) => Compare(Gt, $FType);
            $fge(Pred <- a: $FClass, b: $FClass) = concat!("setp.ge.", $fty) => Compare(Ge, $FType);
            $equ(Pred <- a: $FClass, b: $FClass) = concat!("setp.equ.", $fty) => Compare(EqU, $FType);
            $neu(Pred <- a: $FClass, b: $FClass) = concat!("setp.neu.", $fty) => Compare(NeU, $FType);
            $ltu(Pred <- a: $FClass, b: $FClass) = concat!("setp.ltu.", $fty) => Compare(LtU, $FType);
            $leu(Pred <- a: $FClass, b: $FClass) = concat!("setp.leu.", $fty) => Compare(LeU, $FType);
            $gtu(Pred <- a: $FClass, b: $FClass) = concat!("setp.gtu.", $fty) => Compare(GtU, $FType);
            $geu(Pred <- a: $FClass, b: $FClass) = concat!("setp.geu.", $fty) => Compare(GeU, $FType);
            $num(Pred <- a: $FClass, b: $FClass) = concat!("setp.num.", $fty) => Compare(Num, $FType);
            $nan(Pred <- a: $FClass, b: $FClass) = concat!("setp.nan.", $fty) => Compare(Nan, $FType);
            )*
            { "comparison-and-selection-instructions-selp", Alu, Pure, BASE }
            selp_b16(B16 <- a: B16, b: B16, pred: Pred) = "selp.b16" => Select(B16);
            selp_b32(B32 <- a: B32, b: B32, pred: Pred) = "selp.b32" => Select(B32);
            selp_b64(B64 <- a: B64, b: B64, pred: Pred) = "selp.b64" => Select(B64);
            selp_f32(F32 <- a: F32, b: F32, pred: Pred) = "selp.f32" => Select(F32);
            selp_f64(F64 <- a: F64, b: F64, pred: Pred) = "selp.f64" => Select(F64);
        }
    };
}

comparisons! {
    integer "u16" B16 U16: setp_eq_u16 setp_ne_u16 setp_lt_u16 setp_le_u16 setp_gt_u16 setp_ge_u16;
    integer "s16" B16 S16: setp_eq_s16 setp_ne_s16 setp_lt_s16 setp_le_s16 setp_gt_s16 setp_ge_s16;
    integer "u32" B32 U32: setp_eq_u32 setp_ne_u32 setp_lt_u32 setp_le_u32 setp_gt_u32 setp_ge_u32;
    integer "s32" B32 S32: setp_eq_s32 setp_ne_s32 setp_lt_s32 setp_le_s32 setp_gt_s32 setp_ge_s32;
    integer "u64" B64 U64: setp_eq_u64 setp_ne_u64 setp_lt_u64 setp_le_u64 setp_gt_u64 setp_ge_u64;
    integer "s64" B64 S64: setp_eq_s64 setp_ne_s64 setp_lt_s64 setp_le_s64 setp_gt_s64 setp_ge_s64;
    float "f16" RegB16 F16 BASE =>
        setp_eq_f16 setp_ne_f16 setp_lt_f16 setp_le_f16 setp_gt_f16 setp_ge_f16
        setp_equ_f16 setp_neu_f16 setp_ltu_f16 setp_leu_f16 setp_gtu_f16 setp_geu_f16 setp_num_f16 setp_nan_f16;
    float "bf16" RegB16 Bf16 from(90, 7, 8) =>
        setp_eq_bf16 setp_ne_bf16 setp_lt_bf16 setp_le_bf16 setp_gt_bf16 setp_ge_bf16
        setp_equ_bf16 setp_neu_bf16 setp_ltu_bf16 setp_leu_bf16 setp_gtu_bf16 setp_geu_bf16 setp_num_bf16 setp_nan_bf16;
    float "f32" F32 F32 BASE =>
        setp_eq_f32 setp_ne_f32 setp_lt_f32 setp_le_f32 setp_gt_f32 setp_ge_f32
        setp_equ_f32 setp_neu_f32 setp_ltu_f32 setp_leu_f32 setp_gtu_f32 setp_geu_f32 setp_num_f32 setp_nan_f32;
    float "f64" F64 F64 BASE =>
        setp_eq_f64 setp_ne_f64 setp_lt_f64 setp_le_f64 setp_gt_f64 setp_ge_f64
        setp_equ_f64 setp_neu_f64 setp_ltu_f64 setp_leu_f64 setp_gtu_f64 setp_geu_f64 setp_num_f64 setp_nan_f64;
}
