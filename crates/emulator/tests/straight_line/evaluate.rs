//! What a row computes, by its `Meaning` alone, for one thread.

use gable_ptx::ScalarType as T;
use gable_ptx::meaning::{Binary, Clamp, Comparison, Convert, Meaning, Rounding, Ternary, Unary};

use crate::floats::{bits, fma, nan, number};
use crate::program::{Source, Step};

/// Runs one step on the registers of a thread; `None` where the meaning is not known here.
pub fn step(step: &Step, state: &mut [u64]) -> Option<()> {
    let value = |source: &Source| match source {
        Source::Register(register) => state[*register],
        Source::Constant(value) => *value,
        Source::Vector(_) => 0,
    };
    let sources: Vec<u64> = step.sources.iter().map(value).collect();
    let results = match (&step.opcode.form().meaning, &step.sources[..]) {
        (Meaning::Pack(ty), [Source::Vector(parts)]) => {
            let part = width(*ty) / 2;
            vec![parts.iter().enumerate().fold(0, |word, (i, &register)| word | state[register] << (part * i as u32))]
        }
        (Meaning::Unpack(ty), _) => {
            let part = width(*ty) / 2;
            vec![sources[0] & ((1 << part) - 1), sources[0] >> part]
        }
        (meaning, _) => vec![result(*meaning, &sources)?],
    };
    for (&destination, result) in step.destinations.iter().zip(results) {
        state[destination] = result & mask(step, destination);
    }
    Some(())
}

/// The bits that the register of a result has.
fn mask(step: &Step, destination: usize) -> u64 {
    const WIDTHS: [u32; 6] = [1, 16, 32, 64, 32, 64];
    debug_assert!(step.destinations.contains(&destination));
    u64::MAX >> (64 - WIDTHS[destination / (crate::program::Program::registers() / WIDTHS.len())])
}

fn width(ty: T) -> u32 {
    match ty {
        T::Pred => 1,
        T::B8 | T::U8 | T::S8 => 8,
        T::B16 | T::U16 | T::S16 | T::F16 | T::Bf16 => 16,
        T::B64 | T::U64 | T::S64 | T::F64 => 64,
        T::E4m3x2 | T::E5m2x2 | T::E2m3x2 | T::E3m2x2 | T::Ue8m0x2 => 16,
        _ => 32,
    }
}

fn is_float(ty: T) -> bool {
    matches!(ty, T::F16 | T::Bf16 | T::F32 | T::F64)
}

fn is_signed(ty: T) -> bool {
    matches!(ty, T::S8 | T::S16 | T::S32 | T::S64)
}

/// The low bits of a word as an integer.
fn integer(word: u64, ty: T) -> i128 {
    let bits = width(ty);
    let low = i128::from(word) & ((1 << bits) - 1);
    if is_signed(ty) && low >> (bits - 1) & 1 == 1 { low - (1 << bits) } else { low }
}

/// The type of the elements of a packed half type.
fn element(ty: T) -> Option<T> {
    match ty {
        T::F16x2 => Some(T::F16),
        T::Bf16x2 => Some(T::Bf16),
        _ => None,
    }
}

fn result(meaning: Meaning, s: &[u64]) -> Option<u64> {
    Some(match meaning {
        Meaning::Unary(op, ty) => match element(ty) {
            Some(element) => unary(op, s[0] & 0xffff, element)? | unary(op, s[0] >> 16, element)? << 16,
            None => unary(op, s[0], ty)?,
        },
        Meaning::Binary(op, ty) => match element(ty) {
            Some(element) => {
                binary(op, s[0] & 0xffff, s[1] & 0xffff, element)? | binary(op, s[0] >> 16, s[1] >> 16, element)? << 16
            }
            None => binary(op, s[0], s[1], ty)?,
        },
        Meaning::Ternary(op, ty) => match element(ty) {
            Some(element) => {
                let half =
                    |shift: u32| ternary(op, &s.iter().map(|x| x >> shift & 0xffff).collect::<Vec<_>>(), element);
                half(0)? | half(16)? << 16
            }
            None => ternary(op, s, ty)?,
        },
        Meaning::Compare(comparison, ty) => u64::from(compare(comparison, s[0], s[1], ty)),
        Meaning::Select(_) => {
            if s[2] == 1 {
                s[0]
            } else {
                s[1]
            }
        }
        Meaning::Move(_) | Meaning::Bits { .. } => s[0],
        Meaning::Convert(convert) => conversion(convert, s)?,
        _ => return None,
    })
}

