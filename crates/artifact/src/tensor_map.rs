//! Tensor maps: how a kernel's bulk copies walk over a tensor in global memory and lay its boxes down in shared memory.
//!
//! A map says everything but the address, which a device fills in when it loads a plan. Dimensions are innermost first,
//! dimension 0 is dense, element strides are 1. Limits are those of the driver's `cuTensorMapEncodeTiled` (CUDA driver
//! interface, tensor map object management).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Most dimensions of a tensor map.
pub const MAX_RANK: usize = 5;
/// Size of an encoded map, and of the kernel parameter that holds it.
pub const MAP_BYTES: u32 = 128;
/// Alignment of that parameter.
pub const MAP_ALIGNMENT: u32 = 64;
/// Most elements of a box along one dimension.
const MAX_BOX: u32 = 256;
/// Largest size of a tensor along one dimension.
const MAX_DIM: u64 = 1 << 32;
/// Strides are below this.
const STRIDE_END: u64 = 1 << 40;
/// Largest shared memory of any target: a box that is larger goes nowhere.
const MAX_BOX_BYTES: u64 = 228 << 10;

/// A tensor and the box that one copy moves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorMap {
    /// Type of an element.
    pub element: MapElement,
    /// Elements along each dimension; its length is the rank.
    pub dims: Vec<u64>,
    /// Bytes from one element to the next along dimensions 1 and up: one entry fewer than `dims`.
    pub strides: Vec<u64>,
    /// Elements of a box along each dimension.
    pub box_dims: Vec<u32>,
    /// Order of a box's bytes in shared memory.
    pub swizzle: Swizzle,
    /// How much of a line the L2 cache fetches at least.
    pub l2_promotion: L2Promotion,
    /// What a load writes for elements outside the tensor.
    pub fill: Fill,
}

/// Element types of a tensor map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapElement {
    /// 8 bits of any meaning.
    U8,
    /// 16 bits of any meaning.
    U16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    S32,
    /// IEEE half precision.
    F16,
    /// Brain float.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE single precision, rounded to 10 fraction bits by a load.
    Tf32,
    /// Sixteen 4-bit elements in 8 bytes, packed in both memories; from Blackwell on.
    B4,
    /// Sixteen 4-bit elements: 8 bytes in global memory, 16 bytes in shared memory; from Blackwell on.
    B4Padded,
    /// Sixteen 6-bit elements: 12 bytes in global memory, 16 bytes in shared memory; from Blackwell on.
    B6Padded,
}

/// How the chunks of a box's rows are permuted in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Swizzle {
    /// Not at all.
    #[default]
    None,
    /// 16-byte chunks within 32 bytes.
    Bytes32,
    /// 16-byte chunks within 64 bytes.
    Bytes64,
    /// 16-byte chunks within 128 bytes.
    Bytes128,
    /// 32-byte chunks within 128 bytes; from Blackwell on.
    Bytes128Atom32,
    /// 32-byte chunks within 128 bytes, the halves of every 16 bytes exchanged in odd lines; from Blackwell on.
    Bytes128Atom32Flip8,
    /// 64-byte chunks within 128 bytes; from Blackwell on.
    Bytes128Atom64,
}

/// How much the L2 cache fetches at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum L2Promotion {
    /// What the access needs.
    #[default]
    None,
    /// 64 bytes.
    Bytes64,
    /// 128 bytes.
    Bytes128,
    /// 256 bytes.
    Bytes256,
}

/// What a load writes for elements outside the tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Zeros.
    #[default]
    Zeros,
    /// A special NaN.
    Nan,
}

/// A limit of the hardware that a map exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor map: `{field}` is {found}, expected {expected}")]
pub struct MapError {
    /// The field, with its dimension.
    pub field: String,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

fn require(
    holds: bool,
    field: impl Into<String>,
    found: impl fmt::Display,
    expected: impl Into<String>,
) -> Result<(), MapError> {
    if holds {
        return Ok(());
    }
    Err(MapError { field: field.into(), found: found.to_string(), expected: expected.into() })
}

impl MapElement {
    /// Bits of one element in global memory.
    pub fn bits(self) -> u32 {
        match self {
            MapElement::U8 => 8,
            MapElement::U16 | MapElement::F16 | MapElement::Bf16 => 16,
            MapElement::U32 | MapElement::S32 | MapElement::F32 | MapElement::Tf32 => 32,
            MapElement::B4 | MapElement::B4Padded => 4,
            MapElement::B6Padded => 6,
        }
    }

    /// Whether shared memory holds the elements with padding.
    pub fn is_padded(self) -> bool {
        matches!(self, MapElement::B4Padded | MapElement::B6Padded)
    }

    fn is_float(self) -> bool {
        matches!(self, MapElement::F16 | MapElement::Bf16 | MapElement::F32 | MapElement::Tf32)
    }

    /// Bits of `count` elements, rounded up to bytes.
    fn bytes(self, count: u64) -> u64 {
        count.saturating_mul(self.bits().into()).div_ceil(8)
    }

