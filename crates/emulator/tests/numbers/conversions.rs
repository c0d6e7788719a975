//! Every code of the small formats, every f16 and bf16, and a stratified million of f32.
//! `cargo run --release -p gable-emulator --example all_conversions` goes over every f32.

use gable_emulator::numbers::convert::{self, Clamping, convert};
use gable_emulator::numbers::integer::{self, Integer};
use gable_emulator::numbers::{Format, Rounding, packed, stochastic};

use crate::reference::{self, Layout, ROUNDS, Round, Table};
use crate::samples::{Random, strata};

const PAIRS: [(Format, Layout); 8] = [
    (Format::F16, reference::F16),
    (Format::BF16, reference::BF16),
    (Format::TF32, reference::TF32),
    (Format::E4M3, reference::E4M3),
    (Format::E5M2, reference::E5M2),
    (Format::E2M3, reference::E2M3),
    (Format::E3M2, reference::E3M2),
    (Format::E2M1, reference::E2M1),
];

const fn rounding(round: Round) -> Rounding {
    match round {
        Round::Nearest => Rounding::Nearest,
        Round::Zero => Rounding::Zero,
        Round::Down => Rounding::Down,
        Round::Up => Rounding::Up,
    }
}

/// The number of a code by the formula; infinity and NaN where the format has them.
fn number(layout: Layout, code: u64) -> f64 {
    let magnitude = code & (layout.sign() - 1);
    let absolute = match magnitude {
        _ if magnitude <= layout.last_finite => layout.magnitude(magnitude),
        _ if magnitude == layout.overflow => f64::INFINITY,
        _ => f64::NAN,
    };
    if code & layout.sign() != 0 { -absolute } else { absolute }
}

const FINITE: Clamping = Clamping { finite: true, flush: false, unit: false, relu: false };

/// e4m3 and the formats without specials are only ever converted to with `.satfinite`.
fn clampings(format: Format) -> &'static [Clamping] {
    if format.infinity().is_some() { &[Clamping { finite: false, ..FINITE }, FINITE] } else { &[FINITE] }
}

#[test]
fn every_code_of_the_small_formats_is_its_formula_in_f64_and_in_f32() {
    for (format, layout) in PAIRS {
        for code in 0..2 * layout.sign() {
            let expected = number(layout, code);
            let double = f64::from_bits(convert(code, format, Format::F64, Rounding::Nearest, Clamping::default()));
            let single = convert(code, format, Format::F32, Rounding::Nearest, Clamping::default());
            let single = f64::from(f32::from_bits(single as u32));
            if expected.is_nan() {
                assert!(double.is_nan() && single.is_nan(), "{} {code:#x}", format.name);
            } else {
                assert_eq!(double.to_bits(), expected.to_bits(), "{} {code:#x}", format.name);
                assert_eq!(single.to_bits(), expected.to_bits(), "{} {code:#x}", format.name);
            }
        }
    }
}

#[test]
fn every_code_of_a_16_bit_format_or_smaller_converts_to_every_other() {
    for (to, to_layout) in PAIRS {
        let table = Table::new(to_layout);
        let saturating = Table::new(to_layout.saturating());
        for (from, from_layout) in PAIRS.into_iter().filter(|(from, _)| from.bits() <= 16) {
            for code in 0..2 * from_layout.sign() {
                let x = number(from_layout, code);
                for &clamping in clampings(to) {
                    for round in ROUNDS {
                        let table = if clamping.finite { &saturating } else { &table };
                        let found = convert(code, from, to, rounding(round), clamping);
                        let expected = table.place(x, round);
                        assert_eq!(found, expected, "{} {code:#x} to {} {round:?}", from.name, to.name);
                    }
                }
            }
        }
    }
}

#[test]
fn a_million_f32_round_to_every_narrow_format_as_the_table_of_its_values_says() {
    for (to, layout) in PAIRS {
        let (table, saturating) = (Table::new(layout), Table::new(layout.saturating()));
        let mut low = 0;
        for (i, code) in strata(1 << 20).enumerate() {
            let x = f64::from(f32::from_bits(code));
            for &clamping in clampings(to) {
                let table = if clamping.finite { &saturating } else { &table };
                let found = convert::narrow(u64::from(code), to, clamping);
                assert_eq!(found, table.place_from(&mut low, x, Round::Nearest), "{code:#x} to {}", to.name);
                // One of the roundings in turn, by the general way.
                let round = ROUNDS[i % 4];
                let found = convert(u64::from(code), Format::F32, to, rounding(round), clamping);
                assert_eq!(found, table.place_from(&mut low, x, round), "{code:#x} to {} {round:?}", to.name);
            }
        }
    }
}

