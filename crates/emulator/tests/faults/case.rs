//! How a case is written, and run.
//!
//! ```text
//! === name
//! What the mistake is.
//! launch: block=64 grid=1 cluster=1 target=sm_90a map=swizzle128
//! finds: race data race
//! also: uninitialized
//! ---
//!   an instruction of both twins
//! - one that only the mended twin has
//! + one that only the faulty twin has
//! ! one of both, at which the fault is reported
//! ? one that only the faulty twin has, at which the fault is reported
//! ```
//!
//! `finds` gives the kind of hazard (`load` for what does not even load) and words of its message; of several, one is expected. `also` lists kinds that may be
//! reported beside it. The text is the body of a kernel whose head is [`HEAD`]: the case can use its registers and variables.

use std::fmt;

use gable_emulator::tensor_map::encode::{Tensor, Traversal, encode_tiled};
use gable_emulator::tensor_map::map::{DataType, Fill, Interleave, Swizzle};
use gable_emulator::{GlobalMemory, Launch, Module, Options, Schedule, Target};

/// Declarations and first instructions of every kernel. Parameters: 16 KiB that nobody wrote, 64 KiB of input, and a tensor map over
/// the input as 128 rows of 256 f16, in boxes of 8 rows of 64.
const HEAD: &str = ".visible .entry k(.param .u64 po, .param .u64 pi, .param .align 64 .b8 map[128]) {
.reg .pred %p<8>;
.reg .b16 %h<8>;
.reg .b32 %r<80>;
.reg .f32 %f<80>;
.reg .b64 %d<32>;
.reg .b32 %t, %lane, %warp, %c, %s, %b, %own, %next;
.reg .b64 %out, %in, %mine, %map;
.shared .align 1024 .b8 s[32768];
.shared .align 8 .b64 bars[8];
mov.u32 %t, %tid.x;
mov.u32 %c, %ctaid.x;
and.b32 %lane, %t, 31;
shr.u32 %warp, %t, 5;
mov.u32 %s, s;
mov.u32 %b, bars;
shl.b32 %own, %t, 2;
add.u32 %own, %own, %s;
xor.b32 %next, %own, 128;
ld.param.u64 %out, [po];
cvta.to.global.u64 %out, %out;
ld.param.u64 %in, [pi];
cvta.to.global.u64 %in, %in;
mul.wide.u32 %mine, %t, 4;
add.s64 %mine, %mine, %out;
mov.b64 %map, map;
cvta.param.u64 %map, %map;
";

/// A planted fault.
pub struct Case {
    pub name: String,
    /// Kinds of hazard with words of the message, one of which is expected.
    pub finds: Vec<(String, String)>,
    pub also: Vec<String>,
    /// Lines of the body at which the fault is reported, from 1.
    pub marked: Vec<u32>,
    target: Target,
    block: u32,
    grid: u32,
    cluster: u32,
    swizzle: Swizzle,
    body: Vec<(char, String)>,
}

/// Which twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Faulty,
    Mended,
}

/// What was found, with the line in the body.
pub struct Report {
    pub kind: String,
    pub line: u32,
    pub message: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.kind, self.message)
    }
}

/// The cases of a file.
pub fn parse(text: &str) -> Vec<Case> {
    text.split("=== ").skip(1).map(parse_one).collect()
}

