//! Encoding on the host, with every limit of the driver's `cuTensorMapEncodeTiled`, `cuTensorMapEncodeIm2col` and
//! `cuTensorMapEncodeIm2colWide`, and the check of a map however it was made.
//!
//! Limits are those of the driver interface's reference and PTX ISA sections 5.5 and 9.7.9 (restrictions on tensor copies). Maps at
//! each of them and just over were given to the driver (580, H200); where it differs from the reference, its answer counts.

use super::{
    Invalid,
    map::{DataType, Fill, Interleave, MAX_RANK, Mode, Swizzle, TensorMap},
};

/// Most bytes of a box that are taken: several times any shared memory, since element strides shrink what is loaded.
const BOX_BYTES: u64 = 1 << 20;

/// A tensor in global memory. Dimensions are innermost first.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// Type of an element.
    pub data_type: DataType,
    /// Global address of element 0.
    pub address: u64,
    /// Elements along each dimension; its length is the rank.
    pub dims: &'a [u64],
    /// Bytes from one element to the next along dimensions 1 and up: one entry fewer than `dims`.
    pub strides: &'a [u64],
}

/// How the elements are traversed and laid down.
#[derive(Clone, Debug)]
pub struct Traversal<'a> {
    /// Step along each dimension, 1 to 8.
    pub element_strides: &'a [u32],
    /// Slices of channels.
    pub interleave: Interleave,
    /// Permutation in shared memory.
    pub swizzle: Swizzle,
    /// What lies outside.
    pub fill: Fill,
}

/// A column of pixels.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Elements of dimension 0 per pixel, at most 256.
    pub channels_per_pixel: u32,
    /// Pixels, at most 1024.
    pub pixels_per_column: u32,
}

/// A map of boxes of `box_dims` elements.
pub fn encode_tiled(tensor: &Tensor, box_dims: &[u32], traversal: &Traversal) -> Result<TensorMap, Invalid> {
    let box_dims = fixed("boxDim", box_dims, tensor.dims.len(), 1)?;
    build(tensor, traversal, Mode::Tiled { box_dims })
}

/// A map of columns of pixels through the bounding box between `lower` and `upper`, which are ordered W, H, D.
///
/// The driver's reference says D, H, W; an H200 takes W first (measured for rank 4).
pub fn encode_im2col(
    tensor: &Tensor,
    lower: &[i32],
    upper: &[i32],
    column: Column,
    traversal: &Traversal,
) -> Result<TensorMap, Invalid> {
    let spatial = tensor.dims.len().saturating_sub(2);
    let mode = Mode::Im2col {
        lower: fixed("pixelBoxLowerCorner", lower, spatial, 0)?,
        upper: fixed("pixelBoxUpperCorner", upper, spatial, 0)?,
        channels_per_pixel: column.channels_per_pixel,
        pixels_per_column: column.pixels_per_column,
    };
    build(tensor, traversal, mode)
}

/// A map of columns of pixels along W between `lower` and `upper`.
pub fn encode_im2col_wide(
    tensor: &Tensor,
    lower: i32,
    upper: i32,
    column: Column,
    traversal: &Traversal,
) -> Result<TensorMap, Invalid> {
    let Column { channels_per_pixel, pixels_per_column } = column;
    build(tensor, traversal, Mode::Im2colWide { lower, upper, channels_per_pixel, pixels_per_column })
}

fn build(tensor: &Tensor, traversal: &Traversal, mode: Mode) -> Result<TensorMap, Invalid> {
    let rank = tensor.dims.len();
    let map = TensorMap {
        data_type: tensor.data_type,
        rank,
        address: tensor.address,
        dims: fixed("globalDim", tensor.dims, rank, 1)?,
        strides: fixed("globalStrides", tensor.strides, rank.saturating_sub(1), 0)?,
        element_strides: fixed("elementStrides", traversal.element_strides, rank, 1)?,
        interleave: traversal.interleave,
        swizzle: traversal.swizzle,
        fill: traversal.fill,
        mode,
    };
    map.check()?;
    Ok(map)
}

/// The entries of `values`, of which there must be `count`, with `rest` behind them.
fn fixed<T: Copy, const N: usize>(field: &str, values: &[T], count: usize, rest: T) -> Result<[T; N], Invalid> {
    if values.len() != count || count > N {
        let expected = format!("{} entries", count.min(N));
        return Err(Invalid::new(field, format!("{} entries", values.len()), expected));
    }
    let mut array = [rest; N];
    array[..count].copy_from_slice(values);
    Ok(array)
}

/// `Ok` when `holds`, else the field, what was found and what was expected.
fn require(
    holds: bool,
    field: impl Into<String>,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid::new(field, found, expected)) }
}

