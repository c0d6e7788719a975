//! `gable tune`: times schedules of a model's contractions on a GPU and writes records of the fastest.

use super::{CompileOptions, progress, write_whole};
use clap::Args;
use gable::tune::Tuner;
use gable::{Device, Error, Model, Tensor};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub struct TuneArgs {
    /// A .onnx file, a folder with config.json and *.safetensors, or a .gir file
    model: PathBuf,
    /// File that gets the records, one to a line; `--records` of the other commands reads it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Where candidates are timed: cuda:N
    #[arg(long, default_value = "cuda:0")]
    device: Device,
    /// Seconds after which no other candidate is begun
    #[arg(long, default_value_t = 300)]
    budget: u64,
    /// Seed of the random data that inputs are filled with
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compile: CompileOptions,
}

pub fn run(args: &TuneArgs) -> Result<(), Error> {
    let Device::Cuda(ordinal) = args.device else {
        return Err(Error::Request(format!("device `{}` has no times of kernels: tune on `cuda:N`", args.device)));
    };
    let spinner = progress::spinner("compiling".into());
    let model = Model::load(&args.model)?;
    let tuner = Tuner::new(&model, &args.compile.options()?, ordinal)?;
    let by_rule = tuner.by_rule()?;
    let graph = gable::ir::text::parse(&by_rule.artifact().graph).ok();
    let input = |input: &gable_artifact::Signature| {
        Ok((input.name.clone(), gable::inputs::random_input(input, graph.as_ref(), args.seed)?))
    };
    let inputs: Vec<(String, Tensor)> = by_rule.artifact().inputs.iter().map(input).collect::<Result<_, Error>>()?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let (kinds, candidates) = tuner.counts();
    let tuned = tuner.run(&inputs, Duration::from_secs(args.budget), &mut |round, rounds| {
        spinner.set_message(format!("round {} of {rounds}", round + 1));
    });
    spinner.finish_and_clear();
    let tuned = tuned?;
    println!("{kinds} kinds of contractions, {candidates} candidates");
    let mut lines = String::new();
    for record in &tuned.records {
        let (us, default_us) = (record.time.median_s * 1e6, record.default_time.median_s * 1e6);
        println!(
            "{}\n  {default_us:.1} us {}\n  {us:.1} us {}",
            record.region, record.default_schedule, record.schedule
        );
        let line = serde_json::to_string(record).map_err(|error| Error::Request(format!("the records: {error}")))?;
        lines += &(line + "\n");
    }
    if let Some((rounds, reason)) = &tuned.failed {
        println!("{rounds} round(s) could not be run; the first because {reason}");
    }
    if tuned.out_of_time {
        println!("the budget of {} s ended before every candidate was timed", args.budget);
    }
    write_whole(&args.output, lines.as_bytes())
}
