//! `gable bench`: the roofline report of a model, measured on a GPU, predicted without one; and suites of problems.

use super::{Prepared, RunOptions, progress, write_whole};
use clap::{Args, ValueEnum};
use gable::gemm_suite::{self, Event};
use gable::{Device, Error, Report};
use gable_roofline::Machine;
use gable_runtime::ProfileOptions;
use std::path::PathBuf;

#[derive(Args)]
pub struct BenchArgs {
    /// A .onnx file, a folder with config.json and *.safetensors, a .gir file, or a compiled .gable file
    #[arg(required_unless_present = "suite", conflicts_with = "suite")]
    model: Option<PathBuf>,
    #[command(flatten)]
    run: RunOptions,
    /// Samples of each time
    #[arg(long, default_value_t = ProfileOptions::default().repetitions)]
    repetitions: u32,
    /// Predict for this machine of the table instead of measuring
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Also write the report as JSON; a suite's records one to a line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure a suite of problems instead of a model
    #[arg(long, value_enum)]
    suite: Option<Suite>,
    /// Of a suite: only problems whose name contains this
    #[arg(long, value_name = "TEXT", requires = "suite")]
    filter: Option<String>,
    /// Of a suite: only these types, separated by commas: bf16, fp8, and of weights alone fp8w, fp4w
    #[arg(long, value_name = "TYPES", value_delimiter = ',', requires = "suite")]
    types: Vec<String>,
    /// Of a suite: what is timed in turn with our kernels
    #[arg(long, value_enum, default_value = "cublaslt", requires = "suite")]
    peers: Peers,
    /// Of a predicted suite: records of a measured one, to hold against
    #[arg(long, value_name = "FILE", requires = "machine", requires = "suite")]
    measured: Option<PathBuf>,
}

/// The suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Suite {
    /// Matrix products.
    Gemm,
}

/// Peers of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peers {
    /// NVIDIA's library, where the system's loader finds it.
    Cublaslt,
    /// None.
    None,
}

pub fn run(args: &BenchArgs) -> Result<(), Error> {
    let model = match (&args.suite, &args.model) {
        (Some(Suite::Gemm), _) => match &args.machine {
            Some(name) => return predict_gemm(args, named(name)?),
            None => return gemm(args),
        },
        (None, Some(model)) => model,
        (None, None) => unreachable!("clap asks for a model where there is no suite"),
    };
    if args.run.device == Device::Emulator && args.machine.is_none() {
        return Err(Error::no_emulated_times());
    }
    let prepared = Prepared::new(model, &args.run)?;
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

/// Runs the suite and tells its results as they come.
fn gemm(args: &BenchArgs) -> Result<(), Error> {
    let ordinal = match args.run.device {
        Device::Cuda(ordinal) => ordinal,
        Device::Auto => 0,
        other => return Err(Error::Request(format!("device `{other}` has no times of kernels: measure on `cuda:N`"))),
    };
    let request = gemm_suite::Request {
        ordinal,
        filter: args.filter.clone(),
        types: args.types.clone(),
        options: args.run.compile.options()?,
        library: args.peers == Peers::Cublaslt,
        seed: args.run.seed,
    };
    let (mut measured, mut failed) = (0, 0);
    let mut lines = Vec::new();
    gemm_suite::run(&request, &mut |event| {
        match event {
            Event::Begins(circumstances) => {
                println!("{circumstances}");
                lines.push(json_line(circumstances)?);
            }
            Event::Measured(record) => {
                println!("{record}");
                measured += 1;
                failed += usize::from(record.time.is_none());
                lines.push(json_line(record)?);
            }
            Event::Failed { case, error } => {
                println!("{case}: {error}");
                measured += 1;
                failed += 1;
            }
        }
        match &args.json {
            // Whole after each record, so that a run that is cut short leaves what it measured.
            Some(path) => write_whole(path, lines.concat().as_bytes()),
            None => Ok(()),
        }
    })?;
    if failed > 0 { Err(Error::Suite { failed, measured }) } else { Ok(()) }
}

/// A line of a file of records.
pub(super) fn json_line(value: &impl serde::Serialize) -> Result<String, Error> {
    let line = serde_json::to_string(value).map_err(|error| Error::Request(format!("the records: {error}")))?;
    Ok(line + "\n")
}

/// A machine of the table.
fn named(name: &str) -> Result<&'static Machine, Error> {
    Machine::named(name).ok_or_else(|| {
        let known: Vec<&str> = Machine::all().iter().map(|machine| machine.name).collect();
        Error::Request(format!("unknown machine `{name}`; the table has {}", known.join(", ")))
    })
}

/// Prints what is expected of the suite's products on a machine, as a table of Markdown.
fn predict_gemm(args: &BenchArgs, machine: &Machine) -> Result<(), Error> {
    let measured = match &args.measured {
        Some(path) => gemm_suite::measured(path)?,
        None => Default::default(),
    };
    let compares = !measured.is_empty();
    println!("Predicted for {} ({}): {}.\n", machine.driver_name, machine.target, machine.documents);
    let (more, rule) = if compares { (" measured us | predicted / measured |", "---|---|") } else { ("", "") };
    println!(
        "| rows x columns x terms | factors | predicted us | predicted TFLOP/s | share of the roof |{more} schedule |"
    );
    println!("|---|---|---|---|---|{rule}---|");
    let mut errors = Vec::new();
    for one in gemm_suite::predict(machine, &measured)? {
        if compares && one.measured_s.is_none() {
            continue;
        }
        errors.extend(one.measured_s.map(|measured| (one.predicted.seconds / measured).ln().abs()));
        println!("{one}");
    }
    if !errors.is_empty() {
        errors.sort_by(f64::total_cmp);
        let (mean, largest) = (errors.iter().sum::<f64>() / errors.len() as f64, errors[errors.len() - 1]);
        println!(
            "\nPredicted and measured times differ by a factor of {:.2} in the geometric mean, {:.2} at most ({} products).",
            mean.exp(),
            largest.exp(),
            errors.len()
        );
    }
    Ok(())
}

fn predict(prepared: &Prepared, name: &str) -> Result<Report, Error> {
    let artifact = prepared.compiled.artifact();
    let machine = named(name)?;
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
