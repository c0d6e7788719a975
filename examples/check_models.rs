//! Holds models against their recorded outputs on a device. Exits with 1 when one differs.
//!
//! ```text
//! cargo run --release --example check_models -- [--device cuda:0] [--target sm_100a] [--schedule lazy]
//!     [--precision bf16] [--regions] FOLDER ...
//! ```
//! A FOLDER has `model.onnx` (or is a safetensors folder) and `manifest.json`, which lists cases: inputs and outputs with
//! their names and `.npy` files. `--regions` compiles each fused region by itself as well and holds it against the cpu
//! device on random data: it names the kernel that is wrong. `--target` and `--schedule` are of device `emulator`.

use gable::{
    Compiled, Device, Emulation, Model, Options, Precision, Schedule, Session, SessionOptions, Target, Tensor,
};
use gable_tensor::Tolerance;
use gable_tensor::compare::compare;
use serde::Deserialize;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Deserialize)]
struct Manifest {
    data: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

#[derive(Deserialize)]
struct Port {
    name: String,
    file: String,
}

struct Settings {
    device: Device,
    target: Option<Target>,
    schedule: Schedule,
    precision: Precision,
    regions: bool,
    folders: Vec<PathBuf>,
}

impl Settings {
    fn options(&self) -> Options {
        let options = self.target.iter().fold(Options::new(), |options, target| options.target(*target));
        options.for_device(self.device)
    }

    fn open(&self, compiled: &Compiled) -> Result<Session, gable::Error> {
        let emulation = Emulation { schedule: self.schedule, ..Emulation::default() };
        Session::open_with(compiled, self.device, SessionOptions { emulation, ..SessionOptions::default() })
    }
}

fn main() -> ExitCode {
    let settings = match parse_args() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    for folder in &settings.folders {
        match check_folder(&settings, folder) {
            Ok(true) => {}
            Ok(false) => failed += 1,
            Err(error) => {
                println!("FAIL {}: {error}", folder.display());
                failed += 1;
            }
        }
    }
    let n = settings.folders.len();
    println!("{} of {n} folders pass on {} at {}", n - failed, settings.device, settings.precision);
    ExitCode::from(u8::from(failed > 0))
}

fn parse_args() -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings {
        device: Device::Auto,
        target: None,
        schedule: Schedule::default(),
        precision: Precision::default(),
        regions: false,
        folders: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--device" => settings.device = args.next().ok_or("--device needs a value")?.parse()?,
            "--target" => settings.target = Some(args.next().ok_or("--target needs a value")?.parse()?),
            "--schedule" => settings.schedule = args.next().ok_or("--schedule needs a value")?.parse()?,
            "--precision" => settings.precision = args.next().ok_or("--precision needs a value")?.parse()?,
            "--regions" => settings.regions = true,
            folder => settings.folders.push(folder.into()),
        }
    }
    Ok(settings)
}

fn check_folder(settings: &Settings, folder: &Path) -> Result<bool, Box<dyn Error>> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let onnx = folder.join("model.onnx");
    let model = Model::load(if onnx.exists() { &onnx } else { folder })?;
    let mut all_within = true;
    for (position, case) in manifest.data.iter().enumerate() {
        let inputs = case
            .inputs
            .iter()
            .map(|port| Ok((port.name.clone(), gable::inputs::read_npy(&folder.join(&port.file), None)?)))
            .collect::<Result<_, gable::Error>>()?;
        let dims = gable::inputs::bind_from_shapes(&model, &inputs)?;
        let compiled = settings.options().precision(settings.precision).dims(&dims).optimize(&model)?;
        if settings.regions {
            all_within &= check_regions(settings, &compiled)?;
        }
        let mut session = settings.open(&compiled)?;
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let outputs = session.run(&given)?;
        for port in &case.outputs {
            let expected = gable::inputs::read_npy(&folder.join(&port.file), None)?;
            let (_, found) = outputs.iter().find(|(name, _)| *name == port.name).ok_or("an output is missing")?;
            let comparison = compare(found, &expected, tolerance(settings.precision, &expected));
            let word = if comparison.within { "ok  " } else { "FAIL" };
            println!("{word} {} case {position} {}: {comparison}", folder.display(), port.name);
            all_within &= comparison.within;
        }
    }
    Ok(all_within)
}

/// Runs each region as a graph of its own on the device and on the cpu.
fn check_regions(settings: &Settings, compiled: &Compiled) -> Result<bool, Box<dyn Error>> {
    let graph = gable::ir::text::parse(&compiled.artifact().graph)?;
    let mut all_within = true;
    for region in &graph.regions {
        let alone = gable::ir::region::alone(&graph, region);
        let module = gable::ir::Module { graph: alone, ..Default::default() };
        // No passes but fusion have anything left to do, so the kernel is the same as in the model.
        let compiled = settings.options().optimize_module(&region.name, module)?;
        let inputs: Vec<(String, Tensor)> = compiled
            .artifact()
            .inputs
            .iter()
            .map(|input| Ok((input.name.clone(), gable::inputs::random_input(input, Some(&graph), 1)?)))
            .collect::<Result<_, gable::Error>>()?;
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let found = settings.open(&compiled)?.run(&given)?;
        let expected = Session::open(&compiled, Device::Cpu)?.run(&given)?;
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            let comparison = compare(found, expected, Tolerance::RelativeL2(REGION_BOUND));
            if !comparison.within {
                println!("FAIL region {} value {name}: {comparison}", region.name);
                all_within = false;
            }
        }
    }
    Ok(all_within)
}

/// Two devices sum in different orders, and a 16-bit result may round the other way: a bf16 step is 2^-8.
const REGION_BOUND: f64 = 4e-3;

/// What the precision and the output's type allow.
fn tolerance(precision: Precision, expected: &Tensor) -> Tolerance {
    match (precision, expected.dtype()) {
        (_, dtype) if !dtype.is_float() => Tolerance::Exact,
        (Precision::AsIs, gable::DType::F16) => Tolerance::F16_MODEL,
        (Precision::AsIs, _) => Tolerance::F32_MODEL,
        _ => Tolerance::BF16_MODEL,
    }
}
