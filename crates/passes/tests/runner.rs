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

#[test]
fn a_small_part_of_a_value_that_no_memory_holds_is_not_computed_by_making_it() {
    let source = "graph @g() {
      %0 = const {value=f32[](-2.0)} : f32[]
      %1 = broadcast %0 {shape=[1000000, 1000000]} : f32[1000000, 1000000]
      %2 = sin %1 : f32[1000000, 1000000]
      %3 = slice %2 {starts=[0, 0], ends=[1, 2], steps=[1, 1]} : f32[1, 2]
      return y = %3
    }";
    let result = optimize_with(module(source), &PassOptions::default(), &RunnerConfig::default());
    let regions = result.expect("the passes run").module.graph.regions;
    assert_eq!(regions.len(), 1, "one kernel computes just the part");
}

#[test]
fn a_long_chain_of_views_does_not_exhaust_the_stack() {
    let mut source =
        String::from("graph @g(%x: f32[2, 2]) {\n %0 = const {value=f32[2, 2](1.0, 2.0, 3.0, 4.0)} : f32[2, 2]\n");
    const LENGTH: usize = 20_000;
    for i in 0..LENGTH {
        let op = match i % 2 {
            0 => "{perm=[1, 0]}",
            _ => "{starts=[1, 1], ends=[-1, -1], steps=[-1, -1]}",
        };
        let name = if i % 2 == 0 { "transpose" } else { "slice" };
        source.push_str(&format!(" %{} = {name} %{i} {op} : f32[2, 2]\n", i + 1));
    }
    source.push_str(&format!(" %last = mul %{LENGTH}, %x : f32[2, 2]\n return y = %last\n}}"));
    // Fuel is what keeps folding from shortening the chain.
    let config = RunnerConfig { fuel: Some(0), ..RunnerConfig::default() };
    run_until(module(&source), &PassOptions::default(), &config, "precision").expect("the passes run");
}

#[test]
fn dimensions_that_no_memory_holds_are_the_requests_fault() {
    let source = "graph @g(%x: f32[n, 8]) { %0 = exp %x : f32[n, 8] return y = %0 }";
    let options = PassOptions { dims: [("n".to_string(), i64::MAX)].into(), ..PassOptions::default() };
    let error = optimize_with(module(source), &options, &RunnerConfig::default()).expect_err("is too large");
    assert!(matches!(error, PassError::BadDims { .. }), "{error}");
}