fn unary(op: Unary, a: u64, ty: T) -> Option<u64> {
    let bit = |place: u32| a >> place & 1;
    let bits_of_type = width(ty);
    if !is_float(ty) {
        return Some(match op {
            Unary::Neg => (-integer(a, ty)) as u64,
            Unary::Abs => integer(a, ty).unsigned_abs() as u64,
            Unary::Not => !a,
            Unary::PopCount => (0..bits_of_type).map(bit).sum(),
            Unary::LeadingZeros => (0..bits_of_type).rev().take_while(|&place| bit(place) == 0).count() as u64,
            Unary::ReverseBits => (0..bits_of_type).fold(0, |word, place| word << 1 | bit(place)),
            _ => return None,
        });
    }
    let x = number(a, ty);
    let sign = 1 << (bits_of_type - 1);
    // What keeps the format keeps the payload of an f64.
    let kept = |y: f64| if ty == T::F64 && x.is_nan() { a | 1 << 51 } else { bits(y, ty) };
    Some(match op {
        Unary::Neg | Unary::Abs if x.is_nan() => kept(x),
        Unary::Neg => a ^ sign,
        Unary::Abs => a & !sign,
        Unary::Sqrt if ty == T::F32 => bits(f64::from((x as f32).sqrt()), ty),
        Unary::Sqrt => kept(x.sqrt()),
        Unary::Rcp if ty == T::F32 => bits(f64::from(1.0 / x as f32), ty),
        Unary::Rcp => kept(1.0 / x),
        Unary::RoundEven => kept(x.round_ties_even()),
        Unary::Truncate => kept(x.trunc()),
        Unary::Floor => kept(x.floor()),
        Unary::Ceil => kept(x.ceil()),
        Unary::Saturate => {
            if x > 0.0 {
                bits(x.min(1.0), ty)
            } else {
                0
            }
        }
        Unary::IsFinite => u64::from(x.is_finite()),
        Unary::IsInfinite => u64::from(x.is_infinite()),
        Unary::IsNan => u64::from(x.is_nan()),
        Unary::IsNumber => u64::from(!x.is_nan()),
        Unary::IsNormal | Unary::IsSubnormal => {
            let smallest = if ty == T::F64 { f64::MIN_POSITIVE } else { 2f64.powi(-126) };
            let below = x != 0.0 && x.abs() < smallest;
            u64::from(if op == Unary::IsSubnormal { below } else { x.is_finite() && !below })
        }
        _ => return None,
    })
}

fn binary(op: Binary, a: u64, b: u64, ty: T) -> Option<u64> {
    if is_float(ty) {
        return float_binary(op, a, b, ty);
    }
    let (x, y) = (integer(a, ty), integer(b, ty));
    let bits = width(ty);
    // The amount of a shift is a u32 whatever the type.
    let amount = (b & 0xffff_ffff).min(127) as u32;
    Some(match op {
        Binary::Add => (x + y) as u64,
        Binary::Sub => (x - y) as u64,
        Binary::Mul => x.wrapping_mul(y) as u64,
        Binary::MulHigh if bits < 64 => ((x * y) >> bits) as u64,
        Binary::MulHigh if is_signed(ty) => ((x * y) >> 64) as u64,
        Binary::MulHigh => ((x as u128 * y as u128) >> 64) as u64,
        Binary::MulWide => (x * y) as u64,
        Binary::Div => {
            if y == 0 {
                u64::MAX
            } else {
                (x / y) as u64
            }
        }
        Binary::Rem => {
            if y == 0 {
                u64::MAX
            } else {
                (x % y) as u64
            }
        }
        Binary::Min => x.min(y) as u64,
        Binary::Max => x.max(y) as u64,
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => {
            if amount < bits {
                a << amount
            } else {
                0
            }
        }
        Binary::Shr => (x >> amount) as u64,
        _ => return None,
    })
}

