//! Sums, products, quotients and roots in every rounding against exact integers.

use gable_emulator::numbers::Format;
use gable_emulator::numbers::float::{Bf16, F16, F32, F64, Float, Pair, extreme, mode};

use crate::reference::{self, Layout, Round};
use crate::samples::Random;

type Binary = fn(u64, u64) -> u64;
type Ternary = fn(u64, u64, u64) -> u64;
type Unary = fn(u64) -> u64;

/// The functions of a type with the rounding as a constant, beside that rounding.
macro_rules! roundings {
    ($($path:tt)*) => {
        [
            (Round::Nearest, $($path)*::<{ mode::RN }> as _),
            (Round::Zero, $($path)*::<{ mode::RZ }> as _),
            (Round::Down, $($path)*::<{ mode::RM }> as _),
            (Round::Up, $($path)*::<{ mode::RP }> as _),
        ]
    };
}

/// f64 results where a source is NaN keep its payload; every other NaN is the format's.
fn same(layout: Layout, sources: &[u64], found: u64, expected: u64) -> bool {
    let payload = sources.iter().find(|&&source| layout == reference::F64 && f64::from_bits(source).is_nan());
    match payload {
        Some(payload) => found == payload | 1 << 51,
        None => found == expected,
    }
}

fn check_sums(
    layout: Layout,
    count: usize,
    add: [(Round, Binary); 4],
    sub: Binary,
    mul: [(Round, Binary); 4],
    fma: [(Round, Ternary); 4],
) {
    let one = ((1 << (layout.exponent_bits - 1)) - 1) << layout.fraction_bits;
    let mut random = Random(0x5eed);
    let mut draw = || random.float(layout.exponent_bits, layout.fraction_bits);
    for _ in 0..count {
        let (a, b, c) = (draw(), draw(), draw());
        // A sum that cancels the product but for its last digits.
        let near = layout.fma(a, b, layout.sign(), Round::Nearest) ^ layout.sign();
        for i in 0..4 {
            let (round, add) = add[i];
            let (_, mul) = mul[i];
            let (_, fma) = fma[i];
            let expected = layout.fma(a, one, b, round);
            assert!(
                same(layout, &[a, b], add(a, b), expected),
                "{a:#x} + {b:#x} {round:?}: {:#x}, {expected:#x}",
                add(a, b)
            );
            // A product has the zero of its own sign: adding the zero of that sign changes nothing.
            let expected = layout.fma(a, b, (a ^ b) & layout.sign(), round);
            assert!(
                same(layout, &[a, b], mul(a, b), expected),
                "{a:#x} * {b:#x} {round:?}: {:#x}, {expected:#x}",
                mul(a, b)
            );
            for c in [c, near] {
                let expected = layout.fma(a, b, c, round);
                let found = fma(a, b, c);
                assert!(
                    same(layout, &[a, b, c], found, expected),
                    "{a:#x} * {b:#x} + {c:#x} {round:?}: {found:#x}, {expected:#x}"
                );
            }
        }
        let expected = layout.fma(a, one, b ^ layout.sign(), Round::Nearest);
        assert!(same(layout, &[a, b], sub(a, b), expected), "{a:#x} - {b:#x}");
    }
}

#[test]
fn f32_sums_and_products_are_rounded_once() {
    check_sums(
        reference::F32,
        20_000,
        roundings!(<F32 as Float>::add),
        <F32 as Float>::sub::<0>,
        roundings!(<F32 as Float>::mul),
        roundings!(<F32 as Float>::fma),
    );
}

#[test]
fn f64_sums_and_products_are_rounded_once() {
    check_sums(
        reference::F64,
        3_000,
        roundings!(<F64 as Float>::add),
        <F64 as Float>::sub::<0>,
        roundings!(<F64 as Float>::mul),
        roundings!(<F64 as Float>::fma),
    );
}

