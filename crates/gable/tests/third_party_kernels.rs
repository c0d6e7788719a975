//! Kernels of other compilers, run in the emulator in every schedule and compared with references made elsewhere.
//!
//! The corpora are `tests/triton` and `tests/nvcc`; their READMEs say how they were made. A record says how to launch, what must
//! come out and how near. Set `GABLE_CASE` to a part of a name to run only the cases that have it.

use gable::emulate::{Emulation, argument};
use gable_emulator::{Options, Schedule};
use gable_tensor::{DType, Tensor, Tolerance, compare, npy};
use rayon::prelude::*;
use serde::Deserialize;
use std::path::{Path, PathBuf};

const SCHEDULES: [Schedule; 3] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(7)];

/// A launch of one kernel, as `generate.py` writes it.
#[derive(Deserialize)]
struct Record {
    ptx: String,
    target: String,
    entry: String,
    grid: [u32; 3],
    block: [u32; 3],
    cluster: [u32; 3],
    shared: u32,
    args: Vec<String>,
    expect: Vec<Expected>,
    /// Lines that the kernel prints, in any order.
    #[serde(default)]
    printed: Vec<String>,
    /// A word of the error that must come instead of a result.
    refused: Option<String>,
}

/// What one output must hold.
#[derive(Deserialize)]
struct Expected {
    arg: usize,
    file: String,
    dtype: String,
    rtol: f64,
    atol: f64,
}

fn folder(corpus: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(corpus)
}

fn read(path: &Path, dtype: DType) -> Result<Tensor, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    npy::read_as(&bytes.into(), dtype).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a record under one schedule; what is wrong with the result is the error.
fn run(folder: &Path, record: &Record, schedule: Schedule) -> Result<(), String> {
    let text = std::fs::read_to_string(folder.join(&record.ptx)).map_err(|error| format!("{}: {error}", record.ptx))?;
    let emulation = Emulation {
        target: record.target.parse().map_err(|error| format!("{error}"))?,
        entry: Some(record.entry.clone()),
        grid: record.grid,
        block: record.block,
        cluster: Some(record.cluster),
        shared_bytes: record.shared,
        arguments: record.args.iter().map(|text| argument::parse(text)).collect::<Result<_, _>>()?,
        options: Options { schedule, max_instructions: 1 << 26, ..Options::default() },
    };
    let emulated = match (gable::emulate::run(&text, &emulation, folder), &record.refused) {
        (Err(error), Some(word)) if error.to_string().contains(word.as_str()) => return Ok(()),
        (Err(error), _) => return Err(error.to_string()),
        (Ok(emulated), None) => emulated,
        (Ok(emulated), Some(word)) => {
            return match emulated.outcome.hazards.first() {
                Some(hazard) if hazard.to_string().contains(word.as_str()) => Ok(()),
                other => Err(format!("ran, with hazard {other:?}; expected an error about `{word}`")),
            };
        }
    };
    if let Some(hazard) = emulated.outcome.hazards.first() {
        return Err(hazard.to_string());
    }
    for line in &record.printed {
        if !emulated.outcome.printed.contains(line.as_str()) {
            return Err(format!("printed {:?}, expected {line:?} in it", emulated.outcome.printed));
        }
    }
    for expected in &record.expect {
        let dtype = expected.dtype.parse()?;
        let reference = read(&folder.join(&expected.file), dtype)?;
        let output = emulated.outputs.iter().find(|output| output.argument == expected.arg);
        let output = output.ok_or_else(|| format!("argument {} is no output", expected.arg))?;
        // Types that `.npy` lacks are kept as bits: the record says what they mean.
        let found = Tensor::new(dtype, output.tensor.shape().to_vec(), output.tensor.bytes().clone())
            .map_err(|error| error.to_string())?;
        let tolerance = match (expected.rtol, expected.atol) {
            (0.0, 0.0) => Tolerance::Exact,
            (rtol, atol) => Tolerance::Elementwise { rtol, atol },
        };
        let comparison = compare::compare(&found, &reference, tolerance);
        if !comparison.within {
            return Err(format!("argument {} differs: {comparison}", expected.arg));
        }
    }
    Ok(())
}

fn run_corpus(corpus: &str) {
    let folder = folder(corpus);
    let wanted = std::env::var("GABLE_CASE").unwrap_or_default();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("cases"))
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains(&wanted)))
        .collect();
    files.sort();
    assert!(!files.is_empty() || !wanted.is_empty(), "no cases in {}", folder.display());
    let failures: Vec<String> = files
        .par_iter()
        .flat_map_iter(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).expect("a record can be read");
            let record: Record = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            SCHEDULES
                .iter()
                .filter_map(|schedule| {
                    run(&folder, &record, *schedule).err().map(|error| format!("{name} {schedule:?}: {error}"))
                })
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} runs failed:\n{}", failures.len(), 3 * files.len(), failures.join("\n"));
}

#[test]
fn triton() {
    run_corpus("triton");
}

#[test]
fn nvcc() {
    run_corpus("nvcc");
}
