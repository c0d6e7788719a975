//! Random programs: rows with random registers, all of them loaded first and stored last.

use std::fmt::Write as _;

use gable_ptx::meaning::{Meaning, Unary};
use gable_ptx::{Class, Effect, Opcode, PtxVersion, Slot, Target};

/// A small generator (xorshift64*), so that every run makes the same programs.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() >> 33) as usize % count
    }
}

const CLASSES: [(Class, &str, &str, u32); 6] = [
    (Class::Pred, "%p", "pred", 1),
    (Class::B16, "%h", "b16", 16),
    (Class::B32, "%r", "b32", 32),
    (Class::B64, "%d", "b64", 64),
    (Class::F32, "%f", "f32", 32),
    (Class::F64, "%g", "f64", 64),
];
/// Registers of each class.
const COUNT: usize = 6;

/// Where an operand comes from.
#[derive(Clone, Debug)]
pub enum Source {
    Register(usize),
    Constant(u64),
    Vector(Vec<usize>),
}

/// An instruction with its operands; registers are numbers into the state of a thread.
#[derive(Clone, Debug)]
pub struct Step {
    pub opcode: Opcode,
    pub destinations: Vec<usize>,
    pub sources: Vec<Source>,
}

/// Instructions in a row.
pub struct Program {
    pub steps: Vec<Step>,
}

/// The rows that compute on registers and whose result the manual fixes to the bit: approximations are left out, and so are
/// addresses and special registers.
pub fn rows() -> Vec<Opcode> {
    Opcode::all()
        .filter(|opcode| {
            let form = opcode.form();
            let computes = match form.meaning {
                Meaning::Special(_) | Meaning::AddressOf(_) | Meaning::AddressTo(_) | Meaning::AddressFrom(_) => false,
                Meaning::AddressInCluster | Meaning::CachePolicy(_) | Meaning::LaunchControl(_) => false,
                Meaning::Load(_) | Meaning::Atomic { .. } | Meaning::Shuffle { .. } | Meaning::Vote(_) => false,
                Meaning::Unary(unary, _) => !is_approximate(unary),
                _ => true,
            };
            let exact = !form.spelling.contains(".approx") && !form.spelling.contains(".full");
            let known = form.floor.fault(PtxVersion::new(9, 0), Target::Sm120a).is_none();
            // A thread of the program has no registers of 8 and of 128 bits.
            let classes = form.dst.map(|dst| dst.classes()).unwrap_or_default().into_iter();
            let mut classes = classes.chain(form.src.iter().filter_map(|slot| match slot {
                Slot::Reg(class) | Slot::RegVector(class, _) | Slot::Vector(class, _) => Some(*class),
                _ => None,
            }));
            let held = classes.all(|class| CLASSES.iter().any(|(held, ..)| *held == class));
            form.effect == Effect::Pure && form.dst.is_some() && computes && exact && known && held
        })
        .collect()
}

fn is_approximate(unary: Unary) -> bool {
    matches!(
        unary,
        Unary::SqrtApprox
            | Unary::RsqrtApprox
            | Unary::RcpApprox
            | Unary::RcpApproxFlush
            | Unary::Exp2Approx
            | Unary::Exp2ApproxFlush
            | Unary::Log2Approx
            | Unary::Log2ApproxFlush
            | Unary::SinApprox
            | Unary::CosApprox
            | Unary::TanhApprox
    )
}

fn class_index(class: Class) -> usize {
    CLASSES.iter().position(|entry| entry.0 == class).expect("every class is listed")
}

/// Bits that a register starts with: special ones of its class, or any.
pub fn start(random: &mut Random, register: usize) -> u64 {
    const SINGLE: [u64; 9] =
        [0, 0x8000_0000, 0x3f80_0000, 0x7f80_0000, 0xffc1_2345, 0x7f80_0001, 0x0000_0001, 0x7f7f_ffff, 0x4f00_0000];
    const DOUBLE: [u64; 8] = [
        0,
        1 << 63,
        0x3ff8_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0001,
        0x000f_ffff_ffff_ffff,
        0x7fef_ffff_ffff_ffff,
        0x41df_ffff_ffe0_0000,
    ];
    let (class, _, _, bits) = CLASSES[register / COUNT];
    let word = match (class, random.below(4)) {
        (Class::F32, 0) => SINGLE[random.below(SINGLE.len())],
        (Class::F64, 0) => DOUBLE[random.below(DOUBLE.len())],
        (Class::F32, 1) => u64::from(((random.next() as i32 >> 16) as f32).to_bits()),
        (Class::F64, 1) => (random.next() as i32 as f64).to_bits(),
        (Class::B32 | Class::B64, 0) => random.next() & 0x3f,
        _ => random.next(),
    };
    word & (u64::MAX >> (64 - bits))
}

impl Program {
    /// Registers of a thread.
    pub fn registers() -> usize {
        CLASSES.len() * COUNT
    }

    /// The name of a register.
    pub fn register(index: usize) -> String {
        format!("{}{}", CLASSES[index / COUNT].1, index % COUNT)
    }

