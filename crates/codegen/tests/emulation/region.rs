//! All the work of a region in the emulator: launches and copies in order, scratch memory between them.

use crate::emulation::{Machine, decode};
use gable_codegen::{Memory, Work};
use gable_emulator::{Kernel, Launch, Schedule};
use gable_ptx::Target;
use gable_runtime::emulator::encode_tensor_map;
use std::collections::BTreeMap;

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
        let mut scratch = Scratch::new();
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
            let mut params = vec![0; kernel.param_bytes as usize];
            for (memory, param) in launch.args.iter().zip(&kernel.params) {
                let value = match memory {
                    Memory::TensorMap { of, map } => {
                        encode_tensor_map(map, address(&mut machine, of, &inputs, &outputs, &mut scratch))?
                    }
                    plain => address(&mut machine, plain, &inputs, &outputs, &mut scratch).to_le_bytes().to_vec(),
                };
                params[param.offset as usize..][..value.len()].copy_from_slice(&value);
            }
            let geometry = Launch {
                grid: launch.grid,
                block: launch.block,
                cluster: launch.cluster,
                shared_bytes: launch.dynamic_shared_bytes,
                params,
            };
            machine.run(kernel, &geometry)?;
        }
        outputs.iter().map(|address| machine.bytes(*address)).collect()
    }
}

/// Scratch memory that was allocated, by offset and length.
type Scratch = BTreeMap<(u64, u64), u64>;

fn address(machine: &mut Machine, memory: &Memory, inputs: &[u64], outputs: &[u64], scratch: &mut Scratch) -> u64 {
    match memory {
        Memory::Input(position) => inputs[*position],
        Memory::Output(position) | Memory::Update(position) => outputs[*position],
        Memory::Scratch { offset, bytes, written } => *scratch.entry((*offset, *bytes)).or_insert_with(|| {
            assert!(written, "scratch memory is written before it is read");
            machine.output("scratch", *bytes as usize)
        }),
        Memory::TensorMap { of, .. } => address(machine, of, inputs, outputs, scratch),
    }
}