impl TensorMap {
    /// Every limit that does not depend on the target.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_tensor()?;
        self.check_layout()?;
        self.check_mode()
    }

    /// Alignment in bytes of the base address and of strides.
    fn global_alignment(&self) -> u64 {
        if self.interleave == Interleave::Bytes32 || self.data_type.is_padded() { 32 } else { 16 }
    }

    fn check_tensor(&self) -> Result<(), Invalid> {
        let tiled = matches!(self.mode, Mode::Tiled { .. });
        let least = if tiled && self.interleave == Interleave::None { 1 } else { 3 };
        require((least..=MAX_RANK).contains(&self.rank), "tensorRank", self.rank, format!("{least} to {MAX_RANK}"))?;
        let alignment = self.global_alignment();
        let found = format!("{:#x}", self.address);
        let expected = format!("a multiple of {alignment}");
        require(self.address.is_multiple_of(alignment), "globalAddress", found, expected)?;
        for (axis, &dim) in self.dims[..self.rank].iter().enumerate() {
            require((1..=1 << 32).contains(&dim), format!("globalDim[{axis}]"), dim, "1 to 2^32")?;
        }
        let multiple = match self.data_type {
            DataType::B4x16P64 | DataType::B6x16P32 => 128,
            DataType::B4x16 => 2,
            _ => 1,
        };
        let expected = format!("a multiple of {multiple} for {}", self.data_type.name());
        require(self.dims[0].is_multiple_of(multiple), "globalDim[0]", self.dims[0], expected)?;
        for (axis, &stride) in self.strides[..self.rank - 1].iter().enumerate() {
            let expected = format!("a multiple of {alignment} below 2^40");
            let holds = stride.is_multiple_of(alignment) && stride < 1 << 40;
            require(holds, format!("globalStrides[{axis}]"), stride, expected)?;
        }
        for (axis, &stride) in self.element_strides[..self.rank].iter().enumerate() {
            // The driver looks at that of dimension 0 too, though nothing steps by it without slices (measured).
            require((1..=8).contains(&stride), format!("elementStrides[{axis}]"), stride, "1 to 8")?;
        }
        Ok(())
    }

    fn check_layout(&self) -> Result<(), Invalid> {
        let data_type = self.data_type.name();
        let nan_fits = self.data_type.is_float() || self.fill == Fill::Zeros;
        require(nan_fits, "oobFill", "NaN", format!("zeros for {data_type}"))?;
        // The reference asks for the 32-byte swizzle where slices have 32 bytes; the driver takes any (measured).
        let inner = self.inner();
        let inner_bytes = self.data_type.bytes(u64::from(inner));
        if let (Some(span), Interleave::None, false) =
            (self.swizzle.span(), self.interleave, self.data_type.is_padded())
        {
            let expected = format!("at most {span} bytes with this swizzle");
            require(inner_bytes <= u64::from(span), "boxDim[0]", format!("{inner_bytes} bytes"), expected)?;
        }
        // The driver's reference says so of maps without slices; it refuses others too (measured).
        let whole = inner_bytes.is_multiple_of(16) && (inner * self.data_type.bits()).is_multiple_of(8);
        require(whole, "boxDim[0]", format!("{inner_bytes} bytes"), "a multiple of 16 bytes")?;
        if self.data_type.is_padded() {
            require(inner == 128, "boxDim[0]", inner, format!("128 for {data_type}"))?;
            let holds = self.interleave == Interleave::None;
            require(holds, "interleave", format!("{:?}", self.interleave), format!("none for {data_type}"))?;
            let holds = matches!(
                self.swizzle,
                Swizzle::None | Swizzle::Span128 | Swizzle::Span128Atom32 | Swizzle::Span128Atom64
            );
            let expected = format!("none or 128 bytes without flip for {data_type}");
            require(holds, "swizzle", format!("{:?}", self.swizzle), expected)?;
        }
        if self.swizzle == Swizzle::Span96 {
            let holds = self.interleave == Interleave::None;
            let expected = "none with the 96-byte swizzle";
            require(holds, "interleave", format!("{:?}", self.interleave), expected)?;
        }
        Ok(())
    }

    fn check_mode(&self) -> Result<(), Invalid> {
        match self.mode {
            Mode::Tiled { box_dims } => {
                for (axis, &size) in box_dims[..self.rank].iter().enumerate() {
                    require((1..=256).contains(&size), format!("boxDim[{axis}]"), size, "1 to 256")?;
                }
                // The driver refuses boxes that no shared memory holds (measured for one of 32 MiB; the bound itself was not).
                let elements: u64 = box_dims[..self.rank].iter().map(|&size| u64::from(size)).product();
                let bytes = self.data_type.bytes(elements);
                require(bytes <= BOX_BYTES, "boxDim", format!("{bytes} bytes"), format!("at most {BOX_BYTES} bytes"))
            }
            Mode::Im2col { lower, upper, channels_per_pixel, pixels_per_column } => {
                let spatial = self.rank - 2;
                for axis in 0..spatial {
                    self.check_corners(axis, lower[axis], upper[axis])?;
                }
                check_column(channels_per_pixel, pixels_per_column)
            }
            Mode::Im2colWide { lower, upper, channels_per_pixel, pixels_per_column } => {
                self.check_corners(0, lower, upper)?;
                let none = self.interleave == Interleave::None;
                require(none, "interleave", format!("{:?}", self.interleave), "none for im2col along W")?;
                let holds = matches!(self.swizzle, Swizzle::Span64 | Swizzle::Span128 | Swizzle::Span128Atom32);
                let expected = "64 or 128 bytes, or 128 bytes of 32-byte atoms, for im2col along W";
                require(holds, "swizzle", format!("{:?}", self.swizzle), expected)?;
                check_column(channels_per_pixel, pixels_per_column)
            }
        }
    }

    fn check_corners(&self, axis: usize, lower: i32, upper: i32) -> Result<(), Invalid> {
        let half = match self.rank {
            3 => 1 << 15,
            4 => 1 << 7,
            _ => 1 << 4,
        };
        let expected = || format!("{} to {} for rank {}", -half, half - 1, self.rank);
        require((-half..half).contains(&lower), format!("pixelBoxLowerCorner[{axis}]"), lower, expected())?;
        require((-half..half).contains(&upper), format!("pixelBoxUpperCorner[{axis}]"), upper, expected())?;
        let end = self.dims[axis + 1] as i64 + i64::from(upper);
        let field = format!("pixelBoxUpperCorner[{axis}]");
        require(i64::from(lower) < end, field, upper, "a bounding box that is not empty")
    }

    /// What the target adds: `capability` is 90, 100, 103, 110, 120 or 121.
    pub fn check_for(&self, capability: u32) -> Result<(), Invalid> {
        let blackwell = capability >= 100;
        let data_type = self.data_type;
        let holds = blackwell || !data_type.is_packed();
        require(holds, "tensorDataType", data_type.name(), "a type of at least 8 bits before sm_100")?;
        let holds = blackwell || !self.swizzle.needs_blackwell();
        let found = format!("{:?}", self.swizzle);
        require(holds, "swizzle", &found, "none, 32, 64 or 128 bytes before sm_100")?;
        let holds = self.swizzle != Swizzle::Span96 || capability == 103;
        require(holds, "swizzle", &found, "another than 96 bytes, which only sm_103a has")?;
        let holds = blackwell || !matches!(self.mode, Mode::Im2colWide { .. });
        require(holds, "mode", "im2col along W", "another before sm_100")
    }
}

