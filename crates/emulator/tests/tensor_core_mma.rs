//! `mma.sync` as a whole: registers in, registers out, against products of whole numbers computed from the fragments' places.

use gable_emulator::scalar::Register;
use gable_emulator::tensor_core::accumulate::Device;
use gable_emulator::tensor_core::element::Element;
use gable_emulator::tensor_core::mma_sync::{Inputs, Mma, MmaError, Rows, ScaleOperand};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % bound
    }
}

fn mma(text: &str) -> Mma {
    let words: Vec<&str> = text.split('.').filter(|word| !word.is_empty()).collect();
    Mma::from_modifiers(&words).unwrap()
}

/// The code of -1, 0 or 1, or of a small integer.
fn code(element: Element, value: i64) -> u64 {
    match element {
        Element::F64 => (value as f64).to_bits(),
        Element::Tf32 => u64::from((value as f32).to_bits()),
        _ => match element.float_format() {
            None => value as u64 & ((1 << element.bits()) - 1),
            Some(_) if value == 0 => 0,
            Some(format) => {
                (format.bias() as u64) << format.fraction_bits | u64::from(value < 0) << (format.bits() - 1)
            }
        },
    }
}

/// A matrix in registers, and its values row after row.
fn operand(random: &mut Random, rows: Rows, element: Element, shift: u32) -> (Vec<Register>, Vec<i64>) {
    let mut registers = vec![[0; 32]; rows.registers()];
    let mut values = Vec::new();
    for index in 0..rows.rows * rows.k {
        let value = match element {
            Element::U8 | Element::U4 => random.below(5) as i64,
            _ => random.below(3) as i64 - 1,
        };
        let (lane, register, bit) = rows.place(index / rows.k, index % rows.k);
        registers[register][lane] |= code(element, value) << shift << bit;
        values.push(value);
    }
    (registers, values)
}

/// Row and column of element `i` of a lane of C or D of two columns a lane.
fn accumulator_place(lane: usize, i: usize) -> (usize, usize) {
    (lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2)
}

#[test]
fn whole_numbers_are_multiplied_exactly_in_every_shape() {
    let shapes = [
        ".sync.aligned.m16n8k8.row.col.f32.f16.f16.f32",
        ".sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        ".sync.aligned.m16n8k16.row.col.f16.f16.f16.f16",
        ".sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32",
        ".sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        ".sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32",
        ".sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
        ".sync.aligned.m8n8k4.row.col.f64.f64.f64.f64",
        ".sync.aligned.m16n8k4.row.col.f64.f64.f64.f64",
        ".sync.aligned.m16n8k8.row.col.f64.f64.f64.f64",
        ".sync.aligned.m16n8k16.row.col.f64.f64.f64.f64",
        ".sync.aligned.m8n8k16.row.col.s32.s8.u8.s32",
        ".sync.aligned.m16n8k16.row.col.s32.u8.s8.s32",
        ".sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32",
        ".sync.aligned.m8n8k32.row.col.s32.s4.u4.s32",
        ".sync.aligned.m16n8k32.row.col.s32.u4.s4.s32",
        ".sync.aligned.m16n8k64.row.col.satfinite.s32.s4.s4.s32",
        ".sync.aligned.m16n8k16.row.col.f32.e4m3.e5m2.f32",
        ".sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",
        ".sync.aligned.m16n8k32.row.col.f16.e5m2.e4m3.f16",
        ".sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.e2m1.e3m2.f32",
        ".sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16.e2m3.e2m1.f16",
    ];
    let mut random = Random(7);
    for text in shapes {
        let mma = mma(text);
        let mixed = text.contains("kind::");
        let rows = |rows: usize, element: Element| {
            (Rows { rows, k: mma.shape.k, bits: if mixed { 8 } else { element.bits() as usize } }, element)
        };
        let shift = |element: Element| if mixed && element == Element::E2m1 { 2 } else { 0 };
        let (layout, element) = rows(mma.shape.m, mma.a);
        let (a, a_values) = operand(&mut random, layout, element, shift(element));
        let (layout, element) = rows(8, mma.b);
        let (b, b_values) = operand(&mut random, layout, element, shift(element));
        for device in [Device::Ada, Device::Hopper, Device::Blackwell] {
            let [_, _, count, _] = mma.registers();
            let half = text.ends_with(".f16");
            let base = |row: usize, column: usize| (row * 8 + column) as i64 - 30;
            let to_bits = |value: i64| match text.rsplit('.').next().unwrap() {
                "f64" => (value as f64).to_bits(),
                "f32" => u64::from((value as f32).to_bits()),
                "f16" => u64::from(half::f16::from_f32(value as f32).to_bits()),
                _ => u64::from(value as i32 as u32),
            };
            let word = |lane: usize, i: usize, value: &dyn Fn(usize, usize) -> i64| match half {
                true => {
                    let (row, column) = (lane / 4 + 8 * i, 2 * (lane % 4));
                    to_bits(value(row, column)) | to_bits(value(row, column + 1)) << 16
                }
                false => {
                    let (row, column) = accumulator_place(lane, i);
                    to_bits(value(row, column))
                }
            };
            let c: Vec<Register> = (0..count).map(|i| std::array::from_fn(|lane| word(lane, i, &base))).collect();
            let inputs = Inputs { a: &a, b: &b, c: &c, metadata: None, scales: None };
            let d = mma.run(&mma.numerics(device), &inputs).unwrap();
            let k = mma.shape.k;
            let expected = |row: usize, column: usize| {
                base(row, column) + (0..k).map(|i| a_values[row * k + i] * b_values[column * k + i]).sum::<i64>()
            };
            let expected: Vec<Register> =
                (0..count).map(|i| std::array::from_fn(|lane| word(lane, i, &expected))).collect();
            assert_eq!(d, expected, "{text} on {device:?}");
        }
    }
}

