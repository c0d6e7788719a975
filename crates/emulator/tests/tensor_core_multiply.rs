//! `multiply` against a reference of its own: the model of `accumulate` in f64, written from the definition.
//!
//! Every product and every cut term of a group is exact in f64 (whole numbers below 2^53), so that the reference needs no care.

use gable_emulator::tensor_core::accumulate::{Accumulator, NAN_F16, NAN_F32, Numerics, Rounding, Terms};
use gable_emulator::tensor_core::element::{Element, ScaleFormat};
use gable_emulator::tensor_core::multiply::{Codes, MultiplyError, Operand, Scales, Shape, multiply};
use gable_emulator::tensor_core::{BitOperation, multiply_bits, multiply_f64};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.next() % bound
    }
}

/// Value and alignment exponent of an element, from tables and conversions of other crates.
fn element_value(element: Element, code: u32) -> (f64, i32) {
    let narrow = |exponent_bits: u32, fraction_bits: u32| {
        let bias = (1 << (exponent_bits - 1)) - 1;
        let field = (code >> fraction_bits) as i32 & ((1 << exponent_bits) - 1);
        let fraction = f64::from(code & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
        let sign = if code >> (exponent_bits + fraction_bits) & 1 == 1 { -1.0 } else { 1.0 };
        let magnitude =
            if field == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(field - bias) };
        (sign * magnitude, 1 - bias)
    };
    let (value, lowest) = match element {
        Element::F16 => (half::f16::from_bits(code as u16).to_f64(), -14),
        Element::Bf16 => (half::bf16::from_bits(code as u16).to_f64(), -126),
        Element::Tf32 => (f64::from(f32::from_bits(code & !0x1fff)), -126),
        Element::E4m3 if code & 0x7f == 0x7f => (f64::NAN, 0),
        Element::E4m3 => narrow(4, 3),
        Element::E5m2 => (half::f16::from_bits((code << 8) as u16).to_f64(), -14),
        Element::E2m3 => narrow(2, 3),
        Element::E3m2 => narrow(3, 2),
        Element::E2m1 => narrow(2, 1),
        _ => unreachable!("not a float"),
    };
    (value, exponent(value, lowest))
}

/// The exponent of a finite value that is not zero, not below `lowest`.
fn exponent(value: f64, lowest: i32) -> i32 {
    if value == 0.0 || !value.is_finite() {
        return -100_000;
    }
    // No value here is subnormal in f64.
    (((value.to_bits() >> 52) & 0x7ff) as i32 - 1023).max(lowest)
}

fn power(exponent: i32) -> f64 {
    // In two steps, because a power below 2^-1022 is subnormal and one below 2^-1074 zero.
    2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}

fn round(rounding: Rounding, value: f64) -> u32 {
    match rounding {
        Rounding::TowardZero { fraction_bits } => {
            if value.is_nan() {
                return NAN_F32;
            }
            if value.is_infinite() || value == 0.0 {
                return (value as f32 + 0.0).to_bits();
            }
            let last = (exponent(value, -100_000) - fraction_bits as i32).max(-149);
            let cut = (value / power(last)).trunc() * power(last);
            if cut == 0.0 { 0 } else { (cut as f32).to_bits() }
        }
        Rounding::NearestF16 => {
            if value.is_nan() {
                return NAN_F16;
            }
            if value.is_infinite() || value == 0.0 {
                return half::f16::from_f64(value + 0.0).to_bits().into();
            }
            let last = (exponent(value, -100_000) - 10).max(-24);
            let rounded = (value / power(last)).round_ties_even() * power(last);
            if rounded == 0.0 { 0 } else { half::f16::from_f64(rounded).to_bits().into() }
        }
    }
}

fn accumulator_value(rounding: Rounding, bits: u32) -> (f64, i32) {
    let (value, lowest) = match rounding {
        Rounding::TowardZero { .. } => (f64::from(f32::from_bits(bits)), -126),
        Rounding::NearestF16 => (half::f16::from_bits(bits as u16).to_f64(), -14),
    };
    (value, exponent(value, lowest))
}

