//! The 32-bit instruction descriptor of `tcgen05.mma`: types, shape, majorness, scales.
//!
//! | bits | kinds f16, tf32, f8f6f4, i8 | kinds mxf8f6f4, mxf4, mxf4nvf4 |
//! |---|---|---|
//! | 0-1, 2 | sparsity selector, sparse | 0, sparse |
//! | 3 | saturate (i8) | 0 |
//! | 4-5 | type of D | scale factor id of B |
//! | 7-9, 10-12 | types of A and B | same (mxf4, mxf4nvf4: bit 12 is 0) |
//! | 13, 14 | negate A, B | same |
//! | 15, 16 | A, B are MN-major | same |
//! | 17-22 | N / 8 | same |
//! | 23 | 0 | scale type: 1 UE8M0, 0 UE4M3 |
//! | 24-28 | M / 16 | same; the manual calls bits 24-26 reserved, which M of 128 and 256 leaves zero |
//! | 29 | 0 | scale factor id of A (29-30) |
//! | 30-31 | largest shift of `.ws` | bit 31: K = 96 (mxf4, mxf4nvf4) |
//!
//! Source: PTX ISA `#tcgen05-instruction-descriptor` and `#tcgen05-kind-shapes`. Everything that the tables leave out is refused.

use crate::tensor_core::accumulate::Accumulator;
use crate::tensor_core::element::{Element, ScaleFormat};
use crate::tensor_core::operand::Major;

/// The `.kind` of an instruction.
#[expect(missing_docs, reason = "each is named like its PTX qualifier")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    F16,
    Tf32,
    F8f6f4,
    I8,
    Mxf8f6f4,
    Mxf4,
    Mxf4nvf4,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] =
        [Kind::F16, Kind::Tf32, Kind::F8f6f4, Kind::I8, Kind::Mxf8f6f4, Kind::Mxf4, Kind::Mxf4nvf4];

    /// Whether blocks of A and B are scaled.
    pub const fn is_scaled(self) -> bool {
        matches!(self, Kind::Mxf8f6f4 | Kind::Mxf4 | Kind::Mxf4nvf4)
    }

    /// Whether A and B are packed e2m1.
    pub const fn is_packed(self) -> bool {
        matches!(self, Kind::Mxf4 | Kind::Mxf4nvf4)
    }

    /// As in PTX.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::F16 => "f16",
            Kind::Tf32 => "tf32",
            Kind::F8f6f4 => "f8f6f4",
            Kind::I8 => "i8",
            Kind::Mxf8f6f4 => "mxf8f6f4",
            Kind::Mxf4 => "mxf4",
            Kind::Mxf4nvf4 => "mxf4nvf4",
        }
    }

    /// K of a dense instruction without K = 96.
    const fn dense_k(self) -> u32 {
        match self {
            Kind::Tf32 => 8,
            Kind::F16 => 16,
            Kind::F8f6f4 | Kind::I8 | Kind::Mxf8f6f4 => 32,
            Kind::Mxf4 | Kind::Mxf4nvf4 => 64,
        }
    }
}

/// The `.scale_vec` or `.block` of a scaled instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleVector {
    /// `.scale_vec::1X`
    X1,
    /// `.scale_vec::2X`
    X2,
    /// `.scale_vec::4X`
    X4,
    /// `.block16`
    Block16,
    /// `.block32`
    Block32,
}

/// What the mnemonic and the target say beside the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The kind.
    pub kind: Kind,
    /// CTAs that work together: 1 or 2.
    pub cta_group: u32,
    /// `.sp`
    pub sparse: bool,
    /// `.ws`
    pub weight_stationary: bool,
    /// The scale vector, if written.
    pub scale_vector: Option<ScaleVector>,
    /// Whether the target has K = 96 (sm_103a).
    pub k96: bool,
}

/// Block scales of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    /// The type of both scale matrices.
    pub format: ScaleFormat,
    /// Scales of a row of A or a column of B.
    pub per_row: u32,
    /// First byte of the scales of A in their cells.
    pub a_id: u32,
    /// First byte of the scales of B in their cells.
    pub b_id: u32,
}

/// A descriptor taken apart and found legal for its instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionDescriptor {
    /// The mnemonic's part.
    pub form: Form,
    /// Rows of A and D, of both CTAs together.
    pub m: u32,
    /// Columns of B and D.
    pub n: u32,
    /// Elements of a row of A before compression.
    pub k: u32,
    /// Type of A.
    pub a: Element,
    /// Type of B.
    pub b: Element,
    /// Type of D.
    pub d: Accumulator,
    /// A is negated.
    pub negate_a: bool,
    /// B is negated.
    pub negate_b: bool,
    /// Majorness of A in shared memory.
    pub a_major: Major,
    /// Majorness of B.
    pub b_major: Major,
    /// Which column of its metadata a sparse instruction takes.
    pub sparsity_selector: u32,
    /// Most columns that a zero-column mask may shift B by.
    pub max_shift: u32,
    /// Block scales, of the kinds that have them.
    pub scales: Option<Scales>,
}

