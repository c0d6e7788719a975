//! The one test command: tools, formatting, lints, every test.
//!
//! Under `CI` whatever cannot be checked is a failure; elsewhere it is said and the rest goes on.

use anyhow::{Result, bail};
use std::process::Command;

/// Runs everything.
pub fn run() -> Result<()> {
    let ci = std::env::var_os("CI").is_some();
    prepare("ptxas and its companions", crate::tools::fetch(), ci)?;
    prepare("model weights", crate::models::fetch(), ci)?;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    prepare("the ONNX conformance cases", crate::onnx_cases::fetch(&root), ci)?;
    step("formatting", Command::new("cargo").args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        Command::new("cargo").args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    )?;
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|out| out.status.success());
    let mut tests = Command::new("cargo");
    if nextest {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        tests.args(["test", "--workspace", "--quiet"]);
    }
    if ci {
        // Where a change is judged, property tests draw the same cases each time; exploring is for one's own machine.
        tests.env("PROPTEST_RNG_SEED", "1");
    }
    step("tests", tests.env("INSTA_UPDATE", "no"))
}

/// Reports on something that the tests use when it is there.
fn prepare(what: &str, outcome: Result<()>, required: bool) -> Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if required => bail!("{what}: {error:#}"),
        Err(error) => {
            println!("SKIPPED: {what}: {error:#}; tests that need it say so and pass");
            Ok(())
        }
    }
}

fn step(what: &str, command: &mut Command) -> Result<()> {
    println!("== {what}");
    let status = command.status()?;
    if !status.success() {
        bail!("{what}: `{command:?}` failed ({status})");
    }
    Ok(())
}
