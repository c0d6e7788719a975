//! Arguments, exit codes and what every subcommand shares.

mod bench;
mod compile;
mod emulate;
mod info;
mod inspect;
mod progress;
mod run;
mod tune;

use clap::{Args, Parser, Subcommand};
use gable::records::Records;
use gable::{
    Bindings, Compiled, Device, Emulation, Error, Model, Options, Precision, Schedule, Session, SessionOptions, Target,
    Tensor,
};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "gable", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile a model into one file.
    Compile(compile::CompileArgs),
    /// Run a model or a compiled file once.
    Run(run::RunArgs),
    /// Measure every kernel against its roof, or predict where there is no GPU.
    Bench(bench::BenchArgs),
    /// Time schedules of a model's contractions on a GPU and record the fastest.
    Tune(tune::TuneArgs),
    /// Show the graph after a pass, the regions, the memory plan, or a kernel.
    Inspect(inspect::InspectArgs),
    /// Run a kernel of a PTX file on the CPU, checked for races, missing waits and bad accesses.
    Emulate(Box<emulate::EmulateArgs>),
    /// Show devices, driver, tools and roofs.
    Info(info::InfoArgs),
}

/// How a model is compiled; shared by every command that takes a model.
#[derive(Args, Clone, Default)]
struct CompileOptions {
    /// Targets, separated by commas [default: the GPU here, else sm_100a,sm_120a]
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    target: Vec<String>,
    /// Type that contractions compute in: fp32 (as the model says), tf32, bf16, fp16
    #[arg(long, default_value = "fp32")]
    precision: Precision,
    /// Size of a symbolic dimension; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_dim)]
    dim: Vec<(String, i64)>,
    /// Leave kernels as PTX for the driver to assemble, even where ptxas is found
    #[arg(long)]
    no_assemble: bool,
    /// Use the schedules of records that `gable tune` wrote
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Choose schedules by the rule alone, not by the bundled records either
    #[arg(long, conflicts_with = "records")]
    by_rule: bool,
}

impl CompileOptions {
    fn options(&self) -> Result<Options, Error> {
        let mut options = Options::new().precision(self.precision);
        for name in &self.target {
            options = options.target(name.trim().parse::<Target>().map_err(|e| Error::Request(e.to_string()))?);
        }
        for (name, size) in &self.dim {
            options = options.dim(name, *size);
        }
        if self.no_assemble {
            options = options.assemble(gable::Assemble::Never);
        }
        if let Some(path) = &self.records {
            options = options.records(Records::open(path)?);
        }
        if self.by_rule {
            options = options.by_rule();
        }
        Ok(options)
    }
}

/// Where a model runs and what it is given; shared by `run` and `bench`.
#[derive(Args, Clone)]
struct RunOptions {
    /// auto, cpu, emulator or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Of the emulator: when asynchronous work finishes and in which order warps run: eager, lazy or random:SEED
    #[arg(long, default_value = "eager")]
    schedule: Schedule,
    /// Of the emulator: do not check accesses for races and missing waits
    #[arg(long)]
    no_races: bool,
    /// An input of the graph from a .npy file; may be repeated
    #[arg(long, value_name = "NAME=FILE.npy", value_parser = parse_input)]
    input: Vec<(String, PathBuf)>,
    /// Seed of the random data that inputs not given are filled with
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compile: CompileOptions,
}

fn parse_dim(text: &str) -> Result<(String, i64), String> {
    let (name, size) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let size: i64 = size.parse().map_err(|_| format!("`{size}` is not a whole number"))?;
    if size < 0 { Err(format!("size {size} of dimension `{name}` is negative")) } else { Ok((name.into(), size)) }
}

fn parse_input(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.rsplit_once('=').ok_or("expected NAME=FILE.npy")?;
    Ok((name.into(), path.into()))
}

/// A model file, or one that is compiled already.
enum Source {
    Model(Box<Model>),
    Compiled(Box<Compiled>),
}

