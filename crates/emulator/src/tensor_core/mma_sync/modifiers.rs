//! From the words of a mnemonic to what the instruction is.

use super::super::BitOperation;
use super::super::element::{Element, ScaleFormat};
use super::super::multiply::Shape;
use super::{AccumulatorType, Kind, Mma, Order, ScaleVector, Sparsity};

/// A mnemonic that is no matrix instruction which is modelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`mma`: {0}")]
pub struct ModifierError(String);

fn error<T>(message: impl Into<String>) -> Result<T, ModifierError> {
    Err(ModifierError(message.into()))
}

impl Mma {
    /// Reads the modifiers that follow `mma`, without dots.
    pub fn from_modifiers(modifiers: &[&str]) -> Result<Mma, ModifierError> {
        let mut mma = Mma {
            shape: Shape { m: 0, n: 0, k: 0 },
            a: Element::F16,
            b: Element::F16,
            c: AccumulatorType::F32,
            d: AccumulatorType::F32,
            kind: Kind::Plain,
            orders: [Order::Row, Order::Column],
            sparsity: Sparsity::Dense,
            scales: None,
            bits: BitOperation::Xor,
            saturate: false,
        };
        let (mut orders, mut types, mut format) = (Vec::new(), Vec::new(), None);
        let (mut scaled, mut per_row) = (None, None);
        for &modifier in modifiers {
            match modifier {
                "sync" | "aligned" | "popc" | "block_scale" | "rn" => {}
                "sp" => mma.sparsity = Sparsity::AnyOrder,
                "sp::ordered_metadata" => mma.sparsity = Sparsity::Ordered,
                "row" => orders.push(Order::Row),
                "col" => orders.push(Order::Column),
                "satfinite" => mma.saturate = true,
                "and" => mma.bits = BitOperation::And,
                "xor" => mma.bits = BitOperation::Xor,
                "kind::f8f6f4" => mma.kind = Kind::Mixed,
                "kind::mxf8f6f4" => (mma.kind, scaled) = (Kind::Mixed, Some(1)),
                "kind::mxf4" => (mma.kind, scaled) = (Kind::Packed, Some(2)),
                // Two scales a row, or four: there is no default.
                "kind::mxf4nvf4" => (mma.kind, scaled) = (Kind::Packed, Some(0)),
                "scale_vec::1X" | "block32" => {
                    per_row = Some(if modifier == "block32" { scaled.unwrap_or(1) } else { 1 })
                }
                "scale_vec::2X" => per_row = Some(2),
                "scale_vec::4X" | "block16" => per_row = Some(4),
                "ue8m0" => format = Some(ScaleFormat::Ue8m0),
                "ue4m3" => format = Some(ScaleFormat::Ue4m3),
                other => match shape(other) {
                    Some(shape) => mma.shape = shape,
                    None => types.push(other),
                },
            }
        }
        let [d, a, b, c] = types[..] else { return error(format!("types {types:?}, expected those of D, A, B and C")) };
        (mma.a, mma.b) = (element(a)?, element(b)?);
        (mma.c, mma.d) = (accumulator(c)?, accumulator(d)?);
        if let [a, b] = orders[..] {
            mma.orders = [a, b];
        }
        if let Some(default) = scaled {
            let per_row = per_row.unwrap_or(default);
            let Some(format) = format else { return error("block scales without their type") };
            if !matches!(per_row, 1 | 2 | 4) {
                return error("`.kind::mxf4nvf4` without `.scale_vec`");
            }
            mma.scales = Some(ScaleVector { per_row, format });
        }
        mma.check()?;
        Ok(mma)
    }

    fn check(&self) -> Result<(), ModifierError> {
        let Shape { m, n, k } = self.shape;
        if n != 8 || !(m == 8 || m == 16) || k == 0 || k > 256 {
            return error(format!("shape m{m}n{n}k{k} is not one of m8n8 and m16n8"));
        }
        // Elements that fill one register of each lane of a quad.
        let per_quad = |element: Element| match element {
            Element::F64 | Element::Tf32 => 4,
            _ if self.kind == Kind::Mixed => 16,
            other => 128 / other.bits() as usize,
        };
        let stored = if self.sparsity == Sparsity::Dense { k } else { k / 2 };
        let fits = stored % per_quad(self.a) == 0 && k % per_quad(self.b) == 0;
        let volta = m == 8 && k == 4 && self.a == Element::F16 && self.b == Element::F16;
        if !fits && !volta {
            return error(format!("k{k} does not go with {} elements", self.a.name()));
        }
        let of = |element: Element| match element {
            Element::F64 => AccumulatorType::F64,
            Element::B1 | Element::S4 | Element::U4 | Element::S8 | Element::U8 => AccumulatorType::S32,
            _ => AccumulatorType::F32,
        };
        let same = |ty: AccumulatorType, element: Element| {
            of(element) == ty || (ty == AccumulatorType::F16 && of(element) == AccumulatorType::F32)
        };
        if [self.c, self.d].iter().any(|&ty| !same(ty, self.a) || !same(ty, self.b)) || (self.c != self.d && !volta) {
            let (a, b) = (self.a.name(), self.b.name());
            return error(format!("{a} x {b} is not added in {:?} to {:?}", self.c, self.d));
        }
        let packed = self.a == Element::E2m1 && self.b == Element::E2m1;
        if self.kind == Kind::Packed && !packed {
            return error("`.kind::mxf4` and `.kind::mxf4nvf4` multiply e2m1 alone");
        }
        if self.kind == Kind::Plain
            && [self.a, self.b].iter().any(|element| matches!(element.bits(), 4 | 6) && element.integer(0).is_none())
        {
            return error("elements of 6 and 4 bits need a `.kind`");
        }
        Ok(())
    }
}

fn shape(text: &str) -> Option<Shape> {
    let (m, rest) = text.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some(Shape { m: m.parse().ok()?, n: n.parse().ok()?, k: k.parse().ok()? })
}

fn element(text: &str) -> Result<Element, ModifierError> {
    let found = Element::ALL.iter().find(|element| element.name() == text);
    found.copied().map_or_else(|| error(format!("`.{text}` is no type of A or B")), Ok)
}

fn accumulator(text: &str) -> Result<AccumulatorType, ModifierError> {
    match text {
        "f16" => Ok(AccumulatorType::F16),
        "f32" => Ok(AccumulatorType::F32),
        "f64" => Ok(AccumulatorType::F64),
        "s32" => Ok(AccumulatorType::S32),
        other => error(format!("`.{other}` is no type of C or D")),
    }
}
