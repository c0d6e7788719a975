//! Runs each `.gir` under `tests/passes/PASS/` through that pass: the result is snapshotted beside the case, and it
//! evaluates to what the case evaluates to.
//!
//! The first line of a case says what it shows. A line `; dims: n=4 m=2` binds dimensions, `; precision: bf16` asks for
//! that, and `; error: TEXT` expects the pass to refuse.

mod support;

use gable_ir::{Module, text};
use gable_passes::{PassOptions, Precision, RunnerConfig, runner, table};
use gable_tensor::Bindings;
use gable_tensor::compare::Tolerance;
use std::path::Path;

/// How far a pass may move results: none, unless it may round elsewhere, and then by how much and why.
fn tolerance(pass: &str, precision: Precision) -> Tolerance {
    match pass {
        // Factors that were rounded to 11 significant bits no longer are.
        "narrow-products" if precision != Precision::AsIs => Tolerance::RelativeL2(1e-3),
        // bf16 factors: 8 significant bits, relative error 2^-9 each, random over sums.
        "precision" => Tolerance::RelativeL2(1e-2),
        // A scale folded into an f32 weight rounds the weight (2^-24) instead of the product, and softmax over
        // scaled scores instead of scaling first; sums of up to a few hundred terms stay below 1e-5. Scales that leave a
        // product round its sum instead of its elements.
        "fold-scale" | "recognize" | "narrow-products" => {
            Tolerance::ScaledElementwise { rtol: 1e-5, atol_of_max: 1e-5 }
        }
        _ => Tolerance::Exact,
    }
}

/// The value after `; KEY:` in the case's head.
fn directive<'a>(source: &'a str, key: &str) -> Option<&'a str> {
    source.lines().find_map(|line| line.strip_prefix("; ")?.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

fn options(source: &str) -> PassOptions {
    let mut options = PassOptions::default();
    for binding in directive(source, "dims").unwrap_or_default().split_whitespace() {
        let (name, value) = binding.split_once('=').expect("dims are NAME=VALUE");
        options.dims.insert(name.to_string(), value.parse().expect("a dimension is a number"));
    }
    if let Some(precision) = directive(source, "precision") {
        options.precision = precision.parse().expect("a precision");
    }
    options
}

/// The module with its dimensions bound and its weights filled.
fn bound(mut module: Module, dims: &Bindings) -> Module {
    module.graph = module.graph.bind(dims).expect("the case gives its dimensions");
    module.fill_missing_weights(7).expect("small");
    module
}

fn run_case(path: &Path, pass: &str) -> String {
    let source = std::fs::read_to_string(path).expect("the case is there");
    assert!(source.starts_with("; "), "the first line says what the case shows");
    let graph = text::parse(&source).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text::parse(&graph.to_string()).as_ref(), Ok(&graph), "the case's text reads back");
    let options = options(&source);
    let mut module = Module { graph, ..Module::default() };
    let config = RunnerConfig { check: true, ..RunnerConfig::default() };
    if pass != "bind-dims" {
        module = bound(module, &options.dims);
    }
    let before = module.clone();
    match runner::run_passes(module, &options, &config, &[pass]) {
        Ok((after, _)) => {
            let before = bound(before, &options.dims);
            support::assert_same(&before, &after, tolerance(pass, options.precision), &path.display().to_string());
            assert_eq!(directive(&source, "error"), None, "the pass was expected to refuse");
            after.graph.to_string()
        }
        Err(error) => {
            let expected = directive(&source, "error");
            assert_eq!(Some(error.to_string().as_str()), expected, "{}", path.display());
            format!("error: {error}\n")
        }
    }
}

#[test]
fn every_case_gives_its_snapshot_and_the_same_values() {
    insta::glob!("../../../tests/passes", "*/*.gir", |path| {
        let folder = path.parent().expect("a case is in its pass's folder");
        let pass = folder.file_name().and_then(|name| name.to_str()).expect("the folder names the pass");
        let result = run_case(path, pass);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder.join("snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_input_file(path);
        settings.remove_snapshot_suffix();
        settings.set_omit_expression(true);
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a case has a name");
        settings.bind(|| insta::assert_snapshot!(name, result));
    });
}

#[test]
fn every_pass_has_cases_and_every_folder_a_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/passes");
    let mut folders: Vec<String> = std::fs::read_dir(&root)
        .expect("the cases are there")
        .map(|entry| entry.expect("the folder is readable").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut passes: Vec<&str> = table::PASSES.iter().map(|pass| pass.name).collect();
    passes.sort();
    assert_eq!(folders, passes);
}
