//! A second way to every result, sharing nothing with the first: the values of a format listed from its definition, and exact
//! integers to say where a result lies among them.

use std::cmp::Ordering;

/// A format by its definition alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub exponent_bits: u32,
    pub fraction_bits: u32,
    /// The largest code below the sign that is a finite number.
    pub last_finite: u64,
    /// What overflows become: infinity's code, or the last finite one.
    pub overflow: u64,
    /// What NaN becomes.
    pub nan: u64,
}

const fn ieee(exponent_bits: u32, fraction_bits: u32, nan: u64) -> Layout {
    let infinity = ((1 << exponent_bits) - 1) << fraction_bits;
    Layout { exponent_bits, fraction_bits, last_finite: infinity - 1, overflow: infinity, nan }
}

pub const F64: Layout = ieee(11, 52, 0xfff8_0000_0000_0000);
pub const F32: Layout = ieee(8, 23, 0x7fff_ffff);
pub const F16: Layout = ieee(5, 10, 0x7fff);
pub const BF16: Layout = ieee(8, 7, 0x7fff);
pub const TF32: Layout = ieee(8, 10, 0x3_ffff);
pub const E5M2: Layout = ieee(5, 2, 0x7f);
pub const E4M3: Layout = Layout { exponent_bits: 4, fraction_bits: 3, last_finite: 0x7e, overflow: 0x7e, nan: 0x7f };
pub const E2M3: Layout = Layout { exponent_bits: 2, fraction_bits: 3, last_finite: 0x1f, overflow: 0x1f, nan: 0x1f };
pub const E3M2: Layout = Layout { exponent_bits: 3, fraction_bits: 2, last_finite: 0x1f, overflow: 0x1f, nan: 0x1f };
pub const E2M1: Layout = Layout { exponent_bits: 2, fraction_bits: 1, last_finite: 0x7, overflow: 0x7, nan: 0x7 };

impl Layout {
    /// The magnitude of a code below the sign, by the formula. Codes beyond the last finite one go on as if there were numbers:
    /// the first of them is where overflow begins.
    pub fn magnitude(self, code: u64) -> f64 {
        let bias = (1 << (self.exponent_bits - 1)) - 1;
        let field = (code >> self.fraction_bits) as i32;
        let fraction = (code & ((1 << self.fraction_bits) - 1)) as f64 / (self.fraction_bits as f64).exp2();
        if field == 0 {
            fraction * f64::from(1 - bias).exp2()
        } else {
            (1.0 + fraction) * f64::from(field - bias).exp2()
        }
    }

    pub fn sign(self) -> u64 {
        1 << (self.exponent_bits + self.fraction_bits)
    }

    pub fn saturating(self) -> Layout {
        Layout { overflow: self.last_finite, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Round {
    Nearest,
    Zero,
    Down,
    Up,
}

pub const ROUNDS: [Round; 4] = [Round::Nearest, Round::Zero, Round::Down, Round::Up];

/// The code of a number, found among the codes of the format: `compare(code)` says how the magnitude of the number stands to the
/// magnitude of a code, `compare_middle(code)` how it stands to the middle between the code and the next.
pub fn place(
    layout: Layout,
    round: Round,
    negative: bool,
    compare: impl Fn(u64) -> Ordering,
    compare_middle: impl Fn(u64) -> Ordering,
) -> u64 {
    // The last code that is not above the number; one beyond the finite ones stands for all that overflows.
    let (mut low, mut high) = (0, layout.last_finite + 2);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if compare(middle) == Ordering::Less { high = middle } else { low = middle }
    }
    choose(layout, round, negative, low, compare(low) == Ordering::Equal, compare_middle(low))
}

/// The code for a number that lies between the code `low`, on it where `exact`, and the next; `half` is how it stands to the
/// middle of the two.
fn choose(layout: Layout, round: Round, negative: bool, low: u64, exact: bool, half: Ordering) -> u64 {
    let sign = if negative { layout.sign() } else { 0 };
    let away = match round {
        Round::Nearest => half == Ordering::Greater || half == Ordering::Equal && low & 1 == 1,
        Round::Zero => false,
        Round::Down => negative,
        Round::Up => !negative,
    };
    let code = if away && !exact { low + 1 } else { low };
    if code <= layout.last_finite {
        return sign | code;
    }
    // Only what rounds toward zero stays finite.
    let outward = match round {
        Round::Nearest => true,
        Round::Zero => false,
        Round::Down => negative,
        Round::Up => !negative,
    };
    sign | if outward { layout.overflow } else { layout.last_finite }
}

/// The values of a small format, to place many numbers among them quickly.
pub struct Table {
    layout: Layout,
    values: Vec<f64>,
    /// The middle between a value and the next.
    middles: Vec<f64>,
}

impl Table {
    pub fn new(layout: Layout) -> Self {
        let values: Vec<f64> = (0..=layout.last_finite + 2).map(|code| layout.magnitude(code)).collect();
        let middles = values.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        Table { layout, values, middles }
    }

    /// The code of a number that f64 holds.
    pub fn place(&self, x: f64, round: Round) -> u64 {
        self.place_from(&mut 0, x, round)
    }

    /// `place` for numbers of ascending magnitude: `low` is where the last one was found.
    pub fn place_from(&self, low: &mut u64, x: f64, round: Round) -> u64 {
        if x.is_nan() {
            return self.layout.nan;
        }
        let negative = x.is_sign_negative();
        if x.is_infinite() {
            return self.layout.overflow | if negative { self.layout.sign() } else { 0 };
        }
        let x = x.abs();
        let beyond = |code: u64| code > self.layout.last_finite + 1 || x < self.values[code as usize];
        if beyond(*low) {
            *low = 0;
        }
        let mut step = 1;
        while !beyond(*low + step) {
            *low += step;
            step *= 2;
        }
        // The number is below `low + step` now, and not below `low`.
        let mut high = *low + step;
        while high - *low > 1 {
            let middle = *low + (high - *low) / 2;
            if beyond(middle) { high = middle } else { *low = middle }
        }
        let exact = x == self.values[*low as usize];
        let half = x.total_cmp(&self.middles[*low as usize]);
        choose(self.layout, round, negative, *low, exact, half)
    }
}

/// An integer of any length, to compare exact results; magnitude in 32-bit digits, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Big {
    digits: Vec<u32>,
}

impl Big {
    pub fn new(x: u64) -> Self {
        Big { digits: vec![x as u32, (x >> 32) as u32] }
    }

