//! `gable bench`: the roofline report, measured on a GPU, predicted without one.

use super::{Prepared, RunOptions, progress, write_whole};
use clap::Args;
use gable::{Device, Error, Report};
use gable_roofline::Machine;
use gable_runtime::ProfileOptions;
use std::path::PathBuf;

#[derive(Args)]
pub struct BenchArgs {
    #[command(flatten)]
    run: RunOptions,
    /// Samples of each time
    #[arg(long, default_value_t = ProfileOptions::default().repetitions)]
    repetitions: u32,
    /// Predict for this machine of the table instead of measuring
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Also write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: &BenchArgs) -> Result<(), Error> {
    if args.run.device == Device::Emulator && args.machine.is_none() {
        return Err(Error::no_emulated_times());
    }
    let prepared = Prepared::new(&args.run)?;
    let report = match &args.machine {
        Some(name) => predict(&prepared, name)?,
        None => measure(args, &prepared)?,
    };
    print!("{report}");
    if let Some(path) = &args.json {
        let json =
            serde_json::to_vec_pretty(&report).map_err(|error| Error::Request(format!("the report: {error}")))?;
        write_whole(path, &json)?;
    }
    match report.impossible().len() {
        0 => Ok(()),
        rows => Err(Error::Impossible(rows)),
    }
}

fn measure(args: &BenchArgs, prepared: &Prepared) -> Result<Report, Error> {
    let spinner = progress::spinner(format!("measuring on {}", args.run.device));
    let mut session = args.run.open(prepared)?;
    if args.run.device == Device::Cpu || session.device().cuda.is_none() {
        spinner.finish_and_clear();
        eprintln!("no kernel runs on the cpu: times are predicted for the first target's machine");
    }
    let options = ProfileOptions { repetitions: args.repetitions.max(1), ..ProfileOptions::default() };
    let report = session.report_with(&prepared.inputs(), options);
    spinner.finish_and_clear();
    report
}

fn predict(prepared: &Prepared, name: &str) -> Result<Report, Error> {
    let artifact = prepared.compiled.artifact();
    let machine = Machine::named(name).ok_or_else(|| {
        let known: Vec<&str> = Machine::all().iter().map(|machine| machine.name).collect();
        Error::Request(format!("unknown machine `{name}`; the table has {}", known.join(", ")))
    })?;
    let plan = artifact.plan(machine.target).ok_or_else(|| {
        Error::Request(format!(
            "{name} runs {}, but the model was compiled for {}: pass --target {}",
            machine.target,
            artifact.targets().join(", "),
            machine.target
        ))
    })?;
    Ok(Report::predicted(artifact, plan, machine))
}
