//! Operands and results as boxes of a tensor map: which the copy engine can bring, and how.
//!
//! The innermost dimension of a map is dense and every other stride a multiple of 16 bytes: an operand that is one
//! strided matrix for each batch entry usually is such a tensor. Where it is not, threads bring it.

use super::problem::{Major, Memory, Problem};
use gable_artifact::{
    TensorMap,
    tensor_map::{Fill, L2Promotion, MapElement, Swizzle},
};
use gable_ptx::meaning::{Meaning, TensorLoad, TensorStore};
use gable_ptx::{B16, B32, Family, KernelBuilder, Opcode, Operand, R, TensorPlace, Value};
use gable_tensor::DType;

use super::problem::ContractionError;

/// Bytes along the dense dimension of a box: one span of the widest swizzle.
pub(super) const SPAN: u32 = 128;

/// Bytes that strides and starts are multiples of.
const GRAIN: i64 = 16;

/// Dimensions of a map beside the two of a matrix.
const MOST_BATCH_DIMENSIONS: usize = 3;

/// A matrix for each batch entry, as a tensor map and the coordinates that its boxes are named by.
#[derive(Clone, Debug)]
pub(super) struct Boxes {
    /// The map.
    pub map: TensorMap,
    /// Batch dimensions of the problem that are dimensions of the map.
    batch: Vec<usize>,
    /// Where the matrix begins along the dense dimension.
    start: u32,
}

/// Who gets a box, and whose barrier counts its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Receivers {
    /// The CTA that asks for it.
    Own,
    /// That one; the barrier may be that of the other CTA of its pair.
    Pair,
    /// The CTAs of the cluster whose bits are set, each at the same offsets of its shared memory.
    Ctas(R<B16>),
}

/// One strided matrix for each batch entry, in elements.
pub(super) struct Strided<'a> {
    /// Type in memory.
    pub stored: DType,
    /// Where entry 0 starts.
    pub start: i64,
    /// Size of the dense dimension.
    pub dense: usize,
    /// Size and stride of the other one.
    pub other: (usize, i64),
    /// Sizes of the batch dimensions and their strides.
    pub batch: &'a [usize],
    /// Strides of the batch dimensions.
    pub batch_strides: &'a [i64],
}

/// The type under which a map moves elements that the tensor cores shall see as `element`.
fn map_element(stored: DType, element: DType) -> Option<MapElement> {
    Some(match (stored, element) {
        // The copy rounds to nearest, ties to even, as a cast does.
        (DType::F32, DType::Tf32) => MapElement::Tf32,
        _ if stored != element => return None,
        (DType::F16, _) => MapElement::F16,
        (DType::BF16, _) => MapElement::Bf16,
        (DType::F32 | DType::Tf32, _) => MapElement::F32,
        (DType::I8 | DType::U8 | DType::E4M3 | DType::E5M2 | DType::E2M3 | DType::E3M2 | DType::E2M1, _) => {
            MapElement::U8
        }
        _ => return None,
    })
}

impl Boxes {
    /// Boxes of `dense` by `other` elements of such a matrix, swizzled by 128 bytes; none where the copy engine cannot.
    pub fn of(matrix: &Strided<'_>, element: DType, dense: u32, other: u32) -> Option<Boxes> {
        let bytes = matrix.stored.bytes() as i64;
        // The map begins where the buffer does, and boxes so many elements further; they begin at whole 16 bytes.
        let start = i32::try_from(matrix.start).ok().and_then(|start| u32::try_from(start).ok())?;
        if i64::from(start) * bytes % GRAIN != 0 {
            return None;
        }
        let mut dims = vec![u64::from(start) + matrix.dense as u64, matrix.other.0 as u64];
        // A stride that is never taken may be anything.
        let pitch = if matrix.other.0 == 1 { matrix.start + matrix.dense as i64 } else { matrix.other.1 };
        let mut strides = vec![pitch * bytes];
        if matrix.other.0 == 1 {
            strides[0] = (strides[0] + GRAIN - 1) / GRAIN * GRAIN;
        }
        let mut batch = Vec::new();
        for (position, (&size, &stride)) in matrix.batch.iter().zip(matrix.batch_strides).enumerate() {
            if size > 1 && stride != 0 {
                batch.push(position);
                dims.push(size as u64);
                strides.push(stride * bytes);
            }
        }
        if batch.len() > MOST_BATCH_DIMENSIONS || strides.iter().any(|stride| *stride <= 0) {
            return None;
        }
        let in_lines = strides.iter().all(|stride| stride % i64::from(SPAN) == 0);
        let mut box_dims = vec![dense, other];
        box_dims.resize(dims.len(), 1);
        let map = TensorMap {
            element: map_element(matrix.stored, element)?,
            dims,
            strides: strides.into_iter().map(|stride| stride as u64).collect(),
            box_dims,
            swizzle: Swizzle::Bytes128,
            // Rows that begin anywhere in a line are not asked for in larger pieces than they need: 11.3 us, not 12.0, at 1000^3.
            l2_promotion: if in_lines { L2Promotion::Bytes256 } else { L2Promotion::None },
            fill: Fill::Zeros,
        };
        map.check().is_ok().then_some(Boxes { map, batch, start })
    }