fn float_binary(op: Binary, a: u64, b: u64, ty: T) -> Option<u64> {
    let (x, y) = (number(a, ty), number(b, ty));
    let one = bits(1.0, ty);
    let sign = 1u64 << (width(ty) - 1);
    let payload = [a, b].into_iter().find(|&source| ty == T::F64 && number(source, ty).is_nan());
    if let (Some(payload), Binary::Add | Binary::Sub | Binary::Mul | Binary::Div) = (payload, op) {
        return Some(payload | 1 << 51);
    }
    let less = |a: u64, b: u64| {
        let (x, y) = (number(a, ty), number(b, ty));
        x < y || x == y && a & sign != 0 && b & sign == 0
    };
    Some(match op {
        Binary::Add => fma(a, one, b, ty),
        Binary::Sub => fma(a, one, b ^ sign, ty),
        // The zero of the product's own sign changes nothing.
        Binary::Mul => fma(a, b, (a ^ b) & sign, ty),
        Binary::Div if ty == T::F32 => bits(f64::from(x as f32 / y as f32), ty),
        Binary::Div => bits(x / y, ty),
        Binary::MinNan | Binary::MaxNan if x.is_nan() || y.is_nan() => nan(ty),
        Binary::Min | Binary::Max if x.is_nan() && y.is_nan() => nan(ty),
        Binary::Min | Binary::Max if x.is_nan() => b,
        Binary::Min | Binary::Max if y.is_nan() => a,
        Binary::Min | Binary::MinNan => {
            if less(a, b) {
                a
            } else {
                b
            }
        }
        Binary::Max | Binary::MaxNan => {
            if less(a, b) {
                b
            } else {
                a
            }
        }
        Binary::CopySign => a & sign | b & !sign,
        _ => return None,
    })
}

