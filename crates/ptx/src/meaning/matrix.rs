//! Matrix multiplies on tensor cores: shapes and element types.

/// Shape and types of one `mma.sync`. Fragments: PTX ISA, matrix fragments of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatrixMultiply {
    /// Rows of `a` and `d`.
    pub m: u8,
    /// Columns of `b` and `d`.
    pub n: u8,
    /// Columns of `a`, rows of `b`.
    pub k: u8,
    /// Element type of `a`.
    pub a: Element,
    /// Element type of `b`.
    pub b: Element,
    /// Element type of `c` and `d`.
    pub accumulator: Element,
}

/// Element types of matrices, which in registers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// f32 of which 10 fraction bits count.
    Tf32,
    /// 8-bit float, 4 exponent bits.
    E4m3,
    /// 8-bit float, 5 exponent bits.
    E5m2,
    /// 6-bit float, 2 exponent bits.
    E2m3,
    /// 6-bit float, 3 exponent bits.
    E3m2,
    /// 4-bit float, 2 exponent bits.
    E2m1,
    /// Signed byte.
    S8,
    /// Unsigned byte.
    U8,
    /// Single precision.
    F32,
    /// Signed 32 bits.
    S32,
}

/// Shape and types of one `wgmma.mma_async`, of 64 rows. `b` is in shared memory, `d` in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WarpgroupMultiply {
    /// Columns of `b` and `d`.
    pub n: u16,
    /// Columns of `a`, rows of `b`.
    pub k: u8,
    /// Element type of `a`.
    pub a: Element,
    /// Element type of `b`.
    pub b: Element,
    /// Element type of `d`: f32, f16 or s32.
    pub accumulator: Element,
    /// Whether `a` is in registers and not in shared memory.
    pub a_in_registers: bool,
}

/// Shape and types of one block-scaled `mma.sync` of 16 rows and 8 columns, with f32 sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockScaledMultiply {
    /// Columns of `a`, rows of `b`: 32 of elements in bytes, 64 of e2m1 two a byte.
    pub k: u8,
    /// Element type of `a`.
    pub a: Element,
    /// Element type of `b`.
    pub b: Element,
    /// Types and blocks of the scales.
    pub scales: BlockScales,
}

/// Types of scales, and how many elements along K each is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockScales {
    /// A power of two for each 32.
    Ue8m0Per32,
    /// An e4m3 without its sign for each 16.
    Ue4m3Per16,
}

/// Matrices that `ldmatrix` unpacks or transposes into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NarrowMatrix {
    /// 8 x 16 of 6 bits, each 16 with 32 bits of padding.
    Rows8Bits6,
    /// 8 x 16 of 4 bits, each 16 with 64 bits of padding.
    Rows8Bits4,
    /// 16 x 16 bytes, transposed.
    Rows16Bits8,
    /// 16 x 16 of 6 bits, each 16 with 32 bits of padding, transposed.
    Rows16Bits6,
    /// 16 x 16 of 4 bits, each 16 with 64 bits of padding, transposed.
    Rows16Bits4,
}
