//! Integer arithmetic in 128 bits, which never wraps, cut to the type afterwards.

use gable_ptx::grammar::{Modifier as M, Op};

use crate::words::check;

const TYPES: [(M, u32, bool); 6] = [
    (M::U16, 16, false),
    (M::U32, 32, false),
    (M::U64, 64, false),
    (M::S16, 16, true),
    (M::S32, 32, true),
    (M::S64, 64, true),
];

/// The low bits as a number.
fn number(word: u64, bits: u32, signed: bool) -> i128 {
    let low = i128::from(word) & ((1 << bits) - 1);
    if signed && low >> (bits - 1) & 1 == 1 { low - (1 << bits) } else { low }
}

fn numbers(words: [u64; 4], bits: u32, signed: bool) -> [i128; 4] {
    words.map(|word| number(word, bits, signed))
}

/// The low 64 bits of a product of two numbers, exactly, and the bits above.
fn product(a: i128, b: i128) -> (u64, u64) {
    // Schoolbook on 32-bit digits of the magnitudes, negated at the end.
    let (x, y) = (a.unsigned_abs(), b.unsigned_abs());
    let digits = |v: u128| [v & 0xffff_ffff, v >> 32];
    let mut sum = [0u128; 4];
    for (i, x) in digits(x).into_iter().enumerate() {
        for (j, y) in digits(y).into_iter().enumerate() {
            let product = x * y;
            sum[i + j] += product & 0xffff_ffff;
            sum[i + j + 1] += product >> 32;
        }
    }
    let mut magnitude = 0u128;
    for (i, digit) in sum.into_iter().enumerate() {
        magnitude = magnitude.wrapping_add(digit << (32 * i));
    }
    let whole = if (a < 0) != (b < 0) { magnitude.wrapping_neg() } else { magnitude };
    (whole as u64, (whole >> 64) as u64)
}

#[test]
fn sums_products_and_quotients_of_every_type() {
    for (ty, bits, signed) in TYPES {
        let binary = |op, expected: fn(i128, i128) -> i128| {
            check(op, &[ty], bits, |words| {
                let [a, b, ..] = numbers(words, bits, signed);
                expected(a, b) as u64
            });
        };
        binary(Op::Add, |a, b| a + b);
        binary(Op::Sub, |a, b| a - b);
        binary(Op::Min, |a, b| if a < b { a } else { b });
        binary(Op::Max, |a, b| if a > b { a } else { b });
        binary(Op::Div, |a, b| if b == 0 { -1 } else { a / b });
        binary(Op::Rem, |a, b| if b == 0 { -1 } else { a % b });
        check(Op::Sad, &[ty], bits, |words| {
            let [a, b, c, _] = numbers(words, bits, signed);
            (c + (a - b).abs()) as u64
        });
        check(Op::Mul, &[M::Lo, ty], bits, |words| {
            let [a, b, ..] = numbers(words, bits, signed);
            product(a, b).0
        });
        let high = |a: i128, b: i128| {
            let (low, above) = product(a, b);
            if bits == 64 { above } else { low >> bits }
        };
        check(Op::Mul, &[M::Hi, ty], bits, |words| {
            let [a, b, ..] = numbers(words, bits, signed);
            high(a, b)
        });
        check(Op::Mad, &[M::Lo, ty], bits, |words| {
            let [a, b, c, _] = numbers(words, bits, signed);
            product(a, b).0.wrapping_add(c as u64)
        });
        check(Op::Mad, &[M::Hi, ty], bits, |words| {
            let [a, b, c, _] = numbers(words, bits, signed);
            high(a, b).wrapping_add(c as u64)
        });
        if signed {
            check(Op::Abs, &[ty], bits, |words| numbers(words, bits, true)[0].unsigned_abs() as u64);
            check(Op::Neg, &[ty], bits, |words| -numbers(words, bits, true)[0] as u64);
        }
        if bits < 64 {
            check(Op::Mul, &[M::Wide, ty], 2 * bits, |words| {
                let [a, b, ..] = numbers(words, bits, signed);
                (a * b) as u64
            });
            check(Op::Mad, &[M::Wide, ty], 2 * bits, |words| {
                let [a, b, ..] = numbers(words, bits, signed);
                ((a * b) as u64).wrapping_add(words[2])
            });
        }
    }
}

fn s32(words: [u64; 4]) -> [i128; 4] {
    numbers(words, 32, true)
}

fn clamped(x: i128) -> u64 {
    x.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as u64
}

#[test]
fn saturation_is_to_s32() {
    check(Op::Add, &[M::Sat, M::S32], 32, |words| clamped(s32(words)[0] + s32(words)[1]));
    check(Op::Sub, &[M::Sat, M::S32], 32, |words| clamped(s32(words)[0] - s32(words)[1]));
    check(Op::Mad, &[M::Hi, M::Sat, M::S32], 32, |words| {
        let [a, b, c, _] = s32(words);
        clamped((a * b).div_euclid(1 << 32) + c)
    });
    check(Op::Mad24, &[M::Hi, M::Sat, M::S32], 32, |words| {
        let [a, b, ..] = numbers(words, 24, true);
        clamped((a * b).div_euclid(1 << 16) + s32(words)[2])
    });
}

