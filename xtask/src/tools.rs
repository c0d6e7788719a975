//! `cargo xtask tools`: fetches NVIDIA's assembler and disassemblers into `tools/bin/` of the workspace.
//!
//! In: the pinned Python wheels of `TOOLS`. Out: one executable per row in `tools/bin/` and the pins that they came from
//! in `tools/pins.txt`. Nothing else of a wheel is kept, and nothing is written outside `tools/`, which git ignores.
//! Gable itself never needs these: `ptxas` turns emitted PTX into cubins and checks it in tests, `cuobjdump` and
//! `nvdisasm` show the machine code.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pip;
use anyhow::{Context, Result, bail};

/// One executable and the wheel that carries it.
struct Tool {
    binary: &'static str,
    wheel: &'static str,
    version: &'static str,
}

/// CUDA 13.0 is the newest release whose driver branch (R580) is widely deployed; the disassemblers were first published as wheels of
/// their own with 13.2, and they read older cubins.
const TOOLS: &[Tool] = &[
    Tool { binary: "ptxas", wheel: "nvidia-cuda-nvcc", version: "13.0.88" },
    Tool { binary: "cuobjdump", wheel: "nvidia-cuda-cuobjdump", version: "13.2.51" },
    Tool { binary: "nvdisasm", wheel: "nvidia-cuda-nvdisasm", version: "13.2.51" },
];

impl Tool {
    fn pin(&self) -> String {
        format!("{}=={}", self.wheel, self.version)
    }

    fn file_name(&self) -> String {
        format!("{}{}", self.binary, std::env::consts::EXE_SUFFIX)
    }

    /// The line of `pins.txt` that says this tool is in place.
    fn record(&self) -> String {
        format!("{} {}", self.binary, self.pin())
    }
}

fn tools_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace root").join("tools")
}

/// Says which tools are in place; an error when one is missing or from another wheel than the pinned one.
pub fn check() -> Result<()> {
    let dir = tools_dir();
    let mut missing = 0;
    for tool in TOOLS {
        if in_place(&dir, tool) {
            println!("{:<10} {} ({})", tool.binary, dir.join("bin").join(tool.file_name()).display(), tool.pin());
        } else {
            println!("{:<10} missing ({})", tool.binary, tool.pin());
            missing += 1;
        }
    }
    if missing > 0 {
        bail!("{missing} of {} tools are missing: run `cargo xtask tools`", TOOLS.len());
    }
    Ok(())
}

/// Fetches every tool that is not in place yet.
pub fn fetch() -> Result<()> {
    let dir = tools_dir();
    fs::create_dir_all(dir.join("bin")).with_context(|| format!("cannot create `{}`", dir.join("bin").display()))?;
    for tool in TOOLS {
        if in_place(&dir, tool) {
            println!("{:<10} already there ({})", tool.binary, tool.pin());
            continue;
        }
        println!("{:<10} fetching {} with pip", tool.binary, tool.pin());
        // Inside `tools/`, so that the rename below never crosses a file system.
        let unpacked = dir.join(format!("unpacked-{}-{}", tool.binary, std::process::id()));
        let placed = pip::unpack(&tool.pin(), &unpacked).and_then(|()| place(&dir, tool, &unpacked));
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove `{}`", unpacked.display()))?;
        }
        println!("{:<10} {}", tool.binary, placed?.display());
    }
    Ok(())
}

fn in_place(dir: &Path, tool: &Tool) -> bool {
    let recorded = fs::read_to_string(dir.join("pins.txt")).unwrap_or_default();
    dir.join("bin").join(tool.file_name()).is_file() && recorded.lines().any(|line| line == tool.record())
}

/// Moves the executable out of the unpacked wheel and records its pin.
fn place(dir: &Path, tool: &Tool, unpacked: &Path) -> Result<PathBuf> {
    let found = find(unpacked, &tool.file_name())?
        .with_context(|| format!("the wheel `{}` has no file `bin/{}`", tool.pin(), tool.file_name()))?;
    let executable = dir.join("bin").join(tool.file_name());
    fs::rename(&found, &executable)
        .with_context(|| format!("cannot move `{}` to `{}`", found.display(), executable.display()))?;

    let pins = dir.join("pins.txt");
    let other_lines = fs::read_to_string(&pins).unwrap_or_default();
    let mut lines: Vec<String> =
        other_lines.lines().filter(|line| !line.starts_with(&format!("{} ", tool.binary))).map(String::from).collect();
    lines.push(tool.record());
    lines.sort();
    fs::write(&pins, lines.join("\n") + "\n").with_context(|| format!("cannot write `{}`", pins.display()))?;
    Ok(executable)
}

/// The file `bin/NAME` anywhere under `dir`: the folder above `bin` differs between CUDA releases.
fn find(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    let mut pending = vec![dir.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.ends_with(Path::new("bin").join(name)) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}
