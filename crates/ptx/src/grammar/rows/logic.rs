//! Comparison, selection, logic, shifts, moves.

use super::{BASE, rows, sm};

rows! {
    Set:
        "set$COMPARE_BITS{$BOOL}(.u32|.s32|.f32)(.b16|.b32|.b64)", BASE;
        "set$COMPARE_SIGNED{$BOOL}(.u32|.s32|.f32)(.s16|.s32|.s64)", BASE;
        "set$COMPARE_UNSIGNED{$BOOL}(.u32|.s32|.f32)(.u16|.u32|.u64)", BASE;
        "set$COMPARE_FLOAT{$BOOL}(.u32|.s32|.f32).f64", BASE;
        "set$COMPARE_FLOAT{$BOOL}{.ftz}(.u32|.s32|.f32).f32", BASE;
        "set$COMPARE_BITS{$BOOL}.f16(.b16|.b32|.b64)", sm(53, 4, 2);
        "set$COMPARE_SIGNED{$BOOL}.f16(.s16|.s32|.s64)", sm(53, 4, 2);
        "set$COMPARE_UNSIGNED{$BOOL}.f16(.u16|.u32|.u64)", sm(53, 4, 2);
        "set$COMPARE_FLOAT{$BOOL}.f16.f64", sm(53, 4, 2);
        "set$COMPARE_FLOAT{$BOOL}{.ftz}(.f16.f32|.f16.f16|.u16.f16|.s16.f16|.u32.f16|.s32.f16)", sm(53, 4, 2);
        "set$COMPARE_FLOAT{$BOOL}{.ftz}(.f16x2|.u32|.s32).f16x2", sm(53, 4, 2);
        "set$COMPARE_BITS{$BOOL}.bf16(.b16|.b32|.b64)", sm(90, 7, 8);
        "set$COMPARE_SIGNED{$BOOL}.bf16(.s16|.s32|.s64)", sm(90, 7, 8);
        "set$COMPARE_UNSIGNED{$BOOL}.bf16(.u16|.u32|.u64)", sm(90, 7, 8);
        "set$COMPARE_FLOAT{$BOOL}.bf16(.f16|.f32|.f64)", sm(90, 7, 8);
        "set$COMPARE_FLOAT{$BOOL}(.bf16|.u16|.s16|.u32|.s32).bf16", sm(90, 7, 8);
        "set$COMPARE_FLOAT{$BOOL}(.bf16x2|.u32|.s32).bf16x2", sm(90, 7, 8);
    Setp:
        "setp$COMPARE_BITS{$BOOL}(.b16|.b32|.b64)", BASE;
        "setp$COMPARE_SIGNED{$BOOL}(.s16|.s32|.s64)", BASE;
        "setp$COMPARE_UNSIGNED{$BOOL}(.u16|.u32|.u64)", BASE;
        "setp$COMPARE_FLOAT{$BOOL}.f64", BASE;
        "setp$COMPARE_FLOAT{$BOOL}{.ftz}.f32", BASE;
        "setp$COMPARE_FLOAT{$BOOL}{.ftz}(.f16|.f16x2)", sm(53, 4, 2);
        "setp$COMPARE_FLOAT{$BOOL}(.bf16|.bf16x2)", sm(90, 7, 8);
    Selp:
        "selp(.b16|.b32|.b64|$INT|.f32|.f64)", BASE;
    Slct:
        "slct(.b16|.b32|.b64|$INT|.f32|.f64).s32", BASE;
        "slct{.ftz}(.b16|.b32|.b64|$INT|.f32|.f64).f32", BASE;
    And:
        "and(.pred|.b16|.b32|.b64)", BASE;
    Or:
        "or(.pred|.b16|.b32|.b64)", BASE;
    Xor:
        "xor(.pred|.b16|.b32|.b64)", BASE;
    Not:
        "not(.pred|.b16|.b32|.b64)", BASE;
    Cnot:
        "cnot(.b16|.b32|.b64)", BASE;
    Lop3:
        "lop3.b32", sm(50, 4, 3);
        "lop3(.or|.and).b32", sm(70, 8, 2);
    Shf:
        "shf(.l|.r)(.clamp|.wrap).b32", sm(32, 3, 1);
    Shl:
        "shl(.b16|.b32|.b64)", BASE;
    Shr:
        "shr(.b16|.b32|.b64|$INT)", BASE;
    Prmt:
        "prmt.b32{.f4e|.b4e|.rc8|.ecl|.ecr|.rc16}", BASE;
    Mov:
        "mov(.pred|.b16|.b32|.b64|$INT|.f32|.f64)", BASE;
        "mov.b128", sm(70, 8, 3);
}
