//! `gable emulate`: one kernel of a PTX file, run on the CPU and checked.

use clap::Args;
use gable::emulate::argument::{self, Argument};
use gable::emulate::{Emulated, Emulation};
use gable::{Error, Target};
use gable_emulator::profile::Traffic;
use gable_emulator::{Hazard, Schedule};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct EmulateArgs {
    /// A PTX file of any compiler
    file: PathBuf,
    /// Machine to run for: sm_90a, sm_100a, sm_103a, sm_120a, sm_121a
    #[arg(long)]
    target: Target,
    /// Kernel to run; may be left out where the file has one
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// CTAs
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_size)]
    grid: [u32; 3],
    /// Threads of a CTA
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_size)]
    block: [u32; 3],
    /// CTAs of a cluster [default: what the kernel requires, else one]
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_size)]
    cluster: Option<[u32; 3]>,
    /// Bytes of dynamic shared memory
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    shared: u32,
    /// One argument for each parameter, in order: in:FILE.npy, out:FILE.npy:DTYPE:SHAPE, inout:IN.npy:OUT.npy, scratch:BYTES,
    /// i32:VALUE (also i8 i16 i64 u8 u16 u32 u64 f16 bf16 f32 f64), bytes:HEX, tensormap:JSON
    #[arg(long = "arg", value_name = "ARGUMENT", value_parser = argument::parse, allow_hyphen_values = true)]
    arguments: Vec<Argument>,
    /// When asynchronous operations finish and in which order warps run: eager, lazy, random:SEED
    #[arg(long, default_value = "eager", value_parser = parse_schedule)]
    schedule: Schedule,
    /// Do not check that accesses are ordered
    #[arg(long)]
    no_races: bool,
    /// Count instructions, bytes, bank conflicts and sectors
    #[arg(long)]
    profile: bool,
    /// Warp instructions that one cluster may run before it is taken for endless
    #[arg(long, value_name = "COUNT", default_value_t = gable_emulator::Options::default().max_instructions)]
    max_instructions: u64,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// `X`, `X,Y` or `X,Y,Z`; what is left out is 1.
fn parse_size(text: &str) -> Result<[u32; 3], String> {
    let mut size = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(format!("`{text}` has {} sizes, expected X,Y,Z", parts.len()));
    }
    for (size, part) in size.iter_mut().zip(parts) {
        *size = part.trim().parse().map_err(|_| format!("`{part}` is no whole number from 1"))?;
        if *size == 0 {
            return Err("a size must be at least 1".into());
        }
    }
    Ok(size)
}

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    match text.split_once(':') {
        None if text == "eager" => Ok(Schedule::Eager),
        None if text == "lazy" => Ok(Schedule::Lazy),
        Some(("random", seed)) => {
            seed.parse().map(Schedule::Random).map_err(|_| format!("`{seed}` is no seed; seeds are whole numbers"))
        }
        _ => Err(format!("`{text}` is no schedule; schedules are eager, lazy, random:SEED")),
    }
}

/// Runs the command. 0: the kernel ran clean; 1: it did not, or the request is at fault.
pub fn run(args: &EmulateArgs) -> ExitCode {
    match emulate(args) {
        Ok(emulated) => {
            if args.json {
                println!("{}", as_json(args, &emulated));
            } else {
                print_text(args, &emulated);
            }
            if emulated.outcome.hazards.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            if args.json {
                println!("{}", json!({ "clean": false, "error": error.to_string() }));
            }
            super::report_error(&error)
        }
    }
}

/// Runs the kernel, and writes its outputs where it ran clean.
fn emulate(args: &EmulateArgs) -> Result<Emulated, Error> {
    let io = |source| Error::Io { action: "read", path: args.file.clone(), source };
    let bytes = std::fs::read(&args.file).map_err(io)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::Request(format!("{} is not text: {}", args.file.display(), error.utf8_error())))?;
    let emulation = Emulation {
        target: args.target,
        entry: args.entry.clone(),
        grid: args.grid,
        block: args.block,
        cluster: args.cluster,
        shared_bytes: args.shared,
        arguments: args.arguments.clone(),
        options: gable_emulator::Options {
            schedule: args.schedule,
            races: !args.no_races,
            profile: args.profile,
            max_instructions: args.max_instructions,
            ..gable_emulator::Options::default()
        },
    };
    let emulated = gable::emulate::run(&text, &emulation, Path::new("")).map_err(|error| match error {
        Error::Request(message) => Error::Request(format!("{}: {message}", args.file.display())),
        other => other,
    })?;
    if emulated.outcome.hazards.is_empty() {
        emulated.write()?;
    }
    Ok(emulated)
}