/// The sum of terms with their exponents, by the model.
fn add(numerics: &Numerics, rounding: Rounding, terms: &[(f64, i32)]) -> u32 {
    let plain: f64 = terms.iter().map(|term| if term.0.is_finite() { 0.0 } else { term.0 }).sum();
    if !plain.is_finite() {
        return round(rounding, plain);
    }
    let largest = terms.iter().filter(|term| term.0 != 0.0).map(|term| term.1).fold(numerics.lowest_exponent, i32::max);
    let shift = numerics.fraction_bits as i32 - largest;
    let cut: f64 = terms.iter().map(|term| (term.0 * power(shift)).trunc()).sum();
    round(rounding, cut * power(-shift))
}

/// A value and the exponent that it is aligned by.
type Factor = (f64, i32);

/// One output of `Terms::Products` or `Terms::ConvertedPairs`.
fn reference(numerics: &Numerics, pairs: &[(Factor, Factor)], c: u32) -> u32 {
    let products: Vec<(f64, i32)> = pairs.iter().map(|(a, b)| (a.0 * b.0, a.1 + b.1)).collect();
    match numerics.terms {
        Terms::ConvertedPairs { .. } => {
            let half = |upper: bool| -> Vec<(f64, i32)> {
                products
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| (k % 4 >= 2) == upper)
                    .map(|(_, product)| *product)
                    .collect()
            };
            let first = add(numerics, numerics.rounding, &half(false));
            let mut terms = half(true);
            terms.push(accumulator_value(numerics.rounding, first));
            let both = add(numerics, numerics.rounding, &terms);
            // Two f16 are added without error in f64.
            let sum = accumulator_value(numerics.rounding, both).0 + accumulator_value(numerics.rounding, c).0;
            match numerics.rounding {
                Rounding::TowardZero { .. } if sum.is_nan() => NAN_F32,
                Rounding::TowardZero { .. } => (f32::from_bits(both) + f32::from_bits(c)).to_bits(),
                Rounding::NearestF16 if sum.is_nan() => NAN_F16,
                Rounding::NearestF16 => half::f16::from_f64(sum).to_bits().into(),
            }
        }
        _ => products.chunks(numerics.group).fold(c, |c, group| {
            let mut terms = group.to_vec();
            terms.push(accumulator_value(numerics.rounding, c));
            add(numerics, numerics.rounding, &terms)
        }),
    }
}

/// Codes of one of several kinds: any bits, numbers close to each other, mostly zero, or the ends of the range.
fn codes(random: &mut Random, element: Element, count: usize, kind: u32) -> Vec<u32> {
    let format = element.float_format().unwrap();
    let mask = (1u32 << format.bits()) - 1;
    let code = |random: &mut Random| match kind {
        0 => random.next() & mask,
        1 => {
            let field = (format.bias() as u32).saturating_sub(2) + random.below(4);
            let field = field.min((1 << format.exponent_bits) - 2);
            (random.next() & 1) << (format.bits() - 1)
                | field << format.fraction_bits
                | random.next() & ((1 << format.fraction_bits) - 1)
        }
        2 if random.below(4) > 0 => random.next() & 1 << (format.bits() - 1),
        2 => random.next() & mask & !(1 << (format.bits() - 2)),
        // The largest and the least of their kind, so that sums cancel, overflow and vanish.
        _ => {
            let last = (1 << format.fraction_bits) - 1;
            let field = [0, 1, (1 << format.exponent_bits) - 2][random.below(3) as usize];
            (random.next() & 1) << (format.bits() - 1)
                | field << format.fraction_bits
                | [0, 1, last][random.below(3) as usize]
        }
    };
    let low = |random: &mut Random| if element == Element::Tf32 { random.next() & 0x1fff } else { 0 };
    (0..count).map(|_| if element == Element::Tf32 { code(random) << 13 | low(random) } else { code(random) }).collect()
}

fn accumulators(random: &mut Random, kind: Accumulator, count: usize, special: u32) -> Vec<u32> {
    let word = |random: &mut Random| match (kind, special) {
        (Accumulator::F16, 0) => random.next() & 0xffff,
        (Accumulator::F16, _) => u32::from(half::f16::from_f32((random.next() as i32 >> 20) as f32 / 64.0).to_bits()),
        (_, 0) => random.next(),
        (_, 1) => ((random.next() as i32) as f32 * 2f32.powi(-28)).to_bits(),
        (_, 2) => 0,
        _ => random.next() & 0x8fff_ffff,
    };
    (0..count).map(|_| word(random)).collect()
}

