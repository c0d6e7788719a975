//! wgmma.

use gable_emulator::HazardKind;
use gable_emulator::tensor_map::map::DataType;
use gable_ptx::Target;

use crate::launch::*;

fn run(text: &str) -> Run {
    Run::new(text, Target::Sm90a, 128)
}

fn map(data: Vec<u8>, data_type: DataType, k: u64, rows: u64, box_dims: [u32; 2]) -> Given {
    let row_bytes = data.len() as u64 / rows;
    Given::Map(Map { data, data_type, dims: [k, rows], row_bytes, box_dims })
}

/// A and B of 64 and 128 rows, `chunks` steps of 128 bytes along k.
fn operands(elements: usize, chunks: usize, least: i32, most: i32) -> (Vec<i32>, Vec<i32>, usize) {
    let k = elements * chunks;
    (small(64 * k, 1, least, most), small(128 * k, 2, least, most), k)
}

#[test]
fn bf16_f16_tf32_e4m3_and_s8_multiply_what_a_tensor_copy_brought() {
    type Encode = fn(&[i32]) -> Vec<u8>;
    type Decode = fn(&[u8]) -> Vec<i32>;
    let bytes: Encode = |values| values.iter().map(|&v| v as i8 as u8).collect();
    let cases: [(&str, DataType, usize, i32, Encode, Decode, u64); 5] = [
        ("sm90_tma_wgmma_bf16.ptx", DataType::Bf16, 64, 8, bf16, of_f32, 4),
        ("sm90_tma_wgmma_f16_f16acc.ptx", DataType::F16, 64, 2, f16, of_f16, 2),
        ("sm90_tma_wgmma_tf32.ptx", DataType::F32, 32, 8, f32s, of_f32, 4),
        ("sm90_tma_wgmma_e4m3.ptx", DataType::U8, 128, 2, e4m3, of_f32, 4),
        ("sm90_tma_wgmma_s8.ptx", DataType::U8, 128, 127, bytes, of_s32, 4),
    ];
    for (name, data_type, elements, most, encode, decode, bytes) in cases {
        let Some(text) = module(name) else { return };
        let (a, b, k) = operands(elements, 3, -most, most);
        let boxes = |rows| [elements as u32, rows];
        let given = [
            map(encode(&a), data_type, k as u64, 64, boxes(64)),
            map(encode(&b), data_type, k as u64, 128, boxes(128)),
            Given::Out(64 * 128 * bytes),
            Given::U32(3),
        ];
        assert!(decode(&run(&text).clean(&given)) == product(&a, &b, k), "{name}");
    }
}

#[test]
fn both_operands_may_be_mn_major() {
    let Some(text) = module("sm90_wgmma_mn_major.ptx") else { return };
    let k = 128;
    let (a, b) = (small(64 * k, 3, -8, 8), small(128 * k, 4, -8, 8));
    let transposed = |m: &[i32], rows: usize| (0..k * rows).map(|i| m[i % rows * k + i / rows]).collect::<Vec<i32>>();
    let given = [
        map(bf16(&transposed(&a, 64)), DataType::Bf16, 64, k as u64, [64, 64]),
        map(bf16(&transposed(&b, 128)), DataType::Bf16, 128, k as u64, [64, 64]),
        Given::Out(64 * 128 * 4),
        Given::U32(2),
    ];
    assert_eq!(of_f32(&run(&text).clean(&given)), product(&a, &b, k));
}

#[test]
fn a_may_be_in_registers_and_b_without_swizzle() {
    let Some(text) = module("sm90_wgmma_a_in_regs.ptx") else { return };
    let (a, b) = (small(64 * 16, 5, -8, 8), small(64 * 16, 6, -8, 8));
    let given = [Given::In(bf16(&a)), Given::In(bf16(&b)), Given::Out(64 * 64 * 4)];
    let bf16_run = Run { entry: "k_bf16", ..run(&text) };
    assert_eq!(of_f32(&bf16_run.clean(&given)), product(&a, &b, 16));
    let (a, b) = (small(64 * 32, 7, -2, 2), small(64 * 32, 8, -2, 2));
    let given = [Given::In(e4m3(&a)), Given::In(e4m3(&b)), Given::Out(64 * 64 * 4)];
    let e4m3_run = Run { entry: "k_e4m3", ..run(&text) };
    assert_eq!(of_f32(&e4m3_run.clean(&given)), product(&a, &b, 32));
}

#[test]
fn a_persistent_kernel_with_roles_multiplies_two_tiles() {
    let Some(text) = module("sm90_ws_gemm_setmaxnreg.ptx") else { return };
    let (m, n, k) = (128, 512, 192);
    let (a, b) = (small(m * k, 9, -3, 3), small(n * k, 10, -3, 3));
    let given = [
        map(bf16(&a), DataType::Bf16, k as u64, m as u64, [64, 128]),
        map(bf16(&b), DataType::Bf16, k as u64, n as u64, [64, 256]),
        Given::Out((m * n * 2) as u64),
        Given::U32(m as u32),
        Given::U32(n as u32),
        Given::U32(k as u32),
    ];
    let kernel = Run { block: 384, grid: 1, shared_bytes: 197_888, ..run(&text) };
    let expected = bf16(&product(&a, &b, k));
    assert!(kernel.clean(&given) == expected);
}

/// The bf16 kernel with its operands.
fn planted(chunks: u32) -> Option<(Run, Vec<Given>)> {
    let text = module("sm90_tma_wgmma_bf16.ptx")?;
    let (a, b, k) = operands(64, chunks as usize, -8, 8);
    let given = vec![
        map(bf16(&a), DataType::Bf16, k as u64, 64, [64, 64]),
        map(bf16(&b), DataType::Bf16, k as u64, 128, [64, 128]),
        Given::Out(64 * 128 * 4),
        Given::U32(chunks),
    ];
    Some((run(&text), given))
}

#[test]
fn what_is_left_out_is_found() {
    let Some((kernel, given)) = planted(2) else { return };
    // The next copy overwrites what is being read; with one step, registers are used too early.
    let unwaited = kernel.with("wgmma.wait_group.sync.aligned 0;", "");
    unwaited.finds(&given, HazardKind::NotWaitedFor, "Wgmma");
    unwaited.finds(&planted(1).expect("it was there").1, HazardKind::NotWaitedFor, "wgmma.wait_group");
    let finds = |old: &str, new: &str, kind, words: &str| kernel.with(old, new).finds(&given, kind, words);
    finds("wgmma.fence.sync.aligned;", "", HazardKind::NotWaitedFor, "wgmma.fence");
    // A step along k that is too far; a reserved bit; a start out of memory.
    finds("%rd3, 6;", "%rd3, 7;", HazardKind::Descriptor, "run past");
    finds("0x4000004000010000", "0x4000404000010000", HazardKind::Descriptor, "bits 46-48");
    finds("0x4000004000010000", "0x4000004000013000", HazardKind::OutOfBounds, "shared");
}
