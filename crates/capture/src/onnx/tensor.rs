//! ONNX tensors to host tensors, for every element type that the workspace has, in every field that may carry it.
//!
//! Sizes are checked against the data that is there before anything is allocated. `raw_data` and external data stay
//! views of the mapped file.

use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use bytes::Bytes;
use gable_tensor::tensor::{byte_count, element_count};
use gable_tensor::{DType, Tensor};

/// The workspace's type for an ONNX element type; the error names the type.
pub(crate) fn element_type(data_type: i32) -> Result<DType, String> {
    let known =
        DataType::try_from(data_type).map_err(|_| format!("element type {data_type} is not an ONNX element type"))?;
    Ok(match known {
        DataType::Float => DType::F32,
        DataType::Double => DType::F64,
        DataType::Float16 => DType::F16,
        DataType::Bfloat16 => DType::BF16,
        DataType::Int8 => DType::I8,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::Uint8 => DType::U8,
        DataType::Uint16 => DType::U16,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Bool => DType::Bool,
        DataType::Float8e4m3fn => DType::E4M3,
        DataType::Float8e5m2 => DType::E5M2,
        DataType::Float8e8m0 => DType::UE8M0,
        DataType::Float4e2m1 => DType::E2M1,
        DataType::Undefined
        | DataType::String
        | DataType::Complex64
        | DataType::Complex128
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2fnuz
        | DataType::Float6e2m3
        | DataType::Float6e3m2
        | DataType::Uint4
        | DataType::Int4
        | DataType::Uint2
        | DataType::Int2 => {
            let name = known.as_str_name().to_lowercase();
            return Err(format!("element type `{name}` is not supported; convert the model to another type"));
        }
    })
}

/// How the elements of a tensor in a model file become bytes.
#[derive(Clone, Copy, PartialEq)]
enum Packing {
    /// As they are.
    Whole,
    /// Two to a byte, the first in the low half: the bits of a float.
    Halves,
    /// The same: whole numbers with a sign.
    SignedHalves,
}

/// The host type for the elements of a tensor, and how they are packed. Whole numbers of four bits become bytes: such a type has no
/// arithmetic, so that what is computed from them is of other types, and the compiler stores them packed again.
fn stored_type(data_type: i32) -> Result<(DType, Packing), String> {
    match DataType::try_from(data_type) {
        Ok(DataType::Int4) => Ok((DType::I8, Packing::SignedHalves)),
        Ok(DataType::Uint4) => Ok((DType::U8, Packing::Halves)),
        Ok(DataType::Float4e2m1) => Ok((DType::E2M1, Packing::Halves)),
        _ => Ok((element_type(data_type)?, Packing::Whole)),
    }
}

/// A tensor's sizes, checked to be whole numbers.
pub(crate) fn shape(dims: &[i64]) -> Result<Vec<usize>, String> {
    let size =
        |&dim: &i64| usize::try_from(dim).map_err(|_| format!("dims are {dims:?}, expected sizes of zero or more"));
    dims.iter().map(size).collect()
}

/// The host tensor that `tensor` describes; the error says what is wrong with it.
pub(crate) fn read(tensor: &TensorProto, files: &mut ExternalFiles) -> Result<Tensor, String> {
    let (dtype, packing) = stored_type(tensor.data_type.unwrap_or_default())?;
    let shape = shape(&tensor.dims)?;
    let elements = element_count(dtype, &shape).map_err(|e| e.to_string())?;
    let expected = match packing {
        Packing::Whole => byte_count(dtype, &shape).map_err(|e| e.to_string())?,
        Packing::Halves | Packing::SignedHalves => elements.div_ceil(2),
    };
    let data = if tensor.data_location == Some(DataLocation::External as i32) {
        files.data(tensor, expected)?
    } else if let Some(raw) = &tensor.raw_data {
        raw.clone()
    } else {
        typed_data(tensor, (dtype, packing), elements)?
    };
    if data.len() != expected {
        let given = data.len();
        return Err(format!("{dtype} data of shape {shape:?} has {given} bytes, expected {expected}"));
    }
    let data = match (packing, dtype) {
        (Packing::Halves, _) => unpack_nibbles(&data, elements),
        (Packing::SignedHalves, _) => {
            // Bit 3 has the sign.
            unpack_nibbles(&data, elements).iter().map(|&half| (half ^ 8).wrapping_sub(8)).collect()
        }
        // A byte other than 0 and 1 would be a value that no type check expects later.
        (_, DType::Bool) if data.iter().any(|&byte| byte > 1) => data.iter().map(|&byte| u8::from(byte != 0)).collect(),
        _ => data,
    };
    Tensor::new(dtype, shape, data).map_err(|e| e.to_string())
}

