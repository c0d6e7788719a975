//! One safetensors file: its header, checked, and its tensors as slices of the mapped bytes.
//!
//! ```text
//! 8 bytes: n, little endian | n bytes: JSON object | the data, to the end of the file
//! {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {...}}
//! ```
//! Offsets count from the start of the data. The tensors lie back to back and fill the data, in any order of names;
//! whatever overlaps, leaves a gap or lies outside is refused. Nothing is allocated that the header does not hold.

use super::json::{object, shortened};
use crate::error::CaptureError;
use bytes::Bytes;
use gable_tensor::{DType, Tensor, mapped_file};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Longest header that the format allows, in bytes.
const LONGEST_HEADER: usize = 100_000_000;

/// Type names of the format. `F4` packs two elements into a byte, the first in the low bits; the packed 6-bit types,
/// the complex type and the FNUZ variants have no counterpart here.
const DTYPES: &[(&str, DType)] = &[
    ("BOOL", DType::Bool),
    ("I8", DType::I8),
    ("I16", DType::I16),
    ("I32", DType::I32),
    ("I64", DType::I64),
    ("U8", DType::U8),
    ("U16", DType::U16),
    ("U32", DType::U32),
    ("U64", DType::U64),
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F8_E4M3", DType::E4M3),
    ("F8_E5M2", DType::E5M2),
    ("F8_E8M0", DType::UE8M0),
    ("F4", DType::E2M1),
];

/// A tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    data: Bytes,
}

impl Stored {
    /// The tensor. It shares the file's bytes, but for 4-bit elements, which are spread to one per byte.
    pub(crate) fn tensor(&self) -> Tensor {
        let data = match self.dtype {
            DType::E2M1 => self.data.iter().flat_map(|pair| [pair & 0xf, pair >> 4]).collect(),
            _ => self.data.clone(),
        };
        Tensor::new(self.dtype, self.shape.clone(), data).expect("the header's sizes were checked")
    }

    /// Type and shape as `f32[2, 3]`.
    pub(crate) fn describe(&self) -> String {
        format!("{}{:?}", self.dtype, self.shape)
    }
}

/// Maps the file at `path` and checks its header. Tensors by name.
pub(crate) fn open(path: &Path) -> Result<BTreeMap<String, Stored>, CaptureError> {
    let file = mapped_file::map(path).map_err(|source| CaptureError::Read { file: path.to_path_buf(), source })?;
    parse(&file).map_err(|(place, problem)| CaptureError::Malformed { file: path.to_path_buf(), place, problem })
}

/// Where in the file, and what is wrong there.
type Fault = (String, String);

fn parse(file: &Bytes) -> Result<BTreeMap<String, Stored>, Fault> {
    let header = |problem: String| ("header".to_string(), problem);
    let length = file.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(|| {
        header(format!("a safetensors file begins with 8 bytes of header length, found {} bytes", file.len()))
    })?;
    let body = &file[8..];
    let length = usize::try_from(length).ok().filter(|&length| length <= body.len()).ok_or_else(|| {
        header(format!(
            "claims {length} bytes, but the file holds {} after the length: it is truncated or no safetensors file",
            body.len()
        ))
    })?;
    if length > LONGEST_HEADER {
        return Err(header(format!("is {length} bytes long, expected {LONGEST_HEADER} at most")));
    }
    let entries = object(&body[..length]).map_err(header)?;
    let data = file.slice(8 + length..);

    let mut tensors = BTreeMap::new();
    let mut ranges = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        if name == "__metadata__" {
            continue;
        }
        let place = || format!("tensor `{}`", shortened(&name));
        let (dtype, shape, begin, end) = read_entry(&entry).map_err(|problem| (place(), problem))?;
        if begin > end || end > data.len() {
            let problem = format!("lies at bytes {begin}..{end} of the data, but the file holds {} of it", data.len());
            return Err((place(), problem));
        }
        let expected = stored_bytes(dtype, &shape).map_err(|problem| (place(), problem))?;
        if end - begin != expected {
            let problem = format!("is {dtype}{shape:?}, which needs {expected} bytes, found {}", end - begin);
            return Err((place(), problem));
        }
        ranges.push((begin, end, name.clone()));
        tensors.insert(name, Stored { dtype, shape, data: data.slice(begin..end) });
    }
    check_back_to_back(ranges, data.len())?;
    Ok(tensors)
}

