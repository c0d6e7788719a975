//! Runs a kernel in all three schedules.

use std::path::PathBuf;

use gable_emulator::tensor_map::encode::{Tensor, Traversal, encode_tiled};
use gable_emulator::tensor_map::map::{DataType, Fill, Interleave, Swizzle};
use gable_emulator::{GlobalMemory, Hazard, HazardKind, Launch, Module, Options, Outcome, Schedule};
use gable_ptx::Target;

/// The text of a module of the ISA notes, from the folder that `GABLE_ISA` names or `../shared/isa` beside the workspace; none, said
/// aloud, where the notes are not there.
pub fn module(name: &str) -> Option<String> {
    let folder = std::env::var_os("GABLE_ISA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/isa"), PathBuf::from);
    let path = folder.join("snippets").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{}: {error}", path.display());
            println!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

/// A tensor of two dimensions, innermost first, and the box that copies move.
#[derive(Clone)]
pub struct Map {
    pub data: Vec<u8>,
    pub data_type: DataType,
    pub dims: [u64; 2],
    pub row_bytes: u64,
    pub box_dims: [u32; 2],
}

/// A kernel parameter.
#[derive(Clone)]
pub enum Given {
    /// A buffer with bytes; its address is passed.
    In(Vec<u8>),
    /// A buffer of so many bytes that nobody wrote; its address is passed.
    Out(u64),
    /// A map over a buffer, 128-byte swizzled.
    Map(Map),
    U32(u32),
    U64(u64),
}

/// A kernel with its launch.
#[derive(Clone)]
pub struct Run {
    pub text: String,
    pub entry: &'static str,
    pub target: Target,
    pub grid: u32,
    pub block: u32,
    pub cluster: u32,
    pub shared_bytes: u32,
}

pub const SCHEDULES: [Schedule; 4] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(7), Schedule::Random(99)];

impl Run {
    pub fn new(text: &str, target: Target, block: u32) -> Self {
        Run { text: text.to_owned(), entry: "k", target, grid: 1, block, cluster: 1, shared_bytes: 0 }
    }

    pub fn once(&self, given: &[Given], schedule: Schedule, races: bool) -> (Outcome, Vec<Vec<u8>>) {
        let module = Module::parse(&self.text).unwrap_or_else(|error| panic!("{error}"));
        let kernel = module.kernel(self.entry, self.target).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = GlobalMemory::new();
        let mut outputs = Vec::new();
        let mut values = Vec::new();
        for given in given {
            values.push(match given {
                Given::In(data) => memory.allocate_with("input", data).to_le_bytes().to_vec(),
                Given::Out(bytes) => {
                    let address = memory.allocate("output", *bytes);
                    outputs.push(address);
                    address.to_le_bytes().to_vec()
                }
                Given::Map(map) => encode(map, memory.allocate_with("tensor", &map.data)),
                Given::U32(value) => value.to_le_bytes().to_vec(),
                Given::U64(value) => value.to_le_bytes().to_vec(),
            });
        }
        let params = kernel.pack(&values).unwrap_or_else(|error| panic!("{error}"));
        let launch = Launch {
            grid: [self.grid, 1, 1],
            block: [self.block, 1, 1],
            cluster: [self.cluster, 1, 1],
            shared_bytes: self.shared_bytes,
            params,
        };
        let options = Options { schedule, races, max_instructions: 1 << 24, ..Options::default() };
        let outcome = kernel.run(&mut memory, &launch, &options).unwrap_or_else(|error| panic!("{error}"));
        let contents = outputs.iter().map(|address| memory.contents(*address).map_or(Vec::new(), |(data, _)| data));
        (outcome, contents.collect())
    }

    /// The first output, the same in every schedule, of a run without hazards.
    pub fn clean(&self, given: &[Given]) -> Vec<u8> {
        let mut first: Option<Vec<u8>> = None;
        for schedule in SCHEDULES {
            let (outcome, mut outputs) = self.once(given, schedule, true);
            if let Some(hazard) = outcome.hazards.first() {
                panic!("{schedule:?}: {hazard}");
            }
            let output = outputs.swap_remove(0);
            assert!(first.get_or_insert_with(|| output.clone()) == &output, "{schedule:?} gives something else");
        }
        first.unwrap_or_default()
    }

    /// Checks that every schedule finds a hazard of the kind whose message holds the words.
    pub fn finds(&self, given: &[Given], kind: HazardKind, words: &str) {
        for schedule in SCHEDULES {
            let (outcome, _) = self.once(given, schedule, true);
            let wanted = |hazard: &Hazard| hazard.kind == kind && hazard.message.contains(words);
            let found: Vec<String> = outcome.hazards.iter().map(ToString::to_string).collect();
            assert!(outcome.hazards.iter().any(wanted), "{schedule:?}, expected {kind:?} `{words}`: {found:?}");
        }
    }

    /// The same kernel with a piece of its text replaced wherever it stands; it must be there.
    pub fn with(&self, old: &str, new: &str) -> Run {
        assert!(self.text.contains(old), "`{old}` is not in the kernel");
        Run { text: self.text.replace(old, new), ..self.clone() }
    }
}

fn encode(map: &Map, address: u64) -> Vec<u8> {
    let tensor = Tensor { data_type: map.data_type, address, dims: &map.dims, strides: &[map.row_bytes] };
    let traversal = Traversal {
        element_strides: &[1, 1],
        interleave: Interleave::None,
        swizzle: Swizzle::Span128,
        fill: Fill::Zeros,
    };
    let map = encode_tiled(&tensor, &map.box_dims, &traversal).unwrap_or_else(|error| panic!("{error:?}"));
    map.to_bytes().to_vec()
}

/// Small whole numbers from a seed, which every model of accumulation adds exactly.
pub fn small(count: usize, seed: u64, least: i32, most: i32) -> Vec<i32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        least + ((state >> 33) % (most - least + 1) as u64) as i32
    };
    (0..count).map(|_| next()).collect()
}

/// `A * B^T` of whole numbers: A has m rows of k, B has n.
pub fn product(a: &[i32], b: &[i32], k: usize) -> Vec<i32> {
    let row =
        |a: &[i32]| b.chunks_exact(k).map(|b| a.iter().zip(b).map(|(a, b)| a * b).sum::<i32>()).collect::<Vec<_>>();
    a.chunks_exact(k).flat_map(row).collect()
}

pub fn bf16(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|&v| half::bf16::from_f32(v as f32).to_le_bytes()).collect()
}

pub fn f16(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|&v| half::f16::from_f32(v as f32).to_le_bytes()).collect()
}

pub fn f32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()
}

/// -2 to 2 in e4m3.
pub fn e4m3(values: &[i32]) -> Vec<u8> {
    let code = |v: i32| [0u8, 0x38, 0x40][v.unsigned_abs() as usize] | if v < 0 { 0x80 } else { 0 };
    values.iter().map(|&v| code(v)).collect()
}

/// -2 to 2 in e2m1, two to a byte.
pub fn e2m1(values: &[i32]) -> Vec<u8> {
    let code = |v: i32| [0u8, 2, 4][v.unsigned_abs() as usize] | if v < 0 { 8 } else { 0 };
    values.chunks_exact(2).map(|pair| code(pair[0]) | code(pair[1]) << 4).collect()
}

pub fn of_f32(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).map(whole).collect()
}

pub fn of_f16(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).map(whole).collect()
}

pub fn of_s32(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn whole(value: f32) -> i32 {
    assert_eq!(value.fract(), 0.0, "{value} is not whole");
    value as i32
}