fn check_column(channels_per_pixel: u32, pixels_per_column: u32) -> Result<(), Invalid> {
    require((1..=256).contains(&channels_per_pixel), "channelsPerPixel", channels_per_pixel, "1 to 256")?;
    require((1..=1024).contains(&pixels_per_column), "pixelsPerColumn", pixels_per_column, "1 to 1024")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        data_type: DataType,
        address: u64,
        dims: Vec<u64>,
        strides: Vec<u64>,
        box_dims: Vec<u32>,
        element_strides: Vec<u32>,
        interleave: Interleave,
        swizzle: Swizzle,
        fill: Fill,
    }

    impl Case {
        fn encode(&self) -> Result<TensorMap, Invalid> {
            let Self { data_type, address, ref dims, ref strides, .. } = *self;
            let tensor = Tensor { data_type, address, dims, strides };
            let Self { ref element_strides, interleave, swizzle, fill, .. } = *self;
            encode_tiled(&tensor, &self.box_dims, &Traversal { element_strides, interleave, swizzle, fill })
        }
    }

    fn good() -> Case {
        Case {
            data_type: DataType::Bf16,
            address: 0x1000,
            dims: vec![256, 64, 2],
            strides: vec![512, 32768],
            box_dims: vec![64, 64, 1],
            element_strides: vec![1, 1, 1],
            interleave: Interleave::None,
            swizzle: Swizzle::Span128,
            fill: Fill::Nan,
        }
    }

    fn message(change: impl FnOnce(&mut Case)) -> String {
        let mut case = good();
        change(&mut case);
        case.encode().expect_err("the case breaks a limit").to_string()
    }

    #[test]
    fn each_limit_of_tiled_maps_is_named() {
        good().encode().expect("the case breaks no limit");
        let messages = [
            message(|case| case.address += 8),
            message(|case| case.dims[1] = 0),
            message(|case| case.dims[2] = (1 << 32) + 1),
            message(|case| case.strides[0] = 520),
            message(|case| case.strides[1] = 1 << 40),
            message(|case| case.strides.truncate(1)),
            message(|case| case.box_dims[1] = 257),
            message(|case| case.box_dims[1] = 0),
            message(|case| case.box_dims[0] = 65),
            message(|case| {
                case.swizzle = Swizzle::None;
                case.box_dims[0] = 4;
            }),
            message(|case| case.swizzle = Swizzle::Span64),
            message(|case| case.element_strides[2] = 9),
            message(|case| case.data_type = DataType::U16),
            message(|case| {
                case.interleave = Interleave::Bytes16;
                case.dims.truncate(2);
                case.strides.truncate(1);
                case.box_dims.truncate(2);
                case.element_strides.truncate(2);
            }),
            message(|case| {
                case.data_type = DataType::B4x16P64;
                case.fill = Fill::Zeros;
                case.address = 0x1010;
            }),
            message(|case| {
                case.data_type = DataType::B6x16P32;
                case.fill = Fill::Zeros;
            }),
            message(|case| {
                case.dims.extend([1, 1, 1]);
                case.strides.extend([16, 16, 16]);
                case.box_dims.extend([1, 1, 1]);
                case.element_strides.extend([1, 1, 1]);
            }),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r"
        tensor map: `globalAddress` is 0x1008, expected a multiple of 16
        tensor map: `globalDim[1]` is 0, expected 1 to 2^32
        tensor map: `globalDim[2]` is 4294967297, expected 1 to 2^32
        tensor map: `globalStrides[0]` is 520, expected a multiple of 16 below 2^40
        tensor map: `globalStrides[1]` is 1099511627776, expected a multiple of 16 below 2^40
        tensor map: `globalStrides` is 1 entries, expected 2 entries
        tensor map: `boxDim[1]` is 257, expected 1 to 256
        tensor map: `boxDim[1]` is 0, expected 1 to 256
        tensor map: `boxDim[0]` is 130 bytes, expected at most 128 bytes with this swizzle
        tensor map: `boxDim[0]` is 8 bytes, expected a multiple of 16 bytes
        tensor map: `boxDim[0]` is 128 bytes, expected at most 64 bytes with this swizzle
        tensor map: `elementStrides[2]` is 9, expected 1 to 8
        tensor map: `oobFill` is NaN, expected zeros for u16
        tensor map: `tensorRank` is 2, expected 3 to 5
        tensor map: `globalAddress` is 0x1010, expected a multiple of 32
        tensor map: `boxDim[0]` is 64, expected 128 for 16u6_align16b
        tensor map: `boxDim` is 6 entries, expected 5 entries
        ");
    }

    #[test]
    fn targets_before_blackwell_lack_atoms_and_packed_types() {
        let mut case = good();
        case.swizzle = Swizzle::Span128Atom32;
        let map = case.encode().expect("the limits hold");
        assert!(map.check_for(100).is_ok());
        insta::assert_snapshot!(map.check_for(90).unwrap_err(), @"tensor map: `swizzle` is Span128Atom32, expected none, 32, 64 or 128 bytes before sm_100");
    }

    #[test]
    fn corners_have_the_range_of_their_rank() {
        let tensor = Tensor { data_type: DataType::F16, address: 0, dims: &[64, 8, 8, 4], strides: &[128, 1024, 8192] };
        let traversal = Traversal {
            element_strides: &[1; 4],
            interleave: Interleave::None,
            swizzle: Swizzle::None,
            fill: Fill::Zeros,
        };
        let column = Column { channels_per_pixel: 64, pixels_per_column: 1024 };
        let encode = |lower: [i32; 2], upper: [i32; 2]| encode_im2col(&tensor, &lower, &upper, column, &traversal);
        assert!(encode([-128, -1], [127, -1]).is_ok());
        insta::assert_snapshot!(encode([-129, 0], [0, 0]).unwrap_err(), @"tensor map: `pixelBoxLowerCorner[0]` is -129, expected -128 to 127 for rank 4");
        insta::assert_snapshot!(encode([0, 0], [0, -8]).unwrap_err(), @"tensor map: `pixelBoxUpperCorner[1]` is -8, expected a bounding box that is not empty");
        let column = Column { channels_per_pixel: 64, pixels_per_column: 1025 };
        let error = encode_im2col(&tensor, &[0, 0], &[0, 0], column, &traversal).unwrap_err();
        insta::assert_snapshot!(error, @"tensor map: `pixelsPerColumn` is 1025, expected 1 to 1024");
    }
}
