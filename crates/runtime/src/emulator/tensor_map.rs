//! An artifact's tensor maps in the form that emulated copies read.

use gable_artifact::tensor_map::{Fill, MapElement, Swizzle, TensorMap};
use gable_emulator::tensor_map::{encode, map};

/// The 128 bytes of a kernel parameter that holds `of`, for a tensor at `address`.
pub fn encode_tensor_map(of: &TensorMap, address: u64) -> Result<Vec<u8>, String> {
    let data_type = match of.element {
        MapElement::U8 => map::DataType::U8,
        MapElement::U16 => map::DataType::U16,
        MapElement::U32 => map::DataType::U32,
        MapElement::S32 => map::DataType::S32,
        MapElement::F16 => map::DataType::F16,
        MapElement::Bf16 => map::DataType::Bf16,
        MapElement::F32 => map::DataType::F32,
        MapElement::Tf32 => map::DataType::Tf32,
        MapElement::B4 => map::DataType::B4x16,
        MapElement::B4Padded => map::DataType::B4x16P64,
        MapElement::B6Padded => map::DataType::B6x16P32,
    };
    let swizzle = match of.swizzle {
        Swizzle::None => map::Swizzle::None,
        Swizzle::Bytes32 => map::Swizzle::Span32,
        Swizzle::Bytes64 => map::Swizzle::Span64,
        Swizzle::Bytes128 => map::Swizzle::Span128,
        Swizzle::Bytes128Atom32 => map::Swizzle::Span128Atom32,
        Swizzle::Bytes128Atom32Flip8 => map::Swizzle::Span128Atom32Flip8,
        Swizzle::Bytes128Atom64 => map::Swizzle::Span128Atom64,
    };
    let fill = match of.fill {
        Fill::Zeros => map::Fill::Zeros,
        Fill::Nan => map::Fill::Nan,
    };
    let tensor = encode::Tensor { data_type, address, dims: &of.dims, strides: &of.strides };
    let traversal = encode::Traversal {
        element_strides: &vec![1; of.dims.len()],
        interleave: map::Interleave::None,
        swizzle,
        fill,
    };
    let encoded = encode::encode_tiled(&tensor, &of.box_dims, &traversal).map_err(|error| error.to_string())?;
    Ok(encoded.to_bytes().to_vec())
}
