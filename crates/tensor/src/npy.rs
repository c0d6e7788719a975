//! NumPy's `.npy` format, versions 1 to 3: the header is checked against the file's length before anything is allocated.
//!
//! Types that NumPy lacks (bf16, the 8-, 6- and 4-bit floats) are written as the bits of an unsigned integer, so a
//! reader must be told the wanted type: [`read_as`].

use crate::dtype::DType;
use crate::tensor::{Tensor, TensorError, byte_count};
use bytes::Bytes;

/// What is wrong with a `.npy` file.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NpyError {
    /// Not a `.npy` file at all.
    #[error("not a .npy file: it does not begin with \\x93NUMPY")]
    Magic,
    /// A version that this reader does not know.
    #[error(".npy version {0}.{1} is not known; versions 1 to 3 are")]
    Version(u8, u8),
    /// The file ends too early.
    #[error(".npy file is truncated: {what} needs {expected} bytes, found {found}")]
    Truncated {
        /// The part that is cut.
        what: &'static str,
        /// Bytes it needs.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The header does not say what it must.
    #[error(".npy header: {0}")]
    Header(String),
    /// The array's type cannot be held.
    #[error(".npy type `{0}` is not supported; little-endian bool, integers and floats are")]
    Type(String),
    /// Shape and data disagree.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Reads a whole `.npy` file. Fortran order is transposed to row-major.
pub fn read(file: &Bytes) -> Result<Tensor, NpyError> {
    let head = file.get(..8).ok_or(NpyError::Magic)?;
    if &head[..6] != b"\x93NUMPY" {
        return Err(NpyError::Magic);
    }
    let (start, length) = match head[6] {
        1 => (10, slice(file, 8, 2)?.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b))),
        2 | 3 => (12, slice(file, 8, 4)?.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b))),
        major => return Err(NpyError::Version(major, head[7])),
    };
    let header = file.get(start..start + length).ok_or(NpyError::Truncated {
        what: "header",
        expected: length,
        found: file.len().saturating_sub(start),
    })?;
    let header = std::str::from_utf8(header).map_err(|_| NpyError::Header("is not text".into()))?;
    let descr = field(header, "descr")?.trim_matches(['\'', '"']).to_string();
    let fortran = match field(header, "fortran_order")? {
        "True" => true,
        "False" => false,
        other => return Err(NpyError::Header(format!("fortran_order is `{other}`, expected True or False"))),
    };
    let shape = parse_shape(field(header, "shape")?)?;
    let dtype = dtype_of(&descr)?;
    let expected = byte_count(dtype, &shape)?;
    let body = start + length;
    if file.len() - body != expected {
        return Err(NpyError::Truncated { what: "data", expected, found: file.len() - body });
    }
    let tensor = Tensor::new(dtype, shape, file.slice(body..))?;
    Ok(if fortran { from_fortran(&tensor) } else { tensor })
}

/// Reads a file whose elements mean `dtype`: bits of the right width are reinterpreted where NumPy has no such type.
pub fn read_as(file: &Bytes, dtype: DType) -> Result<Tensor, NpyError> {
    let tensor = read(file)?;
    if tensor.dtype() == dtype || dtype.npy_descr() != tensor.dtype().npy_descr() {
        return Ok(tensor);
    }
    Ok(Tensor::new(dtype, tensor.shape().to_vec(), tensor.bytes().clone())?)
}

/// The file's bytes for a tensor, version 1.0, row-major.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let sizes: String = tensor.shape().iter().map(|size| format!("{size}, ")).collect();
    let shape =
        if tensor.shape().len() == 1 { sizes.trim_end().to_string() } else { sizes.trim_end_matches(", ").to_string() };
    let mut header =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", tensor.dtype().npy_descr());
    // The data starts on a multiple of 64 bytes, with a newline before it.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    let length = u16::try_from(header.len()).expect("tensors have few enough dimensions for a version 1 header");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(tensor.bytes());
    file
}

