//! `gable run`: one run, outputs printed in short or written as `.npy`.

use super::{Prepared, RunOptions, progress, write_whole};
use clap::Args;
use gable::{Error, Tensor};
use std::path::PathBuf;

/// Elements of an output that are printed.
const SHOWN_ELEMENTS: usize = 8;

#[derive(Args)]
pub struct RunArgs {
    /// A .onnx file, a folder with config.json and *.safetensors, a .gir file, or a compiled .gable file
    model: PathBuf,
    #[command(flatten)]
    run: RunOptions,
    /// Folder that gets one NAME.npy per output
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

pub fn run(args: &RunArgs) -> Result<(), Error> {
    let prepared = Prepared::new(&args.model, &args.run)?;
    let spinner = progress::spinner(format!("opening {}", args.run.device));
    let mut session = args.run.open(&prepared)?;
    spinner.set_message("running");
    let outputs = session.run(&prepared.inputs())?;
    spinner.finish_and_clear();
    println!("ran on {} ({})", session.device().device, session.device().name);
    for (name, tensor) in &outputs {
        println!("{name}: {}", describe(tensor));
    }
    let Some(folder) = &args.output_dir else { return Ok(()) };
    let io = |source| Error::Io { action: "write", path: folder.clone(), source };
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut written: Vec<(String, &str)> = Vec::new();
    for (name, tensor) in &outputs {
        let file = gable::inputs::file_name(name);
        if let Some((_, other)) = written.iter().find(|(taken, _)| *taken == file) {
            return Err(Error::Request(format!("outputs `{other}` and `{name}` would both be written to {file}")));
        }
        write_whole(&folder.join(&file), &gable_tensor::npy::write(tensor))?;
        written.push((file, name));
    }
    println!("wrote {} file(s) to {}", written.len(), folder.display());
    Ok(())
}

/// Type, shape, the first elements and the range of the finite ones.
fn describe(tensor: &Tensor) -> String {
    let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let first: Vec<String> = tensor.scalars().take(SHOWN_ELEMENTS).map(|x| format!("{:.5}", x.as_f64())).collect();
    let more = if tensor.len() > SHOWN_ELEMENTS { ", ..." } else { "" };
    let finite = || tensor.scalars().map(|x| x.as_f64()).filter(|x| x.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let range = if low <= high { format!(", from {low:.5} to {high:.5}") } else { String::new() };
    format!("{}[{}] = [{}{more}]{range}", tensor.dtype(), sizes.join(", "), first.join(", "))
}