const FLOATS: &[Element] = &[
    Element::F16,
    Element::Bf16,
    Element::Tf32,
    Element::E4m3,
    Element::E5m2,
    Element::E2m3,
    Element::E3m2,
    Element::E2m1,
];

#[test]
fn every_model_is_computed_as_defined() {
    let models = [
        Numerics::HOPPER_F16,
        Numerics::HOPPER_TF32,
        Numerics::HOPPER_WGMMA_FP8,
        Numerics::HOPPER_MMA_FP8,
        Numerics::BLACKWELL_F16,
        Numerics::BLACKWELL_FP8,
        Numerics::ADA_F16,
        Numerics::ADA_TF32,
        Numerics::ADA_FP8,
    ];
    let mut random = Random(1);
    let mut outputs = 0;
    for (&a_element, kind) in FLOATS.iter().flat_map(|element| (0..4).map(move |kind| (element, kind))) {
        for model in models {
            let narrow = a_element.bits() <= 8;
            if matches!(model.terms, Terms::ConvertedPairs { .. })
                && !matches!(a_element, Element::E4m3 | Element::E5m2)
            {
                continue;
            }
            for to_f16 in [false, true] {
                let (numerics, accumulator) = match to_f16 {
                    true => (Numerics { rounding: Rounding::NearestF16, ..model }, Accumulator::F16),
                    false => (model, Accumulator::F32),
                };
                // Eight columns, sixteen, and a number that neither divides.
                for (m, n, k) in [(3, 8, 32), (2, 32, 64), (3, 11, 16), (1, 16, 8)] {
                    let b_element = match a_element {
                        Element::E4m3 | Element::E5m2 => [Element::E4m3, Element::E5m2][random.below(2) as usize],
                        _ if narrow => FLOATS[3 + random.below(5) as usize],
                        _ => a_element,
                    };
                    let (a, b) =
                        (codes(&mut random, a_element, m * k, kind), codes(&mut random, b_element, n * k, kind));
                    let special = random.below(4);
                    let c = accumulators(&mut random, accumulator, m * n, special);
                    let mut d = c.clone();
                    let operands = [(a_element, &a), (b_element, &b)]
                        .map(|(element, codes)| Operand::new(element, Codes::Words(codes)));
                    multiply(&numerics, Shape { m, n, k }, &operands[0], &operands[1], None, accumulator, &mut d)
                        .unwrap();
                    for (index, &found) in d.iter().enumerate() {
                        let (row, column) = (index / n, index % n);
                        let pairs: Vec<_> = (0..k)
                            .map(|k_index| {
                                let a = element_value(a_element, a[row * k + k_index]);
                                (a, element_value(b_element, b[column * k + k_index]))
                            })
                            .collect();
                        // The pairs of an f16 sum have the exponents of f16: none of theirs is subnormal there but those of e5m2.
                        let pairs: Vec<_> = match numerics.terms {
                            Terms::ConvertedPairs { .. } => pairs
                                .iter()
                                .map(|(a, b)| ((a.0, exponent(a.0, -14)), (b.0, exponent(b.0, -14))))
                                .collect(),
                            _ => pairs,
                        };
                        let expected = reference(&numerics, &pairs, c[index]);
                        assert_eq!(
                            found, expected,
                            "{a_element:?} x {b_element:?}, kind {kind}, {numerics:?}, c {:#x}, row {row}, column {column}: \
                             {found:#x} and {expected:#x}",
                            c[index]
                        );
                        outputs += 1;
                    }
                }
            }
        }
    }
    assert!(outputs > 20_000, "{outputs}");
}

/// Scale codes of a middle range, with zeros (of ue4m3) and NaN now and then.
fn scale_codes(random: &mut Random, format: ScaleFormat, count: usize) -> Vec<u8> {
    (0..count)
        .map(|_| match (format, random.below(40)) {
            (ScaleFormat::Ue8m0, 0) => 0xff,
            (ScaleFormat::Ue8m0, _) => 110 + random.below(30) as u8,
            (ScaleFormat::Ue4m3, _) => random.below(0x80) as u8,
        })
        .collect()
}

