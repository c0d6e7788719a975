//! The shortest way: load, optimize, run, report.
//!
//! ```text
//! cargo run --release --example optimize -- MODEL [NAME=SIZE ...]
//! ```

use gable::{Device, Model, Options, Session, Tensor};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("expected a model: examples/models/stories260k batch=1 seq=16, say")?;
    let model = Model::load(&path)?;

    // Plans are made for known sizes.
    let mut options = Options::new();
    for size in args {
        let (name, value) = size.split_once('=').ok_or("expected NAME=SIZE")?;
        options = options.dim(name, value.parse()?);
    }
    let compiled = options.optimize(&model)?;
    println!("{}", compiled.summary());

    let mut session = Session::open(&compiled, Device::Auto)?;
    let graph = gable::ir::text::parse(&compiled.artifact().graph)?;
    let inputs: Vec<(String, Tensor)> = session
        .inputs()
        .iter()
        .map(|input| Ok((input.name.clone(), gable::inputs::random_input(input, Some(&graph), 0)?)))
        .collect::<Result<_, gable::Error>>()?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    for (name, tensor) in session.run(&inputs)? {
        println!("{name}: {} {:?}", tensor.dtype(), tensor.shape());
    }
    println!("\n{}", session.report()?);
    Ok(())
}
