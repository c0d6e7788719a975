//! The `gable` command. Results go to stdout, progress and logs to stderr.
//!
//! Exit codes: 0 done; 1 the input or the request is at fault; 2 usage; 3 a bug of ours.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
