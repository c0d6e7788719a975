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