    /// Bits of one element in shared memory: padded ones take 16 bytes for 16.
    fn shared_bits(self) -> u32 {
        if self.is_padded() { 8 } else { self.bits() }
    }
}

impl Swizzle {
    /// The longest row of a box, in bytes; `None` without a swizzle.
    pub fn span(self) -> Option<u32> {
        match self {
            Swizzle::None => None,
            Swizzle::Bytes32 => Some(32),
            Swizzle::Bytes64 => Some(64),
            Swizzle::Bytes128 | Swizzle::Bytes128Atom32 | Swizzle::Bytes128Atom32Flip8 | Swizzle::Bytes128Atom64 => {
                Some(128)
            }
        }
    }
}

impl TensorMap {
    /// Every limit that does not depend on the target or on the address.
    pub fn check(&self) -> Result<(), MapError> {
        self.check_tensor()?;
        self.check_box()
    }

    fn check_tensor(&self) -> Result<(), MapError> {
        let rank = self.dims.len();
        require((1..=MAX_RANK).contains(&rank), "dims", format!("{rank} entries"), format!("1 to {MAX_RANK}"))?;
        for (axis, &dim) in self.dims.iter().enumerate() {
            require((1..=MAX_DIM).contains(&dim), format!("dims[{axis}]"), dim, "1 to 2^32")?;
        }
        let multiple = match self.element {
            MapElement::B4Padded | MapElement::B6Padded => 128,
            MapElement::B4 => 2,
            _ => 1,
        };
        let expected = format!("a multiple of {multiple} for {:?}", self.element);
        require(self.dims[0].is_multiple_of(multiple), "dims[0]", self.dims[0], expected)?;
        let found = format!("{} entries", self.strides.len());
        require(self.strides.len() == rank - 1, "strides", found, (rank - 1).to_string())?;
        let alignment = self.alignment();
        for (axis, &stride) in self.strides.iter().enumerate() {
            let holds = stride.is_multiple_of(alignment) && stride < STRIDE_END;
            let expected = format!("a multiple of {alignment} bytes below 2^40");
            require(holds, format!("strides[{axis}]"), stride, expected)?;
        }
        let nan_fits = self.element.is_float() || self.fill == Fill::Zeros;
        require(nan_fits, "fill", "nan", format!("zeros for {:?}", self.element))
    }

    fn check_box(&self) -> Result<(), MapError> {
        let rank = self.dims.len();
        let found = format!("{} entries", self.box_dims.len());
        require(self.box_dims.len() == rank, "box_dims", found, rank.to_string())?;
        for (axis, &size) in self.box_dims.iter().enumerate() {
            require((1..=MAX_BOX).contains(&size), format!("box_dims[{axis}]"), size, format!("1 to {MAX_BOX}"))?;
        }
        let row = self.element.bytes(self.box_dims[0].into());
        let whole = (self.box_dims[0] * self.element.bits()).is_multiple_of(128);
        let padded = self.element.is_padded();
        if padded {
            let expected = format!("128 for {:?}", self.element);
            require(self.box_dims[0] == 128, "box_dims[0]", self.box_dims[0], expected)?;
            let holds = matches!(
                self.swizzle,
                Swizzle::None | Swizzle::Bytes128 | Swizzle::Bytes128Atom32 | Swizzle::Bytes128Atom64
            );
            let expected = format!("none or 128 bytes without flip for {:?}", self.element);
            require(holds, "swizzle", format!("{:?}", self.swizzle), expected)?;
        } else {
            require(whole, "box_dims[0]", format!("{row} bytes"), "a multiple of 16 bytes")?;
            if let Some(span) = self.swizzle.span() {
                let expected = format!("at most {span} bytes with swizzle {:?}", self.swizzle);
                require(row <= span.into(), "box_dims[0]", format!("{row} bytes"), expected)?;
            }
        }
        let bytes = self.box_bytes();
        let expected = format!("at most {MAX_BOX_BYTES} bytes");
        require(bytes <= MAX_BOX_BYTES, "box_dims", format!("{:?}: {bytes} bytes", self.box_dims), expected)
    }

    /// Alignment in bytes of the tensor's address and of its strides.
    pub fn alignment(&self) -> u64 {
        if self.element.is_padded() { 32 } else { 16 }
    }

    /// Bytes that one box takes in shared memory, which is also what a load counts on its barrier.
    pub fn box_bytes(&self) -> u64 {
        let elements = self.box_dims.iter().fold(1u64, |product, &size| product.saturating_mul(size.into()));
        elements.saturating_mul(self.element.shared_bits().into()).div_ceil(8)
    }

    /// Bytes from the tensor's address to the end of its last element.
    pub fn reach(&self) -> u64 {
        let row = self.dims.first().map_or(0, |&dim| self.element.bytes(dim));
        let outer = self.dims.iter().skip(1).zip(&self.strides);
        outer.fold(row, |end, (&dim, &stride)| end.saturating_add(dim.saturating_sub(1).saturating_mul(stride)))
    }