/// Type, shape and data range of one header entry.
fn read_entry(entry: &Value) -> Result<(DType, Vec<usize>, usize, usize), String> {
    let field = |name: &str| entry.get(name).ok_or_else(|| format!("lacks `{name}`"));
    let dtype = field("dtype")?.as_str().unwrap_or_default();
    let (_, dtype) = DTYPES.iter().find(|(name, _)| *name == dtype).ok_or_else(|| {
        let known: Vec<&str> = DTYPES.iter().map(|(name, _)| *name).collect();
        format!("has type `{}`, expected one of {}", shortened(dtype), known.join(", "))
    })?;
    let sizes = |name: &str| -> Result<Vec<usize>, String> {
        let value = field(name)?;
        let size = |size: &Value| size.as_u64().and_then(|size| usize::try_from(size).ok());
        let sizes: Option<Vec<usize>> = value.as_array().and_then(|list| list.iter().map(size).collect());
        sizes.ok_or_else(|| format!("has {name} {}, expected whole numbers", shortened(&value.to_string())))
    };
    let shape = sizes("shape")?;
    if shape.len() > MOST_DIMENSIONS {
        return Err(format!("has {} dimensions, expected {MOST_DIMENSIONS} at most", shape.len()));
    }
    let [begin, end] = sizes("data_offsets")?[..] else {
        return Err("has data_offsets that are not a begin and an end".into());
    };
    Ok((*dtype, shape, begin, end))
}

/// Far above what models have; keeps messages short.
const MOST_DIMENSIONS: usize = 16;

/// Bytes that a tensor takes in a file.
fn stored_bytes(dtype: DType, shape: &[usize]) -> Result<usize, String> {
    let bytes = gable_tensor::tensor::byte_count(dtype, shape).map_err(|e| e.to_string())?;
    match dtype {
        DType::E2M1 if bytes % 2 == 1 => Err(format!("has {bytes} 4-bit elements, expected an even number")),
        DType::E2M1 => Ok(bytes / 2),
        _ => Ok(bytes),
    }
}