#[test]
fn bits_are_counted() {
    let mut random = Random(8);
    for (text, registers) in [
        (".sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc", [1, 1]),
        (".sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc", [2, 1]),
        (".sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.xor.popc", [4, 2]),
    ] {
        let mma = mma(text);
        let mut fill = |count: usize| -> Vec<Register> {
            (0..count).map(|_| std::array::from_fn(|_| random.below(1 << 32))).collect()
        };
        let (a, b) = (fill(registers[0]), fill(registers[1]));
        let c = vec![[3; 32]; mma.registers()[2]];
        let d = mma
            .run(&mma.numerics(Device::Hopper), &Inputs { a: &a, b: &b, c: &c, metadata: None, scales: None })
            .unwrap();
        let halves = mma.shape.m / 8;
        for lane in 0..32 {
            for (i, register) in d.iter().enumerate() {
                let (row, column) = accumulator_place(lane, i);
                let count: u32 = (0..mma.shape.k / 32)
                    .map(|word| {
                        let a = a[row / 8 + halves * (word / 4)][row % 8 * 4 + word % 4] as u32;
                        let b = b[word / 4][column * 4 + word % 4] as u32;
                        if text.contains("and") { (a & b).count_ones() } else { (a ^ b).count_ones() }
                    })
                    .sum();
                assert_eq!(register[lane], u64::from(count) + 3, "{text}");
            }
        }
    }
}

#[test]
fn quads_multiply_by_themselves_in_every_order() {
    let one = half::f16::ONE.to_bits() as u64;
    for a_order in ["row", "col"] {
        for b_order in ["row", "col"] {
            for types in ["f32.f16.f16.f32", "f16.f16.f16.f16", "f32.f16.f16.f16"] {
                let mma = mma(&format!(".sync.aligned.m8n8k4.{a_order}.{b_order}.{types}"));
                // Product q has A with a one at (q + 1, q) alone, and B with a one at (q, 2q).
                let mut a = vec![[0; 32]; 2];
                let mut b = vec![[0; 32]; 2];
                for q in 0..4usize {
                    let lane = |t: usize, h: usize| 4 * q + t + 16 * h;
                    let (row, k, column) = (q + 1, q, 2 * q);
                    let (at, i) =
                        if a_order == "row" { (lane(row % 4, row / 4), k) } else { (lane(k, row / 4), row % 4) };
                    a[i / 2][at] = one << (16 * (i % 2));
                    let (at, i) = if b_order == "col" {
                        (lane(column % 4, column / 4), k)
                    } else {
                        (lane(k, column / 4), column % 4)
                    };
                    b[i / 2][at] = one << (16 * (i % 2));
                }
                let [_, _, c, d_count] = mma.registers();
                let c = vec![[0; 32]; c];
                let d = mma
                    .run(&mma.numerics(Device::Hopper), &Inputs { a: &a, b: &b, c: &c, metadata: None, scales: None })
                    .unwrap();
                let mut ones = Vec::new();
                for lane in 0..32 {
                    for i in 0..8 {
                        let (t, h, q) = (lane % 4, lane / 16, lane / 4 % 4);
                        let (value, row, column) = match d_count {
                            4 => {
                                (half::f16::from_bits((d[i / 2][lane] >> (16 * (i % 2))) as u16).to_f32(), t + 4 * h, i)
                            }
                            _ => (
                                f32::from_bits(d[i][lane] as u32),
                                (t & 1) + (i & 2) + 4 * h,
                                (i & 4) + (t & 2) + (i & 1),
                            ),
                        };
                        if value != 0.0 {
                            assert_eq!(value, 1.0);
                            ones.push((q, row, column));
                        }
                    }
                }
                ones.sort_unstable();
                assert_eq!(ones, [(0, 1, 0), (1, 2, 2), (2, 3, 4), (3, 4, 6)], "{a_order} {b_order} {types}");
            }
        }
    }
}

