//! Integer arithmetic and bit fields.

use super::{BASE, has, rows, sm};
use crate::target::Feature::PackedBytes;

rows! {
    Add:
        "add$INT", BASE;
        "add.sat.s32", BASE;
        "add(.u8x4|.s8x4|.sat.u8x4|.sat.s8x4|.sat.u16x2|.sat.s16x2)", has(PackedBytes, 9, 2);
        "add(.u16x2|.s16x2)", sm(90, 8, 0);
    AddCc:
        "add.cc$CARRY", BASE;
    Addc:
        "addc{.cc}$CARRY", BASE;
    Sub:
        "sub$INT", BASE;
        "sub.sat.s32", BASE;
        "sub(.u8x4|.s8x4|.sat.u8x4|.sat.s8x4|.sat.u16x2|.sat.s16x2)", has(PackedBytes, 9, 2);
    SubCc:
        "sub.cc$CARRY", BASE;
    Subc:
        "subc{.cc}$CARRY", BASE;
    Mul:
        "mul(.lo|.hi)$INT", BASE;
        "mul.wide(.u16|.u32|.s16|.s32)", BASE;
    Mad:
        "mad(.lo|.hi)$INT", BASE;
        "mad.wide(.u16|.u32|.s16|.s32)", BASE;
        "mad.hi.sat.s32", BASE;
    MadCc:
        "mad(.lo|.hi).cc$CARRY", BASE;
    Madc:
        "madc(.lo|.hi){.cc}$CARRY", BASE;
    Mul24:
        "mul24(.lo|.hi)(.u32|.s32)", BASE;
    Mad24:
        "mad24(.lo|.hi)(.u32|.s32)", BASE;
        "mad24.hi.sat.s32", BASE;
    Sad:
        "sad$INT", BASE;
    Div:
        "div$INT", BASE;
    Rem:
        "rem$INT", BASE;
    Abs:
        "abs(.s16|.s32|.s64)", BASE;
    Neg:
        "neg(.s16|.s32|.s64)", BASE;
        "neg.s8x4", has(PackedBytes, 9, 2);
    Min:
        "min$INT", BASE;
        "min(.u8x4|.s8x4|.relu.s8x4)", has(PackedBytes, 9, 2);
        "min(.relu.s32|.u16x2|.s16x2|.relu.s16x2)", sm(90, 8, 0);
    Max:
        "max$INT", BASE;
        "max(.u8x4|.s8x4|.relu.s8x4)", has(PackedBytes, 9, 2);
        "max(.relu.s32|.u16x2|.s16x2|.relu.s16x2)", sm(90, 8, 0);
    Popc:
        "popc(.b32|.b64)", BASE;
    Clz:
        "clz(.b32|.b64)", BASE;
    Brev:
        "brev(.b32|.b64)", BASE;
    Bfind:
        "bfind{.shiftamt}(.u32|.u64|.s32|.s64)", BASE;
    Fns:
        "fns.b32", sm(30, 6, 0);
    Bfe:
        "bfe(.u32|.u64|.s32|.s64)", BASE;
    Bfi:
        "bfi(.b32|.b64)", BASE;
    Szext:
        "szext(.clamp|.wrap)(.u32|.s32)", sm(70, 7, 6);
    Bmsk:
        "bmsk(.clamp|.wrap).b32", sm(70, 7, 6);
    Dp4a:
        "dp4a(.u32|.s32)(.u32|.s32)", sm(61, 5, 0);
    Dp2a:
        "dp2a(.lo|.hi)(.u32|.s32)(.u32|.s32)", sm(61, 5, 0);
}
