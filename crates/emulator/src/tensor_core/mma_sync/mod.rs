//! `mma.sync` and `mma.sp.sync`: from the registers of a warp to matrices, their product, and back.
//!
//! In: what the instruction is (`Mma`) and the registers of all 32 lanes. Out: the registers of D. Shapes, types and fragments: PTX
//! ISA `#warp-level-matrix-instructions-mma` and `#warp-level-matrix-instructions-mma-sp`.

mod fragments;
mod metadata;
mod modifiers;
mod quads;

use super::accumulate::{Accumulator, Device, Numerics, Unit};
use super::element::{Element, ScaleFormat};
use super::multiply::{Codes, MultiplyError, Operand, Scales, Shape, multiply};
use super::sparsity::MetadataError;
use super::{BitOperation, multiply_bits, multiply_f64};
use crate::scalar::Register;

pub use fragments::{Accumulators, COLUMNS, Rows};
pub use modifiers::ModifierError;

/// The type of C or D.
#[expect(missing_docs, reason = "each is named like its PTX type")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccumulatorType {
    F16,
    F32,
    F64,
    S32,
}

/// How 8-, 6- and 4-bit floats are kept and scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No `.kind`.
    Plain,
    /// `.kind::f8f6f4` and `.kind::mxf8f6f4`: an element a byte; 6 bits in bits 5:0, 4 bits in bits 5:2.
    Mixed,
    /// `.kind::mxf4` and `.kind::mxf4nvf4`: two elements a byte.
    Packed,
}

/// Order of the elements of A or B in fragments of m8n8k4; all other shapes have A in rows and B in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `.row`
    Row,
    /// `.col`
    Column,
}

/// Whether and how A is sparse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sparsity {
    /// `mma`
    Dense,
    /// `mma.sp`: indices of a chunk in any order.
    AnyOrder,
    /// `mma.sp::ordered_metadata`
    Ordered,
}

/// Scales of blocks: how many a row of A has, and their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleVector {
    /// 1, 2 or 4.
    pub per_row: usize,
    /// ue8m0 or ue4m3.
    pub format: ScaleFormat,
}

/// A matrix instruction of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mma {
    /// The sizes; k counts the absent elements of a sparse A, too.
    pub shape: Shape,
    /// Type of A.
    pub a: Element,
    /// Type of B.
    pub b: Element,
    /// Type of C.
    pub c: AccumulatorType,
    /// Type of D.
    pub d: AccumulatorType,
    /// Containers of narrow floats.
    pub kind: Kind,
    /// Of A and B.
    pub orders: [Order; 2],
    /// Whether A is sparse.
    pub sparsity: Sparsity,
    /// Scales, if any.
    pub scales: Option<ScaleVector>,
    /// For b1.
    pub bits: BitOperation,
    /// `.satfinite` of integers.
    pub saturate: bool,
}

/// One operand of scales: the register, which byte of it and which threads of a quad count.
#[derive(Clone, Copy, Debug)]
pub struct ScaleOperand<'a> {
    /// Four scales in each lane.
    pub register: &'a Register,
    /// The first byte: 0 to 3, even with two scales a row, 0 with four.
    pub byte: u32,
    /// For A 0 or 1: which pair of threads; for B 0 to 3.
    pub thread: u32,
}