    /// The rows in order with random operands.
    pub fn of(random: &mut Random, rows: &[Opcode]) -> Self {
        let steps = rows.iter().map(|&opcode| {
            let mut register = |class| class_index(class) * COUNT + random.below(COUNT);
            let form = opcode.form();
            let classes = form.dst.map(|dst| dst.classes()).unwrap_or_default();
            let mut destinations: Vec<usize> = Vec::new();
            for class in classes {
                // Two results of one instruction go to two registers.
                let mut destination = register(class);
                while destinations.contains(&destination) {
                    destination = register(class);
                }
                destinations.push(destination);
            }
            let sources = form.src.iter().map(|slot| source(random, *slot)).collect();
            Step { opcode, destinations, sources }
        });
        Program { steps: steps.collect() }
    }

    /// The module: `main(input, output)`, each of which holds all registers of a thread, 64 bits each.
    pub fn text(&self) -> String {
        let mut text = String::from(".version 9.0\n.target sm_120a\n.address_size 64\n\n");
        text += ".visible .entry main(.param .u64 input, .param .u64 output)\n{\n";
        for (_, name, ty, _) in CLASSES {
            let _ = writeln!(text, "    .reg .{ty} {name}<{COUNT}>;");
        }
        text += "    .reg .b32 %thread, %word;\n    .reg .b64 %in, %out, %wide;\n";
        text += "    mov.u32 %thread, %tid.x;\n";
        for (name, param) in [("%in", "input"), ("%out", "output")] {
            let _ = writeln!(text, "    ld.param.u64 {name}, [{param}];");
            let _ = writeln!(text, "    mad.wide.u32 {name}, %thread, {}, {name};", 8 * Self::registers());
        }
        for i in 0..Self::registers() {
            let (name, at) = (Self::register(i), 8 * i);
            let _ = match CLASSES[i / COUNT].0 {
                Class::Pred => {
                    writeln!(text, "    ld.global.u32 %word, [%in+{at}];\n    setp.ne.u32 {name}, %word, 0;")
                }
                _ => writeln!(text, "    ld.global.{} {name}, [%in+{at}];", CLASSES[i / COUNT].2),
            };
        }
        for step in &self.steps {
            let _ = writeln!(text, "    {};", step.text());
        }
        for i in 0..Self::registers() {
            let (name, at) = (Self::register(i), 8 * i);
            // The whole word is written, zeros above the register.
            let _ = match CLASSES[i / COUNT].0 {
                Class::Pred => {
                    writeln!(text, "    selp.b64 %wide, 1, 0, {name};\n    st.global.b64 [%out+{at}], %wide;")
                }
                Class::B16 => writeln!(text, "    cvt.u64.u16 %wide, {name};\n    st.global.b64 [%out+{at}], %wide;"),
                Class::B32 => writeln!(text, "    cvt.u64.u32 %wide, {name};\n    st.global.b64 [%out+{at}], %wide;"),
                Class::F32 => writeln!(
                    text,
                    "    mov.b32 %word, {name};\n    cvt.u64.u32 %wide, %word;\n    st.global.b64 [%out+{at}], %wide;"
                ),
                _ => writeln!(text, "    st.global.b64 [%out+{at}], {name};"),
            };
        }
        text += "    ret;\n}\n";
        text
    }
}

/// An operand for a slot.
fn source(random: &mut Random, slot: Slot) -> Source {
    let register = |random: &mut Random, class| class_index(class) * COUNT + random.below(COUNT);
    match slot {
        Slot::Value(Class::B32) if random.below(4) == 0 => Source::Constant(random.next() & 0xff),
        Slot::Value(class) | Slot::Reg(class) => Source::Register(register(random, class)),
        Slot::Vector(class, count) | Slot::RegVector(class, count) => {
            Source::Vector((0..count).map(|_| register(random, class)).collect())
        }
        Slot::Constant(low, high) => Source::Constant((low + random.below((high - low + 1) as usize) as i64) as u64),
        Slot::OneOf(allowed) => Source::Constant(allowed[random.below(allowed.len())] as u64),
        Slot::Bounded(..)
        | Slot::Selector(..)
        | Slot::Tensor(_)
        | Slot::Address(_)
        | Slot::Param(_)
        | Slot::Symbol(_)
        | Slot::Label => Source::Constant(0),
    }
}

impl Step {
    /// As PTX, without the semicolon.
    pub fn text(&self) -> String {
        let vector = |registers: &[usize]| {
            let names: Vec<String> = registers.iter().map(|&register| Program::register(register)).collect();
            format!("{{{}}}", names.join(", "))
        };
        let destination = match self.destinations[..] {
            [one] => Program::register(one),
            _ => vector(&self.destinations),
        };
        let sources = self.sources.iter().map(|source| match source {
            Source::Register(register) => Program::register(*register),
            Source::Constant(value) => (*value as i64).to_string(),
            Source::Vector(registers) => vector(registers),
        });
        let operands: Vec<String> = std::iter::once(destination).chain(sources).collect();
        format!("{} {}", self.opcode.form().spelling, operands.join(", "))
    }
}
