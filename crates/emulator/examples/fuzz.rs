//! Mutates real PTX and holds that parser, decoder and machine never panic and always end.
//!
//! `cargo run --release -p gable-emulator --example fuzz -- SECONDS SEED FILE.ptx...`
//! A finding is written to `fuzz-SEED-NUMBER.ptx` with the panic's message on stderr; the exit status is then 1.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use gable_emulator::{GlobalMemory, Launch, Module, Options, Schedule};
use gable_ptx::Target;

/// A sequence that the seed decides (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Words that make trouble: limits, wrong kinds, half statements.
const WORDS: &[&str] = &[
    "0",
    "-1",
    "1",
    "0xffffffff",
    "0x7fffffffffffffff",
    "4294967296",
    "0f7fc00000",
    "0d7ff0000000000000",
    "_",
    "{",
    "}",
    "[",
    "]",
    ";",
    ":",
    "%r1",
    "%rd1",
    "%p1",
    "!%p1",
    "%tid.x",
    ".b8",
    ".b128",
    ".v4",
    ".global",
    ".shared",
    ".local",
    "bar.sync",
    "ret",
    "exit",
    "bra",
    "call",
    "wgmma.fence.sync.aligned",
    "trap",
    "@%p1",
    "@!%p1",
    "/*",
    "//",
    "\"",
    "+",
];

fn mutated(text: &str, others: &[String], chance: &mut Chance) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + chance.below(4) {
        if lines.is_empty() {
            break;
        }
        let at = chance.below(lines.len());
        match chance.below(8) {
            0 => drop(lines.remove(at)),
            1 => {
                let line = lines[at].clone();
                lines.insert(chance.below(lines.len()), line);
            }
            2 => {
                let other = chance.below(lines.len());
                lines.swap(at, other);
            }
            3 => {
                let donor: Vec<&str> = chance.pick(others).lines().collect();
                if !donor.is_empty() {
                    lines.insert(at, (*chance.pick(&donor)).to_owned());
                }
            }
            4 => lines.truncate(at),
            5 => {
                let mut bytes = lines[at].clone().into_bytes();
                if !bytes.is_empty() {
                    let place = chance.below(bytes.len());
                    bytes[place] = chance.next() as u8 & 0x7f;
                }
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
            _ => {
                let mut words: Vec<String> = lines[at].split(' ').map(str::to_owned).collect();
                let place = chance.below(words.len());
                words[place] = (*chance.pick(WORDS)).to_owned();
                lines[at] = words.join(" ");
            }
        }
    }
    lines.join("\n")
}

fn attempt(text: &str, chance: &mut Chance) {
    let Ok(module) = Module::parse(text) else { return };
    let entries: Vec<String> = module.entries().map(str::to_owned).collect();
    for entry in entries {
        let machine = *chance.pick(Target::ALL);
        let Ok(kernel) = module.kernel(&entry, machine) else { continue };
        let mut memory = GlobalMemory::new();
        let buffer = memory.allocate_with("buffer", &vec![chance.next() as u8; 1 << 16]);
        let mut values = Vec::new();
        for param in &kernel.params {
            let mut value = if chance.below(4) == 0 { chance.next() } else { buffer }.to_le_bytes().to_vec();
            value.resize(param.bytes as usize, 0);
            values.push(value);
        }
        let Ok(params) = kernel.pack(&values) else { continue };
        let block = kernel.directives.required_threads.or(kernel.directives.max_threads).unwrap_or([128, 1, 1]);
        let cluster = kernel.directives.required_cluster.unwrap_or([1; 3]);
        let launch = Launch { grid: cluster, block, cluster, shared_bytes: chance.below(1 << 17) as u32, params };
        let schedule = *chance.pick(&[Schedule::Eager, Schedule::Lazy, Schedule::Random(1)]);
        let options = Options { schedule, max_instructions: 20_000, ..Options::default() };
        let _ = kernel.run(&mut memory, &launch, &options);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let seed: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    let texts: Vec<String> = arguments.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    if texts.is_empty() {
        eprintln!("usage: fuzz SECONDS SEED FILE.ptx...");
        std::process::exit(2);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut number, mut found) = (0u64, 0);
    while Instant::now() < end {
        let mut chance = Chance(seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
        let base = chance.pick(&texts).clone();
        let text = mutated(&base, &texts, &mut chance);
        if catch_unwind(AssertUnwindSafe(|| attempt(&text, &mut chance))).is_err() {
            let path = format!("fuzz-{seed}-{number}.ptx");
            match std::fs::write(&path, &text) {
                Ok(()) => eprintln!("found: {path}"),
                Err(error) => eprintln!("found, but {path} cannot be written: {error}"),
            }
            found += 1;
        }
        number += 1;
    }
    println!("{number} programs, {found} panics");
    std::process::exit(i32::from(found > 0));
}