    /// The same boxes one row after the other, not swizzled.
    pub fn in_lines(self) -> Boxes {
        Boxes { map: TensorMap { swizzle: Swizzle::None, ..self.map }, ..self }
    }

    /// The same boxes, of which a row is half a span, swizzled by that.
    pub fn of_half_spans(self) -> Boxes {
        Boxes { map: TensorMap { swizzle: Swizzle::Bytes64, ..self.map }, ..self }
    }

    /// Boxes of an operand that lies in memory: `outer` of its outer index by `k` summed elements.
    pub fn of_operand(problem: &Problem, memory: &Memory, element: DType, outer: u32, k: u32) -> Option<Boxes> {
        let entries = memory.entries.as_ref()?;
        if !memory.is_matrix() || memory.offset != 0 {
            return None;
        }
        let digit =
            |digits: &[super::problem::Digit]| digits.first().map_or((1, 1), |digit| (digit.size, digit.stride));
        let (along_outer, along_k) = (digit(&memory.outer), digit(&memory.k));
        let (major, _) = memory.vector();
        let ((dense, stride), other, dense_box, other_box) = match major {
            Major::K => (along_k, along_outer, k, outer),
            Major::Outer => (along_outer, along_k, outer, k),
        };
        // Only elements of 16 bits are read across rows.
        if stride != 1 && dense > 1 || major == Major::Outer && element.bytes() != 2 {
            return None;
        }
        let matrix = Strided {
            stored: memory.stored,
            start: entries.start,
            dense,
            other,
            batch: &problem.batch,
            batch_strides: &entries.strides,
        };
        Boxes::of(&matrix, element, dense_box, other_box)
    }

    fn place(&self, map: R<gable_ptx::B64>, dense: R<B32>, other: R<B32>, batch: &[R<B32>]) -> Operand {
        let entries = self.batch.iter().map(|&position| batch[position]);
        let coordinates = [dense, other].into_iter().chain(entries).map(Value::from).collect();
        Operand::Tensor(TensorPlace { map: map.reg(), coordinates })
    }

    /// Begins to bring the box at `(dense, other)` of a batch entry to shared memory.
    #[expect(clippy::too_many_arguments, reason = "they are the operands of the instruction")]
    pub fn load(
        &self,
        k: &mut KernelBuilder,
        map: R<gable_ptx::B64>,
        (dense, other): (R<B32>, R<B32>),
        batch: &[R<B32>],
        to: R<B32>,
        barrier: R<B32>,
        receivers: Receivers,
    ) -> Result<(), ContractionError> {
        let rank = self.map.dims.len() as u8;
        let (multicast, cta_pair) = (matches!(receivers, Receivers::Ctas(_)), receivers == Receivers::Pair);
        let own_cta = k.target().row().family == Family::Sm120 && !multicast;
        let meaning = Meaning::TensorLoad(TensorLoad { rank, multicast, hint: false, cta_pair, own_cta });
        let row = Opcode::of(meaning).ok_or(gable_ptx::EmitError::NoRow { meaning })?;
        let dense = if self.start == 0 { dense } else { k.add_u32(dense, self.start) };
        let place = self.place(map, dense, other, batch);
        let mut sources = vec![Operand::Address(to.at(0).into()), place, Operand::Address(barrier.at(0).into())];
        if let Receivers::Ctas(mask) = receivers {
            sources.push(Operand::Value(mask.into()));
        }
        k.emit(row, sources)?;
        Ok(())
    }

    /// Begins to store the box at `from` to `(dense, other)` of a batch entry; what lies outside is left out.
    pub fn store(
        &self,
        k: &mut KernelBuilder,
        map: R<gable_ptx::B64>,
        (dense, other): (R<B32>, R<B32>),
        batch: &[R<B32>],
        from: R<B32>,
    ) -> Result<(), ContractionError> {
        let rank = self.map.dims.len() as u8;
        let meaning = Meaning::TensorStore(TensorStore { rank, add: false, hint: false });
        let row = Opcode::of(meaning).ok_or(gable_ptx::EmitError::NoRow { meaning })?;
        let dense = if self.start == 0 { dense } else { k.add_u32(dense, self.start) };
        let place = self.place(map, dense, other, batch);
        k.emit(row, vec![place, Operand::Address(from.at(0).into())])?;
        Ok(())
    }
}
