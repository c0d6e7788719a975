//! Floating point: f32, f64, packed f32, f16 and bf16.

use super::{BASE, rows, sm};

rows! {
    Add:
        "add{$RND}{.ftz}{.sat}.f32", BASE;
        "add{$RND}.f64", BASE;
        "add{.rn}{.ftz}{.sat}(.f16|.f16x2)", sm(53, 4, 2);
        "add{.rn}(.bf16|.bf16x2)", sm(90, 7, 8);
        "add{$RND}{.ftz}.f32x2", sm(100, 8, 6);
        "add{$RND}{.sat}.f32(.f16|.bf16)", sm(100, 8, 6);
    Sub:
        "sub{$RND}{.ftz}{.sat}.f32", BASE;
        "sub{$RND}.f64", BASE;
        "sub{.rn}{.ftz}{.sat}(.f16|.f16x2)", sm(53, 4, 2);
        "sub{.rn}(.bf16|.bf16x2)", sm(90, 7, 8);
        "sub{$RND}{.ftz}.f32x2", sm(100, 8, 6);
        "sub{$RND}{.sat}.f32(.f16|.bf16)", sm(100, 8, 6);
    Mul:
        "mul{$RND}{.ftz}{.sat}.f32", BASE;
        "mul{$RND}.f64", BASE;
        "mul{.rn}{.ftz}{.sat}(.f16|.f16x2)", sm(53, 4, 2);
        "mul{.rn}(.bf16|.bf16x2)", sm(90, 7, 8);
        "mul{$RND}{.ftz}.f32x2", sm(100, 8, 6);
    Fma:
        "fma$RND{.ftz}{.sat}.f32", BASE;
        "fma$RND.f64", BASE;
        "fma.rn{.ftz}{.sat}(.f16|.f16x2)", sm(53, 4, 2);
        "fma.rn{.ftz}.relu(.f16|.f16x2)", sm(80, 7, 0);
        "fma.rn{.relu}(.bf16|.bf16x2)", sm(80, 7, 0);
        "fma.rn.oob{.relu}(.f16|.f16x2|.bf16|.bf16x2)", sm(90, 8, 1);
        "fma$RND{.ftz}.f32x2", sm(100, 8, 6);
        "fma$RND{.sat}.f32(.f16|.bf16)", sm(100, 8, 6);
    Mad:
        "mad$RND{.ftz}{.sat}.f32", BASE;
        "mad$RND.f64", BASE;
    Div:
        "div(.approx|.full|$RND){.ftz}.f32", BASE;
        "div$RND.f64", BASE;
    Abs:
        "abs{.ftz}.f32", BASE;
        "abs.f64", BASE;
        "abs{.ftz}(.f16|.f16x2)", sm(53, 6, 5);
        "abs(.bf16|.bf16x2)", sm(80, 7, 0);
    Neg:
        "neg{.ftz}.f32", BASE;
        "neg.f64", BASE;
        "neg{.ftz}(.f16|.f16x2)", sm(53, 6, 0);
        "neg(.bf16|.bf16x2)", sm(80, 7, 0);
    Min:
        "min{.ftz}.f32", BASE;
        "min.f64", BASE;
        "min{.ftz}{.NaN}(.f32|.f16|.f16x2)", sm(80, 7, 0);
        "min{.NaN}(.bf16|.bf16x2)", sm(80, 7, 0);
        "min{.ftz}{.NaN}.xorsign.abs(.f32|.f16|.f16x2)", sm(86, 7, 2);
        "min{.NaN}.xorsign.abs(.bf16|.bf16x2)", sm(86, 7, 2);
        "min{.ftz}{.NaN}.abs.f32", sm(100, 8, 8);
    Max:
        "max{.ftz}.f32", BASE;
        "max.f64", BASE;
        "max{.ftz}{.NaN}(.f32|.f16|.f16x2)", sm(80, 7, 0);
        "max{.NaN}(.bf16|.bf16x2)", sm(80, 7, 0);
        "max{.ftz}{.NaN}.xorsign.abs(.f32|.f16|.f16x2)", sm(86, 7, 2);
        "max{.NaN}.xorsign.abs(.bf16|.bf16x2)", sm(86, 7, 2);
        "max{.ftz}{.NaN}.abs.f32", sm(100, 8, 8);
    Testp:
        "testp(.finite|.infinite|.number|.notanumber|.normal|.subnormal)(.f32|.f64)", BASE;
    Copysign:
        "copysign(.f32|.f64)", BASE;
    Rcp:
        "rcp(.approx|$RND){.ftz}.f32", BASE;
        "rcp($RND|.approx.ftz).f64", BASE;
    Sqrt:
        "sqrt(.approx|$RND){.ftz}.f32", BASE;
        "sqrt$RND.f64", BASE;
    Rsqrt:
        "rsqrt.approx{.ftz}(.f32|.f64)", BASE;
    Sin:
        "sin.approx{.ftz}.f32", BASE;
    Cos:
        "cos.approx{.ftz}.f32", BASE;
    Lg2:
        "lg2.approx{.ftz}.f32", BASE;
    Ex2:
        "ex2.approx{.ftz}.f32", BASE;
        "ex2.approx(.f16|.f16x2)", sm(75, 7, 0);
        "ex2.approx.ftz(.bf16|.bf16x2)", sm(90, 7, 8);
    Tanh:
        "tanh.approx(.f32|.f16|.f16x2)", sm(75, 7, 0);
        "tanh.approx(.bf16|.bf16x2)", sm(90, 7, 8);
}