fn ternary(op: Ternary, s: &[u64], ty: T) -> Option<u64> {
    let [a, b, c] = [s[0], s[1], s[2]];
    let bit = |word: u64, place: u64| if place < 64 { word >> place & 1 } else { 0 };
    let word = |of: &dyn Fn(u64) -> u64| (0..32).fold(0, |word, place| word | of(place) << place);
    Some(match op {
        Ternary::Fma | Ternary::FmaRelu => {
            let payload = [a, b, c].into_iter().find(|&source| ty == T::F64 && number(source, ty).is_nan());
            let plain = payload.map_or_else(|| fma(a, b, c, ty), |payload| payload | 1 << 51);
            let negative = plain & 1 << (width(ty) - 1) != 0;
            if op == Ternary::FmaRelu && negative && !number(plain, ty).is_nan() { 0 } else { plain }
        }
        Ternary::Mad => integer(a, ty).wrapping_mul(integer(b, ty)).wrapping_add(integer(c, ty)) as u64,
        Ternary::MadWide => ((integer(a, ty) * integer(b, ty)) as u64).wrapping_add(c),
        Ternary::Logic3 => word(&|i| bit(s[3], 4 * bit(a, i) + 2 * bit(b, i) + bit(c, i))),
        Ternary::Permute => (0..4).fold(0, |word, i| {
            let selector = c >> (4 * i) & 15;
            let byte = (b << 32 | a) >> (8 * (selector & 7)) & 0xff;
            let byte = if selector & 8 == 0 {
                byte
            } else if byte >> 7 == 1 {
                0xff
            } else {
                0
            };
            word | byte << (8 * i)
        }),
        Ternary::PermuteForward4
        | Ternary::PermuteBackward4
        | Ternary::PermuteReplicate8
        | Ternary::PermuteEdgeLeft
        | Ternary::PermuteEdgeRight
        | Ternary::PermuteReplicate16 => {
            let selector = c & 3;
            let place = |i: u64| match op {
                Ternary::PermuteForward4 => selector + i,
                Ternary::PermuteBackward4 => selector.wrapping_sub(i) & 7,
                Ternary::PermuteReplicate8 => selector,
                Ternary::PermuteEdgeLeft => i.max(selector),
                Ternary::PermuteEdgeRight => i.min(selector),
                _ => 2 * (selector & 1) + (i & 1),
            };
            (0..4).fold(0, |word, i| word | ((b << 32 | a) >> (8 * place(i)) & 0xff) << (8 * i))
        }
        Ternary::BitFieldExtract => {
            let (start, length) = (b & 0xff, c & 0xff);
            let fill = if is_signed(ty) && length > 0 { bit(a, (start + length - 1).min(31)) } else { 0 };
            word(&|i| if i < length && start + i < 32 { bit(a, start + i) } else { fill })
        }
        Ternary::BitFieldInsert => {
            let (start, length) = (c & 0xff, s[3] & 0xff);
            word(&|i| if i >= start && i < start + length { bit(a, i - start) } else { bit(b, i) })
        }
        Ternary::FunnelShiftLeft => (b << 32 | a) << (c & 31) >> 32,
        Ternary::FunnelShiftRight => (b << 32 | a) >> (c & 31),
        Ternary::DotProduct4 => {
            let byte = |word: u64, i: u32| integer(word >> (8 * i), if is_signed(ty) { T::S8 } else { T::U8 });
            ((0..4).map(|i| byte(a, i) * byte(b, i)).sum::<i128>() + i128::from(c)) as u64
        }
    })
}

fn compare(comparison: Comparison, a: u64, b: u64, ty: T) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = if is_float(ty) {
        number(a, ty).partial_cmp(&number(b, ty))
    } else {
        Some(integer(a, ty).cmp(&integer(b, ty)))
    };
    match comparison {
        Comparison::Eq => order == Some(Equal),
        Comparison::Ne => matches!(order, Some(Less | Greater)),
        Comparison::Lt => order == Some(Less),
        Comparison::Le => matches!(order, Some(Less | Equal)),
        Comparison::Gt => order == Some(Greater),
        Comparison::Ge => matches!(order, Some(Greater | Equal)),
        Comparison::EqU => matches!(order, None | Some(Equal)),
        Comparison::NeU => order != Some(Equal),
        Comparison::LtU => matches!(order, None | Some(Less)),
        Comparison::LeU => order != Some(Greater),
        Comparison::GtU => matches!(order, None | Some(Greater)),
        Comparison::GeU => order != Some(Less),
        Comparison::Num => order.is_some(),
        Comparison::Nan => order.is_none(),
    }
}

/// The values of a small packed format, by its definition: the code of every value that is a number, with its value.
fn small_values(ty: T) -> Option<(Vec<f64>, u32, u64)> {
    // Exponent and fraction bits, bits of an element in the register, and what NaN becomes.
    let (exponent_bits, fraction_bits, stride, nan) = match ty {
        T::E4m3x2 => (4u32, 3u32, 8, 0x7f),
        T::E5m2x2 => (5, 2, 8, 0x7f),
        T::E2m3x2 => (2, 3, 8, 0x1f),
        T::E3m2x2 => (3, 2, 8, 0x1f),
        _ => return None,
    };
    let bias = (1 << (exponent_bits - 1)) - 1;
    let count = match ty {
        T::E4m3x2 => 0x7f,
        T::E5m2x2 => 0x7c,
        _ => 1 << (exponent_bits + fraction_bits),
    };
    let value = |code: i32| {
        let (field, fraction) =
            (code >> fraction_bits, f64::from(code % (1 << fraction_bits)) / f64::from(1 << fraction_bits));
        if field == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(field - bias) }
    };
    Some(((0..count).map(value).collect(), stride, nan))
}

