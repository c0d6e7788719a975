//! A graph written by hand: `softmax(relu(x w + b))`, evaluated by the oracle and by the compiled plan.

use gable::ir::{Builder, Type, eval, ops};
use gable::{DType, Device, Options, Session, Target, Tensor};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut b = Builder::new("by_hand");
    let x = b.input("x", Type::new(DType::F32, [2usize, 3]));
    let w = b.weight("w", Tensor::from_vec([3, 2], &[1f32, -1.0, 0.5, 2.0, -0.25, 1.5]))?;
    let bias = b.constant(Tensor::from_vec([2], &[0.1f32, -0.1]))?;
    let product = b.matmul(x, w)?;
    let sum = b.plus(product, bias)?;
    let hidden = b.relu(sum)?;
    let y = b.add(ops::Softmax { axis: 1 }, &[hidden])?;
    b.output("y", y);
    let module = b.finish();
    print!("{}", module.graph);

    let input = Tensor::from_vec([2, 3], &[1f32, 2.0, 3.0, -1.0, 0.5, 0.25]);
    let expected = eval::evaluate(&module, &[("x", &input)])?;
    let compiled = Options::new().target(Target::Sm90a).optimize_module("by_hand", module)?;
    let found = Session::open(&compiled, Device::Auto)?.run(&[("x", &input)])?;
    println!("oracle   {:?}", expected[0].1.to_vec::<f32>());
    println!("compiled {:?}", found[0].1.to_vec::<f32>());
    Ok(())
}
