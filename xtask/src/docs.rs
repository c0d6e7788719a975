//! Pages that are generated from tables: `docs/ops.md` from the op table.

use anyhow::{Context, Result};
use gable_ir::Op;
use std::fmt::Write as _;
use std::path::Path;

/// Writes every generated page.
pub fn write(root: &Path) -> Result<()> {
    let path = root.join("docs/ops.md");
    std::fs::write(&path, ops_page()).with_context(|| format!("write {}", path.display()))
}

/// The op reference.
pub fn ops_page() -> String {
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
    fn the_op_reference_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ops.md");
        let found = std::fs::read_to_string(&path).expect("docs/ops.md is in the repository");
        assert!(found == ops_page(), "docs/ops.md is not what the op table gives: run `cargo xtask docs`");
    }
}
