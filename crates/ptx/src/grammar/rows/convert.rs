//! Conversions between number formats and between kinds of addresses.

use super::{BASE, has, rows, sm};
use crate::target::Feature::{FixedPointConvert, NarrowFloatConvert, StochasticRounding};

rows! {
    Cvt:
        "cvt$INTEGER$INTEGER", BASE;
        "cvt.sat.u8(.u16|.u32|.u64|.s8|.s16|.s32|.s64)", BASE;
        "cvt.sat.u16(.u32|.u64|.s8|.s16|.s32|.s64)", BASE;
        "cvt.sat.u32(.u64|.s8|.s16|.s32|.s64)", BASE;
        "cvt.sat.u64(.s8|.s16|.s32|.s64)", BASE;
        "cvt.sat.s8(.u8|.u16|.u32|.u64|.s16|.s32|.s64)", BASE;
        "cvt.sat.s16(.u16|.u32|.u64|.s32|.s64)", BASE;
        "cvt.sat.s32(.u32|.u64|.s64)", BASE;
        "cvt.sat.s64(.u64)", BASE;
        "cvt$RND{.sat}(.f16|.f32|.f64)$INTEGER", BASE;
        "cvt$INTEGER_RND{.ftz}{.sat}$INTEGER.f32", BASE;
        "cvt$INTEGER_RND{.sat}$INTEGER(.f16|.f64)", BASE;
        "cvt{.ftz}{.sat}(.f32.f16|.f64.f32)", BASE;
        "cvt{.sat}.f64.f16", BASE;
        "cvt$RND{.ftz}{.sat}(.f16.f32|.f32.f64)", BASE;
        "cvt$RND{.sat}.f16.f64", BASE;
        "cvt{$INTEGER_RND}{.ftz}{.sat}.f32.f32", BASE;
        "cvt{$INTEGER_RND}{.sat}(.f16.f16|.f64.f64)", BASE;
        "cvt$RND.bf16($INT|.f64)", sm(90, 7, 8);
        "cvt{$RND}.bf16.f16", sm(90, 7, 8);
        "cvt$INTEGER_RND$INT.bf16", sm(90, 7, 8);
        "cvt{$INTEGER_RND}.bf16.bf16", sm(90, 7, 8);
        "cvt{$RND}.f32.bf16", sm(80, 7, 1);
        "cvt{$RND}.f16.bf16", sm(90, 7, 8);
        "cvt{$RND}.f64.bf16", sm(90, 7, 8);
        "cvt{$RND}{.ftz}.f32.bf16", sm(90, 7, 8);
        "cvt(.rn|.rz){.relu}(.f16|.f16x2|.bf16|.bf16x2).f32", sm(80, 7, 0);
        "cvt(.rn|.rz).satfinite.f16.f32", sm(53, 8, 1);
        "cvt(.rn|.rz){.relu}.satfinite(.f16|.f16x2|.bf16|.bf16x2).f32", sm(80, 8, 1);
        "cvt.rna.tf32.f32", sm(80, 7, 0);
        "cvt.rna.satfinite.tf32.f32", sm(80, 8, 1);
        "cvt(.rn|.rz){.relu}.tf32.f32", sm(90, 7, 8);
        "cvt(.rn|.rz).satfinite{.relu}.tf32.f32", sm(100, 8, 6);
        "cvt.rn.satfinite{.relu}(.e4m3x2|.e5m2x2)(.f32|.f16x2)", sm(90, 7, 8);
        "cvt.rn.satfinite{.relu}(.e4m3x2|.e5m2x2)(.f32|.f16x2)", sm(89, 8, 1);
        "cvt.rn{.relu}.f16x2(.e4m3x2|.e5m2x2)", sm(90, 7, 8);
        "cvt.rn{.relu}.f16x2(.e4m3x2|.e5m2x2)", sm(89, 8, 1);
        "cvt.rn.satfinite{.relu}(.e2m1x2|.e2m3x2|.e3m2x2).f32", has(NarrowFloatConvert, 8, 6);
        "cvt.rn{.relu}.f16x2(.e2m1x2|.e2m3x2|.e3m2x2)", has(NarrowFloatConvert, 8, 6);
        "cvt.rn.satfinite{.relu}(.e2m1x2|.e2m3x2|.e3m2x2)(.f16x2|.bf16x2)", has(NarrowFloatConvert, 9, 1);
        "cvt.rn.satfinite{.relu}(.e4m3x2|.e5m2x2).bf16x2", has(NarrowFloatConvert, 9, 1);
        "cvt.rn{.relu}{.scaled::n2::ue8m0}.bf16x2(.e4m3x2|.e5m2x2|.e2m1x2|.e2m3x2|.e3m2x2)", has(NarrowFloatConvert, 9, 2);
        "cvt.rn.satfinite{.relu}{.scaled::n2::ue8m0}.s2f6x2(.f32|.bf16x2)", has(FixedPointConvert, 9, 1);
        "cvt.rn{.satfinite}{.relu}{.scaled::n2::ue8m0}.bf16x2.s2f6x2", has(FixedPointConvert, 9, 1);
        "cvt(.rz|.rp){.satfinite}.ue8m0x2(.f32|.bf16x2)", has(NarrowFloatConvert, 8, 6);
        "cvt.rn.bf16x2.ue8m0x2", has(NarrowFloatConvert, 8, 6);
        "cvt.rs{.relu}{.satfinite}(.f16x2|.bf16x2).f32", has(StochasticRounding, 8, 7);
        "cvt.rs{.relu}.satfinite(.e4m3x4|.e5m2x4|.e2m1x4|.e2m3x4|.e3m2x4).f32", has(StochasticRounding, 8, 7);
    CvtPack:
        "cvt.pack.sat(.u16|.s16).s32", sm(72, 6, 5);
        "cvt.pack.sat(.u8|.s8|.u4|.s4|.u2|.s2).s32.b32", sm(72, 6, 5);
    Cvta:
        "cvta{.to}(.global|.local|.shared|.shared::cta|.shared::cluster|.const)(.u32|.u64)", BASE;
        "cvta{.to}(.param|.param::entry)(.u32|.u64)", sm(70, 7, 7);
    Isspacep:
        "isspacep(.global|.local|.shared|.shared::cta|.shared::cluster|.const)", BASE;
        "isspacep(.param|.param::entry)", sm(70, 7, 7);
    Mapa:
        "mapa{.shared::cluster}(.u32|.u64)", sm(90, 7, 8);
    Getctarank:
        "getctarank{.shared::cluster}(.u32|.u64)", sm(90, 7, 8);
}
