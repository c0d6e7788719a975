//! `gable info`: what this machine has.

use clap::Args;
use gable::Error;
use gable::report::quantity;
use gable_roofline::Machine;

#[derive(Args)]
pub struct InfoArgs {
    /// Measure the copy bandwidth of each CUDA device
    #[arg(long)]
    measure: bool,
}

pub fn run(args: &InfoArgs) -> Result<(), Error> {
    println!("gable {}", env!("CARGO_PKG_VERSION"));
    match gable_ptx::ptxas::Ptxas::find() {
        Ok(ptxas) => {
            println!("ptxas: {} at {}", ptxas.version().unwrap_or_else(|e| e.to_string()), ptxas.path().display())
        }
        Err(error) => println!("ptxas: {error}; kernels stay PTX, and the driver assembles them"),
    }
    println!("device cpu: {}", gable_runtime::DeviceInfo::cpu().name);
    match gable_runtime::cuda::devices() {
        Err(error) => println!("cuda: {error}"),
        Ok(devices) => {
            for device in devices {
                let Some(cuda) = &device.cuda else { continue };
                println!(
                    "device {}: {}, compute capability {}, {} multiprocessors, {} MiB, CUDA {}, driver {}, {}",
                    device.device,
                    device.name,
                    cuda.capability,
                    cuda.sm_count,
                    cuda.memory_bytes >> 20,
                    cuda.cuda_version,
                    cuda.driver_version.as_deref().unwrap_or("unknown"),
                    cuda.uuid
                );
                match Machine::of_device(&device.name) {
                    Some(machine) => println!(
                        "  roofs by data sheet ({}): memory {}",
                        machine.name,
                        quantity(machine.memory_bytes_per_s(), "B/s")
                    ),
                    None => println!("  not in the machine table: no roofs"),
                }
                if args.measure {
                    let copy = gable_runtime::cuda::measure_copy_bandwidth(cuda.ordinal)?;
                    println!("  copy bandwidth, measured: {}", quantity(copy.bytes_per_second, "B/s"));
                    let read = gable_runtime::cuda::measure_read_bandwidth(cuda.ordinal)?;
                    println!("  read bandwidth, measured: {}", quantity(read.bytes_per_second, "B/s"));
                }
            }
        }
    }
    println!("machines that can be predicted:");
    for machine in Machine::all() {
        println!("  {:11} {:8} {}", machine.name, machine.target, machine.documents);
    }
    Ok(())
}