    pub fn times(&self, other: &Big) -> Big {
        let mut digits = vec![0u32; self.digits.len() + other.digits.len() + 1];
        for (i, &a) in self.digits.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.digits.iter().enumerate() {
                let sum = u64::from(a) * u64::from(b) + u64::from(digits[i + j]) + carry;
                digits[i + j] = sum as u32;
                carry = sum >> 32;
            }
            digits[i + other.digits.len()] = carry as u32;
        }
        Big { digits }
    }

    pub fn shifted(&self, up: u32) -> Big {
        let mut digits = vec![0; up as usize / 32];
        let bits = up % 32;
        let mut carry = 0;
        for &digit in &self.digits {
            let wide = u64::from(digit) << bits | carry;
            digits.push(wide as u32);
            carry = wide >> 32;
        }
        digits.push(carry as u32);
        Big { digits }
    }

    pub fn plus(&self, other: &Big) -> Big {
        let mut carry = 0;
        let length = self.digits.len().max(other.digits.len()) + 1;
        let digit = |of: &Big, i: usize| u64::from(of.digits.get(i).copied().unwrap_or(0));
        let digits = (0..length)
            .map(|i| {
                let sum = digit(self, i) + digit(other, i) + carry;
                carry = sum >> 32;
                sum as u32
            })
            .collect();
        Big { digits }
    }

    pub fn minus(&self, smaller: &Big) -> Big {
        let mut borrow = 0i64;
        let digits = (0..self.digits.len())
            .map(|i| {
                let difference =
                    i64::from(self.digits[i]) - i64::from(smaller.digits.get(i).copied().unwrap_or(0)) - borrow;
                borrow = i64::from(difference < 0);
                (difference + (borrow << 32)) as u32
            })
            .collect();
        Big { digits }
    }

    pub fn is_zero(&self) -> bool {
        self.digits.iter().all(|&digit| digit == 0)
    }

