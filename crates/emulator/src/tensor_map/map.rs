//! What a tensor map says: the tensor, the box, the order in shared memory, and what lies outside.
//!
//! Names and limits follow the driver's `cuTensorMapEncode*` and PTX ISA section 5.5 (tensors).

/// Dimensions that a tensor map can have.
pub const MAX_RANK: usize = 5;

/// One of the element types of a tensor map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 8 bits of any meaning.
    U8,
    /// 16 bits, unsigned.
    U16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    S32,
    /// 64 bits, unsigned.
    U64,
    /// 64 bits, signed.
    S64,
    /// IEEE half precision.
    F16,
    /// IEEE single precision, moved unchanged.
    F32,
    /// IEEE single precision; denormals were not flushed by a load on an H200.
    F32Ftz,
    /// IEEE double precision.
    F64,
    /// Brain float.
    Bf16,
    /// Single precision, rounded to 10 fraction bits by a load.
    Tf32,
    /// As `Tf32`.
    Tf32Ftz,
    /// Sixteen 4-bit elements in 8 bytes, packed in both memories.
    B4x16,
    /// Sixteen 4-bit elements: 8 bytes in global memory, 8 bytes and 8 bytes of padding in shared memory.
    B4x16P64,
    /// Sixteen 6-bit elements: 12 bytes in global memory; 12 bytes and 4 of padding in shared memory after a load, and one byte
    /// per element in shared memory before a store.
    B6x16P32,
}

/// Row of [`DATA_TYPES`]: the type, its number for the driver, its immediate in `tensormap.replace`, its name, bits.
struct DataTypeRow(DataType, u32, u32, &'static str, u32);

/// The types with the driver's enum (`CUtensorMapDataType`) and the immediate of `tensormap.replace.elemtype` (PTX ISA table
/// "tensormap new_val validity"): the two differ for `f64`, `bf16` and `f32.ftz`.
const DATA_TYPES: [DataTypeRow; 16] = [
    DataTypeRow(DataType::U8, 0, 0, "u8", 8),
    DataTypeRow(DataType::U16, 1, 1, "u16", 16),
    DataTypeRow(DataType::U32, 2, 2, "u32", 32),
    DataTypeRow(DataType::S32, 3, 3, "i32", 32),
    DataTypeRow(DataType::U64, 4, 4, "u64", 64),
    DataTypeRow(DataType::S64, 5, 5, "i64", 64),
    DataTypeRow(DataType::F16, 6, 6, "f16", 16),
    DataTypeRow(DataType::F32, 7, 7, "f32", 32),
    DataTypeRow(DataType::F64, 8, 9, "f64", 64),
    DataTypeRow(DataType::Bf16, 9, 10, "bf16", 16),
    DataTypeRow(DataType::F32Ftz, 10, 8, "f32_ftz", 32),
    DataTypeRow(DataType::Tf32, 11, 11, "tf32", 32),
    DataTypeRow(DataType::Tf32Ftz, 12, 12, "tf32_ftz", 32),
    DataTypeRow(DataType::B4x16, 13, 13, "16u4_align8b", 4),
    DataTypeRow(DataType::B4x16P64, 14, 14, "16u4_align16b", 4),
    DataTypeRow(DataType::B6x16P32, 15, 15, "16u6_align16b", 6),
];

impl DataType {
    /// All of them, in the driver's order.
    pub fn all() -> impl Iterator<Item = Self> {
        DATA_TYPES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static DataTypeRow {
        DATA_TYPES.iter().find(|row| row.0 == self).expect("the table has a row for every type")
    }

    /// The type with this number in the driver's `CUtensorMapDataType`.
    pub fn from_driver(number: u32) -> Option<Self> {
        DATA_TYPES.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The type with this immediate in `tensormap.replace.elemtype`.
    pub fn from_replace(number: u32) -> Option<Self> {
        DATA_TYPES.iter().find(|row| row.2 == number).map(|row| row.0)
    }

    /// The type with this name: the driver's, in lower case, without its prefix.
    pub fn from_name(name: &str) -> Option<Self> {
        DATA_TYPES.iter().find(|row| row.3 == name).map(|row| row.0)
    }

    /// The immediate of `tensormap.replace.elemtype`.
    pub fn replace_number(self) -> u32 {
        self.row().2
    }

    /// The driver's name, in lower case, without its prefix.
    pub fn name(self) -> &'static str {
        self.row().3
    }

    /// Bits of one element in global memory.
    pub fn bits(self) -> u32 {
        self.row().4
    }

    /// Bytes in global memory of `count` elements; whole bytes for every count that a valid map allows.
    pub fn bytes(self, count: u64) -> u64 {
        count.saturating_mul(u64::from(self.bits())) / 8
    }

    /// Elements smaller than a byte.
    pub fn is_packed(self) -> bool {
        self.bits() < 8
    }

    /// Packed elements that shared memory holds with padding, in units of 16 bytes for 16 elements.
    pub fn is_padded(self) -> bool {
        matches!(self, Self::B4x16P64 | Self::B6x16P32)
    }

    /// Types for which the driver allows NaN as filling.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F32Ftz | Self::F64 | Self::Bf16 | Self::Tf32 | Self::Tf32Ftz)
    }
}

/// Layouts that group channels into slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interleave {
    /// Channels are one dense dimension.
    #[default]
    None,
    /// Slices of 16 bytes of channels (NC/8HWC8 with 2-byte channels).
    Bytes16,
    /// Slices of 32 bytes of channels.
    Bytes32,
}