/// The registers of a warp that an instruction reads.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Fragment of A.
    pub a: &'a [Register],
    /// Fragment of B.
    pub b: &'a [Register],
    /// Fragment of C.
    pub c: &'a [Register],
    /// Metadata of a sparse A, and the selector.
    pub metadata: Option<(&'a Register, u32)>,
    /// Scales of A and of B.
    pub scales: Option<[ScaleOperand<'a>; 2]>,
}

/// The instruction cannot run so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MmaError {
    /// Too few or too many registers of an operand.
    #[error("operand {operand} has {found} registers, expected {expected}")]
    Registers {
        /// A, B or C.
        operand: &'static str,
        /// As written.
        found: usize,
        /// By shape and type.
        expected: usize,
    },
    /// Bits that must be zero around an element of 4 or 6 bits are not.
    #[error(
        "byte {byte:#04x} of {operand}, lane {lane}, register {register}: a {} element has only bits {bits}, the others must be zero",
        element.name()
    )]
    StrayBits {
        /// A or B.
        operand: &'static str,
        /// Its type.
        element: Element,
        /// The whole byte.
        byte: u8,
        /// Where the element is in it.
        bits: &'static str,
        /// Lane of the warp.
        lane: usize,
        /// Register of the fragment.
        register: usize,
    },
    /// The selector of metadata names no threads.
    #[error("sparsity selector {found}, expected {expected}")]
    Selector {
        /// As written.
        found: u32,
        /// What there is.
        expected: &'static str,
    },
    /// Metadata that mean nothing.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A byte or thread of scales that there is not.
    #[error("{what} of the scales of {operand} is {found}, expected {expected}")]
    ScaleId {
        /// Byte or thread id.
        what: &'static str,
        /// A or B.
        operand: &'static str,
        /// As written.
        found: u32,
        /// What there is.
        expected: &'static str,
    },
    /// The instruction needs metadata or scales, or has them without need.
    #[error("{0} given or missing against the modifiers")]
    Operands(&'static str),
    /// The shape does not go with the type.
    #[error(transparent)]
    Multiply(#[from] MultiplyError),
}

impl Mma {
    fn is_volta(&self) -> bool {
        self.shape.k == 4 && self.a == Element::F16
    }

    /// Bits of an element in a register.
    fn bits_of(&self, element: Element) -> usize {
        if self.kind == Kind::Mixed { 8 } else { element.bits() as usize }
    }

    fn rows_of_a(&self) -> Rows {
        let k = if self.sparsity == Sparsity::Dense { self.shape.k } else { self.shape.k / 2 };
        match self.a {
            // Words of 32 bits lie like elements of 32 bits.
            Element::B1 => Rows { rows: self.shape.m, k: k / 32, bits: 32 },
            element => Rows { rows: self.shape.m, k, bits: self.bits_of(element) },
        }
    }

    fn rows_of_b(&self) -> Rows {
        match self.b {
            Element::B1 => Rows { rows: COLUMNS, k: self.shape.k / 32, bits: 32 },
            element => Rows { rows: COLUMNS, k: self.shape.k, bits: self.bits_of(element) },
        }
    }

    fn accumulators(&self, ty: AccumulatorType) -> Accumulators {
        Accumulators { rows: self.shape.m, packed: ty == AccumulatorType::F16 }
    }

    /// Registers of A, B, C and D.
    pub fn registers(&self) -> [usize; 4] {
        if self.is_volta() {
            return quads::registers(self);
        }
        let (c, d) = (self.accumulators(self.c), self.accumulators(self.d));
        [self.rows_of_a().registers(), self.rows_of_b().registers(), c.registers(), d.registers()]
    }

    /// How the device adds.
    pub fn numerics(&self, device: Device) -> Numerics {
        let numerics = Numerics::of(device, Unit::Mma, self.a, self.accumulator(), self.kind == Kind::Packed);
        if self.sparsity == Sparsity::Dense { numerics } else { numerics.sparse() }
    }

    fn accumulator(&self) -> Accumulator {
        match self.d {
            AccumulatorType::F16 => Accumulator::F16,
            AccumulatorType::F32 | AccumulatorType::F64 => Accumulator::F32,
            AccumulatorType::S32 => Accumulator::S32 { saturate: self.saturate },
        }
    }

    /// D, by the numerics of a device.
    pub fn run(&self, numerics: &Numerics, inputs: &Inputs) -> Result<Vec<Register>, MmaError> {
        let [a, b, c, _] = self.registers();
        for (operand, found, expected) in [("A", inputs.a.len(), a), ("B", inputs.b.len(), b), ("C", inputs.c.len(), c)]
        {
            if found != expected {
                return Err(MmaError::Registers { operand, found, expected });
            }
        }
        if (self.sparsity == Sparsity::Dense) != inputs.metadata.is_none() {
            return Err(MmaError::Operands("metadata"));
        }
        if self.scales.is_none() != inputs.scales.is_none() {
            return Err(MmaError::Operands("scales"));
        }
        if self.is_volta() {
            return Ok(quads::run(self, inputs));
        }
        let c = self.accumulators(self.c).gather(inputs.c);
        let d: Vec<u64> = match self.a {
            Element::F64 => {
                let (a, b) =
                    (self.rows_of_a().gather(inputs.a, |word| word), self.rows_of_b().gather(inputs.b, |word| word));
                let mut d = c;
                multiply_f64(self.shape, &a, &b, &mut d)?;
                d
            }
            Element::B1 => {
                let word = |word: u64| word as u32;
                let (a, b) = (self.rows_of_a().gather(inputs.a, word), self.rows_of_b().gather(inputs.b, word));
                let mut d: Vec<u32> = c.iter().map(|&word| word as u32).collect();
                multiply_bits(self.bits, self.shape.m, COLUMNS, self.shape.k / 32, &a, &b, &mut d)?;
                d.into_iter().map(u64::from).collect()
            }
            _ => self.multiply(numerics, inputs, &c)?,
        };
        Ok(self.accumulators(self.d).scatter(&d))
    }

    fn multiply(&self, numerics: &Numerics, inputs: &Inputs, c: &[u64]) -> Result<Vec<u64>, MmaError> {
        let a = self.codes("A", self.a, self.rows_of_a(), inputs.a)?;
        let b = self.codes("B", self.b, self.rows_of_b(), inputs.b)?;
        let expanded = match inputs.metadata {
            None => None,
            Some((metadata, selector)) => Some(metadata::expand(self, &a, metadata, selector)?),
        };
        let mut operand = Operand::new(self.a, a.as_codes());
        if let Some(expanded) = &expanded {
            operand.codes = Codes::Words(&expanded.codes);
            operand.present = Some(&expanded.present);
        }
        let scales = match (self.scales, inputs.scales) {
            (Some(vector), Some(operands)) => Some(self.scales_by_row(vector, operands)?),
            _ => None,
        };
        let scales = scales.as_ref().map(|(format, block, [a, b])| Scales { format: *format, block: *block, a, b });
        let mut d: Vec<u32> = c.iter().map(|&word| word as u32).collect();
        let b = Operand::new(self.b, b.as_codes());
        multiply(numerics, self.shape, &operand, &b, scales.as_ref(), self.accumulator(), &mut d)?;
        Ok(d.into_iter().map(u64::from).collect())
    }

    fn codes(
        &self,
        operand: &'static str,
        element: Element,
        rows: Rows,
        registers: &[Register],
    ) -> Result<Gathered, MmaError> {
        if self.kind == Kind::Mixed && element.bits() < 8 {
            // e2m1 is two bits up in its byte, so that it has the sign where the types of 6 bits have it.
            let (shift, mask, bits) = if element.bits() == 4 { (2, 0x3c, "5:2") } else { (0, 0x3f, "5:0") };
            let bytes = rows.gather(registers, |word| word as u8);
            if let Some(index) = bytes.iter().position(|byte| byte & !mask != 0) {
                let (lane, register, _) = rows.place(index / rows.k, index % rows.k);
                return Err(MmaError::StrayBits { operand, element, byte: bytes[index], bits, lane, register });
            }
            return Ok(Gathered::Bytes(bytes.into_iter().map(|byte| byte >> shift).collect()));
        }
        Ok(match rows.bits {
            4 => Gathered::Bytes(rows.gather(registers, |word| word as u8 & 0xf)),
            8 => Gathered::Bytes(rows.gather(registers, |word| word as u8)),
            16 => Gathered::Halves(rows.gather(registers, |word| word as u16)),
            _ => Gathered::Words(rows.gather(registers, |word| word as u32)),
        })
    }

    /// The scales of the rows of A and of the columns of B, with the length of a block.
    fn scales_by_row(
        &self,
        vector: ScaleVector,
        [a, b]: [ScaleOperand; 2],
    ) -> Result<(ScaleFormat, usize, [Vec<u8>; 2]), MmaError> {
        for (operand, scale, threads) in [("A", a, 2), ("B", b, 4)] {
            let (fits, expected) = match vector.per_row {
                1 => (scale.byte < 4, "0 to 3"),
                2 => (scale.byte == 0 || scale.byte == 2, "0 or 2"),
                _ => (scale.byte == 0, "0"),
            };
            if !fits {
                return Err(MmaError::ScaleId { what: "the byte id", operand, found: scale.byte, expected });
            }
            if scale.thread >= threads {
                let expected = if threads == 2 { "0 or 1" } else { "0 to 3" };
                return Err(MmaError::ScaleId { what: "the thread id", operand, found: scale.thread, expected });
            }
        }
        let bytes = |scale: ScaleOperand, lane: usize| {
            let word = scale.register[lane] as u32;
            (0..vector.per_row).map(move |index| (word >> (8 * (scale.byte as usize + index))) as u8)
        };
        // Of each quad, the first thread of the pair has row g and the second one row g + 8.
        let of_a = |row: usize| bytes(a, row % 8 * 4 + 2 * a.thread as usize + row / 8);
        let of_b = |column: usize| bytes(b, column * 4 + b.thread as usize);
        let scales = [(0..self.shape.m).flat_map(of_a).collect(), (0..COLUMNS).flat_map(of_b).collect()];
        Ok((vector.format, self.shape.k / vector.per_row, scales))
    }
}

/// Elements of an operand, in the least type that holds them.
enum Gathered {
    Bytes(Vec<u8>),
    Halves(Vec<u16>),
    Words(Vec<u32>),
}

impl Gathered {
    fn as_codes(&self) -> Codes<'_> {
        match self {
            Gathered::Bytes(codes) => Codes::Bytes(codes),
            Gathered::Halves(codes) => Codes::Halves(codes),
            Gathered::Words(codes) => Codes::Words(codes),
        }
    }
}