#[test]
fn f32_between_two_values_of_a_narrow_format_rounds_right_at_the_middle_and_beside_it() {
    for (to, layout) in PAIRS.into_iter().filter(|(format, _)| format.bits() <= 16) {
        let saturating = Table::new(layout.saturating());
        for code in 0..=layout.last_finite {
            let middle = ((layout.magnitude(code) + layout.magnitude(code + 1)) / 2.0) as f32;
            for bits in [middle.to_bits() - 1, middle.to_bits(), middle.to_bits() + 1] {
                for bits in [bits, bits | 1 << 31] {
                    let found = convert::narrow(u64::from(bits), to, FINITE);
                    let expected = saturating.place(f64::from(f32::from_bits(bits)), Round::Nearest);
                    assert_eq!(found, expected, "{bits:#x} to {}", to.name);
                }
            }
        }
    }
}

#[test]
fn clamping_follows_rounding() {
    let relu = Clamping { relu: true, ..Clamping::default() };
    for code in 0..0x1_0000u64 {
        let bits = code << 16;
        let x = f32::from_bits(bits as u32);
        let plain = convert::narrow(bits, Format::F16, Clamping::default());
        let expected = if x.is_nan() {
            0x7fff
        } else if x.is_sign_negative() {
            0
        } else {
            plain
        };
        assert_eq!(convert::narrow(bits, Format::F16, relu), expected, "{bits:#x}");
        let unit = Clamping { unit: true, ..Clamping::default() };
        let expected = x.clamp(0.0, 1.0);
        let expected = if expected > 0.0 { u64::from(expected.to_bits()) } else { 0 };
        assert_eq!(convert(bits, Format::F32, Format::F32, Rounding::Nearest, unit), expected, "{bits:#x}");
        let flush = Clamping { flush: true, ..Clamping::default() };
        let expected = if x.is_subnormal() { bits & 1 << 31 } else { bits };
        if !x.is_nan() {
            assert_eq!(convert(bits, Format::F32, Format::F32, Rounding::Nearest, flush), expected, "{bits:#x}");
        }
    }
}

#[test]
fn tf32_ties_go_away_and_nan_is_cut() {
    for code in strata(1 << 20) {
        let found = convert::tf32_away(u64::from(code), Clamping::default()) as u32;
        if f32::from_bits(code).is_nan() {
            assert_eq!(found, code & 0xffff_e000);
            let finite = convert::tf32_away(u64::from(code), FINITE) as u32;
            assert_eq!(finite, (code - 0x2000) & 0xffff_e000);
            continue;
        }
        // Nearest among multiples of 2^13 in the order of codes, which is the order of magnitudes.
        let magnitude = u64::from(code & 0x7fff_ffff);
        let nearest = (magnitude + 0x1000) / 0x2000 * 0x2000;
        assert_eq!(u64::from(found), nearest | u64::from(code & 1 << 31), "{code:#x}");
    }
    assert_eq!(convert::tf32_away(0x7f80_0001, Clamping::default()), 0x7f80_0000);
    assert_eq!(convert::tf32_away(0x7f7f_ffff, FINITE), 0x7f7f_e000);
    assert_eq!(convert::tf32(0x7f80_0001, Rounding::Nearest, Clamping::default()), 0x7fff_e000);
}

