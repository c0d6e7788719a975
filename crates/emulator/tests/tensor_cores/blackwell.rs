//! tcgen05.

use gable_emulator::HazardKind;
use gable_emulator::tensor_map::map::DataType;
use gable_ptx::Target;

use crate::launch::*;

fn run(text: &str) -> Run {
    Run::new(text, Target::Sm100a, 128)
}

fn map(data: Vec<u8>, data_type: DataType, columns: usize, rows: u64, box_columns: u32) -> Given {
    let row_bytes = data.len() as u64 / rows;
    let (dims, box_dims) = ([columns as u64, rows], [box_columns, 128]);
    Given::Map(Map { data, data_type, dims, row_bytes, box_dims })
}

type Encode = fn(&[i32]) -> Vec<u8>;
type Decode = fn(&[u8]) -> Vec<i32>;
/// Module, elements of a step, elements of a block, encodings of elements and of scales.
type Scaled = (&'static str, usize, usize, Encode, fn(i32) -> u8);

#[test]
fn f16_tf32_f8f6f4_and_i8_multiply_into_tensor_memory() {
    let bytes: Encode = |values| values.iter().map(|&v| v as i8 as u8).collect();
    let cases: [(&str, DataType, usize, i32, Encode, Decode); 4] = [
        ("sm100_tcgen05_f16.ptx", DataType::Bf16, 64, 8, bf16, of_f32),
        ("sm100_tcgen05_tf32.ptx", DataType::F32, 32, 8, f32s, of_f32),
        ("sm100_tcgen05_f8f6f4.ptx", DataType::U8, 128, 2, e4m3, of_f32),
        ("sm100_tcgen05_i8.ptx", DataType::U8, 128, 127, bytes, of_s32),
    ];
    for (name, data_type, step, most, encode, decode) in cases {
        let Some(text) = module(name) else { return };
        let k = 3 * step;
        let (a, b) = (small(128 * k, 1, -most, most), small(128 * k, 2, -most, most));
        let given = [
            map(encode(&a), data_type, k, 128, step as u32),
            map(encode(&b), data_type, k, 128, step as u32),
            Given::Out(128 * 128 * 4),
            Given::U32(3),
            Given::U32(step as u32),
        ];
        assert!(decode(&run(&text).clean(&given)) == product(&a, &b, k), "{name}");
    }
}

/// Scales of 128 rows as atoms of 128 by 4, `per_row` of them in a row.
fn atoms(scales: &[i32], per_row: usize, code: impl Fn(i32) -> u8) -> Vec<u8> {
    let mut bytes = vec![0; scales.len()];
    for (i, &scale) in scales.iter().enumerate() {
        let (row, k) = (i / per_row, i % per_row);
        bytes[k / 4 * 512 + row % 32 * 16 + row / 32 * 4 + k % 4] = code(scale);
    }
    bytes
}

/// `A * B^T` where blocks of `block` elements along k have scales.
fn scaled(a: &[i32], b: &[i32], sa: &[i32], sb: &[i32], k: usize, block: usize) -> Vec<i32> {
    let apply = |m: &[i32], s: &[i32]| -> Vec<i32> {
        m.iter().enumerate().map(|(i, v)| v * s[i / k * (k / block) + i % k / block]).collect()
    };
    product(&apply(a, sa), &apply(b, sb), k)
}

#[test]
fn block_scales_multiply_their_blocks() {
    // Scales are 1 and 2.
    let power: fn(i32) -> u8 = |scale| 126 + scale as u8;
    let number: fn(i32) -> u8 = |scale| [0x38, 0x40][scale as usize - 1];
    let cases: [Scaled; 3] = [
        ("sm100_tcgen05_mxf8f6f4.ptx", 128, 32, e4m3, power),
        ("sm100_tcgen05_mxf4.ptx", 256, 32, e2m1, power),
        ("sm100_tcgen05_mxf4nvf4.ptx", 256, 16, e2m1, number),
    ];
    for (name, step, block, encode, code) in cases {
        let Some(text) = module(name) else { return };
        let k = 2 * step;
        let (a, b) = (small(128 * k, 1, -2, 2), small(128 * k, 2, -2, 2));
        let per_row = k / block;
        let (sa, sb) = (small(128 * per_row, 3, 1, 2), small(128 * per_row, 4, 1, 2));
        let given = [
            map(encode(&a), DataType::U8, 256, 128, 128),
            map(encode(&b), DataType::U8, 256, 128, 128),
            Given::In(atoms(&sa, per_row, code)),
            Given::In(atoms(&sb, per_row, code)),
            Given::Out(128 * 128 * 4),
            Given::U32(2),
            Given::U32(128),
        ];
        assert!(of_f32(&run(&text).clean(&given)) == scaled(&a, &b, &sa, &sb, k, block), "{name}");
    }
}

#[test]
fn a_pair_of_ctas_multiplies_together() {
    let Some(text) = module("sm100_tcgen05_cta_group2.ptx") else { return };
    let k = 192;
    let (a, b) = (small(256 * k, 1, -8, 8), small(256 * k, 2, -8, 8));
    let given = [
        map(bf16(&a), DataType::Bf16, k, 256, 64),
        map(bf16(&b), DataType::Bf16, k, 256, 64),
        Given::Out(256 * 256 * 4),
        Given::U32(3),
        Given::U32(64),
    ];
    let pair = Run { grid: 2, cluster: 2, ..run(&text) };
    assert!(of_f32(&pair.clean(&given)) == product(&a, &b, k));
}

fn planted() -> Option<(Run, Vec<Given>)> {
    let text = module("sm100_tcgen05_f16.ptx")?;
    let k = 128;
    let (a, b) = (small(128 * k, 1, -8, 8), small(128 * k, 2, -8, 8));
    let given = vec![
        map(bf16(&a), DataType::Bf16, k, 128, 64),
        map(bf16(&b), DataType::Bf16, k, 128, 64),
        Given::Out(128 * 128 * 4),
        Given::U32(2),
        Given::U32(64),
    ];
    Some((run(&text), given))
}

#[test]
fn what_is_left_out_is_found() {
    let Some((kernel, given)) = planted() else { return };
    let finds = |old: &str, new: &str, kind, words: &str| kernel.with(old, new).finds(&given, kind, words);
    let memory = HazardKind::TensorMemory;
    finds("tcgen05.wait::ld.sync.aligned;", "", HazardKind::NotWaitedFor, "tcgen05.wait::ld");
    finds("tcgen05.dealloc.cta_group::1.sync.aligned.b32", "//", memory, "tcgen05.dealloc must come first");
    finds("0x08200490", "0x08200498", HazardKind::Descriptor, "bits 3-3");
    finds("0x08200490", "0x10200490", HazardKind::Descriptor, "M is 256");
    finds("0x4000404000010000", "0x4000004000010000", HazardKind::Descriptor, "bits 46-48");
    // Every warp but the first starts in a quarter that is not its own.
    finds("shl.b32         %r41, %r40, 21;", "mov.u32 %r41, 0;", memory, "reaches lanes");
    // More columns than were allocated.
    finds(".b32 [%r7], 128;", ".b32 [%r7], 64;", memory, "columns");
    finds("tcgen05.mma.cta_group::1", "tcgen05.mma.cta_group::2", memory, "cta_group::2 after cta_group::1");
}