    /// Why only Blackwell can use the map: the field and its value.
    pub fn needs_blackwell(&self) -> Option<(&'static str, String)> {
        if self.element.bits() < 8 {
            return Some(("element", format!("{:?}", self.element)));
        }
        let atoms =
            matches!(self.swizzle, Swizzle::Bytes128Atom32 | Swizzle::Bytes128Atom32Flip8 | Swizzle::Bytes128Atom64);
        atoms.then(|| ("swizzle", format!("{:?}", self.swizzle)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4 matrices of 100 rows of 64 elements.
    fn good() -> TensorMap {
        TensorMap {
            element: MapElement::Bf16,
            dims: vec![64, 100, 4],
            strides: vec![128, 12800],
            box_dims: vec![64, 128, 1],
            swizzle: Swizzle::Bytes128,
            l2_promotion: L2Promotion::Bytes256,
            fill: Fill::Zeros,
        }
    }

    fn message(change: impl FnOnce(&mut TensorMap)) -> String {
        let mut map = good();
        change(&mut map);
        map.check().expect_err("the map exceeds a limit").to_string()
    }

    #[test]
    fn sizes_are_those_of_memory() {
        let map = good();
        assert_eq!(map.check(), Ok(()));
        assert_eq!((map.box_bytes(), map.reach()), (128 * 128, 4 * 12800));
        let padded = TensorMap {
            element: MapElement::B4Padded,
            dims: vec![256, 10],
            strides: vec![128],
            box_dims: vec![128, 8],
            ..good()
        };
        assert_eq!(padded.check(), Ok(()));
        assert_eq!((padded.box_bytes(), padded.reach(), padded.alignment()), (1024, 1280, 32));
    }

    #[test]
    fn each_limit_is_named() {
        let packed = |map: &mut TensorMap| (map.element, map.fill) = (MapElement::B6Padded, Fill::Zeros);
        let cases = [
            (message(|map| map.dims.clear()), "`dims` is 0 entries, expected 1 to 5"),
            (message(|map| map.dims.extend([1; 3])), "`dims` is 6 entries, expected 1 to 5"),
            (message(|map| map.dims[1] = 0), "`dims[1]` is 0, expected 1 to 2^32"),
            (message(|map| map.dims[2] = MAX_DIM + 1), "`dims[2]` is 4294967297, expected 1 to 2^32"),
            (message(|map| map.strides.truncate(1)), "`strides` is 1 entries, expected 2"),
            (message(|map| map.strides[0] = 136), "`strides[0]` is 136, expected a multiple of 16 bytes below 2^40"),
            (
                message(|map| map.strides[1] = STRIDE_END),
                "`strides[1]` is 1099511627776, expected a multiple of 16 bytes below 2^40",
            ),
            (message(|map| map.box_dims.truncate(2)), "`box_dims` is 2 entries, expected 3"),
            (message(|map| map.box_dims[1] = 257), "`box_dims[1]` is 257, expected 1 to 256"),
            (message(|map| map.box_dims[2] = 0), "`box_dims[2]` is 0, expected 1 to 256"),
            (message(|map| map.box_dims[0] = 60), "`box_dims[0]` is 120 bytes, expected a multiple of 16 bytes"),
            (
                message(|map| map.swizzle = Swizzle::Bytes64),
                "`box_dims[0]` is 128 bytes, expected at most 64 bytes with swizzle Bytes64",
            ),
            (
                message(|map| map.box_dims = vec![64, 256, 8]),
                "`box_dims` is [64, 256, 8]: 262144 bytes, expected at most 233472 bytes",
            ),
            (
                message(|map| (map.element, map.fill) = (MapElement::U16, Fill::Nan)),
                "`fill` is nan, expected zeros for U16",
            ),
            (message(packed), "`dims[0]` is 64, expected a multiple of 128 for B6Padded"),
            (
                message(|map| {
                    packed(map);
                    (map.dims[0], map.strides[0]) = (128, 112);
                }),
                "`strides[0]` is 112, expected a multiple of 32 bytes below 2^40",
            ),
            (
                message(|map| {
                    packed(map);
                    map.dims[0] = 128;
                }),
                "`box_dims[0]` is 64, expected 128 for B6Padded",
            ),
            (
                message(|map| {
                    packed(map);
                    (map.dims[0], map.box_dims[0], map.swizzle) = (128, 128, Swizzle::Bytes64);
                }),
                "`swizzle` is Bytes64, expected none or 128 bytes without flip for B6Padded",
            ),
            (
                message(|map| (map.element, map.dims[0]) = (MapElement::B4, 63)),
                "`dims[0]` is 63, expected a multiple of 2 for B4",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, format!("tensor map: {expected}"));
        }
    }

    #[test]
    fn blackwell_is_needed_for_small_elements_and_large_atoms() {
        assert_eq!(good().needs_blackwell(), None);
        let small = TensorMap { element: MapElement::B4, ..good() };
        assert_eq!(small.needs_blackwell(), Some(("element", "B4".into())));
        let atoms = TensorMap { swizzle: Swizzle::Bytes128Atom64, ..good() };
        assert_eq!(atoms.needs_blackwell(), Some(("swizzle", "Bytes128Atom64".into())));
    }
}
