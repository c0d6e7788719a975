//! What the runner does around the passes: dumps, fuel, refusals.

use gable_ir::{Module, text};
use gable_passes::{PIPELINE, PassError, PassOptions, RunnerConfig, optimize_with, run_until};
use std::path::PathBuf;

fn module(source: &str) -> Module {
    Module { graph: text::parse(source).expect("the source parses"), ..Module::default() }
}

const SOURCE: &str = "graph @g(%x: f32[4]) {
  %0 = neg %x : f32[4]
  %1 = neg %0 : f32[4]
  %2 = exp %1 : f32[4]
  return y = %2
}";

#[test]
fn a_dump_has_one_readable_file_for_each_pass() {
    let folder: PathBuf = std::env::temp_dir().join(format!("gable-dump-{}", std::process::id()));
    let config = RunnerConfig { dump: Some(folder.clone()), ..RunnerConfig::default() };
    optimize_with(module(SOURCE), &PassOptions::default(), &config).expect("the passes run");
    for (position, pass) in PIPELINE.iter().enumerate() {
        let file = folder.join(format!("{position:02}-{pass}.gir"));
        let dumped = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        text::parse(&dumped).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
    std::fs::remove_dir_all(&folder).expect("the dump is removed");
}

#[test]
fn fuel_stops_rewriting() {
    let left = |fuel| {
        let config = RunnerConfig { fuel, ..RunnerConfig::default() };
        run_until(module(SOURCE), &PassOptions::default(), &config, "simplify").expect("the passes run").graph.len()
    };
    assert_eq!((left(Some(0)), left(Some(1)), left(None)), (4, 2, 2));
}

#[test]
fn an_unknown_pass_is_named_with_those_that_there_are() {
    let error = run_until(module(SOURCE), &PassOptions::default(), &RunnerConfig::default(), "inline");
    let error = error.expect_err("there is no such pass");
    assert!(!error.is_bug());
    assert!(error.to_string().starts_with("there is no pass `inline`; the passes are `bind-dims`, `fold`"), "{error}");
}

#[test]
fn a_wrong_graph_is_refused_before_any_pass() {
    let wrong = module("graph @g(%x: f32[4]) { %0 = exp %x : f16[4] return y = %0 }");
    let error = optimize_with(wrong, &PassOptions::default(), &RunnerConfig::default()).expect_err("is wrong");
    assert!(matches!(error, PassError::Input(_)), "{error}");
}
