//! Project tasks, run as `cargo xtask TASK`.

mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK
  tools            fetch ptxas, cuobjdump and nvdisasm into tools/bin (needs python3 with pip)
  tools --check    say which of them are there; fails when one is missing";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
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
