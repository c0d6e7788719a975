//! An artifact's tensor maps, encoded by the driver for an address.

#![expect(unsafe_code, reason = "calls the CUDA driver")]

use super::driver::check;
use crate::error::CudaError;
use cudarc::driver::sys::{
    self, CUdeviceptr, CUtensorMap, CUtensorMapDataType as Type, CUtensorMapFloatOOBfill as OutOfBounds,
    CUtensorMapInterleave as Interleave, CUtensorMapL2promotion as Promotion, CUtensorMapSwizzle as Permutation,
};
use gable_artifact::tensor_map::{Fill, L2Promotion, MAX_RANK, MapElement, Swizzle, TensorMap};

/// Encodes a map that has passed its check for a tensor at `address`. The driver's form is plain data: it needs no context
/// and refers to nothing but the address.
pub fn encode(map: &TensorMap, address: CUdeviceptr) -> Result<CUtensorMap, CudaError> {
    let data_type = match map.element {
        MapElement::U8 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        MapElement::U16 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT16,
        MapElement::U32 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT32,
        MapElement::S32 => Type::CU_TENSOR_MAP_DATA_TYPE_INT32,
        MapElement::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        MapElement::Bf16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        MapElement::F32 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        MapElement::Tf32 => Type::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        MapElement::B4 => Type::CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN8B,
        MapElement::B4Padded => Type::CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B,
        MapElement::B6Padded => Type::CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B,
    };
    let swizzle = match map.swizzle {
        Swizzle::None => Permutation::CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::Bytes32 => Permutation::CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::Bytes64 => Permutation::CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::Bytes128 => Permutation::CU_TENSOR_MAP_SWIZZLE_128B,
        Swizzle::Bytes128Atom32 => Permutation::CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B,
        Swizzle::Bytes128Atom32Flip8 => Permutation::CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B_FLIP_8B,
        Swizzle::Bytes128Atom64 => Permutation::CU_TENSOR_MAP_SWIZZLE_128B_ATOM_64B,
    };
    let promotion = match map.l2_promotion {
        L2Promotion::None => Promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE,
        L2Promotion::Bytes64 => Promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
        L2Promotion::Bytes128 => Promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        L2Promotion::Bytes256 => Promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
    };
    let fill = match map.fill {
        Fill::Zeros => OutOfBounds::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        Fill::Nan => OutOfBounds::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA,
    };
    let element_strides = [1u32; MAX_RANK];
    let mut encoded = CUtensorMap { opaque: [0; 16] };
    // SAFETY: The map's check has seen to it that `dims` and `box_dims` have as many entries as the rank, at most
    // `MAX_RANK`, and `strides` one fewer. The address is a number here: nothing is read from it.
    let result = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut encoded,
            data_type,
            map.dims.len() as u32,
            std::ptr::without_provenance_mut(address as usize),
            map.dims.as_ptr(),
            map.strides.as_ptr(),
            map.box_dims.as_ptr(),
            element_strides.as_ptr(),
            Interleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            promotion,
            fill,
        )
    };
    check("cuTensorMapEncodeTiled", result)
        .map_err(|error| error.during(|| format!("encoding {map:?} for address {address:#x}")))?;
    Ok(encoded)
}
