//! Floating-point results by the host's own arithmetic and searches over codes, sharing nothing with the emulator.

use gable_ptx::ScalarType as T;

/// What NaN is in a type.
pub fn nan(ty: T) -> u64 {
    match ty {
        T::F64 => 0xfff8_0000_0000_0000,
        T::F32 => 0x7fff_ffff,
        _ => 0x7fff,
    }
}

/// The number of some bits.
pub fn number(bits: u64, ty: T) -> f64 {
    match ty {
        T::F64 => f64::from_bits(bits),
        T::F32 => f64::from(f32::from_bits(bits as u32)),
        T::F16 => half::f16::from_bits(bits as u16).to_f64(),
        _ => half::bf16::from_bits(bits as u16).to_f64(),
    }
}

/// The bits of `x` rounded to a half type; `beyond` says in which direction the true number lies from `x`, if it differs.
fn half_bits(x: f64, beyond: f64, ty: T) -> u64 {
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let infinity: u64 = if ty == T::F16 { 0x7c00 } else { 0x7f80 };
    let value = |code: u64| {
        // The code after the largest number stands where the next number would.
        let top = if ty == T::F16 { 65536.0 } else { 2f64.powi(128) };
        if code == infinity { top } else { number(code, ty) }
    };
    let (magnitude, beyond) = (x.abs(), if x.is_sign_negative() { -beyond } else { beyond });
    if magnitude >= value(infinity) {
        return sign | infinity;
    }
    let (mut low, mut high) = (0, infinity);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if value(middle) <= magnitude { low = middle } else { high = middle }
    }
    let middle = (value(low) + value(low + 1)) / 2.0;
    let up = magnitude > middle || magnitude == middle && (beyond > 0.0 || beyond == 0.0 && low & 1 == 1);
    sign | (low + u64::from(up))
}

/// The bits of an exact f64 in a type, to nearest even.
pub fn bits(x: f64, ty: T) -> u64 {
    match ty {
        _ if x.is_nan() => nan(ty),
        T::F64 => x.to_bits(),
        T::F32 => u64::from((x as f32).to_bits()),
        _ => half_bits(x, 0.0, ty),
    }
}

/// `a * b + c`.
pub fn fma(a: u64, b: u64, c: u64, ty: T) -> u64 {
    let [x, y, z] = [a, b, c].map(|bits| number(bits, ty));
    match ty {
        T::F64 => bits(x.mul_add(y, z), ty),
        T::F32 => bits(f64::from((x as f32).mul_add(y as f32, z as f32)), ty),
        _ => {
            // The product of two half numbers is an f64; what the sum of it and the addend loses is found exactly.
            let product = x * y;
            let sum = product + z;
            if !sum.is_finite() || sum == 0.0 {
                return bits(sum, ty);
            }
            let (large, small) = if product.abs() >= z.abs() { (product, z) } else { (z, product) };
            half_bits(sum, small - (sum - large), ty)
        }
    }
}
