//! The 128 bytes of a tensor map in memory, and `tensormap.replace` on them.
//!
//! The hardware's encoding is not published and a program may not look at it, so this one is our own. It has one duty: a
//! program that zeroes 128 bytes and then replaces every field holds a valid map. Sizes and steps are therefore stored less
//! one, and zero is the first entry of every enumeration.
//!
//! | bytes | field |
//! |---|---|
//! | 0-7 | global address |
//! | 8-27 | dimensions less one, 32 bits each |
//! | 28-67 | strides of dimensions 1 to 4, 64 bits each, and 8 bytes unused |
//! | 68-72 | box dimensions less one |
//! | 73-77 | element strides less one |
//! | 78-83 | element type (immediate of `replace`), rank less one, interleave, swizzle mode, swizzle atomicity, fill |
//! | 84 | mode: 0 tiled, 1 im2col, 2 im2col along W |
//! | 85 | bit i: a program replaced dimension i by 0 |
//! | 86-91, 92-97 | lower and upper corner, 16 bits each |
//! | 98-101 | channels per pixel less one, pixels per column less one, 16 bits each |
//! | 102-127 | zero |

use super::{
    Invalid,
    map::{DataType, Fill, Interleave, MAX_RANK, Mode, Swizzle, TensorMap},
};

/// Size of a tensor map in memory.
pub const SIZE: usize = 128;
/// Alignment of the address that an instruction takes a tensor map from.
pub const ALIGNMENT: u64 = 64;

const DIMS: usize = 8;
const STRIDES: usize = 28;
const BOX_DIMS: usize = 68;
const ELEMENT_STRIDES: usize = 73;
const DATA_TYPE: usize = 78;
const RANK: usize = 79;
const INTERLEAVE: usize = 80;
const SWIZZLE_MODE: usize = 81;
const SWIZZLE_ATOMICITY: usize = 82;
const FILL: usize = 83;
const MODE: usize = 84;
const ZERO_DIMS: usize = 85;
const LOWER: usize = 86;
const UPPER: usize = 92;
const CHANNELS: usize = 98;
const PIXELS: usize = 100;
const END: usize = 102;

/// A field that `tensormap.replace` can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `.global_address`.
    GlobalAddress,
    /// `.rank`; its value is the rank less one.
    Rank,
    /// `.box_dim`.
    BoxDim,
    /// `.global_dim`.
    GlobalDim,
    /// `.global_stride`, in bytes: Triton and NVIDIA's own kernels pass byte strides from PTX 8.3 on.
    GlobalStride,
    /// `.element_stride`.
    ElementStride,
    /// `.elemtype`; an immediate, not the number of the driver's enumeration.
    ElementType,
    /// `.interleave_layout`.
    InterleaveLayout,
    /// `.swizzle_mode`.
    SwizzleMode,
    /// `.swizzle_atomicity`.
    SwizzleAtomicity,
    /// `.fill_mode`.
    FillMode,
}

impl Field {
    /// The name of the modifier, without its dot.
    pub fn name(self) -> &'static str {
        match self {
            Self::GlobalAddress => "global_address",
            Self::Rank => "rank",
            Self::BoxDim => "box_dim",
            Self::GlobalDim => "global_dim",
            Self::GlobalStride => "global_stride",
            Self::ElementStride => "element_stride",
            Self::ElementType => "elemtype",
            Self::InterleaveLayout => "interleave_layout",
            Self::SwizzleMode => "swizzle_mode",
            Self::SwizzleAtomicity => "swizzle_atomicity",
            Self::FillMode => "fill_mode",
        }
    }

    /// Values of the ordinal: 0 up to this, exclusive. `None` for fields that have none.
    pub fn ordinals(self) -> Option<usize> {
        match self {
            Self::BoxDim | Self::GlobalDim | Self::ElementStride => Some(MAX_RANK),
            Self::GlobalStride => Some(MAX_RANK - 1),
            _ => None,
        }
    }
}

fn swizzle_numbers(swizzle: Swizzle) -> (u8, u8) {
    match swizzle {
        Swizzle::None => (0, 0),
        Swizzle::Span32 => (1, 0),
        Swizzle::Span64 => (2, 0),
        Swizzle::Span96 => (4, 0),
        Swizzle::Span128 => (3, 0),
        Swizzle::Span128Atom32 => (3, 1),
        Swizzle::Span128Atom32Flip8 => (3, 2),
        Swizzle::Span128Atom64 => (3, 3),
    }
}

