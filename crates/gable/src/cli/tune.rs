//! `gable tune`: times schedules of a model's or a suite's contractions on a GPU and writes records of the fastest.

use super::bench::{Suite, json_line};
use super::{CompileOptions, progress, write_whole};
use clap::Args;
use gable::gemm_suite;
use gable::records::ScheduleRecord;
use gable::tune::Tuner;
use gable::{Device, Error, Model, Tensor};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
pub struct TuneArgs {
    /// A .onnx file, a folder with config.json and *.safetensors, or a .gir file
    #[arg(required_unless_present = "suite", conflicts_with = "suite")]
    model: Option<PathBuf>,
    /// Tune a suite of problems instead of a model, each on its own
    #[arg(long, value_enum)]
    suite: Option<Suite>,
    /// Of a suite: only problems whose name contains this
    #[arg(long, value_name = "TEXT", requires = "suite")]
    filter: Option<String>,
    /// Of a suite: only these types, separated by commas
    #[arg(long, value_name = "TYPES", value_delimiter = ',', requires = "suite")]
    types: Vec<String>,
    /// File that gets the records, one to a line; `--records` of the other commands reads it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Where candidates are timed: cuda:N
    #[arg(long, default_value = "cuda:0")]
    device: Device,
    /// Seconds after which no other candidate is begun; of a suite, for each problem
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
    match &args.model {
        Some(model) => model_records(args, model, ordinal),
        None => suite_records(args, ordinal),
    }
}

/// Tunes the suite's problems; the file is whole after each.
fn suite_records(args: &TuneArgs, ordinal: usize) -> Result<(), Error> {
    let (filter, types) = (args.filter.clone(), args.types.clone());
    let options = args.compile.options()?;
    let request = gemm_suite::Request { ordinal, filter, types, options, library: false, seed: args.seed };
    let (mut lines, mut measured, mut failed) = (String::new(), 0, 0);
    gemm_suite::tune(&request, Duration::from_secs(args.budget), &mut |case, record| {
        measured += 1;
        match record {
            Ok(record) => {
                println!("{case}: {} candidates", record.tried);
                lines += &told(&record)?;
            }
            Err(error) => {
                failed += 1;
                println!("{case}: {error}");
            }
        }
        write_whole(&args.output, lines.as_bytes())
    })?;
    if failed > 0 { Err(Error::Suite { failed, measured }) } else { Ok(()) }
}

fn model_records(args: &TuneArgs, model: &Path, ordinal: usize) -> Result<(), Error> {
    let spinner = progress::spinner("compiling".into());
    let model = Model::load(model)?;
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
        println!("{}", record.region);
        lines += &told(record)?;
    }
    if let Some((rounds, reason)) = &tuned.failed {
        println!("{rounds} round(s) could not be run; the first because {reason}");
    }
    if tuned.out_of_time {
        println!("the budget of {} s ended before every candidate was timed", args.budget);
    }
    write_whole(&args.output, lines.as_bytes())
}

/// Prints what was found and gives the line of the file.
fn told(record: &ScheduleRecord) -> Result<String, Error> {
    let ScheduleRecord { time, schedule, default_time, default_schedule, .. } = record;
    println!("  {:.1} us {default_schedule}", default_time.median_s * 1e6);
    if schedule != default_schedule {
        println!("  {:.1} us {schedule}", time.median_s * 1e6);
    }
    json_line(record)
}
