//! Tensor copies with random parameters against what an H200 did with them.
//!
//! `tests/hardware/tma_suite.py` makes the cases and the kernels, runs them with maps that the driver encodes, and records a hash of
//! what came out. Here the same kernels run with maps of our own encoding.

use std::path::Path;

use gable_emulator::tensor_map::Invalid;
use gable_emulator::tensor_map::encode::{Column, Tensor, Traversal, encode_im2col, encode_tiled};
use gable_emulator::tensor_map::map::{DataType, Fill, Interleave, Swizzle, TensorMap};
use gable_emulator::{Outcome, Schedule};
use gable_ptx::Target;
use serde_json::Value;

use crate::launch::{Buffer, Param, Run};

const TILE: usize = 16384;
const GLOBAL: usize = 65536;

/// Byte `index` of the content with that seed, as the suite makes it.
fn content(index: usize, seed: u32) -> u8 {
    let index = index as u32;
    let mut x = index.wrapping_mul(2_654_435_761).wrapping_add(seed * 40503).wrapping_add((index >> 8) * 69069);
    x ^= x >> 15;
    x = x.wrapping_mul(2_246_822_519);
    (x >> 13) as u8
}

/// As `content`, with many special values of every width.
fn special(index: usize, seed: u32) -> u8 {
    let byte = content(index, seed);
    let kind = content(index / 8, seed + 7) % 8;
    let high = index % 2 == 1;
    let low_of_exponent = matches!(index % 8, 2 | 6);
    match kind {
        0 if high => byte & 0x80,
        1 if high => byte & 0x80 | 0x7f,
        0 if low_of_exponent => byte & 0x7f,
        1 if low_of_exponent => byte | 0x80,
        2 if index % 4 == 1 => 0x10,
        2 if index.is_multiple_of(4) => 0,
        _ => byte,
    }
}

