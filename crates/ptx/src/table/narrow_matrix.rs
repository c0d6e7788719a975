//! Warp-wide matrix instructions on floats of 8, 6 and 4 bits: loads that unpack, `mma.sync` with and without block scales.
//!
//! Elements of 6 bits are in the low bits of a byte; those of 4 bits are where `mma.sync` wants them two bits higher than
//! where `ldmatrix` leaves them, unless two share a byte. All lanes of the warp execute these together, at the same place.
//! The multiplies are found by their types: `KernelBuilder::mma_f8f6f4` and `mma_block_scaled`.

use super::columns::*;
use crate::form::{DstSlot, Effect, Floor, Form, Pipe, Slot};
use crate::meaning::{BlockScaledMultiply, BlockScales, Element, MatrixMultiply, Meaning, NarrowMatrix};
use crate::operand::Shared;
use crate::register::Class;
use crate::target::Feature;

super::forms! {
    { "warp-level-matrix-instructions-ldmatrix", LoadStore, WarpReadsShared, with(Feature::NarrowMatrixLoad, 8, 6) }
    ldmatrix_m8n16_b6_x1(B32x1 <- address: Shared) = "ldmatrix.sync.aligned.m8n16.x1.shared.b8x16.b6x16_p32" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows8Bits6, count: 1 };
    ldmatrix_m8n16_b6_x2(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m8n16.x2.shared.b8x16.b6x16_p32" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows8Bits6, count: 2 };
    ldmatrix_m8n16_b6_x4(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m8n16.x4.shared.b8x16.b6x16_p32" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows8Bits6, count: 4 };
    ldmatrix_m8n16_b4_x1(B32x1 <- address: Shared) = "ldmatrix.sync.aligned.m8n16.x1.shared.b8x16.b4x16_p64" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows8Bits4, count: 1 };
    ldmatrix_m8n16_b4_x2(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m8n16.x2.shared.b8x16.b4x16_p64" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows8Bits4, count: 2 };
    ldmatrix_m8n16_b4_x4(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m8n16.x4.shared.b8x16.b4x16_p64" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows8Bits4, count: 4 };
    ldmatrix_m16n16_b8_x1_trans(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows16Bits8, count: 1 };
    ldmatrix_m16n16_b8_x2_trans(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m16n16.x2.trans.shared.b8" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows16Bits8, count: 2 };
    ldmatrix_m16n16_b6_x1_trans(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8x16.b6x16_p32" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows16Bits6, count: 1 };
    ldmatrix_m16n16_b6_x2_trans(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m16n16.x2.trans.shared.b8x16.b6x16_p32" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows16Bits6, count: 2 };
    ldmatrix_m16n16_b4_x1_trans(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8x16.b4x16_p64" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows16Bits4, count: 1 };
    ldmatrix_m16n16_b4_x2_trans(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m16n16.x2.trans.shared.b8x16.b4x16_p64" => LoadNarrowMatrix { matrix: NarrowMatrix::Rows16Bits4, count: 2 };

    { "warp-level-matrix-instructions-stmatrix", LoadStore, WarpWritesShared, with(Feature::NarrowMatrixLoad, 8, 6) }
    stmatrix_m16n8_b8_x1_trans(Nothing <- address: Shared, value: RegB32x1) = "stmatrix.sync.aligned.m16n8.x1.trans.shared.b8" => StoreNarrowMatrix { count: 1 };
    stmatrix_m16n8_b8_x2_trans(Nothing <- address: Shared, value: RegB32x2) = "stmatrix.sync.aligned.m16n8.x2.trans.shared.b8" => StoreNarrowMatrix { count: 2 };
    stmatrix_m16n8_b8_x4_trans(Nothing <- address: Shared, value: RegB32x4) = "stmatrix.sync.aligned.m16n8.x4.trans.shared.b8" => StoreNarrowMatrix { count: 4 };
}

const A: Slot = Slot::RegVector(Class::B32, 4);
const B: Slot = Slot::RegVector(Class::B32, 2);
const SCALES: Slot = Slot::Reg(Class::B32);
const FLOOR: Floor = Floor::feature(Feature::BlockScaledMma, PtxVersion::new(8, 7));
const SECTION: &str = "warp-level-matrix-instructions-mma";

const fn form(
    name: &'static str,
    spelling: &'static str,
    dst: DstSlot,
    src: &'static [Slot],
    meaning: Meaning,
) -> Form {
    Form {
        name,
        spelling,
        dst: Some(dst),
        src,
        fixed: None,
        floor: FLOOR,
        effect: Effect::WarpSync,
        pipe: Pipe::Tensor,
        section: SECTION,
        meaning,
    }
}

const fn unscaled(name: &'static str, spelling: &'static str, a: Element, b: Element, accumulator: Element) -> Form {
    let (dst, src): (DstSlot, &[Slot]) = match accumulator {
        Element::F16 => (DstSlot::Vector(Class::B32, 2), &[A, B, Slot::RegVector(Class::B32, 2)]),
        _ => (DstSlot::Vector(Class::F32, 4), &[A, B, Slot::RegVector(Class::F32, 4)]),
    };
    let meaning = Meaning::NarrowMultiply(MatrixMultiply { m: 16, n: 8, k: 32, a, b, accumulator });
    form(name, spelling, dst, src, meaning)
}

const fn scaled(name: &'static str, spelling: &'static str, multiply: BlockScaledMultiply) -> Form {
    /// Registers and, for `a` and `b`, which byte of which lanes' scales are meant.
    macro_rules! sources {
        ($bytes:expr) => {
            &[
                A,
                B,
                Slot::RegVector(Class::F32, 4),
                SCALES,
                Slot::Selector($bytes, &[0, 1]),
                SCALES,
                Slot::Selector($bytes, &[0, 1, 2, 3]),
            ]
        };
    }
    let src: &[Slot] = match (multiply.k, multiply.scales) {
        (_, BlockScales::Ue4m3Per16) => sources!(&[0]),
        (64, BlockScales::Ue8m0Per32) => sources!(&[0, 2]),
        (_, BlockScales::Ue8m0Per32) => sources!(&[0, 1, 2, 3]),
    };
    form(name, spelling, DstSlot::Vector(Class::F32, 4), src, Meaning::BlockScaledMultiply(multiply))
}

/// The multiplies without scales of one type of `a` and some of `b`.
macro_rules! unscaled {
    ($A:ident $a:literal: $($B:ident $b:literal),*) => {
        &[ $(
            &const {
                unscaled(
                    concat!("mma_f8f6f4_m16n8k32_f32_", $a, "_", $b),
                    concat!("mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.", $a, ".", $b, ".f32"),
                    Element::$A,
                    Element::$B,
                    Element::F32,
                )
            },
            &const {
                unscaled(
                    concat!("mma_f8f6f4_m16n8k32_f16_", $a, "_", $b),
                    concat!("mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16.", $a, ".", $b, ".f16"),
                    Element::$A,
                    Element::$B,
                    Element::F16,
                )
            },
        )* ]
    };
}

/// The multiplies with scales of one type of `a` and every type of `b`.
macro_rules! scaled {
    ($A:ident $a:literal) => {
        scaled!($A $a: E4m3 "e4m3", E5m2 "e5m2", E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1")
    };
    ($A:ident $a:literal: $($B:ident $b:literal),*) => {
        &[ $(
            &const {
                scaled(
                    concat!("mma_mxf8f6f4_m16n8k32_f32_", $a, "_", $b),
                    concat!(
                        "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X.f32.", $a, ".", $b,
                        ".f32.ue8m0"
                    ),
                    BlockScaledMultiply { k: 32, a: Element::$A, b: Element::$B, scales: BlockScales::Ue8m0Per32 },
                )
            },
        )* ]
    };
}

const fn e2m1(scales: BlockScales) -> BlockScaledMultiply {
    BlockScaledMultiply { k: 64, a: Element::E2m1, b: Element::E2m1, scales }
}

/// The multiplies, by the type of `a`, and those of packed e2m1. Without scales two 8-bit floats are rows of `matrix`.
pub(super) static MULTIPLIES: &[&[&Form]] = &[
    unscaled!(E4m3 "e4m3": E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1"),
    unscaled!(E5m2 "e5m2": E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1"),
    unscaled!(E2m3 "e2m3": E4m3 "e4m3", E5m2 "e5m2", E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1"),
    unscaled!(E3m2 "e3m2": E4m3 "e4m3", E5m2 "e5m2", E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1"),
    unscaled!(E2m1 "e2m1": E4m3 "e4m3", E5m2 "e5m2", E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1"),
    scaled!(E4m3 "e4m3"),
    scaled!(E5m2 "e5m2"),
    scaled!(E2m3 "e2m3"),
    scaled!(E3m2 "e3m2"),
    scaled!(E2m1 "e2m1"),
    &[
        &const {
            scaled(
                "mma_mxf4_m16n8k64_f32_e2m1",
                "mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0",
                e2m1(BlockScales::Ue8m0Per32),
            )
        },
        &const {
            scaled(
                "mma_nvf4_m16n8k64_f32_e2m1",
                "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3",
                e2m1(BlockScales::Ue4m3Per16),
            )
        },
    ],
];
