//! Register instructions on hardware and in the emulator.
//!
//! `generate DIR` writes a kernel for each instruction family that sm_90a has, one line for each spelling of each row of the
//! grammar, with its input and a manifest. `tests/hardware/record.py DIR` runs them on a GPU and writes what came out. `replay DIR`
//! runs the same kernels in the emulator and compares: bit for bit, and approximations within the manual's bounds.

mod generate;
mod inputs;
#[path = "../../tests/hardware/manifest.rs"]
mod manifest;
mod operands;
#[path = "../../tests/hardware/replay.rs"]
mod replay;

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate", directory] => generate::suite(Path::new(directory)),
        ["replay", directory] => {
            let report = replay::replay(Path::new(directory))?;
            println!("{report}");
            anyhow::ensure!(report.is_clean(), "the emulator and the recording differ");
            Ok(())
        }
        _ => anyhow::bail!("usage: hardware_suite generate DIR | hardware_suite replay DIR"),
    }
}
