//! `gable inspect`: the graph after any pass, the regions, the memory plan, a kernel's code.

use super::{CompileOptions, Source};
use clap::Args;
use gable::{Compiled, Error};
use std::path::PathBuf;

#[derive(Args)]
pub struct InspectArgs {
    /// A .onnx file, a folder with config.json and *.safetensors, a .gir file, or a compiled .gable file
    model: PathBuf,
    /// Show the graph after this pass (`capture` for the graph as it came in)
    #[arg(long, value_name = "PASS")]
    after: Option<String>,
    /// Show one kernel, by its name or its region's
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// With --kernel: its PTX (the default)
    #[arg(long)]
    ptx: bool,
    /// Show the memory plan
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

pub fn run(args: &InspectArgs) -> Result<(), Error> {
    let source = Source::open(&args.model)?;
    if let Some(pass) = &args.after {
        let Source::Model(model) = &source else {
            return Err(Error::Request("a compiled file has no passes left to show: give the model itself".into()));
        };
        print!("{}", gable::passes_until(model, &args.compile.options()?, pass)?);
        return Ok(());
    }
    let compiled = match source {
        Source::Compiled(compiled) => *compiled,
        Source::Model(model) => args.compile.options()?.optimize(&model)?,
    };
    if let Some(name) = &args.kernel {
        return show_kernel(&compiled, name);
    }
    if args.memory {
        print!("{}", compiled.memory());
        return Ok(());
    }
    println!("{}", compiled.summary());
    print!("{}", compiled.artifact().graph);
    for plan in &compiled.artifact().plans {
        println!(
            "\nplan for {}: {} kernels, {} steps, arena {} bytes",
            plan.target,
            plan.kernels.len(),
            plan.steps.len(),
            plan.arena_bytes
        );
        for step in &plan.steps {
            match step.launch() {
                Some(launch) => println!(
                    "  {} -> {} grid {:?} block {:?}",
                    step.label, plan.kernels[launch.kernel].name, launch.grid, launch.block
                ),
                None => println!("  {} -> {:?}", step.label, step.action),
            }
        }
    }
    Ok(())
}

fn show_kernel(compiled: &Compiled, name: &str) -> Result<(), Error> {
    for plan in &compiled.artifact().plans {
        let of_region = plan.steps.iter().filter(|step| step.label == name).filter_map(|step| step.launch());
        let index = of_region.map(|launch| launch.kernel).next();
        let kernel = plan.kernel(name).or_else(|| index.and_then(|index| plan.kernels.get(index)));
        if let Some(kernel) = kernel {
            println!("// {} for {}, class {}, {:?}", kernel.name, plan.target, kernel.class, kernel.resources);
            print!("{}", kernel.ptx);
            return Ok(());
        }
    }
    let known: Vec<&str> = compiled
        .artifact()
        .plans
        .first()
        .map_or(Vec::new(), |plan| plan.kernels.iter().map(|k| k.name.as_str()).collect());
    Err(Error::Request(format!("no kernel or region is called `{name}`; kernels are {}", known.join(", "))))
}
