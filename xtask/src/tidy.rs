//! What holds for the whole tree and no compiler checks: crate edges, module docs, forbidden words, one test command.
//!
//! Each check gives the list of its findings; `cargo xtask tidy` prints them all, and a test fails on any.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which crate may use which. An edge outside this table is a design change and needs a decision page.
const EDGES: &[(&str, &[&str])] = &[
    ("gable-tensor", &[]),
    ("gable-ir", &["gable-tensor"]),
    ("gable-roofline", &["gable-tensor", "gable-ir"]),
    ("gable-capture", &["gable-ir", "gable-tensor"]),
    ("gable-passes", &["gable-ir", "gable-roofline", "gable-tensor"]),
    ("gable-ptx", &[]),
    ("gable-emulator", &["gable-ptx", "gable-tensor"]),
    ("gable-codegen", &["gable-ir", "gable-ptx", "gable-roofline", "gable-artifact", "gable-tensor"]),
    ("gable-artifact", &["gable-tensor"]),
    // The cpu device evaluates the graph: docs/decisions/0011-runtime-uses-ir.md.
    ("gable-runtime", &["gable-artifact", "gable-emulator", "gable-ir", "gable-tensor"]),
];

/// What the tree must not contain outside this file, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("todo!(", "a stub"),
    ("unimplemented!(", "a stub"),
    ("#[ignore", "a test that does not run"),
    ("#[allow(", "use #[expect(lint, reason = \"...\")]"),
    ("#![allow(", "use #[expect(lint, reason = \"...\")]"),
];

/// PTX mnemonics that only `crates/ptx` may spell in code.
const OPCODES: &[&str] =
    &["ld.global", "st.global", "ld.shared", "st.shared", "mma.sync.aligned", "cp.async.c", "fma.rn.", "setp."];

/// Where unsafe code may stand, and why.
const UNSAFE: &[(&str, &str)] = &[
    ("crates/runtime", "the CUDA driver's functions"),
    ("crates/tensor/src/mapped_file.rs", "memory-mapped files, which model files and artifacts share"),
];

/// Every finding.
pub fn findings(root: &Path) -> Result<Vec<String>> {
    let mut found = crate_edges(root)?;
    for file in rust_files(root)? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        found.extend(check_file(file.strip_prefix(root).unwrap_or(&file), &text));
    }
    found.extend(one_test_command(root)?);
    Ok(found)
}

fn check_file(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let shown = path.display();
    let generated = text.starts_with("// @generated");
    if !text.starts_with("//!") && !generated {
        found.push(format!(
            "{shown}: the file does not open with `//!`: what it is, what goes in and out, what must hold"
        ));
    }
    if path.ends_with("xtask/src/tidy.rs") || generated {
        return found;
    }
    let in_ptx = path.starts_with("crates/ptx")
        || path.starts_with("tests")
        || path.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "examples");
    for (number, line) in text.lines().enumerate() {
        for (words, why) in FORBIDDEN {
            if line.contains(words) {
                found.push(format!("{shown}:{}: `{words}`: {why}", number + 1));
            }
        }
        let code = line.trim_start();
        if !in_ptx && !code.starts_with("//") {
            for opcode in OPCODES.iter().filter(|opcode| code.contains(&format!("\"{opcode}"))) {
                found.push(format!("{shown}:{}: spells the opcode `{opcode}`, which only crates/ptx does", number + 1));
            }
        }
        if code.contains("unsafe {") && !UNSAFE.iter().any(|(place, _)| path.starts_with(place)) {
            found.push(format!(
                "{shown}:{}: unsafe code in a file that the table in xtask/src/tidy.rs does not name",
                number + 1
            ));
        }
    }
    found
}

/// Edges between our crates, by each manifest's `[dependencies]`; dev-dependencies are free.
fn crate_edges(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, allowed) in EDGES {
        let manifest = root.join("crates").join(name.trim_start_matches("gable-")).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).with_context(|| format!("read {}", manifest.display()))?;
        for used in dependencies(&text) {
            if !allowed.contains(&used.as_str()) {
                found.push(format!("{name} uses {used}, an edge that the table in xtask/src/tidy.rs does not have"));
            }
        }
    }
    Ok(found)
}

/// Names of our crates in the `[dependencies]` table of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && line.starts_with("gable") {
            names.insert(line.split(['.', ' ', '=']).next().unwrap_or_default().to_string());
        }
    }
    names
}

/// The README's test command is what CI runs.
fn one_test_command(root: &Path) -> Result<Vec<String>> {
    const COMMAND: &str = "cargo xtask test";
    let mut found = Vec::new();
    for file in ["README.md", ".ci/run"] {
        let text = std::fs::read_to_string(root.join(file)).with_context(|| format!("read {file}"))?;
        if !text.contains(COMMAND) {
            found.push(format!("{file}: does not run the tests by `{COMMAND}`"));
        }
    }
    Ok(found)
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending: Vec<PathBuf> = ["crates", "examples", "tests", "xtask"].iter().map(|dir| root.join(dir)).collect();
    while let Some(dir) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        let found = findings(root).expect("the tree can be read");
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn findings_are_found() {
        let bad = "fn main() {\n    todo!()\n    let x = \"ld.global.f32\";\n}\n";
        assert_eq!(check_file(Path::new("crates/ir/src/x.rs"), bad).len(), 3);
        assert!(check_file(Path::new("crates/ir/src/x.rs"), "//! Fine.\n").is_empty());
        assert_eq!(
            dependencies("[dependencies]\ngable-ir.workspace = true\n[dev-dependencies]\ngable-ptx = 1\n").len(),
            1
        );
    }
}
