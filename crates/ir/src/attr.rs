//! Attribute values: each type knows its own text form, so no op prints or parses by hand.

use gable_tensor::{DType, Dim, Scalar, Tensor};

/// A type that can be an op's attribute. `parse(print(v)) == v` for every value.
pub trait Attr: Sized {
    /// The text form.
    fn print(&self) -> String;
    /// Reads the text form; the error says what was expected.
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! attr_by_display {
    ($( $t:ty : $what:literal ),+) => { $(
        impl Attr for $t {
            fn print(&self) -> String { format!("{self:?}") }
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("`{text}` is not {}", $what))
            }
        }
    )+ };
}

// Rust's `{:?}` of a float is the shortest text that reads back as the same value.
attr_by_display! { i64: "a 64-bit integer", usize: "a whole number", bool: "true or false", f64: "a number" }

impl Attr for DType {
    fn print(&self) -> String {
        self.name().to_string()
    }
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl Attr for Dim {
    fn print(&self) -> String {
        self.to_string()
    }
    fn parse(text: &str) -> Result<Self, String> {
        Dim::parse(text)
    }
}

impl Attr for String {
    fn print(&self) -> String {
        quote(self)
    }
    fn parse(text: &str) -> Result<Self, String> {
        unquote(text)
    }
}

impl<T: Attr> Attr for Vec<T> {
    fn print(&self) -> String {
        format!("[{}]", self.iter().map(T::print).collect::<Vec<_>>().join(", "))
    }
    fn parse(text: &str) -> Result<Self, String> {
        let inner = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let inner = inner.ok_or_else(|| format!("`{text}` is not a list in brackets"))?;
        split_top_level(inner).iter().map(|item| T::parse(item.trim())).collect()
    }
}

/// A tensor literal: type, shape and elements, as `f32[2, 2](1.0, 2.0, 3.0, 4.0)`; rank 0 as `f32[](1.0)`.
impl Attr for Tensor {
    fn print(&self) -> String {
        let shape: Vec<String> = self.shape().iter().map(usize::to_string).collect();
        let values: Vec<String> = self.scalars().map(print_scalar).collect();
        format!("{}[{}]({})", self.dtype(), shape.join(", "), values.join(", "))
    }
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a tensor literal such as f32[2](1.0, 2.0)");
        let (head, values) = text.trim().split_once('(').ok_or_else(bad)?;
        let (dtype, shape) = head.split_once('[').ok_or_else(bad)?;
        let dtype: DType = dtype.trim().parse()?;
        let shape = Vec::<usize>::parse(&format!("[{shape}"))?;
        let values: Vec<&str> = split_top_level(values.trim_end().strip_suffix(')').ok_or_else(bad)?);
        let count = gable_tensor::tensor::element_count(dtype, &shape).map_err(|e| e.to_string())?;
        if values.len() != count {
            return Err(format!("literal has {} elements, its shape needs {count}", values.len()));
        }
        let scalars = values.iter().map(|v| parse_scalar(dtype, v.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::from_scalars(dtype, shape, scalars))
    }
}

fn print_scalar(value: Scalar) -> String {
    match value {
        Scalar::F(x) => format!("{x:?}"),
        Scalar::I(x) => x.to_string(),
        Scalar::B(x) => x.to_string(),
    }
}

fn parse_scalar(dtype: DType, text: &str) -> Result<Scalar, String> {
    let bad = || format!("`{text}` is not a {dtype}");
    if dtype == DType::Bool {
        return text.parse().map(Scalar::B).map_err(|_| bad());
    }
    if let Some((low, high)) = dtype.int_range() {
        let value: i128 = text.parse().map_err(|_| bad())?;
        return if (low..=high).contains(&value) { Ok(Scalar::I(value)) } else { Err(bad()) };
    }
    text.parse().map(Scalar::F).map_err(|_| bad())
}

/// Splits at commas outside brackets, parentheses and quotes; no item for blank text.
pub(crate) fn split_top_level(text: &str) -> Vec<&str> {
    let (mut items, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0i32, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' | '(' | '{' if !quoted => depth += 1,
            ']' | ')' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() || !items.is_empty() {
        items.push(&text[start..]);
    }
    items
}

/// Quotes a string; `\` escapes itself, the quote and line breaks.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn unquote(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let inner = inner.filter(|_| text.len() >= 2).ok_or_else(|| format!("`{text}` is not a quoted string"))?;
    let (mut out, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err(format!("`{text}` has an unescaped quote inside")),
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some(c @ ('"' | '\\')) => out.push(c),
                _ => return Err(format!("`{text}` has an unknown escape")),
            },
            _ => out.push(c),
        }
    }
    Ok(out)
}

macro_rules! attr_enum {
    ($( #[doc = $doc:literal] $Enum:ident { $( #[doc = $vdoc:literal] $Variant:ident = $name:literal ),+ $(,)? } )+) => { $(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $Enum { $( #[doc = $vdoc] $Variant ),+ }
        impl $Enum {
            /// Every variant, in table order.
            pub const ALL: &'static [$Enum] = &[ $( $Enum::$Variant ),+ ];
            /// The name in `.gir` text.
            pub const fn name(self) -> &'static str { match self { $( $Enum::$Variant => $name ),+ } }
        }
        impl $crate::attr::Attr for $Enum {
            fn print(&self) -> String { self.name().to_string() }
            fn parse(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.name() == text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|v| v.name()).collect();
                    format!("`{text}` is not one of {}", known.join(", "))
                })
            }
        }
    )+ };
}

pub(crate) use attr_enum;

attr_enum! {
    /// How a reduction combines elements.
    ReduceKind {
        /// Sum.
        Sum = "sum",
        /// Arithmetic mean; floats only.
        Mean = "mean",
        /// Product.
        Prod = "prod",
        /// Largest; NaN wins. On `bool`: any.
        Max = "max",
        /// Smallest; NaN wins. On `bool`: all.
        Min = "min",
    }
    /// How a scatter combines an update with what is there.
    ScatterKind {
        /// The update replaces; among updates to one place, the last in row-major order wins.
        Replace = "replace",
        /// Sum.
        Add = "add",
        /// Product.
        Mul = "mul",
        /// Largest.
        Max = "max",
        /// Smallest.
        Min = "min",
    }
    /// Where the channels of an image tensor are.
    Layout {
        /// `[n, channels, spatial...]`; filters `[out, in, spatial...]`.
        ChannelsFirst = "channels_first",
        /// `[n, spatial..., channels]`; filters `[out, spatial..., in]`.
        ChannelsLast = "channels_last",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        fn check<T: Attr + PartialEq + std::fmt::Debug>(value: T) {
            assert_eq!(T::parse(&value.print()).as_ref(), Ok(&value), "{}", value.print());
        }
        check(-3i64);
        check(f64::INFINITY);
        check(1e-5f64);
        check("a \"b\" \\ \n, c".to_string());
        check(vec![1usize, 2]);
        check(Vec::<i64>::new());
        check(vec![Dim::parse("2*n+1").expect("valid"), Dim::known(3)]);
        check(Tensor::from_vec([2], &[1.5f32, f32::INFINITY]));
        check(Tensor::from_vec([], &[true]));
        check(Tensor::from_vec([0], &[] as &[i64]));
        check(ReduceKind::Mean);
    }

    #[test]
    fn a_literal_that_claims_too_much_is_refused() {
        assert!(Tensor::parse("f32[99999999999](1.0)").is_err());
        assert!(Tensor::parse("u8[1](256)").is_err());
    }
}
