//! Ahead of time: compile for GPUs that are not here, save one file, and open that file as a deployed program would.

use gable::{Compiled, Device, Model, Options, Session, Target, Tensor};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("stories.gable");

    // The build machine: no GPU needed, any target.
    let model = Model::load("examples/models/stories260k")?;
    let options = Options::new().target(Target::Sm90a).target(Target::Sm100a).target(Target::Sm120a);
    let compiled = options.dim("batch", 1).dim("seq", 8).optimize(&model)?;
    compiled.save(&path)?;
    println!("{}\n{} bytes on disk", compiled.summary(), std::fs::metadata(&path)?.len());

    // The deployed program: needs the file and, on a GPU, the driver. Weights stay mapped.
    let compiled = Compiled::open(&path)?;
    let mut session = Session::open(&compiled, Device::Auto)?;
    let tokens = Tensor::from_vec([1, 8], &[1i64, 403, 407, 261, 378, 432, 383, 286]);
    let outputs = session.run(&[("input_ids", &tokens)])?;
    let (name, logits) = &outputs[0];
    println!("{name}: {:?} on {}", logits.shape(), session.device().name);
    Ok(())
}
