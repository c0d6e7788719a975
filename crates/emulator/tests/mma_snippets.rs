//! PTX of the ISA notes with matrix instructions of a warp, from text to results that the host computes or that an H200 gave.
//!
//! The modules are read from the folder that `GABLE_ISA` names, else from `shared/isa` beside the workspace.

use std::path::{Path, PathBuf};

use gable_emulator::{GlobalMemory, Launch, Module, Options, Schedule};
use gable_ptx::Target;

fn isa() -> Option<PathBuf> {
    let named = std::env::var_os("GABLE_ISA").map(PathBuf::from);
    let isa = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/isa"));
    if isa.join("snippets").is_dir() {
        return Some(isa);
    }
    assert!(std::env::var_os("CI").is_none(), "`{}` is missing; set GABLE_ISA", isa.display());
    println!("SKIPPED: `{}` is missing; set GABLE_ISA", isa.display());
    None
}

/// Runs an entry in every schedule on buffers: those with contents are inputs, the others are outputs of that many bytes.
fn run(
    isa: &Path,
    file: &str,
    entry: &str,
    machine: Target,
    grid: u32,
    block: u32,
    buffers: &[Buffer],
) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(isa.join("snippets").join(file)).unwrap();
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let kernel = module.kernel(entry, machine).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut results = Vec::new();
    for schedule in [Schedule::Eager, Schedule::Lazy, Schedule::Random(3)] {
        let mut memory = GlobalMemory::new();
        let (mut params, mut outputs) = (Vec::new(), Vec::new());
        for buffer in buffers {
            let address = match buffer {
                Buffer::In(data) => memory.allocate_with("input", data),
                Buffer::Out(bytes) => memory.allocate("output", *bytes as u64),
            };
            if matches!(buffer, Buffer::Out(_)) {
                outputs.push(address);
            }
            params.push(address.to_le_bytes().to_vec());
        }
        let params = kernel.pack(&params).unwrap();
        let launch = Launch { grid: [grid, 1, 1], block: [block, 1, 1], cluster: [1; 3], shared_bytes: 0, params };
        let options = Options { schedule, ..Options::default() };
        let outcome = kernel.run(&mut memory, &launch, &options).unwrap_or_else(|error| panic!("{file}: {error}"));
        if let Some(hazard) = outcome.hazards.first() {
            panic!("{file}, `{entry}`, {schedule:?}: {hazard}");
        }
        let contents = outputs.iter().map(|address| memory.contents(*address).unwrap().0);
        results.push(contents.collect::<Vec<Vec<u8>>>());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{file}: schedules differ");
    results.swap_remove(0)
}