#[test]
fn products_of_24_bits_have_48() {
    for (ty, signed) in [(M::U32, false), (M::S32, true)] {
        for (half, down) in [(M::Lo, 0), (M::Hi, 16)] {
            let product = |words| {
                let [a, b, ..] = numbers(words, 24, signed);
                ((a * b) >> down) as u64
            };
            check(Op::Mul24, &[half, ty], 32, product);
            check(Op::Mad24, &[half, ty], 32, |words| product(words).wrapping_add(words[2]));
        }
    }
}

#[test]
fn halves_of_a_word_are_computed_apart() {
    let halves = |words: [u64; 4], signed: bool, of: fn(i128, i128) -> i128| {
        let half = |shift: u32| {
            let [a, b, ..] = words.map(|word| number(word >> shift, 16, signed));
            of(a, b) as u64 & 0xffff
        };
        half(16) << 16 | half(0)
    };
    for (ty, signed) in [(M::U16x2, false), (M::S16x2, true)] {
        check(Op::Add, &[ty], 32, |words| halves(words, signed, |a, b| a + b));
        check(Op::Min, &[ty], 32, |words| halves(words, signed, |a, b| a.min(b)));
        check(Op::Max, &[ty], 32, |words| halves(words, signed, |a, b| a.max(b)));
    }
    for (ty, signed) in [(M::U8x4, false), (M::S8x4, true)] {
        let bytes = |words: [u64; 4], of: fn(i128, i128) -> i128| {
            (0..4).fold(0, |word, i| {
                let [a, b, ..] = words.map(|word| number(word >> (8 * i), 8, signed));
                word | (of(a, b) as u64 & 0xff) << (8 * i)
            })
        };
        check(Op::Add, &[ty], 32, |words| bytes(words, |a, b| a + b));
        check(Op::Min, &[ty], 32, |words| bytes(words, |a, b| a.min(b)));
    }
    check(Op::Add, &[M::Sat, M::S16x2], 32, |words| halves(words, true, |a, b| (a + b).clamp(-0x8000, 0x7fff)));
    check(Op::Sub, &[M::Sat, M::U16x2], 32, |words| halves(words, false, |a, b| (a - b).clamp(0, 0xffff)));
    check(Op::Max, &[M::Relu, M::S16x2], 32, |words| halves(words, true, |a, b| a.max(b).max(0)));
    check(Op::Min, &[M::Relu, M::S32], 32, |words| s32(words)[0].min(s32(words)[1]).max(0) as u64);
}

#[test]
fn dot_products_add_to_the_third_source() {
    let types = [(M::U32, false), (M::S32, true)];
    for (a_ty, a_signed) in types {
        for (b_ty, b_signed) in types {
            check(Op::Dp4a, &[a_ty, b_ty], 32, |words| {
                let product =
                    |i: u32| number(words[0] >> (8 * i), 8, a_signed) * number(words[1] >> (8 * i), 8, b_signed);
                ((0..4).map(product).sum::<i128>() + i128::from(words[2])) as u64
            });
            for (half, first) in [(M::Lo, 0), (M::Hi, 2)] {
                check(Op::Dp2a, &[half, a_ty, b_ty], 32, |words| {
                    let product = |i: u32| {
                        number(words[0] >> (16 * i), 16, a_signed) * number(words[1] >> (8 * (i + first)), 8, b_signed)
                    };
                    (product(0) + product(1) + i128::from(words[2])) as u64
                });
            }
        }
    }
}

#[test]
fn comparisons_of_integers() {
    for (ty, bits, signed) in TYPES {
        let compare = |modifier, holds: fn(i128, i128) -> bool| {
            check(Op::Setp, &[modifier, ty], 1, |words| {
                let [a, b, ..] = numbers(words, bits, signed);
                u64::from(holds(a, b))
            });
        };
        compare(M::Eq, |a, b| a == b);
        compare(M::Ne, |a, b| a != b);
        compare(M::Lt, |a, b| a < b);
        compare(M::Le, |a, b| a <= b);
        compare(M::Gt, |a, b| a > b);
        compare(M::Ge, |a, b| a >= b);
        if !signed {
            compare(M::Lo, |a, b| a < b);
            compare(M::Ls, |a, b| a <= b);
            compare(M::Hi, |a, b| a > b);
            compare(M::Hs, |a, b| a >= b);
        }
    }
}

#[test]
fn packing_clamps_to_the_narrow_type() {
    let clamp = |word: u64, bits: u32, signed: bool| {
        let (low, high) = if signed { (-1i128 << (bits - 1), (1i128 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
        number(word, 32, true).clamp(low, high) as u64 & ((1 << bits) - 1)
    };
    for (ty, bits, signed) in [(M::U16, 16, false), (M::S16, 16, true)] {
        check(Op::CvtPack, &[M::Sat, ty, M::S32], 32, |[a, b, ..]| {
            clamp(a, bits, signed) << bits | clamp(b, bits, signed)
        });
    }
    for (ty, bits, signed) in
        [(M::U8, 8, false), (M::S8, 8, true), (M::U4, 4, false), (M::S4, 4, true), (M::U2, 2, false)]
    {
        check(Op::CvtPack, &[M::Sat, ty, M::S32, M::B32], 32, |[a, b, c, _]| {
            c << (2 * bits) | clamp(a, bits, signed) << bits | clamp(b, bits, signed)
        });
    }
}
