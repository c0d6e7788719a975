//! All the work of a region in the emulator: launches and copies in order, scratch memory between them.

use crate::emulation::{Machine, decode};
use gable_codegen::{Memory, Work};
use gable_emulator::{Kernel, Schedule};
use gable_ptx::Target;

/// The work of a region, decoded for one target.
pub struct Region<'a> {
    works: Vec<(&'a Work, Option<Kernel>)>,
}

impl<'a> Region<'a> {
    /// Decodes the kernels.
    pub fn new(works: &'a [Work], target: Target) -> Region<'a> {
        let kernel = |work: &Work| match work {
            Work::Launch(launch) => Some(decode(&launch.kernel, target)),
            Work::Copy { .. } => None,
        };
        Region { works: works.iter().map(|work| (work, kernel(work))).collect() }
    }

    /// Runs the work over inputs; the outputs, of the sizes given.
    pub fn run(&self, inputs: &[&[u8]], outputs: &[usize], schedule: Schedule) -> Result<Vec<Vec<u8>>, String> {
        let mut machine = Machine::new(schedule);
        let inputs: Vec<u64> = inputs.iter().map(|bytes| machine.input("input", bytes)).collect();
        let outputs: Vec<u64> = outputs.iter().map(|bytes| machine.output("output", *bytes)).collect();
        let mut scratch: Vec<(u64, u64, u64)> = Vec::new();
        for (work, kernel) in &self.works {
            let (launch, kernel) = match (work, kernel) {
                (Work::Launch(launch), Some(kernel)) => (launch, kernel),
                (Work::Launch(_), None) => unreachable!("every launch was decoded"),
                (Work::Copy { input, output }, _) => {
                    let bytes = machine.bytes(inputs[*input])?;
                    machine.memory.fill(outputs[*output], &bytes).map_err(|fault| fault.message)?;
                    continue;
                }
            };
            let mut addresses = Vec::new();
            for memory in &launch.args {
                addresses.push(match *memory {
                    Memory::Input(position) => inputs[position],
                    Memory::Output(position) | Memory::Update(position) => outputs[position],
                    Memory::Scratch { offset, bytes, written } => {
                        let place = scratch.iter().find(|place| (place.0, place.1) == (offset, bytes));
                        match place {
                            Some(place) => place.2,
                            None => {
                                assert!(written, "scratch memory is written before it is read");
                                let address = machine.output("scratch", bytes as usize);
                                scratch.push((offset, bytes, address));
                                address
                            }
                        }
                    }
                });
            }
            machine.launch(kernel, launch.grid, launch.block, launch.dynamic_shared_bytes, &addresses)?;
        }
        outputs.iter().map(|address| machine.bytes(*address)).collect()
    }
}
