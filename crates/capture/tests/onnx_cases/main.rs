//! The conformance cases of the `onnx` package, by reference evaluation.
//!
//! `cargo xtask onnx-cases` writes them; `GABLE_ONNX_CASES` names another folder. `tests/onnx/passing.txt` lists what
//! passes: a listed case that fails, and an unlisted one that passes, are both errors; `GABLE_BLESS=1` rewrites the list.
//! No case may panic, and each that does not pass must say why.

mod mutations;

use gable_capture::onnx::{OnnxModel, load_tensor};
use gable_capture::{CaptureError, NodeError};
use gable_tensor::compare::compare;
use gable_tensor::{Bindings, Tensor, Tolerance};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

struct Case {
    /// `kind/name`.
    name: String,
    folder: PathBuf,
    tolerance: Tolerance,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder with the cases, or `None` after saying so.
fn cases_folder() -> Option<PathBuf> {
    let named = std::env::var_os("GABLE_ONNX_CASES").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| workspace().join("tools/onnx-cases"));
    if folder.join("index.tsv").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} has no index.tsv; `cargo xtask onnx-cases` writes it",
        folder.display()
    );
    eprintln!("SKIPPED: no ONNX cases in {}; `cargo xtask onnx-cases` writes them", folder.display());
    None
}

/// Rows of `index.tsv`: kind, case, opset, operators, types, rtol, atol.
fn read_index(folder: &Path) -> Vec<Case> {
    let index = std::fs::read_to_string(folder.join("index.tsv")).expect("the index is text");
    let case = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| fields[i].parse::<f64>().expect("tolerances are numbers");
        Case {
            name: format!("{}/{}", fields[0], fields[1]),
            folder: folder.join(fields[0]).join(fields[1]),
            tolerance: Tolerance::Elementwise { rtol: number(5), atol: number(6) },
        }
    };
    index.lines().map(case).collect()
}

/// `input_0.pb`, `input_1.pb`, ... of a data set.
fn numbered(folder: &Path, prefix: &str) -> Result<Vec<Tensor>, String> {
    let paths = (0..).map(|i| folder.join(format!("{prefix}_{i}.pb"))).take_while(|path| path.exists());
    paths.map(|path| load_tensor(&path).map_err(|e| e.to_string())).collect()
}

fn run(case: &Case) -> Result<(), String> {
    let load = || OnnxModel::load(case.folder.join("model.onnx")).map_err(|e| e.to_string());
    for set in 0.. {
        let data = case.folder.join(format!("test_data_set_{set}"));
        if !data.exists() {
            return if set > 0 { Ok(()) } else { Err("has no data".into()) };
        }
        let (inputs, expected) = (numbered(&data, "input")?, numbered(&data, "output")?);
        let mut model = load()?;
        let names: Vec<String> = model.signature().inputs.iter().map(|port| port.name.clone()).collect();
        let given: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&inputs).collect();
        let shapes: Vec<(&str, &[usize])> = given.iter().map(|(name, value)| (*name, value.shape())).collect();
        let mut bindings = Bindings::new();
        model.bind_shapes(&shapes, &mut bindings).map_err(|e| e.to_string())?;
        let module = match model.module(&bindings) {
            // Cases feed shapes as inputs; with the inputs known at capture the rest must work.
            Err(CaptureError::Node { source: NodeError::NotConstant(_), .. }) => {
                for (name, value) in &given {
                    model.freeze(name, (*value).clone()).map_err(|e| e.to_string())?;
                }
                model.module(&Bindings::new())
            }
            other => other,
        };
        let module = module.map_err(|e| e.to_string())?;
        let faults = gable_ir::verify::verify_module(&module);
        if let Some(fault) = faults.first() {
            return Err(format!("verifier: {fault}"));
        }
        let found = gable_ir::eval::evaluate(&module, &given).map_err(|e| e.to_string())?;
        for ((name, found), expected) in found.iter().zip(&expected) {
            if found.dtype() != expected.dtype() {
                return Err(format!("output `{name}` is {}, expected {}", found.dtype(), expected.dtype()));
            }
            let comparison = compare(found, expected, case.tolerance);
            if !comparison.within {
                return Err(format!("output `{name}`: {comparison}"));
            }
        }
        if found.len() != expected.len() {
            return Err(format!("has {} outputs, expected {}", found.len(), expected.len()));
        }
    }
    unreachable!("data sets are numbered until one is missing")
}

/// The outcome of every case, by name. A panic is an outcome of its own.
fn run_all(cases: &[Case]) -> (BTreeMap<String, Result<(), String>>, Vec<String>) {
    let next = Mutex::new(cases.iter());
    let results = Mutex::new((BTreeMap::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().expect("no case panics outside").next() else { return };
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(case)));
                    let mut results = results.lock().expect("no case panics outside");
                    match outcome {
                        Ok(outcome) => {
                            results.0.insert(case.name.clone(), outcome);
                        }
                        Err(_) => results.1.push(case.name.clone()),
                    }
                }
            });
        }
    });
    results.into_inner().expect("no case panics outside")
}

#[test]
fn listed_cases_pass_and_no_case_panics() {
    let Some(folder) = cases_folder() else { return };
    let (outcomes, panicked) = run_all(&read_index(&folder));
    let passing: BTreeSet<&str> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(name, _)| name.as_str()).collect();
    if let Some(report) = std::env::var_os("GABLE_ONNX_REPORT") {
        let line = |(name, outcome): (&String, &Result<(), String>)| match outcome {
            Ok(()) => format!("{name}\tpass\n"),
            Err(error) => format!("{name}\t{}\n", error.replace('\n', " ")),
        };
        let lines: String = outcomes.iter().map(line).collect();
        std::fs::write(report, lines).expect("the report can be written");
    }
    let list = workspace().join("tests/onnx/passing.txt");
    if std::env::var_os("GABLE_BLESS").is_some() {
        let text: String = passing.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&list, text).expect("the source tree is writable");
    }
    let listed = std::fs::read_to_string(&list).expect("the list is in the repository");
    let listed: BTreeSet<&str> = listed.lines().collect();
    eprintln!("{} of {} ONNX cases pass", passing.len(), outcomes.len() + panicked.len());
    assert_eq!(panicked, Vec::<String>::new(), "cases that panic");
    let lost: Vec<String> =
        listed.difference(&passing).map(|name| format!("{name}: {:?}", outcomes.get(*name))).collect();
    assert!(lost.is_empty(), "listed cases that do not pass:\n{}", lost.join("\n"));
    let gained: Vec<&&str> = passing.difference(&listed).collect();
    assert!(gained.is_empty(), "cases that pass but are not listed (GABLE_BLESS=1 lists them): {gained:?}");
}
