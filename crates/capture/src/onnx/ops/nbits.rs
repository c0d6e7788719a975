//! Products by weights of a few bits that are packed along k, with a scale for each block of it.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, constant, scalar, sizes};
use crate::onnx::ops::linear::product;
use gable_ir::{Builder, NodeId, ops};
use gable_tensor::{DType, Dim, Scalar, Tensor};

/// What the attributes say of a packed weight, `[columns, blocks, bytes of a block]`.
struct Packed {
    columns: usize,
    k: usize,
    block: usize,
    blocks: usize,
    bits: usize,
}

impl Packed {
    fn of(call: &Call) -> Result<Packed, NodeError> {
        let bits = call.size("bits", 4, 1)?;
        if !matches!(bits, 4 | 8) {
            return Err(bad_attr("bits", bits, "4 or 8"));
        }
        let (columns, k) = (call.size("N", 0, 1)?, call.size("K", 0, 1)?);
        let block = call.size("block_size", 0, 16)?;
        if !block.is_power_of_two() {
            return Err(bad_attr("block_size", block, "a power of two"));
        }
        Ok(Packed { columns, k, block, blocks: k.div_ceil(block), bits })
    }

    /// Bytes of so many elements.
    fn bytes(&self, elements: usize) -> usize {
        (elements * self.bits).div_ceil(8)
    }

    /// The number of zero, where none is given.
    fn middle(&self) -> u8 {
        1 << (self.bits - 1)
    }
}

/// A row of packed elements as their codes, in the order of k.
fn codes(b: &mut Builder, packed: NodeId, rows: usize, bytes: usize, bits: usize) -> Value {
    if bits == 8 {
        return Ok(b.reshape(packed, [rows, bytes])?);
    }
    let whole = b.reshape(packed, [rows, bytes])?;
    let (mask, shift) = (b.scalar(DType::U8, Scalar::I(15))?, b.scalar(DType::U8, Scalar::I(4))?);
    let low = b.and(whole, mask)?;
    let high = b.shr(whole, shift)?;
    let halves = [b.reshape(low, [rows, bytes, 1])?, b.reshape(high, [rows, bytes, 1])?];
    let joined = b.concat(&halves, 2)?;
    Ok(b.reshape(joined, [rows, bytes * 2])?)
}

/// Values of codes of four bits, which are numbers from `first` on.
fn looked_up(b: &mut Builder, codes: NodeId, first: i32, like: NodeId) -> Value {
    let values = (first..first + 16).map(|value| Scalar::F(f64::from(value)));
    let table = Tensor::from_scalars(b.dtype(like), vec![16], values);
    let table = b.add(ops::Const { value: table }, &[])?;
    let codes = b.cast(codes, DType::I32)?;
    Ok(b.add(ops::Gather { axis: 0 }, &[table, codes])?)
}

/// One value for each block, for each of its elements: `[columns, k of whole blocks]`.
fn repeated(b: &mut Builder, value: NodeId, weight: &Packed) -> Value {
    let Packed { columns, block, blocks, .. } = *weight;
    let split = b.reshape(value, [columns, blocks, 1])?;
    let wide = b.broadcast_to(split, &[Dim::from(columns), Dim::from(blocks), Dim::from(block)])?;
    Ok(b.reshape(wide, [columns, blocks * block])?)
}

/// Zero points in the type of `like`, one for each block; `None` where each is the middle of the codes.
fn zero_points(b: &mut Builder, given: NodeId, weight: &Packed, like: NodeId) -> Result<Option<NodeId>, NodeError> {
    let Packed { columns, blocks, bits, .. } = *weight;
    let n_values: usize = sizes(b, given)?.iter().product();
    let points = if b.dtype(given) == DType::U8 {
        let bytes = weight.bytes(blocks);
        if n_values != columns * bytes {
            return Err(bad_input("zero_points", b.ty(given), format!("{columns} rows of {bytes} bytes")));
        }
        let all = codes(b, given, columns, bytes, bits)?;
        b.slice_axis(all, 1, 0usize, blocks)?
    } else {
        if n_values != columns * blocks {
            return Err(bad_input("zero_points", b.ty(given), format!("{columns} rows of {blocks}")));
        }
        b.reshape(given, [columns, blocks])?
    };
    let middle = f64::from(weight.middle());
    if constant(b, points).is_some_and(|points| points.scalars().all(|point| point.as_f64() == middle)) {
        return Ok(None);
    }
    let points = b.cast(points, b.dtype(like))?;
    repeated(b, points, weight).map(Some)
}

pub(crate) fn matmul_nbits(b: &mut Builder, call: &Call) -> Lowered {
    let (x, stored, scales) = (call.input(0, "A")?, call.input(1, "B")?, call.input(2, "scales")?);
    if call.optional(4).is_some() {
        let what = "the input `g_idx`; export the weight with its columns of k in order";
        return Err(NodeError::Unsupported(what.into()));
    }
    let weight = Packed::of(call)?;
    let Packed { columns, k, block, blocks, bits } = weight;
    let bytes = weight.bytes(block);
    let too_large = || bad_attr("K", k, "a weight that can be addressed");
    let n_bytes = columns.checked_mul(blocks).and_then(|n| n.checked_mul(bytes)).ok_or_else(too_large)?;
    if b.dtype(stored) != DType::U8 || sizes(b, stored)?.iter().product::<usize>() != n_bytes {
        return Err(bad_input("B", b.ty(stored), format!("u8[{columns}, {blocks}, {bytes}]")));
    }
    if sizes(b, scales)?.iter().product::<usize>() != columns * blocks {
        return Err(bad_input("scales", b.ty(scales), format!("one for each of {columns} by {blocks} blocks")));
    }
    let points = match call.optional(3) {
        Some(points) => zero_points(b, points, &weight, x)?,
        None => None,
    };
    let codes = codes(b, stored, columns, blocks * bytes, bits)?;
    let middle = f64::from(weight.middle());
    let numbers = match (points, bits) {
        (None, 4) => looked_up(b, codes, -8, x)?,
        (None, _) => {
            let (codes, middle) = (b.cast(codes, b.dtype(x))?, scalar(b, x, middle)?);
            b.sub(codes, middle)?
        }
        (Some(points), 4) => {
            let codes = looked_up(b, codes, 0, x)?;
            b.sub(codes, points)?
        }
        (Some(points), _) => {
            let codes = b.cast(codes, b.dtype(x))?;
            b.sub(codes, points)?
        }
    };
    let scales = b.cast(scales, b.dtype(x))?;
    let scales = repeated(b, scales, &weight)?;
    let wide = b.mul(numbers, scales)?;
    // The last block may be cut short.
    let whole = b.slice_axis(wide, 1, 0usize, k)?;
    let right = b.transpose(whole, &[1, 0])?;
    let result = product(b, x, right, b.dtype(x))?;
    match call.optional(5) {
        Some(bias) => Ok(vec![b.plus(result, bias)?]),
        None => Ok(vec![result]),
    }
}