fn scale_value(format: ScaleFormat, code: u8) -> (f64, f64, i32) {
    let (value, exponent) = match format {
        ScaleFormat::Ue8m0 if code == 0xff => (f64::NAN, 0),
        ScaleFormat::Ue8m0 => (power(i32::from(code) - 127), i32::from(code) - 127),
        ScaleFormat::Ue4m3 => element_value(Element::E4m3, code.into()),
    };
    // As significand, too.
    (value, value / power(if value == 0.0 || value.is_nan() { 0 } else { exponent }), exponent)
}

#[test]
fn block_scales_are_part_of_the_terms() {
    let mut random = Random(2);
    let cases = [
        (Numerics::BLACKWELL_FP8, 32, ScaleFormat::Ue8m0, 32),
        (Numerics::BLACKWELL_FP8, 64, ScaleFormat::Ue8m0, 32),
        (Numerics::BLACKWELL_FP4, 64, ScaleFormat::Ue8m0, 32),
        (Numerics::BLACKWELL_FP4, 64, ScaleFormat::Ue4m3, 16),
        (Numerics::BLACKWELL_FP4, 128, ScaleFormat::Ue4m3, 16),
        (Numerics::BLACKWELL_FP4, 64, ScaleFormat::Ue8m0, 16),
    ];
    for (numerics, k, format, block) in cases {
        for round in 0..12 {
            let (m, n) = (5, [8, 16, 24][round % 3]);
            let blocks = numerics.terms != Terms::Products;
            let element =
                |random: &mut Random| if blocks { Element::E2m1 } else { FLOATS[3 + random.below(5) as usize] };
            let (a_element, b_element) = (element(&mut random), element(&mut random));
            let kind = random.below(3);
            let (a, b) = (codes(&mut random, a_element, m * k, kind), codes(&mut random, b_element, n * k, kind));
            let special = 1 + random.below(2);
            let c = accumulators(&mut random, Accumulator::F32, m * n, special);
            let (sa, sb) =
                (scale_codes(&mut random, format, m * k / block), scale_codes(&mut random, format, n * k / block));
            let scales = Scales { format, block, a: &sa, b: &sb };
            let mut d = c.clone();
            let operands =
                [(a_element, &a), (b_element, &b)].map(|(element, codes)| Operand::new(element, Codes::Words(codes)));
            multiply(&numerics, Shape { m, n, k }, &operands[0], &operands[1], Some(&scales), Accumulator::F32, &mut d)
                .unwrap();
            for (index, &found) in d.iter().enumerate() {
                let (row, column) = (index / n, index % n);
                let factors = |k_index: usize| {
                    let a_scale = scale_value(format, sa[(row * k + k_index) / block]);
                    let b_scale = scale_value(format, sb[(column * k + k_index) / block]);
                    (
                        element_value(a_element, a[row * k + k_index]),
                        element_value(b_element, b[column * k + k_index]),
                        a_scale,
                        b_scale,
                    )
                };
                let mut terms: Vec<(f64, i32)> = Vec::new();
                match numerics.terms {
                    Terms::Blocks { length } => {
                        for start in (0..k).step_by(length) {
                            let products: f64 = (start..start + length).map(|k| factors(k).0.0 * factors(k).1.0).sum();
                            let (_, _, a_scale, b_scale) = factors(start);
                            terms.push((products * a_scale.0 * b_scale.0, a_scale.2 + b_scale.2));
                        }
                    }
                    _ => terms.extend((0..k).map(factors).map(|(a, b, a_scale, b_scale)| {
                        (a.0 * b.0 * a_scale.0 * b_scale.0, a.1 + b.1 + a_scale.2 + b_scale.2)
                    })),
                }
                let per_group = match numerics.terms {
                    Terms::Blocks { length } => numerics.group / length,
                    _ => numerics.group,
                };
                let expected = terms.chunks(per_group).fold(c[index], |c, group| {
                    let mut terms = group.to_vec();
                    terms.push(accumulator_value(numerics.rounding, c));
                    add(&numerics, numerics.rounding, &terms)
                });
                assert_eq!(
                    found, expected,
                    "{a_element:?} x {b_element:?} by {format:?} of {block}, row {row}, column {column}"
                );
            }
        }
    }
}