/// Two numbers into a pair of a small format.
fn pack_small(high: f64, low: f64, to: T, relu: bool) -> Option<u64> {
    let (values, stride, nan) = small_values(to)?;
    let sign = (values.len() as u64).next_power_of_two();
    let element = |x: f64| {
        if x.is_nan() {
            return nan;
        }
        if relu && x.is_sign_negative() {
            return 0;
        }
        let largest = values.last().copied().unwrap_or(0.0);
        // The nearest value, the even code of two; the largest where the number is beyond.
        let distance = |code: usize| (values[code] - x.abs().min(2.0 * largest)).abs();
        let nearest =
            (0..values.len()).min_by(|&i, &j| distance(i).total_cmp(&distance(j)).then((i % 2).cmp(&(j % 2))));
        nearest.unwrap_or(0) as u64 | if x.is_sign_negative() { sign } else { 0 }
    };
    Some(element(high) << stride | element(low))
}

fn conversion(convert: Convert, s: &[u64]) -> Option<u64> {
    let Convert { to, from, rounding, clamp } = convert;
    let relu = matches!(clamp, Clamp::Relu | Clamp::FiniteRelu);
    let finite = matches!(clamp, Clamp::Finite | Clamp::FiniteRelu);
    if let Some(half) = element(to)
        && from == T::F32
    {
        let convert = |bits| conversion(Convert { to: half, from, rounding, clamp }, &[bits]);
        return Some(convert(s[0])? << 16 | convert(s[1])?);
    }
    if small_values(to).is_some() {
        return match element(from) {
            Some(half) => pack_small(number(s[0] >> 16, half), number(s[0] & 0xffff, half), to, relu),
            None => pack_small(number(s[0], from), number(s[1], from), to, relu),
        };
    }
    if let (Some((values, stride, _)), Some(half)) = (small_values(from), element(to)) {
        let sign = (values.len() as u64).next_power_of_two();
        let widen = |code: u64| {
            let magnitude = (code & (sign - 1)) as usize;
            let beyond = if from == T::E5m2x2 && magnitude == 0x7c { f64::INFINITY } else { f64::NAN };
            let x = values.get(magnitude).copied().unwrap_or(beyond);
            bits(if code & sign != 0 { -x } else { x }, half)
        };
        return Some(widen(s[0] >> stride) << 16 | widen(s[0] & ((1 << stride) - 1)));
    }
    match (to, from) {
        (T::Tf32, T::F32) => return Some(tf32(s[0], rounding)),
        (T::Ue8m0x2, T::F32) => {
            let scale = |bits: u64| {
                let x = number(bits, T::F32).abs();
                let place = if rounding == Rounding::Up { x.log2().ceil() } else { x.log2().floor() };
                if x.is_nan() { 0xff } else { (place.clamp(-127.0, 127.0) + 127.0) as u64 }
            };
            return Some(scale(s[0]) << 8 | scale(s[1]));
        }
        (T::Ue8m0x2, T::Bf16x2) => {
            let single = Convert { to, from: T::F32, rounding, clamp };
            return conversion(single, &[s[0] & 0xffff_0000, s[0] << 16 & 0xffff_0000]);
        }
        (T::Bf16x2, T::Ue8m0x2) => {
            let scale = |code: u64| bits(if code == 0xff { f64::NAN } else { 2f64.powi(code as i32 - 127) }, T::Bf16);
            return Some(scale(s[0] >> 8 & 0xff) << 16 | scale(s[0] & 0xff));
        }
        _ => {}
    }
    if !is_float(from) {
        let value = integer(s[0], from);
        if !is_float(to) {
            let (smallest, largest) = range(to);
            return Some(if clamp == Clamp::Saturate { value.clamp(smallest, largest) } else { value } as u64)
                .map(|word| integer(word, to) as u64);
        }
        return Some(from_integer(value, to));
    }
    let x = number(s[0], from);
    if !is_float(to) {
        let (smallest, largest) = range(to);
        if x.is_nan() {
            let sign_bit = from == T::F64 || width(to) == 64;
            return Some(if sign_bit { integer(1 << (width(to) - 1), to) as u64 } else { 0 });
        }
        let whole = match rounding {
            Rounding::Nearest => x.round_ties_even(),
            Rounding::Down => x.floor(),
            Rounding::Up => x.ceil(),
            _ => x.trunc(),
        };
        // `as` saturates at the ends of i128, far beyond every type.
        return Some((whole as i128).clamp(smallest, largest) as u64);
    }
    if x.is_nan() && (to == T::F64 || (to, from) == (T::F32, T::Bf16)) {
        // bf16 to f32 is a shift; f64 keeps the leading bits of a payload.
        let single = match from {
            T::F32 => s[0],
            T::Bf16 => s[0] << 16,
            _ => (s[0] & 0x8000) << 16 | 0x7f80_0000 | (s[0] & 0x3ff) << 13,
        };
        let wide = (single & 1 << 31) << 32 | 0x7ff8 << 48 | (single & 0x7f_ffff) << 29;
        return Some(if to == T::F64 { wide } else { single });
    }
    if x.is_nan() && from == T::F64 {
        // The leading bits of the payload, quiet.
        let (exponent, fraction_bits) = match to {
            T::F32 => (0x7f80_0000, 23),
            T::F16 => (0x7c00, 10),
            _ => (0x7f80, 7),
        };
        let fraction = (s[0] & 0xf_ffff_ffff_ffff | 1 << 51) >> (52 - fraction_bits);
        return Some((s[0] >> 63) << (width(to) - 1) | exponent | fraction);
    }
    let code = match rounding {
        Rounding::Zero => toward_zero(x, to),
        _ => bits(x, to),
    };
    let sign = 1 << (width(to) - 1);
    let infinity = bits(f64::INFINITY, to);
    Some(match code {
        _ if x.is_nan() => nan(to),
        _ if relu && code & sign != 0 => 0,
        _ if finite && code & !sign == infinity => (infinity - 1) | (code & sign),
        _ => code,
    })
}