impl TensorMap {
    /// The map as a program holds it in memory.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        for axis in 0..MAX_RANK {
            // A dimension of 2^32 less one fits; one of 0 is a bit of its own.
            let dim = self.dims[axis];
            put_u32(&mut bytes, DIMS + 4 * axis, dim.wrapping_sub(1) as u32);
            bytes[ZERO_DIMS] |= u8::from(dim == 0) << axis;
            bytes[ELEMENT_STRIDES + axis] = self.element_strides[axis].wrapping_sub(1) as u8;
        }
        for (axis, stride) in self.strides.iter().enumerate() {
            bytes[STRIDES + 8 * axis..][..8].copy_from_slice(&stride.to_le_bytes());
        }
        bytes[DATA_TYPE] = self.data_type.replace_number() as u8;
        bytes[RANK] = self.rank.wrapping_sub(1) as u8;
        bytes[INTERLEAVE] = self.interleave as u8;
        (bytes[SWIZZLE_MODE], bytes[SWIZZLE_ATOMICITY]) = swizzle_numbers(self.swizzle);
        bytes[FILL] = self.fill as u8;
        match self.mode {
            Mode::Tiled { box_dims } => {
                for axis in 0..MAX_RANK {
                    bytes[BOX_DIMS + axis] = box_dims[axis].wrapping_sub(1) as u8;
                }
            }
            Mode::Im2col { lower, upper, channels_per_pixel, pixels_per_column } => {
                bytes[MODE] = 1;
                for axis in 0..3 {
                    put_u16(&mut bytes, LOWER + 2 * axis, lower[axis] as u16);
                    put_u16(&mut bytes, UPPER + 2 * axis, upper[axis] as u16);
                }
                put_u16(&mut bytes, CHANNELS, channels_per_pixel.wrapping_sub(1) as u16);
                put_u16(&mut bytes, PIXELS, pixels_per_column.wrapping_sub(1) as u16);
            }
            Mode::Im2colWide { lower, upper, channels_per_pixel, pixels_per_column } => {
                bytes[MODE] = 2;
                put_u16(&mut bytes, LOWER, lower as u16);
                put_u16(&mut bytes, UPPER, upper as u16);
                put_u16(&mut bytes, CHANNELS, channels_per_pixel.wrapping_sub(1) as u16);
                put_u16(&mut bytes, PIXELS, pixels_per_column.wrapping_sub(1) as u16);
            }
        }
        bytes
    }

    /// The map that `bytes` hold. An error when no map encodes so: the bytes were never a tensor map.
    ///
    /// Limits are not checked here: a program may build a map field by field, see [`TensorMap::check`].
    pub fn from_bytes(bytes: &[u8; SIZE]) -> Result<Self, Invalid> {
        let unknown = |field: &str, at: usize| Invalid::new(field, bytes[at], "a value that tensor maps have");
        if bytes[END..].iter().any(|&byte| byte != 0) {
            return Err(Invalid::new("bytes", "other data", "a tensor map"));
        }
        let rank = usize::from(bytes[RANK]) + 1;
        if rank > MAX_RANK {
            return Err(unknown("rank", RANK));
        }
        let swizzle = match (bytes[SWIZZLE_MODE], bytes[SWIZZLE_ATOMICITY]) {
            (0, 0) => Swizzle::None,
            (1, 0) => Swizzle::Span32,
            (2, 0) => Swizzle::Span64,
            (3, 0) => Swizzle::Span128,
            (3, 1) => Swizzle::Span128Atom32,
            (3, 2) => Swizzle::Span128Atom32Flip8,
            (3, 3) => Swizzle::Span128Atom64,
            (4, 0) => Swizzle::Span96,
            (0..=4, _) => return Err(Invalid::new("swizzle_atomicity", bytes[SWIZZLE_ATOMICITY], "0 (16 bytes) here")),
            _ => return Err(unknown("swizzle_mode", SWIZZLE_MODE)),
        };
        let corner = |at: usize| i32::from(i16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let one_more = |at: usize| u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])) + 1;
        let mode = match bytes[MODE] {
            0 => Mode::Tiled { box_dims: std::array::from_fn(|axis| u32::from(bytes[BOX_DIMS + axis]) + 1) },
            1 => Mode::Im2col {
                lower: std::array::from_fn(|axis| corner(LOWER + 2 * axis)),
                upper: std::array::from_fn(|axis| corner(UPPER + 2 * axis)),
                channels_per_pixel: one_more(CHANNELS),
                pixels_per_column: one_more(PIXELS),
            },
            2 => Mode::Im2colWide {
                lower: corner(LOWER),
                upper: corner(UPPER),
                channels_per_pixel: one_more(CHANNELS),
                pixels_per_column: one_more(PIXELS),
            },
            _ => return Err(unknown("mode", MODE)),
        };
        Ok(Self {
            data_type: DataType::from_replace(u32::from(bytes[DATA_TYPE])).ok_or(unknown("elemtype", DATA_TYPE))?,
            rank,
            address: get_u64(bytes, 0),
            dims: std::array::from_fn(|axis| match bytes[ZERO_DIMS] >> axis & 1 {
                0 => u64::from(get_u32(bytes, DIMS + 4 * axis)) + 1,
                _ => 0,
            }),
            strides: std::array::from_fn(|axis| get_u64(bytes, STRIDES + 8 * axis)),
            element_strides: std::array::from_fn(|axis| u32::from(bytes[ELEMENT_STRIDES + axis]) + 1),
            interleave: match bytes[INTERLEAVE] {
                0 => Interleave::None,
                1 => Interleave::Bytes16,
                2 => Interleave::Bytes32,
                _ => return Err(unknown("interleave_layout", INTERLEAVE)),
            },
            swizzle,
            fill: match bytes[FILL] {
                0 => Fill::Zeros,
                1 => Fill::Nan,
                _ => return Err(unknown("fill_mode", FILL)),
            },
            mode,
        })
    }
}