fn print_text(args: &EmulateArgs, emulated: &Emulated) {
    let outcome = &emulated.outcome;
    print!("{}", outcome.printed);
    for hazard in &outcome.hazards {
        println!("{hazard}\n");
    }
    if let Some(profile) = &outcome.profile {
        print_profile(profile);
    }
    let (entry, instructions) = (&emulated.entry, outcome.thread_instructions);
    if !outcome.hazards.is_empty() {
        println!("`{entry}` on {} has {} hazard(s); outputs are not written", args.target, outcome.hazards.len());
        return;
    }
    println!("`{entry}` on {} ran clean: {instructions} thread instructions", args.target);
    for output in &emulated.outputs {
        let left = if output.unwritten > 0 {
            format!("; the kernel left {} bytes unwritten, which hold ones in every bit", output.unwritten)
        } else {
            String::new()
        };
        println!("wrote {}: {} {:?}{left}", output.file.display(), output.tensor.dtype(), output.tensor.shape());
    }
}

fn print_profile(profile: &gable_emulator::profile::Profile) {
    let mut rows: Vec<_> = profile.instructions.iter().collect();
    rows.sort_by_key(|(op, (_, threads))| (std::cmp::Reverse(*threads), **op));
    println!("{:<28} {:>14} {:>16}", "instruction", "of warps", "of threads");
    for (op, (warps, threads)) in rows {
        println!("{:<28} {warps:>14} {threads:>16}", format!("{op:?}"));
    }
    println!("{:<28} {:>14} {:>16} {:>16}", "memory", "accesses", "bytes read", "bytes written");
    for (name, traffic) in [("global", profile.global), ("shared", profile.shared), ("local", profile.local)] {
        println!("{name:<28} {:>14} {:>16} {:>16}", traffic.accesses, traffic.read, traffic.written);
    }
    let share = |least: u64, taken: u64| if taken == 0 { 100.0 } else { 100.0 * least as f64 / taken as f64 };
    println!(
        "global sectors {}, {:.1} % of their bytes used; shared passes {}, {:.1} % needed without bank conflicts",
        profile.sectors,
        share(profile.least_sectors, profile.sectors),
        profile.shared_passes,
        share(profile.least_shared_passes, profile.shared_passes)
    );
}

fn as_json(args: &EmulateArgs, emulated: &Emulated) -> Value {
    let outcome = &emulated.outcome;
    let clean = outcome.hazards.is_empty();
    let outputs: Vec<Value> = emulated
        .outputs
        .iter()
        .map(|output| {
            json!({
                "argument": output.argument,
                "file": output.file.display().to_string(),
                "dtype": output.tensor.dtype().name(),
                "shape": output.tensor.shape(),
                "unwritten_bytes": output.unwritten,
                "written": clean,
            })
        })
        .collect();
    json!({
        "entry": emulated.entry,
        "target": args.target.name(),
        "clean": clean,
        "hazards": outcome.hazards.iter().map(hazard_json).collect::<Vec<_>>(),
        "printed": outcome.printed,
        "warp_instructions": outcome.instructions,
        "thread_instructions": outcome.thread_instructions,
        "outputs": outputs,
        "profile": outcome.profile.as_ref().map(profile_json),
    })
}

fn hazard_json(hazard: &Hazard) -> Value {
    json!({
        "kind": hazard.kind.name(),
        "message": hazard.message,
        "block": hazard.cta,
        "thread": hazard.thread,
        "line": hazard.line,
        "instruction": hazard.instruction,
        "address": hazard.address,
    })
}

fn profile_json(profile: &gable_emulator::profile::Profile) -> Value {
    let traffic = |t: &Traffic| json!({ "accesses": t.accesses, "bytes_read": t.read, "bytes_written": t.written });
    let instructions: serde_json::Map<String, Value> = profile
        .instructions
        .iter()
        .map(|(op, (warps, threads))| (format!("{op:?}"), json!({ "warps": warps, "threads": threads })))
        .collect();
    json!({
        "instructions": instructions,
        "global": traffic(&profile.global),
        "shared": traffic(&profile.shared),
        "local": traffic(&profile.local),
        "sectors": profile.sectors,
        "least_sectors": profile.least_sectors,
        "shared_passes": profile.shared_passes,
        "least_shared_passes": profile.least_shared_passes,
    })
}