/// A descriptor that its instruction does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction descriptor {bits:#010x} of kind::{kind}: {fault}", kind = kind.name())]
pub struct InstructionError {
    /// The descriptor.
    pub bits: u32,
    /// The kind of the instruction.
    pub kind: Kind,
    /// What is wrong.
    pub fault: InstructionFault,
}

/// What is wrong with an instruction descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum InstructionFault {
    #[error("bits {first}-{last} are {found:#b}, expected 0")]
    Reserved { first: u32, last: u32, found: u32 },
    #[error("the sparsity bit is {descriptor}, the instruction is {instruction}")]
    Sparsity { descriptor: u32, instruction: &'static str },
    #[error("type {code} of {operand} in bits {first}-{last} does not exist here")]
    Type { operand: &'static str, code: u32, first: u32, last: u32 },
    #[error("bf16 operands cannot accumulate in f16")]
    Bf16IntoF16,
    #[error("M is {found}, expected {expected}")]
    M { found: u32, expected: &'static str },
    #[error("N is {found}, expected {expected}")]
    N { found: u32, expected: &'static str },
    #[error(
        "K = 96 (bit 31) needs sm_103a, a dense instruction, and M = 128 with cta_group::1 or 256 with cta_group::2"
    )]
    K96,
    #[error("{operand} cannot be MN-major (bit {bit})")]
    Transpose { operand: &'static str, bit: u32 },
    #[error("{operand} cannot be negated (bit {bit})")]
    Negate { operand: &'static str, bit: u32 },
    #[error("scale type {found} (bit 23) does not go with {vector}")]
    ScaleType { found: &'static str, vector: &'static str },
    #[error("the scale factor id of {operand} is {found}, expected {expected}")]
    ScaleId { operand: &'static str, found: u32, expected: &'static str },
    #[error("the scale vector size of the instruction does not go with its kind")]
    ScaleVector,
    #[error(".ws does not exist for this kind or with cta_group::2")]
    WeightStationary,
    #[error("sparsity selector {0}, expected 0 or, for f16 and tf32, 1")]
    Selector(u32),
}

const fn field(bits: u32, first: u32, last: u32) -> u32 {
    bits >> first & ((1 << (last - first + 1)) - 1)
}

impl InstructionDescriptor {
    /// Takes a descriptor apart.
    ///
    /// # Errors
    /// Names the first field that the instruction does not allow.
    pub fn decode(bits: u32, form: Form) -> Result<Self, InstructionError> {
        decode(bits, form).map_err(|fault| InstructionError { bits, kind: form.kind, fault })
    }

    /// Rows of A and D in each CTA.
    pub fn rows_per_cta(&self) -> u32 {
        self.m / self.form.cta_group
    }

    /// Elements of a row of A in memory: half of k when sparse.
    pub fn stored_k(&self) -> u32 {
        if self.form.sparse { self.k / 2 } else { self.k }
    }
}

fn decode(bits: u32, form: Form) -> Result<InstructionDescriptor, InstructionFault> {
    let Form { kind, sparse, .. } = form;
    if form.weight_stationary && (kind.is_scaled() || form.cta_group == 2) {
        return Err(InstructionFault::WeightStationary);
    }
    reserved_bits(bits, form)?;
    let sparse_bit = field(bits, 2, 2);
    if (sparse_bit == 1) != sparse {
        let instruction = if sparse { "tcgen05.mma.sp" } else { "tcgen05.mma without .sp" };
        return Err(InstructionFault::Sparsity { descriptor: sparse_bit, instruction });
    }
    let sparsity_selector = if kind.is_scaled() { 0 } else { field(bits, 0, 1) };
    let selectors = if sparse && matches!(kind, Kind::F16 | Kind::Tf32) { 2 } else { 1 };
    if sparsity_selector >= selectors {
        return Err(InstructionFault::Selector(sparsity_selector));
    }

    let a_last = 9;
    let b_last = if kind.is_packed() { 11 } else { 12 };
    let a = element(kind, field(bits, 7, a_last)).ok_or(InstructionFault::Type {
        operand: "A",
        code: field(bits, 7, a_last),
        first: 7,
        last: a_last,
    })?;
    let b = element(kind, field(bits, 10, b_last)).ok_or(InstructionFault::Type {
        operand: "B",
        code: field(bits, 10, b_last),
        first: 10,
        last: b_last,
    })?;
    let d = destination(bits, kind, a, b)?;

    let (negate_a, negate_b) = (field(bits, 13, 13) == 1, field(bits, 14, 14) == 1);
    for (negated, operand, bit) in [(negate_a, "A", 13), (negate_b, "B", 14)] {
        if negated && kind == Kind::I8 {
            return Err(InstructionFault::Negate { operand, bit });
        }
    }
    let (transpose_a, transpose_b) = (field(bits, 15, 15) == 1, field(bits, 16, 16) == 1);
    for (transposed, operand, bit) in [(transpose_a, "A", 15), (transpose_b, "B", 16)] {
        if transposed && kind.is_packed() {
            return Err(InstructionFault::Transpose { operand, bit });
        }
    }

    let m = field(bits, 24, 28) << 4;
    let n = field(bits, 17, 22) << 3;
    check_m(m, form)?;
    check_n(n, form, transpose_b)?;
    let k96 = kind.is_packed() && field(bits, 31, 31) == 1;
    if k96 && (!form.k96 || sparse || m != 128 * form.cta_group) {
        return Err(InstructionFault::K96);
    }
    let k = if k96 { 96 } else { kind.dense_k() << u32::from(sparse) };
    let scales = if kind.is_scaled() { Some(scales(bits, form, k96)?) } else { None };
    let max_shift = if form.weight_stationary { [0, 8, 16, 32][field(bits, 30, 31) as usize] } else { 0 };
    let major = |transposed| if transposed { Major::Mn } else { Major::K };
    Ok(InstructionDescriptor {
        form,
        m,
        n,
        k,
        a,
        b,
        d,
        negate_a,
        negate_b,
        a_major: major(transpose_a),
        b_major: major(transpose_b),
        sparsity_selector,
        max_shift,
        scales,
    })
}

fn reserved_bits(bits: u32, form: Form) -> Result<(), InstructionFault> {
    let zero: &[(u32, u32)] = match form.kind {
        Kind::I8 if form.weight_stationary => &[(6, 6), (23, 23), (29, 29)],
        Kind::I8 => &[(6, 6), (23, 23), (29, 31)],
        Kind::F16 | Kind::Tf32 | Kind::F8f6f4 if form.weight_stationary => &[(3, 3), (6, 6), (23, 23), (29, 29)],
        Kind::F16 | Kind::Tf32 | Kind::F8f6f4 => &[(3, 3), (6, 6), (23, 23), (29, 31)],
        Kind::Mxf8f6f4 => &[(0, 1), (3, 3), (6, 6), (24, 26), (31, 31)],
        Kind::Mxf4 | Kind::Mxf4nvf4 => &[(0, 1), (3, 3), (6, 6), (12, 12), (24, 26)],
    };
    for &(first, last) in zero {
        let found = field(bits, first, last);
        if found != 0 {
            return Err(InstructionFault::Reserved { first, last, found });
        }
    }
    Ok(())
}

fn element(kind: Kind, code: u32) -> Option<Element> {
    Some(match (kind, code) {
        (Kind::F16, 0) => Element::F16,
        (Kind::F16, 1) => Element::Bf16,
        (Kind::Tf32, 2) => Element::Tf32,
        (Kind::F8f6f4 | Kind::Mxf8f6f4, 0) => Element::E4m3,
        (Kind::F8f6f4 | Kind::Mxf8f6f4, 1) => Element::E5m2,
        (Kind::F8f6f4 | Kind::Mxf8f6f4, 3) => Element::E2m3,
        (Kind::F8f6f4 | Kind::Mxf8f6f4, 4) => Element::E3m2,
        (Kind::F8f6f4 | Kind::Mxf8f6f4, 5) => Element::E2m1,
        (Kind::Mxf4 | Kind::Mxf4nvf4, 1) => Element::E2m1,
        (Kind::I8, 0) => Element::U8,
        (Kind::I8, 1) => Element::S8,
        _ => return None,
    })
}

fn destination(bits: u32, kind: Kind, a: Element, b: Element) -> Result<Accumulator, InstructionFault> {
    if kind.is_scaled() {
        return Ok(Accumulator::F32);
    }
    let code = field(bits, 4, 5);
    match (kind, code) {
        (Kind::F16, 0) if a == Element::Bf16 || b == Element::Bf16 => Err(InstructionFault::Bf16IntoF16),
        (Kind::F16 | Kind::F8f6f4, 0) => Ok(Accumulator::F16),
        (Kind::F16 | Kind::F8f6f4 | Kind::Tf32, 1) => Ok(Accumulator::F32),
        (Kind::I8, 2) => Ok(Accumulator::S32 { saturate: field(bits, 3, 3) == 1 }),
        _ => Err(InstructionFault::Type { operand: "D", code, first: 4, last: 5 }),
    }
}

fn check_m(m: u32, form: Form) -> Result<(), InstructionFault> {
    let (allowed, expected): (&[u32], _) = match (form.weight_stationary, form.cta_group, form.kind.is_scaled()) {
        (true, ..) => (&[32, 64, 128], "32, 64 or 128 with .ws"),
        (false, 2, true) if form.sparse => (&[256], "256 for a sparse scaled kind with cta_group::2"),
        (false, 2, _) => (&[128, 256], "128 or 256 with cta_group::2"),
        (false, _, true) => (&[128], "128 for a scaled kind with cta_group::1"),
        (false, _, false) => (&[64, 128], "64 or 128 with cta_group::1"),
    };
    if allowed.contains(&m) { Ok(()) } else { Err(InstructionFault::M { found: m, expected }) }
}

fn check_n(n: u32, form: Form, transpose_b: bool) -> Result<(), InstructionFault> {
    let eight_bits = matches!(form.kind, Kind::F8f6f4 | Kind::I8 | Kind::Mxf8f6f4);
    let (legal, expected) = if form.weight_stationary && form.sparse {
        (matches!(n, 64 | 128), "64 or 128 with .ws and .sp")
    } else if form.weight_stationary {
        (matches!(n, 64 | 128 | 256), "64, 128 or 256 with .ws")
    } else if form.cta_group == 2 && (form.kind == Kind::I8 || (transpose_b && eight_bits)) {
        (n.is_multiple_of(32), "a multiple of 32 in 32..256")
    } else if form.cta_group == 2 || (transpose_b && eight_bits) {
        (n.is_multiple_of(16), "a multiple of 16 in 16..256")
    } else if form.kind == Kind::I8 {
        (n <= 32 || n.is_multiple_of(16), "8, 16, 24, 32, or a multiple of 16 up to 256")
    } else {
        (true, "a multiple of 8 in 8..256")
    };
    if legal && (8..=256).contains(&n) { Ok(()) } else { Err(InstructionFault::N { found: n, expected }) }
}

fn scales(bits: u32, form: Form, k96: bool) -> Result<Scales, InstructionFault> {
    let format = if field(bits, 23, 23) == 1 { ScaleFormat::Ue8m0 } else { ScaleFormat::Ue4m3 };
    // Blocks of 16 or 32 stored elements. `.scale_vec` counts scales of a row and says nothing of K = 96.
    let block16 = match (form.kind, form.scale_vector) {
        (Kind::Mxf8f6f4, None | Some(ScaleVector::X1 | ScaleVector::Block32)) => false,
        (Kind::Mxf4, None | Some(ScaleVector::Block32)) => false,
        (Kind::Mxf4, Some(ScaleVector::X2)) if !k96 => false,
        (Kind::Mxf4nvf4, Some(ScaleVector::Block32)) => false,
        (Kind::Mxf4nvf4, Some(ScaleVector::Block16)) => true,
        (Kind::Mxf4nvf4, Some(ScaleVector::X2)) if !k96 => false,
        (Kind::Mxf4nvf4, Some(ScaleVector::X4)) if !k96 => true,
        _ => return Err(InstructionFault::ScaleVector),
    };
    if format == ScaleFormat::Ue4m3 && !block16 {
        return Err(InstructionFault::ScaleType { found: "ue4m3", vector: "blocks of 32" });
    }
    let (per_row, ids, expected): (u32, &[u32], _) = match (form.kind, block16, k96) {
        (Kind::Mxf8f6f4, ..) => (1, &[0, 1, 2, 3], "0, 1, 2 or 3"),
        (_, false, false) => (2, &[0, 2], "0 or 2 for two scales of a row"),
        (_, true, false) => (4, &[0], "0 for four scales of a row"),
        (_, false, true) => (3, &[0, 1, 2, 3], "0, 1, 2 or 3 for three scales of a row"),
        (_, true, true) => (6, &[0, 2], "0 or 2 for six scales of a row"),
    };
    let (a_id, b_id) = (field(bits, 29, 30), field(bits, 4, 5));
    for (operand, found) in [("A", a_id), ("B", b_id)] {
        if !ids.contains(&found) {
            return Err(InstructionFault::ScaleId { operand, found, expected });
        }
    }
    Ok(Scales { format, per_row, a_id, b_id })
}

#[cfg(test)]
mod tests;
