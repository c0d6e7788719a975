//! Runs the kernels of a suite in the emulator and compares with what the hardware gave.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;
use gable_emulator::{GlobalMemory, Launch, Module, Options};
use gable_ptx::Target;
use half::{bf16, f16};

use crate::manifest::{self, Bound, Element, Manifest};

/// What a replay found.
#[derive(Debug, Default)]
pub struct Report {
    /// Instructions that were compared.
    pub compared: usize,
    /// Results that were compared.
    pub results: u64,
    /// Modules without a recording.
    pub unrecorded: Vec<String>,
    /// Instructions that differ, each with how often and an example.
    pub differences: Vec<String>,
}

impl Report {
    /// Whether everything was recorded and nothing differs.
    pub fn is_clean(&self) -> bool {
        self.unrecorded.is_empty() && self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        for module in &self.unrecorded {
            writeln!(f, "{module}: no recording")?;
        }
        write!(
            f,
            "{} results of {} instructions compared, {} instructions differ",
            self.results,
            self.compared,
            self.differences.len()
        )
    }
}

/// Replays the suite of a directory.
pub fn replay(directory: &Path) -> anyhow::Result<Report> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    let manifest: Manifest = serde_json::from_slice(&read("manifest.json")?)?;
    let target: Target = manifest.target.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let input = read(&manifest.input)?;
    let mut report = Report::default();
    for module in &manifest.modules {
        let text = String::from_utf8(read(&module.ptx)?)?;
        let found = run(&text, target, &manifest, &input, module.bytes).with_context(|| module.ptx.clone())?;
        if !directory.join(&module.output).exists() {
            report.unrecorded.push(module.ptx.clone());
            continue;
        }
        let recorded = read(&module.output)?;
        anyhow::ensure!(recorded.len() == found.len(), "{}: {} bytes", module.output, recorded.len());
        for result in &module.results {
            compare(result, &manifest, &input, &found, &recorded, &mut report);
        }
    }
    Ok(report)
}

fn run(text: &str, target: Target, manifest: &Manifest, input: &[u8], bytes: u64) -> anyhow::Result<Vec<u8>> {
    let kernel = Module::parse(text)?.kernel("main", target)?;
    let mut memory = GlobalMemory::new();
    let input = memory.allocate_with("input", input);
    let output = memory.allocate("output", bytes);
    let params = kernel.pack(&[input.to_le_bytes().to_vec(), output.to_le_bytes().to_vec()])?;
    let grid = [manifest.threads / manifest.block, 1, 1];
    let launch = Launch { grid, block: [manifest.block, 1, 1], cluster: [1; 3], shared_bytes: 0, params };
    let outcome = kernel.run(&mut memory, &launch, &Options::default())?;
    if let Some(hazard) = outcome.hazards.first() {
        anyhow::bail!("{hazard}");
    }
    let (contents, _) = memory.contents(output).context("the output is an allocation")?;
    Ok(contents)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn compare(
    result: &manifest::Result,
    manifest: &Manifest,
    input: &[u8],
    found: &[u8],
    recorded: &[u8],
    report: &mut Report,
) {
    let mut differing = 0;
    let mut example = String::new();
    for thread in 0..manifest.threads as usize {
        let at = result.offset as usize + thread * result.bytes as usize;
        let element = at..at + result.bytes as usize;
        let (found, recorded) = (word(&found[element.clone()]), word(&recorded[element]));
        let source = |i: usize| {
            let at = (i * manifest.threads as usize + thread) * 8;
            word(&input[at..at + 8])
        };
        let same = match result.bound {
            None => found == recorded,
            Some(bound) => within(bound, source(0), found, recorded),
        };
        if !same {
            if differing == 0 {
                let sources: Vec<String> = (0..4).map(|i| format!("{:#x}", source(i))).collect();
                example = format!("of {}: {found:#x} here, {recorded:#x} on hardware", sources.join(" "));
            }
            differing += 1;
        }
    }
    report.compared += 1;
    report.results += u64::from(manifest.threads);
    if differing > 0 {
        report
            .differences
            .push(format!("{}: {differing} of {} results differ; {example}", result.instruction, manifest.threads));
    }
}

/// The elements of a word as f64.
fn elements(word: u64, format: Element) -> Vec<f64> {
    match format {
        Element::F64 => vec![f64::from_bits(word)],
        Element::F32 => vec![f64::from(f32::from_bits(word as u32))],
        Element::F16 => vec![f16::from_bits(word as u16).to_f64(), f16::from_bits((word >> 16) as u16).to_f64()],
        Element::Bf16 => vec![bf16::from_bits(word as u16).to_f64(), bf16::from_bits((word >> 16) as u16).to_f64()],
    }
}

fn within(bound: Bound, source: u64, found: u64, recorded: u64) -> bool {
    if bound.source_limit.is_some_and(|limit| elements(source, bound.format)[0].abs() > limit) {
        return true;
    }
    let pairs = elements(found, bound.format).into_iter().zip(elements(recorded, bound.format));
    found == recorded
        || pairs.into_iter().all(|(x, y)| {
            let near = (x - y).abs() <= bound.absolute + bound.relative * x.abs().max(y.abs());
            x == y || x.is_nan() && y.is_nan() || near
        })
}