#[test]
fn half_sums_and_products_are_rounded_once() {
    // The instructions have `.rn` alone.
    let nearest = |f: Binary| [(Round::Nearest, f); 4];
    let nearest3 = |f: Ternary| [(Round::Nearest, f); 4];
    check_sums(
        reference::F16,
        20_000,
        nearest(<F16 as Float>::add::<0>),
        <F16 as Float>::sub::<0>,
        nearest(<F16 as Float>::mul::<0>),
        nearest3(<F16 as Float>::fma::<0>),
    );
    check_sums(
        reference::BF16,
        20_000,
        nearest(<Bf16 as Float>::add::<0>),
        <Bf16 as Float>::sub::<0>,
        nearest(<Bf16 as Float>::mul::<0>),
        nearest3(<Bf16 as Float>::fma::<0>),
    );
}

fn check_quotients(layout: Layout, count: usize, div: [(Round, Binary); 4], sqrt: [(Round, Unary); 4]) {
    let mut random = Random(0xd1f);
    let mut draw = || random.float(layout.exponent_bits, layout.fraction_bits);
    for _ in 0..count {
        let (a, b) = (draw(), draw());
        for i in 0..4 {
            let (round, div) = div[i];
            let (_, sqrt) = sqrt[i];
            let expected = layout.quotient(a, b, round);
            assert!(
                same(layout, &[a, b], div(a, b), expected),
                "{a:#x} / {b:#x} {round:?}: {:#x}, {expected:#x}",
                div(a, b)
            );
            for a in [a, a & (layout.sign() - 1)] {
                let expected = layout.root(a, round);
                assert!(same(layout, &[a], sqrt(a), expected), "sqrt {a:#x} {round:?}: {:#x}, {expected:#x}", sqrt(a));
            }
        }
    }
}

#[test]
fn f32_quotients_and_roots_are_rounded_once() {
    check_quotients(reference::F32, 20_000, roundings!(F32::div), roundings!(F32::sqrt));
}

#[test]
fn f64_quotients_and_roots_are_rounded_once() {
    check_quotients(reference::F64, 3_000, roundings!(F64::div), roundings!(F64::sqrt));
}

#[test]
fn reciprocals_are_quotients_of_one() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let a = random.float(8, 23);
        let one = u64::from(1f32.to_bits());
        assert_eq!(F32::rcp::<{ mode::RP }>(a), reference::F32.quotient(one, a, Round::Up), "{a:#x}");
    }
}

#[test]
fn flushing_is_of_sources_and_of_the_result() {
    let flush = |code: u64| if f32::from_bits(code as u32).is_subnormal() { code & 1 << 31 } else { code };
    let mut random = Random(8);
    for _ in 0..20_000 {
        let (a, b, c) = (random.float(8, 23), random.float(8, 23), random.float(8, 23));
        let expected = flush(reference::F32.fma(flush(a), flush(b), flush(c), Round::Zero));
        assert_eq!(<F32 as Float>::fma::<{ mode::RZ | mode::FTZ }>(a, b, c), expected, "{a:#x} {b:#x} {c:#x}");
        let one = u64::from(1f32.to_bits());
        let expected = flush(reference::F32.fma(flush(a), one, flush(b), Round::Nearest));
        assert_eq!(<F32 as Float>::add::<{ mode::FTZ }>(a, b), expected, "{a:#x} {b:#x}");
    }
}

#[test]
fn saturated_results_are_between_zero_and_one() {
    let mut random = Random(9);
    for _ in 0..20_000 {
        let (a, b) = (random.float(8, 23), random.float(8, 23));
        let plain = f32::from_bits(<F32 as Float>::mul::<0>(a, b) as u32);
        let expected = if plain > 0.0 { plain.min(1.0) } else { 0.0 };
        assert_eq!(<F32 as Float>::mul::<{ mode::SAT }>(a, b), u64::from(expected.to_bits()), "{a:#x} {b:#x}");
    }
    assert_eq!(<F16 as Float>::add::<{ mode::SAT }>(0x4000, 0x3c00), 0x3c00);
    assert_eq!(<F16 as Float>::add::<{ mode::SAT }>(0x7e00, 0x3c00), 0);
    assert_eq!(<Bf16 as Float>::fma::<{ mode::RELU }>(0xbf80, 0x3f80, 0), 0);
    assert_eq!(<Bf16 as Float>::fma::<{ mode::RELU }>(0x7fc0, 0x3f80, 0), 0x7fff);
    assert_eq!(<F16 as Float>::fma::<{ mode::OOB }>(0x7ff7, 0x3c00, 0x3c00), 0);
    assert_eq!(<F16 as Float>::fma::<{ mode::OOB }>(0x7e00, 0x3c00, 0x3c00), 0x7fff);
}

