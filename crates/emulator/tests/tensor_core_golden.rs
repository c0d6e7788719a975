//! `multiply` against outputs recorded on an H200.
//!
//! A file holds some instructions: all A (rows of k), all B (8 rows of k), all C and all D (rows of 8), little endian. The files
//! in `golden/tensor_core` are excerpts; the whole set is read from the folder that `GABLE_ISA` names, if it is there.

use std::path::{Path, PathBuf};

use gable_emulator::tensor_core::accumulate::{Accumulator, Device, Numerics, Unit};
use gable_emulator::tensor_core::element::Element;
use gable_emulator::tensor_core::multiply::{Codes, Operand, Shape, multiply};

struct Recording {
    name: &'static str,
    unit: Unit,
    element: Element,
    m: usize,
    k: usize,
    accumulator: Accumulator,
}

const fn wgmma(name: &'static str, element: Element, k: usize, accumulator: Accumulator) -> Recording {
    Recording { name, unit: Unit::Wgmma, element, m: 64, k, accumulator }
}

const fn mma(name: &'static str, element: Element, k: usize) -> Recording {
    Recording { name, unit: Unit::Mma, element, m: 16, k, accumulator: Accumulator::F32 }
}

const N: usize = 8;

const RECORDINGS: &[Recording] = &[
    wgmma("wg_bf16", Element::Bf16, 16, Accumulator::F32),
    wgmma("wg_f16", Element::F16, 16, Accumulator::F32),
    wgmma("wg_tf32", Element::Tf32, 8, Accumulator::F32),
    wgmma("wg_f16acc", Element::F16, 16, Accumulator::F16),
    wgmma("wg_e4m3", Element::E4m3, 32, Accumulator::F32),
    wgmma("wg_e5m2", Element::E5m2, 32, Accumulator::F32),
    wgmma("wg_e4m3_f16out", Element::E4m3, 32, Accumulator::F16),
    mma("ms_bf16", Element::Bf16, 16),
    mma("ms_f16", Element::F16, 16),
    mma("ms_tf32", Element::Tf32, 8),
    mma("ms_e4m3", Element::E4m3, 32),
];

/// Little-endian words of `bytes` each.
fn words(raw: &[u8], bytes: usize) -> Vec<u32> {
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    raw.chunks_exact(bytes).map(word).collect()
}

/// Runs the instructions of a file and returns how many outputs it held.
fn check(folder: &Path, recording: &Recording) -> usize {
    let &Recording { name, unit, element, m, k, accumulator } = recording;
    let raw = std::fs::read(folder.join(format!("{name}.bin"))).unwrap();
    let operand_bytes = element.bits() as usize / 8;
    let accumulator_bytes = if accumulator == Accumulator::F16 { 2 } else { 4 };
    let sizes = [m * k * operand_bytes, N * k * operand_bytes, m * N * accumulator_bytes, m * N * accumulator_bytes];
    let instructions = raw.len() / sizes.iter().sum::<usize>();
    assert_eq!(raw.len(), instructions * sizes.iter().sum::<usize>(), "{name}: the file has another size");
    assert!(instructions > 0);
    let mut rest = &raw[..];
    let mut take = |bytes: usize, word: usize| {
        let (first, later) = rest.split_at(bytes * instructions);
        rest = later;
        words(first, word)
    };
    let (a, b) = (take(sizes[0], operand_bytes), take(sizes[1], operand_bytes));
    let (c, d) = (take(sizes[2], accumulator_bytes), take(sizes[3], accumulator_bytes));
    let numerics = Numerics::of(Device::Hopper, unit, element, accumulator, false);
    for instruction in 0..instructions {
        let of = |values: &[u32], size: usize| values[instruction * size..][..size].to_vec();
        let (a, b) = (of(&a, m * k), of(&b, N * k));
        let mut result = of(&c, m * N);
        let (a, b) = (Operand::new(element, Codes::Words(&a)), Operand::new(element, Codes::Words(&b)));
        multiply(&numerics, Shape { m, n: N, k }, &a, &b, None, accumulator, &mut result).unwrap();
        let expected = of(&d, m * N);
        for (index, (found, expected)) in result.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{name}: instruction {instruction}, row {}, column {}", index / N, index % N);
        }
    }
    d.len()
}

#[test]
fn excerpts_are_reproduced_bit_for_bit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tensor_core");
    let outputs: usize = RECORDINGS.iter().map(|recording| check(&folder, recording)).sum();
    assert_eq!(outputs, 7 * 64 * N + 4 * 2 * 16 * N);
}

#[test]
fn the_whole_set_is_reproduced_bit_for_bit() {
    let isa = std::env::var_os("GABLE_ISA").map(PathBuf::from);
    let isa = isa.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/isa"));
    let folder = isa.join("hwcheck/golden");
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "`{}` is missing; set GABLE_ISA", folder.display());
        println!("SKIPPED: `{}` is missing; set GABLE_ISA", folder.display());
        return;
    }
    let outputs: usize = RECORDINGS.iter().map(|recording| check(&folder, recording)).sum();
    assert_eq!(outputs, 7 * 8 * 64 * N + 4 * 8 * 16 * N);
}