/// The ranges, sorted, must follow each other from 0 to `end`.
fn check_back_to_back(mut ranges: Vec<(usize, usize, String)>, end: usize) -> Result<(), Fault> {
    ranges.sort();
    let (mut at, mut previous) = (0, "the header".to_string());
    for (begin, next, name) in ranges {
        let name = format!("tensor `{}`", shortened(&name));
        if begin < at {
            return Err((
                name,
                format!("begins at byte {begin} of the data and overlaps {previous}, which ends at {at}"),
            ));
        }
        if begin > at {
            return Err((name, format!("begins at byte {begin} of the data, but {previous} ends at {at}: a gap")));
        }
        (at, previous) = (next, name);
    }
    if at < end {
        return Err(("data".into(), format!("holds {end} bytes, but the tensors end at {at}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::{Dtype, TensorView, serialize};

    /// A file with this header over `data_bytes` bytes of zeros.
    fn file(header: &str, data_bytes: usize) -> Bytes {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + data_bytes, 0);
        file.into()
    }

    /// The message for such a file.
    fn fault(header: &str, data_bytes: usize) -> String {
        let (place, problem) = parse(&file(header, data_bytes)).expect_err("the file is wrong");
        format!("{place}: {problem}")
    }

    const PAIR: &str = r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                           "b": {"dtype": "F16", "shape": [1, 2], "data_offsets": [8, 12]}}"#;

    #[test]
    fn headers_that_contradict_the_file_are_refused_by_name() {
        assert!(parse(&file(PAIR, 12)).is_ok());
        assert!(fault(PAIR, 11).contains("tensor `b`: lies at bytes 8..12 of the data, but the file holds 11"));
        assert!(fault(PAIR, 13).contains("holds 13 bytes, but the tensors end at 12"));
        assert!(
            fault(&PAIR.replace("[8, 12]", "[6, 10]"), 10)
                .contains("tensor `b`: begins at byte 6 of the data and overlaps tensor `a`")
        );
        assert!(fault(&PAIR.replace("[8, 12]", "[10, 14]"), 14).contains("a gap"));
        assert!(fault(&PAIR.replace("[2]", "[3]"), 12).contains("f32[3], which needs 12 bytes, found 8"));
        assert!(fault(&PAIR.replace("F16", "F17"), 12).contains("has type `F17`"));
        assert!(fault(&PAIR.replace("[8, 12]", "[12, 8]"), 12).contains("12..8"));
        assert!(fault(&PAIR.replace("\"b\"", "\"a\""), 12).contains("`a` appears twice"));
        assert!(fault(&PAIR.replace("[2]", "[-2]"), 12).contains("expected whole numbers"));
        let huge = PAIR.replace("[2]", "[9223372036854775807, 4]");
        assert!(fault(&huge, 12).contains("too large"));
    }

    #[test]
    fn a_header_length_past_the_file_asks_for_no_memory() {
        for length in [u64::MAX, 1 << 62, 100] {
            let mut file = length.to_le_bytes().to_vec();
            file.extend_from_slice(b"{}");
            let (_, problem) = parse(&file.into()).expect_err("the length is past the file");
            assert!(problem.contains(&length.to_string()), "{problem}");
        }
        assert!(parse(&Bytes::new()).is_err());
        assert!(parse(&Bytes::from_static(b"1234567")).is_err());
    }

    #[test]
    fn packed_four_bit_elements_are_spread() {
        let mut bytes = file(r#"{"a": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}}"#, 0).to_vec();
        bytes.extend([0x21, 0x4f]);
        let tensors = parse(&bytes.into()).expect("valid");
        assert_eq!(tensors["a"].tensor().scalars().map(|x| x.as_f64()).collect::<Vec<_>>(), [0.5, 1.0, -6.0, 2.0]);
    }

    proptest! {
        /// The format's own library writes; what we read is what was written, whatever the type.
        #[test]
        fn files_of_the_reference_writer_are_read(
            tensors in proptest::collection::btree_map("[a-z.0-9]{1,12}", (0usize..5, 0usize..4, 0usize..5, any::<u8>()), 0..6),
        ) {
            const TYPES: [(Dtype, DType); 5] = [
                (Dtype::F32, DType::F32), (Dtype::BF16, DType::BF16), (Dtype::I64, DType::I64), (Dtype::BOOL, DType::Bool),
                (Dtype::F8_E4M3, DType::E4M3),
            ];
            let made: Vec<_> = tensors
                .into_iter()
                .map(|(name, (kind, rows, columns, fill))| {
                    let (theirs, ours) = TYPES[kind];
                    let data = vec![fill; rows * columns * ours.bytes()];
                    (name, ours, theirs, vec![rows, columns], data)
                })
                .collect();
            let views: Vec<(&str, TensorView)> = made
                .iter()
                .map(|(name, _, dtype, shape, data)| {
                    (name.as_str(), TensorView::new(*dtype, shape.clone(), data).expect("the data fills the shape"))
                })
                .collect();
            let file = serialize(views, None).expect("the tensors are valid");
            let read = parse(&file.into()).expect("the file is valid");
            prop_assert_eq!(read.len(), made.len());
            for (name, dtype, _, shape, data) in &made {
                let tensor = read[name].tensor();
                prop_assert_eq!((tensor.dtype(), tensor.shape(), &tensor.bytes()[..]), (*dtype, &shape[..], &data[..]));
            }
        }

        /// Whatever the bytes, an answer; and where both readers take a file, it means the same.
        #[test]
        fn mutated_files_never_panic(edits in proptest::collection::vec((0usize..400, any::<u8>()), 0..6), cut in 0usize..400) {
            let mut bytes = file(PAIR, 12).to_vec();
            for (at, value) in edits {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(300)));
            if let (Ok(ours), Ok(theirs)) = (parse(&bytes.clone().into()), safetensors::SafeTensors::deserialize(&bytes)) {
                prop_assert_eq!(ours.len(), theirs.len());
                for (name, stored) in &ours {
                    prop_assert_eq!(&stored.data[..], theirs.tensor(name).expect("both have it").data());
                }
            }
        }
    }
}
