//! Block scales: which problems the tensor cores multiply with them, and how scales lie in a stage.
//!
//! ```text
//!  an atom: four scales along k of each of 128 rows, 512 bytes        byte (r % 32) * 16 + (r / 32) * 4 + scale
//!  +--------------------------------------------------------------+
//!  | row 0: s0 s1 s2 s3 | row 32 | row 64 | row 96 |  16 bytes     |    as `tcgen05.cp` brings it to tensor memory; `mma.sync`
//!  | row 1              | row 33 | row 65 | row 97 |               |    takes words of four scales as they are
//!  | ..                                                            |
//!  +--------------------------------------------------------------+
//!
//!  behind A and B in a stage: atoms of A's 128 rows, then of each 128 columns of B; those of a block one after the other along k
//! ```

use super::boxes::SPAN;
use super::problem::{Codes, ContractionError, Memory, Operand, Problem, Scaled, Side};
use super::short_codes;
use super::surround::Surround;
use super::values::{load_into, scale_value};
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, F32, KernelBuilder, R, ScalarType, Space};
use gable_tensor::DType;

/// Rows, or columns of B, of an atom.
pub(super) const ATOM_ROWS: u32 = 128;

/// Scales of a row in an atom.
pub(super) const ATOM_SCALES: u32 = 4;

/// Bytes of an atom.
pub(super) const ATOM: u32 = ATOM_ROWS * ATOM_SCALES;

/// How the tensor cores multiply a problem whose factors have block scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockScaled {
    /// The factors' types: any of 8, 6 or 4 bits.
    pub elements: [DType; 2],
    /// Whether both are of 4 bits, two to a byte, and multiplied so; else the tensor cores see a byte for every element.
    pub packed: bool,
    /// Which of the factors memory has with two elements to a byte.
    pub pairs: [bool; 2],
    /// Values of k that share a scale.
    pub block: u32,
    /// Type of the scales: ue8m0, or e4m3 without a sign.
    pub scale: DType,
    /// Which of the scales of each factor they are.
    pub positions: [usize; 2],
    /// Scales that all elements of a factor share, and their types.
    pub whole: Vec<(Side, usize, DType)>,
    /// Elements of 128 bytes.
    pub span: u32,
}

/// Elements of a factor in 128 bytes, where both have as many.
pub(super) fn span(problem: &Problem) -> u32 {
    match &problem.scaled {
        Some(scaled) if scaled.iter().all(|factor| factor.codes.bits() == 4) => 2 * SPAN,
        _ => SPAN / problem.element.bytes() as u32,
    }
}

impl BlockScaled {
    /// The way, where each factor has one scale for 16 or 32 values of k of a row and otherwise only scales that all its
    /// elements share.
    pub fn of(problem: &Problem) -> Option<BlockScaled> {
        let factors = problem.scaled.as_ref()?;
        let [a, b] = [Side::A, Side::B].map(|side| Factor::of(&factors[side as usize], problem.operand(side)));
        let (a, b) = (a?, b?);
        if (a.block, a.scale) != (b.block, b.scale) {
            return None;
        }
        let packed = a.pairs && b.pairs;
        if !matches!((packed, a.block, a.scale), (_, 32, DType::UE8M0) | (true, 16, _)) {
            return None;
        }
        let of_side = |side, whole: Vec<(usize, DType)>| whole.into_iter().map(move |(at, dtype)| (side, at, dtype));
        Some(BlockScaled {
            elements: [a.element, b.element],
            packed,
            pairs: [a.pairs, b.pairs],
            block: a.block,
            scale: a.scale,
            positions: [a.position, b.position],
            whole: of_side(Side::A, a.whole).chain(of_side(Side::B, b.whole)).collect(),
            span: span(problem),
        })
    }

    /// The factors whose codes have fewer bits than the byte that the tensor cores see: all of them, or those that memory has in
    /// `pairs`.
    pub fn short(&self, pairs_alone: bool) -> impl Iterator<Item = Short> {
        let sides = [Side::A, Side::B].into_iter().zip(self.elements).zip(self.pairs);
        let is_short = move |element, pairs| if pairs_alone { pairs } else { short_codes::is_short(element) };
        sides
            .filter(move |((_, element), pairs)| !self.packed && is_short(*element, *pairs))
            .map(|((side, element), pairs)| Short { side, element, pairs })
    }

    /// Scales of a row for one round of 128 bytes of k.
    pub fn per_round(&self) -> u32 {
        self.span / self.block
    }

    /// Bytes of the scales of a stage, for A's rows and so many columns of B.
    pub fn bytes(per_round: u32, columns: u32) -> u32 {
        (1 + blocks(columns)) * (per_round / ATOM_SCALES) * ATOM
    }

    /// The atom along k that holds the scales of a step of 32 bytes of k, and the first of them.
    pub fn of_step(&self, step: u32) -> (u32, u32) {
        let scale = step * (self.per_round() / 4);
        (scale / ATOM_SCALES, scale % ATOM_SCALES)
    }
}

/// A factor whose codes become floats of 8 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    pub side: Side,
    /// Its type.
    pub element: DType,
    /// Whether two of them share a byte.
    pub pairs: bool,
}

/// The power of two that products of such factors are too small by.
pub(super) fn widening(short: impl Iterator<Item = Short>) -> i32 {
    short.map(|short| short_codes::float8(short.element).1).sum()
}

