//! Elements of four bits as bytes of two, and the ops that unpack them.

use gable_ir::{Builder, NodeId, OpError, ops};
use gable_tensor::{DType, Dim, Scalar, Tensor};

/// What the codes of elements stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The bits of e2m1.
    E2m1,
    /// A whole number from -8 to 7, plus 8.
    Int4,
    /// Whole numbers of 8 bits, not packed.
    Bytes,
}

impl Meaning {
    /// The value of each code.
    fn table(self) -> Vec<Scalar> {
        match self {
            Meaning::E2m1 => (0..16u8).map(|bits| Scalar::load(DType::E2M1, &[bits])).collect(),
            Meaning::Int4 | Meaning::Bytes => (-8..8).map(|value| Scalar::F(f64::from(value))).collect(),
        }
    }
}

/// Elements as codes, one to a byte.
pub struct Codes {
    pub value: Tensor,
    pub meaning: Meaning,
}

/// The codes of a weight whose elements fit four bits.
pub fn codes(value: &Tensor) -> Option<Codes> {
    let of = |dtype, bytes: Vec<u8>| Tensor::new(dtype, value.shape().to_vec(), bytes).ok();
    match value.dtype() {
        DType::E2M1 => Some(Codes { value: of(DType::U8, value.bytes().to_vec())?, meaning: Meaning::E2m1 }),
        DType::I8 | DType::U8 => less(value, &[0]).filter(|codes| codes.meaning == Meaning::Int4),
        _ => None,
    }
}

/// Whole numbers of 8 bits less others, one for all or one for each; `None` where a difference needs more than 8 bits.
pub fn less(value: &Tensor, others: &[i64]) -> Option<Codes> {
    let of_byte: fn(u8) -> i64 = match value.dtype() {
        DType::I8 => |byte| i64::from(byte as i8),
        DType::U8 => i64::from,
        _ => return None,
    };
    let others = others.iter().cycle();
    let differences: Vec<i8> = value
        .bytes()
        .iter()
        .zip(others)
        .map(|(&byte, other)| i8::try_from(of_byte(byte) - other).ok())
        .collect::<Option<_>>()?;
    let shape = value.shape().to_vec();
    let fits = differences.iter().all(|value| (-8..8).contains(value));
    let (dtype, bytes, meaning): (DType, Vec<u8>, Meaning) = if fits {
        (DType::U8, differences.iter().map(|value| (value + 8) as u8).collect(), Meaning::Int4)
    } else {
        (DType::I8, differences.iter().map(|value| *value as u8).collect(), Meaning::Bytes)
    };
    Some(Codes { value: Tensor::new(dtype, shape, bytes).ok()?, meaning })
}

/// Two neighbours along the last axis in each byte, the first in the low half; `None` where their number is odd, or zero.
pub fn halves(codes: &Tensor) -> Option<Tensor> {
    let (&last, leading) = codes.shape().split_last()?;
    if last == 0 || !last.is_multiple_of(2) {
        return None;
    }
    let bytes: Vec<u8> = codes.bytes().chunks_exact(2).map(|pair| (pair[0] & 15) | (pair[1] << 4)).collect();
    Tensor::new(DType::U8, [leading, &[last / 2]].concat(), bytes).ok()
}

/// The elements that `stored` has two to a byte, in a float type.
pub fn unpacked(b: &mut Builder, stored: NodeId, meaning: Meaning, to: DType) -> Result<NodeId, OpError> {
    let packed = b.shape(stored);
    let one: Vec<Dim> = packed.iter().cloned().chain([Dim::known(1)]).collect();
    let mut all = packed;
    if let Some(last) = all.last_mut() {
        *last = last.clone() * Dim::known(2);
    }
    let (low, high) = (b.scalar(DType::U8, Scalar::I(15))?, b.scalar(DType::U8, Scalar::I(4))?);
    let low = b.and(stored, low)?;
    let high = b.shr(stored, high)?;
    let halves = [b.reshape(low, one.clone())?, b.reshape(high, one.clone())?];
    let joined = b.concat(&halves, one.len() - 1)?;
    let codes = b.reshape(joined, all)?;
    let codes = b.cast(codes, DType::I32)?;
    let table = Tensor::from_scalars(to, vec![16], meaning.table());
    let table = b.add(ops::Const { value: table }, &[])?;
    b.add(ops::Gather { axis: 0 }, &[table, codes])
}