/// How the 16-byte chunks of a tile are permuted in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// Not at all.
    #[default]
    None,
    /// 16-byte chunks within 32 bytes.
    Span32,
    /// 16-byte chunks within 64 bytes.
    Span64,
    /// 16-byte chunks within 96 bytes (sm_103a; only through `tensormap.replace`).
    Span96,
    /// 16-byte chunks within 128 bytes.
    Span128,
    /// 32-byte chunks within 128 bytes (Blackwell).
    Span128Atom32,
    /// 32-byte chunks within 128 bytes, the two halves of every 16 bytes exchanged in odd lines (Blackwell).
    Span128Atom32Flip8,
    /// 64-byte chunks within 128 bytes (Blackwell).
    Span128Atom64,
}

impl Swizzle {
    /// The swizzle with this number in the driver's `CUtensorMapSwizzle`.
    pub fn from_driver(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Span32,
            2 => Self::Span64,
            3 => Self::Span128,
            4 => Self::Span128Atom32,
            5 => Self::Span128Atom32Flip8,
            6 => Self::Span128Atom64,
            _ => return None,
        })
    }

    /// The widest inner dimension of a box, in bytes; `None` without swizzle.
    pub fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Span32 => Some(32),
            Self::Span64 => Some(64),
            Self::Span96 => Some(96),
            Self::Span128 | Self::Span128Atom32 | Self::Span128Atom32Flip8 | Self::Span128Atom64 => Some(128),
        }
    }

    /// Modes that `sm_90` does not have.
    pub fn needs_blackwell(self) -> bool {
        matches!(self, Self::Span96 | Self::Span128Atom32 | Self::Span128Atom32Flip8 | Self::Span128Atom64)
    }
}

/// What a load writes for elements outside the tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fill {
    /// Zeros.
    #[default]
    Zeros,
    /// A special NaN.
    Nan,
}

/// What is moved around the coordinates of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A box with as many dimensions as the tensor.
    Tiled {
        /// Elements traversed along each dimension, innermost first.
        box_dims: [u32; MAX_RANK],
    },
    /// Pixels along a walk through the bounding box of convolution bases.
    Im2col {
        /// Lower corner of the bounding box for W, H, D: offsets from the tensor's first element.
        lower: [i32; 3],
        /// Upper corner for W, H, D: offsets from the tensor's end; exclusive.
        upper: [i32; 3],
        /// Elements of dimension 0 per pixel.
        channels_per_pixel: u32,
        /// Pixels.
        pixels_per_column: u32,
    },
    /// Pixels along W alone (`im2col::w`, `im2col::w::128`).
    Im2colWide {
        /// Lower corner of the bounding box along W.
        lower: i32,
        /// Upper corner along W; exclusive.
        upper: i32,
        /// Elements of dimension 0 per pixel.
        channels_per_pixel: u32,
        /// Pixels without halo; `im2col::w::128` ignores it.
        pixels_per_column: u32,
    },
}

/// A decoded tensor map.
///
/// Arrays have their dimensions innermost first; entries from `rank` on mean nothing. Bytes count as in global memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorMap {
    /// Type of an element.
    pub data_type: DataType,
    /// Dimensions, 1 to 5.
    pub rank: usize,
    /// Global address of element 0.
    pub address: u64,
    /// Elements along each dimension, 1 to 2^32; 0 only where a program replaced one by 0, which no copy may use.
    pub dims: [u64; MAX_RANK],
    /// Bytes from one element to the next along dimensions 1 to 4; dimension 0 is dense.
    pub strides: [u64; MAX_RANK - 1],
    /// Steps through the tensor along each dimension, 1 to 8; without interleave that of dimension 0 is not used (measured).
    pub element_strides: [u32; MAX_RANK],
    /// Slices of channels.
    pub interleave: Interleave,
    /// Permutation in shared memory.
    pub swizzle: Swizzle,
    /// What lies outside.
    pub fill: Fill,
    /// What is moved.
    pub mode: Mode,
}

impl TensorMap {
    /// Elements of dimension 0 in one row of the box: `boxDim[0]` or the channels per pixel.
    pub fn inner(&self) -> u32 {
        match self.mode {
            Mode::Tiled { box_dims } => box_dims[0],
            Mode::Im2col { channels_per_pixel, .. } | Mode::Im2colWide { channels_per_pixel, .. } => channels_per_pixel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_types_differ_between_driver_and_replace_in_three_rows() {
        let differing: Vec<_> = DATA_TYPES.iter().filter(|row| row.1 != row.2).map(|row| row.0).collect();
        assert_eq!(differing, [DataType::F64, DataType::Bf16, DataType::F32Ftz]);
        for data_type in DataType::all() {
            assert_eq!(DataType::from_replace(data_type.replace_number()), Some(data_type));
            assert_eq!(DataType::from_name(data_type.name()), Some(data_type));
        }
        assert_eq!(DataType::from_replace(8), Some(DataType::F32Ftz));
        assert_eq!(DataType::from_driver(16), None);
    }
}