/// `tensormap.replace.tile.FIELD`: writes one field of the map that `bytes` hold.
///
/// Values are those of the instruction: sizes and steps as they are, the rank less one, strides in bytes, enumerations by
/// their immediates. An error when the field cannot hold the value; `bytes` are then unchanged.
pub fn replace(bytes: &mut [u8; SIZE], field: Field, ordinal: usize, value: u64) -> Result<(), Invalid> {
    if ordinal >= field.ordinals().unwrap_or(1) {
        let expected = format!("below {}", field.ordinals().unwrap_or(1));
        return Err(Invalid::new(format!("{}: ordinal", field.name()), ordinal, expected));
    }
    // Lowest and highest value of the field, and the byte of fields that have one.
    let (low, high, at) = match field {
        Field::GlobalAddress | Field::GlobalStride => (0, u64::MAX, 0),
        Field::GlobalDim => (0, u64::from(u32::MAX), 0),
        Field::Rank => (0, MAX_RANK as u64 - 1, RANK),
        Field::BoxDim => (1, 256, BOX_DIMS),
        Field::ElementStride => (1, 8, ELEMENT_STRIDES),
        Field::ElementType => (0, 15, DATA_TYPE),
        Field::InterleaveLayout => (0, 2, INTERLEAVE),
        Field::SwizzleMode => (0, 4, SWIZZLE_MODE),
        Field::SwizzleAtomicity => (0, 3, SWIZZLE_ATOMICITY),
        Field::FillMode => (0, 1, FILL),
    };
    if !(low..=high).contains(&value) {
        let name = match field.ordinals() {
            Some(_) => format!("{}[{ordinal}]", field.name()),
            None => field.name().to_string(),
        };
        return Err(Invalid::new(name, value, format!("{low} to {high}")));
    }
    match field {
        Field::GlobalAddress => bytes[..8].copy_from_slice(&value.to_le_bytes()),
        Field::GlobalStride => bytes[STRIDES + 8 * ordinal..][..8].copy_from_slice(&value.to_le_bytes()),
        Field::GlobalDim => {
            put_u32(bytes, DIMS + 4 * ordinal, (value as u32).wrapping_sub(1));
            bytes[ZERO_DIMS] = bytes[ZERO_DIMS] & !(1 << ordinal) | u8::from(value == 0) << ordinal;
        }
        Field::BoxDim | Field::ElementStride => bytes[at + ordinal] = (value - 1) as u8,
        _ => bytes[at] = value as u8,
    }
    Ok(())
}