/// Small whole numbers whose sums stay exact in every model.
fn whole(random: &mut Random, element: Element, count: usize) -> (Vec<u32>, Vec<i32>) {
    let values: Vec<i32> = (0..count).map(|_| random.below(3) as i32 - 1).collect();
    let code = |value: i32| match element {
        Element::F16 => u32::from(half::f16::from_f32(value as f32).to_bits()),
        Element::Bf16 => u32::from(half::bf16::from_f32(value as f32).to_bits()),
        Element::Tf32 => (value as f32).to_bits(),
        _ => {
            let format = element.float_format().unwrap();
            let one = (format.bias() as u32) << format.fraction_bits;
            if value == 0 { 0 } else { one | u32::from(value < 0) << (format.bits() - 1) }
        }
    };
    (values.iter().map(|&value| code(value)).collect(), values)
}

#[test]
fn small_whole_numbers_are_exact_in_every_kind() {
    let mut random = Random(3);
    let (m, n, k) = (16, 24, 128);
    for &element in FLOATS {
        for numerics in [Numerics::HOPPER_F16, Numerics::HOPPER_WGMMA_FP8, Numerics::BLACKWELL_FP8, Numerics::ADA_TF32]
        {
            for accumulator in [Accumulator::F32, Accumulator::F16] {
                let rounding = if accumulator == Accumulator::F16 { Rounding::NearestF16 } else { numerics.rounding };
                let numerics = Numerics { rounding, ..numerics };
                let ((a, a_values), (b, b_values)) =
                    (whole(&mut random, element, m * k), whole(&mut random, element, n * k));
                let mut d = vec![0; m * n];
                let (a, b) = (Operand::new(element, Codes::Words(&a)), Operand::new(element, Codes::Words(&b)));
                multiply(&numerics, Shape { m, n, k }, &a, &b, None, accumulator, &mut d).unwrap();
                for (index, &bits) in d.iter().enumerate() {
                    let (row, column) = (index / n, index % n);
                    let expected: i32 =
                        (0..k).map(|k_index| a_values[row * k + k_index] * b_values[column * k + k_index]).sum();
                    let found = match accumulator {
                        Accumulator::F16 => half::f16::from_bits(bits as u16).to_f32(),
                        _ => f32::from_bits(bits),
                    };
                    assert_eq!(found, expected as f32, "{element:?}");
                }
            }
        }
    }
}

#[test]
fn a_negated_operand_changes_the_sign_of_products_alone() {
    let mut random = Random(4);
    let (m, n, k) = (4, 8, 16);
    let (a, _) = whole(&mut random, Element::Bf16, m * k);
    let (b, _) = whole(&mut random, Element::Bf16, n * k);
    let (a, b) = (Operand::new(Element::Bf16, Codes::Words(&a)), Operand::new(Element::Bf16, Codes::Words(&b)));
    let run = |a: &Operand, c: f32| {
        let mut d = vec![c.to_bits(); m * n];
        multiply(&Numerics::HOPPER_F16, Shape { m, n, k }, a, &b, None, Accumulator::F32, &mut d).unwrap();
        d.into_iter().map(f32::from_bits).collect::<Vec<f32>>()
    };
    let (plain, negated) = (run(&a, 3.0), run(&Operand { negate: true, ..a }, 3.0));
    assert!(plain.iter().zip(&negated).all(|(plain, negated)| plain - 3.0 == 3.0 - negated));
}

#[test]
fn an_absent_product_does_not_meet_an_infinity() {
    let infinity = u32::from(half::bf16::INFINITY.to_bits());
    let one = u32::from(half::bf16::ONE.to_bits());
    let run = |present: Option<&[bool]>| {
        let (a, b) = ([one, 0, one, 0], [one, infinity, one, one]);
        let a = Operand { present, ..Operand::new(Element::Bf16, Codes::Words(&a)) };
        let b = Operand::new(Element::Bf16, Codes::Words(&b));
        let mut d = [0];
        multiply(&Numerics::HOPPER_F16, Shape { m: 1, n: 1, k: 4 }, &a, &b, None, Accumulator::F32, &mut d).unwrap();
        d[0]
    };
    assert_eq!(run(None), NAN_F32);
    assert_eq!(run(Some(&[true, false, true, false])), 2f32.to_bits());
    assert_eq!(run(Some(&[true, true, true, false])), NAN_F32);
}

