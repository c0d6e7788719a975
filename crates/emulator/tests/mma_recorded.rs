//! Every matrix instruction of a warp and of a warpgroup that sm_90a has, against what an H200 gave: bit for bit.
//!
//! The suite is `tests/hardware/mma`, written by `tests/hardware/mma_suite.py` and recorded by `tests/hardware/record.py`.

use std::path::Path;

#[path = "hardware/manifest.rs"]
mod manifest;
#[path = "hardware/replay.rs"]
mod replay;

#[test]
fn matrix_instructions_give_what_the_hardware_gave() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hardware/mma");
    let report = replay::replay(&suite).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.is_clean(), "{report}");
}