fn slice(file: &Bytes, at: usize, length: usize) -> Result<&[u8], NpyError> {
    file.get(at..at + length).ok_or(NpyError::Truncated {
        what: "header length",
        expected: at + length,
        found: file.len(),
    })
}

/// The text of one value in the header's dictionary.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str, NpyError> {
    let missing = || NpyError::Header(format!("lacks `{key}`"));
    let after =
        ['\'', '"'].iter().find_map(|quote| header.split_once(&format!("{quote}{key}{quote}"))).ok_or_else(missing)?.1;
    let value = after.trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    let end = match value.starts_with('(') {
        true => value.find(')').map(|at| at + 1),
        false => value.find([',', '}']),
    };
    Ok(value[..end.ok_or_else(missing)?].trim())
}

fn parse_shape(text: &str) -> Result<Vec<usize>, NpyError> {
    let bad = || NpyError::Header(format!("shape is `{text}`, expected a tuple of sizes"));
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).ok_or_else(bad)?;
    inner.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().map_err(|_| bad())).collect()
}

fn dtype_of(descr: &str) -> Result<DType, NpyError> {
    // One-byte types carry `|`, but some writers put `<`; NumPy's own types come first in the table.
    let normal = match descr.as_bytes() {
        // Types that NumPy got from elsewhere, bfloat16 among them, are saved as so many bytes without a meaning.
        [b'|' | b'<', b'V', b'1'] => "|u1".into(),
        [b'|' | b'<', b'V', width @ (b'2' | b'4' | b'8')] => format!("<u{}", *width as char),
        [b'<' | b'=', kind, b'1'] => format!("|{}1", *kind as char),
        [b'=', ..] => format!("<{}", &descr[1..]),
        _ => descr.to_string(),
    };
    DType::ALL
        .iter()
        .copied()
        .find(|dtype| dtype.npy_descr() == normal)
        .ok_or_else(|| NpyError::Type(descr.to_string()))
}

fn from_fortran(tensor: &Tensor) -> Tensor {
    let shape = tensor.shape();
    let mut strides = vec![1usize; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    let row_major = crate::tensor::strides(shape);
    let values = (0..tensor.len()).map(|flat| {
        let source = (0..shape.len()).map(|axis| flat / row_major[axis] % shape[axis] * strides[axis]).sum();
        tensor.get(source)
    });
    Tensor::from_scalars(tensor.dtype(), shape, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_round_trip() {
        for shape in [vec![], vec![3], vec![2, 0, 4], vec![2, 3]] {
            let tensor = Tensor::splat(DType::F16, shape, 1.5).expect("small");
            assert_eq!(read(&write(&tensor).into()), Ok(tensor));
        }
        let bits = Tensor::splat(DType::BF16, [4], -2.0).expect("small");
        assert_eq!(read_as(&write(&bits).into(), DType::BF16), Ok(bits));
    }

    #[test]
    fn fortran_order_is_transposed() {
        let mut file = write(&Tensor::from_vec([2, 3], &[0u8, 3, 1, 4, 2, 5]));
        let at = file.windows(5).position(|w| w == b"False").expect("the header has it");
        file.splice(at..at + 5, *b"True ");
        assert_eq!(read(&file.into()).expect("valid").to_vec::<u8>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_huge_shape_asks_for_no_memory() {
        let mut file = write(&Tensor::from_vec([1], &[0u8]));
        let at = file.windows(4).position(|w| w == b"(1,)").expect("the header has it");
        file.splice(at..at + 4, *b"(9999999999,)");
        file[8] += 9;
        assert!(matches!(read(&file.into()), Err(NpyError::Truncated { what: "data", .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, tail in "\\PC{0,80}") {
            let _ = read(&bytes.clone().into());
            bytes.splice(0..0, *b"\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': True, 'shape': ");
            bytes.extend_from_slice(tail.as_bytes());
            let _ = read(&bytes.into());
        }
    }
}