/// What one factor is.
struct Factor {
    element: DType,
    pairs: bool,
    block: u32,
    scale: DType,
    position: usize,
    whole: Vec<(usize, DType)>,
}

impl Factor {
    fn of(scaled: &Scaled, operand: &Operand) -> Option<Factor> {
        let Operand::Memory(_) = operand else { return None };
        let (element, pairs) = match scaled.codes {
            Codes::Bytes(element) if element == DType::E4M3 || element == DType::E5M2 => (element, false),
            Codes::Bytes(element) if short_codes::is_short(element) => (element, false),
            Codes::E2m1Pairs => (DType::E2M1, true),
            Codes::Bytes(_) | Codes::Int4Pairs => return None,
        };
        let is_still = |memory: &Memory| memory.outer.iter().chain(&memory.k).all(|digit| digit.stride == 0);
        let mut found = None;
        let mut whole = Vec::new();
        for (position, memory) in scaled.scales.iter().enumerate() {
            if is_still(memory) {
                whole.push((position, memory.stored));
                continue;
            }
            let block = memory.group_along_k().filter(|block| matches!(block, 16 | 32))? as u32;
            let is_usable = matches!(memory.stored, DType::UE8M0 | DType::E4M3) && Steps::of(memory).is_some();
            if !is_usable || found.is_some() {
                return None;
            }
            found = Some((position, block, memory.stored));
        }
        let (position, block, scale) = found?;
        Some(Factor { element, pairs, block, scale, position, whole })
    }
}

/// How the scales of a row lie along k, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// Scales of a row.
    pub count: u32,
    /// From one scale to the next of the four of a word.
    pub scale: u32,
    /// From one four scales to the next.
    pub word: u32,
    /// Scales that lie together, and whose place is a multiple of as many bytes: 1, 4 or 16.
    pub together: u32,
}

impl Steps {
    /// The steps, where scales follow each other at one distance, or each four of them do: a row of them, or atoms already.
    pub fn of(memory: &Memory) -> Option<Steps> {
        let moving: Vec<_> = memory.k.iter().filter(|digit| digit.stride != 0 && digit.size > 1).collect();
        let step = |stride: i64| u32::try_from(stride).ok();
        let (count, scale, word) = match moving[..] {
            [row] => (row.size, step(row.stride)?, step(row.stride)?.checked_mul(ATOM_SCALES)?),
            [words, four] if four.size == ATOM_SCALES as usize && four.stride == 1 => {
                (words.size * four.size, 1, step(words.stride)?)
            }
            _ => return None,
        };
        // Offsets of the words of a few rounds fit an instruction.
        if word > 1 << 24 {
            return None;
        }
        let strides = memory.outer.iter().filter(|digit| digit.size > 1).map(|digit| digit.stride);
        if strides.clone().any(|stride| stride < 0) {
            return None;
        }
        let together = |bytes: u32| {
            scale == 1
                && (bytes <= ATOM_SCALES || word == ATOM_SCALES)
                && word.is_multiple_of(bytes.min(ATOM_SCALES))
                && count.is_multiple_of(bytes as usize)
                && memory.alignment.is_multiple_of(bytes as usize)
                && strides.clone().all(|stride| stride % i64::from(bytes) == 0)
        };
        let together = [16, 4].into_iter().find(|&bytes| together(bytes)).unwrap_or(1);
        Some(Steps { count: count as u32, scale, word, together })
    }
}

/// Blocks of 128 columns that scales of B are brought for.
pub(super) fn blocks(columns: u32) -> u32 {
    columns.div_ceil(ATOM_ROWS)
}

/// What the sums of a batch entry are multiplied by: the scales that all elements of a factor share, and the `power` of two that
/// products are too small by; none where there is nothing.
pub(super) fn factor_of_sums(
    k: &mut KernelBuilder,
    scaled: &BlockScaled,
    power: i32,
    batch: &[R<B32>],
    surround: &mut dyn Surround,
) -> Result<Option<R<F32>>, ContractionError> {
    let shared = shared_scale(k, scaled, batch, surround)?;
    Ok(match (shared, power) {
        (shared, 0) => shared,
        (None, power) => Some(k.mov_f32(2f32.powi(power))),
        (Some(shared), power) => Some(k.mul_f32(shared, 2f32.powi(power))),
    })
}

/// The product of the scales that all elements of a factor share, for a batch entry; none where there are none.
fn shared_scale(
    k: &mut KernelBuilder,
    scaled: &BlockScaled,
    batch: &[R<B32>],
    surround: &mut dyn Surround,
) -> Result<Option<R<F32>>, ContractionError> {
    let mut product: Option<R<F32>> = None;
    for &(side, position, stored) in &scaled.whole {
        let place = surround.scales(k, side, position, batch)?;
        let ty = match stored.bytes() {
            1 => ScalarType::U8,
            2 => ScalarType::U16,
            _ => ScalarType::B32,
        };
        let bits = k.mov_b32(0);
        let access = Access { space: Space::Global, ty, count: 1, cache: Cache::ReadOnly };
        load_into(k, access, place.at(0).into(), &[bits.reg()])?;
        let scale = scale_value(k, stored, bits)?;
        product = Some(product.map_or(scale, |product| k.mul_f32(product, scale)));
    }
    Ok(product)
}
