//! The suites that were recorded on a GPU, replayed without one: `tests/hardware` of the workspace.

mod manifest;
mod replay;

use std::path::Path;

#[test]
fn register_instructions_give_what_an_h200_gave() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hardware/registers");
    let report = replay::replay(&directory).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.is_clean(), "{report}");
}
