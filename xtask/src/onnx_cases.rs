//! `cargo xtask onnx-cases`: writes the conformance cases of the `onnx` Python package to `tools/onnx-cases`.
//!
//! Out: `KIND/CASE/model.onnx` with its test data, and `index.tsv` with kind, case, opset, operators, types, rtol and
//! atol. Needs python3 with venv and pip. Nothing is written outside `tools/`, which git ignores.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// The package whose cases `tests/onnx/passing.txt` was made with.
const ONNX: &str = "onnx==1.23.2";

/// Since 1.23 the package makes the cases in memory; this writes them down.
const SCRIPT: &str = include_str!("onnx_cases.py");

/// Writes the cases, unless the ones of this version are there.
pub fn fetch(root: &Path) -> Result<()> {
    let (cases, python_home) = (root.join("tools/onnx-cases"), root.join("tools/onnx-python"));
    let stamp = cases.join("version.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|version| version == ONNX) {
        println!("onnx-cases already there ({ONNX})");
        return Ok(());
    }
    println!("onnx-cases installing {ONNX} with pip");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&python_home))?;
    let bin = python_home.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", ONNX];
    run(Command::new(bin.join("python")).args(pip))?;
    if cases.exists() {
        std::fs::remove_dir_all(&cases).with_context(|| format!("cannot remove `{}`", cases.display()))?;
    }
    run(Command::new(bin.join("python")).args(["-c", SCRIPT]).arg(&cases))?;
    std::fs::write(&stamp, ONNX).with_context(|| format!("cannot write `{}`", stamp.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", command.get_program().display()))?;
    if !status.success() {
        bail!("`{}` failed ({status})", command.get_program().display());
    }
    Ok(())
}
