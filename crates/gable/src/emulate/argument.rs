//! The arguments of a kernel as `gable emulate --arg` spells them.
//!
//! In: text such as `in:x.npy`, `out:y.npy:f32:256x128`, `i32:7`. Out: what to place in memory and what to pass. Files are not
//! read here.

use super::tensor_map::TensorMapRequest;
use gable_tensor::DType;
use std::path::PathBuf;

/// One argument, for one parameter of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A pointer to a buffer.
    Buffer(Buffer),
    /// The bytes of a number or a structure.
    Value(Value),
    /// A tensor map of 128 bytes over a buffer.
    TensorMap(Box<TensorMapRequest>),
}

/// A buffer of its own in global memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// Holds the bytes of an array.
    In(PathBuf),
    /// Nobody wrote it; written as an array afterwards.
    Out {
        /// The file to write.
        file: PathBuf,
        /// Type of the elements.
        dtype: DType,
        /// Sizes, outermost first.
        shape: Vec<usize>,
    },
    /// Holds an array, written with its type and shape afterwards.
    InOut {
        /// The file to read.
        from: PathBuf,
        /// The file to write.
        to: PathBuf,
    },
    /// Nobody wrote it, and nobody reads it afterwards.
    Scratch(u64),
}

/// A value that is passed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it is called in the argument.
    pub kind: &'static str,
    /// Little-endian bytes.
    pub bytes: Vec<u8>,
}

/// What an argument may be, for messages.
pub const FORMS: &str = "in:FILE.npy, out:FILE.npy:DTYPE:SHAPE, inout:IN.npy:OUT.npy, scratch:BYTES, i8: i16: i32: i64: u8: u16: u32: u64: \
                         f16: bf16: f32: f64:VALUE, bytes:HEX, tensormap:JSON";

/// Parses one argument.
pub fn parse(text: &str) -> Result<Argument, String> {
    if let Some(buffer) = buffer(text)? {
        return Ok(Argument::Buffer(buffer));
    }
    let (kind, rest) = text.split_once(':').ok_or_else(|| format!("`{text}` is no argument; arguments are {FORMS}"))?;
    if kind == "tensormap" {
        return TensorMapRequest::parse(rest).map(|request| Argument::TensorMap(Box::new(request)));
    }
    value(kind, rest)?
        .map(Argument::Value)
        .ok_or_else(|| format!("`{kind}:` is no kind of argument; arguments are {FORMS}"))
}

/// Parses a buffer; `None` where the text is of another kind.
pub fn buffer(text: &str) -> Result<Option<Buffer>, String> {
    let Some((kind, rest)) = text.split_once(':') else { return Ok(None) };
    let named = |file: &str| {
        if file.is_empty() { Err(format!("`{text}` names no file")) } else { Ok(PathBuf::from(file)) }
    };
    Ok(Some(match kind {
        "in" => Buffer::In(named(rest)?),
        "out" => {
            let mut parts = rest.rsplitn(3, ':');
            let (Some(shape), Some(dtype), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(format!("`{text}` should be out:FILE.npy:DTYPE:SHAPE, as in out:y.npy:f32:256x128"));
            };
            let dtype = element_type(dtype).map_err(|error| format!("`{text}`: {error}"))?;
            Buffer::Out {
                file: named(file)?,
                dtype,
                shape: parse_shape(shape).map_err(|error| format!("`{text}`: {error}"))?,
            }
        }
        "inout" => {
            let (from, to) = rest.rsplit_once(':').ok_or_else(|| format!("`{text}` should be inout:IN.npy:OUT.npy"))?;
            Buffer::InOut { from: named(from)?, to: named(to)? }
        }
        "scratch" => Buffer::Scratch(rest.parse().map_err(|_| format!("`{text}`: `{rest}` is no count of bytes"))?),
        _ => return Ok(None),
    }))
}

/// Element types by our names, and the 8-bit floats by longer ones that are common too.
fn element_type(name: &str) -> Result<DType, String> {
    match name {
        "f8e4m3" => Ok(DType::E4M3),
        "f8e5m2" => Ok(DType::E5M2),
        _ => name.parse(),
    }
}

