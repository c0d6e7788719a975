//! Logic, shifts and fields one bit at a time.

use gable_ptx::grammar::{Modifier as M, Op};

use crate::words::check;

fn bit(word: u64, place: u64) -> u64 {
    word >> place & 1
}

/// A word from a function of its bits.
fn word(width: u64, of: impl Fn(u64) -> u64) -> u64 {
    (0..width).fold(0, |word, place| word | of(place) << place)
}

#[test]
fn logic_is_bit_by_bit() {
    for (ty, width) in [(M::B16, 16), (M::B32, 32), (M::B64, 64)] {
        check(Op::And, &[ty], width, |[a, b, ..]| word(64, |i| u64::from(bit(a, i) + bit(b, i) == 2)));
        check(Op::Or, &[ty], width, |[a, b, ..]| word(64, |i| u64::from(bit(a, i) + bit(b, i) > 0)));
        check(Op::Xor, &[ty], width, |[a, b, ..]| word(64, |i| u64::from(bit(a, i) != bit(b, i))));
        check(Op::Not, &[ty], width, |[a, ..]| word(64, |i| 1 - bit(a, i)));
        check(Op::Cnot, &[ty], width, |[a, ..]| u64::from((0..u64::from(width)).all(|i| bit(a, i) == 0)));
    }
    check(Op::Lop3, &[M::B32], 32, |[a, b, c, table]| {
        word(32, |i| bit(table, 4 * bit(a, i) + 2 * bit(b, i) + bit(c, i)))
    });
}

#[test]
fn shifts_move_every_bit_out_beyond_the_width() {
    let amount = |n: u64| n & 0xffff_ffff;
    for (ty, width) in [(M::B16, 16), (M::B32, 32), (M::B64, 64)] {
        check(Op::Shl, &[ty], width, |[a, n, ..]| {
            word(u64::from(width), |i| i.checked_sub(amount(n)).map_or(0, |from| bit(a, from)))
        });
    }
    for (ty, width, signed) in [
        (M::U16, 16, false),
        (M::U32, 32, false),
        (M::B64, 64, false),
        (M::S16, 16, true),
        (M::S32, 32, true),
        (M::S64, 64, true),
    ] {
        check(Op::Shr, &[ty], width as u32, |[a, n, ..]| {
            let fill = if signed { bit(a, width - 1) } else { 0 };
            word(width, |i| if i + amount(n) < width { bit(a, i + amount(n)) } else { fill })
        });
    }
    let joined = |[a, b, ..]: [u64; 4], place: u64| match place {
        0..32 => bit(a, place),
        32..64 => bit(b, place - 32),
        _ => 0,
    };
    for (mode, wrap) in [(M::Clamp, false), (M::Wrap, true)] {
        let by = |n: u64| if wrap { n & 31 } else { amount(n).min(32) };
        check(Op::Shf, &[M::L, mode, M::B32], 32, |words| word(32, |i| joined(words, i + 32 - by(words[2]))));
        check(Op::Shf, &[M::R, mode, M::B32], 32, |words| word(32, |i| joined(words, i + by(words[2]))));
    }
}

#[test]
fn fields_are_taken_and_put_as_the_manual_says() {
    let number = |word: u64, top: u64| word & if top == 31 { 0xff } else { 0xffff_ffff };
    for (ty, top, signed) in [(M::U32, 31, false), (M::U64, 63, false), (M::S32, 31, true), (M::S64, 63, true)] {
        check(Op::Bfe, &[ty], top as u32 + 1, |[a, b, c, _]| {
            let (start, length) = (number(b, top), number(c, top));
            let fill = if signed && length > 0 { bit(a, (start + length - 1).min(top)) } else { 0 };
            word(top + 1, |i| if i < length && start + i <= top { bit(a, start + i) } else { fill })
        });
    }
    for (ty, top) in [(M::B32, 31), (M::B64, 63)] {
        check(Op::Bfi, &[ty], top as u32 + 1, |[a, b, c, e]| {
            let (start, length) = (number(c, top), number(e, top));
            word(top + 1, |i| if i >= start && i - start < length { bit(a, i - start) } else { bit(b, i) })
        });
    }
    check(Op::Szext, &[M::Wrap, M::S32], 32, |[a, b, ..]| {
        let length = b & 31;
        word(32, |i| {
            if i < length {
                bit(a, i)
            } else if length > 0 {
                bit(a, length - 1)
            } else {
                0
            }
        })
    });
    check(Op::Szext, &[M::Clamp, M::U32], 32, |[a, b, ..]| {
        word(32, |i| if i < b & 0xffff_ffff { bit(a, i) } else { 0 })
    });
    check(Op::Bmsk, &[M::Clamp, M::B32], 32, |[a, b, ..]| {
        let (start, length) = (a & 0xffff_ffff, b & 0xffff_ffff);
        word(32, |i| u64::from(i >= start && i < start + length))
    });
    check(Op::Bmsk, &[M::Wrap, M::B32], 32, |[a, b, ..]| {
        let (start, length) = (a & 31, b & 31);
        word(32, |i| u64::from(i >= start && i < start + length))
    });
}