#[test]
fn minimum_and_maximum_prefer_numbers_and_order_zeros() {
    let bits = |x: f32| u64::from(x.to_bits());
    let (nan, minus) = (0xffc0_0001, bits(-0.0));
    let min = <F32 as Float>::min::<0>;
    let max = <F32 as Float>::max::<0>;
    assert_eq!(min(nan, bits(2.0)), bits(2.0));
    assert_eq!(max(bits(-2.0), nan), bits(-2.0));
    assert_eq!(min(nan, nan), 0x7fff_ffff);
    assert_eq!(<F32 as Float>::min::<{ extreme::NAN }>(nan, bits(2.0)), 0x7fff_ffff);
    assert_eq!((min(0, minus), min(minus, 0), max(0, minus), max(minus, 0)), (minus, minus, 0, 0));
    assert_eq!(min(bits(-3.0), bits(-4.0)), bits(-4.0));
    let xorsign = <F32 as Float>::min::<{ extreme::XORSIGN | extreme::ABS }>;
    assert_eq!(xorsign(bits(-3.0), bits(4.0)), bits(-3.0));
    assert_eq!(xorsign(bits(-3.0), bits(-2.0)), bits(2.0));
    let mut random = Random(10);
    for _ in 0..20_000 {
        let (a, b) = (random.float(8, 23), random.float(8, 23));
        let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
        if !x.is_nan() && !y.is_nan() && x != y {
            assert_eq!(min(a, b), bits(x.min(y)));
            assert_eq!(max(a, b), bits(x.max(y)));
        }
    }
}

#[test]
fn packed_registers_compute_by_element() {
    let mut random = Random(11);
    for _ in 0..20_000 {
        let (a, b, c) = (random.next(), random.next(), random.next());
        let pair = <Pair<F32> as Float>::fma::<{ mode::RM }>(a, b, c);
        let part = |shift: u32| <F32 as Float>::fma::<{ mode::RM }>(a >> shift, b >> shift, c >> shift);
        assert_eq!(pair, part(32) << 32 | part(0));
        let pair = <Pair<F16> as Float>::add::<0>(a, b);
        let part = |shift: u32| <F16 as Float>::add::<0>(a >> shift, b >> shift);
        assert_eq!(pair, part(16) << 16 | part(0));
        let pair = <Pair<Bf16> as Float>::neg::<0>(a);
        let part = |shift: u32| <Bf16 as Float>::neg::<0>(a >> shift);
        assert_eq!(pair, part(16) << 16 | part(0));
    }
    assert_eq!(Format::F16.bits(), <F16 as Float>::BITS);
}

#[test]
fn signs_change_on_numbers_alone() {
    // Measured on an H200: NaN becomes the NaN of the format, or quiet in f64.
    assert_eq!(<F32 as Float>::neg::<0>(0xffc1_2345), 0x7fff_ffff);
    assert_eq!(<F16 as Float>::abs::<0>(0xfd07), 0x7fff);
    assert_eq!(<F64 as Float>::abs::<0>(0xfff0_0000_1234_5678), 0xfff8_0000_1234_5678);
    assert_eq!(<F64 as Float>::neg::<0>(0x7ff0_0000_1234_5678), 0x7ff8_0000_1234_5678);
    assert_eq!(<F32 as Float>::neg::<0>(0x3f80_0000), 0xbf80_0000);
    assert_eq!(<F32 as Float>::neg::<{ mode::FTZ }>(0x8000_0001), 0);
}