const NVFP4: &str = ".sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3";

/// All elements one, scales given by a function of row and block; the sums of a row and column.
fn scaled(
    text: &str,
    bytes: [u32; 2],
    threads: [u32; 2],
    scale_a: &Register,
    scale_b: &Register,
) -> Result<Vec<Register>, MmaError> {
    let mma = mma(text);
    let packed = text.contains("mxf4");
    let ones = if packed { 0x2222_2222 } else { 0x3838_3838 };
    let [a, b, c, _] = mma.registers();
    let (a, b, c) = (vec![[ones; 32]; a], vec![[ones; 32]; b], vec![[0; 32]; c]);
    let scale = |side: usize, register| ScaleOperand { register, byte: bytes[side], thread: threads[side] };
    let scales = Some([scale(0, scale_a), scale(1, scale_b)]);
    mma.run(&mma.numerics(Device::Blackwell), &Inputs { a: &a, b: &b, c: &c, metadata: None, scales })
}

#[test]
fn scales_come_from_the_bytes_and_threads_that_are_named() {
    let mxf8 = ".sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X.f32.e4m3.e4m3.f32.ue8m0";
    let mxf4 = ".sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0";
    for (text, byte_ids, per_row) in [(mxf8, vec![0, 1, 2, 3], 1), (mxf4, vec![0, 2], 2), (NVFP4, vec![0], 4)] {
        let k = if text == mxf8 { 32.0 } else { 64.0 };
        let unit = if text == NVFP4 { 0x38 } else { 127 };
        for byte in byte_ids {
            for (thread_a, thread_b) in (0..2).flat_map(|a| (0..4).map(move |b| (a, b))) {
                // Scales of one; that of row 11, first block, is two, and so is that of column 6, last block.
                let two = if text == NVFP4 { 0x40 } else { 128 };
                let all = u64::from(u32::from_ne_bytes([unit; 4]));
                let (mut sa, mut sb) = ([0xffff_ffff; 32], [0xffff_ffff; 32]);
                for lane in 0..32usize {
                    if lane % 4 / 2 == thread_a as usize {
                        sa[lane] = all;
                    }
                    if lane % 4 == thread_b as usize {
                        sb[lane] = all;
                    }
                }
                let put = |word: &mut u64, byte: u32| *word = *word & !(0xff << (8 * byte)) | two << (8 * byte);
                put(&mut sa[3 * 4 + 2 * thread_a as usize + 1], byte);
                put(&mut sb[6 * 4 + thread_b as usize], byte + per_row - 1);
                let d = scaled(text, [byte, byte], [thread_a, thread_b], &sa, &sb).unwrap();
                for lane in 0..32 {
                    for (i, register) in d.iter().enumerate() {
                        let (row, column) = accumulator_place(lane, i);
                        let block = k / f64::from(per_row);
                        let (more_a, more_b) = (row == 11, column == 6);
                        let expected = match (more_a, more_b) {
                            (true, true) if per_row == 1 => 4.0 * k,
                            (true, true) => k + 2.0 * block,
                            (true, false) | (false, true) => k + block,
                            (false, false) => k,
                        };
                        assert_eq!(
                            f32::from_bits(register[lane] as u32),
                            expected as f32,
                            "{text}: row {row}, column {column}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn wrong_ids_and_stray_bits_are_named() {
    let ones = [0x3838_3838; 32];
    let message = |bytes, threads| scaled(NVFP4, bytes, threads, &ones, &ones).unwrap_err().to_string();
    assert_eq!(message([1, 0], [0, 0]), "the byte id of the scales of A is 1, expected 0");
    assert_eq!(message([0, 0], [2, 0]), "the thread id of the scales of A is 2, expected 0 or 1");
    assert_eq!(message([0, 0], [0, 4]), "the thread id of the scales of B is 4, expected 0 to 3");
    let mma = mma(".sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.e2m1.e2m3.f32");
    let run = |a: &[Register], b: &[Register]| {
        let inputs = Inputs { a, b, c: &[[0; 32]; 4], metadata: None, scales: None };
        mma.run(&mma.numerics(Device::Blackwell), &inputs).unwrap_err().to_string()
    };
    let mut a = vec![[0x3c3c_3c3c; 32]; 4];
    a[2][9] = 0x0102_3c3c;
    assert_eq!(
        run(&a, &[[0; 32]; 2]),
        "byte 0x02 of A, lane 9, register 2: a e2m1 element has only bits 5:2, the others must be zero"
    );
    a[2][9] = 0;
    assert!(run(&a, &[[0x40; 32]; 2]).contains("byte 0x40 of B, lane 0, register 0: a e2m3 element has only bits 5:0"));
    assert_eq!(run(&a[1..], &[[0; 32]; 2]), "operand A has 3 registers, expected 4");
}

#[test]
fn mnemonics_that_do_not_exist_are_refused() {
    for text in [
        "sync.aligned.m16n8k16.row.col.f32.f16.f16",
        "sync.aligned.m16n8k12.row.col.f32.f16.f16.f32",
        "sync.aligned.m16n16k16.row.col.f32.f16.f16.f32",
        "sync.aligned.m16n8k16.row.col.s32.f16.f16.s32",
        "sync.aligned.m16n8k16.row.col.f16.f16.f16.f32",
        "sync.aligned.m16n8k32.row.col.f32.e2m1.e2m1.f32",
        "sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.f32.e2m1.e2m1.f32.ue4m3",
        "sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.scale_vec::2X.f32.e4m3.e2m1.f32.ue8m0",
    ] {
        let words: Vec<&str> = text.split('.').collect();
        assert!(Mma::from_modifiers(&words).is_err(), "{text}");
    }
}

#[test]
fn sparse_operands_are_expanded_by_their_metadata() {
    let mut random = Random(9);
    // Text, bits of an element, elements of a chunk, width of an index in elements, codes of a row.
    let cases = [
        (".sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 4, 1),
        (".sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32", 4, 1),
        (".sp.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 2, 1),
        (".sp::ordered_metadata.sync.aligned.m16n8k16.row.col.f32.tf32.tf32.f32", 2, 1),
        (".sp.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", 4, 1),
        (".sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.u8.s8.s32", 4, 1),
        (".sp.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32", 8, 2),
        (".sp::ordered_metadata.sync.aligned.m16n8k128.row.col.s32.u4.u4.s32", 8, 2),
        (".sp::ordered_metadata.sync.aligned.m16n8k64.row.col.f32.e4m3.e5m2.f32", 4, 1),
    ];
    for (text, chunk, width) in cases {
        let mma = mma(text);
        let k = mma.shape.k;
        let codes = k / chunk;
        let wide = mma.a.bits() >= 16;
        let selectors = 16 / codes;
        for selector in 0..selectors {
            let rows = |rows: usize, k: usize, element: Element| Rows { rows, k, bits: element.bits() as usize };
            let (a, stored) = operand(&mut random, rows(16, k / 2, mma.a), mma.a, 0);
            let (b, b_values) = operand(&mut random, rows(8, k, mma.b), mma.b, 0);
            let mut metadata = [0u64; 32];
            let mut dense = vec![0; 16 * k];
            let mut next = stored.iter();
            for row in 0..16 {
                for index in 0..codes {
                    let (code, positions) = if chunk == 2 {
                        [(0b0100, vec![0]), (0b1110, vec![1])][random.below(2) as usize].clone()
                    } else {
                        let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
                        let (first, second) = pairs[random.below(6) as usize];
                        (first | second << 2, vec![first as usize, second as usize])
                    };
                    for element in positions.iter().flat_map(|position| (0..width).map(move |i| position * width + i)) {
                        dense[row * k + index * chunk + element] = *next.next().unwrap();
                    }
                    let quad = row % 8 * 4;
                    let (lane, bit) = match (wide, codes) {
                        (true, 4) => (quad + selector, row / 8 * 16 + 4 * index),
                        (true, _) => (quad + 2 * selector + index / 4, row / 8 * 16 + 4 * (index % 4)),
                        _ => (quad + 2 * selector + row / 8 + 2 * (index / 8), 4 * (index % 8)),
                    };
                    metadata[lane] |= code << bit;
                }
            }
            let c = vec![[0; 32]; 4];
            let run = |metadata: &Register, selector: u32| {
                let inputs = Inputs { a: &a, b: &b, c: &c, metadata: Some((metadata, selector)), scales: None };
                mma.run(&mma.numerics(Device::Hopper), &inputs)
            };
            let d = run(&metadata, selector as u32).unwrap();
            for lane in 0..32 {
                for (i, register) in d.iter().enumerate() {
                    let (row, column) = accumulator_place(lane, i);
                    let expected: i64 = (0..k).map(|i| dense[row * k + i] * b_values[column * k + i]).sum();
                    let found = match text.ends_with("s32") {
                        true => i64::from(register[lane] as u32 as i32),
                        false => f32::from_bits(register[lane] as u32) as i64,
                    };
                    assert_eq!(found, expected, "{text}, selector {selector}");
                }
            }
            assert!(run(&metadata, selectors as u32).unwrap_err().to_string().contains("sparsity selector"));
            assert!(run(&[0; 32], selector as u32).unwrap_err().to_string().contains("sparsity metadata of row 0"));
        }
    }
}