fn parse_one(text: &str) -> Case {
    let (head, body) = text.split_once("---\n").expect("a case has a `---` before its body");
    let mut lines = head.lines();
    let mut case = Case {
        name: lines.next().unwrap_or_default().trim().to_owned(),
        finds: Vec::new(),
        also: Vec::new(),
        marked: Vec::new(),
        target: Target::Sm90a,
        block: 64,
        grid: 1,
        cluster: 1,
        swizzle: Swizzle::None,
        body: Vec::new(),
    };
    for line in lines {
        if let Some(finds) = line.strip_prefix("finds: ") {
            let (kind, words) = finds.split_once(' ').unwrap_or((finds, ""));
            case.finds.push((kind.to_owned(), words.trim().to_owned()));
        } else if let Some(also) = line.strip_prefix("also: ") {
            case.also = also.split_whitespace().map(str::to_owned).collect();
        } else if let Some(launch) = line.strip_prefix("launch: ") {
            for part in launch.split_whitespace() {
                let (name, value) = part.split_once('=').expect("`launch` has names and values");
                let number = value.parse().unwrap_or(0);
                match name {
                    "block" => case.block = number,
                    "grid" => case.grid = number,
                    "cluster" => case.cluster = number,
                    "target" => case.target = value.parse().expect("a target"),
                    "map" => case.swizzle = Swizzle::Span128,
                    _ => panic!("{}: `{name}` in `launch`", case.name),
                }
            }
        }
    }
    for (index, line) in body.lines().enumerate() {
        let mark = line.chars().next().unwrap_or(' ');
        assert!(" -+!?".contains(mark), "{}: a line begins with `{mark}`", case.name);
        if matches!(mark, '!' | '?') {
            case.marked.push(index as u32 + 1);
        }
        case.body.push((mark, line.get(1..).unwrap_or_default().to_owned()));
    }
    case
}

impl Case {
    /// True when the report is the one expected. What does not load, or has no place, need not be at a line.
    pub fn expects(&self, report: &Report) -> bool {
        let place = self.marked.is_empty() || self.marked.contains(&report.line);
        place && self.finds.iter().any(|(kind, words)| report.kind == *kind && report.message.contains(words.as_str()))
    }

    fn text(&self, variant: Variant) -> (String, u32) {
        let mut text = format!(".version 8.8\n.target {}\n.address_size 64\n{HEAD}", self.target);
        let before = text.lines().count() as u32;
        for (mark, line) in &self.body {
            let left_out = match variant {
                Variant::Faulty => *mark == '-',
                Variant::Mended => matches!(mark, '+' | '?'),
            };
            text.push_str(if left_out { "" } else { line });
            text.push('\n');
        }
        text.push_str("ret;\n}\n");
        (text, before)
    }

    /// Runs one twin; what is reported.
    pub fn run(&self, variant: Variant, schedule: Schedule) -> Vec<Report> {
        let (text, before) = self.text(variant);
        let unloadable = |error: gable_emulator::LoadError| {
            vec![Report { kind: "load".to_owned(), line: error.line.saturating_sub(before), message: error.message }]
        };
        let module = match Module::parse(&text) {
            Ok(module) => module,
            Err(error) => return unloadable(error),
        };
        let kernel = match module.kernel("k", self.target) {
            Ok(kernel) => kernel,
            Err(error) => return unloadable(error),
        };
        let mut memory = GlobalMemory::new();
        let out = memory.allocate("output", 16 << 10);
        // Small numbers in every format.
        let data: Vec<u8> = (0..64u32 << 10).map(|i| (i * 7 % 31) as u8).collect();
        let input = memory.allocate_with("input", &data);
        let tensor = Tensor { data_type: DataType::F16, address: input, dims: &[256, 128], strides: &[512] };
        let traversal = Traversal {
            element_strides: &[1, 1],
            interleave: Interleave::None,
            swizzle: self.swizzle,
            fill: Fill::Zeros,
        };
        let map = encode_tiled(&tensor, &[64, 8], &traversal).expect("a valid map").to_bytes();
        let values = [out.to_le_bytes().to_vec(), input.to_le_bytes().to_vec(), map.to_vec()];
        let params = kernel.pack(&values).expect("the parameters of the head");
        let launch = Launch {
            grid: [self.grid, 1, 1],
            block: [self.block, 1, 1],
            cluster: [self.cluster, 1, 1],
            shared_bytes: 0,
            params,
        };
        let options = Options { schedule, max_instructions: 1 << 20, ..Options::default() };
        let outcome = kernel.run(&mut memory, &launch, &options).expect("the launch fits the machine");
        let report = |hazard: &gable_emulator::Hazard| Report {
            kind: hazard.kind.name().to_owned(),
            line: hazard.line.saturating_sub(before),
            message: hazard.message.clone(),
        };
        outcome.hazards.iter().map(report).collect()
    }
}