    pub fn compare(&self, other: &Big) -> Ordering {
        let length = self.digits.len().max(other.digits.len());
        let digit = |of: &Big, i: usize| of.digits.get(i).copied().unwrap_or(0);
        (0..length)
            .rev()
            .map(|i| digit(self, i).cmp(&digit(other, i)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// A number as sign, digits and power of two, read from the bits of an IEEE format.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub negative: bool,
    pub digits: u64,
    pub power: i32,
}

impl Layout {
    pub fn parts(self, code: u64) -> Parts {
        let bias = (1 << (self.exponent_bits - 1)) - 1;
        let magnitude = code & (self.sign() - 1);
        let field = (magnitude >> self.fraction_bits) as i32;
        let fraction = magnitude & ((1 << self.fraction_bits) - 1);
        let digits = if field == 0 { fraction } else { fraction + (1 << self.fraction_bits) };
        let power = field.max(1) - bias - self.fraction_bits as i32;
        Parts { negative: code & self.sign() != 0, digits, power }
    }

    fn is_nan(self, code: u64) -> bool {
        code & (self.sign() - 1) > self.overflow
    }

    fn is_infinite(self, code: u64) -> bool {
        code & (self.sign() - 1) == self.overflow
    }

    /// Digits and power of a magnitude code and of the middle between it and the next: twice the digits and one more.
    fn middle(self, code: u64) -> Parts {
        let Parts { digits, power, .. } = self.parts(code);
        Parts { negative: false, digits: 2 * digits + 1, power: power - 1 }
    }

    /// `a * b + c` of an IEEE format; the parts give the numbers, which may come from other formats.
    pub fn multiply_add(self, a: Parts, b: Parts, c: Parts, round: Round) -> u64 {
        let negative_product = a.negative != b.negative;
        let product = Big::new(a.digits).times(&Big::new(b.digits));
        let power = a.power + b.power;
        let lowest = power.min(c.power).min(self.parts(0).power - 1);
        let product = product.shifted((power - lowest) as u32);
        let addend = Big::new(c.digits).shifted((c.power - lowest) as u32);
        let (negative, magnitude) = if negative_product == c.negative {
            (c.negative, product.plus(&addend))
        } else if product.compare(&addend) == Ordering::Less {
            (c.negative, addend.minus(&product))
        } else {
            (negative_product, product.minus(&addend))
        };
        if magnitude.is_zero() {
            let both = negative_product && c.negative;
            let minus = if negative_product == c.negative { both } else { round == Round::Down };
            return if minus { self.sign() } else { 0 };
        }
        let against = |parts: Parts| magnitude.compare(&Big::new(parts.digits).shifted((parts.power - lowest) as u32));
        place(self, round, negative, |code| against(self.parts(code)), |code| against(self.middle(code)))
    }

    /// `a * b + c` of codes of the format.
    pub fn fma(self, a: u64, b: u64, c: u64, round: Round) -> u64 {
        let sign = |code: u64| code & self.sign();
        let zero = |code: u64| code & (self.sign() - 1) == 0;
        let infinite_product = self.is_infinite(a) || self.is_infinite(b);
        if [a, b, c].into_iter().any(|code| self.is_nan(code)) || infinite_product && (zero(a) || zero(b)) {
            return self.nan;
        }
        if infinite_product {
            let product = sign(a) ^ sign(b) | self.overflow;
            return if self.is_infinite(c) && c != product { self.nan } else { product };
        }
        if self.is_infinite(c) {
            return c;
        }
        self.multiply_add(self.parts(a), self.parts(b), self.parts(c), round)
    }

    /// `a / b` of codes of the format.
    pub fn quotient(self, a: u64, b: u64, round: Round) -> u64 {
        let sign = (a ^ b) & self.sign();
        let zero = |code: u64| code & (self.sign() - 1) == 0;
        if self.is_nan(a) || self.is_nan(b) || self.is_infinite(a) && self.is_infinite(b) || zero(a) && zero(b) {
            return self.nan;
        }
        if self.is_infinite(a) || zero(b) {
            return sign | self.overflow;
        }
        if self.is_infinite(b) || zero(a) {
            return sign;
        }
        let (a, b) = (self.parts(a), self.parts(b));
        // a / b against x is a against x * b.
        let against = |x: Parts| {
            let power = x.power + b.power;
            let lowest = power.min(a.power);
            let left = Big::new(a.digits).shifted((a.power - lowest) as u32);
            left.compare(&Big::new(x.digits).times(&Big::new(b.digits)).shifted((power - lowest) as u32))
        };
        place(self, round, sign != 0, |code| against(self.parts(code)), |code| against(self.middle(code)))
    }

    /// The square root of a code of the format.
    pub fn root(self, a: u64, round: Round) -> u64 {
        if a & (self.sign() - 1) == 0 {
            return a;
        }
        if self.is_nan(a) || a & self.sign() != 0 {
            return self.nan;
        }
        if self.is_infinite(a) {
            return a;
        }
        let a = self.parts(a);
        // The root of a against x is a against x * x.
        let against = |x: Parts| {
            let lowest = (2 * x.power).min(a.power);
            let left = Big::new(a.digits).shifted((a.power - lowest) as u32);
            left.compare(&Big::new(x.digits).times(&Big::new(x.digits)).shifted((2 * x.power - lowest) as u32))
        };
        place(self, round, false, |code| against(self.parts(code)), |code| against(self.middle(code)))
    }
}