impl Source {
    fn open(path: &Path) -> Result<Source, Error> {
        if path.extension().is_some_and(|extension| extension == "gable") {
            return Ok(Source::Compiled(Box::new(Compiled::open(path)?)));
        }
        let spinner = progress::spinner(format!("loading {}", path.display()));
        let model = Model::load(path)?;
        spinner.finish_and_clear();
        Ok(Source::Model(Box::new(model)))
    }

    /// Name and type of each input; symbolic sizes where they are not bound yet.
    fn signature(&self) -> Vec<(String, gable_ir::Type)> {
        match self {
            Source::Model(model) => model.inputs().iter().map(|port| (port.name.clone(), port.ty.clone())).collect(),
            Source::Compiled(compiled) => {
                let ty = |input: &gable_artifact::Signature| gable_ir::Type::new(input.dtype, input.shape.clone());
                compiled.artifact().inputs.iter().map(|input| (input.name.clone(), ty(input))).collect()
            }
        }
    }
}

impl RunOptions {
    /// Opens what was prepared on the device; the emulator runs the first target that is named.
    fn open(&self, prepared: &Prepared) -> Result<Session, Error> {
        let target = self.compile.target.first().map(|name| name.trim());
        let emulation = Emulation { target, schedule: self.schedule, races: !self.no_races };
        Session::open_with(&prepared.compiled, self.device, SessionOptions { emulation, ..SessionOptions::default() })
    }
}

/// A compiled model with a value for every input.
struct Prepared {
    compiled: Compiled,
    inputs: BTreeMap<String, Tensor>,
}

impl Prepared {
    /// Reads inputs, binds dimensions from them and from the options, compiles when needed, and fills what is missing.
    fn new(model: &Path, run: &RunOptions) -> Result<Prepared, Error> {
        let source = Source::open(model)?;
        let signature = source.signature();
        let mut inputs = BTreeMap::new();
        for (name, path) in &run.input {
            let Some((_, ty)) = signature.iter().find(|(known, _)| known == name) else {
                let known: Vec<&str> = signature.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Error::Request(format!(
                    "the model has no input `{name}`; its inputs are {}",
                    known.join(", ")
                )));
            };
            inputs.insert(name.clone(), gable::inputs::read_npy(path, Some(ty.dtype))?);
        }
        let compiled = match source {
            Source::Compiled(compiled) => *compiled,
            Source::Model(model) => {
                let from_shapes: Bindings = gable::inputs::bind_from_shapes(&model, &inputs)?;
                let spinner = progress::spinner("compiling".into());
                let compiled = run.compile.options()?.dims(&from_shapes).for_device(run.device).optimize(&model)?;
                spinner.finish_and_clear();
                compiled
            }
        };
        let graph = gable_ir::text::parse(&compiled.artifact().graph).ok();
        for input in &compiled.artifact().inputs {
            if !inputs.contains_key(&input.name) {
                eprintln!(
                    "input `{}` ({} {:?}) is not given: filled with random data, seed {}",
                    input.name, input.dtype, input.shape, run.seed
                );
                inputs.insert(input.name.clone(), gable::inputs::random_input(input, graph.as_ref(), run.seed)?);
            }
        }
        Ok(Prepared { compiled, inputs })
    }

    fn inputs(&self) -> Vec<(&str, &Tensor)> {
        self.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
    }
}

/// Writes `contents` to `path` whole or not at all: through a temporary file beside it.
fn write_whole(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { action: "write", path: path.to_path_buf(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(contents).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Runs the command line.
pub fn run() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GABLE_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let result = match Cli::parse().command {
        Command::Compile(args) => compile::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Emulate(args) => return emulate::run(&args),
        Command::Info(args) => info::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report_error(&error),
    }
}

/// Says what went wrong, and whose fault it is by the exit code.
fn report_error(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    let code = error.exit_code();
    if code == 3 {
        eprintln!("this is a bug of gable: please report it with the model and the command");
    }
    ExitCode::from(code)
}
