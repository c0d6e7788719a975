//! Writes the kernels: every thread loads four words, every instruction gets them, every result is stored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use gable_emulator::scalar::compute;
use gable_ptx::grammar::{Modifier, Op, rows};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{PtxVersion, Target};

use crate::inputs;
use crate::manifest::{Manifest, Module, Result};
use crate::operands::{Destination, Operands, bound, operands};

const TARGET: Target = Target::Sm90a;
/// The newest that drivers of the first Blackwell release read.
const VERSION: PtxVersion = PtxVersion::new(8, 7);
const BLOCK: u32 = 128;
/// Results of one kernel, which bounds what `ptxas` has to keep in mind at once.
const RESULTS: usize = 200;

/// One line of a kernel.
struct Case {
    op: Op,
    modifiers: Vec<Modifier>,
    spelling: String,
    operands: Operands,
}

/// Writes a suite into a directory: kernels, input, manifest.
pub fn suite(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let ptxas = Ptxas::find().context("the suite leaves out what the assembler does not take")?;
    let input: Vec<u8> = inputs::words().into_iter().flat_map(u64::to_le_bytes).collect();
    fs::write(directory.join("input.bin"), input)?;
    let mut families: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases() {
        families.entry(format!("{:?}", case.op).to_lowercase()).or_default().push(case);
    }
    let mut modules = Vec::new();
    let mut refused = Vec::new();
    for (family, cases) in families {
        let cases = accepted(&ptxas, cases, &mut refused)?;
        for (part, cases) in cases.chunks(RESULTS).enumerate() {
            let name = if cases.len() < RESULTS && part == 0 { family.clone() } else { format!("{family}_{part}") };
            let (text, results, bytes) = kernel(cases);
            fs::write(directory.join(format!("{name}.ptx")), text)?;
            modules.push(Module { ptx: format!("{name}.ptx"), output: format!("{name}.out"), bytes, results });
        }
    }
    let count: usize = modules.iter().map(|module| module.results.len()).sum();
    let manifest = Manifest {
        target: TARGET.to_string(),
        threads: inputs::THREADS,
        block: BLOCK,
        input: "input.bin".into(),
        modules,
    };
    fs::write(directory.join("manifest.json"), serde_json::to_string_pretty(&manifest)? + "\n")?;
    for spelling in &refused {
        println!("left out, the assembler refuses it: {spelling}");
    }
    println!("{count} instructions, {} left out", refused.len());
    Ok(())
}

/// Every spelling of every row that computes on registers and that the target has.
fn cases() -> Vec<Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for row in rows() {
        if row.floor.fault(VERSION, TARGET).is_some() {
            continue;
        }
        let name = row.pattern.split(['.', '{', '(', '$']).next().unwrap_or_default();
        for modifiers in row.instances() {
            // A boolean operator needs a predicate as a source, `lop3` a predicate as a result: neither is of registers alone.
            let boolean = [Modifier::And, Modifier::Or, Modifier::Xor];
            if compute(row.op, &modifiers).is_none() || modifiers.iter().any(|modifier| boolean.contains(modifier)) {
                continue;
            }
            let Some(operands) = operands(row.op, &modifiers) else { continue };
            let spelling = modifiers.iter().fold(name.to_owned(), |text, modifier| text + "." + &modifier.text());
            cases.insert(spelling.clone(), Case { op: row.op, modifiers, spelling, operands });
        }
    }
    cases.into_values().collect()
}

/// The cases that the assembler takes: it names the lines that it does not.
fn accepted(ptxas: &Ptxas, mut cases: Vec<Case>, refused: &mut Vec<String>) -> anyhow::Result<Vec<Case>> {
    loop {
        let (text, ..) = kernel(&cases);
        let Err(error) = ptxas.assemble(&text, TARGET) else { return Ok(cases) };
        let message = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let bad: Vec<&str> = message
            .split("line ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok())
            .filter_map(|line| lines.get(line.checked_sub(1)?).copied())
            .collect();
        let before = cases.len();
        let is_bad = |case: &Case| bad.iter().any(|line| line.split_whitespace().next() == Some(&case.spelling));
        refused.extend(cases.iter().filter(|case| is_bad(case)).map(|case| case.spelling.clone()));
        cases.retain(|case| !is_bad(case));
        anyhow::ensure!(cases.len() < before, "the assembler names no line of ours: {message}");
    }
}

/// The text of a kernel, what it writes, and how many bytes that is.
fn kernel(cases: &[Case]) -> (String, Vec<Result>, u64) {
    let mut text = format!(".version {VERSION}\n.target {TARGET}\n.address_size 64\n\n");
    text += ".visible .entry main(.param .u64 input, .param .u64 output)\n{\n";
    text += "    .reg .pred %p;\n    .reg .b16 %h<5>, %h_d;\n    .reg .b32 %r<5>, %r_d, %thread, %cta, %high;\n";
    text += "    .reg .b64 %d<5>, %d_d, %in, %out, %out2, %out4, %out8, %offset;\n";
    text += "    ld.param.u64 %in, [input];\n    cvta.to.global.u64 %in, %in;\n";
    text += "    ld.param.u64 %out, [output];\n    cvta.to.global.u64 %out, %out;\n";
    text += "    mov.u32 %thread, %tid.x;\n    mov.u32 %cta, %ctaid.x;\n";
    let _ = writeln!(text, "    mad.lo.u32 %thread, %cta, {BLOCK}, %thread;");
    for bytes in [2, 4, 8] {
        let _ = writeln!(text, "    mad.wide.u32 %out{bytes}, %thread, {bytes}, %out;");
    }
    text += "    mad.wide.u32 %in, %thread, 8, %in;\n";
    for source in 0..4 {
        let _ = writeln!(text, "    ld.global.b64 %d{source}, [%in+{}];", source * 8 * inputs::THREADS);
        let _ = writeln!(text, "    mov.b64 {{%r{source}, %high}}, %d{source};");
        let _ = writeln!(text, "    cvt.u16.u32 %h{source}, %r{source};");
    }
    let mut offset = 0;
    let mut results = Vec::new();
    for case in cases {
        let register = |bits: u32| match bits {
            16 => "%h",
            32 => "%r",
            _ => "%d",
        };
        let (destination, bits) = match case.operands.destination {
            Destination::Predicate => ("%p".to_owned(), 32),
            Destination::Bits(bits) => (format!("{}_d", register(bits)), bits),
        };
        let sources = case.operands.sources.iter().enumerate().map(|(i, &bits)| format!("{}{i}", register(bits)));
        let constants = case.operands.constants.iter().map(u32::to_string);
        let list: Vec<String> = std::iter::once(destination).chain(sources).chain(constants).collect();
        let _ = writeln!(text, "    {} {};", case.spelling, list.join(", "));
        if case.operands.destination == Destination::Predicate {
            text += "    selp.b32 %r_d, 1, 0, %p;\n";
        }
        let bytes = bits / 8;
        let _ = writeln!(text, "    st.global.b{bits} [%out{bytes}+{offset}], {}_d;", register(bits));
        let bound = bound(case.op, &case.modifiers);
        results.push(Result { instruction: case.spelling.clone(), offset, bytes, bound });
        offset += u64::from(bytes * inputs::THREADS);
    }
    text += "    ret;\n}\n";
    (text, results, offset)
}
