//! Tensor maps that the host encodes, as JSON: `tensormap:{"buffer": .., "type": .., "dims": [..], "box": [..]}`.
//!
//! Arrays are innermost first and strides in bytes, as the driver's `cuTensorMapEncodeTiled` takes them.

use super::argument::{self, Buffer};
use gable_emulator::tensor_map::{
    encode as encoding,
    map::{DataType, Fill, Interleave, Swizzle},
};
use serde::Deserialize;

/// A tensor map to encode.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorMapRequest {
    /// The tensor's memory.
    pub buffer: Over,
    fields: Fields,
}

/// Which memory a tensor map covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// A buffer that no other argument has.
    Own(Buffer),
    /// That of the argument at this position, from 0.
    Argument(usize),
    /// That of an argument with a file of this name, with or without folder and extension.
    Named(String),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    buffer: serde_json::Value,
    /// Bytes from the buffer's start to element 0.
    #[serde(default)]
    offset: u64,
    #[serde(rename = "type")]
    data_type: String,
    dims: Vec<u64>,
    /// Bytes from one element to the next along dimensions 1 and up; dense where absent.
    strides: Option<Vec<u64>>,
    #[serde(rename = "box")]
    box_dims: Option<Vec<u32>>,
    element_strides: Option<Vec<u32>>,
    interleave: Option<String>,
    swizzle: Option<String>,
    fill: Option<String>,
    im2col: Option<Im2col>,
}

/// The box of a map that walks over pixels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Im2col {
    lower: Vec<i32>,
    upper: Vec<i32>,
    channels: u32,
    pixels: u32,
}

impl TensorMapRequest {
    /// Reads the JSON after `tensormap:`.
    pub fn parse(json: &str) -> Result<TensorMapRequest, String> {
        let fields: Fields = serde_json::from_str(json).map_err(|error| format!("tensormap: {error}"))?;
        let buffer = match &fields.buffer {
            serde_json::Value::Number(number) => {
                let index = number.as_u64().and_then(|index| usize::try_from(index).ok());
                Over::Argument(
                    index.ok_or_else(|| format!("tensormap: buffer {number} is no position of an argument"))?,
                )
            }
            serde_json::Value::String(text) => match argument::buffer(text)? {
                Some(buffer) => Over::Own(buffer),
                None => Over::Named(text.clone()),
            },
            other => {
                return Err(format!(
                    "tensormap: buffer is {other}, expected a position, a name or a buffer such as in:FILE.npy"
                ));
            }
        };
        Ok(TensorMapRequest { buffer, fields })
    }

    /// The 128 bytes of the map over a tensor at `address`, with `bytes` bytes of memory from there on.
    pub fn encode(&self, address: u64, bytes: u64) -> Result<Vec<u8>, String> {
        let fields = &self.fields;
        let data_type = DataType::from_name(&fields.data_type).ok_or_else(|| {
            let known: Vec<&str> = DataType::all().map(DataType::name).collect();
            format!("tensormap: type `{}` is not known; known: {}", fields.data_type, known.join(", "))
        })?;
        let strides = match &fields.strides {
            Some(strides) => strides.clone(),
            None => dense(data_type, &fields.dims),
        };
        self.check_extent(data_type, &strides, bytes)?;
        let tensor = encoding::Tensor {
            data_type,
            address: address.saturating_add(fields.offset),
            dims: &fields.dims,
            strides: &strides,
        };
        let ones = vec![1; fields.dims.len()];
        let traversal = encoding::Traversal {
            element_strides: fields.element_strides.as_ref().unwrap_or(&ones),
            interleave: named("interleave", fields.interleave.as_deref(), INTERLEAVES)?,
            swizzle: named("swizzle", fields.swizzle.as_deref(), SWIZZLES)?,
            fill: named("fill", fields.fill.as_deref(), FILLS)?,
        };
        let map = match (&fields.im2col, &fields.box_dims) {
            (None, Some(box_dims)) => encoding::encode_tiled(&tensor, box_dims, &traversal),
            (Some(im2col), None) => {
                let column = encoding::Column { channels_per_pixel: im2col.channels, pixels_per_column: im2col.pixels };
                encoding::encode_im2col(&tensor, &im2col.lower, &im2col.upper, column, &traversal)
            }
            _ => return Err("tensormap: give either `box` or `im2col`".into()),
        };
        map.map(|map| map.to_bytes().to_vec()).map_err(|error| error.to_string())
    }