/// FNV-1a of 64 bits, in hexadecimal.
fn hash(data: &[u8]) -> String {
    let step = |value: u64, byte: &u8| (value ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", data.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

fn file(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hardware").join(name)).ok()
}

fn rows(text: &str, key: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).expect("the file is JSON");
    document[key].as_array().expect("it has rows").clone()
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().map_or(Vec::new(), |values| values.iter().map(|value| value.as_i64().expect("a number")).collect())
}

fn number(case: &Value, key: &str) -> i64 {
    case[key].as_i64().unwrap_or(0)
}

/// The map of a case over memory at `address`, by our own encoder.
fn encode(case: &Value, address: u64) -> Result<TensorMap, Invalid> {
    let unsigned = |key: &str| numbers(&case[key]).into_iter().map(|n| n as u64).collect::<Vec<u64>>();
    let small = |key: &str| numbers(&case[key]).into_iter().map(|n| n as u32).collect::<Vec<u32>>();
    let signed = |key: &str| numbers(&case[key]).into_iter().map(|n| n as i32).collect::<Vec<i32>>();
    let name = case["type"].as_str().expect("a name");
    let data_type = DataType::from_name(name).expect("a type of the driver");
    let (dims, strides, element_strides) = (unsigned("dims"), unsigned("strides"), small("elements"));
    let tensor = Tensor { data_type, address: address + number(case, "base") as u64, dims: &dims, strides: &strides };
    let enumeration = |field: &str, found: i64| Invalid {
        field: field.to_owned(),
        found: found.to_string(),
        expected: "a value of the driver's enumeration".to_owned(),
    };
    let swizzle = number(case, "swizzle");
    let swizzle = Swizzle::from_driver(swizzle as u32).ok_or_else(|| enumeration("swizzle", swizzle))?;
    let interleave = match number(case, "interleave") {
        0 => Interleave::None,
        1 => Interleave::Bytes16,
        2 => Interleave::Bytes32,
        other => return Err(enumeration("interleave", other)),
    };
    let fill = if number(case, "fill") == 1 { Fill::Nan } else { Fill::Zeros };
    let traversal = Traversal { element_strides: &element_strides, interleave, swizzle, fill };
    let map = if case["lower"].is_array() {
        let column = Column {
            channels_per_pixel: number(case, "channels") as u32,
            pixels_per_column: number(case, "pixels") as u32,
        };
        encode_im2col(&tensor, &signed("lower"), &signed("upper"), column, &traversal)?
    } else {
        encode_tiled(&tensor, &small("box"), &traversal)?
    };
    map.check_for(90)?;
    Ok(map)
}

fn is_load(case: &Value) -> bool {
    let kernel = case["kernel"].as_str().expect("a name");
    kernel.starts_with("load") || kernel.starts_with("im2col")
}

/// Runs a case; gives the outcome and the bytes whose hash was recorded.
fn run(text: &str, case: &Value, schedule: Schedule) -> (Outcome, Vec<u8>) {
    let load = is_load(case);
    let make = if case["special"] == true { special } else { content };
    let global = match case["counted"].as_bool() {
        Some(true) => (0..GLOBAL / 2).flat_map(|i| (i as u16).to_le_bytes()).collect(),
        _ => (0..GLOBAL).map(|i| make(i, 1)).collect(),
    };
    let tile = if load { vec![0xee; TILE + 4] } else { (0..TILE).map(|i| make(i, 2)).collect() };
    let kernel = case["kernel"].as_str().expect("a name");
    let mut run = Run::new(text, kernel);
    run.target = Target::Sm90a;
    run.buffers = vec![Buffer::Holds(global), Buffer::Holds(tile)];
    let mut at = numbers(&case["at"]);
    at.resize(5, 0);
    let case_of_map = case.clone();
    let make = move |address| encode(&case_of_map, address).expect("the map is valid");
    run.params = vec![Param::Map(0, Box::new(make)), Param::Address(1)];
    run.params.extend([number(case, "bytes"), number(case, "place")].map(|value| Param::U32(value as u32)));
    run.params.extend(at.iter().map(|at| Param::U32(*at as u32)));
    run.params.extend(numbers(&case["offsets"]).iter().map(|offset| Param::U16(*offset as u16)));
    let (outcome, mut buffers) = run.once(schedule);
    let mut bytes = buffers.swap_remove(usize::from(load));
    if load {
        bytes.truncate(TILE);
    }
    (outcome, bytes)
}

/// Compares the cases of a set with its recording; gives how many were compared.
fn compare(set: &str) -> usize {
    let file = |name: &str| file(name).unwrap_or_else(|| panic!("tests/hardware/{name} is missing"));
    let (text, cases) = (file("tma.ptx"), file(&format!("{set}_cases.json")));
    let results = rows(&file(&format!("{set}_recorded.json")), "results");
    let cases = rows(&cases, "cases");
    assert_eq!(cases.len(), results.len());
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (index, (case, result)) in cases.iter().zip(&results).enumerate() {
        let name = case["name"].as_str().expect("a name");
        assert_eq!(case["name"], result["name"]);
        let map = encode(case, 0x7f00_0000_0000);
        if map.is_ok() != (number(result, "encode") == 0) {
            wrong.push(format!("{name}: the driver's code is {}, ours {map:?}", result["encode"]));
            continue;
        }
        if map.is_err() || case["kernel"] == "none" {
            compared += 1;
            continue;
        }
        if number(case, "interleave") != 0 {
            // Slices of channels are not modelled: they are refused where they are used.
            let (outcome, _) = run(&text, case, Schedule::Eager);
            let refused = outcome.hazards.first().is_some_and(|hazard| hazard.message.contains("is not modelled"));
            if !refused {
                wrong.push(format!("{name}: slices, not refused"));
            }
            continue;
        }
        let schedule = [Schedule::Eager, Schedule::Lazy, Schedule::Random(index as u64)][index % 3];
        let (outcome, bytes) = run(&text, case, schedule);
        let faulted = result["fault"].is_string() || result["completed"] == 0;
        match outcome.hazards.first() {
            Some(hazard) if !faulted => wrong.push(format!("{name}: ran on hardware; here {hazard}")),
            None if faulted => wrong.push(format!("{name}: {result}; here it ran")),
            None if result["hash"] != hash(&bytes) => wrong.push(format!("{name}: other bytes: {case}")),
            _ => compared += 1,
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    compared
}

#[test]
fn tensor_copies_do_what_an_h200_did() {
    // The others have slices of channels.
    assert_eq!(compare("tma"), 608 - 48);
}
