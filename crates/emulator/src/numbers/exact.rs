//! Numbers as exact integers times powers of two: taking codes apart, arithmetic, and rounding once.
//!
//! In: codes of any format. Out: the code of the result in any other. Slow and general; `float` has the short ways.

use super::Rounding;
use super::format::{Format, Specials};

/// A finite number: `significand * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finite {
    /// Whether it has a minus; zero has a sign too.
    pub negative: bool,
    /// The digits.
    pub significand: u128,
    /// The power of two that they are multiplied with.
    pub exponent: i32,
    /// Whether the true number is larger in magnitude by less than one unit of the significand, which then has at least 64
    /// digits: more than any format keeps.
    pub more: bool,
}

/// A number or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not a number.
    Nan,
    /// Infinity; whether it has a minus.
    Infinite(bool),
    /// A finite number.
    Finite(Finite),
}

/// What becomes of finite numbers and infinities that a format does not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Infinity where the rounding leads there, else the largest number.
    Infinity,
    /// `.satfinite`: the largest number, also in place of infinity.
    Saturate,
}

impl Finite {
    /// A zero.
    pub const fn zero(negative: bool) -> Self {
        Finite { negative, significand: 0, exponent: 0, more: false }
    }

    /// An integer.
    pub const fn integer(negative: bool, magnitude: u128) -> Self {
        Finite { negative, significand: magnitude, exponent: 0, more: false }
    }

    fn is_zero(self) -> bool {
        self.significand == 0
    }

    /// The same number with its highest digit at bit `top`, which loses no digit of a significand that is shorter.
    fn normalised(self, top: u32) -> Self {
        let highest = self.significand.checked_ilog2().unwrap_or(0);
        let up = top as i32 - highest as i32;
        Finite { significand: self.significand << up, exponent: self.exponent - up, ..self }
    }

    /// The significand in units of `2^exponent`, and whether there is more below. A finer unit is at most the one of a format.
    fn in_units(self, exponent: i32) -> (u128, bool) {
        let down = exponent - self.exponent;
        if down < 0 {
            return (self.significand << -down, self.more);
        }
        if down >= 128 {
            return (0, self.more || !self.is_zero());
        }
        let kept = self.significand >> down;
        (kept, self.more || kept << down != self.significand)
    }
}

impl Value {
    /// A zero.
    pub const fn zero(negative: bool) -> Self {
        Value::Finite(Finite::zero(negative))
    }

    /// Whether it has a minus; NaN has none.
    pub fn is_negative(self) -> bool {
        match self {
            Value::Nan => false,
            Value::Infinite(negative) => negative,
            Value::Finite(finite) => finite.negative,
        }
    }

    /// The number with the other sign.
    pub fn negated(self) -> Self {
        match self {
            Value::Nan => Value::Nan,
            Value::Infinite(negative) => Value::Infinite(!negative),
            Value::Finite(finite) => Value::Finite(Finite { negative: !finite.negative, ..finite }),
        }
    }
}

impl Format {
    /// The number that a code stands for.
    pub fn decode(self, code: u64) -> Value {
        let magnitude = code & ((1 << self.magnitude_bits()) - 1);
        let negative = code & self.sign_bit() != 0;
        if self.is_nan(magnitude) {
            return Value::Nan;
        }
        if self.infinity() == Some(magnitude) {
            return Value::Infinite(negative);
        }
        let finite = |significand: u64, exponent: i32| {
            Value::Finite(Finite { negative, significand: u128::from(significand), exponent, more: false })
        };
        if self.specials == Specials::PowerOfTwo {
            return finite(1, magnitude as i32 - self.bias);
        }
        let field = (magnitude >> self.fraction_bits) as i32;
        let fraction = magnitude & ((1 << self.fraction_bits) - 1);
        let unit = self.smallest_exponent() - self.fraction_bits as i32;
        match field {
            0 => finite(fraction, unit),
            _ => finite(fraction | 1 << self.fraction_bits, unit + field - 1),
        }
    }

    /// The code of a number, rounded once. Formats without a sign take the magnitude (open: what the hardware does with
    /// negative numbers there). The power-of-two format has no zero: it gives its smallest number.
    pub fn encode(self, value: Value, rounding: Rounding, overflow: Overflow) -> u64 {
        let sign = |negative: bool| if negative { self.sign_bit() } else { 0 };
        match value {
            Value::Nan => self.nan,
            Value::Infinite(negative) => {
                let infinity = self.infinity().filter(|_| overflow == Overflow::Infinity);
                sign(negative) | infinity.unwrap_or(self.largest())
            }
            Value::Finite(finite) => {
                // Without a sign a number is its magnitude, and rounds as such.
                let negative = finite.negative && self.signed;
                sign(negative) | self.encode_magnitude(Finite { negative, ..finite }, rounding, overflow)
            }
        }
    }

