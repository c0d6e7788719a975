//! What instructions compute from values alone. Registers are bit patterns; a type says how to read one.

use gable_ptx::ScalarType;
use gable_ptx::meaning::{Binary, Clamp, Comparison, Convert, Meaning, Rounding, Ternary, Unary};
use gable_tensor::{DType, Scalar};
use half::{bf16, f16};

fn is_signed(ty: ScalarType) -> bool {
    matches!(ty, ScalarType::S8 | ScalarType::S16 | ScalarType::S32 | ScalarType::S64)
}

fn width(ty: ScalarType) -> u32 {
    if ty == ScalarType::Pred { 1 } else { ty.bytes() * 8 }
}

/// The integer that bits of `ty` are.
fn integer(bits: u64, ty: ScalarType) -> i128 {
    let width = width(ty);
    let low = if width == 64 { bits } else { bits & ((1 << width) - 1) };
    let negative = is_signed(ty) && low >> (width - 1) & 1 == 1;
    i128::from(low) - if negative { 1 << width } else { 0 }
}

/// The number that bits of a float type are.
fn float(bits: u64, ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F16 => f16::from_bits(bits as u16).to_f64(),
        ScalarType::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        ScalarType::F32 => f32::from_bits(bits as u32).into(),
        ScalarType::F64 => f64::from_bits(bits),
        other => panic!("{other} is no float"),
    }
}

/// The bits of a number rounded to a float type. Of an f64, so only right where the f64 is exact or rounds harmlessly.
fn float_bits(value: f64, ty: ScalarType) -> u64 {
    match ty {
        ScalarType::F16 => f16::from_f64(value).to_bits().into(),
        ScalarType::Bf16 => bf16::from_f64(value).to_bits().into(),
        ScalarType::F32 => (value as f32).to_bits().into(),
        ScalarType::F64 => value.to_bits(),
        other => panic!("{other} is no float"),
    }
}

/// The 8-bit type of a packed pair.
fn packed(ty: ScalarType) -> Option<DType> {
    match ty {
        ScalarType::E4m3x2 => Some(DType::E4M3),
        ScalarType::E5m2x2 => Some(DType::E5M2),
        _ => None,
    }
}

pub(super) fn convert(convert: Convert, values: &[u64]) -> u64 {
    use ScalarType::*;
    let Convert { to, from, rounding, clamp } = convert;
    if let Some(dtype) = packed(to) {
        let byte = |value: u64| {
            let mut bytes = [0; 8];
            Scalar::F(float(value, from)).store(dtype, &mut bytes);
            u64::from(bytes[0])
        };
        return byte(values[0]) << 8 | byte(values[1]);
    }
    if let (Some(dtype), F16x2) = (packed(from), to) {
        let half = |byte: u64| float_bits(Scalar::load(dtype, &[byte as u8]).as_f64(), F16);
        return half(values[0] >> 8 & 0xff) << 16 | half(values[0] & 0xff);
    }
    match (to, from) {
        (F16x2, F32) => float_bits(float(values[0], F32), F16) << 16 | float_bits(float(values[1], F32), F16),
        (Bf16x2, F32) => float_bits(float(values[0], F32), Bf16) << 16 | float_bits(float(values[1], F32), Bf16),
        (Tf32, F32) => {
            let word = values[0] as u32;
            u64::from((word + 0xfff + (word >> 13 & 1)) & !0x1fff)
        }
        _ if to.is_float() && from.is_float() => float_bits(float(values[0], from), to),
        // From i64 an f32 would be rounded twice by way of f64.
        (F32, _) => (integer(values[0], from) as f32).to_bits().into(),
        (F64, _) => (integer(values[0], from) as f64).to_bits(),
        _ if from.is_float() => {
            assert_eq!(rounding, Rounding::Zero, "float to integer goes toward zero here");
            let (low, high) = range(to);
            (float(values[0], from) as i128).clamp(low, high) as u64
        }
        _ => {
            let value = integer(values[0], from);
            let (low, high) = range(to);
            if clamp == Clamp::Saturate { value.clamp(low, high) as u64 } else { integer(value as u64, to) as u64 }
        }
    }
}

fn range(ty: ScalarType) -> (i128, i128) {
    if is_signed(ty) { (-(1 << (width(ty) - 1)), (1 << (width(ty) - 1)) - 1) } else { (0, (1 << width(ty)) - 1) }
}

