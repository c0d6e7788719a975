//! Planted faults: small kernels with one real mistake each, and their mended twins.
//!
//! Every case runs in all three schedules. With the mistake, each of them reports the kind of hazard and the words of the reason, at a
//! marked line; mended, each runs clean. `case.rs` says how a case is written.

mod case;

use std::fmt::Write as _;

use case::{Case, Variant};
use gable_emulator::Schedule;

const SCHEDULES: [Schedule; 3] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(7)];

const FILES: [&str; 7] = ["threads", "barriers", "memory", "copies", "clusters", "wgmma", "tcgen05"];

/// The cases of a file.
fn cases(name: &str) -> Vec<Case> {
    let path = format!("{}/tests/faults/{name}.cases", env!("CARGO_MANIFEST_DIR"));
    case::parse(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// What is wrong with the report on one case, if anything.
fn judge(case: &Case) -> Result<(), String> {
    for schedule in SCHEDULES {
        let found = case.run(Variant::Faulty, schedule);
        if !found.iter().any(|report| case.expects(report)) {
            let reports: Vec<String> = found.iter().map(ToString::to_string).collect();
            let wanted = format!("{:?} at lines {:?}", case.finds, case.marked);
            return Err(format!("{schedule:?}: expected {wanted}, found:\n{}", reports.join("\n")));
        }
        let known = |kind: &String| case.also.contains(kind) || case.finds.iter().any(|finds| finds.0 == *kind);
        if let Some(other) = found.iter().find(|report| !known(&report.kind)) {
            return Err(format!("{schedule:?}: also found {other}"));
        }
        if let Some(report) = case.run(Variant::Mended, schedule).first() {
            return Err(format!("{schedule:?}: the mended twin is reported: {report}"));
        }
    }
    Ok(())
}

/// Judges all cases of a file.
fn check(name: &str) {
    let mut wrong = String::new();
    let cases = cases(name);
    for case in &cases {
        if let Err(what) = judge(case) {
            writeln!(wrong, "{name}: {}: {what}\n", case.name).unwrap_or_default();
        }
    }
    assert!(!cases.is_empty(), "{name}: no cases");
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn threads_with_one_another() {
    check("threads");
}

#[test]
fn barriers_and_collectives() {
    check("barriers");
}

#[test]
fn memory_and_limits() {
    check("memory");
}

#[test]
fn asynchronous_copies() {
    check("copies");
}

#[test]
fn clusters_and_the_grid() {
    check("clusters");
}

#[test]
fn warpgroup_multiplies() {
    check("wgmma");
}

#[test]
fn tensor_memory() {
    check("tcgen05");
}

#[test]
fn there_are_at_least_forty_and_no_two_of_one_name() {
    let mut names: Vec<String> = FILES.iter().flat_map(|name| cases(name)).map(|case| case.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert!(names.len() == count && count >= 40, "{count} cases, {} names", names.len());
}