fn parse_shape(text: &str) -> Result<Vec<usize>, String> {
    let size = |part: &str| part.parse::<usize>().map_err(|_| format!("`{text}` is no shape; shapes are like 256x128"));
    text.split('x').map(size).collect()
}

/// A number or bytes; `None` for an unknown kind.
fn value(kind: &str, text: &str) -> Result<Option<Value>, String> {
    let wrong = |what: &str| format!("`{kind}:{text}`: `{text}` is no {what}");
    macro_rules! number {
        ($type:ty, $name:literal, $what:literal) => {
            Value { kind: $name, bytes: text.parse::<$type>().map_err(|_| wrong($what))?.to_le_bytes().to_vec() }
        };
    }
    Ok(Some(match kind {
        "i8" => number!(i8, "i8", "whole number from -128 to 127"),
        "i16" => number!(i16, "i16", "whole number from -32768 to 32767"),
        "i32" => number!(i32, "i32", "whole number from -2^31 to 2^31-1"),
        "i64" => number!(i64, "i64", "whole number from -2^63 to 2^63-1"),
        "u8" => number!(u8, "u8", "whole number from 0 to 255"),
        "u16" => number!(u16, "u16", "whole number from 0 to 65535"),
        "u32" => number!(u32, "u32", "whole number from 0 to 2^32-1"),
        "u64" => number!(u64, "u64", "whole number from 0 to 2^64-1"),
        "f32" => number!(f32, "f32", "number"),
        "f64" => number!(f64, "f64", "number"),
        "f16" | "bf16" => {
            let number: f64 = text.parse().map_err(|_| wrong("number"))?;
            let (kind, dtype) = if kind == "f16" { ("f16", DType::F16) } else { ("bf16", DType::BF16) };
            Value { kind, bytes: gable_tensor::Tensor::scalar(dtype, number).bytes().to_vec() }
        }
        "bytes" => {
            Value { kind: "bytes", bytes: hexadecimal(text).ok_or_else(|| wrong("even number of hexadecimal digits"))? }
        }
        _ => return Ok(None),
    }))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        assert_eq!(parse("in:a:b.npy").unwrap(), Argument::Buffer(Buffer::In("a:b.npy".into())));
        let out = Buffer::Out { file: "y.npy".into(), dtype: DType::BF16, shape: vec![256, 128] };
        assert_eq!(parse("out:y.npy:bf16:256x128").unwrap(), Argument::Buffer(out));
        let inout = Buffer::InOut { from: "x.npy".into(), to: "y.npy".into() };
        assert_eq!(parse("inout:x.npy:y.npy").unwrap(), Argument::Buffer(inout));
        assert_eq!(parse("scratch:64").unwrap(), Argument::Buffer(Buffer::Scratch(64)));
        let bytes = |text: &str| match parse(text).unwrap() {
            Argument::Value(value) => value.bytes,
            other => panic!("{text} is {other:?}"),
        };
        assert_eq!(bytes("i32:-2"), [0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(bytes("u64:258"), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes("f32:1.5"), 1.5f32.to_le_bytes());
        assert_eq!(bytes("bf16:1.0"), [0x80, 0x3f]);
        assert_eq!(bytes("bytes:0aFF"), [0x0a, 0xff]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| parse(text).unwrap_err();
        assert!(error("x.npy").contains("is no argument"));
        assert!(error("int:4").contains("`int:` is no kind of argument"));
        assert!(error("i32:1.5").contains("`1.5` is no whole number"));
        assert!(error("i32:2147483648").contains("2^31-1"));
        assert!(error("out:y.npy:f32").contains("out:FILE.npy:DTYPE:SHAPE"));
        assert!(error("out:y.npy:f33:4").contains("unknown element type `f33`"));
        assert!(error("out:y.npy:f32:4,4").contains("is no shape"));
        assert!(error("inout:x.npy").contains("inout:IN.npy:OUT.npy"));
        assert!(error("in:").contains("names no file"));
        assert!(error("bytes:abc").contains("hexadecimal"));
        assert!(error("scratch:-1").contains("no count of bytes"));
    }
}