pub(super) fn compute(meaning: Meaning, v: &[u64]) -> u64 {
    match meaning {
        Meaning::Move(_) | Meaning::Bits { .. } | Meaning::AddressTo(_) => v[0],
        Meaning::Select(_) => v[if v[2] != 0 { 0 } else { 1 }],
        Meaning::Unary(op, ty) if ty.is_float() => {
            let a = float(v[0], ty);
            let value = match op {
                Unary::Neg => -a,
                Unary::Abs => a.abs(),
                Unary::Sqrt | Unary::SqrtApprox => a.sqrt(),
                Unary::RsqrtApprox => 1.0 / a.sqrt(),
                Unary::Rcp | Unary::RcpApprox | Unary::RcpApproxFlush => 1.0 / a,
                Unary::Exp2Approx | Unary::Exp2ApproxFlush => a.exp2(),
                Unary::Log2Approx | Unary::Log2ApproxFlush => a.log2(),
                Unary::RoundEven => a.round_ties_even(),
                Unary::Truncate => a.trunc(),
                Unary::Floor => a.floor(),
                Unary::Ceil => a.ceil(),
                other => panic!("{other:?} of {ty}"),
            };
            float_bits(value, ty)
        }
        Meaning::Unary(op, ty) => match op {
            Unary::Not => !v[0],
            Unary::Neg => integer(v[0], ty).wrapping_neg() as u64,
            Unary::Abs => integer(v[0], ty).wrapping_abs() as u64,
            Unary::PopCount => (integer(v[0], ty) as u64).count_ones().into(),
            other => panic!("{other:?} of {ty}"),
        },
        Meaning::Binary(op, ty) if ty.is_float() => {
            let (a, b) = (float(v[0], ty), float(v[1], ty));
            let nan = a.is_nan() || b.is_nan();
            let value = match op {
                Binary::Add => a + b,
                Binary::Sub => a - b,
                Binary::Mul => a * b,
                Binary::Div | Binary::DivFull | Binary::DivApprox => a / b,
                Binary::CopySign => b.copysign(a),
                Binary::Max => a.max(b),
                Binary::Min => a.min(b),
                Binary::MaxNan => {
                    if nan {
                        f64::NAN
                    } else {
                        a.max(b)
                    }
                }
                Binary::MinNan => {
                    if nan {
                        f64::NAN
                    } else {
                        a.min(b)
                    }
                }
                other => panic!("{other:?} of {ty}"),
            };
            float_bits(value, ty)
        }
        Meaning::Binary(op, ty) => {
            let (a, b) = (integer(v[0], ty), integer(v[1], ty));
            // Shift counts are u32, and clamp to the width.
            let count = (v[1] as u32).min(width(ty));
            let value = match op {
                Binary::Add => a.wrapping_add(b),
                Binary::Sub => a.wrapping_sub(b),
                Binary::Mul | Binary::MulWide => a.wrapping_mul(b),
                Binary::MulHigh => a.wrapping_mul(b) >> width(ty),
                Binary::Div => a / b,
                Binary::Rem => a % b,
                Binary::Min => a.min(b),
                Binary::Max => a.max(b),
                Binary::And => a & b,
                Binary::Or => a | b,
                Binary::Xor => a ^ b,
                Binary::Shl => a << count,
                Binary::Shr => a >> count,
                other => panic!("{other:?} of {ty}"),
            };
            value as u64
        }
        Meaning::Ternary(Ternary::Fma, ScalarType::F32) => {
            let [a, b, c] = [v[0], v[1], v[2]].map(|bits| f32::from_bits(bits as u32));
            a.mul_add(b, c).to_bits().into()
        }
        Meaning::Ternary(Ternary::Fma, ScalarType::F64) => {
            let [a, b, c] = [v[0], v[1], v[2]].map(f64::from_bits);
            a.mul_add(b, c).to_bits()
        }
        Meaning::Ternary(op, ty) => match op {
            Ternary::Mad => v[0].wrapping_mul(v[1]).wrapping_add(v[2]),
            Ternary::MadWide => {
                let product = integer(v[0], ty).wrapping_mul(integer(v[1], ty));
                (product as u64).wrapping_add(v[2])
            }
            Ternary::BitFieldExtract => {
                let (start, length) = (v[1] as u32, v[2] as u32);
                let field = (v[0] & 0xffff_ffff) >> start & ((1u64 << length) - 1);
                let negative = is_signed(ty) && length > 0 && field >> (length - 1) & 1 == 1;
                if negative { field | !((1u64 << length) - 1) } else { field }
            }
            Ternary::BitFieldInsert => {
                let (start, length) = (v[2] as u32, v[3] as u32);
                let mask = ((1u64 << length) - 1) << start;
                v[1] & !mask | v[0] << start & mask
            }
            other => panic!("{other:?} of {ty}"),
        },
        Meaning::Compare(op, ty) => u64::from(compare(op, ty, v[0], v[1])),
        other => panic!("{other:?} is not interpreted"),
    }
}

fn compare(op: Comparison, ty: ScalarType, a: u64, b: u64) -> bool {
    let order =
        if ty.is_float() { float(a, ty).partial_cmp(&float(b, ty)) } else { Some(integer(a, ty).cmp(&integer(b, ty))) };
    // The plain forms fail where an operand is NaN, the `U` forms hold.
    let (plain, unordered) = match op {
        Comparison::Eq => (order.is_some_and(|o| o.is_eq()), false),
        Comparison::Ne => (order.is_some_and(|o| o.is_ne()), false),
        Comparison::Lt => (order.is_some_and(|o| o.is_lt()), false),
        Comparison::Le => (order.is_some_and(|o| o.is_le()), false),
        Comparison::Gt => (order.is_some_and(|o| o.is_gt()), false),
        Comparison::Ge => (order.is_some_and(|o| o.is_ge()), false),
        Comparison::EqU => (order.is_some_and(|o| o.is_eq()), true),
        Comparison::NeU => (order.is_some_and(|o| o.is_ne()), true),
        Comparison::LtU => (order.is_some_and(|o| o.is_lt()), true),
        Comparison::LeU => (order.is_some_and(|o| o.is_le()), true),
        Comparison::GtU => (order.is_some_and(|o| o.is_gt()), true),
        Comparison::GeU => (order.is_some_and(|o| o.is_ge()), true),
        Comparison::Num => (order.is_some(), false),
        Comparison::Nan => (false, true),
    };
    plain || (unordered && order.is_none())
}