#[test]
fn integers_are_exact_and_wrap_or_saturate() {
    let mut random = Random(5);
    let types = [(Element::S8, 8), (Element::U8, 8), (Element::S4, 4), (Element::U4, 4)];
    for ((a_element, a_bits), (b_element, b_bits)) in types.into_iter().flat_map(|a| types.map(|b| (a, b))) {
        for saturate in [false, true] {
            let (m, n, k) = (4, 11, 64);
            let a: Vec<u8> = (0..m * k).map(|_| random.below(1 << a_bits) as u8).collect();
            let b: Vec<u8> = (0..n * k).map(|_| random.below(1 << b_bits) as u8).collect();
            let ends = [i32::MAX, i32::MIN, 5, -7];
            let c: Vec<u32> = (0..m * n).map(|_| ends[random.below(4) as usize] as u32).collect();
            let mut d = c.clone();
            let operands =
                [(a_element, &a), (b_element, &b)].map(|(element, codes)| Operand::new(element, Codes::Bytes(codes)));
            let kind = Accumulator::S32 { saturate };
            multiply(&Numerics::HOPPER_F16, Shape { m, n, k }, &operands[0], &operands[1], None, kind, &mut d).unwrap();
            let value = |element: Element, code: u8| match element {
                Element::S8 => i64::from(code as i8),
                Element::S4 => i64::from(if code >= 8 { code as i8 - 16 } else { code as i8 }),
                _ => i64::from(code),
            };
            for (index, &found) in d.iter().enumerate() {
                let (row, column) = (index / n, index % n);
                let products = (0..k).map(|i| value(a_element, a[row * k + i]) * value(b_element, b[column * k + i]));
                let sum = i64::from(c[index] as i32) + products.sum::<i64>();
                let expected = if saturate { sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32 } else { sum as i32 };
                assert_eq!(found as i32, expected, "{a_element:?} x {b_element:?}");
            }
        }
    }
}

#[test]
fn bits_are_counted_and_doubles_are_fused_in_order() {
    let mut counts = [10, u32::MAX];
    multiply_bits(BitOperation::Xor, 1, 2, 2, &[0xff, 0], &[0x0f, 1, 0xff, 3], &mut counts).unwrap();
    assert_eq!(counts, [15, 1]);
    multiply_bits(BitOperation::And, 1, 2, 2, &[0xff, 0], &[0x0f, 1, 0xff, 3], &mut counts).unwrap();
    assert_eq!(counts, [19, 9]);
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
    // In this order the fused steps lose the one in the middle: 2^60 + 1 - 2^60.
    let mut sum = bits(&[0.0]);
    let (a, b) = (bits(&[2f64.powi(30), 1.0, 2f64.powi(30)]), bits(&[2f64.powi(30), 1.0, -2f64.powi(30)]));
    multiply_f64(Shape { m: 1, n: 1, k: 3 }, &a, &b, &mut sum).unwrap();
    assert_eq!(f64::from_bits(sum[0]), 0.0);
}

#[test]
fn contradictory_arguments_are_errors() {
    let operand = Operand::new(Element::F16, Codes::Halves(&[0; 16]));
    let shape = Shape { m: 1, n: 1, k: 16 };
    let run = |numerics: &Numerics, a: &Operand, kind: Accumulator, d: &mut [u32]| {
        multiply(numerics, shape, a, &operand, None, kind, d).unwrap_err()
    };
    let numerics = Numerics::HOPPER_F16;
    let length = MultiplyError::Length { what: "C", found: 2, expected: 1 };
    assert_eq!(run(&numerics, &operand, Accumulator::F32, &mut [0; 2]), length);
    let error = run(&numerics, &Operand { element: Element::S8, ..operand }, Accumulator::F32, &mut [0]);
    assert_eq!(error.to_string(), "`s8` elements cannot be multiplied into F32");
    let kind = Accumulator::S32 { saturate: false };
    assert_eq!(
        run(&numerics, &operand, kind, &mut [0]),
        MultiplyError::Element { element: Element::F16, accumulator: kind }
    );
    let blocks = Numerics { terms: Terms::Blocks { length: 12 }, ..numerics };
    assert_eq!(run(&blocks, &operand, Accumulator::F32, &mut [0]), MultiplyError::Block { block: 12, k: 16 });
}