#[test]
fn scales_are_powers_of_two_toward_zero_or_up() {
    // Powers of two, subnormal ones as well, and the numbers beside them.
    let powers = (0..23).map(|place| 1 << place).chain((1..255).map(|field| field << 23));
    let beside = powers.flat_map(|code: u32| [code - 1, code, code + 1]).filter(|&code| code != 0);
    for code in strata(1 << 20).chain(beside) {
        let x = f64::from(f32::from_bits(code)).abs();
        for (rounding, of) in [(Rounding::Zero, f64::floor as fn(f64) -> f64), (Rounding::Up, f64::ceil)] {
            let found = convert(u64::from(code), Format::F32, Format::UE8M0, rounding, FINITE);
            let expected = if x.is_nan() {
                0xff
            } else {
                // log2 of an f64 is exact for powers of two, and other f32 are too far from them to be rounded onto one.
                of(x.log2()).clamp(-127.0, 127.0) as i64 + 127
            };
            assert_eq!(found as i64, expected, "{code:#x} {rounding:?}");
        }
    }
    for code in 0..=0xffu64 {
        let wide = convert(code, Format::UE8M0, Format::BF16, Rounding::Nearest, Clamping::default());
        let expected = if code == 0xff {
            0x7fff
        } else if code == 0 {
            0x40
        } else {
            code << 7
        };
        assert_eq!(wide, expected, "{code:#x}");
    }
}

#[test]
fn packed_elements_stand_where_the_manual_puts_them() {
    let (one, two) = (u64::from(1f32.to_bits()), u64::from(2f32.to_bits()));
    let pack = |to| packed::pack(two, one, to, Rounding::Nearest, FINITE);
    assert_eq!(pack(Format::F16), 0x4000_3c00);
    assert_eq!(pack(Format::BF16), 0x4000_3f80);
    assert_eq!(pack(Format::E4M3), 0x4038);
    assert_eq!(pack(Format::E5M2), 0x403c);
    assert_eq!(pack(Format::E2M3), 0x1008);
    assert_eq!(pack(Format::E3M2), 0x100c);
    assert_eq!(pack(Format::E2M1), 0x42);
    let back = |pair, from| packed::repack(pair, from, Format::F16, Rounding::Nearest, Clamping::default());
    for format in [Format::E4M3, Format::E5M2, Format::E2M3, Format::E3M2, Format::E2M1] {
        assert_eq!(back(pack(format), format), 0x4000_3c00, "{}", format.name);
    }
    let four = |to| packed::pack_four([two, one, two, one], 0, to, FINITE);
    assert_eq!(four(Format::E2M1), 0x4242);
    assert_eq!(four(Format::E4M3), 0x4038_4038);
}

#[test]
fn stochastic_rounding_goes_up_as_often_as_the_dropped_digits_say() {
    let mut random = Random(1);
    for _ in 0..200 {
        let code = random.float(8, 23) & 0x7fff_ffff;
        let x = f64::from(f32::from_bits(code as u32));
        if !(1e-4..6e4).contains(&x) {
            continue;
        }
        let down = convert(code, Format::F32, Format::F16, Rounding::Zero, FINITE);
        let ups: u64 = (0..1 << 13).map(|bits| stochastic::round(code, Format::F16, bits, 13, FINITE) - down).sum();
        // Thirteen dropped digits of a normal number: the fraction itself.
        assert_eq!(ups, code & 0x1fff, "{code:#x}");
    }
}

fn integer_reference(x: f64, from_f64: bool, to: Integer, round: Round) -> i128 {
    if x.is_nan() {
        let sign_bit = 1i128 << (to.bits - 1);
        return if !from_f64 && to.bits != 64 {
            0
        } else if to.signed {
            -sign_bit
        } else {
            sign_bit
        };
    }
    // i128 holds every f64 below 2^127; larger ones are beyond every type.
    let whole = x.trunc().clamp(-1e37, 1e37) as i128;
    let rest = (x - x.trunc()).abs();
    let away = match round {
        Round::Nearest => rest > 0.5 || rest == 0.5 && whole % 2 != 0,
        Round::Zero => false,
        Round::Down => x < 0.0 && rest > 0.0,
        Round::Up => x > 0.0 && rest > 0.0,
    };
    let step = if x < 0.0 { -1 } else { 1 };
    (whole + if away { step } else { 0 }).clamp(to.smallest(), to.largest())
}

