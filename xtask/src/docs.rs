//! Pages that are generated from tables: `docs/ops.md` from the op table, `docs/passes.md` from the pass table.

use anyhow::{Context, Result};
use gable_ir::Op;
use gable_passes::{PASSES, PIPELINE};
use std::fmt::Write as _;
use std::path::Path;

/// Writes every generated page.
pub fn write(root: &Path) -> Result<()> {
    for (name, page) in pages() {
        let path = root.join(name);
        std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Every generated page, by its path from the root.
pub fn pages() -> [(&'static str, String); 2] {
    [("docs/ops.md", ops_page()), ("docs/passes.md", passes_page())]
}

/// The pass reference.
fn passes_page() -> String {
    let order: Vec<String> = PIPELINE.iter().map(|name| format!("`{name}`")).collect();
    let mut page = format!(
        "# Passes\n\nGenerated from the table in `crates/passes/src/table.rs` by `cargo xtask docs`; do not edit.\n\n\
         A model goes through {}.\n\
         Each pass sees a module and the options, and leaves a module that verifies.\n\
         Cases with their results are in `tests/passes/PASS/`; `gable inspect MODEL --after PASS` shows a model's graph.\n\n\
         | pass | what it does | it runs after |\n|---|---|---|\n",
        order.join(", ")
    );
    for pass in PASSES {
        let after: Vec<String> = pass.after.iter().map(|(name, why)| format!("`{name}`: {why}")).collect();
        let after = if after.is_empty() { "-".to_string() } else { after.join("; ") };
        let _ = writeln!(page, "| `{}` | {} | {after} |", pass.name, pass.doc);
    }
    page
}

/// The op reference.
fn ops_page() -> String {
    let mut page = String::from(
        "# Ops\n\nGenerated from the table in `crates/ir/src/ops.rs` by `cargo xtask docs`; do not edit.\n\
         Every op has one result. Operands after `;` are optional; `..xs` stands for one or more.\n",
    );
    for row in Op::TABLE {
        let operands = match row.variadic {
            Some(name) => format!("..{name}"),
            None if row.optional.is_empty() => row.operands.join(", "),
            None => format!("{}; {}", row.operands.join(", "), row.optional.join(", ")),
        };
        let attrs = if row.attrs.is_empty() { String::new() } else { format!(" {{{}}}", row.attrs.join(", ")) };
        let groups: Vec<String> = row.groups.iter().map(|group| format!("{group:?}")).collect();
        let doc: Vec<&str> = row.doc.iter().map(|line| line.trim()).collect();
        let _ = write!(
            page,
            "\n## {}\n\n`{}({operands}){attrs}`: {}\n\n{}\n",
            row.name,
            row.name,
            groups.join(", "),
            doc.join("\n")
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_pages_are_current() {
        for (name, page) in pages() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
            let found = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(found == page, "{name} is not what its table gives: run `cargo xtask docs`");
        }
    }
}