    /// The last element must lie in the buffer: a map that reaches further is a mistake of the launch.
    fn check_extent(&self, data_type: DataType, strides: &[u64], bytes: u64) -> Result<(), String> {
        let inner = self.fields.dims.first().map(|size| data_type.bytes(*size)).unwrap_or_default();
        let outer = self
            .fields
            .dims
            .iter()
            .skip(1)
            .zip(strides)
            .map(|(size, stride)| size.saturating_sub(1).saturating_mul(*stride));
        let end = outer.fold(self.fields.offset.saturating_add(inner), u64::saturating_add);
        if end > bytes {
            return Err(format!(
                "tensormap: dims {:?} with strides {strides:?} reach {end} bytes into a buffer of {bytes}",
                self.fields.dims
            ));
        }
        Ok(())
    }
}

/// Strides of a tensor without gaps.
fn dense(data_type: DataType, dims: &[u64]) -> Vec<u64> {
    let mut elements = 1u64;
    let mut strides = Vec::new();
    for size in dims.iter().take(dims.len().saturating_sub(1)) {
        elements = elements.saturating_mul(*size);
        strides.push(data_type.bytes(elements));
    }
    strides
}

const INTERLEAVES: &[(&str, Interleave)] =
    &[("none", Interleave::None), ("16B", Interleave::Bytes16), ("32B", Interleave::Bytes32)];

const SWIZZLES: &[(&str, Swizzle)] = &[
    ("none", Swizzle::None),
    ("32B", Swizzle::Span32),
    ("64B", Swizzle::Span64),
    ("128B", Swizzle::Span128),
    ("128B_atom_32B", Swizzle::Span128Atom32),
    ("128B_atom_32B_flip_8B", Swizzle::Span128Atom32Flip8),
    ("128B_atom_64B", Swizzle::Span128Atom64),
];

const FILLS: &[(&str, Fill)] = &[("zeros", Fill::Zeros), ("nan", Fill::Nan)];

/// A value by its name; the first where none is given.
fn named<T: Copy>(field: &str, name: Option<&str>, table: &[(&str, T)]) -> Result<T, String> {
    let name = name.unwrap_or(table[0].0);
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(known, _)| *known).collect();
        format!("tensormap: {field} `{name}` is not known; known: {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: &str = r#"{"buffer": 0, "type": "f16", "dims": [64, 32], "box": [64, 8], "swizzle": "128B"}"#;

    #[test]
    fn a_matrix_is_encoded_with_dense_strides() {
        let request = TensorMapRequest::parse(MATRIX).unwrap();
        assert_eq!(request.buffer, Over::Argument(0));
        let bytes = request.encode(0x1000, 64 * 32 * 2).unwrap();
        let map = gable_emulator::tensor_map::map::TensorMap::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap();
        assert_eq!((map.rank, map.strides[0], map.swizzle), (2, 128, Swizzle::Span128));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |json: &str| match TensorMapRequest::parse(json) {
            Ok(request) => request.encode(0x1000, 4096).unwrap_err(),
            Err(error) => error,
        };
        assert!(error("{").contains("tensormap"));
        assert!(error(&MATRIX.replace("f16", "f17")).contains("`f17` is not known"));
        assert!(error(&MATRIX.replace("128B", "99B")).contains("swizzle `99B` is not known"));
        assert!(error(&MATRIX.replace("32]", "33]")).contains("into a buffer of 4096"));
        assert!(error(&MATRIX.replace("\"box\": [64, 8],", "")).contains("either `box` or `im2col`"));
        assert!(error(&MATRIX.replace("[64, 8]", "[640, 8]")).contains("boxDim"));
        assert!(error(&MATRIX.replace("\"buffer\": 0", "\"buffer\": true")).contains("expected a position"));
    }
}
