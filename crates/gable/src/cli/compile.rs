//! `gable compile`: a model in, one file out.

use super::{CompileOptions, progress};
use clap::Args;
use gable::{Error, Model};
use std::path::PathBuf;

#[derive(Args)]
pub struct CompileArgs {
    /// A .onnx file, a folder with config.json and *.safetensors, or a .gir file
    model: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "OUT.gable")]
    output: PathBuf,
    #[command(flatten)]
    compile: CompileOptions,
}

pub fn run(args: &CompileArgs) -> Result<(), Error> {
    let spinner = progress::spinner(format!("loading {}", args.model.display()));
    let model = Model::load(&args.model)?;
    spinner.set_message("compiling");
    let compiled = args.compile.options()?.optimize(&model)?;
    spinner.set_message(format!("writing {}", args.output.display()));
    compiled.save(&args.output)?;
    spinner.finish_and_clear();
    println!("{}", compiled.summary());
    if std::env::var_os("GABLE_TIMINGS").is_some() {
        eprint!("{}", compiled.timings());
    }
    println!("wrote {}", args.output.display());
    Ok(())
}