fn put_u32(bytes: &mut [u8; SIZE], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u16(bytes: &mut [u8; SIZE], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn get_u32(bytes: &[u8; SIZE], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

fn get_u64(bytes: &[u8; SIZE], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_map::encode::{Tensor, Traversal, encode_tiled};
    use proptest::prelude::*;

    #[test]
    fn zeroed_bytes_with_every_field_replaced_are_the_hosts_map() {
        let tensor = Tensor { data_type: DataType::Bf16, address: 0x7000, dims: &[4096, 8192], strides: &[8192] };
        let traversal = Traversal {
            element_strides: &[1, 1],
            interleave: Interleave::None,
            swizzle: Swizzle::Span128,
            fill: Fill::Zeros,
        };
        let host = encode_tiled(&tensor, &[64, 128], &traversal).expect("a valid map");
        let mut bytes = [0; SIZE];
        for (field, ordinal, value) in [
            (Field::GlobalAddress, 0, 0x7000),
            (Field::Rank, 0, 1),
            (Field::BoxDim, 0, 64),
            (Field::BoxDim, 1, 128),
            (Field::GlobalDim, 0, 4096),
            (Field::GlobalDim, 1, 8192),
            (Field::GlobalStride, 0, 8192),
            (Field::ElementStride, 0, 1),
            (Field::ElementStride, 1, 1),
            (Field::ElementType, 0, 0xa),
            (Field::InterleaveLayout, 0, 0),
            (Field::SwizzleMode, 0, 3),
            (Field::FillMode, 0, 0),
        ] {
            replace(&mut bytes, field, ordinal, value).expect("a value that the field can hold");
        }
        let device = TensorMap::from_bytes(&bytes).expect("a map");
        assert_eq!(device, host);
        assert!(device.check().is_ok());
    }

    #[test]
    fn values_that_a_field_cannot_hold_are_named() {
        let mut bytes = [0; SIZE];
        let mut message = |field, ordinal, value| replace(&mut bytes, field, ordinal, value).unwrap_err().to_string();
        let messages = [
            message(Field::Rank, 0, 5),
            message(Field::BoxDim, 1, 257),
            message(Field::BoxDim, 5, 1),
            message(Field::GlobalStride, 4, 16),
            message(Field::ElementStride, 0, 0),
            message(Field::ElementType, 0, 16),
            message(Field::SwizzleMode, 0, 5),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r"
        tensor map: `rank` is 5, expected 0 to 4
        tensor map: `box_dim[1]` is 257, expected 1 to 256
        tensor map: `box_dim: ordinal` is 5, expected below 5
        tensor map: `global_stride: ordinal` is 4, expected below 4
        tensor map: `element_stride[0]` is 0, expected 1 to 8
        tensor map: `elemtype` is 16, expected 0 to 15
        tensor map: `swizzle_mode` is 5, expected 0 to 4
        ");
    }

    #[test]
    fn a_dimension_replaced_by_zero_is_kept_and_refused_when_used() {
        let mut bytes = [0; SIZE];
        replace(&mut bytes, Field::GlobalDim, 0, 0).expect("zero can be written");
        let map = TensorMap::from_bytes(&bytes).expect("a map");
        assert_eq!(map.dims[0], 0);
        assert!(map.check().is_err());
        replace(&mut bytes, Field::GlobalDim, 0, 16).expect("16 can be written");
        assert_eq!(TensorMap::from_bytes(&bytes).expect("a map").dims[0], 16);
    }

    #[test]
    fn an_atomicity_needs_the_128_byte_mode() {
        let mut bytes = [0; SIZE];
        replace(&mut bytes, Field::SwizzleAtomicity, 0, 1).expect("1 can be written");
        insta::assert_snapshot!(TensorMap::from_bytes(&bytes).unwrap_err(), @"tensor map: `swizzle_atomicity` is 1, expected 0 (16 bytes) here");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_map_or_an_error(bytes in prop::array::uniform32(any::<[u8; 4]>())) {
            let bytes: [u8; SIZE] = std::array::from_fn(|at| bytes[at / 4][at % 4]);
            if let Ok(map) = TensorMap::from_bytes(&bytes) {
                let _ = map.check();
            }
        }

        #[test]
        fn bytes_hold_every_map(map in crate::tensor_map::model::maps()) {
            prop_assert_eq!(TensorMap::from_bytes(&map.to_bytes()), Ok(map));
        }
    }
}