/// The bytes of a typed field, in the layout that `raw_data` would have.
fn typed_data(tensor: &TensorProto, (dtype, packing): (DType, Packing), elements: usize) -> Result<Bytes, String> {
    fn bytes<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Bytes {
        values.flatten().collect()
    }
    let ints = &tensor.int32_data;
    let (field, found, data) = match dtype {
        DType::F32 => ("float_data", tensor.float_data.len(), bytes(tensor.float_data.iter().map(|x| x.to_le_bytes()))),
        DType::F64 => {
            ("double_data", tensor.double_data.len(), bytes(tensor.double_data.iter().map(|x| x.to_le_bytes())))
        }
        DType::I64 => ("int64_data", tensor.int64_data.len(), bytes(tensor.int64_data.iter().map(|x| x.to_le_bytes()))),
        DType::U64 => {
            ("uint64_data", tensor.uint64_data.len(), bytes(tensor.uint64_data.iter().map(|x| x.to_le_bytes())))
        }
        DType::U32 => {
            let data = bytes(tensor.uint64_data.iter().map(|&x| (x as u32).to_le_bytes()));
            ("uint64_data", tensor.uint64_data.len(), data)
        }
        _ => {
            // The low bytes of the integer hold the element's bits, also for 16- and 8-bit floats.
            let data = match dtype.bytes() {
                4 => bytes(ints.iter().map(|x| x.to_le_bytes())),
                2 => bytes(ints.iter().map(|&x| (x as u16).to_le_bytes())),
                _ => bytes(ints.iter().map(|&x| [x as u8])),
            };
            ("int32_data", ints.len(), data)
        }
    };
    let expected = if packing == Packing::Whole { elements } else { elements.div_ceil(2) };
    if found != expected {
        return Err(format!("`{field}` has {found} elements, but the shape {:?} needs {expected}", tensor.dims));
    }
    Ok(data)
}

/// One element per byte from two per byte, the first in the low half.
fn unpack_nibbles(packed: &Bytes, elements: usize) -> Bytes {
    packed.iter().flat_map(|&byte| [byte & 15, byte >> 4]).take(elements).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read_alone(tensor: &TensorProto) -> Result<Tensor, String> {
        read(tensor, &mut ExternalFiles::beside(Path::new("model.onnx")))
    }

    fn of(data_type: DataType, dims: &[i64]) -> TensorProto {
        TensorProto { data_type: Some(data_type as i32), dims: dims.to_vec(), ..TensorProto::default() }
    }

    #[test]
    fn each_field_carries_its_types() {
        let f32s = TensorProto { float_data: vec![1.5, -2.0], ..of(DataType::Float, &[2]) };
        assert_eq!(read_alone(&f32s).map(|t| t.to_vec::<f32>()), Ok(vec![1.5, -2.0]));
        let f16s = TensorProto { int32_data: vec![0x3c00, 0xc000], ..of(DataType::Float16, &[2, 1]) };
        assert_eq!(read_alone(&f16s).map(|t| t.to_vec::<f32>()), Ok(vec![1.0, -2.0]));
        let i8s = TensorProto { int32_data: vec![-1, 7], ..of(DataType::Int8, &[2]) };
        assert_eq!(read_alone(&i8s).map(|t| t.to_vec::<i8>()), Ok(vec![-1, 7]));
        let u32s = TensorProto { uint64_data: vec![u64::from(u32::MAX)], ..of(DataType::Uint32, &[]) };
        assert_eq!(read_alone(&u32s).map(|t| t.to_vec::<u32>()), Ok(vec![u32::MAX]));
        let nibbles = TensorProto { raw_data: Some(vec![0x52, 0x01].into()), ..of(DataType::Float4e2m1, &[3]) };
        assert_eq!(read_alone(&nibbles).map(|t| t.to_vec::<f32>()), Ok(vec![1.0, 3.0, 0.5]));
        let signed = TensorProto { raw_data: Some(vec![0x7f, 0x08].into()), ..of(DataType::Int4, &[3]) };
        assert_eq!(read_alone(&signed).map(|t| t.to_vec::<i8>()), Ok(vec![-1, 7, -8]));
        let unsigned = TensorProto { int32_data: vec![0x7f, 0x08], ..of(DataType::Uint4, &[3]) };
        assert_eq!(read_alone(&unsigned).map(|t| t.to_vec::<u8>()), Ok(vec![15, 7, 8]));
        let bools = TensorProto { raw_data: Some(vec![0, 255].into()), ..of(DataType::Bool, &[2]) };
        assert_eq!(read_alone(&bools).map(|t| t.bytes().to_vec()), Ok(vec![0, 1]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let huge = of(DataType::Float, &[i64::MAX, i64::MAX]);
        assert!(read_alone(&huge).expect_err("too large").contains("too large to address"));
        let claims = of(DataType::Float, &[1 << 40]);
        assert!(read_alone(&claims).expect_err("too little data").contains("`float_data` has 0 elements"));
        let negative = of(DataType::Float, &[-1]);
        assert!(read_alone(&negative).expect_err("negative").contains("dims are [-1]"));
        let text = of(DataType::String, &[]);
        assert!(read_alone(&text).expect_err("unsupported").contains("`string` is not supported"));
        let raw = TensorProto { raw_data: Some(vec![0; 3].into()), ..of(DataType::Int32, &[1]) };
        assert!(read_alone(&raw).expect_err("too short").contains("has 3 bytes, expected 4"));
    }
}