#[test]
fn counting_and_searching() {
    for (ty, width) in [(M::B32, 32), (M::B64, 64)] {
        check(Op::Popc, &[ty], 32, |[a, ..]| (0..width).map(|i| bit(a, i)).sum());
        check(Op::Clz, &[ty], 32, |[a, ..]| (0..width).rev().take_while(|&i| bit(a, i) == 0).count() as u64);
        check(Op::Brev, &[ty], width as u32, |[a, ..]| word(width, |i| bit(a, width - 1 - i)));
    }
    for (ty, top, signed) in [(M::U32, 31, false), (M::U64, 63, false), (M::S32, 31, true), (M::S64, 63, true)] {
        // Of a negative number the highest zero counts.
        let place = |a: u64| {
            let wanted = if signed && bit(a, top) == 1 { 0 } else { 1 };
            (0..=top).rev().find(|&i| bit(a, i) == wanted)
        };
        check(Op::Bfind, &[ty], 32, |[a, ..]| place(a).unwrap_or(0xffff_ffff));
        check(Op::Bfind, &[M::Shiftamt, ty], 32, |[a, ..]| place(a).map_or(0xffff_ffff, |place| top - place));
    }
    check(Op::Fns, &[M::B32], 32, |[a, b, c, _]| {
        let (base, n) = (b & 0xffff_ffff, c as i32);
        if n == i32::MIN {
            return 0;
        }
        if base > 31 {
            return 0xffff_ffff;
        }
        let set = |place: &u64| bit(a, *place) == 1;
        let found = match n {
            0 => Some(base).filter(set),
            1.. => (base..32).filter(set).nth(n as usize - 1),
            _ => (0..=base).rev().filter(set).nth(n.unsigned_abs() as usize - 1),
        };
        found.unwrap_or(0xffff_ffff)
    });
}

#[test]
fn permutations_pick_the_bytes_of_the_manual_s_tables() {
    let byte = |[a, b, ..]: [u64; 4], i: u64| if i < 4 { a >> (8 * i) & 0xff } else { b >> (8 * (i - 4)) & 0xff };
    check(Op::Prmt, &[M::B32], 32, |words| {
        (0..4).fold(0, |d, i| {
            let selector = words[2] >> (4 * i) & 15;
            let byte = byte(words, selector & 7);
            let byte = if selector & 8 == 0 {
                byte
            } else if byte & 0x80 != 0 {
                0xff
            } else {
                0
            };
            d | byte << (8 * i)
        })
    });
    // For each selector the bytes of the result, the highest first (PTX ISA, prmt).
    let tables: [(M, [[u64; 4]; 4]); 6] = [
        (M::F4e, [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
        (M::B4e, [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
        (M::Rc8, [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]),
        (M::Ecl, [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
        (M::Ecr, [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
        (M::Rc16, [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
    ];
    for (mode, table) in tables {
        check(Op::Prmt, &[M::B32, mode], 32, |words| {
            table[words[2] as usize & 3].iter().fold(0, |d, &i| d << 8 | byte(words, i))
        });
    }
}

#[test]
fn selection_by_sign() {
    check(Op::Slct, &[M::B64, M::S32], 64, |[a, b, c, _]| if c >> 31 & 1 == 0 { a } else { b });
    check(Op::Slct, &[M::B32, M::F32], 32, |[a, b, c, _]| if f32::from_bits(c as u32) >= 0.0 { a } else { b });
    check(Op::Slct, &[M::Ftz, M::B32, M::F32], 32, |[a, b, c, _]| {
        let c = f32::from_bits(c as u32);
        if c >= 0.0 || c.is_subnormal() { a } else { b }
    });
    check(Op::Copysign, &[M::F32], 32, |[a, b, ..]| {
        u64::from(f32::from_bits(b as u32).copysign(f32::from_bits(a as u32)).to_bits())
    });
    check(Op::Testp, &[M::Normal, M::F32], 1, |[a, ..]| {
        let a = f32::from_bits(a as u32);
        u64::from(a.is_normal() || a == 0.0)
    });
    check(Op::Testp, &[M::Notanumber, M::F64], 1, |[a, ..]| u64::from(f64::from_bits(a).is_nan()));
}

#[test]
fn float_comparisons_are_ordered_or_not() {
    let of = |modifier, holds: fn(f32, f32) -> bool| {
        check(Op::Setp, &[modifier, M::F32], 1, |[a, b, ..]| {
            u64::from(holds(f32::from_bits(a as u32), f32::from_bits(b as u32)))
        });
    };
    of(M::Eq, |a, b| a == b);
    of(M::Ne, |a, b| !a.is_nan() && !b.is_nan() && a != b);
    of(M::Lt, |a, b| a < b);
    of(M::Geu, |a, b| a >= b || a.is_nan() || b.is_nan());
    of(M::Gtu, |a, b| a > b || a.is_nan() || b.is_nan());
    of(M::Neu, |a, b| a != b);
    of(M::Equ, |a, b| a == b || a.is_nan() || b.is_nan());
    of(M::Num, |a, b| !a.is_nan() && !b.is_nan());
    of(M::IsNan, |a, b| a.is_nan() || b.is_nan());
    check(Op::Setp, &[M::Eq, M::Ftz, M::F32], 1, |[a, b, ..]| {
        let flush = |x: u64| if f32::from_bits(x as u32).is_subnormal() { 0.0 } else { f32::from_bits(x as u32) };
        u64::from(flush(a) == flush(b))
    });
}