fn range(ty: T) -> (i128, i128) {
    let bits = width(ty);
    if is_signed(ty) { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// An integer in a float type, to nearest even: the f64 that has its last digit odd where digits were lost rounds again as the
/// integer would.
fn from_integer(value: i128, to: T) -> u64 {
    let near = value as f64;
    if to == T::F64 || near as i128 == value {
        return bits(near, to);
    }
    let toward = if (near as i128 > value) == (near > 0.0) { near.to_bits() - 1 } else { near.to_bits() };
    bits(f64::from_bits(toward | 1), to)
}

fn toward_zero(x: f64, ty: T) -> u64 {
    let code = bits(x, ty);
    let away = number(code, ty).abs() > x.abs();
    if away { code - 1 } else { code }
}

fn tf32(a: u64, rounding: Rounding) -> u64 {
    let magnitude = a & 0x7fff_ffff;
    let sign = a & 0x8000_0000;
    let nan = magnitude > 0x7f80_0000;
    match rounding {
        Rounding::NearestAway if nan => a & !0x1fff,
        Rounding::NearestAway => sign | ((magnitude + 0x1000) / 0x2000 * 0x2000),
        _ if nan => 0x7fff_e000,
        _ => {
            let (whole, rest) = (magnitude / 0x2000, magnitude % 0x2000);
            let up = rest > 0x1000 || rest == 0x1000 && whole % 2 == 1;
            sign | ((whole + u64::from(up)) * 0x2000)
        }
    }
}