    fn encode_magnitude(self, finite: Finite, rounding: Rounding, overflow: Overflow) -> u64 {
        if finite.is_zero() {
            return 0;
        }
        let highest = finite.exponent + finite.significand.ilog2() as i32;
        if self.specials == Specials::PowerOfTwo {
            return self.encode_power(finite, highest, rounding);
        }
        let leading = highest.max(self.smallest_exponent());
        let unit = leading - self.fraction_bits as i32;
        let (kept, up) = if unit <= finite.exponent {
            (finite.significand << (finite.exponent - unit), false)
        } else {
            let (twice, below) = finite.in_units(unit - 1);
            let (kept, half) = (twice >> 1, twice & 1 == 1);
            (kept, rounds_up(rounding, finite.negative, kept & 1 == 1, half, below))
        };
        // The hidden bit of a normal number adds one to the exponent field, and so does a carry.
        let field = (leading - self.smallest_exponent()) as u64;
        let code = u128::from(field << self.fraction_bits) + kept + u128::from(up);
        if code <= u128::from(self.largest()) {
            return code as u64;
        }
        let toward_zero = match rounding {
            Rounding::Nearest | Rounding::NearestAway => false,
            Rounding::Zero => true,
            Rounding::Down => !finite.negative,
            Rounding::Up => finite.negative,
        };
        match self.infinity() {
            Some(infinity) if overflow == Overflow::Infinity && !toward_zero => infinity,
            _ => self.largest(),
        }
    }

    fn encode_power(self, finite: Finite, highest: i32, rounding: Rounding) -> u64 {
        let (twice, below) = finite.in_units(highest - 1);
        let half = twice & 1 == 1;
        let field = highest + self.bias;
        let up = rounds_up(rounding, false, field & 1 == 1, half, below);
        u64::try_from(field + i32::from(up)).unwrap_or(0).min(self.largest())
    }
}

/// Whether digits are rounded away from zero: `odd` is their lowest one, `half` the first dropped one, `below` the rest.
fn rounds_up(rounding: Rounding, negative: bool, odd: bool, half: bool, below: bool) -> bool {
    match rounding {
        Rounding::Nearest => half && (below || odd),
        Rounding::NearestAway => half,
        Rounding::Zero => false,
        Rounding::Down => negative && (half || below),
        Rounding::Up => !negative && (half || below),
    }
}

/// `a + b`. An exact zero from opposite signs is negative only when rounding down.
pub fn add(a: Value, b: Value, rounding: Rounding) -> Value {
    let (a, b) = match (a, b) {
        (Value::Nan, _) | (_, Value::Nan) => return Value::Nan,
        (Value::Infinite(x), Value::Infinite(y)) if x != y => return Value::Nan,
        (Value::Infinite(x), _) | (_, Value::Infinite(x)) => return Value::Infinite(x),
        (Value::Finite(a), Value::Finite(b)) => (a, b),
    };
    let cancelled = || Value::zero(rounding == Rounding::Down);
    match (a.is_zero(), b.is_zero()) {
        (true, true) if a.negative == b.negative => return Value::Finite(a),
        (true, true) => return cancelled(),
        (true, false) => return Value::Finite(b),
        (false, true) => return Value::Finite(a),
        (false, false) => {}
    }
    // With the highest digit at bit 125 no digit is lost until the terms are so far apart that nothing cancels.
    let (a, b) = (a.normalised(125), b.normalised(125));
    let (large, small) = if (a.exponent, a.significand) >= (b.exponent, b.significand) { (a, b) } else { (b, a) };
    let (aligned, below) = small.in_units(large.exponent);
    let significand = if large.negative == small.negative {
        large.significand + aligned
    } else {
        large.significand - aligned - u128::from(below)
    };
    if significand == 0 && !below {
        return cancelled();
    }
    Value::Finite(Finite { negative: large.negative, significand, exponent: large.exponent, more: below })
}

/// `a * b`, exactly.
pub fn multiply(a: Value, b: Value) -> Value {
    let negative = a.is_negative() != b.is_negative();
    match (a, b) {
        (Value::Nan, _) | (_, Value::Nan) => Value::Nan,
        (Value::Infinite(_), Value::Finite(x)) | (Value::Finite(x), Value::Infinite(_)) if x.is_zero() => Value::Nan,
        (Value::Infinite(_), _) | (_, Value::Infinite(_)) => Value::Infinite(negative),
        (Value::Finite(a), Value::Finite(b)) => Value::Finite(Finite {
            negative,
            significand: a.significand * b.significand,
            exponent: a.exponent + b.exponent,
            more: false,
        }),
    }
}

/// `a / b`.
pub fn divide(a: Value, b: Value) -> Value {
    let negative = a.is_negative() != b.is_negative();
    match (a, b) {
        (Value::Nan, _) | (_, Value::Nan) | (Value::Infinite(_), Value::Infinite(_)) => Value::Nan,
        (Value::Infinite(_), _) => Value::Infinite(negative),
        (_, Value::Infinite(_)) => Value::zero(negative),
        (Value::Finite(a), Value::Finite(b)) => match (a.is_zero(), b.is_zero()) {
            (true, true) => Value::Nan,
            (true, false) => Value::zero(negative),
            (false, true) => Value::Infinite(negative),
            (false, false) => {
                let a = a.normalised(127);
                Value::Finite(Finite {
                    negative,
                    significand: a.significand / b.significand,
                    exponent: a.exponent - b.exponent,
                    more: a.significand % b.significand != 0,
                })
            }
        },
    }
}

/// The square root; NaN for numbers below zero, and the zero itself for a zero of either sign.
pub fn square_root(a: Value) -> Value {
    match a {
        Value::Finite(finite) if finite.is_zero() => a,
        Value::Nan | Value::Infinite(true) | Value::Finite(Finite { negative: true, .. }) => Value::Nan,
        Value::Infinite(false) => a,
        Value::Finite(finite) => {
            let mut even = finite.normalised(126);
            if even.exponent % 2 != 0 {
                even = finite.normalised(127);
            }
            let root = even.significand.isqrt();
            Value::Finite(Finite {
                negative: false,
                significand: root,
                exponent: even.exponent / 2,
                more: root * root != even.significand,
            })
        }
    }
}
