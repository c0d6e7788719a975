//! Comparison, selection, logic, shifts, moves.

use super::{BASE, rows, sm};

rows! {
    Set:
        "set$COMPARE{$BOOL}(.u32|.s32|.f32)(.b16|.b32|.b64|$INT|.f64)", BASE;
        "set$COMPARE{$BOOL}{.ftz}(.u32|.s32|.f32).f32", BASE;
        "set$COMPARE{$BOOL}(.f16)(.b16|.b32|.b64|$INT|.f64)", sm(53, 4, 2);
        "set$COMPARE{$BOOL}{.ftz}(.f16.f32|.f16.f16|.u16.f16|.s16.f16|.u32.f16|.s32.f16)", sm(53, 4, 2);
        "set$COMPARE{$BOOL}{.ftz}(.f16x2.f16x2|.u32.f16x2|.s32.f16x2)", sm(53, 4, 2);
        "set$COMPARE{$BOOL}.bf16(.b16|.b32|.b64|$INT|.f16|.f32|.f64|.bf16)", sm(90, 7, 8);
        "set$COMPARE{$BOOL}(.u16|.s16|.u32|.s32).bf16", sm(90, 7, 8);
        "set$COMPARE{$BOOL}(.bf16x2|.u32|.s32).bf16x2", sm(90, 7, 8);
    Setp:
        "setp$COMPARE{$BOOL}(.b16|.b32|.b64|$INT|.f64)", BASE;
        "setp$COMPARE{$BOOL}{.ftz}.f32", BASE;
        "setp$COMPARE{$BOOL}{.ftz}(.f16|.f16x2)", sm(53, 4, 2);
        "setp$COMPARE{$BOOL}(.bf16|.bf16x2)", sm(90, 7, 8);
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