enum Buffer {
    In(Vec<u8>),
    Out(usize),
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn recorded_products_are_those_of_the_hardware() {
    let Some(isa) = isa() else { return };
    // Recording, rows of A, and whether C and D are f16.
    let recordings = [
        ("ms_bf16", 16, false),
        ("ms_f16", 16, false),
        ("ms_tf32", 16, false),
        ("ms_e4m3", 16, false),
        ("wg_bf16", 64, false),
        ("wg_f16", 64, false),
        ("wg_tf32", 64, false),
        ("wg_e4m3", 64, false),
        ("wg_e5m2", 64, false),
        ("wg_f16acc", 64, true),
        ("wg_e4m3_f16out", 64, true),
    ];
    for (name, rows, half) in recordings {
        let raw = std::fs::read(isa.join(format!("hwcheck/golden/{name}.bin"))).unwrap();
        let accumulator = rows * 8 * if half { 2 } else { 4 };
        // 32 bytes of k in every type; 8 columns; 8 instructions.
        let sizes = [rows * 32, 8 * 32, accumulator, accumulator].map(|bytes| bytes * 8);
        assert_eq!(raw.len(), sizes.iter().sum::<usize>());
        let part = |index: usize| {
            let from: usize = sizes[..index].iter().sum();
            raw[from..from + sizes[index]].to_vec()
        };
        let entry = match name {
            "wg_e4m3_f16out" => "k_wg_e4m3_f16".to_owned(),
            name => format!("k_{name}"),
        };
        let buffers = [Buffer::In(part(0)), Buffer::In(part(1)), Buffer::In(part(2)), Buffer::Out(sizes[3])];
        let block = if rows == 64 { 128 } else { 32 };
        let results = run(&isa, "sm90_mma_numerics_probe.ptx", &entry, Target::Sm90a, 8, block, &buffers);
        assert!(results[0] == part(3), "{name} differs from the recording");
    }
}

#[test]
fn tiles_are_stored_loaded_and_transposed() {
    let Some(isa) = isa() else { return };
    let buffers = [Buffer::Out(512), Buffer::Out(512), Buffer::Out(512), Buffer::Out(128)];
    let results = run(&isa, "sm90_stmatrix_ldmatrix.ptx", "k", Target::Sm90a, 1, 32, &buffers);
    // Lane l, register i holds 8l + 2i and 8l + 2i + 1: element (l / 4, 2 (l % 4)) of matrix i and the next one.
    let element = |matrix: u32, row: u32, column: u32| (row * 4 + column / 2) * 8 + 2 * matrix + column % 2;
    let pair = |low: u32, high: u32| low | high << 16;
    for lane in 0..32u32 {
        let (matrix, row) = (lane / 8, lane % 8);
        let (group, two) = (lane / 4, 2 * (lane % 4));
        let register = |index: u32, of: &[u8]| words(of)[(lane * 4 + index) as usize];
        for i in 0..4 {
            let stored = pair(element(matrix, row, 2 * i), element(matrix, row, 2 * i + 1));
            assert_eq!(register(i, &results[0]), stored, "row {lane} of shared memory");
            assert_eq!(register(i, &results[1]), pair(element(i, group, two), element(i, group, two + 1)));
            assert_eq!(register(i, &results[2]), pair(element(i, two, group), element(i, two + 1, group)));
        }
        let moved = words(&results[3])[lane as usize];
        assert_eq!(moved, pair(element(0, two, group), element(0, two + 1, group)));
    }
}

#[test]
fn narrow_elements_are_spread_by_loads() {
    let Some(isa) = isa() else { return };
    let data: Vec<u8> = (0..512u32).map(|index| (index * 37 + index / 16 * 11) as u8).collect();
    let buffers = [Buffer::In(data.clone()), Buffer::Out(32 * 64)];
    let results = run(&isa, "sm120_ldmatrix_b4b6.ptx", "k", Target::Sm120a, 1, 32, &buffers);
    let bits = |row: usize| u128::from_le_bytes(data[row * 16..][..16].try_into().unwrap());
    let nibble = |row: usize, index: usize| (bits(row) >> (4 * index)) as u8 & 0xf;
    let six = |row: usize, index: usize| (bits(row) >> (6 * index)) as u8 & 0x3f;
    for lane in 0..32 {
        let out = &results[0][lane * 64..][..64];
        let (group, four) = (lane / 4, 4 * (lane % 4));
        for byte in 0..4 {
            for matrix in 0..4 {
                assert_eq!(out[matrix * 4 + byte], nibble(8 * matrix + group, four + byte));
            }
            for matrix in 0..2 {
                assert_eq!(out[16 + matrix * 4 + byte], six(8 * matrix + group, four + byte));
            }
            // Rows and columns as CUTLASS declares them for the transposing loads.
            let column = group + 8 * (byte / 2);
            for register in 0..2 {
                let row = four + 2 * register + byte % 2;
                assert_eq!(out[24 + register * 4 + byte], data[row * 16 + column]);
            }
            for register in 0..4 {
                let row = 16 * (register / 2) + four + 2 * (register % 2) + byte % 2;
                assert_eq!(out[32 + register * 4 + byte], nibble(row, column));
            }
        }
    }
}

/// The code of a small number: -1, 0, 1 or 2 in a type of so many exponent and fraction bits.
fn code(value: i32, exponent_bits: u32, fraction_bits: u32) -> u8 {
    if value == 0 {
        return 0;
    }
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = bias + if value.abs() == 2 { 1 } else { 0 };
    (u32::from(value < 0) << (exponent_bits + fraction_bits) | exponent << fraction_bits) as u8
}

/// Exponent and fraction bits of a type, and where it lies in its byte.
fn format(ty: &str) -> (u32, u32, u32) {
    match ty {
        "e4m3" => (4, 3, 0),
        "e5m2" => (5, 2, 0),
        "e2m3" => (2, 3, 0),
        "e3m2" => (3, 2, 0),
        _ => (2, 1, 2),
    }
}

#[test]
fn narrow_products_are_exact_for_small_numbers() {
    let Some(isa) = isa() else { return };
    let mut state = 5u32;
    let mut random = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % bound
    };
    // File, entry, machine, types of A and B, scales of a row (0: none) and their type.
    let cases = [
        ("sm89_mma_fp8_baseline.ptx", "k_e4m3", Target::Sm90a, "e4m3", "e4m3", 0, ""),
        ("sm89_mma_fp8_baseline.ptx", "k_e4m3", Target::Sm120a, "e4m3", "e4m3", 0, ""),
        ("sm120_mma_f8f6f4.ptx", "k_e4m3", Target::Sm120a, "e4m3", "e4m3", 0, ""),
        ("sm120_mma_f8f6f4.ptx", "k_e5m2_e4m3", Target::Sm120a, "e5m2", "e4m3", 0, ""),
        ("sm120_mma_f8f6f4.ptx", "k_e2m3_e3m2", Target::Sm120a, "e2m3", "e3m2", 0, ""),
        ("sm120_mma_f8f6f4.ptx", "k_e2m1_e4m3", Target::Sm120a, "e2m1", "e4m3", 0, ""),
        ("sm120_mma_mxf8f6f4.ptx", "k_e4m3", Target::Sm120a, "e4m3", "e4m3", 1, "ue8m0"),
        ("sm120_mma_mxf8f6f4.ptx", "k_e3m2_e2m1", Target::Sm120a, "e3m2", "e2m1", 1, "ue8m0"),
        ("sm120_mma_mxf4_nvf4.ptx", "k_mxf4", Target::Sm120a, "fp4", "fp4", 2, "ue8m0"),
        ("sm120_mma_mxf4_nvf4.ptx", "k_mxf4nvf4_2x", Target::Sm120a, "fp4", "fp4", 2, "ue8m0"),
        ("sm120_mma_mxf4_nvf4.ptx", "k_mxf4nvf4_4x", Target::Sm120a, "fp4", "fp4", 4, "ue4m3"),
        ("sm121a_mma.ptx", "k_nvf4", Target::Sm121a, "fp4", "fp4", 4, "ue4m3"),
        ("sm120f_mma_family.ptx", "k_e4m3", Target::Sm120a, "e4m3", "e4m3", 1, "ue8m0"),
        ("sm120f_mma_family.ptx", "k_nvf4", Target::Sm121a, "fp4", "fp4", 4, "ue4m3"),
    ];
    for (file, entry, machine, a_type, b_type, per_row, scale) in cases {
        let packed = a_type == "fp4";
        let k = if packed { 64 } else { 32 };
        let mut operand = |rows: usize, ty: &str| {
            let values: Vec<i32> = (0..rows * k).map(|_| random(4) as i32 - 1).collect();
            let (exponent_bits, fraction_bits, shift) = format(ty);
            let codes: Vec<u8> = values.iter().map(|&value| code(value, exponent_bits, fraction_bits)).collect();
            let bytes = match packed {
                true => codes.chunks_exact(2).map(|two| two[0] | two[1] << 4).collect(),
                false => codes.iter().map(|code| code << shift).collect::<Vec<u8>>(),
            };
            (values, bytes)
        };
        let ((a, a_bytes), (b, b_bytes)) = (operand(16, a_type), operand(8, b_type));
        // Powers of two from 1/2 to 4.
        let mut scales = |rows: usize| {
            let powers: Vec<i32> = (0..rows * 4).map(|_| random(4) as i32 - 1).collect();
            let byte = |power: &i32| if scale == "ue4m3" { (7 + power) << 3 } else { 127 + power } as u8;
            let bytes: Vec<u8> = powers.iter().map(byte).collect();
            (powers, bytes)
        };
        let ((sa, sa_bytes), (sb, sb_bytes)) = (scales(16), scales(8));
        let buffers = [
            Buffer::In(a_bytes),
            Buffer::In(b_bytes),
            Buffer::In(sa_bytes),
            Buffer::In(sb_bytes),
            Buffer::Out(16 * 8 * 4),
        ];
        let results = words(&run(&isa, file, entry, machine, 1, 32, &buffers)[0]);
        for (index, &bits) in results.iter().enumerate() {
            let (row, column) = (index / 8, index % 8);
            let expected: f32 = (0..k)
                .map(|i| {
                    let product = (a[row * k + i] * b[column * k + i]) as f32;
                    let block = i * per_row / k;
                    let power = if per_row == 0 { 0 } else { sa[row * 4 + block] + sb[column * 4 + block] };
                    product * 2f32.powi(power)
                })
                .sum();
            assert_eq!(f32::from_bits(bits), expected, "{file}, `{entry}`: row {row}, column {column}");
        }
    }
}