#[test]
fn floats_become_the_nearest_integer_of_the_type() {
    let check = |code: u64, x: f64, from: Format| {
        for to in Integer::ALL {
            for round in ROUNDS {
                let found = to.value(integer::from_float(code, from, to, rounding(round), false));
                let expected = integer_reference(x, from == Format::F64, to, round);
                assert_eq!(found, expected, "{} {code:#x} to {to:?} {round:?}", from.name);
            }
        }
    };
    for code in 0..0x1_0000u64 {
        check(code, number(reference::F16, code), Format::F16);
        check(code, number(reference::BF16, code), Format::BF16);
    }
    for code in strata(1 << 16) {
        check(u64::from(code), f64::from(f32::from_bits(code)), Format::F32);
    }
    let mut random = Random(2);
    for _ in 0..1 << 16 {
        let code = random.float(11, 52);
        check(code, f64::from_bits(code), Format::F64);
    }
}

#[test]
fn integers_become_the_float_that_the_rounding_gives() {
    let mut random = Random(3);
    let small = [
        (Format::F16, reference::F16),
        (Format::BF16, reference::BF16),
        (Format::F32, reference::F32),
        (Format::F64, reference::F64),
    ];
    for case in 0..1 << 11 {
        let bits = random.next();
        // Every length of integer.
        let lane = bits >> (case % 64);
        for from in Integer::ALL {
            let value = from.value(lane);
            for (to, layout) in small {
                for round in ROUNDS {
                    let found = integer::to_float(lane, from, to, rounding(round), Clamping::default());
                    let one = reference::Parts { negative: false, digits: 1, power: 0 };
                    let zero = reference::Parts { negative: value < 0, digits: 0, power: 0 };
                    let digits = value.unsigned_abs() as u64;
                    let integer = reference::Parts { negative: value < 0, digits, power: 0 };
                    let expected = layout.multiply_add(integer, one, zero, round);
                    assert_eq!(found, expected, "{value} to {} {round:?}", to.name);
                }
            }
        }
    }
}

#[test]
fn f64_rounds_to_f32_f16_and_bf16_once() {
    let mut random = Random(4);
    for _ in 0..1 << 13 {
        let code = random.float(11, 52);
        // Near the middle between two f32, where rounding twice would show.
        let near = f64::from(f32::from_bits(random.float(8, 23) as u32)).to_bits() + (1 << 28) + random.next() % 3 - 1;
        for code in [code, near] {
            let x = f64::from_bits(code);
            for (to, layout) in [(Format::F32, reference::F32), PAIRS[0], PAIRS[1]] {
                for round in ROUNDS {
                    let found = convert(code, Format::F64, to, rounding(round), Clamping::default());
                    let expected = if x.is_nan() {
                        // Sign and leading bits of the payload, quiet.
                        let fraction = (code & 0xf_ffff_ffff_ffff | 1 << 51) >> (52 - layout.fraction_bits);
                        ((code >> 63) * layout.sign()) | layout.overflow | fraction
                    } else if x.is_infinite() {
                        layout.overflow | if x < 0.0 { layout.sign() } else { 0 }
                    } else {
                        let one = reference::Parts { negative: false, digits: 1, power: 0 };
                        let zero = reference::Parts { negative: x.is_sign_negative(), digits: 0, power: 0 };
                        layout.multiply_add(reference::F64.parts(code), one, zero, round)
                    };
                    assert_eq!(found, expected, "{code:#x} to {} {round:?}", to.name);
                }
            }
        }
    }
}

#[test]
fn rounding_to_integral_values_keeps_the_format_and_the_sign() {
    let formats = [
        (Format::F16, reference::F16, 5, 10),
        (Format::BF16, reference::BF16, 8, 7),
        (Format::F32, reference::F32, 8, 23),
    ];
    for (format, layout, exponent_bits, fraction_bits) in formats {
        let mut random = Random(5);
        for _ in 0..1 << 14 {
            let code = random.float(exponent_bits, fraction_bits);
            let x = number(layout, code);
            for round in ROUNDS {
                let found = convert::to_integral(code, format, rounding(round), Clamping::default());
                if x.is_nan() || x.is_infinite() {
                    assert_eq!(found, if x.is_nan() { layout.nan } else { code });
                    continue;
                }
                let expected = match round {
                    Round::Nearest => x.round_ties_even(),
                    Round::Zero => x.trunc(),
                    Round::Down => x.floor(),
                    Round::Up => x.ceil(),
                };
                assert_eq!(number(layout, found).to_bits(), expected.to_bits(), "{} {code:#x} {round:?}", format.name);
            }
        }
    }
}
